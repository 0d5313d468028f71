//! Defines what most of the unhealthy clients have in common and the others have not, in two findings at most; how it is said is `words`' matter.

use std::{collections::HashSet, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    clock::Moment,
    event::{Condition, Reason, State},
    fleet::{ClientKey, EndpointKey, WorkerKey},
    model::{known::Known, row::Slow, totals::Totals},
    text::Scrubbed,
};

/// A cause that many of the unhealthy share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Insight {
    pub shared: Shared,
    /// Whether they are up and not well, and not down.
    pub are_slow: bool,
    /// The clients that it explains,
    pub clients: u32,
    /// and all that are unhealthy in the same way.
    pub of: u32,
    /// Since when, where they fell ill within [`Insight::TOGETHER`].
    pub since: Option<Moment>,
}

/// What they share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shared {
    /// An endpoint, and why its clients are unhealthy, where they agree.
    Endpoint(EndpointKey, Option<Why>),
    /// A label's value, likewise.
    Label { label: Scrubbed, value: Scrubbed, why: Option<Why> },
    /// Nothing but the reason.
    Reason(Why),
    /// Their worker, which died.
    Worker(WorkerKey),
    /// Their client IDs, which other connections have, too; one of them, and how many different ones.
    ClientId(ClientKey, u32),
    /// Nothing is wrong any more: those that lost their connections queue for new ones.
    Storm { waiting: u32, rate: u32, eta: Duration },
}

impl Shared {
    /// Why they are unhealthy, where they agree.
    pub fn why(&self) -> Option<Why> {
        match self {
            Shared::Endpoint(_, why) | Shared::Label { why, .. } => *why,
            Shared::Reason(why) => Some(*why),
            Shared::Worker(_) | Shared::ClientId(..) | Shared::Storm { .. } => None,
        }
    }
}

/// Why a client is unhealthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Why {
    Down(Reason),
    Slow(Slow),
}

impl Why {
    pub fn words(self) -> &'static str {
        match self {
            Why::Down(reason) => reason.words(),
            Why::Slow(slow) => slow.words(),
        }
    }
}

/// A client that is not well.
#[derive(Clone, Copy)]
struct Sick {
    key: ClientKey,
    why: Why,
    endpoint: EndpointKey,
    since: Moment,
}

impl Insight {
    /// Whether it is about clients and endpoints that a fleet of so many has.
    pub(super) fn fits(&self, clients: usize, endpoints: usize) -> bool {
        match &self.shared {
            Shared::Endpoint(key, _) => key.index() < endpoints,
            Shared::ClientId(key, _) => key.index() < clients,
            Shared::Label { .. } | Shared::Reason(_) | Shared::Worker(_) | Shared::Storm { .. } => true,
        }
    }

    /// Clients that fell ill within this time of each other did so together.
    pub const TOGETHER: Duration = Duration::from_secs(90);
    /// Below so many nothing is said about what they share: any few have something in common.
    const FEW: usize = 3;
    /// Nor below so many, where it is nothing but the reason.
    const FEW_OF_A_REASON: usize = 5;
    /// A cause explains at least this share of the unhealthy,
    const COVERAGE: f64 = 0.8;
    /// is so much more common among them than among the healthy,
    const LIFT: f64 = 2.0;
    /// and would be as common among as many clients taken at random once in so many fleets.
    const CHANCE: f64 = 1e-4;
    /// Waiting clients that make a storm, and for how long they wait.
    const STORM: (u32, Duration) = (50, Duration::from_secs(2));

    /// Looks at a fleet for at most two causes, the one of most clients first. It is a pass over its rows, for
    /// once a second.
    pub(super) fn of(known: &Known) -> Vec<Insight> {
        Insight::explained(known).into_iter().map(|(insight, _)| insight).collect()
    }

