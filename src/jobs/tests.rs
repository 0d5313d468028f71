//! Tests of jobs on made-up time, with the real lifecycle; they start no process and open no socket.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::{
    event::{Cause, ConnectOrder, Generation, Roll, Step},
    fleet::{Client, Endpoint, Settings, WorkerKey},
    lifecycle::Effect,
    text::Scrubbed,
};

/// A fleet whose broker answers a connect after 10 ms.
struct Plant {
    fleet: Fleet,
    lifecycle: Lifecycle,
    jobs: Jobs,
    now: Moment,
    /// Connects under way, with when they are answered.
    answers: Vec<(Moment, ClientKey, Generation)>,
    /// Clients that the broker refuses, and those that it throws off a second after they came up.
    bad: Vec<u32>,
    thrown: Vec<u32>,
    generations: HashMap<ClientKey, Generation>,
    ends: Vec<(Moment, ClientKey, Generation)>,
    /// Every step of a client, as it was told.
    steps: Vec<(Moment, Transition)>,
    news: Vec<JobNews>,
}

const TICK: Duration = Duration::from_millis(10);

impl Plant {
    /// So many clients at two endpoints, all of them up.
    fn new(clients: u32, rate: u32) -> Plant {
        let settings = Arc::new(Settings::default());
        let endpoint =
            |name| Endpoint { connect_rate: rate, max_connecting: 50, ..Endpoint::new(name, "127.0.0.1", 1) };
        let client = |n: u32| Client::new(&format!("c{n}"), EndpointKey((n % 2) as u16), settings.clone());
        let fleet = Fleet {
            name: Scrubbed::new("test"),
            env: None,
            worker_size: 500,
            endpoints: vec![endpoint("eu-1"), endpoint("eu-2")],
            clients: (0..clients).map(client).collect(),
        };
        let now = Moment(1_000_000_000);
        let mut lifecycle = Lifecycle::new(&fleet, 1, now);
        lifecycle.worker_ready(WorkerKey(0), fleet.keys(), now);
        fleet.keys().for_each(|client| lifecycle.start(client, now));
        let mut plant = Plant {
            fleet,
            lifecycle,
            jobs: Jobs::default(),
            now,
            answers: Vec::new(),
            bad: Vec::new(),
            thrown: Vec::new(),
            generations: HashMap::new(),
            ends: Vec::new(),
            steps: Vec::new(),
            news: Vec::new(),
        };
        plant.run_until(|plant| plant.up() == clients as usize);
        plant.steps.clear();
        plant
    }

    fn up(&self) -> usize {
        self.fleet.keys().filter(|client| self.lifecycle.state(*client) == State::Up).count()
    }

    fn order(&mut self, deed: Deed, clients: impl IntoIterator<Item = u32>, roll: Roll) -> JobId {
        let clients = clients.into_iter().map(ClientKey).collect();
        self.jobs.begin(Bulk { deed, clients, roll }, &self.fleet, &self.lifecycle, self.now)
    }

    fn steer(&mut self, id: JobId, steer: Steer) {
        self.jobs.steer(id, steer, &self.fleet, &self.lifecycle, self.now);
    }

    /// One turn of the engine's loop.
    fn turn(&mut self) {
        self.lifecycle.poll(self.now);
        self.carry_out();
        for (deed, client) in self.jobs.poll(&self.fleet, &self.lifecycle, self.now) {
            match deed {
                Deed::Connect => self.lifecycle.connect(client, self.now),
                Deed::Reconnect => self.lifecycle.reconnect(client, self.now),
                Deed::Disconnect => self.lifecycle.disconnect(client, self.now),
            }
        }
        self.carry_out();
        let news = self.jobs.drain(self.now).into_iter().map(|event| event.what);
        self.news.extend(news.filter_map(|what| if let What::Job(news) = what { Some(*news) } else { None }));
    }

