//! Defines the JSON lines on what is done about alerts: who was told, mutes, acknowledgements, steps of recoveries.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Line, encode};
use crate::{
    event::{Handled, Handling, Recovery},
    lines::utc_millis,
};

#[derive(Serialize)]
pub(super) struct Told<'a> {
    ts: String,
    alert: &'a str,
    /// What was told: `firing` or `resolved`.
    status: &'static str,
    notifier: &'a str,
}

#[derive(Serialize)]
pub(super) struct Muted<'a> {
    ts: String,
    alert: &'a str,
    /// Null where it is told again.
    until: Option<String>,
    by: &'a str,
}

#[derive(Serialize)]
pub(super) struct Acknowledged<'a> {
    ts: String,
    alert: &'a str,
    by: &'a str,
}

#[derive(Serialize)]
pub(super) struct Step<'a> {
    ts: String,
    alert: &'a str,
    /// Its place in `recover`, from 1.
    step: u16,
    action: &'static str,
    status: &'static str,
    clients: u32,
    text: &'a str,
}

impl<'a> Step<'a> {
    fn new(ts: String, alert: &'a str, of: &'a Recovery, status: &'static str) -> Step<'a> {
        let (step, action) = (of.step + 1, of.kind.name());
        Step { ts, alert, step, action, status, clients: of.clients, text: &of.text }
    }
}

pub(super) fn line(ts: String, handling: &Handling) -> Line<'_> {
    let alert = &handling.rule;
    match &handling.what {
        Handled::Told { notifier, is_firing } => {
            let status = if *is_firing { "firing" } else { "resolved" };
            Line::Told(Told { ts, alert, status, notifier })
        }
        Handled::Muted { until, by } => Line::Muted(Muted { ts, alert, until: until.map(utc_millis), by }),
        Handled::Acknowledged { by } => Line::Acknowledged(Acknowledged { ts, alert, by }),
        Handled::Recovery(of) => Line::Recovery(Step::new(ts, alert, of, of.stage.name())),
    }
}

/// A step of a recovery that would have been taken then.
pub fn json_would_recover(at: DateTime<Utc>, alert: &str, of: &Recovery) -> String {
    encode(&Line::Recovery(Step::new(utc_millis(at), alert, of, "would")))
}
