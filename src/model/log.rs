//! Defines the event log: recent events in words' raw form, with bursts of like ones folded into one entry; wording and colouring are the UI's.

use std::{collections::VecDeque, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    clock::Moment,
    event::{
        Alert, Event, Handled, Handling, Job, JobState, Level, Order, Reason, RecoveryStage, Severity, Shortfall,
        State, Transition, What, WorkerEvent,
    },
    fleet::{ClientKey, EndpointKey, Places, WorkerKey},
    text::Scrubbed,
};

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When it began.
    pub at: Moment,
    pub level: Level,
    pub subject: Subject,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Subject {
    /// `count` clients of one endpoint took the same step within a second; the first and the last of them.
    Clients {
        first: ClientKey,
        last: ClientKey,
        count: u32,
        endpoint: EndpointKey,
        from: State,
        to: State,
        reason: Reason,
        detail: Scrubbed,
        /// The first one's next try.
        next_try: Option<Duration>,
    },
    Worker {
        worker: WorkerKey,
        event: WorkerEvent,
        detail: Scrubbed,
    },
    /// A subscription was not granted as asked for, and within a second so were others; the first of them.
    Shortfall {
        first: Shortfall,
        count: u32,
    },
    /// An endpoint has not answered these clients for so long, the longest of them.
    Silence {
        endpoint: EndpointKey,
        clients: u32,
        wait: Duration,
    },
    /// It answers again, after so long a silence.
    Answers {
        endpoint: EndpointKey,
        after: Duration,
    },
    Notice(Scrubbed),
    /// A rule's alert fires, or is over.
    Alert(Box<Alert>),
    /// Something is done about an alert.
    Handling(Box<Handling>),
    /// The operator's, about an endpoint.
    Order(EndpointKey, Order),
    /// A job as it was then.
    Job(Job),
}

impl Entry {
    /// It in the log of several agents.
    fn moved(self, places: &Places) -> Entry {
        let subject = match self.subject {
            Subject::Clients { first, last, count, endpoint, from, to, reason, detail, next_try } => {
                let (first, last) = (places.client(first), places.client(last));
                let endpoint = places.endpoint(endpoint);
                Subject::Clients { first, last, count, endpoint, from, to, reason, detail, next_try }
            }
            Subject::Worker { worker, event, detail } => {
                Subject::Worker { worker: places.worker(worker), event, detail }
            }
            Subject::Shortfall { first, count } => {
                let client = places.client(first.client);
                Subject::Shortfall { first: Shortfall { client, ..first }, count }
            }
            Subject::Silence { endpoint, clients, wait } => {
                Subject::Silence { endpoint: places.endpoint(endpoint), clients, wait }
            }
            Subject::Answers { endpoint, after } => Subject::Answers { endpoint: places.endpoint(endpoint), after },
            Subject::Notice(text) => Subject::Notice(Scrubbed::new(&places.told(&text))),
            Subject::Order(endpoint, order) => Subject::Order(places.endpoint(endpoint), order),
            Subject::Alert(alert) => Subject::Alert(Box::new(alert.moved(places))),
            Subject::Handling(handling) => Subject::Handling(Box::new(handling.moved(places))),
            Subject::Job(job) => Subject::Job(job.moved(places)),
        };
        Entry { at: self.at.moved(places.later), level: self.level, subject }
    }
}

/// The log and the recent transitions of single clients, both bounded.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Log {
    entries: VecDeque<Entry>,
    history: VecDeque<(Moment, Transition)>,
    /// How many entries were ever written.
    written: u64,
}

impl Log {
    /// The most entries kept.
    pub const ENTRIES: usize = 1_000;
    /// The most transitions kept for the detail view, over all clients.
    pub const HISTORY: usize = 8_192;
    /// Like steps that begin within this time are one entry.
    const BURST: Duration = Duration::from_secs(1);
    /// How many entries back a burst is looked for: several bursts may run at once.
    const BURST_DEPTH: usize = 16;

    /// Entries, newest first.
    pub fn newest(&self) -> impl ExactSizeIterator<Item = &Entry> + DoubleEndedIterator {
        self.entries.iter().rev()
    }

