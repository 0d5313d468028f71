//! Defines what is kept of one client's answers over a rolling window (a small histogram, jitter, loss) in a size that thousands can afford; what of it makes a client slow is the row's matter.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    clock::Moment,
    event::{Counts, Part, Window},
    model::{
        histogram::{BUCKETS, Histogram, bucket_of, corrected, micros, quantile},
        trend::turns,
    },
};

/// The answers of the last [`Answers::PARTS`] parts, the present one begun. A part is as long as
/// [`Answers::PROBES`] probes, so that a whole window has a 99th percentile that is not the slowest
/// answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Answers {
    /// Answers, and those that were left out waiting for another, by bucket: those that have any, in their order.
    /// A client's answers fall into a dozen of them, and there are very many clients.
    buckets: Vec<Bucket>,
    tallies: [Tally; Answers::PARTS],
    /// The number of the newest part.
    newest: u64,
    /// A part's length in microseconds.
    width: u32,
    /// The last answer of this connection in microseconds; 0 where there was none.
    last: u32,
    /// In microseconds.
    jitter: f32,
    /// What is usual, in microseconds: a median that forgets over some hundred answers; 0 before the first.
    usual: f32,
}

/// A bucket's answers in each of the parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Bucket {
    number: u16,
    counts: [u8; Answers::PARTS],
}

/// The sums of one part.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Tally {
    /// All that `counts` has.
    counted: u16,
    /// Probes that were answered.
    answered: u16,
    /// Probes that were never answered.
    lost: u16,
    /// The slowest answer in microseconds.
    max: u32,
}

impl Answers {
    pub const PARTS: usize = 3;
    /// Probes in a part; fewer where that would be longer than [`Answers::LONGEST`].
    pub const PROBES: u32 = 48;
    /// How far what is usual moves with an answer, as a share of it: a tenfold latency is usual after 460 of them.
    const PACE: f32 = 0.005;
    /// Round trips below this are all as good as each other.
    pub const FAST: Duration = Duration::from_millis(1);
    const SHORTEST: Duration = Duration::from_secs(10);
    const LONGEST: Duration = Duration::from_secs(600);

    /// Nothing yet, of a client that is probed every `interval`.
    pub(super) fn new(now: Moment, interval: Duration) -> Answers {
        let width = (interval * Self::PROBES).clamp(Self::SHORTEST, Self::LONGEST).as_micros() as u32;
        Answers {
            buckets: Vec::new(),
            tallies: [Tally::default(); Self::PARTS],
            newest: now.0 / u64::from(width),
            width,
            last: 0,
            jitter: 0.0,
            usual: 0.0,
        }
    }

    /// Notes an answer of a client that is probed every `interval`. One that took longer than that
    /// counts for the probes that had to wait for it, too.
    pub(super) fn record(&mut self, now: Moment, rtt: Duration, interval: Duration) {
        let part = self.advance(now);
        let most = self.width as usize * Self::PARTS / interval.as_micros().max(1) as usize;
        let tally = &mut self.tallies[part];
        tally.answered = tally.answered.saturating_add(1);
        tally.max = tally.max.max(micros(rtt));
        for rtt in corrected(rtt, interval, most) {
            self.count(part, bucket_of(rtt), 1);
        }
        let rtt = micros(rtt).max(1);
        self.settle(rtt as f32);
        if self.last > 0 {
            let difference = rtt.abs_diff(self.last) as f32;
            self.jitter += (difference - self.jitter) / 16.0;
        }
        self.last = rtt;
    }

    /// Adds to a bucket's answers in a part, as far as there is room for them.
    fn count(&mut self, part: usize, bucket: usize, more: u8) {
        let place = self.buckets.binary_search_by_key(&bucket, |known| known.number.into());
        let place = place.unwrap_or_else(|place| {
            self.buckets.insert(place, Bucket { number: bucket as u16, counts: [0; Self::PARTS] });
            place
        });
        let (count, counted) = (&mut self.buckets[place].counts[part], &mut self.tallies[part].counted);
        if let (Some(sum), Some(all)) = (count.checked_add(more), counted.checked_add(more.into())) {
            (*count, *counted) = (sum, all);
        }
    }

