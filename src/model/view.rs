//! Defines what the user looks at: order, cursor, marks, filter, mode, freeze; all of it names clients by key, never by row number. How actions change it is in `act`.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use crate::{
    clock::Moment,
    event::{Event, Level, State, What},
    fleet::{ClientKey, Fleet, Places},
    model::{
        alerts::Alerts,
        confirm::Wish,
        events::Events,
        filter_line::FilterLine,
        jobs::JobsView,
        known::Known,
        map::Map,
        mode::Mode,
        navigation::Under,
        order::{Chosen, Filter, Sort, arrange, name_ranks},
        palette::Palette,
        pivot::{By, Pivot},
        survey::Survey,
    },
};

/// What the console knows, and what its user looks at.
#[derive(Debug)]
pub struct Model {
    pub(super) live: Known,
    pub(super) frozen: Option<Frozen>,
    ranks: Vec<u32>,
    order: Vec<ClientKey>,
    /// The number of changes that `order` was worked out from.
    arranged: u64,
    /// When news may re-sort the table again.
    rested: Moment,
    /// When the last second was over.
    looked: Moment,
    /// The user's time, as of the last [`Model::tick`].
    ticked: Moment,
    pub(super) cursor: Option<ClientKey>,
    top: usize,
    height: usize,
    pub(super) marks: BTreeSet<ClientKey>,
    /// How many of the marks are in `order`.
    pub(super) marks_shown: usize,
    pub(super) filter: Filter,
    pub(super) filter_line: FilterLine,
    pub(super) palette: Palette,
    pub(super) jobs_view: JobsView,
    pub(super) sort: Sort,
    /// What the table was sorted by before.
    pub(super) sorted_before: Sort,
    pub(super) held_until: Moment,
    /// Whether the operator holds the order until he lets it go.
    pub(super) is_order_held: bool,
    pub(super) mode: Mode,
    /// What comes back when the present mode goes, the last one first; below all of them is the table.
    pub(super) under: Vec<Under>,
    /// What the latency view shows, while it is open.
    pub(super) survey: Option<Survey>,
    /// What the groups and the map are grouped by.
    pub(super) by: By,
    /// What the groups show, while they are open.
    pub(super) pivot: Option<Pivot>,
    /// What the map shows, while it is open.
    pub(super) map: Option<Map>,
    pub(super) events: Events,
    pub(super) alerts: Alerts,
    /// The columns and lines that a screen has for itself, as far as the console knows.
    pub(super) pane: (u16, u16),
    /// Whether the question that is asked is on the screen, as far as the console knows.
    is_question_seen: bool,
    /// How far the help can be scrolled, as far as the console knows.
    pub(super) help_below: usize,
    /// What undoes the last order about an endpoint; after a job, what that job was to do.
    pub(super) undo: Option<Wish>,
    /// Why nothing is done that is wished of clients and endpoints, where nothing is.
    pub(super) refusal: Option<String>,
    pub(super) toast: Option<Toast>,
    pub(super) last_wish: Option<(Wish, Vec<ClientKey>, Moment)>,
}

/// The state of knowledge when the view was frozen.
#[derive(Clone, Debug)]
pub struct Frozen {
    pub at: Moment,
    pub known: Known,
}

/// A word to the user that goes by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Toast {
    pub text: String,
    pub level: Level,
    pub until: Moment,
}

impl Model {
    /// How long nothing is re-sorted after a key.
    pub(super) const HOLD: Duration = Duration::from_millis(1_500);
    /// The time between two re-sorts, for each client of the fleet.
    const REST: Duration = Duration::from_micros(10);
    const TOAST: Duration = Duration::from_secs(4);
    /// No count of changes: what is arranged must be arranged anew.
    const STALE: u64 = u64::MAX;

    pub fn new(fleet: Arc<Fleet>, now: Moment) -> Model {
        let ranks = name_ranks(&fleet);
        let mut model = Model {
            live: Known::new(fleet, now),
            frozen: None,
            ranks,
            order: Vec::new(),
            arranged: 0,
            rested: Moment(0),
            looked: now,
            ticked: Moment(0),
            cursor: None,
            top: 0,
            height: 1,
            marks: BTreeSet::new(),
            marks_shown: 0,
            filter: Filter::default(),
            filter_line: FilterLine::default(),
            palette: Palette::default(),
            jobs_view: JobsView::default(),
            sort: Sort::default(),
            sorted_before: Sort::default(),
            held_until: Moment(0),
            is_order_held: false,
            mode: Mode::Table,
            under: Vec::new(),
            survey: None,
            by: By::default(),
            pivot: None,
            map: None,
            events: Events::default(),
            alerts: Alerts::default(),
            pane: (0, 0),
            is_question_seen: false,
            help_below: 0,
            undo: None,
            refusal: None,
            toast: None,
            last_wish: None,
        };
        model.rearrange();
        model
    }

    /// Takes in one event. The order of the table follows with the next [`Model::tick`].
    pub fn apply(&mut self, event: &Event) {
        self.live.apply(event);
        if let What::Fleet(_) = event.what {
            self.revise(event.at);
        }
        if let What::Second(_) = event.what {
            self.looked = event.at;
            self.refresh();
        }
    }

