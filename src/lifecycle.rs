//! Defines when each client connects, waits, retries and is given up: the only place where a retry is decided. It runs on given time and does nothing itself: what must be done comes out as effects.

mod admission;
mod backoff;

use std::{cmp::Reverse, collections::BinaryHeap, sync::Arc, time::Duration};

use crate::{
    clock::Moment,
    event::{Cause, Generation, Reason, Remedy, State, Step, Transition},
    fleet::{ClientKey, EndpointKey, Fleet, Settings},
    lifecycle::admission::Admission,
    text::Scrubbed,
};

/// What the engine has to do, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Tell the world.
    Transition(Moment, Transition),
    /// Order the client's worker to connect it.
    Connect(ClientKey, Generation),
    /// Order the client's worker to disconnect it.
    Disconnect(ClientKey),
}

/// One client.
#[derive(Debug)]
struct Machine {
    state: State,
    endpoint: EndpointKey,
    settings: Arc<Settings>,
    /// The number of its last connect order. Reports of other numbers are about abandoned connections.
    generation: Generation,
    /// Tries that came to nothing, and connections that were lost, since it was last stable.
    failures: u32,
    up_since: Moment,
    /// Its worker takes orders.
    worker: bool,
    /// The number of the timer or the place in a queue that counts; older ones are dead.
    ticket: u32,
}

/// The lifecycles of a fleet's clients, and the gate of each endpoint.
#[derive(Debug)]
pub struct Lifecycle {
    machines: Vec<Machine>,
    admissions: Vec<Admission>,
    /// When a client in backoff tries again, or a connect is late beyond reason.
    timers: BinaryHeap<Reverse<(Moment, ClientKey, u32)>>,
    random: fastrand::Rng,
    effects: Vec<Effect>,
}

impl Lifecycle {
    /// How long after a client's connect timeout its worker is no longer waited for.
    const GRACE: Duration = Duration::from_secs(5);

    /// All clients off, no worker there. `seed` decides the jitter.
    pub fn new(fleet: &Fleet, seed: u64, now: Moment) -> Lifecycle {
        let machine = |client: &crate::fleet::Client| Machine {
            state: State::Off,
            endpoint: client.endpoint(),
            settings: client.settings.clone(),
            generation: 0,
            failures: 0,
            up_since: now,
            worker: false,
            ticket: 0,
        };
        Lifecycle {
            machines: fleet.clients.iter().map(machine).collect(),
            admissions: fleet.endpoints.iter().map(|e| Admission::new(e, now)).collect(),
            timers: BinaryHeap::new(),
            random: fastrand::Rng::with_seed(seed),
            effects: Vec::new(),
        }
    }

