//! Defines what the latency view shows of the fleet or of the clients that a filter shows, worked out once a second off the frame path; how it looks is the UI's matter.

use std::time::Duration;

use crate::{
    clock::Moment,
    fleet::ClientKey,
    model::{
        heat::{Heat, Slice},
        histogram::{Histogram, Latency},
        known::Known,
    },
    text::Scrubbed,
};

/// The round trips of several clients.
#[derive(Clone, Debug)]
pub struct Survey {
    /// How many clients it is about.
    pub clients: usize,
    /// Whether these are not all, but those that a filter shows.
    pub is_filtered: bool,
    pub histogram: Histogram,
    /// How far back the histogram goes at most.
    pub span: Duration,
    /// The last [`Heat::SLICES`] slices of time, oldest first; `None` where nothing is known. Of a whole
    /// fleet they have every answer, of a filter each client's slowest of a probe interval.
    pub slices: Vec<Option<Slice>>,
    /// Probes that were never answered in the time of the histogram, where that is known.
    pub lost: u64,
    /// Of a whole fleet, its endpoints and its labels, each of both with the slowest p99 first.
    pub places: Vec<Place>,
}

/// How fast the clients of an endpoint, or those with a label's value, are answered.
#[derive(Clone, Debug)]
pub struct Place {
    pub name: Scrubbed,
    pub answers: u64,
    pub latency: Latency,
}

impl Survey {
    pub(super) fn of_fleet(known: &Known, now: Moment) -> Survey {
        let slices: Vec<_> = known.latencies().heat().slices(now, Heat::SLICES).map(|slice| slice.cloned()).collect();
        let span = known.latencies().span(now);
        let lost = known.latencies().lost(now);
        let mut histogram = known.latencies().fleet(now);
        histogram.merge(&known.waits(known.fleet().keys(), now));
        let places = places(known, now);
        Survey { clients: known.totals().all() as usize, is_filtered: false, histogram, span, slices, lost, places }
    }

    pub(super) fn of(known: &Known, clients: &[ClientKey], now: Moment) -> Survey {
        let mut survey = Survey {
            clients: clients.len(),
            is_filtered: true,
            histogram: Histogram::default(),
            span: Duration::ZERO,
            slices: vec![Some(Slice::default()); Heat::SLICES],
            lost: 0,
            places: Vec::new(),
        };
        survey.histogram.merge(&known.waits(clients.iter().copied(), now));
        let width = Heat::WIDTH.as_micros() as u64;
        let oldest = (now.0 / width + 1).saturating_sub(Heat::SLICES as u64);
        for row in clients.iter().map(|key| known.row(*key)) {
            if let Some(answers) = row.answers() {
                survey.histogram.merge(&answers.histogram(now));
                survey.span = survey.span.max(answers.span(now));
                survey.lost += u64::from(answers.loss(now).1);
            }
            for (begin, rtt) in row.trend_answers() {
                // A slow probe's answer is true of all the slices until the next one.
                let end = (begin + row.trend_width()).0.min(now.0 + 1).div_ceil(width);
                for slice in (begin.0 / width).max(oldest)..end {
                    if let Some(Some(slice)) = survey.slices.get_mut((slice - oldest) as usize) {
                        slice.record(rtt);
                    }
                }
            }
        }
        survey
    }
}

fn places(known: &Known, now: Moment) -> Vec<Place> {
    let place = |name: &str, histogram: Histogram| {
        let latency = histogram.latency()?;
        Some(Place { name: Scrubbed::new(name), answers: histogram.total(), latency })
    };
    let endpoints = known.fleet().endpoints.iter().enumerate();
    let endpoints = endpoints.filter_map(|(n, endpoint)| place(&endpoint.name, known.latencies().endpoint(n, now)));
    let groups = known.groups().all().iter().enumerate();
    let groups = groups
        .filter_map(|(n, group)| place(&format!("{}={}", group.label, group.value), known.latencies().group(n, now)));
    let mut places: Vec<Place> = endpoints.collect();
    places.sort_by_key(|place| std::cmp::Reverse(place.latency.p99));
    let begin = places.len();
    places.extend(groups);
    places[begin..].sort_by_key(|place| std::cmp::Reverse(place.latency.p99));
    places
}