    fn carry_out(&mut self) {
        loop {
            let effects: Vec<Effect> = self.lifecycle.drain().collect();
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                match effect {
                    Effect::Transition(at, step) => {
                        self.jobs.notice(&step, at);
                        self.steps.push((at, step));
                    }
                    Effect::Probe(endpoint) => self.lifecycle.probed(endpoint, Ok(()), self.now),
                    Effect::Connect(client, ConnectOrder { generation, .. }) => {
                        self.generations.insert(client, generation);
                        self.answers.push((self.now + TICK, client, generation));
                    }
                    _ => {}
                }
            }
        }
    }

    fn tick(&mut self) {
        self.turn();
        self.now = self.now + TICK;
        let due = |at: &Moment| *at <= self.now;
        let (answers, later): (Vec<_>, Vec<_>) = self.answers.drain(..).partition(|(at, ..)| due(at));
        self.answers = later;
        for (at, client, generation) in answers {
            let refused = Cause { reason: Reason::ConnectionRefused, detail: Scrubbed::default() };
            let step = match self.bad.contains(&client.0) {
                true => Step::Ended(refused, None),
                false => Step::Up(Box::default()),
            };
            self.lifecycle.report(client, generation, step, self.now);
            if self.thrown.contains(&client.0) {
                self.ends.push((at + Duration::from_secs(1), client, generation));
            }
        }
        let now = self.now;
        let (ends, later): (Vec<_>, Vec<_>) = self.ends.drain(..).partition(|(at, ..)| *at <= now);
        self.ends = later;
        for (_, client, generation) in ends {
            let lost = Cause { reason: Reason::ConnectionLost, detail: Scrubbed::default() };
            self.lifecycle.report(client, generation, Step::Ended(lost, None), now);
        }
    }

    #[track_caller]
    fn run_until(&mut self, is_so: impl Fn(&Plant) -> bool) {
        for _ in 0..100_000 {
            if is_so(self) {
                return;
            }
            self.tick();
        }
        panic!("never so: {:?}", self.news.last());
    }

    fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        self.run_until(|plant| plant.now >= end);
    }

    /// The job as it was told last, as somebody who only hears of it knows it.
    fn told(&self, id: JobId) -> (crate::event::Job, BTreeMap<ClientKey, Fate>) {
        let mut news = self.news.iter().filter(|news| news.job.id == id);
        let fates = news.clone().flat_map(|news| news.fates.iter().copied()).collect();
        (news.next_back().expect("news of the job").job, fates)
    }

    fn run_to_end(&mut self, id: JobId) -> (crate::event::Job, BTreeMap<ClientKey, Fate>) {
        self.run_until(|plant| plant.news.iter().any(|news| news.job.id == id && news.job.ended.is_some()));
        self.told(id)
    }

    /// Who left because an operator wanted it, since the begin.
    fn touched(&self) -> Vec<u32> {
        let is_order = |step: &&(Moment, Transition)| {
            matches!(step.1.reason, Reason::OperatorReconnect | Reason::OperatorDisconnect)
        };
        let mut touched: Vec<u32> = self.steps.iter().filter(is_order).map(|(_, step)| step.client.0).collect();
        touched.sort_unstable();
        touched
    }
}

fn roll(at_once: u32, stop_after: u32) -> Roll {
    Roll { at_once, stop_after }
}

#[test]
fn a_job_rolls_a_few_at_a_time_and_waits_until_they_are_up() {
    let mut plant = Plant::new(300, 10_000);
    let id = plant.order(Deed::Reconnect, 0..200, roll(20, 5));
    let mut most = 0;
    while plant.news.last().is_none_or(|news| news.job.ended.is_none()) {
        plant.tick();
        most = most.max(300 - plant.up());
    }
    let (job, fates) = plant.told(id);
    assert_eq!((job.state, job.done, job.all()), (JobState::Done, 200, 200));
    assert!(fates.len() == 200 && fates.values().all(|fate| *fate == Fate::Done));
    let told = plant.news.iter().map(|news| news.job.under_way).max();
    assert_eq!(told, Some(20), "as many as are allowed at once");
    assert!(most > 10 && most <= 20, "{most} are down at once");
    assert_eq!(plant.touched(), (0..200).collect::<Vec<_>>(), "each of them once, and nobody else");
}

