//! Real worker processes against real brokers: every order ends as it must, and nothing hangs. How orders come about is not tested here.

#[path = "harness/mosquitto.rs"]
mod mosquitto;
#[path = "harness/worker.rs"]
mod process;
#[path = "harness/script.rs"]
mod script;

#[path = "worker/causes.rs"]
mod causes;
#[path = "worker/death.rs"]
mod death;
#[path = "worker/ends.rs"]
mod ends;
#[path = "worker/figures.rs"]
mod figures;
#[path = "worker/orders.rs"]
mod orders;
#[path = "worker/samples.rs"]
mod samples;

use std::{sync::Arc, time::Duration};

use mqfleet::{
    fleet::{Probe, ProbeKind, Protocol},
    wire::ClientDef,
};

/// A bound for what takes milliseconds, on a machine that does much else.
const SOON: Duration = Duration::from_secs(15);

fn def(id: impl Into<Arc<str>>, port: u16) -> ClientDef {
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
    (0..n).map(|i| def(format!("client-{i:04}"), port)).collect()
}
