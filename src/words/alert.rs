//! Defines the sentences on an alert: that it fires, about how many and why, or that it is over; when it does is decided elsewhere.

use crate::{
    clock::Moment,
    event::Alert,
    fleet::Fleet,
    text::{Scrubbed, ellipsize},
    words::figures,
};

/// An alert as it stands at `at`: `alert critical: presses down: 12 of 40 clients (press-0001, press-0002 and 10 more)
/// for 30 s: all 12 down share endpoint eu-1: connection refused`.
pub fn sentence(fleet: &Fleet, alert: &Alert, at: Moment) -> String {
    let (name, severity) = (&alert.rule, alert.severity.name());
    let lasted = figures::wait(at.since(alert.since));
    let count = share(alert.clients, alert.of);
    if !alert.is_firing {
        return format!("alert {severity}: {name}: over after {lasted}, at most {count}");
    }
    let names = names(alert.first.iter().map(|client| &fleet.client(*client).name), alert.clients, 3);
    let names = if names.is_empty() { names } else { format!(" ({names})") };
    let cause = if alert.cause.is_empty() { String::new() } else { format!(": {}", alert.cause) };
    format!("alert {severity}: {name}: {count}{names} for {lasted}{cause}")
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