    /// The same, each with the clients that it explains.
    pub(super) fn explained(known: &Known) -> Vec<(Insight, Vec<ClientKey>)> {
        let (down, slow) = sick(known, known.fleet().keys());
        let is_returning = |key: &ClientKey| known.row(*key).state == State::Queued && known.row(*key).ever_up;
        let returning = known.fleet().keys().filter(is_returning).count() as u32;
        let failing = down.len() as u32 - known.totals().returning;
        if let Some(storm) = storm(known, returning, failing) {
            let waits = |key: &ClientKey| known.row(*key).state == State::Queued;
            return vec![(storm, known.fleet().keys().filter(waits).collect())];
        }
        let whom = |found: Found| match found.insight.shared {
            // The other ones are about whom it is, too, be they well for the moment.
            Shared::ClientId(..) => {
                let id = |key: &ClientKey| &*known.fleet().client(*key).id;
                let ids: HashSet<&str> = found.clients.iter().map(id).collect();
                (found.insight, known.fleet().keys().filter(|key| ids.contains(id(key))).collect())
            }
            _ => (found.insight, found.clients),
        };
        all_causes(known, &down, &slow).into_iter().map(whom).collect()
    }

    /// The same of some clients only, as of the last [`Known::look`].
    pub fn among(known: &Known, clients: &[ClientKey]) -> Vec<Insight> {
        let (down, slow) = sick(known, clients.iter().copied());
        all_causes(known, &down, &slow).into_iter().map(|found| found.insight).collect()
    }
}

/// Those of these clients that are down, and those that are slow.
fn sick(known: &Known, clients: impl Iterator<Item = ClientKey>) -> (Vec<Sick>, Vec<Sick>) {
    let (mut down, mut slow) = (Vec::new(), Vec::new());
    for (row, key) in clients.map(|key| (known.row(key), key)) {
        let endpoint = row.endpoint;
        if row.is_down() {
            down.push(Sick { key, why: Why::Down(row.reason), endpoint, since: row.since });
        } else if let Some(why) = row.slow {
            slow.push(Sick { key, why: Why::Slow(why), endpoint, since: row.late.unwrap_or(row.slow_since) });
        }
    }
    (down, slow)
}

fn all_causes(known: &Known, down: &[Sick], slow: &[Sick]) -> Vec<Found> {
    let mut causes = causes(known, down, false);
    causes.extend(self::causes(known, slow, true));
    causes.sort_by_key(|found| std::cmp::Reverse(found.insight.clients));
    causes.truncate(2);
    causes
}

fn storm(known: &Known, returning: u32, failing: u32) -> Option<Insight> {
    let gates = (0..known.fleet().endpoints.len() as u16).filter_map(|n| known.gate(EndpointKey(n)));
    let open = gates.filter(|gate| gate.condition == Condition::Open && gate.waiting > 0);
    let (waiting, rate, eta) = open.fold((0u32, 0u32, Duration::ZERO), |(waiting, rate, eta), gate| {
        (waiting.saturating_add(gate.waiting), rate.saturating_add(gate.rate), eta.max(gate.eta))
    });
    // A fleet that starts queues, too. And while most still fail, why they do is worth more.
    let is_storm =
        waiting >= Insight::STORM.0 && eta >= Insight::STORM.1 && returning >= waiting / 2 && waiting >= failing;
    is_storm.then_some(Insight {
        shared: Shared::Storm { waiting, rate, eta },
        are_slow: false,
        clients: waiting,
        of: waiting,
        since: None,
    })
}

/// A cause, whom of the sick it explains, and whom not.
struct Found {
    insight: Insight,
    clients: Vec<ClientKey>,
    rest: Vec<Sick>,
}

/// What the sick share: most of them one thing, and the rest maybe another; or most of them one of two.
fn causes(known: &Known, sick: &[Sick], are_slow: bool) -> Vec<Found> {
    let one = shared(known, sick, are_slow);
    let is_vague = one.as_ref().is_none_or(|found| matches!(found.insight.shared, Shared::Reason(_)));
    let two = || by_endpoints(known, sick, are_slow).or_else(|| by_reasons(known, sick, are_slow));
    let two = if is_vague { two() } else { None };
    let mut causes = two.unwrap_or_else(|| {
        let Some(first) = one else { return Vec::new() };
        // Few that are left over have something in common, too.
        let is_enough = first.rest.len() >= Insight::FEW_OF_A_REASON;
        let second = shared(known, &first.rest, are_slow).filter(|_| is_enough);
        std::iter::once(first).chain(second).collect()
    });
    causes.iter_mut().for_each(|found| found.insight.of = sick.len() as u32);
    causes
}

