//! Defines what ended a connection really, where the broker did not say: what it had been asked last, how it stands with others at the endpoint, and what happened before; how soon the next try is is the ladder's matter.

use std::time::Duration;

use tracing::debug;

use crate::{
    clock::Moment,
    event::{Ask, Cause, Connack, Measured, Reason, Request, State, Unanswered},
    fleet::{ClientKey, ProbeKind, Protocol},
    lifecycle::{Effect, Lifecycle, Machine},
    text::Scrubbed,
};

/// What was suspected of a client's last end.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Suspect {
    #[default]
    Nobody,
    /// The packet in words that had no answer, and whether it was a probe.
    Packet(Scrubbed, bool),
    /// The broker closed a connection that was up for so long, so often in a row, the first time then.
    Somebody { uptime: Duration, times: u32, since: Moment },
    /// The client itself, which was never let in: the broker hung up on it, the first time in a row then.
    Itself { since: Moment },
}

impl Suspect {
    /// Closed so soon after it came up, a client may have been thrown off by another one with its ID that came
    /// back: no usual client waits longer with that.
    const SOON: Duration = Duration::from_secs(60);
    /// So many times in a row, each as long after coming up as the one before: no chance.
    pub(super) const TIMES: u32 = 3;

    /// What it is after one more end like that.
    fn again(&self, uptime: Duration, at: Moment) -> Suspect {
        if uptime > Self::SOON {
            return Suspect::Nobody;
        }
        match *self {
            Suspect::Somebody { uptime: before, times, since }
                if uptime.abs_diff(before) <= (before / 4).max(Duration::from_millis(500)) =>
            {
                Suspect::Somebody { uptime, times: times + 1, since }
            }
            _ => Suspect::Somebody { uptime, times: 1, since: at },
        }
    }
}

impl Lifecycle {
    /// The cause of an end as far as it can be told from all that is known.
    pub(super) fn true_cause(
        &mut self,
        client: ClientKey,
        cause: Cause,
        unanswered: Option<&Unanswered>,
        at: Moment,
    ) -> Cause {
        match self.state(client) {
            State::Up => self.of_the_lost(client, cause, unanswered, at),
            _ => self.of_the_refused(client, cause, unanswered, at),
        }
    }

    fn of_the_lost(&mut self, client: ClientKey, cause: Cause, unanswered: Option<&Unanswered>, at: Moment) -> Cause {
        if cause.reason == Reason::ConnectionLost && self.is_thrown_off(client, at) {
            let detail = Scrubbed::new("another client of this fleet connected with the same ID");
            return Cause { reason: Reason::SessionTakenOver, detail };
        }
        let machine = &mut self.machines[client.index()];
        let before = std::mem::take(&mut machine.suspect);
        // A packet that it lived well without an answer to is not what ended it before.
        let was_stable = at.since(machine.since) >= machine.settings.reconnect.stable_after;
        let before = match before {
            Suspect::Packet(..) if was_stable => Suspect::Nobody,
            before => before,
        };
        if let Some(packet) = unanswered.filter(|u| u.is_suspect() && cause.reason.may_mean_a_packet()) {
            machine.suspect = Suspect::Packet(packet.packet.clone(), packet.is_probe);
            let is_again = before == machine.suspect;
            // A broker that gives a reason means the packet; one that only closes may have had another.
            let is_told = cause.reason.is_brokers();
            return match packet.ask {
                _ if packet.is_probe && (is_again || is_told || machine.settings.reconnect.is_never()) => {
                    let detail = match is_told {
                        true => Scrubbed::new(&format!("{}, {}", cause.reason.words(), cause.detail)),
                        false => cause.detail,
                    };
                    self.mute(client, &detail, at);
                    Cause { reason: Reason::ProbeRefused, detail }
                }
                Ask::Publish if is_again && !packet.is_probe => again(Reason::PublishRefused, cause.detail),
                Ask::Subscribe | Ask::Unsubscribe if is_again && !packet.is_probe => {
                    again(Reason::SubscribeRefused, cause.detail)
                }
                _ => cause,
            };
        }
        if cause.reason != Reason::ConnectionLost {
            return cause;
        }
        machine.suspect = before.again(at.since(machine.since), at);
        match machine.suspect {
            Suspect::Somebody { uptime, times, .. } if times >= Suspect::TIMES => {
                let uptime = uptime.as_secs_f64();
                let detail = format!("closed {times} times, each about {uptime:.1} s after it came up");
                Cause { reason: Reason::SuspectedDuplicate, detail: Scrubbed::new(&detail) }
            }
            _ => cause,
        }
    }

