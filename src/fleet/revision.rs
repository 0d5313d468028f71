//! Defines how a fleet becomes the one that its file describes by now, and what differs: who stays keeps its key, who is new gets one of its own, and who is gone leaves its place empty.

use std::{collections::HashMap, sync::Arc};

use super::{Client, ClientKey, Endpoint, EndpointKey, Fleet, Settings};

/// What differs between a fleet and the one after it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    pub clients: Parts<ClientKey>,
    pub endpoints: Parts<EndpointKey>,
}

impl Difference {
    /// Whether they are the same.
    pub fn is_none(&self) -> bool {
        self.clients.is_none() && self.endpoints.is_none()
    }
}

/// Who came, stays and goes, each in the order of their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts<K> {
    pub added: Vec<K>,
    /// Those that are connected, or to be connected to, in another way than before.
    pub changed: Vec<K>,
    /// Those of which something changed that holds without a new connection.
    pub adjusted: Vec<K>,
    pub removed: Vec<K>,
    /// How many are as they were.
    pub kept: usize,
}

impl<K> Default for Parts<K> {
    fn default() -> Self {
        Parts { added: Vec::new(), changed: Vec::new(), adjusted: Vec::new(), removed: Vec::new(), kept: 0 }
    }
}

impl<K> Parts<K> {
    fn is_none(&self) -> bool {
        [&self.added, &self.changed, &self.adjusted, &self.removed].iter().all(|part| part.is_empty())
    }
}

/// How much one differs from what it was.
enum Change {
    None,
    Adjusted,
    Changed,
}

impl Fleet {
    /// This fleet as `file` has it by now. An endpoint is known by its name, a client by its ID; of several with
    /// one ID, by their endpoints first. Who comes back gets its old key.
    pub fn revised(&self, file: Fleet) -> (Fleet, Difference) {
        let mut difference = Difference::default();
        let Fleet { name, env, worker_size, endpoints: said, clients } = file;
        let mut endpoints = self.endpoints.clone();
        let known: HashMap<&str, usize> = self.endpoints.iter().map(|e| e.name.as_str()).zip(0..).collect();
        let places = said.iter().map(|endpoint| known.get(endpoint.name.as_str()).copied()).collect();
        let places = revise(&mut endpoints, said, places, &mut difference.endpoints, EndpointKey);

        // Clients of one table go on sharing the list of their endpoints.
        let mut lists: HashMap<Arc<[EndpointKey]>, Arc<[EndpointKey]>> = HashMap::new();
        let with_keys = |mut client: Client| {
            let keys = || client.endpoints.iter().map(|key| EndpointKey(places[key.index()] as u16)).collect();
            client.endpoints = lists.entry(client.endpoints.clone()).or_insert_with(keys).clone();
            client
        };
        let said: Vec<Client> = clients.into_iter().map(with_keys).collect();
        let places = self.places_of(&said);
        let mut clients = self.clients.clone();
        revise(&mut clients, said, places, &mut difference.clients, ClientKey);
        (Fleet { name, env, worker_size, endpoints, clients }, difference)
    }

    /// Where those of a file are that were in this fleet before.
    fn places_of(&self, said: &[Client]) -> Vec<Option<usize>> {
        let mut free: HashMap<&str, Vec<usize>> = HashMap::new();
        for (place, client) in self.clients.iter().enumerate() {
            free.entry(&client.id).or_default().push(place);
        }
        let mut places = vec![None; said.len()];
        for (may_be_gone, has_same_endpoints) in [(false, true), (false, false), (true, true), (true, false)] {
            for (client, place) in said.iter().zip(&mut places).filter(|(_, place)| place.is_none()) {
                let Some(free) = free.get_mut(&*client.id) else { continue };
                let found = free.iter().position(|&n| {
                    let known = &self.clients[n];
                    known.is_gone == may_be_gone && (!has_same_endpoints || known.endpoints == client.endpoints)
                });
                *place = found.map(|n| free.remove(n));
            }
        }
        places
    }
}