#[test]
fn no_endpoint_has_more_to_do_than_its_gate_lets_through() {
    for deed in [Deed::Reconnect, Deed::Disconnect] {
        let mut plant = Plant::new(200, 20);
        let begun = plant.now;
        let id = plant.order(deed, 0..200, roll(0, 0));
        let (job, _) = plant.run_to_end(id);
        assert_eq!(job.done, 200);
        // A hundred at each of two endpoints, 20 a second.
        let took = job.ended.expect("an end").since(begun);
        assert!(took >= Duration::from_millis(4_900) && took < Duration::from_secs(7), "{deed:?} took {took:?}");
    }
}

#[test]
fn a_paused_job_begins_with_nobody_and_goes_on_where_it_was() {
    let mut plant = Plant::new(100, 100);
    let id = plant.order(Deed::Reconnect, 0..100, roll(10, 5));
    plant.run_until(|plant| plant.told_done(id) >= 30);
    plant.steer(id, Steer::Pause);
    plant.run_for(Duration::from_secs(2));
    let (job, _) = plant.told(id);
    assert_eq!((job.state, job.under_way, plant.up()), (JobState::Paused, 0, 100));
    plant.run_for(Duration::from_secs(5));
    assert_eq!(plant.told(id).0, job, "nothing happens");
    assert!(plant.jobs.next_deadline(&plant.lifecycle, plant.now).is_none());
    plant.steer(id, Steer::Resume);
    let (job, _) = plant.run_to_end(id);
    assert_eq!((job.state, job.done), (JobState::Done, 100));
    assert_eq!(plant.touched(), (0..100).collect::<Vec<_>>());
}

impl Plant {
    fn told_state(&self, id: JobId) -> Option<JobState> {
        self.news.iter().rev().find(|news| news.job.id == id).map(|news| news.job.state)
    }

    fn told_done(&self, id: JobId) -> u32 {
        self.news.iter().rev().find(|news| news.job.id == id).map_or(0, |news| news.job.done)
    }
}

#[test]
fn a_cancelled_job_leaves_alone_who_had_no_turn_and_tells_who_that_is() {
    let mut plant = Plant::new(100, 100);
    let id = plant.order(Deed::Reconnect, 0..100, roll(10, 5));
    plant.run_until(|plant| plant.told_done(id) >= 30);
    plant.steer(id, Steer::Cancel);
    let (job, fates) = plant.run_to_end(id);
    plant.run_for(Duration::from_secs(10));
    assert_eq!((job.state, job.left, job.under_way, job.all()), (JobState::Cancelled, 0, 0, 100));
    let done = fates.iter().filter(|(_, fate)| **fate == Fate::Done).map(|(client, _)| client.0);
    assert_eq!(plant.touched(), done.collect::<Vec<_>>(), "what it tells is what happened");
    assert!((30..60).contains(&job.done), "{job:?}");
    let not_begun = fates.values().filter(|fate| **fate == Fate::Skipped(Skip::NotBegun)).count();
    assert_eq!(not_begun as u32 + job.done, 100);
    // A reconnect cannot be taken back.
    plant.steer(id, Steer::Undo);
    plant.run_for(Duration::from_secs(1));
    assert_eq!((plant.told(id).0.state, plant.jobs.jobs.len()), (JobState::Undone, 1));
}

