//! Defines what an alert's rule says (`[[alert]]`): about which clients, from how many on, for how long, and who is told.

use std::time::Duration;

use super::{Match, Step};
use crate::{
    event::{Reason, Severity, State},
    text::Scrubbed,
};

/// A rule about a set of clients.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// No two rules have the same.
    pub name: Scrubbed,
    pub matching: Match,
    pub condition: Condition,
    /// It fires from so many clients on,
    pub at_least: AtLeast,
    /// when there have been so many for this long.
    pub lasting: Duration,
    /// It is over with fewer than this,
    pub below: AtLeast,
    /// when there have been fewer for this long.
    pub calm: Duration,
    pub severity: Severity,
    /// Who is told, by their places in [`super::Telling::notifiers`].
    pub notify: Vec<usize>,
    /// What is done by itself while it fires.
    pub recover: Vec<Step>,
}

impl Rule {
    /// How long it must last, where the file does not say.
    pub const LASTING: Duration = Duration::from_secs(30);
    /// The least time of calm, where the file does not say: who comes and goes within that is told of once.
    pub const CALM: Duration = Duration::from_secs(60);
}

/// What is true of a client that a rule counts.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// It is in one of these states. One that tries again is in backoff, whichever step of its try it is at.
    State(Vec<State>),
    /// It is up and not well.
    Slow,
    /// Its probe has had no answer for so long.
    Late(Duration),
    /// Its own certificate, or that of its endpoint, ends within this time, or has ended.
    CertificateEnds(Duration),
    /// The last thing that happened to it has one of these reasons.
    Reason(Vec<Reason>),
    /// It lost its connection more often than this within that time.
    Flaps { more_than: u32, within: Duration },
}

/// How many clients.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AtLeast {
    Count(u32),
    /// A share of those that the rule looks at, above 0 and up to 1.
    Share(f64),
}

impl AtLeast {
    /// How many these are of so many; at least one.
    pub fn of(self, all: u32) -> u32 {
        match self {
            AtLeast::Count(count) => count.max(1),
            AtLeast::Share(share) => ((f64::from(all) * share - 1e-9).ceil() as u32).max(1),
        }
    }
}
