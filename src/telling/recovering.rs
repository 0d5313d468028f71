//! Defines what is done by itself while an alert fires (`recover` of `[[alert]]`): the steps, and when each is due; taking them is the `alerts` module's matter.

use std::time::Duration;

use crate::{event::RecoveryKind, program::Program};

/// A step that may mend what a rule is about.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub act: Act,
    /// When it is due, counted from when the alert fires.
    pub after: Duration,
    /// It is taken again after this time, as long as the alert lasts; and never sooner, be it another alert of the rule.
    pub every: Option<Duration>,
    /// How often at most while the alert lasts; once where `every` is not given.
    pub at_most: u32,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Its clients connect anew.
    Reconnect,
    /// Those of them that have another endpoint go there.
    Failover,
    /// Nobody connects to their endpoints, until the alert is over.
    Hold,
    /// At most so many of all clients connect to their endpoints within a second, until the alert is over.
    Rate(u32),
    /// A program, which may take so long.
    Run { program: Program, timeout: Duration },
}

impl Step {
    /// How long a program may take, where the file does not say.
    pub const TIMEOUT: Duration = Duration::from_secs(60);
}

impl Act {
    pub fn kind(&self) -> RecoveryKind {
        match self {
            Act::Reconnect => RecoveryKind::Reconnect,
            Act::Failover => RecoveryKind::Failover,
            Act::Hold => RecoveryKind::Hold,
            Act::Rate(_) => RecoveryKind::Rate,
            Act::Run { .. } => RecoveryKind::Run,
        }
    }
}
