//! Jobs in an agent: they go on when their console leaves, every console sees and steers them, a script waits for one, and a restart knows what they did and nothing else.

use std::collections::BTreeSet;

use mqfleet_test_support::{fleet_file::FleetFile, mosquitto::Mosquitto};
use serde_json::Value;

use super::{Agent, lines, text};

/// Forty clients, of which ten a second may connect.
fn slow(broker: &Mosquitto) -> FleetFile {
    FleetFile::new(&format!(
        r#"
        [fleet]
        name = "test"
        [endpoint.eu-1]
        url = "mqtt://127.0.0.1:{}"
        connect_rate = 10
        [[client]]
        id = "press-%04i"
        count = 40
        endpoints = ["eu-1"]
        "#,
        broker.port()
    ))
}

fn off(list: &[Value]) -> BTreeSet<String> {
    let off = list.iter().filter(|row| row["state"] == "off");
    off.filter_map(|row| row["client"].as_str()).map(str::to_owned).collect()
}

#[test]
fn a_job_goes_on_without_its_console_and_another_one_has_it_pause() {
    let broker = Mosquitto::start();
    let file = slow(&broker);
    let agent = Agent::start(&file);
    agent.wait_up(40);
    let mut first = agent.console(&[]);
    first.wait_text("40 up");
    first.press("*");
    first.wait_text("40 marked");
    first.press("r");
    first.wait_text("20 at a time - +");
    first.press("--");
    first.wait_text("5 at a time - +");
    first.press("y");
    first.wait_text("job #1");
    first.press("q");
    first.wait_exit();
    let mut second = agent.console(&[]);
    second.press("6");
    let running = second.wait_for("the job", |s| s.contains("#1    reconnect"));
    assert!(running.contains("running"), "{running}");
    second.press(".");
    second.wait_for("it to pause", |s| s.contains("paused") && !s.contains(" under way,"));
    let mut watching = agent.console(&["--read-only"]);
    watching.press("6");
    watching.wait_text("paused");
    watching.press(".");
    watching.wait_text("not done: this console is for reading only");
    second.press(".");
    watching.wait_for("its end", |s| s.contains("> #1") && s.contains("done") && s.contains(" ago, took"));
    let said = lines(&agent.state("audit.jsonl"));
    let commands: Vec<_> = said.iter().map(|line| line["command"].as_str().unwrap_or_default()).collect();
    assert_eq!(commands, ["reconnect", "pause job", "resume job"]);
    assert_eq!(said[0]["clients"], 40);
    agent.end();
}

#[test]
fn a_script_waits_for_its_job_and_a_restart_knows_exactly_what_jobs_did() {
    let broker = Mosquitto::start();
    let file = slow(&broker);
    let agent = Agent::start(&file);
    agent.wait_up(40);
    let done = agent.run(&["ctl", "test", "disconnect", "--where", "id~^press-000", "--at-once", "3"]);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done));
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert_eq!(said, "job #1: disconnect 9 clients done: 9 done\n");
    assert_eq!(off(&agent.list()).len(), 9);
    // Cancelled in the middle: only who had a turn is off for good.
    let mut console = agent.console(&[]);
    console.wait_text("31 up");
    console.press(":disconnect id~^press-00[123]\r");
    console.wait_text("isconnect 30 clients");
    console.press("y");
    console.press("6");
    let is_begun = |s: &str| s.lines().any(|l| l.starts_with("> #2") && l.contains("disconnect"));
    console.wait_for("the second job", is_begun);
    console.press("x");
    console.wait_text(" ago, took");
    let before = off(&agent.list());
    assert!(before.len() > 9 && before.len() < 39, "{before:?}");
    drop(console);
    agent.wait_for("it to be kept", |_| {
        let kept = std::fs::read_to_string(agent.state("wishes.json")).unwrap_or_default();
        let kept: Value = serde_json::from_str(&kept).unwrap_or_default();
        kept["off"].as_array().is_some_and(|off| off.len() == before.len())
    });
    let (home, file) = agent.kill();
    let agent = Agent::start_in(home, &file);
    agent.wait_up(40 - before.len());
    assert_eq!(off(&agent.list()), before);
    agent.end();
}
