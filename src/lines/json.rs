//! Defines every JSON line that the program prints or records, and the objects in them; what is measured is in microseconds, what MQTT counts in seconds is in these.

mod answer;
mod connection;
mod handling;
mod row;

use serde::Serialize;

use super::{insight, level_name, stamp, utc_millis};
use crate::{
    clock::{Anchor, Moment},
    event::{Condition, Event, Order, State, Transition, What},
    fleet::{Fleet, Labels},
    model::Known,
    text::Scrubbed,
};

pub use answer::{Check, Doctor, Plan, Proxy, json_check, json_doctor, json_message, json_notify_test, json_plan};
pub use connection::{Connack, Outcome, Stages, Subscription, Tls};
pub use handling::json_would_recover;
pub use row::{Row, UNKNOWN};

use connection::micros;

/// The version of the JSON lines. Fields are added without raising it; none is renamed.
pub const SCHEMA: u32 = 1;

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line<'a> {
    Start(Start<'a>),
    State {
        ts: String,
        client: &'a str,
        endpoint: &'a str,
        from: &'a str,
        to: &'a str,
        reason: &'a str,
        detail: &'a str,
        attempt: u32,
        next_try_ms: Option<u64>,
    },
    Sample {
        ts: String,
        client: &'a str,
        probe: &'a str,
        rtt_us: u64,
    },
    SamplesLost {
        ts: String,
        count: u32,
    },
    Worker {
        ts: String,
        worker: u32,
        event: &'a str,
        detail: &'a str,
    },
    Measured {
        ts: String,
        client: &'a str,
        probe: &'a str,
        detail: &'a str,
    },
    Shortfall {
        ts: String,
        client: &'a str,
        request: &'a str,
        #[serde(flatten)]
        subscription: Subscription<'a>,
    },
    Finding {
        ts: String,
        endpoint: &'a str,
        #[serde(flatten)]
        outcome: Outcome<'a>,
    },
    Connack {
        ts: String,
        client: &'a str,
        #[serde(flatten)]
        connack: Connack<'a>,
    },
    Subscribed {
        ts: String,
        client: &'a str,
        took_us: u64,
    },
    Second {
        ts: String,
    },
    /// The fleet file was read anew: so many clients there are from now on.
    Fleet {
        ts: String,
        clients: usize,
    },
    Recording {
        ts: String,
        is_on: bool,
    },
    Written {
        ts: String,
        agent: &'a str,
        epoch: u64,
        clients: usize,
    },
    Messages {
        ts: String,
        client: &'a str,
        received: u32,
        published: u32,
        refused: u32,
    },
    Late {
        ts: String,
        client: &'a str,
        probe: &'a str,
        since: String,
    },
    Tcp {
        ts: String,
        client: &'a str,
        state: &'a str,
        rtt_us: u64,
        retransmits: u32,
        unacknowledged: u32,
    },
    Standing {
        ts: String,
        client: &'a str,
        endpoint: &'a str,
        state: &'a str,
        since: String,
        reason: &'a str,
        detail: &'a str,
        attempt: u32,
    },
    FleetStanding {
        ts: String,
        samples_lost: u64,
        worker_deaths: u32,
    },
    Notice {
        ts: String,
        level: &'a str,
        text: &'a str,
    },
    Alert {
        ts: String,
        alert: &'a str,
        severity: &'static str,
        status: &'static str,
        since: String,
        clients: u32,
        of: u32,
        /// The first of them.
        first: Vec<&'a str>,
        cause: &'a str,
    },
    Told(handling::Told<'a>),
    Muted(handling::Muted<'a>),
    Acknowledged(handling::Acknowledged<'a>),
    Recovery(handling::Step<'a>),
    /// A job, when it begins, turns or ends.
    Job {
        ts: String,
        job: u32,
        order: &'static str,
        status: &'static str,
        at_once: u32,
        stop_after: u32,
        left: u32,
        under_way: u32,
        done: u32,
        failed: u32,
        skipped: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        undoes: Option<u32>,
    },
    Order {
        ts: String,
        endpoint: &'a str,
        order: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        rate: Option<u32>,
    },
    Gate {
        ts: String,
        endpoint: &'a str,
        condition: &'static str,
        reason: Option<&'static str>,
        detail: &'a str,
        waiting: u32,
        in_flight: u32,
        rate_set: u32,
        rate: u32,
        eta_ms: u64,
    },
    Insight {
        ts: String,
        /// What most of the unhealthy share; none where they share nothing any more.
        text: Option<String>,
    },
    Summary {
        ts: String,
        clients: u32,
        off: u32,
        held: u32,
        queued: u32,
        connecting: u32,
        up: u32,
        slow: u32,
        backoff: u32,
        failed: u32,
        /// Percentiles of the last minute or so, where any client answered,
        p50_us: Option<u64>,
        p90_us: Option<u64>,
        p99_us: Option<u64>,
        max_us: Option<u64>,
        /// and probes that were found to be lost in that time.
        lost: u64,
        received: u64,
        published: u64,
    },
}

#[derive(Serialize)]
struct Start<'a> {
    ts: String,
    version: &'a str,
    schema: u32,
    fleet: &'a str,
    clients: usize,
    workers: usize,
}

/// A line as a recording keeps it: with what it takes to read back the very event.
#[derive(Serialize)]
struct Kept<'a> {
    #[serde(flatten)]
    line: Line<'a>,
    at_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    exact: Option<&'a What>,
    /// Whether it tells how things stood, and not what happened then.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    snapshot: bool,
}

/// A change of state as a hook is told of it.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    line: Line<'a>,
    at_ms: i64,
    labels: &'a Labels,
    folded: u32,
    initial: bool,
}

/// A change of state as a store's readers are told of it.
#[derive(Serialize)]
struct Stored<'a> {
    #[serde(flatten)]
    line: Line<'a>,
    agent: &'a str,
    labels: &'a Labels,
    folded: u32,
}

