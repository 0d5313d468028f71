//! Defines the summary of a run, worked out from its events alone: availability, outages with their causes, latency, storms; where the events come from and who reads the summary is elsewhere.

mod figures;
mod latency;
mod outages;
mod page;
mod storms;

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, SubsecRound, Utc};

pub use figures::{ClientFigures, GroupFigures, LatencyFigures, Report, Share};
pub use outages::Outage;
pub use page::Format;
pub use storms::Storm;

use self::{figures::Gathered, latency::Latencies, outages::Outages, storms::Storms};
use crate::{
    clock::{Anchor, Moment},
    event::{Event, Reason, State, Transition, What, WorkerEvent},
    fleet::{ClientKey, EndpointKey, Fleet},
    model::{Availability, Turn},
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
    clients: Vec<ClientTally>,
    outages: Outages,
    latencies: Latencies,
    storms: Storms,
    samples_lost: u64,
    worker_deaths: u32,
}

#[derive(Clone, Debug)]
struct ClientTally {
    endpoint: EndpointKey,
    state: State,
    /// What explains the state.
    reason: Reason,
    since: Moment,
    availability: Availability,
}

impl Tally {
    /// Nothing yet of a run, or of a part of it, that begins then.
    pub fn new(fleet: Arc<Fleet>, begin: Moment) -> Tally {
        let client = |endpoint| ClientTally {
            endpoint,
            state: State::Off,
            reason: Reason::NotStarted,
            since: begin,
            availability: Availability::new(begin),
        };
        Tally {
            clients: fleet.clients.iter().map(|c| client(c.endpoint())).collect(),
            outages: Outages::new(fleet.clients.len()),
            latencies: Latencies::new(&fleet),
            storms: Storms::new(begin),
            samples_lost: 0,
            worker_deaths: 0,
            begin,
            fleet,
        }
    }

    pub fn apply(&mut self, event: &Event) {
        let is_before = event.at < self.begin;
        match &event.what {
            What::State(step) => self.step(event.at.max(self.begin), step, is_before),
            What::Standing(standing) => {
                let client = &mut self.clients[standing.client.index()];
                (client.endpoint, client.state, client.reason) = (standing.endpoint, standing.state, standing.reason);
                client.since = standing.since;
                let now = event.at.max(self.begin);
                let turn = client.availability.stand(now, standing.since, standing.state, standing.reason);
                let (key, endpoint, reason) = (standing.client, standing.endpoint, standing.reason);
                self.turn(turn, standing.since.min(now), key, endpoint, reason, &standing.detail);
            }
            What::Sample(sample) if !is_before => {
                let client = sample.client;
                self.latencies.record(client, self.clients[client.index()].endpoint, sample.rtt);
            }
            What::SamplesLost(count) if !is_before => self.samples_lost += u64::from(*count),
            What::Worker { event: WorkerEvent::Died, .. } if !is_before => self.worker_deaths += 1,
            _ => {}
        }
    }

    fn step(&mut self, at: Moment, step: &Transition, is_before: bool) {
        let client = &mut self.clients[step.client.index()];
        let was_up = client.state == State::Up;
        (client.endpoint, client.state, client.reason) = (step.endpoint, step.to, step.reason);
        client.since = at;
        let turn = client.availability.step(at, step.to, step.reason);
        if !is_before {
            self.storms.step(at, step.to, was_up);
        }
        self.turn(turn, at, step.client, step.endpoint, step.reason, &step.detail);
        if turn == Turn::Nothing && self.clients[step.client.index()].availability.outage().is_some() {
            self.outages.explain(step.client, step.to, step.reason);
        }
    }

    fn turn(&mut self, turn: Turn, at: Moment, client: ClientKey, endpoint: EndpointKey, reason: Reason, detail: &str) {
        match turn {
            Turn::Nothing => {}
            Turn::Begins => self.outages.begin(at, client, endpoint, reason, detail),
            Turn::Ends => self.outages.end(at, client),
        }
    }

    /// The summary as of `end`; `anchor` tells what the wall clock said.
    pub fn report(&self, end: Moment, anchor: &Anchor) -> Report {
        let end = end.max(self.begin);
        let ended: Vec<Availability> = self.clients.iter().map(|c| c.availability.at(end)).collect();
        let (mut whole, mut by_endpoint) = (Gathered::default(), vec![Gathered::default(); self.fleet.endpoints.len()]);
        let mut by_label: BTreeMap<(&str, &str), Gathered> = BTreeMap::new();
        for ((client, tally), availability) in self.fleet.clients.iter().zip(&self.clients).zip(&ended) {
            whole.add(availability);
            by_endpoint[tally.endpoint.index()].add(availability);
            for (name, value) in client.labels.iter().filter(|(name, _)| self.latencies.is_grouped(name)) {
                by_label.entry((name, value)).or_default().add(availability);
            }
        }
        let endpoint_name = |key: EndpointKey| self.fleet.endpoint(key).name.to_string();
        let group = |name: String, gathered: &Gathered, latency| gathered.figures(name, latency);
        let endpoints = self.fleet.endpoint_keys().zip(&by_endpoint);
        let clients = self.fleet.clients.iter().zip(&self.clients).zip(&ended);
        Report {
            fleet: self.fleet.name.to_string(),
            from: wall(anchor, self.begin),
            to: wall(anchor, end),
            seconds: end.since(self.begin).as_secs_f64(),
            whole: group(self.fleet.name.to_string(), &whole, self.latencies.of_fleet()),
            endpoints: endpoints
                .map(|(key, gathered)| group(endpoint_name(key), gathered, self.latencies.of_endpoint(key)))
                .collect(),
            labels: by_label
                .iter()
                .map(|((name, value), gathered)| {
                    group(format!("{name}={value}"), gathered, self.latencies.of_label(name, value))
                })
                .collect(),
            labels_left_out: self.latencies.left_out().iter().map(ToString::to_string).collect(),
            clients: clients
                .map(|((client, tally), availability)| {
                    ClientFigures::new(
                        client.name.to_string(),
                        endpoint_name(tally.endpoint),
                        tally.state,
                        availability,
                    )
                })
                .collect(),
            outages: self.outages.told(&self.fleet, end, anchor),
            storms: self.storms.told(end, self.fleet.clients.len(), anchor),
            peak_connects: self.storms.peak(anchor),
            samples_lost: self.samples_lost,
            worker_deaths: self.worker_deaths,
        }
    }
}

#[cfg(test)]
mod tests;
