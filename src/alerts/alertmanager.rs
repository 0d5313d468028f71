//! Defines how alerts are handed to an Alertmanager (its API of version 2), which tells others; when that is done is decided elsewhere.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{
    courier::Failure,
    message::{Message, Told, stamp},
    webhook::post,
};
use crate::{
    fleet::Secret,
    telling::{Notifier, Webhook},
};

/// What it is not told of again within so many repetitions is over for it.
const PATIENCE: u32 = 4;
/// Where its alerts are.
const PATH: &str = "/api/v2/alerts";

pub(super) async fn send(alertmanager: &Webhook, notifier: &Notifier, message: &Message) -> Result<(), Failure> {
    let base = alertmanager.url.expose().trim_end_matches('/');
    let url = Secret::new(format!("{}{PATH}", base.strip_suffix(PATH).unwrap_or(base)));
    // As of now, and not of when it was written: what waited here for long would be over there at once.
    let until = Utc::now() + notifier.repeat * PATIENCE;
    let alerts: Vec<Value> = message.alerts.iter().map(|alert| of(message, alert, until)).collect();
    post(alertmanager, url, Value::from(alerts).to_string()).await
}

/// An alert. Its labels are what it is known by, and never change while it lasts.
fn of(message: &Message, alert: &Told, until: DateTime<Utc>) -> Value {
    json!({
        "labels": message.labels(alert),
        "annotations": message.annotations(alert),
        "startsAt": stamp(alert.since),
        "endsAt": stamp(alert.until.unwrap_or(until)),
    })
}
