//! Defines what each action does to the view, and which command follows from it; carrying commands out is the engine's matter.

use std::time::Duration;

use tui_input::{Input, InputRequest};

use crate::{
    action::{Action, Scope},
    clock::Moment,
    command::{Command, Direction, Playback},
    event::{Condition, Level},
    fleet::ClientKey,
    model::{
        order::{Filter, Sort},
        view::{Confirm, Frozen, Mode, Model, Wish},
    },
};

/// What the console has to do after an action.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    Nothing,
    Command(Command),
    Playback(Playback),
    Repaint,
    Quit,
}

impl Model {
    /// A key that is held down must not act twice on the same clients: longer than the slowest usual
    /// delay before a key repeats (660 ms, X11).
    const REPEAT: Duration = Duration::from_millis(750);
    /// The most characters taken from a paste.
    const PASTE: usize = 256;
    /// What a fleet file may ask for at most, too.
    const MAX_RATE: u32 = 100_000;

    /// Does what the user meant.
    pub fn act(&mut self, action: Action, now: Moment) -> Effect {
        self.held_until = now + Self::HOLD;
        // Behind the latency view nobody sees which client a key would hit.
        if matches!(self.mode, Mode::Latency) && !is_for_all(action) {
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
            Action::Detail => {
                if self.cursor_place().is_none() {
                    self.step(0);
                }
                if self.cursor_place().is_some() {
                    self.mode = Mode::Detail;
                }
            }
            Action::Latency if matches!(self.mode, Mode::Latency) => self.back(),
            Action::Latency => {
                self.mode = Mode::Latency;
                self.survey();
            }
            Action::Back => self.back(),
            Action::Filter => self.mode = Mode::Filter(Input::new(self.filter.text().to_owned())),
            Action::SortNext => self.sort_by(Sort::by(self.sort.column.next(1))),
            Action::SortPrevious => self.sort_by(Sort::by(self.sort.column.next(-1))),
            Action::SortReverse => self.sort_by(Sort { descending: !self.sort.descending, ..self.sort }),
            Action::Mark => self.toggle_mark(),
            Action::MarkAll => {
                let shown = self.order().to_vec();
                self.marks.extend(shown);
                self.count_marks();
            }
            Action::Reconnect => return self.wish(Wish::Reconnect, now),
            Action::Disconnect => return self.wish(Wish::Disconnect, now),
            Action::Hold | Action::RateUp | Action::RateDown => return self.tend(action, now),
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
            Action::Help => self.open(Mode::Help),
            Action::Repaint => return Effect::Repaint,
            Action::Quit if self.alive() == 0 => return Effect::Quit,
            Action::Quit => {
                self.open(Mode::Confirm(Confirm {
                    wish: Wish::Quit,
                    targets: Vec::new(),
                    hidden: 0,
                    states: *self.live.totals(),
                    typed: None,
                }));
            }
        }
        Effect::Nothing
    }

    /// Edits the line that is being typed, if any.
    pub fn edit(&mut self, request: InputRequest, now: Moment) {
        self.held_until = now + Self::HOLD;
        match &mut self.mode {
            Mode::Filter(input) => {
                input.handle(request);
                self.refilter();
            }
            Mode::GoTo(input) | Mode::Confirm(Confirm { typed: Some(input), .. }) => {
                input.handle(request);
            }
            _ => {}
        }
    }

    /// Puts pasted text into the filter line or that of a time; anywhere else it means nothing, and
    /// answers nothing.
    pub fn paste(&mut self, text: &str, now: Moment) {
        self.held_until = now + Self::HOLD;
        if let Mode::Filter(input) | Mode::GoTo(input) = &mut self.mode {
            for c in text.chars().filter(|c| !c.is_control()).take(Self::PASTE) {
                input.handle(InputRequest::InsertChar(c));
            }
            self.refilter();
        }
    }

    /// Follows the filter line. A client that the new filter hides cannot keep the cursor.
    fn refilter(&mut self) {
        if let Mode::Filter(input) = &self.mode {
            self.filter = Filter::new(input.value());
            self.rearrange_without_cursor();
        }
    }

    /// Ends the line that is being typed, and does what it says.
    pub fn accept(&mut self) -> Effect {
        match &self.mode {
            Mode::Filter(_) => self.mode = Mode::Table,
            Mode::GoTo(input) => {
                let place = input.value().trim().to_owned();
                self.close();
                if !place.is_empty() {
                    return Effect::Playback(Playback::GoTo(place));
                }
            }
            _ => {}
        }
        Effect::Nothing
    }

