//! Defines what the driver does because time has passed: it gives up what took too long, has clients talk, counts, looks for what is late or ended without a word, and asks the kernel.

use std::time::Duration;

use super::{Driver, LEAVE, ended, ordered};
use crate::{
    clock::Moment,
    event::{Cause, Generation, Reason},
    paho::End,
    text::Scrubbed,
    wire::{Slot, SlotMessages, SlotTcp},
    worker::{lane::Phase, timers::Due},
};

/// Paho looks for connects that took too long every 3 s; beyond its own timeout and this much it
/// does not come back to one.
pub(super) const GIVE_UP: Duration = Duration::from_secs(10);

/// The time between two looks of Paho's at the keep alives. With 500 clients each costs a quarter of a
/// millisecond of CPU time, nearly all in one `poll` of all their sockets.
pub(super) const NUDGE: Duration = Duration::from_millis(200);

/// Publishes ordered in one go. Paho looks for a free message ID through the queued commands of all
/// clients of a process (`MQTTAsync_assignMsgId`): hundreds queued at once cost it cubic time.
const BREATH_AFTER: u32 = 32;

/// The pause after that many, for Paho to send them.
const BREATH: Duration = Duration::from_millis(1);

/// The time between two looks for connections that ended without a callback.
pub(super) const LOOK: Duration = Duration::from_secs(5);

/// The time between two counts of the messages that came and went.
pub(super) const COUNT: Duration = Duration::from_secs(1);

/// The time between two glances at what is late.
pub(super) const GLANCE: Duration = Duration::from_millis(250);

/// At each of them the kernel is asked about one slot in this many, so about each every 5 s.
const PARTS: Slot = 20;

impl Driver {
    /// Does what has fallen due.
    pub(in crate::worker) fn on_time(&mut self, now: Moment) {
        self.retired.retain(|client| !client.is_free());
        let mut publishes = 0;
        while self.breath <= now
            && publishes < BREATH_AFTER
            && let Some((slot, generation, due)) = self.timers.pop(now)
        {
            publishes += u32::from(matches!(due, Due::Probe | Due::Traffic));
            match due {
                Due::ConnectTimeout => self.connect_timeout(slot, generation, now),
                Due::PahoTimeout => self.paho_timeout(slot, generation, now),
                Due::Answers | Due::Probe | Due::Traffic => self.talk(slot, generation, due, now),
            }
        }
        if publishes == BREATH_AFTER {
            self.breath = now + BREATH;
        }
        if self.set_right.is_some_and(|at| at <= now) {
            self.set_right = None;
            self.paho.look_often();
        }
        if self.next_nudge <= now {
            self.next_nudge = now + NUDGE;
            if self.lanes.iter().any(|lane| matches!(lane.phase, Phase::Up)) {
                self.paho.look();
            }
        }
        if self.next_count <= now {
            self.next_count = now + COUNT;
            self.count();
        }
        if self.next_glance <= now {
            self.next_glance = now + GLANCE;
            self.glance(now);
        }
        if self.next_look <= now {
            self.next_look = now + LOOK;
            self.look(now);
        }
    }

    fn talk(&mut self, slot: Slot, generation: Generation, due: Due, now: Moment) {
        let Some((talk, turn)) = self.turn(slot, generation) else { return };
        match due {
            Due::Answers => talk.overdue(turn, now),
            Due::Traffic => talk.traffic(turn, now),
            Due::Probe => talk.probe(turn, now),
            Due::ConnectTimeout | Due::PahoTimeout => {}
        }
    }

    fn connect_timeout(&mut self, slot: Slot, generation: Generation, now: Moment) {
        let lane = &mut self.lanes[slot as usize];
        let end = |detail: &str| End {
            at: now,
            cause: Cause { reason: Reason::ConnectTimeout, detail: Scrubbed::new(detail) },
        };
        if lane.next.as_ref().is_some_and(|(next, _)| *next == generation) {
            lane.next = None;
            let end = end("Paho is still busy with the connect before");
            self.outbox.news(ended(slot, generation, end));
            return;
        }
        if lane.generation != generation {
            return;
        }
        match std::mem::replace(&mut lane.phase, Phase::Idle) {
            Phase::Connecting(pending) => {
                lane.phase = Phase::Draining(pending);
                self.timers.push(now + GIVE_UP, slot, generation, Due::PahoTimeout);
                let timeout = humantime::format_duration(lane.def.connect_timeout);
                self.finish(slot, end(&format!("no CONNACK within {timeout}")));
            }
            Phase::Resolving => self.finish(slot, end("no answer about the host name")),
            phase => lane.phase = phase,
        }
    }

    fn paho_timeout(&mut self, slot: Slot, generation: Generation, now: Moment) {
        let lane = &mut self.lanes[slot as usize];
        if lane.generation != generation || !matches!(lane.phase, Phase::Leaving(_) | Phase::Draining(_)) {
            return;
        }
        match lane.client.take() {
            Some(client) if client.is_connected() => {
                lane.phase = Phase::Leaving(client.disconnect());
                lane.client = Some(client);
                self.timers.push(now + LEAVE, slot, generation, Due::PahoTimeout);
            }
            client => {
                if let Some(client) = client {
                    client.abandon();
                }
                lane.phase = Phase::Idle;
                self.finish(slot, ordered(""));
            }
        }
        self.settle(slot);
    }

    /// Reports how many messages came and went since the last time.
    pub(in crate::worker) fn count(&mut self) {
        for slot in 0..self.lanes.len() as Slot {
            let published = self.lanes[slot as usize].talk.take_published();
            let received = self.slots.take_received(slot);
            if published > 0 || received > 0 {
                self.outbox.messages(SlotMessages { slot, received, published });
            }
        }
    }

    /// Reports the probes that are late by now, and what the kernel says of the next part of the slots.
    fn glance(&mut self, now: Moment) {
        self.part = (self.part + 1) % PARTS;
        for (slot, lane) in (0..).zip(&self.lanes).filter(|(_, lane)| matches!(lane.phase, Phase::Up)) {
            if let Some(late) = self.slots.take_late(slot, now).filter(|l| l.generation == lane.generation) {
                self.outbox.late(late);
            }
            let reading = (slot % PARTS == self.part).then(|| self.slots.kernel(slot)).flatten();
            if let Some(reading) = reading.filter(|r| r.generation == lane.generation) {
                let (generation, tcp) = (reading.generation, reading.tcp);
                self.outbox.tcp(SlotTcp { slot, generation, at: now, tcp });
            }
        }
    }

    /// Looks for connections that Paho dropped without a word: twice, since a callback may be on its way.
    fn look(&mut self, now: Moment) {
        for slot in 0..self.lanes.len() as Slot {
            let lane = &mut self.lanes[slot as usize];
            let Some(client) = lane.client.as_ref().filter(|_| matches!(lane.phase, Phase::Up)) else { continue };
            if client.is_connected() {
                lane.suspect = false;
            } else if std::mem::replace(&mut lane.suspect, true) {
                lane.phase = Phase::Idle;
                let cause = Cause { reason: Reason::ConnectionLost, detail: Scrubbed::default() };
                self.finish(slot, End { at: now, cause });
                self.settle(slot);
            }
        }
    }
}
