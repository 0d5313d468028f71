//! Defines a log-linear histogram of round trips: its buckets, its percentiles, and how two become one; whose round trips it holds, and of which time, is for others to say.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::event::{Counts, Slice};

/// The buckets of a histogram. Up to 512 µs they are 16 µs wide, above that there are sixteen an
/// octave, up to 67 s, with what takes longer in the last one. The middle of a bucket is at most
/// [`Histogram::ERROR`] of a value away from it, or 8 µs where that is more.
///
/// The type is the project's own, and not that of a crate such as `hdrhistogram`, because a client's counts and a
/// fleet's then have the same buckets at an eighth of the size: merging is adding, and a client's p99
/// is the one that its endpoint's histogram has of it.
pub const BUCKETS: usize = 304;

const UNIT: u32 = 16;
const SUB: u32 = 16;

/// The bucket that a round trip belongs to.
pub(super) fn bucket_of(rtt: Duration) -> usize {
    let units = micros(rtt) / UNIT;
    if units < SUB {
        return units as usize;
    }
    let octave = units.ilog2() - SUB.ilog2();
    let sub = (units >> octave) - SUB;
    ((SUB + octave * SUB + sub) as usize).min(BUCKETS - 1)
}

/// Where a bucket begins; of [`BUCKETS`], where the last one ends.
pub fn begin(bucket: usize) -> Duration {
    let bucket = bucket as u32;
    let units = match bucket.checked_sub(SUB) {
        None => u64::from(bucket),
        Some(n) => u64::from(SUB + n % SUB) << (n / SUB),
    };
    Duration::from_micros(units * u64::from(UNIT))
}

/// As whole microseconds, of which a `u32` holds more than an hour's.
pub(super) fn micros(rtt: Duration) -> u32 {
    u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX)
}

/// What a round trip stands for where probes were to go out every `interval`, and the next ones had
/// to wait for it: itself, and the waits of those that were left out (coordinated omission). At most
/// `most` of them.
pub(super) fn corrected(rtt: Duration, interval: Duration, most: usize) -> impl Iterator<Item = Duration> {
    let missed = std::iter::successors(rtt.checked_sub(interval), move |rest| rest.checked_sub(interval));
    let missed = missed.take_while(move |rest| !interval.is_zero() && *rest >= interval);
    std::iter::once(rtt).chain(missed).take(most.max(1))
}

/// Percentiles by nearest rank, the smallest round trip that at least this share does not exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    pub p50: Duration,
    pub p90: Duration,
    pub p99: Duration,
    /// The slowest, to the microsecond.
    pub max: Duration,
}

/// Round trips counted by bucket. Empty, it takes no memory to speak of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    /// All of [`BUCKETS`], or none.
    counts: Vec<u32>,
    total: u64,
    max: Duration,
}

impl Histogram {
    /// How far a percentile may be from the true one, as a share of it.
    pub const ERROR: f64 = 1.0 / 32.0;

    pub fn record(&mut self, rtt: Duration) {
        self.counts.resize(BUCKETS, 0);
        let count = &mut self.counts[bucket_of(rtt)];
        *count = count.saturating_add(1);
        self.total += 1;
        self.max = self.max.max(rtt);
    }

    /// Takes in what another one counted.
    pub fn merge(&mut self, other: &Histogram) {
        self.add(other.counts(), other.max);
    }

    /// Takes in counts by bucket, of which `max` is the slowest.
    pub(super) fn add(&mut self, counts: impl Iterator<Item = u32>, max: Duration) {
        let mut counts = counts.peekable();
        if counts.peek().is_none() {
            return;
        }
        self.counts.resize(BUCKETS, 0);
        for (sum, count) in self.counts.iter_mut().zip(counts) {
            *sum = sum.saturating_add(count);
            self.total += u64::from(count);
        }
        self.max = self.max.max(max);
    }

    /// Takes in counts of some buckets, of which `max` is the slowest.
    pub(super) fn add_sparse(&mut self, counts: impl Iterator<Item = (usize, u32)>, max: Duration) {
        for (bucket, count) in counts.filter(|(_, count)| *count > 0) {
            self.counts.resize(BUCKETS, 0);
            let Some(sum) = self.counts.get_mut(bucket) else { continue };
            *sum = sum.saturating_add(count);
            self.total += u64::from(count);
            self.max = self.max.max(max);
        }
    }

    pub(super) fn tell(&self) -> Slice {
        let max = u64::try_from(self.max.as_micros()).unwrap_or(u64::MAX);
        Slice { counts: Counts::of(self.counts()), lost: 0, max }
    }

    pub(super) fn of(told: &Slice) -> Histogram {
        let mut histogram = Histogram { max: Duration::from_micros(told.max), ..Histogram::default() };
        for (bucket, count) in told.counts.buckets(BUCKETS) {
            histogram.counts.resize(BUCKETS, 0);
            histogram.counts[bucket] = count;
            histogram.total += u64::from(count);
        }
        histogram
    }

