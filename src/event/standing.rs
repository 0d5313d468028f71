//! Defines how clients and their fleet stand, as it is told in few bytes to who comes later than the events; how it is worked out and taken in is the model's matter.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Connack, Late, Reason, Shortfall, State, Tcp};
use crate::{
    clock::Moment,
    fleet::{ClientKey, EndpointKey, ProbeKind, WorkerKey},
    text::Scrubbed,
};

/// All that a client's events so far come to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    pub client: ClientKey,
    pub endpoint: EndpointKey,
    pub state: State,
    /// Since when it is up, down, given up or off.
    pub since: Moment,
    pub reason: Reason,
    pub detail: Scrubbed,
    pub attempt: u32,
    pub next_try: Option<Moment>,
    /// How often it came up; the first time counts.
    pub ups: u32,
    /// The last answer: when, and how long it took.
    pub last: Option<(Moment, Duration)>,
    pub received: u64,
    pub published: u64,
    /// Messages that the broker refused.
    #[serde(default)]
    pub refused: u64,
    /// By what it is measured, where that is not as configured.
    #[serde(default)]
    pub measured: Option<ProbeKind>,
    /// Since when it is slow, where it is.
    #[serde(default)]
    pub slow: Option<Moment>,
    /// Since when a probe is late, where one is, and the one that is under way.
    #[serde(default)]
    pub late: Option<Moment>,
    #[serde(default)]
    pub awaited: Option<Late>,
    /// When an answer last took longer than its objective allows, where it violates that.
    #[serde(default)]
    pub violated: Option<Moment>,
    /// What the broker said to its present connection, or to the last one.
    #[serde(default)]
    pub connack: Option<Arc<Connack>>,
    #[serde(default)]
    pub subscribed: Option<Duration>,
    #[serde(default)]
    pub shortfalls: Vec<Shortfall>,
    #[serde(default)]
    pub link: Option<Reading>,
    #[serde(default)]
    pub past: Past,
    #[serde(default)]
    pub strip: Strip,
    #[serde(default)]
    pub answers: Option<Window>,
}

/// A client's record over the run, until it entered its state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Past {
    pub entered: Moment,
    /// Whether it is not meant to be up since then.
    pub is_idle: bool,
    /// Microseconds in each state, in the order of [`State::ALL`].
    pub in_state: [u64; State::ALL.len()],
    /// Microseconds of these in which it was not meant to be up.
    pub idle: u64,
    /// When the present outage began.
    pub outage: Option<Moment>,
    /// Microseconds of outages that ended with the client up again, and how many these were.
    pub mending: u64,
    pub mended: u32,
    /// Microseconds of the longest outage that is over.
    pub longest: u64,
    pub flaps: u32,
}

/// What a client was when, in slots of time of one width.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Strip {
    pub origin: Moment,
    /// Milliseconds of a slot.
    pub width: u32,
    /// The number of the newest slot, from the origin on.
    pub newest: u32,
    /// The slots up to the newest one, oldest first: what it was, and in how many slots on end.
    pub runs: Vec<(u8, u8)>,
}

/// A client's answers over a rolling window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// Microseconds of a part.
    pub width: u32,
    /// The number of the newest part.
    pub newest: u64,
    /// Oldest first; the last one is the newest.
    pub parts: Vec<Part>,
    /// The last answer of this connection in microseconds; 0 where there was none.
    pub last: u32,
    /// In microseconds.
    pub jitter: f32,
    /// What is usual, in microseconds; 0 where that is not known.
    #[serde(default)]
    pub usual: f32,
}

/// A part of such a window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Part {
    pub counts: Counts,
    /// Probes that were answered, and that never were.
    pub answered: u16,
    pub lost: u16,
    /// The slowest answer in microseconds.
    pub max: u32,
}

/// The kernel's last reading of a connection, and what a few of them in a row said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    pub at: Moment,
    pub tcp: Tcp,
    #[serde(default)]
    pub grown: u32,
    #[serde(default)]
    pub rises: u8,
    #[serde(default)]
    pub is_lossy: bool,
    #[serde(default)]
    pub stuck: u8,
}

/// What the events of a fleet come to that are about no single client.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FleetStanding {
    pub samples_lost: u64,
    pub worker_deaths: u32,
    pub last_worker_death: Option<WorkerKey>,
    /// The round trips of the last minute or so, of each endpoint and of each group of clients.
    pub endpoints: Vec<Slices>,
    pub groups: Vec<Slices>,
    /// Those of all clients over some minutes, by coarser buckets.
    pub heat: Slices,
}

/// Round trips in slices of time of one width.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Slices {
    /// The number of the newest slice.
    pub newest: u64,
    /// Oldest first; the last one is the newest. What is older than all of these is not told.
    pub slices: Vec<Slice>,
}

/// One of these slices.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Slice {
    pub counts: Counts,
    /// Probes that were never answered, where these are counted.
    pub lost: u32,
    /// Microseconds of the slowest one, where it is kept.
    pub max: u64,
}

/// Counts by bucket: for each one that is not empty, how many empty ones are before it, and its count.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Counts(Vec<u32>);

impl Counts {
    pub fn of(counts: impl Iterator<Item = u32>) -> Counts {
        let (mut sparse, mut empty) = (Vec::new(), 0);
        for count in counts {
            match count {
                0 => empty += 1,
                _ => sparse.extend([std::mem::take(&mut empty), count]),
            }
        }
        Counts(sparse)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first `len` buckets that are not empty, with their counts; what comes from a file may have
    /// told of others.
    pub fn buckets(&self, len: usize) -> impl Iterator<Item = (usize, u32)> + '_ {
        let told = self.0.chunks_exact(2).scan(0usize, |next, pair| {
            let bucket = next.saturating_add(pair[0] as usize);
            *next = bucket.saturating_add(1);
            Some((bucket, pair[1]))
        });
        told.take_while(move |(bucket, _)| *bucket < len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_told_without_the_empty_ones_and_nonsense_is_none() {
        let counts = [0, 0, 7, 1, 0, 255, 0];
        let told = Counts::of(counts.into_iter());
        assert_eq!(serde_json::to_string(&told).unwrap(), "[2,7,0,1,1,255]");
        assert_eq!(told.buckets(7).collect::<Vec<_>>(), [(2, 7), (3, 1), (5, 255)]);
        assert_eq!(told.buckets(5).count(), 2);
        let nonsense: Counts = serde_json::from_str("[4294967295,3,4294967295,3,4294967295,3,0]").unwrap();
        assert_eq!(nonsense.buckets(304).count(), 0);
    }
}
