//! Defines what the engine can be told to do (down); whether it worked is only ever seen in the events.

use crate::fleet::{ClientKey, EndpointKey};

/// A wish about some clients, or an endpoint. Nothing answers it: the rows change when events say so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Connect clients that are off or given up; leave the others alone.
    Connect(Vec<ClientKey>),
    /// Disconnect where connected, then connect, through the endpoint's admission.
    Reconnect(Vec<ClientKey>),
    /// Disconnect and stay off.
    Disconnect(Vec<ClientKey>),
    /// Let nobody connect to an endpoint; who is connected stays so.
    Hold(EndpointKey),
    /// Let clients connect to it again.
    Release(EndpointKey),
    /// Let this many clients a second connect to it, at least 1.
    SetRate(EndpointKey, u32),
    /// Disconnect everything, end the workers, end the engine.
    Stop,
}
