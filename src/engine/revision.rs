//! Defines how a running engine takes in another fleet: who is gone leaves, who changed or is new connects through the gates, everybody else is left alone; what the difference is, the fleet says.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::Core;
use crate::{
    clock::Moment,
    event::{Event, What},
    fleet::{ClientKey, Difference, EndpointKey, Fleet},
};

/// What a running engine is told of another fleet.
pub(super) struct Revision {
    fleet: Fleet,
    done: oneshot::Sender<Revised>,
}

/// What became of another fleet.
#[derive(Clone, Debug)]
pub struct Revised {
    pub fleet: Arc<Fleet>,
    /// Those that have to connect anew because their endpoint changed count as changed, too.
    pub difference: Difference,
    /// Clients that are to connect because of it.
    pub connecting: Vec<ClientKey>,
}

/// Where a running engine is told of another fleet.
#[derive(Clone, Debug)]
pub struct Reviser(pub(super) mpsc::Sender<Revision>);

impl Reviser {
    /// Has the engine's fleet become what its file says by now; done when all is ordered. `None` where the engine has
    /// ended.
    pub async fn revise(&self, fleet: Fleet) -> Option<Revised> {
        let (done, answer) = oneshot::channel();
        self.0.send(Revision { fleet, done }).await.ok()?;
        answer.await.ok()
    }
}

impl Core {
    pub(super) fn revise(&mut self, Revision { fleet, done }: Revision) {
        let now = Moment::now();
        let (fleet, mut difference) = self.fleet.revised(fleet);
        let fleet = Arc::new(fleet);
        if difference.is_none() && (&fleet.env, fleet.worker_size) == (&self.fleet.env, self.fleet.worker_size) {
            let _ = done.send(Revised { fleet: self.fleet.clone(), difference, connecting: Vec::new() });
            return;
        }
        let parts = &difference.clients;
        for &client in parts.changed.iter().chain(&parts.adjusted).chain(&parts.removed) {
            self.keyring.forget(client); // what it waited for, it may not wait for any more
        }
        self.lifecycle.dismiss(&difference, now);
        self.carry_out();
        self.news.push(Event { at: now, what: What::Fleet(fleet.clone()) });
        self.fleet = fleet.clone();
        self.keyring.revise(fleet.clone());
        self.prober.revise(fleet.endpoints.clone().into(), &difference.endpoints);
        self.renewals.revise(&fleet);
        self.pool.revise(&fleet, &difference);
        let mut connecting = self.lifecycle.revise(&fleet, &difference, now);
        self.jobs.revise(&fleet, now);
        self.patience = (0..fleet.endpoints.len() as u16).map(|n| self.lifecycle.patience(EndpointKey(n))).collect();
        // Whose endpoint is another one has changed.
        let parts = &mut difference.clients;
        for &client in &connecting {
            if let Err(place) = parts.changed.binary_search(&client) {
                parts.changed.insert(place, client);
                match parts.adjusted.binary_search(&client) {
                    Ok(place) => drop(parts.adjusted.remove(place)),
                    Err(_) => parts.kept -= 1,
                }
            }
        }
        let placement = self.pool.placement().clone();
        for &client in &parts.added {
            if let [first, ..] = placement.clients_of(placement.of(client).0) {
                self.lifecycle.join(client, *first);
            }
            if fleet.client(client).settings.start_connected {
                self.lifecycle.start(client, now);
                connecting.push(client);
            }
        }
        let _ = done.send(Revised { fleet, difference, connecting }); // who asked may be gone
    }
}
