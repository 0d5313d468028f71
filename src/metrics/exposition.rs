//! Defines how metrics are written: as OpenMetrics 1.0 and as Prometheus' older text (0.0.4); what they tell is elsewhere.
//!
//! Both forms are a few lines each, and no library writes both: the official client has OpenMetrics only.

use std::fmt::{Display, Write as _};

use super::table::{Kind, Metric};

/// In which form metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    OpenMetrics,
    Text,
}

impl Format {
    /// What a scraper wants that says it accepts this (RFC 9110 §12.5.1). Whoever says nothing gets the older form,
    /// which a person can read and every scraper knows.
    pub(super) fn accepted(accept: &str) -> Format {
        let wish = |range: &str| {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
            let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(1.0, |q| q.parse().unwrap_or(0.0));
            (kind, quality)
        };
        let best = |kinds: &[&str]| {
            let wishes = accept.split(',').map(wish).filter(|(kind, _)| kinds.contains(&kind.as_str()));
            wishes.map(|(_, quality)| quality).fold(0.0_f32, f32::max)
        };
        let (open, text) = (best(&["application/openmetrics-text"]), best(&["text/plain", "text/*"]));
        if open > 0.0 && open >= text { Format::OpenMetrics } else { Format::Text }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// The labels of a sample, as they stand between the braces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(String);

impl Labels {
    pub(super) fn of(labels: &[(&str, &str)]) -> Labels {
        labels.iter().fold(Labels::default(), |labels, (name, value)| labels.and(name, value))
    }

    pub(super) fn and(mut self, name: &str, value: &str) -> Labels {
        let comma = if self.0.is_empty() { "" } else { "," };
        let _ = write!(self.0, "{comma}{name}=\"");
        for c in value.chars() {
            match c {
                '\\' => self.0.push_str("\\\\"),
                '"' => self.0.push_str("\\\""),
                '\n' => self.0.push_str("\\n"),
                c => self.0.push(c),
            }
        }
        self.0.push('"');
        self
    }

    /// The labels' names and values, as they were put in.
    pub(super) fn pairs(&self) -> Vec<(&str, String)> {
        let (mut pairs, mut rest) = (Vec::new(), self.0.as_str());
        while let Some((name, behind)) = rest.split_once("=\"") {
            let (mut value, mut signs) = (String::new(), behind.char_indices());
            rest = "";
            while let Some((at, sign)) = signs.next() {
                match sign {
                    '"' => {
                        rest = behind[at + 1..].trim_start_matches(',');
                        break;
                    }
                    '\\' => value.extend(signs.next().map(|(_, sign)| if sign == 'n' { '\n' } else { sign })),
                    sign => value.push(sign),
                }
            }
            pairs.push((name, value));
        }
        pairs
    }
}

/// A label's name as Prometheus allows it, and none that `taken` has.
pub(super) fn label_name(name: &str, taken: &[&str]) -> String {
    let is_fit = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let fit: String = name.chars().map(|c| if is_fit(c) { c } else { '_' }).collect();
    let is_free = !taken.contains(&fit.as_str()) && !fit.starts_with("__");
    match is_free && fit.starts_with(|c: char| !c.is_ascii_digit()) {
        true => fit,
        false => format!("label_{fit}"),
    }
}

/// The suffix of a name where its type has several, the labels, the value.
type Sample = (&'static str, Labels, f64);

/// The samples of one metric.
#[derive(Clone, Debug)]
struct Family {
    metric: Metric,
    samples: Vec<Sample>,
}

/// All that is told at one time.
#[derive(Clone, Debug, Default)]
pub struct Sheet(Vec<Family>);

impl Sheet {
    /// How many series there are.
    pub fn series(&self) -> usize {
        self.0.iter().map(|family| family.samples.len()).sum()
    }

    /// Each metric with its samples; of a histogram the buckets of a place are followed by their sum and count.
    pub(super) fn families(&self) -> impl Iterator<Item = (Metric, &[Sample])> {
        self.0.iter().map(|family| (family.metric, family.samples.as_slice()))
    }

    /// Tells a value of a metric. Metrics may come in any order.
    pub(super) fn tell(&mut self, metric: Metric, labels: Labels, value: f64) {
        self.put(metric, "", labels, value);
    }

    /// Tells a histogram: its bounds in seconds with how many are up to each, and the sum of all.
    pub(super) fn tell_histogram(&mut self, metric: Metric, labels: &Labels, bounds: &[f64], counts: &[u64], sum: f64) {
        let mut all = 0;
        for (n, count) in counts.iter().enumerate() {
            all += count;
            let bound = bounds.get(n).map_or("+Inf".to_owned(), |bound| number(*bound));
            self.put(metric, "_bucket", labels.clone().and("le", &bound), all as f64);
        }
        self.put(metric, "_sum", labels.clone(), sum);
        self.put(metric, "_count", labels.clone(), all as f64);
    }

    fn put(&mut self, metric: Metric, suffix: &'static str, labels: Labels, value: f64) {
        let place = self.0.iter().rposition(|family| family.metric == metric).unwrap_or_else(|| {
            self.0.push(Family { metric, samples: Vec::new() });
            self.0.len() - 1
        });
        self.0[place].samples.push((suffix, labels, value));
    }

    pub fn write(&self, format: Format) -> String {
        let mut text = String::with_capacity(100 * self.series());
        for Family { metric, samples } in &self.0 {
            let name = metric.name();
            let head = if format == Format::OpenMetrics { metric.base } else { &name };
            let kind = match (metric.kind, format) {
                (Kind::Info, Format::Text) => "gauge",
                (kind, _) => kind.name(),
            };
            let _ = writeln!(text, "# HELP {head} {}\n# TYPE {head} {kind}", metric.help);
            if let (Format::OpenMetrics, Some(unit)) = (format, metric.unit()) {
                let _ = writeln!(text, "# UNIT {head} {unit}");
            }
            for (suffix, Labels(labels), value) in samples {
                let value: &dyn Display = &Number(*value);
                let _ = match labels.is_empty() {
                    true => writeln!(text, "{name}{suffix} {value}"),
                    false => writeln!(text, "{name}{suffix}{{{labels}}} {value}"),
                };
            }
        }
        if format == Format::OpenMetrics {
            text.push_str("# EOF\n");
        }
        text
    }
}

struct Number(f64);

impl Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A bound as OpenMetrics wants it: with a fraction.
fn number(value: f64) -> String {
    format!("{value:?}")
}

#[cfg(test)]
mod tests {
    use super::{super::table, *};

    #[test]
    fn a_scraper_gets_the_form_it_prefers() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        assert_eq!(Format::accepted(prometheus), Format::OpenMetrics);
        for other in [
            "",
            "*/*",
            "text/plain",
            "text/html,application/xhtml+xml",
            "application/openmetrics-text;q=0.1,text/plain",
        ] {
            assert_eq!(Format::accepted(other), Format::Text, "{other}");
        }
    }

    #[test]
    fn both_forms_to_the_letter() {
        let mut sheet = Sheet::default();
        sheet.tell(table::BUILD, Labels::of(&[("version", "1")]), 1.0);
        let labels = Labels::of(&[("endpoint", "a\"b\\c\nd")]);
        sheet.tell(table::CONNECTS, labels.clone(), 3.0);
        sheet.tell_histogram(table::ROUND_TRIP, &labels, &[0.001, 1.0], &[1, 0, 2], 4.5);
        sheet.tell(table::CONNECTS, Labels::default(), 4.0);
        let open = r#"# HELP mqfleet_build The program's version.
# TYPE mqfleet_build info
mqfleet_build_info{version="1"} 1
# HELP mqfleet_connects Connects that the broker accepted.
# TYPE mqfleet_connects counter
mqfleet_connects_total{endpoint="a\"b\\c\nd"} 3
mqfleet_connects_total 4
# HELP mqfleet_round_trip_seconds Round trips of probes through the broker.
# TYPE mqfleet_round_trip_seconds histogram
# UNIT mqfleet_round_trip_seconds seconds
mqfleet_round_trip_seconds_bucket{endpoint="a\"b\\c\nd",le="0.001"} 1
mqfleet_round_trip_seconds_bucket{endpoint="a\"b\\c\nd",le="1.0"} 1
mqfleet_round_trip_seconds_bucket{endpoint="a\"b\\c\nd",le="+Inf"} 3
mqfleet_round_trip_seconds_sum{endpoint="a\"b\\c\nd"} 4.5
mqfleet_round_trip_seconds_count{endpoint="a\"b\\c\nd"} 3
# EOF
"#;
        assert_eq!(sheet.write(Format::OpenMetrics), open);
        let text = open.replace("# EOF\n", "").replace("# UNIT mqfleet_round_trip_seconds seconds\n", "");
        let text = text.replace("mqfleet_build ", "mqfleet_build_info ").replace("_info info", "_info gauge");
        let text = text
            .replace("P mqfleet_connects ", "P mqfleet_connects_total ")
            .replace("E mqfleet_connects ", "E mqfleet_connects_total ");
        assert_eq!(sheet.write(Format::Text), text);
        assert_eq!(sheet.series(), 8);
    }

    #[test]
    fn labels_are_read_back_as_they_were_put_in() {
        let all = [("endpoint", "a\"b\\c\nd,e=\"f"), ("site", "größe"), ("none", "")];
        let read: Vec<(&str, String)> = all.map(|(name, value)| (name, value.to_owned())).to_vec();
        assert_eq!(Labels::of(&all).pairs(), read);
        assert_eq!(Labels::default().pairs(), []);
    }

    #[test]
    fn labels_get_names_that_prometheus_takes() {
        let names =
            ["site", "hall-3", "3d", "endpoint", "__name__", "größe"].map(|name| label_name(name, &["endpoint"]));
        assert_eq!(names, ["site", "hall_3", "label_3d", "label_endpoint", "label___name__", "gr__e"]);
    }

    #[test]
    fn the_table_keeps_to_the_conventions() {
        for (n, metric) in table::ALL.iter().enumerate() {
            let is_plain = metric.base.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            assert!(metric.base.starts_with("mqfleet_") && is_plain, "{}", metric.base);
            assert!(
                !["_total", "_info", "_count", "_sum", "_bucket"].iter().any(|s| metric.base.ends_with(s)),
                "{}",
                metric.base
            );
            assert!(!metric.help.contains(['\n', '\\', '|']) && metric.help.ends_with('.'), "{}", metric.help);
            assert!(table::ALL[n + 1..].iter().all(|other| other.base != metric.base), "{} twice", metric.base);
        }
    }
}
