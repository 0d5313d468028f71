//! Defines how an agent keeps its rows in a store: it registers, writes what changes, and writes everything anew where the store has lost something; the fleet never waits for it.

use std::{collections::HashSet, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use tokio::time::{Instant, sleep_until};

use super::{
    Trouble,
    book::{Batch, Book},
    entry::{Entry, stamp},
    keys::Keys,
    link::{Link, Linker, Server},
    steps::{Answer, Parcel, Registered, Steps, To},
};
use crate::{
    bus::{Bus, Subscription},
    clock::Moment,
    event::{Event, Level, What},
    fleet::{ClientKey, Fleet},
    telling,
    text::Scrubbed,
    words::figures,
};

/// So long changes are gathered before they are written together, and at most so many: it is most of what a reader waits.
const GATHER: Duration = Duration::from_millis(20);
const AT_ONCE: usize = 500;
/// Rows in one step while all are written: nobody else waits long for the store.
const OF_ALL: usize = 1_000;
/// An agent is heard of so often, even where nothing changes: a store that lost its rows is found out as soon.
const RENEW: Duration = Duration::from_secs(1);
/// Between two tries to connect: the first, and the longest.
const SOON: Duration = Duration::from_millis(50);
const LATE: Duration = Duration::from_millis(500);
/// All rows are written anew no more often than this, whatever becomes of them there.
const REWRITE: Duration = Duration::from_secs(1);
/// The same is told again no earlier than this.
const TOLD: Duration = Duration::from_secs(60);
/// Clocks that differ by more are told of.
const CLOCKS: i64 = 2_000;

/// Writes for as long as its bus lives.
pub(super) struct Writer {
    book: Book,
    events: Subscription,
    bus: Bus,
    linker: Linker,
    fleet: Scrubbed,
    steps: Steps,
    /// Since when it writes there.
    begin: DateTime<Utc>,
    /// Whether the store has all rows.
    is_whole: bool,
    /// What is written until that has succeeded.
    parcel: Option<Parcel>,
    renewed: Instant,
    rewritten: Option<Instant>,
    /// How much this host's clock is ahead of the store's, in milliseconds.
    ahead: i64,
    /// Since when the store is not to be had.
    away: Option<Instant>,
    lost_told: Option<Instant>,
    doubts: HashSet<String>,
    is_greeted: bool,
    is_closed: bool,
}

/// Why nothing is written any more over a connection.
enum End {
    /// The run is over, and all is written.
    Over,
    Lost(Trouble),
    Fenced(Option<Entry>),
}

impl Writer {
    pub fn new(store: telling::Store, fleet: Arc<Fleet>, bus: Bus, events: Subscription) -> Writer {
        let (agent, name) = (store.agent.clone(), fleet.name.clone());
        Writer {
            steps: Steps::new(&store, &name),
            book: Book::new(fleet, bus.begin(), agent.clone()),
            events,
            bus,
            linker: Linker::new(store, &agent, Keys::new(&name).agents()),
            fleet: name,
            begin: Utc::now(),
            is_whole: false,
            parcel: None,
            renewed: Instant::now(),
            rewritten: None,
            ahead: 0,
            away: None,
            lost_told: None,
            doubts: HashSet::new(),
            is_greeted: false,
            is_closed: false,
        }
    }

    /// Writes until the run is over.
    ///
    /// # Errors
    /// Why the store does not have what happened last.
    pub async fn run(mut self) -> Result<(), Trouble> {
        let mut wait = SOON;
        loop {
            let connected = self.linker.connect().await;
            let end = match &connected {
                Ok(link) => {
                    wait = SOON;
                    self.serve(link).await
                }
                Err(trouble) => End::Lost(trouble.clone()),
            };
            drop(connected);
            match end {
                End::Over => return Ok(()),
                End::Fenced(other) => self.stand_aside(other).await,
                End::Lost(trouble) if self.is_closed => return Err(trouble),
                End::Lost(trouble) => self.lose(&trouble),
            }
            if self.is_closed && self.book.waiting() == 0 && self.parcel.is_none() {
                return Ok(());
            }
            self.rest(wait).await;
            wait = (2 * wait).min(LATE);
        }
    }

    /// Writes over a connection, for as long as that is possible.
    async fn serve(&mut self, link: &Link) -> End {
        self.look_at(&link.server);
        loop {
            if !self.is_whole {
                match self.write_all(link).await {
                    Ok(Answer::Done(_)) => self.is_whole = true,
                    Ok(Answer::Unknown(_)) => continue,
                    Ok(Answer::Fenced(other)) => return End::Fenced(other),
                    Err(trouble) => return End::Lost(trouble),
                }
            }
            let parcel = match self.parcel.take() {
                Some(parcel) => parcel,
                None => {
                    self.gather().await;
                    let batch = self.book.take(AT_ONCE);
                    self.pack(batch)
                }
            };
            let is_renewed = self.renewed.elapsed() >= self.pace() || self.is_closed;
            match self.write(link, To::Rows, &parcel, is_renewed).await {
                Ok(Answer::Done(_)) if self.is_closed && !self.book.is_any() => {
                    return self.steps.leave(link, self.entry()).await.map_or_else(End::Lost, |()| End::Over);
                }
                Ok(Answer::Done(_)) => self.greet(),
                Ok(Answer::Unknown(why)) => {
                    // Its rows are among all that are written next; what changed is still to be told.
                    self.parcel = Some(Parcel { lines: parcel.lines, ..Parcel::default() });
                    self.miss(&why);
                }
                Ok(Answer::Fenced(other)) => return End::Fenced(other),
                Err(trouble) => {
                    self.parcel = Some(parcel);
                    return End::Lost(trouble);
                }
            }
        }
    }

    /// Waits until something is to be written, and a little longer for what comes with it; or until it is time to be
    /// heard of.
    async fn gather(&mut self) {
        let renew = self.renewed + self.pace();
        let mut due = self.book.is_any().then(|| Instant::now() + GATHER);
        while !self.is_closed && self.book.waiting() < AT_ONCE {
            let until = due.map_or(renew, |due| due.min(renew));
            if Instant::now() >= until {
                return;
            }
            tokio::select! {
                events = self.events.next() => {
                    self.take_in(events);
                    if self.book.is_any() {
                        due.get_or_insert(Instant::now() + GATHER);
                    }
                }
                () = sleep_until(until) => {}
            }
        }
    }

    /// Does nothing but hear what happens, for so long.
    async fn rest(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while !self.is_closed && Instant::now() < end {
            tokio::select! {
                events = self.events.next() => self.take_in(events),
                () = sleep_until(end) => {}
            }
        }
    }

    fn take_in(&mut self, events: Option<Vec<Event>>) {
        match events {
            Some(events) => events.iter().for_each(|event| self.book.apply(event)),
            None => self.is_closed = true,
        }
    }

    fn pack(&mut self, batch: Batch) -> Parcel {
        let mut lines = self.book.lines(&batch.changes);
        if batch.is_revised {
            lines += &self.book.written(self.steps.epoch(), self.book.counts().0 as usize);
        }
        Parcel { lines, rows: self.book.rows(&batch.rows), gone: batch.gone.into_iter().collect() }
    }

    /// Registers, and writes all rows, beside those that are there until all of them are.
    async fn write_all(&mut self, link: &Link) -> Result<Answer, Trouble> {
        if let Some(before) = self.rewritten {
            self.rest(REWRITE.saturating_sub(before.elapsed())).await;
        }
        self.rewritten = Some(Instant::now());
        self.register(link).await?;
        let all: Vec<ClientKey> = self.book.all();
        for keys in all.chunks(OF_ALL) {
            let parcel = Parcel { rows: self.book.rows(keys), ..Parcel::default() };
            match self.write(link, To::New, &parcel, false).await? {
                Answer::Done(_) => {}
                other => return Ok(other),
            }
        }
        let lines = self.book.written(self.steps.epoch(), all.len());
        self.write(link, To::Done, &Parcel { lines, ..Parcel::default() }, true).await
    }

    async fn register(&mut self, link: &Link) -> Result<(), Trouble> {
        let Registered { clock, before } = self.steps.register(link, self.entry()).await?;
        self.set_clock(clock);
        if let Some(other) = before {
            let who = other.map_or("one that said nothing of itself".to_owned(), |other| other.words());
            let words = format!(
                "this agent takes the name {} over from {who}, which was heard of just now: if that one is to go on, give one \
                 of them another name ([store] agent)",
                self.book.agent()
            );
            self.tell(Level::Warning, &words);
        }
        Ok(())
    }

    async fn write(&mut self, link: &Link, to: To, parcel: &Parcel, is_renewed: bool) -> Result<Answer, Trouble> {
        let entry = is_renewed.then(|| self.entry());
        let answer = self.steps.write(link, to, parcel, entry).await?;
        if let Answer::Done(clock) = answer {
            self.set_clock(clock);
            self.renewed = if is_renewed { Instant::now() } else { self.renewed };
        }
        Ok(answer)
    }

    /// Another agent has this one's name: nothing is written until nobody has it.
    async fn stand_aside(&mut self, other: Option<Entry>) {
        let (agent, fleet) = (self.book.agent().clone(), self.fleet.clone());
        let who = other.map_or("another agent".to_owned(), |other| other.words());
        let words = format!(
            "{who} is called {agent} in the store of fleet {fleet}, too, and has taken the name over: this agent writes nothing \
             there any more; give one of them another name ([store] agent), or end one"
        );
        self.tell(Level::Error, &words);
        self.is_whole = false;
        self.away = None;
        let mut is_free = false;
        while !is_free {
            self.rest(self.linker.store().lease / 3).await;
            (self.parcel, self.lost_told) = (None, None);
            self.book.forget();
            if self.is_closed {
                return;
            }
            is_free = match self.linker.connect().await {
                Ok(link) => self.steps.is_free(&link).await == Ok(true),
                Err(_) => false,
            };
        }
        self.tell(Level::Info, &format!("the name {agent} is free again: this agent writes to the store again"));
    }

    /// Says what is doubtful about a store; of each doubt once.
    fn look_at(&mut self, server: &Server) {
        if let Some(doubt) = server.doubt()
            && self.doubts.insert(doubt.clone())
        {
            self.tell(Level::Warning, &doubt);
        }
    }

    fn lose(&mut self, trouble: &Trouble) {
        if self.away.is_none() {
            self.away = Some(Instant::now());
            let words = format!(
                "the store is not to be had: {trouble}; the fleet goes on, and what changes is written when the store is back"
            );
            self.tell(Level::Warning, &words);
        }
    }

    /// Says that it is there, for the first time or again.
    fn greet(&mut self) {
        let clients = figures::clients(self.steps.rows());
        let words = match self.away.take() {
            Some(since) => {
                format!("the store is back after {}, and has the rows of {clients}", figures::wait(since.elapsed()))
            }
            None if self.is_greeted => return,
            None => {
                let (store, agent) = (self.linker.store(), self.book.agent());
                format!("the rows of {clients} are in the store {store}, by the name of agent {agent}")
            }
        };
        self.is_greeted = true;
        self.tell(Level::Info, &words);
    }

    /// Something is missing in the store.
    fn miss(&mut self, why: &str) {
        self.is_whole = false;
        // What comes of its absence needs no words of its own.
        let is_told = self.away.is_some() || self.lost_told.is_some_and(|told| told.elapsed() < TOLD);
        if !is_told {
            self.lost_told = Some(Instant::now());
            let clients = figures::clients(self.book.counts().0);
            self.tell(
                Level::Warning,
                &format!("the store lacks something ({why}): the rows of {clients} are written anew"),
            );
        }
    }

    /// The store's clock says so many milliseconds.
    fn set_clock(&mut self, clock: i64) {
        self.ahead = Utc::now().timestamp_millis() - clock;
        if self.ahead.abs() > CLOCKS && self.doubts.insert("clock".to_owned()) {
            let by = figures::wait(Duration::from_millis(self.ahead.unsigned_abs()));
            let way = if self.ahead > 0 { "ahead of" } else { "behind" };
            let words = format!(
                "this host's clock is {by} {way} the store's: the times of rows and changes there are this host's"
            );
            self.tell(Level::Warning, &words);
        }
    }

    fn pace(&self) -> Duration {
        RENEW.min(self.linker.store().lease / 3)
    }

    fn entry(&self) -> String {
        let by_store = |time: DateTime<Utc>| stamp(time - chrono::Duration::milliseconds(self.ahead));
        let (clients, up) = self.book.counts();
        let entry = Entry {
            agent: self.book.agent().clone(),
            host: Scrubbed::new(&rustix::system::uname().nodename().to_string_lossy()),
            pid: std::process::id(),
            version: Scrubbed::new(env!("CARGO_PKG_VERSION")),
            clients,
            up,
            begin: by_store(self.begin),
            beat: by_store(Utc::now()),
            lease_ms: self.linker.store().lease.as_millis() as u64,
            clock_ms: self.ahead,
        };
        // Strings and numbers always have a JSON form.
        serde_json::to_string(&entry).unwrap_or_default()
    }

    fn tell(&self, level: Level, text: &str) {
        let what = What::Notice { level, text: Scrubbed::new(text) };
        self.bus.publish([Event { at: Moment::now(), what }]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Anchor, telling::Servers};

    #[tokio::test]
    async fn a_clock_that_is_off_is_told_once_and_what_is_said_there_is_by_the_store_s() {
        let bus = Bus::new(Anchor::now());
        let mut heard = bus.subscribe("test");
        let store = telling::Store::new(Servers::One("127.0.0.1".into(), 1), "hall-3");
        let events = bus.subscribe("store");
        let mut writer = Writer::new(store, Fleet::none(), bus, events);
        let hour_ago = (Utc::now() - chrono::Duration::hours(1)).timestamp();
        writer.set_clock(hour_ago * 1_000);
        writer.set_clock(hour_ago * 1_000);
        let told: Vec<String> = heard
            .next()
            .await
            .expect("events")
            .into_iter()
            .filter_map(|event| if let What::Notice { text, .. } = event.what { Some(text.to_string()) } else { None })
            .collect();
        let [told] = told.as_slice() else { panic!("{told:?}") };
        assert!(told.starts_with("this host's clock is 60 min ahead of the store's"), "{told}");
        let entry: Entry = serde_json::from_str(&writer.entry()).expect("an entry");
        assert!((3_599_000..=3_602_000).contains(&entry.clock_ms), "{entry:?}");
        let late = entry.heard().expect("a time").timestamp() - hour_ago;
        assert!((0..=2).contains(&late), "{entry:?}");
    }
}