    /// Whether it is only about clients and endpoints that a fleet of so many has.
    pub(super) fn fits(&self, clients: usize, endpoints: usize) -> bool {
        let client = |key: &ClientKey| key.index() < clients;
        let endpoint = |key: &EndpointKey| key.index() < endpoints;
        let is_known = |entry: &Entry| match &entry.subject {
            Subject::Clients { first, last, endpoint: at, .. } => client(first) && client(last) && endpoint(at),
            Subject::Shortfall { first, .. } => client(&first.client),
            Subject::Silence { endpoint: at, .. } | Subject::Answers { endpoint: at, .. } => endpoint(at),
            Subject::Order(at, _) => endpoint(at),
            Subject::Alert(alert) => alert.fits(clients),
            Subject::Worker { .. } | Subject::Notice(_) | Subject::Handling(_) | Subject::Job(_) => true,
        };
        self.entries.iter().all(is_known)
            && self.history.iter().all(|(_, step)| client(&step.client) && endpoint(&step.endpoint))
    }

    /// Adds what one agent of several has told since `begin`, in the order of time. Returns how many workers died by it.
    pub(super) fn add(&mut self, other: Log, places: &Places, begin: Moment) -> u32 {
        let died = |entry: &Entry| matches!(entry.subject, Subject::Worker { event: WorkerEvent::Died, .. });
        let entries: Vec<Entry> = other.entries.into_iter().map(|entry| entry.moved(places)).collect();
        let entries = entries.into_iter().filter(|entry| entry.at >= begin);
        let before = self.entries.len();
        self.entries.extend(entries);
        let added = self.entries.len() - before;
        let deaths = self.entries.iter().skip(before).filter(|entry| died(entry)).count();
        self.written += added as u64;
        self.entries.make_contiguous().sort_by_key(|entry| entry.at);
        self.entries.drain(..self.entries.len().saturating_sub(Self::ENTRIES));

        let history = other.history.into_iter().map(|(at, step)| {
            let (client, endpoint) = (places.client(step.client), places.endpoint(step.endpoint));
            (at.moved(places.later), Transition { client, endpoint, ..step })
        });
        self.history.extend(history.filter(|(at, _)| *at >= begin));
        self.history.make_contiguous().sort_by_key(|(at, _)| *at);
        self.history.drain(..self.history.len().saturating_sub(Self::HISTORY));
        deaths as u32
    }

    pub fn written(&self) -> u64 {
        self.written
    }

    /// Entries with their numbers, oldest first: an entry keeps its number, until older ones are [`Log::add`]ed.
    pub fn numbered(&self) -> impl DoubleEndedIterator<Item = (u64, &Entry)> + ExactSizeIterator {
        let first = self.written.saturating_sub(self.entries.len() as u64);
        self.entries.iter().enumerate().map(move |(n, entry)| (first + n as u64, entry))
    }

    /// The entry of this number, while it is kept.
    pub fn entry(&self, number: u64) -> Option<&Entry> {
        let first = self.written.saturating_sub(self.entries.len() as u64);
        self.entries.get(usize::try_from(number.checked_sub(first)?).ok()?)
    }

    /// The number of an entry as it is by now.
    pub(super) fn number_of(&self, entry: &Entry) -> Option<u64> {
        self.numbered().rev().find(|(_, kept)| *kept == entry).map(|(number, _)| number)
    }

    /// The clients of which an entry tells, as far as their steps are still kept.
    pub(super) fn clients(&self, entry: &Entry) -> Vec<ClientKey> {
        let Subject::Clients { first, last, endpoint, from, to, reason, .. } = &entry.subject else {
            return Vec::new();
        };
        let is_it = |at: Moment, step: &Transition| {
            at >= entry.at
                && at.since(entry.at) < Self::BURST
                && (step.endpoint, step.from, step.to, step.reason) == (*endpoint, *from, *to, *reason)
        };
        let steps = self.history.iter().filter(|(at, step)| is_it(*at, step)).map(|(_, step)| step.client);
        let mut clients: Vec<ClientKey> = steps.chain([*first, *last]).collect();
        clients.sort_unstable();
        clients.dedup();
        clients
    }