    /// Puts other knowledge in the place of what was known: that of another time of a replay. What the
    /// user looks at stays.
    pub fn restore(&mut self, known: Known, now: Moment) {
        (self.live, self.looked) = (known, now);
        self.revise(now);
        self.rearrange();
        self.refresh();
    }

    /// One of several agents, or the only one, tells what it knows of its part of the fleet, which is this one from now
    /// on; nothing was heard of it since it was `gone`. What the user looks at stays.
    pub fn take_in(&mut self, fleet: &Arc<Fleet>, part: Known, places: &Places, gone: Option<Moment>, now: Moment) {
        self.apply(&Event { at: now, what: What::Fleet(fleet.clone()) });
        // What is frozen stays what it is.
        let is_frozen = self.frozen.is_some();
        let under =
            self.events.cursor().and_then(|number| self.live.log().entry(number)).filter(|_| !is_frozen).cloned();
        self.live.take_in(part, places, gone, now);
        if let Some(number) = under.and_then(|entry| self.live.log().number_of(&entry)) {
            self.events.stay_on(number);
        }
        self.looked = now;
        self.rearrange();
        self.refresh();
    }

    /// An agent is gone: nobody knows how its clients are.
    pub fn lose(&mut self, places: &Places, now: Moment) {
        self.live.forget(places, now);
        self.rearrange();
        self.refresh();
    }

    /// The fleet is another one: nothing is to point to somebody who is not there any more.
    pub(super) fn revise(&mut self, now: Moment) {
        self.ranks = name_ranks(self.live.fleet());
        self.arranged = Self::STALE;
        let fleet = self.live.fleet().clone();
        self.marks.retain(|client| fleet.has(*client));
        // What is frozen is as it was.
        let fleet = self.shown().fleet().clone();
        // Nobody can move to who is gone, though the order waits.
        let line = self.cursor_place().map(|place| place.saturating_sub(self.top));
        self.order.retain(|client| fleet.has(*client));
        self.scroll_to(line);
        self.count_marks();
        let Some(gone) = self.cursor.filter(|cursor| !fleet.has(*cursor)) else { return };
        self.cursor = None;
        self.count_marks();
        self.under.retain(|under| !matches!(under.mode, Mode::Detail));
        if let Mode::Detail = self.mode {
            self.close();
            let name = fleet.clients.get(gone.index()).map_or("it", |client| &client.name);
            self.say(Level::Warning, format!("{name} is not in the fleet any more"), now);
        }
    }

    /// Lets the user's time pass, which in a replay is another than the fleet's: re-sorts where something
    /// changed and no key was just pressed, drops old toasts.
    pub fn tick(&mut self, now: Moment) {
        self.ticked = now;
        if self.toast.as_ref().is_some_and(|t| t.until <= now) {
            self.toast = None;
        }
        let is_held = self.is_order_held || matches!(self.mode, Mode::Confirm(_) | Mode::Sort(_));
        if !is_held && now >= self.held_until.max(self.rested) && self.arranged != self.shown().changes() {
            self.rearrange();
            // Sorting costs some 100 ns a client: of a core, a percent or so.
            self.rested = now + Self::REST * self.live.totals().all();
        }
    }

    /// What is drawn: the present, or the moment of the freeze.
    pub fn shown(&self) -> &Known {
        self.frozen.as_ref().map_or(&self.live, |f| &f.known)
    }

    /// When that is, to a second or so.
    pub(super) fn shown_at(&self) -> Moment {
        self.frozen.as_ref().map_or(self.looked, |frozen| frozen.at)
    }

    /// Whether a key was pressed just now, as of the last [`Model::tick`].
    pub(super) fn is_at_work(&self) -> bool {
        self.held_until > self.ticked
    }

    /// The present, whatever is drawn.
    pub fn live(&self) -> &Known {
        &self.live
    }

    pub fn frozen(&self) -> Option<&Frozen> {
        self.frozen.as_ref()
    }

    pub fn fleet(&self) -> &Arc<Fleet> {
        self.live.fleet()
    }

    pub fn mode(&self) -> &Mode {
        &self.mode
    }

    /// Tells whether the question that is asked, if any, is on the screen: until it is, nobody can say yes to it.
    pub fn see(&mut self, is_seen: bool) {
        self.is_question_seen = is_seen;
    }

    /// Tells why nothing is done that is wished of clients and endpoints, where nothing is.
    pub fn set_refusal(&mut self, words: Option<String>) {
        self.refusal = words;
    }

    /// Tells how many lines of the help there is no room for.
    pub fn set_help_below(&mut self, lines: usize) {
        self.help_below = lines;
    }

    pub(super) fn is_question_seen(&self) -> bool {
        self.is_question_seen
    }

    pub fn sort(&self) -> Sort {
        self.sort
    }

    /// The query that the filter is, as it was typed.
    pub fn filter(&self) -> &str {
        self.filter.text()
    }

    /// The clients that the filter is asked of, where these are not all.
    pub fn chosen(&self) -> Option<&Chosen> {
        self.filter.chosen()
    }