    /// The client whose events are told: all where none has the screen for itself.
    fn told(&self) -> Option<ClientKey> {
        self.cursor.filter(|_| matches!(self.base(), Mode::Detail))
    }

    /// Answers the question that is on the screen.
    pub fn answer(&mut self, yes: bool, now: Moment) -> Effect {
        let Mode::Confirm(confirm) = &self.mode else { return Effect::Nothing };
        let confirm = confirm.clone();
        self.close();
        let wanted = confirm.targets.len().to_string();
        let typed_right = confirm.typed.as_ref().is_none_or(|t| t.value().trim() == wanted);
        if !yes || !typed_right {
            let why = if yes { format!("nothing done: {wanted} was not typed") } else { "nothing done".to_owned() };
            self.say(Level::Info, why, now);
            return Effect::Nothing;
        }
        self.carry_out(confirm.wish, confirm.targets, now)
    }

    fn step(&mut self, by: isize) {
        match self.cursor_place() {
            Some(place) => self.move_cursor_to(place.saturating_add_signed(by)),
            None => self.move_cursor_to(self.top()),
        }
    }

    fn sort_by(&mut self, sort: Sort) {
        self.sort = sort;
        self.rearrange();
    }

    /// Undoes one layer: a prompt, an overlay, the filter, the marks.
    fn back(&mut self) {
        match self.mode {
            Mode::Help | Mode::GoTo(_) | Mode::Confirm(_) => return self.close(),
            Mode::Detail | Mode::Latency => {}
            Mode::Table if self.filter.is_empty() => {
                self.marks.clear();
                self.count_marks();
            }
            Mode::Table | Mode::Filter(_) => {
                self.filter = Filter::default();
                self.rearrange();
            }
        }
        self.mode = Mode::Table;
    }

    /// Lays a help, a question or the line of a time over what there is.
    fn open(&mut self, mode: Mode) {
        let under = match self.base() {
            Mode::Filter(_) => Mode::Table,
            base => base.clone(),
        };
        (self.under, self.mode) = (under, mode);
    }

    /// Takes it away again.
    fn close(&mut self) {
        self.mode = std::mem::replace(&mut self.under, Mode::Table);
    }