/// Something of a fleet that may be there no longer.
trait Part {
    fn is_gone(&self) -> bool;
    fn go(&mut self);
    fn change(&self, to: &Self) -> Change;
}

/// Puts what a file says into its places, and at the end what has none, and notes the difference. Returns all the
/// places.
fn revise<P: Part, N: TryFrom<usize>, K: Ord>(
    all: &mut Vec<P>,
    said: Vec<P>,
    places: Vec<Option<usize>>,
    difference: &mut Parts<K>,
    key: impl Fn(N) -> K,
) -> Vec<usize> {
    let mut is_said = vec![false; all.len()];
    let note = |part: &mut Vec<K>, place: usize| part.extend(N::try_from(place).ok().map(&key));
    let mut taken = Vec::with_capacity(said.len());
    for (new, place) in said.into_iter().zip(places) {
        let place = place.unwrap_or(all.len());
        taken.push(place);
        match all.get_mut(place) {
            Some(old) => {
                is_said[place] = true;
                match (old.is_gone(), old.change(&new)) {
                    (true, _) => note(&mut difference.added, place),
                    (false, Change::Changed) => note(&mut difference.changed, place),
                    (false, Change::Adjusted) => note(&mut difference.adjusted, place),
                    (false, Change::None) => difference.kept += 1,
                }
                *old = new;
            }
            None => {
                note(&mut difference.added, place);
                all.push(new);
            }
        }
    }
    for (place, old) in all.iter_mut().enumerate().take(is_said.len()) {
        if !is_said[place] && !old.is_gone() {
            old.go();
            note(&mut difference.removed, place);
        }
    }
    let Parts { added, changed, adjusted, removed, kept: _ } = difference;
    [added, changed, adjusted, removed].into_iter().for_each(|part| part.sort_unstable());
    taken
}

impl Part for Endpoint {
    fn is_gone(&self) -> bool {
        self.is_gone
    }

    fn go(&mut self) {
        self.is_gone = true;
    }

    fn change(&self, to: &Endpoint) -> Change {
        let (connect_rate, max_connecting) = (to.connect_rate, to.max_connecting);
        let adjusted = Endpoint { connect_rate, max_connecting, ..self.clone() };
        match () {
            () if adjusted != *to => Change::Changed,
            () if adjusted != *self => Change::Adjusted,
            () => Change::None,
        }
    }
}

impl Part for Client {
    fn is_gone(&self) -> bool {
        self.is_gone
    }

    fn go(&mut self) {
        self.is_gone = true;
    }

    fn change(&self, to: &Client) -> Change {
        // How it starts is over, and what else holds for it changes nothing of a connection that it has.
        let started = Settings { start_connected: to.settings.start_connected, ..(*self.settings).clone() };
        let settings = Settings {
            follow_redirects: to.settings.follow_redirects,
            connect_timeout: to.settings.connect_timeout,
            reconnect: to.settings.reconnect,
            slow_p99: to.settings.slow_p99,
            ..started.clone()
        };
        let same = Client { settings: Arc::new(started), ..self.clone() };
        let adjusted =
            Client { settings: Arc::new(settings), labels: to.labels.clone(), ..self.clone() }.with_end_of_identity(to);
        match () {
            () if same == *to => Change::None,
            () if adjusted == *to => Change::Adjusted,
            () => Change::Changed,
        }
    }
}

impl Client {
    /// It with a certificate that ends when the other's does: a newer one is shown at the next connect.
    fn with_end_of_identity(mut self, other: &Client) -> Client {
        if let (Some(own), Some(other)) = (&self.identity, &other.identity)
            && own.not_after != other.not_after
        {
            let mut own = (**own).clone();
            own.not_after = other.not_after;
            self.identity = Some(Arc::new(own));
        }
        self
    }
}
