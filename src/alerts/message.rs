//! Defines what is told to a receiver: one or more alerts with names and times, as words and as the body of Alertmanager's webhook; how it gets there is elsewhere.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    event::{Alert, Severity},
    fleet::Fleet,
    text::Scrubbed,
    words::{self, figures},
};

/// What one receiver is told at once. There is nothing secret in it: it is kept on disk as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// The same whenever it is sent: who gets it twice can tell.
    pub id: String,
    pub fleet: Scrubbed,
    pub at: DateTime<Utc>,
    /// Whether it was told before, and still is so.
    pub is_repeat: bool,
    /// One, or many where so many came at a time that they are told together.
    pub alerts: Vec<Told>,
    /// Messages that were not sent before this one, because there were too many within a day.
    pub left_out: u32,
}

/// An alert as it is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Told {
    pub rule: Scrubbed,
    pub severity: Severity,
    pub is_firing: bool,
    pub since: DateTime<Utc>,
    /// When it was over, where it is.
    pub until: Option<DateTime<Utc>>,
    /// Whether it is told here for the first time that it fired, although it is over.
    pub is_untold: bool,
    pub clients: u32,
    pub of: u32,
    pub names: Vec<Scrubbed>,
    pub cause: Scrubbed,
    /// What its recovery did, the oldest first: `reconnected 12 clients at 14:02:11 UTC`.
    #[serde(default)]
    pub recovery: Vec<Scrubbed>,
}

impl Told {
    pub fn of(alert: &Alert, fleet: &Fleet, at: DateTime<Utc>) -> Told {
        Told {
            rule: alert.rule.clone(),
            severity: alert.severity,
            is_firing: alert.is_firing,
            since: at - alert.lasted,
            until: (!alert.is_firing).then_some(at),
            is_untold: false,
            clients: alert.clients,
            of: alert.of,
            names: alert.first.iter().map(|client| fleet.client(*client).name.clone()).collect(),
            cause: alert.cause.clone(),
            recovery: Vec::new(),
        }
    }

    /// Whether both are about the same time of the same rule.
    pub fn is_same(&self, other: &Told) -> bool {
        self.rule == other.rule && self.since == other.since
    }

    /// What was tried by itself: `recovery: reconnected 12 clients at 14:02:11 UTC; ran ./mend: exit 0 after 3 s at …`.
    fn recovery_line(&self) -> String {
        let steps: Vec<&str> = self.recovery.iter().map(Scrubbed::as_str).collect();
        format!("recovery: {}", steps.join("; "))
    }

    fn status(&self) -> &'static str {
        if self.is_firing { "firing" } else { "resolved" }
    }

    /// It in a line: `hall-3 presses down: 12 of 40 clients since 12:01 UTC`.
    fn line(&self) -> String {
        let share = words::alert::share(self.clients, self.of);
        match self.until {
            None => format!("{}: {share} since {}", self.rule, clock(self.since)),
            Some(until) => {
                let lasted = figures::wait((until - self.since).to_std().unwrap_or_default());
                let when = format!("{} to {}, {lasted}", clock(self.since), clock(until));
                format!("{}: over, was at most {share}, {when}", self.rule)
            }
        }
    }
}

/// A time of day, as a person in any country reads it.
pub(super) fn clock(time: DateTime<Utc>) -> String {
    time.format("%H:%M:%S UTC").to_string()
}

pub(super) fn stamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

impl Message {
    /// Whether anything of it fires.
    pub fn is_firing(&self) -> bool {
        self.alerts.iter().any(|alert| alert.is_firing)
    }

    /// Its subject in a line.
    pub fn subject(&self) -> String {
        let status = match (self.is_firing(), self.is_repeat) {
            (true, false) => "FIRING",
            (true, true) => "STILL FIRING",
            (false, _) => "RESOLVED",
        };
        match self.alerts.as_slice() {
            [one] => format!("[{status} {}] {}: {}", one.severity.name(), self.fleet, one.line()),
            many => format!("[{status}] {}: {} alerts", self.fleet, figures::count(many.len() as u64)),
        }
    }

