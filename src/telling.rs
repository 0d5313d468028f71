//! Defines what a fleet file wants told to programs outside, and of which clients; telling it is done elsewhere.

mod alerting;
mod hook;
mod influx;
mod matching;
mod notifying;
mod recovering;
mod storing;

use std::net::SocketAddr;

pub use alerting::{AtLeast, Condition, Rule};
pub use hook::{Hook, Mode};
pub use influx::{Destination, Influx};
pub use matching::Match;
pub use notifying::{Access, Mail, Notifier, Security, Way, Webhook};
pub use recovering::{Act, Step};
pub use storing::{Servers, Store};

use crate::text::Scrubbed;

/// All that is to be told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Telling {
    pub metrics: Metrics,
    /// Rules about clients, in the file's order.
    pub alerts: Vec<Rule>,
    /// Who can be told of them.
    pub notifiers: Vec<Notifier>,
    /// In the order of the file.
    pub hooks: Vec<Hook>,
    /// Where it is written how the clients stand.
    pub store: Option<Store>,
}

/// What metrics are served and pushed, and where (`[metrics]`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    /// Where to listen; `None` where nobody asked for metrics.
    pub listen: Option<SocketAddr>,
    /// The label of clients that is a label of the metrics, too.
    pub label: Option<Scrubbed>,
    /// The clients that have series of their own.
    pub clients: Option<Picked>,
    /// Where they are pushed to.
    pub influx: Option<Influx>,
}

/// Clients that are told of one by one.
#[derive(Clone, Debug, PartialEq)]
pub struct Picked {
    pub matching: Match,
    /// The most of them; the first in the fleet's order.
    pub at_most: usize,
}

impl Picked {
    pub const AT_MOST: usize = 2_000;
}
