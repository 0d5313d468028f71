//! Defines how well somebody outside is told of a run (a receiver of alerts, a hook, a database of metrics): counts that who tells it keeps, and who serves metrics reads.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use crate::text::Scrubbed;

/// Who is told, and what is counted of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receiver {
    /// Messages about alerts.
    Notifier,
    /// Its processes; what waits are changes.
    Hook,
    /// Points of metrics; what fails are requests.
    Influx,
}

/// One of those who are told, and how that goes.
pub struct Delivery {
    pub to: Receiver,
    /// Its name, as the fleet file has it.
    pub name: Scrubbed,
    waiting: Box<dyn Fn() -> u64 + Send + Sync>,
    told: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
}

impl Delivery {
    pub(super) fn new(to: Receiver, name: Scrubbed, waiting: Box<dyn Fn() -> u64 + Send + Sync>) -> Delivery {
        let (told, failed, dropped) = Default::default();
        Delivery { to, name, waiting, told, failed, dropped }
    }

    /// It has taken so much.
    pub fn note_told(&self, count: u64) {
        self.told.fetch_add(count, Relaxed);
    }

    /// A try to tell it came to nothing.
    pub fn note_failed(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    /// So much will never be told.
    pub fn note_dropped(&self, count: u64) {
        self.dropped.fetch_add(count, Relaxed);
    }

    /// What it has taken since the run began.
    pub fn told(&self) -> u64 {
        self.told.load(Relaxed)
    }

    /// Tries that came to nothing.
    pub fn failed(&self) -> u64 {
        self.failed.load(Relaxed)
    }

    /// What was given up.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// What waits to be told now.
    pub fn waiting(&self) -> u64 {
        (self.waiting)()
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery").field("to", &self.to).field("name", &self.name).finish_non_exhaustive()
    }
}
