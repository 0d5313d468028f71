//! Defines how a summary reads: as text, as Markdown, or as one JSON object; the figures are made elsewhere.

use std::{fmt::Write, time::Duration};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use super::{ClientFigures, GroupFigures, Outage, Report, Share, Storm};
use crate::{lines, words::figures};

/// What a summary looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Text,
    Markdown,
    Json,
}

/// The most clients, outages and storms that a person is told; scripts are told all.
const ROWS: usize = 20;

/// Some figures under one heading.
struct Table {
    title: &'static str,
    columns: &'static [&'static str],
    rows: Vec<Vec<String>>,
    /// What is to be said after them.
    note: Option<String>,
}

impl Report {
    /// The whole summary, with a newline at its end.
    pub fn render(&self, format: Format) -> String {
        match format {
            Format::Json => self.json(),
            Format::Text => self.page(&text_table, ""),
            Format::Markdown => self.page(&markdown_table, "# "),
        }
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Line<'a> {
            r#type: &'static str,
            schema: u32,
            #[serde(flatten)]
            report: &'a Report,
        }
        // Strings, numbers and options of them always have a JSON form.
        let line = Line { r#type: "report", schema: lines::SCHEMA, report: self };
        serde_json::to_string(&line).unwrap_or_default() + "\n"
    }

    fn page(&self, table: &dyn Fn(&mut String, &Table), heading: &str) -> String {
        let mut out = String::new();
        let time = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
        let length = humantime::format_duration(Duration::from_secs(self.seconds as u64));
        let whole = &self.whole;
        let _ = writeln!(out, "{heading}{}: {} to {} ({length})\n", self.fleet, time(self.from), time(self.to));
        let _ = writeln!(
            out,
            "{}, availability {}, {} connections lost, longest outage {}, mean time to recover {}",
            figures::clients(whole.clients),
            percent(&whole.share),
            figures::count(whole.flaps),
            seconds(whole.longest_outage_s),
            whole.mean_recovery_s.map_or("-".to_owned(), seconds),
        );
        if let Some(latency) = &whole.latency {
            let [p50, p90, p99, max] = [latency.p50_us, latency.p90_us, latency.p99_us, latency.max_us].map(micros);
            let samples = figures::count(latency.samples);
            let _ = writeln!(out, "latency p50 {p50}, p90 {p90}, p99 {p99}, max {max} of {samples} samples");
        }
        if let Some((at, peak)) = self.peak_connects {
            let _ = writeln!(out, "most connects in a second: {} at {}", figures::count(peak), clock(at));
        }
        if self.probes_lost > 0 {
            let _ = writeln!(out, "{} probes were never answered", figures::count(self.probes_lost));
        }
        if self.samples_lost > 0 {
            let _ = writeln!(out, "{} samples are missing: a queue was full", figures::count(self.samples_lost));
        }
        if self.worker_deaths > 0 {
            let _ = writeln!(out, "worker deaths: {}", self.worker_deaths);
        }
        for content in [self.outages(), self.groups(), self.worst(), self.storms()].into_iter().flatten() {
            out.push('\n');
            table(&mut out, &content);
        }
        out
    }

    fn outages(&self) -> Option<Table> {
        let row = |outage: &Outage| {
            let cause = match outage.detail.as_str() {
                detail if detail.is_empty() || detail == outage.words => outage.words.to_owned(),
                detail => format!("{}: {detail}", outage.words),
            };
            let then = outage.then.map(|then| format!("; then {}", then.replace('_', " "))).unwrap_or_default();
            let who = match outage.clients {
                1 => outage.client.clone(),
                n => figures::count(n as u64),
            };
            let often =
                if outage.outages as usize > outage.clients { figures::count(outage.outages) } else { String::new() };
            let to = outage.to.map_or_else(|| format!("{} not over", figures::count(outage.open)), clock);
            vec![clock(outage.from), to, seconds(outage.seconds), outage.endpoint.clone(), who, often, cause + &then]
        };
        // The ones that hit most, in the order in which they came.
        let mut worst: Vec<&Outage> = self.outages.iter().collect();
        worst.sort_by_key(|o| std::cmp::Reverse(o.clients));
        worst.truncate(ROWS);
        worst.sort_by_key(|o| o.from);
        Table {
            title: "Outages",
            columns: &["FROM", "TO", "TIME", "ENDPOINT", "CLIENTS", "OFTEN", "CAUSE"],
            rows: worst.into_iter().map(row).collect(),
            note: rest(self.outages.len(), "outages that hit fewer clients"),
        }
        .some()
    }

    fn groups(&self) -> Option<Table> {
        let row = |group: &GroupFigures| {
            let latency = |of: fn(&super::LatencyFigures) -> u64| {
                group.latency.as_ref().map_or("-".to_owned(), |l| micros(of(l)))
            };
            vec![
                group.name.clone(),
                figures::count(group.clients),
                percent(&group.share),
                figures::count(group.flaps),
                seconds(group.longest_outage_s),
                group.mean_recovery_s.map_or("-".to_owned(), seconds),
                latency(|l| l.p50_us),
                latency(|l| l.p90_us),
                latency(|l| l.p99_us),
                latency(|l| l.max_us),
            ]
        };
        let left_out = (!self.labels_left_out.is_empty())
            .then(|| format!("labels with too many values to be groups: {}", self.labels_left_out.join(", ")));
        Table {
            title: "Endpoints and labels",
            columns: &["GROUP", "CLIENTS", "AVAIL", "LOST", "LONGEST", "RECOVER", "P50", "P90", "P99", "MAX"],
            rows: self.endpoints.iter().chain(&self.labels).filter(|g| g.clients > 0).map(row).collect(),
            note: left_out,
        }
        .some()
    }

