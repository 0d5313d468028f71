//! Tests of the lifecycle on made-up time; they start no process and open no socket.

mod absence;
mod culprits;
mod ladders;
mod renewal;
mod routes;
mod soak;
mod turns;

use super::*;
use crate::{
    event::{Condition, Manner},
    fleet::{Endpoint, Reconnect, Strategy, WorkerKey},
};

fn fleet(clients: u32, rate: u32, settings: Settings) -> Fleet {
    let settings = Arc::new(settings);
    Fleet {
        name: Scrubbed::new("test"),
        env: None,
        worker_size: 500,
        endpoints: vec![Endpoint {
            connect_rate: rate,
            max_connecting: 50,
            ..Endpoint::new("eu-1", "127.0.0.1", 1883)
        }],
        clients: (0..clients).map(|i| Client::new(&format!("c{i}"), EndpointKey(0), settings.clone())).collect(),
    }
}

fn ms(ms: u64) -> Moment {
    Moment(1_000_000_000 + ms * 1_000)
}

fn cause(reason: Reason) -> Step {
    Step::Ended(Cause { reason, detail: Scrubbed::default() }, None)
}

/// Why a worker is not there.
fn gone(reason: Reason) -> Cause {
    Cause { reason, detail: Scrubbed::new("no sign of it") }
}

/// What the lifecycle wants done, with every endpoint answering every probe at once, and every password there.
fn settle(l: &mut Lifecycle, now: Moment) -> Vec<Effect> {
    settle_with(l, now, |_| true)
}

/// The same where only those endpoints answer that `is_reachable` says.
fn settle_with(l: &mut Lifecycle, now: Moment, is_reachable: impl Fn(EndpointKey) -> bool) -> Vec<Effect> {
    let mut all = Vec::new();
    loop {
        let effects: Vec<_> = l.drain().collect();
        if effects.is_empty() {
            return all;
        }
        for effect in effects {
            match effect {
                Effect::Fetch(client, ticket) => l.fetched(client, ticket, Ok(()), now),
                Effect::Probe(e) if is_reachable(e) => l.probed(e, Ok(()), now),
                Effect::Probe(e) => {
                    let cause = Cause { reason: Reason::ConnectionRefused, detail: Scrubbed::default() };
                    l.probed(e, Err(cause), now);
                }
                other => all.push(other),
            }
        }
    }
}

/// The lifecycle with a client's connect under way, and the generation of that.
fn connecting(settings: Settings) -> (Lifecycle, ClientKey, Generation) {
    let mut l = Lifecycle::new(&fleet(1, 1_000, settings), 1, ms(0));
    let client = ClientKey(0);
    l.start(client, ms(0));
    assert_eq!(l.state(client), State::Held);
    settle(&mut l, ms(0));
    l.worker_ready(WorkerKey(0), [client], ms(1));
    l.poll(ms(1));
    let connect = settle(&mut l, ms(1)).into_iter().find(|e| matches!(e, Effect::Connect(..)));
    let Some(Effect::Connect(_, ConnectOrder { generation, endpoint: EndpointKey(0), .. })) = connect else {
        panic!("{connect:?}")
    };
    (l, client, generation)
}

fn last_step(l: &mut Lifecycle) -> Transition {
    let steps = l.drain().filter_map(|e| if let Effect::Transition(_, t) = e { Some(t) } else { None });
    steps.last().unwrap()
}

#[test]
fn a_lost_connection_is_tried_again_after_its_backoff() {
    let (mut l, c, g) = connecting(Settings::default());
    l.report(c, g, Step::Up(Box::default()), ms(5));
    assert_eq!(last_step(&mut l).attempt, 1);
    l.poll(ms(59_000)); // the timer of the connect runs out to no effect
    l.report(c, g, cause(Reason::ConnectionLost), ms(60_000));
    let step = last_step(&mut l);
    assert_eq!((step.from, step.to, step.attempt), (State::Up, State::Backoff, 1));
    let delay = step.next_try.unwrap();
    assert!(delay <= Duration::from_secs(1));
    let due = ms(60_000) + delay;
    assert_eq!(l.next_deadline(), Some(due));
    l.poll(due);
    let effects: Vec<_> = l.drain().collect();
    assert!(
        effects.contains(&Effect::Connect(
            c,
            ConnectOrder { generation: g + 1, endpoint: EndpointKey(0), manner: Manner::default() }
        )),
        "{effects:?}"
    );
}

#[test]
fn a_configuration_error_waits_for_the_operator() {
    let (mut l, c, g) = connecting(Settings::default());
    l.report(c, g, cause(Reason::ClientIdRejected), ms(5));
    let step = last_step(&mut l);
    assert_eq!((step.to, step.next_try), (State::Failed, None));
    l.poll(ms(10_000_000));
    assert_eq!(l.state(c), State::Failed);
    l.reconnect(c, ms(10_000_001));
    l.poll(ms(10_000_002));
    assert_eq!(l.state(c), State::Connecting);
}

