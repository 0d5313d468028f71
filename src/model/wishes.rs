//! Defines how what is wished of clients and endpoints becomes a command: whom it means, what is asked before, what undoes it; carrying commands out is the engine's matter.

use std::time::Duration;

use crate::{
    action::Action,
    clock::Moment,
    command::{Bulk, Command},
    event::{Condition, Level, Roll},
    fleet::{ClientKey, EndpointKey},
    model::{
        act::Effect,
        confirm::{Confirm, Wish, changed},
        mode::Mode,
        view::Model,
    },
    query::Query,
};

impl Model {
    /// A key that is held down must not act twice on the same clients: longer than the slowest usual
    /// delay before a key repeats (660 ms, X11).
    pub(super) const REPEAT: Duration = Duration::from_millis(750);

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
        self.carry_out(confirm.wish, confirm.targets, confirm.roll, now)
    }

    /// The clients that an action key means now, and how many marked ones the filter hides.
    fn targets(&self) -> (Vec<ClientKey>, usize) {
        // In a frozen view there may be who is gone.
        let is_here = |client: &ClientKey| self.cursor_place().is_some() && self.fleet().has(*client);
        let cursor = self.cursor.filter(is_here);
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

    pub(super) fn wish(&mut self, wish: Wish, now: Moment) -> Effect {
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
        self.wish_about(wish, targets, hidden, now)
    }

    /// The same about those in sight that a query means.
    pub(super) fn wish_of(&mut self, wish: Wish, query: &Query, now: Moment) -> Effect {
        let mut targets = self.shown_of(query);
        // Who the filter would hide by now is not meant.
        let (known, at) = (self.shown(), self.shown_at());
        targets.retain(|client| self.filter.lets_through(known, *client, at));
        match targets {
            targets if targets.is_empty() => {
                self.say(Level::Warning, format!("no client that is shown is meant by {query}"), now);
                Effect::Nothing
            }
            targets => self.wish_about(wish, targets, 0, now),
        }
    }

    fn wish_about(&mut self, wish: Wish, targets: Vec<ClientKey>, hidden: usize, now: Moment) -> Effect {
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
        // Nobody is asked for what is not done then.
        if let Some(words) = self.refusal.clone() {
            self.say(Level::Warning, words, now);
            return Effect::Nothing;
        }
        let (tier, roll) = (wish.tier(targets.len(), self.fleet()), wish.roll(targets.len()));
        if !wish.is_asked(tier) && hidden == 0 {
            return self.carry_out(wish, targets, roll, now);
        }
        let typed = Confirm::typed(tier, targets.len(), self.fleet());
        let states = self.shown().totals_of(&targets);
        self.ask(Confirm { wish, targets, hidden, states, tier, roll, typed });
        Effect::Nothing
    }

    /// Holds, releases, speeds up or slows down the endpoint of the client under the cursor.
    pub(super) fn tend(&mut self, action: Action, now: Moment) -> Effect {
        let Some(client) = self.cursor else {
            self.say(Level::Warning, "no client is chosen: move to one of this endpoint first".to_owned(), now);
            return Effect::Nothing;
        };
        let key = self.live.row(client).endpoint;
        let from = self.rate(key);
        let wish = match action {
            Action::Hold if self.is_on_hold(key) => Wish::Release(key),
            Action::Hold => Wish::Hold(key),
            _ => Wish::Rate { endpoint: key, from, to: changed(from, action == Action::RateUp) },
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

    /// Takes back the last order about an endpoint, or the last job, whichever came later; in the jobs the one that is
    /// looked at.
    pub(super) fn undo(&mut self, now: Moment) -> Effect {
        if matches!(self.screen(), Mode::Jobs) {
            return self.undo_job(now);
        }
        match self.undo.take() {
            Some(Wish::Reconnect | Wish::Disconnect) => self.undo_job(now),
            Some(wish) => {
                let effect = self.carry_out(wish, Vec::new(), None, now);
                self.undo = None; // what was undone is over
                effect
            }
            None => {
                let text = "nothing to undo: it takes back h, +, - and jobs once".to_owned();
                self.say(Level::Info, text, now);
                Effect::Nothing
            }
        }
    }

    fn carry_out(&mut self, wish: Wish, targets: Vec<ClientKey>, roll: Option<Roll>, now: Moment) -> Effect {
        let name = |endpoint: EndpointKey| self.fleet().endpoint(endpoint).name.clone();
        let whom = || match targets.as_slice() {
            [one] => self.fleet().full_name(*one).into_owned(),
            many => format!("{} clients", many.len()),
        };
        let (said, undo) = match wish {
            Wish::Quit => return Effect::Quit,
            Wish::End => return Effect::Command(Command::Stop),
            Wish::Reconnect => (format!("reconnecting {}", whom()), roll.map(|_| wish)),
            Wish::Disconnect => (format!("disconnecting {}", whom()), roll.map(|_| wish)),
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
        if let (Some(roll), Some(deed)) = (roll, wish.deed()) {
            return Effect::Command(Command::Begin(Bulk { deed, clients: targets, roll }));
        }
        Effect::Command(match wish {
            Wish::Reconnect => Command::Reconnect(targets),
            Wish::Hold(key) => Command::Hold(key),
            Wish::Release(key) => Command::Release(key),
            Wish::Rate { endpoint, to, .. } => Command::SetRate(endpoint, to),
            Wish::Disconnect | Wish::Quit | Wish::End => Command::Disconnect(targets),
        })
    }
}
