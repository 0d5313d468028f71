//! Defines the agent's own end: it holds the run, listens, and keeps what all that are attached share.

use std::{
    io,
    path::Path,
    process::ExitCode,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{
        Semaphore,
        mpsc::{self, error::TrySendError},
        watch,
    },
    time::timeout,
};

use super::{
    audit::Audit,
    connection,
    protocol::Who,
    records,
    reload::{Reread, Wrong},
    socket::{self, AgentError, Listening},
    state::{State, Wishes},
    systemd::Manager,
};
use crate::{
    bus::{Bus, Subscription},
    clock::{Anchor, Moment},
    command::{Bulk, Command},
    engine::Reviser,
    event::{self, Event, Handled, Handling, JobNews, Level, What},
    fleet::Fleet,
    model::Known,
    recording::Header,
    run::Run,
    signals::{Reloads, Signals},
    stdio,
    text::Scrubbed,
};

/// What an agent is told at its start.
pub struct Options {
    pub fleet: Fleet,
    /// Whose members may attach, beside its own user.
    pub group: Option<String>,
    /// The names of the rules of alerts.
    pub rules: Vec<Scrubbed>,
    /// Decides the jitter of retries.
    pub seed: u64,
    /// Reads the fleet file anew.
    pub reread: Box<dyn Fn() -> Result<Reread, Wrong> + Send + Sync>,
}

/// The most that are attached at once: each may keep a snapshot, and a mailbox of its own.
pub(super) const CONNECTIONS_MAX: usize = 256;
/// The most steps of recoveries that wait for the audit log's disk.
const MENDED_MOST: usize = 1_024;
/// How long a run may take to end, with its consoles told.
const FAREWELL: Duration = Duration::from_millis(500);

/// What all connections share.
pub(super) struct Shared {
    pub(super) bus: Bus,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) reviser: Reviser,
    pub(super) reread: Box<dyn Fn() -> Result<Reread, Wrong> + Send + Sync>,
    /// Held while the fleet file is read and taken in.
    pub(super) reloading: tokio::sync::Mutex<()>,
    pub(super) manager: Manager,
    rules: Vec<Scrubbed>,
    workers: usize,
    /// Who commands, with the number of its connection.
    pub(super) writer: watch::Sender<Option<(u64, Who)>>,
    kept: Mutex<Kept>,
    /// Why the agent is to end, once it is.
    pub(super) stop: watch::Sender<Option<String>>,
}

pub(super) struct Kept {
    pub(super) state: State,
    pub(super) wishes: Wishes,
    pub(super) audit: Audit,
}

