//! Defines what a broker says when it accepts a client; a refusal is a reason.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Stage;
use crate::text::Scrubbed;

/// A CONNACK that accepts, and how long it took to get there. What is `None` was not said, and then
/// has the value that MQTT 5.0 §3.2.2.3 gives it. MQTT 3.1.1 knows only whether a session was present.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connack {
    pub session_present: bool,
    /// What `reached` was made of: the client's own connection, not its endpoint's probe.
    #[serde(default)]
    pub stages: Vec<Stage>,
    /// From the order to connect until CONNECT went out: TCP, the proxy, TLS, the WebSocket.
    pub reached: Option<Duration>,
    /// From CONNECT until CONNACK.
    pub answered: Option<Duration>,
    /// How long the broker keeps the session, in seconds, where it is not as asked for.
    pub session_expiry: Option<u32>,
    /// QoS 1 and 2 messages that it takes before it has acknowledged one of them, 1 to 65,535.
    pub receive_maximum: Option<u16>,
    /// 0 or 1.
    pub maximum_qos: Option<u8>,
    pub retain_available: Option<bool>,
    /// In bytes.
    pub maximum_packet_size: Option<u32>,
    /// The client ID it gave to a client that had none.
    pub assigned_client_id: Option<Scrubbed>,
    pub topic_alias_maximum: Option<u16>,
    pub reason_string: Option<Scrubbed>,
    pub wildcard_subscription_available: Option<bool>,
    pub subscription_identifiers_available: Option<bool>,
    pub shared_subscription_available: Option<bool>,
    /// The keep alive to use in place of the client's own, in seconds.
    pub server_keep_alive: Option<u16>,
    pub server_reference: Option<Scrubbed>,
}
