//! Defines the line of commands: which actions what is typed may mean, how it is completed, and what is done when it is accepted.

use std::ops::Range;

use tui_input::Input;

use crate::{
    action::{Action, Argument, Place, Scope},
    clock::Moment,
    command::Playback,
    document::nearest,
    fleet::ClientKey,
    model::{
        act::Effect,
        confirm::Wish,
        history::History,
        mode::Mode,
        order::{Column, Filter, Sort},
        typing::completed,
        view::Model,
    },
    query::{self, Query},
};

/// What stands beside a command while it is typed.
#[derive(Clone, Debug, Default)]
pub struct Palette {
    /// What was typed by hand: Tab goes through what that may mean.
    typed: String,
    /// Which of these is in the line.
    at: Option<usize>,
    offered: Vec<String>,
    error: Option<(String, Range<usize>)>,
    pub(super) history: History,
}

impl Palette {
    /// What was typed by hand, before Tab put something else into the line.
    pub fn typed(&self) -> &str {
        &self.typed
    }

    /// Which of what that may mean is in the line; none where it is still as it was typed.
    pub fn at(&self) -> Option<usize> {
        self.at
    }

    /// What may be meant by the argument at the cursor, where that was asked for and is not one thing.
    pub fn offered(&self) -> &[String] {
        &self.offered
    }

    /// Why the line was not carried out, and which part of it is wrong, in bytes.
    pub fn error(&self) -> Option<(&str, Range<usize>)> {
        self.error.as_ref().map(|(why, at)| (why.as_str(), at.clone()))
    }

    /// The line is another one.
    pub(super) fn edited(&mut self, line: &str) {
        (self.typed, self.at, self.error) = (line.to_owned(), None, None);
        self.offered.clear();
    }

    fn fail(&mut self, why: String, at: Range<usize>) {
        self.error = Some((why, at));
    }
}

/// A line that names an action: which, and where in the line what stands behind it begins and ends.
fn named(line: &str) -> Option<(Action, Range<usize>)> {
    let words: Vec<Range<usize>> = words(line).take(3).collect();
    // The longest name: `hold_order` is also written `hold order`.
    (1..=words.len()).rev().find_map(|n| {
        let name = words[..n].iter().map(|at| normal(&line[at.clone()])).collect::<Vec<_>>().join("_");
        let action = Action::named(&name).filter(|action| *action != Action::Command)?;
        let rest = &line[words[n - 1].end..];
        let begin = line.len() - rest.trim_start().len();
        Some((action, begin..begin.max(line.trim_end().len())))
    })
}

fn words(line: &str) -> impl Iterator<Item = Range<usize>> {
    let begin = |word: &str| word.as_ptr() as usize - line.as_ptr() as usize;
    line.split_whitespace().map(move |word| begin(word)..begin(word) + word.len())
}

/// A word as names are written.
fn normal(word: &str) -> String {
    word.to_lowercase().replace('-', "_")
}

/// How well a word means an action: 0 is its name, more is less likely.
fn distance(word: &str, action: Action) -> Option<usize> {
    let name = action.name();
    let is_scattered = || {
        let mut left = name.chars();
        word.chars().all(|c| left.any(|other| other == c))
    };
    [
        name == word,
        name.starts_with(word),
        name.split('_').any(|part| part.starts_with(word)),
        name.contains(word),
        word.len() > 1 && is_scattered(),
        word.len() > 2 && action.help().to_lowercase().contains(word),
    ]
    .into_iter()
    .position(|is_it| is_it)
}

/// The actions that a typed line may mean where somebody is in this screen of this run, the likeliest first.
pub fn meant(line: &str, scope: Scope, place: Place) -> Vec<Action> {
    let can_be = |action: &Action| action.scope().meets(scope) && action.is_on(place) && *action != Action::Command;
    let all = Action::ALL.into_iter().filter(can_be);
    if let Some((action, rest)) = named(line).filter(|(action, _)| can_be(action))
        && (!rest.is_empty() || line.ends_with(' '))
    {
        return vec![action];
    }
    let word = normal(line.trim()).replace(' ', "_");
    let mut found: Vec<(usize, Action)> = match word.is_empty() {
        // What is done most often first.
        true => all.map(|action| (usize::from(action.hint().is_none()), action)).collect(),
        false => all.filter_map(|action| Some((distance(&word, action)?, action))).collect(),
    };
    found.sort_by_key(|(distance, _)| *distance);
    found.into_iter().map(|(_, action)| action).collect()
}

impl Model {
    pub(super) fn open_palette(&mut self) {
        self.palette.edited("");
        self.palette.history.open();
        self.open(Mode::Command(Input::default()));
    }