/// Holds the fleet until a signal, or who commands, ends it. `keep` starts what is kept of the run (a log, a
/// recording) on the bus that it is given, and may keep more in the folder that it is given.
///
/// # Errors
/// Where nothing can listen, or what is kept cannot be.
pub async fn run<K, F>(options: Options, keep: F) -> anyhow::Result<ExitCode>
where
    F: FnOnce(&Arc<Fleet>, &Bus, &Path) -> anyhow::Result<K>,
    K: FnOnce(Run) -> Run,
{
    use anyhow::Context;
    let (mut signals, mut reloads) = (Signals::listen_but_for_reloads()?, Reloads::listen()?);
    let Options { fleet, group, rules, seed, reread } = options;
    let name = fleet.name.to_string();
    let claim = socket::claim(&name, group.as_deref()).await?;
    let state = State::open(&name).context("cannot make the state folder")?;
    let wishes = state.wishes().context("cannot read what the operator wanted before (wishes.json)")?;
    let audit = Audit::open(&state.audit()).context("cannot open the audit log")?;
    let fleet = Arc::new(wishes.apply(fleet));
    let begin = Anchor::now();
    let mut known = Known::new(fleet.clone(), begin.moment());
    let unusable = records::recall(&state, &mut known, begin.moment());
    let bus = Bus::keeping(begin, known);
    let with_kept = keep(&fleet, &bus, state.folder())?;
    let (said, jobs) = (bus.subscribe("agent"), bus.subscribe("jobs"));
    let orders = wishes.orders(&fleet);
    let run = with_kept(Run::start(fleet.clone(), seed, bus.clone()));
    for order in orders {
        let _ = run.commands().send(order).await;
    }
    let records = state.clone();
    let shared = Arc::new(Shared {
        commands: run.commands(),
        workers: run.workers(),
        reviser: run.reviser(),
        reread,
        reloading: tokio::sync::Mutex::default(),
        manager: Manager::of_environment(),
        rules,
        bus,
        writer: watch::Sender::new(None),
        kept: Mutex::new(Kept { state, wishes, audit }),
        stop: watch::Sender::new(None),
    });
    // Who can connect finds an agent that is all there.
    let listening = claim.listen()?;
    let (path, known_as) = claim.place();
    stdio::complain(&format!("mqfleet: agent of {name}, at {}; mqfleet attach {known_as}", path.display()));
    shared.manager.tell("READY=1");
    if let Some(words) = unusable {
        shared.notice(Level::Warning, &words);
    }
    let keeping = tokio::spawn(records::keep(shared.clone(), records.clone()));
    let (mended, steps) = mpsc::channel(MENDED_MOST);
    let beat = tokio::spawn(beat(said, mended, shared.clone()));
    let auditing = tokio::spawn(audit_recoveries(steps, shared.clone()));
    let noting = tokio::spawn(keep_jobs(jobs, shared.clone()));
    let by_signal = shared.clone();
    let reloading = tokio::spawn(async move {
        loop {
            reloads.next().await;
            by_signal.reload(&itself()).await.ok(); // why not is among the events
        }
    });
    let mut stop = shared.stop.subscribe();
    let code = tokio::select! {
        signal = signals.next() => {
            shared.stop.send_replace(Some("it was told to, by a signal".to_owned()));
            ExitCode::from(128 + signal as u8)
        }
        _ = stop.wait_for(Option::is_some) => ExitCode::SUCCESS,
        error = accept(&listening, &shared) => return Err(error.into()),
    };
    reloading.abort();
    let _ = keeping.await; // two that write would write into one file
    // Before all of them are told to disconnect.
    if let Err(error) = records::write(&shared, &records).await {
        stdio::complain(&format!("mqfleet: a restart will not know the clients' records: {error}"));
    }
    // Nobody else comes. That no other agent of the fleet begins before this one's clients have left is its claim's matter.
    drop(listening);
    // A service that is stopped by its manager ended as it should.
    let code = if std::env::var_os("NOTIFY_SOCKET").is_some() { ExitCode::SUCCESS } else { code };
    let words = tokio::select! {
        words = run.stop() => words,
        _ = signals.next() => None,
    };
    let _ = timeout(FAREWELL, async { tokio::join!(beat, auditing, noting) }).await;
    drop(claim);
    if let Some(words) = words {
        stdio::complain(&format!("mqfleet: {words}"));
        return Ok(ExitCode::FAILURE);
    }
    Ok(code)
}

/// Tells the service manager how the fleet does, as long as the engine tells the time. What is done by itself about alerts
/// goes to `mended`: the audit's disk is not waited for here. Where that is far behind, lines are lost, which is said.
async fn beat(mut events: Subscription, mended: mpsc::Sender<Handling>, shared: Arc<Shared>) {
    let manager = &shared.manager;
    let watchdog = Manager::watchdog();
    let mut is_behind = false;
    while let Some(events) = events.next().await {
        for event in &events {
            let What::Handling(handling) = &event.what else { continue };
            let is_full = matches!(mended.try_send((**handling).clone()), Err(TrySendError::Full(_)));
            if is_full && !std::mem::replace(&mut is_behind, is_full) {
                shared
                    .notice(Level::Error, "the audit log's disk is too slow: what recoveries do is not written there");
            }
            is_behind &= is_full;
        }
        if !events.iter().any(|event| matches!(event.what, What::Second(_))) {
            continue;
        }
        if watchdog.is_some() {
            manager.tell("WATCHDOG=1");
        }
        let totals = shared.bus.known(|known| *known.totals()).unwrap_or_default();
        let up = totals.of(event::State::Up);
        manager.tell(&format!("STATUS={up} of {} up, {} down", totals.all(), totals.down));
    }
    manager.tell("STOPPING=1");
}

/// Notes what is done by itself about alerts, as what operators do is noted.
async fn audit_recoveries(mut mended: mpsc::Receiver<Handling>, shared: Arc<Shared>) {
    while let Some(handling) = mended.recv().await {
        if let Handling { rule, what: Handled::Recovery(recovery), .. } = handling {
            shared.audit(move |audit| audit.write_recovery(&itself(), &rule, &recovery)).await;
        }
    }
}

/// Keeps what jobs did for the next start: a client is wanted otherwise once it has had its turn.
async fn keep_jobs(mut events: Subscription, shared: Arc<Shared>) {
    let news = |event: Event| if let What::Job(news) = event.what { Some(*news) } else { None };
    while let Some(events) = events.next().await {
        let news: Vec<JobNews> = events.into_iter().filter_map(news).filter(|news| !news.fates.is_empty()).collect();
        if news.is_empty() {
            continue;
        }
        let fleet = shared.fleet();
        let note = move |wishes: &mut Wishes| {
            let changed = news.iter().filter(|news| wishes.note_job(&fleet, news));
            changed.count() > 0
        };
        shared.keep(note).await;
    }
}

