//! Defines the table of fields that a query knows, from which it is read, help, completion and the README are made.

use std::fmt::Write;

use crate::event::{Badge, Reason};

/// What of a client a query can ask for, in the order of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    State,
    Id,
    Endpoint,
    Address,
    Why,
    Reason,
    /// One label, by its name.
    LabelNamed,
    /// Any label.
    Label,
    Protocol,
    Transport,
    Probe,
    P99,
    P50,
    Latency,
    Silent,
    Loss,
    Up,
    Down,
    For,
    Next,
    Reconnects,
    Attempt,
    Received,
    Published,
    Refused,
    Availability,
    Rtt,
    Retransmits,
}

/// What a field is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Words of a closed set.
    Choice,
    Text,
    Count,
    Time,
    /// Per cent.
    Share,
}

/// A row of the table.
#[derive(Debug)]
pub struct Info {
    pub field: Field,
    pub name: &'static str,
    /// What it is called, too.
    pub aliases: &'static [&'static str],
    pub kind: Kind,
    pub example: &'static str,
    pub help: &'static str,
}

const fn row(
    field: Field,
    name: &'static str,
    aliases: &'static [&'static str],
    kind: Kind,
    example: &'static str,
    help: &'static str,
) -> Info {
    Info { field, name, aliases, kind, example, help }
}

/// All fields, each at its own place.
pub const FIELDS: [Info; 28] = {
    use Kind::{Choice, Count, Share, Text, Time};
    [
        row(
            Field::State,
            "state",
            &["st"],
            Choice,
            "state:rej,wait",
            "the word in STATE; down: should be up and is not",
        ),
        row(Field::Id, "id", &["client"], Text, "id:press-*", "client ID"),
        row(Field::Endpoint, "endpoint", &["broker"], Text, "endpoint=eu-2", "name of the endpoint it is at"),
        row(Field::Address, "address", &["addr"], Text, "address:10.0.3.", "host and port of that endpoint"),
        row(Field::Why, "why", &[], Text, "why:auth", "the words in REASON, the broker's own among them"),
        row(
            Field::Reason,
            "reason",
            &[],
            Choice,
            "reason:certificate",
            "reason by its stable name, or how that begins",
        ),
        row(Field::LabelNamed, "label.NAME", &[], Text, "label.site:hall-3", "value of one label"),
        row(Field::Label, "label", &["group"], Text, "label=hall-3", "value of any label"),
        row(Field::Protocol, "protocol", &["version", "ver"], Choice, "protocol:3.1.1", "MQTT version it is set to"),
        row(Field::Transport, "transport", &[], Choice, "transport:wss", "scheme of the endpoint's URL"),
        row(Field::Probe, "probe", &[], Choice, "probe:heartbeat", "by what it is measured"),
        row(Field::P99, "p99", &[], Time, "p99>250ms", "99th percentile of its answers"),
        row(Field::P50, "p50", &["median"], Time, "p50<20ms", "median of its answers"),
        row(Field::Latency, "latency", &["last"], Time, "latency>1s", "its last answer, while it is up"),
        row(Field::Silent, "silent", &[], Time, "silent>10s", "how long its probe has had no answer"),
        row(Field::Loss, "loss", &[], Share, "loss>1%", "share of its probes that were never answered"),
        row(Field::Up, "up", &[], Time, "up<5m", "how long it has been up, while it is"),
        row(Field::Down, "down", &[], Time, "down>1h", "how long it has been down, while it should be up"),
        row(
            Field::For,
            "for",
            &["since"],
            Time,
            "for<30s",
            "the time in FOR: since it came up, went down, was given up",
        ),
        row(Field::Next, "next", &["retry"], Time, "next>1m", "time until its next try"),
        row(Field::Reconnects, "reconnects", &["rc", "reconn"], Count, "reconnects>=3", "how often it came up again"),
        row(Field::Attempt, "attempt", &["try"], Count, "attempt>5", "number of its try since it was last stable"),
        row(Field::Received, "received", &[], Count, "received=0", "messages that came"),
        row(Field::Published, "published", &[], Count, "published>1k", "messages that it published"),
        row(Field::Refused, "refused", &[], Count, "refused>0", "messages that the broker refused"),
        row(
            Field::Availability,
            "availability",
            &["avail"],
            Share,
            "availability<99.9%",
            "time up of the time meant to be",
        ),
        row(Field::Rtt, "rtt", &[], Time, "rtt>100ms", "round trip of its connection, as the kernel has it"),
        row(
            Field::Retransmits,
            "retransmits",
            &["retrans"],
            Count,
            "retransmits>10",
            "segments that the kernel sent again",
        ),
    ]
};

impl Field {
    pub fn info(self) -> &'static Info {
        &FIELDS[self as usize]
    }

    /// Whether it is known as soon as a client is defined, and does not change while it runs.
    pub(super) fn is_of_definition(self) -> bool {
        use Field::{Address, Endpoint, Id, Label, LabelNamed, Protocol, Transport};
        matches!(self, Id | Endpoint | Address | LabelNamed | Label | Protocol | Transport)
    }

    /// The words it can be, each with what it is called, too; the place of each is its bit.
    pub(super) fn choices(self) -> Vec<Vec<&'static str>> {
        match self {
            Field::State => {
                let badges = Badge::ALL.iter().map(|badge| badge.words().to_vec());
                badges.chain([vec!["down"]]).collect()
            }
            Field::Reason => Reason::ALL.iter().map(|reason| vec![reason.name()]).collect(),
            Field::Protocol => vec![vec!["3.1.1", "311", "4"], vec!["5", "5.0"]],
            Field::Transport => ["mqtt", "mqtts", "ws", "wss", "unix"].map(|scheme| vec![scheme]).to_vec(),
            Field::Probe => ["heartbeat", "ack", "echo", "off"].map(|kind| vec![kind]).to_vec(),
            _ => Vec::new(),
        }
    }

    /// The words it can be, each by its first name.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        self.choices().into_iter().filter_map(|names| names.first().copied())
    }
}

/// The field of this name.
pub(super) fn named(name: &str) -> Option<Field> {
    let is_it = |info: &&Info| {
        let names = || std::iter::once(&info.name).chain(info.aliases);
        info.field != Field::LabelNamed && names().any(|known| known.eq_ignore_ascii_case(name))
    };
    FIELDS.iter().find(is_it).map(|info| info.field)
}

/// The table of fields in Markdown, as the README has it.
pub fn table() -> String {
    let mut out = "| field | for example | is |\n|---|---|---|\n".to_owned();
    for info in &FIELDS {
        let names: Vec<String> =
            std::iter::once(&info.name).chain(info.aliases).map(|name| format!("`{name}`")).collect();
        let _ = writeln!(out, "| {} | `{}` | {} |", names.join(", "), info.example, info.help);
    }
    out
}
