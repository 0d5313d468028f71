//! Defines what a person can mean by a key (the one registry of actions, with their names and help texts); which key means it is the keymap's matter.

use serde::{Deserialize, Serialize};

/// What a person meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Up,
    Down,
    PageUp,
    PageDown,
    Top,
    Bottom,
    Left,
    Right,
    NextUnwell,
    PreviousUnwell,
    Detail,
    Clients,
    Groups,
    Map,
    Latency,
    Events,
    Alerts,
    Endpoints,
    Cause,
    Back,
    Filter,
    NextMatch,
    PreviousMatch,
    Sort,
    SortNext,
    SortPrevious,
    SortReverse,
    HoldOrder,
    Mark,
    MarkAll,
    UnmarkAll,
    Reconnect,
    Disconnect,
    Hold,
    RateUp,
    RateDown,
    Mute,
    Acknowledge,
    Undo,
    Freeze,
    Play,
    Faster,
    Slower,
    Forward,
    Backward,
    NextEvent,
    PreviousEvent,
    NextTrouble,
    PreviousTrouble,
    GoTo,
    Help,
    Repaint,
    Suspend,
    TakeOver,
    EndFleet,
    Quit,
}

/// Where an action means anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Everywhere,
    /// In a run that goes on: what reaches for its clients, or holds the view still while it goes on.
    Live,
    /// In a run that ends with the console,
    Own,
    /// or in an agent, where it goes on without.
    Attached,
    /// In the replay of a recording.
    Replay,
}

impl Scope {
    /// Whether both can be meant in one place, so that a key can mean only one of them.
    pub fn meets(self, other: Scope) -> bool {
        match (self, other) {
            (Scope::Everywhere, _) | (_, Scope::Everywhere) => true,
            (Scope::Live, Scope::Own | Scope::Attached) | (Scope::Own | Scope::Attached, Scope::Live) => true,
            _ => self == other,
        }
    }
}

impl Action {
    pub const ALL: [Action; 56] = [
        Action::Up,
        Action::Down,
        Action::PageUp,
        Action::PageDown,
        Action::Top,
        Action::Bottom,
        Action::Left,
        Action::Right,
        Action::NextUnwell,
        Action::PreviousUnwell,
        Action::Detail,
        Action::Clients,
        Action::Groups,
        Action::Map,
        Action::Latency,
        Action::Events,
        Action::Alerts,
        Action::Endpoints,
        Action::Cause,
        Action::Back,
        Action::Filter,
        Action::NextMatch,
        Action::PreviousMatch,
        Action::Sort,
        Action::SortNext,
        Action::SortPrevious,
        Action::SortReverse,
        Action::HoldOrder,
        Action::Mark,
        Action::MarkAll,
        Action::UnmarkAll,
        Action::Reconnect,
        Action::Disconnect,
        Action::Hold,
        Action::RateUp,
        Action::RateDown,
        Action::Mute,
        Action::Acknowledge,
        Action::Undo,
        Action::Freeze,
        Action::Play,
        Action::Faster,
        Action::Slower,
        Action::Forward,
        Action::Backward,
        Action::NextEvent,
        Action::PreviousEvent,
        Action::NextTrouble,
        Action::PreviousTrouble,
        Action::GoTo,
        Action::Help,
        Action::Repaint,
        Action::Suspend,
        Action::TakeOver,
        Action::EndFleet,
        Action::Quit,
    ];

