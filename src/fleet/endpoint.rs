//! Defines what an endpoint is: one address of a broker, and the way there.

use std::{net::IpAddr, path::PathBuf, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Secret, in_clear};
use crate::text::Scrubbed;

/// One address that a broker listens on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// Whether the fleet file has it no longer.
    pub is_gone: bool,
    /// Whose it is, in a fleet that is those of several agents.
    #[serde(skip)]
    pub agent: Option<Agent>,
}

/// One of several agents whose fleets are looked at as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Its number among them, from 0.
    pub number: u16,
    pub name: Scrubbed,
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
            is_gone: false,
            agent: None,
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WebSocket {
    /// With its query, from the slash on.
    pub path: Box<str>,
    /// More fields of the request; their values may be tokens.
    #[serde(with = "in_clear::fields")]
    pub headers: Vec<(Box<str>, Secret)>,
    /// Those whose values stand in files, which are read anew for every connect.
    pub header_files: Vec<(Box<str>, PathBuf)>,
}

impl WebSocket {
    /// A WebSocket at this path, without further fields.
    pub fn new(path: &str) -> WebSocket {
        WebSocket { path: path.into(), headers: Vec::new(), header_files: Vec::new() }
    }
}

/// A proxy between this host and the endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