#[test]
fn a_disconnect_that_is_taken_back_brings_exactly_those_back_whom_it_took_off() {
    let mut plant = Plant::new(100, 100);
    plant.lifecycle.disconnect(ClientKey(3), plant.now); // was off before
    plant.tick();
    plant.steps.clear();
    let id = plant.order(Deed::Disconnect, 0..80, roll(10, 5));
    plant.run_until(|plant| plant.told_done(id) >= 40);
    plant.steer(id, Steer::Cancel);
    plant.run_to_end(id);
    let off = 100 - plant.up();
    assert!((41..80).contains(&off), "{off}");
    plant.steer(id, Steer::Undo);
    let second = JobId { agent: 0, number: id.number + 1 };
    let (job, _) = plant.run_to_end(second);
    assert_eq!((job.deed, job.undoes, job.state), (Deed::Connect, Some(id), JobState::Done));
    assert_eq!((job.done as usize, plant.up()), (off - 1, 99));
    assert_eq!(plant.lifecycle.state(ClientKey(3)), State::Off, "what was off stays off");
    assert_eq!(plant.told(id).0.state, JobState::Undone);
    // Once is enough.
    plant.steer(id, Steer::Undo);
    plant.run_for(Duration::from_secs(1));
    assert_eq!(plant.up(), 99);
}

#[test]
fn it_stops_after_so_many_failures_and_goes_on_when_it_is_told_to() {
    let mut plant = Plant::new(100, 100);
    plant.bad = (20..30).collect();
    let id = plant.order(Deed::Reconnect, 0..100, roll(1, 3));
    plant.run_until(|plant| plant.news.last().is_some_and(|news| news.job.state == JobState::Stopped));
    let (job, fates) = plant.told(id);
    assert_eq!((job.failed, job.under_way), (3, 0));
    let failed = fates.values().filter(|fate| **fate == Fate::Failed(Reason::ConnectionRefused)).count();
    assert_eq!(failed, 3);
    let touched = plant.touched().len();
    plant.run_for(Duration::from_secs(5));
    assert_eq!(plant.touched().len(), touched);
    plant.steer(id, Steer::Resume);
    plant.run_until(|plant| plant.told(id).0.failed == 6);
    assert_eq!(plant.told(id).0.state, JobState::Stopped, "three more");
    plant.bad.clear();
    plant.steer(id, Steer::Resume);
    let (job, _) = plant.run_to_end(id);
    assert_eq!((job.state, job.done, job.failed), (JobState::Done, 94, 6));
}

#[test]
fn who_is_lost_again_at_once_did_not_come_up() {
    let mut plant = Plant::new(200, 1_000);
    plant.thrown = (0..200).collect();
    let id = plant.order(Deed::Reconnect, 0..200, roll(1, 2));
    plant.run_until(|plant| plant.told_state(id) == Some(JobState::Stopped));
    let (job, fates) = plant.told(id);
    assert!(job.failed == 2 && job.left > 100, "{job:?}");
    assert!(fates.values().any(|fate| *fate == Fate::Failed(Reason::ConnectionLost)));
    // Also of a job that is over by then.
    let late = plant.order(Deed::Reconnect, [150, 151], roll(2, 2));
    assert_eq!(plant.run_to_end(late).0.done, 2);
    plant.run_for(Duration::from_secs(2));
    let job = plant.told(late).0;
    assert_eq!((job.state, job.done, job.failed), (JobState::Done, 0, 2));
}

#[test]
fn a_held_endpoint_keeps_its_clients_waiting_and_nobody_else() {
    let mut plant = Plant::new(40, 100);
    plant.lifecycle.hold(EndpointKey(0), plant.now);
    let id = plant.order(Deed::Reconnect, 0..40, roll(5, 5));
    plant.run_for(Duration::from_secs(5));
    let (job, _) = plant.told(id);
    assert_eq!((job.state, job.done, job.left), (JobState::Running, 20, 20));
    assert_eq!(plant.up(), 40, "who cannot come back is not taken off");
    plant.lifecycle.release(EndpointKey(0), plant.now);
    assert_eq!(plant.run_to_end(id).0.done, 40);
}

