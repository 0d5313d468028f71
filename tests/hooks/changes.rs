//! What a hook is told of very many changes: no gap that is not said to be one, and at last the truth; the events are made up, the program and its hook are real.
#![allow(clippy::unwrap_used, reason = "what panics here is a failed test")]

use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use mqfleet::{
    bus::Bus,
    clock::{Anchor, Moment},
    event::{Event, Reason, State, Transition, What},
    fleet::{Client, ClientKey, Endpoint, EndpointKey, Fleet},
    hooks::Hooks,
    program::Program,
    telling::{Hook, Match, Mode},
    text::Scrubbed,
};
use mqfleet_test_support::SOON;
use serde_json::Value;

const CLIENTS: usize = 200;
const CHANGES: usize = 100_000;

fn fleet() -> Arc<Fleet> {
    let client = |n: usize| Client::new(&format!("c{n}"), EndpointKey(0), Arc::default());
    Arc::new(Fleet {
        name: Scrubbed::new("f"),
        env: None,
        worker_size: 500,
        endpoints: vec![Endpoint::new("eu-1", "127.0.0.1", 1883)],
        clients: (0..CLIENTS).map(client).collect(),
    })
}

fn step(client: usize, from: State, to: State) -> What {
    What::State(Transition {
        client: ClientKey(client as u32),
        endpoint: EndpointKey(0),
        from,
        to,
        reason: if from == State::Off { Reason::OperatorConnect } else { Reason::ConnectionLost },
        detail: Scrubbed::new("\"words\"\n"),
        attempt: 1,
        next_try: None,
    })
}

/// Publishes very many random changes for a hook, and holds what it was told against them.
async fn all_is_told(mode: Mode, script: &str) -> (usize, u64) {
    let folder = tempfile::tempdir().unwrap();
    let run = Program {
        path: "/bin/sh".into(),
        arguments: vec!["-c".into(), script.into()],
        folder: folder.path().to_owned(),
    };
    let hook = Hook {
        name: Scrubbed::new("h"),
        from: Vec::new(),
        to: Vec::new(),
        matching: Match::default(),
        run,
        mode,
        timeout: Duration::from_secs(60),
        initial: false,
    };
    let bus = Bus::new(Anchor::now());
    let hooks = Hooks::start(vec![hook], fleet(), &bus).unwrap();
    let mut random = fastrand::Rng::with_seed(7);
    let mut states = vec![State::Off; CLIENTS];
    for n in 0..CHANGES {
        let client = random.usize(..CLIENTS);
        let others: Vec<State> = State::ALL[1..].iter().copied().filter(|to| *to != states[client]).collect();
        let to = others[random.usize(..others.len())];
        bus.publish([Event { at: Moment(n as u64), what: step(client, states[client], to) }]);
        states[client] = to;
        // Not as fast as can be, but in bursts, as a fleet does.
        if n % 1_000 == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    let begin = Instant::now();
    let (size, mut seen) = (|| fs::metadata(folder.path().join("told")).map_or(0, |told| told.len()), 0);
    while size() != seen || ends(&told(folder.path())) != states {
        assert!(begin.elapsed() < SOON, "the last lines are not the truth");
        seen = size();
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    bus.close();
    hooks.finish().await;

    let mut heard = vec![State::Off; CLIENTS];
    let (mut lines, mut folded) = (0, 0);
    for line in &told(folder.path()) {
        let (client, to) = end(line);
        assert_eq!(line["from"], heard[client].name(), "a gap: {line}");
        heard[client] = to;
        lines += 1;
        folded += line["folded"].as_u64().unwrap();
    }
    assert_eq!(heard, states);
    (lines, folded)
}

/// The whole lines that were told so far.
fn told(folder: &Path) -> Vec<Value> {
    super::told(&fs::read_to_string(folder.join("told")).unwrap_or_default())
}

/// The client that a line is about, and its state from then on.
fn end(line: &Value) -> (usize, State) {
    let client = line["client"].as_str().unwrap().strip_prefix('c').unwrap().parse().unwrap();
    (client, State::ALL.into_iter().find(|state| line["to"] == state.name()).unwrap())
}

/// Where the clients are, as the lines have it.
fn ends(lines: &[Value]) -> Vec<State> {
    let mut ends = vec![State::Off; CLIENTS];
    lines.iter().map(end).for_each(|(client, to)| ends[client] = to);
    ends
}

#[tokio::test(flavor = "multi_thread")]
async fn of_very_many_changes_a_batch_has_no_gap_and_ends_with_the_truth() {
    let (lines, folded) = all_is_told(Mode::Batch, "cat >> told").await;
    println!("batch: {CHANGES} changes, {lines} lines, {folded} folded");
    assert!(lines as u64 + folded <= CHANGES as u64 && lines > CLIENTS);
    // The same for one that is slow.
    let (lines, folded) = all_is_told(Mode::Batch, "sleep 0.3; cat >> told").await;
    println!("a slow batch: {CHANGES} changes, {lines} lines, {folded} folded");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_for_a_stream_that_reads_line_by_line() {
    let (lines, folded) = all_is_told(Mode::Stream, "exec cat >> told").await;
    println!("stream: {CHANGES} changes, {lines} lines, {folded} folded");
}