    /// The actions that the line may mean.
    pub fn meant(&self, scope: Scope) -> Vec<Action> {
        self.screen().place().map(|place| meant(self.palette.typed(), scope, place)).unwrap_or_default()
    }

    /// Puts the next of what may be meant into the line, or the one before; behind an action's name, completes what it
    /// is about.
    pub fn complete_command(&mut self, scope: Scope, is_next: bool, now: Moment) {
        self.held_until = now + Self::HOLD;
        let Mode::Command(input) = &self.mode else { return };
        let line = input.value();
        let is_argument = |(_, rest): &(Action, Range<usize>)| !rest.is_empty() || line.ends_with(' ');
        if let Some((action, rest)) = named(line).filter(is_argument).filter(|_| self.palette.at.is_none()) {
            return self.complete_argument(action, rest.start);
        }
        let meant = self.meant(scope);
        let at = match (self.palette.at, meant.len()) {
            (_, 0) => return,
            (None, n) => {
                if is_next {
                    0
                } else {
                    n - 1
                }
            }
            (Some(at), n) if is_next => (at + 1) % n,
            (Some(at), n) => (at + n - 1) % n,
        };
        let behind = if meant[at].argument() == Argument::None { "" } else { " " };
        self.mode = Mode::Command(Input::new(format!("{}{behind}", meant[at].name())));
        (self.palette.at, self.palette.error) = (Some(at), None);
        // With one there is nothing more to go through: what stands behind it comes next.
        if meant.len() == 1 {
            self.palette.edited(&format!("{}{behind}", meant[at].name()));
        }
    }

    fn complete_argument(&mut self, action: Action, from: usize) {
        let Mode::Command(input) = &self.mode else { return };
        let (line, words) = match action.argument() {
            Argument::Query => {
                let (line, found) = completed(input, from, self.shown());
                (line, found.words)
            }
            Argument::Column => {
                let typed = &input.value()[from..];
                let names = Column::ALL.map(Column::name).into_iter();
                let found: Vec<&str> = names.filter(|name| name.starts_with(typed)).collect();
                let line = match found[..] {
                    [one] => Some(Input::new(format!("{}{one}", &input.value()[..from]))),
                    _ => None,
                };
                (line, found.into_iter().map(str::to_owned).collect())
            }
            Argument::None | Argument::Time => return,
        };
        if let Some(line) = line {
            self.palette.edited(line.value());
            self.mode = Mode::Command(line);
        }
        if words.len() > 1 {
            self.palette.offered = words;
        }
    }

    /// Does what the line says. What nobody can do stays, with what is wrong with it; and so does what is only a guess
    /// at something that reaches into the fleet: that is put into the line, for the next Enter.
    pub fn run_command(&mut self, scope: Scope, now: Moment) -> Effect {
        self.held_until = now + Self::HOLD;
        let Mode::Command(input) = &self.mode else { return Effect::Nothing };
        let line = input.value().to_owned();
        if line.trim().is_empty() {
            self.close();
            return Effect::Nothing;
        }
        let Some((action, rest)) = named(&line) else {
            return self.guess(&line, scope, now);
        };
        let Some(place) = self.screen().place().filter(|_| action.scope().meets(scope)) else {
            self.palette.fail(format!("{}: {}", action.words(), not_here(action, scope)), 0..line.len());
            return Effect::Nothing;
        };
        if !action.is_on(place) {
            self.palette.fail(format!("{}: not on this screen", action.words()), 0..line.len());
            return Effect::Nothing;
        }
        let argument = &line[rest.clone()];
        let done = match argument.is_empty() {
            true => Ok(Wanted::Key),
            false => wanted(action, argument).map_err(|(why, at)| (why, at.start + rest.start..at.end + rest.start)),
        };
        match done {
            Err((why, at)) => {
                self.palette.fail(why, at);
                Effect::Nothing
            }
            Ok(wanted) => {
                self.palette.history.keep(line.trim());
                self.close();
                self.carry_out_command(action, wanted, scope, now)
            }
        }
    }

    /// Takes what is typed for the likeliest of what it may mean.
    fn guess(&mut self, line: &str, scope: Scope, now: Moment) -> Effect {
        let meant = self.meant(scope);
        let Some(&action) = meant.first() else {
            let word = line.split_whitespace().next().unwrap_or_default();
            let near = nearest(word, Action::ALL.map(Action::name)).map(|near| format!("; did you mean {near}?"));
            self.palette.fail(format!("no such command{}", near.unwrap_or_default()), 0..line.len());
            return Effect::Nothing;
        };
        let word = normal(line.trim());
        let is_begin = |action: &Action| action.name().starts_with(&word);
        let is_sure = meant.iter().filter(|action| is_begin(action)).count() == 1 && is_begin(&action);
        if !is_sure && (action.is_command() || action.is_grave()) {
            self.palette.edited(action.name());
            self.mode = Mode::Command(Input::new(action.name().to_owned()));
            return Effect::Nothing;
        }
        self.palette.history.keep(action.name());
        self.close();
        self.carry_out_command(action, Wanted::Key, scope, now)
    }

