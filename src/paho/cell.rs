//! Defines what Paho's callbacks know of one slot; who writes and reads it when is the table's matter.

use std::os::fd::RawFd;

use super::{slots::End, trouble::Fault};
use crate::{clock::Moment, event::Generation, fleet::ProbeKind};

/// What the failure callback of a connect was told: the code, above 0 where it is the broker's, and
/// what the trace said just before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refusal {
    pub at: Moment,
    pub rc: i32,
    pub fault: Option<Fault>,
}

/// What the callbacks know of one slot.
#[derive(Debug, Default)]
pub(super) struct Cell {
    /// The connect order that Paho works on or has fulfilled; callbacks of others change nothing.
    pub generation: Generation,
    /// When the connect was ordered, when CONNECT went out, and when CONNACK came.
    pub ordered: Moment,
    pub asked: Option<Moment>,
    pub up: Option<Moment>,
    pub refusal: Option<Refusal>,
    pub end: Option<End>,
    /// The socket, while the connection is up.
    pub socket: Option<RawFd>,
    /// When the PINGREQ went out that was not answered yet.
    pub ping: Option<Moment>,
    /// The probe's message that was not acknowledged yet, and when it went out.
    pub publish: Option<(u16, Moment)>,
    /// Whether a probe was ordered and not acknowledged yet.
    pub probing: bool,
    /// The echo that is awaited.
    pub echo: Option<Echo>,
}

impl Cell {
    /// Whether an answer to a probe of this kind is under way.
    pub fn is_awaiting(&self, probe: ProbeKind) -> bool {
        match probe {
            ProbeKind::Heartbeat => self.ping.is_some(),
            ProbeKind::Ack => self.publish.is_some(),
            ProbeKind::Echo => self.echo.is_some_and(|echo| echo.sent.is_some()),
            ProbeKind::Off => false,
        }
    }
}

/// An echo that was ordered and did not come back yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Echo {
    pub number: u64,
    pub ordered: Moment,
    /// When it went out.
    pub sent: Option<Moment>,
}
