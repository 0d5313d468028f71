//! Jobs in a real terminal on a real broker: whom a query means is marked, rolled a few at a time, cancelled in the middle and taken back; and the broker's own log agrees with the list of results to the client.

use std::collections::{BTreeMap, BTreeSet};

use mqfleet_test_support::{console::Console, fleet_file::FleetFile, mosquitto::Mosquitto};

use super::{count_in_log, quit, start, wait_log};

const PAGE_DOWN: &str = "\x1b[6~";

/// What the console's list says of each client of the job that is shown: its words.
fn results(console: &mut Console, all: usize) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut read = |screen: &str| {
        for line in screen.lines() {
            let mut words = line.split_whitespace().skip_while(|word| !word.starts_with("press-"));
            // An event's line begins with a time, and a job's with its number.
            let is_result = line.split_whitespace().nth(1).is_some_and(|word| word.starts_with("press-"));
            if let Some(client) = words.next().filter(|_| is_result) {
                found.insert(client.to_owned(), words.collect::<Vec<_>>().join(" "));
            }
        }
        found.len()
    };
    let mut screen = console.screen();
    while read(&screen) < all {
        console.press(PAGE_DOWN);
        let before = screen;
        screen = console.wait_for("the next page of results", |s| s.contains("press-") && s != before);
    }
    found
}

/// Clients by how often the broker's log has `what` of them.
fn counts(log: &str, what: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for line in log.lines().filter(|line| line.contains(what)) {
        if let Some(at) = line.find("press-") {
            let client: String = line[at..].chars().take_while(|c| c.is_alphanumeric() || *c == '-').collect();
            *counts.entry(client).or_default() += 1;
        }
    }
    counts
}

fn of_kind(results: &BTreeMap<String, String>, words: &str) -> BTreeSet<String> {
    results.iter().filter(|(_, said)| said.starts_with(words)).map(|(client, _)| client.clone()).collect()
}

/// How many of the job on the cursor's line are done.
fn done(screen: &str) -> usize {
    let line = screen.lines().find(|line| line.starts_with('>')).unwrap_or_default();
    line.split_whitespace().nth(4).and_then(|word| word.replace(',', "").parse().ok()).unwrap_or(0)
}

/// Of `all` clients the first `part` are marked by a query, rolled `at_once` at a time and cancelled in the middle.
fn roll(all: usize, part: usize, query: &str, rate: usize, steps: &str, at_once: usize) {
    let broker = Mosquitto::start();
    let file = FleetFile::new(&format!(
        r#"
        [fleet]
        name = "test"
        [endpoint.eu-1]
        url = "mqtt://127.0.0.1:{port}"
        connect_rate = {rate}
        [[client]]
        id = "press-%04i"
        count = {all}
        endpoints = ["eu-1"]
        "#,
        port = broker.port()
    ));
    let shown = |n: usize| if n < 1_000 { n.to_string() } else { format!("{},{:03}", n / 1_000, n % 1_000) };
    let all_up = format!("{} up", shown(all));
    let mut console = start(&file);
    console.wait_text(&all_up);
    console.press(&format!(":mark_all {query}\r"));
    console.wait_text(&format!("{part} marked"));

    console.press(":reconnect\r");
    console.wait_text(&format!("Reconnect {part} clients"));
    console.press(steps);
    let screen = console.wait_text(&format!("{at_once} at a time - +"));
    console.press(&if screen.contains("type ") { format!("{part}\r") } else { "y".to_owned() });
    console.press("6");
    console.wait_for("the middle of it", |s| done(s) >= part / 4);
    console.press("x");
    console.wait_for("its end", |s| s.contains("cancelled") && s.contains(" ago, took"));
    let found = results(&mut console, part);
    let (reconnected, not_begun) = (of_kind(&found, "reconnected"), of_kind(&found, "left alone: the job ended"));
    assert_eq!(reconnected.len() + not_begun.len(), part, "{found:?}");
    assert!(reconnected.len() >= part / 4 && !not_begun.is_empty(), "it was not in the middle: {}", reconnected.len());
    // What is over for good cannot be taken back, and that is said.
    console.press("u");
    console.wait_text("cannot be as they were");
    console.press("1");
    console.wait_text(&all_up);
    let log = wait_log(&broker, "those who came back", |log| {
        count_in_log(log, "New client connected") == all + reconnected.len()
    });
    let connects = counts(&log, "New client connected");
    let twice: BTreeSet<String> = connects.iter().filter(|(_, n)| **n == 2).map(|(client, _)| client.clone()).collect();
    assert_eq!(twice, reconnected, "the broker saw others than the list has");
    assert_eq!(connects.len(), all);

    // The same clients are disconnected, and brought back.
    console.press(":disconnect\r");
    console.wait_text(&format!("isconnect {part} clients"));
    console.press(steps);
    let screen = console.wait_text(&format!("{at_once} at a time - +"));
    console.press(&if screen.contains("type ") { format!("{part}\r") } else { "y".to_owned() });
    console.press("6");
    console.wait_for("the middle of the second", |s| s.contains("#2") && done(s) >= part / 4);
    console.press("x");
    console.wait_for("its end", |s| s.lines().any(|l| l.starts_with("> #2") && l.contains(" ago, took")));
    console.wait_for("its results", |s| s.contains("disconnected"));
    let found = results(&mut console, part);
    let off = of_kind(&found, "disconnected");
    assert!(off.len() >= part / 4 && off.len() < part, "{found:?}");
    let before = broker.log();
    let gone = |log: &str| count_in_log(log, "disconnected") - reconnected.len();
    wait_log(&broker, "those who left", |log| gone(log) >= off.len());
    console.press("u");
    console.wait_text("#3");
    console.press("1");
    console.wait_text(&all_up);
    let log = wait_log(&broker, "those who came back", |log| {
        count_in_log(log, "New client connected") == count_in_log(&before, "New client connected") + off.len()
    });
    let connects = counts(&log, "New client connected");
    for (client, n) in connects {
        let expected = 1 + usize::from(reconnected.contains(&client)) + usize::from(off.contains(&client));
        assert_eq!(n, expected, "{client}");
    }
    quit(&mut console);
}

/// Thirty of a hundred, five at a time; in the long form as an operator would: 300 of 1,000, 20 at a time.
#[test]
fn a_job_is_cancelled_in_the_middle_and_taken_back_and_the_broker_agrees() {
    match std::env::var_os("MQFLEET_ROUNDS") {
        None => roll(100, 30, "id~^press-00([0-2].|30)$", 25, "--", 5),
        Some(_) => roll(1_000, 300, "id~^press-0([0-2]..|300)$", 150, "", 20),
    }
}
