//! Defines what a recording tells, line by line, and how a segment's lines are read; where they stand in the file is the reader's matter.

use std::sync::Arc;

use chrono::{DateTime, Datelike, Utc};
use serde::Deserialize;

use super::reader::{Recording, RecordingError};
use crate::{
    clock::{Anchor, Moment},
    event::{Event, What},
    fleet::Fleet,
};

/// One thing that a recording tells.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub at: Moment,
    /// What the wall clock said then, to the millisecond, as the live run's lines told it.
    pub wall: DateTime<Utc>,
    pub what: What,
}

impl Entry {
    pub fn event(self) -> Event {
        Event { at: self.at, what: self.what }
    }

    pub fn anchor(&self) -> Anchor {
        Anchor::of_line(self.at, self.wall)
    }
}

/// What one segment tells.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// How everything stood at its begin, where it is an entrance.
    pub standing: Vec<Entry>,
    /// What happened.
    pub entries: Vec<Entry>,
    /// How many lines told nothing that this program understands; a newer one wrote them.
    pub skipped: u64,
}

impl Lines {
    pub fn read(text: &str, fleet: &Fleet) -> Lines {
        let mut lines = Lines::default();
        for line in text.lines() {
            match parse(line, fleet) {
                Parsed::Standing(entry) => lines.standing.push(entry),
                Parsed::Entry(entry) => lines.entries.push(entry),
                Parsed::Head => {}
                Parsed::Unknown => lines.skipped += 1,
            }
        }
        lines
    }

    /// It begins with this fleet.
    pub fn begin_with(&mut self, fleet: &Arc<Fleet>) {
        if let Some(&Entry { at, wall, .. }) = self.standing.first().or(self.entries.first()) {
            self.entries.insert(0, Entry { at, wall, what: What::Fleet(fleet.clone()) });
        }
    }
}

/// A recording's entries, in their order; after an error there are no more.
#[derive(Debug)]
pub struct Entries {
    recording: Arc<Recording>,
    /// The next segment.
    next: usize,
    /// What is left of the present one.
    entries: std::iter::Chain<std::vec::IntoIter<Entry>, std::vec::IntoIter<Entry>>,
    /// Whether the next segment is where reading starts.
    is_first: bool,
    skipped: u64,
}

impl Entries {
    /// Everything from this segment on, and how things stood there where it is an entrance.
    pub(super) fn new(recording: Arc<Recording>, first: usize) -> Entries {
        // Of another fleet than at the begin, that comes first.
        let fleet = recording.fleet_at(first);
        let wall = recording.header().wall;
        let other = (!Arc::ptr_eq(fleet, recording.fleet())).then(|| Entry {
            at: recording.begin(),
            wall,
            what: What::Fleet(fleet.clone()),
        });
        let entries = other.into_iter().collect::<Vec<_>>().into_iter().chain(Vec::new());
        Entries { recording, next: first, entries, is_first: true, skipped: 0 }
    }

    /// How many lines told nothing that this program understands; a newer one wrote them.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }
}

impl Iterator for Entries {
    type Item = Result<Entry, RecordingError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.entries.next() {
                return Some(Ok(entry));
            }
            if self.next >= self.recording.segments().len() {
                return None;
            }
            match self.recording.lines(self.next) {
                Ok(lines) => {
                    let standing = if self.is_first { lines.standing } else { Vec::new() };
                    self.entries = standing.into_iter().chain(lines.entries);
                    self.skipped += lines.skipped;
                    (self.next, self.is_first) = (self.next + 1, false);
                }
                Err(error) => {
                    self.next = usize::MAX;
                    return Some(Err(error));
                }
            }
        }
    }
}

enum Parsed {
    Entry(Entry),
    /// Tells how things stood.
    Standing(Entry),
    Head,
    Unknown,
}

fn parse(line: &str, fleet: &Fleet) -> Parsed {
    #[derive(Deserialize)]
    struct Line<'a> {
        #[serde(rename = "type")]
        kind: &'a str,
        ts: Option<DateTime<Utc>>,
        at_us: Option<u64>,
        exact: Option<What>,
        #[serde(default)]
        snapshot: bool,
    }
    let Ok(line) = serde_json::from_str::<Line>(line) else { return Parsed::Unknown };
    // Years that calendars cannot count with come from nobody's clock.
    let wall = line.ts.filter(|wall| (1970..9999).contains(&wall.year()));
    let what = match (line.kind, line.exact) {
        ("start" | "endpoint" | "settings" | "client", _) => return Parsed::Head,
        ("summary", _) => wall.map(What::Second),
        (_, what) => what.filter(|what| is_of(what, fleet)),
    };
    match (line.at_us, wall, what) {
        (Some(at), Some(wall), Some(what)) => {
            let entry = Entry { at: Moment(at), wall, what };
            if line.snapshot { Parsed::Standing(entry) } else { Parsed::Entry(entry) }
        }
        _ => Parsed::Unknown,
    }
}

/// Whether an event is only about clients and endpoints that the fleet has, or had.
pub fn is_of(what: &What, fleet: &Fleet) -> bool {
    what.client().is_none_or(|key| key.index() < fleet.clients.len())
        && what.endpoint().is_none_or(|key| key.index() < fleet.endpoints.len())
        && !matches!(what, What::Alert(alert) if !alert.fits(fleet.clients.len()))
        && !matches!(what, What::Job(news) if !news.fits(fleet.clients.len()))
}
