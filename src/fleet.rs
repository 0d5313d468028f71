//! Defines the nouns of a fleet (clients, endpoints, workers and the keys that name them); where they are read from and what becomes of them is elsewhere.

use std::{collections::BTreeMap, fmt, net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

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

    pub fn endpoint_keys(&self) -> impl Iterator<Item = EndpointKey> + use<> {
        (0..self.endpoints.len() as u16).map(EndpointKey)
    }
}

/// One address that a broker listens on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Endpoint {
    pub name: Scrubbed,
    /// For a Unix socket `localhost`, as in `Host` of HTTP over one.
    pub host: Box<str>,
    /// 0 for a Unix socket.
    pub port: u16,
    pub transport: Transport,
    /// The proxy on the way, where there is one.
    pub proxy: Option<Proxy>,
    /// Addresses of this host to connect from, in turn; where there is none the system chooses.
    pub bind: Arc<[IpAddr]>,
    /// Connects a second, first ones and reconnects together; at least 1.
    pub connect_rate: u32,
    /// Connects in flight at once; at least 1.
    pub max_connecting: u32,
}

impl Endpoint {
    pub const CONNECT_RATE: u32 = 1000;
    /// Below the listen backlog of a common broker (mosquitto: 100): past that the kernel drops SYNs,
    /// and a connect takes a second more.
    pub const MAX_CONNECTING: u32 = 90;

    /// An endpoint with the default limits.
    pub fn new(name: &str, host: &str, port: u16) -> Endpoint {
        Endpoint {
            name: Scrubbed::new(name),
            host: host.into(),
            port,
            transport: Transport::Tcp,
            proxy: None,
            bind: Arc::default(),
            connect_rate: Self::CONNECT_RATE,
            max_connecting: Self::MAX_CONNECTING,
        }
    }

    /// The address as the operator knows it: `host:port` (IPv6 in brackets, RFC 3986 §3.2.2), or the path
    /// of a Unix socket.
    pub fn address(&self) -> String {
        if let Transport::Unix(path) = &self.transport {
            path.display().to_string()
        } else if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// What carries MQTT's packets to an endpoint.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Transport {
    /// `mqtt://`
    Tcp,
    /// `mqtts://`
    Tls(Arc<Tls>),
    /// `ws://`
    WebSocket(Arc<WebSocket>),
    /// `wss://`
    SecureWebSocket(Arc<WebSocket>, Arc<Tls>),
    /// `unix://`, with the socket's path.
    Unix(PathBuf),
}

impl Transport {
    pub fn tls(&self) -> Option<&Arc<Tls>> {
        match self {
            Transport::Tls(tls) | Transport::SecureWebSocket(_, tls) => Some(tls),
            Transport::Tcp | Transport::WebSocket(_) | Transport::Unix(_) => None,
        }
    }

    pub fn websocket(&self) -> Option<&Arc<WebSocket>> {
        match self {
            Transport::WebSocket(websocket) | Transport::SecureWebSocket(websocket, _) => Some(websocket),
            Transport::Tcp | Transport::Tls(_) | Transport::Unix(_) => None,
        }
    }

    /// The scheme of the endpoint's URL.
    pub fn scheme(&self) -> &'static str {
        match self {
            Transport::Tcp => "mqtt",
            Transport::Tls(_) => "mqtts",
            Transport::WebSocket(_) => "ws",
            Transport::SecureWebSocket(..) => "wss",
            Transport::Unix(_) => "unix",
        }
    }
}

/// What an endpoint's certificate is held against.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tls {
    /// Trust anchors in PEM; the system's trust store where there is none.
    pub ca_file: Option<PathBuf>,
    /// Certificate revocation lists in PEM (RFC 5280 §5), held against the server's own certificate.
    pub crl_file: Option<PathBuf>,
    /// No check of certificate or host name: shown on the screen.
    pub insecure: bool,
    /// Protocols to offer (ALPN, RFC 7301), the preferred one first.
    pub alpn: Vec<String>,
    /// The name to ask for (SNI, RFC 6066 §3) and to verify, where it is not the URL's host.
    pub server_name: Option<Box<str>>,
    pub min_version: TlsMinimum,
}

