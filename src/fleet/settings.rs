//! Defines how clients connect, retry and are measured.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How a client connects, retries and is measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The version that is spoken, or tried first.
    pub protocol: Protocol,
    /// Whether MQTT 3.1.1 is tried where a broker does not answer to `protocol`.
    pub falls_back: bool,
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

    /// Whether a client may come to speak MQTT 3.1.1.
    pub fn may_speak_old(&self) -> bool {
        self.protocol == Protocol::V311 || self.falls_back
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            protocol: Protocol::V5,
            falls_back: false,
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
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reconnect {
    pub strategy: Strategy,
    /// Tries after which the client is given up; 0 for no limit.
    pub max_retries: u32,
    /// A connection that held this long starts the count of tries anew.
    pub stable_after: Duration,
}

impl Reconnect {
    /// Whether it is not to try again at all.
    pub fn is_never(&self) -> bool {
        self.strategy == Strategy::Never
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
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