fn encode(line: &impl Serialize) -> String {
    // Strings, numbers and options of them always have a JSON form.
    serde_json::to_string(line).unwrap_or_default()
}

/// The first JSON line of a run.
pub fn json_start(fleet: &Fleet, workers: usize, anchor: &Anchor, at: Moment) -> String {
    encode(&Line::Start(Start {
        ts: stamp(anchor, at),
        version: env!("CARGO_PKG_VERSION"),
        schema: SCHEMA,
        fleet: &fleet.name,
        clients: fleet.keys().count(),
        workers,
    }))
}

/// An event as a JSON line. What is measured has one only where `samples` says so.
pub fn json(fleet: &Fleet, anchor: &Anchor, event: &Event, samples: bool) -> Option<String> {
    match &event.what {
        What::Messages(_) | What::Subscribed(..) | What::Standing(_) | What::FleetStanding(_) => None,
        What::Second(_) | What::Recording(_) => None,
        What::Job(news) if !news.is_turn => None,
        What::Sample(_) | What::Tcp(..) if !samples => None,
        _ => Some(encode(&line(fleet, anchor, event))),
    }
}

/// A change of state as a hook is told of it: the line of [`json`] with the client's labels. `folded`: so many changes before
/// it are in it. `initial`: it tells where the client was found, and not what happened then.
pub fn json_told(fleet: &Fleet, anchor: &Anchor, at: Moment, step: &Transition, folded: u32, initial: bool) -> String {
    let labels = &*fleet.client(step.client).labels;
    let line = of_step(fleet, anchor, at, step);
    encode(&Told { line, at_ms: anchor.utc(at).timestamp_millis(), labels, folded, initial })
}

/// A change of state as a store's readers are told of it: the line of [`json`] with the agent that holds the client, and
/// the client's labels. `folded`: so many changes before it are in it.
pub fn json_stored(
    fleet: &Fleet,
    anchor: &Anchor,
    at: Moment,
    step: &Transition,
    folded: u32,
    agent: &Scrubbed,
) -> String {
    let labels = &*fleet.client(step.client).labels;
    encode(&Stored { line: of_step(fleet, anchor, at, step), agent, labels, folded })
}

