//! Defines how the rows of one agent are followed in a store: a fleet as they have it, and then what changes as its events; nothing is written, and what rows do not say is not known.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use redis::cmd;
use serde::Deserialize;

use super::{
    Trouble,
    entry::{Entry, time},
    keys::Keys,
    link::{Link, Linker},
    reader,
};
use crate::{
    clock::{Anchor, Moment},
    event::{Event, Reason, Sample, State, Transition, What},
    fleet::{Client, ClientKey, Endpoint, EndpointKey, Fleet, Probe, ProbeKind, Settings},
    lines::Row,
    model::Known,
    telling,
    text::Scrubbed,
};

/// How long the store holds a question for changes open.
const BLOCK: Duration = Duration::from_millis(500);
/// Entries that are read at once.
const AT_ONCE: usize = 500;
/// What rows say beside the changes is read anew so often.
const FIGURES: Duration = Duration::from_secs(30);

/// An agent, as its rows have it.
pub struct Followed {
    pub fleet: Arc<Fleet>,
    pub known: Known,
    /// What its clock says.
    pub begin: Anchor,
    /// What happens after that.
    pub follower: Follower,
}

/// Hears what becomes of the rows of an agent.
pub struct Follower {
    link: Link,
    keys: Keys,
    agent: Scrubbed,
    /// What the fleet is called.
    name: Scrubbed,
    clock: Clock,
    /// The entry of the stream that was read last.
    last: String,
    /// The agent's registration.
    epoch: Option<u64>,
    /// The same, and the number of its entry there, once one was read.
    place: Option<(u64, u64)>,
    known: Known,
    clients: HashMap<Scrubbed, ClientKey>,
    looked: Instant,
    scanned: Instant,
    is_stale: bool,
}

/// One reading of this host's clock and of that which rows are by.
#[derive(Clone, Copy)]
struct Clock {
    moment: Moment,
    wall: DateTime<Utc>,
}

impl Clock {
    fn moment(&self, stamp: &str) -> Moment {
        let wall = time(stamp).unwrap_or(self.wall);
        self.moment.moved((wall - self.wall).num_microseconds().unwrap_or(0))
    }

    fn now(&self) -> DateTime<Utc> {
        self.wall + chrono::Duration::microseconds(Moment::now().since(self.moment).as_micros() as i64)
    }
}

/// A change of state, as the stream has it.
#[derive(Deserialize)]
struct Change {
    ts: Scrubbed,
    client: Scrubbed,
    endpoint: Scrubbed,
    from: State,
    to: State,
    reason: Reason,
    detail: Scrubbed,
    attempt: u32,
    next_try_ms: Option<u64>,
}

/// The agents of a fleet that are there, by name.
///
/// # Errors
/// Why the store does not say so.
pub async fn present(store: &telling::Store, fleet: &str) -> Result<Vec<Scrubbed>, Trouble> {
    let keys = Keys::new(fleet);
    let link = Linker::new(store.clone(), "attach", keys.agents()).connect().await?;
    let agents = reader::agents(&link, &keys).await?;
    Ok(agents.into_iter().filter(|agent| agent.is_here).map(|agent| agent.name).collect())
}

/// Follows an agent; `name` is what its fleet is to be called.
///
/// # Errors
/// Where it is not there, or its rows cannot be read.
pub async fn follow(
    store: &telling::Store,
    fleet: &str,
    agent: &Scrubbed,
    name: &Scrubbed,
) -> Result<Followed, Trouble> {
    let keys = Keys::new(fleet);
    let link = Linker::new(store.clone(), "attach", keys.agents()).connect().await?;
    // Whatever comes from here on is heard; some of it the rows say already.
    let last = newest(&link, &keys).await?;
    let entry: Option<String> = link.run(cmd("HGET").arg(keys.agents()).arg(agent.as_str())).await?;
    let entry = entry.and_then(|entry| serde_json::from_str::<Entry>(&entry).ok());
    let ahead = chrono::Duration::milliseconds(entry.map_or(0, |entry| entry.clock_ms));
    let clock = Clock { moment: Moment::now(), wall: reader::now(&link).await? + ahead };
    let rows = reader::rows(&link, &keys, agent).await?;
    let fleet = Arc::new(fleet_of(&rows, name));
    let begin = rows.iter().map(|row| clock.moment(&row.since)).min().unwrap_or(clock.moment);
    let mut follower = Follower {
        link,
        keys,
        agent: agent.clone(),
        name: name.clone(),
        clock,
        last,
        epoch: None,
        place: None,
        known: Known::new(fleet.clone(), begin),
        clients: HashMap::new(),
        looked: Instant::now(),
        scanned: Instant::now(),
        is_stale: false,
    };
    follower.look().await?;
    follower.index();
    let mut events = follower.differing(&rows);
    events.sort_by_key(|event| event.at);
    events.iter().for_each(|event| follower.known.apply(event));
    // How often each came up again its row alone says.
    let now = Moment::now();
    let mut known = Known::new(fleet.clone(), begin);
    let again: HashMap<ClientKey, u32> = rows
        .iter()
        .filter_map(|row| Some((*follower.clients.get(&row.client)?, row.reconnects.unwrap_or(0))))
        .collect();
    for mut event in follower.known.standings(now) {
        if let What::Standing(standing) = &mut event.what {
            standing.ups = standing.ups.max(1).saturating_add(again.get(&standing.client).copied().unwrap_or(0));
        }
        known.apply(&event);
    }
    known.apply(&Event { at: now, what: What::Second(clock.now()) });
    follower.known = known.clone();
    Ok(Followed { fleet, known, begin: Anchor::of_line(clock.moment, clock.wall), follower })
}

