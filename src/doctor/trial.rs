//! Defines the trial of one client at one endpoint: a real worker connects it, subscribes what it subscribes and has it send itself a message; nothing else of its own is sent, and nothing is tried twice.

use std::{net::IpAddr, sync::Arc, time::Duration};

use tokio::time::{Instant, timeout_at};

use crate::{
    clock::Moment,
    credentials,
    event::{Ask, Cause, Connack, ConnectOrder, Generation, Manner, Reason, Unanswered},
    fleet::{
        Client, ClientKey, Conversation, Credentials, Endpoint, EndpointKey, Fleet, Probe, ProbeKind, Protocol,
        Settings, Subscription,
    },
    pool::{Pool, PoolNews},
    text::Scrubbed,
    wire::{Remote, Report, Shortfall, ToWorker},
};

/// The time between two probes of a client under trial; only the first is waited for.
const EVERY: Duration = Duration::from_millis(200);

/// What starting a worker, and its own way of noticing that a connect takes too long, may take.
const GRACE: Duration = Duration::from_secs(3);

/// There is one connect.
const GENERATION: Generation = 1;

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Trial {
    /// The steps that were gone through, in their order. Where it failed, the last one did.
    pub steps: Vec<(Step, Duration)>,
    /// What the broker said when it accepted the client.
    pub connack: Option<Connack>,
    /// What was asked for, and what of it was granted, once the broker has answered.
    pub subscriptions: Vec<Granted>,
    pub failure: Option<(Step, Why)>,
    /// What the broker had been asked and had not answered when it ended the connection.
    pub unanswered: Option<Box<Unanswered>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Until CONNECT went out: what the endpoint's probe did, once more.
    Connect,
    Connack,
    Suback,
    Probe(ProbeKind),
}

impl Step {
    /// The stable name, as scripts read it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Step::Connect => "connect",
            Step::Connack => "connack",
            Step::Suback => "suback",
            Step::Probe(kind) => kind.name(),
        }
    }
}

/// A subscription and the broker's answer.
#[derive(Debug)]
pub(super) struct Granted {
    pub filter: Scrubbed,
    pub asked: u8,
    /// `None` where it was refused.
    pub granted: Option<u8>,
    pub detail: Scrubbed,
}

/// Why a trial failed.
#[derive(Debug)]
pub(super) enum Why {
    /// No connection came about, or it ended.
    Ended(Cause),
    /// The broker refused some subscriptions; which, they say themselves.
    Refused,
    /// No answer to a subscription.
    NoSuback,
    /// The client's own message did not come back; why, if that is known.
    NoEcho(Scrubbed),
}

/// Which round trip to measure. An echo needs a subscription of its own, which a session that
/// outlives the connection would keep: such a client is only asked for one if that is its probe.
pub(super) fn probe(settings: &Settings) -> ProbeKind {
    let outlives = !settings.clean_start
        && match settings.protocol {
            Protocol::V311 => true,
            Protocol::V5 => !settings.session_expiry.is_zero(),
        };
    match settings.probe.kind {
        ProbeKind::Off => ProbeKind::Off,
        ProbeKind::Heartbeat | ProbeKind::Ack if outlives => ProbeKind::Ack,
        ProbeKind::Heartbeat | ProbeKind::Ack | ProbeKind::Echo => ProbeKind::Echo,
    }
}

/// Tries the client at an endpoint whose first hop has this address. The connect may take `limit`, and
/// all that comes after it as much again. One that may speak either version is tried with the older one, too.
pub(super) async fn run(client: &Client, endpoint: &Endpoint, hop: Option<IpAddr>, limit: Duration) -> Trial {
    let trial = run_once(client, endpoint, hop, limit).await;
    if !client.settings.falls_back || !trial.is_of_version() {
        return trial;
    }
    let settings = Settings { protocol: Protocol::V311, falls_back: false, ..Settings::clone(&client.settings) };
    run_once(&Client { settings: Arc::new(settings), ..client.clone() }, endpoint, hop, limit).await
}

async fn run_once(client: &Client, endpoint: &Endpoint, hop: Option<IpAddr>, limit: Duration) -> Trial {
    let fleet = Arc::new(alone(client, endpoint, limit));
    let mut trial = Trial::default();
    let mut pool = Pool::start(&fleet);
    let remote = Remote { addresses: hop.into_iter().collect(), ..Remote::from(&fleet.endpoints[0]) };
    trial.failure = match credentials::fetch(client).await {
        Ok(fetched) => trial.walk(&mut pool, &fleet.clients[0], remote, fetched, limit).await.err(),
        Err(cause) => Some(trial.failed(Step::Connect, Moment::now(), Why::Ended(cause))),
    };
    pool.stop().await;
    trial
}