    fn carry_out_command(&mut self, action: Action, wanted: Wanted, scope: Scope, now: Moment) -> Effect {
        match (action, wanted) {
            // Neither a recording nor an agent minds being left.
            (Action::Quit, _) if scope != Scope::Own => Effect::Quit,
            (Action::Filter, Wanted::Query(text, _)) => {
                self.set_filter(&text);
                Effect::Nothing
            }
            (Action::MarkAll | Action::UnmarkAll, Wanted::Query(_, query)) => {
                self.mark_shown(action == Action::MarkAll, Some(&query), now);
                Effect::Nothing
            }
            (Action::Reconnect, Wanted::Query(_, query)) => self.wish_of(Wish::Reconnect, &query, now),
            (Action::Disconnect, Wanted::Query(_, query)) => self.wish_of(Wish::Disconnect, &query, now),
            (_, Wanted::Sort(sort)) => {
                self.sort_by(sort.column);
                if self.sort.descending != sort.descending {
                    self.reverse();
                }
                Effect::Nothing
            }
            (_, Wanted::Time(place)) => Effect::Playback(Playback::GoTo(place)),
            (action, _) => self.act(action, now),
        }
    }

    /// Shows what a query means: of the events, where one is in their screen, or of the clients.
    fn set_filter(&mut self, text: &str) {
        let Ok(filter) = Filter::parse(text) else { return };
        self.filter_line.history.keep(filter.text());
        if matches!(self.screen(), Mode::Events) {
            self.events.set_filter(filter);
            return;
        }
        while matches!(self.mode, Mode::Detail | Mode::Endpoints) {
            self.close();
        }
        self.filter = filter.among(self.filter.chosen());
        self.rearrange_without_cursor();
        self.refresh();
    }

    /// The clients in sight that a query means. Who is in the table only because the cursor is there is left out.
    pub(super) fn shown_of(&self, query: &Query) -> Vec<ClientKey> {
        let (known, now) = (self.shown(), self.shown_at());
        let is_meant = |key: &ClientKey| {
            let is_shown = self.cursor != Some(*key) || self.filter.lets_through(known, *key, now);
            self.fleet().has(*key) && is_shown && query.matches(&known.facts(*key, now))
        };
        let mut meant: Vec<ClientKey> = self.order().iter().copied().filter(is_meant).collect();
        meant.sort_unstable();
        meant
    }
}

/// What stands behind an action's name.
enum Wanted {
    /// Nothing: it is what the key would do.
    Key,
    Query(String, Query),
    Sort(Sort),
    Time(String),
}

fn wanted(action: Action, text: &str) -> Result<Wanted, (String, Range<usize>)> {
    match action.argument() {
        Argument::None => Err((format!("nothing can stand behind {}", action.name()), 0..text.len())),
        Argument::Query => {
            let said = |error: query::Error| (error.message(), error.at.clone());
            Query::parse(text).map(|query| Wanted::Query(text.to_owned(), query)).map_err(said)
        }
        Argument::Column => sort(text).map(Wanted::Sort).map_err(|why| (why, 0..text.len())),
        Argument::Time => Ok(Wanted::Time(text.to_owned())),
    }
}

/// A column, and whether its large end comes first.
fn sort(text: &str) -> Result<Sort, String> {
    let text = text.to_lowercase();
    let (name, descending) = match text.rsplit_once(' ') {
        Some((name, "desc")) => (name, Some(true)),
        Some((name, "asc")) => (name, Some(false)),
        _ => (text.as_str(), None),
    };
    let columns = Column::ALL.into_iter();
    let mut found = columns.filter(|column| column.name().starts_with(name.trim()) && !name.is_empty());
    match (found.next(), found.next()) {
        (Some(column), None) => {
            let sort = Sort::by(column);
            Ok(Sort { descending: descending.unwrap_or(sort.descending), ..sort })
        }
        _ => Err(format!("the columns are {}; then asc or desc", Column::ALL.map(Column::name).join(", "))),
    }
}

fn not_here(action: Action, scope: Scope) -> &'static str {
    match (action.scope(), scope) {
        (Scope::Replay, _) => "only in a recording",
        (_, Scope::Replay) => "not in a recording, only in a live run",
        _ => "only in a console that is attached to an agent",
    }
}
