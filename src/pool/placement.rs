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
#[derive(Clone, Debug)]
pub struct Placement {
    /// The clients of each worker, in slot order, and for how many it has room.
    workers: Vec<(Vec<ClientKey>, usize)>,
    /// The place of each client.
    places: Vec<(WorkerKey, Slot)>,
}

impl Placement {
    pub fn new(fleet: &Fleet) -> Placement {
        let mut clients = fleet.keys();
        // Evenly: of 501 clients, two workers hold 251 and 250, not 500 and 1.
        let all = fleet.clients.len();
        let count = all.div_ceil(fleet.worker_size.max(1));
        let (size, rest) = (all / count.max(1), all % count.max(1));
        let fill = |worker| {
            let room = size + usize::from(worker < rest);
            (clients.by_ref().take(room).collect::<Vec<_>>(), room)
        };
        let workers: Vec<_> = (0..count).map(fill).collect();
        let mut places = vec![(WorkerKey(0), 0); fleet.clients.len()];
        for (worker, (clients, _)) in workers.iter().enumerate() {
            for (slot, client) in clients.iter().enumerate() {
                places[client.index()] = (WorkerKey(worker as u32), slot as Slot);
            }
        }
        Placement { workers, places }
    }

    /// The same with the clients that a later fleet has besides: in workers that have room, which are those that
    /// were started for such, or else in new ones with as much room as there may be. Nobody moves, and nobody takes
    /// the place of who is gone: what a worker still says of that one must not be taken for another's.
    #[must_use]
    pub fn extended(&self, fleet: &Fleet) -> Placement {
        let mut extended = self.clone();
        let Placement { workers, places } = &mut extended;
        let mut worker = 0;
        for client in (places.len() as u32..fleet.clients.len() as u32).map(ClientKey) {
            while workers.get(worker).is_some_and(|(clients, room)| clients.len() >= *room) {
                worker += 1;
            }
            if worker == workers.len() {
                workers.push((Vec::new(), fleet.worker_size.max(1)));
            }
            let clients = &mut workers[worker].0;
            places.push((WorkerKey(worker as u32), clients.len() as Slot));
            clients.push(client);
        }
        extended
    }

    /// How many slots a worker has, be they taken or not.
    pub fn room_of(&self, worker: WorkerKey) -> Slot {
        self.workers[worker.index()].1 as Slot
    }

    pub fn workers(&self) -> impl ExactSizeIterator<Item = WorkerKey> + use<> {
        (0..self.workers.len() as u32).map(WorkerKey)
    }

    pub fn clients_of(&self, worker: WorkerKey) -> &[ClientKey] {
        &self.workers[worker.index()].0
    }

    /// A client's worker, and its slot there.
    pub fn of(&self, client: ClientKey) -> (WorkerKey, Slot) {
        self.places[client.index()]
    }

    /// The client in a worker's slot, if there is such a slot.
    pub fn client(&self, worker: WorkerKey, slot: Slot) -> Option<ClientKey> {
        self.workers[worker.index()].0.get(slot as usize).copied()
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
