//! Defines the JSON lines with which single questions are answered: what `check` and `doctor` say.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};

use super::{
    super::utc_millis,
    SCHEMA,
    connection::{Connack, Outcome, Subscription, micros},
    encode,
};

#[derive(Serialize)]
struct Answer<'a, T> {
    r#type: &'static str,
    ts: String,
    schema: u32,
    #[serde(flatten)]
    said: &'a T,
}

fn answer(r#type: &'static str, now: DateTime<Utc>, said: &impl Serialize) -> String {
    encode(&Answer { r#type, ts: utc_millis(now), schema: SCHEMA, said })
}

/// What `check` says of a fleet file.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Check<'a> {
    Right {
        fleet: &'a str,
        clients: usize,
        endpoints: usize,
        workers: usize,
    },
    /// How many errors there are, and all of them as people read them.
    Wrong {
        errors: usize,
        text: &'a str,
    },
}

/// Whether a fleet file is right.
pub fn json_check(now: DateTime<Utc>, check: &Check<'_>) -> String {
    #[derive(Serialize)]
    struct Said<'a> {
        ok: bool,
        #[serde(flatten)]
        check: &'a Check<'a>,
    }
    answer("check", now, &Said { ok: matches!(check, Check::Right { .. }), check })
}

/// What a fleet takes of its host, and what that has; none is no limit, or not known.
#[derive(Serialize)]
pub struct Plan {
    pub clients: usize,
    pub workers: usize,
    /// Clients of the fullest worker.
    pub worker_clients: usize,
    pub memory_bytes: u64,
    /// Open files of the fullest worker.
    pub worker_files: u64,
    pub files_limit: Option<u64>,
    pub memory_available_bytes: Option<u64>,
    /// Ports for connections from one address to one place.
    pub ports: u64,
    pub warnings: Vec<String>,
}

/// What a fleet takes of its host.
pub fn json_plan(now: DateTime<Utc>, plan: &Plan) -> String {
    answer("plan", now, plan)
}

/// How it went to tell a receiver of alerts that this is a test; `why` it was not told, where it was not.
pub fn json_notify_test(now: DateTime<Utc>, notifier: &str, took: Duration, why: Option<&str>) -> String {
    #[derive(Serialize)]
    struct Said<'a> {
        notifier: &'a str,
        ok: bool,
        took_us: u64,
        detail: &'a str,
    }
    answer("notify_test", now, &Said { notifier, ok: why.is_none(), took_us: micros(took), detail: why.unwrap_or("") })
}

/// A message that would have been sent; `body` is that of the webhook.
pub fn json_message(at: DateTime<Utc>, notifier: &str, subject: &str, body: &serde_json::Value) -> String {
    #[derive(Serialize)]
    struct Said<'a> {
        notifier: &'a str,
        subject: &'a str,
        body: &'a serde_json::Value,
    }
    answer("message", at, &Said { notifier, subject, body })
}

/// What was found at an endpoint, and of a client there.
#[derive(Serialize)]
pub struct Doctor<'a> {
    pub endpoint: &'a str,
    pub url: String,
    pub proxy: Option<Proxy<'a>>,
    /// Of the endpoint and of the client together.
    #[serde(flatten)]
    pub outcome: Outcome<'a>,
    /// All stages, without the pauses between.
    #[serde(rename = "took_us", serialize_with = "as_micros")]
    pub took: Duration,
    /// The client that was tried, by the ID under which it connected.
    pub client: Option<&'a str>,
    /// Whether that is its own.
    pub own_id: Option<bool>,
    pub connack: Option<Connack<'a>>,
    pub subscriptions: Option<Vec<Subscription<'a>>>,
    /// What that means, in a sentence, and what to do.
    pub verdict: String,
    pub advice: Option<String>,
}

/// Where a proxy is, and which environment variable named it, where one did.
#[derive(Serialize)]
pub struct Proxy<'a> {
    pub url: String,
    pub variable: Option<&'a str>,
}

fn as_micros<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(micros(*time))
}

/// What was found at an endpoint.
pub fn json_doctor(now: DateTime<Utc>, doctor: &Doctor<'_>) -> String {
    answer("doctor", now, doctor)
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;
    use crate::{event, lines::Tls};

    #[test]
    fn answers_are_the_documented_ones_to_the_letter() {
        let now = Utc.with_ymd_and_hms(2026, 11, 22, 12, 0, 0).unwrap();
        assert_eq!(
            json_check(now, &Check::Right { fleet: "plant-eu", clients: 1_000, endpoints: 2, workers: 1 }),
            r#"{"type":"check","ts":"2026-11-22T12:00:00.000Z","schema":1,"ok":true,"fleet":"plant-eu","clients":1000,"endpoints":2,"workers":1}"#
        );
        assert_eq!(
            json_check(now, &Check::Wrong { errors: 2, text: "error: …" }),
            r#"{"type":"check","ts":"2026-11-22T12:00:00.000Z","schema":1,"ok":false,"errors":2,"text":"error: …"}"#
        );
        let session = event::Session {
            protocol: Some("TLSv1.2"),
            cipher: None,
            alpn: None,
            chain: Vec::new(),
            overlooked: None,
            wants_certificate: false,
        };
        let connack =
            event::Connack { session_expiry: Some(60), server_keep_alive: Some(20), ..event::Connack::default() };
        let doctor = Doctor {
            endpoint: "eu-1",
            url: "mqtts://h:1".into(),
            proxy: None,
            outcome: Outcome {
                ok: false,
                stages_us: [("tcp", Duration::from_micros(900)), ("suback", Duration::from_millis(2))]
                    .into_iter()
                    .collect(),
                failed_stage: Some("suback"),
                addresses: &["192.0.2.1:1".parse().unwrap()],
                address: None,
                tls: Some(Tls::of(&session, now)),
                reason: Some("subscription_refused"),
                detail: "a/#: not authorized",
            },
            took: Duration::from_micros(2_900),
            client: Some("press-1"),
            own_id: Some(true),
            connack: Some(Connack::of(&connack)),
            subscriptions: Some(vec![Subscription {
                filter: "a/#",
                asked: 1,
                granted: None,
                detail: "not authorized",
            }]),
            verdict: "refused".into(),
            advice: None,
        };
        assert_eq!(
            json_doctor(now, &doctor),
            r##"{"type":"doctor","ts":"2026-11-22T12:00:00.000Z","schema":1,"endpoint":"eu-1","url":"mqtts://h:1","proxy":null,"ok":false,"stages_us":{"tcp":900,"suback":2000},"failed_stage":"suback","addresses":["192.0.2.1:1"],"address":null,"tls":{"protocol":"TLSv1.2","cipher":null,"alpn":null,"wants_certificate":false,"overlooked":null,"chain":[]},"reason":"subscription_refused","detail":"a/#: not authorized","took_us":2900,"client":"press-1","own_id":true,"connack":{"session_present":false,"reached_us":null,"answered_us":null,"session_expiry_interval_s":60,"server_keep_alive_s":20},"subscriptions":[{"filter":"a/#","asked":1,"granted":null,"detail":"not authorized"}],"verdict":"refused","advice":null}"##
        );
    }
}
