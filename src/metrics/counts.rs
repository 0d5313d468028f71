//! Defines what a run's events come to in numbers, by endpoint and by the values of one label; how they are told is elsewhere.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, Utc};

use crate::{
    clock::Moment,
    event::{Event, Severity, State, Tcp, Transition, What, WorkerEvent},
    fleet::{Client, ClientKey, EndpointKey, Fleet},
    model::{Known, Row},
    telling::{Metrics, Telling},
    text::Scrubbed,
};

/// Counts by duration.
#[derive(Clone, Debug)]
pub(super) struct Durations {
    /// Up to each bound, and above all of them.
    pub counts: [u64; Durations::BOUNDS.len() + 1],
    pub sum: Duration,
}

impl Durations {
    /// In seconds: from a LAN to what nobody waits for.
    pub const BOUNDS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

    fn note(&mut self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        self.counts[Self::BOUNDS.partition_point(|bound| *bound < seconds)] += 1;
        self.sum = self.sum.saturating_add(duration);
    }
}

impl Default for Durations {
    fn default() -> Durations {
        Durations { counts: [0; Durations::BOUNDS.len() + 1], sum: Duration::ZERO }
    }
}

/// An endpoint, and a value of the label.
pub(super) type Place = (EndpointKey, u16);

/// What was counted at a place since the run began.
#[derive(Clone, Debug, Default)]
pub(super) struct Counted {
    pub connects: u64,
    pub failures: BTreeMap<&'static str, u64>,
    pub losses: BTreeMap<&'static str, u64>,
    pub round_trips: Durations,
    pub connect_durations: Durations,
    pub probes_lost: u64,
    pub received: u64,
    pub published: u64,
    pub refused: u64,
    pub sent_bytes: u64,
    pub received_bytes: u64,
    pub retransmits: u64,
}

/// How its clients stand.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    pub states: [u32; State::ALL.len()],
    pub slow: u32,
    pub late: u32,
    pub wait: Duration,
}

/// What is counted of a picked client.
#[derive(Clone, Debug, Default)]
pub(super) struct OfClient {
    pub connects: u64,
    pub received: u64,
    pub published: u64,
}

/// A worker, as its events tell.
#[derive(Clone, Debug, Default)]
pub(super) struct OfWorker {
    /// Its process, while it is up.
    pub process: Option<u32>,
    pub deaths: u64,
}

/// A rule about clients that has series of its own.
#[derive(Clone, Debug)]
pub(super) struct OfRule {
    pub name: Scrubbed,
    pub severity: Severity,
    /// How often it began to fire.
    pub fired: u64,
}

/// All that was counted.
pub(super) struct Counts {
    pub known: Known,
    settings: Metrics,
    /// The values of the label that have a place of their own, the most frequent first; [`Counts::VALUES`] is the
    /// place of all others.
    values: Vec<Scrubbed>,
    /// Values that have no place of their own.
    pub values_left_out: usize,
    /// Each client's place among the values; empty where there is no label.
    value_of: Vec<u16>,
    pub places: BTreeMap<Place, Counted>,
    pub clients: BTreeMap<ClientKey, OfClient>,
    /// Clients that are picked and are too many.
    pub clients_left_out: usize,
    pub workers: BTreeMap<u32, OfWorker>,
    /// In the order of the file.
    pub rules: Vec<OfRule>,
    /// Rules that are too many.
    pub rules_left_out: usize,
    /// When the first of the clients' own certificates ends, by the endpoint they prefer.
    pub own_certificates: BTreeMap<EndpointKey, DateTime<Utc>>,
    /// What the kernel said last of each client's present connection.
    readings: HashMap<ClientKey, Tcp>,
}

impl Counts {
    /// The most values of a label that are told by themselves.
    pub const VALUES: usize = 50;
    /// The most rules that are told by themselves.
    const RULES: usize = 100;