    fn of_the_refused(
        &mut self,
        client: ClientKey,
        cause: Cause,
        unanswered: Option<&Unanswered>,
        at: Moment,
    ) -> Cause {
        let machine = &mut self.machines[client.index()];
        let before = std::mem::take(&mut machine.suspect);
        if let Suspect::Packet(..) = before {
            machine.suspect = before.clone();
        }
        let (protocol, endpoint, began) = (machine.protocol, machine.endpoint, machine.since);
        let access = &self.accesses[endpoint.index()];
        let may_be_old = protocol == Protocol::V5 && !access.speaks_v5;
        let was_let_in = machine.was_let_in;
        const OLD: &str = "speak MQTT 3.1.1 only: set protocol = \"3.1.1\"";
        let Cause { reason, detail } = cause;
        let ask = unanswered.map(|u| u.ask);
        // Those who are up may speak an older version.
        let is_alone = ask == Some(Ask::Connect) && may_be_old;
        let detail = match (ask, reason) {
            (Some(Ask::ClientHello | Ask::Connect), Reason::ConnectionLost | Reason::ConnectionReset)
                if access.is_alive() && !is_alone =>
            {
                let others = if access.up == 1 { "another is".into() } else { format!("{} others are", access.up) };
                if was_let_in {
                    let detail = format!("it hung up, while {others} up");
                    return Cause { reason: Reason::BrokerFull, detail: Scrubbed::new(&detail) };
                }
                let since = if let Suspect::Itself { since } = before { since } else { at };
                machine.suspect = Suspect::Itself { since };
                // Nobody made room, and still there was some for one that came after this client.
                if access.newcomer > since && access.left < since {
                    let detail = "it hung up again, and let another in meanwhile: it may not take this client's ID, \
                                  user name, password or certificate";
                    return Cause { reason: Reason::NotLetIn, detail: Scrubbed::new(detail) };
                }
                let detail = format!("it hung up, while {others} up; or it does not let this client in");
                return Cause { reason: Reason::BrokerFull, detail: Scrubbed::new(&detail) };
            }
            (Some(Ask::Connect), Reason::ConnectionLost) => {
                // With others up it is the right port.
                let hints = match (access.is_plain && access.up == 0, may_be_old) {
                    (true, true) => format!("it may want TLS at this port, be full, or {OLD}"),
                    (true, false) => "it may want TLS at this port, or be full".to_owned(),
                    (false, true) => format!("it may be full, or {OLD}"),
                    (false, false) => "it may be full".to_owned(),
                };
                format!("{detail} ({hints})")
            }
            (Some(Ask::Connect), Reason::ConnectTimeout) if may_be_old => format!("{detail} (it may {OLD})"),
            (Some(Ask::Connect), Reason::ConnectTimeout) if access.up > 0 && access.health.heard() > began => {
                format!("{detail}, though it answers others (it may be full)")
            }
            (_, Reason::UnsupportedProtocolVersion) if protocol == Protocol::V5 => {
                // Another broker may answer there than before.
                self.accesses[endpoint.index()].speaks_v5 = false;
                let semicolon = if detail.is_empty() { "" } else { "; " };
                format!("{detail}{semicolon}it may {OLD}")
            }
            _ => return Cause { reason, detail },
        };
        Cause { reason, detail: Scrubbed::new(&detail) }
    }

    /// Whether another client of the endpoint was up all the while that this one was closed again and again:
    /// it is not the broker that comes and goes.
    pub(super) fn has_witness(&self, client: ClientKey) -> bool {
        let machine = &self.machines[client.index()];
        let Suspect::Somebody { since, .. } = machine.suspect else { return false };
        let is_witness =
            |other: &Machine| other.state == State::Up && other.endpoint == machine.endpoint && other.since <= since;
        self.machines.iter().any(is_witness)
    }

    /// Whether a client that may speak either version has not got an answer to MQTT 5 and goes on with 3.1.1.
    pub(super) fn falls_back(&mut self, client: ClientKey, cause: &Cause, unanswered: Option<&Unanswered>) -> bool {
        let machine = &mut self.machines[client.index()];
        let access = &mut self.accesses[machine.endpoint.index()];
        let is_silent = unanswered.is_some_and(|u| u.ask == Ask::Connect)
            && matches!(cause.reason, Reason::ConnectionLost | Reason::ConnectTimeout);
        if !machine.settings.falls_back || machine.state != State::Connecting || access.speaks_v5 {
            return false;
        }
        if !is_silent && cause.reason != Reason::UnsupportedProtocolVersion {
            return false;
        }
        // What is not answered either way is tried in turn, as the retries come.
        let was_first = machine.protocol == Protocol::V5;
        machine.is_old = was_first;
        if cause.reason == Reason::UnsupportedProtocolVersion {
            access.speaks_old = was_first;
        }
        was_first
    }

