//! Defines what is told when an alert begins to fire and when it is over; what makes it fire is the `alerts` module's matter.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    fleet::{Agent, ClientKey, Places},
    text::Scrubbed,
};

/// What a rule about clients says of them now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Whose it is, where there are several agents.
    #[serde(skip)]
    pub agent: Option<Agent>,
    /// The rule's name.
    pub rule: Scrubbed,
    pub severity: Severity,
    /// Whether it fires; else it is over.
    pub is_firing: bool,
    /// For how long there had been so many that the rule is about, to the millisecond and by the wall clock: it may have
    /// begun before this host was up.
    pub lasted: Duration,
    /// How many there are; of an alert that is over, how many there were at most.
    pub clients: u32,
    /// How many the rule looks at.
    pub of: u32,
    /// The first of them, at most [`Alert::FIRST`].
    pub first: Vec<ClientKey>,
    /// What most of them share, in words; empty where that is not known.
    pub cause: Scrubbed,
}

impl Alert {
    /// The most clients that are named.
    pub const FIRST: usize = 20;

    /// Whether it is about clients that a fleet of so many has.
    pub fn fits(&self, clients: usize) -> bool {
        self.first.len() <= Alert::FIRST && self.first.iter().all(|client| client.index() < clients)
    }

    /// It where several agents may have a rule of the same name.
    pub fn moved(self, places: &Places) -> Alert {
        let first = self.first.into_iter().map(|client| places.client(client)).collect();
        Alert { agent: places.agent.clone(), first, ..self }
    }

    pub fn key(&self) -> AlertKey {
        AlertKey::of(self.agent.as_ref(), &self.rule)
    }

    /// The rule's name, with its agent's where there are several.
    pub fn name(&self) -> String {
        name(self.agent.as_ref(), &self.rule)
    }

    /// The stable name of where it stands, as scripts and receivers read it.
    pub fn status(&self) -> &'static str {
        if self.is_firing { "firing" } else { "resolved" }
    }
}

/// Which rule is meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AlertKey {
    /// The number of its agent, where there are several.
    pub agent: Option<u16>,
    pub rule: Scrubbed,
}

impl AlertKey {
    pub fn of(agent: Option<&Agent>, rule: &Scrubbed) -> AlertKey {
        AlertKey { agent: agent.map(|agent| agent.number), rule: rule.clone() }
    }

    /// Whether it is a rule of that agent, or of the only one.
    pub fn is_of(&self, places: &Places) -> bool {
        self.agent == places.agent.as_ref().map(|agent| agent.number)
    }
}

/// A rule's name, with its agent's where there are several.
pub(super) fn name(agent: Option<&Agent>, rule: &Scrubbed) -> String {
    agent.map_or_else(|| rule.to_string(), |agent| format!("{}: {rule}", agent.name))
}

/// How grave an alert is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Info,
    #[default]
    Warning,
    Critical,
}

impl Severity {
    pub const ALL: [Severity; 3] = [Severity::Info, Severity::Warning, Severity::Critical];

    /// The stable name, as scripts and receivers read it.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
}
