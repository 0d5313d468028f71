//! Defines what is known of jobs, which of them one looks at, and what keys do there; how a job goes is the engine's matter.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    action::Action,
    clock::Moment,
    command::Command,
    event::{Fate, Job, JobId, JobNews, JobState, Level, Skip, Steer},
    fleet::{ClientKey, Places},
    model::{
        act::Effect,
        known::Known,
        mode::Mode,
        order::{Chosen, Filter, Origin},
        view::Model,
    },
};

/// A job, with what became of those of its clients that had a turn.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JobRow {
    pub job: Job,
    fates: BTreeMap<ClientKey, Fate>,
}

impl JobRow {
    pub fn fate(&self, client: ClientKey) -> Option<Fate> {
        self.fates.get(&client).copied()
    }

    /// What became of each client: what went wrong first, then who is on the way; who never had a turn comes last.
    pub fn results(&self) -> Vec<(ClientKey, Fate)> {
        let rank = |fate: &Fate| match fate {
            Fate::Failed(_) => 0,
            Fate::UnderWay => 1,
            Fate::Skipped(Skip::NotBegun) => 4,
            Fate::Skipped(_) => 2,
            Fate::Done => 3,
        };
        let mut results: Vec<_> = self.fates.iter().map(|(client, fate)| (*client, *fate)).collect();
        results.sort_by_key(|(_, fate)| rank(fate));
        results
    }

    /// It as news for who has heard nothing of it.
    pub(super) fn told(&self) -> Vec<JobNews> {
        let fates: Vec<(ClientKey, Fate)> = self.fates.iter().map(|(client, fate)| (*client, *fate)).collect();
        let news = |fates: &[(ClientKey, Fate)]| JobNews { job: self.job, is_turn: false, fates: fates.to_vec() };
        match fates.is_empty() {
            true => vec![news(&[])],
            false => fates.chunks(JobNews::FATES).map(news).collect(),
        }
    }

    /// Whether it is only about clients that a fleet of so many has.
    pub(super) fn fits(&self, clients: usize) -> bool {
        self.fates.keys().all(|client| client.index() < clients)
    }

    pub(super) fn moved(self, places: &Places) -> JobRow {
        let fates = self.fates.into_iter().map(|(client, fate)| (places.client(client), fate)).collect();
        JobRow { job: self.job.moved(places), fates }
    }
}

impl Known {
    /// The most jobs that are remembered when they are over.
    const JOBS: usize = 50;

    /// All jobs that are remembered, the newest first.
    pub fn jobs(&self) -> Vec<&JobRow> {
        let mut jobs: Vec<&JobRow> = self.jobs.values().collect();
        jobs.sort_by_key(|row| std::cmp::Reverse((row.job.begun, row.job.id)));
        jobs
    }

    pub fn job(&self, id: JobId) -> Option<&JobRow> {
        self.jobs.get(&id)
    }

    pub(super) fn apply_job(&mut self, news: &JobNews) {
        let id = news.job.id;
        let row = self.jobs.entry(id).or_insert_with(|| JobRow { job: news.job, fates: BTreeMap::new() });
        row.job = news.job;
        row.fates.extend(news.fates.iter().copied());
        let surplus = self.jobs.len().saturating_sub(Self::JOBS);
        let over = self.jobs.iter().filter(|(_, row)| row.job.ended.is_some()).map(|(id, _)| *id);
        let over: Vec<JobId> = over.take(surplus).collect();
        over.iter().for_each(|id| drop(self.jobs.remove(id)));
    }
}

/// Which job one looks at, and how far its results are scrolled.
#[derive(Clone, Debug, Default)]
pub struct JobsView {
    cursor: Option<JobId>,
    /// Lines of this job's results that are above the screen.
    top: Option<(JobId, usize)>,
}

impl JobsView {
    /// Lines that are no job and no result: the title, two heads.
    pub const FRAME: usize = 3;

    /// How many lines the jobs have of so many, where there are so many jobs; the results have the others.
    pub fn lines(lines: usize, jobs: usize) -> usize {
        jobs.min((lines.saturating_sub(Self::FRAME) / 3).max(1))
    }
}

impl Model {
    /// The place of the job that one looks at among [`Known::jobs`]: the newest, unless one moved to another.
    pub fn job_place(&self) -> usize {
        let cursor = self.jobs_view.cursor;
        self.shown().jobs().iter().position(|row| Some(row.job.id) == cursor).unwrap_or(0)
    }

    /// How many lines of its results are above the screen.
    pub fn job_top(&self) -> usize {
        let id = self.job().map(|row| row.job.id);
        self.jobs_view.top.filter(|(of, _)| Some(*of) == id).map_or(0, |(_, top)| top)
    }

    /// The job that one looks at.
    pub fn job(&self) -> Option<&JobRow> {
        let jobs = self.shown().jobs();
        jobs.get(self.job_place()).copied()
    }

