//! Defines `Moment`, the one time stamp of a run, and `Anchor`, which turns it into wall time; it never decides when anything happens.

use std::{
    ops::{Add, Sub},
    time::Duration,
};

use chrono::{DateTime, Datelike, Local, SubsecRound, Utc};
use serde::{Deserialize, Serialize};

/// Microseconds on this host's clock since boot (`CLOCK_BOOTTIME`), which every process of the host
/// shares: a worker's stamp and the console's compare directly. It goes on while the host sleeps, so
/// that the times of a log are right after that, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Moment(pub u64);

impl Moment {
    /// Reads the clock. Only the edges call this; pure code is handed a `Moment`.
    pub fn now() -> Moment {
        let t = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Moment(t.tv_sec as u64 * 1_000_000 + t.tv_nsec as u64 / 1_000)
    }

    /// The time since `earlier`; zero where `earlier` is later.
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// It on a clock that is so many microseconds later than this one.
    pub fn moved(self, later: i64) -> Moment {
        Moment(self.0.saturating_add_signed(later))
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;
    fn add(self, d: Duration) -> Moment {
        Moment(self.0.saturating_add(u64::try_from(d.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Moment {
    type Output = Moment;
    fn sub(self, d: Duration) -> Moment {
        Moment(self.0.saturating_sub(u64::try_from(d.as_micros()).unwrap_or(u64::MAX)))
    }
}

/// One reading of both clocks, to tell what the wall clock said at a `Moment`.
#[derive(Clone, Copy, Debug)]
pub struct Anchor {
    moment: Moment,
    wall: DateTime<Utc>,
}

impl Anchor {
    pub fn new(moment: Moment, wall: DateTime<Utc>) -> Anchor {
        Anchor { moment, wall }
    }

    /// Reads both clocks.
    pub fn now() -> Anchor {
        Anchor::of_line(Moment::now(), Utc::now())
    }

    /// From the two times of a line, of which the wall clock's is to the millisecond. Between all
    /// moments and what the wall clock says to them are whole milliseconds: who reads the line tells
    /// the same time of other moments as who wrote it.
    pub fn of_line(at: Moment, wall: DateTime<Utc>) -> Anchor {
        Anchor::new(Moment(at.0 - at.0 % 1_000), wall.trunc_subsecs(3))
    }

    /// It by a clock that is so many microseconds later.
    pub fn moved(self, later: i64) -> Anchor {
        Anchor { moment: self.moment.moved(later), wall: self.wall }
    }

    /// The moment of the reading.
    pub fn moment(&self) -> Moment {
        self.moment
    }

    pub fn utc(&self, at: Moment) -> DateTime<Utc> {
        // A moment may come from a file that is not to be trusted: nonsense must not be a panic.
        let offset = (at.0 as i64).wrapping_sub(self.moment.0 as i64);
        let then = self.wall.checked_add_signed(chrono::Duration::microseconds(offset));
        // Beyond these years a calendar's own sums, that of a time zone for one, may not come out.
        then.filter(|then| (0..=9999).contains(&then.year())).unwrap_or(self.wall)
    }

    pub fn local(&self, at: Moment) -> DateTime<Local> {
        self.utc(at).with_timezone(&Local)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn who_reads_a_line_tells_the_times_that_its_writer_told(
            now in 0u64..1 << 40, wall in 0i64..1 << 50, at in 0u64..1 << 40, other in 0u64..1 << 40,
        ) {
            let wall = DateTime::from_timestamp_micros(wall).unwrap();
            let writer = Anchor::of_line(Moment(now), wall);
            let line = writer.utc(Moment(at)).trunc_subsecs(3);
            let reader = Anchor::of_line(Moment(at), line);
            prop_assert_eq!(reader.utc(Moment(other)), writer.utc(Moment(other)));
            prop_assert!((writer.utc(Moment(now)) - wall).abs() < chrono::Duration::milliseconds(1));
        }
    }
}