/// The last entry of the stream.
async fn newest(link: &Link, keys: &Keys) -> Result<String, Trouble> {
    let mut ask = cmd("XREVRANGE");
    ask.arg(keys.events()).arg("+").arg("-").arg("COUNT").arg(1);
    let newest: Vec<(String, Vec<String>)> = link.run(&ask).await?;
    Ok(newest.into_iter().next().map_or("0-0".to_owned(), |(id, _)| id))
}

/// The fleet that rows are about.
fn fleet_of(rows: &[Row], name: &Scrubbed) -> Fleet {
    // Nothing is measured here, so that nobody is taken for silent.
    let probe = Probe { kind: ProbeKind::Off, ..Settings::default().probe };
    let settings = Arc::new(Settings { probe, ..Settings::default() });
    let mut endpoints: Vec<Endpoint> = Vec::new();
    let mut places: BTreeMap<&Scrubbed, EndpointKey> = BTreeMap::new();
    let mut clients = Vec::with_capacity(rows.len());
    for row in rows {
        let place = *places.entry(&row.endpoint).or_insert_with(|| {
            endpoints.push(Endpoint::new(&row.endpoint, &row.endpoint, 0));
            EndpointKey((endpoints.len() - 1) as u16)
        });
        let labels = Arc::new(row.labels.clone().unwrap_or_default());
        clients.push(Client { labels, ..Client::new(&row.client, place, settings.clone()) });
    }
    Fleet { name: name.clone(), env: None, worker_size: 1, endpoints, clients }
}

impl Follower {
    /// Waits for what happens next; at least every second it is told what time it is.
    ///
    /// # Errors
    /// Where the agent is gone, or the store.
    pub async fn next(&mut self) -> Result<Vec<Event>, Trouble> {
        loop {
            let mut events = self.read().await?;
            if self.looked.elapsed() >= Duration::from_secs(1) {
                self.looked = Instant::now();
                self.look().await?;
                events.push(Event { at: Moment::now(), what: What::Second(self.clock.now()) });
            }
            if self.is_stale || self.scanned.elapsed() >= FIGURES {
                (self.scanned, self.is_stale) = (Instant::now(), false);
                let rows = reader::rows(&self.link, &self.keys, &self.agent).await?;
                events.extend(self.revised(&rows));
                let differing = self.differing(&rows);
                differing.iter().for_each(|event| self.known.apply(event));
                events.extend(differing);
            }
            if !events.is_empty() {
                return Ok(events);
            }
        }
    }

    /// Whether the agent is there. Where it has registered anew, so that the stream may be another one by now, what comes
    /// is read from here on.
    async fn look(&mut self) -> Result<(), Trouble> {
        let held: Option<String> = self.link.run(cmd("GET").arg(self.keys.presence(&self.agent))).await?;
        let gone = || Trouble::new(&format!("agent {} has not been heard of for its lease", self.agent));
        let epoch = held.ok_or_else(gone)?.split(':').next().and_then(|epoch| epoch.parse().ok());
        if self.epoch.is_some() && self.epoch != epoch {
            self.last = newest(&self.link, &self.keys).await?;
            (self.place, self.is_stale) = (None, true);
        }
        self.epoch = epoch;
        Ok(())
    }

