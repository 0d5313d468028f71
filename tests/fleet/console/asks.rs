//! What is asked before something is done to many clients: at every size, in production, about endpoints; and that it can be taken back.

use mqfleet_test_support::{console::Console, fleet_file::FleetFile, mosquitto::Mosquitto};

use super::{DOWN, count_in_log, quit, start, wait_log};

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
        if lines == 24 {
            console.wait_text("(enlarge)");
        }
        console.press("*");
        console.wait_for("the refusal", |s| s.contains("too small"));
        console.press("dy");
        console.press("60\r");
        // Each key renews it: once it is gone, they all have been read.
        console.wait_for("its end", |s| !s.contains("too small"));
    }
    console.resize(120, 40);
    // The small screen counts as well; it has no clients.
    let screen = console.wait_text("press-0001");
    assert!(!screen.contains("marked") && !screen.contains(" off"), "{screen}");
    console.press("*");
    console.wait_text("60 marked");
    console.press("d");
    console.wait_text("type 60");
    console.press("60");
    console.wait_read();
    console.resize(39, 5);
    console.wait_text("Disconnect 60 clients");
    console.resize(9, 2);
    console.wait_for("no room for it", |s| s.trim_start().starts_with("enlarge"));
    console.press("\r\r");
    console.wait_read();
    console.resize(30, 4);
    console.wait_text("Enter: 60");
    assert_eq!(count_in_log(&broker.log(), "disconnected"), 0);
    console.press("\r");
    console.wait_text("0 up");
    wait_log(&broker, "sixty disconnects", |log| count_in_log(log, "disconnected") == 60);
    console.resize(120, 40);
    console.wait_text("60 off");
    console.press("q");
    assert_eq!(console.wait_exit().code, 0);
}

/// Keys that come before the question was on the screen do not answer it. A busy machine may read and draw between
/// two keys of a burst: then they did not.
#[test]
fn a_question_is_not_answered_before_it_is_seen() {
    let broker = Mosquitto::start();
    let file = FleetFile::presses(broker.port(), 10);
    let was_refused = (0..10).any(|_| {
        let mut console = start(&file);
        console.wait_text("10 up");
        console.press("*dy");
        const REFUSAL: &str = "the question is not on the screen";
        let screen = console.wait_for("an outcome", |s| s.contains(REFUSAL) || s.contains("10 off"));
        let was_refused = screen.contains(REFUSAL);
        if was_refused {
            console.press("y");
            console.wait_text("10 off");
        }
        console.press("q");
        assert_eq!(console.wait_exit().code, 0);
        was_refused
    });
    assert!(was_refused, "time and again it was answered by a key that came before");
}

#[test]
fn orders_about_an_endpoint_are_asked_told_kept_and_taken_back() {
    let broker = Mosquitto::start();
    let file = FleetFile::presses(broker.port(), 60);
    let log = file.dir.path().join("events.log");
    let args = ["run", file.path(), "--log", log.to_str().unwrap()];
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
    let orders: Vec<&str> = kept.lines().filter(|line| line.contains("operator")).collect();
    assert!(orders.iter().any(|line| line.ends_with("operator holds eu-1: nobody connects to it")), "{kept}");
    assert!(orders.iter().any(|line| line.ends_with("operator releases eu-1: clients may connect again")), "{kept}");
    assert!(!kept.contains("a second connect to"), "a rate that was not wanted was set\n{kept}");
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

#[test]
fn a_key_that_means_nothing_says_so_and_the_cursor_is_seen_without_colours() {
    let broker = Mosquitto::start();
    let file = FleetFile::presses(broker.port(), 60);
    let env = [("NO_COLOR", "1")];
    let mut console = Console::start_with(80, 24, &["run", file.path(), "--theme", "dark"], &env);
    console.wait_text("60 up");
    console.press("X");
    console.wait_text("X means nothing here; ? shows the keys");
    console.press(DOWN);
    console.wait_text("1 of 60");
    console.with_screen(|screen| {
        let row = (0..24).find(|y| screen.cell(*y, 0).is_some_and(|cell| cell.contents() == ">"));
        let cell = row.and_then(|y| screen.cell(y, 12)).expect("the cursor's row");
        assert!(cell.inverse(), "the cursor's line looks like any other");
    });
    console.press("?");
    let top = console.wait_text("more below");
    console.press("G");
    let bottom = console.wait_for("the end of the help", |s| s.contains(" 0 more below"));
    assert_ne!(top, bottom);
    assert!(bottom.contains("held by operator"), "{bottom}");
    console.press("\x1b");
    console.wait_for("the table", |s| !s.contains("more below"));
    console.press("\r");
    console.wait_text("client");
    console.press("l");
    console.wait_text("latency  60 clients");
    console.press("\x1b");
    console.wait_for("the detail again", |s| !s.contains("latency  60 clients") && s.contains("protocol"));
    console.press("\x1b");
    console.wait_for("the table", |s| !s.contains("protocol"));
    console.press("e");
    console.wait_text("endpoints");
    console.press("\x1b");
    console.wait_for("the table", |s| !s.contains("endpoints"));
    quit(&mut console);
}
