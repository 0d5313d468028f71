//! A store as its operator has it: a real server, agents that write to it, and programs that read it without any code of ours; what the server does when it is killed, emptied or full is in `faults`, with many rows in `flood`.

mod access;
mod attached;
mod faults;
mod flood;
mod names;
mod reading;

use std::{
    collections::BTreeMap,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use mqfleet_test_support::{SOON, fleet_file::FleetFile, headless::Headless, program, redis::Redis};
use serde_json::Value;

/// A fleet `plant` of presses that answer every second, and an agent of this name that writes to a store.
fn file(broker: u16, count: usize, url: &str, agent: &str) -> FleetFile {
    FleetFile::new(&text(broker, "press", count, url, agent, ""))
}

fn text(broker: u16, id: &str, count: usize, url: &str, agent: &str, more: &str) -> String {
    format!(
        r#"
        [fleet]
        name = "plant"
        [store]
        url = "{url}"
        agent = "{agent}"
        lease = "3s"
        {more}
        [endpoint.eu-1]
        url = "mqtt://127.0.0.1:{broker}"
        [defaults]
        probe = {{ kind = "ack", every = "1s" }}
        reconnect = {{ strategy = "fixed", every = "300ms" }}
        labels = {{ site = "hall-3" }}
        [[client]]
        id = "{id}-%04i"
        count = {count}
        endpoints = ["eu-1"]
        "#
    )
}

/// An agent that tells on standard output what it does, as `run` does.
fn agent(file: &FleetFile) -> Headless {
    Headless::start(&["run", file.path()], &[])
}

/// The program, to its end.
fn mqfleet(args: &[&str]) -> Output {
    Command::new(program()).args(args).stdin(Stdio::null()).output().expect("the program runs")
}

fn said(output: &Output) -> String {
    let both = [output.stdout.clone(), output.stderr.clone()].concat();
    String::from_utf8(both).expect("UTF-8")
}

/// The rows of an agent, by client ID.
fn rows(redis: &Redis, agent: &str) -> BTreeMap<String, Value> {
    let all = redis.cli(&["HGETALL", &format!("mqfleet:{{plant}}:rows:{agent}")]);
    let lines: Vec<&str> = all.lines().collect();
    let row = |pair: &[&str]| (pair[0].to_owned(), serde_json::from_str(pair[1]).expect("a row"));
    lines.chunks_exact(2).map(row).collect()
}

/// Waits for a condition of the rows of an agent; how long that took.
#[track_caller]
fn wait_rows(redis: &Redis, agent: &str, what: &str, wanted: impl Fn(&BTreeMap<String, Value>) -> bool) -> Duration {
    let begin = Instant::now();
    loop {
        let rows = rows(redis, agent);
        if wanted(&rows) {
            return begin.elapsed();
        }
        assert!(begin.elapsed() < SOON, "not within {SOON:?}: {what}; of {}: {:?}", rows.len(), rows.first_key_value());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until so many rows are there and all of them are up.
#[track_caller]
fn wait_rows_up(redis: &Redis, agent: &str, count: usize) -> Duration {
    wait_rows(redis, agent, &format!("{count} rows up"), |rows| {
        rows.len() == count && rows.values().all(|row| row["state"] == "up")
    })
}

/// Waits for a notice of an agent with these words.
#[track_caller]
fn wait_notice(agent: &Headless, has: &str) -> String {
    let heard = agent.wait_for(&format!("a notice with {has}"), |heard| notice(heard, has).is_some());
    notice(&heard, has).expect("it was there")
}

fn notice(heard: &mqfleet_test_support::headless::Heard, has: &str) -> Option<String> {
    let texts = heard.of_type("notice").filter_map(|line| line["text"].as_str());
    texts.filter(|text| text.contains(has)).map(str::to_owned).next()
}

/// How many clients whose IDs begin so left the state up.
fn losses(agent: &Headless, id: &str) -> usize {
    let heard = agent.heard();
    let is_its = |line: &&Value| line["client"].as_str().is_some_and(|client| client.starts_with(id));
    heard.of_type("state").filter(is_its).filter(|line| line["from"] == "up").count()
}
