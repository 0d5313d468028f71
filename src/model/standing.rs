//! Defines how what is known of a fleet is told to who comes later, and how it is taken in; what is only of the past (the log, the trends) stays behind.

use std::sync::Arc;

use crate::{
    clock::Moment,
    event::{Connack, Event, Standing, State, What},
    fleet::ClientKey,
    model::{Known, connection::Connection},
};

impl Known {
    /// Events that make another, which knows nothing yet, know how the fleet stands `now`: endpoints,
    /// clients and their connections.
    pub fn standings(&self, now: Moment) -> impl Iterator<Item = Event> + '_ {
        let tell = move |what| Event { at: now, what };
        let fleet = (self.samples_lost > 0).then(|| What::SamplesLost(self.samples_lost.min(u32::MAX.into()) as u32));
        let trouble = self.trouble.clone().map(What::Trouble);
        let endpoints = self.fleet.endpoint_keys().flat_map(move |key| {
            let endpoint = &self.endpoints[key.index()];
            let finding = endpoint.finding.clone();
            // A finding keeps its own time: it says how old it is.
            let finding = finding.map(|(at, finding)| Event { at, what: What::Finding(key, finding) });
            let gate = endpoint.gate.clone().map(|gate| tell(What::Gate(key, gate)));
            finding.into_iter().chain(gate)
        });
        let clients = self.fleet.keys().filter(|key| self.row(*key).is_touched());
        let clients = clients.flat_map(move |key| self.standing(key).into_iter().map(tell));
        fleet.into_iter().chain(trouble).map(tell).chain(endpoints).chain(clients)
    }

    fn standing(&self, client: ClientKey) -> Vec<What> {
        let row = self.row(client);
        let standing = Standing {
            client,
            endpoint: row.endpoint,
            state: row.state,
            since: row.since,
            reason: row.reason,
            detail: row.detail.clone(),
            attempt: row.attempt,
            next_try: row.next_try,
            ups: row.reconnects.saturating_add(u32::from(row.ever_up)),
            last: row.last,
            received: row.received,
            published: row.published,
        };
        let mut told = vec![What::Standing(Box::new(standing))];
        let Connection { reached, answered, subscribed, terms, .. } = &row.connection;
        if row.is_up() && (reached.is_some() || answered.is_some() || terms.is_some()) {
            let terms = terms.as_deref().cloned().unwrap_or_default();
            let connack = Connack { reached: *reached, answered: *answered, ..terms };
            told.push(What::Connack(client, Arc::new(connack)));
        }
        told.extend(subscribed.filter(|_| row.is_up()).map(|took| What::Subscribed(client, took)));
        told.extend(self.shortfalls(client).iter().cloned().map(What::Shortfall));
        told
    }

    pub(super) fn apply_standing(&mut self, at: Moment, standing: &Standing) {
        let row = &mut self.rows[standing.client.index()];
        self.totals.remove(row);
        self.received = self.received.saturating_sub(row.received).saturating_add(standing.received);
        self.published = self.published.saturating_sub(row.published).saturating_add(standing.published);
        self.shortfalls.remove(&standing.client);
        row.trend.advance(at, row.is_up());
        row.state = standing.state;
        row.since = standing.since;
        row.endpoint = standing.endpoint;
        row.reason = standing.reason;
        row.detail = standing.detail.clone();
        row.attempt = standing.attempt;
        row.next_try = standing.next_try;
        row.reconnects = standing.ups.saturating_sub(1);
        row.ever_up = standing.ups > 0;
        row.last = standing.last;
        row.received = standing.received;
        row.published = standing.published;
        row.slow = None;
        row.connection = Connection::default();
        if !row.is_up() && standing.state != State::Off {
            row.trend.mark_down();
        }
        self.totals.add(row);
        self.judge(at, standing.client);
    }
}
