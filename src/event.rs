//! Defines what can happen to a fleet (the stream that flows up from the engine to every consumer); what should happen is in `command`.

mod alert;
mod badge;
mod connack;
mod expiry;
mod finding;
mod handling;
mod job;
mod reason;
mod standing;
mod tcp;
mod unanswered;

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    clock::{Anchor, Moment},
    fleet::{ClientKey, EndpointKey, Fleet, ProbeKind, Protocol, WorkerKey},
    text::Scrubbed,
};

pub use self::{
    alert::{Alert, AlertKey, Severity},
    badge::Badge,
    connack::Connack,
    expiry::Expiry,
    finding::{Certificate, Failure, Finding, Session, Stage, StageKind},
    handling::{Handled, Handling, Recovery, RecoveryKind, RecoveryStage},
    job::{Deed, Fate, Job, JobId, JobNews, JobState, Roll, Skip, Steer},
    reason::{Reason, Remedy},
    standing::{Counts, FleetStanding, Part, Past, Reading, Slice, Slices, Standing, Strip, Window},
    tcp::{Tcp, TcpState},
    unanswered::{Ask, Unanswered},
};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    pub at: Moment,
    pub what: What,
}

impl Event {
    /// Takes over what this event says the wall clock says, where it is about that.
    pub fn set_clock(&self, anchor: &mut Anchor) {
        if let What::Second(wall) = self.what {
            *anchor = Anchor::of_line(self.at, wall);
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A client changed its state.
    State(Transition),
    /// Where a client stands, told to a listener that comes later than the steps that led there.
    Standing(Box<Standing>),
    /// Likewise what is about no single client.
    FleetStanding(Box<FleetStanding>),
    /// A probe of a client was answered.
    Sample(Sample),
    /// A client's probe has no answer yet. Its answer, or the connection's end, puts an end to that.
    Late(Late),
    /// What the kernel says of a client's connection.
    Tcp(ClientKey, Tcp),
    /// A worker process started, fell silent, died or was restarted.
    Worker { worker: WorkerKey, event: WorkerEvent, detail: Scrubbed },
    /// This many samples were thrown away somewhere because a queue was full.
    SamplesLost(u32),
    /// Who waits for an endpoint, and what it lets through.
    Gate(EndpointKey, Gate),
    /// What a probe of an endpoint found.
    Finding(EndpointKey, Arc<Finding>),
    /// What the broker said when it accepted a client, told after the step to [`State::Up`].
    Connack(ClientKey, Arc<Connack>),
    /// All of a client's subscriptions were answered, this long after it came up.
    Subscribed(ClientKey, Duration),
    /// The broker grants a client less than what it asked for.
    Shortfall(Shortfall),
    /// By what a client is measured from now on.
    Measured(Measured),
    /// Messages that a client received and published since the last time, its probes left out of the
    /// latter.
    Messages(Messages),
    /// Something the operator should read that is about no single client.
    Notice { level: Level, text: Scrubbed },
    /// What trouble the demo is making now.
    Trouble(Scrubbed),
    /// The operator gave an order about an endpoint, and it is in force.
    Order(EndpointKey, Order),
    /// A job was ordered, goes on or is over.
    Job(Box<JobNews>),
    /// A rule's alert fires, or is over.
    Alert(Box<Alert>),
    /// Something is done about an alert.
    Handling(Box<Handling>),
    /// Another second is over, and this is what the wall clock says: until the next one, all times are told by
    /// it. Whoever listens looks at what only time changes.
    Second(DateTime<Utc>),
    /// The run is recorded from now on, or no more because the disk failed.
    Recording(bool),
    /// The fleet is this one from now on ([`Fleet::revised`]): what comes after this may be about clients and
    /// endpoints that were not there before. Whoever hears it a second time is told nothing new. To other processes
    /// and into recordings it goes as what these have of a fleet, and not as an event.
    #[serde(skip)]
    Fleet(Arc<Fleet>),
}

impl What {
    /// The client that it is about, where it is about one.
    pub fn client(&self) -> Option<ClientKey> {
        match self {
            What::State(step) => Some(step.client),
            What::Standing(standing) => Some(standing.client),
            What::Sample(sample) => Some(sample.client),
            What::Late(late) => Some(late.client),
            What::Connack(client, _) | What::Subscribed(client, _) | What::Tcp(client, _) => Some(*client),
            What::Shortfall(shortfall) => Some(shortfall.client),
            What::Measured(measured) => Some(measured.client),
            What::Messages(messages) => Some(messages.client),
            What::Gate(..) | What::Finding(..) | What::Order(..) | What::Worker { .. } => None,
            What::FleetStanding(_) | What::SamplesLost(_) | What::Notice { .. } | What::Trouble(_) => None,
            What::Alert(_) | What::Handling(_) | What::Job(_) => None,
            What::Second(_) | What::Recording(_) | What::Fleet(_) => None,
        }
    }

    /// The endpoint that it is about, where it is about one.
    pub fn endpoint(&self) -> Option<EndpointKey> {
        match self {
            What::State(step) => Some(step.endpoint),
            What::Standing(standing) => Some(standing.endpoint),
            What::Gate(endpoint, _) | What::Finding(endpoint, _) | What::Order(endpoint, _) => Some(*endpoint),
            _ => None,
        }
    }

    /// Whether it is a figure that comes again and again: it can wait for the next second to be seen.
    pub fn is_figure(&self) -> bool {
        matches!(self, What::Sample(_) | What::Tcp(..) | What::Messages(_) | What::Second(_))
    }
}

/// A client's step from one state to another, with all that explains it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transition {
    pub client: ClientKey,
    pub endpoint: EndpointKey,
    pub from: State,
    pub to: State,
    pub reason: Reason,
    /// The broker's or the system's own words, where there are any.
    pub detail: Scrubbed,
    /// The number of this try since the client was last stable, from 1; 0 while it never tried.
    pub attempt: u32,
    /// When the next try is due, where one is.
    pub next_try: Option<Duration>,
}

/// A measured round trip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    pub client: ClientKey,
    pub probe: ProbeKind,
    pub rtt: Duration,
}

