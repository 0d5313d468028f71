//! Defines one job: who waits for a turn, who is on the way, what became of the others, and how it stands.

use std::collections::{BTreeMap, HashSet, VecDeque};

use crate::{
    clock::Moment,
    command::Bulk,
    event::{Deed, Fate, Job, JobId, JobNews, JobState, Skip, State},
    fleet::{ClientKey, EndpointKey, Fleet},
    lifecycle::Lifecycle,
};

#[derive(Debug)]
pub(super) struct Running {
    job: Job,
    /// Those who wait for a turn, by the endpoint where they were when the job was ordered: these take turns.
    lanes: VecDeque<VecDeque<ClientKey>>,
    /// Who was off when it was ordered.
    off: HashSet<ClientKey>,
    fates: BTreeMap<ClientKey, Fate>,
    /// How many had failed when it was told to go on.
    forgiven: u32,
    /// Clients of whom there is news.
    news: BTreeMap<ClientKey, Fate>,
    is_told: bool,
    /// The state that was told last.
    told: JobState,
    /// That it begins, until that is told.
    begin: Option<JobNews>,
}

impl Running {
    pub(super) fn new(
        id: JobId,
        bulk: Bulk,
        undoes: Option<JobId>,
        fleet: &Fleet,
        lifecycle: &Lifecycle,
        now: Moment,
    ) -> Running {
        let Bulk { deed, mut clients, roll } = bulk;
        // Each of them once, in the order of the fleet, and nobody whom it has not.
        clients.sort_unstable();
        clients.dedup();
        clients.retain(|client| fleet.has(*client));
        let off = clients.iter().copied().filter(|client| lifecycle.state(*client) == State::Off).collect();
        let left = clients.len() as u32;
        let mut lanes: BTreeMap<EndpointKey, VecDeque<ClientKey>> = BTreeMap::new();
        clients.into_iter().for_each(|client| lanes.entry(lifecycle.endpoint(client)).or_default().push_back(client));
        let job = Job {
            id,
            deed,
            roll,
            state: JobState::Running,
            begun: now,
            ended: None,
            undoes,
            left,
            under_way: 0,
            done: 0,
            failed: 0,
            skipped: 0,
        };
        let mut running = Running {
            job,
            lanes: lanes.into_values().collect(),
            off,
            fates: BTreeMap::new(),
            forgiven: 0,
            news: BTreeMap::new(),
            is_told: true,
            told: JobState::Running,
            begin: Some(JobNews { job, is_turn: true, fates: Vec::new() }),
        };
        running.end_where_all_had_a_turn(now);
        running
    }

    pub(super) fn state(&self) -> JobState {
        self.job.state
    }

    pub(super) fn deed(&self) -> Deed {
        self.job.deed
    }

    /// Whether nothing will become of it any more.
    pub(super) fn is_settled(&self) -> bool {
        self.job.state.is_over() && self.job.under_way == 0
    }

    /// Whether another client may have its turn, as far as this job is asked.
    pub(super) fn has_room(&self) -> bool {
        let most = if self.job.roll.at_once == 0 { u32::MAX } else { self.job.roll.at_once };
        self.job.state == JobState::Running && self.job.left > 0 && self.job.under_way < most
    }

    /// The endpoints of those whose turn is next.
    pub(super) fn endpoints(&self, lifecycle: &Lifecycle) -> impl Iterator<Item = EndpointKey> {
        self.lanes.iter().filter_map(|lane| lane.front()).map(|client| lifecycle.endpoint(*client))
    }

    /// The next client, of the next endpoint where one `may` have its turn.
    pub(super) fn take(
        &mut self,
        lifecycle: &Lifecycle,
        may: impl Fn(EndpointKey, ClientKey) -> bool,
    ) -> Option<ClientKey> {
        for _ in 0..self.lanes.len() {
            let mut lane = self.lanes.pop_front()?;
            let client = lane.pop_front_if(|client| may(lifecycle.endpoint(*client), *client));
            if !lane.is_empty() {
                self.lanes.push_back(lane);
            }
            if client.is_some() {
                return client;
            }
        }
        None
    }

