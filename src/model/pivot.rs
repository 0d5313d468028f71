//! Defines the groups of a fleet, or of what the filter shows: by what, how each stands, and where the cursor is among them; how they look is the UI's matter.

use std::time::Duration;

use crate::{
    clock::Moment,
    event::{Badge, Reason},
    fleet::{ClientKey, EndpointKey, Fleet, Protocol},
    model::{
        answers::Answers,
        histogram::Histogram,
        insight::Why,
        known::Known,
        order::urgency,
        row::{Row, Slow},
        totals::Totals,
        trend::{Bucket, Trend},
    },
    query::{Field, Query},
    text::Scrubbed,
};

/// What clients are grouped by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum By {
    /// The endpoint that they are at.
    #[default]
    Endpoint,
    /// The value of one label.
    Label(Scrubbed),
    State,
    /// Why they are not up, or not well.
    Reason,
    Protocol,
}

impl By {
    /// All that a fleet can be grouped by.
    pub fn all(known: &Known) -> Vec<By> {
        let mut labels: Vec<Scrubbed> = known.groups().all().iter().map(|group| group.label.clone()).collect();
        labels.dedup();
        let labels = labels.into_iter().map(By::Label);
        std::iter::once(By::Endpoint).chain(labels).chain([By::State, By::Reason, By::Protocol]).collect()
    }

    /// The next one, or the one before.
    pub(super) fn next(&self, known: &Known, by: isize) -> By {
        let all = By::all(known);
        let at = all.iter().position(|one| one == self).unwrap_or(0) as isize;
        all[(at + by).rem_euclid(all.len() as isize) as usize].clone()
    }

    /// Whether a client stays in its group whatever happens to it, short of going to another endpoint.
    pub(super) fn is_lasting(&self) -> bool {
        !matches!(self, By::State | By::Reason)
    }

    pub fn name(&self) -> &str {
        match self {
            By::Endpoint => "endpoint",
            By::Label(name) => name,
            By::State => "state",
            By::Reason => "reason",
            By::Protocol => "protocol",
        }
    }
}

/// Which group it is, among those by one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartKey {
    Endpoint(EndpointKey),
    /// A label and its value; `None` is who has no such label.
    Label(Scrubbed, Option<Scrubbed>),
    State(Badge),
    /// `None` is who is well.
    Reason(Option<Why>),
    Protocol(Protocol),
}

impl PartKey {
    pub fn name(&self, fleet: &Fleet) -> Scrubbed {
        match self {
            PartKey::Endpoint(key) => fleet.endpoint(*key).name.clone(),
            PartKey::Label(_, Some(value)) => value.clone(),
            PartKey::Label(name, None) => Scrubbed::new(&format!("no {name}")),
            PartKey::State(badge) => Scrubbed::new(badge.word()),
            PartKey::Reason(Some(why)) => Scrubbed::new(why.words()),
            PartKey::Reason(None) => Scrubbed::new("up and well"),
            PartKey::Protocol(Protocol::V311) => Scrubbed::new("MQTT 3.1.1"),
            PartKey::Protocol(Protocol::V5) => Scrubbed::new("MQTT 5"),
        }
    }

    /// Whom it means, as a query.
    pub(super) fn query(&self, fleet: &Fleet) -> Query {
        let states = |badges: &[Badge]| {
            let words: Vec<&str> = badges.iter().map(|badge| badge.word()).collect();
            Query::choice(Field::State, &words)
        };
        match self {
            PartKey::Endpoint(key) => Query::is(Field::Endpoint, &fleet.endpoint(*key).name),
            PartKey::Label(name, Some(value)) => Query::label_is(name, value),
            PartKey::Label(name, None) => Query::has_no_label(name),
            PartKey::State(badge) => states(&[*badge]),
            PartKey::Reason(None) => states(&[Badge::Up]),
            PartKey::Reason(Some(Why::Slow(slow))) => {
                states(&[Badge::Slow, Badge::Mute]).and(Query::is(Field::Why, slow.words()))
            }
            PartKey::Reason(Some(Why::Down(reason))) => Query::choice(Field::Reason, &[reason.name()])
                .and(states(&[Badge::Up, Badge::Slow, Badge::Mute]).negated()),
            PartKey::Protocol(Protocol::V311) => Query::choice(Field::Protocol, &["3.1.1"]),
            PartKey::Protocol(Protocol::V5) => Query::choice(Field::Protocol, &["5"]),
        }
    }
}