/// The oldest version of TLS that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TlsMinimum {
    #[default]
    V1_2,
    V1_3,
}

/// What an endpoint's WebSocket is asked for with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WebSocket {
    /// With its query, from the slash on.
    pub path: Box<str>,
    /// More fields of the request; their values may be tokens.
    #[serde(with = "in_clear::fields")]
    pub headers: Vec<(Box<str>, Secret)>,
}

impl WebSocket {
    /// A WebSocket at this path, without further fields.
    pub fn new(path: &str) -> WebSocket {
        WebSocket { path: path.into(), headers: Vec::new() }
    }
}

/// A proxy between this host and the endpoint.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Proxy {
    pub kind: ProxyKind,
    pub host: Box<str>,
    pub port: u16,
    pub username: Option<Arc<str>>,
    #[serde(with = "in_clear")]
    pub password: Option<Secret>,
    /// The environment variable that named it, where the fleet file did not.
    pub variable: Option<Box<str>>,
}

impl Proxy {
    /// A proxy that asks nobody for a password.
    pub fn new(kind: ProxyKind, host: &str, port: u16) -> Proxy {
        Proxy { kind, host: host.into(), port, username: None, password: None, variable: None }
    }
}

/// What a proxy speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProxyKind {
    /// HTTP CONNECT (RFC 9110 §9.3.6).
    Http,
    /// The same over TLS, verified against the system's trust store.
    Https,
    /// SOCKS version 5 (RFC 1928), given an address that is looked up here.
    Socks5,
    /// The same, given the name: the proxy looks it up.
    Socks5h,
}

impl ProxyKind {
    /// The scheme of its URL.
    pub fn scheme(self) -> &'static str {
        match self {
            ProxyKind::Http => "http",
            ProxyKind::Https => "https",
            ProxyKind::Socks5 => "socks5",
            ProxyKind::Socks5h => "socks5h",
        }
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

/// A message that a client publishes, or has published for it (its will).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    pub topic: Arc<str>,
    pub payload: Arc<[u8]>,
    /// 0 to 2.
    pub qos: u8,
    pub retain: bool,
}

/// A topic filter a client subscribes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    pub filter: Arc<str>,
    /// The highest QoS asked for, 0 to 2.
    pub qos: u8,
}

/// A message published over and over; `%s` in its payload is its number, from 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    pub message: Message,
    pub every: Duration,
}

/// What a client does once it is up, with its own ID and number already filled in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    pub will: Option<Message>,
    pub birth: Option<Message>,
    pub subscribe: Vec<Subscription>,
    pub publish: Option<Traffic>,
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
    pub password: Option<Secret>,
    pub identity: Option<Arc<Identity>>,
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
            labels: Arc::default(),
            conversation: Arc::default(),
            settings,
        }
    }

    /// The endpoint it connects to when all is well.
    pub fn endpoint(&self) -> EndpointKey {
        self.endpoints[0]
    }
}

/// How a client connects, retries and is measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub protocol: Protocol,
    /// 0 to 65,535 s; 0 switches keep alive off (MQTT 5.0 §3.1.2.10).
    pub keep_alive: Duration,
    pub clean_start: bool,
    /// How long the broker keeps the session after the connection (MQTT 5.0 §3.1.2.11.2); only MQTT 5.
    pub session_expiry: Duration,
    /// QoS 1 and 2 messages the broker may have in flight to it (MQTT 5.0 §3.1.2.11.3); only MQTT 5.
    pub receive_maximum: Option<u16>,
    /// The largest packet it takes, in bytes, announced in MQTT 5 (§3.1.2.11.4) and kept in both versions.
    pub maximum_packet_size: u32,
    /// Properties of the CONNECT (MQTT 5.0 §3.1.2.11.8); only MQTT 5.
    pub user_properties: Vec<(String, String)>,
    /// Whether it may go where a broker sends it (reason codes 0x9C and 0x9D).
    pub follow_redirects: bool,
    /// How long a connect may take, from the order to the CONNACK.
    pub connect_timeout: Duration,
    pub reconnect: Reconnect,
    pub probe: Probe,
    /// Above this 99th percentile over the trend's window a client that is up counts as slow.
    pub slow_p99: Option<Duration>,
    pub start_connected: bool,
}

