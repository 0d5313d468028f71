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
mod mending;
mod message;
mod program;
mod recovery;
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
use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot,
    },
    task::JoinHandle,
    time::sleep,
};

pub use book::{Book, Outcome};
pub use courier::{Failure, TRY, hand_over};
pub use desk::{Decided, Memory};
pub use message::{Message, Told};
pub use recovery::Due;

use crate::{
    bus::{Bus, Receiver, Subscription, Taken},
    clock::Moment,
    command::Command,
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
    /// Couriers, and who takes the steps of recoveries.
    tasks: Vec<JoinHandle<()>>,
    commands: Option<oneshot::Sender<mpsc::Sender<Command>>>,
    /// Whether what is not told by the end is there at the next start.
    is_kept: bool,
}

/// The thread's part.
struct Keeper {
    book: Book,
    memory: Memory,
    path: Option<std::path::PathBuf>,
    spools: Vec<Arc<Spool>>,
    due: mpsc::Sender<mending::Task>,
    bus: Bus,
    is_failing: bool,
}

impl Alerts {
    /// Begins to watch a run that is to begin; `None` where there is no rule, and none was before. What outlives the program
    /// is kept in `folder`, where there is one. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// Where that folder cannot be made, or what is kept there cannot be read.
    pub fn start(telling: &Telling, fleet: Arc<Fleet>, folder: Option<&Path>, bus: &Bus) -> io::Result<Option<Alerts>> {
        let folder = folder.map(|folder| folder.join("alerts"));
        if telling.alerts.is_empty() && !folder.as_ref().is_some_and(|folder| folder.exists()) {
            return Ok(None);
        }
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
        let mut notices: Vec<String> = strange
            .iter()
            .map(|path| format!("{} is no message to be sent: it is left alone", path.display()))
            .collect();
        if let Some(folder) = &folder {
            let names = telling.notifiers.iter().map(|notifier| notifier.name.as_str());
            let of_nobody = Spool::of_nobody(&folder.join("spool"), names)?;
            notices.extend(of_nobody.iter().map(|(path, count)| unread(path, *count)));
        }
        let events = bus.subscribe("alerts");
        let book = Book::new(fleet, telling, memory.clone(), bus.begin().moment());
        let (due, steps) = mpsc::channel(mending::WAITING_MOST);
        let keeper = Keeper { book, memory, path, spools: spools.clone(), due, bus: bus.clone(), is_failing: false };
        notices.into_iter().for_each(|text| keeper.tell(Level::Warning, text));
        let (done, watched) = oneshot::channel();
        std::thread::Builder::new().name("alerts".into()).spawn(move || {
            keeper.run(events);
            let _ = done.send(());
        })?;
        let (commands, given) = oneshot::channel();
        let mending = tokio::spawn(mending::run(steps, given, bus.clone()));
        let couriers = telling.notifiers.iter().zip(&spools);
        let couriers = couriers.map(|(notifier, spool)| {
            let waiting = spool.clone();
            let delivery = bus.deliver(Receiver::Notifier, &notifier.name, move || waiting.len() as u64);
            tokio::spawn(courier::run(notifier.clone(), spool.clone(), delivery, bus.clone()))
        });
        let tasks = couriers.chain([mending]).collect();
        Ok(Some(Alerts { watched, tasks, commands: Some(commands), spools, is_kept: folder.is_some() }))
    }

    /// Tells where the commands of recoveries go: where an operator's go.
    pub fn command(&mut self, commands: mpsc::Sender<Command>) {
        if let Some(given) = self.commands.take() {
            let _ = given.send(commands); // who takes the steps may have ended
        }
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
        self.tasks.iter().for_each(JoinHandle::abort);
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
        let Some(Outcome { alerts, handlings, due, decided }) = self.book.apply(event) else {
            // What an operator wants holds at once, whenever the program dies.
            if let What::Handling(_) = event.what {
                let kept = self.keep();
                self.judge(kept);
            }
            return;
        };
        let tell = |what| Event { at: event.at, what };
        self.bus.publish(alerts.into_iter().map(|alert| tell(What::Alert(Box::new(alert)))));
        self.bus.publish(handlings.into_iter().map(|handling| tell(What::Handling(Box::new(handling)))));
        decided.notices.into_iter().for_each(|text| self.tell(Level::Warning, text));
        // A message is on disk before it is noted that it was told.
        let mut kept = Ok(());
        for (to, message) in decided.messages {
            kept = kept.and(self.spools[to].put(message));
        }
        kept = kept.and(self.keep());
        self.judge(kept);
        // That a step is taken is noted before it is.
        for task in due {
            // An engine that takes no commands must not keep messages from being written.
            if let Err(TrySendError::Full((step, _))) = self.due.try_send(task) {
                mending::give_up(&self.bus, &step);
            }
        }
    }

    /// Keeps what is to outlive the program, where that has changed.
    fn keep(&mut self) -> io::Result<()> {
        if *self.book.memory() == self.memory {
            return Ok(());
        }
        self.memory = self.book.memory().clone();
        self.path.as_ref().map_or(Ok(()), |path| keeping::write(path, &self.memory))
    }

    /// Says once that the disk takes nothing.
    fn judge(&mut self, kept: io::Result<()>) {
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

/// Messages that wait for a receiver whom the file does not have.
fn unread(path: &Path, count: usize) -> String {
    let (messages, they) = if count == 1 { ("message waits", "it is") } else { ("messages wait", "they are") };
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    format!(
        "{count} {messages} for {name}, whom the fleet file does not name any more: {they} sent once it does, or remove {}",
        path.display()
    )
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
        recovery: Vec::new(),
    };
    let id = message::fingerprint(&[&fleet.name, "test", &now.timestamp_micros().to_string()]);
    Message { id, fleet: fleet.name.clone(), at: now, is_repeat: false, alerts: vec![told], left_out: 0 }
}

#[cfg(test)]
mod tests;
