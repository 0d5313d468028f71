//! Defines what a client says once it is up: it subscribes, is born, and has its own traffic and its probes; when it connects and what its end means is the driver's.

use std::time::Duration;

use super::{
    outbox::Outbox,
    timers::{Due, Timers},
};
use crate::{
    clock::Moment,
    event::{Connack, Generation, Manner, Request},
    fleet::{Message, ProbeKind, Subscription},
    mqtt::name as mqtt_name,
    paho::{self, Answer, Client, Pending, Slots},
    text::Scrubbed,
    wire::{ClientDef, Shortfall, Slot, Subscribed},
};

/// How long the broker may take to answer a subscription.
const ANSWER: Duration = Duration::from_secs(10);

/// The least time between two probes, or two messages, of a client, whatever was asked for.
const SHORTEST: Duration = Duration::from_millis(1);

/// What is under way of it. It ends with the connection; only the count of its messages goes on.
#[derive(Default)]
pub(super) struct Talk {
    /// Subscriptions without an answer yet, by their place in the definition.
    asked: Vec<(usize, Pending)>,
    /// The same for the subscription that brings the echoes back.
    echo: Option<Pending>,
    /// Whether the greeting is over: subscriptions answered, birth published.
    greeted: bool,
    /// When the broker accepted it.
    up: Moment,
    /// The number of messages of its own traffic in this run, and how many were not reported yet.
    number: u64,
    published: u32,
    /// How many of those published, now or before, the broker refused and were not reported yet.
    refused: u32,
    /// What the broker takes at most.
    limits: Limits,
    /// Topics of which it was told that messages to them are refused, or less than asked for.
    told: Vec<Box<str>>,
    /// Whether the broker refused the probe of this connection: it sends no more.
    is_muted: bool,
}

/// What a broker takes of a client's messages (MQTT 5.0 §3.2.2.3).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limits {
    maximum_qos: Option<u8>,
    maximum_packet_size: Option<u32>,
    has_no_retain: bool,
    has_no_wildcards: bool,
    has_no_shared: bool,
}

impl Limits {
    pub fn of(connack: &Connack) -> Limits {
        Limits {
            maximum_qos: connack.maximum_qos,
            maximum_packet_size: connack.maximum_packet_size,
            has_no_retain: connack.retain_available == Some(false),
            has_no_wildcards: connack.wildcard_subscription_available == Some(false),
            has_no_shared: connack.shared_subscription_available == Some(false),
        }
    }

    /// The QoS that a message may have.
    fn qos(&self, asked: u8) -> u8 {
        self.maximum_qos.map_or(asked, |maximum| maximum.min(asked))
    }

    /// Why a filter may not be subscribed to: a broker would end the connection over it.
    fn not_offered(&self, filter: &str) -> Option<&'static str> {
        match filter {
            _ if self.has_no_shared && filter.starts_with("$share/") => Some("the broker has no shared subscriptions"),
            _ if self.has_no_wildcards && filter.contains(['+', '#']) => Some("the broker has no wildcards"),
            _ => None,
        }
    }

    /// Why a message of this length, in bytes, may not be sent.
    fn too_long(&self, length: u64) -> Option<String> {
        let maximum = self.maximum_packet_size.filter(|maximum| length > u64::from(*maximum))?;
        Some(format!("its packet of {length} bytes is larger than the broker takes ({maximum} at most)"))
    }
}

/// A client that is up, and what it talks with.
pub(super) struct Turn<'a> {
    pub slot: Slot,
    pub generation: Generation,
    pub client: &'a Client,
    pub def: &'a ClientDef,
    pub manner: Manner,
    pub slots: &'a Slots,
    pub timers: &'a mut Timers,
    pub outbox: &'a mut Outbox,
}

impl Turn<'_> {
    fn later(&mut self, at: Moment, due: Due) {
        self.timers.push(at, self.slot, self.generation, due);
    }

    /// Spread, so that clients that came up together do not speak together.
    fn begin(&mut self, now: Moment, every: Duration, due: Due) {
        self.later(now + every.mul_f64(fastrand::f64()), due);
    }

    fn begin_probes(&mut self, now: Moment) {
        let within = if self.manner.is_doubted { Duration::ZERO } else { self.def.settings.probe.every };
        self.begin(now, within, Due::Probe);
    }

    fn shortfall(&mut self, at: Moment, wanted: &Subscription, granted: Option<u8>, detail: Scrubbed) {
        self.tell(Request::Subscription, at, &wanted.filter, wanted.qos, granted, detail);
    }

    fn tell(&mut self, request: Request, at: Moment, filter: &str, asked: u8, granted: Option<u8>, detail: Scrubbed) {
        let (slot, generation, filter) = (self.slot, self.generation, Scrubbed::new(filter));
        self.outbox.shortfall(Shortfall { slot, generation, at, request, filter, asked, granted, detail });
    }

    /// What brings a client's echoes back to it: a subscription that nobody asked for but the probe.
    fn echoes(&self) -> Subscription {
        Subscription { filter: self.client.probe_topic().into(), qos: 0 }
    }
}