    /// Why nothing is to be done with a client whose turn it is.
    pub(super) fn why_not(&self, client: ClientKey, fleet: &Fleet, state: State) -> Option<Skip> {
        if !fleet.has(client) {
            return Some(Skip::Gone);
        }
        let was_off = self.off.contains(&client);
        match (self.job.deed, state) {
            (Deed::Disconnect, State::Off) | (Deed::Connect, State::Up) => Some(Skip::There),
            // Who switched it off meanwhile, or on, had a newer word.
            (Deed::Reconnect | Deed::Connect, State::Off) if !was_off => Some(Skip::Changed),
            (Deed::Disconnect, _) if was_off => Some(Skip::Changed),
            _ => None,
        }
    }

    /// A client has its turn.
    pub(super) fn set_out(&mut self, client: ClientKey) {
        self.set(client, Fate::UnderWay);
    }

    /// A client had its turn, or something came of that later.
    pub(super) fn settle(&mut self, client: ClientKey, fate: Fate, at: Moment) {
        self.set(client, fate);
        let most = self.job.roll.stop_after;
        if self.job.state == JobState::Running
            && most > 0
            && self.job.failed - self.forgiven >= most
            && self.job.left > 0
        {
            self.turn(JobState::Stopped, at);
        }
        self.end_where_all_had_a_turn(at);
    }

    fn set(&mut self, client: ClientKey, fate: Fate) {
        let before = self.fates.insert(client, fate);
        *self.count(before) -= 1;
        *self.count(Some(fate)) += 1;
        self.news.insert(client, fate);
    }

    fn count(&mut self, fate: Option<Fate>) -> &mut u32 {
        let job = &mut self.job;
        match fate {
            None => &mut job.left,
            Some(Fate::UnderWay) => &mut job.under_way,
            Some(Fate::Done) => &mut job.done,
            Some(Fate::Failed(_)) => &mut job.failed,
            Some(Fate::Skipped(_)) => &mut job.skipped,
        }
    }

    fn end_where_all_had_a_turn(&mut self, at: Moment) {
        let is_running = matches!(self.job.state, JobState::Running | JobState::Paused | JobState::Stopped);
        if is_running && self.job.left + self.job.under_way == 0 {
            self.job.state = JobState::Done;
        }
        if self.is_settled() && self.job.ended.is_none() {
            self.job.ended = Some(at);
            self.is_told = false;
        }
    }

    /// It goes on; those that failed until now count no more.
    pub(super) fn resume(&mut self, now: Moment) {
        self.forgiven = self.job.failed;
        self.turn(JobState::Running, now);
    }

    pub(super) fn turn(&mut self, state: JobState, now: Moment) {
        self.job.state = state;
        self.is_told = false;
        if state.is_over() {
            let left: Vec<ClientKey> = self.lanes.drain(..).flatten().collect();
            left.into_iter().for_each(|client| self.set(client, Fate::Skipped(Skip::NotBegun)));
            self.end_where_all_had_a_turn(now);
        }
    }

    /// What takes back what it did, where that can be taken back. Who was on the way there is taken back, too.
    pub(super) fn reverse(&self) -> Option<Bulk> {
        let deed = match self.job.deed {
            Deed::Connect => Deed::Disconnect,
            Deed::Disconnect => Deed::Connect,
            Deed::Reconnect => return None,
        };
        let is_changed = |fate: &Fate| matches!(fate, Fate::UnderWay | Fate::Done | Fate::Failed(_));
        let changed = self.fates.iter().filter(|(_, fate)| is_changed(fate)).map(|(client, _)| *client);
        // Who was on its way by itself already is left alone.
        let clients: Vec<ClientKey> =
            changed.filter(|client| deed == Deed::Connect || self.off.contains(client)).collect();
        (!clients.is_empty()).then_some(Bulk { deed, clients, roll: self.job.roll })
    }

    /// Takes what there is to tell of it.
    pub(super) fn drain(&mut self) -> Vec<JobNews> {
        let begin = self.begin.take();
        let is_turn = self.told != self.job.state;
        if self.is_told && !is_turn && self.news.is_empty() {
            return begin.into_iter().collect();
        }
        (self.is_told, self.told) = (true, self.job.state);
        let news: Vec<(ClientKey, Fate)> = std::mem::take(&mut self.news).into_iter().collect();
        let mut parts: Vec<Vec<(ClientKey, Fate)>> = news.chunks(JobNews::FATES).map(<[_]>::to_vec).collect();
        if parts.is_empty() {
            parts.push(Vec::new());
        }
        let last = parts.len() - 1;
        let job = self.job;
        let tell = |(n, fates)| JobNews { job, is_turn: is_turn && n == last, fates };
        begin.into_iter().chain(parts.into_iter().enumerate().map(tell)).collect()
    }
}