impl Settings {
    pub const MAXIMUM_PACKET_SIZE: u32 = 256 << 10;
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            protocol: Protocol::V5,
            keep_alive: Duration::from_secs(30),
            clean_start: true,
            session_expiry: Duration::ZERO,
            receive_maximum: None,
            maximum_packet_size: Self::MAXIMUM_PACKET_SIZE,
            user_properties: Vec::new(),
            follow_redirects: false,
            connect_timeout: Duration::from_secs(10),
            reconnect: Reconnect::default(),
            probe: Probe::default(),
            slow_p99: None,
            start_connected: true,
        }
    }
}

/// The MQTT version a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    V311,
    V5,
}

/// When a client that lost its connection, or could not get one, tries again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reconnect {
    pub strategy: Strategy,
    /// Tries after which the client is given up; 0 for no limit.
    pub max_retries: u32,
    /// A connection that held this long starts the count of tries anew.
    pub stable_after: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Strategy {
    /// A random time below `min · 2ⁿ`, at most `max`: full jitter, so that a fleet spreads.
    Exponential {
        min: Duration,
        max: Duration,
    },
    Fixed {
        every: Duration,
    },
    Never,
}

impl Default for Reconnect {
    fn default() -> Self {
        Reconnect {
            strategy: Strategy::Exponential { min: Duration::from_secs(1), max: Duration::from_secs(120) },
            max_retries: 0,
            stable_after: Duration::from_secs(30),
        }
    }
}

/// How the broker's answer time is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    pub kind: ProbeKind,
    /// The time between two probes. A heartbeat comes when the keep alive sends one, whatever this says.
    pub every: Duration,
}

impl Default for Probe {
    fn default() -> Self {
        Probe { kind: ProbeKind::Heartbeat, every: Duration::from_secs(5) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeKind {
    /// The keep alive's own PINGREQ → PINGRESP; sends nothing.
    Heartbeat,
    /// A QoS 1 PUBLISH → PUBACK on the client's own topic.
    Ack,
    /// The client's own PUBLISH through the broker and back to it, on its own topic.
    Echo,
    Off,
}

impl ProbeKind {
    pub fn name(self) -> &'static str {
        match self {
            ProbeKind::Heartbeat => "heartbeat",
            ProbeKind::Ack => "ack",
            ProbeKind::Echo => "echo",
            ProbeKind::Off => "off",
        }
    }
}

/// A password or the like. It prints as `[secret]` and is wiped from memory when dropped.
#[derive(Clone)]
pub struct Secret(Arc<SecretString>);

impl Secret {
    pub fn new(value: String) -> Secret {
        Secret(Arc::new(SecretString::from(value)))
    }

    /// The value itself: for the worker's pipe and for Paho, nothing else.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// How a secret crosses the socket pair between console and worker: in clear. Nothing else may ask for it.
pub mod in_clear {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Secret;

    pub fn serialize<S: Serializer>(secret: &Option<Secret>, s: S) -> Result<S::Ok, S::Error> {
        secret.as_ref().map(Secret::expose).serialize(s)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Secret>, D::Error> {
        Ok(Option::<String>::deserialize(d)?.map(Secret::new))
    }

    /// The same for named secrets.
    pub(super) mod fields {
        use super::*;

        pub fn serialize<S: Serializer>(fields: &[(Box<str>, Secret)], s: S) -> Result<S::Ok, S::Error> {
            s.collect_seq(fields.iter().map(|(name, value)| (&**name, value.expose())))
        }

        pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<(Box<str>, Secret)>, D::Error> {
            let fields = Vec::<(Box<str>, String)>::deserialize(d)?;
            Ok(fields.into_iter().map(|(name, value)| (name, Secret::new(value))).collect())
        }
    }
}
