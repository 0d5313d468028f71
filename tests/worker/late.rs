//! Tests that a probe without an answer is told while it is late, once, and what comes after it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use mqfleet::{
    fleet::{Conversation, Message, ProbeKind, Traffic},
    wire::SlotSample,
};
use mqfleet_test_support::{
    mosquitto::Mosquitto,
    worker::{Def, Worker},
};

use super::{SOON, def};

const MS: Duration = Duration::from_millis(1);

fn traffic(qos: u8, every: Duration) -> Arc<Conversation> {
    let message = Message { topic: "news".into(), payload: b"on"[..].into(), qos, retain: false };
    Arc::new(Conversation { publish: Some(Traffic { message, every }), ..Conversation::default() })
}

/// What the broker allows beyond it (half of it) must do for a heartbeat to be late, and be answered.
const KEEP_ALIVE: Duration = Duration::from_secs(6);

/// Two clients of each: heartbeats; acks of 500 ms; echoes, which are not given up before 12 s; heartbeats
/// that never are, since the client's own messages, of QoS 1 and 2, keep the connection alive.
fn all(port: u16) -> Vec<Def> {
    let one = |i: usize| {
        let mut one = def(format!("client-{i}"), port);
        one.settings.keep_alive = if i < 2 { KEEP_ALIVE } else { Duration::from_secs(30) };
        one.settings.probe.every = if i / 2 == 2 { 4_000 * MS } else { 500 * MS };
        one.settings.probe.kind = match i / 2 {
            1 => ProbeKind::Ack,
            2 => ProbeKind::Echo,
            _ => ProbeKind::Heartbeat,
        };
        if i >= 6 {
            one.conversation = traffic((i - 5) as u8, 100 * MS);
        }
        one
    };
    (0..8).map(one).collect()
}

#[tokio::test]
async fn all_that_a_frozen_broker_owes_is_late_and_then_true() {
    let broker = Mosquitto::start();
    let all = all(broker.port());
    let n = all.len() as u32;
    let mut worker = Worker::start(all).await;
    worker.connect(0..n).await;
    // Heartbeats count from here, in step.
    let of = |w: &Worker, slot| w.samples.iter().filter(|s| s.slot == slot).copied().collect::<Vec<SlotSample>>();
    assert!(worker.until(SOON, |w| (0..n).all(|slot| !of(w, slot).is_empty())).await, "{:?}", worker.samples);
    assert_eq!(worker.late, []);
    for slot in 6..n {
        assert!(of(&worker, slot).iter().all(|s| s.probe == ProbeKind::Ack), "no PINGREQ, but PUBACK and PUBREC");
    }

    broker.freeze();
    let frozen = Instant::now();
    let is_late = |w: &Worker, slot| w.late.iter().any(|l| l.slot == slot);
    let all_late = worker.until(SOON, |w| (0..n).all(|slot| is_late(w, slot))).await;
    assert!(all_late, "{:?}", worker.late);
    // The keep alive and then a second, and never as late as the next.
    assert!(frozen.elapsed() < 2 * KEEP_ALIVE, "{:?}", frozen.elapsed());
    worker.samples.clear();
    let late = worker.late.clone();
    assert_eq!(late.len(), n as usize, "each once: {late:?}");
    assert!(late.iter().all(|l| l.generation == 1));

    broker.thaw();
    let answered = |w: &Worker| late.iter().all(|l| of(w, l.slot).len() >= 2);
    assert!(worker.until(SOON, answered).await, "{:?}", worker.samples);
    assert_eq!(worker.up(), n as usize);
    for l in late {
        let first = of(&worker, l.slot)[0];
        assert_eq!((first.probe, first.at.since(l.since)), (l.probe, first.rtt), "the one that was late");
        assert!(first.rtt >= Duration::from_secs(1), "{first:?}");
    }
}

/// An end is told as an end: nothing is late after it.
#[tokio::test]
async fn nothing_is_late_after_the_end() {
    let mut broker = Mosquitto::start();
    let mut worker = Worker::start(all(broker.port())).await;
    worker.connect(0..8).await;
    assert!(worker.until(SOON, |w| w.up() == 8).await);
    broker.freeze();
    worker.until(600 * MS, |_| false).await;
    worker.disconnect(0..4).await;
    broker.kill9();
    assert!(worker.until(SOON, |w| w.ended() == 8).await);
    worker.late.clear();
    assert!(!worker.until(1_500 * MS, |w| !w.late.is_empty()).await, "{:?}", worker.late);
}

