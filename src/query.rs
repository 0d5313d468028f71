//! Defines the one language that says which clients are meant: read once, printed so that it reads the same, asked of what is known of a client.
//!
//! Conditions that stand beside each other hold together; `or`, `not` (or `-`) and brackets are what they say:
//!
//! ```text
//! state:rej,wait endpoint:eu-2 p99>250ms reconnects>=3 up<5m
//! id:press-* (why:auth or label.site=hall-3) -~^spare
//! ```
//!
//! A condition is a text that the client shows, `~` with a regular expression for that, or one of the
//! [`FIELDS`] with a value. Upper and lower case are the same everywhere.

mod complete;
mod error;
mod expression;
mod field;
mod make;
mod matching;
mod parse;
mod quantity;
mod text;

#[cfg(test)]
mod tests;

use std::{fmt, str::FromStr};

pub use self::{
    complete::{Completion, Values, complete, settled},
    error::Error,
    field::{FIELDS, Field, Info, Kind, table},
    matching::Subject,
};
use expression::Expression;

/// What is known of the clients that a query is asked of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// How they are defined, and how they stand.
    Running,
    /// Only how they are defined.
    Definition,
}

/// Which clients are meant; all of them where nothing is said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Query {
    root: Expression,
}

impl Query {
    /// The longest query, in bytes.
    pub const LONGEST: usize = 4_096;

    /// Reads a query; an empty one is about everybody.
    ///
    /// # Errors
    /// Where it is none: what is wrong, at which place, and what would be right.
    pub fn parse(text: &str) -> Result<Query, Error> {
        Query::parse_in(text, Scope::Running)
    }

    /// Reads a query that can be asked of clients of whom so much is known.
    ///
    /// # Errors
    /// As [`Query::parse`], and where it asks for more.
    pub fn parse_in(text: &str, scope: Scope) -> Result<Query, Error> {
        parse::parse(text, scope).map(|root| Query { root })
    }

    /// Whether it is about everybody, whatever is known of them.
    pub fn is_empty(&self) -> bool {
        self.root.is_empty()
    }

    /// Whether it asks only for what is known as soon as a client is defined.
    pub fn is_of_definition(&self) -> bool {
        Query::parse_in(&self.to_string(), Scope::Definition).is_ok()
    }

    /// Whether this client is meant. What is not known of it meets no comparison.
    pub fn matches(&self, subject: &impl Subject) -> bool {
        self.root.holds(subject)
    }
}

impl FromStr for Query {
    type Err = Error;

    fn from_str(text: &str) -> Result<Query, Error> {
        Query::parse(text)
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root.fmt(f)
    }
}
