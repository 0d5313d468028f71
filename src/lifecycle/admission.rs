//! Defines an endpoint's gate: who may connect when, so that a broker that comes back is not stormed; what a client does while it waits is not its matter.

use std::time::Duration;

use crate::{
    clock::Moment,
    fleet::{ClientKey, Endpoint, WorkerKey},
    lifecycle::queue::Queue,
};

/// At most `connect_rate` a second and `max_connecting` at once, in the order of the queue.
#[derive(Debug)]
pub(super) struct Admission {
    queue: Queue,
    /// Those of the queue that did not go elsewhere meanwhile, and those that will have a place in it when
    /// what they connect with is there.
    waiting: u32,
    in_flight: u32,
    max_in_flight: u32,
    /// Connects a second, as the fleet file has it,
    own_rate: u32,
    /// and as set; at least 1.
    rate: u32,
    /// What a busy broker leaves of the rate, above 0 and at most 1.
    share: f64,
    /// When the share was changed last.
    adjusted: Option<Moment>,
    /// When the next connect is due if all keep their distance (the "theoretical arrival time" of
    /// the generic cell rate algorithm, ITU-T I.371), in nanoseconds.
    due: u64,
}

impl Admission {
    /// How far the gate may run ahead of its pace: what a late wake-up missed is made up for, but a
    /// quiet minute is not saved for a storm.
    const SLACK: Duration = Duration::from_millis(20);
    /// The share is changed at most this often, so that one burst of refusals counts once.
    const ADJUST: Duration = Duration::from_secs(1);
    /// What a second with successes gives back of the rate.
    const RECOVERY: f64 = 0.1;
    const LEAST: f64 = 1.0 / 64.0;

    pub(super) fn new(endpoint: &Endpoint, now: Moment) -> Admission {
        Admission {
            queue: Queue::default(),
            waiting: 0,
            in_flight: 0,
            max_in_flight: endpoint.max_connecting.max(1),
            own_rate: endpoint.connect_rate.max(1),
            rate: endpoint.connect_rate.max(1),
            share: 1.0,
            adjusted: None,
            due: nanos(now),
        }
    }

    pub(super) fn enqueue(&mut self, worker: WorkerKey, client: ClientKey, ticket: u32) {
        self.queue.push(worker, client, ticket);
    }

    /// Drops the places of those that went elsewhere, where they are most of the queue.
    pub(super) fn tidy(&mut self, waits: impl Fn(ClientKey, u32) -> bool) {
        if self.queue.len() > 2 * self.waiting as usize + 64 {
            self.queue.retain(waits);
        }
    }

    /// The next client that may connect now. Those for whom `waits` is false went elsewhere meanwhile.
    pub(super) fn admit(&mut self, now: Moment, waits: impl Fn(ClientKey, u32) -> bool) -> Option<ClientKey> {
        let client = self.queue.next(waits)?;
        let now = nanos(now);
        if self.in_flight >= self.max_in_flight || self.due > now {
            return None;
        }
        self.queue.pop();
        self.due = self.due.max(now.saturating_sub(Self::SLACK.as_nanos() as u64)) + self.spacing();
        Some(client)
    }

    /// A client came into the queue.
    pub(super) fn came(&mut self) {
        self.waiting += 1;
    }

    /// A client left the queue, whether to connect or to go elsewhere.
    pub(super) fn went(&mut self) {
        self.waiting -= 1;
    }

    pub(super) fn started(&mut self) {
        self.in_flight += 1;
    }

    pub(super) fn finished(&mut self) {
        self.in_flight -= 1;
    }

    /// The broker has too much to do: half the rate.
    pub(super) fn slow_down(&mut self, now: Moment) {
        if self.adjusted.is_none_or(|at| now.since(at) >= Self::ADJUST) {
            // Never below one connect a second: whoever waits would wait for nothing.
            self.share = (self.share / 2.0).max(Self::LEAST).max(1.0 / f64::from(self.rate));
            self.adjusted = Some(now);
        }
    }

    /// The broker took a client: some of the rate comes back.
    pub(super) fn recover(&mut self, now: Moment) {
        if self.share < 1.0 && self.adjusted.is_none_or(|at| now.since(at) >= Self::ADJUST) {
            self.share = (self.share + Self::RECOVERY).min(1.0);
            self.adjusted = Some(now);
        }
    }

    /// Sets the rate anew, in connects a second; at least 1.
    pub(super) fn set_rate(&mut self, rate: u32) {
        self.rate = rate.max(1);
        self.share = 1.0;
    }

    /// The limits are these from now on. A rate that the operator set holds until the fleet file says another one.
    pub(super) fn revise(&mut self, fresh: Admission) {
        self.max_in_flight = fresh.max_in_flight;
        if self.own_rate != fresh.own_rate {
            self.own_rate = fresh.own_rate;
            self.set_rate(fresh.own_rate);
        }
    }

    /// When the next in the queue may pass; `None` while nobody there is ready or a connect must end first.
    pub(super) fn next_opening(&self) -> Option<Moment> {
        let waiting = self.queue.len() > 0 && self.in_flight < self.max_in_flight;
        waiting.then(|| Moment(self.due.div_ceil(1_000)))
    }

    pub(super) fn waiting(&self) -> u32 {
        self.waiting
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// The rate that was set, in connects a second.
    pub(super) fn rate_set(&self) -> u32 {
        self.rate
    }

    /// The rate that holds, in connects a second; at least 1.
    pub(super) fn rate(&self) -> u32 {
        ((f64::from(self.rate) * self.share).round() as u32).max(1)
    }

    /// How long the last in the queue has to wait, as far as the rate decides.
    pub(super) fn eta(&self) -> Duration {
        Duration::from_nanos(self.spacing().saturating_mul(u64::from(self.waiting)))
    }

    /// The time between two connects, in nanoseconds.
    fn spacing(&self) -> u64 {
        (1e9 / (f64::from(self.rate) * self.share)) as u64
    }
}

fn nanos(at: Moment) -> u64 {
    at.0.saturating_mul(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment(seconds * 1_000_000)
    }

    #[test]
    fn a_busy_broker_halves_the_rate_and_successes_give_it_back() {
        let mut gate = Admission::new(&Endpoint { connect_rate: 200, ..Endpoint::new("e", "e", 1) }, at(0));
        for _ in 0..90 {
            gate.slow_down(at(0)); // a burst of refusals is one piece of news
        }
        assert_eq!(gate.rate(), 100);
        gate.slow_down(at(1));
        assert_eq!(gate.rate(), 50);
        let rates: Vec<u32> = (2..11)
            .map(|s| {
                gate.recover(at(s));
                gate.recover(at(s));
                gate.rate()
            })
            .collect();
        assert_eq!(rates, [70, 90, 110, 130, 150, 170, 190, 200, 200]);
        for s in 100..200 {
            gate.slow_down(at(s));
        }
        assert_eq!((gate.rate(), gate.rate_set()), (3, 200));
        gate.set_rate(2);
        for s in 300..400 {
            gate.slow_down(at(s));
        }
        assert_eq!(gate.rate(), 1, "somebody always gets through");
    }
}
