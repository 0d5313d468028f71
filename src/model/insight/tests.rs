//! Tests of what the insight finds in fleets in which a cause was planted, with noise and without, and that it is silent where there is none; all of it seeded.

use std::sync::Arc;

use super::*;
use crate::{
    event::{Event, Gate, Late, Sample, Transition, What, WorkerEvent},
    fleet::{Client, Endpoint, Fleet, Labels, Probe, ProbeKind, Settings},
};

/// A fleet of a random shape in which random things happen.
struct Story {
    known: Known,
    rng: fastrand::Rng,
    now: Moment,
}

const REASONS: [Reason; 6] = [
    Reason::ConnectionLost,
    Reason::ConnectTimeout,
    Reason::ConnectionRefused,
    Reason::NotAuthorized,
    Reason::KeepAliveTimeout,
    Reason::NameNotResolved,
];

impl Story {
    /// Up to a thousand clients at some endpoints, with labels; all of them are up and answer.
    fn new(seed: u64) -> Story {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (endpoints, sites, models) = (rng.usize(2..6), rng.usize(4..14), rng.usize(2..5));
        let settings = Arc::new(Settings {
            probe: Probe { kind: ProbeKind::Ack, every: Duration::from_secs(5) },
            slow_p99: Some(Duration::from_millis(200)),
            ..Settings::default()
        });
        let clients = rng.usize(120..1_000);
        let clients = (0..clients).map(|n| {
            let pair = |label: &str, value: String| (Scrubbed::new(label), Scrubbed::new(&value));
            let site = format!("hall-{}", rng.usize(0..sites));
            let model = format!("m{}", rng.usize(0..models));
            let labels = [pair("site", site), pair("model", model), pair("serial", n.to_string())];
            // Some endpoints have more clients than others.
            let endpoint = EndpointKey(rng.usize(0..endpoints).min(rng.usize(0..endpoints)) as u16);
            Client {
                labels: Arc::new(Labels::from(labels)),
                ..Client::new(&format!("c-{n:04}"), endpoint, settings.clone())
            }
        });
        let clients = clients.collect();
        let endpoints = (0..endpoints).map(|n| Endpoint::new(&format!("eu-{n}"), "h", 1)).collect();
        let fleet = Fleet { name: Scrubbed::new("f"), env: None, worker_size: 100, endpoints, clients };
        let now = Moment(5_000_000_000);
        let mut story = Story { known: Known::new(Arc::new(fleet), now), rng, now };
        for client in story.everyone() {
            story.step(client, State::Up, Reason::Connected);
            story.answer(client, 4);
        }
        story.now = story.now + Duration::from_secs(1_000);
        story
    }

    fn everyone(&self) -> Vec<ClientKey> {
        self.known.fleet().keys().collect()
    }

    fn tell(&mut self, what: What) {
        self.known.apply(&Event { at: self.now, what });
    }

    fn step(&mut self, client: ClientKey, to: State, reason: Reason) {
        let row = self.known.row(client);
        let (endpoint, from) = (row.endpoint, row.state);
        let detail = Scrubbed::default();
        self.tell(What::State(Transition { client, endpoint, from, to, reason, detail, attempt: 2, next_try: None }));
    }

    fn answer(&mut self, client: ClientKey, millis: u64) {
        let rtt = Duration::from_millis(millis);
        self.tell(What::Sample(Sample { client, probe: ProbeKind::Ack, rtt }));
    }

    fn fail(&mut self, client: ClientKey, reason: Reason) {
        let to = match reason {
            Reason::NotAuthorized | Reason::BadCredentials | Reason::DuplicateClientId => State::Failed,
            Reason::WorkerLost => State::Held,
            _ => *self.rng.choice(&[State::Backoff, State::Backoff, State::Held]).unwrap(),
        };
        self.step(client, to, reason);
    }

    /// One in so many of those for whom it holds, and all but a few of them where `share` is near 1.
    fn some(&mut self, share: f64, is_one: impl Fn(&Known, ClientKey) -> bool) -> Vec<ClientKey> {
        let all = self.everyone();
        let all = all.into_iter().filter(|key| is_one(&self.known, *key));
        all.filter(|_| self.rng.f64() < share).collect()
    }

    /// Clients at random fall ill of anything, at any time before.
    fn noise(&mut self, count: usize) {
        for _ in 0..count {
            let client = ClientKey(self.rng.u32(0..self.known.rows().len() as u32));
            let begin = self.now;
            self.now = Moment(begin.0 - self.rng.u64(0..900) * 1_000_000);
            match self.rng.bool() {
                true => {
                    let reason = *self.rng.choice(&REASONS).unwrap();
                    self.fail(client, reason);
                }
                false => self.answer(client, 900),
            }
            self.now = begin;
        }
    }

    /// What the insight is some seconds later.
    fn found(mut self) -> Option<Insight> {
        self.now = self.now + Duration::from_secs(3);
        self.look();
        self.known.insights().first().cloned()
    }

