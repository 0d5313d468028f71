//! Defines the lines that are typed (a filter, a time) and choices made between a few things, until they are accepted.

use tui_input::{Input, InputRequest};

use crate::{
    clock::Moment,
    command::Playback,
    model::{
        act::Effect,
        confirm::{Confirm, Typed},
        mode::Mode,
        order::Filter,
        view::Model,
    },
    query::{self, Completion, Values},
};

impl Model {
    /// The most characters taken from a paste.
    const PASTE: usize = 256;

    /// Edits the line that is being typed, if any.
    pub fn edit(&mut self, request: InputRequest, now: Moment) {
        self.held_until = now + Self::HOLD;
        match &mut self.mode {
            Mode::Filter(input) => {
                input.handle(request);
                self.refilter();
            }
            Mode::Command(input) => {
                input.handle(request);
                self.palette.edited(input.value());
            }
            Mode::GoTo(input) | Mode::Confirm(Confirm { typed: Some(Typed { input, .. }), .. }) => {
                input.handle(request);
            }
            _ => {}
        }
    }

    /// Puts pasted text into the filter line, or that of a time or a command; anywhere else it means nothing, and
    /// answers nothing.
    pub fn paste(&mut self, text: &str, now: Moment) {
        self.held_until = now + Self::HOLD;
        if let Mode::Filter(input) | Mode::GoTo(input) | Mode::Command(input) = &mut self.mode {
            for c in text.chars().filter(|c| !c.is_control()).take(Self::PASTE) {
                input.handle(InputRequest::InsertChar(c));
            }
            if let Mode::Command(input) = &self.mode {
                self.palette.edited(input.value());
            }
            self.refilter();
        }
    }

    /// Follows the filter line as far as it is typed.
    fn refilter(&mut self) {
        if let Mode::Filter(input) = &self.mode {
            self.filter_by(query::settled(input.value()).to_owned());
        }
    }

    /// Filters by this text. A client that the new filter hides cannot keep the cursor. What is no query, or not
    /// yet, leaves the filter as it is.
    fn filter_by(&mut self, text: String) {
        self.filter_line.offered = Completion::default();
        self.filter_line.error = None;
        let is_of_events = matches!(self.screen(), Mode::Events);
        let present = if is_of_events { self.events.filter() } else { &self.filter };
        match Filter::parse(&text) {
            Ok(filter) if filter.text() == present.text() => {}
            Ok(filter) if is_of_events => self.events.set_filter(filter),
            Ok(filter) => {
                self.filter = filter.among(self.filter.chosen());
                self.rearrange_without_cursor();
                self.refresh();
            }
            Err(error) => self.filter_line.error = Some(error),
        }
    }

    /// Completes the word at the cursor of the filter line as far as only one thing can be meant; of several, they are
    /// offered.
    pub fn complete(&mut self, now: Moment) {
        self.held_until = now + Self::HOLD;
        let Mode::Filter(input) = &self.mode else { return };
        let (line, found) = completed(input, 0, self.shown());
        if let Some(line) = line {
            self.mode = Mode::Filter(line);
            self.refilter();
        }
        if found.words.len() > 1 {
            self.filter_line.offered = found;
        }
    }

    /// Puts what was typed before (or after) into the line.
    pub fn recall(&mut self, is_back: bool, now: Moment) {
        self.held_until = now + Self::HOLD;
        match &self.mode {
            Mode::Filter(input) => {
                if let Some(text) = self.filter_line.history.recall(input.value(), is_back) {
                    self.mode = Mode::Filter(Input::new(text));
                    self.refilter();
                }
            }
            Mode::Command(input) => {
                if let Some(text) = self.palette.history.recall(input.value(), is_back) {
                    self.palette.edited(&text);
                    self.mode = Mode::Command(Input::new(text));
                }
            }
            _ => {}
        }
    }

    /// Moves between the things to choose from.
    pub fn choose(&mut self, by: isize, now: Moment) {
        self.held_until = now + Self::HOLD;
        match &mut self.mode {
            Mode::Sort(column) => *column = column.next(by),
            Mode::Cause { causes, at } => *at = (*at as isize + by).rem_euclid(causes.len() as isize) as usize,
            _ => {}
        }
    }

    /// Ends the line that is being typed or the choice that is made, and does what it says.
    pub fn accept(&mut self) -> Effect {
        if let Mode::Filter(input) = &self.mode {
            self.filter_by(input.value().to_owned());
        }
        match &self.mode {
            // What is no query stays to be mended.
            Mode::Filter(_) if self.filter_line.error.is_some() => {}
            Mode::Filter(_) => {
                let is_of_events = matches!(self.screen(), Mode::Events);
                let text = if is_of_events { self.events.filter().text() } else { self.filter.text() };
                self.filter_line.history.keep(text);
                let under = self.under.pop();
                self.mode = under.map_or(Mode::Table, |under| under.mode);
                self.refresh();
            }
            Mode::GoTo(input) => {
                let place = input.value().trim().to_owned();
                self.close();
                if !place.is_empty() {
                    return Effect::Playback(Playback::GoTo(place));
                }
            }
            // Once more the same column: the other way.
            Mode::Sort(column) => match *column {
                column if column == self.sort.column => {
                    self.reverse();
                    self.close();
                }
                column => {
                    self.sort_by(column);
                    self.close();
                }
            },
            Mode::Cause { causes, at } => {
                let chosen = causes.get(*at).cloned();
                self.close();
                if let Some(chosen) = chosen {
                    self.drill(Filter::of(chosen));
                }
            }
            _ => {}
        }
        Effect::Nothing
    }
}

/// A line with the word at its cursor completed as far as only one thing can be meant, where that is further than it was,
/// and what may be meant; the query in it begins `from` there.
pub(super) fn completed(input: &Input, from: usize, known: &impl Values) -> (Option<Input>, Completion) {
    let text = input.value();
    let cursor = text.char_indices().nth(input.cursor()).map_or(text.len(), |(at, _)| at);
    let mut found = query::complete(&text[from..], cursor.saturating_sub(from), known);
    found.at = found.at.start + from..found.at.end + from;
    let typed = &text[found.at.clone()];
    let common = found.common();
    let line = (common.len() >= typed.len() && common != typed).then(|| {
        let head = format!("{}{common}", &text[..found.at.start]);
        let cursor = head.chars().count();
        Input::new(format!("{head}{}", &text[found.at.end..])).with_cursor(cursor)
    });
    (line, found)
}
