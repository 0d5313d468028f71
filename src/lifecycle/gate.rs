//! Defines how an endpoint's health, its admission and the operator's hold work together on the clients that wait for it; which of its endpoints a client waits for is decided elsewhere.

use std::{mem::discriminant, time::Duration};

use tracing::debug;

use crate::{
    clock::Moment,
    event::{Cause, Condition, ConnectOrder, Gate, Manner, Reason, State},
    fleet::{ClientKey, EndpointKey, Fleet, Strategy},
    lifecycle::{
        Effect, Lifecycle, Machine, Renewal,
        admission::Admission,
        culprit::Suspect,
        health::{Due, Health},
    },
    text::Scrubbed,
};

/// The way to one endpoint.
#[derive(Debug)]
pub(super) struct Access {
    pub health: Health,
    pub admission: Admission,
    pub is_on_hold: bool,
    /// What a broker may call it by: name, host, address.
    pub names: (Scrubbed, Box<str>, String),
    /// Whether there is no TLS on the way to it.
    pub is_plain: bool,
    /// How many clients are up there.
    pub up: u32,
    /// When one of them left it last.
    pub left: Moment,
    /// When the last of those began to connect that came up there.
    pub newcomer: Moment,
    /// Since when the newest probe of a client that is up there has had no answer, though it is late.
    pub asked_in_vain: Moment,
    /// Whether a client came up there with MQTT 5,
    pub speaks_v5: bool,
    /// and whether one that may speak either had to make do with 3.1.1.
    pub speaks_old: bool,
    /// Whether it was told that it refuses probes.
    pub is_probe_told: bool,
    /// What was told of it last, and when.
    told: (Moment, Gate),
}

impl Access {
    /// What changes all the time is told at most this often.
    const TELL: Duration = Duration::from_secs(1);

    pub(super) fn of_all(fleet: &Fleet, now: Moment) -> Vec<Access> {
        let mut strategies: Vec<Vec<Strategy>> = vec![Vec::new(); fleet.endpoints.len()];
        let mut patience = vec![Duration::ZERO; fleet.endpoints.len()];
        for client in fleet.keys().map(|key| fleet.client(key)) {
            for endpoint in client.endpoints.iter() {
                let longest = &mut patience[endpoint.index()];
                *longest = client.settings.connect_timeout.max(*longest);
                let known = &mut strategies[endpoint.index()];
                let strategy = client.settings.reconnect.strategy;
                if !known.contains(&strategy) {
                    known.push(strategy);
                }
            }
        }
        let access = |((endpoint, strategies), patience): ((&crate::fleet::Endpoint, Vec<Strategy>), Duration)| {
            let health = Health::new(strategies.into_iter(), patience, now);
            let admission = Admission::new(endpoint, now);
            let names = (endpoint.name.clone(), endpoint.host.clone(), endpoint.address());
            let told = (now, gate(Condition::Unknown, &admission));
            let is_plain = endpoint.transport.tls().is_none();
            Access {
                health,
                admission,
                is_on_hold: false,
                names,
                is_plain,
                up: 0,
                left: now,
                newcomer: now,
                asked_in_vain: now,
                speaks_v5: false,
                speaks_old: false,
                is_probe_told: false,
                told,
            }
        };
        fleet.endpoints.iter().zip(strategies).zip(patience).map(access).collect()
    }

    /// The endpoint is that of `fresh` from now on; who is there, and how it stands, is as before.
    pub(super) fn revise(&mut self, fresh: Access) {
        self.health.revise(fresh.health);
        self.admission.revise(fresh.admission);
        (self.names, self.is_plain) = (fresh.names, fresh.is_plain);
    }

    /// Another broker may be at the other end: nothing is known of it yet.
    pub(super) fn reset(&mut self, now: Moment) {
        self.health.reset(now);
        (self.speaks_v5, self.speaks_old, self.is_probe_told) = (false, false, false);
        (self.left, self.newcomer, self.asked_in_vain) = (now, now, now);
    }

    fn gate(&self) -> Gate {
        let condition = if self.is_on_hold { Condition::OnHold } else { self.health.condition() };
        gate(condition, &self.admission)
    }

