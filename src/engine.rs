//! Defines the engine: it joins pool and lifecycle, obeys commands and tells all that happens as one ordered, bounded stream of events; who listens is not its matter.

mod renewals;
mod revision;

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval},
};

use crate::{
    bus::Bus,
    clock::{Anchor, Moment},
    command::Command,
    credentials::{self, Keyring},
    endpoint::Prober,
    engine::{renewals::Renewals, revision::Revision},
    event::{
        AlertKey, Deed, Event, Finding, Handled, Handling, Late, Level, Messages, Order, Reason, Request, Sample,
        Shortfall, State, Step, What,
    },
    fleet::{ClientKey, EndpointKey, Fleet, WorkerKey},
    jobs::Jobs,
    lifecycle::{Effect, Lifecycle},
    pool::{Pool, PoolNews},
    transport::{Connector, Resolver},
    wire::{self, Report, SlotMessages, SlotTcp, ToWorker},
};

pub use revision::{Revised, Reviser};

/// A running engine. Dropping it ends it, and its workers with it; [`Engine::stop`] does so in good
/// order.
#[derive(Debug)]
pub struct Engine {
    commands: mpsc::Sender<Command>,
    revisions: mpsc::Sender<Revision>,
    task: JoinHandle<()>,
    workers: usize,
}

impl Engine {
    /// Commands that may wait. A person cannot type so fast, so a full queue is waited for.
    const COMMANDS: usize = 64;

    /// Starts the workers of `fleet` and connects the clients that are to be connected; what happens is
    /// published on `bus`, which is closed when the engine ends. `seed` decides the jitter of their retries.
    /// Must be called inside a tokio runtime.
    pub fn start(fleet: Arc<Fleet>, seed: u64, bus: Bus) -> Engine {
        let (commands, command_receiver) = mpsc::channel(Self::COMMANDS);
        let (revisions, revision_receiver) = mpsc::channel(1);
        let pool = Pool::start(&fleet);
        let workers = pool.placement().workers().len();
        let now = Moment::now();
        let mut lifecycle = Lifecycle::new(&fleet, seed, now);
        for key in fleet.keys() {
            if fleet.client(key).settings.start_connected {
                lifecycle.start(key, now);
            }
        }
        let prober = Prober::new(fleet.endpoints.clone().into(), Connector::new(Resolver::system()));
        let renewals = Renewals::new(&fleet);
        let patience = fleet.endpoint_keys().map(|key| lifecycle.patience(key)).collect();
        let keyring = Keyring::new(fleet.clone());
        let core = Core {
            fleet,
            lifecycle,
            jobs: Jobs::default(),
            pool,
            keyring,
            prober,
            patience,
            renewals,
            news: Vec::new(),
            bus: Open(bus),
        };
        let task = tokio::spawn(core.run(command_receiver, revision_receiver));
        Engine { commands, revisions, task, workers }
    }

    /// How many worker processes the fleet has.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// Where commands go. Whether one worked is seen in the events.
    pub fn commands(&self) -> mpsc::Sender<Command> {
        self.commands.clone()
    }

    /// Where it is told of another fleet.
    pub fn reviser(&self) -> Reviser {
        Reviser(self.revisions.clone())
    }

    /// Disconnects everything, ends the workers and waits until they are gone.
    pub async fn stop(self) {
        let _ = self.commands.send(Command::Stop).await;
        let _ = self.task.await;
    }
}

struct Core {
    fleet: Arc<Fleet>,
    lifecycle: Lifecycle,
    jobs: Jobs,
    pool: Pool,
    keyring: Keyring,
    prober: Prober,
    /// How long a probe of each endpoint may take.
    patience: Box<[Duration]>,
    renewals: Renewals,
    /// What happened since it was last published.
    news: Vec<Event>,
    bus: Open,
}

/// A bus that is closed with its engine, however that ends.
struct Open(Bus);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// How often the time is told.
const SECOND: Duration = Duration::from_secs(1);

