//! Defines what an agent knows of its fleet and has not yet written to a store: it is bounded by the number of clients, however long that takes; writing it is done elsewhere.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use crate::{
    clock::{Anchor, Moment},
    event::{Badge, Event, State, Transition, What},
    fleet::{ClientKey, Fleet},
    lines::{self, Row},
    model::Known,
    text::Scrubbed,
};

/// The most changes that wait unfolded.
const FULL: usize = 8_192;
/// When a broker answered last, and how fast, is written so often where nothing else is.
const BEAT: u64 = 30;

/// A change of state that is to be told.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Change {
    pub at: Moment,
    pub step: Transition,
    /// So many changes before it are in it.
    pub folded: u32,
}

/// What is written at once. It is written until that has succeeded.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Batch {
    pub changes: Vec<Change>,
    /// The clients whose rows are written.
    pub rows: BTreeSet<ClientKey>,
    /// The IDs of clients that the fleet has no longer.
    pub gone: BTreeSet<Arc<str>>,
    /// Whether the fleet is another one.
    pub is_revised: bool,
}

/// What is to be written.
#[derive(Default)]
struct Waiting {
    changes: VecDeque<Change>,
    rows: BTreeSet<ClientKey>,
    gone: BTreeSet<Arc<str>>,
    is_revised: bool,
}

/// What is known, and what of that is still to be written.
pub(super) struct Book {
    known: Known,
    anchor: Anchor,
    now: Moment,
    agent: Scrubbed,
    waiting: Waiting,
    /// The changes after the last folding; there is no use in folding again soon.
    folded_to: usize,
    /// What each client's row said last, by key.
    badges: Vec<Badge>,
    /// Seconds so far.
    seconds: u64,
}

impl Book {
    pub fn new(fleet: Arc<Fleet>, anchor: Anchor, agent: Scrubbed) -> Book {
        let badges = vec![Badge::Off; fleet.clients.len()];
        let now = anchor.moment();
        let (waiting, folded_to, seconds) = (Waiting::default(), 0, 0);
        Book { known: Known::new(fleet, now), anchor, now, agent, waiting, folded_to, badges, seconds }
    }

    pub fn fleet(&self) -> &Arc<Fleet> {
        self.known.fleet()
    }

    pub fn agent(&self) -> &Scrubbed {
        &self.agent
    }

    /// Clients, and those of them that are up.
    pub fn counts(&self) -> (u32, u32) {
        let totals = self.known.totals();
        (totals.all(), totals.of(State::Up))
    }

    /// Takes an event in.
    pub fn apply(&mut self, event: &Event) {
        let before = matches!(event.what, What::Fleet(_)).then(|| self.fleet().clone());
        self.known.apply(event);
        event.set_clock(&mut self.anchor);
        self.now = self.now.max(event.at);
        match &event.what {
            What::State(step) if self.fleet().has(step.client) => {
                self.waiting.changes.push_back(Change { at: event.at, step: step.clone(), folded: 0 });
                if self.waiting.changes.len() >= 2 * self.folded_to.max(FULL / 2) {
                    self.fold();
                }
            }
            What::Second(_) => self.look(),
            What::Fleet(_) => self.revise(&before.unwrap_or_else(Fleet::none)),
            _ => {}
        }
    }

    /// Notes the rows that differ from what was written without a change of state: those that time alone made slow, and
    /// by turns those whose brokers have answered since.
    fn look(&mut self) {
        self.seconds += 1;
        let turn = self.seconds % BEAT;
        let recent = self.now - Duration::from_secs(BEAT + 1);
        let fleet = self.fleet().clone();
        for key in fleet.keys() {
            let row = self.known.row(key);
            let is_beat = u64::from(key.0) % BEAT == turn && row.last.is_some_and(|(at, _)| at > recent);
            if is_beat || row.badge() != self.badges[key.index()] {
                self.waiting.rows.insert(key);
            }
        }
    }

