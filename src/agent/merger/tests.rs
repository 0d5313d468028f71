//! Tests of the merger: whatever happens to whichever agent lands on that agent's own rows, and a command finds its way back.

use std::{collections::BTreeSet, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::{
    action::Action,
    clock::Moment,
    event::{Badge, Condition, Deed, Fate, Gate, Job, JobNews, JobState, Reason, Roll, State, Steer},
    fleet::{Probe, ProbeKind, Settings, WorkerKey},
    model::{Entry, Known, Mode, Model},
};

/// Clients of a file, by which of a few IDs and which endpoint they have.
type Said = Vec<(u8, u8)>;

#[derive(Clone, Debug)]
enum Act {
    Step(u8, (State, Reason)),
    Answer(u8, u16),
    Messages(u8, u16),
    Gate(u8, u32),
    Notice,
    /// News of one of a few jobs.
    Job(u8, Fate),
    /// The fleet file is read anew.
    Reload(Said),
    /// The agent starts anew, with this file.
    Restart(Said),
    /// It is gone, and comes back with what happened meanwhile.
    Gone,
    Back,
}

fn act() -> impl Strategy<Value = Act> {
    let states = [
        (State::Up, Reason::Connected),
        (State::Up, Reason::Connected),
        (State::Backoff, Reason::ConnectionLost),
        (State::Failed, Reason::BadCredentials),
        (State::Off, Reason::OperatorDisconnect),
    ];
    prop_oneof![
        6 => (any::<u8>(), prop::sample::select(states.to_vec())).prop_map(|(client, to)| Act::Step(client, to)),
        4 => (any::<u8>(), 1..900u16).prop_map(|(client, took)| Act::Answer(client, took)),
        2 => (any::<u8>(), 1..9u16).prop_map(|(client, count)| Act::Messages(client, count)),
        1 => (any::<u8>(), 1..99u32).prop_map(|(endpoint, waiting)| Act::Gate(endpoint, waiting)),
        1 => Just(Act::Notice),
        2 => (any::<u8>(), prop::sample::select(vec![Fate::UnderWay, Fate::Done, Fate::Failed(Reason::ConnectionLost)]))
            .prop_map(|(client, fate)| Act::Job(client, fate)),
        1 => said().prop_map(Act::Reload),
        1 => said().prop_map(Act::Restart),
        2 => Just(Act::Gone),
        2 => Just(Act::Back),
    ]
}

fn said() -> impl Strategy<Value = Said> {
    prop::collection::vec((0..6u8, 0..3u8), 1..8)
}

fn fleet(name: &str, said: &Said) -> Fleet {
    let probe = Probe { kind: ProbeKind::Ack, every: Duration::from_secs(1) };
    let settings = Arc::new(Settings { probe, ..Settings::default() });
    let client =
        |(id, endpoint): &(u8, u8)| Client::new(&format!("c{id}"), EndpointKey(u16::from(*endpoint)), settings.clone());
    let endpoints = ["eu-1", "eu-2", name].map(|name| Endpoint::new(name, "127.0.0.1", 1883)).into();
    Fleet {
        name: Scrubbed::new(name),
        env: None,
        worker_size: 500,
        endpoints,
        clients: said.iter().map(client).collect(),
    }
}

/// One agent, and what it knows by itself.
struct Agent {
    name: String,
    known: Known,
    later: i64,
    /// When it was last heard, where it is gone.
    gone: Option<Moment>,
}

impl Agent {
    fn at(&self, now: Moment) -> Moment {
        now.moved(-self.later)
    }

    fn client(&self, n: u8) -> Option<ClientKey> {
        let keys: Vec<_> = self.known.fleet().keys().collect();
        keys.get(usize::from(n) % keys.len().max(1)).copied()
    }

    /// What an act is to it.
    fn event(&self, act: &Act) -> Option<What> {
        let endpoint = |client| self.known.fleet().client(client).endpoint();
        Some(match act {
            Act::Step(client, (to, reason)) => {
                let client = self.client(*client)?;
                let (from, detail) = (self.known.row(client).state, Scrubbed::new(&self.name));
                let (attempt, next_try) = (1, Some(Duration::from_secs(1)).filter(|_| *to == State::Backoff));
                let (to, reason, endpoint) = (*to, *reason, endpoint(client));
                What::State(Transition { client, endpoint, from, to, reason, detail, attempt, next_try })
            }
            Act::Answer(client, took) => {
                let (client, rtt) = (self.client(*client)?, Duration::from_millis(u64::from(*took)));
                What::Sample(Sample { client, probe: ProbeKind::Ack, rtt })
            }
            Act::Messages(client, count) => {
                let client = self.client(*client)?;
                What::Messages(Messages { client, received: u32::from(*count), published: 1, refused: 0 })
            }
            Act::Gate(endpoint, waiting) => {
                let condition = Condition::Open;
                let (in_flight, rate_set, rate, eta) = (0, 9, 9, Duration::ZERO);
                let gate = Gate { condition, waiting: *waiting, in_flight, rate_set, rate, eta };
                What::Gate(EndpointKey(u16::from(endpoint % 3)), gate)
            }
            Act::Job(client, fate) => {
                let id = JobId { agent: 0, number: u32::from(client % 3) + 1 };
                let job = Job {
                    id,
                    deed: Deed::Disconnect,
                    roll: Roll::default(),
                    state: JobState::Running,
                    begun: Moment(5_000_000_000),
                    ended: Some(Moment(6_000_000_000)),
                    undoes: Some(id),
                    left: u32::from(*client),
                    under_way: 0,
                    done: 1,
                    failed: 0,
                    skipped: 0,
                };
                let fates = vec![(self.client(*client)?, *fate)];
                What::Job(Box::new(JobNews { job, is_turn: true, fates }))
            }
            Act::Notice => What::Notice { level: crate::event::Level::Info, text: Scrubbed::new("words") },
            Act::Reload(_) | Act::Restart(_) | Act::Gone | Act::Back => return None,
        })
    }
}

/// A console on these agents.
struct Console {
    merger: Merger,
    model: Model,
    agents: Vec<Agent>,
    now: Moment,
}

impl Console {
    fn new(files: &[Said]) -> Console {
        let now = Moment(900_000_000_000);
        let name = |n: usize| format!("plant-{n}");
        let names = (0..files.len()).map(|n| (files.len() > 1).then(|| Scrubbed::new(&name(n))));
        let mut console =
            Console { merger: Merger::new(names), model: Model::new(Fleet::none(), now), agents: Vec::new(), now };
        for (n, said) in files.iter().enumerate() {
            // Whole parts of all that is measured in parts.
            let (name, later) = (name(n), n as i64 * 4_800_000_000);
            let known = Known::new(Arc::new(fleet(&name, said)), now.moved(-later));
            console.agents.push(Agent { name, known, later, gone: None });
            console.come(n, None);
        }
        console
    }

    fn come(&mut self, n: usize, gone: Option<Moment>) {
        let known = self.agents[n].known.clone();
        self.merger.set_clock(n, self.agents[n].later);
        self.merger.take_in(n, known.fleet().clone()).unwrap();
        fn under(model: &mut Model) -> Option<Entry> {
            let all = model.live().log().numbered().map(|(number, _)| number).collect();
            model.show_events((all, Vec::new()));
            model.events().cursor().and_then(|at| model.live().log().entry(at)).cloned()
        }
        under(&mut self.model);
        if !matches!(self.model.mode(), Mode::Events) {
            self.model.act(Action::Events, self.now);
        }
        self.model.act(Action::Up, self.now);
        let before = under(&mut self.model);
        self.model.take_in(self.merger.fleet(), known, self.merger.places(n), gone, self.now);
        let log = self.model.live().log();
        if let Some(before) = before.filter(|entry| log.newest().any(|kept| kept == entry)) {
            assert_eq!(under(&mut self.model), Some(before), "the cursor is on another event");
        }
        self.agents[n].gone = None;
    }

    fn lose(&mut self, n: usize) {
        if self.agents[n].gone.is_none() {
            self.model.lose(self.merger.places(n), self.now);
            self.agents[n].gone = Some(self.now);
        }
    }

    fn act(&mut self, n: usize, act: &Act) {
        self.now = self.now + Duration::from_millis(70);
        let (now, agent) = (self.now, &mut self.agents[n]);
        let at = agent.at(now);
        if let Some(what) = agent.event(act) {
            let event = Event { at, what };
            agent.known.apply(&event);
            if agent.gone.is_none() {
                let event = self.merger.event(n, event).expect("an event of all");
                assert_eq!(event.at, now);
                self.model.apply(&event);
            }
            return;
        }
        match act {
            Act::Reload(said) => {
                let fleet = Arc::new(agent.known.fleet().revised(fleet(&agent.name, said)).0);
                agent.known.apply(&Event { at, what: What::Fleet(fleet.clone()) });
                if agent.gone.is_none() {
                    self.merger.take_in(n, fleet).unwrap();
                    self.model.apply(&Event { at: now, what: What::Fleet(self.merger.fleet().clone()) });
                }
            }
            Act::Restart(said) => {
                self.lose(n);
                let gone = self.agents[n].gone;
                let fleet = Arc::new(fleet(&self.agents[n].name, said));
                self.agents[n].known = Known::new(fleet, at);
                self.come(n, gone);
            }
            Act::Gone => self.lose(n),
            _ => {
                if let Some(gone) = agent.gone {
                    self.come(n, Some(gone + Duration::from_micros(1)));
                }
            }
        }
    }

    fn second(&mut self) {
        self.now = self.now + Duration::from_millis(70);
        let what = What::Second(chrono::Utc::now());
        for agent in &mut self.agents {
            let at = agent.at(self.now);
            agent.known.apply(&Event { at, what: what.clone() });
        }
        self.model.apply(&Event { at: self.now, what });
    }

    /// Each agent's own rows are those of all, and there are no others.
    fn check(&self) {
        let (all, mut taken) = (self.model.live(), BTreeSet::new());
        let mut counts = [0; Badge::ALL.len()];
        for (n, agent) in self.agents.iter().enumerate() {
            let (places, own) = (self.merger.places(n), &agent.known);
            let fleet = if agent.gone.is_some() { self.merger.parts[n].fleet.clone() } else { own.fleet().clone() };
            for key in fleet.keys() {
                let place = places.client(key);
                assert!(taken.insert(place), "two clients at {place:?}");
                let (client, there) = (fleet.client(key), all.fleet().client(place));
                assert_eq!(client.id, there.id);
                if self.agents.len() > 1 {
                    assert_eq!(all.fleet().agent_of(place).map(|agent| agent.name.as_str()), Some(agent.name.as_str()));
                }
                let row = all.row(place);
                counts[row.badge() as usize] += 1;
                assert_eq!(self.merger.split(Command::Reconnect(vec![place])), [(n, Command::Reconnect(vec![key]))]);
                if agent.gone.is_some() {
                    assert_eq!(row.badge(), Badge::Unknown);
                    continue;
                }
                let own_row = own.row(key);
                let known = |row: &crate::model::Row, later: i64, now: Moment| {
                    let times = (row.since.moved(later), row.last.map(|(at, rtt)| (at.moved(later), rtt)));
                    let figures = (row.reconnects, row.received, row.published, row.p99(now), row.record.flaps());
                    let trend: Vec<_> = row.trend(now, 24).collect();
                    (row.badge(), row.reason, row.detail.clone(), times, figures, trend)
                };
                let (is, was) = (known(row, 0, self.now), known(own_row, agent.later, agent.at(self.now)));
                assert_eq!(is, was, "client {key:?} of {}", agent.name);
                let name = |known: &Known, row: &crate::model::Row| known.fleet().endpoint(row.endpoint).name.clone();
                assert!(name(all, row).ends_with(name(own, own_row).as_str()));
                if let Some((at, step)) = own.log().of_client(key).next() {
                    let (client, endpoint) = (place, places.endpoint(step.endpoint));
                    let moved = (at.moved(agent.later), Transition { client, endpoint, ..step.clone() });
                    assert_eq!(all.log().of_client(place).next(), Some(&moved));
                }
            }
            for row in own.jobs() {
                let id = row.job.id;
                let common = JobId { agent: if self.agents.len() > 1 { n as u16 } else { 0 }, ..id };
                let steer = self.merger.split(Command::Steer(common, Steer::Pause));
                assert_eq!(steer, [(usize::from(common.agent), Command::Steer(id, Steer::Pause))]);
                let Some(there) = all.job(common) else {
                    assert!(agent.gone.is_some(), "no job {id} of {}", agent.name);
                    continue;
                };
                assert!(agent.gone.is_none(), "a job of one that is gone");
                assert_eq!(there.job, row.job.moved(places));
                let moved: BTreeSet<ClientKey> =
                    row.results().iter().map(|(client, _)| places.client(*client)).collect();
                assert_eq!(there.results().iter().map(|(client, _)| *client).collect::<BTreeSet<_>>(), moved);
            }
            for key in fleet.endpoint_keys() {
                let place = places.endpoint(key);
                let hold = self.merger.split(Command::Hold(place));
                assert_eq!(hold, [(n, Command::Hold(key))]);
                let gate = own.gate(key).filter(|_| agent.gone.is_none());
                assert_eq!(all.gate(place), gate);
            }
        }
        assert!(all.fleet().keys().eq(taken), "there are others");
        assert_eq!(Badge::ALL.map(|badge| all.totals().wearing(badge)), counts);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn whatever_happens_to_an_agent_lands_on_its_own_rows(
        files in prop::collection::vec(said(), 1..4),
        acts in prop::collection::vec((any::<prop::sample::Index>(), act()), 0..60),
    ) {
        let mut console = Console::new(&files);
        console.second();
        console.check();
        for (n, (agent, act)) in acts.iter().enumerate() {
            console.act(agent.index(files.len()), act);
            if n % 7 == 0 {
                console.second();
                console.check();
            }
        }
        console.second();
        console.check();
    }
}

#[test]
fn endpoints_of_one_name_are_told_apart_and_production_is_production() {
    let mut merger = Merger::new(["north", "south"].map(|name| Some(Scrubbed::new(name))));
    let said = vec![(1, 0), (2, 2)];
    merger.take_in(0, Arc::new(fleet("n", &said))).unwrap();
    let prod = Some(Scrubbed::new("prod"));
    merger.take_in(1, Arc::new(Fleet { env: prod.clone(), ..fleet("s", &said) })).unwrap();
    let all = merger.fleet();
    let names: Vec<_> = all.endpoints.iter().map(|endpoint| endpoint.name.as_str()).collect();
    assert_eq!(names, ["north/eu-1", "north/eu-2", "n", "south/eu-1", "south/eu-2", "s"]);
    assert_eq!((all.name.as_str(), &all.env, all.is_prod()), ("north + south", &prod, true));
    // Clients of one table share the list of their endpoints in an agent's own fleet.
    assert_eq!(all.keys().map(|key| all.client(key).endpoint()).collect::<Vec<_>>(), [0, 2, 3, 5].map(EndpointKey));
    let (one, two) = (merger.places(0), merger.places(1));
    let workers = [one, two].map(|places| all.worker(places.worker(WorkerKey(3))));
    assert_eq!(workers, ["worker 3 of north", "worker 3 of south"]);
}

#[test]
fn more_endpoints_than_there_are_keys_change_nothing_and_are_said() {
    let mut merger = Merger::new(["a", "b"].map(|name| Some(Scrubbed::new(name))));
    let large = |name: &str| {
        let endpoints = (0..40_000).map(|n| Endpoint::new(&format!("{name}-{n}"), "127.0.0.1", 1)).collect();
        Arc::new(Fleet { endpoints, ..fleet(name, &vec![(1, 0)]) })
    };
    merger.take_in(0, large("a")).unwrap();
    let before = merger.fleet().clone();
    assert_eq!(merger.take_in(1, large("b")), Err(TooMany));
    assert!(Arc::ptr_eq(&before, merger.fleet()) && merger.places(1).clients.is_empty());
    assert!(TooMany.to_string().contains("65,535 endpoints"));
}

#[test]
fn the_only_agent_s_fleet_is_its_own() {
    let mut merger = Merger::new([None]);
    let own = Arc::new(fleet("f", &vec![(1, 0), (2, 1)]));
    merger.take_in(0, own.clone()).unwrap();
    assert_eq!(**merger.fleet(), *own);
    assert_eq!(merger.fleet().worker(WorkerKey(70_000)), "worker 70000");
}
