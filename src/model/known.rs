//! Defines what is known of a fleet (a row a client, totals, pulse, log), kept by applying events; what part of it is looked at is the view's matter.

use std::{sync::Arc, time::Duration};

use crate::{
    clock::Moment,
    event::{Event, Reason, Sample, State, Transition, What, WorkerEvent},
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
    /// When it came into this state.
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
    /// Up, but its p99 is above its objective.
    pub slow: bool,
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
    pulse: Pulse,
    log: Log,
    trouble: Option<Scrubbed>,
    samples_lost: u64,
    received: u64,
    published: u64,
    worker_deaths: u32,
    /// Counts events, so that a reader can tell whether anything changed.
    changes: u64,
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
            received: 0,
            published: 0,
            ever_up: false,
            trend: Trend::new(now, trend_width(&client.settings)),
        };
        let rows: Vec<Row> = fleet.clients.iter().map(row).collect();
        let mut totals = Totals::default();
        totals.by_state[State::Off as usize] = rows.len() as u32;
        Known {
            fleet,
            rows,
            totals,
            pulse: Pulse::new(now),
            log: Log::default(),
            trouble: None,
            samples_lost: 0,
            received: 0,
            published: 0,
            worker_deaths: 0,
            changes: 0,
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

    /// The fleet's latency, where any client that is up has answered. Costs a pass over the rows.
    pub fn latency(&self) -> Option<Latency> {
        let mut rtts: Vec<Duration> =
            self.rows.iter().filter(|r| r.is_up()).filter_map(|r| r.last.map(|(_, rtt)| rtt)).collect();
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
            What::Worker { .. } | What::Notice { .. } => {}
        }
        self.log.write(event);
    }

    fn apply_step(&mut self, at: Moment, step: &Transition) {
        let row = &mut self.rows[step.client.index()];
        let was_up = row.is_up();
        row.trend.advance(at, was_up);
        self.totals.remove(row);
        let second = self.pulse.advance(at);
        if was_up && step.to != State::Up {
            self.pulse.losses[second] += 1;
            row.trend.mark_down();
            row.slow = false;
        }
        if step.to == State::Up && !was_up {
            self.pulse.ups[second] += 1;
            row.reconnects += u32::from(row.ever_up);
            row.ever_up = true;
            row.last = None;
        }
        if step.to != row.state {
            row.since = at;
        }
        row.state = step.to;
        row.endpoint = step.endpoint;
        row.attempt = step.attempt;
        row.next_try = step.next_try.map(|d| at + d);
        // "connecting" explains nothing: while a client tries again, the row goes on saying why it has to.
        if !matches!(step.reason, Reason::Admitted | Reason::Retry) || row.reason == Reason::NotStarted {
            row.reason = step.reason;
            row.detail = step.detail.clone();
        }
        self.totals.add(row);
    }

    fn apply_sample(&mut self, at: Moment, sample: &Sample) {
        let row = &mut self.rows[sample.client.index()];
        if !row.is_up() {
            return; // overtaken by the news of the connection's end
        }
        row.trend.advance(at, true);
        row.trend.record(sample.rtt);
        row.last = Some((at, sample.rtt));
        let objective = self.fleet.client(sample.client).settings.slow_p99;
        let slow = objective.is_some_and(|limit| row.trend.p99().is_some_and(|p99| p99 > limit));
        match (row.slow, slow) {
            (false, true) => self.totals.slow += 1,
            (true, false) => self.totals.slow -= 1,
            _ => {}
        }
        row.slow = slow;
    }
}

/// One bucket holds about one probe.
fn trend_width(settings: &Settings) -> Duration {
    match settings.probe.kind {
        ProbeKind::Heartbeat => settings.probe.every.max(settings.keep_alive),
        ProbeKind::Ack | ProbeKind::Off => settings.probe.every,
    }
}