    /// Another second is over.
    fn look(&mut self) {
        let now = self.now;
        let is_due = |known: &Known, key| {
            let row = known.row(key);
            row.is_up() && row.late.is_none() && row.silence(now) > Duration::from_secs(9)
        };
        // Nobody is silent but those of whom it was told.
        for client in self.some(1.0, is_due) {
            self.answer(client, 4);
        }
        self.known.look(self.now);
    }

    fn endpoint(&mut self) -> EndpointKey {
        EndpointKey(self.rng.u16(0..self.known.fleet().endpoints.len() as u16))
    }

    fn site(&mut self) -> u16 {
        let sites: Vec<u16> = (0..)
            .zip(self.known.groups().all())
            .filter(|(_, group)| group.label.as_str() == "site" && group.size >= 8)
            .map(|(n, _)| n)
            .collect();
        *self.rng.choice(&sites).unwrap()
    }
}

/// Plants a cause, and says whether the insight is that it is this one.
fn plant(kind: usize, seed: u64) -> (&'static str, bool) {
    let mut s = Story::new(seed);
    let noise = if kind % 2 == 1 { s.rng.usize(1..5) } else { 0 };
    s.noise(noise);
    match kind / 2 {
        0 => {
            let (endpoint, share) = (s.endpoint(), 0.7 + 0.3 * s.rng.f64());
            for client in s.some(share, |known, key| known.row(key).endpoint == endpoint) {
                s.fail(client, Reason::CertificateExpired);
            }
            let shared = s.found().map(|found| found.shared);
            ("endpoint", shared == Some(Shared::Endpoint(endpoint, Some(Why::Down(Reason::CertificateExpired)))))
        }
        1 => {
            let (site, share) = (s.site(), 0.7 + 0.3 * s.rng.f64());
            for client in s.some(share, |known, key| known.groups().of_client(key).contains(&site)) {
                s.fail(client, Reason::ConnectTimeout);
            }
            let value = s.known.groups().all()[usize::from(site)].value.clone();
            let found = s.found();
            ("label", found.is_some_and(|f| matches!(f.shared, Shared::Label { value: v, .. } if v == value)))
        }
        2 => {
            for client in s.some(0.2, |_, _| true) {
                s.fail(client, Reason::BadCredentials);
            }
            let shared = s.found().map(|found| found.shared);
            ("reason", shared == Some(Shared::Reason(Why::Down(Reason::BadCredentials))))
        }
        3 => {
            let client = ClientKey(s.rng.u32(0..s.known.rows().len() as u32));
            s.fail(client, Reason::DuplicateClientId);
            ("duplicate client ID", s.found().is_some_and(|f| f.shared == Shared::ClientId(client, 1)))
        }
        4 => {
            let (site, share) = (s.site(), 0.7 + 0.3 * s.rng.f64());
            let slow = s.some(share, |known, key| known.groups().of_client(key).contains(&site));
            slow.iter().for_each(|client| s.answer(*client, 900));
            let value = s.known.groups().all()[usize::from(site)].value.clone();
            let found = s.found().filter(|f| f.are_slow && f.clients as usize >= slow.len());
            ("slow site", found.is_some_and(|f| matches!(f.shared, Shared::Label { value: v, .. } if v == value)))
        }
        5 => {
            let (endpoint, since) = (s.endpoint(), s.now);
            s.now = s.now + Duration::from_secs(6);
            for client in s.some(1.0, |known, key| known.row(key).endpoint == endpoint && known.row(key).is_up()) {
                s.tell(What::Late(Late { client, probe: ProbeKind::Ack, since }));
            }
            let found = s.found().map(|found| found.shared);
            ("slow endpoint", matches!(found, Some(Shared::Endpoint(at, _)) if at == endpoint))
        }
        _ => {
            let worker = WorkerKey(s.rng.u32(0..9));
            let detail = Scrubbed::default();
            s.tell(What::Worker { worker, event: WorkerEvent::Died, detail });
            let held: Vec<_> = s.some(1.0, |known, key| known.row(key).is_up()).into_iter().take(60).collect();
            held.into_iter().for_each(|client| s.fail(client, Reason::WorkerLost));
            ("worker", s.found().is_some_and(|f| f.shared == Shared::Worker(worker)))
        }
    }
}

#[test]
fn a_planted_cause_is_named() {
    let (mut named, mut all) = (0, 0);
    for kind in 0..14 {
        let seeds = (0..10).filter(|seed| plant(kind, 1_000 * kind as u64 + seed).1).count();
        let (name, _) = plant(kind, 1_000 * kind as u64);
        println!("{name}{}: {seeds} of 10", if kind % 2 == 1 { " and noise" } else { "" });
        assert!(seeds >= 9, "{name}: only {seeds} of 10");
        (named, all) = (named + seeds, all + 10);
    }
    println!("{named} of {all}");
}

