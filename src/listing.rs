//! Defines the list of a fleet's clients as text or JSON, with the columns of the console's table, for scripts and a quick look.

use std::{fmt::Write, ops::RangeInclusive, time::Duration};

use crate::{
    clock::{Anchor, Moment},
    fleet::ClientKey,
    headless::Format,
    lines::Row,
    model::Known,
    query::{Query, Subject},
    store::Snapshot,
    words::{self, figures},
};

/// The clients that are meant, in the fleet file's order, a line for each; as text with a head.
pub fn of(known: &Known, whom: &Query, format: Format, anchor: &Anchor, now: Moment) -> String {
    let keys = known.fleet().keys().filter(|key| whom.matches(&known.facts(*key, now)));
    match format {
        Format::Json => keys.map(|key| Row::of(known, key, anchor, now).line() + "\n").collect(),
        Format::Text => text(known, keys, now),
    }
}

/// The same of the agents of a fleet whose rows are in a store, by agent and client.
pub fn of_store(snapshot: &Snapshot, whom: &Query, format: Format) -> String {
    let seen = snapshot.seen().filter(|seen| whom.matches(seen));
    if let Format::Json = format {
        return seen.map(|seen| seen.row.line() + "\n").collect();
    }
    let cells = seen.map(|seen| {
        let latency = seen.row.latency_us.map_or("-".to_owned(), |us| figures::latency(Duration::from_micros(us)));
        [
            seen.badge().word().to_owned(),
            seen.row.client.to_string(),
            seen.row.agent.as_deref().unwrap_or("-").to_owned(),
            seen.row.endpoint.to_string(),
            latency,
            figures::count(seen.row.reconnects.unwrap_or(0)),
            figures::age(seen.age()),
            seen.why(),
        ]
    });
    const HEADS: [&str; 8] = ["STATE", "CLIENT", "AGENT", "ENDPOINT", "LATENCY", "RECONN", "FOR", "REASON"];
    table(HEADS, cells, 4..=6)
}

fn text(known: &Known, keys: impl Iterator<Item = ClientKey>, now: Moment) -> String {
    const HEADS: [&str; 7] = ["STATE", "CLIENT", "ENDPOINT", "LATENCY", "RECONN", "FOR", "REASON"];
    let cells = keys.map(|key| {
        let row = known.row(key);
        let latency = match (row.late, row.last.filter(|_| row.is_up())) {
            (Some(since), _) => format!(">{}", figures::age(now.since(since))),
            (None, Some((_, rtt))) => figures::latency(rtt),
            (None, None) => "-".to_owned(),
        };
        [
            row.badge().word().to_owned(),
            known.fleet().client(key).name.to_string(),
            known.fleet().endpoint(row.endpoint).name.to_string(),
            latency,
            figures::count(row.reconnects),
            figures::age(now.since(row.since)),
            words::why(known, key, now).into_iter().next().unwrap_or_default(),
        ]
    });
    table(HEADS, cells, 3..=5)
}

/// Columns as wide as what is in them; those with these numbers are flush right.
fn table<const N: usize>(
    heads: [&str; N],
    cells: impl Iterator<Item = [String; N]>,
    right: RangeInclusive<usize>,
) -> String {
    let mut lines = vec![heads.map(str::to_owned)];
    lines.extend(cells);
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut out = String::new();
    for line in &lines {
        let mut shown = String::new();
        for (column, (cell, width)) in line.iter().zip(widths).enumerate() {
            let _ = match right.contains(&column) {
                true => write!(shown, "{cell:>width$}  "),
                false => write!(shown, "{cell:<width$}  "),
            };
        }
        out.push_str(shown.trim_end());
        out.push('\n');
    }
    out
}