    /// Moves what is usual by a step towards an answer, by smaller ones the more is known.
    fn settle(&mut self, rtt: f32) {
        let known: u32 = self.tallies.iter().map(|tally| u32::from(tally.answered)).sum();
        let step = 1.0 + (0.5 / known.max(1) as f32).max(Self::PACE);
        self.usual = match self.usual {
            usual if usual <= 0.0 => rtt,
            usual if rtt > usual => (usual * step).min(rtt),
            usual => (usual / step).max(rtt),
        };
    }

    /// What an answer usually takes: as fast as most of them, over a longer time than the window.
    pub fn usual(&self) -> Duration {
        Duration::from_micros(self.usual as u64)
    }

    /// Notes that a probe will never be answered.
    pub(super) fn lose(&mut self, now: Moment) {
        let part = self.advance(now);
        self.tallies[part].lost = self.tallies[part].lost.saturating_add(1);
    }

    /// Answers over another connection are not compared with those over the last one.
    pub(super) fn reconnect(&mut self) {
        self.last = 0;
    }

    /// Tells them by a clock that is so many microseconds later, as far as whole parts can say that.
    pub(super) fn move_by(&mut self, later: i64) {
        let by = turns(later, self.width);
        let places = by.rem_euclid(Self::PARTS as i64) as usize;
        self.newest = self.newest.saturating_add_signed(by);
        self.tallies.rotate_right(places);
        self.buckets.iter_mut().for_each(|bucket| bucket.counts.rotate_right(places));
    }

    /// Brings the window up to `now`, and says which part that is in.
    fn advance(&mut self, now: Moment) -> usize {
        let part = now.0 / u64::from(self.width);
        let first = (self.newest + 1).max((part + 1).saturating_sub(Self::PARTS as u64));
        for part in first..=part {
            let place = part as usize % Self::PARTS;
            self.tallies[place] = Tally::default();
            self.buckets.retain_mut(|bucket| {
                bucket.counts[place] = 0;
                bucket.counts != [0; Self::PARTS]
            });
        }
        self.newest = self.newest.max(part);
        self.newest as usize % Self::PARTS
    }

    /// The parts that still count at `now`, by their place.
    fn parts(&self, now: Moment) -> impl Iterator<Item = usize> + Clone + use<> {
        let oldest = (now.0 / u64::from(self.width) + 1).saturating_sub(Self::PARTS as u64);
        let begin = (self.newest + 1).saturating_sub(Self::PARTS as u64).max(oldest);
        (begin..=self.newest).map(|part| part as usize % Self::PARTS)
    }

    pub(super) fn tell(&self) -> Window {
        let first = (self.newest + 1).saturating_sub(Self::PARTS as u64);
        let part = |place: usize| {
            let Tally { answered, lost, max, .. } = self.tallies[place];
            Part { counts: Counts::of(self.sums(std::iter::once(place))), answered, lost, max }
        };
        let parts = (first..=self.newest).map(|n| part(n as usize % Self::PARTS)).collect();
        Window {
            width: self.width,
            newest: self.newest,
            parts,
            last: self.last,
            jitter: self.jitter,
            usual: self.usual,
        }
    }

