//! Defines which of its endpoints a client goes to: to the next when one is shut or keeps refusing it, back when a better one has held for a while; when it may connect there is the gate's matter.

use std::time::Duration;

use crate::{
    clock::Moment,
    event::{Reason, State},
    fleet::{ClientKey, EndpointKey},
    lifecycle::Lifecycle,
};

impl Lifecycle {
    /// Tries that an endpoint which answers its probes may refuse before the next one's turn.
    const REFUSALS: u32 = 3;
    /// How long a better endpoint must have been open before a client goes back to it.
    const HOME_AFTER: Duration = Duration::from_secs(30);

    /// Moves a client that is about to wait for a connect, where it is better off elsewhere, and
    /// says why.
    pub(super) fn choose(&mut self, client: ClientKey, now: Moment) -> Option<Reason> {
        let machine = &mut self.machines[client.index()];
        if let Some((target, reason)) = machine.sent_to.take() {
            machine.is_redirected = true;
            self.move_to(client, target, now);
            return Some(reason);
        }
        let (here, is_refused) = (machine.endpoint, machine.refusals >= Self::REFUSALS);
        let (target, reason) = if self.accesses[here.index()].health.is_shut() {
            (self.alternatives(client, false).next()?, Reason::Failover)
        } else if is_refused {
            (self.alternatives(client, true).next()?, Reason::Failover)
        } else {
            (self.home(client, now)?, Reason::Failback)
        };
        self.move_to(client, target, now);
        Some(reason)
    }

    /// Sends a client where its broker told it to go, as far as that is one of its own endpoints: the
    /// fleet file decides whom a client shows its credentials. Where the broker named none, it is
    /// the next one. Returns whether there is such an endpoint.
    pub(super) fn redirect(&mut self, client: ClientKey, reference: &str) -> bool {
        let machine = &self.machines[client.index()];
        if !machine.settings.follow_redirects {
            return false;
        }
        let is_named = |e: &EndpointKey| {
            let (name, host, address) = &self.accesses[e.index()].names;
            let words = reference.split(|c: char| c.is_whitespace() || c == ',');
            words.into_iter().any(|word| word == name.as_str() || word == host.as_ref() || word == address)
        };
        let named = machine.endpoints.iter().copied().find(|e| *e != machine.endpoint && is_named(e));
        let target = named.or_else(|| self.alternatives(client, true).next());
        self.machines[client.index()].sent_to = target.map(|target| (target, Reason::Redirected));
        target.is_some()
    }

    /// A client that is up elsewhere looks whether it can go home, and does so if nobody has to
    /// queue there: it leaves a connection that works.
    pub(super) fn look_home(&mut self, client: ClientKey, now: Moment) {
        let Some(target) = self.home(client, now) else { return self.look_home_later(client, now) };
        let access = &self.accesses[target.index()];
        let is_stale = access.health.is_stale(now);
        if is_stale || access.admission.eta() > Duration::from_secs(1) {
            if is_stale {
                self.ask(target, now);
            }
            let soon = Duration::from_millis(self.random.u64(1_000..5_000));
            return self.set_timer(client, now + soon);
        }
        self.leave_worker(client);
        self.line_up(client, Reason::Failback, now);
    }

    /// Arms the timer of a client that came up elsewhere than at its first endpoint. Its jitter is
    /// what spreads a fleet's way back.
    pub(super) fn look_home_later(&mut self, client: ClientKey, now: Moment) {
        let machine = &self.machines[client.index()];
        if machine.endpoint != machine.endpoints[0] && !machine.is_redirected {
            let wait = Self::HOME_AFTER.mul_f64(1.0 + self.random.f64());
            self.set_timer(client, now + wait);
        }
    }

    /// The best of the endpoints that the client prefers to where it is and that it can go back to.
    fn home(&self, client: ClientKey, now: Moment) -> Option<EndpointKey> {
        let machine = &self.machines[client.index()];
        let better = machine.endpoints.iter().copied().take_while(|e| *e != machine.endpoint);
        let has_held = |e: &EndpointKey| {
            let access = &self.accesses[e.index()];
            !access.is_on_hold && access.health.open_for(now) >= Self::HOME_AFTER
        };
        better.into_iter().find(has_held).filter(|_| !machine.is_redirected)
    }

    /// The client's other endpoints that answer: from its first one, or from the one `after` where it is.
    pub(super) fn alternatives(&self, client: ClientKey, after: bool) -> impl Iterator<Item = EndpointKey> {
        let machine = &self.machines[client.index()];
        let list = &machine.endpoints;
        let place = list.iter().position(|e| *e == machine.endpoint).unwrap_or(0);
        let turned = list.iter().cycle().skip(if after { place } else { 0 }).take(list.len());
        turned.copied().filter(move |e| {
            let access = &self.accesses[e.index()];
            *e != machine.endpoint && access.health.is_good() && !access.is_on_hold
        })
    }

    pub(super) fn move_to(&mut self, client: ClientKey, target: EndpointKey, now: Moment) {
        let machine = &mut self.machines[client.index()];
        let here = machine.endpoint.index();
        match machine.state {
            State::Queued => {
                self.accesses[here].admission.went();
                self.accesses[target.index()].admission.came();
            }
            // Told to reconnect amid a connect, which has been called off already.
            State::Connecting => {
                self.accesses[here].admission.finished();
                self.accesses[target.index()].admission.started();
            }
            // It left a connection that worked.
            State::Up => {
                self.accesses[here].up -= 1;
                self.accesses[target.index()].up += 1;
            }
            _ => {}
        }
        // Another broker may take its probes, and know its credentials or not.
        self.unmute(client, now);
        let machine = &mut self.machines[client.index()];
        machine.endpoint = target;
        (machine.refusals, machine.was_let_in, machine.is_old) = (0, false, false);
        if self.accesses[target.index()].health.is_stale(now) {
            self.ask(target, now);
        }
    }
}
