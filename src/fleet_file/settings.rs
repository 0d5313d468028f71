//! Defines the keys that `[defaults]` and `[[client]]` have in common, and how the second is laid over the first; which clients there are is read elsewhere.

use std::{ops::Range, time::Duration};

use super::{
    Surroundings,
    conversation::Talk,
    format,
    identity::Papers,
    measuring::{self, Measuring, OfLabel},
    password::PasswordPattern,
    size,
    template::Template,
};
use crate::{
    document::{Draft, Report, Table, Value, quoted},
    fleet::{Labels, ProbeKind, Protocol, Reconnect, Settings, Strategy},
    text::Scrubbed,
};

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// The bytes of a client's user properties, at most.
const PROPERTIES_MAX: usize = 64 << 10;

/// The bounds of `maximum_packet_size`, in bytes: what a CONNACK may take at the least, and what MQTT can
/// tell the length of (MQTT 5.0 §1.5.5).
const PACKET_LEAST: u64 = 32;
const PACKET_MOST: u64 = 256 << 20;

/// What is given of a client so far: the built-in values, `[defaults]` over them, what is given for its
/// labels over these, the client's own table over those.
#[derive(Clone)]
pub(super) struct Given {
    settings: Settings,
    strategy: Word,
    min: Duration,
    max: Duration,
    every: Option<Duration>,
    pub username: Option<Template>,
    pub password: Option<PasswordPattern>,
    pub labels: Labels,
    /// With its place.
    pub probe_topic: Option<(Template, Range<usize>)>,
    pub talk: Talk,
    cert: Option<(Template, Range<usize>)>,
    key: Option<(Template, Range<usize>)>,
    key_password: Option<PasswordPattern>,
    /// The keys given that only MQTT 5.0 has.
    only_v5: Vec<(&'static str, Range<usize>)>,
}

/// Keys that mean something with MQTT 5.0 only.
const ONLY_V5: [&str; 4] = ["session_expiry", "receive_maximum", "user_properties", "follow_redirects"];

#[derive(Clone, Copy, PartialEq)]
enum Word {
    Exponential,
    Fixed,
    Never,
}

impl Default for Given {
    fn default() -> Self {
        let settings = Settings::default();
        let (strategy, min, max, every) = match settings.reconnect.strategy {
            Strategy::Exponential { min, max } => (Word::Exponential, min, max, None),
            Strategy::Fixed { every } => (Word::Fixed, every, every, Some(every)),
            Strategy::Never => (Word::Never, SECOND, SECOND, None),
        };
        Given {
            settings,
            strategy,
            min,
            max,
            every,
            username: None,
            password: None,
            labels: Labels::new(),
            probe_topic: None,
            talk: Talk::default(),
            cert: None,
            key: None,
            key_password: None,
            only_v5: Vec::new(),
        }
    }
}

impl Given {
    /// Lays the keys of `table` over what is given.
    pub(super) fn overlay(&mut self, table: &Table<'_>, report: &mut Report<'_>, around: &Surroundings<'_>) {
        let get = |key: &str| table.get(key);
        let settings = &mut self.settings;
        if let Some((protocol, falls_back)) = get("protocol").and_then(|v| protocol(&v, report)) {
            (settings.protocol, settings.falls_back) = (protocol, falls_back);
        }
        set(&mut settings.keep_alive, get("keep_alive").and_then(|v| keep_alive(&v, report)));
        set(&mut settings.clean_start, get("clean_start").and_then(|v| v.boolean(report)));
        let timeout =
            get("connect_timeout").and_then(|v| whole_seconds(&v, report, SECOND, HOUR, "Paho times connects"));
        set(&mut settings.connect_timeout, timeout);
        set(&mut settings.start_connected, get("start_connected").and_then(|v| v.boolean(report)));
        let most = Duration::from_secs(u32::MAX.into());
        let expiry = get("session_expiry")
            .and_then(|v| whole_seconds(&v, report, Duration::ZERO, most, "MQTT counts session expiry"));
        set(&mut settings.session_expiry, expiry);
        let maximum = get("receive_maximum").and_then(|v| v.number(report, 1..65_536, "messages"));
        settings.receive_maximum = maximum.and_then(|n| u16::try_from(n).ok()).or(settings.receive_maximum);
        let largest = get("maximum_packet_size").and_then(|v| size::read(&v, report, PACKET_LEAST, PACKET_MOST));
        set(&mut settings.maximum_packet_size, largest.and_then(|n| u32::try_from(n).ok()));
        set(&mut settings.follow_redirects, get("follow_redirects").and_then(|v| v.boolean(report)));
        if let Some(pairs) = get("user_properties").and_then(|v| texts(&v, report, "{ site = \"hall-3\" }")) {
            let bytes: usize = pairs.iter().map(|(name, value)| name.len() + value.len() + 16).sum();
            if let (true, Some(span)) = (bytes > PROPERTIES_MAX, table.key_span("user_properties")) {
                report.error(Draft::at(span, "`user_properties` has more than 64 KiB"));
            }
            settings.user_properties = pairs;
        }
        let given = ONLY_V5.iter().filter_map(|key| Some((*key, table.key_span(key)?)));
        self.only_v5.retain(|(key, _)| table.key_span(key).is_none());
        self.only_v5.extend(given);
        Measuring::read(table, format::PROBE, report).lay_over(settings);
        if let Some(value) = get("reconnect") {
            let example = "{ strategy = \"exponential\", min = \"1s\", max = \"2m\" }";
            if let Some(table) = value.table(report, "`reconnect`", example) {
                self.overlay_reconnect(&table, report);
            }
        }
        if let Some(value) = get("username") {
            self.username = username(&value, report, around).or(self.username.take());
        }
        if let Some(value) = get("password") {
            self.password = PasswordPattern::read(&value, report, around).or(self.password.take());
        }
        if let Some(topic) = probe_topic(table, report, around) {
            self.probe_topic = Some(topic);
        }
        self.talk.overlay(table, report, around);
        let file = |key: &str, report: &mut Report<'_>| {
            let value = table.get(key)?;
            let template = Template::read(&value, report, around.host)?;
            if value.string(report, "")?.is_empty() {
                report.error(Draft::at(value.span.clone(), format!("`{key}` is empty")));
            }
            Some((template, value.span))
        };
        self.cert = file("cert_file", report).or(self.cert.take());
        self.key = file("key_file", report).or(self.key.take());
        if let Some(value) = get("key_password") {
            self.key_password = PasswordPattern::read(&value, report, around).or(self.key_password.take());
        }
        if let Some(value) = get("keep_alive") {
            let is_blind = self.settings.keep_alive.is_zero() && self.settings.probe.kind == ProbeKind::Heartbeat;
            if is_blind {
                report.warning(
                    Draft::at(value.span, "without keep alive there are no heartbeats to measure")
                        .help("set probe = { kind = \"ack\" }, or \"off\" if no latency is wanted"),
                );
            }
        }
    }

