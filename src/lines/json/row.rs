//! Defines a client's row as JSON: how it stands, for lists and for a store; what happened is told by lines.

use serde::{Deserialize, Serialize};

use super::{super::stamp, connection::micros};
use crate::{
    clock::{Anchor, Moment},
    event::State,
    fleet::{ClientKey, Labels},
    model::Known,
    text::Scrubbed,
};

/// The state of a client of which nothing is known: its agent is gone.
pub const UNKNOWN: &str = "unknown";

/// One client. What does not apply is left out; in a store also what is 0 or empty. It is read back from there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub client: Scrubbed,
    /// Who holds it, in a store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Scrubbed>,
    pub endpoint: Scrubbed,
    /// As the console's STATE column has it.
    pub badge: Scrubbed,
    pub state: Scrubbed,
    /// Of a client of which nothing is known: what it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<Scrubbed>,
    pub since: Scrubbed,
    /// When its broker answered last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beat: Option<Scrubbed>,
    /// Its last answer, while it is up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_us: Option<u64>,
    /// Percentiles of its answers over the last minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50_us: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_us: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconnects: Option<u32>,
    /// The number of its present try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    pub reason: Scrubbed,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Scrubbed>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Labels>,
}

impl Row {
    /// A client as it is known.
    pub fn of(known: &Known, key: ClientKey, anchor: &Anchor, now: Moment) -> Row {
        let (row, client) = (known.row(key), known.fleet().client(key));
        let answers = row.answers().filter(|_| row.is_up());
        let quantile = |part: f64| answers.and_then(|answers| answers.quantile(now, part)).map(micros);
        Row {
            client: client.name.clone(),
            agent: None,
            endpoint: known.fleet().endpoint(row.endpoint).name.clone(),
            badge: Scrubbed::new(row.badge().word()),
            state: Scrubbed::new(row.state.name()),
            was: None,
            since: Scrubbed::new(&stamp(anchor, row.since)),
            beat: row.last.map(|(at, _)| Scrubbed::new(&stamp(anchor, at))),
            latency_us: row.last.filter(|_| row.is_up()).map(|(_, rtt)| micros(rtt)),
            p50_us: quantile(0.5),
            p99_us: quantile(0.99),
            reconnects: Some(row.reconnects),
            attempt: Some(row.attempt),
            reason: Scrubbed::new(row.reason.name()),
            detail: Some(row.detail.clone()),
            labels: Some((*client.labels).clone()),
        }
    }

    /// The same as it is kept in a store by this agent, where it is to be short.
    #[must_use]
    pub fn stored_by(self, agent: &Scrubbed) -> Row {
        Row {
            agent: Some(agent.clone()),
            reconnects: self.reconnects.filter(|count| *count > 0),
            attempt: self.attempt.filter(|count| *count > 0 && self.state.as_str() != State::Up.name()),
            detail: self.detail.filter(|detail| !detail.is_empty()),
            labels: self.labels.filter(|labels| !labels.is_empty()),
            ..self
        }
    }

    pub fn line(&self) -> String {
        super::encode(self)
    }
}
