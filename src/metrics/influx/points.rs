//! Defines how a sheet becomes points in InfluxDB's line protocol: a measurement for each metric, its labels as tags; where they go is elsewhere.
//!
//! A histogram becomes the percentiles of what came since the last points, since InfluxQL has no quantile of buckets.

use std::{collections::HashMap, fmt::Write as _};

use chrono::{DateTime, Utc};

use crate::metrics::{
    counts::Durations,
    exposition::{Labels, Sheet},
    table::Kind,
};

/// The percentiles of a histogram, as its fields are called.
pub(in crate::metrics) const PERCENTILES: [(&str, f64); 3] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)];

/// What points have in common, and what histograms had counted by the last ones.
#[derive(Debug)]
pub(super) struct Points {
    fleet: String,
    host: String,
    before: HashMap<String, Vec<u64>>,
}

impl Points {
    /// `fleet` and `host` are tags of every point: many fleets may share a database.
    pub fn new(fleet: &str, host: &str) -> Points {
        Points { fleet: fleet.to_owned(), host: host.to_owned(), before: HashMap::new() }
    }

    /// All figures of a sheet, one point a line.
    pub fn lines(&mut self, sheet: &Sheet, at: DateTime<Utc>) -> Vec<String> {
        let at = at.timestamp_millis();
        let mut lines = Vec::with_capacity(sheet.series());
        for (metric, samples) in sheet.families() {
            let name = metric.name();
            let mut buckets: Vec<u64> = Vec::new();
            let mut sum = 0.0;
            for (suffix, labels, value) in samples {
                let fields = match (metric.kind, *suffix) {
                    (Kind::Histogram, "_bucket") => {
                        buckets.push(*value as u64);
                        continue;
                    }
                    (Kind::Histogram, "_sum") => {
                        sum = *value;
                        continue;
                    }
                    (Kind::Histogram, _) => self.histogram(&name, labels, std::mem::take(&mut buckets), sum),
                    _ => format!("value={value}"),
                };
                lines.push(format!("{name}{} {fields} {at}", self.tags(labels)));
            }
        }
        lines
    }

    /// A histogram's fields. `buckets` says how many are up to each bound.
    fn histogram(&mut self, name: &str, labels: &Labels, buckets: Vec<u64>, sum: f64) -> String {
        let mut fields = format!("count={},sum={sum}", buckets.last().copied().unwrap_or_default());
        let place = format!("{name}{}", self.tags(labels));
        let before = self.before.get(&place).cloned().unwrap_or_else(|| vec![0; buckets.len()]);
        let new: Vec<u64> = buckets.iter().zip(&before).map(|(now, before)| now.saturating_sub(*before)).collect();
        for (field, part) in PERCENTILES {
            if let Some(seconds) = percentile(&new, part) {
                let _ = write!(fields, ",{field}={seconds}");
            }
        }
        self.before.insert(place, buckets);
        fields
    }

    /// The tags of a point, sorted by their names as InfluxDB likes them best.
    fn tags(&self, labels: &Labels) -> String {
        let mut tags = vec![("fleet".to_owned(), self.fleet.clone()), ("host".to_owned(), self.host.clone())];
        for (name, value) in labels.pairs() {
            let is_same = tags.iter().any(|(tag, known)| tag == name && *known == value);
            let is_taken = name == "time" || tags.iter().any(|(tag, _)| tag == name);
            match (is_same, is_taken) {
                (true, _) => {}
                (false, true) => tags.push((format!("label_{name}"), value)),
                (false, false) => tags.push((name.to_owned(), value)),
            }
        }
        tags.sort();
        let mut text = String::new();
        // There is no empty tag.
        for (name, value) in tags.iter().filter(|(_, value)| !value.is_empty()) {
            let _ = write!(text, ",{name}={}", escaped(value));
        }
        text
    }
}

/// A tag's value as the line protocol has it. It knows no line break, and no backslash before what is escaped, nor at
/// the end.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let mut signs = value.chars().peekable();
    while let Some(sign) = signs.next() {
        match (sign, signs.peek()) {
            ('\\', None | Some('\\' | ',' | '=' | ' ' | '\n' | '\r')) => text.push('/'),
            (',' | '=' | ' ', _) => text.extend(['\\', sign]),
            ('\n' | '\r', _) => text.push_str("\\ "),
            _ => text.push(sign),
        }
    }
    text
}

/// The percentile of durations that are counted up to each bound: as Prometheus guesses it, evenly within a bucket.
fn percentile(buckets: &[u64], part: f64) -> Option<f64> {
    let all = buckets.last().copied().filter(|all| *all > 0)?;
    let rank = part * all as f64;
    let place = buckets.iter().position(|count| *count as f64 >= rank)?;
    let Some(high) = Durations::BOUNDS.get(place) else { return Durations::BOUNDS.last().copied() };
    let (low, below) = match place {
        0 => (0.0, 0),
        _ => (Durations::BOUNDS[place - 1], buckets[place - 1]),
    };
    let within = (rank - below as f64) / (buckets[place] - below).max(1) as f64;
    Some(low + (high - low) * within)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::table;

    fn at() -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_800_000_000_123).expect("a time")
    }

    #[test]
    fn a_sheet_is_lines_to_the_letter() {
        let mut points = Points::new("my fleet", "host");
        let mut sheet = Sheet::default();
        sheet.tell(table::FLEET, Labels::of(&[("fleet", "my fleet"), ("env", "")]), 1.0);
        let odd = Labels::of(&[("endpoint", "a,b=c d\\"), ("state", "up"), ("host", "mine"), ("time", "x\ny")]);
        sheet.tell(table::CLIENTS, odd, 3.0);
        sheet.tell(table::CPU, Labels::of(&[("process", "C:\\temp\\ x")]), 0.25);
        let labels = Labels::of(&[("endpoint", "eu-1")]);
        let mut counts = [0; Durations::BOUNDS.len() + 1];
        (counts[0], counts[1]) = (1, 1);
        sheet.tell_histogram(table::ROUND_TRIP, &labels, &Durations::BOUNDS, &counts, 0.002);
        let lines = points.lines(&sheet, at());
        assert_eq!(
            lines,
            [
                "mqfleet_fleet_info,fleet=my\\ fleet,host=host value=1 1800000000123",
                "mqfleet_clients,endpoint=a\\,b\\=c\\ d/,fleet=my\\ fleet,host=host,label_host=mine,label_time=x\\ y,state=up value=3 1800000000123",
                "mqfleet_process_cpu_seconds_total,fleet=my\\ fleet,host=host,process=C:\\temp/\\ x value=0.25 1800000000123",
                "mqfleet_round_trip_seconds,endpoint=eu-1,fleet=my\\ fleet,host=host count=2,sum=0.002,p50=0.001,p90=0.0022,p99=0.00247 1800000000123",
            ]
        );
        // Nothing new came: there is nothing to say of how long it took.
        let again = points.lines(&sheet, at());
        assert!(again[3].contains("count=2,sum=0.002 "), "{}", again[3]);
    }

    #[test]
    fn percentiles_lie_in_their_buckets() {
        let mut buckets = [0; Durations::BOUNDS.len() + 1];
        assert_eq!(percentile(&buckets, 0.5), None);
        buckets[3..].fill(100);
        assert_eq!(percentile(&buckets, 0.5), Some(0.0075));
        buckets[Durations::BOUNDS.len()] = 10_000;
        assert_eq!(percentile(&buckets, 0.99), Some(10.0), "above all bounds the last one is all that is known");
    }
}
