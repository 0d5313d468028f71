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
        // Of several with one ID first those that are the same, then those with the same endpoints, then any.
        let is_same = |known: &Client, client: &Client| matches!(known.change(client), Change::None);
        let is_near = |known: &Client, client: &Client| known.endpoints == client.endpoints;
        let is_any = |_: &Client, _: &Client| true;
        type Likeness = fn(&Client, &Client) -> bool;
        let passes: [(bool, Likeness); 5] =
            [(false, is_same), (false, is_near), (false, is_any), (true, is_near), (true, is_any)];
        for (is_gone, is_like) in passes {
            for (client, place) in said.iter().zip(&mut places).filter(|(_, place)| place.is_none()) {
                let Some(free) = free.get_mut(&*client.id) else { continue };
                let found = free.iter().position(|&n| {
                    let known = &self.clients[n];
                    known.is_gone == is_gone && is_like(known, client)
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::text::Scrubbed;

    /// A client as a file has it: which of a few IDs, which endpoint, which keep alive, which objective.
    type Said = (u8, u8, u8, u8);

    /// What a file with these clients, and these ports of its endpoints, says.
    fn fleet(said: &[Said], ports: &[u16]) -> Fleet {
        let endpoint = |(n, port): (usize, &u16)| Endpoint::new(&format!("eu-{n}"), "127.0.0.1", *port);
        let client = |&(id, endpoint, keep_alive, objective): &Said| {
            let settings = Settings {
                keep_alive: std::time::Duration::from_secs(keep_alive.into()),
                slow_p99: (objective > 0).then_some(std::time::Duration::from_secs(1)),
                ..Settings::default()
            };
            let endpoint = EndpointKey(u16::from(endpoint) % ports.len() as u16);
            Client::new(&format!("c{id}"), endpoint, Arc::new(settings))
        };
        Fleet {
            name: Scrubbed::new("f"),
            env: None,
            worker_size: 500,
            endpoints: ports.iter().enumerate().map(endpoint).collect(),
            clients: said.iter().map(client).collect(),
        }
    }

    /// Its clients as a file would have them, in no order.
    fn told(fleet: &Fleet) -> Vec<(String, Vec<String>, std::time::Duration, bool)> {
        let names =
            |client: &Client| client.endpoints.iter().map(|key| fleet.endpoint(*key).name.to_string()).collect();
        let clients = fleet.keys().map(|key| fleet.client(key));
        let tell = |c: &Client| (c.id.to_string(), names(c), c.settings.keep_alive, c.settings.slow_p99.is_some());
        let mut told: Vec<_> = clients.map(tell).collect();
        told.sort();
        told
    }

    fn said() -> impl Strategy<Value = (Vec<Said>, Vec<u16>)> {
        let client = (0..12u8, 0..3u8, 1..3u8, 0..2u8);
        (prop::collection::vec(client, 0..20), prop::collection::vec(1..3u16, 1..4))
    }

    proptest! {
        #[test]
        fn after_any_files_the_fleet_is_the_last_and_keys_are_what_they_were(files in prop::collection::vec(said(), 1..6)) {
            let mut present = fleet(&files[0].0, &files[0].1);
            for (clients, ports) in &files[1..] {
                let file = fleet(clients, ports);
                let (next, difference) = present.revised(file.clone());
                prop_assert_eq!(told(&next), told(&file));
                let names = |fleet: &Fleet| {
                    let mut all: Vec<_> = fleet.endpoint_keys().map(|key| fleet.endpoint(key).clone()).collect();
                    all.sort_by(|a, b| a.name.cmp(&b.name));
                    all
                };
                prop_assert_eq!(names(&next), names(&file));
                // A key is of one ID for ever.
                for (old, new) in present.clients.iter().zip(&next.clients) {
                    prop_assert_eq!(&old.id, &new.id);
                }
                prop_assert!(next.clients.len() >= present.clients.len());
                // Each is in one part, and that part is right.
                let Parts { added, changed, adjusted, removed, kept } = &difference.clients;
                let (was, is): (BTreeSet<_>, BTreeSet<_>) = (present.keys().collect(), next.keys().collect());
                prop_assert!(is.difference(&was).eq(added), "added {:?}", added);
                prop_assert!(was.difference(&is).eq(removed), "removed {:?}", removed);
                let mut same = 0;
                for key in was.intersection(&is) {
                    let (old, new) = (present.client(*key), next.client(*key));
                    let moved = old.endpoints != new.endpoints || old.settings.keep_alive != new.settings.keep_alive;
                    prop_assert_eq!(moved, changed.contains(key));
                    prop_assert_eq!(!moved && old != new, adjusted.contains(key));
                    same += usize::from(old == new);
                }
                prop_assert_eq!(same, *kept);
                // Read once more it is the same; and nobody is gone who has a like in the file.
                prop_assert!(next.revised(file).1.is_none());
                let ids = |keys: &[ClientKey]| keys.iter().map(|key| next.client(*key).id.clone()).collect::<BTreeSet<_>>();
                prop_assert!(ids(added).is_disjoint(&ids(removed)));
                present = next;
            }
        }
    }

    #[test]
    fn of_several_with_one_id_each_keeps_its_endpoint() {
        let present = fleet(&[(1, 0, 1, 0), (1, 1, 1, 0), (1, 2, 1, 0)], &[1, 1, 1]);
        let (_, difference) = present.revised(fleet(&[(1, 2, 1, 0), (1, 0, 1, 0)], &[1, 1, 1]));
        assert_eq!(difference.clients.removed, [ClientKey(1)]);
        assert_eq!(difference.clients.kept, 2);
    }

    #[test]
    fn another_rate_disturbs_nobody_and_how_a_client_starts_is_over() {
        let present = fleet(&[(1, 0, 1, 0)], &[1]);
        let mut file = fleet(&[(1, 0, 1, 0)], &[1]);
        file.endpoints[0].connect_rate = 7;
        file.clients[0].settings = Arc::new(Settings { start_connected: false, ..(*file.clients[0].settings).clone() });
        let (next, difference) = present.revised(file);
        assert_eq!((difference.endpoints.adjusted, difference.clients.kept), (vec![EndpointKey(0)], 1));
        assert_eq!(next.endpoints[0].connect_rate, 7);
    }
}