/// A fleet of this one client, without all that it would say to others.
fn alone(client: &Client, endpoint: &Endpoint, limit: Duration) -> Fleet {
    let settings = Settings {
        connect_timeout: limit,
        probe: Probe { kind: probe(&client.settings), every: EVERY },
        ..Settings::clone(&client.settings)
    };
    let conversation = Conversation { subscribe: client.conversation.subscribe.clone(), ..Conversation::default() };
    let client = Client {
        endpoints: Arc::new([EndpointKey(0)]),
        conversation: Arc::new(conversation),
        settings: Arc::new(settings),
        ..client.clone()
    };
    let name = Scrubbed::new("doctor");
    Fleet { name, env: None, worker_size: 1, endpoints: vec![endpoint.clone()], clients: vec![client] }
}

/// What a worker's reports say of the one client, put together.
#[derive(Default)]
struct Heard {
    up: Option<(Moment, Connack)>,
    ended: Option<(Cause, Option<Box<Unanswered>>)>,
    shortfalls: Vec<Shortfall>,
    subscribed: Option<Duration>,
    answered: Option<Duration>,
}

impl Heard {
    fn take_in(&mut self, report: Report, kind: ProbeKind) {
        for news in report.news.into_iter().filter(|n| n.generation == GENERATION) {
            match news.step {
                crate::event::Step::Up(connack) => self.up = Some((news.at, *connack)),
                crate::event::Step::Ended(cause, unanswered) => self.ended = Some((cause, unanswered)),
            }
        }
        self.shortfalls.extend(report.shortfalls);
        self.subscribed = self.subscribed.or(report.subscribed.first().map(|s| s.took));
        let sample = report.samples.iter().find(|s| s.probe == kind);
        self.answered = self.answered.or(sample.map(|s| s.rtt));
    }
}

impl Trial {
    /// Whether the broker may not know the version that it was asked in.
    fn is_of_version(&self) -> bool {
        let Some((Step::Connack, Why::Ended(cause))) = &self.failure else { return false };
        let is_silent = self.unanswered.as_ref().is_some_and(|u| u.ask == Ask::Connect)
            && matches!(cause.reason, Reason::ConnectionLost | Reason::ConnectTimeout);
        is_silent || cause.reason == Reason::UnsupportedProtocolVersion
    }

    async fn walk(
        &mut self,
        pool: &mut Pool,
        client: &Client,
        remote: Remote,
        mut fetched: Option<Credentials>,
        limit: Duration,
    ) -> Result<(), (Step, Why)> {
        let subscribe = &client.conversation.subscribe;
        let kind = client.settings.probe.kind;
        let mut heard = Heard::default();
        let mut ordered = None;
        let mut deadline = Instant::now() + limit + GRACE;
        // What the client did not ask for itself, the probe did.
        let own = |filter: &Scrubbed| subscribe.iter().any(|s| Scrubbed::new(&s.filter) == *filter);
        // The present step.
        let mut began = Moment::now();
        loop {
            // One step after the other: what is there already needs no waiting.
            let step = match self.steps.last() {
                None => Step::Connack,
                Some((Step::Connack, _)) if !subscribe.is_empty() => Step::Suback,
                Some((Step::Connack | Step::Suback, _)) if kind != ProbeKind::Off => Step::Probe(kind),
                Some(_) => return Ok(()),
            };
            let done = match step {
                Step::Connack => heard.up.take().map(|(at, connack)| {
                    deadline = Instant::now() + limit;
                    self.accepted(connack, at.since(ordered.unwrap_or(at)));
                }),
                Step::Suback => match heard.subscribed {
                    Some(took) => {
                        self.steps.push((step, took));
                        self.subscriptions = granted(subscribe, &heard.shortfalls);
                        if heard.shortfalls.iter().any(|s| own(&s.filter) && s.is_unanswered()) {
                            return Err((step, Why::NoSuback));
                        }
                        if self.subscriptions.iter().any(|s| s.granted.is_none()) {
                            return Err((step, Why::Refused));
                        }
                        Some(())
                    }
                    None => None,
                },
                Step::Connect | Step::Probe(_) => heard.answered.map(|rtt| self.steps.push((step, rtt))),
            };
            if done.is_some() {
                began = Moment::now();
                continue;
            }
            if let Some((cause, unanswered)) = heard.ended.take() {
                self.unanswered = unanswered;
                // Starting a worker is no part of it.
                let since = if step == Step::Connack { ordered.unwrap_or(began) } else { began };
                return Err(self.failed(step, since, Why::Ended(cause)));
            }
            let refused = heard.shortfalls.iter().find(|s| !own(&s.filter));
            if let (Step::Probe(_), Some(refused)) = (step, refused) {
                let why = Why::NoEcho(refused.detail.clone());
                return Err(self.failed(step, began, why));
            }
            let lost = |detail: Scrubbed| Why::Ended(Cause { reason: Reason::WorkerLost, detail });
            match timeout_at(deadline, pool.next()).await {
                Ok(Some(PoolNews::Ready(_))) => {
                    ordered = Some(Moment::now());
                    let endpoint = EndpointKey(0);
                    pool.order(ClientKey(0), |_| ToWorker::Remote { endpoint, remote: remote.clone() });
                    let credentials = fetched.take().map(Box::new);
                    let order = ConnectOrder { generation: GENERATION, endpoint, manner: Manner::default() };
                    pool.order(ClientKey(0), |slot| ToWorker::Connect { slot, order, credentials });
                }
                Ok(Some(PoolNews::Report(_, report))) => heard.take_in(report, kind),
                Ok(Some(PoolNews::Lost { cause, .. })) => return Err(self.failed(step, began, Why::Ended(cause))),
                Ok(Some(PoolNews::Event { event: crate::event::WorkerEvent::Died, detail, .. })) => {
                    return Err(self.failed(step, began, lost(detail)));
                }
                Ok(Some(PoolNews::Event { .. } | PoolNews::Warning(_))) => {}
                Ok(None) => return Err(self.failed(step, began, lost(Scrubbed::default()))),
                Err(_) => {
                    let why = match step {
                        Step::Suback => Why::NoSuback,
                        Step::Probe(_) => Why::NoEcho(Scrubbed::default()),
                        Step::Connect | Step::Connack => lost(Scrubbed::new("it does not answer")),
                    };
                    return Err(self.failed(step, began, why));
                }
            }
        }
    }