impl Talk {
    /// Begins, once the broker has accepted the client.
    pub fn begin(&mut self, mut turn: Turn<'_>, at: Moment, limits: Limits) {
        (self.greeted, self.up, self.limits, self.is_muted) = (false, at, limits, false);
        self.told.clear();
        let (client, subscribe) = (turn.client, &turn.def.conversation.subscribe);
        let (offered, others): (Vec<_>, Vec<_>) =
            subscribe.iter().enumerate().partition(|(_, wanted)| limits.not_offered(&wanted.filter).is_none());
        self.asked = offered.into_iter().map(|(i, wanted)| (i, client.subscribe(wanted))).collect();
        for (_, wanted) in others {
            let why = limits.not_offered(&wanted.filter).unwrap_or_default();
            turn.shortfall(at, wanted, None, Scrubbed::new(why));
        }
        match turn.def.settings.probe.kind {
            ProbeKind::Ack if limits.qos(1) == 0 => {
                self.mute(&mut turn, at, Scrubbed::new("the broker takes messages at QoS 0 only"));
            }
            ProbeKind::Ack => turn.begin_probes(at),
            ProbeKind::Echo => self.echo = Some(client.subscribe(&turn.echoes())),
            ProbeKind::Heartbeat | ProbeKind::Off => {}
        }
        if !self.asked.is_empty() || self.echo.is_some() {
            turn.later(at + ANSWER, Due::Answers);
        }
    }

    /// Forgets what is under way, at the end of the connection.
    pub fn end(&mut self) {
        self.asked.clear();
        self.echo = None;
    }

    /// Sends no more probes, since the broker refuses them.
    fn mute(&mut self, turn: &mut Turn<'_>, at: Moment, words: Scrubbed) {
        self.is_muted = true;
        turn.slots.mute(turn.slot, true);
        let topic = turn.client.probe_topic();
        let (packet, qos) = match turn.def.settings.probe.kind {
            ProbeKind::Ack => ("PUBLISH to", 1),
            _ => ("SUBSCRIBE", 0),
        };
        let words = if words.is_empty() { "refused" } else { words.as_str() };
        let detail = Scrubbed::new(&format!("{packet} {}: {words}", mqtt_name(topic)));
        turn.tell(Request::Probe, at, topic, qos, None, detail);
    }

    /// Takes in which messages the broker refused.
    fn take_refusals(&mut self, turn: &mut Turn<'_>, at: Moment) {
        let refusals = turn.slots.take_refusals(turn.slot);
        self.refused = self.refused.saturating_add(refusals.count);
        for refusal in refusals.list {
            if refusal.is_probe {
                if !self.is_muted {
                    self.mute(turn, at, refusal.words);
                }
            } else if self.is_news(&refusal.topic) {
                let conversation = &turn.def.conversation;
                let own = conversation.birth.iter().chain(conversation.publish.as_ref().map(|t| &t.message));
                let mut qos = own.filter(|m| *mqtt_name(&m.topic) == *refusal.topic).map(|m| m.qos);
                let qos = qos.next().unwrap_or(1);
                turn.tell(Request::Publish, at, &refusal.topic, qos, None, refusal.words);
            }
        }
    }

    /// Whether nothing was told of messages to this topic yet.
    fn is_news(&mut self, topic: &str) -> bool {
        let is_known = self.told.iter().any(|told| **told == *topic);
        if !is_known {
            self.told.push(topic.into());
        }
        !is_known
    }

