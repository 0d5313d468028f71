//! Defines when each client connects, where, waits, retries and is given up: the only place where a retry is decided. It runs on given time and does nothing itself: what must be done comes out as effects.

mod admission;
mod backoff;
mod culprit;
mod failover;
mod gate;
mod health;
mod ladder;
mod queue;
mod revision;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    sync::Arc,
    time::Duration,
};

use tracing::debug;

use crate::{
    clock::Moment,
    event::{Cause, ConnectOrder, Gate, Generation, Measured, Reason, Remedy, State, Step, Transition},
    fleet::{Client, ClientKey, EndpointKey, Fleet, PasswordSource, Protocol, Settings, Strategy, WorkerKey},
    lifecycle::{culprit::Suspect, gate::Access},
    text::Scrubbed,
};

/// What the engine has to do, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Tell the world.
    Transition(Moment, Transition),
    /// Tell the world how it stands with an endpoint.
    Gate(Moment, EndpointKey, Gate),
    /// Tell the world by what a client is measured.
    Measured(Moment, Measured),
    /// Tell the operator.
    Warning(Moment, Scrubbed),
    /// Have fetched what the client connects with; [`Lifecycle::fetched`] is to be told with this number what
    /// became of it. Nobody waits at the gate behind a client that waits for this.
    Fetch(ClientKey, u32),
    /// Order the client's worker to connect it to this endpoint. Where its password is fetched, it is the newest
    /// that counts, and [`Lifecycle::ordered`] is to be told when that was ordered.
    Connect(ClientKey, ConnectOrder),
    /// Order the client's worker to disconnect it.
    Disconnect(ClientKey),
    /// Find out whether the endpoint can be reached; the answer goes to [`Lifecycle::probed`].
    Probe(EndpointKey),
}

/// Whether a client may have another password by its next connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Renewal {
    /// It has one for the whole run, or none.
    Never,
    /// It is fetched before each connect.
    Fetched,
    /// The same, and what was refused is not given again: a command says another one.
    Issued,
}

impl Renewal {
    fn of(client: &Client) -> Renewal {
        let is_issued = |source: &Arc<PasswordSource>| source.is_command();
        match client.sources() {
            [None, None] => Renewal::Never,
            [Some(source), _] if is_issued(source) => Renewal::Issued,
            _ => Renewal::Fetched,
        }
    }
}

/// One client.
#[derive(Debug)]
struct Machine {
    state: State,
    /// When it came into this state, and why.
    since: Moment,
    reason: Reason,
    /// Where it connects at present.
    endpoint: EndpointKey,
    /// Where it may, in order of preference.
    endpoints: Arc<[EndpointKey]>,
    settings: Arc<Settings>,
    renewal: Renewal,
    /// All clients with its ID, where there are several.
    twins: Option<Arc<[ClientKey]>>,
    /// The number of its last connect order. Reports of other numbers are about abandoned connections.
    generation: Generation,
    /// Tries that came to nothing, and connections that were lost, since it was last stable.
    failures: u32,
    /// Those of them that failed at this endpoint since it was last up.
    refusals: u32,
    /// How often in a row it was not let in for its credentials.
    rejections: u32,
    /// Whether it was let in before, with the same credentials.
    was_let_in: bool,
    /// Who or what may have ended its last connection.
    suspect: Suspect,
    /// Whether its probes are left out.
    is_muted: bool,
    /// The version of its present connect, or of the last one,
    protocol: Protocol,
    /// and whether the older one is tried next, where it may speak either.
    is_old: bool,
    /// Where it was up last, and how long its session is kept there once it has left,
    session: Option<(EndpointKey, Duration)>,
    /// and when it left.
    left: Moment,
    taken_over: Option<Moment>,
    /// The endpoint that it is to use next, and why: its broker or its operator sent it there.
    sent_to: Option<(EndpointKey, Reason)>,
    /// It is where it was sent, and stays.
    is_redirected: bool,
    /// Its worker, while that takes orders.
    worker: Option<WorkerKey>,
    /// Why there is none, while there is none.
    absence: Cause,
    /// When it was let through to connect the last time; before the first time, when it was made.
    admitted: Moment,
    /// The number of the timer or the place in a queue that counts; older ones are dead.
    ticket: u32,
}

