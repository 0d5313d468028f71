//! Defines the sentences on an alert: that it fires, about how many and why, or that it is over; when it does is decided elsewhere.

use std::fmt::Write;

use crate::{
    event::{Alert, Handled, Handling, Recovery, RecoveryStage},
    fleet::Fleet,
    text::{Scrubbed, ellipsize},
    words::figures,
};

/// An alert as it stands: `alert critical: presses down: 12 of 40 clients (press-0001, press-0002 and 10 more)
/// for 30 s: all 12 down share endpoint eu-1: connection refused`.
pub fn sentence(fleet: &Fleet, alert: &Alert) -> String {
    let (name, severity) = (alert.name(), alert.severity.name());
    let lasted = figures::wait(alert.lasted);
    let count = share(alert.clients, alert.of);
    if !alert.is_firing {
        let why = if alert.cause.is_empty() { String::new() } else { format!(": {}", alert.cause) };
        return format!("alert {severity}: {name}: over after {lasted}, at most {count}{why}");
    }
    let names = names(alert.first.iter().map(|client| &fleet.client(*client).name), alert.clients, 3);
    let names = if names.is_empty() { names } else { format!(" ({names})") };
    let cause = if alert.cause.is_empty() { String::new() } else { format!(": {}", alert.cause) };
    format!("alert {severity}: {name}: {count}{names} for {lasted}{cause}")
}

/// What is done about an alert: `recovery of presses down: reconnected 12 clients`.
pub fn handling(handling: &Handling) -> String {
    let name = handling.name();
    let by = |by: &Scrubbed| if by.is_empty() { String::new() } else { format!(" by {by}") };
    match &handling.what {
        Handled::Told { notifier, is_firing: true } => format!("{notifier} was told that {name} fires"),
        Handled::Told { notifier, is_firing: false } => format!("{notifier} was told that {name} is over"),
        Handled::Muted { until: Some(until), by: who } => {
            format!("{name} is muted{} until {}", by(who), until.format("%Y-%m-%d %H:%M:%S UTC"))
        }
        Handled::Muted { until: None, by: who } => format!("{name} is not muted any more{}", by(who)),
        Handled::Acknowledged { by: who } => format!("{name} is acknowledged{}", by(who)),
        Handled::Recovery(recovery) => format!("recovery of {name}: {}", step(recovery)),
    }
}

/// A step of a recovery in words.
pub fn step(recovery: &Recovery) -> String {
    let mut text = recovery.text.to_string();
    if recovery.stage == RecoveryStage::Waiting {
        let _ = write!(text, ", so {} waits", recovery.kind.name());
    }
    text
}

/// `12 of 40 clients`, `1 client`.
pub fn share(clients: u32, of: u32) -> String {
    match of > clients {
        true => format!("{} of {}", figures::count(clients), figures::clients(of)),
        false => figures::clients(clients),
    }
}

/// The first names of so many clients, at most `most`, and how many more there are.
pub fn names<'a>(names: impl Iterator<Item = &'a Scrubbed>, clients: u32, most: usize) -> String {
    let first: Vec<String> = names.take(most).map(|name| ellipsize(name, 64)).collect();
    match (clients as usize).saturating_sub(first.len()) {
        0 => first.join(", "),
        _ if first.is_empty() => String::new(),
        more => format!("{} and {} more", first.join(", "), figures::count(more as u64)),
    }
}
