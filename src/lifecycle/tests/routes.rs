//! Tests of probing, failover, failback and the spread of a whole fleet's connects.

use super::*;

const HOME: EndpointKey = EndpointKey(0);
const AWAY: EndpointKey = EndpointKey(1);

/// A fleet whose clients prefer the first of two endpoints.
fn two_endpoints(clients: u32, rate: u32, settings: Settings) -> Fleet {
    let mut fleet = fleet(clients, rate, settings);
    let second = Endpoint { name: Scrubbed::new("eu-2"), port: 1884, ..fleet.endpoints[0].clone() };
    fleet.endpoints.push(second);
    fleet.clients.iter_mut().for_each(|c| c.endpoints = Arc::new([HOME, AWAY]));
    fleet
}

/// A fleet and its brokers on made-up time. A broker accepts after `CONNACK` milliseconds.
struct Site {
    l: Lifecycle,
    keys: Vec<ClientKey>,
    now: u64,
    alive: [bool; 2],
    /// Connects under way, and when they end.
    pending: Vec<(u64, ClientKey, Generation, EndpointKey)>,
    up: Vec<Option<(Generation, EndpointKey)>>,
    /// Every connect that went out: when, where.
    connects: Vec<(u64, EndpointKey)>,
    probes: Vec<(u64, EndpointKey)>,
}

impl Site {
    const CONNACK: u64 = 3;

    fn new(fleet: &Fleet) -> Site {
        let mut l = Lifecycle::new(fleet, 11, ms(0));
        let keys: Vec<_> = fleet.keys().collect();
        keys.iter().for_each(|c| l.start(*c, ms(0)));
        l.worker_ready(WorkerKey(0), keys.iter().copied(), ms(0));
        let up = vec![None; keys.len()];
        Site { l, keys, now: 0, alive: [true; 2], pending: vec![], up, connects: vec![], probes: vec![] }
    }

    fn run(&mut self, millis: u64) {
        for _ in 0..millis {
            self.now += 1;
            self.l.poll(ms(self.now));
            self.carry_out();
            let now = self.now;
            let (due, later) = self.pending.drain(..).partition(|p| p.0 <= now);
            self.pending = later;
            for (_, client, generation, endpoint) in due {
                let is_up = self.alive[endpoint.index()];
                let step = if is_up { Step::Up(Box::default()) } else { cause(Reason::ConnectionRefused) };
                self.up[client.index()] = is_up.then_some((generation, endpoint));
                self.l.report(client, generation, step, ms(now));
            }
            self.carry_out();
        }
    }

    fn carry_out(&mut self) {
        let effects: Vec<_> = self.l.drain().collect();
        for effect in effects {
            match effect {
                Effect::Connect(c, ConnectOrder { generation: g, endpoint: e, .. }) => {
                    self.connects.push((self.now, e));
                    self.pending.push((self.now + Self::CONNACK, c, g, e));
                }
                Effect::Disconnect(c) => {
                    self.up[c.index()] = None;
                    self.pending.retain(|p| p.1 != c);
                }
                Effect::Probe(e) => {
                    self.probes.push((self.now, e));
                    let refused = Cause { reason: Reason::ConnectionRefused, detail: Scrubbed::default() };
                    let finding = if self.alive[e.index()] { Ok(()) } else { Err(refused) };
                    self.l.probed(e, finding, ms(self.now));
                }
                Effect::Transition(..)
                | Effect::Gate(..)
                | Effect::Measured(..)
                | Effect::Warning(..)
                | Effect::Fetch(..) => {}
            }
        }
    }

    fn kill(&mut self, endpoint: EndpointKey) {
        self.alive[endpoint.index()] = false;
        for client in self.keys.clone() {
            if let Some((g, _)) = self.up[client.index()].take_if(|(_, e)| *e == endpoint) {
                self.l.report(client, g, cause(Reason::ConnectionLost), ms(self.now));
            }
        }
    }

    fn count_up(&self, endpoint: EndpointKey) -> usize {
        self.up.iter().flatten().filter(|(_, e)| *e == endpoint).count()
    }

    /// Connects to one endpoint in every window of a second since `from` that lies within its rush.
    fn windows(&self, endpoint: EndpointKey, from: u64) -> Vec<usize> {
        let times: Vec<u64> =
            self.connects.iter().filter(|(t, e)| *e == endpoint && *t >= from).map(|(t, _)| *t).collect();
        let (first, last) = (times[0], times[times.len() - 1]);
        (first..=last.saturating_sub(1_000))
            .step_by(50)
            .map(|start| times.iter().filter(|t| (start..start + 1_000).contains(t)).count())
            .collect()
    }
}

fn assert_spread(windows: &[usize], rate: usize) {
    assert!(windows.len() > 20, "the rush was over at once");
    let least = windows.iter().min().unwrap();
    let most = windows.iter().max().unwrap();
    assert!(*most <= rate * 110 / 100, "{most} connects in a second");
    assert!(*least >= rate * 90 / 100, "{least} connects in a second: the gate is not used");
}

