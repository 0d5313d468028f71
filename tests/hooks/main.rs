//! Hooks as an operator writes them: real programs, started by the real program, for what real brokers do; which changes are told is compared line by line.

mod changes;
mod flood;

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use mqfleet_test_support::{
    SOON,
    fleet_file::FleetFile,
    headless::Headless,
    mosquitto::{Mosquitto, Setup},
    process, program,
};
use rustix::process::Signal;
use serde_json::Value;

/// A fleet of presses in two halls, and the hooks in `more`.
fn file(port: u16, count: usize, more: &str) -> FleetFile {
    FleetFile::new(&format!(
        r#"
        [fleet]
        name = "plant"
        [endpoint.eu-1]
        url = "mqtt://127.0.0.1:{port}"
        [defaults]
        reconnect = {{ strategy = "fixed", every = "500ms" }}
        labels = {{ site = "hall-3" }}
        [[client]]
        id = "press-%02i"
        count = {count}
        endpoints = ["eu-1"]
        {more}
        "#
    ))
}

/// Writes a shell script into the file's folder, to be run as `./name`.
fn script(file: &FleetFile, name: &str, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    let path = file.dir.path().join(name);
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("a script");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("to be run");
}

fn read(file: &FleetFile, name: &str) -> String {
    fs::read_to_string(file.dir.path().join(name)).unwrap_or_default()
}

