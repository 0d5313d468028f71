//! Defines where one is and the way back: one stack of screens, prompts and questions, of which `Esc` takes the uppermost away.

use tui_input::Input;

use crate::{
    clock::Moment,
    event::Level,
    model::{
        Insight,
        confirm::Confirm,
        mode::Mode,
        order::{Chosen, Filter, Origin},
        view::Model,
    },
};

/// What lies below something else, and comes back when that goes.
#[derive(Clone, Debug)]
pub(super) struct Under {
    pub(super) mode: Mode,
    /// The filter that comes back with it, where what lies above has another.
    pub(super) filter: Option<Filter>,
}

impl Model {
    /// The mode below a help, a question or the line of a time, where these lie over it.
    pub fn base(&self) -> &Mode {
        self.modes().find(|mode| !mode.is_overlay()).unwrap_or(&Mode::Table)
    }

    /// The screen below whatever is typed or asked.
    pub fn screen(&self) -> &Mode {
        let is_screen = |mode: &&Mode| !mode.is_overlay() && !matches!(mode, Mode::Filter(_));
        self.modes().find(is_screen).unwrap_or(&Mode::Table)
    }

    /// All there is, the uppermost first.
    fn modes(&self) -> impl Iterator<Item = &Mode> {
        std::iter::once(&self.mode).chain(self.under.iter().rev().map(|under| &under.mode))
    }

    /// Whether `Esc` leads to another screen, and not to another filter of this one.
    pub fn has_way_back(&self) -> bool {
        !self.under.is_empty()
    }

    /// Lays something over what there is.
    pub(super) fn open(&mut self, mode: Mode) {
        match std::mem::replace(&mut self.mode, mode) {
            // The line goes, and the filter stays as it was typed.
            Mode::Filter(_) if !matches!(self.mode, Mode::Help(_)) => {
                self.under.last_mut().into_iter().for_each(|under| under.filter = None);
            }
            mode => self.under.push(Under { mode, filter: None }),
        }
    }

    /// Asks a question. It is on the screen with the next frame.
    pub(super) fn ask(&mut self, confirm: Confirm) {
        self.see(false);
        self.open(Mode::Confirm(confirm));
    }

    /// Takes away what lies uppermost.
    pub(super) fn close(&mut self) {
        let under = self.under.pop();
        let filter = under.as_ref().and_then(|under| under.filter.clone());
        self.mode = under.map_or(Mode::Table, |under| under.mode);
        if let Some(filter) = filter {
            self.filter = filter;
            self.rearrange();
        }
        self.refresh();
    }

    /// Takes away one layer: a prompt, a question, a screen; of the table the filter, then the marks.
    pub(super) fn back(&mut self) {
        match self.mode {
            Mode::Filter(_) if matches!(self.screen(), Mode::Events) => {
                self.events.drop_typed();
                self.close();
            }
            // Where nothing else is in force the filter goes as a whole, and otherwise what was typed.
            Mode::Filter(_) => {
                let below = self.under.len().saturating_sub(1);
                if self.under[..below].iter().all(|under| under.filter.is_none()) {
                    self.under.last_mut().into_iter().for_each(|under| under.filter = Some(Filter::default()));
                }
                self.close();
            }
            Mode::Events if self.events.clear() => {}
            Mode::Table if self.under.is_empty() && self.filter.is_empty() => {
                self.marks.clear();
                self.count_marks();
            }
            Mode::Table if self.under.is_empty() => {
                self.filter = Filter::default();
                self.rearrange();
            }
            _ => self.close(),
        }
    }

    /// Goes to a screen: back to it where it lies below this one and shows the same clients, to a new one elsewhere.
    /// From itself it is the way back.
    pub(super) fn go(&mut self, to: Mode) {
        let is_it = |mode: &Mode| std::mem::discriminant(mode) == std::mem::discriminant(&to);
        if is_it(&self.mode) {
            match to {
                // Home: all the way.
                Mode::Table => (0..self.under.len()).for_each(|_| self.close()),
                _ => self.close(),
            }
            return;
        }
        let same = self.under.iter().rev().take_while(|under| under.filter.is_none());
        let found = same.map(|under| &under.mode).position(is_it);
        match found {
            Some(above) => {
                self.under.truncate(self.under.len() - above);
                self.close();
            }
            None => {
                self.open(to);
                self.refresh();
            }
        }
    }

    /// Shows what a filter means in a table of its own, from which the way back is to here.
    pub(super) fn drill(&mut self, filter: Filter) {
        let filter = Some(std::mem::replace(&mut self.filter, filter));
        let mode = std::mem::replace(&mut self.mode, Mode::Table);
        self.under.push(Under { mode, filter });
        self.rearrange_without_cursor();
        self.refresh();
    }

    /// Opens the line in which a filter is typed: that of the events, or of the clients on whichever screen shows them.
    pub(super) fn open_filter(&mut self) {
        while matches!(self.mode, Mode::Detail | Mode::Endpoints | Mode::Alerts) {
            self.close();
        }
        self.filter_line.open();
        let text = match self.mode {
            Mode::Events => self.events.open_line().to_owned(),
            _ => self.filter.text().to_owned(),
        };
        let mode = std::mem::replace(&mut self.mode, Mode::Filter(Input::new(text)));
        self.under.push(Under { mode, filter: Some(self.filter.clone()) });
    }

    /// Asks which cause is meant of those that the sentence names.
    pub(super) fn look_for_causes(&mut self, now: Moment) {
        let causes = Insight::explained(self.shown());
        let chosen = causes.into_iter().filter(|(_, clients)| !clients.is_empty());
        let chosen: Vec<Chosen> = chosen.map(|(cause, clients)| Chosen::new(Origin::Cause(cause), clients)).collect();
        match chosen.is_empty() {
            true if self.shown().totals().is_well() => self.say(Level::Info, "nothing is wrong".to_owned(), now),
            true => {
                let text = "no cause is known: those that are not well have too little in common".to_owned();
                self.say(Level::Info, text, now);
            }
            false => self.open(Mode::Cause { causes: chosen, at: 0 }),
        }
    }
}
