//! The console on a recording, in a real terminal: keys, the timeline, ends and damage; that its screens are those of the live run is shown cell by cell in `same_screens`.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use mqfleet_test_support::{
    console::Console, fleet_file::FleetFile, headless::Headless, mosquitto::Mosquitto, process,
};
use rustix::process::Signal;
use tempfile::TempDir;

const ESC: &str = "\x1b";
const RIGHT: &str = "\x1b[C";
const LEFT: &str = "\x1b[D";

/// Eight clients that come up, lose their broker and come back.
static RECORDED: LazyLock<(TempDir, PathBuf)> = LazyLock::new(|| {
    let mut broker = Mosquitto::start();
    let file = FleetFile::presses(broker.port(), 8);
    let dir = TempDir::new().expect("a folder");
    let path = dir.path().join("run.rec");
    let mut run = Headless::start(&["run", file.path(), "--record", path.to_str().expect("a path")], &[]);
    run.wait_up(8);
    drop(run.wait_for("answers", |heard| heard.of_type("summary").count() > 2));
    broker.stop();
    drop(run.wait_for("the loss", |heard| heard.count("up") == 0));
    broker.restart();
    run.wait_up(8);
    let summaries = run.heard().of_type("summary").count();
    drop(run.wait_for("some seconds more", |heard| heard.of_type("summary").count() > summaries + 2));
    process::signal(run.id(), Signal::INT);
    run.wait_exit();
    (dir, path)
});

fn recorded() -> &'static str {
    RECORDED.1.to_str().expect("a path")
}

fn replay(columns: u16, lines: u16, args: &[&str]) -> Console {
    Console::start(columns, lines, &[&["replay", recorded()], args].concat())
}

/// The line of the timeline.
fn timeline(screen: &str) -> &str {
    let is_it = |line: &&str| [" playing", " paused", " seeking", " ended"].iter().any(|word| line.starts_with(word));
    screen.lines().find(is_it).unwrap_or_default()
}

/// What the head says of a state: `8 up`.
fn head<'a>(screen: &'a str, state: &str) -> Option<&'a str> {
    let words: Vec<&str> = screen.lines().next()?.split_whitespace().collect();
    words.windows(2).find(|pair| pair[1] == state).map(|pair| pair[0])
}

#[test]
fn a_recording_is_played_paused_and_played_faster() {
    let mut console = replay(120, 40, &["--paused"]);
    let screen = console.wait_for("the begin", |s| timeline(s).starts_with(" paused 1x") && s.contains(" REPLAY "));
    assert_eq!(head(&screen, "off"), Some("8"), "{screen}");
    console.press(" ");
    console.wait_for("it plays", |s| timeline(s).starts_with(" playing 1x"));
    console.press("++");
    console.wait_for("it plays faster", |s| timeline(s).starts_with(" playing 5x"));
    console.wait_for("somebody is lost on the way", |s| s.contains("lost their connection") || s.contains("lost its"));
    let screen = console.wait_for("the end", |s| timeline(s).starts_with(" ended"));
    assert_eq!(head(&screen, "up"), Some("8"), "{screen}");
    console.press("---");
    console.press(" ");
    console.wait_for("from the begin again", |s| {
        timeline(s).starts_with(" playing 0.5x") && timeline(s).contains(" 0:00 / ")
    });
    console.press("p");
    console.wait_for("it stands still", |s| timeline(s).starts_with(" paused 0.5x"));
    console.press("q");
    assert_eq!(console.wait_exit().code, 0, "a replay does not ask");
    console.assert_restored();
}

#[test]
fn keys_go_to_troubles_events_and_times() {
    let mut console = replay(120, 40, &["--paused"]);
    console.wait_for("the begin", |s| timeline(s).starts_with(" paused"));
    console.press("]");
    let screen = console.wait_for("all are up", |s| head(s, "up") == Some("8") && timeline(s).starts_with(" paused"));
    assert!(!screen.contains("lost"), "the trouble has not begun yet\n{screen}");
    console.press(".");
    console.wait_for("the first is lost", |s| head(s, "up") == Some("7") && s.contains("lost its connection"));
    console.press(",");
    console.wait_for("and is not", |s| head(s, "up") == Some("8") && !s.contains("lost its connection"));
    console.press(RIGHT);
    console.wait_for("ten seconds on", |s| head(s, "up") == Some("8") && s.contains("lost their connection"));
    console.press(LEFT);
    console.wait_for("and back", |s| !s.contains("lost their connection"));
    console.press("t");
    console.wait_text("go to:");
    console.press("soon\r");
    console.wait_text("\"soon\" is no time");
    console.press("t0s\r");
    console.wait_for("the begin", |s| head(s, "off") == Some("8"));
    console.press("t");
    console.wait_text("go to:");
    console.press(ESC);
    console.wait_for("no question any more", |s| !s.contains("go to:"));
    console.press("[");
    console.wait_text("no trouble before this");
    // Events of one client, in its detail view: none, queued, connecting, up, lost. What it waits for then is
    // another thing each time: its turn, its own next try, or the endpoint; and some tries may fail.
    console.press("j\r");
    console.wait_text("nothing until it is told to connect");
    for is_up in [true, false, true] {
        let shows_up = |line: &str| line.contains(" up ") || line.contains(" slow ");
        let badge = |s: &str| s.lines().any(|line| line.contains("press-0001  ") && shows_up(line) == is_up);
        // But for the head, which tells anew each second how much was written.
        let body = |s: &str| s.lines().skip(2).map(str::to_owned).collect::<Vec<_>>();
        for _ in 0..40 {
            let before = console.wait_for("a whole frame", |_| true);
            if badge(&before) {
                break;
            }
            console.press(".");
            console.wait_for("a step", |s| body(s) != body(&before));
        }
        console.wait_for(if is_up { "up" } else { "lost" }, badge);
    }
    console.press("q");
    assert_eq!(console.wait_exit().code, 0);
}

