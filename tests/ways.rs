//! Whole workers and the whole program on every way to a real broker: proxies, TLS, names, WebSockets, Unix sockets, chosen source addresses. What a connection is up to where MQTT begins is tested in `transport.rs`.
#![allow(clippy::unwrap_used, reason = "what panics here is a failed test")]

#[path = "harness/async_peers.rs"]
mod async_peers;
#[path = "harness/certs.rs"]
mod certs;
#[path = "harness/fleet_file.rs"]
mod fleet_file;
#[path = "harness/headless.rs"]
mod headless;
#[path = "harness/mosquitto.rs"]
mod mosquitto;
#[path = "harness/name_server.rs"]
mod name_server;
#[path = "harness/peers.rs"]
mod peers;
#[path = "harness/worker.rs"]
mod process;

#[path = "ways/local.rs"]
mod local;
#[path = "ways/names.rs"]
mod names;
#[path = "ways/proxies.rs"]
mod proxies;
#[path = "ways/sessions.rs"]
mod sessions;
#[path = "ways/websocket.rs"]
mod websocket;

use std::{path::PathBuf, sync::Arc, time::Duration};

use mqfleet::{
    fleet::{Endpoint, Probe, ProbeKind, Protocol},
    wire::{ClientDef, Remote},
};
use process::{Def, Worker};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A bound for what takes milliseconds, on a machine that does much else.
const SOON: Duration = Duration::from_secs(20);

/// The long form takes the first number, with `make chaos`.
fn many(long: usize, short: usize) -> usize {
    // Both ends of what goes through a relay are files of this process.
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    if std::env::var_os("MQFLEET_ROUNDS").is_some() { long } else { short }
}

/// A client of this endpoint whose echo comes back twice a second.
fn def(id: String, endpoint: &Endpoint) -> Def {
    let client = ClientDef {
        probe_topic: mqfleet::fleet::probe_topic(&id).into(),
        id: id.into(),
        protocol: Protocol::V5,
        keep_alive: Duration::from_secs(30),
        clean_start: true,
        session_expiry: Duration::ZERO,
        receive_maximum: None,
        maximum_packet_size: 256 << 10,
        user_properties: Vec::new(),
        connect_timeout: Duration::from_secs(10),
        probe: Probe { kind: ProbeKind::Echo, every: Duration::from_millis(500) },
        username: None,
        password: None,
        identity: None,
        conversation: Arc::default(),
    };
    Def { client, remote: Remote::from(endpoint) }
}

fn defs(name: &str, count: usize, endpoint: &Endpoint) -> Vec<Def> {
    (0..count).map(|n| def(format!("{name}-{n:04}"), endpoint)).collect()
}

/// Waits until this many of the slots have an answered probe.
async fn measured(worker: &mut Worker, slots: std::ops::Range<u32>) {
    let all = slots.clone().count();
    let heard = |w: &Worker| {
        let of: std::collections::HashSet<u32> =
            w.samples.iter().map(|s| s.slot).filter(|s| slots.contains(s)).collect();
        of.len() == all
    };
    assert!(worker.until(SOON, heard).await, "not all of {slots:?} are answered: {:?}", worker.samples.len());
}

/// A CA's certificate, and a server's with its key, as files.
struct Papers {
    _dir: tempfile::TempDir,
    own: certs::Certified,
    ca_file: PathBuf,
    cert_file: PathBuf,
    key_file: PathBuf,
}

impl Papers {
    /// For these names.
    fn new(names: &[&str]) -> Papers {
        let dir = tempfile::TempDir::new().unwrap();
        let ca = certs::Certified::ca("Test CA");
        let own = ca.issue(&certs::Wanted { names, ..certs::Wanted::LOCALHOST });
        let put = |name: &str, text: String| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let (ca_file, cert_file) = (put("ca.pem", ca.pem()), put("own.pem", own.pem()));
        let key_file = put("own.key", own.key_pem());
        Papers { own, ca_file, cert_file, key_file, _dir: dir }
    }

    /// The lines of mosquitto's listener with them.
    fn listener(&self, port: u16, address: &str) -> Vec<String> {
        vec![
            format!("listener {port} {address}"),
            format!("certfile {}", self.cert_file.display()),
            format!("keyfile {}", self.key_file.display()),
        ]
    }
}
