//! Defines an attached console's end: it gets what an agent knows, hears what happens there, and commands; what is shown of it is the console's matter.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use rustix::process::geteuid;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    process::Child,
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep_until, timeout},
};

use super::{
    protocol::{FromAgent, Hello, PROTOCOL, Purpose, Reload, Role, SNAPSHOT, ToAgent},
    socket::{self, AgentError},
    ssh::{self, Ssh},
    stored,
    target::Target,
};
use crate::{
    bus::{Bus, Subscription},
    clock::{Anchor, Moment},
    command::Command,
    event::{Event, Level, What},
    fleet::Fleet,
    model::Known,
    recording,
    text::Scrubbed,
    wire::{self, WireError},
};

/// A fleet in an agent, as who is attached has it.
pub struct Attached {
    pub fleet: Arc<Fleet>,
    /// What was known when it attached; the events come after that.
    pub known: Known,
    pub events: Subscription,
    pub commands: Commands,
    pub begin: Anchor,
    /// How much the agent's clock is ahead of this host's, in microseconds: both count from their boot.
    pub ahead: i64,
}

impl Attached {
    /// What time it is for the fleet.
    pub fn now(&self) -> Moment {
        Moment(Moment::now().0.saturating_add_signed(self.ahead))
    }
}

/// Tells an agent what to do. Clones are of one console.
#[derive(Clone, Debug)]
pub struct Commands {
    orders: mpsc::Sender<Order>,
    pub role: watch::Receiver<Role>,
    /// Why nothing comes any more, once that is so.
    pub ended: watch::Receiver<Option<End>>,
}

/// How the link to an agent ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The agent ended, and said why.
    Over(Scrubbed),
    /// It is gone, or the way to it.
    Lost(Scrubbed),
}

/// What is said to an agent, and who waits for its answer, if anybody.
pub(super) type Order = (ToAgent, Option<Answer>);
type Answer = oneshot::Sender<Result<Option<Reload>, String>>;

impl Commands {
    pub(super) fn new(
        orders: mpsc::Sender<Order>,
        role: watch::Receiver<Role>,
        ended: watch::Receiver<Option<End>>,
    ) -> Commands {
        Commands { orders, role, ended }
    }

    /// Gives a command; that it was refused is told as an event.
    pub async fn give(&self, command: Command) {
        let _ = self.orders.send((ToAgent::Command(command), None)).await; // an agent that is gone ends its events
    }

    /// Wants to command.
    pub async fn take_over(&self) {
        let _ = self.orders.send((ToAgent::TakeOver, None)).await;
    }

    /// The same two, with the answer.
    ///
    /// # Errors
    /// Why the agent refused.
    pub async fn ask(&self, command: Option<Command>) -> Result<(), AgentError> {
        self.say(command.map_or(ToAgent::TakeOver, ToAgent::Command)).await.map(drop)
    }

    /// Has the fleet file read anew.
    ///
    /// # Errors
    /// Why the agent refused, or what is wrong with the file, on several lines.
    pub async fn reload(&self) -> Result<Reload, AgentError> {
        self.say(ToAgent::Reload).await?.ok_or(AgentError::Wire(WireError::Stranger))
    }

    async fn say(&self, what: ToAgent) -> Result<Option<Reload>, AgentError> {
        let (sender, answer) = oneshot::channel();
        let _ = self.orders.send((what, Some(sender))).await;
        match answer.await {
            Ok(answer) => answer.map_err(AgentError::Refused),
            Err(_) => Err(AgentError::Wire(WireError::Closed)),
        }
    }
}

/// The longest that an agent may take for each thing that it says at first.
const PATIENCE: Duration = Duration::from_secs(20);

/// An agent that has not said so long what time it is, or the way to it, is gone: it does so every second.
const SILENCE: Duration = Duration::from_secs(20);

/// Attaches to an agent.
///
/// # Errors
/// Where there is none, or it speaks another protocol; what to do then is said.
pub async fn attach(target: &Target, purpose: Purpose) -> Result<Attached, AgentError> {
    reach(target, purpose, false).await
}

/// The same from a console that has the terminal: nobody is asked for anything, and no other program is executed.
///
/// # Errors
/// Likewise.
pub(super) async fn attach_again(target: &Target, purpose: Purpose) -> Result<Attached, AgentError> {
    reach(target, purpose, true).await
}

