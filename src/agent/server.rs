//! Defines the agent's own end: it holds the run, listens, sends each console what is known and what happens, and obeys the one that commands.

use std::{
    io,
    path::Path,
    process::ExitCode,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    net::UnixStream,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    time::timeout,
};
use tokio_util::bytes::Bytes;

use super::{
    audit::{self, Audit},
    protocol::{EVENTS, FromAgent, Hello, PIECE, PROTOCOL, Purpose, Reload, Role, ToAgent, Who},
    records,
    reload::{Reread, Wrong},
    socket::{self, AgentError, Listening},
    state::{State, Wishes},
    systemd::Manager,
};
use crate::{
    bus::{Bus, Subscription},
    clock::{Anchor, Moment},
    command::Command,
    engine::Reviser,
    event::{self, Event, Handled, Handling, Level, What},
    fleet::Fleet,
    model::Known,
    recording::{self, Header},
    run::Run,
    signals::{Reloads, Signals},
    stdio,
    text::Scrubbed,
    wire::{self, WireError},
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

/// Why nothing is done for some.
pub(super) const READ_ONLY: &str = "this console is for reading only";

/// How long who connects may take to say who it is.
const MANNERS: Duration = Duration::from_secs(5);
/// The most that are attached at once: each may keep a snapshot, and a mailbox of its own.
const CONNECTIONS_MAX: usize = 256;
/// The longest that a snapshot may take: who does not read it for so long has gone to sleep.
const SNAPSHOT_TIME: Duration = Duration::from_secs(300);
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
    writer: watch::Sender<Option<(u64, Who)>>,
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
    let said = bus.subscribe("agent");
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
    let (mended, steps) = mpsc::unbounded_channel();
    let beat = tokio::spawn(beat(said, mended, shared.clone()));
    let auditing = tokio::spawn(audit_recoveries(steps, shared.clone()));
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
    let _ = timeout(FAREWELL, async { tokio::join!(beat, auditing) }).await;
    drop(claim);
    if let Some(words) = words {
        stdio::complain(&format!("mqfleet: {words}"));
        return Ok(ExitCode::FAILURE);
    }
    Ok(code)
}

