//! Defines what follows from the end of a connection or of a try: how soon the next one is, or that there is none, and what the end says about the endpoint.

use std::time::Duration;

use crate::{
    clock::Moment,
    event::{Cause, Reason, Remedy, State, Unanswered},
    fleet::{ClientKey, Strategy},
    lifecycle::{Lifecycle, Renewal, backoff},
    text::Scrubbed,
};

impl Lifecycle {
    /// Taken over twice within this time, a client's ID is in use elsewhere.
    const TAKE_OVERS: Duration = Duration::from_secs(60);
    /// The longest wait, in milliseconds, of a client that comes back without its probe.
    const WITHOUT_PROBE: u64 = 500;
    /// How soon a client tries again whose password is issued anew.
    const RENEWAL: Strategy =
        Strategy::Exponential { min: Duration::from_millis(500), max: Duration::from_millis(500) };
    /// A broker that only closes the socket of a client that is taken over does so while, or right
    /// after, the other one connects.
    const RIGHT_AFTER: Duration = Duration::from_secs(1);

    /// A connection ended, or a connect failed.
    pub(super) fn ended(&mut self, client: ClientKey, cause: Cause, unanswered: Option<&Unanswered>, at: Moment) {
        if self.falls_back(client, &cause, unanswered) {
            return self.line_up(client, Reason::ProtocolFallback, at);
        }
        let Cause { reason, detail } = self.true_cause(client, cause, unanswered, at);
        self.tell_endpoint(client, reason, at);
        if reason == Reason::ProbeRefused {
            // Not the client's fault, and it comes back without.
            let delay = Duration::from_millis(self.random.u64(1..=Self::WITHOUT_PROBE));
            self.change(client, State::Backoff, reason, detail, Some(delay), at);
            return self.set_timer(client, at + delay);
        }

        let machine = &mut self.machines[client.index()];
        let policy = machine.settings.reconnect;
        let was_up = machine.state == State::Up;
        let was_stable = was_up && at.since(machine.since) >= policy.stable_after;
        if was_stable {
            machine.failures = 0;
        }
        machine.failures += 1;
        let is_refusal = !was_up && !reason.is_ours();
        machine.refusals = if was_up { 0 } else { machine.refusals + u32::from(is_refusal) };
        let failures = machine.failures;
        let is_rejection = reason.remedy() == Remedy::Later;
        // Who is let in, and then thrown out for what it may not do, was not let in really.
        if was_up && (was_stable || !is_rejection) {
            machine.rejections = 0;
        }
        machine.rejections += u32::from(is_rejection);
        let (rejections, renewal) = (machine.rejections, machine.renewal);
        let may_come_soon = reason.is_of_credentials() && machine.was_let_in;

        let remedy = reason.remedy();
        let is_final = match remedy {
            Remedy::Operator => true,
            Remedy::TakeOver => {
                let earlier = machine.taken_over.replace(at);
                let is_twice = earlier.is_some_and(|earlier| at.since(earlier) <= Self::TAKE_OVERS);
                let is_sure = reason == Reason::SessionTakenOver;
                // A broker may also close when a token ends.
                let is_likely = renewal == Renewal::Never && self.has_witness(client);
                if is_twice && (is_sure || is_likely) {
                    let detail = match is_sure {
                        true => Scrubbed::new("taken over twice within a minute"),
                        false => detail,
                    };
                    return self.change(client, State::Failed, Reason::DuplicateClientId, detail, None, at);
                }
                false
            }
            Remedy::Redirect => !self.redirect(client, &detail),
            Remedy::Retry | Remedy::Busy | Remedy::Later => false,
        };
        if is_final {
            return self.change(client, State::Failed, reason, detail, None, at);
        }
        if policy.max_retries > 0 && failures > policy.max_retries {
            let last = match detail.as_str() {
                "" => format!("last: {}", reason.words()),
                more => format!("last: {}: {more}", reason.words()),
            };
            return self.change(client, State::Failed, Reason::RetriesExhausted, Scrubbed::new(&last), None, at);
        }
        let Some(delay) = backoff::delay(policy.strategy, failures, &mut self.random) else {
            return self.change(client, State::Failed, reason, detail, None, at);
        };
        let (to, delay) = match remedy {
            // What was refused may only have been too old: the next one is a new one.
            Remedy::Later if renewal == Renewal::Issued && reason.is_of_credentials() && rejections <= 1 => {
                (State::Backoff, backoff::delay(Self::RENEWAL, 1, &mut self.random).unwrap_or(delay))
            }
            // It was let in with the same credentials: the broker may have lost sight of them for a moment.
            Remedy::Later if may_come_soon && rejections <= backoff::SOON => {
                (State::Backoff, backoff::soon_delay(rejections, &mut self.random))
            }
            Remedy::Later => {
                let rejections = if may_come_soon { rejections - backoff::SOON } else { rejections };
                (State::Failed, backoff::slow_delay(rejections, &mut self.random))
            }
            _ => (State::Backoff, delay),
        };
        self.change(client, to, reason, detail, Some(delay), at);
        self.set_timer(client, at + delay);
    }

    /// What the end of one client's connection says about its endpoint.
    fn tell_endpoint(&mut self, client: ClientKey, reason: Reason, at: Moment) {
        let machine = &self.machines[client.index()];
        let (endpoint, was_up, since) = (machine.endpoint, machine.state == State::Up, machine.since);
        let access = &mut self.accesses[endpoint.index()];
        if was_up && reason == Reason::KeepAliveTimeout {
            access.asked_in_vain = at;
        }
        // Of one that was never let in it is not certain that there is no room for it.
        if reason.remedy() == Remedy::Busy && (reason != Reason::BrokerFull || machine.was_let_in) {
            access.admission.slow_down(at);
        }
        let is_network = reason.is_network();
        let is_asked = match (was_up, is_network) {
            (true, true) => access.health.lose(at),
            (true, false) if reason == Reason::ServerShuttingDown => access.health.lose(at),
            (false, true) => access.health.doubt(since, at),
            (_, false) if reason.is_brokers() => access.health.hear(at),
            _ => false,
        };
        if is_asked {
            self.effects.push(super::Effect::Probe(endpoint));
        }
    }

    /// Whether another client with the same ID is just coming in at the same endpoint.
    pub(super) fn is_thrown_off(&self, client: ClientKey, at: Moment) -> bool {
        let machine = &self.machines[client.index()];
        let comes_in = |twin: &ClientKey| {
            let other = &self.machines[twin.index()];
            *twin != client
                && other.endpoint == machine.endpoint
                && matches!(other.state, State::Connecting | State::Up)
                && at.since(other.since) <= Self::RIGHT_AFTER
        };
        machine.state == State::Up && machine.twins.as_ref().is_some_and(|twins| twins.iter().any(comes_in))
    }
}