    /// The broker accepted it, this long after the order.
    fn accepted(&mut self, connack: Connack, took: Duration) {
        match (connack.reached, connack.answered) {
            (Some(reached), Some(answered)) => {
                self.steps.extend([(Step::Connect, reached), (Step::Connack, answered)]);
            }
            _ => self.steps.push((Step::Connack, took)),
        }
        self.connack = Some(connack);
    }

    fn failed(&mut self, step: Step, began: Moment, why: Why) -> (Step, Why) {
        let step = match &why {
            // What happened before CONNECT went out is not the broker's answer to it.
            Why::Ended(cause) if step == Step::Connack && is_of_the_way(cause.reason) => Step::Connect,
            _ => step,
        };
        self.steps.push((step, Moment::now().since(began)));
        (step, why)
    }
}

/// Whether a connect that failed for this reason got nowhere near a CONNACK. One that timed out, or was
/// cut, stood already when the endpoint was probed.
fn is_of_the_way(reason: Reason) -> bool {
    let told_at_connack = matches!(reason, Reason::ConnectionLost | Reason::ConnectionReset | Reason::ConnectTimeout);
    let is_other = matches!(
        reason,
        Reason::ClientCertificateRefused | Reason::PasswordUnavailable | Reason::TooManyOpenFiles | Reason::Internal
    ) || reason.is_workers();
    reason.is_network() && !told_at_connack || is_other
}

/// What was granted: as asked, but for the shortfalls.
fn granted(asked: &[Subscription], shortfalls: &[Shortfall]) -> Vec<Granted> {
    let granted = |subscription: &Subscription| {
        let filter = Scrubbed::new(&subscription.filter);
        let short = shortfalls.iter().find(|s| s.filter == filter && s.asked == subscription.qos);
        Granted {
            asked: subscription.qos,
            granted: short.map_or(Some(subscription.qos), |s| s.granted),
            detail: short.map(|s| s.detail.clone()).unwrap_or_default(),
            filter,
        }
    };
    asked.iter().map(granted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_stays_is_not_given_a_subscription_of_ours() {
        let day = Duration::from_secs(86_400);
        for (protocol, clean_start, session_expiry, own, measured) in [
            (Protocol::V5, true, Duration::ZERO, ProbeKind::Heartbeat, ProbeKind::Echo),
            (Protocol::V5, true, day, ProbeKind::Ack, ProbeKind::Echo),
            (Protocol::V5, false, Duration::ZERO, ProbeKind::Heartbeat, ProbeKind::Echo),
            (Protocol::V5, false, day, ProbeKind::Heartbeat, ProbeKind::Ack),
            (Protocol::V5, false, day, ProbeKind::Echo, ProbeKind::Echo),
            (Protocol::V311, false, Duration::ZERO, ProbeKind::Heartbeat, ProbeKind::Ack),
            (Protocol::V311, true, Duration::ZERO, ProbeKind::Off, ProbeKind::Off),
        ] {
            let kind = Probe { kind: own, ..Probe::default() };
            let settings = Settings { protocol, clean_start, session_expiry, probe: kind, ..Settings::default() };
            assert_eq!(probe(&settings), measured, "{settings:?}");
        }
    }

    #[test]
    fn a_client_under_trial_says_nothing_of_its_own() {
        let message = crate::fleet::Message { topic: "t".into(), payload: Arc::new([]), qos: 0, retain: false };
        let traffic = crate::fleet::Traffic { message: message.clone(), every: EVERY };
        let subscribe = vec![Subscription { filter: "a/#".into(), qos: 1 }];
        let conversation = Conversation {
            will: Some(message.clone()),
            birth: Some(message),
            subscribe: subscribe.clone(),
            publish: Some(traffic),
        };
        let mut client = Client::new("x", EndpointKey(7), Arc::default());
        client.conversation = Arc::new(conversation);
        let fleet = alone(&client, &Endpoint::new("e", "h", 1), EVERY);
        let said = Conversation { subscribe, ..Conversation::default() };
        assert_eq!((&*fleet.clients[0].conversation, fleet.clients[0].endpoint()), (&said, EndpointKey(0)));
    }
}