    /// The recent transitions of one client, newest first.
    pub fn of_client(&self, client: ClientKey) -> impl Iterator<Item = &(Moment, Transition)> {
        self.history.iter().rev().filter(move |(_, t)| t.client == client)
    }

    /// How grave an event is of which the log tells, in an entry of its own or in one with others;
    /// `None` for what it leaves out.
    pub fn level(what: &What) -> Option<Level> {
        match what {
            What::State(step) => worth(step),
            What::Worker { event, .. } => match event {
                WorkerEvent::Started => None, // nothing an operator has to know
                WorkerEvent::Restarted => Some(Level::Info),
                WorkerEvent::Silent | WorkerEvent::Died => Some(Level::Warning),
            },
            What::Notice { level, .. } => Some(*level),
            What::Trouble(_) => Some(Level::Info),
            What::Alert(alert) => Some(alert_level(alert)),
            What::Handling(handling) => Some(handling_level(&handling.what)),
            What::Job(news) if news.is_turn => Some(job_level(&news.job)),
            What::Order(_, Order::Hold) => Some(Level::Warning),
            What::Order(..) => Some(Level::Info),
            What::Shortfall(_) => Some(Level::Warning),
            What::Job(_)
            | What::Sample(_)
            | What::Second(_)
            | What::Recording(_)
            | What::Fleet(_)
            | What::Late(_)
            | What::Tcp(..)
            | What::SamplesLost(_)
            | What::Gate(..)
            | What::Messages(_)
            | What::Standing(_)
            | What::FleetStanding(_)
            | What::Finding(..)
            | What::Connack(..)
            | What::Measured(_)
            | What::Subscribed(..) => None,
        }
    }

    pub(super) fn write(&mut self, event: &Event) {
        if let What::State(step) = &event.what {
            if self.history.len() == Self::HISTORY {
                self.history.pop_front();
            }
            self.history.push_back((event.at, step.clone()));
        }
        let Some(level) = Log::level(&event.what) else { return };
        let subject = match &event.what {
            What::State(step) => return self.write_step(event.at, level, step),
            What::Shortfall(shortfall) => return self.write_shortfall(event.at, level, shortfall),
            What::Worker { worker, event, detail } => {
                Subject::Worker { worker: *worker, event: *event, detail: detail.clone() }
            }
            What::Order(endpoint, order) => Subject::Order(*endpoint, *order),
            What::Notice { text, .. } | What::Trouble(text) => Subject::Notice(text.clone()),
            What::Alert(alert) => Subject::Alert(alert.clone()),
            What::Handling(handling) => Subject::Handling(handling.clone()),
            What::Job(news) => Subject::Job(news.job),
            _ => return,
        };
        self.push(Entry { at: event.at, level, subject });
    }

    fn write_step(&mut self, at: Moment, level: Level, step: &Transition) {
        let burst = self.entries.iter_mut().rev().take(Self::BURST_DEPTH).find(|e| {
            at.since(e.at) < Self::BURST
                && matches!(&e.subject, Subject::Clients { endpoint, from, to, reason, .. }
                    if (*endpoint, *from, *to, *reason) == (step.endpoint, step.from, step.to, step.reason))
        });
        if let Some(Entry { subject: Subject::Clients { last, count, .. }, .. }) = burst {
            *count += 1;
            *last = step.client;
            return;
        }
        self.push(Entry {
            at,
            level,
            subject: Subject::Clients {
                first: step.client,
                last: step.client,
                count: 1,
                endpoint: step.endpoint,
                from: step.from,
                to: step.to,
                reason: step.reason,
                detail: step.detail.clone(),
                next_try: step.next_try,
            },
        });
    }

