//! The console in a real terminal on a real fleet: what keys do to the broker's clients, what faults look like, and that nothing is left behind. How screens look to the letter is the UI's snapshots' matter.

mod asks;
mod jobs;
mod places;
mod rolls;
mod silence;

use std::{collections::BTreeSet, fs};

use mqfleet_test_support::{
    SOON,
    console::{Console, cells},
    fleet_file::FleetFile,
    mosquitto::{self, Mosquitto, Setup},
    process,
};
use rustix::process::Signal;

const DOWN: &str = "\x1b[B";
const ESC: &str = "\x1b";
const CTRL_C: &str = "\x03";

fn start(file: &FleetFile) -> Console {
    Console::start(120, 40, &["run", file.path()])
}

/// The client on the cursor's line.
fn under_cursor(screen: &str) -> Option<String> {
    let line = screen.lines().find(|l| l.starts_with('>'))?;
    line.split_whitespace().find(|w| w.starts_with("press-")).map(str::to_owned)
}

/// The clients in lines of the broker's log that contain `what`.
fn in_log(log: &str, what: &str) -> BTreeSet<String> {
    let lines = log.lines().filter(|l| l.contains(what));
    let id = |l: &str| {
        let at = l.find("press-")?;
        Some(l[at..].chars().take_while(|c| c.is_alphanumeric() || *c == '-').collect())
    };
    lines.filter_map(id).collect()
}

fn count_in_log(log: &str, what: &str) -> usize {
    log.lines().filter(|l| l.contains(what)).count()
}