    /// Adds the labels of `table` to those that are given.
    pub(super) fn overlay_labels(&mut self, table: &Table<'_>, report: &mut Report<'_>) {
        if let Some(pairs) = table.get("labels").and_then(|v| texts(&v, report, "{ site = \"hall-3\" }")) {
            self.labels.extend(pairs.iter().map(|(name, value)| (Scrubbed::new(name), Scrubbed::new(value))));
        }
    }

    /// Lays what is given for the client's labels over what is given for all.
    pub(super) fn overlay_of_labels(&mut self, of_labels: &mut [OfLabel]) {
        measuring::lay_over(of_labels, &self.labels, &mut self.settings);
    }

    /// The certificate and key, if any; they belong together.
    pub(super) fn papers(&self, report: &mut Report<'_>) -> Option<Papers> {
        let lonely = |span: &Range<usize>, has: &str, misses: &str| {
            Draft::at(span.clone(), format!("`{has}` without `{misses}`"))
                .help("a client shows its certificate and proves with the key that it is its own")
        };
        match (&self.cert, &self.key, &self.key_password) {
            (Some((cert, span)), Some((key, _)), password) => Some(Papers {
                cert: cert.clone(),
                key: key.clone(),
                key_password: password.clone(),
                span: span.clone(),
            }),
            (Some((_, span)), None, _) => {
                report.error(lonely(span, "cert_file", "key_file"));
                None
            }
            (None, Some((_, span)), _) => {
                report.error(lonely(span, "key_file", "cert_file"));
                None
            }
            (None, None, Some(PasswordPattern { span, .. })) => {
                report.error(lonely(span, "key_password", "key_file"));
                None
            }
            (None, None, None) => None,
        }
    }

