//! Defines what is known of a fleet (a row a client, totals, pulse, log), kept by applying events; what part of it is looked at is the view's matter.

use std::{sync::Arc, time::Duration};

use crate::{
    clock::Moment,
    event::{Condition, Event, Gate, Reason, Sample, State, Transition, What, WorkerEvent},
    fleet::{ClientKey, EndpointKey, Fleet, ProbeKind, Settings},
    model::{
        log::Log,
        trend::{Bucket, Trend},
    },
    text::Scrubbed,
};

/// One client as it is known.
#[derive(Clone, Debug)]
pub struct Row {
    pub state: State,
    /// Since when it is up, down, given up or off. A client that tries again is down all the while,
    /// whichever step of its try it is at.
    pub since: Moment,
    pub endpoint: EndpointKey,
    pub reason: Reason,
    pub detail: Scrubbed,
    pub attempt: u32,
    pub next_try: Option<Moment>,
    /// How often it came up again after the first time.
    pub reconnects: u32,
    /// The last answer: when, and how long it took.
    pub last: Option<(Moment, Duration)>,
    /// Messages that came.
    pub received: u64,
    /// Messages that it published, its probes left out.
    pub published: u64,
    /// Up, but its p99 is above its objective, or its probe has no answer.
    pub slow: bool,
    /// Whether its probe is answered, if it is up; as of the last [`Known::look`].
    pub is_silent: bool,
    ever_up: bool,
    trend: Trend,
}

impl Row {
    pub fn is_up(&self) -> bool {
        self.state == State::Up
    }

    /// Given up because the broker refused it.
    pub fn is_rejected(&self) -> bool {
        self.state == State::Failed && self.reason.is_brokers()
    }

    /// The newest `count` buckets of the latency trend, oldest first.
    pub fn trend(&self, now: Moment, count: usize) -> impl Iterator<Item = Bucket> + '_ {
        self.trend.buckets(now, self.is_up(), count)
    }

    pub fn trend_width(&self) -> Duration {
        self.trend.width()
    }

    pub fn p99(&self) -> Option<Duration> {
        self.trend.p99()
    }

    /// How long a client that is up has answered nothing.
    pub fn silence(&self, now: Moment) -> Duration {
        now.since(self.last.map_or(self.since, |(at, _)| at))
    }

    /// What of a client's life its state belongs to.
    fn phase(state: State) -> u8 {
        match state {
            State::Up => 0,
            State::Held | State::Queued | State::Connecting | State::Backoff => 1,
            State::Failed => 2,
            State::Off => 3,
        }
    }
}

/// How many clients are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    by_state: [u32; State::ALL.len()],
    /// Contained in the number of those that are up.
    pub slow: u32,
    /// Refused by the broker; contained in the number of those that failed.
    pub rejected: u32,
}

impl Totals {
    pub fn of(&self, state: State) -> u32 {
        self.by_state[state as usize]
    }

    pub fn all(&self) -> u32 {
        self.by_state.iter().sum()
    }

    fn add(&mut self, row: &Row) {
        self.by_state[row.state as usize] += 1;
        self.slow += u32::from(row.slow);
        self.rejected += u32::from(row.is_rejected());
    }

    fn remove(&mut self, row: &Row) {
        self.by_state[row.state as usize] -= 1;
        self.slow -= u32::from(row.slow);
        self.rejected -= u32::from(row.is_rejected());
    }
}

/// What happened in each of the last [`Pulse::LEN`] seconds, over the fleet.
#[derive(Clone, Debug)]
pub struct Pulse {
    second: u64,
    ups: [u32; Pulse::LEN],
    losses: [u32; Pulse::LEN],
}

impl Pulse {
    pub const LEN: usize = 60;

    fn new(now: Moment) -> Pulse {
        Pulse { second: now.0 / 1_000_000, ups: [0; Self::LEN], losses: [0; Self::LEN] }
    }

    fn advance(&mut self, now: Moment) -> usize {
        let second = now.0 / 1_000_000;
        let first = (self.second + 1).max((second + 1).saturating_sub(Self::LEN as u64));
        for s in first..=second {
            self.ups[(s % Self::LEN as u64) as usize] = 0;
            self.losses[(s % Self::LEN as u64) as usize] = 0;
        }
        self.second = self.second.max(second);
        (self.second % Self::LEN as u64) as usize
    }

