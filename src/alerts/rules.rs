//! Defines when the alert of a rule fires and when it is over, second by second, on whatever time it is told; whom it is told to is `desk`'s matter.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use chrono::{DateTime, Utc};

use crate::{
    clock::{Anchor, Moment},
    event::{Alert, Reason, State},
    fleet::{Client, ClientKey, EndpointKey},
    model::{Known, Row},
    telling::{Condition, Rule},
    text::Scrubbed,
    words,
};

/// A rule, and how it stands.
#[derive(Debug)]
pub struct Watch {
    pub rule: Rule,
    pub phase: Phase,
    /// What the wall clock said when there began to be enough of them.
    pub began: Option<DateTime<Utc>>,
    /// When this program began, where it fired before.
    restored: Option<Moment>,
    /// Its clients, by key.
    members: Vec<Member>,
    flaps: HashMap<ClientKey, Flaps>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Quiet,
    /// There are enough of them, but not for long enough.
    Pending {
        since: Moment,
    },
    Firing {
        since: Moment,
        /// The most clients at a time.
        most: u32,
        /// Since when there are few enough for it to be over.
        calm: Option<Moment>,
    },
}

/// What a rule has found out of a client.
#[derive(Clone, Copy, Debug, Default)]
struct Member {
    /// Whether it is about the client, asked when that was at this endpoint.
    asked: Option<(EndpointKey, bool)>,
    /// Whether its reasons were the client's when that last did not just try again.
    has_reason: bool,
    /// Whether it has come to anything since this program began: it is up, or is not.
    has_settled: bool,
}

/// When a client lost its connection, as far back as a rule looks.
#[derive(Debug, Default)]
struct Flaps {
    /// How many there were at the last look.
    seen: u32,
    times: VecDeque<Moment>,
}

/// Those whom a rule is about, at one moment.
#[derive(Debug, Default)]
pub struct Found {
    /// Those of whom its condition is true,
    pub clients: Vec<ClientKey>,
    /// and all that it looks at.
    pub of: u32,
    /// Those of whom nothing can be said yet: they are on their way since this program began.
    pub unsettled: u32,
}

impl Watch {
    /// A reason of a client that is up is its last news for so long.
    const NEWS: Duration = Duration::from_secs(600);

    pub fn new(rule: Rule) -> Watch {
        let (members, flaps) = Default::default();
        Watch { rule, phase: Phase::Quiet, began: None, restored: None, members, flaps }
    }

    /// The fleet became another one: who its clients are is asked anew.
    pub fn forget_members(&mut self) {
        self.members.clear();
    }

    /// A client has lost its connection so often before anybody looked: when that was is not known.
    pub fn begin(&mut self, client: ClientKey, flaps: u32) {
        if let (Condition::Flaps { .. }, 1..) = (&self.rule.condition, flaps) {
            self.flaps.entry(client).or_insert(Flaps { seen: flaps, times: VecDeque::new() });
        }
    }

    /// It fires since before the run: finds the moment of that, as far back as this host is up.
    pub fn restore(&mut self, now: Moment, wall: DateTime<Utc>) {
        if let (Phase::Firing { since, .. }, Some(began)) = (&mut self.phase, self.began) {
            *since = now - (wall - began).to_std().unwrap_or_default();
            self.restored = Some(now);
        }
    }

    /// Since when it fires, unless it is about to be over.
    pub fn fires_since(&self) -> Option<Moment> {
        match self.phase {
            Phase::Firing { since, calm: None, .. } => Some(since + self.rule.lasting),
            _ => None,
        }
    }