/// That an agent has written all of its rows to a store, as the store's readers are told: with its number of this time.
pub fn json_written(anchor: &Anchor, at: Moment, agent: &Scrubbed, epoch: u64, clients: usize) -> String {
    encode(&Line::Written { ts: stamp(anchor, at), agent, epoch, clients })
}

/// An event as a recording keeps it: every event has a line, the same one as [`json`]'s and more.
/// `snapshot`: it tells how things stood, and not what happened then.
pub fn json_kept(fleet: &Fleet, anchor: &Anchor, event: &Event, snapshot: bool) -> String {
    let line = line(fleet, anchor, event);
    encode(&Kept { line, at_us: event.at.0, exact: Some(&event.what), snapshot })
}

fn of_step<'a>(fleet: &'a Fleet, anchor: &Anchor, at: Moment, step: &'a Transition) -> Line<'a> {
    Line::State {
        ts: stamp(anchor, at),
        client: &fleet.client(step.client).name,
        endpoint: &fleet.endpoint(step.endpoint).name,
        from: step.from.name(),
        to: step.to.name(),
        reason: step.reason.name(),
        detail: &step.detail,
        attempt: step.attempt,
        next_try_ms: step.next_try.map(|d| d.as_millis() as u64),
    }
}

fn line<'a>(fleet: &'a Fleet, anchor: &Anchor, event: &'a Event) -> Line<'a> {
    let ts = stamp(anchor, event.at);
    match &event.what {
        What::State(step) => of_step(fleet, anchor, event.at, step),
        What::Standing(standing) => Line::Standing {
            ts,
            client: &fleet.client(standing.client).name,
            endpoint: &fleet.endpoint(standing.endpoint).name,
            state: standing.state.name(),
            since: stamp(anchor, standing.since),
            reason: standing.reason.name(),
            detail: &standing.detail,
            attempt: standing.attempt,
        },
        What::FleetStanding(standing) => {
            Line::FleetStanding { ts, samples_lost: standing.samples_lost, worker_deaths: standing.worker_deaths }
        }
        What::Second(_) => Line::Second { ts },
        What::Recording(is_on) => Line::Recording { ts, is_on: *is_on },
        What::Fleet(fleet) => Line::Fleet { ts, clients: fleet.keys().count() },
        What::Messages(messages) => Line::Messages {
            ts,
            client: &fleet.client(messages.client).name,
            received: messages.received,
            published: messages.published,
            refused: messages.refused,
        },
        What::Subscribed(client, took) => {
            Line::Subscribed { ts, client: &fleet.client(*client).name, took_us: micros(*took) }
        }
        What::Late(late) => Line::Late {
            ts,
            client: &fleet.client(late.client).name,
            probe: late.probe.name(),
            since: stamp(anchor, late.since),
        },
        What::Tcp(client, tcp) => Line::Tcp {
            ts,
            client: &fleet.client(*client).name,
            state: tcp.state.name(),
            rtt_us: micros(tcp.rtt),
            retransmits: tcp.retransmits,
            unacknowledged: tcp.unacknowledged,
        },
        What::Finding(endpoint, finding) => Line::Finding {
            ts,
            endpoint: &fleet.endpoint(*endpoint).name,
            outcome: Outcome::of(finding, anchor.utc(event.at)),
        },
        What::Connack(client, connack) => {
            Line::Connack { ts, client: &fleet.client(*client).name, connack: Connack::of(connack) }
        }
        What::Shortfall(shortfall) => Line::Shortfall {
            ts,
            client: &fleet.client(shortfall.client).name,
            request: shortfall.request.name(),
            subscription: Subscription {
                filter: &shortfall.filter,
                asked: shortfall.asked,
                granted: shortfall.granted,
                detail: &shortfall.detail,
            },
        },
        What::Measured(measured) => Line::Measured {
            ts,
            client: &fleet.client(measured.client).name,
            probe: measured.by.name(),
            detail: &measured.detail,
        },
        What::Sample(sample) => Line::Sample {
            ts,
            client: &fleet.client(sample.client).name,
            probe: sample.probe.name(),
            rtt_us: micros(sample.rtt),
        },
        What::SamplesLost(count) => Line::SamplesLost { ts, count: *count },
        What::Worker { worker, event, detail } => Line::Worker { ts, worker: worker.0, event: event.name(), detail },
        What::Gate(endpoint, gate) => {
            let cause = if let Condition::Shut { cause, .. } = &gate.condition { Some(cause) } else { None };
            Line::Gate {
                ts,
                endpoint: &fleet.endpoint(*endpoint).name,
                condition: gate.condition.name(),
                reason: cause.map(|c| c.reason.name()),
                detail: cause.map_or("", |c| &c.detail),
                waiting: gate.waiting,
                in_flight: gate.in_flight,
                rate_set: gate.rate_set,
                rate: gate.rate,
                eta_ms: gate.eta.as_millis() as u64,
            }
        }
        What::Notice { level, text } => Line::Notice { ts, level: level_name(*level), text },
        What::Trouble(text) => Line::Notice { ts, level: "trouble", text },
        What::Alert(alert) => Line::Alert {
            ts,
            alert: &alert.rule,
            severity: alert.severity.name(),
            status: alert.status(),
            since: utc_millis(anchor.utc(event.at) - alert.lasted),
            clients: alert.clients,
            of: alert.of,
            first: alert.first.iter().map(|client| &*fleet.client(*client).name).map(|name| name as &str).collect(),
            cause: &alert.cause,
        },
        What::Handling(of) => handling::line(ts, of),
        What::Job(news) => {
            let crate::event::Job { id, deed, roll, state, left, under_way, done, failed, skipped, undoes, .. } =
                news.job;
            Line::Job {
                ts,
                job: id.number,
                order: deed.name(),
                status: state.name(),
                at_once: roll.at_once,
                stop_after: roll.stop_after,
                left,
                under_way,
                done,
                failed,
                skipped,
                undoes: undoes.map(|id| id.number),
            }
        }
        What::Order(endpoint, order) => Line::Order {
            ts,
            endpoint: &fleet.endpoint(*endpoint).name,
            order: match order {
                Order::Hold => "hold",
                Order::Release => "release",
                Order::Rate { .. } => "rate",
            },
            rate: if let Order::Rate { to, .. } = order { Some(*to) } else { None },
        },
    }
}

