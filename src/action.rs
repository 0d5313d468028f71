//! Defines what a person can mean by a key or a command (the one registry of actions: name, words, keys, where each means anything); what it does is the model's matter.

use serde::{Deserialize, Serialize};

/// All that is known of an action but what it does. Hints, help, the command line of the console, `mqfleet keys` and the
/// built-in keymap are made from it.
#[derive(Clone, Copy, Debug)]
pub struct Info {
    name: &'static str,
    keys: &'static [&'static str],
    help: &'static str,
    scope: Scope,
    places: Places,
    hint: Option<Hint>,
    argument: Argument,
    partner: Option<Action>,
    is_repeatable: bool,
    is_command: bool,
    is_grave: bool,
}

/// A word for the line of hints, and how soon it gives way: the greatest rank first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hint {
    pub word: &'static str,
    pub rank: u8,
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

    /// In words, for lists: `replay`; empty where it is everywhere.
    pub fn words(self) -> &'static str {
        match self {
            Scope::Everywhere => "",
            Scope::Live => "live",
            Scope::Own => "own run",
            Scope::Attached => "attached",
            Scope::Replay => "replay",
        }
    }
}

/// A screen that a person can be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    Clients,
    /// One client, or what is known of it, with all else around it.
    Client,
    Groups,
    Map,
    Latency,
    Events,
    Jobs,
    Alerts,
    Endpoints,
}

impl Place {
    pub const ALL: [Place; 9] = [
        Place::Clients,
        Place::Client,
        Place::Groups,
        Place::Map,
        Place::Latency,
        Place::Events,
        Place::Jobs,
        Place::Alerts,
        Place::Endpoints,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Place::Clients => "clients",
            Place::Client => "client",
            Place::Groups => "groups",
            Place::Map => "map",
            Place::Latency => "latency",
            Place::Events => "events",
            Place::Jobs => "jobs",
            Place::Alerts => "alerts",
            Place::Endpoints => "endpoints",
        }
    }
}

/// Some of the screens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Places(u16);

impl Places {
    const ALL: Places = Places(u16::MAX);
    /// Where it is seen which line a key would mean,
    const LINES: Places = Places::of(&[
        Place::Clients,
        Place::Client,
        Place::Groups,
        Place::Map,
        Place::Events,
        Place::Jobs,
        Place::Alerts,
    ]);
    /// and where it is said of each whether it is well.
    const LISTS: Places = Places::of(&[Place::Clients, Place::Client, Place::Groups, Place::Map, Place::Events]);
    const GROUPED: Places = Places::of(&[Place::Clients, Place::Client, Place::Groups, Place::Map]);
    const ROWS: Places = Places::of(&[Place::Clients, Place::Client]);
    const TABLE: Places = Places::of(&[Place::Clients]);
    const MAP: Places = Places::of(&[Place::Map]);
    const JOBS: Places = Places::of(&[Place::Jobs]);
    const ALERTS: Places = Places::of(&[Place::Alerts]);
    const EVENTS: Places = Places::of(&[Place::Events]);

    const fn of(places: &[Place]) -> Places {
        let (mut bits, mut n) = (0, 0);
        while n < places.len() {
            bits |= 1 << places[n] as u16;
            n += 1;
        }
        Places(bits)
    }

    fn has(self, place: Place) -> bool {
        self.0 & 1 << place as u16 != 0
    }
}

/// What may stand behind an action's name on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Argument {
    None,
    /// Which clients are meant; without it, those that the key would mean.
    Query,
    /// A column, and `desc` or `asc`.
    Column,
    /// A time of a recording.
    Time,
}

impl Argument {
    /// How it is written in a list: `[QUERY]`.
    pub fn words(self) -> &'static str {
        match self {
            Argument::None => "",
            Argument::Query => "[QUERY]",
            Argument::Column => "[COLUMN]",
            Argument::Time => "[TIME]",
        }
    }
}