    /// All of it as plain text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for alert in &self.alerts {
            text += &format!("{} {}\n", alert.status().to_uppercase(), alert.line());
            if alert.is_untold {
                text += "  It could not be told while it lasted.\n";
            }
            if !alert.cause.is_empty() {
                text += &format!("  {}\n", alert.cause);
            }
            if !alert.recovery.is_empty() {
                text += &format!("  {}\n", alert.recovery_line());
            }
            for name in &alert.names {
                text += &format!("  - {name}\n");
            }
            match (alert.clients as usize).saturating_sub(alert.names.len()) {
                more if more > 0 && !alert.names.is_empty() => {
                    text += &format!("  and {} more\n", figures::count(more as u64));
                }
                _ => {}
            }
        }
        if self.left_out > 0 {
            text += &format!("\n{} messages before this were left out: at_most was reached.\n", self.left_out);
        }
        text + &format!("\nfleet {}, message {}\n", self.fleet, self.id)
    }

    /// It as the body of Alertmanager's webhook, version 4. `receiver` is the notifier's name.
    pub fn webhook(&self, receiver: &str) -> Value {
        let alerts: Vec<Value> = self.alerts.iter().map(|alert| self.of_webhook(alert)).collect();
        let common = |key: &str, of: &str| -> Value {
            let first = alerts.first().map(|alert| alert[of][key].clone()).unwrap_or_default();
            if alerts.iter().all(|alert| alert[of][key] == first) { first } else { Value::Null }
        };
        let shared = |of: &str, keys: &[&str]| -> serde_json::Map<String, Value> {
            let pairs = keys.iter().map(|key| ((*key).to_owned(), common(key, of)));
            pairs.filter(|(_, value)| !value.is_null()).collect()
        };
        let group: Vec<String> = self.alerts.iter().map(|alert| alert.rule.to_string()).collect();
        let key = format!("{{}}:{{fleet={:?}, alertname={:?}}}", self.fleet.as_str(), group.join(","));
        json!({
            "version": "4",
            "groupKey": key,
            "truncatedAlerts": 0,
            "status": if self.is_firing() { "firing" } else { "resolved" },
            "receiver": receiver,
            "groupLabels": shared("labels", &["alertname", "fleet"]),
            "commonLabels": shared("labels", &["alertname", "fleet", "severity"]),
            "commonAnnotations": shared("annotations", &["summary", "description", "cause", "since"]),
            "externalURL": "",
            "alerts": alerts,
            "mqfleet": { "id": self.id, "repeat": self.is_repeat, "left_out": self.left_out },
        })
    }

    /// What an alert is known by.
    pub(super) fn labels(&self, alert: &Told) -> Value {
        json!({
            "alertname": alert.rule.as_str(),
            "fleet": self.fleet.as_str(),
            "severity": alert.severity.name(),
        })
    }

    /// What is said of it.
    pub(super) fn annotations(&self, alert: &Told) -> Value {
        let names: Vec<&str> = alert.names.iter().map(Scrubbed::as_str).collect();
        let mut annotations = json!({
            "summary": alert.line(),
            "cause": alert.cause.as_str(),
            "clients": alert.clients.to_string(),
            "of": alert.of.to_string(),
            "names": names.join(", "),
            "since": stamp(alert.since),
        });
        if !alert.recovery.is_empty() {
            annotations["recovery"] = alert.recovery_line().into();
        }
        if alert.is_untold {
            annotations["untold"] = "it could not be told while it lasted".into();
        }
        annotations
    }

    fn of_webhook(&self, alert: &Told) -> Value {
        json!({
            "status": alert.status(),
            "labels": self.labels(alert),
            "annotations": self.annotations(alert),
            "startsAt": stamp(alert.since),
            "endsAt": alert.until.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), stamp),
            "generatorURL": "",
            // Of what never changes while it lasts.
            "fingerprint": fingerprint(&[&self.fleet, &alert.rule]),
        })
    }
}

/// A number of 16 hexadecimal digits made of texts, the same on every host and in every version (FNV-1a).
pub fn fingerprint(texts: &[&str]) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for text in texts {
        for byte in text.bytes().chain([0]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    format!("{hash:016x}")
}
