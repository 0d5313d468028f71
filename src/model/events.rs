//! Defines what is looked at of the events: a filter of their own, the cursor on one of them or at the newest, and what a filter is asked of an event; their sentences are not known here.

use crate::{
    event::{Badge, JobState, Level, Reason, WorkerEvent},
    fleet::{Fleet, ProbeKind, Protocol},
    model::{
        log::{Entry, Log, Subject},
        order::Filter,
    },
    query::{self, Field, Query},
};

/// What the events screen shows.
#[derive(Debug, Default)]
pub struct Events {
    filter: Filter,
    /// The filter before it was typed anew.
    before: Filter,
    /// The last filter there was: what is searched for.
    sought: Option<Filter>,
    /// The events that the filter means, oldest first, by their numbers, as far as the console knows.
    shown: Vec<u64>,
    /// Those of them that are what is searched for.
    found: Vec<u64>,
    /// The event under the cursor; none where the newest is followed.
    cursor: Option<u64>,
    /// How many events there were when it was left.
    left: u64,
    top: usize,
}

impl Events {
    /// The lines around the events: their title.
    pub const FRAME: usize = 1;

    pub fn query(&self) -> &Query {
        self.filter.query()
    }

    /// The filter as it was typed.
    pub fn text(&self) -> &str {
        self.filter.text()
    }

    /// What is searched for, while nothing is hidden.
    pub fn sought(&self) -> Option<&Query> {
        self.sought.as_ref().filter(|_| self.filter.is_empty()).map(Filter::query)
    }

    pub fn sought_text(&self) -> &str {
        self.sought.as_ref().map_or("", Filter::text)
    }

    pub(super) fn filter(&self) -> &Filter {
        &self.filter
    }

    pub(super) fn set_filter(&mut self, filter: Filter) {
        self.filter = filter;
    }

    /// The line for a filter is opened; what stands in it.
    pub(super) fn open_line(&mut self) -> &str {
        self.before = self.filter.clone();
        self.filter.text()
    }

    /// What was typed is not wanted.
    pub(super) fn drop_typed(&mut self) {
        self.filter = std::mem::take(&mut self.before);
    }

    /// Takes the filter away, where there is one; then the search. What the cursor is on stays under it, among what was around it.
    pub(super) fn clear(&mut self) -> bool {
        if self.filter.is_empty() {
            return self.sought.take().is_some();
        }
        self.sought = Some(std::mem::take(&mut self.filter));
        true
    }

    /// Tells which events the filter means, and which of them are what is searched for, both oldest first.
    pub(super) fn show(&mut self, shown: Vec<u64>, found: Vec<u64>) {
        (self.shown, self.found) = (shown, found);
    }

    /// The numbers of the events that are shown, oldest first.
    pub fn shown(&self) -> &[u64] {
        &self.shown
    }

    pub fn is_found(&self, number: u64) -> bool {
        self.found.binary_search(&number).is_ok()
    }

    pub fn found(&self) -> usize {
        self.found.len()
    }

    pub fn is_following(&self) -> bool {
        self.cursor.is_none()
    }

    /// How many came since the newest is not followed any more.
    pub fn news(&self, log: &Log) -> u64 {
        if self.is_following() { 0 } else { log.written().saturating_sub(self.left) }
    }

    /// The event under the cursor, or the nearest that is shown.
    pub fn cursor(&self) -> Option<u64> {
        let cursor = self.cursor?;
        let at = self.shown.partition_point(|number| *number < cursor);
        self.shown.get(at).or(self.shown.last()).copied()
    }

    fn place(&self) -> Option<usize> {
        self.shown.binary_search(&self.cursor()?).ok()
    }

    /// The place of the first line, where there are so many.
    pub fn top(&self, lines: usize) -> usize {
        let end = self.shown.len().saturating_sub(lines);
        match self.place() {
            None => end,
            Some(place) => self.top.min(end).clamp((place + 1).saturating_sub(lines), place),
        }
    }

    /// Moves by so many lines. Where it would go beyond the newest, that is followed again.
    pub(super) fn step(&mut self, by: isize, lines: usize, log: &Log) {
        let from = match self.place() {
            Some(place) => place as isize,
            None => self.shown.len() as isize,
        };
        self.move_to(from.saturating_add(by), lines, log);
    }

    pub(super) fn move_to(&mut self, place: isize, lines: usize, log: &Log) {
        let place = place.max(0) as usize;
        let top = self.top(lines);
        match self.shown.get(place) {
            Some(number) => {
                if self.is_following() {
                    self.left = log.written();
                    self.top = top;
                }
                self.cursor = Some(*number);
                self.top = self.top(lines);
            }
            None => self.follow(),
        }
    }

    /// The event under the cursor has another number by now.
    pub(super) fn stay_on(&mut self, number: u64) {
        self.cursor = Some(number);
    }