/// What a client that is up asked for, and the broker did not grant as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shortfall {
    pub client: ClientKey,
    #[serde(default)]
    pub request: Request,
    /// The topic filter of a subscription, the topic of a message.
    pub filter: Scrubbed,
    /// The QoS that was asked for, 0 to 2.
    pub asked: u8,
    /// The QoS that was granted; `None` where the broker refused, or gave no answer.
    pub granted: Option<u8>,
    /// Why it was not granted, where that is known.
    pub detail: Scrubbed,
}

/// What was asked of a broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    #[default]
    Subscription,
    /// A message of the client's own.
    Publish,
    /// What the program asked for to measure the client: a message, or the subscription that brings it back.
    Probe,
}

impl Request {
    /// The stable name, as scripts read it.
    pub fn name(self) -> &'static str {
        match self {
            Request::Subscription => "subscription",
            Request::Publish => "publish",
            Request::Probe => "probe",
        }
    }
}

/// By what a client is measured: as it is configured, or by its heartbeats, where the broker refuses its
/// probes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    pub client: ClientKey,
    pub by: ProbeKind,
    /// Why it is not as configured; empty where it is.
    pub detail: Scrubbed,
}

impl Sample {
    /// When the probe was sent whose answer came at `at`.
    pub fn sent(&self, at: Moment) -> Moment {
        at - self.rtt
    }

    /// Whether this answer, which came at `at`, puts an end to what has been late since then: it is to
    /// that probe or to a later one, and not to one that was under way before.
    pub fn ends(&self, at: Moment, since: Moment) -> bool {
        self.sent(at) + Late::SAME >= since
    }
}

/// A probe that should have been answered by now. Of one client there is another one only when this
/// one was answered, or given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Late {
    pub client: ClientKey,
    pub probe: ProbeKind,
    /// When it went out, or when it was ordered where that was held up so long.
    pub since: Moment,
}

impl Late {
    /// Stamps that are no further apart are of one probe.
    pub const SAME: Duration = Duration::from_millis(1);
}

/// What the operator wants of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Nobody connects to it; who is up stays so.
    Hold,
    /// Clients may connect again.
    Release,
    /// Connects a second, as they were set before and are now.
    Rate { from: u32, to: u32 },
}

/// An endpoint's gate: every connect of a client goes through it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    pub condition: Condition,
    /// Clients in its queue.
    pub waiting: u32,
    /// Connects under way.
    pub in_flight: u32,
    /// Connects a second: what is set,
    pub rate_set: u32,
    /// and what a busy broker leaves of it.
    pub rate: u32,
    /// When the last in the queue has its turn, as far as the rate decides.
    pub eta: Duration,
}

