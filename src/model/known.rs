//! Defines what is known of a fleet (rows, totals, pulse, log, endpoints), kept by applying events; what part of it is looked at is the view's matter.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    clock::Moment,
    event::{
        AlertKey, Badge, Condition, Connack, Event, Finding, Gate, JobId, Late, Level, Reason, Sample, Shortfall,
        State, Tcp, Transition, What, WorkerEvent,
    },
    fleet::{ClientKey, EndpointKey, Fleet, WorkerKey},
    model::{
        alerts::{self, AlertRow},
        connection::Connection,
        groups::Groups,
        histogram::{Histogram, Latency, corrected},
        insight::Insight,
        jobs::JobRow,
        latencies::Latencies,
        log::{Log, Subject},
        pulse::Pulse,
        row::{self, Row, Slow},
        totals::Totals,
        trend::Trend,
    },
    text::Scrubbed,
};

/// What is known of an endpoint.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct EndpointRow {
    pub(super) gate: Option<Gate>,
    pub(super) finding: Option<(Moment, Arc<Finding>)>,
    /// What its broker says when it accepts a client, the times left out; of the last client.
    pub(super) terms: Option<Arc<Connack>>,
    /// Since when it has answered hardly anybody who is connected to it.
    pub(super) silent: Option<Moment>,
}

/// All that is known of a fleet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Known {
    #[serde(skip, default = "Fleet::none")]
    pub(super) fleet: Arc<Fleet>,
    pub(super) rows: Vec<Row>,
    pub(super) totals: Totals,
    /// The same for each endpoint, as of the last [`Known::look`].
    pub(super) by_endpoint: Vec<Totals>,
    pub(super) pulse: Pulse,
    pub(super) log: Log,
    pub(super) endpoints: Vec<EndpointRow>,
    /// The subscriptions, of clients that are up, that are less than was asked for.
    pub(super) shortfalls: HashMap<ClientKey, Vec<Shortfall>>,
    pub(super) trouble: Option<Scrubbed>,
    /// The rules of which there is anything to tell: they fire, or are muted.
    pub(super) alerts: BTreeMap<AlertKey, AlertRow>,
    pub(super) jobs: BTreeMap<JobId, JobRow>,
    pub(super) recording: Option<bool>,
    pub(super) samples_lost: u64,
    /// Probes that were never answered.
    pub(super) probes_lost: u64,
    pub(super) received: u64,
    pub(super) published: u64,
    pub(super) worker_deaths: u32,
    pub(super) last_worker_death: Option<WorkerKey>,
    #[serde(skip)]
    pub(super) groups: Arc<Groups>,
    pub(super) latencies: Latencies,
    latency: Option<Latency>,
    lost: u64,
    insights: Vec<Insight>,
    /// Since when everybody is up who should be, and well.
    well: Option<Moment>,
    /// Counts events, so that a reader can tell whether anything changed.
    pub(super) changes: u64,
    /// Counts transitions among them.
    pub(super) steps: u64,
}

impl Known {
    /// A fleet of which nothing has happened yet: every client is off.
    pub fn new(fleet: Arc<Fleet>, now: Moment) -> Known {
        let rows: Vec<Row> = fleet.clients.iter().map(|client| Row::new(client, now)).collect();
        let totals = Totals::count(fleet.keys().map(|key| &rows[key.index()]));
        let groups = Groups::of(&fleet);
        Known {
            latencies: Latencies::new(&fleet, &groups, now),
            groups: Arc::new(groups),
            endpoints: vec![EndpointRow::default(); fleet.endpoints.len()],
            shortfalls: HashMap::new(),
            totals,
            fleet,
            rows,
            by_endpoint: Vec::new(),
            pulse: Pulse::new(now),
            log: Log::default(),
            trouble: None,
            alerts: BTreeMap::new(),
            jobs: BTreeMap::new(),
            recording: None,
            samples_lost: 0,
            probes_lost: 0,
            received: 0,
            published: 0,
            worker_deaths: 0,
            last_worker_death: None,
            latency: None,
            lost: 0,
            insights: Vec::new(),
            well: None,
            changes: 0,
            steps: 0,
        }
    }

