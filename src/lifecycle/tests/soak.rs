//! Defines the long run: random events on made-up time, and what must hold after each of them.

use super::*;

const CLIENTS: u32 = 12;
const RATE: u32 = 50;

/// What the world outside the lifecycle knows.
struct World {
    l: Lifecycle,
    fleet: Fleet,
    random: fastrand::Rng,
    now: Moment,
    workers: Vec<bool>,
    open: Vec<Option<(Generation, EndpointKey)>>,
    newest: Vec<Generation>,
    last: Vec<Option<Transition>>,
    /// When the probe under way began.
    asked: Vec<Option<Moment>>,
    /// When connects to each endpoint began, as far as they matter for its rate.
    began: Vec<Vec<Moment>>,
    rate: Vec<u32>,
}

impl World {
    fn new(seed: u64) -> World {
        let mut fleet = fleet(CLIENTS, RATE, Settings { follow_redirects: true, ..Settings::default() });
        let endpoint = |n: u16| Endpoint {
            connect_rate: RATE,
            max_connecting: 3,
            ..Endpoint::new(&format!("eu-{n}"), "127.0.0.1", 1883 + n)
        };
        fleet.endpoints = (0..3).map(endpoint).collect();
        for (n, client) in fleet.clients.iter_mut().enumerate() {
            client.endpoints = match n % 3 {
                0 => Arc::new([EndpointKey(0)]),
                1 => Arc::new([EndpointKey(0), EndpointKey(1), EndpointKey(2)]),
                _ => Arc::new([EndpointKey(2), EndpointKey(0)]),
            };
        }
        fleet.clients[1].id = "twin".into();
        fleet.clients[4].id = "twin".into();
        let n = CLIENTS as usize;
        World {
            l: Lifecycle::new(&fleet, seed, ms(0)),
            fleet,
            random: fastrand::Rng::with_seed(seed),
            now: ms(0),
            workers: vec![false; n],
            open: vec![None; n],
            newest: vec![0; n],
            last: vec![None; n],
            asked: vec![None; 3],
            began: vec![Vec::new(); 3],
            rate: vec![RATE; 3],
        }
    }

    fn push(&mut self) {
        let c = self.random.u32(0..CLIENTS);
        let (i, client) = (c as usize, ClientKey(c));
        let endpoint = EndpointKey(self.random.u16(0..3));
        match self.random.u32(0..100) {
            0..3 => self.l.connect(client, self.now),
            3..6 => self.l.reconnect(client, self.now),
            6..8 => self.l.disconnect(client, self.now),
            8..11 => {
                self.workers[i] = false;
                self.open[i] = None;
                let reason = if self.random.bool() { Reason::WorkerLost } else { Reason::WorkerSilent };
                self.l.worker_lost([client], &gone(reason), self.now);
            }
            11..20 => {
                self.workers[i] = true;
                self.l.worker_ready(WorkerKey(c % 6), [client], self.now);
            }
            20 => self.l.hold(endpoint, self.now),
            21..24 => self.l.release(endpoint, self.now),
            24 => {
                self.rate[endpoint.index()] = self.random.u32(1..200);
                self.began[endpoint.index()].clear();
                self.l.set_rate(endpoint, self.rate[endpoint.index()]);
            }
            25..45 => self.answer(endpoint),
            45..70 => self.report(i),
            _ => {
                let wait = if self.random.u32(0..50) == 0 { 200_000 } else { self.random.u64(0..400) };
                self.now = self.now + Duration::from_millis(wait);
            }
        }
        self.l.poll(self.now);
        self.carry_out();
        self.check();
    }

    fn answer(&mut self, endpoint: EndpointKey) {
        if self.asked[endpoint.index()].take().is_some() {
            let reason = Reason::NameNotResolved;
            let bad = Err(Cause { reason, detail: Scrubbed::default() });
            let finding = if self.random.u32(0..3) > 0 { Ok(()) } else { bad };
            self.l.probed(endpoint, finding, self.now);
        }
    }

    fn report(&mut self, i: usize) {
        let client = ClientKey(i as u32);
        let Some((generation, _)) = self.open[i] else {
            // News of an abandoned connection.
            return self.l.report(client, self.newest[i].saturating_sub(1), cause(Reason::ConnectionLost), self.now);
        };
        let reasons = [
            Reason::ConnectionLost,
            Reason::ConnectionRefused,
            Reason::ServerBusy,
            Reason::BadCredentials,
            Reason::ClientIdRejected,
            Reason::SessionTakenOver,
            Reason::UseAnotherServer,
            Reason::UnspecifiedError,
        ];
        let step = if self.random.bool() {
            Step::Up(Box::default())
        } else {
            self.open[i] = None;
            cause(reasons[self.random.usize(0..reasons.len())])
        };
        self.l.report(client, generation, step, self.now);
    }