    /// Looks at what is known at the end of a second, of which the wall clock says `wall`. Returns what is to be told:
    /// that it fires, or is over.
    pub fn look(&mut self, known: &Known, now: Moment, wall: DateTime<Utc>) -> Option<Alert> {
        let found = self.find(known, now, wall);
        let count = found.clients.len() as u32;
        let is_enough = count >= self.rule.at_least.of(found.of);
        // Whoever is not up yet since the restart may be as it was before.
        let is_few = count + found.unsettled < self.rule.below.of(found.of) && !self.is_too_early(now);
        self.phase = match self.phase {
            Phase::Quiet | Phase::Pending { .. } if !is_enough => Phase::Quiet,
            Phase::Quiet => {
                self.began = Some(wall);
                Phase::Pending { since: now }
            }
            other => other,
        };
        match self.phase {
            Phase::Pending { since } if now.since(since) >= self.rule.lasting => {
                self.phase = Phase::Firing { since, most: count, calm: None };
                Some(self.alert(known, &found, now, wall))
            }
            Phase::Firing { since, most, calm } => {
                let calm = is_few.then(|| calm.unwrap_or(now));
                self.phase = Phase::Firing { since, most: most.max(count), calm };
                // Whoever it was is well since then, but for how long decides whether that is told.
                if calm.is_none_or(|calm| now.since(calm) < self.rule.calm) {
                    return None;
                }
                let alert = Alert {
                    is_firing: false,
                    first: Vec::new(),
                    cause: Scrubbed::default(),
                    ..self.alert(known, &found, now, wall)
                };
                self.phase = Phase::Quiet;
                Some(alert)
            }
            Phase::Quiet | Phase::Pending { .. } => None,
        }
    }

    /// The alert as it stands; where it fires, with who is concerned now.
    pub fn now(&mut self, known: &Known, now: Moment, wall: DateTime<Utc>) -> Alert {
        let found = self.find(known, now, wall);
        self.alert(known, &found, now, wall)
    }

    /// Whether losses before the restart may still count, of which it does not know.
    fn is_too_early(&self, now: Moment) -> bool {
        match (&self.rule.condition, self.restored) {
            (Condition::Flaps { within, .. }, Some(begin)) => now.since(begin) < *within,
            _ => false,
        }
    }

    fn alert(&self, known: &Known, found: &Found, now: Moment, wall: DateTime<Utc>) -> Alert {
        let count = found.clients.len() as u32;
        let most = match self.phase {
            Phase::Quiet | Phase::Pending { .. } => count,
            Phase::Firing { calm: None, most, .. } if count == 0 => most,
            Phase::Firing { calm: None, .. } => count,
            Phase::Firing { calm: Some(_), most, .. } => most,
        };
        Alert {
            agent: None,
            rule: self.rule.name.clone(),
            severity: self.rule.severity,
            is_firing: true,
            lasted: self.began.and_then(|began| (wall - began).to_std().ok()).unwrap_or_default(),
            clients: most,
            of: found.of,
            first: found.clients.iter().take(Alert::FIRST).copied().collect(),
            cause: Scrubbed::new(&self.cause(known, &found.clients, &Anchor::new(now, wall))),
        }
    }

    /// What they share, in words.
    fn cause(&self, known: &Known, clients: &[ClientKey], anchor: &Anchor) -> String {
        let Some(&first) = clients.first() else { return String::new() };
        let (fleet, row) = (known.fleet(), known.row(first));
        match &self.rule.condition {
            Condition::CertificateEnds(_) => {
                let ends = clients.iter().filter_map(|key| Some((end(known, *key)?, *key)));
                let Some(((end, is_own), key)) = ends.min_by_key(|((end, _), _)| *end) else { return String::new() };
                let whose = match is_own {
                    true => format!("of {}", fleet.client(key).name),
                    false => format!("at endpoint {}", fleet.endpoint(known.row(key).endpoint).name),
                };
                format!("the certificate {whose} ends {}", end.format("%Y-%m-%d %H:%M UTC"))
            }
            Condition::Flaps { more_than, within } => {
                let within = words::figures::wait(*within);
                format!("connections lost more than {more_than} times within {within}")
            }
            _ => {
                let clock = |at: Moment| anchor.utc(at).format("%H:%M UTC").to_string();
                let shared = words::insight::among(known, clients, clock);
                shared.unwrap_or_else(|| match row.slow {
                    Some(slow) if row.is_up() => slow.words().to_owned(),
                    _ => words::reason(row.reason, &row.detail),
                })
            }
        }
    }

