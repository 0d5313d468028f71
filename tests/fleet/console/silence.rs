//! A broker that is stopped, its connections standing: what the screen says meanwhile, and what the report says after it.

use std::{fs, process::Command};

use mqfleet_test_support::{console::Console, fleet_file::FleetFile, mosquitto::Mosquitto, program};

use super::quit;

#[test]
fn a_stopped_broker_is_on_the_screen_in_the_events_and_in_the_report() {
    let broker = Mosquitto::start();
    let text = fs::read_to_string(FleetFile::presses(broker.port(), 30).path()).unwrap();
    let file = FleetFile::new(&text.replace("every = \"1s\"", "every = \"500ms\""));
    let recording = file.dir.path().join("run.rec");
    let recording = recording.to_str().unwrap();
    let mut console = Console::start(120, 40, &["run", file.path(), "--record", recording]);
    console.wait_text("all 30 up since");
    console.wait_text("p99");
    broker.freeze();
    console.wait_text("◇ 30 mute");
    console.wait_text("eu-1 is silent: no answer to");
    console.wait_text("30 clients get no answer since");
    let p99 = |screen: &str| {
        let text = screen.split("p99 ").nth(1)?.split_whitespace().next()?;
        text.strip_suffix('s').filter(|text| !text.ends_with(['m', 'µ']))?.parse::<f64>().ok()
    };
    console.wait_for("the wait in the p99", |s| p99(s).is_some_and(|p99| p99 >= 5.0));
    broker.thaw();
    console.wait_text("eu-1 answers again, after a silence of");
    console.wait_text("● 30 up");
    let screen = console.wait_text("all 30 up since");
    assert_eq!(screen.matches("is silent: no answer").count(), 1, "{screen}");
    assert!(p99(&screen).is_some_and(|p99| p99 >= 5.0), "the wait is not forgotten at once\n{screen}");
    quit(&mut console);
    let report = Command::new(program()).args(["report", recording, "--format", "json"]).output();
    let report: serde_json::Value = serde_json::from_slice(&report.unwrap().stdout).unwrap();
    let latency = &report["whole"]["latency"];
    assert!(latency["max_us"].as_u64().is_some_and(|max| max >= 5_000_000), "{latency}");
    assert!(latency["p99_us"].as_u64().is_some_and(|p99| p99 >= 1_000_000), "{latency}");
}