impl Core {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>, mut revisions: mpsc::Receiver<Revision>) {
        let mut every_second = interval(SECOND);
        every_second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.carry_out();
            self.take_turns();
            if !self.news.is_empty() {
                self.bus.0.publish(self.news.drain(..));
            }
            let turn = self.jobs.next_deadline(&self.lifecycle, Moment::now());
            let deadline = self.lifecycle.next_deadline().into_iter().chain(turn).min().map(|at| {
                // Half a millisecond late is on time: it lets tokio's coarse timer fire once, not twice.
                Instant::now() + at.since(Moment::now()) + Duration::from_micros(500)
            });
            tokio::select! {
                biased;
                command = commands.recv() => match command {
                    Some(Command::Stop) | None => break,
                    Some(command) => self.obey(command),
                },
                Some(revision) = revisions.recv() => self.revise(revision),
                _ = every_second.tick() => self.tell_time(),
                news = self.pool.next() => match news {
                    Some(news) => self.take_in(news),
                    None => break,
                },
                news = self.keyring.next() => self.fetched(news),
                news = self.prober.next() => {
                    self.probed(news.endpoint, news.finding);
                }
                () = tokio::time::sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {}
            }
            self.lifecycle.poll(Moment::now());
        }
        self.tell_time();
        self.bus.0.publish(self.news.drain(..));
        drop(self.bus); // what the workers say of their end is nobody's matter
        self.pool.stop().await;
    }

    fn tell_time(&mut self) {
        let now = Moment::now();
        self.news.push(Event { at: now, what: What::Second(Anchor::now().utc(now)) });
    }

    fn fetched(&mut self, news: credentials::News) {
        let now = Moment::now();
        match news {
            credentials::News::Renewed(clients) => self.lifecycle.renewed(clients, now),
            credentials::News::Ready(client, ticket, found) => self.lifecycle.fetched(client, ticket, found, now),
            // The client may be elsewhere by now.
            credentials::News::Fetched(client, order, _) if !self.lifecycle.is_connecting(client, order.generation) => {
            }
            credentials::News::Fetched(client, order, Ok(fetched)) => {
                let credentials = Some(Box::new(fetched));
                self.pool.order(client, |slot| ToWorker::Connect { slot, order, credentials });
                self.lifecycle.ordered(client, now);
            }
            credentials::News::Fetched(client, order, Err(cause)) => {
                self.lifecycle.report(client, order.generation, Step::Ended(cause, None), now);
            }
        }
    }

    fn probed(&mut self, endpoint: EndpointKey, finding: Finding) {
        let now = Moment::now();
        // Before anybody connects by it.
        if finding.is_ok() {
            self.pool.learn(endpoint, self.prober.known(endpoint));
        }
        let found = finding.failure.as_ref().map_or(Ok(()), |failure| Err(failure.cause.clone()));
        if let Some(what) = self.renewals.notice(endpoint, &finding, Anchor::now().utc(now)) {
            self.news.push(Event { at: now, what });
        }
        self.news.push(Event { at: now, what: What::Finding(endpoint, Arc::new(finding)) });
        self.lifecycle.probed(endpoint, found, now);
    }

    fn obey(&mut self, command: Command) {
        let now = Moment::now();
        // Who gave it may not have heard yet that they are gone.
        let is_there = |client: &ClientKey| self.fleet.has(*client);
        let there = |clients: Vec<ClientKey>| clients.into_iter().filter(is_there).collect::<Vec<_>>();
        let (clients, act): (_, fn(&mut Lifecycle, ClientKey, Moment)) = match command {
            Command::Connect(clients) => (there(clients), Lifecycle::connect),
            Command::Reconnect(clients) => (there(clients), Lifecycle::reconnect),
            Command::Failover(clients) => (there(clients), Lifecycle::fail_over),
            Command::Disconnect(clients) => (there(clients), Lifecycle::disconnect),
            Command::Hold(endpoint) => return self.order(endpoint, Order::Hold, now),
            Command::Release(endpoint) => return self.order(endpoint, Order::Release, now),
            Command::SetRate(endpoint, to) => {
                let from = self.lifecycle.gate(endpoint).rate_set;
                return self.order(endpoint, Order::Rate { from, to }, now);
            }
            Command::Mute { rule, lasting, by } => {
                let until = (!lasting.is_zero()).then(|| Anchor::now().utc(now + lasting));
                return self.handle(&rule, Handled::Muted { until, by }, now);
            }
            Command::Acknowledge { rule, by } => return self.handle(&rule, Handled::Acknowledged { by }, now),
            Command::Begin(bulk) => {
                self.jobs.begin(bulk, &self.fleet, &self.lifecycle, now);
                return;
            }
            Command::Steer(job, steer) => return self.jobs.steer(job, steer, &self.fleet, &self.lifecycle, now),
            Command::Stop => return,
        };
        for client in clients {
            act(&mut self.lifecycle, client, now);
        }
    }

    /// Tells what the operator wants of a rule's alert; whoever looks after the alerts hears it.
    fn handle(&mut self, rule: &AlertKey, what: Handled, now: Moment) {
        let handling = Box::new(Handling::of(&rule.rule, what));
        self.news.push(Event { at: now, what: What::Handling(handling) });
    }

    /// Has those clients connect or leave whose turn it is in a job.
    fn take_turns(&mut self) {
        let now = Moment::now();
        for (deed, client) in self.jobs.poll(&self.fleet, &self.lifecycle, now) {
            match deed {
                Deed::Connect => self.lifecycle.connect(client, now),
                Deed::Reconnect => self.lifecycle.reconnect(client, now),
                Deed::Disconnect => self.lifecycle.disconnect(client, now),
            }
        }
        self.carry_out();
        self.news.extend(self.jobs.drain(now));
    }

    /// Does what the operator wants of an endpoint, and tells it before what follows from it.
    fn order(&mut self, endpoint: EndpointKey, order: Order, now: Moment) {
        self.news.push(Event { at: now, what: What::Order(endpoint, order) });
        match order {
            Order::Hold => self.lifecycle.hold(endpoint, now),
            Order::Release => self.lifecycle.release(endpoint, now),
            Order::Rate { to, .. } => self.lifecycle.set_rate(endpoint, to),
        }
    }

    fn take_in(&mut self, news: PoolNews) {
        let placement = self.pool.placement().clone();
        match news {
            PoolNews::Ready(worker) => {
                self.lifecycle.worker_ready(worker, placement.clients_of(worker).iter().copied(), Moment::now());
            }
            PoolNews::Lost { worker, cause, at } => {
                self.lifecycle.worker_lost(placement.clients_of(worker).iter().copied(), &cause, at);
            }
            PoolNews::Report(worker, report) => self.take_in_report(worker, report),
            PoolNews::Warning(text) => {
                let what = What::Notice { level: Level::Warning, text };
                self.news.push(Event { at: Moment::now(), what });
            }
            PoolNews::Event { worker, event, detail } => {
                self.news.push(Event { at: Moment::now(), what: What::Worker { worker, event, detail } });
            }
        }
    }

    fn take_in_report(&mut self, worker: WorkerKey, report: Report) {
        let placement = self.pool.placement().clone();
        let current = |lifecycle: &Lifecycle, slot, generation| {
            placement.client(worker, slot).filter(|client| lifecycle.is_up(*client, generation))
        };
        let mut connacks = Vec::new();
        for news in report.news {
            let Some(client) = placement.client(worker, news.slot) else { continue };
            if let Step::Up(connack) = &news.step {
                connacks.push((news.slot, news.generation, news.at, Arc::new((**connack).clone())));
            }
            self.lifecycle.report(client, news.generation, news.step, news.at);
        }
        // Transitions first: what is told of a connection must find its client up.
        self.carry_out();
        for (slot, generation, at, connack) in connacks {
            if let Some(client) = current(&self.lifecycle, slot, generation) {
                self.news.push(Event { at, what: What::Connack(client, connack) });
            }
        }
        for sample in report.samples {
            if let Some(client) = placement.client(worker, sample.slot) {
                self.lifecycle.heard(client, sample.at);
                let what = What::Sample(Sample { client, probe: sample.probe, rtt: sample.rtt });
                self.news.push(Event { at: sample.at, what });
            }
        }
        for late in report.late {
            if let Some(client) = current(&self.lifecycle, late.slot, late.generation) {
                self.lifecycle.late(client, late.since);
                let what = What::Late(Late { client, probe: late.probe, since: late.since });
                self.news.push(Event { at: Moment::now(), what });
            }
        }
        for SlotTcp { slot, generation, at, tcp } in report.tcp {
            if let Some(client) = current(&self.lifecycle, slot, generation) {
                self.news.push(Event { at, what: What::Tcp(client, tcp) });
            }
        }
        for shortfall in report.shortfalls {
            if let Some(client) = current(&self.lifecycle, shortfall.slot, shortfall.generation) {
                let is_unanswered = shortfall.is_unanswered();
                let wire::Shortfall { at, request, filter, asked, granted, detail, .. } = shortfall;
                if request == Request::Probe {
                    if !is_unanswered {
                        self.lifecycle.refused(client, request, &detail, at);
                    }
                    continue;
                }
                let shortfall = Shortfall { client, request, filter, asked, granted, detail };
                self.news.push(Event { at, what: What::Shortfall(shortfall) });
            }
        }
        for subscribed in report.subscribed {
            if let Some(client) = current(&self.lifecycle, subscribed.slot, subscribed.generation) {
                let what = What::Subscribed(client, subscribed.took);
                self.news.push(Event { at: subscribed.at, what });
            }
        }
        for messages in report.messages {
            if let Some(client) = placement.client(worker, messages.slot) {
                let SlotMessages { received, published, refused, .. } = messages;
                let what = What::Messages(Messages { client, received, published, refused });
                self.news.push(Event { at: Moment::now(), what });
            }
        }
        if report.samples_lost > 0 {
            self.news.push(Event { at: Moment::now(), what: What::SamplesLost(report.samples_lost) });
        }
    }

    /// Does what the lifecycle decided.
    fn carry_out(&mut self) {
        for effect in self.lifecycle.drain() {
            match effect {
                Effect::Transition(at, step) => {
                    if matches!(step.reason, Reason::BadCredentials | Reason::NotAuthorized | Reason::NotLetIn) {
                        self.keyring.refused(step.client);
                    }
                    if matches!(step.to, State::Up | State::Off) {
                        self.keyring.forget(step.client);
                    }
                    self.jobs.notice(&step, at);
                    self.news.push(Event { at, what: What::State(step) });
                }
                Effect::Measured(at, measured) => self.news.push(Event { at, what: What::Measured(measured) }),
                Effect::Warning(at, text) => {
                    self.news.push(Event { at, what: What::Notice { level: Level::Warning, text } });
                }
                Effect::Gate(at, endpoint, gate) => self.news.push(Event { at, what: What::Gate(endpoint, gate) }),
                Effect::Fetch(client, ticket) => self.keyring.prepare(client, ticket),
                Effect::Connect(client, order) => match self.fleet.client(client).sources() {
                    [None, None] => {
                        self.pool.order(client, |slot| ToWorker::Connect { slot, order, credentials: None });
                    }
                    _ => self.keyring.ask(client, order),
                },
                Effect::Disconnect(client) => self.pool.order(client, |slot| ToWorker::Disconnect { slot }),
                Effect::Probe(endpoint) => {
                    // One that is under way answers this wish as well.
                    self.prober.ask(endpoint, self.patience[endpoint.index()]);
                }
            }
        }
    }
}