/// Waits until the broker's own log is as wanted.
#[track_caller]
fn wait_log(broker: &Mosquitto, what: &str, wanted: impl Fn(&str) -> bool) -> String {
    let end = std::time::Instant::now() + SOON;
    loop {
        let log = broker.log();
        if wanted(&log) {
            return log;
        }
        assert!(std::time::Instant::now() < end, "not in the broker's log: {what}\n{log}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn keys_act_on_exactly_the_clients_meant_while_the_table_re_sorts() {
    let broker = Mosquitto::with(Setup::default());
    let file = FleetFile::presses(broker.port(), 60);
    let mut console = start(&file);
    console.wait_text("60 up");

    // One client, found by the filter.
    console.press("/0042\r");
    console.wait_text("1 of 60 match");
    console.press(DOWN);
    console.wait_for("the cursor on press-0042", |s| under_cursor(s).as_deref() == Some("press-0042"));
    console.press("d");
    console.wait_text("isconnect press-0042");
    console.press("\r");
    console.wait_text("nothing done");
    assert_eq!(count_in_log(&broker.log(), "disconnected"), 0, "Enter must mean no");
    console.press("d");
    console.wait_text("isconnect press-0042?");
    console.press("y");
    console.wait_text("1 off");
    let log = wait_log(&broker, "a disconnect", |l| count_in_log(l, "disconnected") > 0);
    assert_eq!(in_log(&log, "disconnected"), BTreeSet::from(["press-0042".to_owned()]));
    console.press("r");
    console.wait_text("60 up");
    wait_log(&broker, "press-0042 a second time", |l| {
        l.lines().filter(|l| l.contains("New client connected") && l.contains("press-0042")).count() == 2
    });

    // Three clients, marked while the table sorts itself by latency, which changes all the time.
    console.press(ESC);
    console.wait_for("no filter", |s| !s.contains("match"));
    console.press(">>>");
    console.wait_text("by latency");
    let mut marked = BTreeSet::new();
    for n in 1..=3 {
        console.press("g");
        console.wait_text(" 1 of 60");
        for place in 2..=5 * n {
            console.press(DOWN);
            console.wait_text(&format!(" {place} of 60"));
        }
        // One that is marked already may have come here.
        let mut place = 5 * n;
        while under_cursor(&console.screen()).is_some_and(|c| marked.contains(&c)) {
            place += 1;
            console.press(DOWN);
            console.wait_text(&format!(" {place} of 60"));
        }
        // When the hold after the keys has run out the order changes, and the cursor stays with its client.
        let before = console.screen();
        let after = console.wait_for("the table to re-sort", |s| order(s) != order(&before));
        assert_eq!(under_cursor(&after), under_cursor(&before));
        marked.insert(under_cursor(&after).expect("a cursor"));
        console.press(" ");
        console.wait_for("the mark", |s| s.contains(&format!("{n} marked")));
    }
    assert_eq!(marked.len(), 3);
    console.press("d");
    console.wait_for("the question", |s| s.contains("3 clients") && s.contains("yes, disconnect"));
    console.press("y");
    console.wait_text("3 off");
    let log = wait_log(&broker, "four disconnects", |l| count_in_log(l, "disconnected") >= 4);
    let mut expected = marked.clone();
    expected.insert("press-0042".to_owned());
    assert_eq!(in_log(&log, "disconnected"), expected);

    // Marks that the filter hides are not acted on, and that is said.
    console.press("/zzz\r");
    console.wait_text("0 of 60");
    console.press("r");
    console.wait_text("hidden by the filter");
    console.press(ESC);
    console.wait_for("no filter", |s| !s.contains("match"));
    console.press("r");
    console.wait_for("the question", |s| s.contains("3 clients") && s.contains("yes, reconnect"));
    console.press("y");
    console.wait_text("60 up");
    quit(&mut console);
}

/// The clients of the table, in the order of the screen.
fn order(screen: &str) -> Vec<String> {
    let clients = |l: &str| l.split_whitespace().find(|w| w.starts_with("press-")).map(str::to_owned);
    screen.lines().skip(4).take(24).filter_map(clients).collect()
}

fn quit(console: &mut Console) {
    leave(console, 0);
}

/// Quits by key and asserts that nothing is left.
fn leave(console: &mut Console, code: u32) {
    let processes = console.descendants();
    console.press("q");
    console.wait_text("yes, quit");
    console.press("y");
    assert_eq!(console.wait_exit().code, code);
    console.assert_restored();
    process::assert_gone(&processes);
}

#[test]
fn every_way_out_restores_the_terminal_and_leaves_no_process() {
    let broker = Mosquitto::start();
    let file = FleetFile::presses(broker.port(), 20);
    type Leave = fn(&mut Console);
    let ways: [(&str, u32, Leave); 6] = [
        ("q and y", 0, |c| {
            c.press("q");
            c.wait_text("yes, quit");
            c.press("y");
        }),
        ("Ctrl-C twice", 0, |c| {
            c.press(CTRL_C);
            c.wait_text("yes, quit");
            c.press(CTRL_C);
        }),
        ("SIGTERM", 143, |c| c.signal(Signal::TERM)),
        ("SIGINT", 130, |c| c.signal(Signal::INT)),
        ("SIGHUP", 129, |c| c.signal(Signal::HUP)),
        ("q while nothing is up", 0, |c| {
            c.press("*d");
            c.wait_text("yes, disconnect");
            c.press("y");
            c.wait_text("20 off");
            c.press("q");
        }),
    ];
    for (way, code, leave) in ways {
        let mut console = start(&file);
        console.wait_text("20 up");
        let processes = console.descendants();
        assert!(!processes.is_empty(), "no worker was found");
        leave(&mut console);
        assert_eq!(console.wait_exit().code, code, "{way}");
        console.assert_restored();
        process::assert_gone(&processes);
        console.wait_for(&format!("{way}: a report"), |screen| screen.contains("mqfleet: test after"));
    }
    let log = broker.log();
    let cut = in_log(&log, "closed its connection");
    assert!(cut.is_empty(), "cut off instead of disconnected: {cut:?}");
}

/// A release build has no switch for it; `release.rs` holds it to that.
#[cfg(debug_assertions)]
#[test]
fn a_panic_restores_the_terminal_and_says_so() {
    let broker = Mosquitto::start();
    let file = FleetFile::presses(broker.port(), 5);
    let env = [("MQFLEET_TEST_PANIC", "1")];
    let mut console = Console::start_with(120, 40, &["run", file.path()], &env);
    assert_eq!(console.wait_exit().code, 101);
    console.assert_restored();
    let bytes = console.bytes();
    let said = String::from_utf8_lossy(&bytes);
    let (_, after) = said.split_once("\x1b[?1049l").expect("the alternate screen was left");
    assert!(after.contains("panicked at"), "{after}");
}

#[test]
fn a_closed_terminal_and_a_killed_console_leave_no_process() {
    let broker = Mosquitto::start();
    let file = FleetFile::presses(broker.port(), 20);
    for kill in [false, true] {
        let mut console = start(&file);
        console.wait_text("20 up");
        let processes = console.descendants();
        if kill {
            console.signal(Signal::KILL);
        } else {
            console.close();
        }
        console.wait_exit();
        process::assert_gone(&processes);
    }
}

#[test]
fn a_terminal_that_takes_no_bytes_stops_neither_the_fleet_nor_the_way_out() {
    let broker = Mosquitto::start();
    let file = FleetFile::presses(broker.port(), 200);
    let mut console = Console::start(200, 60, &["run", file.path()]);
    console.wait_text("200 up");
    console.stall(true);
    // Enough to draw that every buffer on the way is full: page after page of a table that changes.
    for _ in 0..400 {
        console.press("\x1b[6~\x0c\x1b[5~");
    }
    let before = count_in_log(&broker.log(), "New client connected");
    console.press("gr");
    wait_log(&broker, "a reconnect although nothing can be drawn", |l| {
        count_in_log(l, "New client connected") > before
    });
    let processes = console.descendants();
    console.signal(Signal::TERM);
    assert_eq!(console.wait_exit().code, 143);
    process::assert_gone(&processes);
}

#[test]
fn a_killed_broker_shows_on_every_row_and_all_come_back_by_themselves() {
    let mut broker = Mosquitto::start();
    let file = FleetFile::presses(broker.port(), 1_000);
    let mut console = start(&file);
    console.wait_text("1,000 up");
    broker.kill9();
    let screen = console.wait_text("● 0 up");
    assert!(screen.contains("lost") || screen.contains("refused"), "{screen}");
    console.wait_text("1,000 clients lost their connection to eu-1");
    broker.restart();
    console.wait_text("1,000 up");
    quit(&mut console);
}

#[test]
fn a_killed_worker_is_told_in_words() {
    let broker = Mosquitto::start();
    let file = FleetFile::presses(broker.port(), 20);
    let mut console = start(&file);
    console.wait_text("20 up");
    let workers = console.descendants();
    assert_eq!(workers.len(), 1);
    process::signal(workers[0], Signal::KILL);
    console.wait_for("the death and the return", |s| {
        s.contains("worker 0") && s.contains("killed by signal 9") && s.contains("20 up")
    });
    quit(&mut console);
}

#[test]
fn hostile_names_and_words_reach_the_terminal_as_pictures_only() {
    let broker = Mosquitto::start();
    let long = "x".repeat(60_000);
    let file = FleetFile::new(&format!(
        "[fleet]\nname = \"\\u001b]0;owned\\u0007 fleet\"\n[endpoint.\"e\\u001b[31m\"]\nurl = \"mqtt://127.0.0.1:{}\"\n\
         [[client]]\nid = \"\\u001b[2J\\u001b]52;c;ZXZpbA==\\u0007press\"\nendpoints = [\"e\\u001b[31m\"]\n\
         [[client]]\nid = \"press-\\u202Egnp.exe\"\nendpoints = [\"e\\u001b[31m\"]\n\
         [[client]]\nid = \"press-\\u009b31mred\"\nendpoints = [\"e\\u001b[31m\"]\n\
         [[client]]\nid = \"press-温度計-e\\u0301\\u0302\\u0303\\u0304\\u0305\"\nendpoints = [\"e\\u001b[31m\"]\n\
         [[client]]\nid = \"press-{long}\"\nendpoints = [\"e\\u001b[31m\"]\n",
        broker.port()
    ));
    let mut console = start(&file);
    console.wait_for("all names on the screen", |s| s.matches("press").count() >= 5 && s.contains("␛[2J"));
    console.press(&format!("{DOWN}\r"));
    console.wait_text("keep alive 30 s");
    console.press(ESC);
    console.wait_for("the table", |s| !s.contains("keep alive 30 s"));
    quit(&mut console);
    let bytes = console.bytes();
    assert_only_our_sequences(&bytes);
    let text = String::from_utf8(bytes).expect("only UTF-8 is written");
    for c in ['\u{202e}', '\u{9b}', '\u{303}'] {
        assert!(!text.contains(c), "{c:?} reached the terminal");
    }
}

/// Fails on any control sequence that the console itself has no use for.
fn assert_only_our_sequences(bytes: &[u8]) {
    struct Judge(Vec<String>);
    impl vt100::Callbacks for Judge {
        fn unhandled_csi(&mut self, _: &mut vt100::Screen, i1: Option<u8>, _: Option<u8>, params: &[&[u16]], c: char) {
            // Synchronized output, and the reset of the underline's colour.
            let ours = i1 == Some(b'?') && matches!(c, 'h' | 'l') && params == [&[2026]]
                || i1.is_none() && c == 'm' && params == [&[59]];
            if !ours {
                self.0.push(format!("CSI {i1:?} {params:?} {c}"));
            }
        }
        fn unhandled_osc(&mut self, _: &mut vt100::Screen, params: &[&[u8]]) {
            self.0.push(format!("OSC {params:?}"));
        }
        fn set_window_title(&mut self, _: &mut vt100::Screen, title: &[u8]) {
            self.0.push(format!("title {title:?}"));
        }
        fn copy_to_clipboard(&mut self, _: &mut vt100::Screen, _: &[u8], data: &[u8]) {
            self.0.push(format!("clipboard {data:?}"));
        }
        fn unhandled_escape(&mut self, _: &mut vt100::Screen, i1: Option<u8>, i2: Option<u8>, b: u8) {
            self.0.push(format!("escape {i1:?} {i2:?} {b}"));
        }
        fn unhandled_control(&mut self, _: &mut vt100::Screen, b: u8) {
            self.0.push(format!("control {b}"));
        }
        fn audible_bell(&mut self, _: &mut vt100::Screen) {
            self.0.push("bell".into());
        }
    }
    let mut parser = vt100::Parser::new_with_callbacks(cells(40), cells(120), 0, Judge(Vec::new()));
    parser.process(bytes);
    assert!(parser.callbacks().0.is_empty(), "{:?}", parser.callbacks().0);
}

#[test]
fn a_full_disk_for_the_log_is_a_word_on_the_screen_and_nothing_more() {
    let broker = Mosquitto::start();
    let file = FleetFile::presses(broker.port(), 10);
    let mut console = Console::start(120, 40, &["run", file.path(), "--log", "/dev/full"]);
    console.wait_text("10 up");
    console.wait_text("cannot write the log /dev/full: No space left on device");
    leave(&mut console, 1);
    let screen = console.screen();
    assert!(screen.contains("bytes of the log /dev/full could not be written"), "{screen}");
}

#[test]
fn a_log_file_tells_what_happened() {
    let broker = Mosquitto::start();
    let file = FleetFile::presses(broker.port(), 10);
    let log = file.dir.path().join("events.log");
    let mut console = Console::start(120, 40, &["run", file.path(), "--log", log.to_str().unwrap()]);
    console.wait_text("10 up");
    quit(&mut console);
    let text = fs::read_to_string(log).unwrap();
    assert_eq!(text.matches(" connected to eu-1").count(), 10, "{text}");
}

#[test]
fn a_broken_fleet_file_leaves_the_terminal_untouched() {
    let file = FleetFile::new("[endpoint.eu-1]\nurl = \"mqtt://127.0.0.1\"\nconnect_rat = 3\n[[client]]\nid = \"\"\n");
    let mut console = start(&file);
    assert_eq!(console.wait_exit().code, 2);
    console.assert_restored();
    let screen = console.screen();
    assert!(screen.contains("connect_rate") && screen.contains("fleet.toml:3:1"), "{screen}");
    assert!(!console.bytes().windows(8).any(|w| w == b"\x1b[?1049h"), "the alternate screen was entered");
}

#[test]
fn a_missing_broker_and_a_refused_password_are_told_in_words() {
    let port = mosquitto::free_port();
    let secured = Mosquitto::with(Setup { users: vec![("good".into(), "right".into())], ..Setup::default() });
    let file = FleetFile::new(&format!(
        r#"
        [endpoint.gone]
        url = "mqtt://127.0.0.1:{port}"
        [endpoint.secured]
        url = "mqtt://127.0.0.1:{}"
        [[client]]
        id = "press-1"
        endpoints = ["gone"]
        [[client]]
        id = "press-2"
        endpoints = ["secured"]
        username = "good"
        password = "wr0ng-s3cret"
        [[client]]
        id = "press-3"
        endpoints = ["secured"]
        username = "good"
        password = "wr0ng-s3cret"
        protocol = "3.1.1"
        "#,
        secured.port()
    ));
    let mut console = start(&file);
    console.wait_for("both reasons", |s| {
        s.contains("connection refused")
            && s.matches("bad user name or password").count() + s.matches("not authorized").count() >= 2
    });
    console.press("q");
    console.wait_exit();
    let text = String::from_utf8_lossy(&console.bytes()).into_owned();
    assert!(!text.contains("wr0ng-s3cret"), "a password reached the terminal");
}

#[test]
fn the_screen_follows_the_terminal_s_size() {
    let broker = Mosquitto::start();
    let file = FleetFile::presses(broker.port(), 30);
    let mut console = Console::start(200, 60, &["run", file.path()]);
    console.wait_text("30 up");
    console.press(&DOWN.repeat(3));
    let cursor = under_cursor(&console.wait_text("3 of 30")).unwrap();
    for (columns, lines) in [(40, 10), (80, 24), (20, 5), (120, 40)] {
        console.resize(columns, lines);
        console.wait_for("a redrawn screen", |s| s.contains("30 up") || s.contains("30") && columns < 40);
    }
    console.wait_for("the cursor where it was", |s| under_cursor(s).as_deref() == Some(&*cursor));
    quit(&mut console);
}
