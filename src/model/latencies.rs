//! Defines the round trips of many clients together over the last minute or so, by endpoint, by label and for the fleet; those of a single client are in `answers`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    clock::Moment,
    event::{FleetStanding, Slices},
    fleet::{Fleet, Places, ProbeKind, Settings},
    model::{
        groups::Groups,
        heat::Heat,
        histogram::{Histogram, corrected},
        row::interval,
    },
};

/// A histogram of the last [`Rolling::PARTS`] parts of time, the present one begun.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Rolling {
    parts: [Histogram; Rolling::PARTS],
    newest: u64,
}

impl Rolling {
    const PARTS: usize = 6;

    fn advance(&mut self, part: u64) -> &mut Histogram {
        let first = (self.newest + 1).max((part + 1).saturating_sub(Self::PARTS as u64));
        for part in first..=part {
            self.parts[part as usize % Self::PARTS].clear();
        }
        self.newest = self.newest.max(part);
        &mut self.parts[self.newest as usize % Self::PARTS]
    }

    /// Adds another one, from `begin` on, whose parts are `theirs` wide and whose clock is so many microseconds
    /// earlier; these parts are `ours` wide.
    fn add(&mut self, other: &Rolling, (theirs, ours): (u64, u64), later: i64, begin: Moment) {
        let first = other.newest.saturating_sub(Self::PARTS as u64 - 1);
        for number in first..=other.newest {
            let at = Moment(number.saturating_mul(theirs)).moved(later);
            let (part, answers) = (at.0 / ours, &other.parts[number as usize % Self::PARTS]);
            if at < begin || answers.is_empty() {
                continue;
            }
            self.advance(part);
            if part + Self::PARTS as u64 > self.newest {
                self.parts[part as usize % Self::PARTS].merge(answers);
            }
        }
    }

    fn tell(&self) -> Slices {
        let first = (self.newest + 1).saturating_sub(Self::PARTS as u64);
        let parts = (first..=self.newest).map(|part| &self.parts[part as usize % Self::PARTS]);
        let parts = parts.skip_while(|part| part.is_empty());
        Slices { newest: self.newest, slices: parts.map(Histogram::tell).collect() }
    }

    /// Takes in what was told; `last`: no part of a real run has a higher number.
    fn stand(&mut self, told: &Slices, last: u64) {
        self.newest = told.newest.min(last);
        self.parts = Default::default();
        for (slice, part) in told.slices.iter().rev().zip((0..=self.newest).rev()).take(Self::PARTS) {
            self.parts[part as usize % Self::PARTS] = Histogram::of(slice);
        }
    }

    /// Adds what is left of it in `part` to a histogram.
    fn merge_into(&self, part: u64, histogram: &mut Histogram) {
        let oldest = (part + 1).saturating_sub(Self::PARTS as u64);
        let begin = (self.newest + 1).saturating_sub(Self::PARTS as u64).max(oldest);
        for part in begin..=self.newest {
            histogram.merge(&self.parts[part as usize % Self::PARTS]);
        }
    }
}

/// The round trips of a fleet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Latencies {
    by_endpoint: Vec<Rolling>,
    by_group: Vec<Rolling>,
    heat: Heat,
    /// A part's length in microseconds.
    width: u64,
}

impl Latencies {
    const SHORTEST: Duration = Duration::from_secs(10);

    pub(super) fn new(fleet: &Fleet, groups: &Groups, now: Moment) -> Latencies {
        // A window has at least two answers of a usual client.
        let mut every: Vec<Duration> = fleet.keys().filter_map(|key| probed(&fleet.client(key).settings)).collect();
        let middle = every.len() / 2;
        let usual = if every.is_empty() { Self::SHORTEST } else { *every.select_nth_unstable(middle).1 };
        let width = (usual * 2 / Rolling::PARTS as u32).max(Self::SHORTEST).as_micros() as u64;
        let rolling = Rolling { parts: Default::default(), newest: now.0 / width };
        Latencies {
            by_endpoint: vec![rolling.clone(); fleet.endpoints.len()],
            by_group: vec![rolling; groups.all().len()],
            heat: Heat::new(now),
            width,
        }
    }

    /// Notes the answer of a client that belongs to `groups` and is probed every `interval`.
    pub(super) fn record(&mut self, at: Moment, endpoint: usize, groups: &[u16], rtt: Duration, interval: Duration) {
        let part = at.0 / self.width;
        let most = (self.width * Rolling::PARTS as u64 / interval.as_micros().max(1) as u64) as usize;
        for rtt in corrected(rtt, interval, most) {
            self.by_endpoint[endpoint].advance(part).record(rtt);
            for group in groups {
                self.by_group[usize::from(*group)].advance(part).record(rtt);
            }
            self.heat.record(at, rtt);
        }
    }

    /// The fleet is another one from now on: what is there in both goes on.
    pub(super) fn revise(&mut self, fleet: &Fleet, before: &Groups, groups: &Groups, now: Moment) {
        let none = Rolling { parts: Default::default(), newest: now.0 / self.width };
        self.by_endpoint.resize(fleet.endpoints.len(), none.clone());
        let rolling = |group| before.place_of(group).and_then(|n| self.by_group.get(n)).unwrap_or(&none).clone();
        self.by_group = groups.all().iter().map(rolling).collect();
    }