/// Clients that came up in one go do not probe in one go.
#[tokio::test]
async fn probes_are_spread() {
    let broker = Mosquitto::start();
    let every = 1_000 * MS;
    let one = |i: usize| {
        let mut one = def(format!("client-{i}"), broker.port());
        one.settings.probe.kind = if i.is_multiple_of(2) { ProbeKind::Ack } else { ProbeKind::Echo };
        one.settings.probe.every = every;
        one
    };
    let n = 200;
    let mut worker = Worker::start((0..n).map(one).collect()).await;
    worker.connect(0..n as u32).await;
    assert!(worker.until(SOON, |w| w.up() == n).await);
    worker.samples.clear();
    assert!(worker.until(SOON, |w| w.samples.len() >= 4 * n).await);
    for kind in [ProbeKind::Ack, ProbeKind::Echo] {
        let mut in_tenth = [0; 10];
        let sent = worker.samples.iter().filter(|s| s.probe == kind).map(|s| s.at.0 - s.rtt.as_micros() as u64);
        sent.for_each(|at| in_tenth[(at % 1_000_000 / 100_000) as usize] += 1);
        let (all, most) = (in_tenth.iter().sum::<usize>(), in_tenth.iter().max().copied().unwrap_or(0));
        assert!(all > n && most * 10 < all * 3, "{kind:?} in each tenth of a second: {in_tenth:?}");
    }
}

/// The broker allows 20 messages under way: with those of the client's own, its probe waits in Paho; and
/// where a hundred wait there, Paho takes no more.
#[tokio::test]
async fn a_probe_that_is_held_up_is_late_since_its_order_and_takes_from_there() {
    for own in [60 * MS, 5 * MS] {
        let broker = Mosquitto::start();
        let mut one = def("busy", broker.port());
        (one.settings.probe.kind, one.settings.probe.every) = (ProbeKind::Ack, 2_000 * MS);
        one.conversation = traffic(1, own);
        let mut worker = Worker::start(vec![one]).await;
        worker.connect([0]).await;
        assert!(worker.until(SOON, |w| !w.samples.is_empty()).await);
        broker.freeze();
        assert!(worker.until(SOON, |w| !w.late.is_empty()).await, "{own:?}");
        let since = worker.late[0].since;
        broker.thaw();
        let answer = |w: &Worker| w.samples.iter().find(|s| s.at > since).copied();
        assert!(worker.until(SOON, |w| answer(w).is_some()).await, "{own:?}: {:?}", worker.samples);
        let answer = answer(&worker).expect("it came");
        assert_eq!((answer.at.since(since), worker.late.len()), (answer.rtt, 1), "one probe, one wait");
        assert!(answer.rtt >= Duration::from_secs(1), "{own:?}: {answer:?}");
    }
}

/// An echo that nothing overtook is not lost, however long it takes.
#[tokio::test]
async fn the_echo_of_a_frozen_broker_is_late_and_not_lost() {
    let broker = Mosquitto::start();
    let mut one = def("patient", broker.port());
    (one.settings.probe.kind, one.settings.probe.every) = (ProbeKind::Echo, 500 * MS);
    let mut worker = Worker::start(vec![one]).await;
    worker.connect([0]).await;
    assert!(worker.until(SOON, |w| w.samples.len() >= 2).await);
    broker.freeze();
    assert!(worker.until(SOON, |w| !w.late.is_empty()).await);
    let since = worker.late[0].since;
    // Where anything comes it is given up after 5 s.
    let long = Duration::from_millis(7_500);
    worker.until(long, |_| false).await;
    broker.thaw();
    let answer = |w: &Worker| w.samples.iter().find(|s| s.at > since).copied();
    assert!(worker.until(SOON, |w| answer(w).is_some()).await, "{:?}", worker.samples);
    let answer = answer(&worker).expect("it came");
    assert_eq!((answer.at.since(since), worker.late.len()), (answer.rtt, 1), "the one that was late");
    assert!(answer.rtt > long, "{answer:?}");
}
