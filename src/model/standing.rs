//! Defines how what is known of a fleet is told to who comes later, and how it is taken in; what is only of the past (the log, the trends, the pulse) stays behind.

use std::sync::Arc;

use crate::{
    clock::Moment,
    event::{Connack, Event, FleetStanding, Late, Shortfall, Standing, State, What},
    fleet::{ClientKey, Fleet},
    model::{
        AlertRow, Known, answers::Answers, connection::Connection, groups::Groups, jobs::JobRow, link::Link,
        record::Record,
    },
};

impl Known {
    /// Events that make another, which knows nothing yet, know how the fleet stands `now`, which is at
    /// the last [`Known::look`] or right after it: endpoints, clients and their connections.
    pub fn standings(&self, now: Moment) -> impl Iterator<Item = Event> + '_ {
        let tell = move |what| Event { at: now, what };
        let fleet = (self.changes() > 0).then(|| What::FleetStanding(Box::new(self.fleet_standing())));
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
        let clients = clients.map(move |key| tell(What::Standing(Box::new(self.standing(key)))));
        // Likewise an alert and what is done about it, when that was.
        let alerts = self.alerts.values().flat_map(AlertRow::events);
        let jobs = self.jobs.values().flat_map(JobRow::told).map(move |news| tell(What::Job(Box::new(news))));
        fleet.into_iter().chain(trouble).map(tell).chain(alerts).chain(jobs).chain(endpoints).chain(clients)
    }

    /// All of it, but for the fleet itself, in few bytes: for [`Known::decode`].
    pub fn encode(&self) -> Vec<u8> {
        // Numbers, sequences and texts: there is nothing that postcard cannot write to memory.
        postcard::to_stdvec(self).unwrap_or_default()
    }

    /// What [`Known::encode`] made; `None` where that is nonsense, or about another fleet.
    pub fn decode(bytes: &[u8], fleet: Arc<Fleet>) -> Option<Known> {
        let mut known: Known = postcard::from_bytes(bytes).ok()?;
        known.groups = Arc::new(Groups::of(&fleet));
        known.fleet = fleet;
        if !known.fits() {
            return None;
        }
        for row in &mut known.rows {
            // Clients that were told the same share it, here as well.
            let usual = &known.endpoints[row.endpoint.index()].terms;
            if row.connection.terms == *usual {
                row.connection.terms.clone_from(usual);
            }
        }
        Some(known)
    }

    /// Whether it is about clients and endpoints that the fleet has, and all of them.
    fn fits(&self) -> bool {
        let (clients, endpoints) = (self.fleet.clients.len(), self.fleet.endpoints.len());
        let groups = self.groups.all().len();
        self.rows.len() == clients
            && self.endpoints.len() == endpoints
            && [0, endpoints].contains(&self.totals_by_endpoint().len())
            && self.rows.iter().all(|row| row.fits() && row.endpoint.index() < endpoints)
            && self.shortfalls.keys().all(|client| client.index() < clients)
            && self.latencies.fits(endpoints, groups)
            && self.log().fits(clients, endpoints)
            && self.alerts.values().all(|row| row.fits(clients))
            && self.jobs.values().all(|job| job.fits(clients))
            && self.insights().iter().all(|insight| insight.fits(clients, endpoints))
    }

    fn fleet_standing(&self) -> FleetStanding {
        let mut standing = FleetStanding {
            samples_lost: self.samples_lost,
            worker_deaths: self.worker_deaths,
            last_worker_death: self.last_worker_death,
            ..FleetStanding::default()
        };
        self.latencies.tell(&mut standing);
        standing
    }

    pub(super) fn apply_fleet_standing(&mut self, standing: &FleetStanding) {
        self.samples_lost = standing.samples_lost;
        self.worker_deaths = standing.worker_deaths;
        self.last_worker_death = standing.last_worker_death;
        self.latencies.stand(standing);
    }

    fn standing(&self, client: ClientKey) -> Standing {
        let row = self.row(client);
        let (past, strip) = row.record.tell();
        let Connection { reached, answered, subscribed, terms, .. } = &row.connection;
        let is_said = reached.is_some() || answered.is_some() || terms.is_some();
        let connack = is_said.then(|| {
            let terms = terms.as_deref().cloned().unwrap_or_default();
            Arc::new(Connack { reached: *reached, answered: *answered, ..terms })
        });
        Standing {
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
            refused: row.refused,
            measured: row.measured,
            slow: row.slow.map(|_| row.slow_since),
            late: row.late,
            awaited: row.awaited,
            violated: row.violated(),
            connack,
            subscribed: *subscribed,
            shortfalls: self.shortfalls(client).to_vec(),
            link: row.link.as_deref().map(Link::tell),
            past,
            strip,
            answers: row.answers().map(Answers::tell),
        }
    }

    pub(super) fn apply_standing(&mut self, at: Moment, standing: &Standing) {
        let client = standing.client;
        let row = &mut self.rows[client.index()];
        self.totals.remove(row);
        self.received = self.received.saturating_sub(row.received).saturating_add(standing.received);
        self.published = self.published.saturating_sub(row.published).saturating_add(standing.published);
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
        row.refused = standing.refused;
        row.measured = standing.measured;
        row.late = standing.late;
        row.awaited = standing.awaited.map(|late| Late { client, ..late });
        row.violate(standing.violated);
        row.connection = Connection { subscribed: standing.subscribed, ..Connection::default() };
        if let Some(connack) = &standing.connack {
            row.connection.accept(connack, &mut self.endpoints[standing.endpoint.index()].terms);
        }
        row.connection.is_short = !standing.shortfalls.is_empty();
        self.shortfalls.remove(&client);
        if row.connection.is_short {
            let told = standing.shortfalls.iter().map(|told| Shortfall { client, ..told.clone() });
            self.shortfalls.insert(client, told.collect());
        }
        row.link = standing.link.as_ref().map(|reading| Box::new(Link::of(reading)));
        row.record = Record::of(standing.state, &standing.past, &standing.strip);
        row.answers = standing.answers.as_ref().map(|window| Arc::new(Answers::of(window)));
        if !row.is_up() && standing.state != State::Off {
            row.trend.mark_down();
        }
        // Whether it is slow was decided by who told it; who looks next decides anew.
        row.slow = standing.slow.and_then(|_| row.judge(self.fleet.client(client), at));
        row.slow_since = standing.slow.unwrap_or(row.slow_since);
        self.totals.add(row);
    }
}
