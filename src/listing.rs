//! Defines the list of a fleet's clients as text or JSON, with the columns of the console's table, for scripts and a quick look.

use std::fmt::Write;

use serde::Serialize;

use crate::{
    clock::{Anchor, Moment},
    fleet::ClientKey,
    headless::Format,
    model::Known,
    query::Query,
    words::{self, figures},
};

/// One client, as a line of JSON has it.
#[derive(Serialize)]
struct Line<'a> {
    client: &'a str,
    endpoint: &'a str,
    /// As the console's STATE column has it.
    badge: &'static str,
    state: &'static str,
    since: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_us: Option<u64>,
    reconnects: u32,
    reason: &'static str,
    detail: &'a str,
    labels: std::collections::BTreeMap<&'a str, &'a str>,
}

/// The clients that are meant, in the fleet file's order, a line for each; as text with a head.
pub fn of(known: &Known, whom: &Query, format: Format, anchor: &Anchor, now: Moment) -> String {
    let keys = known.fleet().keys().filter(|key| whom.matches(&known.facts(*key, now)));
    match format {
        Format::Json => keys.map(|key| json(known, key, anchor)).collect(),
        Format::Text => text(known, keys, now),
    }
}

fn json(known: &Known, key: ClientKey, anchor: &Anchor) -> String {
    let (row, client) = (known.row(key), known.fleet().client(key));
    let line = Line {
        client: &client.name,
        endpoint: &known.fleet().endpoint(row.endpoint).name,
        badge: row.badge().word(),
        state: row.state.name(),
        since: anchor.utc(row.since).to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        latency_us: row.last.filter(|_| row.is_up()).map(|(_, rtt)| rtt.as_micros() as u64),
        reconnects: row.reconnects,
        reason: row.reason.name(),
        detail: &row.detail,
        labels: client.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
    };
    serde_json::to_string(&line).map(|line| line + "\n").unwrap_or_default()
}

fn text(known: &Known, keys: impl Iterator<Item = ClientKey>, now: Moment) -> String {
    const HEADS: [&str; 7] = ["STATE", "CLIENT", "ENDPOINT", "LATENCY", "RECONN", "FOR", "REASON"];
    let mut lines = vec![HEADS.map(str::to_owned)];
    lines.extend(keys.map(|key| {
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
    }));
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 7] = std::array::from_fn(width);
    let mut out = String::new();
    for line in &lines {
        let mut shown = String::new();
        for (column, (cell, width)) in line.iter().zip(widths).enumerate() {
            let _ = match column {
                3..=5 => write!(shown, "{cell:>width$}  "),
                _ => write!(shown, "{cell:<width$}  "),
            };
        }
        out.push_str(shown.trim_end());
        out.push('\n');
    }
    out
}