    /// Why nobody may wait in its queue, and how long until that may change.
    pub(super) fn obstacle(&self, now: Moment) -> Option<(Reason, Scrubbed, Option<Duration>)> {
        match self.gate().condition {
            Condition::Open => None,
            Condition::OnHold => Some((Reason::OperatorHold, Scrubbed::default(), None)),
            Condition::Unknown | Condition::Probing => Some((Reason::EndpointUnknown, Scrubbed::default(), None)),
            Condition::Shut { cause, next_probe } => {
                Some((cause.reason, cause.detail, next_probe.map(|at| at.since(now))))
            }
        }
    }

    /// Whether it lets clients through, or may do so once it is asked.
    pub(super) fn may_open(&self) -> bool {
        matches!(self.gate().condition, Condition::Open | Condition::Unknown | Condition::Probing)
    }

    /// Whether it is there for clients that are up: they have not all asked it in vain.
    pub(super) fn is_alive(&self) -> bool {
        self.up > 0 && self.asked_in_vain <= self.health.heard()
    }

    fn is_letting_through(&self) -> bool {
        !self.is_on_hold && self.health.is_open()
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        let opening = self.admission.next_opening().filter(|_| self.is_letting_through());
        [opening, self.health.deadline(), self.telling()].into_iter().flatten().min()
    }

    /// When there is something to tell of it.
    fn telling(&self) -> Option<Moment> {
        let (at, told) = &self.told;
        let now = Gate { in_flight: told.in_flight, ..self.gate() };
        let is_urgent = discriminant(&now.condition) != discriminant(&told.condition) || now.rate_set != told.rate_set;
        (now != *told).then(|| if is_urgent { *at } else { *at + Self::TELL })
    }
}

fn gate(condition: Condition, admission: &Admission) -> Gate {
    Gate {
        condition,
        waiting: admission.waiting(),
        in_flight: admission.in_flight(),
        rate_set: admission.rate_set(),
        rate: admission.rate(),
        eta: admission.eta(),
    }
}

impl Lifecycle {
    /// How it stands with an endpoint.
    pub fn gate(&self, endpoint: EndpointKey) -> Gate {
        self.accesses[endpoint.index()].gate()
    }

    /// How long a probe of the endpoint may take.
    pub fn patience(&self, endpoint: EndpointKey) -> Duration {
        self.accesses[endpoint.index()].health.patience()
    }

    /// A probe's finding: the endpoint can be reached, or why it cannot.
    pub fn probed(&mut self, endpoint: EndpointKey, finding: Result<(), Cause>, now: Moment) {
        let access = &mut self.accesses[endpoint.index()];
        let is_alive = access.is_alive();
        let health = &mut access.health;
        match finding {
            // A broker that is full hangs up, or no longer takes connections: to clients that are up it is there.
            Err(cause) if !(is_alive && cause.reason.may_be_full()) => {
                health.shut(cause, now, &mut self.random);
                self.resettle(endpoint, false, now);
            }
            _ if health.is_good() => health.open(now), // a doubt is gone, and the queue moves on
            _ => {
                let was_shut = health.is_shut();
                health.open(now);
                self.resettle(endpoint, was_shut, now);
            }
        }
    }

    /// A client's endpoint answered it.
    pub fn heard(&mut self, client: ClientKey, at: Moment) {
        let endpoint = self.machines[client.index()].endpoint;
        if self.accesses[endpoint.index()].health.answered(at) {
            self.effects.push(Effect::Probe(endpoint));
        }
    }

    /// A client that is up has waited for an answer since then for longer than it should have to.
    pub fn late(&mut self, client: ClientKey, since: Moment) {
        let endpoint = self.machines[client.index()].endpoint;
        let newest = &mut self.accesses[endpoint.index()].asked_in_vain;
        *newest = since.max(*newest);
    }

    /// The operator lets nobody through to an endpoint. Who is connected stays so, and nobody fails over.
    pub fn hold(&mut self, endpoint: EndpointKey, now: Moment) {
        self.accesses[endpoint.index()].is_on_hold = true;
        self.resettle(endpoint, false, now);
    }

    /// The operator lets clients through again.
    pub fn release(&mut self, endpoint: EndpointKey, now: Moment) {
        self.accesses[endpoint.index()].is_on_hold = false;
        self.resettle(endpoint, false, now);
    }

    /// The operator changes the rate, in connects a second; at least 1.
    pub fn set_rate(&mut self, endpoint: EndpointKey, rate: u32) {
        self.accesses[endpoint.index()].admission.set_rate(rate);
    }

