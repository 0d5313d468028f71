//! A run of known troubles is told as it was.

use std::{sync::Arc, time::Duration};

use chrono::TimeZone;

use super::*;
use crate::{
    event::{Sample, Standing},
    fleet::{Client, Endpoint, ProbeKind},
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
    assert_eq!(
        (latency.samples, latency.p50_us, latency.p90_us, latency.p99_us, latency.max_us),
        (1_000, 500, 900, 990, 1_000)
    );
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

#[test]
fn a_part_of_a_run_begins_with_how_things_stood() {
    let mut run = Run(Tally::new(fleet(), ms(60_000)));
    let standing = |client: u32, state, since| {
        What::Standing(Box::new(Standing {
            client: ClientKey(client),
            endpoint: EndpointKey(0),
            state,
            since: ms(since),
            reason: if state == State::Up { Reason::Connected } else { Reason::BadCredentials },
            detail: Scrubbed::default(),
            attempt: 1,
            next_try: None,
            ups: 1,
            last: None,
            received: 0,
            published: 0,
        }))
    };
    run.0.apply(&Event { at: ms(50_000), what: standing(0, State::Up, 10_000) });
    run.0.apply(&Event { at: ms(50_000), what: standing(1, State::Failed, 20_000) });
    run.step(55_000, 0, State::Up, State::Backoff, Reason::ConnectionLost);
    run.connect(65_000, 0);
    let report = run.0.report(ms(70_000), &anchor());
    assert_eq!((report.whole.share.meant_s, report.seconds), (20.0, 10.0));
    assert_eq!(report.clients[0].share.up_s, 4.995);
    assert_eq!((report.clients[1].share.availability, report.clients[1].longest_outage_s), (Some(0.0), 50.0));
    let told: Vec<_> = report.outages.iter().map(|o| (o.reason, o.open, o.from)).collect();
    let before = anchor().utc(ms(20_000));
    assert_eq!(told, [("bad_credentials", 1, before), ("connection_lost", 0, anchor().utc(ms(60_000)))]);
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