async fn reach(target: &Target, purpose: Purpose, is_again: bool) -> Result<Attached, AgentError> {
    match target {
        Target::Ssh { host, port, name } => {
            let Ssh { child, read, write, said } = ssh::start(host, *port, name, is_again)?;
            let far = Far::Host { _ssh: child, may_ask: !is_again };
            return match greet(read, write, far, purpose).await {
                Err(AgentError::Wire(error)) => Err(said.error().await.unwrap_or(AgentError::Wire(error))),
                greeted => greeted,
            };
        }
        Target::Stored(stored) => return stored::attach(stored).await,
        Target::Only | Target::Name(_) | Target::Path(_) => {}
    }
    let stream = socket::connect(target).await?;
    // Only what this user, or root, runs is executed in its place.
    let peer = stream.peer_cred().ok().filter(|peer| [0, geteuid().as_raw()].contains(&peer.uid()));
    let process = peer.and_then(|peer| peer.pid()).filter(|_| !is_again);
    let (read, write) = stream.into_split();
    greet(read, write, Far::Process(process), purpose).await
}

/// What is at the other end.
enum Far {
    /// A process of this host, where its program may be executed.
    Process(Option<i32>),
    /// Another host, to which this child carries what is said; it may ask a person first, who takes any time.
    Host { _ssh: Child, may_ask: bool },
}

async fn greet<R, W>(read: R, write: W, far: Far, purpose: Purpose) -> Result<Attached, AgentError>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, mut receiver) = wire::halves(read, write);
    let hello = async {
        sender.send(&Hello::new()).await?;
        let hello: Hello = receiver.recv().await?;
        hello.check()?;
        Ok::<_, WireError>(hello)
    };
    let hello = match far {
        Far::Host { may_ask: true, .. } => hello.await?,
        _ => in_time(hello).await?,
    };
    if hello.protocol != PROTOCOL {
        let then = match far {
            Far::Host { .. } => "run mqfleet there, with ssh -t".to_owned(),
            Far::Process(Some(process)) => execute(process),
            Far::Process(None) => "use the agent's version of it".to_owned(),
        };
        let (theirs, version) = (hello.protocol, hello.version.to_string());
        return Err(AgentError::Protocol { theirs, ours: PROTOCOL, version, then });
    }
    sender.send(&ToAgent::Attach(purpose)).await?;
    let (fleet, known, now, theirs) = match in_time(receiver.recv()).await? {
        FromAgent::Snapshot { fleet, known, now, boot } => (fleet, known, now, boot),
        FromAgent::Ended(why) => return Err(AgentError::Refused(why.to_string())),
        _ => return Err(AgentError::Wire(WireError::Stranger)),
    };
    // On one host both read the same clock.
    let ahead = if theirs == boot() { 0 } else { now.0.cast_signed().wrapping_sub(Moment::now().0.cast_signed()) };
    let (head, known) = (take(&mut receiver, fleet).await?, take(&mut receiver, known).await?);
    let read = tokio::task::spawn_blocking(move || {
        let (header, fleet) = recording::of_head(&head)?;
        let fleet = Arc::new(fleet);
        let known = Known::decode(&known, fleet.clone())?;
        Some((header.anchor(), fleet, known))
    });
    let (begin, fleet, known) = read.await.ok().flatten().ok_or(AgentError::Wire(WireError::Stranger))?;
    // Who only wants to know has no role.
    let role = match purpose {
        Purpose::Snapshot => Role::default(),
        _ => match in_time(receiver.recv()).await? {
            FromAgent::Role(role) => role,
            _ => return Err(AgentError::Wire(WireError::Stranger)),
        },
    };
    let bus = Bus::new(begin);
    let events = bus.subscribe("console");
    let (orders, received) = mpsc::channel(64);
    let (role_sender, role) = watch::channel(role);
    let (end_sender, ended) = watch::channel(None);
    let (outgoing, mut orders_out) = mpsc::channel(1);
    tokio::spawn(async move {
        while let Some(order) = orders_out.recv().await {
            if sender.send::<ToAgent>(&order).await.is_err() {
                return; // that the agent is gone is seen by reading
            }
        }
    });
    let link = Link {
        receiver,
        bus,
        role: role_sender,
        ended: end_sender,
        fleet: fleet.clone(),
        ahead,
        waiting: VecDeque::new(),
        _far: far,
    };
    tokio::spawn(link.run(received, outgoing));
    Ok(Attached { fleet, known, events, commands: Commands { orders, role, ended }, begin, ahead })
}

