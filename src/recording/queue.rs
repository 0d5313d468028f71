//! Defines what waits to be recorded: bounded, and never waited for by who fills it; how it is written is the keeper's matter.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    clock::{Anchor, Moment},
    event::Event,
    outbox::Outbox,
};

/// Events that came together, and what the wall clock said then.
#[derive(Debug)]
pub(super) struct Batch {
    pub anchor: Anchor,
    pub events: Vec<Event>,
    /// The fleet in numbers, as a line, where a second was over.
    pub second: Option<(Moment, String)>,
}

/// What the keeper finds.
#[derive(Debug)]
pub(super) enum Taken {
    Batches(VecDeque<Batch>),
    /// Everything that waited since the queue was full: so many events are contained in others.
    Folded(Batch, u64),
    /// Nothing came for as long as it wanted to wait.
    Nothing,
    /// Nothing waits and nothing will come.
    Closed,
}

/// The queue between a run and its recording. Past [`Queue::MOST`] events all that wait are folded
/// as the engine folds them: states stay right, samples that are dropped are counted.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    batches: VecDeque<Batch>,
    /// Events in `batches`.
    events: usize,
    /// In place of the batches, once they were too many.
    folded: Option<(Anchor, Outbox)>,
    closed: bool,
}

impl Queue {
    pub const MOST: usize = 32_768;

    /// Puts a batch in; never waits for the disk. A closed queue takes nothing.
    pub fn push(&self, batch: Batch) {
        let mut waiting = self.lock();
        if waiting.closed {
            return;
        }
        if waiting.folded.is_none() && waiting.events + batch.events.len() > Self::MOST && !waiting.batches.is_empty() {
            let mut outbox = Outbox::default();
            waiting.batches.drain(..).flat_map(|batch| batch.events).for_each(|event| outbox.push(event));
            waiting.events = 0;
            waiting.folded = Some((batch.anchor, outbox));
        }
        match &mut waiting.folded {
            Some((anchor, outbox)) => {
                *anchor = batch.anchor;
                batch.events.into_iter().for_each(|event| outbox.push(event));
            }
            None => {
                waiting.events += batch.events.len();
                waiting.batches.push_back(batch);
            }
        }
        self.changed.notify_one();
    }

    /// Takes all that waits; where that is nothing, waits for it, at most so long.
    pub fn take(&self, patience: Duration) -> Taken {
        let nothing = |waiting: &mut Waiting| waiting.batches.is_empty() && waiting.folded.is_none() && !waiting.closed;
        let waited = self.changed.wait_timeout_while(self.lock(), patience, nothing);
        let (mut waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if let Some((anchor, mut outbox)) = waiting.folded.take() {
            let folded = outbox.folded();
            Taken::Folded(Batch { anchor, events: outbox.take(), second: None }, folded)
        } else if !waiting.batches.is_empty() {
            waiting.events = 0;
            Taken::Batches(std::mem::take(&mut waiting.batches))
        } else if waiting.closed {
            Taken::Closed
        } else {
            Taken::Nothing
        }
    }

    /// Lets nothing in any more. What waits can still be taken.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        event::{Sample, What},
        fleet::{ClientKey, ProbeKind},
    };

    fn batch(events: usize) -> Batch {
        let sample = Sample { client: ClientKey(0), probe: ProbeKind::Ack, rtt: Duration::ZERO };
        let event = |at| Event { at: Moment(at as u64), what: What::Sample(sample) };
        Batch { anchor: Anchor::now(), events: (0..events).map(event).collect(), second: None }
    }

    #[test]
    fn a_queue_that_nobody_takes_from_stays_bounded_and_counts() {
        let queue = Queue::default();
        let rounds = 300;
        for _ in 0..rounds {
            queue.push(batch(1_000));
        }
        queue.close();
        queue.push(batch(1));
        let Taken::Folded(all, folded) = queue.take(Duration::ZERO) else { panic!("not folded") };
        assert!(all.events.len() <= 2 * Queue::MOST, "{}", all.events.len());
        let count = |event: &Event| match event.what {
            What::SamplesLost(count) => count,
            _ => 1,
        };
        assert_eq!(all.events.iter().map(count).sum::<u32>(), rounds * 1_000);
        assert_eq!(folded, 0);
        assert!(matches!(queue.take(Duration::ZERO), Taken::Closed));
    }

    #[test]
    fn what_comes_in_time_comes_in_its_batches() {
        let queue = Queue::default();
        assert!(matches!(queue.take(Duration::ZERO), Taken::Nothing));
        queue.push(batch(Queue::MOST + 1));
        queue.close();
        let Taken::Batches(batches) = queue.take(Duration::ZERO) else { panic!("folded without need") };
        assert_eq!(batches[0].events.len(), Queue::MOST + 1, "one batch may be as large as it likes");
    }
}