/// Waits until a file that a hook writes is as wanted.
#[track_caller]
fn wait_for(file: &FleetFile, name: &str, what: &str, wanted: impl Fn(&str) -> bool) -> String {
    let begin = Instant::now();
    loop {
        let text = read(file, name);
        if wanted(&text) {
            return text;
        }
        assert!(begin.elapsed() < SOON, "not seen in {name}: {what}; it has {text}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The lines that were told, in their order; one that is being written is not yet.
fn told(text: &str) -> Vec<Value> {
    let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
    whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

/// Whether so many lines go into this state.
fn lines_to(text: &str, state: &str, count: usize) -> bool {
    told(text).iter().filter(|line| line["to"] == state).count() >= count
}

/// The program's notices that have this in them.
fn notices(run: &Headless, has: &str) -> Vec<String> {
    let heard = run.heard();
    let texts = heard.of_type("notice").filter_map(|line| line["text"].as_str());
    texts.filter(|text| text.contains(has)).map(str::to_owned).collect()
}

fn hook(more: &str) -> String {
    format!("[[hook]]\nname = \"h\"\nrun = [\"./hook\", \"%f\"]\n{more}\n")
}

/// A file that names programs in its own folder: the script is there before the file is read.
fn hooked(port: u16, count: usize, text: &str, more: &str) -> FleetFile {
    let file = file(port, count, &hook(more));
    script(&file, "hook", text);
    file
}

/// Appends what is read, and in one piece for each process: its argument, and its lines.
const KEEP: &str = "echo started \"$@\" >> started; cat >> told";

#[test]
fn a_batch_is_told_all_changes_of_a_moment_and_a_start_fires_nothing() {
    let mut broker = Mosquitto::start();
    let file = hooked(broker.port(), 20, KEEP, "from = \"up\"\nto = [\"backoff\", \"held\"]\nmatch = \"id:press-*\"");
    let more = fs::read_to_string(file.path()).unwrap()
        + "[[hook]]\nname = \"all\"\nrun = [\"./all\"]\n\
           [[hook]]\nname = \"found\"\nrun = [\"./found\"]\ninitial = true\nto = [\"up\"]\nfrom = [\"failed\"]\n\
           [[hook]]\nname = \"nobody\"\nrun = [\"./nobody\"]\nmatch = { label = { site = \"hall-4\" } }\n";
    fs::write(file.path(), more).unwrap();
    for name in ["all", "found", "nobody"] {
        script(&file, name, &format!("cat >> told-{name}"));
    }
    let run = Headless::start(&["run", file.path()], &[]);
    run.wait_up(20);
    let found = wait_for(&file, "told-found", "all that are found up", |text| lines_to(text, "up", 20));
    let found = told(&found);
    assert!(found.iter().all(|line| line["initial"] == true && line["from"] == "off"), "{found:?}");
    assert_eq!((read(&file, "told"), read(&file, "told-all")), (String::new(), String::new()), "a start is no change");

    broker.kill9();
    let lost = told(&wait_for(&file, "told", "all that were lost", |text| told(text).len() >= 20));
    assert_eq!(lost.len(), 20);
    for line in &lost {
        assert_eq!((&line["type"], &line["from"], &line["initial"]), (&"state".into(), &"up".into(), &false.into()));
        assert_eq!((&line["labels"]["site"], &line["endpoint"]), (&"hall-3".into(), &"eu-1".into()));
        let at = chrono::DateTime::parse_from_rfc3339(line["ts"].as_str().unwrap()).unwrap();
        assert_eq!(line["at_ms"], at.timestamp_millis());
    }
    let mut ids: Vec<&str> = lost.iter().map(|line| line["client"].as_str().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!((ids[0], ids[19]), ("press-01", "press-20"));
    assert_eq!(read(&file, "started"), "started plant\n", "one process for all of them");

    broker.restart();
    run.wait_up(20);
    wait_for(&file, "told-all", "every way back", |text| lines_to(text, "up", 20));
    // Word for word what the program says itself, from the first loss on.
    let all = told(&read(&file, "told-all"));
    let heard = run.heard();
    for id in ["press-01", "press-20"] {
        let path = |lines: &mut dyn Iterator<Item = &Value>| {
            let of = lines.filter(|line| line["client"] == id);
            of.map(|line| [&line["from"], &line["to"], &line["reason"], &line["ts"]].map(Value::to_string)).collect()
        };
        let own: Vec<_> = path(&mut heard.of_type("state"));
        let hooks: Vec<_> = path(&mut all.iter());
        let begin = own.iter().position(|step| step[0] == "\"up\"").unwrap();
        assert_eq!(hooks, own[begin..begin + hooks.len()], "{id}");
    }
    drop(heard);
    assert_eq!((read(&file, "told-nobody"), notices(&run, "hook")), (String::new(), Vec::new()));
}

#[test]
fn a_reload_fires_nothing_and_later_changes_do() {
    let mut broker = Mosquitto::start();
    let file = hooked(broker.port(), 3, KEEP, "");
    let folder = file.dir.path().join("folders");
    let mut agent = Command::new(program());
    agent.args(["agent", file.path()]).env("XDG_RUNTIME_DIR", &folder).env("XDG_STATE_HOME", &folder);
    let found = "[[hook]]\nname = \"found\"\nrun = [\"./found\"]\ninitial = true\n";
    fs::write(file.path(), fs::read_to_string(file.path()).unwrap() + found).unwrap();
    script(&file, "found", "cat >> told-found");
    let agent = Guard(agent.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("the agent starts"));
    wait_for(&file, "told-found", "all up", |text| lines_to(text, "up", 3));
    // One more, and those that are there connect in another way.
    let text = fs::read_to_string(file.path()).unwrap().replace("count = 3", "count = 4");
    fs::write(file.path(), text.replace("labels =", "keep_alive = \"7s\"\nlabels =")).unwrap();
    process::signal(agent.0.id(), Signal::HUP);
    let found = told(&wait_for(&file, "told-found", "all four up anew", |text| lines_to(text, "up", 7)));
    let from = |is_new: bool| found[3..].iter().filter(move |line| (line["client"] == "press-04") == is_new);
    assert!(from(true).all(|line| line["from"] == "off") && from(false).all(|line| line["from"] == "up"), "{found:?}");
    assert!(found.iter().all(|line| line["initial"] == true), "{found:?}");
    broker.kill9();
    let lost =
        told(&wait_for(&file, "told", "the loss", |text| lines_to(text, "backoff", 4) || lines_to(text, "held", 4)));
    assert!(lost[..4].iter().all(|line| line["from"] == "up"), "{lost:?}");
}

#[test]
fn each_change_has_a_process_one_at_a_time_for_a_client_and_so_many_for_all() {
    let mut broker = Mosquitto::start();
    let text = "echo \"+ $MQFLEET_CLIENT\" >> trace; sleep 0.1; cat >> told\n\
                echo \"$MQFLEET_FLEET $MQFLEET_ENDPOINT $MQFLEET_FROM $MQFLEET_TO $MQFLEET_REASON $MQFLEET_ATTEMPT\" >> env\n\
                echo \"- $MQFLEET_CLIENT\" >> trace";
    let more = "mode = \"each\"\nat_most = 3\nfrom = \"up\"\nmatch = { id = [\"press-0*\", \"press-1*\"], reason = \"connection\" }";
    let file = hooked(broker.port(), 20, text, more);
    let run = Headless::start(&["run", file.path()], &[]);
    for round in 1..=2 {
        run.wait_up(20);
        broker.kill9();
        wait_for(&file, "trace", "every end", |text| text.matches("- ").count() == 19 * round);
        broker.restart();
    }
    let trace = read(&file, "trace");
    let mut running: Vec<&str> = Vec::new();
    let mut most = 0;
    for line in trace.lines() {
        let (sign, client) = line.split_once(' ').expect("two words");
        match sign {
            "+" => {
                assert!(!running.contains(&client), "{client} is told twice at a time");
                running.push(client);
            }
            _ => running.retain(|other| *other != client),
        }
        most = most.max(running.len());
    }
    assert_eq!(most, 3, "{trace}");
    let env = read(&file, "env");
    let first = env.lines().next().expect("a line");
    assert!(first.starts_with("plant eu-1 up ") && first.contains(" connection_"), "{first}");
    assert_eq!(told(&read(&file, "told")).len(), 38);
}

#[test]
fn a_stream_stays_and_who_ends_it_has_it_started_again_and_told_where_all_are() {
    let mut broker = Mosquitto::start();
    let text = "echo $$ >> started; while read -r line; do echo \"$line\" >> told; done";
    let file = hooked(broker.port(), 5, text, "mode = \"stream\"\nfrom = \"up\"");
    let run = Headless::start(&["run", file.path()], &[]);
    run.wait_up(5);
    broker.kill9();
    wait_for(&file, "told", "the loss", |text| told(text).len() == 5);
    let first = read(&file, "started");
    assert_eq!(first.lines().count(), 1);
    broker.restart();
    run.wait_up(5);
    process::signal(first.trim().parse().expect("a process"), Signal::KILL);
    wait_for(&file, "started", "a second one", |text| text.lines().count() == 2);
    let all = told(&wait_for(&file, "told", "what was told before", |text| told(text).len() == 10));
    assert!(all[5..].iter().all(|line| line["initial"] == true && line["from"] == "up"), "{all:?}");
    let heard = run.wait_for("a notice", |heard| {
        heard.of_type("notice").any(|line| line["text"].as_str().is_some_and(|text| text.contains("hook h failed")))
    });
    drop(heard);
    broker.kill9();
    wait_for(&file, "told", "a loss, by the second one", |text| told(text).len() >= 15);
}

#[test]
fn a_hook_that_hangs_is_gone_with_all_that_it_started_and_is_told_of_once() {
    let mut broker = Mosquitto::start();
    // The program and what it starts bear every TERM, and nobody reads; one has left the pipe open.
    let text = "trap '' TERM\n(trap '' TERM; while :; do sleep 1; done) &\n(trap '' TERM; sleep 1000; sleep 1000) &\n\
                echo $$ >> started; echo 'it hangs \u{1b}[31m' >&2; while :; do sleep 1; done";
    let file = hooked(broker.port(), 10, text, "timeout = \"1s\"\nfrom = \"up\"");
    let run = Headless::start(&["run", file.path()], &[]);
    run.wait_up(10);
    broker.kill9();
    let group = wait_for(&file, "started", "its start", |text| text.ends_with('\n'));
    let begin = Instant::now();
    let group: u32 = group.lines().next().expect("one").parse().expect("a process");
    while !in_group(group).is_empty() {
        assert!(begin.elapsed() < SOON, "still there: {:?}", in_group(group));
        std::thread::sleep(Duration::from_millis(10));
    }
    let took = begin.elapsed();
    println!("a stuck hook and 3 grandchildren, limit 1 s: gone after {took:?}");
    assert!(took > Duration::from_millis(500) && took < Duration::from_secs(3) + SLACK, "{took:?}");
    let failed = run.wait_for("the failure", |heard| {
        let is_it = |text: &str| text.contains("hook h did not end within 1s, and was ended: it hangs ␛[31m");
        heard.of_type("notice").any(|line| line["text"].as_str().is_some_and(is_it))
    });
    drop(failed);
    // It hangs again and again; that is not told again and again.
    for _ in 0..2 {
        broker.restart();
        run.wait_up(10);
        broker.kill9();
        let before = read(&file, "started").lines().count();
        wait_for(&file, "started", "one more", |text| text.lines().count() > before.min(2));
        run.wait_up(0);
    }
    assert_eq!(notices(&run, "hook h").len(), 1);
}

/// What a machine that has other things to do may add.
const SLACK: Duration = Duration::from_secs(1);

/// The living processes of a group: the fifth field of `stat` (proc_pid_stat(5)), zombies left out.
fn in_group(group: u32) -> Vec<String> {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    let stats = entries.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    stats
        .filter(|stat| {
            let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
            let state = fields.next();
            state != Some("Z") && fields.nth(1).and_then(|field| field.parse().ok()) == Some(group)
        })
        .collect()
}

#[test]
fn who_reads_nothing_costs_nobody_anything_and_what_cannot_be_started_is_told() {
    let mut broker = Mosquitto::start();
    let file = hooked(broker.port(), 50, "exec sleep 1000", "timeout = \"1s\"");
    let more = fs::read_to_string(file.path()).unwrap()
        + "[[hook]]\nname = \"quits\"\nrun = [\"./quits\"]\n\
           [[hook]]\nname = \"gone\"\nrun = [\"./gone\"]\n\
           [[hook]]\nname = \"keen\"\nrun = [\"./keen\"]\n";
    fs::write(file.path(), more).unwrap();
    script(&file, "quits", "exec true");
    script(&file, "gone", "exec true");
    script(&file, "keen", "cat >> told");
    let run = Headless::start(&["run", file.path()], &[]);
    run.wait_up(50);
    fs::remove_file(file.dir.path().join("gone")).expect("it was there");
    broker.kill9();
    wait_for(&file, "told", "the losses, for who reads", |text| told(text).len() >= 50);
    broker.restart();
    run.wait_up(50);
    wait_for(&file, "told", "the way back", |text| lines_to(text, "up", 50));
    let failed = run.wait_for("what cannot be started", |heard| {
        let is_it = |text: &str| text.contains("hook gone cannot be started: ") && text.contains("No such file");
        heard.of_type("notice").any(|line| line["text"].as_str().is_some_and(is_it))
    });
    drop(failed);
    assert_eq!((notices(&run, "hook quits"), notices(&run, "hook keen")), (Vec::new(), Vec::new()));
}

#[test]
fn a_hook_has_a_clean_environment_and_no_file_but_its_own_three() {
    const SECRET: &str = "hunter2-of-the-broker";
    let mut broker = Mosquitto::with(Setup { users: vec![("plant".into(), SECRET.into())], ..Setup::default() });
    let text = "exec 3>>seen; tr '\\0' '\\n' < /proc/$$/environ >&3; tr '\\0' ' ' < /proc/$$/cmdline >&3\n\
                echo >&3; cat >&3; exec 3>&-; exec > fds; ls -l /proc/$$/fd; echo done >> ended";
    let file = hooked(
        broker.port(),
        2,
        text,
        "from = \"up\"\nto = [\"backoff\", \"held\"]\nmode = \"each\"\nmatch = \"id:press-01\"",
    );
    let given = fs::read_to_string(file.path())
        .unwrap()
        .replace("[defaults]", "[defaults]\nusername = \"plant\"\npassword = { env = \"MQFLEET_PLANT_PASSWORD\" }");
    fs::write(file.path(), given).unwrap();
    let set = [("MQFLEET_PLANT_PASSWORD", SECRET), ("TZ", "Europe/Berlin"), ("PATH_TO_ALL", SECRET)];
    let run = Headless::start(&["run", file.path()], &set);
    run.wait_up(2);
    broker.kill9();
    wait_for(&file, "ended", "its end", |text| text == "done\n");
    let seen = read(&file, "seen");
    assert!(seen.contains("MQFLEET_CLIENT=press-01\n") && seen.contains("TZ=Europe/Berlin\n"), "{seen}");
    assert!(!seen.contains(SECRET), "{seen}");
    let is_known = |name: &str| {
        ["PATH", "HOME", "LANG", "TZ"].contains(&name)
            || ["FLEET", "HOOK", "CLIENT", "ENDPOINT", "FROM", "TO", "REASON", "DETAIL", "ATTEMPT"]
                .iter()
                .any(|known| name.strip_prefix("MQFLEET_") == Some(known))
    };
    let variables = seen.lines().filter(|line| !line.starts_with('{')).filter_map(|line| line.split_once('='));
    for (name, _) in variables {
        assert!(is_known(name), "{name}: {seen}");
    }
    // The shell has its script open, too; what this test was given itself anybody may have.
    let given =
        |fd: &str| fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).is_ok_and(|info| !is_close_on_exec(&info));
    let fds = read(&file, "fds");
    let files = fds.lines().filter_map(|line| line.split_once(" -> "));
    let files = files.map(|(fd, target)| (fd.rsplit(' ').next().expect("a number"), target));
    let others = files.filter(|(fd, target)| !["0", "1", "2"].contains(fd) && !target.ends_with("/hook") && !given(fd));
    assert_eq!(others.collect::<Vec<_>>(), Vec::new(), "{fds}");
    assert!(fds.contains("0 -> pipe:") && fds.contains("2 -> pipe:"), "{fds}");
}

/// `flags:` has `O_CLOEXEC` (proc_pid_fdinfo(5)).
fn is_close_on_exec(info: &str) -> bool {
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).expect("flags");
    u32::from_str_radix(flags.trim(), 8).expect("octal") & 0o2_000_000 != 0
}

fn mqfleet(folder: &Path, args: &[&str]) -> Output {
    Command::new(program()).args(args).current_dir(folder).stdin(Stdio::null()).output().expect("it runs")
}

#[test]
fn a_hook_can_be_tried() {
    let file = hooked(1, 3, "cat; echo \"$MQFLEET_CLIENT\" >&2; exit ${CODE:-0}", "mode = \"each\"\nto = \"failed\"");
    let said = |args: &[&str]| {
        let output = mqfleet(file.dir.path(), &[&["hook", "test", "fleet.toml"], args].concat());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, out, err) = said(&["h", "--client", "press-02"]);
    assert_eq!((code, err.as_str()), (Some(0), "press-02\n"), "{out}");
    let only = file.dir.path().join("only.toml");
    let text = fs::read_to_string(file.path()).expect("a file").replace("to = \"failed\"", "match = \"id:press-03\"");
    fs::write(only, text).expect("a file");
    let left_out = mqfleet(file.dir.path(), &["hook", "test", "only.toml", "h", "--client", "press-02"]);
    let err = String::from_utf8_lossy(&left_out.stderr).into_owned();
    assert!(err.contains("warning: `match` leaves press-02 out"), "{err}");
    let line =
        told(&out.lines().filter(|line| line.starts_with('{')).map(|line| format!("{line}\n")).collect::<String>());
    assert_eq!((&line[0]["client"], &line[0]["to"], line.len()), (&"press-02".into(), &"failed".into(), 1));
    assert!(
        out.contains("/hook (each) is told: {\"type\":\"state\"") && out.contains("hook h ended well after "),
        "{out}"
    );

    script(&file, "hook", "exit 3");
    let (code, _, err) = said(&["h"]);
    assert_eq!((code, err.as_str()), (Some(1), "mqfleet: hook h failed (exit status: 3)\n"));
    let (code, _, err) = said(&["i"]);
    assert!(code == Some(2) && err.contains("the file has no hook \"i\": it has h"), "{err}");
    let (code, _, err) = said(&["h", "--client", "pres-01"]);
    assert!(code == Some(2) && err.contains("did you mean press-01?"), "{err}");
}

#[test]
fn every_error_in_hooks_is_told_with_its_place_and_a_hint() {
    let file = file(1, 1, "");
    script(&file, "there", "");
    let text = fs::read_to_string(file.path()).unwrap()
        + r#"
[[hook]]
nam = "a"
from = ["upp"]
to = []
match = "id:x sate:up"
run = ["./there", "%c"]
mode = "bash"
timeout = "0s"
initial = "yes"
[[hook]]
name = "b"
run = ["./nowhere"]
at_most = 2
[[hook]]
name = "c"
run = []
mode = "stream"
timeout = "5s"
match = { labels = { site = "x" }, state = "upp" }
[[hook]]
name = "d"
run = "./there"
[[hook]]
name = "e"
run = ["./there"]
[[hook]]
name = "e"
run = ["./there"]
"#;
    fs::write(file.path(), &text).unwrap();
    let output = mqfleet(file.dir.path(), &["check", "fleet.toml"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    let line = |begin: &str| text.lines().position(|line| line == begin).expect("a line") + 1;
    for (title, place, help) in [
        ("unknown key \"nam\" in [[hook]]", (line("nam = \"a\""), 1), "did you mean `name`?"),
        ("[[hook]] has no `name`", (line("nam = \"a\"") - 1, 1), "such as name = \"tickets\""),
        ("`from` cannot be \"upp\"", (line("from = [\"upp\"]"), 9), "did you mean \"up\"?"),
        ("`to` is an empty list", (line("to = []"), 6), "name at least one"),
        ("there is no field \"sate\"", (line("match = \"id:x sate:up\""), 15), "did you mean state?"),
        ("\"%c\" is no pattern", (line("run = [\"./there\", \"%c\"]"), 20), "%f is the fleet's name"),
        ("`mode` cannot be \"bash\"", (line("mode = \"bash\""), 8), "did you mean \"batch\"?"),
        ("`timeout` must be 100ms to 1h", (line("timeout = \"0s\""), 11), ""),
        ("`initial` must be true or false, not a string", (line("initial = \"yes\""), 11), ""),
        ("there is no program \"./nowhere\"", (line("run = [\"./nowhere\"]"), 8), "run without a shell"),
        ("`at_most` means nothing with mode = \"batch\"", (line("at_most = 2"), 1), "for mode = \"each\""),
        ("`run` is empty", (line("run = []"), 7), "such as run = ["),
        ("`timeout` means nothing with mode = \"stream\"", (line("timeout = \"5s\""), 1), "one process that stays"),
        ("unknown key \"labels\" in `match`", (line("timeout = \"5s\"") + 1, 11), "did you mean `label`?"),
        ("no state is \"upp\"", (line("timeout = \"5s\"") + 1, 44), "did you mean up?"),
        ("`run` must be a list, not a string", (line("run = \"./there\""), 7), "such as run = ["),
        ("there are two hooks called \"e\"", (text.lines().count() - 1, 8), "a name of its own"),
    ] {
        let (at_line, column) = place;
        let found =
            said.split("error: ").find(|part| part.starts_with(title)).unwrap_or_else(|| panic!("{title}: {said}"));
        assert!(
            found.contains(&format!("fleet.toml:{at_line}:{column}\n")) && found.contains(help),
            "{title}: {found}"
        );
    }
    assert!(said.contains("17 errors"), "{said}");
}

/// A process that does not outlive its test.
struct Guard(std::process::Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
