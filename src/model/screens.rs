//! Defines what the screens beside the table show, worked out once a second off the frame path, and what keys do there.

use std::time::Duration;

use crate::{
    action::Action,
    clock::Moment,
    command::Command,
    event::{Alert, Level},
    fleet::ClientKey,
    model::{
        act::{Effect, is_motion},
        alerts::{AlertRow, Alerts},
        events::Events,
        log::Subject,
        map::Map,
        mode::Mode,
        order::{Chosen, Filter, Origin},
        pivot::{By, PartKey, Pivot},
        survey::Survey,
        view::Model,
    },
    text::Scrubbed,
};

impl Model {
    /// What the latency view shows, while it is open.
    pub fn latency_view(&self) -> Option<&Survey> {
        self.survey.as_ref()
    }

    /// The groups, while they are open.
    pub fn pivot(&self) -> Option<&Pivot> {
        self.pivot.as_ref()
    }

    /// The map, while it is open.
    pub fn map(&self) -> Option<&Map> {
        self.map.as_ref()
    }

    pub fn events(&self) -> &Events {
        &self.events
    }

    /// Where one is among the alerts.
    pub fn alerts(&self) -> &Alerts {
        &self.alerts
    }

    /// Tells how many columns and lines a screen has for itself.
    pub fn set_pane(&mut self, pane: (u16, u16)) {
        self.pane = pane;
    }

    /// Tells which events are shown and found, where the console looked for them.
    pub fn show_events(&mut self, (shown, found): (Vec<u64>, Vec<u64>)) {
        self.events.show(shown, found);
    }

    /// Works out what the screen shows that is open, as of the last look. It is a pass over what the filter shows.
    pub(super) fn refresh(&mut self) {
        let survey = matches!(self.screen(), Mode::Latency).then(|| {
            let (known, now) = (self.shown(), self.shown_at());
            match self.filter.is_empty() {
                true => Survey::of_fleet(known, now),
                false => Survey::of(known, self.order(), now),
            }
        });
        let (pivot, map) = (self.pivot.take(), self.map.take());
        let pivot = match self.screen() {
            Mode::Groups => {
                let is_held = self.is_order_held() || self.is_at_work();
                let clients = self.clients_shown().into_iter();
                Some(Pivot::of(self.shown(), clients, &self.by, self.shown_at(), pivot, is_held))
            }
            // What lies below another screen is as it was when that goes.
            _ => pivot.filter(|_| self.is_below(|mode| matches!(mode, Mode::Groups))),
        };
        let map = match self.screen() {
            Mode::Map => {
                let cursor = map.as_ref().map_or(self.cursor, Map::cursor_client);
                Some(Map::of(self.shown(), self.clients_shown(), &self.by, cursor))
            }
            _ => map.filter(|_| self.is_below(|mode| matches!(mode, Mode::Map))),
        };
        (self.survey, self.pivot, self.map) = (survey, pivot, map);
    }

    fn is_below(&self, is_it: impl Fn(&Mode) -> bool) -> bool {
        self.under.iter().any(|under| is_it(&under.mode))
    }

    /// The clients that the filter shows.
    fn clients_shown(&self) -> Vec<ClientKey> {
        match self.filter.is_empty() {
            true => self.shown().fleet().keys().collect(),
            false => self.order().to_vec(),
        }
    }

    /// Does what an action means on the screen there is; says whether it means anything of its own there.
    pub(super) fn act_on_screen(&mut self, action: Action, now: Moment) -> bool {
        let is_own = is_motion(action)
            || matches!(
                action,
                Action::Left
                    | Action::Right
                    | Action::NextUnwell
                    | Action::PreviousUnwell
                    | Action::NextMatch
                    | Action::PreviousMatch
                    | Action::SortNext
                    | Action::SortPrevious
                    | Action::Detail
            );
        match self.mode {
            Mode::Groups if is_own => self.act_on_groups(action, now),
            Mode::Map if is_own => self.act_on_map(action, now),
            Mode::Events if is_own => self.act_on_events(action, now),
            Mode::Alerts if is_own => self.act_on_alerts(action, now),
            Mode::Jobs if is_own => self.act_on_jobs(action, now),
            _ => return false,
        }
        true
    }

