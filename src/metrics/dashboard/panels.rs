//! Defines which panels a dashboard has, in sections, and which metrics they draw; how they are written down is elsewhere.

use super::queries::{
    Ask,
    What::{First, Growth, Highest, Labels, Percentile, Rate, Sum},
};
use crate::metrics::table::*;

/// How the answers are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Draw {
    /// One number.
    Number,
    Lines,
    Bars,
    /// Areas on top of each other: they add up.
    Areas,
    /// 1 and 0 in the course of time.
    Timeline,
    Table,
}

/// What the figures are, by Grafana's names for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Count,
    /// Of a share of a core.
    Cores,
    Seconds,
    Bytes,
    BytesPerSecond,
    PerSecond,
    Time,
    /// What 0 and 1 mean, and which of them is well.
    Whether([&'static str; 2], u8),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Panel {
    pub title: &'static str,
    pub draw: Draw,
    pub unit: Unit,
    pub asks: &'static [Ask],
}

/// Panels under a heading; a heading that is closed shows none of them until it is opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section {
    pub title: &'static str,
    pub is_open: bool,
    pub panels: &'static [Panel],
}

const fn panel(title: &'static str, draw: Draw, unit: Unit, asks: &'static [Ask]) -> Panel {
    Panel { title, draw, unit, asks }
}

const fn number(title: &'static str, unit: Unit, asks: &'static [Ask]) -> Panel {
    panel(title, Draw::Number, unit, asks)
}

const fn ask(metric: Metric, what: super::queries::What, by: &'static [&'static str]) -> Ask {
    Ask::of(metric, what, by)
}

/// What no panel draws: the time of the figures themselves.
#[cfg(test)]
pub(super) const UNDRAWN: &[Metric] = &[SECOND];

const ENDPOINT: &[&str] = &["endpoint"];
const REASON: &[&str] = &["reason"];
const CLIENT: &[&str] = &["client"];
const PROCESS: &[&str] = &["process"];

