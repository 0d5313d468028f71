//! Real worker processes against real brokers: every order ends as it must, and nothing hangs. How orders come about is not tested here.

#[path = "harness/mosquitto.rs"]
mod mosquitto;
#[path = "harness/worker.rs"]
mod process;

use std::time::{Duration, Instant};

use mosquitto::Mosquitto;
use mqfleet::{
    fleet::{Probe, ProbeKind, Protocol},
    wire::ClientDef,
};
use process::Worker;

const SOON: Duration = Duration::from_secs(10);

fn def(id: &str, port: u16) -> ClientDef {
    ClientDef {
        id: id.into(),
        host: "127.0.0.1".into(),
        port,
        protocol: Protocol::V5,
        keep_alive: Duration::from_secs(30),
        clean_start: true,
        connect_timeout: Duration::from_secs(10),
        probe: Probe { kind: ProbeKind::Off, every: Duration::from_secs(1) },
        username: None,
        password: None,
    }
}

fn defs(n: usize, port: u16) -> Vec<ClientDef> {
    (0..n).map(|i| def(&format!("client-{i:04}"), port)).collect()
}

#[tokio::test]
async fn a_thousand_clients_survive_their_broker_s_death() {
    const N: usize = 1000;
    let rounds: usize = std::env::var("MQFLEET_ROUNDS").ok().and_then(|r| r.parse().ok()).unwrap_or(5);
    let mut broker = Mosquitto::start();
    let mut worker = Worker::start(defs(N, broker.port())).await;
    for round in 1..=rounds {
        let started = Instant::now();
        worker.connect(0..N as u32).await;
        assert!(worker.until(SOON, |w| w.up() == N).await, "round {round}: only {} up", worker.up());
        let up = started.elapsed();
        let started = Instant::now();
        broker.kill9();
        assert!(worker.until(SOON, |w| w.ended() == N).await, "round {round}: only {} ended", worker.ended());
        eprintln!("round {round}: {N} up in {up:?}, {N} ended in {:?}, {} reports", started.elapsed(), worker.reports);
        broker.restart();
    }
}
