//! Defines the check of a fleet: does every client get its connection, and if not, why; checking the file itself is the config's matter.

mod host;
mod plan;

use std::{
    io::{self, Write},
    process::ExitCode,
    sync::Arc,
};

use crate::{
    clock::{Anchor, Moment},
    event::{Condition, Event, State, What, WorkerEvent},
    fleet::{ClientKey, EndpointKey, Fleet, Settings, Strategy},
    headless::{Format, engine_ended},
    lines,
    model::Known,
    signals::Signals,
    source::Source,
    text::Scrubbed,
    words,
};

pub use host::Host;
pub use plan::{Doubt, Plan};

/// Connects every client once and prints who could not, and why. The exit code is 0 where all came
/// up, 3 where some did not.
///
/// # Errors
/// Where signals cannot be handled or standard output fails.
pub async fn connect(fleet: Fleet, format: Format) -> io::Result<ExitCode> {
    let mut signals = Signals::listen()?;
    let fleet = Arc::new(once_each(fleet));
    let mut source = Source::start(fleet.clone(), fastrand::u64(..));
    let mut known = Known::new(fleet.clone(), Moment::now());
    let mut out = io::stdout().lock();
    let signal = loop {
        tokio::select! {
            biased;
            signal = signals.next() => break Some(signal),
            events = source.next() => {
                let events = events.ok_or_else(engine_ended)?;
                let anchor = Anchor::now();
                for event in &events {
                    known.apply(event);
                    if let Some(line) = line(&fleet, &anchor, event, format) {
                        writeln!(out, "{line}")?;
                    }
                }
                if fleet.keys().all(|client| is_settled(&known, client)) {
                    break None;
                }
            }
        }
    };
    if format == Format::Text {
        for client in fleet.keys().filter(|client| known.row(*client).state == State::Held) {
            let row = known.row(client);
            writeln!(out, "{}", failure(&fleet, NEVER, client, row.endpoint, &words::reason(row.reason, &row.detail)))?;
        }
    }
    let summary = match format {
        Format::Json => lines::json_summary(&known, &Anchor::now(), Moment::now()),
        Format::Text => verdict(&known),
    };
    writeln!(out, "{summary}")?;
    source.stop().await;
    let totals = known.totals();
    Ok(match signal {
        Some(number) => ExitCode::from(128 + number as u8),
        None if totals.of(State::Up) == totals.all() => ExitCode::SUCCESS,
        None => ExitCode::from(3),
    })
}

/// Whether nothing more is to be expected of a client: it is up, or given up, or none of its
/// endpoints can be reached.
fn is_settled(known: &Known, client: ClientKey) -> bool {
    let row = known.row(client);
    let is_shut = |endpoint: &EndpointKey| {
        known.gate(*endpoint).is_some_and(|gate| matches!(gate.condition, Condition::Shut { .. }))
    };
    match row.state {
        State::Up | State::Failed => true,
        State::Held => row.reason.is_network() && known.fleet().client(client).endpoints.iter().all(is_shut),
        _ => false,
    }
}

/// Why a client is not up.
fn failure(fleet: &Fleet, what: &str, client: ClientKey, endpoint: EndpointKey, why: &str) -> String {
    let (name, endpoint) = (&fleet.client(client).name, fleet.endpoint(endpoint));
    format!("{name} {what} {} ({}): {why}", endpoint.name, Scrubbed::new(&endpoint.address()))
}

const NEVER: &str = "could not connect to";

/// The same fleet, with every client to be connected, and none of them twice.
fn once_each(mut fleet: Fleet) -> Fleet {
    let mut changed: Option<(Arc<Settings>, Arc<Settings>)> = None;
    for client in &mut fleet.clients {
        let settings = match &changed {
            Some((from, to)) if Arc::ptr_eq(from, &client.settings) => to.clone(),
            _ => {
                let mut to = Settings::clone(&client.settings);
                to.start_connected = true;
                to.reconnect.strategy = Strategy::Never;
                let to = Arc::new(to);
                changed = Some((client.settings.clone(), to.clone()));
                to
            }
        };
        client.settings = settings;
    }
    fleet
}

/// As JSON every step has a line, as text only the failed ones; a worker's silence and its death have one in both.
fn line(fleet: &Fleet, anchor: &Anchor, event: &Event, format: Format) -> Option<String> {
    match (format, &event.what) {
        (Format::Json, What::State(_)) => lines::json(fleet, anchor, event, false),
        // Nothing else tells that a client waits for a worker that cannot be started.
        (_, What::Worker { event: WorkerEvent::Silent | WorkerEvent::Died, .. }) => match format {
            Format::Json => lines::json(fleet, anchor, event, false),
            Format::Text => lines::plain(fleet, anchor, event),
        },
        (_, What::Worker { .. }) | (Format::Json, _) => None,
        (Format::Text, What::State(step)) if step.to == State::Failed => {
            let what = if step.from == State::Up { "was connected, and lost" } else { NEVER };
            Some(failure(fleet, what, step.client, step.endpoint, &words::reason(step.reason, &step.detail)))
        }
        (Format::Text, What::State(_)) => None,
        (Format::Text, _) => lines::plain(fleet, anchor, event),
    }
}

fn verdict(known: &Known) -> String {
    let totals = known.totals();
    let (up, all) = (totals.of(State::Up), totals.all());
    if up == all { format!("all {all} clients connected") } else { format!("{up} of {all} clients connected") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::WorkerKey;

    #[test]
    fn a_worker_that_cannot_start_is_told_in_both_forms() {
        let fleet =
            Fleet { name: Scrubbed::new("t"), env: None, worker_size: 1, endpoints: Vec::new(), clients: Vec::new() };
        let said = |event, format| {
            let what = What::Worker { worker: WorkerKey(7), event, detail: Scrubbed::new("cannot start: no room") };
            line(&fleet, &Anchor::now(), &Event { at: Moment::now(), what }, format)
        };
        for format in [Format::Text, Format::Json] {
            let line = said(WorkerEvent::Died, format).expect("a check that waits for it must say so");
            assert!(line.contains("cannot start: no room"), "{line}");
            assert_eq!(said(WorkerEvent::Started, format), None);
        }
    }
}
