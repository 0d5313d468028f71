//! Defines which clients the table shows and in what order (filter and sort, worked out off the frame path); how a column looks is the UI's matter.

use std::cmp::Reverse;

use crate::{
    clock::Moment,
    event::Badge,
    fleet::{ClientKey, Fleet},
    model::{known::Known, row::Row},
    query::{Error, Query},
};

/// What the table can be sorted by, in the order of its columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    State,
    Client,
    Endpoint,
    Last,
    Reconnects,
    Since,
    Reason,
}

impl Column {
    pub const ALL: [Column; 7] = [
        Column::State,
        Column::Client,
        Column::Endpoint,
        Column::Last,
        Column::Reconnects,
        Column::Since,
        Column::Reason,
    ];

    /// The name in the status line.
    pub fn name(self) -> &'static str {
        match self {
            Column::State => "state",
            Column::Client => "client",
            Column::Endpoint => "endpoint",
            Column::Last => "latency",
            Column::Reconnects => "reconnects",
            Column::Since => "time in state",
            Column::Reason => "reason",
        }
    }

    /// Whether the interesting end of this column is its large one.
    fn starts_descending(self) -> bool {
        matches!(self, Column::Last | Column::Reconnects)
    }

    pub fn next(self, by: isize) -> Column {
        let all = Self::ALL.len() as isize;
        Self::ALL[(self as isize + by).rem_euclid(all) as usize]
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sort {
    pub column: Column,
    pub descending: bool,
}

impl Sort {
    pub fn by(column: Column) -> Sort {
        Sort { column, descending: column.starts_descending() }
    }
}

impl Default for Sort {
    fn default() -> Self {
        Sort::by(Column::State)
    }
}

/// How much a client wants to be looked at; the least is the most urgent.
fn urgency(row: &Row) -> u64 {
    match row.badge() {
        Badge::Rejected | Badge::Failed => 0,
        Badge::Backoff => 1,
        Badge::Dead => 2,
        Badge::Connecting if row.is_down() => 3,
        Badge::Queued if row.is_down() => 4,
        Badge::Unknown => 5,
        Badge::Mute => 6,
        Badge::Slow => 7,
        Badge::Connecting => 8,
        Badge::Queued => 9,
        Badge::Held => 10,
        Badge::Up => 11,
        Badge::Off => 12,
    }
}

/// The place of each client when sorted by name.
pub(super) fn name_ranks(fleet: &Fleet) -> Vec<u32> {
    let mut keys: Vec<ClientKey> = fleet.keys().collect();
    keys.sort_by(|a, b| fleet.client(*a).name.cmp(&fleet.client(*b).name).then(a.cmp(b)));
    let mut ranks = vec![0; fleet.clients.len()];
    for (rank, key) in keys.into_iter().enumerate() {
        ranks[key.index()] = rank as u32;
    }
    ranks
}

/// The clients that `filter` lets through at `now`, and `kept`, in the order of `sort`; ties are broken by
/// name, so that two runs of it never swap rows for no reason.
pub(super) fn arrange(
    (known, now): (&Known, Moment),
    ranks: &[u32],
    filter: &Filter,
    kept: Option<ClientKey>,
    sort: Sort,
    out: &mut Vec<ClientKey>,
) {
    let mut keyed: Vec<(u64, u32, ClientKey)> = known
        .fleet()
        .keys()
        .filter(|&k| kept == Some(k) || filter.lets_through(known, k, now))
        .map(|k| (sort_key(known, k, sort.column, ranks), ranks[k.index()], k))
        .collect();
    if sort.descending {
        keyed.sort_unstable_by_key(|&(key, rank, _)| (Reverse(key), rank));
    } else {
        keyed.sort_unstable_by_key(|&(key, rank, _)| (key, rank));
    }
    out.clear();
    out.extend(keyed.into_iter().map(|(_, _, k)| k));
}

fn sort_key(known: &Known, key: ClientKey, column: Column, ranks: &[u32]) -> u64 {
    let row = known.row(key);
    match column {
        Column::State => urgency(row),
        Column::Client => u64::from(ranks[key.index()]),
        Column::Endpoint => row.endpoint.0.into(),
        // What has no figure goes to the quiet end.
        Column::Last => row.last.filter(|_| row.is_up()).map_or(0, |(_, rtt)| rtt.as_micros() as u64),
        Column::Reconnects => row.reconnects.into(),
        Column::Since => u64::MAX - row.since.0,
        Column::Reason => (u64::from(row.reason as u8) << 8) | row.slow.map_or(255, |slow| slow as u64),
    }
}

/// A query with the text that it was typed as.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Filter {
    text: String,
    query: Query,
}

impl Filter {
    pub(super) fn parse(text: &str) -> Result<Filter, Error> {
        Ok(Filter { text: text.trim().to_owned(), query: Query::parse(text)? })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.query.is_empty()
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn lets_through(&self, known: &Known, key: ClientKey, now: Moment) -> bool {
        self.is_empty() || self.query.matches(&known.facts(key, now))
    }
}
