//! Defines what helps while a filter is typed: what is wrong with it, what may be meant, what was typed before; the line itself is the mode's.

use crate::query::{Completion, Error};

/// What stands beside the filter line.
#[derive(Clone, Debug, Default)]
pub struct FilterLine {
    /// Why what is typed is no query; the filter is the last one that was.
    pub(super) error: Option<Error>,
    /// What may be meant at the cursor, where that was asked for and is not one thing.
    pub(super) offered: Completion,
    /// What was kept before, the newest last.
    history: Vec<String>,
    /// How far back in it the line is, and what was typed before it went there.
    back: usize,
    draft: String,
}

impl FilterLine {
    /// The most that are remembered.
    const HISTORY: usize = 100;

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
        (self.error, self.offered, self.back) = (None, Completion::default(), 0);
    }

    /// Remembers what was typed, once.
    pub(super) fn keep(&mut self, text: &str) {
        if !text.is_empty() {
            self.history.retain(|kept| kept != text);
            self.history.push(text.to_owned());
            let most = self.history.len().saturating_sub(Self::HISTORY);
            self.history.drain(..most);
        }
    }

    /// What was typed before (or after) what is in the line now; `None` where there is nothing more.
    pub(super) fn recall(&mut self, now: &str, is_back: bool) -> Option<String> {
        if self.back == 0 {
            self.draft = now.to_owned();
        }
        // What is applied already is no news.
        let is_same = |back: usize| back == 1 && self.draft == self.history[self.history.len() - 1];
        let mut to = if is_back { self.back + 1 } else { self.back.checked_sub(1)? };
        if to == 1 && !self.history.is_empty() && is_same(to) {
            to = if is_back { 2 } else { 0 };
        }
        if to > self.history.len() {
            return None;
        }
        self.back = to;
        Some(if to == 0 { self.draft.clone() } else { self.history[self.history.len() - to].clone() })
    }
}