/// Where clients are put by one thing: a number for each group that there may be.
pub(super) struct Sorter<'k> {
    known: &'k Known,
    by: &'k By,
}

impl<'k> Sorter<'k> {
    pub(super) fn new(known: &'k Known, by: &'k By) -> Sorter<'k> {
        Sorter { known, by }
    }

    /// How many groups there may be.
    pub(super) fn slots(&self) -> usize {
        match self.by {
            By::Endpoint => self.known.fleet().endpoints.len(),
            By::Label(_) => self.known.groups().all().len() + 1,
            By::State => Badge::ALL.len(),
            By::Reason => Reason::ALL.len() + Slow::ALL.len() + 1,
            By::Protocol => 2,
        }
    }

    pub(super) fn slot(&self, key: ClientKey, row: &Row) -> usize {
        match self.by {
            By::Endpoint => row.endpoint.index(),
            By::Label(name) => {
                let groups = self.known.groups();
                let mut mine = groups.of_client(key).iter().map(|group| usize::from(*group));
                mine.find(|group| groups.all()[*group].label == *name).unwrap_or(groups.all().len())
            }
            By::State => row.badge() as usize,
            By::Reason => match row.slow {
                _ if !row.is_up() => row.reason as usize,
                Some(slow) => Reason::ALL.len() + slow as usize,
                None => Reason::ALL.len() + Slow::ALL.len(),
            },
            By::Protocol => usize::from(self.known.fleet().client(key).settings.protocol == Protocol::V5),
        }
    }

    pub(super) fn key(&self, slot: usize) -> PartKey {
        match self.by {
            By::Endpoint => PartKey::Endpoint(EndpointKey(slot as u16)),
            By::Label(name) => {
                let value = self.known.groups().all().get(slot).map(|group| group.value.clone());
                PartKey::Label(name.clone(), value)
            }
            By::State => PartKey::State(Badge::ALL[slot]),
            By::Reason => PartKey::Reason(match slot.checked_sub(Reason::ALL.len()) {
                None => Some(Why::Down(Reason::ALL[slot])),
                Some(slow) => Slow::ALL.get(slow).map(|slow| Why::Slow(*slow)),
            }),
            By::Protocol => PartKey::Protocol(if slot == 0 { Protocol::V311 } else { Protocol::V5 }),
        }
    }
}

/// One group.
#[derive(Clone, Debug)]
pub struct Part {
    pub key: PartKey,
    pub totals: Totals,
    /// The most urgent badge in it, and whether who wears it should be up.
    pub worst: (Badge, bool),
    /// Of its answers over a rolling window, where there were any.
    pub p99: Option<Duration>,
    /// The last [`Trend::LEN`] probe intervals, oldest first: down where half of it was, or else how much slower than
    /// usual the slowest tenth was answered, as if a second were usual.
    pub trend: Vec<Bucket>,
}

impl Part {
    /// What stands for the usual in [`Part::trend`].
    pub const USUAL: Duration = Duration::from_secs(1);
}

/// All groups, and where the cursor is.
#[derive(Clone, Debug)]
pub struct Pivot {
    pub by: By,
    /// How many clients it is about.
    pub clients: usize,
    parts: Vec<Part>,
    cursor: Option<PartKey>,
    top: usize,
}

impl Pivot {
    /// The lines around the groups: their title, and the columns' names.
    pub const FRAME: usize = 2;