    /// The fleet is another one: who is gone goes, who is new or was changed is written.
    fn revise(&mut self, before: &Fleet) {
        let fleet = self.fleet().clone();
        self.badges.resize(fleet.clients.len(), Badge::Off);
        let present: HashSet<&Arc<str>> = fleet.keys().map(|key| &fleet.client(key).id).collect();
        let gone = before.keys().map(|key| &before.client(key).id).filter(|id| !present.contains(id)).cloned();
        self.waiting.gone.extend(gone);
        self.waiting.gone.retain(|id| !present.contains(id));
        let is_new = |key: &ClientKey| !before.has(*key) || before.client(*key) != fleet.client(*key);
        self.waiting.rows.extend(fleet.keys().filter(is_new));
        self.waiting.rows.retain(|key| fleet.has(*key));
        self.waiting.changes.retain(|change| fleet.has(change.step.client));
        self.waiting.is_revised = true;
    }

    /// Leaves one change of each client: from where its first one began, to where its last one led.
    fn fold(&mut self) {
        let mut place: HashMap<ClientKey, usize> = HashMap::new();
        let mut kept: VecDeque<Change> = VecDeque::new();
        for mut change in self.waiting.changes.drain(..) {
            match place.get(&change.step.client) {
                Some(&place) => {
                    let before = &kept[place];
                    change.step.from = before.step.from;
                    change.folded = change.folded.saturating_add(before.folded).saturating_add(1);
                    kept[place] = change;
                }
                None => {
                    place.insert(change.step.client, kept.len());
                    kept.push_back(change);
                }
            }
        }
        self.folded_to = kept.len();
        self.waiting.changes = kept;
    }

    /// Whether anything is to be written.
    pub fn is_any(&self) -> bool {
        self.waiting() > 0
    }

    /// How much is to be written.
    pub fn waiting(&self) -> usize {
        let news = self.waiting.changes.len() + self.waiting.rows.len() + self.waiting.gone.len();
        news + usize::from(self.waiting.is_revised)
    }

    /// The next to be written: about so many rows, and as many changes.
    pub fn take(&mut self, most: usize) -> Batch {
        let count = self.waiting.changes.len().min(most);
        let changes: Vec<Change> = self.waiting.changes.drain(..count).collect();
        self.folded_to = self.folded_to.min(self.waiting.changes.len());
        let changed = changes.iter().map(|change| change.step.client);
        let mut rows: BTreeSet<ClientKey> = changed.collect();
        rows.iter().for_each(|key| {
            self.waiting.rows.remove(key);
        });
        while rows.len() < most
            && let Some(key) = self.waiting.rows.pop_first()
        {
            rows.insert(key);
        }
        // Readers look at the rows once these are there.
        let is_revised = self.waiting.is_revised && self.waiting.rows.is_empty();
        self.waiting.is_revised &= !is_revised;
        Batch { changes, rows, gone: std::mem::take(&mut self.waiting.gone), is_revised }
    }

    /// All rows are about to be written: nothing of them waits any more. What changed is still to be told.
    pub fn all(&mut self) -> Vec<ClientKey> {
        self.waiting.rows.clear();
        self.waiting.gone.clear();
        self.waiting.is_revised = false;
        self.fleet().keys().collect()
    }

    /// Nothing that waits is to be written.
    pub fn forget(&mut self) {
        self.waiting = Waiting::default();
        self.folded_to = 0;
    }