/// The fleet in numbers, as a JSON line.
pub fn json_summary(known: &Known, anchor: &Anchor, at: Moment) -> String {
    encode(&summary(known, anchor, at))
}

/// The same as a recording keeps it.
pub fn json_summary_kept(known: &Known, anchor: &Anchor, at: Moment) -> String {
    encode(&Kept { line: summary(known, anchor, at), at_us: at.0, exact: None, snapshot: false })
}

fn summary<'a>(known: &Known, anchor: &Anchor, at: Moment) -> Line<'a> {
    let totals = known.totals();
    let latency = known.latency();
    Line::Summary {
        ts: stamp(anchor, at),
        clients: totals.all(),
        off: totals.of(State::Off),
        held: totals.of(State::Held),
        queued: totals.of(State::Queued),
        connecting: totals.of(State::Connecting),
        up: totals.of(State::Up),
        slow: totals.slow(),
        backoff: totals.of(State::Backoff),
        failed: totals.of(State::Failed),
        p50_us: latency.map(|l| micros(l.p50)),
        p90_us: latency.map(|l| micros(l.p90)),
        p99_us: latency.map(|l| micros(l.p99)),
        max_us: latency.map(|l| micros(l.max)),
        lost: known.lost(),
        received: known.received(),
        published: known.published(),
    }
}

/// What most of the unhealthy share by now, as a JSON line.
pub fn json_insight(known: &Known, anchor: &Anchor, at: Moment) -> String {
    encode(&Line::Insight { ts: stamp(anchor, at), text: insight(known, anchor) })
}