    /// Groups `clients`. Those that were there before stay where they were, where the order `is_held`, and so does the cursor.
    pub(super) fn of(
        known: &Known,
        clients: impl Iterator<Item = ClientKey>,
        by: &By,
        now: Moment,
        before: Option<Pivot>,
        is_held: bool,
    ) -> Pivot {
        let sorter = Sorter::new(known, by);
        let mut sums: Vec<Option<Box<Sum>>> = Vec::new();
        sums.resize_with(sorter.slots(), || None);
        let mut count = 0;
        for key in clients {
            let row = known.row(key);
            sums[sorter.slot(key, row)].get_or_insert_with(Box::default).add(row, now);
            count += 1;
        }
        let found = sums.into_iter().enumerate().filter_map(|(slot, sum)| Some(sum?.part(sorter.key(slot))));
        let mut parts: Vec<Part> = found.collect();
        parts.sort_by_cached_key(|part| {
            let sick = (part.totals.down, part.totals.slow(), part.totals.all());
            (std::cmp::Reverse(sick), part.key.name(known.fleet()))
        });
        let mut before = before.filter(|before| before.by == *by);
        if let Some(before) = before.as_ref().filter(|_| is_held) {
            let place = |part: &Part| before.parts.iter().position(|known| known.key == part.key);
            parts.sort_by_cached_key(|part| place(part).unwrap_or(usize::MAX));
        }
        let cursor = before.as_mut().and_then(|before| before.cursor.take());
        let cursor = cursor.filter(|cursor| parts.iter().any(|part| part.key == *cursor));
        let cursor = cursor.or_else(|| parts.first().map(|part| part.key.clone()));
        let line = before.as_ref().map_or(0, |before| before.top);
        Pivot { by: by.clone(), clients: count, parts, cursor, top: line }
    }

    /// The worst first.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The group under the cursor.
    pub fn cursor(&self) -> Option<&Part> {
        self.parts.get(self.place()?)
    }

    /// Its place, from 0.
    pub fn place(&self) -> Option<usize> {
        let cursor = self.cursor.as_ref()?;
        self.parts.iter().position(|part| part.key == *cursor)
    }

    /// The place of the first line, where there are so many.
    pub fn top(&self, lines: usize) -> usize {
        let place = self.place().unwrap_or(0);
        let top = self.top.min(self.parts.len().saturating_sub(lines));
        top.clamp((place + 1).saturating_sub(lines), place)
    }

    pub(super) fn move_to(&mut self, place: usize, lines: usize) {
        if let Some(last) = self.parts.len().checked_sub(1) {
            self.cursor = Some(self.parts[place.min(last)].key.clone());
            self.top = self.top(lines);
        }
    }

    pub(super) fn step(&mut self, by: isize, lines: usize) {
        let place = self.place().unwrap_or(0).saturating_add_signed(by);
        self.move_to(place, lines);
    }

    /// Moves to the next group where somebody is not well, or the one before; says whether there is one.
    pub(super) fn seek(&mut self, is_next: bool, lines: usize) -> bool {
        let is_unwell = |place: &usize| {
            let totals = &self.parts[*place].totals;
            totals.down > 0 || totals.slow() > 0
        };
        let at = self.place().unwrap_or(0);
        let found = match is_next {
            true => (at + 1..self.parts.len()).find(is_unwell),
            false => (0..at).rfind(is_unwell),
        };
        found.inspect(|place| self.move_to(*place, lines)).is_some()
    }
}

/// What is added up of a group's clients.
#[derive(Default)]
struct Sum {
    totals: Totals,
    worst: Option<(u64, Badge, bool)>,
    answers: Histogram,
    buckets: [BucketSum; Trend::LEN],
}

/// Of one probe interval.
#[derive(Clone, Copy)]
struct BucketSum {
    down: u32,
    /// By how much slower than usual: four steps an octave.
    slower: [u32; BucketSum::STEPS],
}

impl Default for BucketSum {
    fn default() -> Self {
        BucketSum { down: 0, slower: [0; BucketSum::STEPS] }
    }
}

