//! Defines how an agent keeps its rows in a store: it registers, writes what changes, and writes everything anew where the store has lost something; the fleet never waits for it.

use std::{collections::HashSet, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use redis::cmd;
use tokio::time::{Instant, sleep_until};

use super::{
    Trouble,
    book::{Batch, Book},
    entry::{Entry, stamp},
    keys::Keys,
    link::{Link, Linker, Server},
    script,
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
    keys: Keys,
    fleet: Scrubbed,
    /// Tells this process from others of its name.
    instance: String,
    /// Since when it writes there.
    begin: DateTime<Utc>,
    /// The number of this agent's registration; 0 before the first.
    epoch: u64,
    /// Steps that the store has done since then, and entries of the stream.
    turn: u64,
    seq: u64,
    /// Rows that the store must have.
    rows: i64,
    /// Whether it has all of them.
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

/// What is written in one step. Where its answer is lost, the very same is written again: the store knows it by its turn.
#[derive(Debug, Default)]
struct Parcel {
    lines: String,
    rows: Vec<(Arc<str>, String)>,
    gone: Vec<Arc<str>>,
}

/// Where rows are written to.
#[derive(Clone, Copy)]
enum To {
    Rows,
    /// Beside those that are there, which stay until all are written.
    New,
    /// In place of those.
    Done,
}

/// What became of a step.
enum Answer {
    Done,
    /// The store lacks something: all has to be written anew.
    Unknown(String),
    /// Another agent has the name.
    Fenced(Option<Entry>),
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
        let keys = Keys::new(&name);
        Writer {
            book: Book::new(fleet, bus.begin(), agent.clone()),
            events,
            bus,
            linker: Linker::new(store, &agent, keys.agents()),
            keys,
            fleet: name,
            instance: format!("{:016x}", fastrand::u64(..)),
            begin: Utc::now(),
            epoch: 0,
            turn: 0,
            seq: 0,
            rows: 0,
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
                    Ok(Answer::Done) => self.is_whole = true,
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
            let written = self.write(link, To::Rows, self.rows, &parcel, is_renewed).await;
            match written {
                Ok(Answer::Done) if self.is_closed && !self.book.is_any() => {
                    return self.leave(link).await.map_or_else(End::Lost, |()| End::Over);
                }
                Ok(Answer::Done) => self.greet(),
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
            lines += &self.book.written(self.epoch, self.book.counts().0 as usize);
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
        self.rows = 0;
        for keys in all.chunks(OF_ALL) {
            let parcel = Parcel { rows: self.book.rows(keys), ..Parcel::default() };
            match self.write(link, To::New, self.rows, &parcel, false).await? {
                Answer::Done => {}
                other => return Ok(other),
            }
        }
        let lines = self.book.written(self.epoch, all.len());
        self.write(link, To::Done, self.rows, &Parcel { lines, ..Parcel::default() }, true).await
    }

    async fn register(&mut self, link: &Link) -> Result<(), Trouble> {
        let (agent, lease) = (self.book.agent().clone(), self.linker.store().lease.as_millis() as u64);
        let mut command = cmd("EVAL");
        command.arg(script::register()).arg(4).arg(self.keys.presence(&agent)).arg(self.keys.agents());
        command.arg(self.keys.epochs()).arg(self.keys.new_rows(&agent));
        command.arg(self.epoch).arg(&self.instance).arg(lease).arg(agent.as_str()).arg(self.entry());
        let answer: Vec<String> = link.run(&command).await?;
        let [epoch, before, entry, seconds, micros] = answer.as_slice() else { return Err(nonsense()) };
        self.epoch = epoch.parse().map_err(|_| nonsense())?;
        (self.turn, self.seq) = (0, 0);
        self.set_clock(seconds, micros);
        if !before.is_empty() && *before != self.instance {
            let who = serde_json::from_str::<Entry>(entry).map(|entry| entry.words());
            let who = who.unwrap_or_else(|_| "one that said nothing of itself".to_owned());
            let words = format!(
                "this agent takes the name {agent} over from {who}, which was heard of just now: if that one is to go on, give \
                 one of them another name ([store] agent)"
            );
            self.tell(Level::Warning, &words);
        }
        Ok(())
    }

    /// Takes a step. `expected`: rows that there must be before it.
    async fn write(
        &mut self,
        link: &Link,
        to: To,
        expected: i64,
        parcel: &Parcel,
        is_renewed: bool,
    ) -> Result<Answer, Trouble> {
        let (agent, store) = (self.book.agent().clone(), self.linker.store());
        let mut command = cmd("EVAL");
        command.arg(script::write()).arg(5).arg(self.keys.presence(&agent)).arg(self.keys.agents());
        command.arg(self.keys.rows(&agent)).arg(self.keys.new_rows(&agent)).arg(self.keys.events());
        command.arg(self.epoch).arg(&self.instance).arg(self.turn + 1).arg(store.lease.as_millis() as u64);
        command.arg(agent.as_str()).arg(if is_renewed { self.entry() } else { String::new() }).arg(expected);
        command.arg(match to {
            To::Rows => "rows",
            To::New => "new",
            To::Done => "done",
        });
        command.arg(self.keys.changes()).arg(store.events).arg(self.seq + 1).arg(&parcel.lines);
        command.arg(parcel.gone.len());
        parcel.gone.iter().for_each(|id| {
            command.arg(&**id);
        });
        for (id, row) in &parcel.rows {
            command.arg(&**id).arg(row);
        }
        let answer: Vec<String> = link.run(&command).await?;
        match answer.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["OK", rows, seconds, micros] => {
                self.rows = rows.parse().map_err(|_| nonsense())?;
                self.turn += 1;
                self.seq += u64::from(!parcel.lines.is_empty());
                self.set_clock(seconds, micros);
                if is_renewed {
                    self.renewed = Instant::now();
                }
                Ok(Answer::Done)
            }
            ["UNKNOWN", why] => Ok(Answer::Unknown((*why).to_owned())),
            ["FENCED", entry] => Ok(Answer::Fenced(serde_json::from_str(entry).ok())),
            _ => Err(nonsense()),
        }
    }

    /// Says that this agent is gone, so that nobody has to find it out.
    async fn leave(&mut self, link: &Link) -> Result<(), Trouble> {
        let agent = self.book.agent().clone();
        let mut command = cmd("EVAL");
        command.arg(script::leave()).arg(2).arg(self.keys.presence(&agent)).arg(self.keys.agents());
        command.arg(self.epoch).arg(&self.instance).arg(agent.as_str()).arg(self.entry());
        link.run::<String>(&command).await.map(|_| ())
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
            let mut held = cmd("EXISTS");
            held.arg(self.keys.presence(&agent));
            is_free = match self.linker.connect().await {
                Ok(link) => link.run::<i64>(&held).await == Ok(0),
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
        let clients = figures::clients(self.rows as u64);
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

    fn set_clock(&mut self, seconds: &str, micros: &str) {
        let (Ok(seconds), Ok(micros)) = (seconds.parse::<i64>(), micros.parse::<i64>()) else { return };
        self.ahead = Utc::now().timestamp_millis() - (seconds * 1_000 + micros / 1_000);
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

fn nonsense() -> Trouble {
    Trouble::new("the store's answer is none that can be understood")
}