#[test]
fn retries_run_out() {
    let reconnect = Reconnect { max_retries: 2, ..Reconnect::default() };
    let (mut l, c, mut g) = connecting(Settings { reconnect, ..Settings::default() });
    let mut now = ms(10);
    for _ in 0..2 {
        l.report(c, g, cause(Reason::ConnectionRefused), now);
        assert_eq!(l.state(c), State::Backoff);
        settle(&mut l, now);
        now = now + Duration::from_secs(10);
        l.poll(now);
        g += 1;
        assert_eq!(l.state(c), State::Connecting);
    }
    l.report(c, g, cause(Reason::ConnectionRefused), now);
    let step = last_step(&mut l);
    assert_eq!((step.to, step.reason), (State::Failed, Reason::RetriesExhausted));
    assert_eq!(step.detail.as_str(), "last: connection refused");
}

#[test]
fn strategy_never_gives_up_at_once() {
    let reconnect = Reconnect { strategy: Strategy::Never, ..Reconnect::default() };
    let (mut l, c, g) = connecting(Settings { reconnect, ..Settings::default() });
    l.report(c, g, cause(Reason::ConnectionLost), ms(10));
    let step = last_step(&mut l);
    assert_eq!((step.to, step.reason), (State::Failed, Reason::ConnectionLost));
}

#[test]
fn reports_of_an_abandoned_connection_change_nothing() {
    let (mut l, c, g) = connecting(Settings::default());
    l.report(c, g, Step::Up(Box::default()), ms(5));
    l.reconnect(c, ms(6));
    let effects: Vec<_> = l.drain().collect();
    assert!(effects.contains(&Effect::Disconnect(c)));
    l.report(c, g, cause(Reason::ConnectionLost), ms(7));
    assert_eq!(l.state(c), State::Queued);
    l.poll(ms(30));
    assert_eq!(l.state(c), State::Connecting);
    l.disconnect(c, ms(31));
    l.report(c, g + 2, Step::Up(Box::default()), ms(32));
    assert_eq!(l.state(c), State::Off);
}

#[test]
fn a_dead_worker_holds_its_clients_and_only_those() {
    let mut l = Lifecycle::new(&fleet(2, 1_000, Settings::default()), 1, ms(0));
    let (a, b) = (ClientKey(0), ClientKey(1));
    for c in [a, b] {
        l.start(c, ms(0));
        l.worker_ready(WorkerKey(0), [c], ms(0));
    }
    settle(&mut l, ms(0));
    l.poll(ms(50));
    l.poll(ms(60));
    for c in [a, b] {
        l.report(c, 1, Step::Up(Box::default()), ms(70));
    }
    l.worker_lost([a], &gone(Reason::WorkerLost), ms(80));
    assert_eq!((l.state(a), l.state(b)), (State::Held, State::Up));
    l.worker_ready(WorkerKey(0), [a], ms(200));
    l.poll(ms(300));
    assert_eq!(l.state(a), State::Connecting);
    assert_eq!(l.state(b), State::Up);
}

#[test]
fn the_gate_keeps_its_rate_for_first_connects_and_retries_alike() {
    let mut l = Lifecycle::new(&fleet(2_000, 200, Settings::default()), 1, ms(0));
    let all: Vec<_> = (0..2_000).map(ClientKey).collect();
    for &c in &all {
        l.start(c, ms(0));
    }
    l.worker_ready(WorkerKey(0), all.iter().copied(), ms(0));
    let mut connects = Vec::new();
    for t in 0..9_000 {
        l.poll(ms(t));
        for e in settle(&mut l, ms(t)) {
            if let Effect::Connect(c, ConnectOrder { generation: g, .. }) = e {
                connects.push(t);
                // every second client fails once and comes back through the same gate
                let step =
                    if c.0 % 2 == 0 && g == 1 { cause(Reason::UnspecifiedError) } else { Step::Up(Box::default()) };
                l.report(c, g, step, ms(t));
            }
        }
    }
    for start in (0..8_000).step_by(100) {
        let in_window = connects.iter().filter(|&&t| t >= start && t < start + 1_000).count();
        assert!(in_window <= 205, "{in_window} connects in the second after {start} ms");
        assert!(in_window >= 195 || connects.iter().all(|&t| t < start + 1_100), "{in_window} after {start} ms");
    }
}

#[test]
fn no_more_than_the_allowed_connects_are_in_flight() {
    let mut l = Lifecycle::new(&fleet(200, 100_000, Settings::default()), 1, ms(0));
    for c in (0..200).map(ClientKey) {
        l.start(c, ms(0));
        l.worker_ready(WorkerKey(0), [c], ms(0));
    }
    settle(&mut l, ms(0));
    l.poll(ms(100));
    l.poll(ms(200));
    let connects = l.drain().filter(|e| matches!(e, Effect::Connect(..))).count();
    assert_eq!(connects, 50);
    assert!(l.next_deadline().is_some_and(|d| d > ms(200)), "only a late connect wakes a full gate");
}