#[test]
fn two_thousand_keep_to_the_rate_first_again_and_elsewhere() {
    let mut site = Site::new(&two_endpoints(2_000, 200, Settings::default()));
    site.run(11_000);
    assert_eq!(site.count_up(HOME), 2_000);
    assert_spread(&site.windows(HOME, 0), 200);
    assert_eq!(site.windows(HOME, 0).len(), site.windows(HOME, 0).iter().filter(|n| **n > 0).count());

    // The first broker dies: all go over to the second.
    let died = site.now;
    site.kill(HOME);
    site.run(13_000);
    assert_eq!((site.count_up(HOME), site.count_up(AWAY)), (0, 2_000));
    assert_spread(&site.windows(AWAY, died), 200);
    assert!(!site.connects.iter().any(|(t, e)| *t > died && *e == HOME), "a dead broker was connected to");

    // It comes back: nobody moves before it has held, and then not all at once.
    site.alive[0] = true;
    let back = site.now;
    site.run(29_000);
    assert_eq!(site.count_up(HOME), 0);
    site.run(100_000);
    assert_eq!((site.count_up(HOME), site.count_up(AWAY)), (2_000, 0));
    let windows = site.windows(HOME, back);
    assert!(windows.iter().all(|n| *n <= 220), "{:?}", windows.iter().max());
    assert!(windows.len() > 500, "all went home within {} ms", 50 * windows.len());
}

#[test]
fn a_thousand_are_back_two_seconds_after_their_broker() {
    let mut site = Site::new(&fleet(1_000, 1_000, Settings::default()));
    site.run(2_000);
    assert_eq!(site.count_up(HOME), 1_000);
    for outage in [200, 3_000, 6_000] {
        let died = site.now;
        site.kill(HOME);
        site.run(outage);
        let tries = site.connects.iter().filter(|(t, _)| *t > died).count();
        let probes = site.probes.iter().filter(|(t, _)| *t >= died).count() as u64;
        assert_eq!(tries, 0, "a dead broker costs probes, not connects");
        assert!((1..=2 + outage / 375).contains(&probes), "{probes} probes");
        site.alive[0] = true;
        let back = site.now;
        site.run(2_200);
        assert_eq!(site.count_up(HOME), 1_000, "after an outage of {outage} ms");
        let windows = site.windows(HOME, back);
        assert!(windows.iter().all(|n| *n <= 1_100), "{windows:?}");
        site.run(40_000);
    }
}

#[test]
fn held_clients_say_why_and_until_when() {
    let mut l = Lifecycle::new(&fleet(2, 100, Settings::default()), 1, ms(0));
    let (a, b) = (ClientKey(0), ClientKey(1));
    l.worker_ready(WorkerKey(0), [a, b], ms(0));
    l.start(a, ms(0));
    let effects: Vec<_> = l.drain().collect();
    assert!(effects.contains(&Effect::Probe(HOME)));
    assert_eq!(l.gate(HOME).condition, Condition::Probing);
    let finding = Cause { reason: Reason::NameNotResolved, detail: Scrubbed::new("no such host") };
    l.probed(HOME, Err(finding.clone()), ms(10));
    let step = last_step(&mut l);
    assert_eq!((step.to, step.reason, step.detail), (State::Held, Reason::NameNotResolved, finding.detail.clone()));
    let next = ms(10) + step.next_try.unwrap();
    assert_eq!(l.gate(HOME).condition, Condition::Shut { cause: finding, next_probe: Some(next) });
    l.start(b, ms(11));
    assert!(last_step(&mut l).next_try < step.next_try, "the one who comes later waits for the same probe");
    l.poll(next);
    assert!(l.drain().any(|e| e == Effect::Probe(HOME)));
    l.probed(HOME, Ok(()), next);
    l.poll(next);
    l.poll(next + Duration::from_millis(20));
    assert_eq!((l.state(a), l.state(b)), (State::Connecting, State::Connecting));
}

#[test]
fn an_endpoint_that_answers_but_refuses_is_left_after_three_tries() {
    // A password that could not be had is no refusal of the endpoint's.
    for (reason, expected) in [(Reason::ServerBusy, Some(AWAY)), (Reason::PasswordUnavailable, None)] {
        let fleet = two_endpoints(1, 100, Settings::default());
        let mut l = Lifecycle::new(&fleet, 1, ms(0));
        let c = ClientKey(0);
        l.worker_ready(WorkerKey(0), [c], ms(0));
        l.start(c, ms(0));
        let mut went = Vec::new();
        for t in (0..20_000).step_by(10) {
            l.poll(ms(t));
            for effect in settle(&mut l, ms(t)) {
                if let Effect::Connect(_, ConnectOrder { generation: g, endpoint: e, .. }) = effect {
                    went.push(e);
                    let step = if e == HOME { cause(reason) } else { Step::Up(Box::default()) };
                    l.report(c, g, step, ms(t));
                }
            }
        }
        assert_eq!((&went[..3], went.iter().find(|e| **e == AWAY).copied()), (&[HOME, HOME, HOME][..], expected));
    }
}

