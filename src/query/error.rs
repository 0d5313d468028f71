//! Defines why a text is no query: what is wrong, where, and what would be right.

use std::{fmt, ops::Range};

use unicode_width::UnicodeWidthStr as _;
use winnow::{error::ParserError, stream::Location as _};

use super::parse::Input;
use crate::text::Scrubbed;

/// Why a text is no query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The place, in bytes of the text, within it; empty where something is missing.
    pub at: Range<usize>,
    /// The same place in characters, from 1.
    pub character: usize,
    /// What is wrong.
    pub what: String,
    /// What would be right.
    pub right: Option<String>,
    /// Whether it may become a query by what is typed after it.
    pub is_incomplete: bool,
}

impl std::error::Error for Error {}

impl Error {
    pub(super) fn new(at: Range<usize>, what: impl Into<String>) -> Error {
        Error { at, character: 0, what: what.into(), right: None, is_incomplete: false }
    }

    pub(super) fn right(self, right: impl Into<String>) -> Error {
        Error { right: Some(right.into()), ..self }
    }

    pub(super) fn incomplete_if(self, is_incomplete: bool) -> Error {
        Error { is_incomplete, ..self }
    }

    /// Puts the place within the text, at borders of characters.
    pub(super) fn placed(mut self, text: &str) -> Error {
        let border = |at: usize| (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        self.at = border(self.at.start)..border(self.at.end.max(self.at.start));
        self.character = text[..self.at.start].chars().count() + 1;
        self
    }

    /// What is wrong and what would be right, in one line.
    pub fn message(&self) -> String {
        match &self.right {
            Some(right) => format!("{}; {right}", self.what),
            None => self.what.clone(),
        }
    }

    /// The query, or what of it is around the place, with carets below the place; then what is wrong and what would
    /// be right.
    pub fn show(&self, text: &str) -> String {
        let begin = text[..self.at.start].char_indices().rev().nth(Self::AROUND).map_or(0, |(at, c)| at + c.len_utf8());
        let end =
            text[self.at.start..].char_indices().nth(Self::AROUND).map_or(text.len(), |(at, _)| self.at.start + at);
        let before = Scrubbed::new(&text[begin..self.at.start]);
        let place = Scrubbed::new(&text[self.at.start..self.at.end.min(end)]);
        let after = Scrubbed::new(&text[self.at.end.min(end)..end]);
        let more = |is_cut| if is_cut { "…" } else { "" };
        let (head, tail) = (more(begin > 0), more(end < text.len()));
        let (indent, carets) = (" ".repeat(head.width() + before.width()), "^".repeat(place.width().max(1)));
        let right = self.right.as_ref().map_or(String::new(), |right| format!("\n{right}"));
        format!("{head}{before}{place}{after}{tail}\n{indent}{carets} {}{right}", self.what)
    }

    /// How many characters are shown on either side of the place.
    const AROUND: usize = 60;
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "character {}: {}", self.character, self.message())
    }
}

impl<'t> ParserError<Input<'t>> for Error {
    type Inner = Error;

    fn from_input(input: &Input<'t>) -> Error {
        let at = input.current_token_start();
        Error::new(at..at, "this is not understood")
    }

    fn into_inner(self) -> Result<Error, Error> {
        Ok(self)
    }
}
