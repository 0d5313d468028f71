//! Defines which worker holds which client; starting the workers is the pool's matter.

use crate::fleet::{ClientKey, Fleet, WorkerKey};

use crate::wire::Slot;

/// A place for every client of a fleet: as few workers as the fleet's `worker_size` allows, evenly
/// filled in the order of the fleet file. Clients of different endpoints share them, as nothing that an
/// endpoint does stalls another's clients; 200 endpoints with a client each are one process, not 200.
///
/// Neighbours in the file stay together, so that the gates of different endpoints, which let clients
/// through side by side, mostly do so in different workers. How many connections a worker may take
/// with it when it dies is for `worker_size` to say, and for nothing here: a fleet that fits into one
/// worker gets one, and whoever wants smaller losses sets it lower.
#[derive(Debug)]
pub struct Placement {
    /// The clients of each worker, in slot order.
    workers: Vec<Vec<ClientKey>>,
    /// The place of each client.
    places: Vec<(WorkerKey, Slot)>,
}

impl Placement {
    pub fn new(fleet: &Fleet) -> Placement {
        let mut workers = vec![Vec::new(); fleet.workers()];
        let places = fleet.keys().map(|client| {
            let worker = fleet.worker(client);
            let clients = &mut workers[worker.index()];
            clients.push(client);
            (worker, (clients.len() - 1) as Slot)
        });
        let places = places.collect();
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
    fn every_client_has_one_place_in_the_order_of_the_file_and_no_worker_is_too_full() {
        for (worker_size, by_endpoint, filled) in [
            (500, &[1_001, 0, 3, 500][..], &[376, 376, 376, 376][..]),
            (500, &[1_001], &[334, 334, 333]),
            (500, &[1; 200], &[200]),
            (500, &[500], &[500]),
            (1, &[1, 1], &[1, 1]),
            (500, &[], &[]),
            (500, &[0], &[]),
        ] {
            let fleet = fleet(worker_size, by_endpoint);
            let placement = Placement::new(&fleet);
            let sizes: Vec<usize> = placement.workers().map(|w| placement.clients_of(w).len()).collect();
            assert_eq!(sizes, filled, "{by_endpoint:?}");
            for key in fleet.keys() {
                let (worker, slot) = placement.of(key);
                assert_eq!(placement.client(worker, slot), Some(key));
            }
            let placed = placement.workers().flat_map(|w| placement.clients_of(w).to_vec());
            assert!(placed.eq(fleet.keys()));
            let end = WorkerKey(0);
            assert!(filled.is_empty() || placement.client(end, filled[0] as Slot).is_none());
        }
    }
}
