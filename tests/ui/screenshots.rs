//! The pictures in `screenshots/`, taken from the real program in a real terminal; run with `MQFLEET_SCREENSHOTS=write` it writes them anew, otherwise it fails where they show a console that no longer exists.

use std::{fs, path::Path};

use mqfleet_test_support::{
    SOON,
    console::Console,
    svg::{self, Picture},
};

/// Writes the picture, or compares what does not change from second to second with the one there is.
#[track_caller]
fn picture(console: &Console, name: &str, lasting: impl Fn(&str) -> Vec<String>) {
    let (picture, screen) = console.with_screen(|s| (Picture::of_screen(s).svg(), s.contents()));
    let path = Path::new("screenshots").join(name);
    if std::env::var("MQFLEET_SCREENSHOTS").is_ok_and(|v| v == "write") {
        fs::write(path.with_extension("svg"), &picture).expect("written");
        fs::write(path.with_extension("png"), svg::png(&picture, 1.5)).expect("written");
        return;
    }
    let taken = fs::read_to_string(path.with_extension("svg")).expect("a picture: run `make screenshots`");
    let (taken, wanted) = (lasting_hints(&words(&taken)), lasting(&screen));
    assert!(!wanted.is_empty(), "nothing lasting on the screen:\n{screen}");
    for line in wanted {
        let line = lasting_hints(&line.split_whitespace().collect::<String>());
        assert!(taken.contains(&line), "{name} is stale, run `make screenshots`: it has no {line:?}");
    }
}

/// The text of an SVG without its spaces.
fn words(svg: &str) -> String {
    let mut out = String::new();
    let mut in_tag = false;
    for c in svg.chars() {
        match c {
            '<' => in_tag = true,
            '>' => in_tag = false,
            c if in_tag || c.is_whitespace() => {}
            c => out.push(c),
        }
    }
    out.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

/// Column names (without the pane beside them) and the line of hints.
fn frame(screen: &str) -> Vec<String> {
    let lasting = screen.lines().filter(|l| l.contains("CLIENT") || l.contains("quit"));
    lasting.filter_map(|l| l.split('│').next()).map(str::to_owned).collect()
}

/// Without the hint that is there only where a cause is known, and the one that has room where it is not.
fn lasting_hints(words: &str) -> String {
    words.replace("icause", "").replace("ssort", "")
}

#[test]
fn the_demo_as_the_readme_shows_it() {
    let dir = tempfile::TempDir::new().expect("a folder");
    let recording = dir.path().join("run.rec");
    let recording = recording.to_str().expect("a path");
    let mut console = Console::start(120, 40, &["demo", "--seed", "7", "--record", recording]);
    // Once the sparklines have something to show, and while there is trouble.
    console.wait_at_most(SOON * 3, "trouble after half a minute", |s| {
        let trouble =
            s.trim_end().lines().rev().nth(1).is_some_and(|l| l.contains("demo:") && !l.contains("no trouble"));
        trouble && s.contains("wait") && s.lines().filter(|l| l.contains("▃▃")).count() > 10
    });
    picture(&console, "demo", frame);
    console.press("?");
    console.wait_text("move up");
    picture(&console, "help", |s| s.lines().filter(|l| l.contains("client") && l.contains('│')).map(inside).collect());
    console.press("\x1b");
    console.wait_for("the table", |s| !s.contains("move up"));
    console.press("2");
    console.wait_text("group by");
    picture(&console, "groups", frame);
    console.press("3");
    console.wait_text("a cell is a client");
    picture(&console, "map", frame);
    console.press("5");
    console.wait_text("follows the newest");
    picture(&console, "events", frame);
    console.press("1");
    console.wait_for("the table", |s| s.contains("REASON"));
    console.resize(200, 60);
    console.press("j");
    console.wait_for("the client's own pane", |s| s.contains("keep alive 3 s"));
    picture(&console, "wide", frame);
    console.press("q");
    console.wait_text("Quit");
    console.press("y");
    console.wait_exit();
    let mut console = Console::start(120, 30, &["replay", recording, "--speed", "2x", "--paused"]);
    console.wait_text("paused 2x");
    console.press("t+1h\r");
    console.wait_text(" ended");
    console.press("t-8s\r");
    console.wait_text("paused 2x");
    console.press(" ");
    console.wait_text("playing 2x");
    picture(&console, "replay", frame);
}

/// A line of a box without its frame and without what is behind it.
fn inside(line: &str) -> String {
    line.split('│').nth(1).unwrap_or_default().to_owned()
}
