//! Defines the storms of a run, seconds in which very many clients connect at once; whom an endpoint's gate lets through is the lifecycle's matter.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::wall;
use crate::{
    clock::{Anchor, Moment},
    event::State,
};

/// Seconds on end with very many connects.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Storm {
    pub from: DateTime<Utc>,
    pub seconds: u64,
    /// Connects that were tried in it, and that came about.
    pub connects: u64,
    pub connected: u64,
    /// Connections lost in it and in the ten seconds before.
    pub lost: u64,
    /// The most connects tried in a second.
    pub peak: u32,
}

#[derive(Debug)]
pub(super) struct Storms {
    begin: Moment,
    /// Seconds since the begin in which there was anything.
    seconds: BTreeMap<u64, Second>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Second {
    connects: u32,
    connected: u32,
    lost: u32,
}

impl Storms {
    /// Seconds without so many connects, between others that have them, end no storm.
    const LULL: u64 = 2;
    const BEFORE: u64 = 10;

    pub(super) fn new(begin: Moment) -> Storms {
        Storms { begin, seconds: BTreeMap::new() }
    }

    pub(super) fn step(&mut self, at: Moment, to: State, was_up: bool) {
        let second = self.seconds.entry(at.since(self.begin).as_secs()).or_default();
        second.connects += u32::from(to == State::Connecting);
        second.connected += u32::from(to == State::Up);
        second.lost += u32::from(was_up && to != State::Up);
    }

    /// The most connects in a second, and when that was.
    pub(super) fn peak(&self, anchor: &Anchor) -> Option<(DateTime<Utc>, u32)> {
        let (second, counts) = self.seconds.iter().rev().max_by_key(|(_, counts)| counts.connects)?;
        (counts.connects > 0).then(|| (wall(anchor, self.moment(*second)), counts.connects))
    }

    fn moment(&self, second: u64) -> Moment {
        self.begin + std::time::Duration::from_secs(second)
    }

    /// Every storm in a fleet of so many clients: a second counts where a twentieth of them connects,
    /// and at least ten do.
    pub(super) fn told(&self, end: Moment, clients: usize, anchor: &Anchor) -> Vec<Storm> {
        let many = (clients / 20).max(10) as u32;
        let last = end.since(self.begin).as_secs();
        let mut spans: Vec<(u64, u64)> = Vec::new();
        for (&second, _) in self.seconds.range(..=last).filter(|(_, counts)| counts.connects >= many) {
            match spans.last_mut() {
                Some((_, to)) if second - *to <= Self::LULL + 1 => *to = second,
                _ => spans.push((second, second)),
            }
        }
        let sum = |from: u64, to: u64, of: fn(&Second) -> u32| -> u64 {
            self.seconds.range(from..=to).map(|(_, counts)| u64::from(of(counts))).sum()
        };
        let storm = |(from, to): (u64, u64)| Storm {
            from: wall(anchor, self.moment(from)),
            seconds: to - from + 1,
            connects: sum(from, to, |s| s.connects),
            connected: sum(from, to, |s| s.connected),
            lost: sum(from.saturating_sub(Self::BEFORE), to, |s| s.lost),
            peak: self.seconds.range(from..=to).map(|(_, counts)| counts.connects).max().unwrap_or(0),
        };
        spans.into_iter().map(storm).collect()
    }
}
