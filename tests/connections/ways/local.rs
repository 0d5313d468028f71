//! Ways on this host: a broker's Unix socket, and the addresses that connections come from.

use std::{collections::BTreeMap, os::unix::net::UnixStream, time::Instant};

use mqfleet::fleet::{Endpoint, Transport};
use mqfleet_test_support::mosquitto::{Mosquitto, Setup};

use super::*;

#[tokio::test]
async fn a_unix_socket_is_a_way_like_any_other() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("mqtt.sock");
    let lines = vec![format!("listener 0 {}", path.display())];
    let mut broker = Mosquitto::with(Setup { lines, ..Setup::default() });
    let endpoint = Endpoint { transport: Transport::Unix(path.clone()), ..Endpoint::new("here", "localhost", 0) };
    const COUNT: usize = 50;
    let mut worker = Worker::start(defs("here", COUNT, &endpoint)).await;
    worker.connect(0..COUNT as u32).await;
    assert!(worker.until(SOON, |w| w.up() == COUNT).await, "{:?}", worker.steps);
    measured(&mut worker, 0..COUNT as u32).await;
    assert!(worker.samples.iter().all(|s| s.probe == ProbeKind::Echo && s.rtt > Duration::ZERO));
    assert_eq!((worker.late.len(), worker.samples_lost), (0, 0));
    assert!(worker.tcp.is_empty(), "there is no TCP on it: {:?}", worker.tcp);
    broker.kill9();
    assert!(worker.until(SOON, |w| w.ended() == COUNT).await);
    broker.restart();
    // It listens there a moment later than at its port.
    let end = Instant::now() + SOON;
    while UnixStream::connect(&path).is_err() {
        assert!(Instant::now() < end, "no socket");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    worker.connect(0..COUNT as u32).await;
    assert!(worker.until(SOON, |w| w.up() == COUNT).await, "{:?}", worker.steps);
}

#[tokio::test]
async fn clients_come_from_the_chosen_addresses_in_turn() {
    let broker = Mosquitto::start();
    let bind = ["127.0.0.7", "127.0.0.8", "127.0.0.9"].map(|ip| ip.parse().unwrap());
    let endpoint = Endpoint { bind: Arc::new(bind), ..Endpoint::new("e", "127.0.0.1", broker.port()) };
    const COUNT: usize = 60;
    let mut worker = Worker::start(defs("bound", COUNT, &endpoint)).await;
    worker.connect(0..COUNT as u32).await;
    assert!(worker.until(SOON, |w| w.up() == COUNT).await, "{:?}", worker.steps);
    measured(&mut worker, 0..COUNT as u32).await;
    let log = broker.log();
    let mut from: BTreeMap<&str, usize> = BTreeMap::new();
    for line in log.lines().filter(|l| l.contains("New client connected")) {
        let address = line.split("connected from ").nth(1).and_then(|rest| rest.split(':').next()).unwrap();
        *from.entry(address).or_default() += 1;
    }
    assert_eq!(from, BTreeMap::from([("127.0.0.7", 20), ("127.0.0.8", 20), ("127.0.0.9", 20)]), "{log}");
}
