//! Tests what a broker's sudden death does to a worker full of clients.

use std::time::{Duration, Instant};

use mqfleet::event::{Reason, Step};
use mqfleet_test_support::{mosquitto::Mosquitto, worker::Worker};

use super::{SOON, def, defs};

const N: usize = 1_000;

/// `make chaos` asks for more rounds.
fn rounds() -> usize {
    std::env::var("MQFLEET_ROUNDS").ok().and_then(|r| r.parse().ok()).unwrap_or(5)
}

#[tokio::test]
async fn a_thousand_clients_of_one_worker_outlive_their_broker() {
    let mut broker = Mosquitto::start();
    let mut worker = Worker::start(defs(N, broker.port())).await;
    for round in 1..=rounds() {
        let started = Instant::now();
        worker.connect(0..N as u32).await;
        assert!(worker.until(SOON, |w| w.up() == N).await, "round {round}: {} up; {}", worker.up(), worker.stderr());
        let up = started.elapsed();
        let started = Instant::now();
        broker.kill9();
        assert!(worker.until(SOON, |w| w.ended() == N).await, "round {round}: {} ended", worker.ended());
        let ended = started.elapsed();
        eprintln!("round {round}: {N} up in {up:.0?}, {N} ended in {ended:.0?}, {} reports", worker.reports);
        for slot in 0..N as u32 {
            assert_eq!(worker.cause(slot).reason, Reason::ConnectionLost);
            assert!(!worker.cause(slot).detail.is_empty());
        }
        broker.restart();
    }
    assert!(worker.reports < rounds() * N / 4, "{} reports: not batched", worker.reports);
}

#[tokio::test]
async fn two_workers_of_five_hundred_outlive_their_broker() {
    let mut broker = Mosquitto::start();
    let all = defs(N, broker.port());
    let mut a = Worker::start(all[..N / 2].to_vec()).await;
    let mut b = Worker::start(all[N / 2..].to_vec()).await;
    let half = 0..(N / 2) as u32;
    for round in 1..=2 {
        let started = Instant::now();
        let up = |w: &Worker| w.up() == N / 2;
        a.connect(half.clone()).await;
        b.connect(half.clone()).await;
        let all_up = tokio::join!(a.until(SOON, up), b.until(SOON, up));
        assert_eq!(all_up, (true, true), "round {round}: {} and {} up", a.up(), b.up());
        eprintln!("round {round}: 2 x {} up in {:.0?}", N / 2, started.elapsed());
        let started = Instant::now();
        broker.kill9();
        let ended = |w: &Worker| w.ended() == N / 2;
        assert_eq!(tokio::join!(a.until(SOON, ended), b.until(SOON, ended)), (true, true), "round {round}");
        eprintln!("round {round}: 2 x {} ended in {:.0?}", N / 2, started.elapsed());
        broker.restart();
    }
}

#[tokio::test]
async fn a_console_that_does_not_read_misses_nothing() {
    let mut broker = Mosquitto::start();
    let mut worker = Worker::start(defs(N, broker.port())).await;
    worker.connect(0..N as u32).await;
    // Nothing is read while all of them come up and die. The broker's own clock tells when.
    let log = |broker: &Mosquitto| broker.log().matches("New client connected").count();
    let deadline = Instant::now() + SOON;
    while log(&broker) < N {
        assert!(Instant::now() < deadline, "{} connected", log(&broker));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    broker.kill9();
    assert!(worker.until(SOON, |w| w.ended() == N).await, "{} ended", worker.ended());
    let ups = worker.steps.values().filter(|s| matches!(s[0].1, Step::Up(_))).count();
    // The broker had accepted all; a worker may not have read the last CONNACKs.
    assert!(ups > N * 9 / 10, "{ups} were seen up");
}

/// One silent broker must not keep a worker from its other clients for longer than they can bear.
#[tokio::test]
async fn a_frozen_broker_leaves_the_others_alone() {
    let (frozen, healthy) = (Mosquitto::start(), Mosquitto::start());
    let mut all = defs(100, frozen.port());
    all.extend((0..100).map(|i| def(format!("healthy-{i}"), healthy.port())));
    for def in &mut all[..100] {
        def.settings.connect_timeout = Duration::from_secs(2);
    }
    frozen.freeze();
    let mut worker = Worker::start(all).await;
    let started = Instant::now();
    worker.connect(0..200).await;
    assert!(worker.until(SOON, |w| w.up() == 100).await, "{} up", worker.up());
    eprintln!("100 up beside 100 that wait for a frozen broker: {:.0?}", started.elapsed());
    assert!(worker.until(SOON, |w| w.ended() == 100).await, "{} ended", worker.ended());
    assert!((0..100).all(|slot| worker.cause(slot).reason == Reason::ConnectTimeout));
    assert!((100..200).all(|slot| worker.is_up(slot)));
}
