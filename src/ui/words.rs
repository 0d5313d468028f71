//! Defines the sentences in which events are told, to the log pane and to lines of plain text alike; it knows nothing of screens or colours.

use std::time::Duration;

use crate::{
    event::{Reason, State, Transition, WorkerEvent},
    fleet::{EndpointKey, Fleet, WorkerKey},
    model::{Entry, Subject},
    text::Scrubbed,
    ui::figures,
};

/// One line of the log as a sentence: `1,000 clients connected to eu-1 (press-0001 … press-1000)`.
pub fn entry(fleet: &Fleet, entry: &Entry) -> String {
    match &entry.subject {
        Subject::Clients { first, last, count, endpoint, from, to, reason, detail, next_try } => {
            let first = &fleet.client(*first).name;
            let step =
                Step { endpoint: *endpoint, from: *from, to: *to, reason: *reason, detail, next_try: *next_try };
            match count {
                1 => step.sentence(fleet, first, 1),
                _ => {
                    let range = format!(" ({first} … {})", fleet.client(*last).name);
                    step.sentence(fleet, &figures::clients(*count), *count).replacen(RANGE, &range, 1)
                }
            }
            .replacen(RANGE, "", 1)
        }
        Subject::Worker { worker, event, detail } => self::worker(*worker, *event, detail),
        Subject::Notice(text) => text.to_string(),
    }
}

/// A client's step as a sentence: `press-0002 lost its connection to eu-1: keep alive; retry in 0.8 s`.
pub fn transition(fleet: &Fleet, step: &Transition) -> String {
    let name = &fleet.client(step.client).name;
    let Transition { endpoint, from, to, reason, detail, next_try, .. } = step;
    Step { endpoint: *endpoint, from: *from, to: *to, reason: *reason, detail, next_try: *next_try }
        .sentence(fleet, name, 1)
        .replacen(RANGE, "", 1)
}

/// What happened to a worker: `worker 3 died: killed by signal 9; its clients wait`.
pub fn worker(worker: WorkerKey, event: WorkerEvent, detail: &Scrubbed) -> String {
    let why = if detail.is_empty() { String::new() } else { format!(": {detail}") };
    let n = worker.0;
    match event {
        WorkerEvent::Started => format!("worker {n} started{why}"),
        WorkerEvent::Died => format!("worker {n} died{why}; its clients wait"),
        WorkerEvent::Restarted => format!("worker {n} is back{why}"),
        WorkerEvent::Failed => format!("worker {n} cannot be started{why}; its clients stay down"),
    }
}

/// A reason in words, with the other side's own words where it gave any.
pub fn reason(reason: Reason, detail: &str) -> String {
    if detail.is_empty() || detail == reason.words() {
        reason.words().to_owned()
    } else {
        format!("{}: {detail}", reason.words())
    }
}

/// Where a sentence about many clients names the first and the last. No scrubbed text contains it.
const RANGE: &str = "\u{1}";

/// What a single transition and a burst of them have in common.
struct Step<'a> {
    endpoint: EndpointKey,
    from: State,
    to: State,
    reason: Reason,
    detail: &'a Scrubbed,
    next_try: Option<Duration>,
}

impl Step<'_> {
    /// Tells the step of `who`, which are `count` clients.
    fn sentence(&self, fleet: &Fleet, who: &str, count: u32) -> String {
        let many = count > 1;
        let endpoint = &fleet.endpoint(self.endpoint).name;
        let why = reason(self.reason, self.detail);
        let is = if many { "are" } else { "is" };
        match self.to {
            State::Up => format!("{who} connected to {endpoint}{RANGE}"),
            State::Connecting => format!("{who} {is} connecting to {endpoint}{RANGE}"),
            State::Queued if self.reason == Reason::OperatorReconnect => {
                format!("{who} {} asked to reconnect{RANGE}", if many { "were" } else { "was" })
            }
            State::Queued => format!("{who} {is} waiting for a turn to connect to {endpoint}{RANGE}"),
            State::Held => {
                let whose = if many { "their worker" } else { "its worker" };
                format!("{who} {is} waiting for {whose}{RANGE}: {why}")
            }
            State::Off if self.reason == Reason::OperatorDisconnect => {
                format!("{who} {} disconnected by operator{RANGE}", if many { "were" } else { "was" })
            }
            State::Off => format!("{who} {is} off{RANGE}: {why}"),
            State::Backoff => {
                let retry = match self.next_try {
                    Some(wait) if many => format!("; first retry in {}", figures::wait(wait)),
                    Some(wait) => format!("; retry in {}", figures::wait(wait)),
                    None => String::new(),
                };
                format!("{}{retry}", self.failure(endpoint, who, many, &why))
            }
            State::Failed => {
                let end = if self.reason == Reason::RetriesExhausted { "" } else { "; not tried again" };
                format!("{}{end}", self.failure(endpoint, who, many, &why))
            }
        }
    }

    fn failure(&self, endpoint: &str, who: &str, many: bool, why: &str) -> String {
        if self.reason == Reason::RetriesExhausted {
            return format!("{who} {} given up{RANGE}: {why}", if many { "were" } else { "was" });
        }
        let was_up = self.from == State::Up;
        if self.reason.is_brokers() && was_up {
            return format!("broker disconnected {who}{RANGE}: {why}");
        }
        if self.reason.is_brokers() {
            return format!("broker refused {who}{RANGE}: {why}");
        }
        if was_up {
            let whose = if many { "their" } else { "its" };
            // "lost its connection: connection lost" says one thing twice.
            let why = match self.reason {
                Reason::ConnectionLost if self.detail.is_empty() => String::new(),
                Reason::ConnectionLost => format!(": {}", self.detail),
                _ => format!(": {why}"),
            };
            return format!("{who} lost {whose} connection to {endpoint}{RANGE}{why}");
        }
        format!("{who} could not connect to {endpoint}{RANGE}: {why}")
    }
}
