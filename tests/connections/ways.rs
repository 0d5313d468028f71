//! Whole workers and the whole program on every way to a real broker: proxies, TLS, names, WebSockets, Unix sockets, chosen source addresses. What a connection is up to where MQTT begins is tested in `transport.rs`.
#![allow(clippy::unwrap_used, reason = "what panics here is a failed test")]

mod local;
mod names;
mod proxies;
mod sessions;
mod websocket;

use std::{path::PathBuf, sync::Arc, time::Duration};

use mqfleet::{
    fleet::{Endpoint, Probe, ProbeKind, Protocol, Settings},
    wire::{ClientDef, Remote},
};
use mqfleet_test_support::{
    SOON, certs,
    worker::{Def, Worker, client, settings},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

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
        settings: Settings { probe: Probe { kind: ProbeKind::Echo, every: Duration::from_millis(500) }, ..settings() },
        ..client(id)
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
