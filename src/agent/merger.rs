//! Defines how the fleets of several agents become one: where each agent's clients, endpoints and workers are in it, what an agent's event is about there, and which agent a command is for.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use crate::{
    command::{Bulk, Command},
    event::{AlertKey, Event, JobId, Late, Measured, Messages, Sample, Shortfall, Transition, What},
    fleet::{Agent, Client, ClientKey, Endpoint, EndpointKey, Fleet, Places},
    text::Scrubbed,
};

/// The fleets of some agents as one. Places are given once: a client keeps its own by its ID, also where its agent
/// starts anew, and who is gone leaves an empty one, as in a fleet of its own.
#[derive(Debug)]
pub(super) struct Merger {
    parts: Vec<Part>,
    fleet: Arc<Fleet>,
    /// Whose the client, or the endpoint, at each place is, and which it is there.
    clients: Vec<(usize, ClientKey)>,
    endpoints: Vec<(usize, EndpointKey)>,
}

/// One agent's part.
#[derive(Debug)]
struct Part {
    /// As the agent has it.
    fleet: Arc<Fleet>,
    places: Places,
}

/// The endpoints of all agents are more than keys can tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the fleets have more than 65,535 endpoints together, or 4,294,967,295 clients: attach to fewer agents at once"
)]
pub struct TooMany;

impl Merger {
    /// Of agents of these names, in their order; `None` of the only one. Nobody has a fleet yet.
    pub(super) fn new(names: impl IntoIterator<Item = Option<Scrubbed>>) -> Merger {
        let part = |(number, name): (u16, Option<Scrubbed>)| {
            let agent = name.map(|name| Agent { number, name });
            Part { fleet: Fleet::none(), places: Places { agent, ..Places::default() } }
        };
        let parts = (0..).zip(names).map(part).collect();
        Merger { parts, fleet: Fleet::none(), clients: Vec::new(), endpoints: Vec::new() }
    }

    pub(super) fn fleet(&self) -> &Arc<Fleet> {
        &self.fleet
    }

    pub(super) fn places(&self, agent: usize) -> &Places {
        &self.parts[agent].places
    }

    /// An agent's clock is so many microseconds earlier than the common one.
    pub(super) fn set_clock(&mut self, agent: usize, later: i64) {
        self.parts[agent].places.later = later;
    }

    /// An agent's fleet is this one from now on.
    ///
    /// # Errors
    /// Where there are no places left; nothing changes then.
    pub(super) fn take_in(&mut self, agent: usize, fleet: Arc<Fleet>) -> Result<(), TooMany> {
        let Part { fleet: before, places } = &self.parts[agent];
        let ids = |fleet: &Fleet| fleet.clients.iter().map(|client| client.id.clone()).collect::<Vec<_>>();
        let names = |fleet: &Fleet| fleet.endpoints.iter().map(|endpoint| endpoint.name.clone()).collect::<Vec<_>>();
        let clients = find(ids(before).into_iter().zip(&places.clients), ids(&fleet));
        let endpoints = find(names(before).into_iter().zip(&places.endpoints), names(&fleet));
        let more_clients = clients.iter().filter(|place| place.is_none()).count();
        let more_endpoints = endpoints.iter().filter(|place| place.is_none()).count();
        if u16::try_from(self.endpoints.len() + more_endpoints).is_err()
            || u32::try_from(self.clients.len() + more_clients).is_err()
        {
            return Err(TooMany);
        }
        let clients = give(&mut self.clients, agent, clients, |n| ClientKey(n as u32), ClientKey::index);
        let endpoints = give(&mut self.endpoints, agent, endpoints, |n| EndpointKey(n as u16), EndpointKey::index);
        let part = &mut self.parts[agent];
        (part.fleet, part.places.clients, part.places.endpoints) = (fleet, clients, endpoints);
        self.fleet = Arc::new(self.merged());
        Ok(())
    }

