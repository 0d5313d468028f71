//! Defines what a client says once it is up: it subscribes, is born, and has its own traffic and its probes; when it connects and what its end means is the driver's.

use std::time::Duration;

use super::{
    outbox::Outbox,
    timers::{Due, Timers},
};
use crate::{
    clock::Moment,
    event::Generation,
    fleet::{ProbeKind, Subscription},
    paho::{Answer, Client, Pending},
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
}

/// A client that is up, and what it talks with.
pub(super) struct Turn<'a> {
    pub slot: Slot,
    pub generation: Generation,
    pub client: &'a Client,
    pub def: &'a ClientDef,
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

    fn shortfall(&mut self, at: Moment, wanted: &Subscription, granted: Option<u8>, detail: Scrubbed) {
        let (slot, generation) = (self.slot, self.generation);
        let filter = Scrubbed::new(&wanted.filter);
        self.outbox.shortfall(Shortfall { slot, generation, at, filter, asked: wanted.qos, granted, detail });
    }

    /// What brings a client's echoes back to it: a subscription that nobody asked for but the probe.
    fn echoes(&self) -> Subscription {
        Subscription { filter: self.client.probe_topic().into(), qos: 0 }
    }
}

impl Talk {
    /// Begins, once the broker has accepted the client.
    pub fn begin(&mut self, mut turn: Turn<'_>, at: Moment) {
        (self.greeted, self.up) = (false, at);
        let (client, subscribe) = (turn.client, &turn.def.conversation.subscribe);
        self.asked = subscribe.iter().map(|wanted| client.subscribe(wanted)).enumerate().collect();
        match turn.def.probe.kind {
            ProbeKind::Ack => turn.begin(at, turn.def.probe.every, Due::Probe),
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

    /// Takes in what answers there are: with the last one it says that it is there and begins its
    /// traffic.
    pub fn go_on(&mut self, mut turn: Turn<'_>) {
        let at = Moment::now();
        let def = turn.def;
        let mut has_ended = false;
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
                turn.begin(at, def.probe.every, Due::Probe);
            }
            Some(Answer::Refused(words)) => {
                self.echo = None;
                turn.shortfall(at, &turn.echoes(), None, of_the_probe(&words));
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
            turn.shortfall(now, &turn.echoes(), None, of_the_probe(&detail));
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
        if let Some(birth) = &conversation.birth {
            self.published += u32::from(turn.client.publish(birth));
        }
        if let Some(traffic) = &conversation.publish {
            turn.begin(at, traffic.every, Due::Traffic);
        }
    }

    /// Publishes the next message of the client's own traffic.
    pub fn traffic(&mut self, mut turn: Turn<'_>, now: Moment) {
        let Some(traffic) = &turn.def.conversation.publish else { return };
        if turn.client.publish_numbered(&traffic.message, self.number + 1) {
            self.number += 1;
            self.published += 1;
        }
        turn.later(now + traffic.every.max(SHORTEST), Due::Traffic);
    }

    /// Sends the next probe, unless one is under way.
    pub fn probe(&self, mut turn: Turn<'_>, now: Moment) {
        turn.client.probe();
        let next = turn.def.probe.every.max(SHORTEST).mul_f64(0.9 + 0.2 * fastrand::f64());
        turn.later(now + next, Due::Probe);
    }

    /// The number of messages it published since this was last asked.
    pub fn take_published(&mut self) -> u32 {
        std::mem::take(&mut self.published)
    }
}

fn of_the_probe(words: &str) -> Scrubbed {
    let words = if words.is_empty() { "the broker refused the subscription that they need" } else { words };
    Scrubbed::new(&format!("no echo probes: {words}"))
}