    /// How far back rows draw what happened, for a fleet like this: whoever begins to apply events
    /// so long before a time sees the same rows then as who began earlier.
    pub fn memory(fleet: &Fleet) -> Duration {
        let longest = fleet.clients.iter().map(|client| row::interval(&client.settings)).max().unwrap_or_default();
        longest.max(Duration::from_secs(1)).saturating_mul(Trend::LEN as u32)
    }

    pub fn fleet(&self) -> &Arc<Fleet> {
        &self.fleet
    }

    /// Lets every client's record begin then, with how it stood.
    pub fn restart_records(&mut self, begin: Moment) {
        self.rows.iter_mut().for_each(|row| row.record.restart(begin));
    }

    /// What an answer of a client, or the wait for none, stands for, where no more counts than goes out in
    /// `most`: the round trips of probes that had to wait for it, too.
    pub fn corrected(
        &self,
        client: ClientKey,
        wait: Duration,
        most: Duration,
    ) -> impl Iterator<Item = Duration> + use<> {
        let interval = self.row(client).interval(&self.fleet.client(client).settings);
        corrected(wait, interval, (most.as_millis() / interval.as_millis().max(1)) as usize)
    }

    pub fn row(&self, client: ClientKey) -> &Row {
        &self.rows[client.index()]
    }

    /// All rows by key, also of clients that the fleet has no longer.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// The same for some clients only. Costs a pass over them.
    pub fn totals_of(&self, clients: &[ClientKey]) -> Totals {
        Totals::count(clients.iter().map(|&client| self.row(client)))
    }

    pub fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    pub fn log(&self) -> &Log {
        &self.log
    }

    /// How it stands with an endpoint, once anything was heard of it.
    pub fn gate(&self, endpoint: EndpointKey) -> Option<&Gate> {
        self.endpoints[endpoint.index()].gate.as_ref()
    }

    /// What the last probe of an endpoint found, and when.
    pub fn finding(&self, endpoint: EndpointKey) -> Option<(Moment, &Finding)> {
        self.endpoints[endpoint.index()].finding.as_ref().map(|(at, finding)| (*at, &**finding))
    }

    /// The subscriptions that the broker did not grant to a client as it asked, while it is up.
    pub fn shortfalls(&self, client: ClientKey) -> &[Shortfall] {
        self.shortfalls.get(&client).map_or(&[], Vec::as_slice)
    }

    /// What trouble the demo is making now.
    pub fn trouble(&self) -> Option<&Scrubbed> {
        self.trouble.as_ref()
    }

    /// The rules that fire, or are muted, by their names.
    pub fn alerts(&self) -> &BTreeMap<AlertKey, AlertRow> {
        &self.alerts
    }

    /// Whether the run is recorded; `Some(false)` where it was to be, and the disk failed.
    pub fn recording(&self) -> Option<bool> {
        self.recording
    }

    /// Messages that all clients together received.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Messages that all clients together published, their probes left out.
    pub fn published(&self) -> u64 {
        self.published
    }

    /// Probes that were never answered, since this is known.
    pub fn probes_lost(&self) -> u64 {
        self.probes_lost
    }

    pub fn samples_lost(&self) -> u64 {
        self.samples_lost
    }

    pub fn worker_deaths(&self) -> u32 {
        self.worker_deaths
    }

    pub fn last_worker_death(&self) -> Option<WorkerKey> {
        self.last_worker_death
    }

    /// What most of the unhealthy share, as of the last [`Known::look`]: at most two causes.
    pub fn insights(&self) -> &[Insight] {
        &self.insights
    }

    /// Since when everybody is up who should be, as of the last [`Known::look`]; `None` where somebody is not, or
    /// is not well.
    pub fn well(&self) -> Option<Moment> {
        self.well
    }

    /// How many events were applied.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// How many transitions were applied.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The fleet's latency over the last minute or so, as of the last [`Known::look`], where any
    /// client answered.
    pub fn latency(&self) -> Option<Latency> {
        self.latency
    }

    /// Probes that were found to be lost in that time.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// The fleet's round trips, by endpoint and by label too.
    pub fn latencies(&self) -> &Latencies {
        &self.latencies
    }

    /// The clients that share a label's value.
    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    /// How many clients of each endpoint are in each state, as of the last [`Known::look`].
    pub fn totals_by_endpoint(&self) -> &[Totals] {
        &self.by_endpoint
    }

