//! Defines a client's short latency history, one bucket a probe interval; drawing it is the sparkline's matter.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    clock::Moment,
    fleet::Settings,
    model::{row::interval, sparse},
};

/// What is known of one bucket of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bucket {
    /// Nothing was measured.
    Empty,
    /// The client was down at some time in it.
    Down,
    /// The slowest answer in it.
    Worst(Duration),
}

/// The last [`Trend::LEN`] buckets. It is brought forward lazily: a client to which nothing happens
/// costs nothing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Trend {
    /// Worst round trip in microseconds, or one of the two marks, by bucket number modulo `LEN`.
    #[serde(with = "sparse")]
    ring: [u32; Trend::LEN],
    /// The number of the newest bucket written.
    newest: u64,
    width: u32,
}

const EMPTY: u32 = 0;
const DOWN: u32 = u32::MAX;

impl Trend {
    pub const LEN: usize = 24;

    /// A trend that begins `now`, with buckets `width` wide (at least 1 s).
    pub fn new(now: Moment, width: Duration) -> Trend {
        let width = width.as_micros().clamp(1_000_000, u32::MAX as u128) as u32;
        Trend { ring: [EMPTY; Self::LEN], newest: now.0 / u64::from(width), width }
    }

    /// Whether it can be counted with; what comes from elsewhere may be nonsense.
    pub(super) fn fits(&self) -> bool {
        self.width > 0
    }

    /// How long a bucket of a client with these settings is.
    pub fn width_of(settings: &Settings) -> Duration {
        interval(settings).max(Duration::from_secs(1))
    }

    pub fn width(&self) -> Duration {
        Duration::from_micros(u64::from(self.width))
    }

    /// Tells it by a clock that is so many microseconds later, as far as whole buckets can say that.
    pub(super) fn move_by(&mut self, later: i64) {
        let by = turns(later, self.width);
        self.newest = self.newest.saturating_add_signed(by);
        self.ring.rotate_right(by.rem_euclid(Self::LEN as i64) as usize);
    }

    /// Brings the ring up to `now`; the client's state was `up` since the last call.
    pub fn advance(&mut self, now: Moment, up: bool) {
        let bucket = self.bucket_of(now);
        let first = (self.newest + 1).max((bucket + 1).saturating_sub(Self::LEN as u64));
        for b in first..=bucket {
            self.ring[(b % Self::LEN as u64) as usize] = if up { EMPTY } else { DOWN };
        }
        self.newest = self.newest.max(bucket);
    }

    /// Notes that the client is down now. Call [`Trend::advance`] first.
    pub fn mark_down(&mut self) {
        *self.newest_mut() = DOWN;
    }

    /// Notes an answer. Call [`Trend::advance`] first.
    pub fn record(&mut self, rtt: Duration) {
        let micros = rtt.as_micros().clamp(1, u128::from(DOWN) - 1) as u32;
        let newest = self.newest_mut();
        if *newest != DOWN {
            *newest = (*newest).max(micros);
        }
    }

    /// The newest `count` buckets as of `now`, oldest first, for a client that is `up` or not.
    pub fn buckets(&self, now: Moment, up: bool, count: usize) -> impl Iterator<Item = Bucket> + '_ {
        let last = self.bucket_of(now).max(self.newest);
        let count = count.min(Self::LEN) as u64;
        (0..count).map(move |i| match (last + 1 + i).checked_sub(count) {
            None => Bucket::Empty,
            Some(b) if b > self.newest => {
                if up {
                    Bucket::Empty
                } else {
                    Bucket::Down
                }
            }
            Some(b) if b + (Self::LEN as u64) <= self.newest => Bucket::Empty,
            Some(b) => match self.ring[(b % Self::LEN as u64) as usize] {
                EMPTY => Bucket::Empty,
                DOWN => Bucket::Down,
                micros => Bucket::Worst(Duration::from_micros(u64::from(micros))),
            },
        })
    }

    /// When what was measured: the begin of each bucket that has an answer, and its slowest.
    pub fn answers(&self) -> impl Iterator<Item = (Moment, Duration)> + '_ {
        let first = (self.newest + 1).saturating_sub(Self::LEN as u64);
        (first..=self.newest).filter_map(|b| match self.ring[(b % Self::LEN as u64) as usize] {
            EMPTY | DOWN => None,
            micros => Some((Moment(b * u64::from(self.width)), Duration::from_micros(u64::from(micros)))),
        })
    }

    fn bucket_of(&self, now: Moment) -> u64 {
        now.0 / u64::from(self.width)
    }

    fn newest_mut(&mut self) -> &mut u32 {
        &mut self.ring[(self.newest % Self::LEN as u64) as usize]
    }
}

/// How many whole parts of this width, in microseconds, a time is, to the nearest one.
pub(super) fn turns(time: i64, width: u32) -> i64 {
    let width = i64::from(width.max(1));
    (time + width / 2).div_euclid(width)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Moment {
        Moment(seconds * 1_000_000)
    }

    fn shown(trend: &Trend, now: u64, up: bool, count: usize) -> String {
        trend
            .buckets(at(now), up, count)
            .map(|b| match b {
                Bucket::Empty => '.',
                Bucket::Down => 'x',
                Bucket::Worst(d) => char::from_digit(d.as_millis() as u32, 10).unwrap_or('+'),
            })
            .collect()
    }

    #[test]
    fn an_outage_is_a_gap_as_long_as_it_was() {
        let mut t = Trend::new(at(100), SECOND);
        t.advance(at(101), true);
        t.record(Duration::from_millis(3));
        t.advance(at(102), true);
        t.record(Duration::from_millis(5));
        t.record(Duration::from_millis(4));
        t.advance(at(103), true);
        t.mark_down();
        t.advance(at(106), false);
        t.mark_down();
        t.advance(at(107), true);
        t.record(Duration::from_millis(9));
        assert_eq!(shown(&t, 107, true, 10), "...35xxxx9");
        assert_eq!(shown(&t, 109, true, 10), ".35xxxx9..");
        assert_eq!(shown(&t, 109, false, 10), ".35xxxx9xx");
        assert_eq!(shown(&t, 109, false, 3), "9xx");
        let ms = Duration::from_millis;
        assert_eq!(t.answers().collect::<Vec<_>>(), [(at(101), ms(3)), (at(102), ms(5)), (at(107), ms(9))]);
    }

    #[test]
    fn old_buckets_are_forgotten() {
        let mut t = Trend::new(at(5), SECOND);
        t.record(Duration::from_millis(1));
        t.advance(at(500), true);
        assert_eq!(shown(&t, 500, true, Trend::LEN), ".".repeat(Trend::LEN));
    }

    #[test]
    fn nothing_is_claimed_of_the_time_before_the_run() {
        let t = Trend::new(at(0), SECOND);
        assert_eq!(shown(&t, 2, false, 6), "....xx");
    }
}
