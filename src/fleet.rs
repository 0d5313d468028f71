//! Defines the nouns of a fleet (clients, endpoints, workers and the keys that name them); where they are read from and what becomes of them is elsewhere.

mod conversation;
mod endpoint;
mod password;
mod places;
mod revision;
mod secret;
mod settings;

use std::{borrow::Cow, collections::BTreeMap, path::PathBuf, sync::Arc};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub use conversation::{Conversation, Message, Subscription, Traffic};
pub use endpoint::{Agent, Endpoint, Proxy, ProxyKind, Tls, TlsMinimum, Transport, WebSocket};
pub use password::{Credentials, Password, PasswordCommand, PasswordSource};
pub use places::Places;
pub use revision::{Difference, Parts};
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

/// All that a run is about. Client and endpoint keys index `clients` and `endpoints`, where those that the file has no
/// longer keep their places: whoever goes through the fleet goes through its [`Fleet::keys`].
#[derive(Clone, Debug, PartialEq)]
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

    /// Whose client it is, where the fleet is those of several agents.
    pub fn agent_of(&self, key: ClientKey) -> Option<&Agent> {
        self.endpoint(self.client(key).endpoint()).agent.as_ref()
    }

    /// What a client is called where no column says whose it is: with its agent's name, of several agents.
    pub fn full_name(&self, key: ClientKey) -> Cow<'_, str> {
        let name = &self.client(key).name;
        self.agent_of(key).map_or(Cow::Borrowed(name.as_str()), |agent| Cow::Owned(format!("{}/{name}", agent.name)))
    }

    /// The agents whose fleets it is, in their order; none where it is not those of several.
    pub fn agents(&self) -> Vec<&Agent> {
        let mut agents: Vec<&Agent> = self.endpoints.iter().filter_map(|endpoint| endpoint.agent.as_ref()).collect();
        agents.sort_by_key(|agent| agent.number);
        agents.dedup_by_key(|agent| agent.number);
        agents
    }

    /// The clients that it has.
    pub fn keys(&self) -> impl Iterator<Item = ClientKey> + Clone + '_ {
        (0..).map(ClientKey).zip(&self.clients).filter(|(_, client)| !client.is_gone).map(|(key, _)| key)
    }

    /// The endpoints that it has.
    pub fn endpoint_keys(&self) -> impl Iterator<Item = EndpointKey> + Clone + '_ {
        (0..).map(EndpointKey).zip(&self.endpoints).filter(|(_, endpoint)| !endpoint.is_gone).map(|(key, _)| key)
    }

    /// Whether it has such a client.
    pub fn has(&self, key: ClientKey) -> bool {
        self.clients.get(key.index()).is_some_and(|client| !client.is_gone)
    }

    /// Whether it has such an endpoint.
    pub fn has_endpoint(&self, key: EndpointKey) -> bool {
        self.endpoints.get(key.index()).is_some_and(|endpoint| !endpoint.is_gone)
    }
}

/// A client's own certificate and key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq)]
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
    /// Whether the fleet file has it no longer.
    pub is_gone: bool,
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
            is_gone: false,
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
