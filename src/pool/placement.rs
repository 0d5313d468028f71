//! Defines which worker holds which client; starting the workers is the pool's matter.

use crate::fleet::{ClientKey, Fleet, WorkerKey};

use crate::wire::Slot;

/// A place for every client of a fleet. Clients of different endpoints never share a worker (a
/// broker that hangs slows down all Paho clients of a process), and a worker is never fuller than
/// the fleet allows: Paho's cost grows with the square of the clients in a process.
#[derive(Debug)]
pub struct Placement {
    /// The clients of each worker, in slot order.
    workers: Vec<Vec<ClientKey>>,
    /// The place of each client.
    places: Vec<(WorkerKey, Slot)>,
}

impl Placement {
    pub fn new(fleet: &Fleet) -> Placement {
        let mut by_endpoint: Vec<Vec<ClientKey>> = vec![Vec::new(); fleet.endpoints.len()];
        for key in fleet.keys() {
            by_endpoint[fleet.client(key).endpoint().index()].push(key);
        }
        let mut workers = Vec::new();
        for clients in by_endpoint.into_iter().filter(|c| !c.is_empty()) {
            // Evenly: of 501 clients, two workers hold 251 and 250, not 500 and 1.
            let count = clients.len().div_ceil(fleet.worker_size.max(1));
            let (size, rest) = (clients.len() / count, clients.len() % count);
            let mut clients = clients.into_iter();
            workers.extend((0..count).map(|i| clients.by_ref().take(size + usize::from(i < rest)).collect::<Vec<_>>()));
        }
        let mut places = vec![(WorkerKey(0), 0); fleet.clients.len()];
        for (worker, clients) in workers.iter().enumerate() {
            for (slot, client) in clients.iter().enumerate() {
                places[client.index()] = (WorkerKey(worker as u32), slot as Slot);
            }
        }
        Placement { workers, places }
    }

    pub fn workers(&self) -> impl ExactSizeIterator<Item = WorkerKey> + use<> {
        (0..self.workers.len() as u32).map(WorkerKey)
    }

    pub fn clients_of(&self, worker: WorkerKey) -> &[ClientKey] {
        &self.workers[worker.index()]
    }

    /// A client's worker, and its slot there.
    pub fn of(&self, client: ClientKey) -> (WorkerKey, Slot) {
        self.places[client.index()]
    }

    /// The client in a worker's slot, if there is such a slot.
    pub fn client(&self, worker: WorkerKey, slot: Slot) -> Option<ClientKey> {
        self.workers[worker.index()].get(slot as usize).copied()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        fleet::{Client, Endpoint, EndpointKey, Settings},
        text::Scrubbed,
    };

    pub fn fleet(worker_size: usize, clients_by_endpoint: &[usize]) -> Fleet {
        let settings = Arc::new(Settings::default());
        let client = |endpoint: usize| Client::new("c", EndpointKey(endpoint as u16), settings.clone());
        let endpoint = |_| Endpoint::new("e", "127.0.0.1", 1883);
        Fleet {
            name: Scrubbed::new("t"),
            env: None,
            worker_size,
            endpoints: clients_by_endpoint.iter().map(endpoint).collect(),
            clients: clients_by_endpoint.iter().enumerate().flat_map(|(e, &n)| vec![client(e); n]).collect(),
        }
    }

    #[test]
    fn every_client_has_one_place_and_no_worker_is_too_full_or_mixed() {
        let fleet = fleet(500, &[1_001, 0, 3, 500]);
        let placement = Placement::new(&fleet);
        let sizes: Vec<usize> = placement.workers().map(|w| placement.clients_of(w).len()).collect();
        assert_eq!(sizes, [334, 334, 333, 3, 500]);
        for key in fleet.keys() {
            let (worker, slot) = placement.of(key);
            assert_eq!(placement.client(worker, slot), Some(key));
            let endpoint = fleet.client(placement.clients_of(worker)[0]).endpoint();
            assert_eq!(fleet.client(key).endpoint(), endpoint);
        }
        assert_eq!(placement.client(WorkerKey(3), 3), None);
    }
}
