//! Prints what a worker costs and how true its measurements are; run by hand (`--ignored figures`), as figures depend on the machine.

use std::time::{Duration, Instant};

use mqfleet::fleet::ProbeKind;
use mqfleet_test_support::{mosquitto::Mosquitto, worker::Worker};

use super::{SOON, defs};

/// mosquitto's listen backlog is 100: beyond it the kernel drops SYNs, which come again after 1 s.
const IN_FLIGHT: usize = 90;

async fn connect_all(worker: &mut Worker, n: usize) -> Duration {
    let started = Instant::now();
    let mut next = 0;
    while worker.up() < n {
        let room = IN_FLIGHT.saturating_sub(next - worker.up()).min(n - next);
        worker.connect(next as u32..(next + room) as u32).await;
        next += room;
        let up = worker.up();
        assert!(worker.until(SOON, |w| w.up() > up).await, "stuck at {up}");
    }
    started.elapsed()
}

fn percentiles(worker: &Worker) -> String {
    let mut rtt: Vec<Duration> = worker.samples.iter().map(|s| s.rtt).collect();
    rtt.sort();
    let at = |p: usize| rtt[(rtt.len() - 1) * p / 100];
    format!("{} samples, p50 {:?}, p90 {:?}, p99 {:?}, worst {:?}", rtt.len(), at(50), at(90), at(99), at(100))
}

#[tokio::test]
#[ignore = "prints figures, asserts none"]
async fn figures() {
    let mut broker = Mosquitto::start();
    for n in [1_000, 2_000] {
        let mut worker = Worker::start(defs(n, broker.port())).await;
        for _ in 0..5 {
            let up = connect_all(&mut worker, n).await;
            let started = Instant::now();
            broker.kill9();
            assert!(worker.until(SOON, |w| w.ended() == n).await);
            eprintln!("one worker: {n} up in {up:.0?}, ended {:.0?} after SIGKILL", started.elapsed());
            broker.restart();
        }
    }
    let all = defs(1_000, broker.port());
    let mut a = Worker::start(all[..500].to_vec()).await;
    let mut b = Worker::start(all[500..].to_vec()).await;
    let started = Instant::now();
    tokio::join!(connect_all(&mut a, 500), connect_all(&mut b, 500));
    eprintln!("2 x 500 up in {:.0?}", started.elapsed());
    a.until(Duration::from_secs(3), |_| false).await;
    let empty = Worker::start(defs(1, broker.port())).await;
    for (what, worker) in [("500 idle clients", &a), ("none", &empty)] {
        let mb = |which| worker.memory(which) as f64 / 1e6;
        eprintln!("{what}: {:.1} MB resident, of which {:.1} MB its own", mb("VmRSS"), mb("RssAnon"));
    }
    drop((a, b, empty));

    let probing = |n: usize, kind, every: u64, keep_alive| {
        let mut all = defs(n, broker.port());
        for def in &mut all {
            (def.settings.probe.kind, def.settings.probe.every) = (kind, Duration::from_millis(every));
            def.settings.keep_alive = Duration::from_secs(keep_alive);
        }
        all
    };
    for n in [1, 100, 500, 1_000] {
        let mut worker = Worker::start(probing(n, ProbeKind::Ack, 1_000, 30)).await;
        connect_all(&mut worker, n).await;
        worker.until(Duration::from_secs(8), |_| false).await;
        eprintln!("ack, {n} clients, one a second each: {}", percentiles(&worker));
    }
    for n in [1, 500] {
        let mut worker = Worker::start(probing(n, ProbeKind::Heartbeat, 1_000, 2)).await;
        connect_all(&mut worker, n).await;
        worker.until(Duration::from_secs(8), |_| false).await;
        eprintln!("heartbeat, {n} clients, keep alive 2 s: {}", percentiles(&worker));
    }
}