    /// Adds what was measured by one agent of several, from `begin` on.
    pub(super) fn add(
        &mut self,
        other: &Latencies,
        places: &Places,
        (theirs, groups): (&Groups, &Groups),
        begin: Moment,
    ) {
        let (widths, later) = ((other.width, self.width), places.later);
        for (rolling, place) in other.by_endpoint.iter().zip(&places.endpoints) {
            self.by_endpoint[place.index()].add(rolling, widths, later, begin);
        }
        for (rolling, group) in other.by_group.iter().zip(theirs.all()) {
            if let Some(place) = groups.place_of(group) {
                self.by_group[place].add(rolling, widths, later, begin);
            }
        }
        self.heat.add(&other.heat, later, begin);
    }

    /// Whether it is of a fleet with so many endpoints and groups.
    pub(super) fn fits(&self, endpoints: usize, groups: usize) -> bool {
        self.width > 0 && self.by_endpoint.len() == endpoints && self.by_group.len() == groups
    }

    /// Notes that a probe will never be answered.
    pub(super) fn lose(&mut self, at: Moment) {
        self.heat.lose(at);
    }

    /// Tells all of it in its parts of a fleet's standing.
    pub(super) fn tell(&self, standing: &mut FleetStanding) {
        standing.endpoints = self.by_endpoint.iter().map(Rolling::tell).collect();
        standing.groups = self.by_group.iter().map(Rolling::tell).collect();
        standing.heat = self.heat.tell();
    }

    /// Takes in what was told. What comes from a file may be nonsense: it becomes something else then.
    pub(super) fn stand(&mut self, standing: &FleetStanding) {
        let last = u64::MAX / self.width;
        for (rolling, told) in self.by_endpoint.iter_mut().zip(&standing.endpoints) {
            rolling.stand(told, last);
        }
        for (rolling, told) in self.by_group.iter_mut().zip(&standing.groups) {
            rolling.stand(told, last);
        }
        self.heat.stand(&standing.heat);
    }

    /// Probes that were found to be lost in the time of the windows.
    pub fn lost(&self, now: Moment) -> u64 {
        let slices = self.span(now).as_micros().div_ceil(Heat::WIDTH.as_micros()) as usize;
        self.heat.slices(now, slices.min(Heat::SLICES)).flatten().map(|slice| u64::from(slice.lost)).sum()
    }

    /// How far back the windows go.
    pub fn span(&self, now: Moment) -> Duration {
        let oldest = (now.0 / self.width + 1).saturating_sub(Rolling::PARTS as u64);
        now.since(Moment(oldest * self.width))
    }

    pub fn fleet(&self, now: Moment) -> Histogram {
        self.merged(&self.by_endpoint, now)
    }

    /// Of the endpoint of this number.
    pub fn endpoint(&self, endpoint: usize, now: Moment) -> Histogram {
        self.merged(&self.by_endpoint[endpoint..=endpoint], now)
    }

    /// Of the clients of one of [`Groups::all`].
    pub fn group(&self, group: usize, now: Moment) -> Histogram {
        self.merged(&self.by_group[group..=group], now)
    }

    /// When the fleet's answers took how long.
    pub fn heat(&self) -> &Heat {
        &self.heat
    }

    fn merged(&self, rolling: &[Rolling], now: Moment) -> Histogram {
        let mut histogram = Histogram::default();
        rolling.iter().for_each(|rolling| rolling.merge_into(now.0 / self.width, &mut histogram));
        histogram
    }
}

fn probed(settings: &Settings) -> Option<Duration> {
    (settings.probe.kind != ProbeKind::Off).then(|| interval(settings))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        fleet::{Client, ClientKey, Endpoint, EndpointKey, Labels, Probe},
        text::Scrubbed,
    };

    #[test]
    fn endpoints_labels_and_the_fleet_have_percentiles_of_their_own() {
        let settings =
            Settings { probe: Probe { kind: ProbeKind::Ack, every: Duration::from_secs(5) }, ..Settings::default() };
        let settings = Arc::new(settings);
        let site = |value: &str| Arc::new(Labels::from([(Scrubbed::new("site"), Scrubbed::new(value))]));
        let client = |n: u16| Client {
            labels: site(["north", "south"][usize::from(n % 2)]),
            ..Client::new("c", EndpointKey(n / 2), settings.clone())
        };
        let fleet = Fleet {
            name: Scrubbed::new("f"),
            env: None,
            worker_size: 500,
            endpoints: vec![Endpoint::new("a", "h", 1), Endpoint::new("b", "h", 2)],
            clients: (0..4).map(client).collect(),
        };
        let groups = Groups::of(&fleet);
        let mut latencies = Latencies::new(&fleet, &groups, Moment(0));
        let (ms, at) = (Duration::from_millis, |s: u64| Moment(s * 1_000_000));
        for second in 0..60 {
            for (n, rtt) in [1, 2, 30, 40].into_iter().enumerate() {
                let key = ClientKey(n as u32);
                latencies.record(at(second), n / 2, groups.of_client(key), ms(rtt), ms(5_000));
            }
        }
        let max = |h: Histogram| h.latency().map(|l| l.max);
        assert_eq!(max(latencies.fleet(at(59))), Some(ms(40)));
        assert_eq!(max(latencies.endpoint(0, at(59))), Some(ms(2)));
        assert_eq!((max(latencies.group(0, at(59))), max(latencies.group(1, at(59)))), (Some(ms(30)), Some(ms(40))));
        let fleet = latencies.fleet(at(59));
        assert_eq!((fleet.total(), latencies.span(at(59))), (240, Duration::from_secs(59)));
        // Not the mean of 2 ms and 40 ms: half of all answers took at most 2 ms.
        assert!(fleet.quantile(0.5).unwrap() <= ms(2) + Duration::from_micros(70));
        assert_eq!(latencies.fleet(at(90)).total(), 4 * 20, "from 40 s on");
        assert!(latencies.fleet(at(120)).is_empty());
    }
}