impl Machine {
    fn new(client: &Client, twins: Option<Arc<[ClientKey]>>, now: Moment) -> Machine {
        Machine {
            state: State::Off,
            since: now,
            reason: Reason::NotStarted,
            endpoint: client.endpoint(),
            endpoints: client.endpoints.clone(),
            settings: client.settings.clone(),
            renewal: Renewal::of(client),
            twins,
            generation: 0,
            failures: 0,
            refusals: 0,
            rejections: 0,
            was_let_in: false,
            suspect: Suspect::Nobody,
            is_muted: false,
            protocol: client.settings.protocol,
            is_old: false,
            session: None,
            left: now,
            taken_over: None,
            sent_to: None,
            is_redirected: false,
            worker: None,
            absence: Cause { reason: Reason::Start, detail: Scrubbed::default() },
            admitted: now,
            ticket: 0,
        }
    }

    /// The operator takes a hand: what went wrong before counts no more.
    fn forgive(&mut self) {
        (self.failures, self.refusals, self.rejections, self.taken_over) = (0, 0, 0, None);
        self.suspect = Suspect::Nobody;
        self.is_old = false;
        (self.sent_to, self.is_redirected) = (None, false);
    }
}

/// The lifecycles of a fleet's clients, and the gate of each endpoint.
#[derive(Debug)]
pub struct Lifecycle {
    machines: Vec<Machine>,
    accesses: Vec<Access>,
    /// When a client waiting for its next try has waited enough, a connect is late beyond reason, or
    /// a client that is away from home looks whether it can go back.
    timers: BinaryHeap<Reverse<(Moment, ClientKey, u32)>>,
    random: fastrand::Rng,
    effects: Vec<Effect>,
}

impl Lifecycle {
    /// How long after a client's connect timeout its worker is no longer waited for.
    const GRACE: Duration = Duration::from_secs(5);

    /// All clients off, no worker there, nothing known of any endpoint. `seed` decides the jitter.
    pub fn new(fleet: &Fleet, seed: u64, now: Moment) -> Lifecycle {
        let mut twins = twins(fleet);
        let mut machine = |(key, client): (ClientKey, &Client)| Machine::new(client, twins.remove(&key), now);
        Lifecycle {
            machines: (0..).map(ClientKey).zip(&fleet.clients).map(&mut machine).collect(),
            accesses: Access::of_all(fleet, now),
            timers: BinaryHeap::new(),
            random: fastrand::Rng::with_seed(seed),
            effects: Vec::new(),
        }
    }

    pub fn state(&self, client: ClientKey) -> State {
        self.machines[client.index()].state
    }

    /// The endpoint where the client is, or waits.
    pub fn endpoint(&self, client: ClientKey) -> EndpointKey {
        self.machines[client.index()].endpoint
    }

    /// Whether one of the client's endpoints would let it through now, or may do so once it is asked.
    pub fn may_connect(&self, client: ClientKey) -> bool {
        let machine = &self.machines[client.index()];
        // Nobody goes elsewhere because the operator holds an endpoint.
        let is_on_hold = self.accesses[machine.endpoint.index()].is_on_hold;
        !is_on_hold && machine.endpoints.iter().any(|endpoint| self.accesses[endpoint.index()].may_open())
    }

    /// Whether the client is up by this connect order.
    pub fn is_up(&self, client: ClientKey, generation: Generation) -> bool {
        let machine = &self.machines[client.index()];
        machine.state == State::Up && machine.generation == generation
    }

    /// Whether this connect order is still to be carried out.
    pub fn is_connecting(&self, client: ClientKey, generation: Generation) -> bool {
        let machine = &self.machines[client.index()];
        machine.state == State::Connecting && machine.generation == generation
    }

