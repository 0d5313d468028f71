//! A fleet file that is read anew: by the broker's own log nobody is disturbed who did not change, and what is wrong changes nothing.

use std::{fs, time::Instant};

use mqfleet_test_support::{SOON, fleet_file::FleetFile, mosquitto::Mosquitto, process};
use rustix::process::Signal;

use crate::{Agent, lines, text};

/// A fleet of `count` presses, and whatever else the file has.
fn fleet(port: u16, count: usize, more: &str) -> String {
    format!(
        r#"
        [fleet]
        name = "test"
        worker_size = 250
        [endpoint.eu-1]
        url = "mqtt://127.0.0.1:{port}"
        connect_rate = 500
        [defaults]
        reconnect = {{ strategy = "exponential", min = "500ms", max = "2s" }}
        [[client]]
        id = "press-%04i"
        count = {count}
        endpoints = ["eu-1"]
        {more}
        "#
    )
}

fn single(id: &str, more: &str) -> String {
    format!("[[client]]\nid = \"{id}\"\nendpoints = [\"eu-1\"]\n{more}\n")
}

/// How often the broker took each of these clients, and how often it lost one.
fn taken(broker: &Mosquitto, id: &str) -> usize {
    broker.log().matches(&format!(" as {id} (")).count()
}

#[test]
fn of_a_thousand_clients_only_those_notice_that_changed_came_or_went() {
    let broker = Mosquitto::start();
    let file = FleetFile::new("");
    let write = |text: String| fs::write(file.path(), text).expect("the fleet file");
    let (one, gone) = (single("one", "keep_alive = \"30s\""), single("gone", ""));
    write(fleet(broker.port(), 998, &format!("{one}{gone}")));
    let agent = Agent::start(&file);
    agent.wait_up(1_000);
    let connects = || broker.log().matches("New client connected").count();
    assert_eq!(connects(), 1_000);

    // One of a thousand changed.
    let changed = single("one", "keep_alive = \"40s\"");
    write(fleet(broker.port(), 998, &format!("{changed}{gone}")));
    let done = agent.run(&["reload", "test"]);
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{}", text(&done));
    assert_eq!(said, "1 changed (one), 999 kept\n");
    agent.wait_up(1_000);
    assert_eq!((connects(), taken(&broker, "one")), (1_001, 2), "999 keep their connection");
    assert!(broker.log().lines().any(|line| line.contains(" as one (") && line.contains("k40")), "the new settings");

    // An attached console sees who comes, and not who is gone.
    let mut console = agent.console(&["--read-only"]);
    console.wait_text("1,000 up");
    write(fleet(broker.port(), 998, &format!("{changed}{}{}", single("new-1", ""), single("new-2", ""))));
    let done = agent.run(&["reload"]);
    assert!(done.status.success(), "{}", text(&done));
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert_eq!(said, "2 added (new-1, new-2), 1 removed (gone), 999 kept\n");
    console.wait_text("1,001 up");
    console.press("/new-\r");
    console.wait_text("2 of 1,001 match");
    console.press("\u{1b}");
    console.wait_for("all of them", |screen| !screen.contains("match"));
    console.press("/gone\r");
    console.wait_text("0 of 1,001 match");
    let list = agent.list();
    assert_eq!(list.len(), 1_001);
    assert!(list.iter().all(|row| row["client"] != "gone"));
    assert_eq!(connects(), 1_003, "nobody else connected");
    // It left with a DISCONNECT.
    let end = Instant::now() + SOON;
    while !broker.log().contains("Client gone ") {
        assert!(Instant::now() < end, "the broker still has it");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let farewell = broker.log();
    let farewell = farewell.lines().find(|line| line.contains("Client gone ")).expect("a line");
    assert!(farewell.ends_with("disconnected."), "{farewell}");
    assert_eq!(broker.log().matches("disconnected").count(), 2, "of one, when it changed, and of gone");

    // Who comes back is known by its place.
    write(fleet(broker.port(), 998, &format!("{changed}{gone}")));
    let done = agent.run(&["reload", "test"]);
    assert!(done.status.success(), "{}", text(&done));
    console.press("\u{1b}");
    console.wait_for("all of them", |screen| !screen.contains("match"));
    console.press("/gone\r");
    console.wait_text("1 of 1,000 match");
    agent.wait_up(1_000);
    assert_eq!(taken(&broker, "gone"), 2);
    console.press("q");
    assert_eq!(console.wait_exit().code, 0);
    let audit = lines(&agent.state("audit.jsonl"));
    let done: Vec<_> = audit.iter().map(|line| (line["command"].as_str(), line["clients"].as_u64())).collect();
    assert_eq!(done, [(Some("reload"), Some(1)), (Some("reload"), Some(3)), (Some("reload"), Some(3))]);
    agent.end();
}

#[test]
fn a_file_that_is_wrong_changes_nothing_and_says_where() {
    let broker = Mosquitto::start();
    let file = FleetFile::new("");
    let write = |text: String| fs::write(file.path(), text).expect("the fleet file");
    let right = fleet(broker.port(), 20, "");
    write(right.clone());
    let agent = Agent::start(&file);
    agent.wait_up(20);
    let mut console = agent.console(&["--read-only"]);
    console.wait_text("20 up");
    write(right.replace("endpoints = [\"eu-1\"]", "endpoints = [\"eu-2\"]"));
    let refused = agent.run(&["reload", "test"]);
    assert_eq!(refused.status.code(), Some(1));
    let said = text(&refused);
    assert!(said.contains("eu-2") && said.contains("fleet.toml:13:") && said.contains("endpoints = "), "{said}");
    console.wait_text("the fleet file is wrong, and nothing changes");
    console.wait_text("fleet.toml:13:");
    // By a signal it is the same.
    process::signal(agent.child.id(), Signal::HUP);
    let end = Instant::now() + SOON;
    while lines(&agent.state("audit.jsonl")).len() < 2 {
        assert!(Instant::now() < end, "the signal is not heard");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    // Another name is another fleet.
    write(right.replace("name = \"test\"", "name = \"other\""));
    let refused = agent.run(&["reload", "test"]);
    assert!(text(&refused).contains("restart it"), "{}", text(&refused));
    assert_eq!((agent.list().len(), broker.log().matches("New client connected").count()), (20, 20));
    assert!(!broker.log().contains("disconnected"));
    // And what is right then is taken in.
    write(fleet(broker.port(), 21, ""));
    process::signal(agent.child.id(), Signal::HUP);
    console.wait_text("21 up");
    assert_eq!(broker.log().matches("New client connected").count(), 21);
    console.press("q");
    assert_eq!(console.wait_exit().code, 0);
    let audit = lines(&agent.state("audit.jsonl"));
    let outcome = |n: usize| audit[n]["outcome"].as_str().expect("words").to_owned();
    assert!(outcome(0).contains("fleet.toml:13:") && outcome(1) == outcome(0) && outcome(3) == "done", "{audit:?}");
    agent.end();
}

#[test]
fn an_endpoint_that_moved_takes_its_clients_along_and_another_rate_nobody() {
    let (first, second) = (Mosquitto::start(), Mosquitto::start());
    let file = FleetFile::new("");
    let write = |text: String| fs::write(file.path(), text).expect("the fleet file");
    let other = |port: u16| {
        let endpoint = format!("[endpoint.eu-2]\nurl = \"mqtt://127.0.0.1:{port}\"\n");
        endpoint + "[[client]]\nid = \"other-%02i\"\ncount = 5\nendpoints = [\"eu-2\"]\n"
    };
    write(fleet(first.port(), 10, &other(first.port())));
    let agent = Agent::start(&file);
    agent.wait_up(15);
    write(fleet(first.port(), 10, &other(second.port())).replace("connect_rate = 500", "connect_rate = 400"));
    let done = agent.run(&["reload", "test"]);
    assert!(done.status.success(), "{}", text(&done));
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let wanted = "5 changed (other-01, other-02, other-03, other-04, other-05), 10 kept; endpoints: 1 changed (eu-2), \
                  1 adjusted (eu-1)\n";
    assert_eq!(said, wanted);
    let connects = |broker: &Mosquitto| broker.log().matches("New client connected").count();
    assert_eq!((connects(&first), connects(&second)), (15, 5));
    assert_eq!(first.log().matches("disconnected").count(), 5);
    agent.end();
}

#[test]
fn a_reload_is_in_the_recording() {
    let broker = Mosquitto::start();
    let file = FleetFile::new("");
    let write = |text: String| fs::write(file.path(), text).expect("the fleet file");
    write(fleet(broker.port(), 3, &single("gone", "")));
    let recording = file.dir.path().join("run.mqf");
    let recording = recording.to_str().expect("a path");
    let agent = Agent::start_with(&file, &["--record", recording]);
    agent.wait_up(4);
    write(fleet(broker.port(), 3, &single("new", "")));
    assert!(agent.run(&["reload"]).status.success());
    agent.wait_up(4);
    assert!(agent.run(&["ctl", "test", "reconnect", "new"]).status.success());
    assert!(agent.run(&["ctl", "test", "stop"]).status.success());
    let mut agent = agent;
    assert!(agent.child.wait().expect("it is ours").success());
    let replayed = agent.run(&["replay", recording, "--plain"]);
    assert!(replayed.status.success(), "{}", text(&replayed));
    let told = String::from_utf8_lossy(&replayed.stdout).into_owned();
    for wanted in ["gone", "no longer in the fleet file", "reloads: 1 added (new), 1 removed (gone), 3 kept", "new"] {
        assert!(told.contains(wanted), "{wanted}: {told}");
    }
    assert!(!text(&replayed).contains("does not know"), "{}", text(&replayed));
    let page = agent.run(&["report", recording, "--format", "json"]);
    let page: serde_json::Value = serde_json::from_slice(&page.stdout).expect("JSON");
    let names: Vec<_> = page["clients"].as_array().expect("clients").iter().map(|c| c["client"].clone()).collect();
    assert_eq!(names, ["press-0001", "press-0002", "press-0003", "new"]);
}

#[test]
fn what_holds_only_after_a_restart_is_said() {
    let broker = Mosquitto::start();
    let file = FleetFile::new("");
    let write = |text: String| fs::write(file.path(), text).expect("the fleet file");
    write(fleet(broker.port(), 2, ""));
    let agent = Agent::start(&file);
    agent.wait_up(2);
    write(fleet(broker.port(), 2, "[metrics]\nlabel = \"site\""));
    let done = agent.run(&["reload", "test"]);
    assert!(done.status.success(), "{}", text(&done));
    assert_eq!(String::from_utf8_lossy(&done.stdout), "nothing differs, 2 kept\n");
    assert!(text(&done).contains("warning: [metrics] holds only after a restart"), "{}", text(&done));
    agent.end();
}
