//! Defines what a panel asks of a metric, and how that is asked of Prometheus and of InfluxDB; which panels there are is elsewhere.

use crate::metrics::{influx::PERCENTILES, table::Metric};

/// Where a dashboard has its figures from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Prometheus,
    /// InfluxQL: InfluxDB 1, and later ones by their mapping of databases to buckets.
    Influx,
}

/// What is asked of a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum What {
    /// The sum of a gauge.
    Sum,
    /// Its highest value.
    Highest,
    /// When something is due that a gauge tells in seconds since 1970: the first of all, in milliseconds.
    First,
    /// How fast a counter grows, a second.
    Rate,
    /// By how much it grew.
    Growth,
    /// A percentile of a histogram, by its place among [`PERCENTILES`]; of several places the highest.
    Percentile(usize),
    /// A gauge that is always 1, for its labels.
    Labels,
}

/// A question about one metric.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    pub metric: Metric,
    pub what: What,
    /// The labels by which its answer is told apart.
    pub by: &'static [&'static str],
    /// A label's value that alone counts.
    pub only: Option<(&'static str, &'static str)>,
    /// What is said beside those labels, where a panel asks several questions.
    pub word: &'static str,
}

/// The most series of a metric of single clients in a panel.
const MOST: usize = 20;

impl Ask {
    pub const fn of(metric: Metric, what: What, by: &'static [&'static str]) -> Ask {
        Ask { metric, what, by, only: None, word: "" }
    }

    pub const fn only(self, label: &'static str, value: &'static str) -> Ask {
        Ask { only: Some((label, value)), ..self }
    }

    pub const fn called(self, word: &'static str) -> Ask {
        Ask { word, ..self }
    }

    /// The query itself.
    pub fn query(&self, source: Source) -> String {
        match source {
            Source::Prometheus => self.promql(),
            Source::Influx => self.influxql(),
        }
    }

    /// What a series of the answer is called.
    pub fn legend(&self, source: Source) -> String {
        let label = |label: &&str| match source {
            Source::Prometheus => format!("{{{{{label}}}}}"),
            Source::Influx => format!("$tag_{label}"),
        };
        let parts = self.by.iter().map(label).chain((!self.word.is_empty()).then(|| self.word.to_owned()));
        let legend = parts.collect::<Vec<_>>().join(" ");
        if legend.is_empty() { self.metric.base.trim_start_matches("mqfleet_").replace('_', " ") } else { legend }
    }

    fn is_by_endpoint(&self) -> bool {
        self.metric.labels.contains(&"endpoint")
    }

    fn is_by_client(&self) -> bool {
        self.by.contains(&"client")
    }

    fn promql(&self) -> String {
        let mut filter = "instance=~\"$instance\"".to_owned();
        if self.is_by_endpoint() {
            filter += ",endpoint=~\"$endpoint\"";
        }
        if let Some((label, value)) = self.only {
            filter += &format!(",{label}=\"{value}\"");
        }
        let (name, by) = (self.metric.name(), self.by.join(", "));
        let grouped = |word: &str, inner: &str| match by.is_empty() {
            true => format!("{word}({inner})"),
            false => format!("{word} by ({by}) ({inner})"),
        };
        let query = match self.what {
            What::Sum => grouped("sum", &format!("{name}{{{filter}}}")),
            What::Highest => grouped("max", &format!("{name}{{{filter}}}")),
            What::First => grouped("min", &format!("{name}{{{filter}}}")) + " * 1000",
            What::Labels => grouped("max", &format!("{name}{{{filter}}}")),
            What::Rate => grouped("sum", &format!("rate({name}{{{filter}}}[$__rate_interval])")),
            What::Growth => grouped("sum", &format!("increase({name}{{{filter}}}[$__rate_interval])")),
            What::Percentile(n) => {
                let by = if by.is_empty() { "le".to_owned() } else { format!("le, {by}") };
                let rate = format!("rate({name}_bucket{{{filter}}}[$__rate_interval])");
                format!("histogram_quantile({}, sum by ({by}) ({rate}))", PERCENTILES[n].1)
            }
        };
        if self.is_by_client() { format!("topk({MOST}, {query})") } else { query }
    }

    fn influxql(&self) -> String {
        let mut filter = "\"fleet\" =~ /^$fleet$/".to_owned();
        if self.is_by_endpoint() {
            filter += " AND \"endpoint\" =~ /^$endpoint$/";
        }
        if let Some((label, value)) = self.only {
            filter += &format!(" AND \"{label}\" = '{value}'");
        }
        let name = self.metric.name();
        let by: String = self.by.iter().map(|label| format!(", \"{label}\"")).collect();
        let limit = if self.is_by_client() { format!(" SLIMIT {MOST}") } else { String::new() };
        let range = format!("WHERE {filter} AND $timeFilter");
        let end = format!("GROUP BY time($__interval){by} fill(none){limit}");
        // The last value of each series in an interval, or how it grew, and the sum of these.
        let sum = |of: &str| {
            format!(
                "SELECT sum(\"each\") FROM (SELECT {of} AS \"each\" FROM \"{name}\" {range} GROUP BY time($__interval), * fill(none)) WHERE $timeFilter {end}"
            )
        };
        let single = |of: &str| format!("SELECT {of} FROM \"{name}\" {range} {end}");
        match self.what {
            What::Sum => sum("last(\"value\")"),
            What::Rate => sum("non_negative_derivative(last(\"value\"), 1s)"),
            What::Growth => sum("non_negative_difference(last(\"value\"))"),
            What::Highest => single("max(\"value\")"),
            What::Percentile(n) => single(&format!("max(\"{}\")", PERCENTILES[n].0)),
            // For a table: the last one of all times.
            What::First => format!("SELECT last(\"value\") * 1000 FROM \"{name}\" {range}{}", grouped(&by)),
            What::Labels => format!("SELECT last(\"value\") FROM \"{name}\" {range}{}", grouped(&by)),
        }
    }
}

