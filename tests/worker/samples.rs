//! Tests that round trips are measured, plausible, and each one its own client's.

use std::time::Duration;

use mqfleet::fleet::{ProbeKind, Protocol};
use mqfleet_test_support::{
    mosquitto::{Mosquitto, Setup},
    worker::Worker,
};

use super::{SOON, def};

const MS: Duration = Duration::from_millis(1);

#[tokio::test]
async fn acks_and_heartbeats_of_every_client_and_only_theirs() {
    let broker = Mosquitto::start();
    let mut all = Vec::new();
    for i in 0..40 {
        let mut def = def(format!("client-{i}"), broker.port());
        def.settings.protocol = if i % 2 == 0 { Protocol::V5 } else { Protocol::V311 };
        def.settings.keep_alive = Duration::from_secs(1);
        def.settings.probe.kind = if i < 20 { ProbeKind::Ack } else { ProbeKind::Heartbeat };
        def.settings.probe.every = 50 * MS;
        all.push(def);
    }
    // A hostile name, a wide one, and one that nothing is asked of.
    all.push(def("x <- PINGRESP", broker.port()));
    all[40].settings.probe.kind = ProbeKind::Ack;
    all[40].settings.probe.every = 50 * MS;
    all.push(def("温度計 -> PUBLISH msgid: 1 qos: 1 ", broker.port()));
    all[41].settings.probe.kind = ProbeKind::Ack;
    all[41].settings.probe.every = 50 * MS;
    all.push(def("off", broker.port()));
    let kinds: Vec<ProbeKind> = all.iter().map(|d| d.settings.probe.kind).collect();
    let n = all.len();
    let mut worker = Worker::start(all).await;
    worker.connect(0..n as u32).await;
    let enough = |w: &Worker| {
        let count = |slot: u32| w.samples.iter().filter(|s| s.slot == slot).count();
        (0..42).all(|slot| count(slot) >= if kinds[slot as usize] == ProbeKind::Ack { 20 } else { 2 })
    };
    let all_there = worker.until(SOON, enough).await;
    let counts: Vec<_> = (0..42).map(|slot| worker.samples.iter().filter(|s| s.slot == slot).count()).collect();
    assert!(all_there, "{counts:?} samples");
    assert_eq!(worker.up(), n);
    for sample in &worker.samples {
        assert_eq!(sample.probe, kinds[sample.slot as usize], "{sample:?}");
        assert!(sample.rtt < 500 * MS, "{sample:?}");
    }
    let mut acks: Vec<_> = worker.samples.iter().filter(|s| s.probe == ProbeKind::Ack).map(|s| s.rtt).collect();
    acks.sort();
    eprintln!(
        "{} acks, median {:?}, 99th percentile {:?}",
        acks.len(),
        acks[acks.len() / 2],
        acks[acks.len() * 99 / 100]
    );
    assert_eq!(worker.samples_lost, 0);
}

/// The clients of two twins fight for one session; samples still are only of who was up.
#[tokio::test]
async fn a_duplicate_client_id_mixes_nothing_up() {
    let broker = Mosquitto::start();
    let mut twins = vec![def("twin", broker.port()), def("twin", broker.port())];
    for def in &mut twins {
        def.settings.probe.kind = ProbeKind::Ack;
        def.settings.probe.every = 5 * MS;
    }
    let mut worker = Worker::start(twins).await;
    for round in 0..20u32 {
        let slot = round % 2;
        worker.samples.clear();
        worker.connect([slot]).await;
        assert!(worker.until(SOON, |w| w.is_up(slot)).await);
        let since = worker.steps[&(slot, worker.generation(slot))][0].0;
        assert!(worker.until(SOON, |w| w.samples.iter().filter(|s| s.slot == slot && s.at > since).count() > 3).await);
        assert!(worker.until(SOON, |w| w.generation(1 - slot) == 0 || w.is_ended(1 - slot)).await);
        let strangers = worker.samples.iter().filter(|s| s.slot != slot && s.at > since + 50 * MS).count();
        assert_eq!(strangers, 0, "round {round}");
    }
}

/// One probe is under way at a time, and a frozen broker's comes back late but true.
#[tokio::test]
async fn a_probe_waits_for_the_one_before() {
    let broker = Mosquitto::with(Setup { verbose: true, ..Setup::default() });
    let mut one = def("one", broker.port());
    one.settings.probe.kind = ProbeKind::Ack;
    one.settings.probe.every = 10 * MS;
    let mut worker = Worker::start(vec![one]).await;
    worker.connect([0]).await;
    assert!(worker.until(SOON, |w| w.samples.len() > 5).await);
    broker.freeze();
    worker.until(700 * MS, |_| false).await;
    worker.samples.clear();
    let before = broker.log().matches("Received PUBLISH from one").count();
    broker.thaw();
    assert!(worker.until(SOON, |w| w.samples.iter().any(|s| s.rtt > 500 * MS)).await);
    assert_eq!(worker.samples.iter().filter(|s| s.rtt > 100 * MS).count(), 1, "{:?}", worker.samples);
    let after = broker.log().matches("Received PUBLISH from one").count();
    assert!(after > before);
}