    pub fn new(fleet: Arc<Fleet>, telling: &Telling, now: Moment) -> Counts {
        let rules = telling.alerts.iter().take(Self::RULES);
        let rules = rules.map(|rule| OfRule { name: rule.name.clone(), severity: rule.severity, fired: 0 }).collect();
        let mut counts = Counts {
            known: Known::new(fleet, now),
            settings: telling.metrics.clone(),
            values: Vec::new(),
            values_left_out: 0,
            value_of: Vec::new(),
            places: BTreeMap::new(),
            clients: BTreeMap::new(),
            clients_left_out: 0,
            workers: BTreeMap::new(),
            rules,
            rules_left_out: telling.alerts.len().saturating_sub(Self::RULES),
            own_certificates: BTreeMap::new(),
            readings: HashMap::new(),
        };
        counts.arrange();
        counts
    }

    /// Finds each client's place, in the fleet as it is by now. What was counted stays where it was counted.
    fn arrange(&mut self) {
        let fleet = self.fleet().clone();
        self.own_certificates.clear();
        for client in fleet.keys().map(|key| fleet.client(key)) {
            if let Some(end) = client.identity.as_ref().and_then(|identity| identity.not_after) {
                let first = self.own_certificates.entry(client.endpoint()).or_insert(end);
                *first = end.min(*first);
            }
        }
        if let Some(label) = self.settings.label.clone() {
            self.sort_by_label(&fleet, &label);
        }
        if let Some(picked) = &self.settings.clients {
            let is_picked = |key: &ClientKey| picked.matching.is_for_defined(fleet.client(*key), &fleet);
            let all: Vec<ClientKey> = fleet.keys().filter(is_picked).collect();
            self.clients_left_out = all.len().saturating_sub(picked.at_most);
            let of = |key| (key, self.clients.get(&key).cloned().unwrap_or_default());
            self.clients = all.into_iter().take(picked.at_most).map(of).collect();
        }
        // A counter that begins with 0 has a rate from its first event on.
        for key in fleet.keys() {
            let place = (fleet.client(key).endpoint(), self.value(key));
            self.places.entry(place).or_default();
        }
    }

    /// Gives the most frequent values a place of their own, as long as there are any.
    fn sort_by_label(&mut self, fleet: &Fleet, label: &Scrubbed) {
        let none = Scrubbed::default();
        let value = |client: &Client| client.labels.get(label).unwrap_or(&none).clone();
        let mut frequency: BTreeMap<Scrubbed, usize> = BTreeMap::new();
        fleet.keys().for_each(|key| *frequency.entry(value(fleet.client(key))).or_default() += 1);
        let mut values: Vec<(Scrubbed, usize)> = frequency.into_iter().collect();
        values.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        values.retain(|(value, _)| !self.values.contains(value));
        let room = Self::VALUES.saturating_sub(self.values.len());
        self.values_left_out = values.len().saturating_sub(room);
        self.values.extend(values.into_iter().take(room).map(|(value, _)| value));
        let place: BTreeMap<&Scrubbed, u16> = self.values.iter().zip(0..).collect();
        let place_of = |client| place.get(&value(client)).copied().unwrap_or(Self::VALUES as u16);
        self.value_of = fleet.clients.iter().map(place_of).collect();
    }

    fn value(&self, client: ClientKey) -> u16 {
        self.value_of.get(client.index()).copied().unwrap_or_default()
    }

    /// The place of a client that is at this endpoint.
    pub fn place(&self, client: ClientKey, endpoint: EndpointKey) -> Place {
        (endpoint, self.value(client))
    }

    fn at(&mut self, client: ClientKey, endpoint: EndpointKey) -> &mut Counted {
        self.places.entry(self.place(client, endpoint)).or_default()
    }

    /// The same for where it is.
    fn of(&mut self, client: ClientKey) -> &mut Counted {
        self.at(client, self.known.row(client).endpoint)
    }

