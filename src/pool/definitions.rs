//! Defines what the workers are to know of their clients and of the endpoints, shared by all supervisors; who finds it out is elsewhere.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::placement::Placement;
use crate::{
    fleet::{ClientKey, Difference, EndpointKey, Fleet, Password, WorkerKey},
    wire::{ClientDef, DEFINE_PART, Remote, Slot, ToWorker},
};

/// A number that grows with every change of anything.
type Edition = u64;

/// What every client knows that did not change since the start.
const FIRST: Edition = 1;

/// Clients and endpoints as they are now. A supervisor sends what is new to its worker before it sends
/// orders: an order holds for what was known when it was given, or for what came later.
#[derive(Clone, Debug)]
pub(super) struct Definitions(Arc<Mutex<Present>>);

#[derive(Debug)]
struct Present {
    newest: Edition,
    fleet: Arc<Fleet>,
    placement: Arc<Placement>,
    remotes: Vec<(Edition, Remote)>,
    /// Clients that came or changed.
    clients: HashMap<ClientKey, Edition>,
}

impl Definitions {
    /// All as the fleet file has them.
    pub fn new(fleet: &Arc<Fleet>, placement: &Arc<Placement>) -> Definitions {
        Definitions(Arc::new(Mutex::new(Present {
            newest: FIRST,
            fleet: fleet.clone(),
            placement: placement.clone(),
            remotes: fleet.endpoints.iter().map(|e| (FIRST, Remote::from(e))).collect(),
            clients: HashMap::new(),
        })))
    }

    /// Takes in where an endpoint's first hop is.
    pub fn learn(&self, endpoint: EndpointKey, addresses: &Arc<[IpAddr]>) {
        let mut present = self.lock();
        let Present { newest, remotes, .. } = &mut *present;
        let (edition, remote) = &mut remotes[endpoint.index()];
        if remote.addresses != *addresses {
            remote.addresses = addresses.clone();
            *newest += 1;
            *edition = *newest;
        }
    }

    /// Takes in that the fleet is another one, and who is where.
    pub fn revise(&self, fleet: &Arc<Fleet>, placement: &Arc<Placement>, difference: &Difference) {
        let mut present = self.lock();
        let Present { newest, remotes, clients, .. } = &mut *present;
        *newest += 1;
        let parts = &difference.clients;
        let new = parts.added.iter().chain(&parts.changed).chain(&parts.adjusted);
        clients.extend(new.map(|client| (*client, *newest)));
        for (n, endpoint) in fleet.endpoints.iter().enumerate() {
            match remotes.get_mut(n) {
                Some((_, remote)) if remote.endpoint == *endpoint => {}
                Some(known) => *known = (*newest, Remote::from(endpoint)),
                None => remotes.push((*newest, Remote::from(endpoint))),
            }
        }
        (present.fleet, present.placement) = (fleet.clone(), placement.clone());
    }

    /// How many clients a worker has.
    pub fn clients_of(&self, worker: WorkerKey) -> usize {
        let Present { fleet, placement, .. } = &*self.lock();
        placement.clients_of(worker).iter().filter(|client| fleet.has(**client)).count()
    }

    /// What a worker that knows everything up to `seen` (0: nothing) has to be told.
    pub fn since(&self, worker: WorkerKey, seen: &mut Edition) -> Vec<ToWorker> {
        let present = self.lock();
        let Present { newest, fleet, placement, remotes, clients } = &*present;
        if *seen >= *newest {
            return Vec::new();
        }
        let room = placement.room_of(worker);
        let places: Vec<(Slot, ClientKey)> = (0..).zip(placement.clients_of(worker).iter().copied()).collect();
        let is_new = |(_, client): &&(Slot, ClientKey)| clients.get(client).copied().unwrap_or(FIRST) > *seen;
        let new: Vec<&(Slot, ClientKey)> = places.iter().filter(is_new).collect();
        // Neighbours are told together.
        let parts = new.chunk_by(|one, next| one.0 + 1 == next.0).flat_map(|run| run.chunks(DEFINE_PART));
        let define = |part: &[&(Slot, ClientKey)]| ToWorker::Define {
            room,
            first: part[0].0,
            clients: part.iter().map(|(_, client)| define(fleet, *client)).collect(),
        };
        let remotes = remotes.iter().enumerate().filter(|(_, (edition, _))| edition > seen);
        let tell = |(index, (_, remote)): (usize, &(Edition, Remote))| ToWorker::Remote {
            endpoint: EndpointKey(index as u16),
            remote: remote.clone(),
        };
        let news = parts.map(define).chain(remotes.map(tell)).collect();
        *seen = *newest;
        news
    }

    fn lock(&self) -> MutexGuard<'_, Present> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn define(fleet: &Fleet, key: ClientKey) -> ClientDef {
    let client = fleet.client(key);
    ClientDef {
        id: client.id.clone(),
        settings: (*client.settings).clone(),
        probe_topic: client.probe_topic(),
        username: client.username.clone(),
        // What is fetched comes with the order to connect.
        password: client.password.as_ref().and_then(Password::fixed).cloned(),
        identity: client.identity.as_deref().cloned(),
        conversation: client.conversation.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::placement::tests::fleet;

    #[test]
    fn a_worker_is_told_what_it_does_not_know_and_a_new_one_everything() {
        let fleet = Arc::new(fleet(500, &[1, 1, 1]));
        let remotes = Definitions::new(&fleet, &Arc::new(Placement::new(&fleet)));
        let told = |seen: &mut Edition| -> Vec<(u16, Option<IpAddr>)> {
            let key = |order: &ToWorker| match order {
                ToWorker::Remote { endpoint, remote } => Some((endpoint.0, remote.addresses.first().copied())),
                _ => None,
            };
            remotes.since(WorkerKey(0), seen).iter().filter_map(key).collect()
        };
        let (mut one, mut other) = (0, 0);
        assert_eq!(told(&mut one), [(0, None), (1, None), (2, None)]);
        assert_eq!(told(&mut one), []);
        let known: [Arc<[IpAddr]>; 2] = [1, 2].map(|n| Arc::new([IpAddr::from([127, 0, 0, n])]) as _);
        let [a, b] = [1, 2].map(|n| IpAddr::from([127, 0, 0, n]));
        remotes.learn(EndpointKey(1), &known[0]);
        remotes.learn(EndpointKey(2), &known[0]);
        remotes.learn(EndpointKey(1), &known[1]);
        assert_eq!(told(&mut one), [(1, Some(b)), (2, Some(a))]);
        remotes.learn(EndpointKey(1), &known[1]);
        assert_eq!(told(&mut one), [], "it knew that");
        assert_eq!(told(&mut other), [(0, None), (1, Some(b)), (2, Some(a))]);
    }
}
