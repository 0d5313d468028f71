//! Tests of the lifecycle on made-up time; they start no process and open no socket.

use std::collections::HashMap;

use proptest::prelude::{ProptestConfig, Strategy as _, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::*;
use crate::fleet::{Client, Endpoint, Reconnect, Strategy};

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
    Step::Ended(Cause { reason, detail: Scrubbed::default() })
}

/// The lifecycle with a client's connect under way, and the generation of that.
fn connecting(settings: Settings) -> (Lifecycle, ClientKey, Generation) {
    let mut l = Lifecycle::new(&fleet(1, 1_000, settings), 1, ms(0));
    let client = ClientKey(0);
    l.start(client, ms(0));
    assert_eq!(l.state(client), State::Held);
    l.worker_ready([client], ms(1));
    l.poll(ms(1));
    let generation = l.drain().find_map(|e| if let Effect::Connect(_, g) = e { Some(g) } else { None });
    (l, client, generation.unwrap())
}

fn last_step(l: &mut Lifecycle) -> Transition {
    let steps = l.drain().filter_map(|e| if let Effect::Transition(_, t) = e { Some(t) } else { None });
    steps.last().unwrap()
}

#[test]
fn a_lost_connection_is_tried_again_after_its_backoff() {
    let (mut l, c, g) = connecting(Settings::default());
    l.report(c, g, Step::Up { session_present: false }, ms(5));
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
    assert!(effects.contains(&Effect::Connect(c, g + 1)), "{effects:?}");
}

#[test]
fn a_configuration_error_waits_for_the_operator() {
    let (mut l, c, g) = connecting(Settings::default());
    l.report(c, g, cause(Reason::BadCredentials), ms(5));
    assert_eq!(last_step(&mut l).to, State::Failed);
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
    l.report(c, g, Step::Up { session_present: false }, ms(5));
    l.reconnect(c, ms(6));
    let effects: Vec<_> = l.drain().collect();
    assert!(effects.contains(&Effect::Disconnect(c)));
    l.report(c, g, cause(Reason::ConnectionLost), ms(7));
    assert_eq!(l.state(c), State::Queued);
    l.poll(ms(30));
    assert_eq!(l.state(c), State::Connecting);
    l.disconnect(c, ms(31));
    l.report(c, g + 2, Step::Up { session_present: false }, ms(32));
    assert_eq!(l.state(c), State::Off);
}

