//! What a service manager hears of an agent, and the unit that it is run by.

use std::{
    os::unix::net::UnixDatagram,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use mqfleet_test_support::{SOON, fleet_file::FleetFile, mosquitto::Mosquitto, process, program};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::Agent;

#[test]
fn it_hears_that_the_agent_is_ready_lives_and_how_its_fleet_does() {
    let broker = Mosquitto::start();
    let file = FleetFile::presses(broker.port(), 7);
    let home = TempDir::new().expect("a folder");
    let path = home.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(1))).expect("a limit");
    let mut command = Command::new(program());
    command.args(["agent", file.path()]).envs(crate::folders(&home)).stdin(Stdio::null()).stderr(Stdio::null());
    let child = command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "30000000").spawn().expect("it starts");
    let mut agent = Agent { home, file: file.path().to_owned(), child };
    let mut heard = Vec::new();
    let mut hear = |wanted: &str| {
        // It speaks every second: a limit of each reading would never be over.
        let end = Instant::now() + SOON;
        loop {
            if let Some(place) = heard.iter().position(|line: &String| line.contains(wanted)) {
                heard.drain(..=place); // what comes after it is waited for next
                return;
            }
            let mut buffer = [0; 4_096];
            assert!(Instant::now() < end, "{wanted}: {heard:?}");
            let Ok(count) = socket.recv(&mut buffer) else { continue };
            heard.push(String::from_utf8_lossy(&buffer[..count]).into_owned());
        }
    };
    for wanted in ["READY=1", "WATCHDOG=1", "STATUS=7 of 7 up, 0 down"] {
        hear(wanted);
    }
    process::signal(agent.child.id(), Signal::HUP);
    hear("RELOADING=1\nMONOTONIC_USEC=");
    hear("READY=1");
    process::signal(agent.child.id(), Signal::TERM);
    hear("STOPPING=1");
    assert!(agent.child.wait().expect("it is ours").success(), "a service that is stopped did not fail");
}

#[test]
fn the_unit_is_hardened() {
    let unit = std::fs::read_to_string("assets/mqfleet@.service").expect("the unit");
    for wanted in [
        "Type=notify",
        "ExecReload=",
        "WatchdogSec=",
        "DynamicUser=yes",
        "StateDirectory=",
        "RuntimeDirectory=",
        "LimitNOFILE=",
    ] {
        assert!(unit.contains(wanted), "{wanted}");
    }
    assert!(!unit.contains("ExecStartPre"), "it fails with credentials and a dynamic user (systemd#24291)");
    let exposure = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager", "--threshold=41", "assets/mqfleet@.service"])
        .output();
    match exposure {
        Err(_) => println!("skipped: there is no systemd-analyze here"),
        Ok(said) => {
            let text = String::from_utf8_lossy(&said.stdout);
            println!("{}", text.lines().last().unwrap_or_default());
            assert!(said.status.success(), "{text}");
        }
    }
}