    /// Looks at what only time changes (who is not answered any more, how fast the others are), counts
    /// by endpoint, and asks what the unhealthy have in common. It is a pass over the fleet, for once a second.
    pub fn look(&mut self, now: Moment) {
        self.by_endpoint = vec![Totals::default(); self.fleet.endpoints.len()];
        for (row, client) in self.rows.iter_mut().zip(&self.fleet.clients).filter(|(_, client)| !client.is_gone) {
            if row.is_aged(row.overdue(client, now)) {
                let slow = row.judge(client, now);
                turn(&mut self.totals, row, slow, now);
                self.changes += 1;
            }
            self.by_endpoint[row.endpoint.index()].add(row);
        }
        self.listen(now);
        let mut answers = self.latencies.fleet(now);
        answers.merge(&self.waits(self.fleet.keys(), now));
        self.latency = answers.latency();
        self.lost = self.latencies.lost(now);
        let ups = self.rows.iter().filter(|row| row.is_up()).map(|row| row.since);
        self.well = if self.totals.is_well() { ups.max() } else { None };
        self.insights = Insight::of(self);
    }

    /// How long those of the clients have waited by now whose probes have no answer, and what else would have
    /// been asked meanwhile.
    pub(super) fn waits(&self, clients: impl Iterator<Item = ClientKey>, now: Moment) -> Histogram {
        let mut waits = Histogram::default();
        for client in clients {
            if let Some(wait) = self.row(client).wait(now) {
                self.corrected(client, wait, self.latencies.span(now)).for_each(|wait| waits.record(wait));
            }
        }
        waits
    }

    /// Notes where an endpoint falls silent: it has not answered at least half of those who are connected to it.
    fn listen(&mut self, now: Moment) {
        for (n, totals) in self.by_endpoint.iter().enumerate() {
            let (mute, up) = (totals.wearing(Badge::Mute), totals.of(State::Up));
            let key = EndpointKey(n as u16);
            match self.endpoints[n].silent {
                None if mute > 0 && mute * 2 >= up => {
                    let waits = self.rows.iter().filter(|row| row.endpoint == key).filter_map(|row| row.wait(now));
                    let wait = waits.max().unwrap_or_default();
                    self.endpoints[n].silent = Some(now - wait);
                    self.log.tell(now, Level::Warning, Subject::Silence { endpoint: key, clients: mute, wait });
                }
                Some(since) if mute * 2 < up => {
                    self.endpoints[n].silent = None;
                    let subject = Subject::Answers { endpoint: key, after: now.since(since) };
                    self.log.tell(now, Level::Info, subject);
                }
                // Those connections have ended, which is told by itself.
                Some(_) if up == 0 => self.endpoints[n].silent = None,
                _ => {}
            }
        }
    }

    pub fn apply(&mut self, event: &Event) {
        match &event.what {
            What::Second(_) => return self.look(event.at),
            What::Recording(is_on) => return self.recording = Some(*is_on),
            _ => self.changes += 1,
        }
        // Of those that are gone the log tells what was on its way.
        if event.what.client().is_some_and(|client| !self.fleet.has(client)) {
            return self.log.write(event);
        }
        match &event.what {
            What::State(step) => self.apply_step(event.at, step),
            What::Standing(standing) => self.apply_standing(event.at, standing),
            What::FleetStanding(standing) => self.apply_fleet_standing(standing),
            What::Sample(sample) => self.apply_sample(event.at, sample),
            What::Worker { worker, event: WorkerEvent::Died, .. } => {
                self.worker_deaths = self.worker_deaths.saturating_add(1);
                self.last_worker_death = Some(*worker);
            }
            What::Messages(messages) => {
                let row = &mut self.rows[messages.client.index()];
                row.received = row.received.saturating_add(messages.received.into());
                let refused = u64::from(messages.refused);
                let accepted = |count: u64| count.saturating_add(messages.published.into()).saturating_sub(refused);
                (row.published, row.refused) = (accepted(row.published), row.refused.saturating_add(refused));
                self.received = self.received.saturating_add(messages.received.into());
                self.published = accepted(self.published);
            }
            What::SamplesLost(count) => self.samples_lost = self.samples_lost.saturating_add(u64::from(*count)),
            What::Trouble(text) => self.trouble = Some(text.clone()),
            What::Alert(alert) => alerts::apply(&mut self.alerts, event.at, alert),
            What::Handling(handling) => alerts::handle(&mut self.alerts, event.at, handling),
            What::Job(news) => self.apply_job(news),
            What::Gate(endpoint, gate) => self.apply_gate(*endpoint, gate),
            What::Finding(endpoint, finding) => {
                self.endpoints[endpoint.index()].finding = Some((event.at, finding.clone()));
            }
            What::Connack(client, connack) => self.on_connection(event.at, *client, |connection, usual| {
                connection.accept(connack, usual);
            }),
            What::Subscribed(client, took) => self.on_connection(event.at, *client, |connection, _| {
                connection.subscribed = Some(*took);
            }),
            What::Shortfall(shortfall) => self.apply_shortfall(event.at, shortfall),
            What::Measured(measured) => {
                let settings = &self.fleet.client(measured.client).settings;
                self.rows[measured.client.index()].measure(measured.by, settings, event.at);
                self.judge(event.at, measured.client);
            }
            What::Late(late) => self.apply_late(event.at, late),
            What::Tcp(client, tcp) => self.apply_tcp(event.at, *client, *tcp),
            What::Fleet(fleet) => self.apply_fleet(event.at, fleet),
            What::Worker { .. } | What::Notice { .. } | What::Order(..) | What::Second(_) | What::Recording(_) => {}
        }
        self.log.write(event);
    }

