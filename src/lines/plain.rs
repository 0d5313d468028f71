//! Defines the plain lines, for pipes and log files: outcomes, and the fleet in numbers.

use std::fmt::Write;

use super::{level_name, stamp};
use crate::{
    clock::{Anchor, Moment},
    event::{Event, Level, State, Transition, What},
    fleet::Fleet,
    model::Known,
    words,
};

/// An event as a plain line, where it is worth one: outcomes, not the way to them.
pub fn plain(fleet: &Fleet, anchor: &Anchor, event: &Event) -> Option<String> {
    let mut line = stamp(anchor, event.at);
    match &event.what {
        What::State(step) if !is_outcome(step) => return None,
        What::State(step) => {
            let _ = write!(line, " {}", words::transition(fleet, step));
        }
        What::Sample(_) | What::Late(_) | What::Tcp(..) | What::Gate(..) | What::Measured(_) => return None,
        What::Second(_) | What::Recording(_) | What::Fleet(_) => return None,
        What::Messages(_) | What::Standing(_) | What::FleetStanding(_) => return None,
        What::Finding(..) | What::Connack(..) | What::Subscribed(..) => return None,
        What::Shortfall(shortfall) => {
            let text = words::shortfall(fleet, shortfall);
            let _ = write!(line, " {}: {text}", level_name(Level::Warning));
        }
        What::SamplesLost(count) => {
            let _ = write!(line, " {count} samples lost: a queue was full");
        }
        What::Worker { worker, event, detail } => {
            let _ = write!(line, " {}", words::worker(&fleet.worker(*worker), *event, detail));
        }
        What::Notice { level, text } => {
            let _ = write!(line, " {}: {text}", level_name(*level));
        }
        What::Trouble(text) => {
            let _ = write!(line, " trouble: {text}");
        }
        What::Alert(alert) => {
            let _ = write!(line, " {}", words::alert::sentence(fleet, alert));
        }
        What::Handling(handling) => {
            let _ = write!(line, " {}", words::alert::handling(handling));
        }
        What::Job(news) if news.is_turn => {
            let _ = write!(line, " {}", words::job::sentence(&news.job));
        }
        What::Job(_) => return None,
        What::Order(endpoint, order) => {
            let _ = write!(line, " {}", words::order(fleet, *endpoint, *order));
        }
    }
    Some(line)
}

/// The fleet in numbers, as a plain line.
pub fn plain_summary(known: &Known, anchor: &Anchor, at: Moment) -> String {
    let totals = known.totals();
    let mut line = format!("{} {} clients:", stamp(anchor, at), totals.all());
    for state in State::ALL.into_iter().filter(|s| totals.of(*s) > 0) {
        let _ = write!(line, " {} {}", totals.of(state), state.name());
    }
    if let Some(latency) = known.latency() {
        let _ = write!(line, "; {}", words::figures::percentiles(&latency));
    }
    if known.lost() > 0 {
        let _ = write!(line, "; {} probes lost", known.lost());
    }
    line
}

fn is_outcome(step: &Transition) -> bool {
    match step.to {
        State::Up | State::Backoff | State::Failed => true,
        State::Off | State::Held => step.from != State::Off,
        State::Queued | State::Connecting => false,
    }
}

/// What most of the unhealthy share by now, as a plain line.
pub fn plain_insight(known: &Known, anchor: &Anchor, at: Moment) -> String {
    let text = insight(known, anchor);
    format!("{} insight: {}", stamp(anchor, at), text.as_deref().unwrap_or("nothing is shared any more"))
}

/// What most of the unhealthy share, with times in UTC.
pub fn insight(known: &Known, anchor: &Anchor) -> Option<String> {
    let clock = |at| anchor.utc(at).format("%H:%M").to_string();
    words::insight::causes(known, clock)
}