pub(super) const SECTIONS: &[Section] = &[
    Section {
        title: "Overview",
        is_open: true,
        panels: &[
            number("Up", Unit::Count, &[ask(CLIENTS, Sum, &[]).only("state", "up")]),
            number("In all", Unit::Count, &[ask(CLIENTS, Sum, &[])]),
            number("Failed", Unit::Count, &[ask(CLIENTS, Sum, &[]).only("state", "failed")]),
            number("Slow", Unit::Count, &[ask(SLOW, Sum, &[])]),
            number("Unanswered", Unit::Count, &[ask(LATE, Sum, &[])]),
            number("Alerts", Unit::Count, &[ask(ALERTS, Sum, &[])]),
        ],
    },
    Section {
        title: "Clients",
        is_open: true,
        panels: &[
            panel("Clients by state", Draw::Areas, Unit::Count, &[ask(CLIENTS, Sum, &["state"])]),
            panel("Up by endpoint", Draw::Areas, Unit::Count, &[ask(CLIENTS, Sum, ENDPOINT).only("state", "up")]),
            panel(
                "Slow and unanswered",
                Draw::Lines,
                Unit::Count,
                &[ask(SLOW, Sum, ENDPOINT).called("slow"), ask(LATE, Sum, ENDPOINT).called("unanswered")],
            ),
            panel("Longest wait for an answer", Draw::Lines, Unit::Seconds, &[ask(WAIT, Highest, ENDPOINT)]),
        ],
    },
    Section {
        title: "Connections",
        is_open: true,
        panels: &[
            panel("Connects", Draw::Bars, Unit::Count, &[ask(CONNECTS, Growth, ENDPOINT)]),
            panel("Losses by reason", Draw::Bars, Unit::Count, &[ask(LOSSES, Growth, REASON)]),
            panel("Failed connects by reason", Draw::Bars, Unit::Count, &[ask(FAILURES, Growth, REASON)]),
            panel(
                "Time to connect",
                Draw::Lines,
                Unit::Seconds,
                &[
                    ask(CONNECT_DURATION, Percentile(0), ENDPOINT).called("p50"),
                    ask(CONNECT_DURATION, Percentile(2), ENDPOINT).called("p99"),
                ],
            ),
        ],
    },
    Section {
        title: "Latency",
        is_open: true,
        panels: &[
            panel(
                "Round trips",
                Draw::Lines,
                Unit::Seconds,
                &[
                    ask(ROUND_TRIP, Percentile(0), ENDPOINT).called("p50"),
                    ask(ROUND_TRIP, Percentile(2), ENDPOINT).called("p99"),
                ],
            ),
            panel("Probes never answered", Draw::Bars, Unit::Count, &[ask(PROBES_LOST, Growth, ENDPOINT)]),
        ],
    },
    Section {
        title: "Messages and network",
        is_open: true,
        panels: &[
            panel("Received", Draw::Areas, Unit::PerSecond, &[ask(RECEIVED, Rate, ENDPOINT)]),
            panel("Published", Draw::Areas, Unit::PerSecond, &[ask(PUBLISHED, Rate, ENDPOINT)]),
            panel("Refused messages", Draw::Bars, Unit::Count, &[ask(REFUSED, Growth, ENDPOINT)]),
            panel("Network, sent", Draw::Areas, Unit::BytesPerSecond, &[ask(SENT_BYTES, Rate, ENDPOINT)]),
            panel("Network, received", Draw::Areas, Unit::BytesPerSecond, &[ask(RECEIVED_BYTES, Rate, ENDPOINT)]),
            panel("TCP segments sent again", Draw::Bars, Unit::Count, &[ask(RETRANSMITS, Growth, ENDPOINT)]),
        ],
    },
    Section {
        title: "Endpoints",
        is_open: true,
        panels: &[
            panel("Endpoints", Draw::Timeline, Unit::Whether(["shut", "open"], 1), &[ask(OPEN, Highest, ENDPOINT)]),
            panel("Clients that wait for their turn", Draw::Areas, Unit::Count, &[ask(QUEUE, Sum, ENDPOINT)]),
            panel("Until the last has its turn", Draw::Lines, Unit::Seconds, &[ask(ETA, Highest, ENDPOINT)]),
            panel(
                "Connects under way, and those a second that may be",
                Draw::Lines,
                Unit::Count,
                &[ask(CONNECTING, Sum, ENDPOINT).called("under way"), ask(RATE, Highest, ENDPOINT).called("a second")],
            ),
            panel("Servers' certificates end", Draw::Table, Unit::Time, &[ask(CERTIFICATE, First, ENDPOINT)]),
            panel("Clients' certificates end", Draw::Table, Unit::Time, &[ask(OWN_CERTIFICATE, First, ENDPOINT)]),
        ],
    },
    Section {
        title: "Alerts and hooks",
        is_open: true,
        panels: &[
            panel("Alerts by severity", Draw::Areas, Unit::Count, &[ask(ALERTS, Sum, &["severity"])]),
            panel("Alerts", Draw::Timeline, Unit::Whether(["quiet", "fires"], 0), &[ask(FIRING, Highest, &["alert"])]),
            panel("Alerts that began", Draw::Bars, Unit::Count, &[ask(FIRED, Growth, &["alert"])]),
            panel(
                "Messages",
                Draw::Bars,
                Unit::Count,
                &[
                    ask(NOTIFICATIONS, Growth, &["notifier"]).called("sent"),
                    ask(NOTIFICATION_FAILURES, Growth, &["notifier"]).called("failed"),
                    ask(NOTIFICATIONS_DROPPED, Growth, &["notifier"]).called("given up"),
                ],
            ),
            panel("Messages that wait", Draw::Lines, Unit::Count, &[ask(NOTIFICATIONS_WAITING, Sum, &["notifier"])]),
            panel(
                "Hooks",
                Draw::Bars,
                Unit::Count,
                &[
                    ask(HOOK_RUNS, Growth, &["hook"]).called("ended well"),
                    ask(HOOK_FAILURES, Growth, &["hook"]).called("failed"),
                ],
            ),
            panel("Changes that wait for a hook", Draw::Lines, Unit::Count, &[ask(HOOK_WAITING, Sum, &["hook"])]),
        ],
    },
    Section {
        title: "The program",
        is_open: true,
        panels: &[
            panel("CPU", Draw::Lines, Unit::Cores, &[ask(CPU, Rate, PROCESS)]),
            panel("Memory", Draw::Areas, Unit::Bytes, &[ask(MEMORY, Sum, PROCESS)]),
            panel("Open files", Draw::Lines, Unit::Count, &[ask(FILES, Sum, PROCESS)]),
            panel("Workers", Draw::Timeline, Unit::Whether(["down", "up"], 1), &[ask(WORKER_UP, Highest, &["worker"])]),
            panel("Workers that died", Draw::Bars, Unit::Count, &[ask(WORKER_DEATHS, Growth, &["worker"])]),
            panel("Events that wait", Draw::Lines, Unit::Count, &[ask(WAITING, Sum, &["queue"])]),
            panel("Events folded", Draw::Bars, Unit::Count, &[ask(FOLDED, Growth, &["queue"])]),
            panel("Program", Draw::Table, Unit::Count, &[ask(BUILD, Labels, &["version"])]),
            panel("Fleets", Draw::Table, Unit::Count, &[ask(FLEET, Labels, &["fleet", "env"])]),
            panel(
                "What is missing here",
                Draw::Lines,
                Unit::Count,
                &[
                    ask(SAMPLES_DROPPED, Sum, &[]).called("round trips dropped"),
                    ask(LEFT_OUT, Sum, &[]).called("clients left out"),
                    ask(VALUES_LEFT_OUT, Sum, &[]).called("values of the label left out"),
                    ask(RULES_LEFT_OUT, Sum, &[]).called("alert rules left out"),
                ],
            ),
            panel(
                "Points for InfluxDB",
                Draw::Bars,
                Unit::Count,
                &[
                    ask(POINTS, Growth, &[]).called("taken"),
                    ask(POINTS_DROPPED, Growth, &[]).called("dropped"),
                    ask(POINTS_WAITING, Sum, &[]).called("waiting"),
                    ask(POINTS_FAILURES, Growth, &[]).called("failed tries"),
                ],
            ),
        ],
    },
    Section {
        title: "Picked clients (metrics.clients)",
        is_open: false,
        panels: &[
            panel("Clients", Draw::Timeline, Unit::Whether(["down", "up"], 1), &[ask(CLIENT_UP, Highest, CLIENT)]),
            panel("Last answer", Draw::Lines, Unit::Seconds, &[ask(CLIENT_ROUND_TRIP, Highest, CLIENT)]),
            panel("Connects of a client", Draw::Bars, Unit::Count, &[ask(CLIENT_CONNECTS, Growth, CLIENT)]),
            panel("Messages it received", Draw::Lines, Unit::PerSecond, &[ask(CLIENT_RECEIVED, Rate, CLIENT)]),
            panel("Messages it published", Draw::Lines, Unit::PerSecond, &[ask(CLIENT_PUBLISHED, Rate, CLIENT)]),
        ],
    },
];