/// An action with these keys, which means something everywhere and changes only what is seen, unless it says otherwise.
const fn info(name: &'static str, keys: &'static [&'static str], help: &'static str) -> Info {
    Info {
        name,
        keys,
        help,
        scope: Scope::Everywhere,
        places: Places::ALL,
        hint: None,
        argument: Argument::None,
        partner: None,
        is_repeatable: false,
        is_command: false,
        is_grave: false,
    }
}

impl Info {
    const fn scope(self, scope: Scope) -> Info {
        Info { scope, ..self }
    }

    const fn on(self, places: Places) -> Info {
        Info { places, ..self }
    }

    const fn hint(self, word: &'static str, rank: u8) -> Info {
        Info { hint: Some(Hint { word, rank }), ..self }
    }

    const fn takes(self, argument: Argument) -> Info {
        Info { argument, ..self }
    }

    /// Help has both in one line: they are each other's opposite, or about one thing.
    const fn and(self, partner: Action) -> Info {
        Info { partner: Some(partner), ..self }
    }

    /// A key that is held down does it again and again.
    const fn repeats(self) -> Info {
        Info { is_repeatable: true, ..self }
    }

    /// It wants something of clients or endpoints: only who commands can have it.
    const fn commands(self) -> Info {
        Info { is_command: true, ..self }
    }

    /// It may reach into the fleet at one stroke, so that its key must be one that no hand rests on.
    const fn grave(self) -> Info {
        Info { is_grave: true, ..self }
    }
}

/// The actions, in the order of the help.
macro_rules! actions {
    ($($action:ident = $info:expr;)+) => {
        /// What a person meant.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Action { $($action),+ }

        impl Action {
            pub const ALL: [Action; TABLE.len()] = [$(Action::$action),+];
        }

        const TABLE: &[Info] = &[$($info),+];
    };
}

use Argument as A;
use Scope::{Attached, Live, Replay};

actions! {
    Up = info("up", &["k", "up"], "move up").on(Places::LINES).and(Action::Down).repeats();
    Down = info("down", &["j", "down"], "move down").on(Places::LINES).repeats();
    PageUp = info("page_up", &["pageup", "ctrl-u"], "one page up").on(Places::LINES).and(Action::PageDown).repeats();
    PageDown = info("page_down", &["pagedown", "ctrl-d"], "one page down").on(Places::LINES).repeats();
    Top = info("top", &["g", "home"], "first line").on(Places::LINES).and(Action::Bottom);
    Bottom = info("bottom", &["G", "end"], "last line").on(Places::LINES);
    Left = info("left", &["left"], "in the map: one cell to the left").scope(Live).on(Places::MAP).and(Action::Right);
    Right = info("right", &["right"], "to the right").scope(Live).on(Places::MAP);
    NextUnwell = info("next_unwell", &["}"], "the next that is not well").on(Places::LISTS).and(Action::PreviousUnwell);
    PreviousUnwell = info("previous_unwell", &["{"], "the one before").on(Places::LISTS);
    Detail = info("detail", &["enter"], "what is under the cursor: a client, a group, an event, a job, an alert")
        .on(Places::LINES).hint("detail", 5);
    Clients = info("clients", &["1"], "the clients, a line each");
    Groups = info("groups", &["2"], "groups: by endpoint, label, state, reason, protocol").hint("groups", 6);
    Map = info("map", &["3"], "map: every client in one picture").hint("map", 7);
    Latency = info("latency", &["4", "l"], "latencies of the fleet, or of what the filter shows").hint("latency", 7);
    Events = info("events", &["5"], "events: what happened, to scroll, filter and search").hint("events", 9);
    Jobs = info("jobs", &["6"], "jobs: what is done to many clients, and what became of each").hint("jobs", 9);
    Alerts = info("alerts", &["7"], "alerts: what fires, who was told, what recovery did").hint("alerts", 2);
    Endpoints = info("endpoints", &["e"], "the endpoints: who is there, and what was found");
    Cause = info("cause", &["i"], "show the clients of which the sentence (i ...) tells").hint("cause", 2);
    Back = info("back", &["esc"], "back: prompt, overlay, screen, filter, marks (never quits)");
    Filter = info("filter", &["/"], "show only clients with a text in ID, endpoint, state, reason, label")
        .takes(A::Query).hint("filter", 3);
    Command = info("command", &[":"], "a command: type what to do, or a part of its name").hint("command", 8);
    NextMatch = info("next_match", &["n"], "in the events: the next that the last filter meant")
        .scope(Live).on(Places::EVENTS).and(Action::PreviousMatch);
    PreviousMatch = info("previous_match", &["N"], "the one before").scope(Live).on(Places::EVENTS);
    Sort = info("sort", &["s"], "choose the column to sort by").on(Places::TABLE).takes(A::Column).hint("sort", 8);
    SortNext = info("sort_next", &[">"], "sort by the next column (groups, map: group by the next)")
        .on(Places::GROUPED).and(Action::SortPrevious);
    SortPrevious = info("sort_previous", &["<"], "by the one before").on(Places::GROUPED);
    SortReverse = info("sort_reverse", &["I"], "reverse the order").on(Places::ROWS);
    HoldOrder = info("hold_order", &["H"], "hold the order until you press it again; rows stay where they are")
        .on(Places::ROWS);
    Mark = info("mark", &["space"], "mark or unmark the client, and move on").scope(Live).on(Places::ROWS)
        .hint("mark", 6);
    MarkAll = info("mark_all", &["*"], "mark every client that the filter shows").scope(Live).on(Places::ROWS)
        .takes(A::Query).and(Action::UnmarkAll);
    UnmarkAll = info("unmark_all", &["\\"], "unmark them").scope(Live).on(Places::ROWS).takes(A::Query);
    Reconnect = info("reconnect", &["r"], "reconnect the marked clients, or the one under the cursor")
        .scope(Live).on(Places::ROWS).takes(A::Query).hint("reconnect", 4).commands().grave();
    Disconnect = info("disconnect", &["d"], "disconnect them (asks)")
        .scope(Live).on(Places::ROWS).takes(A::Query).hint("disconnect", 4).commands().grave();
    Hold = info("hold", &["h"], "hold the endpoint: nobody connects to it; again: let them (asks)")
        .scope(Live).on(Places::ROWS).commands();
    RateUp = info("rate_up", &["+"], "more connects a second for this endpoint (asks)")
        .scope(Live).on(Places::ROWS).and(Action::RateDown).commands();
    RateDown = info("rate_down", &["-"], "fewer").scope(Live).on(Places::ROWS).commands();
    PauseJob = info("pause_job", &["."], "let the job pause, or go on: the newest, or the one under the cursor")
        .scope(Live).commands();
    CancelJob = info("cancel_job", &["x"], "in the jobs: cancel one; who had no turn yet is left alone")
        .scope(Live).on(Places::JOBS).commands().grave();
    Mute = info("mute", &["m"], "in the alerts: tell nobody for an hour; again: tell them")
        .scope(Live).on(Places::ALERTS).hint("mute", 1).commands();
    Acknowledge = info("acknowledge", &["a"], "in the alerts: somebody is on it; nobody is told once more")
        .scope(Live).on(Places::ALERTS).hint("acknowledge", 1).commands();
    Undo = info("undo", &["u"], "take back the last hold, release, change of a rate, or job").scope(Live).commands().grave();
    Freeze = info("freeze", &["f"], "freeze the view; the fleet goes on, and is counted").scope(Live).hint("freeze", 7);
    Play = info("play", &["space", "p"], "play, or pause").scope(Replay).hint("play", 0);
    Faster = info("faster", &["+", "="], "play faster").scope(Replay).and(Action::Slower);
    Slower = info("slower", &["-"], "slower").scope(Replay);
    Forward = info("forward", &["right"], "ten seconds on").scope(Replay).and(Action::Backward).repeats();
    Backward = info("backward", &["left"], "ten seconds back").scope(Replay).repeats();
    NextEvent = info("next_event", &["."], "the next event (in the detail view: of this client)")
        .scope(Replay).and(Action::PreviousEvent).hint("step", 3).repeats();
    PreviousEvent = info("previous_event", &[","], "the one before").scope(Replay).repeats();
    NextTrouble = info("next_trouble", &["]", "n"], "the next trouble")
        .scope(Replay).and(Action::PreviousTrouble).hint("trouble", 2);
    PreviousTrouble = info("previous_trouble", &["[", "N"], "the one before").scope(Replay);
    GoTo = info("go_to", &["t"], "go to a time").scope(Replay).takes(A::Time).hint("go to", 3);
    Help = info("help", &["?"], "this help").and(Action::Repaint).hint("help", 1);
    Repaint = info("repaint", &["ctrl-l"], "paint the whole screen anew");
    Suspend = info("suspend", &["ctrl-z"], "back to the shell for now; `fg` goes on");
    TakeOver = info("take_over", &["w"], "take the command over from whoever has it").scope(Attached);
    EndFleet = info("end_fleet", &["Q"], "end the fleet: its agent stops (asks)")
        .scope(Attached).on(Places::ROWS).commands().grave();
    Quit = info("quit", &["q", "ctrl-c"], "quit (asks while clients are up; an agent goes on)").hint("quit", 2).grave();
}

impl Action {
    fn info(self) -> &'static Info {
        &TABLE[self as usize]
    }

    /// The action of this name.
    pub fn named(name: &str) -> Option<Action> {
        Action::ALL.into_iter().find(|action| action.name() == name)
    }

    /// The stable name, as a keymap file writes it.
    pub fn name(self) -> &'static str {
        self.info().name
    }

    /// The name as it is read to a person: `go to`.
    pub fn words(self) -> String {
        self.name().replace('_', " ")
    }

    /// The keys that mean it where no file says otherwise, as a keymap file writes them; the first one is shown.
    pub fn keys(self) -> &'static [&'static str] {
        self.info().keys
    }

    /// What the help says about it.
    pub fn help(self) -> &'static str {
        self.info().help
    }

    /// A word for the line of hints, where the action belongs there.
    pub fn hint(self) -> Option<Hint> {
        self.info().hint
    }

    /// Where it means anything.
    pub fn scope(self) -> Scope {
        self.info().scope
    }

    /// Whether it means anything on a screen.
    pub fn is_on(self, place: Place) -> bool {
        self.info().places.has(place)
    }

    /// What may stand behind its name on the command line.
    pub fn argument(self) -> Argument {
        self.info().argument
    }

    /// What shares its line in the help: its opposite.
    pub fn partner(self) -> Option<Action> {
        self.info().partner
    }

    /// Whether a key that is held down does it again.
    pub fn is_repeatable(self) -> bool {
        self.info().is_repeatable
    }

    /// Whether only who commands can have it.
    pub fn is_command(self) -> bool {
        self.info().is_command
    }

    /// Whether its key must be one that no hand rests on.
    pub fn is_grave(self) -> bool {
        self.info().is_grave
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_action_has_a_name_of_its_own_that_is_written_as_files_write_it() {
        let names: BTreeSet<&str> = Action::ALL.map(Action::name).into();
        assert_eq!(names.len(), Action::ALL.len());
        for action in Action::ALL {
            let name = action.name();
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
            assert_eq!(Action::named(name), Some(action));
            assert!(!action.help().is_empty() && !action.keys().is_empty(), "{name}");
            assert!(Place::ALL.into_iter().any(|place| action.is_on(place)), "{name}");
        }
    }

    #[test]
    fn who_shares_a_line_is_found_where_the_other_is() {
        for (action, partner) in Action::ALL.into_iter().filter_map(|action| Some((action, action.partner()?))) {
            assert!(partner.partner().is_none(), "{partner:?} has a line of its own");
            assert_eq!(action.scope(), partner.scope(), "{action:?}, {partner:?}");
            for place in Place::ALL {
                assert_eq!(action.is_on(place), partner.is_on(place), "{action:?}, {partner:?}");
            }
        }
    }
}