    fn merged(&self) -> Fleet {
        let present =
            || self.parts.iter().filter(|part| !part.fleet.endpoints.is_empty() || !part.fleet.clients.is_empty());
        let of_all = |values: Vec<&str>| values.join(" + ");
        let name = Scrubbed::new(&of_all(self.parts.iter().map(Part::name).collect()));
        // One that is production makes all of it production; else it is what all of them are.
        let env = present().map(|part| &part.fleet).find(|fleet| fleet.is_prod()).map(|fleet| &fleet.env);
        let mut envs = present().map(|part| &part.fleet.env);
        let first = envs.next();
        let env = env.or_else(|| first.filter(|first| envs.all(|env| env == *first))).cloned().flatten();
        // Whoever had a place and is in no fleet any more stays as it was, gone.
        let mut endpoints = self.fleet.endpoints.clone();
        endpoints.iter_mut().for_each(|endpoint| endpoint.is_gone = true);
        endpoints.resize_with(self.endpoints.len(), || Endpoint::new("", "", 0));
        let mut clients = self.fleet.clients.clone();
        clients.iter_mut().for_each(|client| client.is_gone = true);
        let none = Client::new("", EndpointKey(0), Arc::default());
        clients.resize(self.clients.len(), none);
        let shared = self.shared_names();
        for Part { fleet, places } in &self.parts {
            for (endpoint, place) in fleet.endpoints.iter().zip(&places.endpoints) {
                let name = match &places.agent {
                    Some(agent) if shared.contains(&endpoint.name) => {
                        Scrubbed::new(&format!("{}/{}", agent.name, endpoint.name))
                    }
                    _ => endpoint.name.clone(),
                };
                endpoints[place.index()] = Endpoint { name, agent: places.agent.clone(), ..endpoint.clone() };
            }
            // Clients of one table go on sharing the list of their endpoints.
            let mut lists: HashMap<*const EndpointKey, Arc<[EndpointKey]>> = HashMap::new();
            for (client, place) in fleet.clients.iter().zip(&places.clients) {
                let moved = || client.endpoints.iter().map(|own| places.endpoint(*own)).collect();
                let list = lists.entry(client.endpoints.as_ptr()).or_insert_with(moved).clone();
                clients[place.index()] = Client { endpoints: list, ..client.clone() };
            }
        }
        let worker_size = self.parts.iter().map(|part| part.fleet.worker_size).max().unwrap_or(1);
        Fleet { name, env, worker_size, endpoints, clients }
    }

    /// Names that endpoints of several agents have.
    fn shared_names(&self) -> HashSet<Scrubbed> {
        let mut agents: HashMap<&Scrubbed, usize> = HashMap::new();
        let mut shared = HashSet::new();
        for (number, part) in self.parts.iter().enumerate() {
            for endpoint in part.fleet.endpoints.iter().filter(|endpoint| !endpoint.is_gone) {
                if *agents.entry(&endpoint.name).or_insert(number) != number {
                    shared.insert(endpoint.name.clone());
                }
            }
        }
        shared
    }

    /// An agent's event as one of the fleet of all; `None` for what is about that agent's fleet alone.
    pub(super) fn event(&self, agent: usize, event: Event) -> Option<Event> {
        let places = self.places(agent);
        let (client, endpoint) = (|key| places.client(key), |key| places.endpoint(key));
        let what = match event.what {
            What::State(step) => {
                let (client, endpoint) = (client(step.client), endpoint(step.endpoint));
                What::State(Transition { client, endpoint, ..step })
            }
            What::Sample(sample) => What::Sample(Sample { client: client(sample.client), ..sample }),
            What::Late(late) => {
                What::Late(Late { client: client(late.client), since: late.since.moved(places.later), ..late })
            }
            What::Tcp(key, tcp) => What::Tcp(client(key), tcp),
            What::Connack(key, connack) => What::Connack(client(key), connack),
            What::Subscribed(key, took) => What::Subscribed(client(key), took),
            What::Shortfall(told) => What::Shortfall(Shortfall { client: client(told.client), ..told }),
            What::Measured(told) => What::Measured(Measured { client: client(told.client), ..told }),
            What::Messages(told) => What::Messages(Messages { client: client(told.client), ..told }),
            What::Gate(key, mut gate) => {
                gate.condition = gate.condition.moved(places.later);
                What::Gate(endpoint(key), gate)
            }
            What::Finding(key, finding) => What::Finding(endpoint(key), finding),
            What::Order(key, order) => What::Order(endpoint(key), order),
            What::Alert(alert) => What::Alert(Box::new(alert.moved(places))),
            What::Handling(handling) => What::Handling(Box::new(handling.moved(places))),
            What::Job(news) => What::Job(Box::new(news.moved(places))),
            What::Worker { worker, event, detail } => What::Worker { worker: places.worker(worker), event, detail },
            What::Notice { level, text } => What::Notice { level, text: Scrubbed::new(&places.told(&text)) },
            same @ (What::SamplesLost(_) | What::Trouble(_) | What::Second(_) | What::Recording(_)) => same,
            What::Standing(_) | What::FleetStanding(_) | What::Fleet(_) => return None, // no agent sends these
        };
        Some(Event { at: event.at.moved(places.later), what })
    }

