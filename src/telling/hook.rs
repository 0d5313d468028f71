//! Defines a hook: a program that is to be told of changes of state (`[[hook]]`); running it is done elsewhere.

use std::time::Duration;

use super::Match;
use crate::{event::State, program::Program, text::Scrubbed};

/// What is run for which changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Hook {
    pub name: Scrubbed,
    /// The states that a client leaves; none for any.
    pub from: Vec<State>,
    /// Those that it enters, likewise.
    pub to: Vec<State>,
    pub matching: Match,
    pub run: Program,
    pub mode: Mode,
    /// How long a process may take before it is ended with all that it started; a stream has no such limit.
    pub timeout: Duration,
    /// Whether it is told, too, where each client is found at the start.
    pub initial: bool,
}

/// How its program is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One process for all changes of a moment; what comes meanwhile is for the next one.
    Batch,
    /// One process for a change: one at a time for a client, and so many for all.
    Each { at_most: usize },
    /// One process that stays.
    Stream,
}

impl Mode {
    pub const AT_MOST: usize = 4;

    /// As the fleet file has it.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Batch => "batch",
            Mode::Each { .. } => "each",
            Mode::Stream => "stream",
        }
    }
}

impl Hook {
    pub const TIMEOUT: Duration = Duration::from_secs(10);

    /// Whether it is told of a client that enters a state, from one where that is known.
    pub fn is_about(&self, from: Option<State>, to: State) -> bool {
        let is_one = |states: &[State], state: State| states.is_empty() || states.contains(&state);
        is_one(&self.to, to) && from.is_none_or(|from| is_one(&self.from, from))
    }
}