    /// Follows the newest.
    pub(super) fn follow(&mut self) {
        self.cursor = None;
    }

    /// Moves to the next (or last) event that `is_it`; says whether there is one.
    pub(super) fn seek(
        &mut self,
        is_next: bool,
        lines: usize,
        log: &Log,
        is_it: impl Fn(&Entry, bool) -> bool,
    ) -> bool {
        let at = self.place().unwrap_or(self.shown.len());
        let is_it = |place: &usize| {
            let number = self.shown[*place];
            log.entry(number).is_some_and(|entry| is_it(entry, self.is_found(number)))
        };
        let found = match is_next {
            true => (at + 1..self.shown.len()).find(is_it),
            false => (0..at).rfind(is_it),
        };
        found.inspect(|place| self.move_to(*place as isize, lines, log)).is_some()
    }
}

/// An event as a query is asked of it: of a state it is what its clients came to, of texts it has those of its sentence.
#[derive(Clone, Copy, Debug)]
pub struct EventFacts<'e> {
    pub fleet: &'e Fleet,
    pub entry: &'e Entry,
    /// The event in words.
    pub sentence: &'e str,
}

impl query::Subject for EventFacts<'_> {
    fn badge(&self) -> Badge {
        match &self.entry.subject {
            Subject::Clients { to, reason, .. } => Badge::of(*to, *reason),
            Subject::Worker { event: WorkerEvent::Silent | WorkerEvent::Died, .. } => Badge::Failed,
            Subject::Silence { .. } => Badge::Mute,
            Subject::Shortfall { .. } => Badge::Slow,
            Subject::Answers { .. } => Badge::Up,
            Subject::Notice(_) if self.entry.level == Level::Error => Badge::Failed,
            Subject::Alert(alert) if alert.is_firing => Badge::Failed,
            Subject::Handling(_) if self.entry.level == Level::Error => Badge::Failed,
            Subject::Job(job) if job.state == JobState::Stopped => Badge::Failed,
            Subject::Worker { .. } | Subject::Order(..) | Subject::Notice(_) => Badge::Off,
            Subject::Alert(_) | Subject::Handling(_) | Subject::Job(_) => Badge::Off,
        }
    }

    fn is_down(&self) -> bool {
        self.badge().is_down()
    }

    fn reason(&self) -> Option<Reason> {
        match &self.entry.subject {
            Subject::Clients { reason, .. } => Some(*reason),
            _ => None,
        }
    }

    fn protocol(&self) -> Option<Protocol> {
        self.client().map(|client| client.settings.protocol)
    }

    fn scheme(&self) -> Option<&'static str> {
        self.endpoint().map(|endpoint| endpoint.transport.scheme())
    }

    fn probe(&self) -> Option<ProbeKind> {
        self.client().map(|client| client.settings.probe.kind)
    }

    fn text(&self, field: Field, is_it: &mut dyn FnMut(&str) -> bool) -> bool {
        match (field, &self.entry.subject) {
            (Field::Id, Subject::Clients { first, last, .. }) => {
                [first, last].into_iter().any(|key| is_it(&self.fleet.client(*key).name))
            }
            (Field::Id, Subject::Shortfall { first, .. }) => is_it(&self.fleet.client(first.client).name),
            (Field::Endpoint, _) => self.endpoint().is_some_and(|endpoint| is_it(&endpoint.name)),
            (Field::Address, _) => self.endpoint().is_some_and(|endpoint| is_it(&endpoint.address())),
            (Field::Why, Subject::Clients { reason, .. }) => is_it(reason.words()) || is_it(self.sentence),
            (Field::Why, _) => is_it(self.sentence),
            _ => false,
        }
    }

    fn label(&self, is_it: &mut dyn FnMut(&str, &str) -> bool) -> bool {
        self.client().is_some_and(|client| client.labels.iter().any(|(name, value)| is_it(name, value)))
    }

    fn figure(&self, _: Field) -> Option<u64> {
        None
    }
}

impl EventFacts<'_> {
    fn client(&self) -> Option<&crate::fleet::Client> {
        match &self.entry.subject {
            Subject::Clients { first, .. } => Some(self.fleet.client(*first)),
            Subject::Shortfall { first, .. } => Some(self.fleet.client(first.client)),
            _ => None,
        }
    }

    fn endpoint(&self) -> Option<&crate::fleet::Endpoint> {
        match &self.entry.subject {
            Subject::Clients { endpoint, .. }
            | Subject::Silence { endpoint, .. }
            | Subject::Answers { endpoint, .. }
            | Subject::Order(endpoint, _) => Some(self.fleet.endpoint(*endpoint)),
            Subject::Worker { .. } | Subject::Shortfall { .. } | Subject::Notice(_) => None,
            Subject::Alert(_) | Subject::Handling(_) | Subject::Job(_) => None,
        }
    }
}
