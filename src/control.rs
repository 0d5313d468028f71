//! Defines a command that a script gives an agent: which clients it means, and when it is done.

mod job;

use std::{collections::BTreeSet, process::ExitCode, time::Duration};

use tokio::time::{Instant, timeout_at};

use crate::{
    agent::{self, AgentError, Purpose, Reload, Target},
    clock::Moment,
    command::{Bulk, Command},
    event::{AlertKey, Deed, Roll, State, Transition, What},
    fleet::{ClientKey, EndpointKey, Fleet},
    model::Known,
    query::Query,
    stdio,
    text::Scrubbed,
    words,
};

/// What is to be done.
#[derive(Clone, Debug)]
pub enum Order {
    Connect(Selection),
    Reconnect(Selection),
    Disconnect(Selection),
    Hold(String),
    Release(String),
    Rate(String, u32),
    /// Nobody is told of a rule's alert for so long; where that is no time, again.
    Mute(String, Duration),
    Acknowledge(String),
    /// The fleet ends.
    Stop,
    /// The fleet file is read anew.
    Reload,
}

/// Which clients are meant.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// These client IDs, and nobody else.
    pub clients: Vec<String>,
    /// Those that are meant by this.
    pub whom: Option<Query>,
    pub all: bool,
    /// How a job goes about it; without, all of them are told at once.
    pub roll: Option<Roll>,
}

/// Why an order was not given.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error("{fleet} has no client {id:?}")]
    Client { fleet: String, id: String },
    #[error("{fleet} has several clients that are {id:?} but for what cannot be shown: choose them by --where")]
    Ambiguous { fleet: String, id: String },
    #[error("{fleet} has no endpoint {name:?}; it has {known}")]
    Endpoint { fleet: String, name: String, known: String },
    #[error("no client matches {0}")]
    Nobody(Query),
    #[error("say which clients: their IDs, --where QUERY, or --all")]
    NoSelection,
    #[error(transparent)]
    Agent(#[from] AgentError),
}

impl Order {
    /// What is done as a job, to whom, and how.
    fn job(&self) -> Option<(Deed, &Selection, Roll)> {
        let (deed, selection) = match self {
            Order::Connect(selection) => (Deed::Connect, selection),
            Order::Reconnect(selection) => (Deed::Reconnect, selection),
            Order::Disconnect(selection) => (Deed::Disconnect, selection),
            _ => return None,
        };
        Some((deed, selection, selection.roll?))
    }
}

impl Selection {
    fn keys(&self, known: &Known, now: Moment) -> Result<Vec<ClientKey>, ControlError> {
        let fleet = known.fleet();
        if self.all {
            return Ok(fleet.keys().collect());
        }
        let mut keys = BTreeSet::new();
        for id in &self.clients {
            let mut found = fleet.keys().filter(|key| *fleet.client(*key).id == *Scrubbed::new(id).as_str());
            let (fleet, id) = (fleet.name.to_string(), id.clone());
            match (found.next(), found.next()) {
                (Some(key), None) => keys.insert(key),
                (Some(_), Some(_)) => return Err(ControlError::Ambiguous { fleet, id }),
                (None, _) => return Err(ControlError::Client { fleet, id }),
            };
        }
        if let Some(whom) = &self.whom {
            let before = keys.len();
            keys.extend(fleet.keys().filter(|key| whom.matches(&known.facts(*key, now))));
            if keys.len() == before {
                return Err(ControlError::Nobody(whom.clone()));
            }
        }
        if keys.is_empty() { Err(ControlError::NoSelection) } else { Ok(keys.into_iter().collect()) }
    }
}

fn endpoint(fleet: &Fleet, name: &str) -> Result<EndpointKey, ControlError> {
    let found = fleet.endpoint_keys().find(|key| *fleet.endpoint(*key).name == *name);
    found.ok_or_else(|| ControlError::Endpoint {
        fleet: fleet.name.to_string(),
        name: name.to_owned(),
        known: fleet.endpoints.iter().map(|endpoint| endpoint.name.as_str()).collect::<Vec<_>>().join(", "),
    })
}

/// A rule of the only agent that is told.
fn rule_of(name: &str) -> AlertKey {
    AlertKey { agent: None, rule: Scrubbed::new(name) }
}

