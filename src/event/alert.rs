//! Defines what is told when an alert begins to fire and when it is over; what makes it fire is the `alerts` module's matter.

use serde::{Deserialize, Serialize};

use crate::{
    clock::Moment,
    fleet::{ClientKey, Places},
    text::Scrubbed,
};

/// What a rule about clients says of them now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// The rule's name.
    pub rule: Scrubbed,
    pub severity: Severity,
    /// Whether it fires; else it is over.
    pub is_firing: bool,
    /// Since when there are so many that the rule is about.
    pub since: Moment,
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
        let rule = Scrubbed::new(&places.told(&self.rule));
        let first = self.first.into_iter().map(|client| places.client(client)).collect();
        Alert { rule, since: self.since.moved(places.later), first, ..self }
    }

    /// The stable name of where it stands, as scripts and receivers read it.
    pub fn status(&self) -> &'static str {
        if self.is_firing { "firing" } else { "resolved" }
    }
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
