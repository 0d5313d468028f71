//! Defines the alerts of a run: a subscriber of the bus looks at the fleet by the file's rules and tells who is to be told; which rules there are is `telling`'s matter.
//!
//! The subscriber is a thread with a mailbox and a [`crate::model::Known`] of its own. What a second comes to is decided
//! by the [`Book`], which knows no clock: on a recording's events it decides the same. Messages wait in a [`spool`] for
//! each receiver, and a courier for each brings them: whoever is slow or dead delays nobody else.

mod alertmanager;
mod book;
mod courier;
mod desk;
mod keeping;
mod mail;
mod message;
mod program;
mod rules;
mod spool;
mod webhook;

use std::{
    io,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::Utc;
use tokio::{sync::oneshot, task::JoinHandle, time::sleep};

pub use book::{Book, Outcome};
pub use courier::{Failure, TRY, hand_over};
pub use desk::{Decided, Memory};
pub use message::{Message, Told};

use crate::{
    bus::{Bus, Receiver, Subscription, Taken},
    clock::Moment,
    event::{Event, Level, Severity, What},
    fleet::Fleet,
    private,
    telling::Telling,
    text::Scrubbed,
};
use spool::Spool;

/// The alerts of a run, watched and told until this is dropped.
#[derive(Debug)]
pub struct Alerts {
    /// Ends when all that happened was looked at.
    watched: oneshot::Receiver<()>,
    spools: Vec<Arc<Spool>>,
    couriers: Vec<JoinHandle<()>>,
    /// Whether what is not told by the end is there at the next start.
    is_kept: bool,
}

/// The thread's part.
struct Keeper {
    book: Book,
    memory: Memory,
    path: Option<std::path::PathBuf>,
    spools: Vec<Arc<Spool>>,
    bus: Bus,
    is_failing: bool,
}

impl Alerts {
    /// Begins to watch a run that is to begin; `None` where there is no rule. What outlives the program is kept in
    /// `folder`, where there is one. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// Where that folder cannot be made, or what is kept there cannot be read.
    pub fn start(telling: &Telling, fleet: Arc<Fleet>, folder: Option<&Path>, bus: &Bus) -> io::Result<Option<Alerts>> {
        if telling.alerts.is_empty() {
            return Ok(None);
        }
        let folder = folder.map(|folder| folder.join("alerts"));
        let path = folder.as_ref().map(|folder| folder.join("alerts.json"));
        let mut memory = Memory::default();
        if let (Some(folder), Some(path)) = (&folder, &path) {
            private::make_folder(folder)?;
            let in_words = |error| io::Error::other(format!("{}: {error}", path.display()));
            memory = keeping::read(path).map_err(in_words)?.unwrap_or_default();
        }
        let (mut spools, mut strange) = (Vec::new(), Vec::new());
        for notifier in &telling.notifiers {
            let (spool, others) =
                Spool::open(folder.as_deref().map(|folder| folder.join("spool")).as_deref(), &notifier.name)?;
            spools.push(Arc::new(spool));
            strange.extend(others);
        }
        let events = bus.subscribe("alerts");
        let book = Book::new(fleet, telling, memory.clone(), bus.begin().moment());
        let keeper = Keeper { book, memory, path, spools: spools.clone(), bus: bus.clone(), is_failing: false };
        for path in strange {
            keeper.tell(Level::Warning, format!("{} is no message to be sent: it is left alone", path.display()));
        }
        let (done, watched) = oneshot::channel();
        std::thread::Builder::new().name("alerts".into()).spawn(move || {
            keeper.run(events);
            let _ = done.send(());
        })?;
        let couriers = telling.notifiers.iter().zip(&spools);
        let couriers = couriers.map(|(notifier, spool)| {
            let waiting = spool.clone();
            let delivery = bus.deliver(Receiver::Notifier, &notifier.name, move || waiting.len() as u64);
            tokio::spawn(courier::run(notifier.clone(), spool.clone(), delivery, bus.clone()))
        });
        Ok(Some(Alerts { watched, couriers: couriers.collect(), spools, is_kept: folder.is_some() }))
    }

    /// Waits, once the bus is closed, for what is still to be told, for at most three seconds. Returns what is to be
    /// said of the rest.
    pub async fn finish(mut self) -> Option<String> {
        const PATIENCE: Duration = Duration::from_secs(3);
        let begin = Instant::now();
        let _ = tokio::time::timeout(PATIENCE, &mut self.watched).await;
        let waiting = || self.spools.iter().map(|spool| spool.len()).sum::<usize>();
        while waiting() > 0 && begin.elapsed() < PATIENCE {
            sleep(Duration::from_millis(20)).await;
        }
        match waiting() {
            0 => None,
            _ if self.is_kept => None,
            left => Some(format!("{left} messages about alerts did not reach who was to be told")),
        }
    }
}

impl Drop for Alerts {
    fn drop(&mut self) {
        self.couriers.iter().for_each(JoinHandle::abort);
    }
}

impl Keeper {
    fn run(mut self, mut events: Subscription) {
        loop {
            match events.wait(Duration::from_secs(60)) {
                Taken::Events(events, _) => events.iter().for_each(|event| self.apply(event)),
                Taken::Nothing => {}
                Taken::Closed => return,
            }
        }
    }

    fn apply(&mut self, event: &Event) {
        let Some(Outcome { alerts, decided }) = self.book.apply(event) else { return };
        let alerts = alerts.into_iter().map(|alert| Event { at: event.at, what: What::Alert(Box::new(alert)) });
        self.bus.publish(alerts);
        decided.notices.into_iter().for_each(|text| self.tell(Level::Warning, text));
        // A message is on disk before it is noted that it was told.
        let mut kept = Ok(());
        for (to, message) in decided.messages {
            kept = kept.and(self.spools[to].put(message));
        }
        if *self.book.memory() != self.memory {
            self.memory = self.book.memory().clone();
            if let Some(path) = &self.path {
                kept = kept.and(keeping::write(path, &self.memory));
            }
        }
        match kept {
            Err(error) if !self.is_failing => {
                self.is_failing = true;
                self.tell(Level::Error, format!("what is told of alerts does not outlive this agent: {error}"));
            }
            Err(_) => {}
            Ok(()) => self.is_failing = false,
        }
    }

    fn tell(&self, level: Level, text: String) {
        let what = What::Notice { level, text: Scrubbed::new(&text) };
        self.bus.publish([Event { at: Moment::now(), what }]);
    }
}

/// A message that says of itself that it is a test.
pub fn test_message(fleet: &Fleet) -> Message {
    let now = Utc::now();
    let told = Told {
        rule: Scrubbed::new("mqfleet notify test"),
        severity: Severity::Info,
        is_firing: true,
        since: now,
        until: None,
        is_untold: false,
        clients: 0,
        of: 0,
        names: Vec::new(),
        cause: Scrubbed::new("this is a test: nothing is wrong"),
    };
    let id = message::fingerprint(&[&fleet.name, "test", &now.timestamp_micros().to_string()]);
    Message { id, fleet: fleet.name.clone(), at: now, is_repeat: false, alerts: vec![told], left_out: 0 }
}

#[cfg(test)]
mod tests;
