//! Defines the check of a fleet: does every client get its connection, and if not, why; checking the file itself is the config's matter.

mod alike;
mod host;
mod plan;

use std::{io, process::ExitCode, sync::Arc, time::Duration};

use tokio::time::interval;

use crate::{
    bus::Bus,
    clock::{Anchor, Moment},
    event::{Condition, Event, State, What, WorkerEvent},
    fleet::{ClientKey, EndpointKey, Fleet, ProbeKind, Settings, Strategy},
    headless::{Format, engine_ended},
    lines,
    model::Known,
    query::Query,
    run::Run,
    signals::Signals,
    stdio::{complain, print},
    words,
};

use alike::{Alike, What as Finding};
pub use host::Host;
pub use plan::{Doubt, Plan};

/// Connects every client once and prints who could not, or could not stay, and why: a line for what many
/// have alike. The exit code is 0 where all came up and stayed, 3 where some did not, or one of `unwanted` means
/// somebody at the end.
///
/// # Errors
/// Where signals cannot be handled or standard output fails.
pub async fn connect(fleet: Fleet, format: Format, unwanted: &[Query]) -> io::Result<ExitCode> {
    let mut signals = Signals::listen()?;
    let fleet = Arc::new(once_each(fleet));
    let (run, mut live) = Run::start_shown(fleet.clone(), fastrand::u64(..), Bus::new(Anchor::now()));
    let mut known = Known::new(fleet.clone(), live.begin.moment());
    let mut found = Alike::default();
    let stay = stay(&fleet);
    let mut every = interval(LOOK);
    let signal = loop {
        tokio::select! {
            biased;
            signal = signals.next() => break Some(signal),
            events = live.events.next() => {
                let events = events.ok_or_else(engine_ended)?;
                let anchor = Anchor::now();
                for event in &events {
                    known.apply(event);
                    if let Some(line) = line(&fleet, &anchor, event, format) {
                        print(&format!("{line}\n"))?;
                    }
                    note(&mut found, &known, event);
                }
            }
            _ = every.tick() => {
                let now = Moment::now();
                if fleet.keys().all(|client| is_settled(&known, client, now, stay)) {
                    break None;
                }
            }
        }
    };
    if format == Format::Text {
        for client in fleet.keys().filter(|client| known.row(*client).state == State::Held) {
            let row = known.row(client);
            found.add(&fleet, Finding::NeverUp, client, row.endpoint, &words::reason(row.reason, &row.detail));
        }
        print(&found.lines(&fleet).map(|line| format!("{line}\n")).collect::<String>())?;
    }
    let summary = match format {
        Format::Json => lines::json_summary(&known, &Anchor::now(), Moment::now()),
        Format::Text => verdict(&known),
    };
    print(&format!("{summary}\n"))?;
    let now = Moment::now();
    let mut is_unwanted = false;
    for query in unwanted {
        let meant: Vec<_> = fleet.keys().filter(|client| query.matches(&known.facts(*client, now))).collect();
        is_unwanted |= !meant.is_empty();
        if let Some(first) = meant.first() {
            let others = if meant.len() > 1 { format!(" and {} more", meant.len() - 1) } else { String::new() };
            complain(&format!("{query}: {}{others}", fleet.client(*first).name));
        }
    }
    run.stop().await;
    let totals = known.totals();
    Ok(match signal {
        Some(number) => ExitCode::from(128 + number as u8),
        None if totals.of(State::Up) == totals.all() && !is_unwanted => ExitCode::SUCCESS,
        None => ExitCode::from(3),
    })
}

/// How often is looked whether the check is over.
const LOOK: Duration = Duration::from_millis(50);

/// The longest that a check of few clients waits for the first probe of one that came up.
const PROBE: Duration = Duration::from_millis(500);

/// How long a client has to be up to count as connected: until its first probe went out, and was answered.
/// What a broker does not take of a client, it mostly says by hanging up.
fn stay(fleet: &Fleet) -> Duration {
    let probes = fleet.clients.iter().filter(|client| client.settings.probe.kind != ProbeKind::Off);
    PROBE + probes.map(|client| client.settings.probe.every).max().unwrap_or_default()
}

/// Whether nothing more is to be expected of a client: it is up and stays so, or is given up, or none of
/// its endpoints can be reached.
fn is_settled(known: &Known, client: ClientKey, now: Moment, stay: Duration) -> bool {
    let row = known.row(client);
    let is_shut = |endpoint: &EndpointKey| {
        known.gate(*endpoint).is_some_and(|gate| matches!(gate.condition, Condition::Shut { .. }))
    };
    match row.state {
        State::Up => {
            let is_answered = row.connection.subscribed.is_some();
            let asks = !known.fleet().client(client).conversation.subscribe.is_empty();
            now.since(row.since) >= stay && (is_answered || !asks)
        }
        State::Failed => true,
        State::Held => row.reason.is_network() && known.fleet().client(client).endpoints.iter().all(is_shut),
        _ => false,
    }
}

/// Takes in what is wrong with a client.
fn note(found: &mut Alike, known: &Known, event: &Event) {
    let fleet = known.fleet();
    match &event.what {
        What::State(step) if step.to == State::Failed => {
            let what = if step.from == State::Up { Finding::ThrownOff } else { Finding::NeverUp };
            found.add(fleet, what, step.client, step.endpoint, &words::reason(step.reason, &step.detail));
        }
        What::Shortfall(shortfall) => {
            let endpoint = known.row(shortfall.client).endpoint;
            let why = words::connection::shortfall(shortfall);
            found.add(fleet, Finding::Shortfall, shortfall.client, endpoint, &why);
        }
        _ => {}
    }
}

/// The same fleet, with every client to be connected, none of them twice, and soon to be probed.
fn once_each(mut fleet: Fleet) -> Fleet {
    // Some 2,000 probes a second are no burden to anybody.
    let soon = PROBE.max(Duration::from_micros(500) * fleet.clients.len() as u32);
    let mut changed: Option<(Arc<Settings>, Arc<Settings>)> = None;
    for client in &mut fleet.clients {
        let settings = match &changed {
            Some((from, to)) if Arc::ptr_eq(from, &client.settings) => to.clone(),
            _ => {
                let mut to = Settings::clone(&client.settings);
                to.start_connected = true;
                to.reconnect.strategy = Strategy::Never;
                to.probe.every = to.probe.every.min(soon);
                let to = Arc::new(to);
                changed = Some((client.settings.clone(), to.clone()));
                to
            }
        };
        client.settings = settings;
    }
    fleet
}

/// What is told at once: as JSON every step; as text what concerns no single client, such as a worker's silence
/// and its death, which nothing else tells where a worker cannot be started.
fn line(fleet: &Fleet, anchor: &Anchor, event: &Event, format: Format) -> Option<String> {
    match (format, &event.what) {
        (_, What::Worker { event, .. }) if !matches!(event, WorkerEvent::Silent | WorkerEvent::Died) => None,
        (Format::Json, What::State(_) | What::Worker { .. }) => lines::json(fleet, anchor, event, false),
        (Format::Text, What::State(_) | What::Shortfall(_)) | (Format::Json, _) => None,
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
    use crate::{fleet::WorkerKey, text::Scrubbed};

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