/// Tells the service manager how the fleet does, as long as the engine tells the time. What is done by itself about alerts
/// goes to `mended`: the audit's disk is not waited for here.
async fn beat(mut events: Subscription, mended: mpsc::UnboundedSender<Handling>, shared: Arc<Shared>) {
    let manager = &shared.manager;
    let watchdog = Manager::watchdog();
    while let Some(events) = events.next().await {
        for event in &events {
            if let What::Handling(handling) = &event.what {
                let _ = mended.send((**handling).clone()); // nobody notes it any more where the agent ends
            }
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
async fn audit_recoveries(mut mended: mpsc::UnboundedReceiver<Handling>, shared: Arc<Shared>) {
    while let Some(handling) = mended.recv().await {
        if let Handling { rule, what: Handled::Recovery(recovery), .. } = handling {
            shared.audit(move |audit| audit.write_recovery(&itself(), &rule, &recovery)).await;
        }
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
                tokio::spawn(Connection::serve(stream, number, place, shared.clone()));
            }
            // Of those that pass: there were too many files open, or who came is gone.
            Err(error) if error.raw_os_error().is_some() => tokio::time::sleep(Duration::from_millis(100)).await,
            Err(error) => return error,
        }
    }
}

/// One who is attached.
struct Connection {
    number: u64,
    who: Who,
    purpose: Purpose,
    sender: wire::Sender,
    shared: Arc<Shared>,
}

impl Connection {
    /// Serves one who came, who has a place, or is told that there is none.
    async fn serve(stream: UnixStream, number: u64, place: Option<OwnedSemaphorePermit>, shared: Arc<Shared>) {
        let Ok(who) = who(&stream) else { return };
        let (mut sender, mut receiver) = wire::link(stream);
        let greeting = async {
            sender.send(&Hello::new()).await?;
            let hello: Hello = receiver.recv().await?;
            hello.check()?;
            // Who speaks another protocol knows what to do.
            if hello.protocol != PROTOCOL {
                return Err(WireError::Closed);
            }
            receiver.recv::<ToAgent>().await
        };
        let Ok(Ok(ToAgent::Attach(purpose))) = timeout(MANNERS, greeting).await else { return };
        if place.is_none() {
            let why = Scrubbed::new(&format!("{CONNECTIONS_MAX} are attached already"));
            let _ = timeout(MANNERS, sender.send(&FromAgent::Ended(why))).await;
            return;
        }
        let mut connection = Connection { number, who, purpose, sender, shared };
        // That it hung up is nobody's matter.
        let _ = connection.show(&mut receiver).await;
        connection.shared.writer.send_if_modified(|writer| {
            let is_own = writer.as_ref().is_some_and(|(number, _)| *number == connection.number);
            if is_own {
                *writer = None;
            }
            is_own
        });
    }

    async fn show(&mut self, receiver: &mut wire::Receiver) -> Result<(), WireError> {
        let Some((known, mut events)) = self.shared.bus.subscribe_late("attached") else { return Ok(()) };
        timeout(SNAPSHOT_TIME, self.send_snapshot(known)).await.unwrap_or(Err(WireError::Closed))?;
        if self.purpose == Purpose::Snapshot {
            return Ok(());
        }
        let mut writer = self.shared.writer.subscribe();
        if self.purpose == Purpose::Console {
            self.take_over(false);
        }
        self.tell_role(&mut writer).await?;
        loop {
            tokio::select! {
                said = receiver.recv::<ToAgent>() => self.obey(said?).await?,
                _ = writer.changed() => self.tell_role(&mut writer).await?,
                news = events.next() => match news {
                    Some(news) => {
                        self.send_events(news).await?;
                    }
                    None => {
                        let why = self.shared.stop.borrow().clone().unwrap_or_else(|| "its engine ended".to_owned());
                        return self.sender.send(&FromAgent::Ended(Scrubbed::new(&why))).await;
                    }
                },
            }
        }
    }

    /// Sends what happened; another fleet goes as the head of a recording.
    async fn send_events(&mut self, news: Vec<Event>) -> Result<(), WireError> {
        for same in
            news.chunk_by(|one, next| !matches!((&one.what, &next.what), (What::Fleet(_), _) | (_, What::Fleet(_))))
        {
            if let [Event { what: What::Fleet(fleet), .. }] = same {
                let (fleet, header) = (fleet.clone(), self.shared.header());
                let made = tokio::task::spawn_blocking(move || Bytes::from(recording::head(&header, &fleet)));
                let bytes = made.await.map_err(|_| WireError::Closed)?;
                self.sender.feed(&FromAgent::Fleet(bytes.len() as u64)).await?;
                self.feed_pieces(bytes).await?;
                continue;
            }
            for part in same.chunks(EVENTS) {
                self.sender.feed(&FromAgent::Events(part.to_vec())).await?;
            }
        }
        self.sender.flush().await
    }

    async fn feed_pieces(&mut self, mut bytes: Bytes) -> Result<(), WireError> {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE));
            self.sender.feed_bytes(piece).await?;
        }
        Ok(())
    }

    async fn send_snapshot(&mut self, known: Known) -> Result<(), WireError> {
        let shared = self.shared.clone();
        // A pass over the fleet: not on a thread that others wait for.
        let made = tokio::task::spawn_blocking(move || {
            let head = recording::head(&shared.header(), known.fleet());
            (Bytes::from(head), Bytes::from(known.encode()))
        });
        let (fleet, known) = made.await.map_err(|_| WireError::Closed)?;
        let (now, boot) = (Moment::now(), super::client::boot());
        let snapshot = FromAgent::Snapshot { fleet: fleet.len() as u64, known: known.len() as u64, now, boot };
        self.sender.feed(&snapshot).await?;
        self.feed_pieces(fleet).await?;
        self.feed_pieces(known).await?;
        self.sender.flush().await
    }

    async fn tell_role(&mut self, writer: &mut watch::Receiver<Option<(u64, Who)>>) -> Result<(), WireError> {
        let role = match &*writer.borrow_and_update() {
            Some((number, who)) => Role { writer: Some(who.clone()), is_own: *number == self.number },
            None => Role::default(),
        };
        self.sender.send(&FromAgent::Role(role)).await
    }

    /// Becomes who commands: where nobody does, or whoever does.
    fn take_over(&self, by_force: bool) {
        self.shared.writer.send_if_modified(|writer| {
            let is_free = writer.is_none() || by_force;
            if is_free {
                *writer = Some((self.number, self.who.clone()));
            }
            is_free
        });
    }

    async fn obey(&mut self, said: ToAgent) -> Result<(), WireError> {
        let answer = match said {
            ToAgent::Attach(_) => return Err(WireError::Stranger),
            ToAgent::TakeOver => {
                let allowed = if self.purpose == Purpose::Console { Ok(None) } else { Err(READ_ONLY.to_owned()) };
                let (who, refused) = (self.who.clone(), allowed.clone().err());
                self.shared.audit(move |audit| audit.write_take_over(&who, refused.as_deref())).await;
                if allowed.is_ok() {
                    self.take_over(true);
                    let text = format!("{} commands from now on", self.who);
                    self.shared.notice(Level::Info, &text);
                }
                allowed
            }
            ToAgent::Command(command) => self.command(command).await.map(|()| None),
            ToAgent::Reload => self.reload().await.map(Some),
        };
        let lines = |why: String| why.lines().map(Scrubbed::new).collect();
        self.sender.send(&FromAgent::Answer(answer.map_err(lines))).await
    }

    /// Whether this is who commands; or why not.
    fn is_allowed(&self) -> Result<(), String> {
        match (&*self.shared.writer.borrow(), self.purpose) {
            (_, Purpose::Watch | Purpose::Snapshot) => Err(READ_ONLY.to_owned()),
            (Some((number, _)), _) if *number == self.number => Ok(()),
            (Some((_, who)), _) => Err(format!("{who} commands; take over first")),
            (None, _) => Err("nobody commands; take over first".to_owned()),
        }
    }

    async fn reload(&mut self) -> Result<Reload, String> {
        if let Err(why) = self.is_allowed() {
            let (who, refused) = (self.who.clone(), why.clone());
            self.shared.audit(move |audit| audit.write_reload(&who, 0, Some(&refused))).await;
            return Err(why);
        }
        self.shared.reload(&self.who).await
    }

    async fn command(&mut self, mut command: Command) -> Result<(), String> {
        // Who it is, the kernel says.
        if let Command::Mute { by, .. } | Command::Acknowledge { by, .. } = &mut command {
            *by = Scrubbed::new(&self.who.to_string());
        }
        let fleet = self.shared.fleet();
        let allowed = self.shared.knows(&command, &fleet).and_then(|()| self.is_allowed());
        let (of, who, order, refused) = (fleet.clone(), self.who.clone(), command.clone(), allowed.clone().err());
        self.shared.audit(move |audit| audit.write(&of, &who, &order, refused.as_deref())).await;
        allowed?;
        self.shared.keep(&fleet, &command).await;
        if let Some(words) = audit::words(&fleet, &command) {
            self.shared.notice(Level::Info, &format!("{} {words}", self.who));
        }
        if command == Command::Stop {
            self.shared.stop.send_replace(Some(format!("{} ended it", self.who)));
        } else {
            let _ = self.shared.commands.send(command).await; // an engine that has ended closes its events
        }
        Ok(())
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

    fn header(&self) -> Header {
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
    async fn keep(self: &Arc<Self>, fleet: &Arc<Fleet>, command: &Command) {
        let (shared, fleet, command) = (self.clone(), fleet.clone(), command.clone());
        let write = move || {
            let mut kept = shared.kept();
            let Kept { state, wishes, .. } = &mut *kept;
            if wishes.note(&fleet, &command)
                && let Err(error) = state.keep_wishes(wishes)
            {
                shared.notice(Level::Error, &format!("a restart will not know of it: {error}"));
            }
        };
        let _ = tokio::task::spawn_blocking(write).await;
    }

    /// Whether a command is about clients, endpoints and rules that there are, or why it can do nothing.
    fn knows(&self, command: &Command, fleet: &Fleet) -> Result<(), String> {
        let is_of = match command {
            Command::Connect(clients)
            | Command::Reconnect(clients)
            | Command::Failover(clients)
            | Command::Disconnect(clients) => {
                clients.iter().all(|client| client.index() < fleet.clients.len()) // be they gone since
            }
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

/// Who is at the other end, as the kernel has it (`SO_PEERCRED`, unix(7)).
fn who(stream: &UnixStream) -> io::Result<Who> {
    let peer = stream.peer_cred()?;
    let process = peer.pid().and_then(|id| u32::try_from(id).ok()).unwrap_or_default();
    Ok(Who {
        user: Scrubbed::new(&socket::user_name(peer.uid())),
        terminal: Scrubbed::new(&terminal(process).unwrap_or_default()),
        process,
    })
}

/// The terminal of a process, such as `pts/3`: the seventh field of its `stat` (proc_pid_stat(5)), as a device's
/// number.
fn terminal(process: u32) -> Option<String> {
    const PTS: std::ops::RangeInclusive<u64> = 136..=143;
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let number: u64 = stat.rsplit(')').next()?.split_whitespace().nth(4)?.parse().ok()?;
    let (major, minor) = (number >> 8 & 0xfff, number & 0xff | number >> 12 & 0xfff00);
    match major {
        _ if PTS.contains(&major) => Some(format!("pts/{}", (major - PTS.start()) * 256 + minor)),
        4 => Some(format!("tty{minor}")),
        _ => None,
    }
}

impl From<AgentError> for io::Error {
    fn from(error: AgentError) -> io::Error {
        io::Error::other(error)
    }
}
