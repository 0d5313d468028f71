//! Defines what the workers are to know of the endpoints, shared by all supervisors; who finds it out is elsewhere.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    fleet::{EndpointKey, Fleet},
    wire::{Remote, ToWorker},
};

/// A number that grows with every change of any endpoint.
type Edition = u64;

/// The endpoints as they are known now. A supervisor sends what is new to its worker before it sends
/// orders: an order holds for what was known when it was given, or for what came later.
#[derive(Clone, Debug)]
pub(super) struct Remotes(Arc<Mutex<Vec<(Edition, Remote)>>>);

impl Remotes {
    /// The endpoints as the fleet file has them.
    pub fn new(fleet: &Fleet) -> Remotes {
        Remotes(Arc::new(Mutex::new(fleet.endpoints.iter().map(|e| (1, Remote::from(e))).collect())))
    }

    /// Takes in where an endpoint's first hop is.
    pub fn learn(&self, endpoint: EndpointKey, addresses: &Arc<[IpAddr]>) {
        let mut all = self.lock();
        let newest = all.iter().map(|(edition, _)| *edition).max().unwrap_or_default();
        let (edition, remote) = &mut all[endpoint.index()];
        if remote.addresses != *addresses {
            remote.addresses = addresses.clone();
            *edition = newest + 1;
        }
    }

    /// What a worker that knows everything up to `seen` (0: nothing) has to be told.
    pub fn since(&self, seen: &mut Edition) -> Vec<ToWorker> {
        let all = self.lock();
        let new = all.iter().enumerate().filter(|(_, (edition, _))| edition > seen);
        let tell = |(index, (_, remote)): (usize, &(Edition, Remote))| ToWorker::Remote {
            endpoint: EndpointKey(index as u16),
            remote: remote.clone(),
        };
        let news = new.map(tell).collect();
        *seen = all.iter().map(|(edition, _)| *edition).fold(*seen, Edition::max);
        news
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Edition, Remote)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::placement::tests::fleet;

    #[test]
    fn a_worker_is_told_what_it_does_not_know_and_a_new_one_everything() {
        let remotes = Remotes::new(&fleet(500, &[1, 1, 1]));
        let told = |seen: &mut Edition| -> Vec<(u16, Option<IpAddr>)> {
            let key = |order: &ToWorker| match order {
                ToWorker::Remote { endpoint, remote } => (endpoint.0, remote.addresses.first().copied()),
                other => panic!("{other:?}"),
            };
            remotes.since(seen).iter().map(key).collect()
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