    pub fn state(&self, client: ClientKey) -> State {
        self.machines[client.index()].state
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
            self.machines[client.index()].failures = 0;
            self.line_up(client, Reason::OperatorConnect, now);
        }
    }

    /// The operator wants a new connection, whatever there is.
    pub fn reconnect(&mut self, client: ClientKey, now: Moment) {
        self.leave_worker(client);
        self.machines[client.index()].failures = 0;
        self.line_up(client, Reason::OperatorReconnect, now);
    }

    /// The operator wants it off.
    pub fn disconnect(&mut self, client: ClientKey, now: Moment) {
        if self.state(client) != State::Off {
            self.leave_worker(client);
            self.machines[client.index()].failures = 0;
            self.change(client, State::Off, Reason::OperatorDisconnect, Scrubbed::default(), None, now);
        }
    }

    /// A worker says what became of a connect order.
    pub fn report(&mut self, client: ClientKey, generation: Generation, step: Step, at: Moment) {
        let machine = &mut self.machines[client.index()];
        if generation != machine.generation {
            return;
        }
        match (machine.state, step) {
            (State::Connecting, Step::Up { session_present }) => {
                machine.up_since = at;
                let detail = if session_present { "session present" } else { "" };
                self.change(client, State::Up, Reason::Connected, Scrubbed::new(detail), None, at);
            }
            (State::Connecting | State::Up, Step::Ended(cause)) => self.ended(client, cause, at),
            _ => {}
        }
    }

    /// A worker is there and takes orders for these clients.
    pub fn worker_ready(&mut self, clients: impl IntoIterator<Item = ClientKey>, now: Moment) {
        for client in clients {
            let machine = &mut self.machines[client.index()];
            machine.worker = true;
            if machine.state == State::Held {
                let reason = if machine.generation == 0 { Reason::Start } else { Reason::WorkerReady };
                self.line_up(client, reason, now);
            }
        }
    }

    /// A worker is gone, and with it the connections of these clients.
    pub fn worker_lost(&mut self, clients: impl IntoIterator<Item = ClientKey>, detail: &Scrubbed, now: Moment) {
        for client in clients {
            let machine = &mut self.machines[client.index()];
            machine.worker = false;
            if matches!(machine.state, State::Queued | State::Connecting | State::Up) {
                machine.generation += 1;
                self.change(client, State::Held, Reason::WorkerLost, detail.clone(), None, now);
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
        for endpoint in 0..self.admissions.len() {
            self.admit(endpoint, now);
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
        let gates = self.admissions.iter().filter_map(Admission::next_opening);
        gates.chain(timer).min()
    }

    fn fire(&mut self, client: ClientKey, now: Moment) {
        match self.state(client) {
            State::Backoff => self.line_up(client, Reason::Retry, now),
            State::Connecting => {
                self.leave_worker(client);
                let detail = Scrubbed::new("no word from the worker");
                self.ended(client, Cause { reason: Reason::ConnectTimeout, detail }, now);
            }
            _ => {}
        }
    }

    /// Puts a client into its endpoint's queue, or holds it while it has no worker.
    fn line_up(&mut self, client: ClientKey, reason: Reason, now: Moment) {
        let to = if self.machines[client.index()].worker { State::Queued } else { State::Held };
        self.change(client, to, reason, Scrubbed::default(), None, now);
        let machine = &self.machines[client.index()];
        if to == State::Queued {
            self.admissions[machine.endpoint.index()].enqueue(client, machine.ticket);
        }
    }

    fn admit(&mut self, endpoint: usize, now: Moment) {
        loop {
            let machines = &self.machines;
            let waits = |client: ClientKey, ticket| machines[client.index()].ticket == ticket;
            let Some(client) = self.admissions[endpoint].admit(now, waits) else { break };
            let machine = &mut self.machines[client.index()];
            machine.generation += 1;
            let generation = machine.generation;
            let late = now + machine.settings.connect_timeout + Self::GRACE;
            self.change(client, State::Connecting, Reason::Admitted, Scrubbed::default(), None, now);
            let ticket = self.machines[client.index()].ticket;
            self.timers.push(Reverse((late, client, ticket)));
            self.effects.push(Effect::Connect(client, generation));
        }
    }

    /// A connection ended, or a connect failed.
    fn ended(&mut self, client: ClientKey, cause: Cause, at: Moment) {
        let machine = &mut self.machines[client.index()];
        let policy = machine.settings.reconnect;
        if machine.state == State::Up && at.since(machine.up_since) >= policy.stable_after {
            machine.failures = 0;
        }
        machine.failures += 1;
        let failures = machine.failures;
        let delay = backoff::delay(policy.strategy, failures, &mut self.random);
        let Cause { reason, detail } = cause;
        if reason.remedy() == Remedy::Operator {
            return self.change(client, State::Failed, reason, detail, None, at);
        }
        if policy.max_retries > 0 && failures > policy.max_retries {
            let last = match detail.as_str() {
                "" => format!("last: {}", reason.words()),
                more => format!("last: {}: {more}", reason.words()),
            };
            return self.change(client, State::Failed, Reason::RetriesExhausted, Scrubbed::new(&last), None, at);
        }
        let Some(delay) = delay else {
            return self.change(client, State::Failed, reason, detail, None, at);
        };
        self.change(client, State::Backoff, reason, detail, Some(delay), at);
        let ticket = self.machines[client.index()].ticket;
        self.timers.push(Reverse((at + delay, client, ticket)));
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
        let gate = &mut self.admissions[machine.endpoint.index()];
        match (from, to) {
            (State::Connecting, State::Connecting) => {}
            (State::Connecting, _) => gate.finished(),
            (_, State::Connecting) => gate.started(),
            _ => {}
        }
        machine.state = to;
        machine.ticket = machine.ticket.wrapping_add(1);
        // A try is counted when it has failed; until then it is the one after those.
        let attempt = machine.failures + u32::from(matches!(to, State::Connecting | State::Up));
        let endpoint = machine.endpoint;
        let step = Transition { client, endpoint, from, to, reason, detail, attempt, next_try };
        self.effects.push(Effect::Transition(at, step));
    }
}

#[cfg(test)]
mod tests;
