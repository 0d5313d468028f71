//! Defines the worker's one heap of things to do later; what is done then is the driver's.

use std::{cmp::Reverse, collections::BinaryHeap};

use crate::{clock::Moment, event::Generation, wire::Slot};

/// What falls due for a slot. An entry of an older generation means nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// The connect took as long as it may.
    ConnectTimeout,
    /// A DISCONNECT took as long as it may.
    Leave,
    /// The subscriptions waited for their answers as long as they may.
    Answers,
    /// The next probe.
    Probe,
    /// The next message of the client's own traffic.
    Traffic,
}

#[derive(Default)]
pub(super) struct Timers(BinaryHeap<Reverse<(Moment, Slot, Generation, Due)>>);

impl Timers {
    pub(super) fn push(&mut self, at: Moment, slot: Slot, generation: Generation, due: Due) {
        self.0.push(Reverse((at, slot, generation, due)));
    }

    pub(super) fn next(&self) -> Option<Moment> {
        self.0.peek().map(|Reverse((at, ..))| *at)
    }

    /// Takes the earliest entry that is due at `now`.
    pub(super) fn pop(&mut self, now: Moment) -> Option<(Slot, Generation, Due)> {
        if self.next()? > now {
            return None;
        }
        self.0.pop().map(|Reverse((_, slot, generation, due))| (slot, generation, due))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_ones_come_in_order_of_time() {
        let mut timers = Timers::default();
        timers.push(Moment(30), 1, 1, Due::Probe);
        timers.push(Moment(10), 2, 1, Due::ConnectTimeout);
        timers.push(Moment(20), 3, 4, Due::Leave);
        assert_eq!(timers.next(), Some(Moment(10)));
        assert_eq!(timers.pop(Moment(9)), None);
        assert_eq!(timers.pop(Moment(25)), Some((2, 1, Due::ConnectTimeout)));
        assert_eq!(timers.pop(Moment(25)), Some((3, 4, Due::Leave)));
        assert_eq!(timers.pop(Moment(25)), None);
    }
}
