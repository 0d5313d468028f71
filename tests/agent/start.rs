//! How agents start and end: what fails is said where it was asked for, and the next one finds room.

use std::{process::Stdio, time::Duration, time::Instant};

use mqfleet_test_support::{fleet_file::FleetFile, mosquitto::Mosquitto, process};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::{Agent, Command, folders, program, rounds, text};

#[test]
fn what_a_running_agent_does_not_do_is_not_asked_of_it_in_vain() {
    let broker = Mosquitto::start();
    let file = FleetFile::presses(broker.port(), 1);
    let agent = Agent::start(&file);
    let record = agent.home.path().join("night.rec");
    let refused = agent.run(&["up", file.path(), "--record", record.to_str().expect("a path")]);
    assert_eq!(refused.status.code(), Some(1));
    let said = text(&refused);
    assert!(said.contains("an agent of \"test\" runs already, without what --record asks for"), "{said}");
    assert!(!record.exists());
    agent.end();
}

#[test]
fn a_start_that_fails_says_why() {
    let broker = Mosquitto::start();
    let file = FleetFile::presses(broker.port(), 1);
    let home = TempDir::new().expect("a folder");
    let mut up = Command::new(program());
    up.args(["up", file.path(), "--record", "/nonexistent/night.rec"]).envs(folders(&home)).stdin(Stdio::null());
    for _ in 0..rounds(5) {
        let failed = up.output().expect("it runs");
        let said = text(&failed);
        let wanted = "mqfleet: the agent did not start: cannot record to /nonexistent/night.rec: No such file";
        assert!(said.starts_with(wanted), "{said}");
    }
}

#[test]
fn one_that_is_stopped_is_not_waited_for_longer_than_was_said() {
    let broker = Mosquitto::start();
    let file = FleetFile::presses(broker.port(), 1);
    let agent = Agent::start(&file);
    process::signal(agent.child.id(), Signal::STOP);
    let begin = Instant::now();
    let silent = agent.run(&["ctl", "test", "reconnect", "--all", "--timeout", "1s"]);
    assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
    let said = text(&silent);
    assert!(said.contains("the agent does not answer: nothing within 1s; is it stopped?"), "{said}");
    process::signal(agent.child.id(), Signal::CONT);
    agent.end();
}

#[test]
fn the_next_one_starts_as_soon_as_the_one_before_is_told_to_end() {
    let broker = Mosquitto::start();
    let file = FleetFile::presses(broker.port(), 20);
    let mut agent = Agent::start(&file);
    for _ in 0..rounds(3) {
        agent.wait_up(20);
        let stopped = agent.run(&["ctl", "test", "stop"]);
        assert!(stopped.status.success(), "{}", text(&stopped));
        let home = std::mem::replace(&mut agent.home, TempDir::new().expect("a folder"));
        let next = Agent::start_in(home, file.path());
        let mut before = std::mem::replace(&mut agent, next);
        assert!(before.child.wait().expect("it is ours").success());
    }
    agent.end();
}