    /// Reports what this client's version of MQTT does not have; `table` is its own.
    pub(super) fn check_version(&self, table: &Table<'_>, report: &mut Report<'_>) {
        if self.settings.protocol == Protocol::V5 {
            return;
        }
        for (key, given) in &self.only_v5 {
            let span = table.key_span(key).or_else(|| table.key_span("protocol")).unwrap_or(table.span.clone());
            let draft = Draft::at(span.clone(), format!("MQTT 3.1.1 has no `{key}`"));
            let draft = if span == *given { draft } else { draft.also(given.clone(), "given here") };
            report.error(draft.help("use protocol = \"5\", or take it out; clean_start = false keeps a 3.1.1 session"));
        }
    }

    /// The settings that the clients of a table share.
    pub(super) fn settings(&self) -> Settings {
        let strategy = match self.strategy {
            Word::Exponential => Strategy::Exponential { min: self.min, max: self.max },
            Word::Fixed => Strategy::Fixed { every: self.every.unwrap_or(self.min) },
            Word::Never => Strategy::Never,
        };
        let reconnect = Reconnect { strategy, ..self.settings.reconnect };
        Settings { reconnect, ..self.settings.clone() }
    }

    /// Whether the clients may come to speak MQTT 3.1.1.
    pub(super) fn may_speak_old(&self) -> bool {
        self.settings.may_speak_old()
    }

    fn overlay_reconnect(&mut self, table: &Table<'_>, report: &mut Report<'_>) {
        const WORDS: [(&str, Word); 3] =
            [("exponential", Word::Exponential), ("fixed", Word::Fixed), ("never", Word::Never)];
        table.check(format::RECONNECT, report);
        let strategy = table.get("strategy");
        let read = strategy.as_ref().map(|v| v.word(report, &WORDS));
        if let Some(Some(word)) = read {
            self.strategy = word;
        }
        let mut time = |key, least| table.get(key).and_then(|v| v.duration(report, least, DAY));
        set(&mut self.min, time("min", MILLISECOND));
        set(&mut self.max, time("max", MILLISECOND));
        self.every = time("every", MILLISECOND).or(self.every);
        set(&mut self.settings.reconnect.stable_after, time("stable_after", Duration::ZERO));
        let retries = table.get("max_retries").and_then(|v| v.number(report, 0..1_000_001, "tries"));
        set(&mut self.settings.reconnect.max_retries, retries.and_then(|n| u32::try_from(n).ok()));
        if read == Some(None) {
            return; // it is not known which of the other keys make sense
        }

        let (name, fitting): (&str, &[&str]) = match self.strategy {
            Word::Exponential => ("exponential", &["min", "max", "max_retries", "stable_after"]),
            Word::Fixed => ("fixed", &["every", "max_retries", "stable_after"]),
            Word::Never => ("never", &[]),
        };
        for (key, value) in table.in_order() {
            if key != "strategy" && format::RECONNECT.now.contains(&key.as_str()) && !fitting.contains(&key.as_str()) {
                let span = table.key_span(&key).unwrap_or(value.span);
                let draft = Draft::at(span, format!("`{key}` means nothing with strategy \"{name}\""));
                report.error(match fitting {
                    [] => draft.help("\"never\" goes without any other key"),
                    _ => draft.help(format!("\"{name}\" goes with {}", fitting.join(", "))),
                });
            }
        }
        if let (Word::Fixed, Some(strategy), None, None) = (self.strategy, strategy, self.every, table.get("every")) {
            report.error(
                Draft::at(strategy.span, "strategy \"fixed\" needs `every`")
                    .help("such as { strategy = \"fixed\", every = \"3s\" }"),
            );
        }
        let ends: Vec<Range<usize>> = ["min", "max"].iter().filter_map(|k| table.get(k)).map(|v| v.span).collect();
        if let (Word::Exponential, true, Some(end)) = (self.strategy, self.min > self.max, ends.first()) {
            let (min, max) = (humantime::format_duration(self.min), humantime::format_duration(self.max));
            report.error(Draft::at(end.clone(), format!("`min` ({min}) is more than `max` ({max})")));
        }
    }
}

