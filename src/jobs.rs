//! Defines how jobs go: whose turn it is, how many are on their way at once, when a job pauses, stops, ends or is taken back, all on given time; how a client connects is the lifecycle's matter.

mod running;

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use crate::{
    clock::Moment,
    command::Bulk,
    event::{Deed, Event, Fate, JobId, JobNews, JobState, Reason, Skip, State, Steer, Transition, What},
    fleet::{ClientKey, EndpointKey, Fleet},
    lifecycle::Lifecycle,
};
use running::Running;

/// The jobs of a run, in the order in which they were ordered.
#[derive(Debug, Default)]
pub struct Jobs {
    jobs: BTreeMap<JobId, Running>,
    /// How many there were.
    count: u32,
    /// By endpoint: when the next client may have its turn.
    next: HashMap<EndpointKey, Moment>,
    /// Whose job a client is in, while it is on its way there.
    under_way: HashMap<ClientKey, JobId>,
    /// Clients that came up for a job just now, and when.
    fresh: HashMap<ClientKey, (JobId, Moment)>,
}

impl Jobs {
    /// Who is lost so soon after it came up did not come up for good.
    pub const FRESH: Duration = Duration::from_secs(5);
    /// Turns that were due so long ago are caught up with: timers are coarse.
    const SLACK: Duration = Duration::from_millis(20);
    /// The most jobs that are remembered when they are over.
    pub const KEPT: usize = 50;

    /// Begins a job with those clients that the fleet has.
    pub fn begin(&mut self, bulk: Bulk, fleet: &Fleet, lifecycle: &Lifecycle, now: Moment) -> JobId {
        self.begin_as(bulk, None, fleet, lifecycle, now)
    }

    fn begin_as(
        &mut self,
        bulk: Bulk,
        undoes: Option<JobId>,
        fleet: &Fleet,
        lifecycle: &Lifecycle,
        now: Moment,
    ) -> JobId {
        self.count += 1;
        let id = JobId { agent: 0, number: self.count };
        self.jobs.insert(id, Running::new(id, bulk, undoes, fleet, lifecycle, now));
        let over: Vec<JobId> = self.jobs.iter().filter(|(_, job)| job.is_settled()).map(|(id, _)| *id).collect();
        let surplus = self.jobs.len().saturating_sub(Self::KEPT);
        over.into_iter().take(surplus).for_each(|id| drop(self.jobs.remove(&id)));
        id
    }

