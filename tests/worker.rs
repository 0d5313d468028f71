//! Real worker processes against real brokers: every order ends as it must, and nothing hangs. How orders come about is not tested here.

#[path = "harness/certs.rs"]
mod certs;
#[path = "harness/comparison.rs"]
mod comparison;
#[path = "harness/delay.rs"]
mod delay;
#[path = "harness/mosquitto.rs"]
mod mosquitto;
#[path = "harness/worker.rs"]
mod process;
#[path = "harness/reference.rs"]
mod reference;
#[path = "harness/script.rs"]
mod script;

#[path = "worker/accuracy.rs"]
mod accuracy;
#[path = "worker/beat.rs"]
mod beat;
#[path = "worker/causes.rs"]
mod causes;
#[path = "worker/connack.rs"]
mod connack;
#[path = "worker/death.rs"]
mod death;
#[path = "worker/echo.rs"]
mod echo;
#[path = "worker/ends.rs"]
mod ends;
#[path = "worker/figures.rs"]
mod figures;
#[path = "worker/kernel.rs"]
mod kernel;
#[path = "worker/late.rs"]
mod late;
#[path = "worker/orders.rs"]
mod orders;
#[path = "worker/payloads.rs"]
mod payloads;
#[path = "worker/samples.rs"]
mod samples;
#[path = "worker/subscriptions.rs"]
mod subscriptions;
#[path = "worker/talk.rs"]
mod talk;
#[path = "worker/trust.rs"]
mod trust;

use std::{sync::Arc, time::Duration};

use mqfleet::{
    fleet::{Probe, ProbeKind, Protocol},
    wire::ClientDef,
};
use process::Def;

/// A bound for what takes milliseconds, on a machine that does much else.
const SOON: Duration = Duration::from_secs(15);

fn def(id: impl Into<Arc<str>>, port: u16) -> Def {
    let id = id.into();
    let client = ClientDef {
        probe_topic: mqfleet::fleet::probe_topic(&id).into(),
        id,
        protocol: Protocol::V5,
        keep_alive: Duration::from_secs(30),
        clean_start: true,
        session_expiry: Duration::ZERO,
        receive_maximum: None,
        maximum_packet_size: 256 << 10,
        user_properties: Vec::new(),
        connect_timeout: Duration::from_secs(10),
        probe: Probe { kind: ProbeKind::Off, every: Duration::from_secs(1) },
        username: None,
        password: None,
        identity: None,
        conversation: Arc::default(),
    };
    Def::new(client, port)
}

fn defs(n: usize, port: u16) -> Vec<Def> {
    (0..n).map(|i| def(format!("client-{i:04}"), port)).collect()
}
