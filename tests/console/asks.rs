//! What is asked before something is done to many clients: at every size, in production, about endpoints; and that it can be taken back.

use crate::{DOWN, console::Console, count_in_log, fleet_file::FleetFile, mosquitto::Mosquitto, quit, start, wait_log};

/// Where the table is not seen, nobody can tell whom a key hits: it does nothing, and says so. A question that
/// was asked before is there in whatever room there is, and cannot be answered where there is none.
#[test]
fn at_no_size_is_a_question_answered_that_nobody_sees() {
    let broker = Mosquitto::start();
    let file = FleetFile::presses(broker.port(), 60);
    let mut console = start(&file);
    console.wait_text("60 up");
    for (columns, lines) in [(39, 24), (80, 9), (20, 3), (60, 1)] {
        console.resize(columns, lines);
        console.wait_for("the small screen", |s| !s.contains("CLIENT"));
        console.press("*");
        console.wait_for("the refusal", |s| s.contains("too small"));
        console.press("dy");
        console.press("60\r");
    }
    console.resize(120, 40);
    let screen = console.wait_text("60 up");
    assert!(!screen.contains("marked") && !screen.contains(" off"), "{screen}");
    console.press("*");
    console.wait_text("60 marked");
    console.press("d");
    console.wait_text("type 60");
    console.press("60");
    console.resize(39, 5);
    console.wait_text("Disconnect 60 clients");
    console.resize(9, 2);
    console.wait_for("no room for it", |s| s.trim_start().starts_with("enlarge"));
    console.press("\r\r");
    console.resize(30, 4);
    console.wait_text("type 60 Enter: 60");
    assert_eq!(count_in_log(&broker.log(), "disconnected"), 0);
    console.press("\r");
    console.wait_text("0 up");
    wait_log(&broker, "sixty disconnects", |log| count_in_log(log, "disconnected") == 60);
    console.resize(120, 40);
    console.wait_text("60 off");
    console.press("q");
    assert_eq!(console.wait_exit().code, 0);
}

/// Keys that come before the question was on the screen do not answer it.
#[test]
fn a_question_is_not_answered_before_it_is_seen() {
    let broker = Mosquitto::start();
    let file = FleetFile::presses(broker.port(), 10);
    let mut console = start(&file);
    console.wait_text("10 up");
    console.press("*dy");
    console.wait_text("the question is not on the screen");
    console.press("y");
    console.wait_text("10 off");
    console.press("q");
    assert_eq!(console.wait_exit().code, 0);
}

#[test]
fn orders_about_an_endpoint_are_asked_told_kept_and_taken_back() {
    let broker = Mosquitto::start();
    let file = FleetFile::presses(broker.port(), 60);
    let log = file.dir.path().join("events.jsonl");
    let args = ["run", file.path(), "--log", log.to_str().unwrap(), "--format", "json"];
    let mut console = Console::start(120, 40, &args);
    console.wait_text("60 up");
    console.press(DOWN);
    console.wait_text("1 of 60");
    console.press("h");
    console.wait_text("nobody connects to it any more, of 60 clients");
    console.press("\r");
    console.wait_text("nothing done: 60 was not typed");
    console.press("h");
    console.wait_text("type 60");
    console.press("60\r");
    console.wait_text("operator holds eu-1");
    console.wait_text("eu-1: on hold");
    // Who loses its connection now is held by hand, which is no trouble and looks like none.
    console.press("r");
    let screen = console.wait_text("1 held");
    assert!(!screen.contains(" down "), "{screen}");
    console.press("u");
    console.wait_text("operator releases eu-1");
    console.wait_text("60 up");
    console.press("+");
    console.wait_text("connects a second");
    console.press("\x1b");
    console.wait_text("nothing done");
    quit(&mut console);
    let kept = std::fs::read_to_string(log).unwrap();
    let orders: Vec<&str> = kept.lines().filter(|line| line.contains("\"type\":\"order\"")).collect();
    assert_eq!(orders.len(), 2, "{kept}");
    assert!(orders[0].contains("\"endpoint\":\"eu-1\",\"order\":\"hold\""), "{}", orders[0]);
    assert!(orders[1].contains("\"order\":\"release\""), "{}", orders[1]);
}

/// A frozen view sends nothing, whatever happens to the fleet meanwhile.
#[test]
fn a_frozen_screen_costs_no_byte() {
    let broker = Mosquitto::start();
    let file = FleetFile::presses(broker.port(), 20);
    let mut console = start(&file);
    console.wait_text("20 up");
    console.press("f");
    console.wait_text("FROZEN at");
    // A second client of the test's makes its clients flap: news enough.
    let before = console.byte_count();
    for _ in 0..10 {
        std::thread::sleep(std::time::Duration::from_millis(500)); // what must not come cannot be waited for
        assert_eq!(console.byte_count(), before, "a frozen screen wrote");
    }
    console.press("f");
    console.wait_text("it goes on: 0 changes");
    quit(&mut console);
}
