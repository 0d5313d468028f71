//! Defines the round trips of a whole run, for its fleet, its endpoints and its labels; those of the last minute are the model's matter.

use std::{collections::BTreeSet, time::Duration};

use super::figures::LatencyFigures;
use crate::{
    fleet::{ClientKey, EndpointKey, Fleet},
    model::{Groups, Histogram},
    text::Scrubbed,
};

#[derive(Debug)]
pub(super) struct Latencies {
    groups: Groups,
    by_endpoint: Vec<Histogram>,
    by_group: Vec<Histogram>,
}

impl Latencies {
    pub(super) fn new(fleet: &Fleet) -> Latencies {
        let groups = Groups::of(fleet);
        Latencies {
            by_endpoint: vec![Histogram::default(); fleet.endpoints.len()],
            by_group: vec![Histogram::default(); groups.all().len()],
            groups,
        }
    }

    /// The fleet is another one from now on: what is there in both goes on.
    pub(super) fn revise(&mut self, fleet: &Fleet) {
        self.by_endpoint.resize(fleet.endpoints.len(), Histogram::default());
        let groups = Groups::of(fleet);
        let known = |group| self.groups.place_of(group).map(|n| self.by_group[n].clone()).unwrap_or_default();
        self.by_group = groups.all().iter().map(known).collect();
        self.groups = groups;
    }

    /// Notes a round trip.
    pub(super) fn record(&mut self, client: ClientKey, endpoint: EndpointKey, rtt: Duration) {
        self.by_endpoint[endpoint.index()].record(rtt);
        for group in self.groups.of_client(client) {
            self.by_group[usize::from(*group)].record(rtt);
        }
    }

    /// The clients that figures are told of together.
    pub(super) fn groups(&self) -> &Groups {
        &self.groups
    }

    /// Labels that have too many values for that.
    pub(super) fn left_out<'a>(&self, fleet: &'a Fleet) -> BTreeSet<&'a Scrubbed> {
        let mut labels: BTreeSet<&Scrubbed> = fleet.keys().flat_map(|key| fleet.client(key).labels.keys()).collect();
        self.groups.all().iter().for_each(|group| _ = labels.remove(&group.label));
        labels
    }

    pub(super) fn of_fleet(&self) -> Option<LatencyFigures> {
        let mut fleet = Histogram::default();
        self.by_endpoint.iter().for_each(|histogram| fleet.merge(histogram));
        LatencyFigures::of(&fleet)
    }

    pub(super) fn of_endpoint(&self, endpoint: usize) -> Option<LatencyFigures> {
        LatencyFigures::of(&self.by_endpoint[endpoint])
    }

    /// Of one of [`Groups::all`].
    pub(super) fn of_group(&self, group: usize) -> Option<LatencyFigures> {
        LatencyFigures::of(&self.by_group[group])
    }
}
