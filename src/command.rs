//! Defines what a live run, or the player of a recording, can be told to do; whether a run did it is only ever seen in the events.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    event::{AlertKey, Deed, JobId, Roll, Steer},
    fleet::{ClientKey, EndpointKey},
    text::Scrubbed,
};

/// A wish about some clients, or an endpoint. Nothing answers it: the rows change when events say so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Connect clients that are off or given up; leave the others alone.
    Connect(Vec<ClientKey>),
    /// Disconnect where connected, then connect, through the endpoint's admission.
    Reconnect(Vec<ClientKey>),
    /// Connect anew at another of their endpoints that answers, and stay there until told to reconnect; who has none stays
    /// where it is.
    Failover(Vec<ClientKey>),
    /// Disconnect and stay off.
    Disconnect(Vec<ClientKey>),
    /// Do the same to many clients, a few at a time.
    Begin(Bulk),
    /// Have a job pause, go on, end, or be taken back.
    Steer(JobId, Steer),
    /// Let nobody connect to an endpoint; who is connected stays so.
    Hold(EndpointKey),
    /// Let clients connect to it again.
    Release(EndpointKey),
    /// Let this many clients a second connect to it, at least 1.
    SetRate(EndpointKey, u32),
    /// Tell nobody of a rule's alert for so long; where that is no time, tell of it again. `by` is who wants it so.
    Mute { rule: AlertKey, lasting: Duration, by: Scrubbed },
    /// Somebody is on a rule's alert: whoever was told of it is not told again while it lasts.
    Acknowledge { rule: AlertKey, by: Scrubbed },
    /// Disconnect everything, end the workers, end the engine.
    Stop,
}

/// What a job is to do, to whom, and how it is to go about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bulk {
    pub deed: Deed,
    pub clients: Vec<ClientKey>,
    pub roll: Roll,
}

/// A wish about a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Playback {
    /// Play where it is paused, pause where it plays; at the end, play from the begin.
    PlayOrPause,
    /// The next higher speed.
    Faster,
    /// The next lower one.
    Slower,
    /// Some seconds on or back.
    Skip(Direction),
    /// To the next event that the log tells, or the one before; or to one of this client.
    Event(Direction, Option<ClientKey>),
    /// To where the next trouble begins, or the present one or the one before.
    Trouble(Direction),
    /// To the time that was typed.
    GoTo(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Forward,
    Backward,
}
