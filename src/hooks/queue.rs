//! Defines what waits for a hook: changes in their order, folded by client where they are more than it keeps up with; which of them are for a hook is decided elsewhere.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::{
    clock::{Anchor, Moment},
    event::Transition,
    fleet::{ClientKey, Fleet},
    lines,
};

/// A change that a hook is to be told of.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Change {
    pub at: Moment,
    pub step: Transition,
    /// So many changes before it are in it.
    pub folded: u32,
    /// Whether it is where the client was found, and not what happened.
    pub is_initial: bool,
}

/// What it takes to put changes into words.
#[derive(Clone, Debug)]
pub(super) struct Words {
    pub fleet: Arc<Fleet>,
    pub anchor: Anchor,
}

impl Words {
    /// A change as a line, with its end.
    pub fn line(&self, change: &Change) -> String {
        let Change { at, step, folded, is_initial } = change;
        lines::json_told(&self.fleet, &self.anchor, *at, step, *folded, *is_initial) + "\n"
    }
}

/// The changes on their way to one hook; its clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Queue(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Debug)]
struct Waiting {
    changes: VecDeque<Change>,
    words: Words,
    /// The most that wait unfolded.
    full: usize,
    /// The length after the last folding; there is no use in folding again soon.
    folded_to: usize,
    is_closed: bool,
}

impl Queue {
    pub fn new(words: Words, full: usize) -> Queue {
        let waiting = Waiting { changes: VecDeque::new(), words, full, folded_to: 0, is_closed: false };
        Queue(Arc::new(Shared { waiting: Mutex::new(waiting), arrived: Notify::new() }))
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn push(&self, change: Change) {
        let mut waiting = self.waiting();
        waiting.changes.push_back(change);
        if waiting.changes.len() >= 2 * waiting.folded_to.max(waiting.full / 2) {
            waiting.fold();
        }
        self.0.arrived.notify_one();
    }

    /// Puts changes before all others.
    pub fn push_first(&self, changes: impl IntoIterator<Item = Change>) {
        let mut waiting = self.waiting();
        let later = std::mem::take(&mut waiting.changes);
        waiting.changes = changes.into_iter().chain(later).collect();
        waiting.fold();
        self.0.arrived.notify_one();
    }

    /// Takes over how things are called, and what the clock says, from now on.
    pub fn set_words(&self, words: &Words) {
        self.waiting().words = words.clone();
    }

    pub fn words(&self) -> Words {
        self.waiting().words.clone()
    }

    /// Nothing comes any more.
    pub fn close(&self) {
        self.waiting().is_closed = true;
        self.0.arrived.notify_one();
    }

    /// Waits until something is there, or nothing will come; whether something is. One waits at a time.
    pub async fn is_any(&self) -> bool {
        loop {
            {
                let waiting = self.waiting();
                if !waiting.changes.is_empty() || waiting.is_closed {
                    return !waiting.changes.is_empty();
                }
            }
            self.0.arrived.notified().await;
        }
    }

    /// How many changes wait.
    pub fn len(&self) -> usize {
        self.waiting().changes.len()
    }

    pub fn is_closed(&self) -> bool {
        self.waiting().is_closed
    }

    /// The first so many changes at most.
    pub fn take(&self, most: usize) -> Vec<Change> {
        let mut waiting = self.waiting();
        let count = waiting.changes.len().min(most);
        let taken = waiting.changes.drain(..count).collect();
        waiting.folded_to = waiting.folded_to.min(waiting.changes.len());
        taken
    }

    /// Waits for a change of a client that is none of these; `None` where nothing waits and nothing will come.
    /// Cancelling it loses nothing.
    pub async fn next_other_than(&self, busy: &HashSet<ClientKey>) -> Option<Change> {
        loop {
            {
                let mut waiting = self.waiting();
                if let Some(place) = waiting.changes.iter().position(|change| !busy.contains(&change.step.client)) {
                    let taken = waiting.changes.remove(place);
                    waiting.folded_to = waiting.folded_to.min(waiting.changes.len());
                    return taken;
                }
                if waiting.is_closed && waiting.changes.is_empty() {
                    return None;
                }
            }
            self.0.arrived.notified().await;
        }
    }
}

impl Waiting {
    /// Leaves one change of each client: from where its first one began, to where its last one led.
    fn fold(&mut self) {
        let mut place: HashMap<ClientKey, usize> = HashMap::new();
        let mut kept: VecDeque<Change> = VecDeque::new();
        for mut change in self.changes.drain(..) {
            match place.get(&change.step.client) {
                Some(&place) => {
                    let before = &kept[place];
                    change.step.from = before.step.from;
                    change.folded = change.folded.saturating_add(before.folded).saturating_add(1);
                    change.is_initial = before.is_initial;
                    kept[place] = change;
                }
                None => {
                    place.insert(change.step.client, kept.len());
                    kept.push_back(change);
                }
            }
        }
        self.folded_to = kept.len();
        self.changes = kept;
    }
}
