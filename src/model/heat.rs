//! Defines how often a fleet's answers took how long in each of the last minutes, coarsely; drawing it is the latency view's matter.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    clock::Moment,
    event::{self, Counts, Slices},
    model::histogram::{BUCKETS, bucket_of},
};

/// The answers of one slice of time, by coarse bucket: four of a histogram's buckets, a quarter of
/// an octave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    counts: Vec<u32>,
    /// Probes that were found to be lost in it.
    pub lost: u32,
}

impl Slice {
    /// How many of a histogram's buckets one coarse bucket has.
    pub const FOLD: usize = 4;
    pub const BUCKETS: usize = BUCKETS / Slice::FOLD;

    /// Notes an answer.
    pub fn record(&mut self, rtt: Duration) {
        self.counts.resize(Self::BUCKETS, 0);
        let count = &mut self.counts[bucket_of(rtt) / Self::FOLD];
        *count = count.saturating_add(1);
    }

    /// By coarse bucket, the fastest first; nothing where there was no answer.
    pub fn counts(&self) -> &[u32] {
        &self.counts
    }

    fn tell(&self) -> event::Slice {
        event::Slice { counts: Counts::of(self.counts.iter().copied()), lost: self.lost, max: 0 }
    }

    fn of(told: &event::Slice) -> Slice {
        let mut slice = Slice { counts: Vec::new(), lost: told.lost };
        for (bucket, count) in told.counts.buckets(Self::BUCKETS) {
            slice.counts.resize(Self::BUCKETS, 0);
            slice.counts[bucket] = count;
        }
        slice
    }

    fn add(&mut self, other: &Slice) {
        self.counts.resize(self.counts.len().max(other.counts.len()), 0);
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count = count.saturating_add(*more);
        }
        self.lost = self.lost.saturating_add(other.lost);
    }

    fn clear(&mut self) {
        self.counts.fill(0);
        self.lost = 0;
    }
}

/// The last [`Heat::SLICES`] slices of time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Heat {
    slices: Vec<Slice>,
    newest: u64,
}

impl Heat {
    /// Ten minutes of them.
    pub const SLICES: usize = 120;
    pub const WIDTH: Duration = Duration::from_secs(5);

    pub(super) fn new(now: Moment) -> Heat {
        Heat { slices: vec![Slice::default(); Self::SLICES], newest: slice_of(now) }
    }

    pub(super) fn record(&mut self, at: Moment, rtt: Duration) {
        self.advance(at).record(rtt);
    }

    pub(super) fn lose(&mut self, at: Moment) {
        let lost = &mut self.advance(at).lost;
        *lost = lost.saturating_add(1);
    }

    pub(super) fn tell(&self) -> Slices {
        let first = (self.newest + 1).saturating_sub(Self::SLICES as u64);
        let slices = (first..=self.newest).map(|slice| &self.slices[slice as usize % Self::SLICES]);
        // Before the begin of the run there is nothing to tell.
        let slices = slices.skip_while(|slice| **slice == Slice::default());
        Slices { newest: self.newest, slices: slices.map(Slice::tell).collect() }
    }

    /// Takes in what was told. What comes from a file may be nonsense: it becomes something else then.
    pub(super) fn stand(&mut self, told: &Slices) {
        self.newest = told.newest.min(slice_of(Moment(u64::MAX)));
        self.slices.fill(Slice::default());
        for (told, slice) in told.slices.iter().rev().zip((0..=self.newest).rev()).take(Self::SLICES) {
            self.slices[slice as usize % Self::SLICES] = Slice::of(told);
        }
    }

    /// Adds another one, from `begin` on, whose clock is so many microseconds earlier.
    pub(super) fn add(&mut self, other: &Heat, later: i64, begin: Moment) {
        let first = other.newest.saturating_sub(Self::SLICES as u64 - 1);
        for number in first..=other.newest {
            let slice = &other.slices[number as usize % Self::SLICES];
            let at = Moment(number.saturating_mul(Self::WIDTH.as_micros() as u64)).moved(later);
            if at < begin || *slice == Slice::default() {
                continue;
            }
            self.advance(at);
            if slice_of(at) + Self::SLICES as u64 > self.newest {
                self.slices[slice_of(at) as usize % Self::SLICES].add(slice);
            }
        }
    }

    fn advance(&mut self, at: Moment) -> &mut Slice {
        let slice = slice_of(at);
        let first = (self.newest + 1).max((slice + 1).saturating_sub(Self::SLICES as u64));
        for slice in first..=slice {
            self.slices[slice as usize % Self::SLICES].clear();
        }
        self.newest = self.newest.max(slice);
        &mut self.slices[self.newest as usize % Self::SLICES]
    }

    /// The newest `count` slices as of `now`, oldest first; `None` where nothing can be known.
    pub fn slices(&self, now: Moment, count: usize) -> impl Iterator<Item = Option<&Slice>> {
        let (end, count) = (slice_of(now).max(self.newest) + 1, count as u64);
        (0..count).map(move |n| {
            let slice = (end + n).checked_sub(count)?;
            let is_kept = slice <= self.newest && slice + Self::SLICES as u64 > self.newest;
            is_kept.then(|| &self.slices[slice as usize % Self::SLICES])
        })
    }
}

fn slice_of(at: Moment) -> u64 {
    at.0 / Heat::WIDTH.as_micros() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_follow_time_and_old_ones_are_forgotten() {
        let at = |seconds: u64| Moment(seconds * 1_000_000);
        let mut heat = Heat::new(at(1_000));
        let shown = |heat: &Heat, now, count| {
            let sum = |slice: &Slice| slice.counts().iter().sum::<u32>();
            heat.slices(at(now), count).map(|slice| slice.map(sum)).collect::<Vec<_>>()
        };
        heat.record(at(1_000), Duration::from_millis(3));
        heat.record(at(1_011), Duration::from_millis(3));
        heat.record(at(1_011), Duration::from_millis(300));
        heat.lose(at(1_012));
        assert_eq!(shown(&heat, 1_014, 4), [Some(0), Some(1), Some(0), Some(2)]);
        assert_eq!(shown(&heat, 1_024, 3), [Some(2), None, None]);
        assert_eq!(heat.slices(at(1_014), 1).next().flatten().map(|slice| slice.lost), Some(1));
        heat.record(at(1_700), Duration::from_millis(3));
        assert_eq!(shown(&heat, 1_700, Heat::SLICES).iter().flatten().sum::<u32>(), 1);
        assert_eq!(Slice::BUCKETS * Slice::FOLD, BUCKETS);
    }
}