    /// Whether the filter may hide anybody.
    pub fn is_filtered(&self) -> bool {
        !self.filter.is_empty()
    }

    /// What stands beside the filter while it is typed.
    pub fn filter_line(&self) -> &FilterLine {
        &self.filter_line
    }

    /// What stands beside a command while it is typed.
    pub fn palette(&self) -> &Palette {
        &self.palette
    }

    pub fn toast(&self) -> Option<&Toast> {
        self.toast.as_ref()
    }

    pub fn cursor(&self) -> Option<ClientKey> {
        self.cursor
    }

    pub fn is_marked(&self, client: ClientKey) -> bool {
        self.marks.contains(&client)
    }

    /// How many clients are marked, and how many of these the filter hides.
    pub fn marked(&self) -> (usize, usize) {
        (self.marks.len(), self.marks.len() - self.marks_shown)
    }

    /// Whether the order waits because a key was just pressed, as of the last [`Model::tick`].
    pub fn is_held(&self) -> bool {
        self.held_until > self.rested && self.arranged != self.shown().changes()
    }

    /// Whether the operator holds the order until he lets it go.
    pub fn is_order_held(&self) -> bool {
        self.is_order_held
    }

    /// All clients that the filter shows, in order.
    pub fn order(&self) -> &[ClientKey] {
        &self.order
    }

    /// The clients on the screen's lines, first line first.
    pub fn visible(&self) -> &[ClientKey] {
        let end = self.order.len().min(self.top + self.height);
        self.order.get(self.top..end).unwrap_or_default()
    }

    /// The place in the order of the first line, from 0.
    pub fn top(&self) -> usize {
        self.top
    }

    /// Clients that are connected, or about to be.
    pub fn alive(&self) -> u32 {
        let totals = self.live.totals();
        totals.of(State::Up) + totals.of(State::Connecting)
    }

    /// Tells how many table lines the screen has; 0 where it is too small for a table.
    pub fn set_height(&mut self, lines: usize) {
        if self.height != lines {
            self.height = lines;
            self.scroll_to_cursor();
        }
    }

    pub(super) fn height(&self) -> usize {
        self.height
    }

    pub fn say(&mut self, level: Level, text: String, now: Moment) {
        self.toast = Some(Toast { text, level, until: now + Self::TOAST });
    }

    /// Works the order out anew. The cursor's client keeps its line on the screen, and stays even where
    /// it changed so that the filter would hide it: a key that is meant for it must not hit another.
    /// Until the user has put the cursor somewhere there is none: following whoever is on the first
    /// line, it would be on another client by the time a key is pressed.
    pub(super) fn rearrange(&mut self) {
        self.rearrange_with(self.cursor.filter(|_| self.cursor_place().is_some()));
    }

    /// The same after the user changed the filter: it may hide the cursor's client, which then waits
    /// out of sight until the filter lets it through or the user moves to another.
    pub(super) fn rearrange_without_cursor(&mut self) {
        self.rearrange_with(None);
        if self.cursor_place().is_none() {
            self.top = 0; // what was looked at is gone: what matches is read from its begin
        }
    }

    fn rearrange_with(&mut self, kept: Option<ClientKey>) {
        let line = self.cursor_place().map(|p| p.saturating_sub(self.top));
        let now = self.shown_at();
        let known = self.frozen.as_ref().map_or(&self.live, |f| &f.known);
        arrange((known, now), &self.ranks, &self.filter, kept, [self.sort, self.sorted_before], &mut self.order);
        self.arranged = known.changes();
        self.count_marks();
        self.scroll_to(line);
    }

    /// Puts the cursor on this line of the screen, as far as there is enough above and below it.
    fn scroll_to(&mut self, line: Option<usize>) {
        if let (Some(place), Some(line)) = (self.cursor_place(), line) {
            self.top = place.saturating_sub(line);
        }
        self.scroll_to_cursor();
    }

    pub(super) fn count_marks(&mut self) {
        self.marks_shown = match self.marks.len() {
            0 => 0,
            all if self.order.len() == self.shown().totals().all() as usize => all,
            _ => self.order.iter().filter(|k| self.marks.contains(k)).count(),
        };
    }

    /// The place of the cursor's client in the order, from 0.
    pub fn cursor_place(&self) -> Option<usize> {
        let cursor = self.cursor?;
        self.order.iter().position(|&k| k == cursor)
    }

    pub(super) fn move_cursor_to(&mut self, place: usize) {
        if let Some(last) = self.order.len().checked_sub(1) {
            let left = self.cursor.replace(self.order[place.min(last)]);
            if left.is_some_and(|k| !self.filter.lets_through(self.shown(), k, self.shown_at())) {
                self.arranged = Self::STALE; // nothing keeps that one in the table any more
            }
            self.scroll_to_cursor();
        }
    }

    fn scroll_to_cursor(&mut self) {
        let height = self.height.max(1);
        self.top = self.top.min(self.order.len().saturating_sub(height));
        if let Some(place) = self.cursor_place() {
            self.top = self.top.clamp((place + 1).saturating_sub(height), place);
        }
    }
}