    pub fn apply(&mut self, event: &Event) {
        // Only the client of an event can lose its probe by it.
        let lost = self.known.probes_lost();
        let at = match &event.what {
            What::State(step) => Some(self.known.row(step.client)),
            What::Sample(sample) => Some(self.known.row(sample.client)),
            What::Late(late) => Some(self.known.row(late.client)),
            _ => None,
        };
        let at = at.map(|row| row.endpoint);
        self.known.apply(event);
        let lost = self.known.probes_lost() - lost;
        match &event.what {
            What::State(step) => self.step(step),
            What::Sample(sample) => self.of(sample.client).round_trips.note(sample.rtt),
            What::Connack(client, connack) => {
                if let (Some(reached), Some(answered)) = (connack.reached, connack.answered) {
                    self.of(*client).connect_durations.note(reached + answered);
                }
            }
            What::Messages(messages) => {
                let counted = self.of(messages.client);
                counted.received += u64::from(messages.received);
                counted.published += u64::from(messages.published);
                counted.refused += u64::from(messages.refused);
                if let Some(client) = self.clients.get_mut(&messages.client) {
                    client.received += u64::from(messages.received);
                    client.published += u64::from(messages.published);
                }
            }
            What::Tcp(client, tcp) => self.read(*client, *tcp),
            What::Fleet(_) => self.arrange(),
            What::Alert(alert) if alert.is_firing => {
                if let Some(rule) = self.rules.iter_mut().find(|rule| rule.name == alert.rule) {
                    rule.fired += 1;
                }
            }
            What::Worker { worker, event, detail } => {
                let of_worker = self.workers.entry(worker.0).or_default();
                match event {
                    WorkerEvent::Started | WorkerEvent::Restarted => {
                        of_worker.process = event.process(detail);
                    }
                    WorkerEvent::Silent => {}
                    WorkerEvent::Died => {
                        (of_worker.process, of_worker.deaths) = (None, of_worker.deaths + 1);
                    }
                }
            }
            _ => {}
        }
        let client = match &event.what {
            What::State(step) => Some(step.client),
            What::Sample(sample) => Some(sample.client),
            What::Late(late) => Some(late.client),
            _ => None,
        };
        if let (Some(client), Some(endpoint), 1..) = (client, at, lost) {
            self.at(client, endpoint).probes_lost += lost;
        }
    }

    fn step(&mut self, step: &Transition) {
        let reason = step.reason.name();
        match (step.from, step.to) {
            (State::Up, State::Up) => {} // what came between is folded, and not known
            (_, State::Up) => {
                self.at(step.client, step.endpoint).connects += 1;
                if let Some(client) = self.clients.get_mut(&step.client) {
                    client.connects += 1;
                }
            }
            (State::Up, _) => *self.at(step.client, step.endpoint).losses.entry(reason).or_default() += 1,
            (State::Connecting, to) if to != State::Connecting => {
                *self.at(step.client, step.endpoint).failures.entry(reason).or_default() += 1;
            }
            _ => {}
        }
        self.readings.remove(&step.client);
    }

    /// Adds what a connection carried since it was last read.
    fn read(&mut self, client: ClientKey, tcp: Tcp) {
        let before = self.readings.insert(client, tcp);
        // One that begins anew was not heard to end.
        let before =
            before.filter(|b| b.sent <= tcp.sent && b.received <= tcp.received && b.retransmits <= tcp.retransmits);
        let (sent, received, retransmits) = before.map_or((0, 0, 0), |b| (b.sent, b.received, b.retransmits));
        let counted = self.of(client);
        counted.sent_bytes += tcp.sent - sent;
        counted.received_bytes += tcp.received - received;
        counted.retransmits += u64::from(tcp.retransmits - retransmits);
    }

    /// How the clients of each place stand now. It is a pass over the fleet.
    pub fn standings(&self, now: Moment) -> BTreeMap<Place, Standing> {
        let mut standings: BTreeMap<Place, Standing> =
            self.places.keys().map(|place| (*place, Standing::default())).collect();
        for (key, row) in self.fleet().keys().map(|key| (key, self.row(key))) {
            let standing = standings.entry(self.place(key, row.endpoint)).or_default();
            standing.states[row.state as usize] += 1;
            standing.slow += u32::from(row.is_up() && row.is_slow());
            standing.late += u32::from(row.is_up() && row.is_silent());
            standing.wait = standing.wait.max(row.wait(now).unwrap_or_default());
        }
        standings
    }

    pub fn fleet(&self) -> &Arc<Fleet> {
        self.known.fleet()
    }

    /// The label's value at a place.
    pub fn name_of_value(&self, value: u16) -> &str {
        self.values.get(usize::from(value)).map_or("other", |value| value)
    }

    pub fn row(&self, client: ClientKey) -> &Row {
        self.known.row(client)
    }
}