#[test]
fn who_changed_meanwhile_is_left_alone_and_who_is_in_two_jobs_is_in_the_later_one() {
    let mut plant = Plant::new(60, 1_000);
    let id = plant.order(Deed::Reconnect, 0..40, roll(1, 5));
    plant.run_until(|plant| plant.told_done(id) >= 2);
    plant.lifecycle.disconnect(ClientKey(39), plant.now);
    let gone = ClientKey(38);
    plant.fleet.clients[gone.index()].is_gone = true;
    plant.jobs.revise(&plant.fleet, plant.now);
    let (job, fates) = plant.run_to_end(id);
    assert_eq!(fates[&ClientKey(39)], Fate::Skipped(Skip::Changed));
    assert_eq!(fates[&gone], Fate::Skipped(Skip::Gone));
    assert_eq!((job.done, job.skipped), (38, 2));
    let first = plant.order(Deed::Reconnect, [40], roll(1, 5));
    plant.turn();
    let second = plant.order(Deed::Disconnect, [40], roll(1, 5));
    plant.run_to_end(second);
    assert_eq!(plant.told(first).1[&ClientKey(40)], Fate::Skipped(Skip::Overtaken));
    assert_eq!(plant.told(second).1[&ClientKey(40)], Fate::Done);
}

#[test]
fn a_job_about_nobody_is_over_at_once_and_old_jobs_are_forgotten() {
    let mut plant = Plant::new(4, 1_000);
    let id = plant.order(Deed::Connect, [0, 0, 1, 99], roll(0, 0));
    let (job, fates) = plant.run_to_end(id);
    assert_eq!((job.state, job.skipped, fates.len()), (JobState::Done, 2, 2));
    let none = plant.order(Deed::Reconnect, [77], roll(1, 1));
    assert_eq!(plant.run_to_end(none).0.all(), 0);
    for _ in 0..2 * Jobs::KEPT {
        let id = plant.order(Deed::Reconnect, [1], roll(1, 1));
        plant.run_to_end(id);
    }
    assert!(plant.jobs.jobs.len() <= Jobs::KEPT + 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever the operator does meanwhile, and whoever fails: the counts are those of the clients, and no more are on
    /// their way than may be.
    #[test]
    fn the_counts_are_those_of_the_clients(
        acts in prop::collection::vec((0..6u8, 0..30u32, 1..6u32), 1..20),
        bad in prop::collection::vec(0..30u32, 0..6),
    ) {
        let mut plant = Plant::new(30, 200);
        plant.bad = bad;
        let mut ids = Vec::new();
        for (act, n, at_once) in acts {
            let clients = n / 2..n;
            match act {
                0 => ids.push(plant.order(Deed::Reconnect, clients, roll(at_once, 3))),
                1 => ids.push(plant.order(Deed::Disconnect, clients, roll(at_once, 3))),
                2 => ids.push(plant.order(Deed::Connect, clients, roll(at_once, 3))),
                steer => {
                    let wanted = [Steer::Pause, Steer::Resume, Steer::Undo, Steer::Cancel][usize::from(steer + n as u8) % 4];
                    if let Some(id) = ids.get(n as usize % ids.len().max(1)).copied() {
                        plant.steer(id, wanted);
                    }
                }
            }
            plant.turn();
            plant.run_for(Duration::from_millis(u64::from(n) * 10));
            for id in &ids {
                let (job, fates) = plant.told(*id);
                let count = |is_it: fn(&Fate) -> bool| fates.values().filter(|fate| is_it(fate)).count() as u32;
                prop_assert_eq!(job.under_way, count(|fate| matches!(fate, Fate::UnderWay)));
                prop_assert_eq!(job.done, count(|fate| matches!(fate, Fate::Done)));
                prop_assert_eq!(job.failed, count(|fate| matches!(fate, Fate::Failed(_))));
                prop_assert_eq!(job.skipped, count(|fate| matches!(fate, Fate::Skipped(_))));
                prop_assert!(job.under_way <= job.roll.at_once);
                prop_assert_eq!(job.ended.is_some(), job.state.is_over() && job.under_way == 0);
            }
        }
    }
}