/// Whether an endpoint may be connected to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// Nobody asked yet.
    Unknown,
    /// Asked for the first time.
    Probing,
    /// It answers.
    Open,
    /// It does not; when it is asked again, unless that is under way.
    Shut { cause: Cause, next_probe: Option<Moment> },
    /// The operator lets nobody through.
    OnHold,
}

impl Condition {
    /// It by a clock that is so many microseconds later.
    pub fn moved(self, later: i64) -> Condition {
        match self {
            Condition::Shut { cause, next_probe } => {
                Condition::Shut { cause, next_probe: next_probe.map(|at| at.moved(later)) }
            }
            condition => condition,
        }
    }

    /// The stable name, as scripts read it.
    pub fn name(&self) -> &'static str {
        match self {
            Condition::Unknown => "unknown",
            Condition::Probing => "probing",
            Condition::Open => "open",
            Condition::Shut { .. } => "shut",
            Condition::OnHold => "on_hold",
        }
    }
}

/// How many messages came and went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Messages {
    pub client: ClientKey,
    pub received: u32,
    pub published: u32,
    /// Of those published, now or before, the broker refused so many since the last time.
    #[serde(default)]
    pub refused: u32,
}

/// The number of a connect order for one client. News of a connection carries it, so that news of an
/// abandoned one can be told from news of the present one.
pub type Generation = u32;

/// A step of one connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Step {
    /// CONNACK 0.
    Up(Box<Connack>),
    /// The connect failed, or the connection ended: the generation is over. With what the broker had been
    /// asked and had not answered, where there was anything.
    Ended(Cause, Option<Box<Unanswered>>),
}

/// An order that a client connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectOrder {
    pub generation: Generation,
    pub endpoint: EndpointKey,
    pub manner: Manner,
}

/// How a connect is made, as far as that changes from one to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manner {
    /// The version to speak, where it is not the client's own.
    pub protocol: Option<Protocol>,
    /// Whether the client's probes are left out, because the broker does not bear them,
    pub is_muted: bool,
    /// or whether that is in doubt, so that the first one is to go out at once.
    pub is_doubted: bool,
}

/// Why a connection ended or did not come about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cause {
    pub reason: Reason,
    pub detail: Scrubbed,
}

/// Where a client stands in its lifecycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Stopped by the operator, or not started.
    Off,
    /// Not allowed to connect because what it needs is not there: its worker, its endpoint, or the
    /// operator's leave.
    Held,
    /// Waiting for its endpoint's admission.
    Queued,
    /// A connect is under way.
    Connecting,
    /// The broker accepted it.
    Up,
    /// Waiting for the next try.
    Backoff,
    /// Given up until the operator says otherwise, or for long.
    Failed,
}

impl State {
    pub const ALL: [State; 7] =
        [State::Off, State::Held, State::Queued, State::Connecting, State::Up, State::Backoff, State::Failed];

    /// The stable name, as scripts read it.
    pub fn name(self) -> &'static str {
        match self {
            State::Off => "off",
            State::Held => "held",
            State::Queued => "queued",
            State::Connecting => "connecting",
            State::Up => "up",
            State::Backoff => "backoff",
            State::Failed => "failed",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerEvent {
    Started,
    /// Nothing was heard of it for so long that it is taken for hung: its end follows.
    Silent,
    Died,
    Restarted,
}

impl WorkerEvent {
    /// What is told of a worker that starts.
    pub fn birth(process: u32, clients: usize) -> Scrubbed {
        Scrubbed::new(&format!("process {process}, {clients} clients"))
    }

    /// The process ID of a worker that starts, as [`WorkerEvent::birth`] told it.
    pub fn process(self, detail: &str) -> Option<u32> {
        let is_birth = matches!(self, WorkerEvent::Started | WorkerEvent::Restarted);
        let number = detail.strip_prefix("process ").filter(|_| is_birth)?.split(',').next()?;
        number.parse().ok()
    }

    pub fn name(self) -> &'static str {
        match self {
            WorkerEvent::Started => "started",
            WorkerEvent::Silent => "silent",
            WorkerEvent::Died => "died",
            WorkerEvent::Restarted => "restarted",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Info,
    Warning,
    Error,
}
