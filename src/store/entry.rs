//! Defines what a store says of an agent beside its rows, as JSON.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use crate::text::Scrubbed;

/// An agent, as it last said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub agent: Scrubbed,
    pub host: Scrubbed,
    pub pid: u32,
    pub version: Scrubbed,
    pub clients: u32,
    pub up: u32,
    /// When it began to write there, and when it was last heard of: by the store's clock.
    pub begin: Scrubbed,
    pub beat: Scrubbed,
    /// It is gone where it was not heard of for so long.
    pub lease_ms: u64,
    /// So much its host's clock, by which its rows are, is ahead of the store's.
    pub clock_ms: i64,
}

impl Entry {
    /// When it was last heard of.
    pub fn heard(&self) -> Option<DateTime<Utc>> {
        time(&self.beat)
    }

    /// Who it is, in words.
    pub fn words(&self) -> String {
        format!("process {} on {}", self.pid, self.host)
    }
}

/// A time as rows and entries have it.
pub(super) fn stamp(time: DateTime<Utc>) -> Scrubbed {
    Scrubbed::new(&time.to_rfc3339_opts(SecondsFormat::Millis, true))
}

pub(super) fn time(stamp: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(stamp).ok().map(|time| time.to_utc())
}
