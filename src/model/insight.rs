//! Defines what most of the unhealthy clients have in common and the others have not, in one finding or none; how it is said is `words`' matter.

use std::time::Duration;

use crate::{
    clock::Moment,
    event::{Condition, Reason, State},
    fleet::{ClientKey, EndpointKey, WorkerKey},
    model::{
        known::Known,
        row::{Row, Slow},
    },
    text::Scrubbed,
};

/// The largest cause that the unhealthy share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Insight {
    pub shared: Shared,
    /// Whether they are slow, and not without a connection.
    pub are_slow: bool,
    /// The clients that it explains,
    pub clients: u32,
    /// and all that are unhealthy in the same way.
    pub of: u32,
    /// Since when, where they fell ill within [`Insight::TOGETHER`].
    pub since: Option<Moment>,
}

/// What they share.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// Why a client is unhealthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
struct Sick {
    key: ClientKey,
    why: Why,
    endpoint: EndpointKey,
    since: Moment,
}

impl Insight {
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

    /// Looks at a fleet. It is a pass over its rows, for once a second.
    pub(super) fn of(known: &Known) -> Option<Insight> {
        let (mut failing, mut slow, mut returning) = (Vec::new(), Vec::new(), 0);
        for (row, key) in known.rows().iter().zip(known.fleet().keys()) {
            if is_failing(row) {
                failing.push(Sick { key, why: Why::Down(row.reason), endpoint: row.endpoint, since: row.since });
            } else if let Some(why) = row.slow {
                slow.push(Sick { key, why: Why::Slow(why), endpoint: row.endpoint, since: row.slow_since });
            }
            returning += u32::from(row.state == State::Queued && row.ever_up);
        }
        storm(known, returning, failing.len()).or_else(|| {
            let found = [shared(known, &slow, true), shared(known, &failing, false)];
            found.into_iter().flatten().max_by_key(|insight| insight.clients)
        })
    }
}

/// Whether it has no connection although it should, and is not just waiting for its turn.
fn is_failing(row: &Row) -> bool {
    match row.state {
        State::Backoff | State::Failed => true,
        State::Held => row.reason.is_network() || row.reason.is_brokers() || row.reason.is_workers(),
        State::Connecting => row.attempt > 1 && (row.reason.is_network() || row.reason.is_brokers()),
        State::Up | State::Off | State::Queued => false,
    }
}

fn storm(known: &Known, returning: u32, failing: usize) -> Option<Insight> {
    let gates = (0..known.fleet().endpoints.len() as u16).filter_map(|n| known.gate(EndpointKey(n)));
    let open = gates.filter(|gate| gate.condition == Condition::Open && gate.waiting > 0);
    let (waiting, rate, eta) = open.fold((0u32, 0u32, Duration::ZERO), |(waiting, rate, eta), gate| {
        (waiting.saturating_add(gate.waiting), rate.saturating_add(gate.rate), eta.max(gate.eta))
    });
    // A fleet that starts queues, too. And while most still fail, why they do is worth more.
    let is_storm = waiting >= Insight::STORM.0
        && eta >= Insight::STORM.1
        && returning >= waiting / 2
        && waiting as usize >= failing;
    is_storm.then_some(Insight {
        shared: Shared::Storm { waiting, rate, eta },
        are_slow: false,
        clients: waiting,
        of: waiting,
        since: None,
    })
}

/// What most of the sick share, if it is anything.
fn shared(known: &Known, sick: &[Sick], are_slow: bool) -> Option<Insight> {
    let found = |shared, is_one: &dyn Fn(&Sick) -> bool| {
        let clients = sick.iter().filter(|one| is_one(one)).count() as u32;
        let since = onset(sick.iter().filter(|one| is_one(one)).map(|one| one.since).collect());
        Some(Insight { shared, are_slow, clients, of: sick.len() as u32, since })
    };
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
    let mut counts: Vec<(Why, usize)> = Vec::new();
    let mut all = 0;
    for one in sick {
        all += 1;
        match counts.iter_mut().find(|(known, _)| *known == one.why) {
            Some((_, count)) => *count += 1,
            None => counts.push((one.why, 1)),
        }
    }
    let (why, count) = counts.into_iter().max_by_key(|(_, count)| *count)?;
    (count >= needed(all)).then_some(why)
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
    let all = fleet.clients.len();
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
