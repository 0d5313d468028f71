//! Defines what the driver does because time has passed: it gives up what took too long, has clients talk, counts, looks for what is late, and asks the kernel.

use std::time::Duration;

use super::{Driver, ended, ordered};
use crate::{
    clock::Moment,
    event::{Ask, Cause, Generation, Reason, Unanswered},
    paho::{Client, End},
    text::Scrubbed,
    wire::{Slot, SlotMessages, SlotTcp},
    worker::{lane::Phase, timers::Due},
};

/// The time between two looks of Paho's at the keep alives.
pub(super) const NUDGE: Duration = Duration::from_millis(200);

/// Publishes ordered in one go. Paho looks for a free message ID through the queued commands of all
/// clients of a process (`MQTTAsync_assignMsgId`): hundreds queued at once cost it cubic time.
const BREATH_AFTER: u32 = 32;

/// The pause after that many, for Paho to send them.
const BREATH: Duration = Duration::from_millis(1);

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
                Due::Leave => self.leave_timeout(slot, generation),
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
    }

    fn talk(&mut self, slot: Slot, generation: Generation, due: Due, now: Moment) {
        let Some((talk, turn)) = self.turn(slot, generation) else { return };
        match due {
            Due::Answers => talk.overdue(turn, now),
            Due::Traffic => talk.traffic(turn, now),
            Due::Probe => talk.probe(turn, now),
            Due::ConnectTimeout | Due::Leave => {}
        }
    }

    fn connect_timeout(&mut self, slot: Slot, generation: Generation, now: Moment) {
        let lane = &mut self.lanes[slot as usize];
        let end = |detail: &str, unanswered| {
            let cause = Cause { reason: Reason::ConnectTimeout, detail: Scrubbed::new(detail) };
            End { at: now, cause, unanswered }
        };
        if lane.next.as_ref().is_some_and(|next| next.generation == generation) {
            lane.next = None;
            let end = end("the connection before is still being closed", None);
            self.outbox.news(ended(slot, generation, end));
            return;
        }
        // While the connection is being made the same limit holds, and who makes it knows what was late.
        if lane.generation == generation && matches!(lane.phase, Phase::Asking(_)) {
            let timeout = humantime::format_duration(lane.def.connect_timeout);
            lane.client.iter().for_each(Client::cut);
            let unanswered = Some(Box::new(Unanswered::new(Ask::Connect)));
            self.close(slot, end(&format!("no CONNACK within {timeout}"), unanswered));
        }
    }

    fn leave_timeout(&mut self, slot: Slot, generation: Generation) {
        let lane = &self.lanes[slot as usize];
        if lane.generation == generation && matches!(lane.phase, Phase::Leaving(_)) {
            lane.client.iter().for_each(Client::cut);
            self.close(slot, ordered(""));
            self.settle(slot);
        }
    }

    /// Reports how many messages came and went since the last time.
    pub(in crate::worker) fn count(&mut self) {
        for slot in 0..self.lanes.len() as Slot {
            let (published, refused) = self.lanes[slot as usize].talk.take_published();
            let received = self.slots.take_received(slot);
            if published > 0 || received > 0 || refused > 0 {
                self.outbox.messages(SlotMessages { slot, received, published, refused });
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
            let is_asked = slot % PARTS == self.part;
            if let Some(tcp) = lane.client.as_ref().filter(|_| is_asked).and_then(Client::tcp) {
                self.outbox.tcp(SlotTcp { slot, generation: lane.generation, at: now, tcp });
            }
        }
    }
}