#[test]
fn a_dead_worker_holds_its_clients_and_only_those() {
    let mut l = Lifecycle::new(&fleet(2, 1_000, Settings::default()), 1, ms(0));
    let (a, b) = (ClientKey(0), ClientKey(1));
    for c in [a, b] {
        l.start(c, ms(0));
        l.worker_ready([c], ms(0));
    }
    l.poll(ms(50));
    l.poll(ms(60));
    for c in [a, b] {
        l.report(c, 1, Step::Up { session_present: false }, ms(70));
    }
    l.worker_lost([a], &Scrubbed::new("killed by signal 9"), ms(80));
    assert_eq!((l.state(a), l.state(b)), (State::Held, State::Up));
    l.worker_ready([a], ms(200));
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
    l.worker_ready(all.iter().copied(), ms(0));
    let mut connects = Vec::new();
    for t in 0..9_000 {
        l.poll(ms(t));
        let effects: Vec<_> = l.drain().collect();
        for e in effects {
            if let Effect::Connect(c, g) = e {
                connects.push(t);
                // every second client fails once and comes back through the same gate
                let step = if c.0 % 2 == 0 && g == 1 {
                    cause(Reason::ServerBusy)
                } else {
                    Step::Up { session_present: false }
                };
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
        l.worker_ready([c], ms(0));
    }
    l.poll(ms(100));
    l.poll(ms(200));
    let connects = l.drain().filter(|e| matches!(e, Effect::Connect(..))).count();
    assert_eq!(connects, 50);
    assert!(l.next_deadline().is_some_and(|d| d > ms(200)), "only a late connect wakes a full gate");
}

#[derive(Clone, Debug)]
enum Push {
    Connect(u32),
    Reconnect(u32),
    Disconnect(u32),
    Report(u32, bool, bool, Reason),
    WorkerLost(u32),
    WorkerReady(u32),
    Wait(u32),
}

fn push() -> impl proptest::strategy::Strategy<Value = Push> {
    let client = 0..8u32;
    let reason = prop::sample::select(vec![Reason::ConnectionLost, Reason::BadCredentials, Reason::ServerBusy]);
    prop_oneof![
        1 => client.clone().prop_map(Push::Connect),
        1 => client.clone().prop_map(Push::Reconnect),
        1 => client.clone().prop_map(Push::Disconnect),
        4 => (client.clone(), any::<bool>(), prop::bool::weighted(0.9), reason)
            .prop_map(|(c, up, now, r)| Push::Report(c, up, now, r)),
        1 => client.clone().prop_map(Push::WorkerLost),
        2 => client.prop_map(Push::WorkerReady),
        4 => (0..3_000u32).prop_map(Push::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// Whatever happens: one connect at a time for a client, only through its worker, never a state
    /// without a next step, and transitions that join up.
    #[test]
    fn no_order_is_ever_wrong(pushes in prop::collection::vec(push(), 1..400)) {
        let mut l = Lifecycle::new(&fleet(8, 50, Settings::default()), 3, ms(0));
        let mut now = ms(0);
        let mut worker = [false; 8];
        let mut open: HashMap<u32, Generation> = HashMap::new();
        let mut newest: [Generation; 8] = [0; 8];
        let mut state = [State::Off; 8];
        for p in pushes {
            match p {
                Push::Connect(c) => l.connect(ClientKey(c), now),
                Push::Reconnect(c) => l.reconnect(ClientKey(c), now),
                Push::Disconnect(c) => l.disconnect(ClientKey(c), now),
                Push::Report(c, up, current, reason) => {
                    let generation = if current { newest[c as usize] } else { newest[c as usize].saturating_sub(1) };
                    let step = if up { Step::Up { session_present: false } } else { cause(reason) };
                    if !up && current {
                        open.remove(&c);
                    }
                    if open.contains_key(&c) || !up || !current {
                        l.report(ClientKey(c), generation, step, now);
                    }
                }
                Push::WorkerLost(c) => {
                    worker[c as usize] = false;
                    open.remove(&c);
                    l.worker_lost([ClientKey(c)], &Scrubbed::default(), now);
                }
                Push::WorkerReady(c) => {
                    worker[c as usize] = true;
                    l.worker_ready([ClientKey(c)], now);
                }
                Push::Wait(millis) => now = now + Duration::from_millis(u64::from(millis)),
            }
            l.poll(now);
            let effects: Vec<_> = l.drain().collect();
            for e in effects {
                match e {
                    Effect::Connect(c, g) => {
                        prop_assert!(worker[c.index()], "a connect ordered from a worker that is not there");
                        prop_assert!(open.insert(c.0, g).is_none(), "two connects at once for {c:?}");
                        prop_assert!(g > newest[c.index()]);
                        newest[c.index()] = g;
                    }
                    Effect::Disconnect(c) => {
                        prop_assert!(open.remove(&c.0).is_some(), "nothing to disconnect for {c:?}");
                    }
                    Effect::Transition(_, t) => {
                        prop_assert_eq!(state[t.client.index()], t.from);
                        state[t.client.index()] = t.to;
                        prop_assert_eq!(t.next_try.is_some(), t.to == State::Backoff);
                    }
                }
            }
            for (i, s) in state.iter().enumerate() {
                prop_assert_eq!(*s, l.state(ClientKey(i as u32)));
                match s {
                    State::Held => prop_assert!(!worker[i], "held although its worker is there"),
                    State::Queued | State::Backoff => prop_assert!(l.next_deadline().is_some(), "nothing will wake it"),
                    State::Connecting | State::Up => prop_assert!(worker[i] && open.contains_key(&(i as u32))),
                    State::Off | State::Failed => {}
                }
            }
        }
    }
}