    /// Does what the operator wants of a job, where it can be done.
    pub fn steer(&mut self, id: JobId, steer: Steer, fleet: &Fleet, lifecycle: &Lifecycle, now: Moment) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        match (steer, job.state()) {
            (Steer::Pause, JobState::Running) => job.turn(JobState::Paused, now),
            (Steer::Resume, JobState::Paused | JobState::Stopped) => job.resume(now),
            (Steer::Cancel, state) if !state.is_over() => job.turn(JobState::Cancelled, now),
            (Steer::Undo, state) if state != JobState::Undone => {
                job.turn(JobState::Undone, now);
                if let Some(bulk) = job.reverse() {
                    self.begin_as(bulk, Some(id), fleet, lifecycle, now);
                }
            }
            _ => {}
        }
    }

    /// Whose turn it is now, and what is to be done with them. Afterwards the lifecycle must be told at once.
    pub fn poll(&mut self, fleet: &Fleet, lifecycle: &Lifecycle, now: Moment) -> Vec<(Deed, ClientKey)> {
        self.fresh.retain(|_, (_, since)| *since + Self::FRESH > now);
        let mut turns = Vec::new();
        let open: Vec<JobId> = self.jobs.iter().filter(|(_, job)| job.has_room()).map(|(id, _)| *id).collect();
        for id in open {
            while let Some(job) = self.jobs.get_mut(&id).filter(|job| job.has_room()) {
                let deed = job.deed();
                let next = &self.next;
                let may = |endpoint: EndpointKey, client| {
                    next.get(&endpoint).is_none_or(|at| *at <= now)
                        && (deed == Deed::Disconnect || lifecycle.may_connect(client))
                };
                let Some(client) = job.take(lifecycle, may) else { break };
                if let Some(skip) = job.why_not(client, fleet, lifecycle.state(client)) {
                    job.settle(client, Fate::Skipped(skip), now);
                    continue;
                }
                job.set_out(client);
                self.fresh.remove(&client);
                if let Some(other) = self.under_way.insert(client, id).filter(|other| *other != id)
                    && let Some(other) = self.jobs.get_mut(&other)
                {
                    other.settle(client, Fate::Skipped(Skip::Overtaken), now);
                }
                let endpoint = lifecycle.endpoint(client);
                let rate = f64::from(lifecycle.gate(endpoint).rate.max(1));
                let due = self.next.get(&endpoint).copied().unwrap_or(now).max(now - Self::SLACK);
                self.next.insert(endpoint, due + Duration::from_secs_f64(1.0 / rate));
                turns.push((deed, client));
            }
        }
        turns
    }

    /// When [`Jobs::poll`] has something to do next, if anything but the end of somebody's way makes it so.
    pub fn next_deadline(&self, lifecycle: &Lifecycle, now: Moment) -> Option<Moment> {
        let open = self.jobs.values().filter(|job| job.has_room());
        let endpoints = open.flat_map(|job| job.endpoints(lifecycle));
        endpoints.filter_map(|endpoint| self.next.get(&endpoint).copied()).filter(|at| *at > now).min()
    }

    /// Takes in what became of a client. What happened to it before its turn must have been told before.
    pub fn notice(&mut self, step: &Transition, at: Moment) {
        if let Some((id, since)) = self.fresh.get(&step.client).copied() {
            let is_lost = matches!(step.to, State::Backoff | State::Failed) || is_stuck(step);
            if step.to != State::Up {
                self.fresh.remove(&step.client);
            }
            if is_lost
                && since + Self::FRESH > at
                && let Some(job) = self.jobs.get_mut(&id)
            {
                job.settle(step.client, Fate::Failed(step.reason), at);
            }
            return;
        }
        let Some(id) = self.under_way.get(&step.client).copied() else { return };
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let fate = match (job.deed(), step.to) {
            (Deed::Disconnect, State::Off) => Fate::Done,
            (Deed::Disconnect, _) => Fate::Skipped(Skip::Overtaken),
            (_, State::Up) => Fate::Done,
            (_, State::Off) => Fate::Skipped(Skip::Overtaken),
            (_, State::Backoff | State::Failed) => Fate::Failed(step.reason),
            (_, State::Held) if is_stuck(step) => Fate::Failed(step.reason),
            (_, State::Held | State::Queued | State::Connecting) => return,
        };
        job.settle(step.client, fate, at);
        self.under_way.remove(&step.client);
        if step.to == State::Up {
            self.fresh.insert(step.client, (id, at));
        }
    }

    /// The fleet is another one: who is gone is on no way any more.
    pub fn revise(&mut self, fleet: &Fleet, now: Moment) {
        let gone: Vec<(ClientKey, JobId)> =
            self.under_way.iter().filter(|(client, _)| !fleet.has(**client)).map(|(c, id)| (*c, *id)).collect();
        for (client, id) in gone {
            self.under_way.remove(&client);
            if let Some(job) = self.jobs.get_mut(&id) {
                job.settle(client, Fate::Skipped(Skip::Gone), now);
            }
        }
        self.fresh.retain(|client, _| fleet.has(*client));
    }

    /// Takes what there is to tell.
    pub fn drain(&mut self, now: Moment) -> Vec<Event> {
        let news = self.jobs.values_mut().flat_map(Running::drain);
        news.map(|news: JobNews| Event { at: now, what: What::Job(Box::new(news)) }).collect()
    }
}

/// Whether a client is held because its endpoint does not answer: that is no way to being up. What a worker, or the
/// operator, holds goes on when these do.
fn is_stuck(step: &Transition) -> bool {
    let is_waiting = step.reason.is_workers()
        || matches!(step.reason, Reason::Start | Reason::OperatorHold | Reason::EndpointUnknown);
    step.to == State::Held && !is_waiting
}

#[cfg(test)]
mod tests;
