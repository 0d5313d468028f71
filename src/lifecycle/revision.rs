//! Defines what clients and gates do when the fleet is another one: who changed connects anew, who is new connects, who is gone leaves, and nobody else notices.

use super::{Lifecycle, Machine, Renewal, gate::Access, twins};
use crate::{
    clock::Moment,
    event::{Reason, State},
    fleet::{ClientKey, Difference, Fleet},
    text::Scrubbed,
};

impl Lifecycle {
    /// Those that are gone leave, before anybody hears that they are no longer of the fleet.
    pub fn dismiss(&mut self, difference: &Difference, now: Moment) {
        for &client in &difference.clients.removed {
            self.leave_worker(client);
            self.machines[client.index()].forgive();
            if self.state(client) != State::Off {
                self.change(client, State::Off, Reason::Removed, Scrubbed::default(), None, now);
            }
        }
    }

    /// The fleet is this one from now on. New clients are off, and belong to no worker yet. Returns those that have
    /// to connect anew, because they changed or because the way to the endpoint where they are did: they line up.
    pub fn revise(&mut self, fleet: &Fleet, difference: &Difference, now: Moment) -> Vec<ClientKey> {
        let fresh = Access::of_all(fleet, now);
        for (n, fresh) in fresh.into_iter().enumerate() {
            match self.accesses.get_mut(n) {
                Some(access) => access.revise(fresh),
                None => self.accesses.push(fresh),
            }
        }
        let endpoints = &difference.endpoints;
        for endpoint in endpoints.changed.iter().chain(&endpoints.added).chain(&endpoints.removed) {
            self.accesses[endpoint.index()].reset(now);
        }
        let mut twins = twins(fleet);
        for (key, client) in (0..).map(ClientKey).zip(&fleet.clients) {
            let twins = twins.remove(&key);
            match self.machines.get_mut(key.index()) {
                Some(machine) => {
                    machine.twins = twins;
                    machine.endpoints = client.endpoints.clone();
                    machine.settings = client.settings.clone();
                    machine.renewal = Renewal::of(client);
                }
                None => self.machines.push(Machine::new(client, twins, now)),
            }
        }
        let mut anew = difference.clients.changed.clone();
        let is_on_its_way = |client: &ClientKey| {
            let machine = &self.machines[client.index()];
            let is_own = difference.clients.changed.binary_search(client).is_ok();
            !is_own && endpoints.changed.contains(&machine.endpoint)
        };
        anew.extend(fleet.keys().filter(is_on_its_way));
        anew.sort_unstable();
        for &client in &anew {
            self.connect_otherwise(client, now);
        }
        for &client in &difference.clients.added {
            let machine = &mut self.machines[client.index()];
            machine.endpoint = machine.endpoints[0];
        }
        anew.retain(|client| self.state(*client) != State::Off);
        anew
    }

    /// A client of which something changed connects as it is now, unless it is off.
    fn connect_otherwise(&mut self, client: ClientKey, now: Moment) {
        self.leave_worker(client);
        self.try_anew(client, now);
        let home = self.machines[client.index()].endpoints[0];
        // What it knew is of other settings, maybe of another broker.
        self.move_to(client, home, now);
        let machine = &mut self.machines[client.index()];
        machine.session = None;
        if machine.state != State::Off {
            machine.reason = Reason::ConfigurationChanged; // also what it goes on waiting for is told anew
            self.line_up(client, Reason::ConfigurationChanged, now);
        }
    }

    /// A new client belongs to the worker of another.
    pub fn join(&mut self, client: ClientKey, other: ClientKey) {
        let Machine { worker, absence, .. } = &self.machines[other.index()];
        let (worker, absence) = (*worker, absence.clone());
        let machine = &mut self.machines[client.index()];
        (machine.worker, machine.absence) = (worker, absence);
    }
}