#[test]
fn keys_of_a_live_run_say_that_this_is_none() {
    let mut console = replay(80, 60, &["--paused"]);
    console.wait_for("the begin", |s| timeline(s).starts_with(" paused"));
    for (key, says) in
        [("r", "reconnect: not in"), ("d", "disconnect: not in"), ("f", "freeze: not in"), ("*", "mark all: not in")]
    {
        console.press(key);
        console.wait_text(says);
    }
    console.press("?");
    let help = console.wait_text("this help");
    assert!(help.contains("ten seconds on") && !help.contains("disconnect them"), "{help}");
    console.press("\x03");
    assert_eq!(console.wait_exit().code, 0);
    console.assert_restored();
}

#[test]
fn every_size_has_a_timeline() {
    let mut console = replay(200, 60, &["--speed", "10x"]);
    console.wait_for("the end", |s| timeline(s).starts_with(" ended"));
    for (columns, lines) in [(80, 24), (40, 10), (120, 40)] {
        console.resize(columns, lines);
        let screen = console.wait_for("the new size", |s| {
            timeline(s).starts_with(" ended") && s.lines().count() <= lines.into() && head(s, "up") == Some("8")
        });
        let widest = screen.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(columns.into()), "{screen}");
    }
    console.press("q");
    console.wait_exit();
}

#[test]
fn a_torn_recording_says_at_its_end_that_it_is_torn() {
    let dir = TempDir::new().unwrap();
    let torn = dir.path().join("torn.rec");
    let bytes = fs::read(Path::new(recorded())).unwrap();
    fs::write(&torn, &bytes[..bytes.len() - 40]).unwrap();
    let mut console = Console::start(120, 40, &["replay", torn.to_str().unwrap(), "--speed", "100x"]);
    console.wait_text("it died while it wrote");
    console.press("q");
    assert_eq!(console.wait_exit().code, 0);
    console.wait_text("bytes after that are torn");
}

#[test]
fn the_screen_of_a_live_run_comes_again() {
    let broker = Mosquitto::start();
    let file = FleetFile::new(&format!(
        r#"
        [endpoint.eu-1]
        url = "mqtt://127.0.0.1:{}"
        [defaults]
        probe = {{ kind = "off" }}
        [[client]]
        id = "press-%04i"
        count = 8
        endpoints = ["eu-1"]
        "#,
        broker.port()
    ));
    let path = file.dir.path().join("run.rec");
    let path = path.to_str().unwrap();
    // The rows and the events; the lines around them are of the live run or of the replay.
    let middle = |screen: &str| {
        let lines = screen.lines().skip_while(|line| !line.contains("CLIENT")).filter(|line| !line.trim().is_empty());
        let is_theirs = |line: &&str| timeline(line).is_empty() && !line.contains("Enter detail");
        lines.take_while(is_theirs).map(|line| line.trim_end().to_owned()).collect::<Vec<_>>()
    };
    let mut live = Console::start(100, 30, &["run", file.path(), "--record", path]);
    let is_marked = |screen: &str| {
        let rows: Vec<&str> = screen.lines().filter(|line| line.contains("● up ")).collect();
        rows.len() == 8 && rows.iter().all(|row| row.contains(" 3s"))
    };
    let marked = middle(&live.wait_for("all up for three seconds", is_marked));
    live.press("q");
    live.wait_text("yes, quit");
    live.press("y");
    live.wait_exit();
    let mut again = Console::start(100, 30, &["replay", path, "--speed", "1x"]);
    again.wait_for(&format!("the same screen:\n{}", marked.join("\n")), |screen| middle(screen) == marked);
    again.press("q");
    assert_eq!(again.wait_exit().code, 0);
}