#[test]
fn who_goes_elsewhere_has_its_probes_sent_there() {
    let settings = Settings { follow_redirects: true, ..Settings::default() };
    let mut l = Lifecycle::new(&two_endpoints(1, 100, settings), 1, ms(0));
    let c = ClientKey(0);
    l.worker_ready(WorkerKey(0), [c], ms(0));
    l.start(c, ms(0));
    let mut manners = Vec::new();
    for t in 0..3_000 {
        l.poll(ms(t));
        for effect in settle(&mut l, ms(t)) {
            if let Effect::Connect(_, ConnectOrder { generation: g, endpoint: e, manner }) = effect {
                manners.push((e, manner.is_muted));
                l.report(c, g, Step::Up(Box::default()), ms(t));
                if e == HOME {
                    l.refused(c, crate::event::Request::Probe, &Scrubbed::new("not authorized"), ms(t));
                    let reason = if manner.is_muted { Reason::ServerMoved } else { Reason::ConnectionLost };
                    l.report(c, g, cause(reason), ms(t));
                }
            }
        }
    }
    assert_eq!(manners, [(HOME, false), (HOME, true), (AWAY, false)]);
}

#[test]
fn where_nobody_answers_clients_wait_and_take_the_first_that_comes() {
    let mut l = Lifecycle::new(&two_endpoints(1, 100, Settings::default()), 1, ms(0));
    let c = ClientKey(0);
    l.worker_ready(WorkerKey(0), [c], ms(0));
    l.start(c, ms(0));
    settle_with(&mut l, ms(0), |_| false);
    assert_eq!(l.state(c), State::Held);
    for t in (0..5_000).step_by(10) {
        l.poll(ms(t));
        let effects = settle_with(&mut l, ms(t), |e| e == AWAY && t > 2_000);
        if let Some(Effect::Connect(_, ConnectOrder { endpoint: e, .. })) =
            effects.iter().find(|e| matches!(e, Effect::Connect(..)))
        {
            assert_eq!(*e, AWAY);
            return assert!((2_000..2_600).contains(&t), "{t}");
        }
    }
    panic!("it never connected");
}

#[test]
fn a_redirect_is_followed_only_where_allowed_and_only_along_the_list() {
    for (allowed, words, to) in [
        (false, "127.0.0.1:1884", None),
        (true, "use eu-2 instead", Some(AWAY)),
        (true, "127.0.0.1:1884", Some(AWAY)),
        (true, "evil.example.net", Some(AWAY)), // not there, but to the next of its own
    ] {
        let settings = Settings { follow_redirects: allowed, ..Settings::default() };
        let mut l = Lifecycle::new(&two_endpoints(1, 100, settings), 1, ms(0));
        let c = ClientKey(0);
        l.worker_ready(WorkerKey(0), [c], ms(0));
        l.start(c, ms(0));
        settle(&mut l, ms(0));
        l.poll(ms(1));
        settle(&mut l, ms(1));
        let moved = Cause { reason: Reason::ServerMoved, detail: Scrubbed::new(words) };
        l.report(c, 1, Step::Ended(moved, None), ms(2));
        let mut went = None;
        for t in 3..3_000 {
            l.poll(ms(t));
            for effect in settle(&mut l, ms(t)) {
                if let Effect::Connect(_, ConnectOrder { generation: g, endpoint: e, .. }) = effect {
                    went = Some(e);
                    l.report(c, g, Step::Up(Box::default()), ms(t));
                }
            }
        }
        assert_eq!(went, to, "{words}");
        assert_eq!(l.state(c), if to.is_some() { State::Up } else { State::Failed });
        l.poll(ms(200_000));
        assert_ne!(l.state(c), State::Queued, "who was sent stays");
    }
}

#[test]
fn who_is_told_to_fail_over_goes_to_the_next_endpoint_that_answers_and_stays_until_told_to_reconnect() {
    let mut site = Site::new(&two_endpoints(10, 100, Settings::default()));
    site.run(1_000);
    assert_eq!((site.count_up(HOME), site.count_up(AWAY)), (10, 0));
    let now = ms(site.now);
    site.keys[..4].iter().copied().for_each(|client| site.l.fail_over(client, now));
    site.run(1_000);
    assert_eq!((site.count_up(HOME), site.count_up(AWAY)), (6, 4));
    // Home answers all the while, and nobody goes back by himself.
    site.run(180_000);
    assert_eq!((site.count_up(HOME), site.count_up(AWAY)), (6, 4));
    let now = ms(site.now);
    site.keys[..4].iter().copied().for_each(|client| site.l.reconnect(client, now));
    site.run(120_000);
    assert_eq!((site.count_up(HOME), site.count_up(AWAY)), (10, 0));
    // Where no other one answers it stays where it is.
    site.kill(AWAY);
    let now = ms(site.now);
    let refused = Cause { reason: Reason::ConnectionRefused, detail: Scrubbed::default() };
    site.l.probed(AWAY, Err(refused), now);
    let before = site.connects.len();
    site.keys.clone().into_iter().for_each(|client| site.l.fail_over(client, now));
    site.run(1_000);
    assert_eq!((site.count_up(HOME), site.connects.len()), (10, before), "cut off for nothing");
}