    /// The changes that the stream has next.
    async fn read(&mut self) -> Result<Vec<Event>, Trouble> {
        let mut ask = cmd("XREAD");
        ask.arg("COUNT").arg(AT_ONCE).arg("BLOCK").arg(BLOCK.as_millis() as u64);
        ask.arg("STREAMS").arg(self.keys.events()).arg(&self.last);
        type Entries = Vec<(String, Vec<String>)>;
        let read: Option<Vec<(String, Entries)>> = self.link.run(&ask).await?;
        let mut events = Vec::new();
        for (id, fields) in read.into_iter().flatten().flat_map(|(_, entries)| entries) {
            self.last = id;
            let of = |name: &str| fields.chunks_exact(2).find(|pair| pair[0] == name).map_or("", |pair| &pair[1]);
            let number = |name: &str| of(name).parse::<u64>().unwrap_or(0);
            if of("agent") != self.agent.as_str() {
                continue;
            }
            let place = (number("epoch"), number("seq"));
            let is_next = self.place.is_none_or(|(epoch, seq)| place == (epoch, seq + 1));
            if self.place.is_some_and(|before| place <= before) {
                continue;
            }
            self.is_stale |= !is_next;
            self.place = Some(place);
            for line in of("lines").lines() {
                match serde_json::from_str::<Change>(line) {
                    Ok(change) => events.extend(self.event(change)),
                    Err(_) => self.is_stale = true, // all of its rows are to be looked at
                }
            }
        }
        events.iter().for_each(|event| self.known.apply(event));
        Ok(events)
    }

    fn event(&mut self, change: Change) -> Option<Event> {
        let found = self.clients.get(&change.client).copied().zip(self.endpoint(&change.endpoint));
        let Some((client, endpoint)) = found else {
            self.is_stale = true; // it is new
            return None;
        };
        let Change { ts, from, to, reason, detail, attempt, next_try_ms, .. } = change;
        let next_try = next_try_ms.map(Duration::from_millis);
        let step = Transition { client, endpoint, from, to, reason, detail, attempt, next_try };
        Some(Event { at: self.clock.moment(&ts), what: What::State(step) })
    }

    fn endpoint(&self, name: &str) -> Option<EndpointKey> {
        let fleet = self.known.fleet();
        fleet.endpoint_keys().find(|key| fleet.endpoint(*key).name.as_str() == name)
    }

    fn index(&mut self) {
        let fleet = self.known.fleet().clone();
        self.clients = fleet.keys().map(|key| (fleet.client(key).name.clone(), key)).collect();
    }

    /// The fleet of these rows, where it is another one.
    fn revised(&mut self, rows: &[Row]) -> Option<Event> {
        let (fleet, _) = self.known.fleet().revised(fleet_of(rows, &self.name));
        if fleet == **self.known.fleet() {
            return None;
        }
        let event = Event { at: Moment::now(), what: What::Fleet(Arc::new(fleet)) };
        self.known.apply(&event);
        self.index();
        Some(event)
    }

    /// What rows say that is not known.
    fn differing(&self, rows: &[Row]) -> Vec<Event> {
        let mut events = Vec::new();
        for row in rows {
            let found = self.clients.get(&row.client).copied().zip(self.endpoint(&row.endpoint));
            let Some((client, endpoint)) = found else { continue };
            let known = self.known.row(client);
            let state = State::ALL.into_iter().find(|state| state.name() == row.state.as_str());
            let Some(to) = state else { continue };
            if (known.state, known.endpoint) != (to, endpoint) {
                let reason = Reason::ALL.into_iter().find(|reason| reason.name() == row.reason.as_str());
                let step = Transition {
                    client,
                    endpoint,
                    from: known.state,
                    to,
                    reason: reason.unwrap_or(Reason::Internal),
                    detail: row.detail.clone().unwrap_or_default(),
                    attempt: row.attempt.unwrap_or(0),
                    next_try: None,
                };
                events.push(Event { at: self.clock.moment(&row.since), what: What::State(step) });
            }
            if let (State::Up, Some(beat), Some(rtt)) = (to, &row.beat, row.latency_us) {
                let at = self.clock.moment(beat);
                if known.last.is_none_or(|(last, _)| last < at) {
                    let sample = Sample { client, probe: ProbeKind::Off, rtt: Duration::from_micros(rtt) };
                    events.push(Event { at, what: What::Sample(sample) });
                }
            }
        }
        events
    }
}