    /// What comes from a file may be nonsense: it becomes other answers then.
    pub(super) fn of(told: &Window) -> Answers {
        let mut answers = Answers::new(Moment(0), Duration::ZERO);
        answers.width = told.width.clamp(micros(Self::SHORTEST), micros(Self::LONGEST));
        answers.newest = told.newest.min(u64::MAX / u64::from(answers.width));
        answers.last = told.last;
        answers.jitter = if told.jitter.is_finite() { told.jitter.clamp(0.0, u32::MAX as f32) } else { 0.0 };
        answers.usual = if told.usual.is_finite() { told.usual.clamp(0.0, u32::MAX as f32) } else { 0.0 };
        for (part, n) in told.parts.iter().rev().zip((0..=answers.newest).rev()).take(Self::PARTS) {
            let place = n as usize % Self::PARTS;
            for (bucket, count) in part.counts.buckets(BUCKETS) {
                answers.count(place, bucket, u8::try_from(count).unwrap_or(u8::MAX));
            }
            let tally = &mut answers.tallies[place];
            (tally.answered, tally.lost, tally.max) = (part.answered, part.lost, part.max);
        }
        answers
    }

    /// Whether it can be counted with; what comes from elsewhere may be nonsense.
    pub(super) fn fits(&self) -> bool {
        self.width > 0
    }

    /// How far back the window goes.
    pub fn span(&self, now: Moment) -> Duration {
        let width = u64::from(self.width);
        let oldest = (now.0 / width + 1).saturating_sub(Self::PARTS as u64);
        now.since(Moment(oldest * width))
    }

    /// The round trip that at least this share (0 to 1) of the window does not exceed.
    pub fn quantile(&self, now: Moment, share: f64) -> Option<Duration> {
        let parts = self.parts(now);
        let total = parts.clone().map(|part| u64::from(self.tallies[part].counted)).sum();
        quantile(self.sums(parts), total, self.max(now), share)
    }

    /// The window as a histogram of its own.
    pub fn histogram(&self, now: Moment) -> Histogram {
        let mut histogram = Histogram::default();
        histogram.add(self.sums(self.parts(now)), self.max(now));
        histogram
    }

    /// Adds the window to the histogram of several clients.
    pub(super) fn add_to(&self, now: Moment, sum: &mut Histogram) {
        let parts = self.parts(now);
        let count = |bucket: &Bucket| parts.clone().map(|part| u32::from(bucket.counts[part])).sum::<u32>();
        sum.add_sparse(self.buckets.iter().map(|bucket| (bucket.number.into(), count(bucket))), self.max(now));
    }

    /// Probes in the window that were answered, and that never were.
    pub fn loss(&self, now: Moment) -> (u32, u32) {
        let tallies = self.parts(now).map(|part| &self.tallies[part]);
        tallies.fold((0, 0), |(answered, lost), t| (answered + u32::from(t.answered), lost + u32::from(t.lost)))
    }

    /// How much consecutive answers differ: the mean of the differences, smoothed as in RFC 3550
    /// §6.4.1, of round trips where that has one-way transit times.
    pub fn jitter(&self) -> Duration {
        Duration::from_secs_f64(f64::from(self.jitter.max(0.0)) / 1e6)
    }

    fn max(&self, now: Moment) -> Duration {
        let max = self.parts(now).map(|part| self.tallies[part].max).max();
        Duration::from_micros(max.unwrap_or(0).into())
    }