    /// Connections gained in each of the last `count` whole seconds before `now`, oldest first.
    pub fn ups(&self, now: Moment, count: usize) -> impl Iterator<Item = u32> + '_ {
        self.series(&self.ups, now, count)
    }

    /// Connections lost, likewise.
    pub fn losses(&self, now: Moment, count: usize) -> impl Iterator<Item = u32> + '_ {
        self.series(&self.losses, now, count)
    }

    fn series<'a>(&'a self, ring: &'a [u32; Self::LEN], now: Moment, count: usize) -> impl Iterator<Item = u32> + 'a {
        let end = now.0 / 1_000_000;
        let count = count.min(Self::LEN - 1) as u64;
        (end.saturating_sub(count)..end).map(move |s| {
            let kept = s <= self.second && s + (Self::LEN as u64) > self.second;
            if kept { ring[(s % Self::LEN as u64) as usize] } else { 0 }
        })
    }
}

/// Percentiles over the last answer of every client that is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    pub p50: Duration,
    pub p99: Duration,
}

/// All that is known of a fleet.
#[derive(Clone, Debug)]
pub struct Known {
    fleet: Arc<Fleet>,
    rows: Vec<Row>,
    totals: Totals,
    /// The same for each endpoint, as of the last [`Known::look`].
    by_endpoint: Vec<Totals>,
    pulse: Pulse,
    log: Log,
    gates: Vec<Option<Gate>>,
    trouble: Option<Scrubbed>,
    samples_lost: u64,
    received: u64,
    published: u64,
    worker_deaths: u32,
    latency: Option<Latency>,
    /// Counts events, so that a reader can tell whether anything changed.
    changes: u64,
    /// Counts transitions among them.
    steps: u64,
}

impl Known {
    /// A fleet of which nothing has happened yet: every client is off.
    pub fn new(fleet: Arc<Fleet>, now: Moment) -> Known {
        let row = |client: &crate::fleet::Client| Row {
            state: State::Off,
            since: now,
            endpoint: client.endpoint(),
            reason: Reason::NotStarted,
            detail: Scrubbed::default(),
            attempt: 0,
            next_try: None,
            reconnects: 0,
            last: None,
            slow: false,
            is_silent: false,
            received: 0,
            published: 0,
            ever_up: false,
            trend: Trend::new(now, trend_width(&client.settings)),
        };
        let rows: Vec<Row> = fleet.clients.iter().map(row).collect();
        let mut totals = Totals::default();
        totals.by_state[State::Off as usize] = rows.len() as u32;
        Known {
            gates: vec![None; fleet.endpoints.len()],
            fleet,
            rows,
            totals,
            by_endpoint: Vec::new(),
            pulse: Pulse::new(now),
            log: Log::default(),
            trouble: None,
            samples_lost: 0,
            received: 0,
            published: 0,
            worker_deaths: 0,
            latency: None,
            changes: 0,
            steps: 0,
        }
    }

    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    pub fn row(&self, client: ClientKey) -> &Row {
        &self.rows[client.index()]
    }

    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// The same for some clients only. Costs a pass over them.
    pub fn totals_of(&self, clients: &[ClientKey]) -> Totals {
        let mut totals = Totals::default();
        clients.iter().for_each(|&client| totals.add(self.row(client)));
        totals
    }

    pub fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    pub fn log(&self) -> &Log {
        &self.log
    }

    /// How it stands with an endpoint, once anything was heard of it.
    pub fn gate(&self, endpoint: EndpointKey) -> Option<&Gate> {
        self.gates[endpoint.index()].as_ref()
    }

    /// What trouble the demo is making now.
    pub fn trouble(&self) -> Option<&Scrubbed> {
        self.trouble.as_ref()
    }

    /// Messages that all clients together received.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Messages that all clients together published, their probes left out.
    pub fn published(&self) -> u64 {
        self.published
    }

    pub fn samples_lost(&self) -> u64 {
        self.samples_lost
    }

    pub fn worker_deaths(&self) -> u32 {
        self.worker_deaths
    }

    /// How many events were applied.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// How many transitions were applied.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The fleet's latency as of the last [`Known::look`], where any client that is up answers.
    pub fn latency(&self) -> Option<Latency> {
        self.latency
    }

    /// How many clients of each endpoint are in each state, as of the last [`Known::look`].
    pub fn totals_by_endpoint(&self) -> &[Totals] {
        &self.by_endpoint
    }

