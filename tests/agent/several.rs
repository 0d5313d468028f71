//! One console on several agents, and consoles that stay while their agents go and come back.

use super::*;

/// Another fleet's file: that name, that many clients of the same IDs.
fn fleet_named(name: &str, port: u16, count: usize) -> FleetFile {
    let file = FleetFile::presses(port, count);
    let text = fs::read_to_string(file.path()).expect("the file");
    fs::write(file.path(), text.replace(r#""test""#, &format!("{name:?}"))).expect("the file is written");
    file
}

/// A second agent in the folders of the first.
fn beside(first: &Agent, file: &FleetFile, name: &str) -> Child {
    let mut command = Command::new(program());
    command.args(["agent", file.path()]).stdin(Stdio::null()).stderr(Stdio::null());
    let child = command.envs(first.env()).spawn().expect("the agent starts");
    let end = Instant::now() + SOON;
    while !first.run(&["ls", name]).status.success() {
        assert!(Instant::now() < end, "{name} does not answer");
        std::thread::sleep(Duration::from_millis(20));
    }
    child
}

fn audited(agent: &Agent, name: &str) -> Vec<(String, Vec<String>)> {
    let path = agent.home.path().join("state/mqfleet").join(name).join("audit.jsonl");
    let names = |line: &Value| {
        line["names"].as_array().map(|names| names.iter().filter_map(Value::as_str).map(str::to_owned).collect())
    };
    lines(&path)
        .iter()
        .map(|line| (line["command"].as_str().unwrap_or("").to_owned(), names(line).unwrap_or_default()))
        .collect()
}

#[track_caller]
fn wait_audited(agent: &Agent, name: &str, wanted: &(String, Vec<String>)) {
    let end = Instant::now() + SOON;
    while !audited(agent, name).contains(wanted) {
        assert!(Instant::now() < end, "{name}: no {wanted:?} in {:?}", audited(agent, name));
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The line of the table with the cursor.
fn cursor(screen: &str) -> &str {
    screen.lines().find(|line| line.starts_with('>')).unwrap_or_default()
}

#[test]
fn one_console_shows_and_commands_the_clients_of_two_agents() {
    let broker = Mosquitto::start();
    let (file, other) = (FleetFile::presses(broker.port(), 3), fleet_named("zone", broker.port(), 2));
    // Not at one broker: they have the same IDs.
    let second = Mosquitto::start();
    let text = fs::read_to_string(other.path()).expect("the file");
    fs::write(other.path(), text.replace(&broker.port().to_string(), &second.port().to_string())).expect("written");
    let agent = Agent::start(&file);
    let mut zone = beside(&agent, &other, "zone");
    let mut console = agent.console(&["test", "zone"]);
    let screen = console.wait_for("all of both", |screen| screen.contains("● 5 up"));
    assert!(screen.contains("test + zone") && screen.contains("AGENT"), "{screen}");
    for (id, name, endpoint) in [("press-0001", "test", "test/eu-1"), ("press-0001", "zone", "zone/eu-1")] {
        let is_it = |line: &str| [id, name, endpoint].iter().all(|word| line.contains(word));
        assert!(screen.lines().any(is_it), "{id} of {name}: {screen}");
    }

    // A command goes where its client is, by the key that it has there.
    console.press("/endpoint:zone press-0002\r");
    console.wait_text("1 of 5 match");
    console.press("jr");
    wait_audited(&agent, "zone", &("reconnect".to_owned(), vec!["press-0002".to_owned()]));
    console.press("\x1b");
    console.wait_for("everybody", |screen| !screen.contains(" match"));
    assert_eq!(audited(&agent, "test"), []);

    // Somebody else commands one of them.
    let mut other_console = agent.console(&["zone"]);
    other_console.wait_text(" commands");
    other_console.press("w");
    // The head says so, and not only an event.
    let head = |screen: &str| screen.lines().next().is_some_and(|line| line.contains("zone: "));
    console.wait_for("who commands one of them", head);
    console.press("*r");
    console.wait_for("the question", |screen| screen.contains("5 clients") && screen.contains("yes, reconnect"));
    console.press("y");
    console.wait_text("not done: zone: ");
    let all = vec!["press-0001".to_owned(), "press-0002".to_owned(), "press-0003".to_owned()];
    wait_audited(&agent, "test", &("reconnect".to_owned(), all));
    let reconnects = audited(&agent, "zone").into_iter().filter(|(command, _)| command == "reconnect");
    assert_eq!(reconnects.count(), 1);
    console.press("w");
    other_console.wait_text(" commands");
    other_console.press("q");
    assert_eq!(other_console.wait_exit().code, 0);

    // One reads its file anew: the new client is its own, and the others stay where they are.
    let text = fs::read_to_string(other.path()).expect("the file");
    fs::write(other.path(), text.replace("count = 2", "count = 3")).expect("written");
    assert!(
        agent.run(&["reload", "zone"]).status.success()
            || agent.run(&["reload", "zone", "--take-over"]).status.success()
    );
    let is_new = |line: &str| ["press-0003", "zone", "zone/eu-1", "up"].iter().all(|word| line.contains(word));
    console.wait_for("the new one", |screen| screen.lines().any(is_new) && screen.contains("● 6 up"));

    let twice = agent.console(&["test", "zone", "test"]);
    twice.wait_text("test is attached to already");
    // What is wrong is said of all of them.
    let nobody = agent.console(&["test", "hall", "yard"]);
    nobody.wait_for("both", |screen| screen.contains("hall.sock") && screen.contains("yard.sock"));

    // It ends on purpose while the other lives on.
    assert!(agent.run(&["ctl", "zone", "stop", "--take-over"]).status.success());
    console.wait_for("what is known", |screen| screen.contains("? 3 unk") && screen.contains("● 3 up"));
    zone.wait().expect("it is ours");
    console.press("q");
    assert_eq!(console.wait_exit().code, 0);
    console.assert_restored();
    agent.end();
}

#[test]
fn the_clients_of_an_agent_that_is_gone_are_unknown_until_it_is_back() {
    let broker = Mosquitto::start();
    let second = Mosquitto::start();
    let (file, other) = (FleetFile::presses(broker.port(), 3), fleet_named("zone", second.port(), 2));
    let agent = Agent::start(&file);
    let mut zone = beside(&agent, &other, "zone");
    let mut console = agent.console(&["test", "zone"]);
    console.wait_text("● 5 up");
    console.press("/endpoint:zone press-0002\r");
    console.wait_text("1 of 5 match");
    console.press("j\x1b");
    console.wait_for("the cursor on it", |screen| cursor(screen).contains("zone") && !screen.contains(" match"));
    for _ in 0..rounds(2) {
        zone.kill().expect("it runs");
        zone.wait().expect("it is ours");
        let screen = console.wait_for("what is known", |screen| {
            screen.contains("agent zone is gone since ") && screen.contains("? 2 unk") && screen.contains("● 3 up")
        });
        assert!(screen.contains("trying again") && screen.matches("its agent is gone").count() == 2, "{screen}");
        assert!(cursor(&screen).contains("press-0002"), "{screen}");
        console.press("r");
        console.wait_text("not done: zone: the agent is gone");
        zone = beside(&agent, &other, "zone");
        let screen =
            console.wait_for("all of both", |screen| screen.contains("● 5 up") && !screen.contains("gone since"));
        assert!(cursor(&screen).contains("zone") && cursor(&screen).contains("press-0002"), "{screen}");
    }
    assert_eq!(broker.log().matches("New client connected").count(), 3, "nobody of the other lost its connection");
    console.press("q");
    assert_eq!(console.wait_exit().code, 0);
    zone.kill().expect("it runs");
    zone.wait().expect("it is ours");
    agent.end();
}

#[test]
fn a_console_outlives_its_only_agent_and_knows_what_it_looked_at() {
    let broker = Mosquitto::start();
    let file = FleetFile::presses(broker.port(), 6);
    let mut agent = Agent::start(&file);
    agent.wait_up(6);
    let mut console = agent.console(&[]);
    console.wait_text("● 6 up");
    // The cursor on the third, the second marked.
    console.press("/press-0003\r");
    console.wait_text("1 of 6 match");
    console.press("j\x1b");
    console.wait_for("the cursor on it", |screen| cursor(screen).contains("press-0003") && !screen.contains(" match"));
    console.press("k ");
    console.wait_text("1 marked");
    for _ in 0..rounds(2) {
        let (home, path) = agent.kill();
        console.wait_for("that it is gone", |screen| {
            screen.contains("agent test is gone since ") && screen.contains("? 6 unk") && screen.contains("● 0 up")
        });
        agent = Agent::start_in(home, &path);
        let screen =
            console.wait_for("all of it", |screen| screen.contains("● 6 up") && !screen.contains("gone since"));
        assert!(cursor(&screen).contains("press-0003") && screen.contains("1 marked"), "{screen}");
    }
    // It is heard, and commands, as before.
    console.press("r");
    wait_audited(&agent, "test", &("reconnect".to_owned(), vec!["press-0002".to_owned()]));
    // A gone one does not hold anybody.
    let (home, _) = agent.kill();
    console.wait_text("agent test is gone since ");
    console.press("q");
    assert_eq!(console.wait_exit().code, 0);
    console.assert_restored();
    drop(home);
}

#[test]
fn an_agent_that_says_nothing_is_gone_until_it_speaks_again() {
    let broker = Mosquitto::start();
    let file = FleetFile::presses(broker.port(), 3);
    let agent = Agent::start(&file);
    agent.wait_up(3);
    let mut console = agent.console(&[]);
    console.wait_text("● 3 up");
    process::signal(agent.child.id(), Signal::STOP);
    console.wait_for("that it is silent", |screen| {
        screen.contains("it has said nothing for 20 s") && screen.contains("? 3 unk")
    });
    process::signal(agent.child.id(), Signal::CONT);
    console.wait_for("all of it", |screen| screen.contains("● 3 up") && !screen.contains("gone since"));
    console.press("q");
    assert_eq!(console.wait_exit().code, 0);
    agent.end();
}