fn set<T>(to: &mut T, from: Option<T>) {
    if let Some(value) = from {
        *to = value;
    }
}

/// Reads a table of texts, in the file's order.
fn texts(value: &Value<'_>, report: &mut Report<'_>, example: &str) -> Option<Vec<(String, String)>> {
    let table = value.table(report, format!("`{}`", value.key), example)?;
    let mut pairs = Vec::new();
    for (name, item) in table.in_order() {
        let Some(text) = item.string(report, "a text in quotes") else { continue };
        if name.contains('\0') || text.contains('\0') || name.len().max(text.len()) > 65_535 {
            let title = format!("{} has a NUL character or more than 65,535 bytes", quoted(&name));
            report.error(Draft::at(item.span.clone(), title));
        }
        pairs.push((name, text.to_owned()));
    }
    Some(pairs)
}

/// The version to speak, and whether an older one is tried after it.
fn protocol(value: &Value<'_>, report: &mut Report<'_>) -> Option<(Protocol, bool)> {
    let text = value.string(report, "\"5\", \"3.1.1\" or \"auto\"")?;
    let help = match text.trim().trim_start_matches(['v', 'V']) {
        "5" | "3.1.1" if text.len() < 6 && !text.starts_with(['v', 'V', ' ']) => {
            return Some((if text.trim() == "5" { Protocol::V5 } else { Protocol::V311 }, false));
        }
        "auto" if text == "auto" => return Some((Protocol::V5, true)),
        "5" | "5.0" => "MQTT 5.0 is written \"5\"",
        "4" | "3.1.1" | "311" => "MQTT 3.1.1 is written \"3.1.1\"",
        "3" | "3.1" => "MQTT 3.1 is too old for mqfleet; most brokers that speak it also speak \"3.1.1\"",
        _ => "it can be \"5\", \"3.1.1\" or \"auto\"",
    };
    report.error(Draft::at(value.span.clone(), format!("`protocol` cannot be {}", quoted(text))).help(help));
    None
}

fn keep_alive(value: &Value<'_>, report: &mut Report<'_>) -> Option<Duration> {
    whole_seconds(value, report, Duration::ZERO, Duration::from_secs(65_535), "MQTT counts keep alive")
}

pub(super) fn whole_seconds(
    value: &Value<'_>,
    report: &mut Report<'_>,
    least: Duration,
    most: Duration,
    who: &str,
) -> Option<Duration> {
    // A fraction below the least is to be told that it is a fraction.
    let duration = value.duration(report, least.min(MILLISECOND), most)?;
    if duration.subsec_nanos() != 0 || duration < least {
        let next = humantime::format_duration(Duration::from_secs(duration.as_secs() + 1));
        report.error(
            Draft::at(value.span.clone(), format!("`{}` must be whole seconds", value.key))
                .help(format!("{who} in seconds; the next is \"{next}\"")),
        );
        return None;
    }
    Some(duration)
}

/// Where probes go.
fn probe_topic(
    table: &Table<'_>,
    report: &mut Report<'_>,
    around: &Surroundings<'_>,
) -> Option<(Template, Range<usize>)> {
    let value = table.get("probe")?.as_table()?.get("topic")?;
    Some((Template::read(&value, report, around.host)?, value.span))
}

fn username(value: &Value<'_>, report: &mut Report<'_>, around: &Surroundings<'_>) -> Option<Template> {
    let template = Template::read(value, report, around.host)?;
    let wrong = match value.string(report, "")? {
        "" => "`username` is empty",
        text if text.contains('\0') => "`username` has a NUL character, which MQTT forbids (MQTT 5.0 §1.5.4)",
        _ => return Some(template),
    };
    report.error(Draft::at(value.span.clone(), wrong));
    None
}
