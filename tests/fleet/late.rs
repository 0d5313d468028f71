//! A real broker that freezes and goes on under the whole program: every client is late while it is, on the screen and as lines, and the figures show the outage as its users saw it. What of it the worker tells is shown in `worker`.

use std::{
    collections::HashMap,
    process::Command,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use mqfleet_test_support::{
    console::Console,
    fleet_file::FleetFile,
    headless::{Headless, Heard},
    mosquitto::Mosquitto,
    process, program,
};
use serde_json::Value;

/// Clients with heartbeats, and as many with an ack every second.
const EACH: usize = 12;

/// Half of it, by which broker and Paho go beyond it, must do for all to be late, and for that to grow.
const KEEP_ALIVE: Duration = Duration::from_secs(12);

/// How much later than after a keep alive the last client must be late: a second is what it is given.
const SOON_AFTER: Duration = Duration::from_secs(4);

/// How long what must come may take that takes the better part of a minute by itself.
const PATIENCE: Duration = Duration::from_secs(90);

fn fleet(port: u16) -> FleetFile {
    FleetFile::new(&format!(
        r#"
        [endpoint.eu-1]
        url = "mqtt://127.0.0.1:{port}"
        [[client]]
        id = "heart-%02i"
        count = {EACH}
        endpoints = ["eu-1"]
        keep_alive = "{}s"
        probe = {{ kind = "heartbeat" }}
        slow = {{ p99 = "1m" }}
        [[client]]
        id = "press-%02i"
        count = {EACH}
        endpoints = ["eu-1"]
        probe = {{ kind = "ack", every = "1s" }}
        slow = {{ p99 = "250ms" }}
        "#,
        KEEP_ALIVE.as_secs()
    ))
}

fn clients() -> impl Iterator<Item = String> {
    (1..=EACH).flat_map(|n| [format!("heart-{n:02}"), format!("press-{n:02}")])
}

/// A client's line of the table.
fn row<'a>(screen: &'a str, client: &str) -> Option<&'a str> {
    screen.lines().find(|line| line.split_whitespace().any(|word| word == client))
}

/// For how many seconds each client is said to be late; `None` where not all are.
fn lateness(screen: &str) -> Option<Vec<u64>> {
    let of = |client: String| {
        let probe = if client.starts_with("heart") { "heartbeat" } else { "ack" };
        let (_, rest) = row(screen, &client)?.split_once(&format!("no answer to its {probe} for "))?;
        rest.split_once('s')?.0.parse().ok()
    };
    clients().map(of).collect()
}

/// The figure after a name, in seconds.
fn figure(screen: &str, name: &str) -> Option<f64> {
    let mut words = screen.split_whitespace().map(|word| word.trim_end_matches(','));
    words.find(|word| *word == name)?;
    let figure = words.next()?;
    match figure.strip_suffix("ms") {
        Some(ms) => Some(ms.parse::<f64>().ok()? / 1e3),
        None => figure.strip_suffix('s')?.parse().ok(),
    }
}

#[test]
fn a_frozen_broker_makes_every_row_late_and_its_outage_is_what_the_figures_show() {
    let broker = Mosquitto::start();
    let file = fleet(broker.port());
    let mut console = Console::start(120, 46, &["run", file.path()]);
    console.wait_text("24 up");
    // Once all have answered, the heartbeats go in step.
    let is_measured = |s: &str| clients().all(|c| row(s, &c).is_some_and(|l| l.contains("ms ") || l.contains("µs ")));
    console.wait_at_most(PATIENCE, "an answer of each", is_measured);
    assert!(console.screen().contains(" 0 slow"), "{}", console.screen());

    let frozen = Instant::now();
    broker.freeze();
    let deadline = KEEP_ALIVE + SOON_AFTER;
    let screen = console.wait_at_most(deadline, "all of them late", |s| lateness(s).is_some());
    let first = lateness(&screen).unwrap();
    println!("all late after {:.1?}: {first:?}\n{screen}", frozen.elapsed());
    assert!(screen.contains("24 mute"), "{screen}");
    let has_grown = |s: &str| lateness(s).is_some_and(|now| now.iter().zip(&first).all(|(now, then)| now > then));
    console.wait_for("all of them later", has_grown);

    broker.thaw();
    let pause = frozen.elapsed();
    console.wait_for("nobody late", |s| !s.contains("no answer to its"));
    // No answer of the acks' trend is beyond their objective any more.
    let screen = console.wait_at_most(PATIENCE, "nobody slow", |s| s.contains(" 0 slow"));
    println!("not slow {:.1?} after the pause of {pause:.1?}\n{screen}", frozen.elapsed() - pause);
    for client in clients() {
        let line = row(&screen, &client).unwrap_or_else(|| panic!("{client}\n{screen}"));
        assert!(line.contains(" up "), "{line}");
    }
    assert_eq!(broker.log().matches("New client connected").count(), 2 * EACH, "nobody connected again");
    assert!(!screen.contains("lost"), "{screen}");

    console.press("l");
    let screen = console.wait_for("the latencies", |s| figure(s, "max").is_some());
    println!("{screen}");
    // An ack goes out within the second, and takes the rest.
    let about = (pause - Duration::from_millis(1_500)).as_secs_f64()..=(pause + SOON_AFTER).as_secs_f64();
    let [p99, max] = ["p99", "max"].map(|name| figure(&screen, name).unwrap());
    assert!(about.contains(&max) && p99 > 0.8 * pause.as_secs_f64(), "{p99} {max} of {about:?}");
    assert!(!screen.contains("lost"), "{screen}");

    // The same of one client.
    console.press("\x1b");
    console.wait_for("the table", |s| row(s, "press-07").is_some());
    console.press("/press-07\r");
    console.wait_text("1 of 24");
    console.press("\r");
    let screen = console.wait_for("its answers", |s| s.contains("jitter"));
    println!("{screen}");
    // In the pane beside the table, in as many lines as it takes.
    let pane: Vec<&str> = screen.lines().filter_map(|line| line.split_once('│')).map(|(_, pane)| pane).collect();
    let from = pane.iter().position(|line| line.contains(" answers ")).expect("its answers");
    let answers = pane[from..].join(" ");
    let [p99, max] = ["p99", "max"].map(|name| figure(&answers, name).unwrap());
    assert!(about.contains(&max) && p99 > 0.8 * pause.as_secs_f64(), "{p99} {max} of {about:?}");
}

