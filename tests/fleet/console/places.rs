//! The way through the screens on a real fleet: what is marked by a query, or shown by a group, a cause, an event, is exactly whom a key then hits, in the broker's own log.

use super::*;

#[test]
fn marks_of_a_query_groups_and_events_name_exactly_whom_keys_then_hit() {
    let broker = Mosquitto::with(Setup::default());
    let file = FleetFile::presses(broker.port(), 60);
    let mut console = start(&file);
    console.wait_text("60 up");

    // Those of one query are marked, and of these one of another is not.
    console.press("/press-000\r");
    console.wait_text("9 of 60 match");
    console.press("*");
    console.wait_text("9 marked in all");
    console.press("/7\r\\");
    console.wait_text("8 marked in all");
    console.press(ESC);
    console.wait_for("no filter", |s| !s.contains("match"));
    console.press("d");
    console.wait_for("the question", |s| s.contains("8 clients") && s.contains("yes, disconnect"));
    console.press("y");
    console.wait_text("8 off");
    let log = wait_log(&broker, "eight disconnects", |log| count_in_log(log, "disconnected") >= 8);
    let meant: BTreeSet<String> = (1..10).filter(|n| *n != 7).map(|n| format!("press-{n:04}")).collect();
    assert_eq!(in_log(&log, "disconnected"), meant);

    // They are a group of their own.
    console.press("2");
    console.wait_text("1 of 1");
    console.press(">");
    console.wait_for("groups by state", |s| s.contains("STATE ") && s.contains("1 of 2"));
    console.press(DOWN);
    console.wait_text("2 of 2");
    console.press("\r");
    console.wait_for("the group", |s| s.contains("/state:off") && s.contains("8 of 60 match"));
    console.press(ESC);
    console.wait_text("2 of 2");

    // The map has a cell for each; what is under its cursor is opened.
    console.press("3");
    console.wait_text("a cell is a client");
    console.press("\x1b[C\x1b[C");
    console.wait_text("press-0003");
    console.press("\r");
    console.wait_for("the client's own pane", |s| s.contains("availability") && s.contains("press-0003"));
    console.press(ESC);
    console.wait_text("a cell is a client");

    // The events tell of it once; who it is about is shown, and comes back from there.
    console.press("5");
    console.wait_text("follows the newest");
    console.press("/operator\r");
    console.wait_text("1 of");
    console.press("\r");
    console.wait_text("8 of 60");
    console.press("\\*r");
    console.wait_for("the question", |s| s.contains("8 clients") && s.contains("yes, reconnect"));
    console.press("y");
    console.wait_text("60 up");
    let again =
        |log: &str, id: &str| log.lines().filter(|l| l.contains("New client connected") && l.contains(id)).count() == 2;
    wait_log(&broker, "eight clients a second time", |log| meant.iter().all(|id| again(log, id)));
    assert!(!again(&broker.log(), "press-0007"), "nobody else");

    // All the way back: Esc never quits.
    console.press(ESC);
    console.wait_text("follows the newest");
    console.press("1");
    console.wait_for("the table", |s| s.contains("REASON") && !s.contains("match") && s.contains("60 up"));
    quit(&mut console);
}
