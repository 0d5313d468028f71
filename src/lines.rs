//! Defines the lines that scripts, pipes, log files and recordings read: as JSON and as plain text; the console's words are the UI's matter.

mod json;
mod plain;

use chrono::{DateTime, SecondsFormat, Utc};

use crate::{
    clock::{Anchor, Moment},
    event::Level,
};

pub use json::{
    Check, Connack, Doctor, Outcome, Plan, Proxy, Row, SCHEMA, Stages, Subscription, Tls, UNKNOWN, json, json_check,
    json_doctor, json_insight, json_kept, json_message, json_notify_test, json_plan, json_start, json_stored,
    json_summary, json_summary_kept, json_told, json_would_recover, json_written,
};
pub use plain::{insight, plain, plain_insight, plain_summary};

/// RFC 3339 in UTC, to the millisecond: when something happened.
fn stamp(anchor: &Anchor, at: Moment) -> String {
    utc_millis(anchor.utc(at))
}

fn utc_millis(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// The same to the second: what a certificate says.
fn utc(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::Info => "info",
        Level::Warning => "warning",
        Level::Error => "error",
    }
}

#[cfg(test)]
mod tests;