    fn toggle_mark(&mut self) {
        if let Some(client) = self.cursor {
            if !self.marks.remove(&client) {
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
            Some(_) => None,
            None => Some(Frozen { at: now, known: self.live.clone() }),
        };
        self.rearrange();
        self.survey();
    }

    /// The clients that an action key means now, and how many marked ones the filter hides.
    fn targets(&self) -> (Vec<ClientKey>, usize) {
        let cursor = self.cursor.filter(|_| self.cursor_place().is_some());
        if self.marks.is_empty() || matches!(self.mode, Mode::Detail) {
            return (cursor.into_iter().collect(), 0);
        }
        let shown = self.shown();
        // The client under the cursor may be on the screen even where the filter would hide it by now.
        let is_shown = |&k: &ClientKey| cursor == Some(k) || self.filter.lets_through(shown, k);
        let targets: Vec<_> = self.marks.iter().copied().filter(is_shown).collect();
        let hidden = self.marks.len() - targets.len();
        (targets, hidden)
    }

    fn wish(&mut self, wish: Wish, now: Moment) -> Effect {
        let (targets, hidden) = self.targets();
        if targets.is_empty() {
            let why = match hidden {
                0 if self.order().is_empty() => "the filter shows no client",
                0 => "no client is chosen: move to one first",
                _ => "all marked clients are hidden by the filter",
            };
            self.say(Level::Warning, why.to_owned(), now);
            return Effect::Nothing;
        }
        if let Some((last, whom, at)) = &mut self.last_wish
            && *last == wish
            && *whom == targets
            && now.since(*at) < Self::REPEAT
        {
            *at = now; // for as long as the key is held
            return Effect::Nothing;
        }
        if wish == Wish::Reconnect && targets.len() == 1 && hidden == 0 {
            return self.carry_out(wish, targets, now);
        }
        let typed = needs_typing(targets.len(), self.fleet().clients.len()).then(Input::default);
        let states = self.shown().totals_of(&targets);
        self.open(Mode::Confirm(Confirm { wish, targets, hidden, states, typed }));
        Effect::Nothing
    }

    /// Holds, releases, speeds up or slows down the endpoint of the client under the cursor.
    fn tend(&mut self, action: Action, now: Moment) -> Effect {
        let Some(client) = self.cursor else {
            self.say(Level::Warning, "no client is chosen: move to one of this endpoint first".to_owned(), now);
            return Effect::Nothing;
        };
        let key = self.live.row(client).endpoint;
        let endpoint = self.fleet().endpoint(key);
        let (name, gate) = (endpoint.name.clone(), self.live.gate(key));
        let is_on_hold = gate.is_some_and(|g| g.condition == Condition::OnHold);
        let rate = gate.map_or(endpoint.connect_rate, |g| g.rate_set);
        let (said, command) = match action {
            Action::Hold if is_on_hold => (format!("{name} lets clients connect again"), Command::Release(key)),
            Action::Hold => (format!("{name} on hold: nobody connects to it"), Command::Hold(key)),
            _ => {
                let rate = match action {
                    Action::RateUp => rate.saturating_mul(3).div_ceil(2).min(Self::MAX_RATE),
                    _ => (rate.saturating_mul(2) / 3).max(1),
                };
                (format!("{name}: {rate} connects a second"), Command::SetRate(key, rate))
            }
        };
        self.say(Level::Info, said, now);
        Effect::Command(command)
    }

    fn carry_out(&mut self, wish: Wish, targets: Vec<ClientKey>, now: Moment) -> Effect {
        if wish == Wish::Quit {
            return Effect::Quit;
        }
        let whom = match targets.as_slice() {
            [one] => self.fleet().client(*one).name.to_string(),
            many => format!("{} clients", many.len()),
        };
        let doing = if wish == Wish::Reconnect { "reconnecting" } else { "disconnecting" };
        self.say(Level::Info, format!("{doing} {whom}"), now);
        self.last_wish = Some((wish, targets.clone(), now));
        Effect::Command(match wish {
            Wish::Reconnect => Command::Reconnect(targets),
            Wish::Disconnect | Wish::Quit => Command::Disconnect(targets),
        })
    }
}

/// Whether an action is about no client that one must see.
fn is_for_all(action: Action) -> bool {
    action.scope() == Scope::Replay
        || matches!(
            action,
            Action::Latency
                | Action::Back
                | Action::Filter
                | Action::Freeze
                | Action::Help
                | Action::Repaint
                | Action::Quit
        )
}

/// Whether so large a part of the fleet is meant that the count must be typed.
fn needs_typing(targets: usize, fleet: usize) -> bool {
    targets > 1_000 || (targets > 50 && targets * 20 > fleet)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        event::{Event, Gate, What},
        fleet::{Client, Endpoint, EndpointKey, Fleet, Settings},
        text::Scrubbed,
    };

    #[test]
    fn keys_for_an_endpoint_mean_that_of_the_client_under_the_cursor() {
        let endpoint = |name| Endpoint { connect_rate: 100, ..Endpoint::new(name, "127.0.0.1", 1883) };
        let fleet = Fleet {
            name: Scrubbed::new("f"),
            env: None,
            worker_size: 500,
            endpoints: vec![endpoint("eu-1"), endpoint("eu-2")],
            clients: vec![Client::new("c", EndpointKey(1), Arc::new(Settings::default()))],
        };
        let (mut model, now, key) = (Model::new(Arc::new(fleet), Moment(1)), Moment(2), EndpointKey(1));
        assert_eq!(model.act(Action::Hold, now), Effect::Nothing, "nobody is under the cursor");
        model.act(Action::Down, now);
        assert_eq!(model.act(Action::Hold, now), Effect::Command(Command::Hold(key)));
        assert_eq!(model.act(Action::RateUp, now), Effect::Command(Command::SetRate(key, 150)));
        assert_eq!(model.act(Action::RateDown, now), Effect::Command(Command::SetRate(key, 66)));
        let gate =
            Gate { condition: Condition::OnHold, waiting: 0, in_flight: 0, rate_set: 1, rate: 1, eta: Duration::ZERO };
        model.apply(&Event { at: now, what: What::Gate(key, gate) });
        assert_eq!(model.act(Action::Hold, now), Effect::Command(Command::Release(key)));
        assert_eq!(model.act(Action::RateDown, now), Effect::Command(Command::SetRate(key, 1)));
        assert_eq!(model.act(Action::RateUp, now), Effect::Command(Command::SetRate(key, 2)));
    }
}