/// Gives an agent the order, and waits until it is done: all in all at most so long. The exit code is 0 where it is,
/// and 3 where some clients are not where they are to be; these are named.
///
/// # Errors
/// Where there is no agent, or it does not answer; where the order is about nobody, or the agent refuses.
pub async fn run(target: &Target, order: Order, patience: Duration, by_force: bool) -> Result<ExitCode, ControlError> {
    let end = Instant::now() + patience;
    let silent = |_| AgentError::Silent(patience);
    let mut attached = timeout_at(end, agent::attach(target, Purpose::Console)).await.map_err(silent)??;
    if let Some((deed, selection, roll)) = order.job() {
        let clients = selection.keys(&attached.known, attached.now())?;
        if by_force {
            timeout_at(end, attached.commands.ask(None)).await.map_err(silent)??;
        }
        let asked = attached.now();
        let bulk = Command::Begin(Bulk { deed, clients, roll });
        timeout_at(end, attached.commands.ask(Some(bulk))).await.map_err(silent)??;
        return job::follow(&mut attached, deed, asked, end, patience).await;
    }
    let known = &attached.known;
    let fleet = known.fleet().clone();
    // Who is where it is to be already has nothing to do; a reconnect is one all the same.
    let not_yet = |clients: &[ClientKey], state: State| -> BTreeSet<ClientKey> {
        clients.iter().copied().filter(|client| known.row(*client).state != state).collect()
    };
    let (command, mut waiting, goal) = match &order {
        Order::Connect(selection) => {
            let clients = selection.keys(known, attached.now())?;
            (Some(Command::Connect(clients.clone())), not_yet(&clients, State::Up), State::Up)
        }
        Order::Reconnect(selection) => {
            let clients = selection.keys(known, attached.now())?;
            (Some(Command::Reconnect(clients.clone())), clients.into_iter().collect(), State::Up)
        }
        Order::Disconnect(selection) => {
            let clients = selection.keys(known, attached.now())?;
            (Some(Command::Disconnect(clients.clone())), not_yet(&clients, State::Off), State::Off)
        }
        Order::Hold(name) => (Some(Command::Hold(endpoint(&fleet, name)?)), BTreeSet::new(), State::Up),
        Order::Release(name) => (Some(Command::Release(endpoint(&fleet, name)?)), BTreeSet::new(), State::Up),
        Order::Rate(name, rate) => (Some(Command::SetRate(endpoint(&fleet, name)?, *rate)), BTreeSet::new(), State::Up),
        Order::Mute(rule, lasting) => {
            let (rule, by) = (rule_of(rule), Scrubbed::default());
            (Some(Command::Mute { rule, lasting: *lasting, by }), BTreeSet::new(), State::Up)
        }
        Order::Acknowledge(rule) => {
            let (rule, by) = (rule_of(rule), Scrubbed::default());
            (Some(Command::Acknowledge { rule, by }), BTreeSet::new(), State::Up)
        }
        Order::Stop => (Some(Command::Stop), BTreeSet::new(), State::Up),
        Order::Reload => (None, BTreeSet::new(), State::Up),
    };
    let is_of_state = matches!(order, Order::Connect(_) | Order::Disconnect(_));
    let wanted: BTreeSet<ClientKey> = match &command {
        Some(Command::Connect(clients) | Command::Disconnect(clients)) => clients.iter().copied().collect(),
        _ => BTreeSet::new(),
    };
    if by_force {
        timeout_at(end, attached.commands.ask(None)).await.map_err(silent)??;
    }
    let asked = attached.now();
    match command {
        Some(command) => timeout_at(end, attached.commands.ask(Some(command))).await.map_err(silent)??,
        None => {
            let Reload { words, later, connecting } =
                timeout_at(end, attached.commands.reload()).await.map_err(silent)??;
            later.iter().for_each(|line| stdio::complain(&format!("warning: {line}")));
            stdio::print(&format!("{words}\n")).map_err(|error| ControlError::Agent(AgentError::Wire(error.into())))?;
            waiting.extend(connecting);
        }
    }
    let mut last: std::collections::HashMap<ClientKey, Transition> = std::collections::HashMap::new();
    if matches!(order, Order::Stop) {
        // Its events end with its engine.
        while timeout_at(end, attached.events.next()).await.map_err(silent)?.is_some() {}
        return Ok(ExitCode::SUCCESS);
    }
    while !waiting.is_empty() {
        let Ok(events) = timeout_at(end, attached.events.next()).await else { break };
        let Some(events) = events else { return Err(AgentError::Wire(crate::wire::WireError::Closed).into()) };
        for event in events {
            attached.known.apply(&event);
            let What::State(step) = event.what else { continue };
            // What came before the order changes who is where it is to be, but is no reconnect.
            match event.at >= asked || is_of_state {
                true if step.to == goal => drop(waiting.remove(&step.client)),
                true if event.at < asked && wanted.contains(&step.client) => drop(waiting.insert(step.client)),
                _ => {}
            }
            if event.at >= asked {
                last.insert(step.client, step);
            }
        }
    }
    let fleet = attached.known.fleet().clone();
    for client in waiting.iter().filter(|client| fleet.has(**client)) {
        let why = last.get(client).map(|step| words::reason(step.reason, &step.detail));
        let row = attached.known.row(*client);
        let why = why.unwrap_or_else(|| words::reason(row.reason, &row.detail));
        stdio::complain(&format!(
            "{}: not {} after {}: {why}",
            fleet.client(*client).name,
            goal.name(),
            humantime::format_duration(patience)
        ));
    }
    Ok(if waiting.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(3) })
}