    /// The version that the client speaks at its endpoint next.
    pub(super) fn version(&self, client: ClientKey) -> Protocol {
        let machine = &self.machines[client.index()];
        let access = &self.accesses[machine.endpoint.index()];
        match machine.settings.falls_back && !access.speaks_v5 && (machine.is_old || access.speaks_old) {
            true => Protocol::V311,
            false => machine.settings.protocol,
        }
    }

    /// What a client that came up tells of its endpoint, and of its session: why it is up, and a detail.
    pub(super) fn came_up(&mut self, client: ClientKey, connack: &Connack, at: Moment) -> (Reason, String) {
        let machine = &mut self.machines[client.index()];
        let access = &mut self.accesses[machine.endpoint.index()];
        access.newcomer = machine.admitted.max(access.newcomer);
        let is_v5 = machine.protocol == Protocol::V5;
        if is_v5 {
            (access.speaks_v5, access.speaks_old) = (true, false);
        } else if machine.settings.falls_back {
            access.speaks_old = true;
        }
        (machine.refusals, machine.was_let_in) = (0, true);
        let kept = match connack.session_expiry.map_or(machine.settings.session_expiry.as_secs(), u64::from) {
            _ if machine.settings.clean_start => Duration::ZERO,
            _ if !is_v5 => Duration::MAX,
            seconds if seconds >= u64::from(u32::MAX) => Duration::MAX, // MQTT 5.0 §3.1.2.11.2
            seconds => Duration::from_secs(seconds),
        };
        let here = (machine.endpoint, kept);
        let expected = machine.session.replace(here).filter(|(endpoint, _)| *endpoint == here.0);
        let is_lost = !connack.session_present
            && !machine.settings.clean_start
            && expected.is_some_and(|(_, kept)| at.since(machine.left) < kept);
        let mut words = Vec::new();
        if machine.settings.falls_back && !is_v5 {
            words.push("in MQTT 3.1.1");
        }
        words.extend(connack.session_present.then_some("session present"));
        words.extend(is_lost.then_some("the broker has none of it, though clean_start = false"));
        (if is_lost { Reason::SessionLost } else { Reason::Connected }, words.join(", "))
    }

    /// The broker refused something that a client asked for, and said so without ending the connection.
    pub fn refused(&mut self, client: ClientKey, request: Request, detail: &Scrubbed, at: Moment) {
        if request == Request::Probe {
            self.mute(client, detail, at);
        }
    }

    /// Leaves a client's probes out from now on: it is measured by its heartbeats.
    fn mute(&mut self, client: ClientKey, detail: &Scrubbed, at: Moment) {
        let machine = &mut self.machines[client.index()];
        if machine.settings.probe.kind == ProbeKind::Off || std::mem::replace(&mut machine.is_muted, true) {
            return;
        }
        debug!(client = client.0, %detail, "probes are left out");
        let measured = Measured { client, by: ProbeKind::Heartbeat, detail: detail.clone() };
        self.effects.push(Effect::Measured(at, measured));
        let access = &mut self.accesses[machine.endpoint.index()];
        if !std::mem::replace(&mut access.is_probe_told, true) {
            let text = format!(
                "{} refuses a probe ({detail}): heartbeats measure instead; allow the topic, or set another one: \
                 probe = {{ topic = \"…\" }}",
                access.names.0
            );
            self.effects.push(Effect::Warning(at, Scrubbed::new(&text)));
        }
    }

    /// Has a client's probes sent again.
    pub(super) fn unmute(&mut self, client: ClientKey, at: Moment) {
        let machine = &mut self.machines[client.index()];
        if std::mem::take(&mut machine.is_muted) {
            self.accesses[machine.endpoint.index()].is_probe_told = false;
            let by = machine.settings.probe.kind;
            let measured = Measured { client, by, detail: Scrubbed::default() };
            self.effects.push(Effect::Measured(at, measured));
        }
    }
}

/// The same packet twice, and the broker closed both times.
fn again(reason: Reason, detail: Scrubbed) -> Cause {
    let words = format!("{detail}, for the second time: let the broker's access rules (ACL) allow it, or leave it out");
    Cause { reason, detail: Scrubbed::new(&words) }
}