    /// Takes what has to be done.
    pub fn drain(&mut self) -> impl Iterator<Item = Effect> + '_ {
        self.effects.drain(..)
    }

    /// Starts a client that the fleet file wants connected.
    pub fn start(&mut self, client: ClientKey, now: Moment) {
        self.line_up(client, Reason::Start, now);
    }

    /// The operator wants it connected: does something where it is off, given up or waiting.
    pub fn connect(&mut self, client: ClientKey, now: Moment) {
        if matches!(self.state(client), State::Off | State::Failed | State::Backoff) {
            self.try_anew(client, now);
            self.line_up(client, Reason::OperatorConnect, now);
        }
    }

    /// The operator wants a new connection, whatever there is. Where its worker is not there, it is told
    /// what the connection waits for, also where nothing changes.
    pub fn reconnect(&mut self, client: ClientKey, now: Moment) {
        self.leave_worker(client);
        self.try_anew(client, now);
        self.line_up(client, Reason::OperatorReconnect, now);
    }

    /// The operator wants it elsewhere: at the next of its endpoints that answered when it was asked last, where there is one. It stays there until
    /// it is told to reconnect.
    pub fn fail_over(&mut self, client: ClientKey, now: Moment) {
        let Some(target) = self.alternatives(client, true).next() else { return };
        if self.state(client) == State::Off {
            return;
        }
        self.leave_worker(client);
        self.try_anew(client, now);
        self.machines[client.index()].sent_to = Some((target, Reason::Failover));
        self.line_up(client, Reason::Failover, now);
    }

    /// What was found out before is found out again.
    fn try_anew(&mut self, client: ClientKey, now: Moment) {
        let machine = &mut self.machines[client.index()];
        machine.forgive();
        self.accesses[machine.endpoint.index()].speaks_old = false;
        self.unmute(client, now);
    }

    /// The operator wants it off. That holds for every worker to come.
    pub fn disconnect(&mut self, client: ClientKey, now: Moment) {
        if self.state(client) != State::Off {
            self.leave_worker(client);
            self.machines[client.index()].forgive();
            self.change(client, State::Off, Reason::OperatorDisconnect, Scrubbed::default(), None, now);
        }
    }

    /// What a client connects with was fetched, and its worker was ordered to connect it: its time begins.
    pub fn ordered(&mut self, client: ClientKey, now: Moment) {
        let machine = &mut self.machines[client.index()];
        machine.since = now;
        let late = now + machine.settings.connect_timeout + Self::GRACE;
        self.set_timer(client, late);
    }

    /// What was fetched for a client that waits is there, or why it is not; `ticket` is the number of the
    /// [`Effect::Fetch`].
    pub fn fetched(&mut self, client: ClientKey, ticket: u32, found: Result<(), Cause>, now: Moment) {
        let machine = &self.machines[client.index()];
        if (machine.state, machine.ticket) != (State::Queued, ticket) {
            return; // it went elsewhere meanwhile
        }
        match found {
            Ok(()) => self.enqueue(client),
            Err(cause) => self.ended(client, cause, None, now),
        }
    }

    /// The password that a broker refused, or that could not be had, is another one now: these clients
    /// need not wait any longer.
    pub fn renewed(&mut self, clients: impl IntoIterator<Item = ClientKey>, now: Moment) {
        for client in clients {
            let machine = &self.machines[client.index()];
            let waits = matches!(machine.state, State::Failed | State::Backoff);
            let waits = waits && machine.settings.reconnect.strategy != Strategy::Never;
            if waits && (machine.reason.remedy() == Remedy::Later || machine.reason == Reason::PasswordUnavailable) {
                self.line_up(client, Reason::Retry, now);
            }
        }
    }

    /// A worker says what became of a connect order.
    pub fn report(&mut self, client: ClientKey, generation: Generation, step: Step, at: Moment) {
        let machine = &mut self.machines[client.index()];
        if generation != machine.generation {
            return;
        }
        match (machine.state, step) {
            (State::Connecting, Step::Up(connack)) => {
                let endpoint = machine.endpoint;
                let (reason, detail) = self.came_up(client, &connack, at);
                self.change(client, State::Up, reason, Scrubbed::new(&detail), None, at);
                let access = &mut self.accesses[endpoint.index()];
                access.admission.recover(at);
                if access.health.hear(at) {
                    self.effects.push(Effect::Probe(endpoint));
                }
                self.look_home_later(client, at);
            }
            (State::Connecting | State::Up, Step::Ended(cause, unanswered)) => {
                self.ended(client, cause, unanswered.as_deref(), at);
            }
            _ => {}
        }
    }

    /// A worker is there and takes orders for these clients.
    pub fn worker_ready(&mut self, worker: WorkerKey, clients: impl IntoIterator<Item = ClientKey>, now: Moment) {
        for client in clients {
            let machine = &mut self.machines[client.index()];
            machine.worker = Some(worker);
            if machine.state == State::Held {
                let reason = if machine.generation == 0 { Reason::Start } else { Reason::WorkerReady };
                self.line_up(client, reason, now);
            }
        }
    }

    /// A worker is gone, or as good as gone, and with it the connections of these clients.
    pub fn worker_lost(&mut self, clients: impl IntoIterator<Item = ClientKey>, cause: &Cause, now: Moment) {
        for client in clients {
            let machine = &mut self.machines[client.index()];
            machine.worker = None;
            machine.absence = cause.clone();
            let is_affected = match machine.state {
                State::Queued | State::Connecting | State::Up => {
                    machine.generation += 1;
                    true
                }
                // It waited for this worker already, but for another reason than holds now.
                State::Held => {
                    let waits = machine.reason.is_workers() || machine.reason == Reason::Start;
                    waits && machine.reason != cause.reason
                }
                State::Off | State::Backoff | State::Failed => false,
            };
            if is_affected {
                self.change(client, State::Held, cause.reason, cause.detail.clone(), None, now);
            }
        }
    }

    /// Lets time pass: fires what is due, admits whom the gates let through.
    pub fn poll(&mut self, now: Moment) {
        while let Some(&Reverse((due, client, ticket))) = self.timers.peek() {
            if due > now {
                break;
            }
            self.timers.pop();
            if self.machines[client.index()].ticket == ticket {
                self.fire(client, now);
            }
        }
        for endpoint in (0..self.accesses.len() as u16).map(EndpointKey) {
            self.poll_endpoint(endpoint, now);
        }
        // Dead timers must not pile up while clients flap faster than their timers run out.
        if self.timers.len() > 4 * self.machines.len() + 64 {
            let machines = &self.machines;
            self.timers.retain(|Reverse((_, client, ticket))| machines[client.index()].ticket == *ticket);
        }
    }

    /// When [`Lifecycle::poll`] has something to do next, if ever.
    pub fn next_deadline(&self) -> Option<Moment> {
        let timer = self.timers.peek().map(|Reverse((due, ..))| *due);
        self.accesses.iter().filter_map(Access::deadline).chain(timer).min()
    }

    fn fire(&mut self, client: ClientKey, now: Moment) {
        match self.state(client) {
            State::Backoff | State::Failed => self.line_up(client, Reason::Retry, now),
            State::Up => self.look_home(client, now),
            State::Connecting => {
                self.leave_worker(client);
                let detail = Scrubbed::new("no word from the worker");
                self.ended(client, Cause { reason: Reason::ConnectTimeout, detail }, None, now);
            }
            _ => {}
        }
    }

    /// Puts a client into the queue of the endpoint that is best for it, or holds it while there is
    /// something in the way.
    fn line_up(&mut self, client: ClientKey, reason: Reason, now: Moment) {
        let is_answer = matches!(reason, Reason::OperatorConnect | Reason::OperatorReconnect);
        self.ask_unknown(client, now);
        let reason = self.choose(client, now).unwrap_or(reason);
        let machine = &self.machines[client.index()];
        let obstacle = self.accesses[machine.endpoint.index()].obstacle(now);
        let (why, detail, next_try) = match (machine.worker, obstacle) {
            (Some(_), None) => {
                self.change(client, State::Queued, reason, Scrubbed::default(), None, now);
                let machine = &self.machines[client.index()];
                return match machine.renewal {
                    Renewal::Never => self.enqueue(client),
                    Renewal::Fetched | Renewal::Issued => self.effects.push(Effect::Fetch(client, machine.ticket)),
                };
            }
            (Some(_), Some(obstacle)) => obstacle,
            (None, _) => (machine.absence.reason, machine.absence.detail.clone(), None),
        };
        // What it is held for already is no news; the gate tells when its endpoint is asked next. But an
        // operator whose order has to wait for a worker is answered.
        let must_be_told = is_answer && machine.worker.is_none();
        if (machine.state, machine.reason) != (State::Held, why) || must_be_told {
            self.change(client, State::Held, why, detail, next_try, now);
        }
    }

    /// Gives a client that waits its place at the gate.
    fn enqueue(&mut self, client: ClientKey) {
        let machine = &self.machines[client.index()];
        // Without a worker it is held.
        if let Some(worker) = machine.worker {
            self.accesses[machine.endpoint.index()].admission.enqueue(worker, client, machine.ticket);
        }
    }

    fn set_timer(&mut self, client: ClientKey, due: Moment) {
        self.timers.push(Reverse((due, client, self.machines[client.index()].ticket)));
    }

    /// Cuts what connection there is, or is under way.
    fn leave_worker(&mut self, client: ClientKey) {
        let machine = &mut self.machines[client.index()];
        if matches!(machine.state, State::Connecting | State::Up) {
            machine.generation += 1;
            self.effects.push(Effect::Disconnect(client));
        }
    }

    fn change(
        &mut self,
        client: ClientKey,
        to: State,
        reason: Reason,
        detail: Scrubbed,
        next_try: Option<Duration>,
        at: Moment,
    ) {
        let machine = &mut self.machines[client.index()];
        let from = machine.state;
        let access = &mut self.accesses[machine.endpoint.index()];
        match from {
            State::Connecting => access.admission.finished(),
            State::Queued => access.admission.went(),
            State::Up => {
                access.up -= 1;
                (access.left, machine.left) = (at, at);
            }
            _ => {}
        }
        match to {
            State::Connecting => access.admission.started(),
            State::Queued => access.admission.came(),
            State::Up => access.up += 1,
            _ => {}
        }
        (machine.state, machine.since, machine.reason) = (to, at, reason);
        machine.ticket = machine.ticket.wrapping_add(1);
        // A try is counted when it has failed; until then it is the one after those.
        let attempt = machine.failures + u32::from(matches!(to, State::Connecting | State::Up));
        let endpoint = machine.endpoint;
        let [was, is, why] = [from.name(), to.name(), reason.name()];
        debug!(client = client.0, endpoint = endpoint.0, was, is, why, %detail, attempt, ?next_try, "client changes");
        let step = Transition { client, endpoint, from, to, reason, detail, attempt, next_try };
        self.effects.push(Effect::Transition(at, step));
    }
}

/// All clients with the ID of each one that shares it with others.
fn twins(fleet: &Fleet) -> HashMap<ClientKey, Arc<[ClientKey]>> {
    let mut by_id: HashMap<&str, Vec<ClientKey>> = HashMap::new();
    for key in fleet.keys() {
        by_id.entry(&fleet.client(key).id).or_default().push(key);
    }
    let shared = by_id.into_values().filter(|keys| keys.len() > 1).map(Arc::<[ClientKey]>::from);
    shared.flat_map(|keys| keys.iter().map(|key| (*key, keys.clone())).collect::<Vec<_>>()).collect()
}

#[cfg(test)]
mod tests;
