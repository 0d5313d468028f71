//! Defines the InfluxDB that a run's metrics are pushed to (`[metrics.influx]`); pushing them is done elsewhere.

use std::time::Duration;

use super::Access;
use crate::{fleet::Secret, text::Scrubbed};

/// Where points go, how often, and how long they wait where it is away.
#[derive(Clone, Debug, PartialEq)]
pub struct Influx {
    /// The whole address that points are posted to.
    pub url: Secret,
    /// What of it may be shown: without its path.
    pub shown: Scrubbed,
    pub destination: Destination,
    pub access: Access,
    /// From one set of points to the next, in whole seconds.
    pub every: Duration,
    /// Points that could not be written are kept for so long.
    pub keep: Duration,
}

/// Where in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// InfluxDB 1.
    Database(String),
    /// InfluxDB 2 and later.
    Bucket { org: String, bucket: String },
}

impl Influx {
    pub const EVERY: Duration = Duration::from_secs(10);
    /// More than ten minutes, so that an outage of that length loses nothing.
    pub const KEEP: Duration = Duration::from_secs(15 * 60);
}