    /// Looks at what only time changes (who does not answer any more, how fast the others do) and
    /// counts by endpoint. It is a pass over the fleet, for once a second.
    pub fn look(&mut self, now: Moment) {
        self.by_endpoint = vec![Totals::default(); self.fleet.endpoints.len()];
        for (row, client) in self.rows.iter_mut().zip(&self.fleet.clients) {
            if row.is_up() && client.settings.probe.kind != ProbeKind::Off {
                let patience = (row.trend.width() * 5 / 2).max(Duration::from_secs(2));
                let is_silent = row.silence(now) > patience;
                if is_silent != row.is_silent {
                    row.is_silent = is_silent;
                    self.changes += 1;
                    judge(row, client.settings.slow_p99, &mut self.totals);
                }
            }
            self.by_endpoint[row.endpoint.index()].add(row);
        }
        self.latency = self.measure();
    }

    fn measure(&self) -> Option<Latency> {
        let answering = self.rows.iter().filter(|r| r.is_up() && !r.is_silent);
        let mut rtts: Vec<Duration> = answering.filter_map(|r| r.last.map(|(_, rtt)| rtt)).collect();
        if rtts.is_empty() {
            return None;
        }
        // Nearest rank: the smallest value that at least this share does not exceed.
        let rank = |share: f64, n: usize| ((share * n as f64).ceil() as usize).clamp(1, n) - 1;
        let n = rtts.len();
        let (_, p99, _) = rtts.select_nth_unstable(rank(0.99, n));
        let p99 = *p99;
        let (_, p50, _) = rtts.select_nth_unstable(rank(0.50, n));
        Some(Latency { p50: *p50, p99 })
    }

    pub fn apply(&mut self, event: &Event) {
        self.changes += 1;
        match &event.what {
            What::State(step) => self.apply_step(event.at, step),
            What::Sample(sample) => self.apply_sample(event.at, sample),
            What::Worker { event: WorkerEvent::Died, .. } => self.worker_deaths += 1,
            What::Messages(messages) => {
                let row = &mut self.rows[messages.client.index()];
                row.received += u64::from(messages.received);
                row.published += u64::from(messages.published);
                self.received += u64::from(messages.received);
                self.published += u64::from(messages.published);
            }
            What::SamplesLost(count) => self.samples_lost += u64::from(*count),
            What::Trouble(text) => self.trouble = Some(text.clone()),
            What::Gate(endpoint, gate) => self.apply_gate(*endpoint, gate),
            What::Finding(..) | What::Connack(..) | What::Subscribed(..) | What::Shortfall(_) => {}
            What::Worker { .. } | What::Notice { .. } => {}
        }
        self.log.write(event);
    }

    fn apply_step(&mut self, at: Moment, step: &Transition) {
        self.steps += 1;
        let row = &mut self.rows[step.client.index()];
        let was_up = row.is_up();
        row.trend.advance(at, was_up);
        self.totals.remove(row);
        let second = self.pulse.advance(at);
        if was_up && step.to != State::Up {
            self.pulse.losses[second] += 1;
            row.trend.mark_down();
            row.slow = false;
            row.is_silent = false;
        }
        if step.to == State::Up && !was_up {
            self.pulse.ups[second] += 1;
            row.reconnects += u32::from(row.ever_up);
            row.ever_up = true;
            row.last = None;
        }
        if Row::phase(step.to) != Row::phase(row.state) {
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
        self.gates[endpoint.index()] = Some(gate.clone());
    }

    fn apply_sample(&mut self, at: Moment, sample: &Sample) {
        let row = &mut self.rows[sample.client.index()];
        if !row.is_up() {
            return; // overtaken by the news of the connection's end
        }
        row.trend.advance(at, true);
        row.trend.record(sample.rtt);
        row.last = Some((at, sample.rtt));
        row.is_silent = false;
        judge(row, self.fleet.client(sample.client).settings.slow_p99, &mut self.totals);
    }
}

/// Decides whether a client that is up counts as slow.
fn judge(row: &mut Row, objective: Option<Duration>, totals: &mut Totals) {
    let slow = row.is_silent || objective.is_some_and(|limit| row.trend.p99().is_some_and(|p99| p99 > limit));
    match (row.slow, slow) {
        (false, true) => totals.slow += 1,
        (true, false) => totals.slow -= 1,
        _ => {}
    }
    row.slow = slow;
}

/// One bucket holds about one probe.
fn trend_width(settings: &Settings) -> Duration {
    match settings.probe.kind {
        ProbeKind::Heartbeat => settings.probe.every.max(settings.keep_alive),
        ProbeKind::Ack | ProbeKind::Echo | ProbeKind::Off => settings.probe.every,
    }
}

#[cfg(test)]
mod tests {
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
