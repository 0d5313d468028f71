//! Defines what becomes of what is known of a fleet when the fleet is another one: who stays is known as before, who is new is unknown, and who is gone counts no more.

use std::sync::Arc;

use crate::{
    clock::Moment,
    event::State,
    fleet::{Client, ClientKey, Fleet},
    model::{
        groups::Groups,
        known::{EndpointRow, Known},
        row::Row,
    },
};

impl Known {
    /// Takes in what the fleet is from now on. Heard a second time it changes nothing.
    pub(super) fn apply_fleet(&mut self, at: Moment, fleet: &Arc<Fleet>) {
        if Arc::ptr_eq(&self.fleet, fleet) {
            return;
        }
        let before = std::mem::replace(&mut self.fleet, fleet.clone());
        for (key, client) in (0..).map(ClientKey).zip(&fleet.clients) {
            if before.has(key) {
                self.totals.remove(&self.rows[key.index()]);
            }
            match self.rows.get_mut(key.index()) {
                Some(row) if before.has(key) && !client.is_gone => row.adjust(before.client(key), client, at),
                Some(row) => *row = Row::new(client, at),
                None => self.rows.push(Row::new(client, at)),
            }
            if client.is_gone {
                self.shortfalls.remove(&key);
            } else {
                self.totals.add(&self.rows[key.index()]);
            }
        }
        let groups = Groups::of(fleet);
        self.latencies.revise(fleet, &self.groups, &groups, at);
        self.groups = Arc::new(groups);
        for (row, (was, is)) in self.endpoints.iter_mut().zip(before.endpoints.iter().zip(&fleet.endpoints)) {
            if was.is_gone || is.is_gone {
                *row = EndpointRow::default();
            }
        }
        self.endpoints.resize(fleet.endpoints.len(), EndpointRow::default());
        self.look(at);
    }
}

impl Row {
    /// The client is this one now: what was measured in another way than it is from now on is not compared with it.
    fn adjust(&mut self, was: &Client, client: &Client, at: Moment) {
        let (interval, kind) = (self.interval(&was.settings), was.settings.probe.kind);
        if (interval, kind) != (self.interval(&client.settings), client.settings.probe.kind) {
            self.measure(client.settings.probe.kind, &client.settings, at);
            self.answers = None;
        }
        if self.state == State::Off && !client.endpoints.contains(&self.endpoint) {
            self.endpoint = client.endpoint();
        }
    }
}