    fn carry_out(&mut self) {
        let effects: Vec<_> = self.l.drain().collect();
        for effect in effects {
            match effect {
                Effect::Connect(c, ConnectOrder { generation: g, endpoint: e, .. }) => {
                    let i = c.index();
                    assert!(self.workers[i], "a connect ordered from a worker that is not there");
                    assert!(self.open[i].replace((g, e)).is_none(), "two connects at once for {c:?}");
                    assert!(g > self.newest[i]);
                    self.newest[i] = g;
                    assert_eq!(self.l.gate(e).condition, Condition::Open, "a connect to a shut endpoint");
                    assert!(self.fleet.client(c).endpoints.contains(&e));
                    let (began, now) = (&mut self.began[e.index()], self.now);
                    began.retain(|at| now.since(*at) < Duration::from_secs(1));
                    began.push(now);
                    let most = f64::from(self.rate[e.index()]) * 1.1 + 2.0;
                    assert!(began.len() as f64 <= most, "{} connects in a second, {most} allowed", began.len());
                }
                Effect::Disconnect(c) => {
                    assert!(self.open[c.index()].take().is_some(), "nothing to disconnect for {c:?}");
                }
                Effect::Probe(e) => {
                    // Only one that is late beyond reason is asked again before it answers.
                    let before = self.asked[e.index()].replace(self.now);
                    let is_late = |at| self.now.since(at) >= Duration::from_secs(60);
                    assert!(before.is_none_or(is_late), "two probes at once of {e:?}");
                }
                Effect::Transition(_, t) => {
                    let last = &mut self.last[t.client.index()];
                    assert_eq!(last.as_ref().map_or(State::Off, |t| t.to), t.from);
                    *last = Some(t);
                }
                Effect::Gate(..) | Effect::Measured(..) | Effect::Warning(..) | Effect::Fetch(..) => {}
            }
        }
    }

    /// Always a next step, or a stated reason why there is none.
    fn check(&self) {
        let in_flight: u32 = (0..3).map(|e| self.l.gate(EndpointKey(e)).in_flight).sum();
        let mut connecting = 0;
        let mut queued = [0; 3];
        for (i, last) in self.last.iter().enumerate() {
            let Some(t) = last else { continue };
            assert_eq!(t.to, self.l.state(t.client));
            let gate = self.l.gate(t.endpoint);
            match t.to {
                State::Held if self.workers[i] => {
                    assert_ne!(gate.condition, Condition::Open, "held although nothing is in the way: {t:?}");
                    let is_explained = t.reason == Reason::OperatorHold || t.reason == Reason::EndpointUnknown;
                    assert!(is_explained || t.reason.is_network(), "{t:?}");
                    let will_be_asked = self.l.next_deadline().is_some();
                    assert!(will_be_asked || gate.condition == Condition::OnHold, "nothing will wake {t:?}");
                }
                State::Held => assert!(self.open[i].is_none()),
                State::Queued => {
                    queued[t.endpoint.index()] += 1;
                    assert_eq!(gate.condition, Condition::Open, "queued at a shut gate: {t:?}");
                    let moves = self.l.next_deadline().is_some() || gate.in_flight > 0;
                    assert!(moves, "nothing will wake {t:?}");
                }
                State::Backoff => {
                    assert!(t.next_try.is_some());
                    assert!(self.has_timer(t.client), "a forgotten timer: {t:?}");
                }
                State::Failed => assert_eq!(t.next_try.is_some(), self.has_timer(t.client), "{t:?}"),
                State::Connecting => {
                    connecting += 1;
                    assert!(self.has_timer(t.client), "nobody sees when it is late: {t:?}");
                    assert!(self.workers[i] && self.open[i].is_some());
                }
                State::Up => {
                    assert!(self.workers[i] && self.open[i].is_some());
                    let machine = &self.l.machines[i];
                    let is_away = t.endpoint != machine.endpoints[0] && !machine.is_redirected;
                    assert_eq!(is_away, self.has_timer(t.client), "{t:?}");
                }
                State::Off => {}
            }
        }
        assert_eq!(connecting, in_flight);
        for (e, count) in queued.into_iter().enumerate() {
            let gate = self.l.gate(EndpointKey(e as u16));
            assert_eq!(gate.waiting, count, "a queue that counts wrong");
            assert!(gate.in_flight <= 3);
        }
    }

    fn has_timer(&self, client: ClientKey) -> bool {
        let ticket = self.l.machines[client.index()].ticket;
        self.l.timers.iter().any(|Reverse((_, c, t))| (*c, *t) == (client, ticket))
    }
}

#[test]
fn no_order_is_ever_wrong() {
    for seed in 0..40 {
        let mut world = World::new(seed);
        for key in world.fleet.keys() {
            world.l.start(key, ms(0));
        }
        world.carry_out();
        (0..1_000).for_each(|_| world.push());
    }
}

#[test]
#[ignore = "a million events: about a minute in debug mode"]
fn no_order_is_ever_wrong_in_a_million() {
    let mut world = World::new(2_026);
    (0..1_000_000).for_each(|_| world.push());
    assert!(world.newest.iter().all(|g| *g > 1_000), "hardly anything happened: {:?}", world.newest);
}