    fn sums(&self, parts: impl Iterator<Item = usize> + Clone) -> impl Iterator<Item = u32> {
        let mut known = self.buckets.iter().peekable();
        (0..BUCKETS).map(move |number| {
            let bucket = known.next_if(|bucket| usize::from(bucket.number) == number);
            bucket.map_or(0, |bucket| parts.clone().map(|part| u32::from(bucket.counts[part])).sum())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Moment {
        Moment(seconds * 1_000_000)
    }

    #[test]
    fn an_outage_counts_as_what_its_users_saw() {
        let mut answers = Answers::new(at(0), SECOND);
        for second in 0..40 {
            answers.record(at(second), Duration::from_millis(2), SECOND);
        }
        answers.record(at(47), Duration::from_secs(7), SECOND);
        let histogram = answers.histogram(at(47));
        assert_eq!(histogram.total(), 47);
        let slow: u32 = histogram.counts().skip(bucket_of(Duration::from_millis(900))).sum();
        assert_eq!(slow, 7, "7, 6, 5, 4, 3, 2, 1 s");
        assert_eq!(answers.quantile(at(47), 1.0), Some(Duration::from_secs(7)));
        assert_eq!(answers.loss(at(47)), (41, 0));
    }

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let mut answers = Answers::new(at(0), SECOND); // parts of 48 s
        answers.record(at(1), Duration::from_millis(900), SECOND);
        answers.lose(at(2));
        for second in 50..100 {
            answers.record(at(second), Duration::from_millis(3), SECOND);
        }
        assert_eq!(answers.quantile(at(100), 1.0), Some(Duration::from_millis(900)));
        assert_eq!((answers.loss(at(100)), answers.span(at(100))), ((51, 1), 100 * SECOND));
        // Time passes, and nothing is recorded any more.
        assert_eq!(answers.quantile(at(150), 1.0), Some(Duration::from_millis(3)));
        assert_eq!((answers.loss(at(150)), answers.span(at(150))), ((50, 0), 102 * SECOND));
        assert_eq!(answers.quantile(at(400), 0.5), None);
        answers.record(at(400), Duration::from_millis(5), SECOND);
        assert_eq!(answers.histogram(at(400)).total(), 1);
    }

    #[test]
    fn the_99th_percentile_of_a_full_window_is_not_its_slowest_answer() {
        let every = Duration::from_secs(5);
        let mut answers = Answers::new(at(0), every);
        for n in 0..130 {
            let rtt = Duration::from_millis(if n == 100 { 800 } else { 10 });
            answers.record(at(n * 5), rtt, every);
        }
        let p99 = answers.quantile(at(649), 0.99).unwrap();
        assert!(p99.abs_diff(Duration::from_millis(10)) < Duration::from_micros(400), "{p99:?}");
        assert_eq!(answers.quantile(at(649), 1.0), Some(Duration::from_millis(800)));
    }

    /// A row that shows the last 24 answers has nothing but slow ones in it after as many.
    #[test]
    fn what_was_slow_for_a_while_is_not_usual_yet() {
        let every = Duration::from_secs(5);
        let ms = Duration::from_millis;
        let mut answers = Answers::new(at(0), every);
        (0..720).for_each(|n| answers.record(at(n * 5), ms(90), every));
        assert_eq!(answers.usual(), ms(90));
        let mut usual_after = |count: u64| {
            (0..count).for_each(|n| answers.record(at(3_600 + n * 5), ms(650), every));
            answers.usual()
        };
        assert!(usual_after(24) < ms(105));
        assert!(usual_after(76) < ms(150), "nor is it after a hundred");
        assert_eq!(usual_after(400), ms(650));
    }

    #[test]
    fn jitter_is_the_smoothed_difference_of_neighbours() {
        let mut answers = Answers::new(at(0), SECOND);
        for n in 0..200 {
            answers.record(at(n), Duration::from_millis(if n % 2 == 0 { 10 } else { 14 }), SECOND);
        }
        assert!(answers.jitter().abs_diff(Duration::from_millis(4)) < Duration::from_micros(10));
        let steady = answers.jitter();
        answers.reconnect();
        answers.record(at(200), Duration::from_secs(9), SECOND);
        assert_eq!(answers.jitter(), steady, "another connection is another path");
    }

    #[test]
    fn more_answers_than_a_count_holds_do_no_harm() {
        let every = Duration::from_millis(1);
        let mut answers = Answers::new(at(0), every);
        for n in 0..70_000u64 {
            answers.record(Moment(n * 100), Duration::from_micros(900), every);
        }
        let p50 = answers.quantile(at(7), 0.5).unwrap();
        assert!(p50 <= Duration::from_micros(900) && answers.histogram(at(7)).total() == 255, "{p50:?}");
    }
}
