//! Defines where a replay is in its recording, and where in that the trouble was; how time passes is the player's matter.

use crate::clock::Moment;

/// What a player is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Motion {
    Playing,
    Paused,
    /// On its way to another time; how far, 0 to 100, where that is known.
    Seeking(Option<u8>),
    /// At the end.
    Ended,
}

/// A short part of a recording, and what is known of it without reading it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stretch {
    pub first: Moment,
    pub last: Moment,
    /// Connections lost in it.
    pub lost: u32,
    /// Clients that are slow at its end, and that are down although they are meant to be up.
    pub slow: u32,
    pub down: u32,
}

/// A replay, and the recording it is of.
#[derive(Clone, Copy, Debug)]
pub struct Timeline<'a> {
    pub motion: Motion,
    /// Seconds of the recording in a second.
    pub speed: f64,
    /// What is played of the recording.
    pub begin: Moment,
    pub end: Moment,
    pub stretches: &'a [Stretch],
}