/// The next thing that an agent says, which it does in time, however long all of it takes.
async fn in_time<T>(next: impl Future<Output = Result<T, WireError>>) -> Result<T, AgentError> {
    timeout(PATIENCE, next).await.map_err(|_| AgentError::Silent(PATIENCE))?.map_err(AgentError::Wire)
}

/// Takes so many bytes that come in pieces.
async fn take<R: AsyncRead + Unpin>(receiver: &mut wire::Receiver<R>, count: u64) -> Result<Vec<u8>, AgentError> {
    if count > SNAPSHOT {
        return Err(AgentError::Wire(WireError::Stranger));
    }
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < count {
        let piece = in_time(receiver.recv_bytes()).await?;
        if piece.is_empty() {
            return Err(AgentError::Wire(WireError::Stranger));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// The link to an agent, which a task of its own keeps.
struct Link<R> {
    receiver: wire::Receiver<R>,
    bus: Bus,
    role: watch::Sender<Role>,
    ended: watch::Sender<Option<End>>,
    fleet: Arc<Fleet>,
    ahead: i64,
    /// Who waits for an answer, in the order of what was asked.
    waiting: VecDeque<Option<Answer>>,
    _far: Far,
}

impl<R: AsyncRead + Unpin> Link<R> {
    async fn run(mut self, mut orders: mpsc::Receiver<Order>, outgoing: mpsc::Sender<ToAgent>) {
        let mut heard = Instant::now();
        let lost = loop {
            let done = tokio::select! {
                // Orders are few; and what waits is heard before the time is up, after a stop of this process.
                biased;
                // Writing is another task's: an agent that waits for us to read would wait for ever for who only writes.
                order = async { Some((outgoing.reserve().await.ok()?, orders.recv().await?)) } => match order {
                    Some((room, (order, answer))) => {
                        self.waiting.push_back(answer);
                        room.send(order);
                        true
                    }
                    None => break "the connection was closed".to_owned(),
                },
                said = self.receiver.recv::<FromAgent>() => {
                    heard = Instant::now();
                    match said {
                        Ok(FromAgent::Fleet(count)) => self.take_fleet(count).await.is_some(),
                        Ok(said) => self.take_in(said),
                        Err(WireError::Closed) => break "the connection was closed".to_owned(),
                        Err(error) => break error.to_string(),
                    }
                }
                () = sleep_until(heard + SILENCE) => {
                    break format!("it has said nothing for {} s", SILENCE.as_secs());
                }
            };
            if !done {
                break "what it says makes no sense".to_owned();
            }
        };
        self.ended.send_if_modified(|ended| {
            let is_news = ended.is_none();
            ended.get_or_insert_with(|| End::Lost(Scrubbed::new(&lost)));
            is_news
        });
        self.bus.close();
    }

    /// Takes in the fleet that it is from now on.
    async fn take_fleet(&mut self, count: u64) -> Option<()> {
        let head = take(&mut self.receiver, count).await.ok()?;
        let read = tokio::task::spawn_blocking(move || recording::of_head(&head));
        let (_, fleet) = read.await.ok()??;
        // Keys stay what they are.
        let is_later =
            fleet.clients.len() >= self.fleet.clients.len() && fleet.endpoints.len() >= self.fleet.endpoints.len();
        if !is_later {
            return None;
        }
        self.fleet = Arc::new(fleet);
        let at = Moment(Moment::now().0.saturating_add_signed(self.ahead));
        self.bus.publish([Event { at, what: What::Fleet(self.fleet.clone()) }]);
        Some(())
    }

    fn take_in(&mut self, said: FromAgent) -> bool {
        match said {
            FromAgent::Events(events) => {
                let fleet = &self.fleet;
                self.bus.publish(events.into_iter().filter(|event| recording::is_of(&event.what, fleet)));
            }
            FromAgent::Role(role) => {
                self.role.send_replace(role);
            }
            FromAgent::Answer(answer) => {
                let waiting = self.waiting.pop_front().flatten();
                let lines = |why: Vec<Scrubbed>| why.iter().map(Scrubbed::as_str).collect::<Vec<_>>().join("\n");
                let answer = answer.map_err(lines);
                match (waiting, answer) {
                    (Some(waiting), answer) => {
                        let _ = waiting.send(answer);
                    }
                    (None, Err(why)) => {
                        let at = Moment(Moment::now().0.saturating_add_signed(self.ahead));
                        let text = Scrubbed::new(&format!("refused: {why}"));
                        self.bus.publish([Event { at, what: What::Notice { level: Level::Warning, text } }]);
                    }
                    (None, Ok(_)) => {}
                }
            }
            FromAgent::Ended(why) => {
                self.ended.send_replace(Some(End::Over(why)));
                return false;
            }
            FromAgent::Snapshot { .. } | FromAgent::Fleet(_) => return false,
        }
        true
    }
}

/// What tells one start of a host from all others.
pub(super) fn boot() -> [u8; 16] {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    u128::from_str_radix(&digits, 16).unwrap_or_else(|_| fastrand::u128(..)).to_be_bytes()
}

/// Becomes the agent's own program, with the same arguments: that one speaks its protocol, also where its file
/// was replaced since. Returns only where that fails, with what to do.
fn execute(process: i32) -> String {
    use std::os::unix::process::CommandExt;
    const ONCE: &str = "MQFLEET_EXECUTED";
    let path = format!("/proc/{process}/exe");
    if std::env::var_os(ONCE).is_some() {
        return "its own program does not, either: restart the agent".to_owned();
    }
    let error = std::process::Command::new(&path).args(std::env::args_os().skip(1)).env(ONCE, "1").exec();
    format!("its own program cannot be executed ({path}: {error}): restart the agent, or use its version of mqfleet")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{io, sync::oneshot, task, time::timeout};

    use super::*;
    use crate::{
        fleet::{Client, ClientKey, Endpoint, EndpointKey, Settings},
        recording::Header,
        wire::halves,
    };

    fn fleet() -> Fleet {
        Fleet {
            name: Scrubbed::new("t"),
            env: None,
            worker_size: 500,
            endpoints: vec![Endpoint::new("e", "127.0.0.1", 1883)],
            clients: vec![Client::new("c", EndpointKey(0), Arc::new(Settings::default()))],
        }
    }

    /// Neither an order nor what the agent says fits into what is between them.
    #[tokio::test]
    async fn a_large_order_goes_out_while_the_agent_writes_and_does_not_read() {
        let (ours, theirs) = io::duplex(16 << 10);
        let (asked, is_asked) = oneshot::channel();
        let agent = tokio::spawn(async move {
            let (read, write) = io::split(theirs);
            let (mut sender, mut receiver) = halves(read, write);
            receiver.recv::<Hello>().await.unwrap();
            sender.send(&Hello::new()).await.unwrap();
            receiver.recv::<ToAgent>().await.unwrap();
            let (fleet, begin) = (Arc::new(fleet()), Anchor::now());
            let at = begin.moment();
            let program = Scrubbed::new("1");
            let header = Header { program, run: at, begin: at, wall: begin.utc(at), workers: 1 };
            let head = recording::head(&header, &fleet).into_bytes();
            let known = Known::new(fleet, at).encode();
            let (fleet, known_len) = (head.len() as u64, known.len() as u64);
            sender.send(&FromAgent::Snapshot { fleet, known: known_len, now: at, boot: boot() }).await.unwrap();
            for bytes in [head, known] {
                sender.feed_bytes(bytes.into()).await.unwrap();
            }
            sender.send(&FromAgent::Role(Role::default())).await.unwrap();
            is_asked.await.unwrap();
            let text = Scrubbed::new(&"x".repeat(100));
            for _ in 0..1_000 {
                let what = What::Notice { level: Level::Info, text: text.clone() };
                sender.send(&FromAgent::Events(vec![Event { at, what }])).await.unwrap();
            }
            let ToAgent::Command(Command::Reconnect(clients)) = receiver.recv().await.unwrap() else { panic!("what?") };
            sender.send(&FromAgent::Answer(Ok(None))).await.unwrap();
            clients.len()
        });
        let (read, write) = io::split(ours);
        let attached = greet(read, write, Far::Process(None), Purpose::Console).await.unwrap();
        let order = Command::Reconnect((0..100_000).map(ClientKey).collect());
        let commands = attached.commands.clone();
        let ask = tokio::spawn(async move { commands.ask(Some(order)).await });
        // On this one thread: until all that can be written is.
        for _ in 0..1_000 {
            task::yield_now().await;
        }
        asked.send(()).unwrap();
        timeout(Duration::from_secs(60), ask).await.expect("neither waits for the other").unwrap().unwrap();
        assert_eq!(agent.await.unwrap(), 100_000);
    }
}