    pub fn find(&mut self, known: &Known, now: Moment, wall: DateTime<Utc>) -> Found {
        let fleet = known.fleet();
        let mut found = Found::default();
        self.members.resize(fleet.clients.len(), Member::default());
        for key in fleet.keys() {
            let row = known.row(key);
            let member = &mut self.members[key.index()];
            let is_asked = member.asked.is_some_and(|(endpoint, _)| endpoint == row.endpoint);
            if !is_asked {
                member.asked = Some((row.endpoint, self.rule.matching.is_for(&known.facts(key, now))));
            }
            if !member.asked.is_some_and(|(_, is_one)| is_one) {
                continue;
            }
            found.of += 1;
            member.has_settled |= has_settled(row, fleet.client(key));
            found.unsettled += u32::from(!member.has_settled);
            let is_so = match &self.rule.condition {
                Condition::State(states) => is_in(row, states),
                Condition::Slow => row.is_slow(),
                Condition::Late(least) => row.wait(now).is_some_and(|wait| wait >= *least),
                Condition::Reason(reasons) => {
                    if !is_trying(row) {
                        member.has_reason = reasons.contains(&row.reason);
                    }
                    member.has_reason && (!row.is_up() || now.since(row.since) < Watch::NEWS)
                }
                Condition::CertificateEnds(within) => {
                    end(known, key).is_some_and(|(end, _)| (end - wall).to_std().map_or(true, |left| left <= *within))
                }
                Condition::Flaps { more_than, within } => {
                    let flaps = row.record.flaps();
                    // Most never did.
                    flaps > 0 && {
                        let of = self.flaps.entry(key).or_default();
                        of.look(flaps, now, *within, *more_than as usize + 1);
                        of.times.len() > *more_than as usize
                    }
                }
            };
            if is_so {
                found.unsettled -= u32::from(!member.has_settled);
                found.clients.push(key);
            }
        }
        found
    }
}

impl Flaps {
    fn look(&mut self, flaps: u32, now: Moment, within: Duration, most: usize) {
        let more = flaps.saturating_sub(self.seen) as usize;
        self.seen = flaps;
        self.times.extend(std::iter::repeat_n(now, more.min(most)));
        while self.times.len() > most || self.times.front().is_some_and(|at| now.since(*at) >= within) {
            self.times.pop_front();
        }
    }
}

/// Whether a client is in one of the states. One that is at a step of its next try is where it was before that: else
/// nothing that is tried again would last.
fn is_in(row: &Row, states: &[State]) -> bool {
    let was_there = || is_trying(row) && states.iter().any(|state| matches!(state, State::Backoff | State::Failed));
    states.contains(&row.state) || was_there()
}

/// Whether it is known how a client does: its first try has come to something, or it is not to try.
fn has_settled(row: &Row, client: &Client) -> bool {
    match row.state {
        State::Up | State::Backoff | State::Failed => true,
        State::Off => row.reason != Reason::NotStarted || !client.settings.start_connected,
        State::Held => !matches!(row.reason, Reason::NotStarted | Reason::Start | Reason::EndpointUnknown),
        State::Queued | State::Connecting => false,
    }
}

/// Whether a client should be up, and is at a step of its way back.
fn is_trying(row: &Row) -> bool {
    row.is_down() && matches!(row.state, State::Queued | State::Connecting)
}

/// When the first of the certificates ends that a client depends on, and whether that is its own.
fn end(known: &Known, key: ClientKey) -> Option<(DateTime<Utc>, bool)> {
    let own = known.fleet().client(key).identity.as_ref().and_then(|identity| identity.not_after);
    let server = known.finding(known.row(key).endpoint).and_then(|(_, finding)| finding.certificate()?.not_after);
    [own.map(|end| (end, true)), server.map(|end| (end, false))].into_iter().flatten().min()
}
