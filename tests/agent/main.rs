//! Agents and who attaches to them, as real processes: consoles come and go, are killed and stopped, and the fleet does not notice.

mod choice;
mod far;
mod jobs;
mod manager;
mod records;
mod reload;
mod several;
mod start;

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use mqfleet_test_support::{
    SOON,
    console::Console,
    fleet_file::FleetFile,
    mosquitto::Mosquitto,
    process::{self, assert_gone},
    program,
};
use rustix::process::{Signal, geteuid};
use serde_json::Value;
use tempfile::TempDir;

/// A user's folders, with an agent that has them.
struct Agent {
    home: TempDir,
    file: String,
    child: Child,
}

impl Agent {
    fn start(file: &FleetFile) -> Agent {
        Agent::start_in(TempDir::new().expect("a folder"), file.path())
    }

    fn start_with(file: &FleetFile, more: &[&str]) -> Agent {
        Agent::start_in_with(TempDir::new().expect("a folder"), file.path(), more)
    }

    fn start_in(home: TempDir, file: &str) -> Agent {
        Agent::start_in_with(home, file, &[])
    }

    fn start_in_with(home: TempDir, file: &str, more: &[&str]) -> Agent {
        let mut command = Command::new(program());
        command.args(["agent", file]).args(more).stdin(Stdio::null()).stderr(Stdio::null());
        let child = command.envs(folders(&home)).spawn().expect("the agent starts");
        let agent = Agent { home, file: file.to_owned(), child };
        agent.wait_for("an answer", |list| !list.is_empty());
        agent
    }

    fn env(&self) -> Vec<(String, String)> {
        folders(&self.home)
    }

    fn state(&self, name: &str) -> PathBuf {
        self.home.path().join("state/mqfleet/test").join(name)
    }

    fn run(&self, args: &[&str]) -> Output {
        Command::new(program()).args(args).envs(self.env()).stdin(Stdio::null()).output().expect("the program runs")
    }

