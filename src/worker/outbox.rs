//! Defines what waits to be reported, cut into frames of bounded size; when one is sent is the driver's matter.

use std::time::Duration;

use crate::{
    clock::Moment,
    wire::{News, Report, Shortfall, SlotLate, SlotMessages, SlotSample, SlotTcp, Subscribed},
};

/// The time between two reports, so that a storm of callbacks becomes few frames.
const PAUSE: Duration = Duration::from_millis(5);

/// What one report holds at most: 2,000 news with the longest details stay below the frame limit.
const NEWS: usize = 2_000;
const SAMPLES: usize = 4_096;
/// A topic filter may have 65,535 bytes.
const SHORTFALLS: usize = 16;

#[derive(Default)]
pub(super) struct Outbox {
    news: Vec<News>,
    samples: Vec<SlotSample>,
    late: Vec<SlotLate>,
    tcp: Vec<SlotTcp>,
    samples_lost: u32,
    shortfalls: Vec<Shortfall>,
    subscribed: Vec<Subscribed>,
    messages: Vec<SlotMessages>,
    sent: Moment,
}

impl Outbox {
    pub(super) fn news(&mut self, news: News) {
        self.news.push(news);
    }

    /// A probe that has its answer before it is told to be late is late no more. An answer to a probe that
    /// was sent before changes nothing.
    pub(super) fn sample(&mut self, sample: SlotSample) {
        let sent = sample.at - sample.rtt;
        self.late.retain(|late| late.slot != sample.slot || late.since > sent);
        self.samples.push(sample);
    }

    /// Of one connection the first probe without an answer counts, while it is not told yet.
    pub(super) fn late(&mut self, late: SlotLate) {
        match self.late.iter_mut().find(|known| known.slot == late.slot) {
            Some(known) if known.generation == late.generation => {}
            Some(known) => *known = late,
            None => self.late.push(late),
        }
    }

    pub(super) fn tcp(&mut self, tcp: SlotTcp) {
        match self.tcp.iter_mut().find(|known| known.slot == tcp.slot) {
            Some(known) => *known = tcp,
            None => self.tcp.push(tcp),
        }
    }

    pub(super) fn shortfall(&mut self, shortfall: Shortfall) {
        self.shortfalls.push(shortfall);
    }

    pub(super) fn subscribed(&mut self, subscribed: Subscribed) {
        self.subscribed.push(subscribed);
    }

    /// Adds to what is counted for a slot and waits to be reported: an entry a slot, at most.
    pub(super) fn messages(&mut self, more: SlotMessages) {
        match self.messages.iter_mut().find(|m| m.slot == more.slot) {
            Some(known) => {
                known.received = known.received.saturating_add(more.received);
                known.published = known.published.saturating_add(more.published);
                known.refused = known.refused.saturating_add(more.refused);
            }
            None => self.messages.push(more),
        }
    }

    pub(super) fn samples_lost(&mut self, n: u32) {
        self.samples_lost = self.samples_lost.saturating_add(n);
    }

    /// How many samples may come in; the others wait, and are counted where there are too many.
    pub(super) fn room_for_samples(&self) -> usize {
        SAMPLES - self.samples.len()
    }

    /// Whether the console is so far behind that its commands had better wait: every one of them can
    /// bring more news.
    pub(super) fn is_crowded(&self) -> bool {
        self.news.len() + self.shortfalls.len() >= 4 * NEWS
    }

    /// When the next report may go out; `None` where there is nothing to say.
    pub(super) fn due(&self) -> Option<Moment> {
        let quiet = self.news.is_empty()
            && self.samples.is_empty()
            && self.late.is_empty()
            && self.tcp.is_empty()
            && self.samples_lost == 0
            && self.shortfalls.is_empty()
            && self.subscribed.is_empty()
            && self.messages.is_empty();
        (!quiet).then(|| self.sent + PAUSE)
    }

    /// Takes one report out, in the order of its stamps.
    pub(super) fn take(&mut self, now: Moment) -> Report {
        self.sent = now;
        self.news.sort_by_key(|n| n.at); // stable: an up stays before its end
        let rest = self.news.split_off(self.news.len().min(NEWS));
        let later = self.shortfalls.split_off(self.shortfalls.len().min(SHORTFALLS));
        Report {
            shortfalls: std::mem::replace(&mut self.shortfalls, later),
            subscribed: std::mem::take(&mut self.subscribed),
            messages: std::mem::take(&mut self.messages),
            news: std::mem::replace(&mut self.news, rest),
            samples: std::mem::take(&mut self.samples),
            late: std::mem::take(&mut self.late),
            tcp: std::mem::take(&mut self.tcp),
            samples_lost: std::mem::take(&mut self.samples_lost),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{event::Step, fleet::ProbeKind};

    #[test]
    fn what_is_late_is_told_once_and_only_while_it_is() {
        let mut outbox = Outbox::default();
        let late =
            |slot, generation, since| SlotLate { slot, generation, probe: ProbeKind::Echo, since: Moment(since) };
        outbox.late(late(0, 1, 50));
        outbox.late(late(0, 1, 90));
        outbox.late(late(1, 1, 60));
        outbox.late(late(1, 2, 70));
        let answer = |sent: u64| {
            let rtt = Duration::from_micros(100 - sent);
            SlotSample { slot: 0, probe: ProbeKind::Echo, at: Moment(100), rtt }
        };
        outbox.sample(answer(40));
        assert_eq!(outbox.late, [late(0, 1, 50), late(1, 2, 70)], "to the one before");
        outbox.sample(answer(50));
        assert_eq!(outbox.take(Moment(0)).late, [late(1, 2, 70)]);
        outbox.late(late(0, 1, 50));
        outbox.sample(answer(60));
        assert_eq!(outbox.take(Moment(0)).late, [], "to a later one");
    }

    #[test]
    fn reports_are_ordered_bounded_and_paced() {
        let mut outbox = Outbox::default();
        assert_eq!(outbox.due(), None);
        for n in 0..NEWS as u32 + 1 {
            let at = Moment(1_000_000 - u64::from(n));
            outbox.news(News { slot: n, generation: 1, at, step: Step::Up(Box::default()) });
        }
        assert_eq!(outbox.due(), Some(Moment(5_000)), "at once: nothing was sent before");
        let first = outbox.take(Moment(2_000_000));
        assert_eq!(first.news.len(), NEWS);
        assert!(first.news.is_sorted_by_key(|n| n.at));
        assert_eq!(outbox.due(), Some(Moment(2_005_000)));
        assert_eq!(outbox.take(Moment(2_005_000)).news.len(), 1);
        assert_eq!(outbox.due(), None);
    }
}