    fn apply_step(&mut self, at: Moment, step: &Transition) {
        self.steps += 1;
        let row = &mut self.rows[step.client.index()];
        let was_up = row.is_up();
        row.trend.advance(at, was_up);
        self.totals.remove(row);
        row.record.step(at, step.to, step.reason, row.is_slow());
        if was_up {
            let wait = row.wait(at);
            if row.settle(at, None) {
                self.probes_lost += 1;
                self.latencies.lose(at);
            }
            if let Some(wait) = wait {
                // Nobody ever answered: its user waited so long for nothing.
                let interval = row.interval(&self.fleet.client(step.client).settings);
                let groups = self.groups.of_client(step.client);
                self.latencies.record(at, row.endpoint.index(), groups, wait, interval);
            }
            row.disconnect();
            if row.connection.is_short {
                row.connection.is_short = false;
                self.shortfalls.remove(&step.client);
            }
        }
        if was_up && step.to != State::Up {
            self.pulse.lose(at);
            row.trend.mark_down();
        }
        if matches!(step.to, State::Connecting | State::Up) {
            row.connection = Connection::default();
        }
        if step.to == State::Up && !was_up {
            self.pulse.gain(at);
            row.reconnects = row.reconnects.saturating_add(row.ever_up.into());
            row.ever_up = true;
            row.last = None;
        }
        // From up to up is what is left of a connection that was lost and came back unheard.
        if Row::phase(step.to) != Row::phase(row.state) || step.to == State::Up {
            row.since = at;
        }
        row.state = step.to;
        row.endpoint = step.endpoint;
        row.attempt = step.attempt;
        row.next_try = step.next_try.map(|d| at + d);
        // "connecting" explains nothing: while a client tries again, the row goes on saying why it has to.
        if !matches!(step.reason, Reason::Admitted | Reason::Retry | Reason::EndpointOpen)
            || row.reason == Reason::NotStarted
        {
            row.reason = step.reason;
            row.detail = step.detail.clone();
        }
        self.totals.add(row);
    }

    /// A shut endpoint tells once for all of its clients when it is asked next, and why it is shut.
    fn apply_gate(&mut self, endpoint: EndpointKey, gate: &Gate) {
        if let Condition::Shut { cause, next_probe } = &gate.condition {
            let held = |row: &&mut Row| row.endpoint == endpoint && row.state == State::Held && row.reason.is_network();
            for row in self.rows.iter_mut().filter(held) {
                row.next_try = *next_probe;
                if row.reason == cause.reason {
                    row.detail.clone_from(&cause.detail);
                }
            }
        }
        self.endpoints[endpoint.index()].gate = Some(gate.clone());
    }

    fn apply_sample(&mut self, at: Moment, sample: &Sample) {
        let row = &mut self.rows[sample.client.index()];
        if !row.is_up() {
            return; // overtaken by the news of the connection's end
        }
        let client = self.fleet.client(sample.client);
        if row.settle(at, Some(sample)) {
            self.probes_lost += 1;
            self.latencies.lose(at);
        }
        let interval = row.answer(client, at, sample.rtt);
        let groups = self.groups.of_client(sample.client);
        self.latencies.record(at, row.endpoint.index(), groups, sample.rtt, interval);
        self.judge(at, sample.client);
    }