    /// IDs and rows of clients as they stand now, by turns, and notes that these are written.
    pub fn rows<'k>(&mut self, keys: impl IntoIterator<Item = &'k ClientKey>) -> Vec<(Arc<str>, String)> {
        let fleet = self.fleet().clone();
        let present = keys.into_iter().filter(|key| fleet.has(**key));
        present
            .map(|&key| {
                self.badges[key.index()] = self.known.row(key).badge();
                let row = Row::of(&self.known, key, &self.anchor, self.now).stored_by(&self.agent);
                (fleet.client(key).id.clone(), row.line())
            })
            .collect()
    }

    /// Changes as lines, each with its end. Of clients that are gone meanwhile there are none.
    pub fn lines(&self, changes: &[Change]) -> String {
        let present = changes.iter().filter(|change| self.fleet().has(change.step.client));
        present
            .map(|Change { at, step, folded }| {
                lines::json_stored(self.fleet(), &self.anchor, *at, step, *folded, &self.agent) + "\n"
            })
            .collect()
    }

    /// That readers are to look at all rows: they were written anew, or the fleet is another one.
    pub fn written(&self, epoch: u64, clients: usize) -> String {
        lines::json_written(&self.anchor, self.now, &self.agent, epoch, clients) + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        event::Reason,
        fleet::{Client, Endpoint, EndpointKey},
    };

    fn fleet(ids: &[&str]) -> Fleet {
        let client = |id: &&str| Client::new(id, EndpointKey(0), Arc::default());
        Fleet {
            name: Scrubbed::new("f"),
            env: None,
            worker_size: 500,
            endpoints: vec![Endpoint::new("eu-1", "127.0.0.1", 1883)],
            clients: ids.iter().map(client).collect(),
        }
    }

    fn book(ids: &[&str]) -> Book {
        Book::new(Arc::new(fleet(ids)), Anchor::of_line(Moment(0), chrono::Utc::now()), Scrubbed::new("a"))
    }

    fn step(client: u32, from: State, to: State) -> Event {
        let step = Transition {
            client: ClientKey(client),
            endpoint: EndpointKey(0),
            from,
            to,
            reason: if to == State::Up { Reason::Connected } else { Reason::ConnectionLost },
            detail: Scrubbed::default(),
            attempt: 1,
            next_try: None,
        };
        Event { at: Moment(1_000), what: What::State(step) }
    }

    #[test]
    fn a_store_that_is_away_costs_a_change_a_client_and_the_last_row_is_the_present() {
        let mut book = book(&["x", "y"]);
        let mut state = State::Off;
        for n in 0..100_000 {
            let to = if n % 2 == 0 { State::Up } else { State::Backoff };
            book.apply(&step(0, state, to));
            assert!(book.waiting() <= FULL, "{}", book.waiting());
            state = to;
        }
        book.apply(&step(1, State::Off, State::Up));
        book.fold();
        let batch = book.take(500);
        let [first, second] = batch.changes.as_slice() else { panic!("{}", batch.changes.len()) };
        assert_eq!((first.step.from, first.step.to, first.folded), (State::Off, State::Backoff, 99_999));
        assert_eq!((second.step.from, second.folded), (State::Off, 0));
        let rows = book.rows(&batch.rows);
        assert!(rows[0].1.contains("\"state\":\"backoff\"") && rows[1].1.contains("\"state\":\"up\""), "{rows:?}");
        assert!(!book.is_any());
        let lines = book.lines(&batch.changes);
        assert!(lines.starts_with("{\"type\":\"state\",") && lines.contains("\"folded\":99999"), "{lines}");
        assert!(lines.contains("\"agent\":\"a\"") && lines.matches('\n').count() == 2);
    }

    #[test]
    fn who_is_gone_goes_and_who_comes_back_before_that_stays() {
        let mut book = book(&["x", "y", "z"]);
        let revised = |book: &Book, ids: &[&str]| Event {
            at: Moment(2_000),
            what: What::Fleet(Arc::new(book.fleet().revised(fleet(ids)).0)),
        };
        book.apply(&step(1, State::Off, State::Up));
        let event = revised(&book, &["x", "w"]);
        book.apply(&event);
        let batch = book.take(500);
        let gone: Vec<&str> = batch.gone.iter().map(|id| &**id).collect();
        assert_eq!((gone, batch.changes.len()), (vec!["y", "z"], 0), "nothing is told of who is gone");
        let ids: Vec<Arc<str>> = book.rows(&batch.rows).into_iter().map(|(id, _)| id).collect();
        assert_eq!(ids, [Arc::from("w")], "who is as before is not written");
        let event = revised(&book, &["x"]);
        book.apply(&event);
        let event = revised(&book, &["x", "w"]);
        book.apply(&event);
        let batch = book.take(500);
        assert!(batch.gone.is_empty() && batch.rows.len() == 1 && batch.is_revised, "{batch:?}");
        assert!(!book.is_any() && !book.take(500).is_revised);
    }

    #[test]
    fn a_row_is_short_and_no_more_is_taken_than_asked_for() {
        let ids: Vec<String> = (0..2_000).map(|n| format!("press-{n:05}")).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let mut book = book(&ids);
        (0..1_200).for_each(|n| book.apply(&step(n, State::Off, State::Up)));
        let counts: Vec<usize> = (0..3).map(|_| book.take(500).changes.len()).collect();
        assert_eq!(counts, [500, 500, 200]);
        let all = book.all();
        assert_eq!(all.len(), 2_000);
        let rows = book.rows(&all);
        assert!(rows.iter().all(|(_, row)| row.len() < 200), "{}", rows[0].1);
    }
}
