//! Defines what a client says of its own accord: subscriptions, will, birth and traffic.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

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
