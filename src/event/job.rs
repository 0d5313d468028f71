//! Defines a job (the same done to many clients, a few at a time) as it is told: what it does, how it stands, and what became of each client; how it goes about it is in `jobs`.

use std::{collections::HashSet, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    clock::Moment,
    event::Reason,
    fleet::{ClientKey, Places},
};

/// Which job of a run: they are numbered from 1. With several agents, each has its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobId {
    /// The number of the agent, where there are several.
    pub agent: u16,
    pub number: u32,
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("#{}", self.number))
    }
}

/// What a job does to each of its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deed {
    Connect,
    Reconnect,
    Disconnect,
}

impl Deed {
    /// The stable name, as scripts read it.
    pub fn name(self) -> &'static str {
        match self {
            Deed::Connect => "connect",
            Deed::Reconnect => "reconnect",
            Deed::Disconnect => "disconnect",
        }
    }
}

/// How a job goes about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roll {
    /// The most clients that are on their way at once; 0 where only the gates of their endpoints say how many.
    pub at_once: u32,
    /// It begins no more once so many have failed; 0 where it goes on whatever happens.
    pub stop_after: u32,
}

impl Roll {
    /// What can be chosen of both: some steps, the last of which is no limit.
    pub const STEPS: [u32; 11] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 0];

    /// The next larger choice, or the next smaller one.
    pub fn step(now: u32, is_up: bool) -> u32 {
        let place = Self::STEPS.iter().position(|step| *step == now).unwrap_or(4);
        let last = Self::STEPS.len() - 1;
        Self::STEPS[if is_up { (place + 1).min(last) } else { place.saturating_sub(1) }]
    }
}

impl Default for Roll {
    fn default() -> Roll {
        Roll { at_once: 20, stop_after: 5 }
    }
}

/// How a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    Running,
    /// The operator lets it begin with no more.
    Paused,
    /// Too many failed: it begins with no more until the operator says so.
    Stopped,
    /// It is over: every client had its turn.
    Done,
    /// It is over: the operator wanted no more of it,
    Cancelled,
    /// or wanted it taken back.
    Undone,
}

impl JobState {
    /// Whether it begins with nobody any more, whatever the operator says.
    pub fn is_over(self) -> bool {
        matches!(self, JobState::Done | JobState::Cancelled | JobState::Undone)
    }

    /// The stable name, as scripts read it.
    pub fn name(self) -> &'static str {
        match self {
            JobState::Running => "running",
            JobState::Paused => "paused",
            JobState::Stopped => "stopped",
            JobState::Done => "done",
            JobState::Cancelled => "cancelled",
            JobState::Undone => "undone",
        }
    }
}

/// A job, with its clients counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    pub id: JobId,
    pub deed: Deed,
    pub roll: Roll,
    pub state: JobState,
    /// When it was ordered, and when the last of its clients was where it was to be, or failed.
    pub begun: Moment,
    pub ended: Option<Moment>,
    /// The job that this one takes back.
    pub undoes: Option<JobId>,
    /// Clients that it has not begun with,
    pub left: u32,
    /// that are on their way,
    pub under_way: u32,
    /// that are where they were to be,
    pub done: u32,
    /// whose try went wrong,
    pub failed: u32,
    /// and with whom nothing was done, for a reason.
    pub skipped: u32,
}

impl Job {
    /// How many clients it is about.
    pub fn all(&self) -> u32 {
        self.left + self.under_way + self.done + self.failed + self.skipped
    }

    /// How many had their turn.
    pub fn settled(&self) -> u32 {
        self.done + self.failed + self.skipped
    }

    /// Whether what it did cannot be taken back.
    pub fn is_for_good(&self) -> bool {
        self.deed == Deed::Reconnect
    }

    /// It as one of the fleet of several agents.
    pub fn moved(self, places: &Places) -> Job {
        let agent = places.agent.as_ref().map_or(0, |agent| agent.number);
        let of_agent = |id: JobId| JobId { agent, ..id };
        Job {
            id: of_agent(self.id),
            undoes: self.undoes.map(of_agent),
            begun: self.begun.moved(places.later),
            ended: self.ended.map(|at| at.moved(places.later)),
            ..self
        }
    }
}

