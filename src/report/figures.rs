//! Defines the figures of a summary, as scripts read them; how they are worked out and how a person reads them is elsewhere.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Outage, Storm};
use crate::{
    clock::Moment,
    event::State,
    model::{Histogram, Record, Row, share},
};

/// A run in figures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    pub fleet: String,
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    pub seconds: f64,
    /// The whole fleet.
    pub whole: GroupFigures,
    /// By the endpoint where clients were last.
    pub endpoints: Vec<GroupFigures>,
    /// By label, as `name=value`.
    pub labels: Vec<GroupFigures>,
    /// Labels with so many values that these are no groups.
    pub labels_left_out: Vec<String>,
    pub clients: Vec<ClientFigures>,
    pub outages: Vec<Outage>,
    pub storms: Vec<Storm>,
    /// The most connects in a second, and when that was.
    pub peak_connects: Option<(DateTime<Utc>, u32)>,
    /// Probes that were never answered.
    pub probes_lost: u64,
    pub samples_lost: u64,
    pub worker_deaths: u32,
}

/// A share of time, 0 to 1, with what it was worked out from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Share {
    /// None of clients that were never meant to be up.
    pub availability: Option<f64>,
    pub up_s: f64,
    pub meant_s: f64,
}

impl Share {
    fn new(up: Duration, meant: Duration) -> Share {
        Share { availability: share(up, meant), up_s: up.as_secs_f64(), meant_s: meant.as_secs_f64() }
    }
}

/// Clients together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupFigures {
    pub name: String,
    pub clients: u32,
    #[serde(flatten)]
    pub share: Share,
    /// Connections lost, where nobody wanted that.
    pub flaps: u64,
    pub longest_outage_s: f64,
    /// The mean time to recover, over all outages that ended.
    pub mean_recovery_s: Option<f64>,
    /// Clients that are down by a fault at the end.
    pub down: u32,
    pub latency: Option<LatencyFigures>,
}

/// One client.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClientFigures {
    pub client: String,
    pub endpoint: String,
    /// At the end.
    pub state: State,
    #[serde(flatten)]
    pub share: Share,
    pub flaps: u32,
    pub longest_outage_s: f64,
    pub mean_recovery_s: Option<f64>,
}

impl ClientFigures {
    pub(super) fn new(client: String, endpoint: String, row: &Row, end: Moment) -> ClientFigures {
        let record = &row.record;
        ClientFigures {
            client,
            endpoint,
            state: row.state,
            share: Share::new(record.time_in(State::Up, end), record.meant(end)),
            flaps: record.flaps(),
            longest_outage_s: record.longest_outage(end).as_secs_f64(),
            mean_recovery_s: record.mean_time_to_recover().map(|time| time.as_secs_f64()),
        }
    }
}

/// Round trips in microseconds, percentiles as near as [`Histogram::ERROR`]. One that took longer than
/// the time between two probes counts for those that had to wait for it, too, as in a live view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LatencyFigures {
    pub samples: u64,
    pub p50_us: u64,
    pub p90_us: u64,
    pub p99_us: u64,
    pub max_us: u64,
}

impl LatencyFigures {
    pub(super) fn of(histogram: &Histogram) -> Option<LatencyFigures> {
        let micros = |time: Duration| time.as_micros() as u64;
        histogram.latency().map(|latency| LatencyFigures {
            samples: histogram.total(),
            p50_us: micros(latency.p50),
            p90_us: micros(latency.p90),
            p99_us: micros(latency.p99),
            max_us: micros(latency.max),
        })
    }
}

/// The figures of some clients, while they are gathered.
#[derive(Clone, Debug, Default)]
pub(super) struct Gathered {
    clients: u32,
    up: Duration,
    meant: Duration,
    flaps: u64,
    longest: Duration,
    recovered: u64,
    recovering: Duration,
    down: u32,
}

impl Gathered {
    pub(super) fn add(&mut self, record: &Record, end: Moment) {
        let (recovering, recovered) = record.mended();
        self.clients += 1;
        self.up += record.time_in(State::Up, end);
        self.meant += record.meant(end);
        self.flaps += u64::from(record.flaps());
        self.longest = self.longest.max(record.longest_outage(end));
        self.recovered += u64::from(recovered);
        self.recovering += recovering;
        self.down += u32::from(record.outage().is_some());
    }

    pub(super) fn figures(&self, name: String, latency: Option<LatencyFigures>) -> GroupFigures {
        let recovery = self.recovering.as_secs_f64() / self.recovered.max(1) as f64;
        GroupFigures {
            name,
            clients: self.clients,
            share: Share::new(self.up, self.meant),
            flaps: self.flaps,
            longest_outage_s: self.longest.as_secs_f64(),
            mean_recovery_s: (self.recovered > 0).then_some(recovery),
            down: self.down,
            latency,
        }
    }
}