    fn apply_late(&mut self, at: Moment, late: &Late) {
        if self.rows[late.client.index()].lag(at, late) {
            self.probes_lost += 1;
            self.latencies.lose(at);
        }
        self.judge(at, late.client);
    }

    fn apply_tcp(&mut self, at: Moment, client: ClientKey, tcp: Tcp) {
        let row = &mut self.rows[client.index()];
        if row.is_up() {
            row.read(at, tcp);
            self.judge(at, client);
        }
    }

    /// Changes what is kept of a connection; `usual` is what its endpoint's broker says to others.
    fn on_connection(
        &mut self,
        at: Moment,
        client: ClientKey,
        change: impl FnOnce(&mut Connection, &mut Option<Arc<Connack>>),
    ) {
        let row = &mut self.rows[client.index()];
        if row.is_up() {
            change(&mut row.connection, &mut self.endpoints[row.endpoint.index()].terms);
            self.judge(at, client);
        }
    }

    fn apply_shortfall(&mut self, at: Moment, shortfall: &Shortfall) {
        let row = &mut self.rows[shortfall.client.index()];
        if row.is_up() {
            row.connection.is_short = true;
            self.shortfalls.entry(shortfall.client).or_default().push(shortfall.clone());
            self.judge(at, shortfall.client);
        }
    }

    /// Decides whether a client that is up counts as slow.
    pub(super) fn judge(&mut self, now: Moment, client: ClientKey) {
        let row = &mut self.rows[client.index()];
        let slow = row.judge(self.fleet.client(client), now);
        if slow != row.slow {
            turn(&mut self.totals, row, slow, now);
        }
    }
}

/// Makes a client slow for another reason, for one at all, or for none.
fn turn(totals: &mut Totals, row: &mut Row, slow: Option<Slow>, now: Moment) {
    totals.remove(row);
    if slow.is_some() != row.is_slow() {
        row.slow_since = now;
        row.record.turn(now, slow.is_some());
    }
    row.slow = slow;
    totals.add(row);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        event::Cause,
        fleet::{Client, Endpoint},
    };

    #[test]
    fn a_shut_endpoint_tells_its_held_clients_alone_when_it_is_asked_next() {
        let client = |n: u16| Client::new(&format!("c{n}"), EndpointKey(n / 2), Arc::default());
        let endpoint = |name| Endpoint::new(name, "127.0.0.1", 1883);
        let fleet = Fleet {
            name: Scrubbed::new("f"),
            env: None,
            worker_size: 500,
            endpoints: vec![endpoint("eu-1"), endpoint("eu-2")],
            clients: (0..4).map(client).collect(),
        };
        let mut known = Known::new(Arc::new(fleet), Moment(0));
        for (n, to) in [State::Held, State::Up, State::Held, State::Up].into_iter().enumerate() {
            let step = Transition {
                client: ClientKey(n as u32),
                endpoint: EndpointKey(n as u16 / 2),
                from: State::Off,
                to,
                reason: if to == State::Held { Reason::ConnectionRefused } else { Reason::Connected },
                detail: Scrubbed::default(),
                attempt: 0,
                next_try: None,
            };
            known.apply(&Event { at: Moment(1), what: What::State(step) });
        }
        let next_probe = Some(Moment(9_000_000));
        let cause = Cause { reason: Reason::ConnectionRefused, detail: Scrubbed::new("by 127.0.0.1") };
        let gate = Gate {
            condition: Condition::Shut { cause, next_probe },
            waiting: 0,
            in_flight: 0,
            rate_set: 100,
            rate: 100,
            eta: Duration::ZERO,
        };
        known.apply(&Event { at: Moment(2), what: What::Gate(EndpointKey(0), gate.clone()) });
        let next: Vec<_> = known.rows().iter().map(|row| row.next_try).collect();
        assert_eq!(next, [next_probe, None, None, None]);
        assert_eq!(known.rows()[0].detail.as_str(), "by 127.0.0.1");
        assert_eq!((known.gate(EndpointKey(0)), known.gate(EndpointKey(1))), (Some(&gate), None));
    }
}
