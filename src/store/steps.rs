//! Defines the steps that an agent takes in a store, each of them one script, and what the answers mean; which is taken when is the writer's matter.

use std::{sync::Arc, time::Duration};

use redis::cmd;

use super::{Trouble, entry::Entry, keys::Keys, link::Link, script};
use crate::{telling, text::Scrubbed};

/// An agent's registration, and how far it has come with it.
pub(super) struct Steps {
    keys: Keys,
    agent: Scrubbed,
    /// Tells this process from others of its name.
    instance: String,
    lease: Duration,
    /// Entries that the stream keeps.
    events: u32,
    /// The number of the registration; 0 before the first.
    epoch: u64,
    /// Steps that the store has taken since then, and entries of the stream.
    turn: u64,
    seq: u64,
    /// Rows that there must be where the next ones are written.
    rows: u64,
}

/// What is written in one step. Where its answer is lost, the very same is written again: the store knows it by its turn.
#[derive(Debug, Default)]
pub(super) struct Parcel {
    pub lines: String,
    pub rows: Vec<(Arc<str>, String)>,
    pub gone: Vec<Arc<str>>,
}

/// Where rows are written to.
#[derive(Clone, Copy)]
pub(super) enum To {
    Rows,
    /// Beside those that are there, which stay until all are written.
    New,
    /// In place of those.
    Done,
}

/// What became of a step.
pub(super) enum Answer {
    /// It is taken; the store's clock says so many milliseconds since 1970.
    Done(i64),
    /// The store lacks something: all has to be written anew.
    Unknown(String),
    /// Another agent has the name.
    Fenced(Option<Entry>),
}

/// What a registration found.
pub(super) struct Registered {
    /// The store's clock, as above.
    pub clock: i64,
    /// Who had the name until now, and was there.
    pub before: Option<Option<Entry>>,
}

impl Steps {
    pub fn new(store: &telling::Store, fleet: &str) -> Steps {
        Steps {
            keys: Keys::new(fleet),
            agent: store.agent.clone(),
            instance: format!("{:016x}", fastrand::u64(..)),
            lease: store.lease,
            events: store.events,
            epoch: 0,
            turn: 0,
            seq: 0,
            rows: 0,
        }
    }

    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Rows that there are.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// A script with its keys.
    fn script(&self, text: String, keys: &[String]) -> redis::Cmd {
        let mut command = cmd("EVAL");
        command.arg(text).arg(keys.len()).arg(keys);
        command
    }

    /// Registers, after whoever has the name; no row is written yet.
    pub async fn register(&mut self, link: &Link, entry: String) -> Result<Registered, Trouble> {
        let (keys, agent) = (&self.keys, self.agent.as_str());
        let keys = [keys.presence(agent), keys.agents(), keys.epochs(), keys.new_rows(agent)];
        let mut command = self.script(script::register(), &keys);
        command.arg(self.epoch).arg(&self.instance).arg(self.lease.as_millis() as u64).arg(agent).arg(entry);
        let answer: Vec<String> = link.run(&command).await?;
        let [epoch, before, entry, seconds, micros] = answer.as_slice() else { return Err(nonsense()) };
        self.epoch = epoch.parse().map_err(|_| nonsense())?;
        (self.turn, self.seq, self.rows) = (0, 0, 0);
        let is_other = !before.is_empty() && *before != self.instance;
        let before = is_other.then(|| serde_json::from_str(entry).ok());
        Ok(Registered { clock: clock(seconds, micros)?, before })
    }

    /// Writes rows and what changed, and is heard of; with what the agent says of itself, where that is to be told.
    pub async fn write(
        &mut self,
        link: &Link,
        to: To,
        parcel: &Parcel,
        entry: Option<String>,
    ) -> Result<Answer, Trouble> {
        let (keys, agent) = (&self.keys, self.agent.as_str());
        let all = [keys.presence(agent), keys.agents(), keys.rows(agent), keys.new_rows(agent), keys.events()];
        let mut command = self.script(script::write(), &all);
        command.arg(self.epoch).arg(&self.instance).arg(self.turn + 1).arg(self.lease.as_millis() as u64).arg(agent);
        command.arg(entry.unwrap_or_default()).arg(self.rows);
        command.arg(match to {
            To::Rows => "rows",
            To::New => "new",
            To::Done => "done",
        });
        command.arg(keys.changes()).arg(self.events).arg(self.seq + 1).arg(&parcel.lines).arg(parcel.gone.len());
        parcel.gone.iter().for_each(|id| {
            command.arg(&**id);
        });
        for (id, row) in &parcel.rows {
            command.arg(&**id).arg(row);
        }
        let answer: Vec<String> = link.run(&command).await?;
        match answer.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["OK", rows, seconds, micros] => {
                self.rows = rows.parse().map_err(|_| nonsense())?;
                self.turn += 1;
                self.seq += u64::from(!parcel.lines.is_empty());
                Ok(Answer::Done(clock(seconds, micros)?))
            }
            ["UNKNOWN", why] => Ok(Answer::Unknown((*why).to_owned())),
            ["FENCED", entry] => Ok(Answer::Fenced(serde_json::from_str(entry).ok())),
            _ => Err(nonsense()),
        }
    }

    /// Says that this agent is gone, so that nobody has to find it out.
    pub async fn leave(&self, link: &Link, entry: String) -> Result<(), Trouble> {
        let agent = self.agent.as_str();
        let mut command = self.script(script::leave(), &[self.keys.presence(agent), self.keys.agents()]);
        command.arg(self.epoch).arg(&self.instance).arg(agent).arg(entry);
        link.run::<String>(&command).await.map(|_| ())
    }

    /// Whether nobody has the name.
    pub async fn is_free(&self, link: &Link) -> Result<bool, Trouble> {
        let held: i64 = link.run(cmd("EXISTS").arg(self.keys.presence(&self.agent))).await?;
        Ok(held == 0)
    }
}

fn clock(seconds: &str, micros: &str) -> Result<i64, Trouble> {
    let number = |text: &str| text.parse::<i64>().map_err(|_| nonsense());
    Ok(number(seconds)?.saturating_mul(1_000).saturating_add(number(micros)? / 1_000))
}

fn nonsense() -> Trouble {
    Trouble::new("the store's answer is none that can be understood")
}
