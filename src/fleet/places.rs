//! Defines where what one agent's fleet has is in a fleet that is those of several; how the places are given is the merger's matter.

use super::{Agent, ClientKey, EndpointKey, Fleet, WorkerKey};

/// The places of one agent's clients, endpoints and workers in the fleet of all agents, and what else is told apart there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// By the agent's own keys.
    pub clients: Vec<ClientKey>,
    pub endpoints: Vec<EndpointKey>,
    /// Whose they are; `None` where there is only one.
    pub agent: Option<Agent>,
    /// How much later the common clock is than the agent's, in microseconds.
    pub later: i64,
}

impl Places {
    /// The most workers of one agent that are told apart.
    const WORKERS: u32 = 1 << 16;

    pub fn client(&self, own: ClientKey) -> ClientKey {
        self.clients[own.index()]
    }

    pub fn endpoint(&self, own: EndpointKey) -> EndpointKey {
        self.endpoints[own.index()]
    }

    /// Workers have no places in a fleet: each agent has a range of numbers.
    pub fn worker(&self, own: WorkerKey) -> WorkerKey {
        let first = self.agent.as_ref().map_or(0, |agent| u32::from(agent.number) * Self::WORKERS);
        WorkerKey(first + own.0.min(Self::WORKERS - 1))
    }

    /// What is said about this agent's fleet, with the agent's name where there are others.
    pub fn told(&self, text: &str) -> String {
        match &self.agent {
            Some(agent) => format!("{}: {text}", agent.name),
            None => text.to_owned(),
        }
    }
}

impl Fleet {
    /// A worker as it is called: `worker 3`, or `worker 3 of plant-eu` where there are several agents.
    pub fn worker(&self, key: WorkerKey) -> String {
        let number = key.0 / Places::WORKERS;
        match self.agents().into_iter().find(|agent| u32::from(agent.number) == number) {
            Some(agent) => format!("worker {} of {}", key.0 % Places::WORKERS, agent.name),
            None => format!("worker {}", key.0),
        }
    }
}