/// The two endpoints where most of the sick are, of several endpoints, where nearly all clients of both are sick.
fn by_endpoints(known: &Known, sick: &[Sick], are_slow: bool) -> Option<Vec<Found>> {
    let mut counts = vec![0; known.fleet().endpoints.len()];
    sick.iter().for_each(|one| counts[one.endpoint.index()] += 1);
    let mut worst: Vec<usize> = (0..counts.len()).collect();
    worst.sort_by_key(|n| std::cmp::Reverse(counts[*n]));
    let &[first, second, _, ..] = worst.as_slice() else { return None };
    let size = |n: usize| known.totals_by_endpoint().get(n).map_or(0, Totals::all) as usize;
    let is_dead = |n: usize| counts[n] >= Insight::FEW && counts[n] >= needed(size(n));
    // Where most of the others are sick as well, it is not these two.
    let (there, others) = (counts[first] + counts[second], known.totals().all() as usize - size(first) - size(second));
    let is_most = there >= needed(sick.len()) && (sick.len() - there) * 2 < others;
    (is_most && is_dead(first) && is_dead(second)).then(|| {
        let at = |n: usize| {
            let key = EndpointKey(n as u16);
            let why = agreed(sick.iter().filter(|one| one.endpoint == key));
            found(sick, are_slow, Shared::Endpoint(key, why), |one| one.endpoint == key)
        };
        vec![at(first), at(second)]
    })
}

/// What those share that are sick for one reason and those that are for another, where these are most of them.
fn by_reasons(known: &Known, sick: &[Sick], are_slow: bool) -> Option<Vec<Found>> {
    let counts = counted(sick.iter());
    let &[(first, most), (second, fewer), ..] = counts.as_slice() else { return None };
    if most + fewer < needed(sick.len()) || fewer < Insight::FEW_OF_A_REASON {
        return None;
    }
    let of = |why: Why| {
        let part: Vec<Sick> = sick.iter().filter(|one| one.why == why).copied().collect();
        shared(known, &part, are_slow)
    };
    Some(vec![of(first)?, of(second)?])
}

/// The sick whom a cause explains, and the rest.
fn found(sick: &[Sick], are_slow: bool, shared: Shared, is_one: impl Fn(&Sick) -> bool) -> Found {
    let (mine, rest): (Vec<Sick>, Vec<Sick>) = sick.iter().partition(|one| is_one(one));
    let since = onset(mine.iter().map(|one| one.since).collect());
    let insight = Insight { shared, are_slow, clients: mine.len() as u32, of: sick.len() as u32, since };
    Found { insight, clients: mine.into_iter().map(|one| one.key).collect(), rest }
}

/// What most of the sick share, if it is anything, and who does not.
fn shared(known: &Known, sick: &[Sick], are_slow: bool) -> Option<Found> {
    let found = |shared, is_one: &dyn Fn(&Sick) -> bool| Some(found(sick, are_slow, shared, is_one));
    let needed = needed(sick.len());
    let by = |why| move |one: &Sick| one.why == why;
    let count = |is_one: &dyn Fn(&Sick) -> bool| sick.iter().filter(|one| is_one(one)).count();

    // Two with one ID throw each other off: there is no chance in it, be it a single one.
    let is_twin = |one: &Sick| matches!(one.why, Why::Down(Reason::DuplicateClientId | Reason::SessionTakenOver));
    let twins = || {
        let mut all = sick.iter().filter(|one| is_twin(one));
        let first = all.next()?.key;
        let mut ids: Vec<&str> = vec![&known.fleet().client(first).id];
        ids.extend(all.map(|one| &*known.fleet().client(one.key).id));
        ids.sort_unstable();
        ids.dedup();
        found(Shared::ClientId(first, ids.len() as u32), &is_twin)
    };
    if count(&is_twin) >= needed || sick.len() < Insight::FEW {
        return twins();
    }
    let is_lost = |one: &Sick| matches!(one.why, Why::Down(reason) if reason.is_workers());
    if (needed..=known.fleet().worker_size).contains(&count(&is_lost))
        && let Some(worker) = known.last_worker_death()
    {
        return found(Shared::Worker(worker), &is_lost);
    }
    match place(known, sick, needed) {
        Some(Place::Endpoint(endpoint)) => {
            let is_there = |one: &Sick| one.endpoint == endpoint;
            let why = agreed(sick.iter().filter(|one| is_there(one)));
            found(Shared::Endpoint(endpoint, why), &is_there)
        }
        Some(Place::Group(n)) => {
            let is_there = |one: &Sick| known.groups().of_client(one.key).contains(&n);
            let why = agreed(sick.iter().filter(|one| is_there(one)));
            let group = &known.groups().all()[usize::from(n)];
            let (label, value) = (group.label.clone(), group.value.clone());
            found(Shared::Label { label, value, why }, &is_there)
        }
        None => match agreed(sick.iter()).filter(|_| sick.len() >= Insight::FEW_OF_A_REASON) {
            Some(why) => found(Shared::Reason(why), &by(why)),
            None => twins(),
        },
    }
}

