//! Defines the nouns of a fleet (clients, endpoints, workers and the keys that name them); where they are read from and what becomes of them is elsewhere.

mod conversation;
mod endpoint;
mod password;
mod secret;
mod settings;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub use conversation::{Conversation, Message, Subscription, Traffic};
pub use endpoint::{Endpoint, Proxy, ProxyKind, Tls, TlsMinimum, Transport, WebSocket};
pub use password::{Credentials, Password, PasswordCommand, PasswordSource};
pub use secret::{Secret, in_clear};
pub use settings::{Probe, ProbeKind, Protocol, Reconnect, Settings, Strategy};

use crate::text::Scrubbed;

/// A client's place in its fleet; it stays the same for a whole run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClientKey(pub u32);

/// An endpoint's place in its fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EndpointKey(pub u16);

/// A worker's place in the pool; a restarted worker keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorkerKey(pub u32);

impl ClientKey {
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl EndpointKey {
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl WorkerKey {
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// All that a run is about. Client and endpoint keys index `clients` and `endpoints`.
#[derive(Clone, Debug)]
pub struct Fleet {
    pub name: Scrubbed,
    /// The kind of installation (`prod`, `staging`, …).
    pub env: Option<Scrubbed>,
    /// The most clients one worker process holds, 1 to 2,000.
    pub worker_size: usize,
    pub endpoints: Vec<Endpoint>,
    pub clients: Vec<Client>,
}

impl Fleet {
    /// Nobody.
    pub fn none() -> Arc<Fleet> {
        let name = Scrubbed::default();
        Arc::new(Fleet { name, env: None, worker_size: 1, endpoints: Vec::new(), clients: Vec::new() })
    }

    /// Whether it is a production fleet, of which everything is asked once more.
    pub fn is_prod(&self) -> bool {
        let is_one = |env: &str| env.eq_ignore_ascii_case("prod") || env.eq_ignore_ascii_case("production");
        self.env.as_deref().is_some_and(is_one)
    }

    pub fn client(&self, key: ClientKey) -> &Client {
        &self.clients[key.index()]
    }

    pub fn endpoint(&self, key: EndpointKey) -> &Endpoint {
        &self.endpoints[key.index()]
    }

    pub fn keys(&self) -> impl Iterator<Item = ClientKey> + use<> {
        (0..self.clients.len() as u32).map(ClientKey)
    }

    /// How many workers hold it: as few as `worker_size` allows.
    pub fn workers(&self) -> usize {
        self.clients.len().div_ceil(self.worker_size.max(1))
    }

    /// The worker that holds a client. They are evenly filled in the fleet's order: of 501 clients, two workers hold
    /// 251 and 250, not 500 and 1.
    pub fn worker(&self, key: ClientKey) -> WorkerKey {
        let count = self.workers().max(1);
        let (size, rest) = (self.clients.len() / count, self.clients.len() % count);
        // So many have one more.
        let fuller = rest * (size + 1);
        let index = key.index();
        let worker = if index < fuller { index / (size + 1) } else { rest + (index - fuller) / size.max(1) };
        WorkerKey(worker as u32)
    }

    pub fn endpoint_keys(&self) -> impl Iterator<Item = EndpointKey> + use<> {
        (0..self.endpoints.len() as u16).map(EndpointKey)
    }
}

/// A client's own certificate and key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Identity {
    /// The certificate and what chains it to an anchor, in PEM.
    pub cert_file: PathBuf,
    /// The private key in PEM, which may be encrypted.
    pub key_file: PathBuf,
    #[serde(with = "in_clear")]
    pub key_password: Option<Secret>,
    /// When the certificate ends, as its file said when the fleet file was read.
    pub not_after: Option<DateTime<Utc>>,
}

/// What an operator calls clients together by, such as `site = hall-3`.
pub type Labels = BTreeMap<Scrubbed, Scrubbed>;

/// One MQTT client. What all clients of a table share is behind `settings`.
#[derive(Clone, Debug)]
pub struct Client {
    /// The client ID as it goes to the broker.
    pub id: Arc<str>,
    /// The client ID as it is shown.
    pub name: Scrubbed,
    /// Where it may connect, in order of preference; at least one.
    pub endpoints: Arc<[EndpointKey]>,
    pub username: Option<Arc<str>>,
    pub password: Option<Password>,
    pub identity: Option<Arc<Identity>>,
    /// Where the password of the identity's key is fetched from; `None` where the identity has it, or
    /// needs none.
    pub key_password: Option<Arc<PasswordSource>>,
    /// Where its probes go, where the fleet file says so.
    pub own_probe_topic: Option<Arc<str>>,
    pub labels: Arc<Labels>,
    pub conversation: Arc<Conversation>,
    pub settings: Arc<Settings>,
}

impl Client {
    /// A client without user name and password.
    pub fn new(id: &str, endpoint: EndpointKey, settings: Arc<Settings>) -> Client {
        Client {
            id: id.into(),
            name: Scrubbed::new(id),
            endpoints: Arc::new([endpoint]),
            username: None,
            password: None,
            identity: None,
            key_password: None,
            own_probe_topic: None,
            labels: Arc::default(),
            conversation: Arc::default(),
            settings,
        }
    }

    /// Where its probes go.
    pub fn probe_topic(&self) -> Arc<str> {
        self.own_probe_topic.clone().unwrap_or_else(|| probe_topic(&self.id).into())
    }

    /// Where its password and that of its key are fetched from before it connects, where they are.
    pub fn sources(&self) -> [Option<&Arc<PasswordSource>>; 2] {
        [self.password.as_ref().and_then(Password::source), self.key_password.as_ref()]
    }

    /// The endpoint it connects to when all is well.
    pub fn endpoint(&self) -> EndpointKey {
        self.endpoints[0]
    }
}

/// The topic of a client's probes where it has no other: wildcards, `$` in front and what brokers refuse in a
/// topic (MQTT 5.0 §1.5.4, §4.7) become `_`.
pub fn probe_topic(client_id: &str) -> String {
    let safe = |c: char| if matches!(c, '+' | '#') || c.is_control() { '_' } else { c };
    let id: String = client_id.chars().map(safe).collect();
    let id = id.strip_prefix('$').map_or(id.clone(), |rest| format!("_{rest}"));
    format!("mqfleet/probe/{id}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_probe_topic_keeps_the_id() {
        assert_eq!(probe_topic("press-0001"), "mqfleet/probe/press-0001");
        assert_eq!(probe_topic("$SYS/+/#\0\x1b"), "mqfleet/probe/_SYS/_/___");
        assert_eq!(probe_topic(""), "mqfleet/probe/");
    }

    proptest! {
        #[test]
        fn a_probe_topic_is_a_topic_name(id in "(?s).{0,80}") {
            let topic = probe_topic(&id);
            prop_assert!(!topic.contains(['+', '#', '\0']) && !topic.starts_with('$'));
        }
    }
}