    /// Has the endpoint probed, unless that is under way.
    pub(super) fn ask(&mut self, endpoint: EndpointKey, now: Moment) {
        if self.accesses[endpoint.index()].health.ask(now) {
            self.effects.push(Effect::Probe(endpoint));
        }
    }

    /// Has those of a client's endpoints probed of which nothing is known yet.
    pub(super) fn ask_unknown(&mut self, client: ClientKey, now: Moment) {
        let endpoints = self.machines[client.index()].endpoints.clone();
        for &endpoint in endpoints.iter() {
            if self.accesses[endpoint.index()].health.is_unknown() {
                self.ask(endpoint, now);
            }
        }
    }

    pub(super) fn poll_endpoint(&mut self, endpoint: EndpointKey, now: Moment) {
        match self.accesses[endpoint.index()].health.poll(now) {
            Due::Nothing => {}
            Due::Probe => self.effects.push(Effect::Probe(endpoint)),
            Due::Late => {
                let detail = Scrubbed::new("the probe did not end");
                self.probed(endpoint, Err(Cause { reason: Reason::ConnectTimeout, detail }), now);
            }
        }
        if self.accesses[endpoint.index()].is_letting_through() {
            self.admit(endpoint, now);
        }
        let access = &mut self.accesses[endpoint.index()];
        if access.telling().is_some_and(|at| at <= now) {
            access.told = (now, access.gate());
            debug!(endpoint = endpoint.0, gate = ?access.told.1, "gate changes");
            self.effects.push(Effect::Gate(now, endpoint, access.told.1.clone()));
        }
    }

    fn admit(&mut self, endpoint: EndpointKey, now: Moment) {
        let machines = &self.machines;
        let waits = |client: ClientKey, ticket| machines[client.index()].ticket == ticket;
        self.accesses[endpoint.index()].admission.tidy(waits);
        loop {
            let machines = &self.machines;
            let waits = |client: ClientKey, ticket| machines[client.index()].ticket == ticket;
            let Some(client) = self.accesses[endpoint.index()].admission.admit(now, waits) else { break };
            let machine = &mut self.machines[client.index()];
            machine.generation += 1;
            machine.admitted = now;
            let (generation, renewal) = (machine.generation, machine.renewal);
            let protocol = self.version(client);
            let machine = &mut self.machines[client.index()];
            machine.protocol = protocol;
            let is_own = protocol == machine.settings.protocol;
            let manner = Manner {
                protocol: (!is_own).then_some(protocol),
                is_muted: machine.is_muted,
                is_doubted: matches!(machine.suspect, Suspect::Packet(_, true)),
            };
            self.change(client, State::Connecting, Reason::Admitted, Scrubbed::default(), None, now);
            // What was fetched may have to be fetched anew; that has time limits of its own.
            if renewal == Renewal::Never {
                self.ordered(client, now);
            }
            self.effects.push(Effect::Connect(client, ConnectOrder { generation, endpoint, manner }));
        }
    }

    /// Lets everybody whom it concerns look anew where to wait: those in the queue of an endpoint
    /// that is shut, those who are held and may come here, and, where it `came_back`, those who wait
    /// for another try at it although it is mended. Who was let through last comes last again.
    fn resettle(&mut self, endpoint: EndpointKey, came_back: bool, now: Moment) {
        let is_blocked = self.accesses[endpoint.index()].obstacle(now).is_some();
        let is_concerned = |machine: &Machine| match machine.state {
            State::Held => machine.worker.is_some() && machine.endpoints.contains(&endpoint),
            State::Queued => is_blocked && machine.endpoint == endpoint,
            State::Backoff => came_back && machine.endpoint == endpoint && machine.reason.is_network(),
            _ => false,
        };
        let keys = (0..self.machines.len() as u32).map(ClientKey);
        let mut clients: Vec<_> = keys.filter(|c| is_concerned(&self.machines[c.index()])).collect();
        clients.sort_by_key(|c| self.machines[c.index()].admitted);
        for client in clients {
            let is_first = self.machines[client.index()].generation == 0;
            let reason = if is_first { Reason::Start } else { Reason::EndpointOpen };
            self.line_up(client, reason, now);
        }
    }
}
