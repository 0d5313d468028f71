//! Defines the queue of orders for one worker: bounded, never silently lossy, and void for every process but the one they were given for; what becomes of a worker that does not take its orders is the supervisor's matter.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use tokio::sync::mpsc;

use crate::wire::ToWorker;

/// The number of a worker's process, from 1. Both ends count the deaths that the engine is told of:
/// an order given before the engine learnt of one is about connections that are gone.
type Life = u32;

/// Makes a queue with room for `room` orders.
pub(super) fn queue(room: usize) -> (Orders, Inbox) {
    let (sender, receiver) = mpsc::channel(room);
    let overflowed = Arc::new(AtomicU32::new(0));
    let inbox = Inbox { queue: receiver, batch: Vec::new(), overflowed: overflowed.clone(), life: 1 };
    (Orders { queue: sender, overflowed, life: 1 }, inbox)
}

/// The engine's end.
#[derive(Debug)]
pub(super) struct Orders {
    queue: mpsc::Sender<(Life, ToWorker)>,
    /// The life in which an order found the queue full.
    overflowed: Arc<AtomicU32>,
    life: Life,
}

impl Orders {
    /// Gives an order. Where there is no room it is lost, and the other end is told so.
    pub fn give(&self, order: ToWorker) {
        if let Err(mpsc::error::TrySendError::Full(order)) = self.queue.try_send((self.life, order)) {
            self.overflowed.store(self.life, Ordering::SeqCst);
            // Room that came just now must not leave the other end asleep, without a look at the mark.
            let _ = self.queue.try_send(order);
        }
    }

    /// The engine has learnt that the process died: what it orders now is for the next one.
    pub fn begin_life(&mut self) {
        self.life += 1;
    }
}

/// Some orders were lost.
#[derive(Debug, PartialEq)]
pub(super) struct Overflow;

/// The supervisor's end.
pub(super) struct Inbox {
    queue: mpsc::Receiver<(Life, ToWorker)>,
    batch: Vec<(Life, ToWorker)>,
    overflowed: Arc<AtomicU32>,
    life: Life,
}

impl Inbox {
    const BATCH: usize = 1_024;

    /// The engine will learn that the process died: what is in the queue until then is void.
    pub fn begin_life(&mut self) {
        self.life += 1;
    }

    /// Waits for orders and puts those for the present process into `orders`; `Ok(false)` where there
    /// will be no more. Cancelling it loses nothing.
    pub async fn take(&mut self, orders: &mut Vec<ToWorker>) -> Result<bool, Overflow> {
        let count = self.queue.recv_many(&mut self.batch, Self::BATCH).await;
        orders.extend(self.batch.drain(..).filter(|(life, _)| *life == self.life).map(|(_, order)| order));
        if self.overflowed.load(Ordering::SeqCst) == self.life { Err(Overflow) } else { Ok(count > 0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(orders: &[ToWorker]) -> Vec<u32> {
        let slot = |o: &ToWorker| if let ToWorker::Disconnect { slot } = o { *slot } else { u32::MAX };
        orders.iter().map(slot).collect()
    }

    #[tokio::test]
    async fn a_lost_order_is_told_also_after_others_made_room() {
        let (orders, mut inbox) = queue(3);
        let mut taken = Vec::new();
        (0..3).for_each(|slot| orders.give(ToWorker::Disconnect { slot }));
        assert_eq!(inbox.take(&mut taken).await, Ok(true));
        assert_eq!(slots(&taken), [0, 1, 2]);
        (0..4).for_each(|slot| orders.give(ToWorker::Disconnect { slot }));
        assert_eq!(inbox.take(&mut taken).await, Err(Overflow));
    }

    #[tokio::test]
    async fn what_was_ordered_of_a_dead_process_is_not_ordered_of_the_next() {
        let (mut orders, mut inbox) = queue(4);
        let mut taken = Vec::new();
        (0..9).for_each(|slot| orders.give(ToWorker::Disconnect { slot }));
        inbox.begin_life();
        // The engine has not heard of the death yet.
        assert_eq!(inbox.take(&mut taken).await, Ok(true));
        orders.give(ToWorker::Disconnect { slot: 10 });
        orders.begin_life();
        orders.give(ToWorker::Disconnect { slot: 11 });
        assert_eq!(inbox.take(&mut taken).await, Ok(true));
        assert_eq!(slots(&taken), [11]);
        drop(orders);
        assert_eq!(inbox.take(&mut taken).await, Ok(false));
    }
}