#[test]
fn a_healthy_fleet_is_nothing_to_talk_about() {
    for seed in 0..60 {
        let mut s = Story::new(seed);
        s.noise(seed as usize % 3);
        for client in s.some(0.05, |_, _| true) {
            s.step(client, State::Off, Reason::OperatorDisconnect);
        }
        for client in s.some(0.1, |known, key| known.row(key).is_up()) {
            s.answer(client, 30);
        }
        let sick = s.known.rows().iter().filter(|row| row.is_down() || row.is_slow()).count();
        assert!(sick <= 2);
        assert_eq!(s.found(), None, "seed {seed}");
    }
    let mut s = Story::new(7);
    for client in s.everyone() {
        s.step(client, State::Off, Reason::OperatorDisconnect);
        s.step(client, State::Queued, Reason::Start);
    }
    assert_eq!(s.found(), None, "a start");
}

/// Clients at three endpoints, of which those of the first two fail.
fn two_dead(reasons: [Reason; 2]) -> Story {
    let mut s = Story::new(11);
    while s.known.fleet().endpoints.len() < 3 {
        s = Story::new(s.rng.u64(..));
    }
    for (n, reason) in [0, 1].into_iter().zip(reasons) {
        for client in s.some(1.0, |known, key| known.row(key).endpoint == EndpointKey(n)) {
            s.step(client, State::Backoff, reason);
        }
    }
    s
}

#[test]
fn two_causes_are_both_named() {
    for reasons in [
        [Reason::ConnectionRefused, Reason::CertificateExpired],
        [Reason::ConnectionRefused, Reason::ConnectionRefused],
    ] {
        let mut s = two_dead(reasons);
        s.look();
        let mut shared: Vec<_> = s.known.insights().iter().map(|insight| insight.shared.clone()).collect();
        shared.sort_by_key(|shared| matches!(shared, Shared::Endpoint(EndpointKey(1), _)));
        let at = |n: u16| Shared::Endpoint(EndpointKey(n), Some(Why::Down(reasons[usize::from(n)])));
        assert_eq!(shared, [at(0), at(1)]);
        let down = s.known.totals().down;
        assert!(s.known.insights().iter().all(|insight| insight.of == down));
        assert_eq!(s.known.insights().iter().map(|insight| insight.clients).sum::<u32>(), down);
    }
}

#[test]
fn those_that_wait_for_their_next_try_are_counted_as_the_header_counts() {
    let mut s = Story::new(5);
    let endpoint = s.endpoint();
    let lost = s.some(1.0, |known, key| known.row(key).endpoint == endpoint);
    for (n, client) in lost.iter().enumerate() {
        s.step(*client, State::Backoff, Reason::ConnectionRefused);
        match n % 3 {
            0 => s.step(*client, State::Queued, Reason::Retry),
            1 => s.step(*client, State::Connecting, Reason::Admitted),
            _ => {}
        }
    }
    s.look();
    let [insight] = s.known.insights() else { panic!("{:?}", s.known.insights()) };
    assert_eq!((insight.clients, insight.of), (lost.len() as u32, lost.len() as u32));
    assert_eq!(s.known.totals().down, lost.len() as u32);
}

#[test]
fn when_all_are_up_it_is_told_since_when() {
    let mut s = Story::new(5);
    s.look();
    assert_eq!(s.known.well(), Some(Moment(5_000_000_000)));
    s.step(ClientKey(3), State::Backoff, Reason::ConnectionLost);
    s.look();
    assert_eq!(s.known.well(), None);
    s.now = s.now + Duration::from_secs(7);
    s.step(ClientKey(3), State::Up, Reason::Connected);
    s.step(ClientKey(4), State::Off, Reason::OperatorDisconnect);
    s.look();
    assert_eq!(s.known.well(), Some(s.now), "who is off is meant to be");
}

#[test]
fn when_it_began_is_told_where_it_began_together() {
    let mut s = Story::new(3);
    let began = s.now;
    for client in (0..40).map(ClientKey) {
        s.now = s.now + Duration::from_millis(500);
        s.fail(client, Reason::BadCredentials);
    }
    let found = s.found().unwrap();
    assert!(found.since.is_some_and(|at| at.since(began) < Duration::from_secs(5)), "{found:?}");
    let mut s = Story::new(3);
    for client in (0..40).map(ClientKey) {
        s.now = s.now + Duration::from_secs(60);
        s.fail(client, Reason::BadCredentials);
    }
    assert_eq!(s.found().unwrap().since, None);
}

#[test]
fn those_that_come_back_together_are_a_storm_and_those_that_start_are_not() {
    let gate = |waiting: u32| Gate {
        condition: Condition::Open,
        waiting,
        in_flight: 90,
        rate_set: 10,
        rate: 10,
        eta: Duration::from_secs(u64::from(waiting) / 10),
    };
    let mut s = Story::new(11);
    for client in (0..100).map(ClientKey) {
        s.step(client, State::Backoff, Reason::ConnectionLost);
        s.step(client, State::Queued, Reason::Retry);
    }
    s.tell(What::Gate(EndpointKey(0), gate(70)));
    s.tell(What::Gate(EndpointKey(1), gate(30)));
    let (waiting, rate, eta) = (100, 20, Duration::from_secs(7));
    assert_eq!(s.found().map(|f| f.shared), Some(Shared::Storm { waiting, rate, eta }));
    let mut s = Story::new(11);
    s.tell(What::Gate(EndpointKey(0), gate(100)));
    assert_eq!(s.found(), None, "nobody of them was ever up");
}