    fn write_shortfall(&mut self, at: Moment, level: Level, shortfall: &Shortfall) {
        let known = self.entries.iter_mut().rev().take(Self::BURST_DEPTH).find(|e| {
            at.since(e.at) < Self::BURST
                && matches!(&e.subject, Subject::Shortfall { first, .. }
                    if (first.request, first.asked, first.granted, &first.detail)
                        == (shortfall.request, shortfall.asked, shortfall.granted, &shortfall.detail))
        });
        if let Some(Entry { subject: Subject::Shortfall { count, .. }, .. }) = known {
            *count += 1;
            return;
        }
        let subject = Subject::Shortfall { first: shortfall.clone(), count: 1 };
        self.push(Entry { at, level, subject });
    }

    /// Writes what no single event tells.
    pub(super) fn tell(&mut self, at: Moment, level: Level, subject: Subject) {
        self.push(Entry { at, level, subject });
    }

    fn push(&mut self, entry: Entry) {
        if self.entries.len() == Self::ENTRIES {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
        self.written += 1;
    }
}

/// How grave it is that an alert fires, or is over.
fn alert_level(alert: &Alert) -> Level {
    match (alert.is_firing, alert.severity) {
        (false, _) | (true, Severity::Info) => Level::Info,
        (true, Severity::Warning) => Level::Warning,
        (true, Severity::Critical) => Level::Error,
    }
}

fn handling_level(what: &Handled) -> Level {
    match what {
        Handled::Recovery(recovery) => match recovery.stage {
            RecoveryStage::Started | RecoveryStage::Done => Level::Info,
            RecoveryStage::Waiting => Level::Warning,
            RecoveryStage::Failed => Level::Error,
        },
        Handled::Told { .. } | Handled::Muted { .. } | Handled::Acknowledged { .. } => Level::Info,
    }
}

/// How grave it is that a job is as it is now.
fn job_level(job: &Job) -> Level {
    match job.state {
        JobState::Stopped => Level::Error,
        _ if job.state.is_over() && job.failed > 0 => Level::Warning,
        _ => Level::Info,
    }
}

/// The steps that belong into the log, and how grave they are: outcomes, not the way to them.
fn worth(step: &Transition) -> Option<Level> {
    match step.to {
        State::Up if step.reason == Reason::SessionLost => Some(Level::Warning),
        State::Up => Some(Level::Info),
        State::Off if step.reason == Reason::NotStarted => None,
        State::Off => Some(Level::Info),
        State::Backoff => Some(Level::Warning),
        State::Held if step.from != State::Off && step.reason != Reason::EndpointUnknown => Some(Level::Warning),
        State::Failed => Some(Level::Error),
        State::Queued => match step.reason {
            Reason::OperatorReconnect | Reason::Failback | Reason::ProtocolFallback => Some(Level::Info),
            Reason::Failover | Reason::Redirected => Some(Level::Warning),
            _ => None,
        },
        State::Held | State::Connecting => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(client: u32, endpoint: u16, to: State, reason: Reason) -> What {
        What::State(Transition {
            client: ClientKey(client),
            endpoint: EndpointKey(endpoint),
            from: State::Connecting,
            to,
            reason,
            detail: Scrubbed::default(),
            attempt: 1,
            next_try: None,
        })
    }

    #[test]
    fn a_burst_is_one_entry_and_two_endpoints_are_two() {
        let mut log = Log::default();
        for i in 0..1_000u32 {
            let what = step(i, (i % 2) as u16, State::Up, Reason::Connected);
            log.write(&Event { at: Moment(u64::from(i) * 500), what });
        }
        let counts: Vec<u32> = log
            .newest()
            .map(|e| match &e.subject {
                Subject::Clients { count, .. } => *count,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(counts, [500, 500]);
        assert_eq!(log.of_client(ClientKey(7)).count(), 1);
    }

    #[test]
    fn the_log_is_bounded() {
        let mut log = Log::default();
        for i in 0..3_000u64 {
            let what = What::Notice { level: Level::Info, text: Scrubbed::new(&format!("n{i}")) };
            log.write(&Event { at: Moment(i), what });
        }
        assert_eq!(log.newest().len(), Log::ENTRIES);
        assert_eq!(log.written(), 3_000);
        assert_eq!(log.newest().next().unwrap().subject, Subject::Notice(Scrubbed::new("n2999")));
    }
}
