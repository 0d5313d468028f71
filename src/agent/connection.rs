//! Defines one who is attached to the agent: what it is sent, and how the orders of who commands are carried out.

use std::{future, io, sync::Arc, time::Duration};

use tokio::{
    net::UnixStream,
    sync::{OwnedSemaphorePermit, watch},
    task::{JoinError, JoinHandle},
    time::timeout,
};
use tokio_util::bytes::Bytes;

use super::{
    audit, client,
    protocol::{EVENTS, FromAgent, Hello, PIECE, PROTOCOL, Purpose, Reload, Role, ToAgent, Who},
    server::{CONNECTIONS_MAX, Shared},
    socket,
};
use crate::{
    clock::Moment,
    command::Command,
    event::{Event, Level, What},
    model::Known,
    recording,
    text::Scrubbed,
    wire::{self, WireError},
};

/// Why nothing is done for some.
pub(super) const READ_ONLY: &str = "this console is for reading only";

/// How long who connects may take to say who it is.
const MANNERS: Duration = Duration::from_secs(5);
/// The longest that a snapshot may take: who does not read it for so long has gone to sleep.
const SNAPSHOT_TIME: Duration = Duration::from_secs(300);

/// Serves one who came, who has a place, or is told that there is none.
pub(super) async fn serve(stream: UnixStream, number: u64, place: Option<OwnedSemaphorePermit>, shared: Arc<Shared>) {
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
    let peer = Arc::new(Peer { number, who, purpose, shared });
    // That it hung up is nobody's matter.
    let _ = Connection { peer: peer.clone(), sender }.show(&mut receiver).await;
    peer.leave();
}

/// Who is attached.
struct Peer {
    number: u64,
    who: Who,
    purpose: Purpose,
    shared: Arc<Shared>,
}

/// The way to it.
struct Connection {
    peer: Arc<Peer>,
    sender: wire::Sender,
}

/// Carries out what was said, to its end whoever hears of it, and gives the answer.
type Order = JoinHandle<Result<FromAgent, WireError>>;

impl Connection {
    async fn show(&mut self, receiver: &mut wire::Receiver) -> Result<(), WireError> {
        let shared = self.peer.shared.clone();
        let Some((known, mut events)) = shared.bus.subscribe_late("attached") else { return Ok(()) };
        timeout(SNAPSHOT_TIME, self.send_snapshot(known)).await.unwrap_or(Err(WireError::Closed))?;
        if self.peer.purpose == Purpose::Snapshot {
            return Ok(());
        }
        let mut writer = shared.writer.subscribe();
        if self.peer.purpose == Purpose::Console {
            self.peer.take_over(false);
        }
        self.tell_role(&mut writer).await?;
        // One after the other; while one takes its time, what happens is told.
        let mut order: Option<Order> = None;
        loop {
            tokio::select! {
                said = receiver.recv::<ToAgent>(), if order.is_none() => {
                    order = Some(tokio::spawn(self.peer.clone().obey(said?)));
                }
                answer = async { match &mut order { Some(order) => order.await, None => future::pending().await } } => {
                    order = None;
                    self.answer(answer).await?;
                }
                _ = writer.changed() => self.tell_role(&mut writer).await?,
                news = events.next() => match news {
                    Some(news) => self.send_events(news).await?,
                    None => {
                        if let Some(order) = order {
                            self.answer(order.await).await?;
                        }
                        let why = shared.stop.borrow().clone().unwrap_or_else(|| "its engine ended".to_owned());
                        return self.sender.send(&FromAgent::Ended(Scrubbed::new(&why))).await;
                    }
                },
            }
        }
    }

    async fn answer(&mut self, answer: Result<Result<FromAgent, WireError>, JoinError>) -> Result<(), WireError> {
        self.sender.send(&answer.map_err(|_| WireError::Closed)??).await
    }

    /// Sends what happened; another fleet goes as the head of a recording.
    async fn send_events(&mut self, news: Vec<Event>) -> Result<(), WireError> {
        for same in
            news.chunk_by(|one, next| !matches!((&one.what, &next.what), (What::Fleet(_), _) | (_, What::Fleet(_))))
        {
            if let [Event { what: What::Fleet(fleet), .. }] = same {
                let (fleet, header) = (fleet.clone(), self.peer.shared.header());
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
        let shared = self.peer.shared.clone();
        // A pass over the fleet: not on a thread that others wait for.
        let made = tokio::task::spawn_blocking(move || {
            let head = recording::head(&shared.header(), known.fleet());
            (Bytes::from(head), Bytes::from(known.encode()))
        });
        let (fleet, known) = made.await.map_err(|_| WireError::Closed)?;
        let (now, boot) = (Moment::now(), client::boot());
        let snapshot = FromAgent::Snapshot { fleet: fleet.len() as u64, known: known.len() as u64, now, boot };
        self.sender.feed(&snapshot).await?;
        self.feed_pieces(fleet).await?;
        self.feed_pieces(known).await?;
        self.sender.flush().await
    }

    async fn tell_role(&mut self, writer: &mut watch::Receiver<Option<(u64, Who)>>) -> Result<(), WireError> {
        let role = match &*writer.borrow_and_update() {
            Some((number, who)) => Role { writer: Some(who.clone()), is_own: *number == self.peer.number },
            None => Role::default(),
        };
        self.sender.send(&FromAgent::Role(role)).await
    }
}

impl Peer {
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

    /// Commands no longer, where it did.
    fn leave(&self) {
        self.shared.writer.send_if_modified(|writer| {
            let is_own = writer.as_ref().is_some_and(|(number, _)| *number == self.number);
            if is_own {
                *writer = None;
            }
            is_own
        });
    }

    async fn obey(self: Arc<Self>, said: ToAgent) -> Result<FromAgent, WireError> {
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
        Ok(FromAgent::Answer(answer.map_err(lines)))
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

    async fn reload(&self) -> Result<Reload, String> {
        if let Err(why) = self.is_allowed() {
            let (who, refused) = (self.who.clone(), why.clone());
            self.shared.audit(move |audit| audit.write_reload(&who, 0, Some(&refused))).await;
            return Err(why);
        }
        self.shared.reload(&self.who).await
    }

    async fn command(&self, mut command: Command) -> Result<(), String> {
        // Who it is, the kernel says.
        if let Command::Mute { by, .. } | Command::Acknowledge { by, .. } = &mut command {
            *by = Scrubbed::new(&self.who.to_string());
        }
        let fleet = self.shared.fleet();
        let allowed = self.shared.knows(&command, &fleet).and_then(|()| self.is_allowed());
        let (of, who, order, refused) = (fleet.clone(), self.who.clone(), command.clone(), allowed.clone().err());
        self.shared.audit(move |audit| audit.write(&of, &who, &order, refused.as_deref())).await;
        allowed?;
        let (of, order) = (fleet.clone(), command.clone());
        self.shared.keep(move |wishes| wishes.note(&of, &order)).await;
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
