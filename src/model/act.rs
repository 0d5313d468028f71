//! Defines what each action does to the view, and which command follows from it; what is wished of clients is in `wishes`, where one goes in `navigation`.

use tui_input::Input;

use crate::{
    action::{Action, Scope},
    clock::Moment,
    command::{Command, Direction, Playback},
    event::Level,
    fleet::ClientKey,
    model::{
        confirm::{Confirm, Typed, Wish},
        mode::Mode,
        order::{Column, Sort, is_unwell},
        view::{Frozen, Model},
    },
    query::Query,
};

/// What the console has to do after an action.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    Nothing,
    Command(Command),
    Playback(Playback),
    Repaint,
    Suspend,
    /// To be the one whose console commands the agent.
    TakeOver,
    Quit,
}

impl Model {
    /// Does what the user meant.
    pub fn act(&mut self, action: Action, now: Moment) -> Effect {
        self.held_until = now + Self::HOLD;
        if !self.mode.takes(action) {
            self.say(Level::Info, format!("{}: not on this screen", action.words()), now);
            return Effect::Nothing;
        }
        if let Mode::Help(top) = &mut self.mode {
            let page = self.help_below.max(2) / 2;
            *top = match action {
                Action::Up => top.saturating_sub(1),
                Action::Down => *top + 1,
                Action::PageUp => top.saturating_sub(page),
                Action::PageDown => *top + page,
                Action::Top => 0,
                Action::Bottom => usize::MAX,
                _ => *top,
            };
            *top = (*top).min(self.help_below);
            if is_motion(action) {
                return Effect::Nothing;
            }
        }
        if self.height() == 0 && !is_for_any_size(action) {
            let text = "too small: nobody sees which client that is".to_owned();
            self.say(Level::Warning, text, now);
            return Effect::Nothing;
        }
        if let Mode::Confirm(confirm) = &mut self.mode
            && confirm.is_changed_by(action)
        {
            confirm.change(action);
            self.see(false);
            return Effect::Nothing;
        }
        if self.act_on_screen(action, now) {
            return Effect::Nothing;
        }
        let page = self.height().max(2) as isize - 1;
        match action {
            Action::Up => self.step(-1),
            Action::Down => self.step(1),
            Action::PageUp => self.step(-page),
            Action::PageDown => self.step(page),
            Action::Top => self.move_cursor_to(0),
            Action::Bottom => self.move_cursor_to(usize::MAX),
            Action::NextUnwell => self.seek_unwell(true, now),
            Action::PreviousUnwell => self.seek_unwell(false, now),
            // Of other screens only.
            Action::Left | Action::Right | Action::NextMatch | Action::PreviousMatch => {}
            Action::Detail => {
                if self.cursor_place().is_none() {
                    self.step(0);
                }
                if self.cursor_place().is_some() {
                    self.open(Mode::Detail);
                }
            }
            Action::Clients => self.go(Mode::Table),
            Action::Groups => self.go(Mode::Groups),
            Action::Map => self.go(Mode::Map),
            Action::Latency => self.go(Mode::Latency),
            Action::Events => self.go(Mode::Events),
            Action::Alerts => {
                let known = self.frozen.as_ref().map_or(&self.live, |frozen| &frozen.known);
                self.alerts.choose(known.alerts());
                self.go(Mode::Alerts);
            }
            Action::Jobs => self.go(Mode::Jobs),
            Action::Endpoints => self.go(Mode::Endpoints),
            Action::Cause => self.look_for_causes(now),
            Action::Back => self.back(),
            Action::Command => self.open_palette(),
            Action::Filter => self.open_filter(),
            Action::Sort => self.open(Mode::Sort(self.sort.column)),
            Action::SortNext => self.sort_by(self.sort.column.next(1)),
            Action::SortPrevious => self.sort_by(self.sort.column.next(-1)),
            Action::SortReverse => self.reverse(),
            Action::HoldOrder => self.hold_order(now),
            Action::Mark => self.toggle_mark(),
            Action::MarkAll => self.mark_shown(true, None, now),
            Action::UnmarkAll => self.mark_shown(false, None, now),
            Action::Reconnect => return self.wish(Wish::Reconnect, now),
            Action::Disconnect => return self.wish(Wish::Disconnect, now),
            Action::Hold | Action::RateUp | Action::RateDown => return self.tend(action, now),
            Action::Mute | Action::Acknowledge => return self.tend_alert(action, now),
            Action::Undo => return self.undo(now),
            Action::PauseJob => return self.pause_job(now),
            Action::CancelJob => return self.cancel_job(now),
            Action::Freeze => self.toggle_freeze(now),
            Action::GoTo => self.open(Mode::GoTo(Input::default())),
            Action::Play => return Effect::Playback(Playback::PlayOrPause),
            Action::Faster => return Effect::Playback(Playback::Faster),
            Action::Slower => return Effect::Playback(Playback::Slower),
            Action::Forward => return Effect::Playback(Playback::Skip(Direction::Forward)),
            Action::Backward => return Effect::Playback(Playback::Skip(Direction::Backward)),
            Action::NextEvent => return Effect::Playback(Playback::Event(Direction::Forward, self.told())),
            Action::PreviousEvent => return Effect::Playback(Playback::Event(Direction::Backward, self.told())),
            Action::NextTrouble => return Effect::Playback(Playback::Trouble(Direction::Forward)),
            Action::PreviousTrouble => return Effect::Playback(Playback::Trouble(Direction::Backward)),
            Action::Help => self.open(Mode::Help(0)),
            Action::Repaint => return Effect::Repaint,
            Action::Suspend => return Effect::Suspend,
            Action::TakeOver => return Effect::TakeOver,
            Action::EndFleet if !self.fleet().agents().is_empty() => {
                let text = "these are several fleets: attach to one alone to end it".to_owned();
                self.say(Level::Info, text, now);
            }
            Action::EndFleet => {
                let typed = Typed { wanted: self.fleet().name.to_string(), input: Input::default() };
                let (states, wish) = (*self.live.totals(), Wish::End);
                self.ask(Confirm {
                    wish,
                    targets: Vec::new(),
                    hidden: 0,
                    states,
                    tier: 3,
                    roll: None,
                    typed: Some(typed),
                });
            }
            Action::Quit if self.alive() == 0 => return Effect::Quit,
            Action::Quit => {
                let states = *self.live.totals();
                let quit = Confirm {
                    wish: Wish::Quit,
                    targets: Vec::new(),
                    hidden: 0,
                    states,
                    tier: 1,
                    roll: None,
                    typed: None,
                };
                self.ask(quit);
            }
        }
        Effect::Nothing
    }

