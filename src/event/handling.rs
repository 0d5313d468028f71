//! Defines what is done about an alert: who was told of it, that it is muted or somebody is on it, what its recovery does; who decides on that is elsewhere.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::alert::{AlertKey, name};
use crate::{
    fleet::{Agent, Places},
    text::Scrubbed,
};

/// Something that is done about a rule's alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Handling {
    /// Whose it is, where there are several agents.
    #[serde(skip)]
    pub agent: Option<Agent>,
    pub rule: Scrubbed,
    pub what: Handled,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Handled {
    /// A receiver took the message that it fires, or else that it is over.
    Told { notifier: Scrubbed, is_firing: bool },
    /// Nobody is told of it until then, or else told again. `by` is who wants it so, empty where nobody said.
    Muted { until: Option<DateTime<Utc>>, by: Scrubbed },
    /// Somebody is on it: nobody is told of it once more, as long as it lasts.
    Acknowledged { by: Scrubbed },
    /// A step of its recovery.
    Recovery(Recovery),
}

/// How far a step of a recovery is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    /// Its place in the rule's `recover`, from 0.
    pub step: u16,
    pub kind: RecoveryKind,
    pub stage: RecoveryStage,
    /// How many clients it is about.
    pub clients: u32,
    /// In words: `reconnected 12 clients`.
    pub text: Scrubbed,
}

/// What a step of a recovery does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecoveryKind {
    Reconnect,
    /// To another of a client's endpoints.
    Failover,
    /// Nobody connects to their endpoints.
    Hold,
    /// Fewer connects a second to their endpoints.
    Rate,
    /// A program.
    Run,
}

impl RecoveryKind {
    /// As the fleet file has it, and scripts read it.
    pub fn name(self) -> &'static str {
        match self {
            RecoveryKind::Reconnect => "reconnect",
            RecoveryKind::Failover => "failover",
            RecoveryKind::Hold => "hold",
            RecoveryKind::Rate => "rate",
            RecoveryKind::Run => "run",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecoveryStage {
    /// It is due, and something is in its way.
    Waiting,
    /// It goes on.
    Started,
    Done,
    Failed,
}

impl RecoveryStage {
    /// The stable name, as scripts read it.
    pub fn name(self) -> &'static str {
        match self {
            RecoveryStage::Waiting => "waiting",
            RecoveryStage::Started => "started",
            RecoveryStage::Done => "done",
            RecoveryStage::Failed => "failed",
        }
    }
}

impl Handling {
    pub fn of(rule: &Scrubbed, what: Handled) -> Handling {
        Handling { agent: None, rule: rule.clone(), what }
    }

    /// It where several agents may have a rule of the same name.
    pub fn moved(self, places: &Places) -> Handling {
        Handling { agent: places.agent.clone(), ..self }
    }

    pub fn key(&self) -> AlertKey {
        AlertKey::of(self.agent.as_ref(), &self.rule)
    }

    /// The rule's name, with its agent's where there are several.
    pub fn name(&self) -> String {
        name(self.agent.as_ref(), &self.rule)
    }

    /// What it is the newest word on: who was told, whether it is muted, and so on.
    pub fn topic(&self) -> (AlertKey, u8, Scrubbed, u16) {
        let of = |kind, name: &Scrubbed, step| (self.key(), kind, name.clone(), step);
        match &self.what {
            Handled::Told { notifier, .. } => of(0, notifier, 0),
            Handled::Muted { .. } => of(1, &Scrubbed::default(), 0),
            Handled::Acknowledged { .. } => of(2, &Scrubbed::default(), 0),
            Handled::Recovery(recovery) => of(3, &Scrubbed::default(), recovery.step),
        }
    }
}