    /// What a command is for each of the agents that it is for.
    pub(super) fn split(&self, command: Command) -> Vec<(usize, Command)> {
        let by_agent = |clients: Vec<ClientKey>| {
            let mut own: Vec<Vec<ClientKey>> = vec![Vec::new(); self.parts.len()];
            // The agent's own key of one that is gone may be somebody else's by now.
            let there = clients.into_iter().filter(|client| self.fleet.has(*client));
            for (agent, client) in there.map(|client| self.clients[client.index()]) {
                own[agent].push(client);
            }
            own.into_iter().enumerate().filter(|(_, clients)| !clients.is_empty()).collect::<Vec<_>>()
        };
        let each = |clients, make: fn(Vec<ClientKey>) -> Command| {
            by_agent(clients).into_iter().map(|(agent, clients)| (agent, make(clients))).collect()
        };
        let of = |key: EndpointKey, make: &dyn Fn(EndpointKey) -> Command| {
            let owner = self.endpoints.get(key.index()).filter(|_| self.fleet.has_endpoint(key));
            owner.map(|(agent, own)| (*agent, make(*own))).into_iter().collect()
        };
        let of_rule = |rule: AlertKey, make: &dyn Fn(AlertKey) -> Command| {
            let owner = rule.agent.map_or(0, usize::from);
            let own = AlertKey { agent: None, ..rule };
            if owner < self.parts.len() { vec![(owner, make(own))] } else { Vec::new() }
        };
        match command {
            Command::Connect(clients) => each(clients, Command::Connect),
            Command::Reconnect(clients) => each(clients, Command::Reconnect),
            Command::Failover(clients) => each(clients, Command::Failover),
            Command::Disconnect(clients) => each(clients, Command::Disconnect),
            Command::Begin(Bulk { deed, clients, roll }) => {
                let bulk = |(agent, clients)| (agent, Command::Begin(Bulk { deed, clients, roll }));
                by_agent(clients).into_iter().map(bulk).collect()
            }
            // Of an agent's own jobs none is another's.
            Command::Steer(job, steer) if usize::from(job.agent) < self.parts.len() => {
                vec![(job.agent.into(), Command::Steer(JobId { agent: 0, ..job }, steer))]
            }
            Command::Steer(..) => Vec::new(),
            Command::Hold(key) => of(key, &Command::Hold),
            Command::Release(key) => of(key, &Command::Release),
            Command::SetRate(key, rate) => of(key, &|own| Command::SetRate(own, rate)),
            Command::Mute { rule, lasting, by } => {
                of_rule(rule, &|rule| Command::Mute { rule, lasting, by: by.clone() })
            }
            Command::Acknowledge { rule, by } => of_rule(rule, &|rule| Command::Acknowledge { rule, by: by.clone() }),
            Command::Stop => (0..self.parts.len()).map(|agent| (agent, Command::Stop)).collect(),
        }
    }
}

impl Part {
    /// The agent's, where there are several, or the fleet's.
    fn name(&self) -> &str {
        self.places.agent.as_ref().map_or(&self.fleet.name, |agent| &agent.name)
    }
}

/// Where those of these names were before; of several with one name, the first is the first.
fn find<'a, N, K>(before: impl Iterator<Item = (N, &'a K)>, names: Vec<N>) -> Vec<Option<K>>
where
    N: std::hash::Hash + Eq,
    K: Copy + 'a,
{
    let mut known: HashMap<N, VecDeque<K>> = HashMap::new();
    before.for_each(|(name, place)| known.entry(name).or_default().push_back(*place));
    names.iter().map(|name| known.get_mut(name)?.pop_front()).collect()
}

/// Gives a place to each of an agent's own that has none, at the end, and notes whose they all are.
fn give<K: Copy>(
    owners: &mut Vec<(usize, K)>,
    agent: usize,
    found: Vec<Option<K>>,
    key: fn(usize) -> K,
    index: fn(K) -> usize,
) -> Vec<K> {
    let give = |(own, place): (usize, Option<K>)| {
        let place = place.unwrap_or(key(owners.len()));
        let owner = (agent, key(own));
        match owners.get_mut(index(place)) {
            Some(known) => *known = owner,
            None => owners.push(owner),
        }
        place
    };
    found.into_iter().enumerate().map(give).collect()
}

#[cfg(test)]
mod tests;