    /// The client whose events are told: all where none has the screen for itself.
    fn told(&self) -> Option<ClientKey> {
        self.cursor.filter(|_| matches!(self.screen(), Mode::Detail))
    }

    pub(super) fn step(&mut self, by: isize) {
        match self.cursor_place() {
            Some(place) => self.move_cursor_to(place.saturating_add_signed(by)),
            None => self.move_cursor_to(self.top()),
        }
    }

    /// Sorts by a column, and where that does not tell two clients apart, as it was sorted before.
    pub(super) fn sort_by(&mut self, column: Column) {
        if column != self.sort.column {
            self.sorted_before = std::mem::replace(&mut self.sort, Sort::by(column));
            self.rearrange();
        }
    }

    pub(super) fn reverse(&mut self) {
        self.sort.descending = !self.sort.descending;
        self.rearrange();
    }

    /// Lets the order be as it is, or go on to follow what happens.
    fn hold_order(&mut self, now: Moment) {
        self.is_order_held = !self.is_order_held;
        let text = if self.is_order_held { "the order is held: rows stay where they are" } else { "the order goes on" };
        self.say(Level::Info, text.to_owned(), now);
    }

    /// Moves to the next client that is not well, or the one before, in the order of the table.
    fn seek_unwell(&mut self, is_next: bool, now: Moment) {
        let from = self.cursor_place();
        let is_unwell = |place: &usize| is_unwell(self.shown().row(self.order()[*place]));
        let found = match is_next {
            true => (from.map_or(0, |place| place + 1)..self.order().len()).find(is_unwell),
            false => (0..from.unwrap_or(0)).rfind(is_unwell),
        };
        match found {
            Some(place) => self.move_cursor_to(place),
            None => self.say(Level::Info, "no other that is not well in this direction".to_owned(), now),
        }
    }

    /// Marks what the table shows, the filter means and the query too, or takes these marks away.
    pub(super) fn mark_shown(&mut self, is_marked: bool, query: Option<&Query>, now: Moment) {
        let meant = self.shown_of(query.unwrap_or(&Query::default()));
        let before = self.marks.len();
        match is_marked {
            true => self.marks.extend(meant),
            false => self.marks.retain(|key| meant.binary_search(key).is_err()),
        }
        self.count_marks();
        let (marked, changed) = (self.marks.len(), self.marks.len().abs_diff(before));
        let what = if is_marked { "marked" } else { "unmarked" };
        self.say(Level::Info, format!("{changed} {what}; {marked} marked in all"), now);
    }

    fn toggle_mark(&mut self) {
        if let Some(client) = self.cursor {
            // In a frozen view there may be who is gone.
            if !self.marks.remove(&client) && self.fleet().has(client) {
                self.marks.insert(client);
            }
            self.count_marks();
            self.step(1);
        } else {
            self.step(0);
        }
    }

    fn toggle_freeze(&mut self, now: Moment) {
        self.frozen = match self.frozen.take() {
            Some(frozen) => {
                let changes = self.live.steps() - frozen.known.steps();
                self.say(Level::Info, format!("it goes on: {changes} changes of state meanwhile"), now);
                None
            }
            None => Some(Frozen { at: now, known: self.live.clone() }),
        };
        self.rearrange();
        self.revise(now); // who was in sight may be gone
        self.refresh();
    }
}

pub(super) fn is_motion(action: Action) -> bool {
    matches!(action, Action::Up | Action::Down | Action::PageUp | Action::PageDown | Action::Top | Action::Bottom)
}

/// Whether an action means something on a screen too small for a table.
fn is_for_any_size(action: Action) -> bool {
    action.scope() == Scope::Replay
        || matches!(
            action,
            Action::Back | Action::Command | Action::Filter | Action::Repaint | Action::Suspend | Action::Quit
        )
}