    fn act_on_groups(&mut self, action: Action, now: Moment) {
        let lines = usize::from(self.pane.1).saturating_sub(Pivot::FRAME).max(1);
        let page = lines.max(2) as isize - 1;
        let Some(pivot) = &mut self.pivot else { return };
        match action {
            Action::Up => pivot.step(-1, lines),
            Action::Down => pivot.step(1, lines),
            Action::PageUp => pivot.step(-page, lines),
            Action::PageDown => pivot.step(page, lines),
            Action::Top => pivot.move_to(0, lines),
            Action::Bottom => pivot.move_to(usize::MAX, lines),
            Action::NextUnwell | Action::PreviousUnwell => {
                if !pivot.seek(action == Action::NextUnwell, lines) {
                    self.say(Level::Info, "no other group that is not well in this direction".to_owned(), now);
                }
            }
            Action::SortNext => self.group_by(1, |_| true),
            Action::SortPrevious => self.group_by(-1, |_| true),
            _ => {
                if let Some(query) = pivot.cursor().map(|part| part.key.query(self.live.fleet())) {
                    self.drill(self.filter.and(query));
                }
            }
        }
    }

    /// Groups by the next thing, or by the one before, that `is_it`.
    fn group_by(&mut self, by: isize, is_it: impl Fn(&By) -> bool) {
        loop {
            self.by = self.by.next(self.shown(), by);
            if is_it(&self.by) {
                break;
            }
        }
        self.refresh();
    }

    fn act_on_map(&mut self, action: Action, now: Moment) {
        let pane = (usize::from(self.pane.0), usize::from(self.pane.1));
        let Some(map) = &mut self.map else { return };
        let grid = map.grid(pane);
        let page = (pane.1 / 2).max(1) as isize;
        match action {
            Action::Left => map.step(&grid, -1),
            Action::Right => map.step(&grid, 1),
            Action::Up => map.climb(&grid, -1),
            Action::Down => map.climb(&grid, 1),
            Action::PageUp => map.climb(&grid, -page),
            Action::PageDown => map.climb(&grid, page),
            Action::Top => map.go_to_end(false),
            Action::Bottom => map.go_to_end(true),
            Action::NextUnwell | Action::PreviousUnwell if map.seek(&grid, action == Action::NextUnwell) => {}
            Action::NextUnwell | Action::PreviousUnwell => {
                self.say(Level::Info, "no other that is not well in this direction".to_owned(), now);
            }
            Action::SortNext => self.group_by(1, By::is_lasting),
            Action::SortPrevious => self.group_by(-1, By::is_lasting),
            Action::Detail => {
                let clients = map.place(&grid).map(|place| place.clients.to_vec()).unwrap_or_default();
                match clients[..] {
                    [] => {}
                    [client] => self.open_client(client, now),
                    _ => self.drill(Filter::of(Chosen::new(Origin::Cell, clients))),
                }
            }
            _ => {}
        }
    }

    /// Moves the cursor to a client, and shows everything about it.
    fn open_client(&mut self, client: ClientKey, now: Moment) {
        match self.order().iter().position(|key| *key == client) {
            Some(place) => {
                self.move_cursor_to(place);
                self.open(Mode::Detail);
            }
            None if !self.fleet().has(client) => {
                self.say(Level::Info, "that client is not in the fleet any more".to_owned(), now);
            }
            // The filter hides it: all by itself it is seen.
            None => {
                self.drill(Filter::of(Chosen::new(Origin::Cell, vec![client])));
                self.move_cursor_to(0);
            }
        }
    }

    fn act_on_events(&mut self, action: Action, now: Moment) {
        let lines = usize::from(self.pane.1).saturating_sub(Events::FRAME).max(1);
        let page = lines.max(2) as isize - 1;
        let log = self.frozen.as_ref().map_or(&self.live, |frozen| &frozen.known).log();
        let events = &mut self.events;
        match action {
            Action::Up => events.step(-1, lines, log),
            Action::Down => events.step(1, lines, log),
            Action::PageUp => events.step(-page, lines, log),
            Action::PageDown => events.step(page, lines, log),
            Action::Top => events.move_to(0, lines, log),
            Action::Bottom => events.follow(),
            Action::NextUnwell | Action::PreviousUnwell => {
                let is_next = action == Action::NextUnwell;
                if !events.seek(is_next, lines, log, |entry, _| entry.level > Level::Info) {
                    self.say(Level::Info, "no other warning or error in this direction".to_owned(), now);
                }
            }
            Action::NextMatch | Action::PreviousMatch => {
                let is_found = events.seek(action == Action::NextMatch, lines, log, |_, is_found| is_found);
                let text = match events.sought() {
                    None => "nothing is searched for: type a filter, and Esc shows what is around it",
                    Some(_) => "no other event like that in this direction",
                };
                if !is_found {
                    self.say(Level::Info, text.to_owned(), now);
                }
            }
            Action::Detail => self.open_event(now),
            _ => {}
        }
    }

