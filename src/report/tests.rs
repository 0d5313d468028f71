//! A run of known troubles is told as it was.

use std::{sync::Arc, time::Duration};

use chrono::TimeZone;

use super::*;
use crate::{
    event::{Reason, Sample, State, Transition},
    fleet::{Client, Endpoint, EndpointKey, Probe, ProbeKind, Settings},
    text::Scrubbed,
};

/// 100 clients in two halls, 20 of them at another endpoint than the others.
fn fleet() -> Arc<Fleet> {
    let client = |n: u16| {
        let mut client = Client::new(&format!("press-{n:02}"), EndpointKey(u16::from(n >= 20)), Arc::default());
        let label = |name: &str, value: String| (Scrubbed::new(name), Scrubbed::new(&value));
        client.labels = Arc::new([label("site", format!("hall-{}", n % 2))].into());
        client
    };
    let endpoint = |name| Endpoint::new(name, "127.0.0.1", 1883);
    Arc::new(Fleet {
        name: Scrubbed::new("plant"),
        env: None,
        worker_size: 500,
        endpoints: vec![endpoint("eu-1"), endpoint("eu-2")],
        clients: (0..100).map(client).collect(),
    })
}

fn anchor() -> Anchor {
    Anchor::new(Moment(0), chrono::Utc.with_ymd_and_hms(2026, 11, 22, 12, 0, 0).unwrap())
}

fn ms(ms: u64) -> Moment {
    Moment(ms * 1_000)
}

struct Run(Tally);

impl Run {
    fn step(&mut self, at: u64, client: u32, from: State, to: State, reason: Reason) {
        let endpoint = self.0.fleet.client(ClientKey(client)).endpoint();
        let detail = Scrubbed::new(if reason == Reason::ConnectionLost { "closed by peer" } else { "" });
        let client = ClientKey(client);
        let step = Transition { client, endpoint, from, to, reason, detail, attempt: 1, next_try: None };
        self.0.apply(&Event { at: ms(at), what: What::State(step) });
    }

    fn connect(&mut self, at: u64, client: u32) {
        self.step(at, client, State::Queued, State::Connecting, Reason::Admitted);
        self.step(at + 5, client, State::Connecting, State::Up, Reason::Connected);
    }

    /// All clients are up after a second; the first twenty are down from 20 s to 30 s.
    fn with_an_outage() -> Run {
        let mut run = Run(Tally::new(fleet(), ms(0)));
        (0..100).for_each(|client| run.connect(100 + u64::from(client), client));
        for client in 0..20 {
            run.step(20_000 + u64::from(client), client, State::Up, State::Backoff, Reason::ConnectionLost);
            run.step(21_000, client, State::Backoff, State::Held, Reason::CertificateExpired);
        }
        (0..20).for_each(|client| run.connect(29_995, client));
        for n in 0..1_000u64 {
            let sample =
                Sample { client: ClientKey(n as u32 % 100), probe: ProbeKind::Ack, rtt: Duration::from_micros(n + 1) };
            run.0.apply(&Event { at: ms(40_000), what: What::Sample(sample) });
        }
        run
    }
}

#[test]
fn an_outage_of_many_is_one_line_with_its_cause_and_what_came_after() {
    let report = Run::with_an_outage().0.report(ms(100_000), &anchor());
    let [outage] = &report.outages[..] else { panic!("{:#?}", report.outages) };
    assert_eq!(
        (&*outage.endpoint, outage.reason, outage.then),
        ("eu-1", "connection_lost", Some("certificate_expired"))
    );
    assert_eq!((outage.clients, outage.outages, outage.open), (20, 20, 0));
    assert_eq!((outage.from, outage.to), (anchor().utc(ms(20_000)), Some(anchor().utc(ms(30_000)))));
    assert_eq!((report.whole.flaps, report.whole.down, report.whole.clients), (20, 0, 100));
    let lost: f64 = (0..20).map(|n| 10.0 - f64::from(n) / 1e3).sum();
    let connecting = 100.0 * 0.005;
    assert!((report.whole.share.meant_s - report.whole.share.up_s - lost - connecting).abs() < 1e-6);
    assert!((report.whole.mean_recovery_s.unwrap() - lost / 20.0).abs() < 1e-6);
    assert!((report.clients[0].longest_outage_s - 10.0).abs() < 1e-6);
    assert_eq!(report.clients[99].flaps, 0);
}

#[test]
fn latencies_are_percentiles_of_samples_for_the_fleet_and_its_groups() {
    let report = Run::with_an_outage().0.report(ms(100_000), &anchor());
    let latency = report.whole.latency.unwrap();
    assert_eq!((latency.samples, latency.max_us), (1_000, 1_000));
    // 1 µs to a millisecond, each once.
    for (told, truth) in [(latency.p50_us, 500), (latency.p90_us, 900), (latency.p99_us, 990)] {
        assert!(told.abs_diff(truth) <= truth / 32, "{told}, not {truth}");
    }
    let names: Vec<&str> = report.labels.iter().map(|label| &*label.name).collect();
    assert_eq!(names[names.len() - 2..], ["site=hall-0", "site=hall-1"]);
    let halls: u64 =
        report.labels.iter().filter(|l| l.name.starts_with("site")).map(|l| l.latency.unwrap().samples).sum();
    assert_eq!((halls, report.endpoints.iter().map(|e| e.latency.unwrap().samples).sum::<u64>()), (1_000, 1_000));
}