    /// What `ls` tells, a value a client; nothing where nobody answers.
    fn list(&self) -> Vec<Value> {
        let listed = self.run(&["ls", "test", "--format", "json"]);
        let text = String::from_utf8(listed.stdout).expect("UTF-8");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    #[track_caller]
    fn wait_for(&self, what: &str, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let end = Instant::now() + SOON;
        loop {
            let list = self.list();
            if wanted(&list) {
                return list;
            }
            assert!(Instant::now() < end, "not within {SOON:?}: {what}: {:?}", list.first());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[track_caller]
    fn wait_up(&self, count: usize) {
        self.wait_for(&format!("{count} up"), |list| list.iter().filter(|row| row["state"] == "up").count() == count);
    }

    fn console(&self, args: &[&str]) -> Console {
        let env = self.env();
        let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        Console::start_with(100, 30, &[&["attach"], args].concat(), &env)
    }

    fn workers(&self) -> Vec<u32> {
        process::children(self.child.id())
    }

    /// As an outage of power would.
    fn kill(mut self) -> (TempDir, String) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it is ours");
        (std::mem::replace(&mut self.home, TempDir::new().expect("a folder")), self.file.clone())
    }

    fn end(mut self) {
        process::signal(self.child.id(), Signal::TERM);
        self.child.wait().expect("it is ours");
    }
}

impl Drop for Agent {
    /// Where a test fails it must not live on.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn folders(home: &TempDir) -> Vec<(String, String)> {
    let folder = |name: &str| home.path().join(name).to_string_lossy().into_owned();
    vec![("XDG_RUNTIME_DIR".into(), folder("run")), ("XDG_STATE_HOME".into(), folder("state"))]
}

fn lines(path: &PathBuf) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// How often the hard things are done: a short form by default, the whole with `make chaos`.
fn rounds(short: usize) -> usize {
    std::env::var("MQFLEET_ROUNDS").map_or(short, |n| n.parse().expect("MQFLEET_ROUNDS is a number"))
}

#[test]
fn consoles_come_and_go_and_the_fleet_stays() {
    let broker = Mosquitto::start();
    let file = FleetFile::presses(broker.port(), 30);
    let agent = Agent::start(&file);
    agent.wait_up(30);
    for target in [&["test"][..], &[]] {
        let mut console = agent.console(target);
        console.wait_text("30 up");
        console.press("/0007\r");
        console.wait_text("1 of 30 match");
        console.press("q");
        assert_eq!(console.wait_exit().code, 0);
        console.assert_restored();
    }
    assert_eq!(broker.log().matches("New client connected").count(), 30, "nobody lost its connection");
    // Ended from a console, by its name, and told to the other one.
    let (mut ending, mut other) = (agent.console(&[]), agent.console(&[]));
    other.wait_text("30 up");
    ending.wait_text("30 up");
    if !other.screen().contains("commands") {
        std::mem::swap(&mut ending, &mut other);
    }
    ending.press("Q");
    ending.wait_text("End the fleet test");
    ending.press("test\r");
    other.wait_text("test is over: ");
    assert_eq!((other.wait_exit().code, ending.wait_exit().code), (0, 0));
    let agent = &mut { agent };
    assert!(agent.child.wait().expect("it is ours").success());
}

#[test]
fn one_commands_and_who_may_not_hears_why() {
    let broker = Mosquitto::start();
    let file = FleetFile::presses(broker.port(), 10);
    let agent = Agent::start(&file);
    agent.wait_up(10);
    let mut first = agent.console(&[]);
    first.wait_text("10 up");
    let mut second = agent.console(&[]);
    second.wait_text(" commands");
    let mut reader = agent.console(&["--read-only"]);
    reader.wait_text(" commands");

    second.press("jr");
    second.wait_text("not done: ");
    let refused = agent.run(&["ctl", "test", "disconnect", "press-0003"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused).contains("commands; take over first"), "{}", text(&refused));
    reader.press("w");
    reader.wait_text("refused: this console is for reading only");
    // Who may not is not asked first.
    reader.press("jd");
    let screen = reader.wait_text("not done: this console is for reading only");
    assert!(!screen.contains("y yes"), "{screen}");

    second.press("w");
    first.wait_text("commands from now on");
    first.wait_text(" commands");
    second.press("/0002\r");
    second.wait_text("1 of 10 match");
    second.press("jd");
    second.wait_text("y yes");
    second.press("y");
    first.wait_text("disconnects press-0002");
    agent.wait_for("off", |list| list.iter().any(|row| row["client"] == "press-0002" && row["state"] == "off"));

    // A script takes over as well, if it is told to, and says when it is done.
    let done = agent.run(&["ctl", "test", "reconnect", "press-0005", "--take-over"]);
    assert!(done.status.success(), "{}", text(&done));
    // Or whom a query means; `--filter` is its other name.
    for flag in ["--where", "--filter"] {
        let listed = agent.run(&["ls", "test", "--format", "json", flag, "state:off or id:press-*5"]);
        let listed = String::from_utf8(listed.stdout).expect("UTF-8");
        let listed: Vec<Value> = listed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let names: Vec<&str> = listed.iter().filter_map(|row| row["client"].as_str()).collect();
        assert_eq!(names, ["press-0002", "press-0005"]);
    }
    let done = agent.run(&["ctl", "test", "connect", "--where", "state:off up<1m"]);
    assert!(text(&done).contains("no client matches state:off up<1m"), "{}", text(&done));
    let wrong = agent.run(&["ls", "test", "--where", "state:off stat:up"]);
    assert_eq!(wrong.status.code(), Some(2));
    let said = text(&wrong);
    assert!(
        said.contains("state:off stat:up\n          ^^^^ there is no field \"stat\"\ndid you mean state?"),
        "{said}"
    );
    let nobody = agent.run(&["ctl", "test", "reconnect", "press-9999"]);
    assert!(text(&nobody).contains("has no client \"press-9999\""), "{}", text(&nobody));

    let audit = lines(&agent.state("audit.jsonl"));
    let done: Vec<_> = audit.iter().map(|line| (&line["command"], &line["names"][0], &line["outcome"])).collect();
    let refused = audit[0]["outcome"].as_str().expect("words").to_owned();
    assert!(refused.ends_with("commands; take over first"), "{audit:?}");
    let line = |command: &str, name: &str, outcome: &str| {
        [command, name, outcome].map(|text| if text.is_empty() { Value::Null } else { Value::from(text) })
    };
    let wanted = [
        line("disconnect", "press-0003", &refused),
        line("take over", "", "this console is for reading only"),
        line("take over", "", "done"),
        line("disconnect", "press-0002", "done"),
        line("take over", "", "done"),
        line("reconnect", "press-0005", "done"),
    ];
    assert_eq!(done, wanted.iter().map(|[a, b, c]| (a, b, c)).collect::<Vec<_>>());
    assert!(audit.iter().all(|line| line["user"].as_str().is_some_and(|user| !user.is_empty())));
    assert!(audit[1]["terminal"].as_str().is_some_and(|name| name.starts_with("pts/")), "{}", audit[1]);

    if geteuid().is_root() {
        // Nobody in particular, who may go everywhere but to the socket.
        fs::set_permissions(agent.home.path(), fs::Permissions::from_mode(0o755)).expect("our folder");
        let copy = agent.home.path().join("mqfleet");
        fs::copy(program(), &copy).expect("a copy that everybody may execute");
        let mut other = Command::new(&copy);
        other.args(["ls", "test"]).envs(agent.env()).uid(65_534).gid(65_534);
        // A process that another test starts meanwhile has the copy open for writing until it is another program.
        let end = Instant::now() + SOON;
        let other = loop {
            match other.output() {
                Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy && Instant::now() < end => {}
                ended => break ended.expect("it runs"),
            }
        };
        assert_eq!(other.status.code(), Some(1));
        assert!(text(&other).contains("Permission denied"), "{}", text(&other));
    }
    for console in [&mut first, &mut second, &mut reader] {
        console.press("q");
        assert_eq!(console.wait_exit().code, 0);
    }
    agent.end();
}

#[test]
fn a_killed_agent_leaves_nothing_and_its_successor_knows_what_was_wanted() {
    let broker = Mosquitto::start();
    let file = FleetFile::presses(broker.port(), 20);
    let mut agent = Agent::start(&file);
    agent.wait_up(20);
    assert!(agent.run(&["ctl", "test", "disconnect", "press-0001", "press-0002"]).status.success());
    for _ in 0..rounds(3) {
        // It dies while it writes down what is wanted.
        let mut busy: Vec<Child> = (0..3)
            .map(|n| {
                let script = format!(
                    "while {} ctl test {} press-0003 press-000{} --take-over; do :; done",
                    program(),
                    if n % 2 == 0 { "disconnect" } else { "connect" },
                    n + 4
                );
                let mut shell = Command::new("sh");
                shell.args(["-c", &script]).envs(agent.env()).stdin(Stdio::null()).stderr(Stdio::null());
                shell.spawn().expect("a shell")
            })
            .collect();
        let audit = agent.state("audit.jsonl");
        let before = lines(&audit).len();
        let end = Instant::now() + SOON;
        while lines(&audit).len() < before + 4 {
            assert!(Instant::now() < end, "no commands");
            std::thread::sleep(Duration::from_millis(3));
        }
        let workers = agent.workers();
        assert!(!workers.is_empty());
        let (home, file) = agent.kill();
        assert_gone(&workers);
        for shell in &mut busy {
            shell.wait().expect("it is ours"); // nobody answers it any more
        }
        assert!(home.path().join("run/mqfleet/test.sock").exists(), "what a killed agent leaves");
        agent = Agent::start_in(home, &file);
        let list = agent.wait_for("who was to be up", |list| {
            let up = |name: &str| list.iter().any(|row| row["client"] == name && row["state"] == "up");
            (7..=20).all(|n| up(&format!("press-{n:04}")))
        });
        let off = |name: &str| list.iter().any(|row| row["client"] == name && row["state"] == "off");
        assert!(off("press-0001") && off("press-0002"), "{list:?}");
    }
    agent.end();
}

#[test]
fn two_agents_of_one_fleet_are_one_too_many() {
    let broker = Mosquitto::start();
    let file = FleetFile::presses(broker.port(), 3);
    let agent = Agent::start(&file);
    let second = agent.run(&["agent", file.path()]);
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second).contains("runs already"), "{}", text(&second));
    agent.wait_up(3);
    agent.end();
}