/// What became of a client in a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    UnderWay,
    Done,
    /// Its first try went wrong, or it was lost again at once. It goes on trying, as it does by itself.
    Failed(Reason),
    Skipped(Skip),
}

/// Why a job did nothing with a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Skip {
    /// It is not in the fleet any more.
    Gone,
    /// It was where it was to be already.
    There,
    /// Somebody switched it off, or on, since the job was ordered.
    Changed,
    /// Another order came before the end of this one.
    Overtaken,
    /// The job ended before its turn.
    NotBegun,
}

/// What is new of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobNews {
    pub job: Job,
    /// Whether its state is another one than before: that is worth a word.
    pub is_turn: bool,
    /// The clients of whom there is news: as it is told, at most [`JobNews::FATES`].
    pub fates: Vec<(ClientKey, Fate)>,
}

impl JobNews {
    /// The most clients of whom one event tells: many of these fit into a frame of the wire.
    pub const FATES: usize = 700;

    /// Whether it is only about clients that a fleet of so many has.
    pub fn fits(&self, clients: usize) -> bool {
        self.fates.iter().all(|(client, _)| client.index() < clients)
    }

    /// It with what came after it: as one, for who is late.
    pub fn followed(mut self, next: JobNews) -> JobNews {
        let newer: HashSet<ClientKey> = next.fates.iter().map(|(client, _)| *client).collect();
        self.fates.retain(|(client, _)| !newer.contains(client));
        self.fates.extend(next.fates);
        JobNews { job: next.job, is_turn: self.is_turn || next.is_turn, fates: self.fates }
    }

    /// It as news of the fleet of several agents.
    pub fn moved(self, places: &Places) -> JobNews {
        let fates = self.fates.into_iter().map(|(client, fate)| (places.client(client), fate)).collect();
        JobNews { job: self.job.moved(places), fates, ..self }
    }
}

/// What the operator wants of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Steer {
    Pause,
    /// Also one that stopped.
    Resume,
    /// Nobody else has a turn.
    Cancel,
    /// Likewise, and those who were connected or disconnected are as they were.
    Undo,
}

impl Steer {
    /// It as the audit has it: `pause job`.
    pub fn words(self) -> &'static str {
        match self {
            Steer::Pause => "pause job",
            Steer::Resume => "resume job",
            Steer::Cancel => "cancel job",
            Steer::Undo => "undo job",
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Steer::Pause => "pause",
            Steer::Resume => "resume",
            Steer::Cancel => "cancel",
            Steer::Undo => "undo",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_that_follow_each_other_become_one() {
        let id = JobId { agent: 0, number: 1 };
        let roll = Roll::default();
        let job = |done| Job {
            id,
            deed: Deed::Connect,
            roll,
            state: JobState::Running,
            begun: Moment(1),
            ended: None,
            undoes: None,
            left: 2 - done,
            under_way: 0,
            done,
            failed: 0,
            skipped: 0,
        };
        let [a, b] = [ClientKey(0), ClientKey(1)];
        let first = JobNews { job: job(0), is_turn: true, fates: vec![(a, Fate::UnderWay), (b, Fate::UnderWay)] };
        let next = JobNews { job: job(1), is_turn: false, fates: vec![(a, Fate::Done)] };
        let both = JobNews { job: job(1), is_turn: true, fates: vec![(b, Fate::UnderWay), (a, Fate::Done)] };
        assert_eq!(first.followed(next), both);
    }

    #[test]
    fn limits_are_changed_in_steps_and_the_last_is_none() {
        let up = |from| Roll::step(from, true);
        assert_eq!([up(1), up(20), up(1_000), up(0)], [2, 50, 0, 0]);
        let down = |from| Roll::step(from, false);
        assert_eq!([down(1), down(20), down(0)], [1, 10, 1_000]);
    }
}