/// How many of so many are enough of them.
fn needed(sick: usize) -> usize {
    (Insight::COVERAGE * sick as f64).ceil() as usize
}

/// The reason that most of them have.
fn agreed<'a>(sick: impl Iterator<Item = &'a Sick>) -> Option<Why> {
    let counts = counted(sick);
    let all = counts.iter().map(|(_, count)| count).sum();
    counts.first().filter(|(_, count)| *count >= needed(all)).map(|(why, _)| *why)
}

/// How many have which reason, the most frequent first.
fn counted<'a>(sick: impl Iterator<Item = &'a Sick>) -> Vec<(Why, usize)> {
    let mut counts: Vec<(Why, usize)> = Vec::new();
    for one in sick {
        match counts.iter_mut().find(|(known, _)| *known == one.why) {
            Some((_, count)) => *count += 1,
            None => counts.push((one.why, 1)),
        }
    }
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts
}

/// Where clients are, on the network or by a label.
#[derive(Clone, Copy)]
enum Place {
    Endpoint(EndpointKey),
    Group(u16),
}

/// The place where most of the sick are, and of whose clients the most are sick.
fn place(known: &Known, sick: &[Sick], needed: usize) -> Option<Place> {
    let fleet = known.fleet();
    let mut by_endpoint = vec![0; fleet.endpoints.len()];
    let mut by_group = vec![0; known.groups().all().len()];
    for one in sick {
        by_endpoint[one.endpoint.index()] += 1;
        known.groups().of_client(one.key).iter().for_each(|group| by_group[usize::from(*group)] += 1);
    }
    let sizes = known.totals_by_endpoint().iter().map(|totals| totals.all());
    let endpoints = (0..).map(EndpointKey).zip(by_endpoint.into_iter().zip(sizes));
    let endpoints = endpoints.map(|(key, counts)| (Place::Endpoint(key), counts));
    let groups = (0..).zip(by_group.into_iter().zip(known.groups().all().iter().map(|group| group.size)));
    let groups = groups.map(|(n, counts)| (Place::Group(n), counts));
    let all = known.totals().all() as usize;
    let mut best: Option<(f64, Place)> = None;
    for (place, (count, size)) in endpoints.chain(groups) {
        let size = (size as usize).max(count);
        if count < needed || !is_telling(count, sick.len(), size, all) {
            continue;
        }
        let score = count as f64 / sick.len() as f64 * (count as f64 / size as f64);
        // An endpoint comes first: where a label says the same, it is the endpoint's.
        if best.is_none_or(|(other, _)| score > other + 1e-9) {
            best = Some((score, place));
        }
    }
    best.map(|(_, place)| place)
}

/// Whether `count` of `sick` clients in a place of `size` out of `all` is more than chance, and a lot
/// more than there are healthy ones in it.
fn is_telling(count: usize, sick: usize, size: usize, all: usize) -> bool {
    let share = count as f64 / sick as f64;
    let healthy = (size - count) as f64 / (all.saturating_sub(sick)).max(1) as f64;
    // By Chernoff's bound for a binomial distribution, of which the count would be drawn by chance.
    let base = size as f64 / all.max(1) as f64;
    let term = |share: f64, base: f64| if share > 0.0 { share * (share / base).ln() } else { 0.0 };
    let distance = term(share, base) + term(1.0 - share, 1.0 - base);
    share >= Insight::LIFT * healthy && share > base && (-(sick as f64) * distance).exp() < Insight::CHANCE
}

/// When it began, where it began for most of them at about the same time: the first eighth may have
/// been ill before.
fn onset(mut onsets: Vec<Moment>) -> Option<Moment> {
    onsets.sort_unstable();
    let (first, last) = (onsets.len() / 8, onsets.len() - 1 - onsets.len() / 8);
    let (begin, end) = (*onsets.get(first)?, *onsets.get(last)?);
    (end.since(begin) <= Insight::TOGETHER).then_some(begin)
}

#[cfg(test)]
mod tests;