    /// Forgets everything, and keeps the memory.
    pub fn clear(&mut self) {
        self.counts.fill(0);
        (self.total, self.max) = (0, Duration::ZERO);
    }

    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// How many round trips it holds.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// By bucket, the fastest first; nothing where none was ever recorded.
    pub fn counts(&self) -> impl Iterator<Item = u32> + '_ {
        self.counts.iter().copied()
    }

    /// The first and the last bucket that is not empty.
    pub fn span(&self) -> Option<(usize, usize)> {
        let first = self.counts.iter().position(|n| *n > 0)?;
        let last = self.counts.iter().rposition(|n| *n > 0)?;
        Some((first, last))
    }

    /// The round trip that at least this share (0 to 1) does not exceed.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        quantile(self.counts(), self.total, self.max, share)
    }

    pub fn latency(&self) -> Option<Latency> {
        Some(Latency { p50: self.quantile(0.50)?, p90: self.quantile(0.90)?, p99: self.quantile(0.99)?, max: self.max })
    }
}

/// The round trip of nearest rank: the middle of the bucket it fell into; the slowest is known as it was.
pub(super) fn quantile(counts: impl Iterator<Item = u32>, total: u64, max: Duration, share: f64) -> Option<Duration> {
    let rank = ((share * total as f64).ceil() as u64).clamp(1, total.max(1));
    if total == 0 || rank == total {
        return (total > 0).then_some(max);
    }
    let mut seen = 0;
    for (bucket, count) in counts.enumerate() {
        seen += u64::from(count);
        if seen >= rank {
            // The last bucket has no end to speak of.
            let middle = (begin(bucket) + begin(bucket + 1)) / 2;
            return Some(if bucket + 1 == BUCKETS { max } else { middle.min(max) });
        }
    }
    Some(max)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, prop, prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn us(n: u64) -> Duration {
        Duration::from_micros(n)
    }

    /// By sorting: the value of nearest rank.
    fn exact(values: &[u64], share: f64) -> Duration {
        let mut sorted = values.to_vec();
        sorted.sort_unstable();
        us(sorted[((share * sorted.len() as f64).ceil() as usize).clamp(1, sorted.len()) - 1])
    }

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        for bucket in 0..BUCKETS {
            let (low, high) = (begin(bucket), begin(bucket + 1));
            assert!(low < high);
            assert_eq!((bucket_of(low), bucket_of(high - us(1))), (bucket, bucket));
            let half = (high - low).as_secs_f64() / 2.0;
            assert!(half <= 8e-6 || half / low.as_secs_f64() <= Histogram::ERROR, "{bucket}");
        }
        assert_eq!(begin(BUCKETS), us(1 << 26));
        assert_eq!(bucket_of(Duration::from_secs(7_200)), BUCKETS - 1);
    }

    #[test]
    fn a_probe_that_was_answered_late_counts_for_those_that_had_to_wait() {
        let s = Duration::from_secs;
        let waits = |rtt, every, most| corrected(s(rtt), s(every), most).map(|d| d.as_secs()).collect::<Vec<_>>();
        assert_eq!(waits(7, 1, 100), [7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(waits(7, 2, 100), [7, 5, 3]);
        assert_eq!(waits(7, 5, 100), [7]);
        assert_eq!(waits(1, 5, 100), [1]);
        assert_eq!(waits(7, 0, 100), [7]);
        assert_eq!(waits(7, 1, 3), [7, 6, 5]);
        assert_eq!(waits(7, 1, 0), [7]);
    }

    #[test]
    fn few_round_trips_are_known_as_they_were() {
        let mut one = Histogram::default();
        assert_eq!((one.latency(), one.span()), (None, None));
        one.record(us(3_141));
        let all = us(3_141);
        assert_eq!(one.latency(), Some(Latency { p50: all, p90: all, p99: all, max: all }));
        one.clear();
        assert_eq!((one.latency(), one.total()), (None, 0));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        /// From a microsecond to a minute, in all mixtures.
        #[test]
        fn percentiles_are_as_near_as_promised(
            values in prop::collection::vec((0.0..7.8f64).prop_map_to_micros(), 1..600),
            share in 0.0..1.0f64,
        ) {
            let mut histogram = Histogram::default();
            values.iter().for_each(|v| histogram.record(us(*v)));
            for share in [share, 0.5, 0.9, 0.99, 1.0] {
                let (told, truth) = (histogram.quantile(share).unwrap(), exact(&values, share));
                let off = told.abs_diff(truth);
                let bound = us(8).max(truth.mul_f64(Histogram::ERROR) + us(1));
                prop_assert!(off <= bound, "{share}: {told:?}, not {truth:?}");
            }
            prop_assert_eq!(histogram.latency().unwrap().max, exact(&values, 1.0));
        }

        /// Two that are merged know what one that saw everything knows.
        #[test]
        fn merging_loses_nothing(
            left in prop::collection::vec(1..70_000_000u64, 0..200),
            right in prop::collection::vec(1..70_000_000u64, 0..200),
        ) {
            let of = |values: &[u64]| {
                let mut histogram = Histogram::default();
                values.iter().for_each(|v| histogram.record(us(*v)));
                histogram
            };
            let mut merged = of(&left);
            merged.merge(&of(&right));
            prop_assert_eq!(merged, of(&[left, right].concat()));
        }
    }

    /// Values whose logarithms are even: every octave is as likely as any other.
    trait Micros {
        fn prop_map_to_micros(self) -> proptest::strategy::BoxedStrategy<u64>;
    }

    impl Micros for std::ops::Range<f64> {
        fn prop_map_to_micros(self) -> proptest::strategy::BoxedStrategy<u64> {
            use proptest::strategy::Strategy;
            self.prop_map(|exponent| 10f64.powf(exponent) as u64).boxed()
        }
    }
}