    fn worst(&self) -> Option<Table> {
        let row = |client: &ClientFigures| {
            vec![
                client.client.clone(),
                client.endpoint.clone(),
                client.state.name().to_owned(),
                percent(&client.share),
                figures::count(client.flaps),
                seconds(client.longest_outage_s),
                client.mean_recovery_s.map_or("-".to_owned(), seconds),
            ]
        };
        let mut worst: Vec<&ClientFigures> =
            self.clients.iter().filter(|c| c.flaps > 0 || c.longest_outage_s > 0.0).collect();
        let count = worst.len();
        worst.sort_by(|a, b| {
            let share = |c: &ClientFigures| c.share.availability.unwrap_or(1.0);
            share(a).total_cmp(&share(b)).then(b.flaps.cmp(&a.flaps))
        });
        worst.truncate(ROWS);
        Table {
            title: "Clients, the worst first",
            columns: &["CLIENT", "ENDPOINT", "STATE", "AVAIL", "LOST", "LONGEST", "RECOVER"],
            rows: worst.into_iter().map(row).collect(),
            note: rest(count, "clients that had an outage"),
        }
        .some()
    }

    fn storms(&self) -> Option<Table> {
        let row = |storm: &Storm| {
            let count = |n: u64| figures::count(n);
            let seconds = format!("{} s", storm.seconds);
            vec![
                clock(storm.from),
                seconds,
                count(storm.connects),
                format!("{}/s", storm.peak),
                count(storm.connected),
                count(storm.lost),
            ]
        };
        Table {
            title: "Storms",
            columns: &["FROM", "TIME", "CONNECTS", "PEAK", "UP", "LOST"],
            rows: self.storms.iter().take(ROWS).map(row).collect(),
            note: rest(self.storms.len(), "storms"),
        }
        .some()
    }
}

impl Table {
    /// The table, where there is anything in it.
    fn some(self) -> Option<Table> {
        (!self.rows.is_empty()).then_some(self)
    }
}

fn rest(count: usize, what: &str) -> Option<String> {
    let more = count.checked_sub(ROWS).filter(|more| *more > 0)?;
    Some(format!("and {} more {what}; --format json has them all", figures::count(more as u64)))
}

fn text_table(out: &mut String, table: &Table) {
    let width = |text: &str| unicode_width::UnicodeWidthStr::width(text);
    let widths: Vec<usize> = table
        .columns
        .iter()
        .enumerate()
        .map(|(i, column)| table.rows.iter().map(|row| width(&row[i])).chain([width(column)]).max().unwrap_or(0))
        .collect();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for (cell, wide) in cells.zip(&widths) {
            let _ = write!(text, "{cell}{:1$}  ", "", wide.saturating_sub(width(cell)));
        }
        out.push_str(text.trim_end());
        out.push('\n');
    };
    line(&mut [table.title].into_iter());
    line(&mut table.columns.iter().copied());
    for row in &table.rows {
        line(&mut row.iter().map(String::as_str));
    }
    if let Some(note) = &table.note {
        out.push_str(note);
        out.push('\n');
    }
}

fn markdown_table(out: &mut String, table: &Table) {
    // What ends a cell, begins a link or is HTML comes from client IDs and brokers, too.
    let escaped = |text: &str| {
        let mut escaped = String::with_capacity(text.len());
        for c in text.chars() {
            if matches!(c, '\\' | '|' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '&' | '#' | '~' | '!') {
                escaped.push('\\');
            }
            escaped.push(c);
        }
        escaped
    };
    let _ = writeln!(out, "## {}\n", table.title);
    let mut line = |cells: Vec<String>| {
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    };
    line(table.columns.iter().map(|column| (*column).to_owned()).collect());
    line(table.columns.iter().map(|_| "---".to_owned()).collect());
    for row in &table.rows {
        line(row.iter().map(|cell| escaped(cell)).collect());
    }
    if let Some(note) = &table.note {
        let _ = writeln!(out, "\n{}", escaped(note));
    }
}

fn percent(share: &Share) -> String {
    match share.availability {
        None => "-".to_owned(),
        // What is not whole is not shown as whole.
        Some(share) if share < 1.0 => format!("{:.3} %", (share * 1e5).floor() / 1e3),
        Some(_) => "100 %".to_owned(),
    }
}

fn seconds(seconds: f64) -> String {
    match seconds {
        0.0 => "-".to_owned(),
        s if s < 119.5 => format!("{s:.1} s"),
        s => humantime::format_duration(Duration::from_secs(s.round() as u64)).to_string(),
    }
}

fn micros(micros: u64) -> String {
    figures::latency(Duration::from_micros(micros))
}

fn clock(at: DateTime<Utc>) -> String {
    at.format("%m-%d %H:%M:%S").to_string()
}
