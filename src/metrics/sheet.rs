//! Defines how a sheet is filled with the figures of one second; where these come from and how they are written is elsewhere.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{
    counts::{Counted, Counts, Durations, Standing},
    exposition::{Labels, Sheet, label_name},
    processes::Processes,
    table::{self, Metric},
};
use crate::{
    bus::{Delivery, Queue, Receiver},
    clock::Moment,
    event::{Alert, Condition, Severity, State},
    fleet::EndpointKey,
    telling::Metrics,
};

/// What the labels of single metrics are called, which the chosen one cannot be.
const TAKEN: [&str; 5] = ["endpoint", "state", "reason", "client", "le"];

/// All figures as of `now`, the second that is just over.
pub(super) fn fill(
    counts: &Counts,
    settings: &Metrics,
    processes: &Processes,
    queues: &[Queue],
    deliveries: &[Arc<Delivery>],
    now: Moment,
    wall: DateTime<Utc>,
) -> Sheet {
    let mut sheet = Sheet::default();
    let fleet = counts.fleet();
    let one = |name, value: &str| Labels::of(&[(name, value)]);
    sheet.tell(table::BUILD, one("version", env!("CARGO_PKG_VERSION")), 1.0);
    let env = fleet.env.as_deref().unwrap_or_default();
    sheet.tell(table::FLEET, Labels::of(&[("fleet", &fleet.name), ("env", env)]), 1.0);
    sheet.tell(table::SECOND, Labels::default(), wall.timestamp_millis() as f64 / 1e3);

    let label = settings.label.as_ref().map(|label| label_name(label, &TAKEN));
    // A label that is empty is none.
    let chosen = |labels: Labels, value: u16| match (&label, counts.name_of_value(value)) {
        (Some(label), value) if !value.is_empty() => labels.and(label, value),
        _ => labels,
    };
    let standings = counts.standings(now);
    for (place, standing) in &standings {
        let labels = chosen(one("endpoint", &fleet.endpoint(place.0).name), place.1);
        tell_standing(&mut sheet, &labels, standing);
        tell_counted(&mut sheet, &labels, counts.places.get(place).unwrap_or(&Counted::default()));
    }
    fleet.endpoint_keys().for_each(|key| tell_endpoint(&mut sheet, counts, key));
    for (worker, of_worker) in &counts.workers {
        let labels = || one("worker", &worker.to_string());
        sheet.tell(table::WORKER_UP, labels(), f64::from(u8::from(of_worker.process.is_some())));
        sheet.tell(table::WORKER_DEATHS, labels(), of_worker.deaths as f64);
    }
    for (name, usage) in processes.all() {
        sheet.tell(table::CPU, one("process", name), usage.cpu.as_secs_f64());
        sheet.tell(table::MEMORY, one("process", name), usage.memory as f64);
        sheet.tell(table::FILES, one("process", name), usage.files as f64);
    }
    for queue in queues {
        sheet.tell(table::WAITING, one("queue", queue.name), queue.waiting as f64);
        sheet.tell(table::FOLDED, one("queue", queue.name), queue.folded as f64);
    }
    tell_alerts(&mut sheet, counts);
    deliveries.iter().for_each(|delivery| tell_delivery(&mut sheet, delivery));
    sheet.tell(table::SAMPLES_DROPPED, Labels::default(), counts.known.samples_lost() as f64);
    if settings.label.is_some() {
        sheet.tell(table::VALUES_LEFT_OUT, Labels::default(), counts.values_left_out as f64);
    }
    if settings.clients.is_some() {
        sheet.tell(table::LEFT_OUT, Labels::default(), counts.clients_left_out as f64);
    }
    for (key, client) in &counts.clients {
        let (row, id) = (counts.row(*key), one("client", &fleet.client(*key).id));
        let place = counts.place(*key, row.endpoint);
        let labels = || chosen(id.clone().and("endpoint", &fleet.endpoint(place.0).name), place.1);
        sheet.tell(table::CLIENT_UP, labels(), f64::from(u8::from(row.is_up())));
        if let Some((_, took)) = row.last.filter(|_| row.is_up()) {
            sheet.tell(table::CLIENT_ROUND_TRIP, labels(), took.as_secs_f64());
        }
        sheet.tell(table::CLIENT_CONNECTS, id.clone(), client.connects as f64);
        sheet.tell(table::CLIENT_RECEIVED, id.clone(), client.received as f64);
        sheet.tell(table::CLIENT_PUBLISHED, id.clone(), client.published as f64);
    }
    sheet
}

fn firing(counts: &Counts) -> impl Iterator<Item = &Alert> {
    counts.known.alerts().values().filter_map(|row| row.firing.as_ref()).map(|(_, alert)| alert)
}