fn time(line: &Value, name: &str) -> DateTime<Utc> {
    line[name].as_str().and_then(|ts| ts.parse().ok()).unwrap_or_else(|| panic!("no {name} in {line}"))
}

fn of<'a>(heard: &'a Heard, kind: &'a str, client: &str) -> Vec<&'a Value> {
    heard.of_type(kind).filter(|line| line["client"] == client).collect()
}

#[test]
fn lines_tell_who_becomes_late_and_their_samples_what_it_came_to() {
    let broker = Mosquitto::start();
    let file = fleet(broker.port());
    let record = file.dir.path().join("run.jsonl.zst");
    let record = record.to_str().unwrap();
    let mut run = Headless::start(&["run", file.path(), "--samples", "--record", record], &[]);
    run.wait_up(2 * EACH);
    drop(run.wait_for("an answer of each", |h| clients().all(|c| !of(h, "sample", &c).is_empty())));

    let frozen = (Instant::now(), Utc::now());
    broker.freeze();
    let all_late = run.wait_for("all of them late", |h| {
        let slow = h.of_type("summary").last().map(|s| s["slow"].clone());
        slow == Some((2 * EACH).into()) && clients().all(|c| !of(h, "late", &c).is_empty())
    });
    let after = frozen.0.elapsed();
    assert!(after < KEEP_ALIVE + SOON_AFTER, "{after:?}");
    assert!(all_late.of_type("tcp").count() > 0, "what the kernel says");
    drop(all_late);

    broker.thaw();
    let pause = frozen.0.elapsed();
    let is_over = |h: &Heard| {
        clients().all(|c| of(h, "sample", &c).iter().filter(|s| time(s, "ts") > frozen.1 + pause).count() >= 2)
    };
    let heard = run.wait_for("answers after it", is_over);
    let mut longest = 0;
    for client in clients() {
        let late = of(&heard, "late", &client);
        let [line] = late[..] else { panic!("late once: {late:?}") };
        let since = time(line, "since");
        assert!(time(line, "ts") - since >= chrono::Duration::seconds(1), "{line}");
        // Milliseconds are all that a line has of its times.
        let sent = |s: &&&Value| time(s, "ts") - Duration::from_micros(s["rtt_us"].as_u64().unwrap()) - since;
        let samples = of(&heard, "sample", &client);
        let own = samples.iter().filter(|s| sent(s).num_milliseconds().abs() <= 2).collect::<Vec<_>>();
        let [answer] = own[..] else { panic!("{line}: {own:?}") };
        assert_eq!(answer["probe"], line["probe"]);
        assert!(time(answer, "ts") > frozen.1 && since > frozen.1 - chrono::Duration::seconds(1), "{answer} {line}");
        longest = longest.max(answer["rtt_us"].as_u64().unwrap());
    }
    let slowest = Duration::from_micros(longest);
    assert!(slowest + Duration::from_millis(1_500) > pause && slowest < pause + SOON_AFTER, "{slowest:?} of {pause:?}");
    assert_eq!(heard.of_type("state").filter(|s| s["from"] == "up").count(), 0, "nobody lost its connection");
    drop(heard);
    let p99 = |h: &Heard| h.of_type("summary").last().and_then(|s| s["p99_us"].as_u64()).map(Duration::from_micros);
    let heard = run.wait_for("the outage in figures", |h| p99(h).is_some_and(|p99| p99 > pause.mul_f64(0.8)));
    println!("all late after {after:.1?}; a pause of {pause:.1?}: slowest {slowest:.1?}, p99 {:.1?}", p99(&heard));
    drop(heard);

    // A replay says the same.
    process::signal(run.id(), rustix::process::Signal::TERM);
    run.wait_exit();
    let heard = run.heard();
    for samples in [true, false] {
        let option = if samples { &["--samples"][..] } else { &[] };
        let replay = Command::new(program())
            .args(["replay", record, "--format", "json"])
            .args(option)
            .output()
            .expect("the program runs");
        let lines: Vec<Value> =
            String::from_utf8_lossy(&replay.stdout).lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        let told =
            |lines: &[Value], kind: &str| lines.iter().filter(|l| l["type"] == kind).cloned().collect::<Vec<_>>();
        let is_told = HashMap::from([("late", true), ("tcp", samples), ("sample", samples)]);
        for (kind, is_told) in is_told {
            let live = if is_told { told(&heard.lines, kind) } else { Vec::new() };
            let replayed = told(&lines, kind);
            let first = replayed.iter().zip(&live).find(|(a, b)| a != b);
            assert!(replayed == live, "{kind}, samples {samples}: {} of {}, {first:?}", replayed.len(), live.len());
        }
    }
}
