//! Defines which clients the table shows and in what order (filter and sort, worked out off the frame path); how a column looks is the UI's matter.

use std::sync::Arc;

use crate::{
    clock::Moment,
    event::{Badge, JobId},
    fleet::{ClientKey, Fleet},
    model::{answers::Answers, insight::Insight, known::Known, log::Entry, row::Row},
    query::{Error, Query},
};

/// What the table can be sorted by, in the order of its columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    State,
    Client,
    Endpoint,
    Last,
    Trend,
    Reconnects,
    Since,
    Reason,
}

impl Column {
    pub const ALL: [Column; 8] = [
        Column::State,
        Column::Client,
        Column::Endpoint,
        Column::Last,
        Column::Trend,
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
            Column::Trend => "trend",
            Column::Reconnects => "reconnects",
            Column::Since => "time in state",
            Column::Reason => "reason",
        }
    }

    /// Whether the interesting end of this column is its large one.
    fn starts_descending(self) -> bool {
        matches!(self, Column::Last | Column::Trend | Column::Reconnects)
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

/// Whether a client is not as it should be: down, or up and not well.
pub(super) fn is_unwell(row: &Row) -> bool {
    row.is_down() || row.is_slow()
}

/// How much a client wants to be looked at; the least is the most urgent.
pub(super) fn urgency(row: &Row) -> u64 {
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

/// How the table is sorted: by a column, those that it does not tell apart by the one before, and by name: two runs
/// of it never swap rows for no reason.
pub(super) type Sorts = [Sort; 2];

/// The clients that `filter` lets through at `now`, and `kept`, in order.
pub(super) fn arrange(
    (known, now): (&Known, Moment),
    ranks: &[u32],
    filter: &Filter,
    kept: Option<ClientKey>,
    sorts: Sorts,
    out: &mut Vec<ClientKey>,
) {
    // What descends is turned around, so that all keys ascend.
    let key = |client, sort: Sort| {
        let key = sort_key(known, client, sort.column, ranks);
        if sort.descending { !key } else { key }
    };
    let mut keyed: Vec<([u64; 2], u32, ClientKey)> = known
        .fleet()
        .keys()
        .filter(|&k| kept == Some(k) || filter.lets_through(known, k, now))
        .map(|k| (sorts.map(|sort| key(k, sort)), ranks[k.index()], k))
        .collect();
    keyed.sort_unstable();
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
        // How many times slower the last answer is than usual, in thousandths.
        Column::Trend => row.answers().zip(row.last.filter(|_| row.is_up())).map_or(0, |(answers, (_, rtt))| {
            let usual = answers.usual().max(Answers::FAST);
            (rtt.as_micros() as u64).saturating_mul(1_000) / usual.as_micros().max(1) as u64
        }),
        Column::Reconnects => row.reconnects.into(),
        Column::Since => u64::MAX - row.since.0,
        Column::Reason => (u64::from(row.reason as u8) << 8) | row.slow.map_or(255, |slow| slow as u64),
    }
}

/// Clients that were chosen one by one, and not by a query: they stay who they are, whatever becomes of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    pub origin: Origin,
    /// In their order.
    clients: Arc<[ClientKey]>,
}

/// What chosen clients have in common.
#[derive(Clone, Debug, PartialEq)]
pub enum Origin {
    /// The cause why they were unhealthy.
    Cause(Insight),
    /// What happened to all of them within a second.
    Burst(Entry),
    /// The alert of this name.
    Alert(String),
    /// A cell of the map.
    Cell,
    /// A job; whether only those of whom it failed.
    Job(JobId, bool),
}

impl Chosen {
    pub(super) fn new(origin: Origin, mut clients: Vec<ClientKey>) -> Chosen {
        clients.sort_unstable();
        Chosen { origin, clients: clients.into() }
    }

    pub fn clients(&self) -> &[ClientKey] {
        &self.clients
    }
}

/// A query with the text that it was typed as, and whom alone it is asked of, where these were chosen.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Filter {
    text: String,
    query: Query,
    chosen: Option<Chosen>,
}

impl Filter {
    pub(super) fn parse(text: &str) -> Result<Filter, Error> {
        Ok(Filter { text: text.trim().to_owned(), query: Query::parse(text)?, chosen: None })
    }

    /// Exactly these clients.
    pub(super) fn of(chosen: Chosen) -> Filter {
        Filter { chosen: Some(chosen), ..Filter::default() }
    }

    /// The same, asked of these clients only.
    pub(super) fn among(self, chosen: Option<&Chosen>) -> Filter {
        Filter { chosen: chosen.cloned(), ..self }
    }

    /// Whom it means of whom a query means, too.
    pub(super) fn and(&self, query: Query) -> Filter {
        let query = self.query.clone().and(query);
        Filter { text: query.to_string(), query, chosen: self.chosen.clone() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.chosen.is_none() && self.query.is_empty()
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn query(&self) -> &Query {
        &self.query
    }

    pub(super) fn chosen(&self) -> Option<&Chosen> {
        self.chosen.as_ref()
    }

    pub(super) fn lets_through(&self, known: &Known, key: ClientKey, now: Moment) -> bool {
        self.chosen.as_ref().is_none_or(|chosen| chosen.clients.binary_search(&key).is_ok())
            && (self.query.is_empty() || self.query.matches(&known.facts(key, now)))
    }
}
