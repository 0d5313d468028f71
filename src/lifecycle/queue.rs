//! Defines in which order the clients of an endpoint's queue come: workers take turns, a few at a time; when the next client may go is the gate's matter.

use std::collections::VecDeque;

use crate::fleet::{ClientKey, WorkerKey};

/// Who waits for one endpoint. Within a worker it is first come, first served.
///
/// Paho connects the clients of a worker one after the other, however many cores there are, so that
/// the order of the fleet file would keep one worker busy and the others waiting. Therefore a few
/// workers take turns, client by client. A worker's turn ends with those clients that waited when it
/// began; who comes later waits for the next one, so that nobody is overtaken again and again. The
/// turns are this endpoint's alone: others may have the same worker connect clients of theirs meanwhile.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// By worker.
    lanes: Vec<Lane>,
    /// The workers whose turn it is: at most [`Queue::WIDTH`], the one with the next client first.
    turns: VecDeque<WorkerKey>,
    /// Those that come after them.
    others: VecDeque<WorkerKey>,
    len: usize,
}

#[derive(Debug, Default)]
struct Lane {
    places: VecDeque<(ClientKey, u32)>,
    /// Whether the worker is in one of the queue's lists.
    is_listed: bool,
    /// How many of its clients its turn is still for.
    left: usize,
}

impl Queue {
    /// How many workers connect side by side. With too many, each is woken for every single client,
    /// which costs more than the further cores bring: `cargo bench --bench fleet` tells.
    pub(super) const WIDTH: usize = 4;

    /// Places, also those of clients that went elsewhere meanwhile.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Puts a client of this worker behind all others of it.
    pub(super) fn push(&mut self, worker: WorkerKey, client: ClientKey, ticket: u32) {
        if worker.index() >= self.lanes.len() {
            self.lanes.resize_with(worker.index() + 1, Lane::default);
        }
        let lane = &mut self.lanes[worker.index()];
        lane.places.push_back((client, ticket));
        self.len += 1;
        if !std::mem::replace(&mut lane.is_listed, true) {
            self.others.push_back(worker);
        }
    }

    /// Who comes next; drops the places on the way there for which `waits` is false.
    pub(super) fn next(&mut self, waits: impl Fn(ClientKey, u32) -> bool) -> Option<ClientKey> {
        loop {
            while self.turns.len() < Self::WIDTH
                && let Some(worker) = self.others.pop_front()
            {
                let lane = &mut self.lanes[worker.index()];
                lane.left = lane.places.len();
                self.turns.push_back(worker);
            }
            let worker = *self.turns.front()?;
            let lane = &mut self.lanes[worker.index()];
            while lane.left > 0
                && let Some(&(client, ticket)) = lane.places.front()
            {
                if waits(client, ticket) {
                    return Some(client);
                }
                lane.places.pop_front();
                lane.left -= 1;
                self.len -= 1;
            }
            self.turns.pop_front();
            lane.is_listed = !lane.places.is_empty();
            if lane.is_listed {
                self.others.push_back(worker);
            }
        }
    }

    /// Takes out who [`Queue::next`] said comes next.
    pub(super) fn pop(&mut self) {
        let Some(worker) = self.turns.pop_front() else { return };
        let lane = &mut self.lanes[worker.index()];
        if lane.places.pop_front().is_some() {
            lane.left -= 1;
            self.len -= 1;
        }
        self.turns.push_back(worker);
    }

    /// Drops the places for which `waits` is false.
    pub(super) fn retain(&mut self, waits: impl Fn(ClientKey, u32) -> bool) {
        for lane in &mut self.lanes {
            lane.places.retain(|&(client, ticket)| waits(client, ticket));
            lane.left = lane.left.min(lane.places.len());
        }
        self.len = self.lanes.iter().map(|lane| lane.places.len()).sum();
    }
}