fn grouped(by: &str) -> String {
    if by.is_empty() { String::new() } else { format!(" GROUP BY {}", by.trim_start_matches(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::table;

    #[test]
    fn questions_to_the_letter() {
        let losses = Ask::of(table::LOSSES, What::Growth, &["reason"]);
        assert_eq!(
            losses.query(Source::Prometheus),
            "sum by (reason) (increase(mqfleet_disconnects_total{instance=~\"$instance\",endpoint=~\"$endpoint\"}[$__rate_interval]))"
        );
        assert_eq!(
            losses.query(Source::Influx),
            "SELECT sum(\"each\") FROM (SELECT non_negative_difference(last(\"value\")) AS \"each\" FROM \"mqfleet_disconnects_total\" WHERE \"fleet\" =~ /^$fleet$/ AND \"endpoint\" =~ /^$endpoint$/ AND $timeFilter GROUP BY time($__interval), * fill(none)) WHERE $timeFilter GROUP BY time($__interval), \"reason\" fill(none)"
        );
        assert_eq!(
            (losses.legend(Source::Prometheus), losses.legend(Source::Influx)),
            ("{{reason}}".into(), "$tag_reason".into())
        );
        let slow = Ask::of(table::ROUND_TRIP, What::Percentile(2), &["endpoint"]).called("p99");
        assert_eq!(
            slow.query(Source::Prometheus),
            "histogram_quantile(0.99, sum by (le, endpoint) (rate(mqfleet_round_trip_seconds_bucket{instance=~\"$instance\",endpoint=~\"$endpoint\"}[$__rate_interval])))"
        );
        assert_eq!(slow.legend(Source::Influx), "$tag_endpoint p99");
        let up = Ask::of(table::CLIENTS, What::Sum, &[]).only("state", "up");
        assert_eq!(
            up.query(Source::Prometheus),
            "sum(mqfleet_clients{instance=~\"$instance\",endpoint=~\"$endpoint\",state=\"up\"})"
        );
        assert_eq!(up.legend(Source::Prometheus), "clients");
    }
}
