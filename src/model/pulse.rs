//! Defines the fleet's pulse, connections gained and lost a second; single clients have no part in it.

use serde::{Deserialize, Serialize};

use crate::{clock::Moment, model::sparse};

/// What happened in each of the last [`Pulse::LEN`] seconds, over the fleet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pulse {
    second: u64,
    #[serde(with = "sparse")]
    ups: [u32; Pulse::LEN],
    #[serde(with = "sparse")]
    losses: [u32; Pulse::LEN],
}

impl Pulse {
    pub const LEN: usize = 60;

    pub(super) fn new(now: Moment) -> Pulse {
        Pulse { second: now.0 / 1_000_000, ups: [0; Self::LEN], losses: [0; Self::LEN] }
    }

    /// Counts a connection gained.
    pub(super) fn gain(&mut self, at: Moment) {
        let place = self.advance(at);
        self.ups[place] += 1;
    }

    /// Counts a connection lost.
    pub(super) fn lose(&mut self, at: Moment) {
        let place = self.advance(at);
        self.losses[place] += 1;
    }

    /// Adds another pulse, from `begin` on, whose clock is so many microseconds earlier.
    pub(super) fn add(&mut self, other: &Pulse, later: i64, begin: Moment) {
        let first = other.second.saturating_sub(Self::LEN as u64 - 1);
        for second in first..=other.second {
            let at = Moment(second.saturating_mul(1_000_000)).moved(later);
            let theirs = (second % Self::LEN as u64) as usize;
            let (ups, losses) = (other.ups[theirs], other.losses[theirs]);
            if at < begin || (ups, losses) == (0, 0) {
                continue;
            }
            self.advance(at);
            let second = at.0 / 1_000_000;
            if second + (Self::LEN as u64) > self.second {
                let ours = (second % Self::LEN as u64) as usize;
                self.ups[ours] = self.ups[ours].saturating_add(ups);
                self.losses[ours] = self.losses[ours].saturating_add(losses);
            }
        }
    }

    fn advance(&mut self, now: Moment) -> usize {
        let second = now.0 / 1_000_000;
        let first = (self.second + 1).max((second + 1).saturating_sub(Self::LEN as u64));
        for s in first..=second {
            self.ups[(s % Self::LEN as u64) as usize] = 0;
            self.losses[(s % Self::LEN as u64) as usize] = 0;
        }
        self.second = self.second.max(second);
        (self.second % Self::LEN as u64) as usize
    }

    /// Connections gained in each of the last `count` whole seconds before `now`, oldest first.
    pub fn ups(&self, now: Moment, count: usize) -> impl Iterator<Item = u32> + '_ {
        self.series(&self.ups, now, count)
    }

    /// Connections lost, likewise.
    pub fn losses(&self, now: Moment, count: usize) -> impl Iterator<Item = u32> + '_ {
        self.series(&self.losses, now, count)
    }

    fn series<'a>(&'a self, ring: &'a [u32; Self::LEN], now: Moment, count: usize) -> impl Iterator<Item = u32> + 'a {
        let end = now.0 / 1_000_000;
        let count = count.min(Self::LEN - 1) as u64;
        (end.saturating_sub(count)..end).map(move |s| {
            let kept = s <= self.second && s + (Self::LEN as u64) > self.second;
            if kept { ring[(s % Self::LEN as u64) as usize] } else { 0 }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_without_news_are_zero_and_old_ones_are_forgotten() {
        let at = |seconds: u64| Moment(seconds * 1_000_000 + 1);
        let mut pulse = Pulse::new(at(100));
        pulse.gain(at(100));
        pulse.gain(at(102));
        pulse.lose(at(102));
        pulse.gain(at(102));
        assert_eq!(pulse.ups(at(104), 4).collect::<Vec<_>>(), [1, 0, 2, 0]);
        assert_eq!(pulse.losses(at(104), 2).collect::<Vec<_>>(), [1, 0]);
        pulse.lose(at(170));
        assert_eq!(pulse.ups(at(171), 59).sum::<u32>(), 0);
        assert_eq!(pulse.losses(at(171), 1).collect::<Vec<_>>(), [1]);
    }
}
