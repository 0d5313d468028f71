//! Defines the summary of a run, worked out from its events alone: availability, outages with their causes, latency, storms; where the events come from and who reads the summary is elsewhere.

mod figures;
mod latency;
mod outages;
mod page;
mod storms;

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, SubsecRound, Utc};

pub use figures::{ClientFigures, GroupFigures, LatencyFigures, Report, Share};
pub use outages::Outage;
pub use page::Format;
pub use storms::Storm;

use self::{figures::Gathered, latency::Latencies, outages::Outages, storms::Storms};
use crate::{
    clock::{Anchor, Moment},
    event::{Event, Reason, Sample, State, What},
    fleet::{ClientKey, Fleet},
    model::Known,
};

/// What the wall clock said, to the millisecond, as all lines tell it.
fn wall(anchor: &Anchor, at: Moment) -> DateTime<Utc> {
    anchor.utc(at).trunc_subsecs(3)
}

/// What is counted while a run is gone through.
#[derive(Debug)]
pub struct Tally {
    fleet: Arc<Fleet>,
    /// What was before counts only as how things stood then.
    begin: Moment,
    is_begun: bool,
    known: Known,
    /// What was known of these at the begin.
    samples_lost: u64,
    probes_lost: u64,
    worker_deaths: u32,
    outages: Outages,
    latencies: Latencies,
    storms: Storms,
}

impl Tally {
    /// A round trip counts for no more probes than go out in this time.
    const WAIT: Duration = Duration::from_secs(3_600);

    /// Nothing yet of a run, or of a part of it, that begins then.
    pub fn new(fleet: Arc<Fleet>, begin: Moment) -> Tally {
        Tally {
            is_begun: false,
            known: Known::new(fleet.clone(), begin),
            samples_lost: 0,
            probes_lost: 0,
            worker_deaths: 0,
            outages: Outages::new(fleet.clients.len()),
            latencies: Latencies::new(&fleet),
            storms: Storms::new(begin),
            begin,
            fleet,
        }
    }

    /// Takes in an event, or how things stood before the first one.
    pub fn apply(&mut self, event: &Event) {
        let is_counted =
            matches!(event.what, What::State(_) | What::Sample(_) | What::SamplesLost(_) | What::Worker { .. });
        if is_counted && event.at >= self.begin {
            self.start();
        }
        match &event.what {
            What::State(step) => {
                let was_up = self.known.row(step.client).is_up();
                self.turn(event, step.client, step.to, step.reason, &step.detail);
                if self.is_begun {
                    self.storms.step(event.at, step.to, was_up);
                }
            }
            What::Standing(told) => self.turn(event, told.client, told.state, told.reason, &told.detail),
            What::Sample(sample) => {
                self.known.apply(event);
                self.sample(sample);
            }
            What::Fleet(fleet) => {
                self.known.apply(event);
                self.latencies.revise(fleet);
                self.outages.revise(fleet.clients.len());
                self.fleet = fleet.clone();
            }
            What::Second(_) => {} // a pass over the fleet, of which no figure comes
            _ => self.known.apply(event),
        }
    }

    /// The part of the run begins that is told.
    fn start(&mut self) {
        if !std::mem::replace(&mut self.is_begun, true) {
            self.known.restart_records(self.begin);
            self.outages.restart();
            (self.samples_lost, self.worker_deaths) = (self.known.samples_lost(), self.known.worker_deaths());
            self.probes_lost = self.known.probes_lost();
        }
    }

    /// Applies what tells a client's state, and notes where an outage begins or ends with it.
    fn turn(&mut self, event: &Event, client: ClientKey, to: State, reason: Reason, detail: &str) {
        let before = self.known.row(client).record.outage();
        // Nobody answers a probe whose connection ends.
        if let Some(wait) = self.known.row(client).wait(event.at).filter(|_| self.is_begun) {
            self.wait(client, wait);
        }
        self.known.apply(event);
        let row = self.known.row(client);
        match (before, row.record.outage()) {
            (None, None) => {}
            (None, Some(begin)) => self.outages.begin(begin, client, row.endpoint, reason, detail),
            (Some(_), Some(_)) => self.outages.explain(client, to, reason),
            (Some(_), None) => self.outages.end(event.at, client),
        }
    }

    fn sample(&mut self, sample: &Sample) {
        let row = self.known.row(sample.client);
        // Of a connection that is gone, it counts as little as in a live view.
        if self.is_begun && row.is_up() {
            self.wait(sample.client, sample.rtt);
        }
    }

    /// Notes a round trip, or a wait that nobody ended, and what had to wait for it.
    fn wait(&mut self, client: ClientKey, wait: Duration) {
        let endpoint = self.known.row(client).endpoint;
        for rtt in self.known.corrected(client, wait, Self::WAIT) {
            self.latencies.record(client, endpoint, rtt);
        }
    }

    /// The summary as of `end`; `anchor` tells what the wall clock said.
    pub fn report(mut self, end: Moment, anchor: &Anchor) -> Report {
        self.start();
        let end = end.max(self.begin);
        let fleet = self.fleet.clone();
        let open = fleet.keys().filter_map(|client| Some((client, self.known.row(client).wait(end)?)));
        for (client, wait) in open.collect::<Vec<_>>() {
            self.wait(client, wait);
        }
        let (fleet, groups) = (&*fleet, self.latencies.groups());
        let mut whole = Gathered::default();
        let mut by_endpoint = vec![Gathered::default(); fleet.endpoints.len()];
        let mut by_group = vec![Gathered::default(); groups.all().len()];
        for (key, row) in fleet.keys().map(|key| (key, self.known.row(key))) {
            whole.add(&row.record, end);
            by_endpoint[row.endpoint.index()].add(&row.record, end);
            for group in groups.of_client(key) {
                by_group[usize::from(*group)].add(&row.record, end);
            }
        }
        let endpoints =
            fleet.endpoint_keys().map(|key| (key.index(), (fleet.endpoint(key), &by_endpoint[key.index()])));
        let labels = groups.all().iter().zip(&by_group).enumerate();
        let clients = fleet.keys().map(|key| (fleet.client(key), self.known.row(key)));
        Report {
            fleet: fleet.name.to_string(),
            from: wall(anchor, self.begin),
            to: wall(anchor, end),
            seconds: end.since(self.begin).as_secs_f64(),
            whole: whole.figures(fleet.name.to_string(), self.latencies.of_fleet()),
            endpoints: endpoints
                .map(|(n, (endpoint, gathered))| {
                    gathered.figures(endpoint.name.to_string(), self.latencies.of_endpoint(n))
                })
                .collect(),
            labels: labels
                .map(|(n, (group, gathered))| {
                    gathered.figures(format!("{}={}", group.label, group.value), self.latencies.of_group(n))
                })
                .collect(),
            labels_left_out: self.latencies.left_out(fleet).iter().map(ToString::to_string).collect(),
            clients: clients
                .map(|(client, row)| {
                    let endpoint = fleet.endpoint(row.endpoint).name.to_string();
                    ClientFigures::new(client.name.to_string(), endpoint, row, end)
                })
                .collect(),
            outages: self.outages.told(fleet, end, anchor),
            storms: self.storms.told(end, fleet.keys().count(), anchor),
            peak_connects: self.storms.peak(anchor),
            probes_lost: self.known.probes_lost().saturating_sub(self.probes_lost),
            samples_lost: self.known.samples_lost().saturating_sub(self.samples_lost),
            worker_deaths: self.known.worker_deaths().saturating_sub(self.worker_deaths),
        }
    }
}

#[cfg(test)]
mod tests;