#[test]
fn a_label_that_tells_single_clients_apart_is_no_group() {
    let mut fleet = Fleet::clone(&fleet());
    for (n, client) in fleet.clients.iter_mut().enumerate() {
        client.labels = Arc::new([(Scrubbed::new("serial"), Scrubbed::new(&n.to_string()))].into());
    }
    let report = Tally::new(Arc::new(fleet), ms(0)).report(ms(1), &anchor());
    assert_eq!((report.labels.len(), &report.labels_left_out[..]), (0, &["serial".to_owned()][..]));
}

#[test]
fn a_storm_is_seconds_on_end_with_many_connects() {
    let report = Run::with_an_outage().0.report(ms(100_000), &anchor());
    let told: Vec<_> = report.storms.iter().map(|s| (s.connects, s.connected, s.lost, s.peak, s.seconds)).collect();
    // The end of the outage: what connects at 29.995 s is up in the next second.
    assert_eq!(told, [(100, 100, 0, 100, 1), (20, 0, 20, 20, 1)]);
    assert_eq!(report.peak_connects, Some((anchor().utc(ms(0)), 100)));
}

/// A client that is probed every second is not answered for seven.
#[test]
fn a_report_and_a_live_view_tell_the_same_percentiles() {
    let mut fleet = Fleet::clone(&fleet());
    let probe = Probe { kind: ProbeKind::Ack, every: Duration::from_secs(1) };
    fleet.clients[30].settings = Arc::new(Settings { probe, ..Settings::default() });
    let (fleet, client) = (Arc::new(fleet), ClientKey(30));
    let mut run = Run(Tally::new(fleet.clone(), ms(0)));
    let mut known = Known::new(fleet, ms(0));
    run.connect(100, 30);
    known.apply(&Event { at: ms(105), what: What::State(up(client)) });
    for (at, rtt) in [(1_000, 3), (2_000, 3), (9_000, 7_000), (10_000, 4)] {
        let sample = Sample { client, probe: ProbeKind::Ack, rtt: Duration::from_millis(rtt) };
        let event = Event { at: ms(at), what: What::Sample(sample) };
        run.0.apply(&event);
        known.apply(&event);
    }
    let live = known.latencies().fleet(ms(10_000));
    assert_eq!(
        (live.total(), live.quantile(1.0)),
        (10, Some(Duration::from_secs(7))),
        "7, 6, 5, 4, 3, 2, 1 s and three"
    );
    let report = run.0.report(ms(10_000), &anchor());
    assert_eq!(report.whole.latency, LatencyFigures::of(&live));
}

fn up(client: ClientKey) -> Transition {
    let (endpoint, detail) = (EndpointKey(1), Scrubbed::default());
    let (from, to, reason) = (State::Connecting, State::Up, Reason::Connected);
    Transition { client, endpoint, from, to, reason, detail, attempt: 1, next_try: None }
}

#[test]
fn a_part_of_a_run_begins_with_how_things_stood() {
    // Up, given up, and down for a while: what a recording tells where one starts to read it.
    let mut before = Run(Tally::new(fleet(), ms(0)));
    before.connect(9_995, 0);
    before.step(20_000, 1, State::Connecting, State::Failed, Reason::BadCredentials);
    before.connect(1_000, 2);
    before.step(2_000, 2, State::Up, State::Backoff, Reason::ConnectionLost);
    before.connect(3_000, 2);
    before.0.apply(&Event { at: ms(4_000), what: What::SamplesLost(7) });
    let standings: Vec<Event> = before.0.known.standings(ms(50_000)).collect();

    let mut run = Run(Tally::new(fleet(), ms(60_000)));
    standings.iter().for_each(|event| run.0.apply(event));
    run.step(54_000, 2, State::Up, State::Backoff, Reason::ServerShuttingDown);
    run.connect(54_500, 2);
    run.step(55_000, 0, State::Up, State::Backoff, Reason::ConnectionLost);
    run.connect(65_000, 0);
    run.0.apply(&Event { at: ms(66_000), what: What::SamplesLost(3) });
    let report = run.0.report(ms(70_000), &anchor());
    assert_eq!((report.whole.share.meant_s, report.seconds, report.samples_lost), (30.0, 10.0, 3));
    assert_eq!((report.clients[0].share.up_s, report.whole.flaps), (4.995, 0));
    assert_eq!((report.clients[1].share.availability, report.clients[1].longest_outage_s), (Some(0.0), 50.0));
    assert_eq!((report.clients[2].share.availability, report.clients[2].longest_outage_s), (Some(1.0), 0.0));
    let told: Vec<_> = report.outages.iter().map(|o| (o.reason, o.open, o.from)).collect();
    let since = |at| anchor().utc(ms(at));
    assert_eq!(told, [("bad_credentials", 1, since(20_000)), ("connection_lost", 0, since(55_000))]);
}

#[test]
fn every_form_tells_it_and_hostile_names_stay_text() {
    let run = Run::with_an_outage();
    let mut fleet = Fleet::clone(&run.0.fleet);
    fleet.endpoints[0].name = Scrubbed::new("a|b](x)<script>");
    let mut report = run.0.report(ms(100_000), &anchor());
    report.outages[0].endpoint = fleet.endpoints[0].name.to_string();
    let text = report.render(Format::Text);
    for part in
        ["availability 97.", "connection lost: closed by peer; then certificate expired", "site=hall-1", "Storms"]
    {
        assert!(text.contains(part), "{part} is missing:\n{text}");
    }
    let markdown = report.render(Format::Markdown);
    assert!(markdown.contains("| 20 |") && markdown.contains(r"a\|b\](x)\<script\>"), "{markdown}");
    let json: serde_json::Value = serde_json::from_str(&report.render(Format::Json)).unwrap();
    assert_eq!((&json["type"], &json["outages"][0]["clients"]), (&"report".into(), &20.into()));
    assert_eq!(json["clients"].as_array().map(Vec::len), Some(100));
}
