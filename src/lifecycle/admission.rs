//! Defines an endpoint's gate: who may connect when, so that a broker that comes back is not stormed; what a client does while it waits is not its matter.

use std::{collections::VecDeque, time::Duration};

use crate::{
    clock::Moment,
    fleet::{ClientKey, Endpoint},
};

/// First come, first served, at most `connect_rate` a second and `max_connecting` at once.
#[derive(Debug)]
pub(super) struct Admission {
    queue: VecDeque<(ClientKey, u32)>,
    in_flight: u32,
    max_in_flight: u32,
    /// The time between two connects, in nanoseconds.
    spacing: u64,
    /// When the next connect is due if all keep their distance (the "theoretical arrival time" of
    /// the generic cell rate algorithm, ITU-T I.371), in nanoseconds.
    due: u64,
}

impl Admission {
    /// How far the gate may run ahead of its pace: what a late wake-up missed is made up for, but a
    /// quiet minute is not saved for a storm.
    const SLACK: Duration = Duration::from_millis(20);

    pub fn new(endpoint: &Endpoint, now: Moment) -> Admission {
        Admission {
            queue: VecDeque::new(),
            in_flight: 0,
            max_in_flight: endpoint.max_connecting.max(1),
            spacing: 1_000_000_000 / u64::from(endpoint.connect_rate.max(1)),
            due: nanos(now),
        }
    }

    pub fn enqueue(&mut self, client: ClientKey, ticket: u32) {
        self.queue.push_back((client, ticket));
    }

    /// The next client that may connect now. Those for whom `waits` is false went elsewhere meanwhile.
    pub fn admit(&mut self, now: Moment, waits: impl Fn(ClientKey, u32) -> bool) -> Option<ClientKey> {
        while let Some(&(client, ticket)) = self.queue.front() {
            if !waits(client, ticket) {
                self.queue.pop_front();
                continue;
            }
            let now = nanos(now);
            if self.in_flight >= self.max_in_flight || self.due > now {
                return None;
            }
            self.queue.pop_front();
            self.due = self.due.max(now.saturating_sub(Self::SLACK.as_nanos() as u64)) + self.spacing;
            return Some(client);
        }
        None
    }

    pub fn started(&mut self) {
        self.in_flight += 1;
    }

    pub fn finished(&mut self) {
        self.in_flight -= 1;
    }

    /// When the next in the queue may pass; `None` while nobody waits or a connect must end first.
    pub fn next_opening(&self) -> Option<Moment> {
        let waiting = !self.queue.is_empty() && self.in_flight < self.max_in_flight;
        waiting.then(|| Moment(self.due.div_ceil(1_000)))
    }
}

fn nanos(at: Moment) -> u64 {
    at.0.saturating_mul(1_000)
}
