//! Defines how what one agent knows of its fleet becomes part of what is known of several, and what is left of that when the agent is gone; where each of its clients is there, it is told.

use crate::{
    clock::Moment,
    event::Shortfall,
    fleet::{Fleet, Places},
    model::{
        known::{EndpointRow, Known},
        row::Row,
    },
    text::Scrubbed,
};

impl Known {
    /// Takes in what an agent knows of its part of this fleet, in the place of what was known of that. `gone` is since
    /// when nothing was heard of the agent, `None` where nothing ever was: what happened before that is known.
    pub(super) fn take_in(&mut self, part: Known, places: &Places, gone: Option<Moment>, now: Moment) {
        let begin = gone.unwrap_or_default();
        let (received, published) = (part.received, part.published);
        for (own, row) in part.fleet.keys().zip(rows_of(part.rows, &part.fleet)) {
            let client = places.client(own);
            let known = &mut self.rows[client.index()];
            if gone.is_some() {
                self.received = self.received.saturating_sub(known.received).saturating_add(row.received);
                self.published = self.published.saturating_sub(known.published).saturating_add(row.published);
            }
            self.totals.remove(known);
            *known = row.moved(client, places);
            self.totals.add(known);
            self.shortfalls.remove(&client);
        }
        for (own, told) in part.shortfalls {
            let client = places.client(own);
            self.shortfalls.insert(client, told.into_iter().map(|told| Shortfall { client, ..told }).collect());
        }
        for (row, place) in part.endpoints.into_iter().zip(&places.endpoints) {
            self.endpoints[place.index()] = row.moved(places.later);
        }
        self.forget_alerts(places);
        let alerts = part.alerts.into_values().map(|row| row.moved(places));
        self.alerts.extend(alerts.map(|row| (row.key(), row)));
        self.forget_jobs(places);
        let jobs = part.jobs.into_values().map(|row| row.moved(places));
        self.jobs.extend(jobs.map(|row| (row.job.id, row)));
        self.latencies.add(&part.latencies, places, (&part.groups, &self.groups), begin);
        self.pulse.add(&part.pulse, places.later, begin);
        let deaths = self.log.add(part.log, places, begin);
        if gone.is_none() {
            self.received = self.received.saturating_add(received);
            self.published = self.published.saturating_add(published);
            self.samples_lost = self.samples_lost.saturating_add(part.samples_lost);
            self.probes_lost = self.probes_lost.saturating_add(part.probes_lost);
        }
        let deaths = if gone.is_none() { part.worker_deaths } else { deaths };
        self.worker_deaths = self.worker_deaths.saturating_add(deaths);
        if deaths > 0 {
            self.last_worker_death = part.last_worker_death.map(|worker| places.worker(worker));
        }
        // Of several that are recorded, the one whose disk failed is what matters.
        self.recording = match (self.recording, part.recording) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (known, told) => told.or(known),
        };
        self.trouble = part.trouble.or(self.trouble.take());
        self.changes += 1;
        self.steps += part.steps;
        self.look(now);
    }

    /// Whether an agent's alerts still fire is the agent's to say.
    fn forget_alerts(&mut self, places: &Places) {
        self.alerts.retain(|rule, _| !rule.is_of(places));
    }

    /// How an agent's jobs go on is the agent's to say.
    fn forget_jobs(&mut self, places: &Places) {
        let agent = places.agent.as_ref().map_or(0, |agent| agent.number);
        self.jobs.retain(|id, _| id.agent != agent);
    }

    /// Forgets what an agent's part of this fleet is like: nobody knows any more.
    pub(super) fn forget(&mut self, places: &Places, now: Moment) {
        for client in places.clients.iter().copied().filter(|client| self.fleet.has(*client)) {
            let row = &mut self.rows[client.index()];
            self.totals.remove(row);
            self.received = self.received.saturating_sub(row.received);
            self.published = self.published.saturating_sub(row.published);
            let was = Scrubbed::new(&format!("was {}", row.badge().word()));
            let (endpoint, detail) = (row.endpoint, if row.is_unknown { row.detail.clone() } else { was });
            *row = Row::unknown(self.fleet.client(client), endpoint, detail, now);
            self.totals.add(row);
            self.shortfalls.remove(&client);
        }
        for place in &places.endpoints {
            self.endpoints[place.index()] = EndpointRow::default();
        }
        self.forget_alerts(places);
        self.forget_jobs(places);
        self.changes += 1;
        self.look(now);
    }
}

/// The rows of those that the fleet has.
fn rows_of(rows: Vec<Row>, fleet: &Fleet) -> impl Iterator<Item = Row> {
    rows.into_iter().zip(&fleet.clients).filter(|(_, client)| !client.is_gone).map(|(row, _)| row)
}

impl EndpointRow {
    /// It by a clock that is so many microseconds later.
    fn moved(mut self, later: i64) -> EndpointRow {
        if let Some(gate) = &mut self.gate {
            gate.condition = gate.condition.clone().moved(later);
        }
        self.finding = self.finding.map(|(at, finding)| (at.moved(later), finding));
        self.silent = self.silent.map(|at| at.moved(later));
        self
    }
}