#[test]
fn a_console_that_is_stopped_delays_nobody_and_comes_back_to_the_truth() {
    let mut broker = Mosquitto::start();
    let file = FleetFile::presses(broker.port(), 200);
    let agent = Agent::start(&file);
    agent.wait_up(200);
    let mut consoles: Vec<Console> = (0..8).map(|_| agent.console(&["--read-only"])).collect();
    consoles.iter().for_each(|console| drop(console.wait_text("● 200 up")));
    let before = process::memory(agent.child.id()).anon;
    consoles[0].signal(Signal::STOP);
    for _ in 0..rounds(2) {
        broker.stop();
        consoles[1..].iter().for_each(|console| drop(console.wait_text("● 0 up")));
        broker.restart();
        consoles[1..].iter().for_each(|console| drop(console.wait_text("● 200 up")));
    }
    if geteuid().is_root() {
        let grown = process::memory(agent.child.id()).anon.saturating_sub(before);
        assert!(grown < 64 << 20, "{} kB more", grown >> 10);
    }
    broker.stop();
    consoles[1..].iter().for_each(|console| drop(console.wait_text("● 0 up")));
    let begin = Instant::now();
    consoles[0].signal(Signal::CONT);
    consoles[0].wait_text("● 0 up");
    println!("the truth was on the stopped console's screen after {:?}", begin.elapsed());
    for console in &mut consoles {
        console.press("q");
        assert_eq!(console.wait_exit().code, 0);
    }
    agent.end();
}

#[test]
fn up_starts_an_agent_that_outlives_its_terminal() {
    let broker = Mosquitto::start();
    let file = FleetFile::presses(broker.port(), 5);
    let home = TempDir::new().expect("a folder");
    let env = folders(&home);
    let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut console = Console::start_with(100, 30, &["up", file.path()], &env);
    console.wait_text("5 up");
    console.close(); // the terminal is gone
    console.wait_exit();
    let run = |args: &[&str]| Command::new(program()).args(args).envs(env.iter().copied()).output().expect("it runs");
    let listed = run(&["ls"]);
    assert_eq!(String::from_utf8_lossy(&listed.stdout).matches("\nup ").count(), 5, "{}", text(&listed));
    assert!(run(&["ctl", "test", "stop"]).status.success());
    let end = Instant::now() + SOON;
    while run(&["ls"]).status.success() {
        assert!(Instant::now() < end, "it does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
    // What is wrong is said where it was started.
    let broken = FleetFile::new("[endpoint.a]\nurl = 'mqtt://localhost'\n[[client]]\nid = 'x'\nendpoints = ['b']\n");
    let refused = run(&["up", broken.path()]);
    assert_eq!(refused.status.code(), Some(2));
}