impl BucketSum {
    const STEPS: usize = 64;
    /// The step of what is as usual.
    const USUAL: i32 = 16;

    /// A quarter of an octave is what the exponent and two bits of a float tell apart.
    fn step(factor: f32) -> usize {
        let quarter = (factor.to_bits() >> 21) as i32 - (1.0_f32.to_bits() >> 21) as i32;
        (quarter + Self::USUAL).clamp(0, Self::STEPS as i32 - 1) as usize
    }

    /// The middle of a step.
    fn factor(step: usize) -> f32 {
        let quarter = step as i32 - Self::USUAL;
        f32::powi(2.0, quarter.div_euclid(4)) * (1.0 + 0.25 * quarter.rem_euclid(4) as f32 + 0.125)
    }

    /// Of a group of so many.
    fn bucket(&self, size: u32) -> Bucket {
        let answered: u32 = self.slower.iter().sum();
        if self.down > 0 && self.down * 2 >= size {
            return Bucket::Down;
        }
        // So many are faster than the slowest tenth.
        let faster = answered - answered.div_ceil(10);
        let mut seen = 0;
        let step = self.slower.iter().position(|count| {
            seen += count;
            seen > faster
        });
        match step {
            Some(step) => Bucket::Worst(Part::USUAL.mul_f32(BucketSum::factor(step))),
            None => Bucket::Empty,
        }
    }
}

impl Sum {
    fn add(&mut self, row: &Row, now: Moment) {
        self.totals.add(row);
        let worst = (urgency(row), row.badge(), row.is_down());
        if self.worst.is_none_or(|(urgency, ..)| worst.0 < urgency) {
            self.worst = Some(worst);
        }
        let usual = row.answers().map_or(0.0, |answers| {
            answers.add_to(now, &mut self.answers);
            answers.usual().max(Answers::FAST).as_secs_f32()
        });
        for (sum, bucket) in self.buckets.iter_mut().zip(row.trend(now, Trend::LEN)) {
            match bucket {
                Bucket::Empty => {}
                Bucket::Down => sum.down += 1,
                Bucket::Worst(rtt) if usual > 0.0 => sum.slower[BucketSum::step(rtt.as_secs_f32() / usual)] += 1,
                Bucket::Worst(_) => {}
            }
        }
    }

    fn part(&self, key: PartKey) -> Part {
        let (_, badge, is_down) = self.worst.unwrap_or((0, Badge::Off, false));
        Part {
            key,
            totals: self.totals,
            worst: (badge, is_down),
            p99: self.answers.quantile(0.99),
            trend: self.buckets.iter().map(|sum| sum.bucket(self.totals.all())).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_as_slow_as_its_slowest_tenth_and_down_where_half_of_it_is() {
        let of = |down: u32, factors: &[(u32, f32)]| {
            let mut sum = BucketSum { down, ..BucketSum::default() };
            factors.iter().for_each(|(count, factor)| sum.slower[BucketSum::step(*factor)] += count);
            let size = down + factors.iter().map(|(count, _)| count).sum::<u32>();
            match sum.bucket(size) {
                Bucket::Worst(rtt) => rtt.as_secs_f32(),
                Bucket::Down => -1.0,
                Bucket::Empty => 0.0,
            }
        };
        assert_eq!((of(0, &[]), of(1, &[]), of(5, &[(5, 1.0)]), of(4, &[(5, 1.0)])), (0.0, -1.0, -1.0, 1.125));
        assert!((7.0..=9.0).contains(&of(0, &[(90, 1.0), (10, 8.0)])), "{}", of(0, &[(90, 1.0), (10, 8.0)]));
        assert_eq!(of(0, &[(95, 1.0), (5, 8.0)]), 1.125);
        for factor in [0.3, 1.0, 1.3, 2.0, 5.0, 40.0] {
            let middle = BucketSum::factor(BucketSum::step(factor));
            assert!((0.85..1.15).contains(&(middle / factor)), "{factor}: {middle}");
        }
    }
}