    fn act_on_alerts(&mut self, action: Action, now: Moment) {
        let room = (usize::from(self.pane.1).saturating_sub(Alerts::FRAME) / Alerts::LINES).max(1);
        let page = room.max(2) as isize - 1;
        let by = match action {
            Action::Up => -1,
            Action::Down => 1,
            Action::PageUp => -page,
            Action::PageDown => page,
            Action::Top => isize::MIN,
            Action::Bottom => isize::MAX,
            Action::Detail => return self.open_alert(now),
            _ => return,
        };
        let known = self.frozen.as_ref().map_or(&self.live, |frozen| &frozen.known);
        self.alerts.step(by, known.alerts(), room);
    }

    /// Shows the clients that the alert under the cursor is about.
    fn open_alert(&mut self, now: Moment) {
        let row = self.alerts.cursor(self.shown().alerts()).map(|(_, row)| row.clone());
        match row.as_ref().and_then(AlertRow::alert) {
            Some(alert) => self.open_clients_of(alert, Origin::Alert(alert.name()), now),
            None if row.is_some() => self.say(Level::Info, "this alert does not fire".to_owned(), now),
            None => self.say(Level::Info, "no alert fires".to_owned(), now),
        }
    }

    fn open_clients_of(&mut self, alert: &Alert, origin: Origin, now: Moment) {
        let mut clients = alert.first.clone();
        clients.retain(|client| self.fleet().has(*client));
        let (found, count) = (clients.len() as u32, alert.clients);
        self.drill(Filter::of(Chosen::new(origin, clients)));
        if found < count {
            self.say(Level::Info, format!("the first {found} of its {count} clients"), now);
        }
    }

    /// Mutes the alert under the cursor for an hour, or tells of it again; or says that somebody is on it.
    pub(super) fn tend_alert(&mut self, action: Action, now: Moment) -> Effect {
        const HOUR: Duration = Duration::from_secs(3_600);
        if let Some(words) = self.refusal.clone() {
            self.say(Level::Warning, words, now);
            return Effect::Nothing;
        }
        let known = self.frozen.as_ref().map_or(&self.live, |frozen| &frozen.known);
        let chosen = self.alerts.chosen(known.alerts());
        let Some(row) = chosen.and_then(|key| self.live.alerts().get(&key)) else {
            self.say(Level::Info, "no alert is chosen, or it is over: move to one first".to_owned(), now);
            return Effect::Nothing;
        };
        let (rule, by, name) = (row.key(), Scrubbed::default(), row.name());
        if self.alerts.is_held(&rule, action, now, Self::REPEAT) {
            return Effect::Nothing;
        }
        let (command, said) = match action {
            Action::Acknowledge if row.firing.is_none() => {
                self.say(Level::Info, format!("{name} does not fire: there is nothing to acknowledge"), now);
                return Effect::Nothing;
            }
            Action::Acknowledge => (Command::Acknowledge { rule, by }, format!("{name}: acknowledged")),
            _ if row.muted.is_some() => {
                (Command::Mute { rule, lasting: Duration::ZERO, by }, format!("{name}: not muted any more"))
            }
            _ => (Command::Mute { rule, lasting: HOUR, by }, format!("{name}: muted for an hour")),
        };
        self.say(Level::Info, said, now);
        Effect::Command(command)
    }

    /// Shows the clients of which the event under the cursor tells, or the newest.
    fn open_event(&mut self, now: Moment) {
        let log = self.shown().log();
        let number = self.events.cursor().or(self.events.shown().last().copied());
        let Some(entry) = number.and_then(|number| log.entry(number)).cloned() else { return };
        match &entry.subject {
            Subject::Clients { first, count: 1, .. } => self.open_client(*first, now),
            Subject::Clients { count, .. } => {
                let mut clients = log.clients(&entry);
                clients.retain(|client| self.fleet().has(*client));
                let (found, count) = (clients.len(), *count);
                self.drill(Filter::of(Chosen::new(Origin::Burst(entry), clients)));
                if (found as u32) < count {
                    let text =
                        format!("{found} of its {count} clients: the others are forgotten, gone, or twice in it");
                    self.say(Level::Info, text, now);
                }
            }
            Subject::Alert(alert) if alert.first.is_empty() => {
                self.say(Level::Info, "this alert is over: its begin tells whom it was about".to_owned(), now);
            }
            Subject::Alert(alert) => self.open_clients_of(alert, Origin::Burst(entry.clone()), now),
            Subject::Shortfall { first, .. } => self.open_client(first.client, now),
            Subject::Job(job) => self.open_job(job.id),
            Subject::Silence { endpoint, .. } | Subject::Answers { endpoint, .. } | Subject::Order(endpoint, _) => {
                let query = PartKey::Endpoint(*endpoint).query(self.fleet());
                self.drill(Filter::default().and(query));
            }
            Subject::Handling(_) => self.go(Mode::Alerts),
            Subject::Worker { .. } | Subject::Notice(_) => {
                self.say(Level::Info, "this event is about no client".to_owned(), now);
            }
        }
    }
}