    /// What the broker takes of a message; `None` where it takes none such. What is less is told once.
    fn fit(&mut self, turn: &mut Turn<'_>, at: Moment, message: &Message) -> Option<Message> {
        let fit = Message {
            qos: self.limits.qos(message.qos),
            retain: message.retain && !self.limits.has_no_retain,
            ..message.clone()
        };
        let too_long = self.limits.too_long(paho::length(&fit, turn.def.settings.protocol));
        let is_less = (fit.qos, fit.retain) != (message.qos, message.retain) || too_long.is_some();
        if is_less && self.is_news(&mqtt_name(&message.topic)) {
            let granted = too_long.is_none().then_some(fit.qos);
            let detail = match (&too_long, fit.retain == message.retain) {
                (Some(words), _) => words,
                (None, false) => "not retained: the broker keeps no messages",
                (None, true) => "the broker takes no higher QoS",
            };
            turn.tell(Request::Publish, at, &message.topic, message.qos, granted, Scrubbed::new(detail));
        }
        too_long.is_none().then_some(fit)
    }

    /// Takes in what answers there are: with the last one it says that it is there and begins its
    /// traffic.
    pub fn go_on(&mut self, mut turn: Turn<'_>) {
        let at = Moment::now();
        let def = turn.def;
        let mut has_ended = false;
        self.take_refusals(&mut turn, at);
        self.asked.retain_mut(|(i, pending)| {
            let Some(answer) = turn.client.granted(pending) else { return true };
            let wanted = &def.conversation.subscribe[*i];
            match answer {
                Answer::Granted(qos) if qos >= wanted.qos => {}
                Answer::Granted(qos) => turn.shortfall(at, wanted, Some(qos), Scrubbed::default()),
                Answer::Refused(words) => turn.shortfall(at, wanted, None, words),
                Answer::Ended => has_ended = true,
            }
            false
        });
        if has_ended {
            return; // the end itself is on its way
        }
        match self.echo.as_mut().and_then(|pending| turn.client.granted(pending)) {
            Some(Answer::Granted(_)) => {
                self.echo = None;
                turn.begin_probes(at);
            }
            Some(Answer::Refused(words)) => {
                self.echo = None;
                self.mute(&mut turn, at, words);
            }
            Some(Answer::Ended) => self.echo = None,
            None => {}
        }
        if self.asked.is_empty() && !self.greeted {
            self.greet(turn, at);
        }
    }

    /// Goes on without the answers that did not come. That of the probe is waited for all the same: there
    /// is no echo before it.
    pub fn overdue(&mut self, mut turn: Turn<'_>, now: Moment) {
        let detail = format!("{} {} s", Shortfall::NO_ANSWER, ANSWER.as_secs());
        let def = turn.def;
        for (i, _) in self.asked.drain(..) {
            turn.shortfall(now, &def.conversation.subscribe[i], None, Scrubbed::new(&detail));
        }
        if self.echo.is_some() {
            turn.tell(Request::Probe, now, turn.client.probe_topic(), 0, None, Scrubbed::new(&detail));
        }
        self.go_on(turn);
    }

    fn greet(&mut self, mut turn: Turn<'_>, at: Moment) {
        self.greeted = true;
        let conversation = &turn.def.conversation;
        if !conversation.subscribe.is_empty() {
            let (slot, generation) = (turn.slot, turn.generation);
            turn.outbox.subscribed(Subscribed { slot, generation, at, took: at.since(self.up) });
        }
        if let Some(birth) = &conversation.birth
            && let Some(birth) = self.fit(&mut turn, at, birth)
        {
            self.published += u32::from(turn.client.publish(&birth));
        }
        if let Some(traffic) = &conversation.publish {
            turn.begin(at, traffic.every, Due::Traffic);
        }
    }

    /// Publishes the next message of the client's own traffic.
    pub fn traffic(&mut self, mut turn: Turn<'_>, now: Moment) {
        let Some(traffic) = &turn.def.conversation.publish else { return };
        let message = Client::numbered(&traffic.message, self.number + 1);
        if let Some(message) = self.fit(&mut turn, now, &message)
            && turn.client.publish(&message)
        {
            self.number += 1;
            self.published += 1;
        }
        turn.later(now + traffic.every.max(SHORTEST), Due::Traffic);
    }

    /// Sends the next probe, unless one is under way.
    pub fn probe(&self, mut turn: Turn<'_>, now: Moment) {
        if self.is_muted {
            return;
        }
        turn.client.probe();
        let next = turn.def.settings.probe.every.max(SHORTEST).mul_f64(0.9 + 0.2 * fastrand::f64());
        turn.later(now + next, Due::Probe);
    }

    /// How many messages it published since this was last asked, and how many the broker refused.
    pub fn take_published(&mut self) -> (u32, u32) {
        (std::mem::take(&mut self.published), std::mem::take(&mut self.refused))
    }
}
