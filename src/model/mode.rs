//! Defines what the keys are about: a screen, a line that is typed, a question; and which actions mean anything there.

use tui_input::Input;

use crate::{
    action::{Action, Place},
    model::{
        confirm::Confirm,
        order::{Chosen, Column},
    },
};

/// What the keys are about at the moment.
#[derive(Clone, Debug)]
pub enum Mode {
    Table,
    /// The filter line is being typed; the filter follows at once, as far as it is a query.
    Filter(Input),
    /// The time to go to in a replay is being typed.
    GoTo(Input),
    /// What to do is being typed.
    Command(Input),
    /// Everything about the client under the cursor.
    Detail,
    /// How fast the fleet answers, or what the filter shows of it.
    Latency,
    /// The same clients in groups.
    Groups,
    /// All of them in one picture.
    Map,
    /// What happened.
    Events,
    /// The alerts that fire or are muted.
    Alerts,
    /// What is done to many clients.
    Jobs,
    /// The endpoints, who is there and how.
    Endpoints,
    /// The column to sort by is chosen.
    Sort(Column),
    /// A cause is chosen, whose clients are to be shown.
    Cause {
        causes: Vec<Chosen>,
        at: usize,
    },
    /// The help, from this line on.
    Help(usize),
    Confirm(Confirm),
}

impl Mode {
    /// Whether it lies over another and leaves that in sight.
    pub(super) fn is_overlay(&self) -> bool {
        matches!(
            self,
            Mode::Help(_) | Mode::GoTo(_) | Mode::Command(_) | Mode::Confirm(_) | Mode::Sort(_) | Mode::Cause { .. }
        )
    }

    /// Whether an action means anything here. Where nobody sees which client a key would hit, it hits none.
    pub fn takes(&self, action: Action) -> bool {
        self.place().is_none_or(|place| action.is_on(place))
    }

    /// The screen that it is; `None` of the help, which is none of them.
    pub fn place(&self) -> Option<Place> {
        Some(match self {
            Mode::Detail => Place::Client,
            Mode::Latency => Place::Latency,
            Mode::Groups => Place::Groups,
            Mode::Map => Place::Map,
            Mode::Events => Place::Events,
            Mode::Alerts => Place::Alerts,
            Mode::Jobs => Place::Jobs,
            Mode::Endpoints => Place::Endpoints,
            Mode::Help(_) => return None,
            Mode::Table
            | Mode::Filter(_)
            | Mode::GoTo(_)
            | Mode::Command(_)
            | Mode::Sort(_)
            | Mode::Cause { .. }
            | Mode::Confirm(_) => Place::Clients,
        })
    }
}
