//! Defines what helps while a filter is typed: what is wrong with it, what may be meant, what was typed before; the line itself is the mode's.

use crate::{
    model::history::History,
    query::{Completion, Error},
};

/// What stands beside the filter line.
#[derive(Clone, Debug, Default)]
pub struct FilterLine {
    /// Why what is typed is no query; the filter is the last one that was.
    pub(super) error: Option<Error>,
    /// What may be meant at the cursor, where that was asked for and is not one thing.
    pub(super) offered: Completion,
    pub(super) history: History,
}

impl FilterLine {
    /// What is wrong with what is typed.
    pub fn error(&self) -> Option<&Error> {
        self.error.as_ref()
    }

    /// What may be meant at the cursor.
    pub fn offered(&self) -> &[String] {
        &self.offered.words
    }

    /// The line is opened anew.
    pub(super) fn open(&mut self) {
        (self.error, self.offered) = (None, Completion::default());
        self.history.open();
    }
}
