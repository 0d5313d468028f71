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

/// The time between two counts of the messages that came and went.
pub(super) const COUNT: Duration = Duration::from_secs(1);

/// The time between two glances at what is late, and the longest that a sample waits to be reported.
pub(super) const GLANCE: Duration = Duration::from_millis(250);

/// The time between two collections of samples while the driver is awake for other things.
const COLLECT: Duration = Duration::from_millis(20);

/// The kernel is asked in every fourth of them, about one slot in five: about each every 5 s.
const ASKED_IN: Slot = 4;
const PARTS: Slot = 5;

impl Driver {
    /// Does what has fallen due.
    pub(in crate::worker) fn on_time(&mut self, now: Moment) {
        self.retired.retain(|client| !client.is_free());
        while let Some((slot, generation, due)) = self.timers.pop(now) {
            match due {
                Due::ConnectTimeout => self.connect_timeout(slot, generation, now),
                Due::Leave => self.leave_timeout(slot, generation),
                Due::Answers | Due::Probe | Due::Traffic => self.talk(slot, generation, due, now),
            }
        }
        if self.next_count <= now {
            self.next_count = now + COUNT;
            self.count();
        }
        if self.next_samples <= now {
            self.collect(now);
        }
        if self.next_glance <= now {
            self.next_glance = now + GLANCE;
            self.collect(now);
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
        if lane.next.as_ref().is_some_and(|next| next.order.generation == generation) {
            lane.next = None;
            let end = end("the connection before is still being closed", None);
            self.outbox.news(ended(slot, generation, end));
            return;
        }
        // While the connection is being made the same limit holds, and who makes it knows what was late.
        if lane.generation == generation && matches!(lane.phase, Phase::Asking(_)) {
            let timeout = humantime::format_duration(lane.def.settings.connect_timeout);
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

    /// Collects the samples that there are, as far as there is room for them in a report.
    pub(in crate::worker) fn collect(&mut self, now: Moment) {
        self.next_samples = now + COLLECT;
        for sample in self.slots.take_samples(self.outbox.room_for_samples()) {
            self.outbox.sample(sample);
        }
        self.outbox.samples_lost(self.slots.take_samples_lost());
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
        self.glances = (self.glances + 1) % (ASKED_IN * PARTS);
        for (slot, lane) in (0..).zip(&self.lanes).filter(|(_, lane)| matches!(lane.phase, Phase::Up)) {
            if let Some(late) = self.slots.take_late(slot, now).filter(|l| l.generation == lane.generation) {
                self.outbox.late(late);
            }
            let is_asked = slot % PARTS == self.glances / ASKED_IN && self.glances.is_multiple_of(ASKED_IN);
            if let Some(tcp) = lane.client.as_ref().filter(|_| is_asked).and_then(Client::tcp) {
                self.outbox.tcp(SlotTcp { slot, generation: lane.generation, at: now, tcp });
            }
        }
    }
}