async fn accept(listening: &Listening, shared: &Arc<Shared>) -> io::Error {
    let mut number = 0;
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        match listening.listener.accept().await {
            Ok((stream, _)) => {
                number += 1;
                let place = room.clone().try_acquire_owned().ok();
                tokio::spawn(connection::serve(stream, number, place, shared.clone()));
            }
            // Of those that pass: there were too many files open, or who came is gone.
            Err(error) if error.raw_os_error().is_some() => tokio::time::sleep(Duration::from_millis(100)).await,
            Err(error) => return error,
        }
    }
}

impl Shared {
    pub(super) fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fleet as it is now.
    pub(super) fn fleet(&self) -> Arc<Fleet> {
        self.bus.known(|known| known.fleet().clone()).unwrap_or_else(Fleet::none) // this bus keeps it
    }

    pub(super) fn header(&self) -> Header {
        let begin = self.bus.begin();
        Header {
            program: Scrubbed::new(env!("CARGO_PKG_VERSION")),
            run: begin.moment(),
            begin: begin.moment(),
            wall: begin.utc(begin.moment()),
            workers: self.workers,
        }
    }

    /// Has a line of the audit log written. What cannot be audited is done all the same, and that is said. A disk
    /// that hangs holds up who commands, and nobody else.
    pub(super) async fn audit(self: &Arc<Self>, write: impl FnOnce(&mut Audit) -> io::Result<()> + Send + 'static) {
        let shared = self.clone();
        let write = move || {
            if let Err(error) = write(&mut shared.kept().audit) {
                shared.notice(Level::Error, &format!("the audit log takes no line: {error}"));
            }
        };
        let _ = tokio::task::spawn_blocking(write).await;
    }

    /// Keeps what an operator wants for the next start.
    pub(super) async fn keep(self: &Arc<Self>, note: impl FnOnce(&mut Wishes) -> bool + Send + 'static) {
        let shared = self.clone();
        let write = move || {
            let mut kept = shared.kept();
            let Kept { state, wishes, .. } = &mut *kept;
            if note(wishes)
                && let Err(error) = state.keep_wishes(wishes)
            {
                shared.notice(Level::Error, &format!("a restart will not know of it: {error}"));
            }
        };
        let _ = tokio::task::spawn_blocking(write).await;
    }

    /// Whether a command is about clients, endpoints and rules that there are, or why it can do nothing.
    pub(super) fn knows(&self, command: &Command, fleet: &Fleet) -> Result<(), String> {
        let is_of = match command {
            Command::Connect(clients)
            | Command::Reconnect(clients)
            | Command::Failover(clients)
            | Command::Disconnect(clients)
            | Command::Begin(Bulk { clients, .. }) => {
                clients.iter().all(|client| client.index() < fleet.clients.len()) // be they gone since
            }
            Command::Steer(..) => true, // one that is forgotten cannot be steered, which is told
            Command::Hold(key) | Command::Release(key) => fleet.has_endpoint(*key),
            Command::SetRate(key, rate) => fleet.has_endpoint(*key) && *rate > 0,
            Command::Mute { rule, .. } | Command::Acknowledge { rule, .. } => {
                if !self.rules.contains(&rule.rule) {
                    let names: Vec<&str> = self.rules.iter().map(Scrubbed::as_str).collect();
                    let there = if names.is_empty() { "no rules".to_owned() } else { names.join(", ") };
                    return Err(format!("{} has no alert {:?}; it has {there}", fleet.name, rule.rule.as_str()));
                }
                let fires = |known: &Known| known.alerts().get(rule).is_some_and(|row| row.firing.is_some());
                let is_of_any = matches!(command, Command::Mute { .. });
                if !is_of_any && !self.bus.known(fires).unwrap_or_default() {
                    return Err(format!("{} does not fire: there is nothing to acknowledge", rule.rule));
                }
                true
            }
            Command::Stop => true,
        };
        is_of.then_some(()).ok_or_else(|| "it is about clients or endpoints that this fleet has not".to_owned())
    }

    pub(super) fn notice(&self, level: Level, text: &str) {
        let what = What::Notice { level, text: Scrubbed::new(text) };
        self.bus.publish([Event { at: Moment::now(), what }]);
    }
}

/// This process, where a signal is what it was told by.
fn itself() -> Who {
    let user = rustix::process::geteuid().as_raw();
    Who { user: Scrubbed::new(&socket::user_name(user)), terminal: Scrubbed::default(), process: std::process::id() }
}

impl From<AgentError> for io::Error {
    fn from(error: AgentError) -> io::Error {
        io::Error::other(error)
    }
}
