//! Defines what an agent and who attaches to it say to each other; the frames they say it in are the wire's matter.

use serde::{Deserialize, Serialize};

use crate::{
    clock::Moment,
    command::Command,
    event::Event,
    fleet::ClientKey,
    text::Scrubbed,
    wire::{self, WireError},
};

/// Raised with every change of what is said, or of what is known of a fleet: the two ends must be of one kind.
pub(super) const PROTOCOL: u32 = 5;

/// The first thing each end says, the same in all protocols.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    pub magic: [u8; 8],
    pub protocol: u32,
    /// The version of the program.
    pub version: Scrubbed,
}

impl Hello {
    const MAGIC: [u8; 8] = *b"mqfagent";

    pub(super) fn new() -> Hello {
        let version = Scrubbed::new(env!("CARGO_PKG_VERSION"));
        Hello { magic: Self::MAGIC, protocol: PROTOCOL, version }
    }

    /// # Errors
    /// Where the other end is no mqfleet.
    pub(super) fn check(&self) -> Result<(), WireError> {
        if self.magic == Self::MAGIC { Ok(()) } else { Err(WireError::Stranger) }
    }
}

/// What an attached program says, after its hello.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum ToAgent {
    Attach(Purpose),
    /// Does something, if this is who commands; the answer is one [`FromAgent::Answer`].
    Command(Command),
    /// Wants to command.
    TakeOver,
    /// Wants the fleet file read anew, if this is who commands. Likewise answered.
    Reload,
}

/// What somebody attaches for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// To look and to command, if nobody else does.
    Console,
    /// To look; it cannot command.
    Watch,
    /// For what is known now, and no more.
    Snapshot,
}

/// What an agent says, after its hello.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum FromAgent {
    /// So many bytes follow in frames of their own, at most [`PIECE`] in each: the fleet as a recording's head has
    /// it, then what is known.
    Snapshot {
        fleet: u64,
        known: u64,
        now: Moment,
        boot: [u8; 16],
    },
    Events(Vec<Event>),
    Role(Role),
    /// The fleet is another one from here on: so many bytes follow, as in a snapshot.
    Fleet(u64),
    /// What was asked for was done, a reload with what came of it; or why it was not, line by line.
    Answer(Result<Option<Reload>, Vec<Scrubbed>>),
    /// The agent ends, and why.
    Ended(Scrubbed),
}

/// The most bytes in a frame of a snapshot.
pub(super) const PIECE: usize = 1 << 20;
/// The most bytes of a snapshot that are taken: a fleet of 1,000,000 clients stays below it.
pub(super) const SNAPSHOT: u64 = 1 << 31;
/// The most events in a frame; with long details they stay below [`wire::MAX_FRAME`].
pub(super) const EVENTS: usize = wire::MAX_FRAME / (64 << 10) * 16;

/// What came of reading a fleet file anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reload {
    /// What differs, as a sentence.
    pub words: Scrubbed,
    /// What changed in the file, but holds only after a restart.
    pub later: Vec<Scrubbed>,
    /// Clients that are to connect because of it, by their keys in the fleet as it is now.
    pub connecting: Vec<ClientKey>,
}

/// Who commands an agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    pub writer: Option<Who>,
    /// Whether it is who is told this.
    pub is_own: bool,
}

impl Role {
    /// Who commands, for who does not: `ops (pts/3) commands`.
    pub fn words(&self) -> String {
        self.writer.as_ref().map_or("nobody commands".to_owned(), |who| format!("{who} commands"))
    }
}

/// Somebody who is attached, as the kernel says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    pub user: Scrubbed,
    /// The terminal; empty where there is none.
    pub terminal: Scrubbed,
    pub process: u32,
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.terminal.is_empty() {
            true => write!(f, "{} (process {})", self.user, self.process),
            false => write!(f, "{} ({})", self.user, self.terminal),
        }
    }
}