fn tell_alerts(sheet: &mut Sheet, counts: &Counts) {
    for severity in Severity::ALL {
        let firing = firing(counts).filter(|alert| alert.severity == severity).count();
        sheet.tell(table::ALERTS, Labels::of(&[("severity", severity.name())]), firing as f64);
    }
    for rule in &counts.rules {
        let is_firing = firing(counts).any(|alert| alert.rule == rule.name);
        let labels = || Labels::of(&[("alert", &rule.name), ("severity", rule.severity.name())]);
        sheet.tell(table::FIRING, labels(), f64::from(u8::from(is_firing)));
        sheet.tell(table::FIRED, labels(), rule.fired as f64);
    }
    if !counts.rules.is_empty() {
        sheet.tell(table::RULES_LEFT_OUT, Labels::default(), counts.rules_left_out as f64);
    }
}

fn tell_delivery(sheet: &mut Sheet, delivery: &Delivery) {
    let (told, failed, dropped) = (delivery.told() as f64, delivery.failed() as f64, delivery.dropped() as f64);
    let (waiting, one) = (delivery.waiting() as f64, |name| Labels::of(&[(name, &delivery.name)]));
    match delivery.to {
        Receiver::Notifier => {
            sheet.tell(table::NOTIFICATIONS, one("notifier"), told);
            sheet.tell(table::NOTIFICATION_FAILURES, one("notifier"), failed);
            sheet.tell(table::NOTIFICATIONS_DROPPED, one("notifier"), dropped);
            sheet.tell(table::NOTIFICATIONS_WAITING, one("notifier"), waiting);
        }
        Receiver::Hook => {
            sheet.tell(table::HOOK_RUNS, one("hook"), told);
            sheet.tell(table::HOOK_FAILURES, one("hook"), failed);
            sheet.tell(table::HOOK_WAITING, one("hook"), waiting);
        }
        Receiver::Influx => {
            sheet.tell(table::POINTS, Labels::default(), told);
            sheet.tell(table::POINTS_FAILURES, Labels::default(), failed);
            sheet.tell(table::POINTS_DROPPED, Labels::default(), dropped);
            sheet.tell(table::POINTS_WAITING, Labels::default(), waiting);
        }
    }
}

fn tell_standing(sheet: &mut Sheet, labels: &Labels, standing: &Standing) {
    for state in State::ALL {
        let count = standing.states[state as usize];
        sheet.tell(table::CLIENTS, labels.clone().and("state", state.name()), count.into());
    }
    sheet.tell(table::SLOW, labels.clone(), standing.slow.into());
    sheet.tell(table::LATE, labels.clone(), standing.late.into());
    sheet.tell(table::WAIT, labels.clone(), standing.wait.as_secs_f64());
}

fn tell_counted(sheet: &mut Sheet, labels: &Labels, counted: &Counted) {
    let mut count = |metric: Metric, count: u64| sheet.tell(metric, labels.clone(), count as f64);
    count(table::CONNECTS, counted.connects);
    count(table::PROBES_LOST, counted.probes_lost);
    count(table::RECEIVED, counted.received);
    count(table::PUBLISHED, counted.published);
    count(table::REFUSED, counted.refused);
    count(table::SENT_BYTES, counted.sent_bytes);
    count(table::RECEIVED_BYTES, counted.received_bytes);
    count(table::RETRANSMITS, counted.retransmits);
    for (metric, by_reason) in [(table::FAILURES, &counted.failures), (table::LOSSES, &counted.losses)] {
        for (reason, count) in by_reason {
            sheet.tell(metric, labels.clone().and("reason", reason), *count as f64);
        }
    }
    for (metric, of) in
        [(table::ROUND_TRIP, &counted.round_trips), (table::CONNECT_DURATION, &counted.connect_durations)]
    {
        sheet.tell_histogram(metric, labels, &Durations::BOUNDS, &of.counts, of.sum.as_secs_f64());
    }
}

fn tell_endpoint(sheet: &mut Sheet, counts: &Counts, key: EndpointKey) {
    let fleet = counts.fleet();
    let labels = || Labels::of(&[("endpoint", &fleet.endpoint(key).name)]);
    if let Some(gate) = counts.known.gate(key) {
        let is_open = gate.condition == Condition::Open;
        sheet.tell(table::OPEN, labels(), f64::from(u8::from(is_open)));
        sheet.tell(table::QUEUE, labels(), gate.waiting.into());
        sheet.tell(table::ETA, labels(), gate.eta.as_secs_f64());
        sheet.tell(table::CONNECTING, labels(), gate.in_flight.into());
        sheet.tell(table::RATE, labels(), gate.rate.into());
    }
    let server = counts.known.finding(key).and_then(|(_, finding)| finding.certificate()?.not_after);
    if let Some(end) = server {
        sheet.tell(table::CERTIFICATE, labels(), end.timestamp() as f64);
    }
    if let Some(end) = counts.own_certificates.get(&key) {
        sheet.tell(table::OWN_CERTIFICATE, labels(), end.timestamp() as f64);
    }
}