    /// The stable name, as a keymap file writes it.
    pub fn name(self) -> &'static str {
        match self {
            Action::Up => "up",
            Action::Down => "down",
            Action::PageUp => "page_up",
            Action::PageDown => "page_down",
            Action::Top => "top",
            Action::Bottom => "bottom",
            Action::Left => "left",
            Action::Right => "right",
            Action::NextUnwell => "next_unwell",
            Action::PreviousUnwell => "previous_unwell",
            Action::Detail => "detail",
            Action::Clients => "clients",
            Action::Groups => "groups",
            Action::Map => "map",
            Action::Latency => "latency",
            Action::Events => "events",
            Action::Alerts => "alerts",
            Action::Endpoints => "endpoints",
            Action::Cause => "cause",
            Action::Back => "back",
            Action::Filter => "filter",
            Action::NextMatch => "next_match",
            Action::PreviousMatch => "previous_match",
            Action::Sort => "sort",
            Action::SortNext => "sort_next",
            Action::SortPrevious => "sort_previous",
            Action::SortReverse => "sort_reverse",
            Action::HoldOrder => "hold_order",
            Action::Mark => "mark",
            Action::MarkAll => "mark_all",
            Action::UnmarkAll => "unmark_all",
            Action::Reconnect => "reconnect",
            Action::Disconnect => "disconnect",
            Action::Hold => "hold",
            Action::RateUp => "rate_up",
            Action::RateDown => "rate_down",
            Action::Mute => "mute",
            Action::Acknowledge => "acknowledge",
            Action::Undo => "undo",
            Action::Freeze => "freeze",
            Action::Play => "play",
            Action::Faster => "faster",
            Action::Slower => "slower",
            Action::Forward => "forward",
            Action::Backward => "backward",
            Action::NextEvent => "next_event",
            Action::PreviousEvent => "previous_event",
            Action::NextTrouble => "next_trouble",
            Action::PreviousTrouble => "previous_trouble",
            Action::GoTo => "go_to",
            Action::Help => "help",
            Action::Repaint => "repaint",
            Action::Suspend => "suspend",
            Action::TakeOver => "take_over",
            Action::EndFleet => "end_fleet",
            Action::Quit => "quit",
        }
    }

    /// What the help overlay says about it.
    pub fn help(self) -> &'static str {
        match self {
            Action::Up => "move up",
            Action::Down => "move down",
            Action::PageUp => "one page up",
            Action::PageDown => "one page down",
            Action::Top => "first line",
            Action::Bottom => "last line",
            Action::Left => "in the map: one cell to the left",
            Action::Right => "to the right",
            Action::NextUnwell => "the next that is not well",
            Action::PreviousUnwell => "the one before",
            Action::Detail => "what is under the cursor: a client, a group, an event",
            Action::Clients => "the clients, a line each",
            Action::Groups => "groups: by endpoint, label, state, reason, protocol",
            Action::Map => "map: every client in one picture",
            Action::Latency => "latencies of the fleet, or of what the filter shows",
            Action::Events => "events: what happened, to scroll, filter and search",
            Action::Alerts => "alerts: what fires, who was told, what recovery did",
            Action::Endpoints => "the endpoints: who is there, and what was found",
            Action::Cause => "show the clients of which the sentence (i ...) tells",
            Action::Back => "back: prompt, overlay, screen, filter, marks (never quits)",
            Action::Filter => "show only clients with a text in ID, endpoint, state, reason, label",
            Action::NextMatch => "in the events: the next that the last filter meant",
            Action::PreviousMatch => "the one before",
            Action::Sort => "choose the column to sort by",
            Action::SortNext => "sort by the next column (groups, map: group by the next)",
            Action::SortPrevious => "by the one before",
            Action::SortReverse => "reverse the order",
            Action::HoldOrder => "hold the order until you press it again; rows stay where they are",
            Action::Mark => "mark or unmark the client, and move on",
            Action::MarkAll => "mark every client that the filter shows",
            Action::UnmarkAll => "unmark them",
            Action::Reconnect => "reconnect the marked clients, or the one under the cursor",
            Action::Disconnect => "disconnect them (asks)",
            Action::Hold => "hold the endpoint: nobody connects to it; again: let them (asks)",
            Action::RateUp => "more connects a second for this endpoint (asks)",
            Action::RateDown => "fewer",
            Action::Mute => "in the alerts: tell nobody for an hour; again: tell them",
            Action::Acknowledge => "in the alerts: somebody is on it; nobody is told once more",
            Action::Undo => "undo the last hold, release or change of a rate",
            Action::Freeze => "freeze the view; the fleet goes on, and is counted",
            Action::Play => "play, or pause",
            Action::Faster => "play faster",
            Action::Slower => "slower",
            Action::Forward => "ten seconds on",
            Action::Backward => "ten seconds back",
            Action::NextEvent => "the next event (in the detail view: of this client)",
            Action::PreviousEvent => "the one before",
            Action::NextTrouble => "the next trouble",
            Action::PreviousTrouble => "the one before",
            Action::GoTo => "go to a time",
            Action::Help => "this help",
            Action::Repaint => "paint the whole screen anew",
            Action::Suspend => "back to the shell for now; `fg` goes on",
            Action::TakeOver => "take the command over from whoever has it",
            Action::EndFleet => "end the fleet: its agent stops (asks)",
            Action::Quit => "quit (asks while clients are up; an agent goes on)",
        }
    }

    /// A word for the hint line, where the action belongs there.
    pub fn hint(self) -> Option<&'static str> {
        Some(match self {
            Action::Filter => "filter",
            Action::Sort => "sort",
            Action::Detail => "detail",
            Action::Groups => "groups",
            Action::Map => "map",
            Action::Latency => "latency",
            Action::Events => "events",
            Action::Alerts => "alerts",
            Action::Mute => "mute",
            Action::Acknowledge => "acknowledge",
            Action::Cause => "cause",
            Action::Mark => "mark",
            Action::Reconnect => "reconnect",
            Action::Disconnect => "disconnect",
            Action::Freeze => "freeze",
            Action::Play => "play",
            Action::NextEvent => "step",
            Action::NextTrouble => "trouble",
            Action::GoTo => "go to",
            Action::Help => "help",
            Action::Quit => "quit",
            _ => return None,
        })
    }

    /// Where it means anything.
    pub fn scope(self) -> Scope {
        match self {
            Action::Left
            | Action::Right
            | Action::NextMatch
            | Action::PreviousMatch
            | Action::Mark
            | Action::MarkAll
            | Action::UnmarkAll
            | Action::Reconnect
            | Action::Disconnect
            | Action::Hold
            | Action::RateUp
            | Action::RateDown
            | Action::Mute
            | Action::Acknowledge
            | Action::Undo
            | Action::Freeze => Scope::Live,
            Action::TakeOver | Action::EndFleet => Scope::Attached,
            Action::Play
            | Action::Faster
            | Action::Slower
            | Action::Forward
            | Action::Backward
            | Action::NextEvent
            | Action::PreviousEvent
            | Action::NextTrouble
            | Action::PreviousTrouble
            | Action::GoTo => Scope::Replay,
            Action::Up
            | Action::Down
            | Action::PageUp
            | Action::PageDown
            | Action::Top
            | Action::Bottom
            | Action::NextUnwell
            | Action::PreviousUnwell
            | Action::Detail
            | Action::Clients
            | Action::Groups
            | Action::Map
            | Action::Latency
            | Action::Events
            | Action::Alerts
            | Action::Endpoints
            | Action::Cause
            | Action::Back
            | Action::Filter
            | Action::Sort
            | Action::SortNext
            | Action::SortPrevious
            | Action::SortReverse
            | Action::HoldOrder
            | Action::Help
            | Action::Repaint
            | Action::Suspend
            | Action::Quit => Scope::Everywhere,
        }
    }
}
