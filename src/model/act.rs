//! Defines what each action does to the view, and which command follows from it; carrying commands out is the engine's matter.

use std::time::Duration;

use tui_input::{Input, InputRequest};

use crate::{
    action::{Action, Scope},
    clock::Moment,
    command::{Command, Direction, Playback},
    event::{Condition, Level},
    fleet::{ClientKey, EndpointKey},
    model::{
        confirm::{Confirm, Typed, Wish},
        order::{Filter, Sort},
        view::{Frozen, Mode, Model},
    },
    query::{self, Completion},
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
        if !self.mode.takes(action) {
            self.say(Level::Info, format!("{}: not here, where no client is chosen", action.name()), now);
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
                    self.open(Mode::Detail);
                }
            }
            Action::Latency if matches!(self.mode, Mode::Latency) => self.back(),
            Action::Latency => {
                self.open(Mode::Latency);
                self.survey();
            }
            Action::Endpoints if matches!(self.mode, Mode::Endpoints) => self.back(),
            Action::Endpoints => self.open(Mode::Endpoints),
            Action::Back => self.back(),
            Action::Filter => {
                self.under.clear();
                self.filter_line.open();
                self.mode = Mode::Filter(Input::new(self.filter.text().to_owned()));
            }
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
            Action::Undo => return self.undo(now),
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
                self.ask(Confirm { wish, targets: Vec::new(), hidden: 0, states, tier: 3, typed: Some(typed) });
            }
            Action::Quit if self.alive() == 0 => return Effect::Quit,
            Action::Quit => {
                let states = *self.live.totals();
                let quit = Confirm { wish: Wish::Quit, targets: Vec::new(), hidden: 0, states, tier: 1, typed: None };
                self.ask(quit);
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
            Mode::GoTo(input) | Mode::Confirm(Confirm { typed: Some(Typed { input, .. }), .. }) => {
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

    /// Follows the filter line. A client that the new filter hides cannot keep the cursor. What is no query, or not
    /// yet, leaves the filter as it is.
    fn refilter(&mut self) {
        let Mode::Filter(input) = &self.mode else { return };
        self.filter_line.offered = Completion::default();
        self.filter_line.error = None;
        match Filter::parse(input.value()) {
            Ok(filter) if filter.text() == self.filter.text() => {}
            Ok(filter) => {
                self.filter = filter;
                self.rearrange_without_cursor();
            }
            Err(error) => self.filter_line.error = Some(error),
        }
    }

    /// Completes the word at the cursor of the filter line as far as only one thing can be meant; of several, they are
    /// offered.
    pub fn complete(&mut self, now: Moment) {
        self.held_until = now + Self::HOLD;
        let Mode::Filter(input) = &self.mode else { return };
        let text = input.value();
        let cursor = text.char_indices().nth(input.cursor()).map_or(text.len(), |(at, _)| at);
        let found = query::complete(text, cursor, self.shown());
        let typed = &text[found.at.clone()];
        let common = found.common();
        if common.len() >= typed.len() && common != typed {
            let head = format!("{}{common}", &text[..found.at.start]);
            let cursor = head.chars().count();
            let line = Input::new(format!("{head}{}", &text[found.at.end..])).with_cursor(cursor);
            self.mode = Mode::Filter(line);
            self.refilter();
        }
        if found.words.len() > 1 {
            self.filter_line.offered = found;
        }
    }

    /// Puts what was typed before (or after) into the filter line.
    pub fn recall(&mut self, is_back: bool, now: Moment) {
        self.held_until = now + Self::HOLD;
        let Mode::Filter(input) = &self.mode else { return };
        if let Some(text) = self.filter_line.recall(input.value(), is_back) {
            self.mode = Mode::Filter(Input::new(text));
            self.refilter();
        }
    }

    /// Ends the line that is being typed, and does what it says.
    pub fn accept(&mut self) -> Effect {
        match &self.mode {
            // What is no query stays to be mended.
            Mode::Filter(_) if self.filter_line.error.is_some() => {}
            Mode::Filter(_) => {
                self.filter_line.keep(self.filter.text());
                self.mode = Mode::Table;
            }
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
        if yes && !self.is_question_seen() {
            self.say(Level::Warning, "not answered: the question is not on the screen".to_owned(), now);
            return Effect::Nothing;
        }
        let confirm = confirm.clone();
        self.close();
        let missing = confirm.typed.as_ref().filter(|typed| !typed.is_right());
        if !yes || missing.is_some() {
            let why = missing.filter(|_| yes).map(|typed| format!(": {} was not typed", typed.wanted));
            self.say(Level::Info, format!("nothing done{}", why.unwrap_or_default()), now);
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
            Mode::Table if self.filter.is_empty() => {
                self.marks.clear();
                self.count_marks();
            }
            Mode::Table | Mode::Filter(_) => {
                self.filter = Filter::default();
                self.rearrange();
                self.mode = Mode::Table;
            }
            _ => self.close(),
        }
    }

    /// Lays something over what there is.
    pub(super) fn open(&mut self, mode: Mode) {
        match std::mem::replace(&mut self.mode, mode) {
            // What was typed stays; the help is about it, and comes back to it.
            Mode::Filter(_) if !matches!(self.mode, Mode::Help(_)) => {}
            under => self.under.push(under),
        }
    }

    /// Asks a question. It is on the screen with the next frame.
    fn ask(&mut self, confirm: Confirm) {
        self.see(false);
        self.open(Mode::Confirm(confirm));
    }

    /// Takes away what lies uppermost.
    fn close(&mut self) {
        self.mode = self.under.pop().unwrap_or(Mode::Table);
        self.survey();
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
            Some(frozen) => {
                let changes = self.live.steps() - frozen.known.steps();
                self.say(Level::Info, format!("it goes on: {changes} changes of state meanwhile"), now);
                None
            }
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
        let (shown, now) = (self.shown(), self.shown_at());
        // The client under the cursor may be on the screen even where the filter would hide it by now.
        let is_shown = |&k: &ClientKey| cursor == Some(k) || self.filter.lets_through(shown, k, now);
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
        self.request(wish, targets, hidden, now)
    }

    /// Asks about a wish as much as it is worth, or carries it out.
    fn request(&mut self, wish: Wish, targets: Vec<ClientKey>, hidden: usize, now: Moment) -> Effect {
        let tier = wish.tier(targets.len(), self.fleet());
        if !wish.is_asked(tier) && hidden == 0 {
            return self.carry_out(wish, targets, now);
        }
        let typed = Confirm::typed(tier, targets.len(), self.fleet());
        let states = self.shown().totals_of(&targets);
        self.ask(Confirm { wish, targets, hidden, states, tier, typed });
        Effect::Nothing
    }

    /// Holds, releases, speeds up or slows down the endpoint of the client under the cursor. While a rate is
    /// asked about, its keys change what is asked.
    fn tend(&mut self, action: Action, now: Moment) -> Effect {
        if let Mode::Confirm(Confirm { wish: Wish::Rate { to, .. }, .. }) = &mut self.mode {
            *to = changed(*to, action);
            self.see(false);
            return Effect::Nothing;
        }
        let Some(client) = self.cursor else {
            self.say(Level::Warning, "no client is chosen: move to one of this endpoint first".to_owned(), now);
            return Effect::Nothing;
        };
        let key = self.live.row(client).endpoint;
        let from = self.rate(key);
        let wish = match action {
            Action::Hold if self.is_on_hold(key) => Wish::Release(key),
            Action::Hold => Wish::Hold(key),
            _ => Wish::Rate { endpoint: key, from, to: changed(from, action) },
        };
        let targets = self.fleet().keys().filter(|client| self.live.row(*client).endpoint == key).collect();
        self.request(wish, targets, 0, now)
    }

    fn is_on_hold(&self, endpoint: EndpointKey) -> bool {
        self.live.gate(endpoint).is_some_and(|gate| gate.condition == Condition::OnHold)
    }

    /// How many clients a second are let through to an endpoint, as it is set.
    fn rate(&self, endpoint: EndpointKey) -> u32 {
        self.live.gate(endpoint).map_or(self.fleet().endpoint(endpoint).connect_rate, |gate| gate.rate_set)
    }

    /// Takes back the last order about an endpoint.
    fn undo(&mut self, now: Moment) -> Effect {
        match self.undo.take() {
            Some(wish) => {
                let effect = self.carry_out(wish, Vec::new(), now);
                self.undo = None; // what was undone is over
                effect
            }
            None => {
                let text = "nothing to undo: it takes back h, + and - once".to_owned();
                self.say(Level::Info, text, now);
                Effect::Nothing
            }
        }
    }

    fn carry_out(&mut self, wish: Wish, targets: Vec<ClientKey>, now: Moment) -> Effect {
        let name = |endpoint: EndpointKey| self.fleet().endpoint(endpoint).name.clone();
        let whom = || match targets.as_slice() {
            [one] => self.fleet().client(*one).name.to_string(),
            many => format!("{} clients", many.len()),
        };
        let (said, undo) = match wish {
            Wish::Quit => return Effect::Quit,
            Wish::End => return Effect::Command(Command::Stop),
            Wish::Reconnect => (format!("reconnecting {}", whom()), None),
            Wish::Disconnect => (format!("disconnecting {}", whom()), None),
            Wish::Hold(key) => (format!("{} on hold: nobody connects to it", name(key)), Some(Wish::Release(key))),
            Wish::Release(key) => (format!("{} lets clients connect again", name(key)), Some(Wish::Hold(key))),
            Wish::Rate { endpoint, from, to } => (
                format!("{}: {to} connects a second", name(endpoint)),
                Some(Wish::Rate { endpoint, from: to, to: from }),
            ),
        };
        self.say(Level::Info, said, now);
        if undo.is_some() {
            self.undo = undo;
        }
        self.last_wish = Some((wish, targets.clone(), now));
        Effect::Command(match wish {
            Wish::Reconnect => Command::Reconnect(targets),
            Wish::Hold(key) => Command::Hold(key),
            Wish::Release(key) => Command::Release(key),
            Wish::Rate { endpoint, to, .. } => Command::SetRate(endpoint, to),
            Wish::Disconnect | Wish::Quit | Wish::End => Command::Disconnect(targets),
        })
    }
}

fn is_motion(action: Action) -> bool {
    matches!(action, Action::Up | Action::Down | Action::PageUp | Action::PageDown | Action::Top | Action::Bottom)
}

/// The next higher or lower rate.
fn changed(rate: u32, action: Action) -> u32 {
    match action {
        Action::RateUp => rate.saturating_mul(3).div_ceil(2).min(Model::MAX_RATE),
        _ => (rate.saturating_mul(2) / 3).max(1),
    }
}

/// Whether an action means something on a screen too small for a table.
fn is_for_any_size(action: Action) -> bool {
    action.scope() == Scope::Replay
        || matches!(action, Action::Back | Action::Filter | Action::Repaint | Action::Suspend | Action::Quit)
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
        let yes = |model: &mut Model| {
            assert!(matches!(model.mode(), Mode::Confirm(_)), "it asks");
            assert_eq!(model.answer(true, now), Effect::Nothing, "nobody has seen the question");
            model.see(true);
            model.answer(true, now)
        };
        assert_eq!(model.act(Action::Hold, now), Effect::Nothing);
        assert_eq!(yes(&mut model), Effect::Command(Command::Hold(key)));
        assert_eq!(model.act(Action::RateUp, now), Effect::Command(Command::SetRate(key, 150)), "one client, gently");
        assert_eq!(model.act(Action::RateDown, now), Effect::Command(Command::SetRate(key, 66)));
        assert_eq!(model.act(Action::Undo, now), Effect::Command(Command::SetRate(key, 100)));
        assert_eq!(model.act(Action::Undo, now), Effect::Nothing, "once");
        let gate =
            Gate { condition: Condition::OnHold, waiting: 0, in_flight: 0, rate_set: 1, rate: 1, eta: Duration::ZERO };
        model.apply(&Event { at: now, what: What::Gate(key, gate) });
        assert_eq!(model.act(Action::Hold, now), Effect::Command(Command::Release(key)));
        assert_eq!(model.act(Action::Undo, now), Effect::Command(Command::Hold(key)));
        assert_eq!(model.act(Action::RateDown, now), Effect::Command(Command::SetRate(key, 1)));
        assert_eq!(model.act(Action::RateUp, now), Effect::Command(Command::SetRate(key, 2)));
    }

    #[test]
    fn in_production_a_rate_is_asked_about_and_its_keys_change_the_question() {
        let fleet = Fleet {
            name: Scrubbed::new("f"),
            env: Some(Scrubbed::new("prod")),
            worker_size: 500,
            endpoints: vec![Endpoint { connect_rate: 100, ..Endpoint::new("eu-1", "127.0.0.1", 1883) }],
            clients: vec![Client::new("c", EndpointKey(0), Arc::new(Settings::default())); 300],
        };
        let (mut model, now, key) = (Model::new(Arc::new(fleet), Moment(1)), Moment(2), EndpointKey(0));
        model.act(Action::Down, now);
        for action in [Action::RateUp, Action::RateUp, Action::RateDown] {
            assert_eq!(model.act(action, now), Effect::Nothing);
        }
        let Mode::Confirm(confirm) = model.mode() else { panic!("no question") };
        assert_eq!(confirm.wish, Wish::Rate { endpoint: key, from: 100, to: 150 });
        assert_eq!(confirm.typed.as_ref().map(|typed| &*typed.wanted), Some("300 prod"));
        model.see(true);
        assert_eq!(model.answer(true, now), Effect::Nothing, "nothing was typed");
        assert!(matches!(model.mode(), Mode::Table));
        model.act(Action::Hold, now);
        "300 prod".chars().for_each(|c| model.edit(InputRequest::InsertChar(c), now));
        model.see(true);
        assert_eq!(model.answer(true, now), Effect::Command(Command::Hold(key)));
    }

    #[test]
    fn on_a_screen_without_a_table_no_key_hits_a_client() {
        let clients = vec![Client::new("c", EndpointKey(0), Arc::new(Settings::default())); 3];
        let endpoints = vec![Endpoint::new("eu-1", "127.0.0.1", 1883)];
        let fleet = Fleet { name: Scrubbed::new("f"), env: None, worker_size: 500, endpoints, clients };
        let (mut model, now) = (Model::new(Arc::new(fleet), Moment(1)), Moment(2));
        model.act(Action::Down, now);
        model.set_height(0);
        for action in Action::ALL.into_iter().filter(|action| action.scope() == Scope::Live) {
            assert_eq!(model.act(action, now), Effect::Nothing, "{action:?}");
            assert!(model.toast().is_some() && matches!(model.mode(), Mode::Table), "{action:?}");
        }
        assert_eq!((model.marked(), model.frozen().is_none()), ((0, 0), true));
    }

    #[test]
    fn what_was_open_comes_back() {
        let clients = vec![Client::new("c", EndpointKey(0), Arc::new(Settings::default())); 3];
        let endpoints = vec![Endpoint::new("eu-1", "127.0.0.1", 1883)];
        let fleet = Fleet { name: Scrubbed::new("f"), env: None, worker_size: 500, endpoints, clients };
        let (mut model, now) = (Model::new(Arc::new(fleet), Moment(1)), Moment(2));
        for action in [Action::Detail, Action::Latency, Action::Help] {
            model.act(action, now);
        }
        model.act(Action::Back, now);
        assert!(matches!(model.mode(), Mode::Latency) && model.latency_view().is_some());
        model.act(Action::Back, now);
        assert!(matches!(model.mode(), Mode::Detail) && model.latency_view().is_none());
        model.act(Action::Back, now);
        assert!(matches!(model.mode(), Mode::Table));
    }
}