    pub(super) fn act_on_jobs(&mut self, action: Action, now: Moment) {
        let (place, jobs) = (self.job_place(), self.shown().jobs().len());
        let lines = usize::from(self.pane.1);
        let room = lines.saturating_sub(JobsView::FRAME + JobsView::lines(lines, jobs)).max(1);
        let results = self.job().map_or(0, |row| row.results().len());
        let last = results.saturating_sub(room);
        match action {
            Action::Up => self.look_at_job(place.saturating_sub(1)),
            Action::Down => self.look_at_job(place + 1),
            Action::Top => self.look_at_job(0),
            Action::Bottom => self.look_at_job(usize::MAX),
            Action::PageUp => self.scroll_job(self.job_top().min(last).saturating_sub(room)),
            Action::PageDown => self.scroll_job((self.job_top() + room).min(last)),
            Action::Detail => self.show_clients_of_job(now),
            _ => {}
        }
    }

    /// Goes to a job's line.
    pub(super) fn open_job(&mut self, id: JobId) {
        self.jobs_view = JobsView { cursor: Some(id), top: None };
        self.go(Mode::Jobs);
    }

    fn look_at_job(&mut self, place: usize) {
        let jobs = self.shown().jobs();
        let id = jobs.get(place.min(jobs.len().saturating_sub(1))).map(|row| row.job.id);
        self.jobs_view = JobsView { cursor: id, top: None };
    }

    fn scroll_job(&mut self, top: usize) {
        self.jobs_view.top = self.job().map(|row| (row.job.id, top));
    }

    /// Shows those whose try went wrong, or all that had a turn where none did.
    fn show_clients_of_job(&mut self, now: Moment) {
        let Some(row) = self.job() else { return };
        let (id, results) = (row.job.id, row.results());
        let is_failed = |fate: &Fate| matches!(fate, Fate::Failed(_));
        let any_failed = results.iter().any(|(_, fate)| is_failed(fate));
        let wanted = results.iter().filter(|(_, fate)| !any_failed || is_failed(fate));
        let clients: Vec<ClientKey> =
            wanted.map(|(client, _)| *client).filter(|client| self.fleet().has(*client)).collect();
        match clients.is_empty() {
            true => self.say(Level::Info, format!("job {id} has no clients to show yet"), now),
            false => self.drill(Filter::of(Chosen::new(Origin::Job(id, any_failed), clients))),
        }
    }

    /// The job that a key means: the one that is looked at, or elsewhere the newest that is not over.
    fn steered(&self) -> Option<Job> {
        if self.is_in_jobs() {
            return self.job().map(|row| row.job);
        }
        self.live.jobs().iter().map(|row| row.job).find(|job| !job.state.is_over())
    }

    fn is_in_jobs(&self) -> bool {
        matches!(self.screen(), Mode::Jobs)
    }

    /// Lets the job pause, or go on.
    pub(super) fn pause_job(&mut self, now: Moment) -> Effect {
        match self.steered() {
            Some(job) if job.state == JobState::Running => self.steer(job, Steer::Pause, now),
            Some(job) if !job.state.is_over() => self.steer(job, Steer::Resume, now),
            Some(job) => self.not_steered(format!("job {} is over", job.id), now),
            None => self.not_steered("no job is under way".to_owned(), now),
        }
    }

    pub(super) fn cancel_job(&mut self, now: Moment) -> Effect {
        match self.steered() {
            Some(job) if !job.state.is_over() => self.steer(job, Steer::Cancel, now),
            Some(job) => self.not_steered(format!("job {} is over", job.id), now),
            None => self.not_steered("no job is under way".to_owned(), now),
        }
    }

    /// Takes back the job that is looked at, or else the newest.
    pub(super) fn undo_job(&mut self, now: Moment) -> Effect {
        let newest = || self.live.jobs().first().map(|row| row.job);
        let job = if self.is_in_jobs() { self.job().map(|row| row.job) } else { newest() };
        match job {
            None => self.not_steered("there is no job to take back".to_owned(), now),
            Some(job) if job.state == JobState::Undone => {
                self.not_steered(format!("job {} is taken back already", job.id), now)
            }
            Some(job) if job.is_for_good() && job.state.is_over() => {
                let text = format!("job {} is over: those that were reconnected cannot be as they were", job.id);
                self.not_steered(text, now)
            }
            Some(job) => self.steer(job, Steer::Undo, now),
        }
    }

    fn not_steered(&mut self, why: String, now: Moment) -> Effect {
        self.say(Level::Info, why, now);
        Effect::Nothing
    }

    fn steer(&mut self, job: Job, steer: Steer, now: Moment) -> Effect {
        if let Some(words) = self.refusal.clone() {
            self.say(Level::Warning, words, now);
            return Effect::Nothing;
        }
        let done = job.done + job.under_way;
        let text = match steer {
            Steer::Pause => format!("job {} pauses: {} wait for their turn", job.id, job.left),
            Steer::Resume => format!("job {} goes on with {}", job.id, job.left),
            Steer::Cancel => format!("job {} is cancelled: {} are left as they are", job.id, job.left),
            Steer::Undo if job.is_for_good() => format!("job {}: {} are left as they are", job.id, job.left),
            Steer::Undo => format!("job {} is taken back: {done} go back to what they were", job.id),
        };
        self.say(Level::Info, text, now);
        Effect::Command(Command::Steer(job.id, steer))
    }
}
