//! Defines how wills, births, subscriptions and traffic are read, what MQTT allows of them, and what they become for one client.

use std::{ops::Range, sync::Arc, time::Duration};

use super::{Surroundings, format, template::Template};
use crate::{
    document::{Draft, Keys, Report, Table, Value, quoted, thousands},
    fleet::{Conversation, Message, Subscription, Traffic},
};

/// The longest text MQTT can carry, and the longest payload of a will, in bytes (MQTT 5.0 §1.5.4).
const TEXT_MAX: usize = 65_535;
/// The bytes of one client's conversation, at most.
const BYTES_MAX: usize = 512 << 10;
const MESSAGE: &str = "{ topic = \"status/%c\", payload = \"offline\", qos = 1, retain = true }";
const TRAFFIC: &str = "{ topic = \"data/%c\", payload = \"%s\", every = \"10s\" }";

/// What a client's table says of its conversation.
#[derive(Clone, Default)]
pub(super) struct Talk {
    will: Option<Note>,
    birth: Option<Note>,
    subscribe: Vec<Filter>,
    publish: Option<(Note, Duration)>,
}

#[derive(Clone)]
struct Note {
    topic: Template,
    topic_span: Range<usize>,
    payload: Option<Template>,
    payload_span: Range<usize>,
    qos: u8,
    retain: bool,
}

#[derive(Clone)]
struct Filter {
    topic: Template,
    span: Range<usize>,
    qos: u8,
}

impl Talk {
    /// Lays the keys of `table` over what is given; each of them as a whole.
    pub(super) fn overlay(&mut self, table: &Table<'_>, report: &mut Report<'_>, around: &Surroundings<'_>) {
        let note = |key: &str, report: &mut Report<'_>| {
            let value = table.get(key)?;
            let table = value.table(report, format!("`{key}`"), MESSAGE)?;
            note(&table, format::MESSAGE, report, around)
        };
        self.will = note("will", report).or(self.will.take());
        self.birth = note("birth", report).or(self.birth.take());
        if let Some(t) = table.get("publish").and_then(|v| v.table(report, "`publish`", TRAFFIC)) {
            self.publish = traffic(&t, report, around).or(self.publish.take());
        }
        if let Some(items) = table.get("subscribe").and_then(|v| v.list(report, "[{ topic = \"cmd/%c/#\", qos = 1 }]"))
        {
            self.subscribe = items.iter().filter_map(|item| filter(item, report, around)).collect();
        }
    }

    /// Whether it differs from client to client of a table.
    pub(super) fn is_own(&self) -> bool {
        let is_own = |n: &Note| n.topic.is_own() || n.payload.as_ref().is_some_and(Template::is_own);
        self.will.iter().chain(&self.birth).any(is_own)
            || self.publish.as_ref().is_some_and(|(n, _)| is_own(n))
            || self.subscribe.iter().any(|f| f.topic.is_own())
    }

    /// Reports what MQTT does not allow, and how many bytes a client's own conversation takes. One
    /// client stands for all of a table, since they differ in their numbers only: the last, whose is
    /// the longest.
    pub(super) fn check(&self, number: u64, id: &str, span: Range<usize>, report: &mut Report<'_>) -> u64 {
        let mut text = String::new();
        let filled = self.fill(number, id);
        let messages = filled.will.iter().chain(&filled.birth).chain(filled.publish.as_ref().map(|t| &t.message));
        let bytes = messages.map(|m| m.topic.len() + m.payload.len()).sum::<usize>()
            + filled.subscribe.iter().map(|s| s.filter.len() + 16).sum::<usize>();
        if bytes > BYTES_MAX {
            let title = format!("topics, filters and payloads of {} bytes are too much", thousands(bytes as u64));
            report.error(Draft::at(span, title).help("a client can have at most 512 KiB of them"));
        }
        let notes = self.will.iter().chain(&self.birth).chain(self.publish.as_ref().map(|(note, _)| note));
        for note in notes {
            note.topic.fill(number, id, &mut text);
            if let Err(wrong) = check_topic(&text) {
                report.error(Draft::at(note.topic_span.clone(), format!("the topic {} {wrong}", quoted(&text))));
            }
        }
        if let Some(will) = &self.will
            && let Some(payload) = &will.payload
        {
            payload.fill(number, id, &mut text);
            if text.len() > TEXT_MAX {
                let title = "a will's payload has at most 65,535 bytes (MQTT 5.0 §3.1.3.4)";
                report.error(Draft::at(will.payload_span.clone(), title));
            }
        }
        for filter in &self.subscribe {
            filter.topic.fill(number, id, &mut text);
            if let Err(wrong) = check_filter(&text) {
                report.error(Draft::at(filter.span.clone(), format!("the topic filter {} {wrong}", quoted(&text))));
            }
        }
        if self.is_own() { bytes as u64 } else { 0 }
    }

    pub(super) fn fill(&self, number: u64, id: &str) -> Conversation {
        let mut text = String::new();
        let mut filled = |template: &Template| -> String {
            template.fill(number, id, &mut text);
            text.clone()
        };
        let mut message = |note: &Note| Message {
            topic: filled(&note.topic).into(),
            payload: note.payload.as_ref().map(&mut filled).unwrap_or_default().into_bytes().into(),
            qos: note.qos,
            retain: note.retain,
        };
        let will = self.will.as_ref().map(&mut message);
        let birth = self.birth.as_ref().map(&mut message);
        let publish = self.publish.as_ref().map(|(note, every)| Traffic { message: message(note), every: *every });
        let subscription = |f: &Filter| Subscription { filter: filled(&f.topic).into(), qos: f.qos };
        Conversation { will, birth, subscribe: self.subscribe.iter().map(subscription).collect(), publish }
    }

    /// The same for all clients of a table, where it is.
    pub(super) fn common(&self) -> Option<Arc<Conversation>> {
        (!self.is_own()).then(|| Arc::new(self.fill(0, "")))
    }
}

