//! Defines the outages of a run, gathered by what caused them: one line for what hit many clients at once; how long each client was down is its record's matter.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::wall;
use crate::{
    clock::{Anchor, Moment},
    event::{Reason, State},
    fleet::{ClientKey, EndpointKey, Fleet},
};

/// Outages of one cause at one endpoint, the next one of which began while the last was not long ago.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outage {
    pub endpoint: String,
    /// Why connections were lost, or could not be had: the reason's name, and its words.
    pub reason: &'static str,
    pub words: &'static str,
    pub detail: String,
    /// What most of them met while they tried to come back, where that was something else.
    pub then: Option<&'static str>,
    pub from: DateTime<Utc>,
    /// When the last one was over; none where one is not.
    pub to: Option<DateTime<Utc>>,
    pub seconds: f64,
    /// Clients that were hit.
    pub clients: usize,
    /// One of them.
    pub client: String,
    /// How often they were, together.
    pub outages: u32,
    /// Of these not over at the end.
    pub open: u32,
}

#[derive(Debug)]
pub(super) struct Outages {
    groups: Vec<Group>,
    /// The newest group of each cause.
    newest: HashMap<(EndpointKey, Reason), usize>,
    /// The group of each client's present outage, and what it met since.
    present: Vec<Option<(usize, Option<Reason>)>>,
}

#[derive(Debug)]
struct Group {
    endpoint: EndpointKey,
    reason: Reason,
    detail: String,
    begin: Moment,
    last_begin: Moment,
    last_end: Moment,
    clients: BTreeSet<ClientKey>,
    outages: u32,
    open: u32,
    met: HashMap<Reason, u32>,
}

impl Outages {
    /// What begins so soon after another of its cause belongs to it.
    const APART: std::time::Duration = std::time::Duration::from_secs(10);

    pub(super) fn new(clients: usize) -> Outages {
        Outages { groups: Vec::new(), newest: HashMap::new(), present: vec![None; clients] }
    }

    /// There are so many clients from now on, with those that are gone.
    pub(super) fn revise(&mut self, clients: usize) {
        self.present.resize(clients, None);
    }

    pub(super) fn begin(&mut self, at: Moment, client: ClientKey, endpoint: EndpointKey, reason: Reason, detail: &str) {
        let known = self.newest.get(&(endpoint, reason)).copied();
        let place = known.filter(|&n| at.since(self.groups[n].last_begin) < Self::APART).unwrap_or_else(|| {
            self.groups.push(Group {
                endpoint,
                reason,
                detail: detail.to_owned(),
                begin: at,
                last_begin: at,
                last_end: at,
                clients: BTreeSet::new(),
                outages: 0,
                open: 0,
                met: HashMap::new(),
            });
            self.groups.len() - 1
        });
        self.newest.insert((endpoint, reason), place);
        let group = &mut self.groups[place];
        group.begin = group.begin.min(at);
        group.last_begin = group.last_begin.max(at);
        group.clients.insert(client);
        group.outages += 1;
        group.open += 1;
        self.present[client.index()] = Some((place, None));
    }

    /// Notes what a client that is down met.
    pub(super) fn explain(&mut self, client: ClientKey, to: State, reason: Reason) {
        let is_met = matches!(to, State::Backoff | State::Failed | State::Held)
            && !matches!(reason, Reason::EndpointUnknown | Reason::RetriesExhausted);
        if let Some((_, met)) = self.present[client.index()].as_mut().filter(|_| is_met) {
            *met = Some(reason);
        }
    }

    /// Forgets what is over.
    pub(super) fn restart(&mut self) {
        self.newest.retain(|_, place| self.groups[*place].open > 0);
        for group in &mut self.groups {
            (group.clients, group.met) = Default::default();
            group.outages = group.open;
        }
        for (client, present) in (0..).map(ClientKey).zip(&self.present) {
            if let Some((place, _)) = present {
                self.groups[*place].clients.insert(client);
            }
        }
    }

    pub(super) fn end(&mut self, at: Moment, client: ClientKey) {
        if let Some((place, met)) = self.present[client.index()].take() {
            let group = &mut self.groups[place];
            group.open -= 1;
            group.last_end = group.last_end.max(at);
            if let Some(met) = met.filter(|met| *met != group.reason) {
                *group.met.entry(met).or_default() += 1;
            }
        }
    }

    /// All of them, the earliest first, as of `end`.
    pub(super) fn told(&self, fleet: &Fleet, end: Moment, anchor: &Anchor) -> Vec<Outage> {
        let mut met: Vec<HashMap<Reason, u32>> = self.groups.iter().map(|group| group.met.clone()).collect();
        for (place, reason) in self.present.iter().flatten() {
            if let Some(reason) = reason.filter(|reason| *reason != self.groups[*place].reason) {
                *met[*place].entry(reason).or_default() += 1;
            }
        }
        let mut told: Vec<(Moment, Outage)> = self
            .groups
            .iter()
            .zip(met)
            .filter(|(group, _)| group.outages > 0)
            .map(|(group, met)| {
                // Of equals the first by name, so that two readings say the same.
                let then = met.into_iter().max_by_key(|(reason, count)| (*count, std::cmp::Reverse(reason.name())));
                let then = then.filter(|(_, count)| count * 2 > group.outages);
                let end = if group.open > 0 { end } else { group.last_end };
                let first = group.clients.first().copied().unwrap_or(ClientKey(0));
                let outage = Outage {
                    endpoint: fleet.endpoint(group.endpoint).name.to_string(),
                    reason: group.reason.name(),
                    words: group.reason.words(),
                    detail: group.detail.clone(),
                    then: then.map(|(reason, _)| reason.name()),
                    from: wall(anchor, group.begin),
                    to: (group.open == 0).then(|| wall(anchor, group.last_end)),
                    seconds: end.since(group.begin).as_secs_f64(),
                    clients: group.clients.len(),
                    client: fleet.client(first).name.to_string(),
                    outages: group.outages,
                    open: group.open,
                };
                (group.begin, outage)
            })
            .collect();
        told.sort_by_key(|(begin, _)| *begin);
        told.into_iter().map(|(_, outage)| outage).collect()
    }
}
