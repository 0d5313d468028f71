//! Defines the latencies of a run, for the fleet, its endpoints and its labels: histograms that are merged by counting in each, never averages of percentiles.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use hdrhistogram::Histogram;

use super::figures::LatencyFigures;
use crate::{
    fleet::{ClientKey, EndpointKey, Fleet},
    text::Scrubbed,
};

/// Round trips in microseconds, to three digits.
type Counts = Histogram<u32>;

#[derive(Debug)]
pub(super) struct Latencies {
    fleet: Counts,
    by_endpoint: Vec<Counts>,
    /// One for each label and value.
    by_label: Vec<Counts>,
    places: BTreeMap<(Scrubbed, Scrubbed), usize>,
    /// The places of each client's labels.
    of_client: Vec<Box<[usize]>>,
    left_out: BTreeSet<Scrubbed>,
}

impl Latencies {
    /// A label with more values than this tells single clients apart, not groups of them.
    const VALUES_MAX: usize = 64;

    pub fn new(fleet: &Fleet) -> Latencies {
        let mut values: BTreeMap<&Scrubbed, BTreeSet<&Scrubbed>> = BTreeMap::new();
        for (name, value) in fleet.clients.iter().flat_map(|client| &*client.labels) {
            values.entry(name).or_default().insert(value);
        }
        let (grouped, single): (Vec<_>, Vec<_>) =
            values.into_iter().partition(|(_, values)| values.len() <= Self::VALUES_MAX);
        let pairs = grouped.into_iter().flat_map(|(name, values)| values.into_iter().map(move |v| (name, v)));
        let places: BTreeMap<(Scrubbed, Scrubbed), usize> =
            pairs.enumerate().map(|(n, (name, value))| ((name.clone(), value.clone()), n)).collect();
        let place = |(name, value): (&Scrubbed, &Scrubbed)| places.get(&(name.clone(), value.clone())).copied();
        let of_client = fleet.clients.iter().map(|client| client.labels.iter().filter_map(place).collect()).collect();
        Latencies {
            fleet: counts(),
            by_endpoint: fleet.endpoints.iter().map(|_| counts()).collect(),
            by_label: places.iter().map(|_| counts()).collect(),
            of_client,
            left_out: single.into_iter().map(|(name, _)| name.clone()).collect(),
            places,
        }
    }

    pub fn record(&mut self, client: ClientKey, endpoint: EndpointKey, rtt: Duration) {
        let micros = u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX);
        self.fleet.saturating_record(micros);
        self.by_endpoint[endpoint.index()].saturating_record(micros);
        for &place in &self.of_client[client.index()] {
            self.by_label[place].saturating_record(micros);
        }
    }

    /// Whether a label's values are few enough to be told.
    pub fn is_grouped(&self, name: &Scrubbed) -> bool {
        !self.left_out.contains(name)
    }

    pub fn left_out(&self) -> &BTreeSet<Scrubbed> {
        &self.left_out
    }

    pub fn of_fleet(&self) -> Option<LatencyFigures> {
        figures(&self.fleet)
    }

    pub fn of_endpoint(&self, key: EndpointKey) -> Option<LatencyFigures> {
        figures(&self.by_endpoint[key.index()])
    }

    pub fn of_label(&self, name: &str, value: &str) -> Option<LatencyFigures> {
        let place = self.places.get(&(Scrubbed::new(name), Scrubbed::new(value)))?;
        figures(&self.by_label[*place])
    }
}

fn counts() -> Counts {
    // 1 µs to an hour: bounds that are always right, at about 100 kB.
    Counts::new_with_bounds(1, 3_600_000_000, 3).unwrap_or_else(|_| unreachable!("bounds that are always right"))
}

fn figures(counts: &Counts) -> Option<LatencyFigures> {
    (!counts.is_empty()).then(|| LatencyFigures {
        samples: counts.len(),
        p50_us: counts.value_at_quantile(0.5),
        p90_us: counts.value_at_quantile(0.9),
        p99_us: counts.value_at_quantile(0.99),
        max_us: counts.max(),
    })
}