fn note(table: &Table<'_>, keys: Keys, report: &mut Report<'_>, around: &Surroundings<'_>) -> Option<Note> {
    table.check(keys, report);
    let is_numbered = keys.now.contains(&"every");
    let topic = topic(table, report, around);
    let payload_value = table.get("payload");
    let payload = payload_value.as_ref().map(|value| match is_numbered {
        true => Template::read_numbered(value, report, around.host),
        false => Template::read(value, report, around.host),
    });
    let qos = qos(table, report);
    let retain = table.get("retain").map(|v| v.boolean(report));
    let (topic, topic_span) = topic?;
    Some(Note {
        topic,
        topic_span,
        payload: match payload {
            Some(read) => Some(read?),
            None => None,
        },
        payload_span: payload_value.map_or(table.span.clone(), |v| v.span),
        qos: qos?,
        retain: retain.unwrap_or(Some(false))?,
    })
}

fn traffic(table: &Table<'_>, report: &mut Report<'_>, around: &Surroundings<'_>) -> Option<(Note, Duration)> {
    let note = note(table, format::TRAFFIC, report, around);
    let Some(every) = table.get("every") else {
        report.error(Draft::at(table.span.clone(), "`publish` needs `every`").help(format!("such as {TRAFFIC}")));
        return None;
    };
    let every = every.duration(report, Duration::from_millis(10), Duration::from_secs(86_400));
    Some((note?, every?))
}

fn filter(item: &Value<'_>, report: &mut Report<'_>, around: &Surroundings<'_>) -> Option<Filter> {
    let table = item.table(report, "`subscribe`", "{ topic = \"cmd/%c/#\", qos = 1 }")?;
    table.check(format::SUBSCRIPTION, report);
    let topic = topic(&table, report, around);
    let qos = qos(&table, report);
    let (topic, span) = topic?;
    Some(Filter { topic, span, qos: qos? })
}

fn topic(table: &Table<'_>, report: &mut Report<'_>, around: &Surroundings<'_>) -> Option<(Template, Range<usize>)> {
    let Some(value) = table.get("topic") else {
        report.error(Draft::at(table.span.clone(), format!("{} has no `topic`", table.name)));
        return None;
    };
    Some((Template::read(&value, report, around.host)?, value.span))
}

fn qos(table: &Table<'_>, report: &mut Report<'_>) -> Option<u8> {
    let Some(value) = table.get("qos") else { return Some(0) };
    value.number(report, 0..3, "the QoS").map(|n| n as u8)
}

/// What MQTT says of a topic that is published to (MQTT 5.0 §4.7.1, §4.7.3).
pub(super) fn check_topic(topic: &str) -> Result<(), &'static str> {
    check_text(topic)?;
    if topic.contains(['+', '#']) {
        return Err("has a wildcard, which only subscriptions may have (MQTT 5.0 §4.7.1)");
    }
    Ok(())
}

/// What MQTT says of a topic filter (MQTT 5.0 §4.7.1, §4.8.2).
fn check_filter(filter: &str) -> Result<(), &'static str> {
    check_text(filter)?;
    let filter = match filter.strip_prefix("$share/") {
        None => filter,
        Some(shared) => match shared.split_once('/') {
            Some((group, filter)) if !group.is_empty() && !group.contains(['+', '#']) && !filter.is_empty() => filter,
            _ => return Err("is no shared subscription: it is $share/GROUP/FILTER (MQTT 5.0 §4.8.2)"),
        },
    };
    let last = filter.split('/').count() - 1;
    for (i, level) in filter.split('/').enumerate() {
        if level.contains('#') && (level != "#" || i != last) {
            return Err("has a # that is not its last level alone (MQTT 5.0 §4.7.1.2)");
        }
        if level.contains('+') && level != "+" {
            return Err("has a + that is not a level alone (MQTT 5.0 §4.7.1.3)");
        }
    }
    Ok(())
}

fn check_text(text: &str) -> Result<(), &'static str> {
    match text {
        "" => Err("is empty (MQTT 5.0 §4.7.3)"),
        text if text.contains('\0') => Err("has a NUL character, which MQTT forbids (MQTT 5.0 §4.7.3)"),
        text if text.len() > TEXT_MAX => Err("has more than 65,535 bytes (MQTT 5.0 §4.7.3)"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_and_filters_are_mqtts() {
        for right in ["a", "/", "a//b", "$SYS/x", "größe"] {
            assert!(check_topic(right).is_ok() && check_filter(right).is_ok(), "{right}");
        }
        for right in ["#", "+", "a/+/b/#", "+/+", "/#", "$share/g/a/#"] {
            assert!(check_filter(right).is_ok() && (check_topic(right).is_err()), "{right}");
        }
        for wrong in ["", "a#", "#/a", "a/b+", "a/#/b", "\0", "$share/g", "$share//a", "$share/+/a", "$share/g/"] {
            assert!(check_filter(wrong).is_err(), "{wrong}");
        }
        let long = "x".repeat(TEXT_MAX);
        assert!(check_topic(&long).is_ok() && check_topic(&format!("{long}x")).is_err());
    }
}
