//! Defines all that was found about one endpoint, and about a client there, as one row of stages with one end; how it is worded and laid out is for the pages.

use std::{net::IpAddr, time::Duration};

use super::trial::{Step, Trial, Why};
use crate::{
    event::{Cause, Finding, StageKind},
    fleet::{Client, Endpoint},
};

/// An endpoint, the client that was to be tried there, if any, and what became of both.
pub(super) struct Case<'a> {
    pub endpoint: &'a Endpoint,
    pub finding: &'a Finding,
    pub patient: Option<&'a Patient>,
    /// None without a client, and where the endpoint cannot be reached anyway.
    pub trial: Option<&'a Trial>,
}

/// The client that is looked at.
#[derive(Clone, Debug)]
pub struct Patient {
    /// With the client ID under which it connects.
    pub client: Client,
    /// Whether that ID is not its own.
    pub is_alias: bool,
}

/// One stage, be it of the probe or of the trial.
pub(super) struct Stage {
    pub kind: Kind,
    pub took: Duration,
    pub ok: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Probe(StageKind),
    Trial(Step),
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Probe(stage) => stage.name(),
            Kind::Trial(step) => step.name(),
        }
    }
}

/// Where it ended before its time.
#[derive(Clone, Copy)]
pub(super) enum Failure<'a> {
    Probe(StageKind, &'a Cause),
    Trial(Step, &'a Why),
}

impl Failure<'_> {
    pub(super) fn kind(self) -> Kind {
        match self {
            Failure::Probe(stage, _) => Kind::Probe(stage),
            Failure::Trial(step, _) => Kind::Trial(step),
        }
    }
}

impl<'a> Case<'a> {
    pub(super) fn failure(&self) -> Option<Failure<'a>> {
        if let Some(failure) = &self.finding.failure {
            return Some(Failure::Probe(failure.stage, &failure.cause));
        }
        self.trial?.failure.as_ref().map(|(step, why)| Failure::Trial(*step, why))
    }

    pub(super) fn is_ok(&self) -> bool {
        self.failure().is_none()
    }

    /// All stages in their order.
    pub(super) fn stages(&self) -> Vec<Stage> {
        let failed = self.failure().map(|f| f.kind());
        let probe = self.finding.stages.iter().map(|s| (Kind::Probe(s.kind), s.took));
        let trial = self.trial.iter().flat_map(|t| &t.steps).map(|(step, took)| (Kind::Trial(*step), *took));
        let stage = |(kind, took)| Stage { kind, took, ok: failed != Some(kind) };
        probe.chain(trial).map(stage).collect()
    }

    /// From the first stage's begin to the last one's end, without the pauses between.
    pub(super) fn took(&self) -> Duration {
        self.stages().iter().map(|s| s.took).sum()
    }

    /// The address of the first hop, for the trial to go to the same place.
    pub(super) fn hop(&self) -> Option<IpAddr> {
        self.finding.address.map(|a| a.ip())
    }
}
