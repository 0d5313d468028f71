//! Defines what the keys are about: a screen, a line that is typed, a question; and which actions mean anything there.

use tui_input::Input;

use crate::{
    action::{Action, Scope},
    model::{
        act::is_motion,
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
        matches!(self, Mode::Help(_) | Mode::GoTo(_) | Mode::Confirm(_) | Mode::Sort(_) | Mode::Cause { .. })
    }

    /// Whether an action means anything here. Where nobody sees which client a key would hit, it hits none.
    pub fn takes(&self, action: Action) -> bool {
        let is_for_all = || {
            let is_for_all = matches!(
                action,
                Action::Clients
                    | Action::Groups
                    | Action::Map
                    | Action::Latency
                    | Action::Events
                    | Action::Alerts
                    | Action::Endpoints
                    | Action::Cause
                    | Action::Back
                    | Action::Filter
                    | Action::Freeze
                    | Action::Help
                    | Action::Repaint
                    | Action::Suspend
                    | Action::Undo
                    | Action::Quit
            );
            is_for_all || action.scope() == Scope::Replay
        };
        let is_to_move =
            || is_motion(action) || matches!(action, Action::NextUnwell | Action::PreviousUnwell | Action::Detail);
        let is_to_group = matches!(action, Action::SortNext | Action::SortPrevious);
        let is_sideways = matches!(action, Action::Left | Action::Right);
        let is_of_alerts = matches!(action, Action::Mute | Action::Acknowledge);
        let is_to_search = matches!(action, Action::NextMatch | Action::PreviousMatch);
        match self {
            Mode::Latency | Mode::Endpoints => is_for_all(),
            Mode::Groups => is_for_all() || is_to_move() || is_to_group,
            Mode::Map => is_for_all() || is_to_move() || is_to_group || is_sideways,
            Mode::Events => is_for_all() || is_to_move() || is_to_search,
            Mode::Alerts => is_for_all() || is_motion(action) || action == Action::Detail || is_of_alerts,
            Mode::Detail if action == Action::Sort => false,
            Mode::Help(_) => true,
            _ => !is_sideways && !is_to_search && !is_of_alerts,
        }
    }
}
