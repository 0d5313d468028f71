//! A real worker process of the real binary for tests, spoken to as the pool does; what it should answer is for the tests to say.

use std::{
    collections::HashMap,
    ops::{Deref, DerefMut},
    os::{fd::OwnedFd, unix::net::UnixStream as StdStream},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use mqfleet::{
    clock::Moment,
    event::{Connack, ConnectOrder, Step},
    fleet::{Endpoint, EndpointKey, Probe, ProbeKind, Settings, probe_topic},
    wire::{
        self, ClientDef, DEFINE_PART, FromWorker, Hello, Receiver, Remote, Report, Sender, Shortfall, Slot, SlotLate,
        SlotSample, SlotTcp, Subscribed, ToWorker, check_hello,
    },
};
use tokio::net::UnixStream;

use crate::program;

/// Those of a client of MQTT 5.0 without a probe.
pub fn settings() -> Settings {
    let probe = Probe { kind: ProbeKind::Off, every: Duration::from_secs(1) };
    Settings { connect_timeout: Duration::from_secs(30), probe, ..Settings::default() }
}

/// A client of MQTT 5.0 that does nothing but be connected: no probe, no credentials, nothing to say.
pub fn client(id: impl Into<Arc<str>>) -> ClientDef {
    let id = id.into();
    ClientDef {
        probe_topic: probe_topic(&id).into(),
        id,
        settings: settings(),
        username: None,
        password: None,
        identity: None,
        conversation: Arc::default(),
    }
}

/// A client, and the endpoint that it connects to.
#[derive(Clone)]
pub struct Def {
    pub client: ClientDef,
    pub remote: Remote,
}

impl Def {
    /// On plain TCP.
    pub fn new(client: ClientDef, port: u16) -> Def {
        Def { client, remote: Remote::from(&Endpoint::new("e", "127.0.0.1", port)) }
    }
}

impl Deref for Def {
    type Target = ClientDef;
    fn deref(&self) -> &ClientDef {
        &self.client
    }
}

impl DerefMut for Def {
    fn deref_mut(&mut self) -> &mut ClientDef {
        &mut self.client
    }
}

pub struct Worker {
    pub child: Child,
    pub sender: Option<Sender>,
    pub receiver: Receiver,
    /// The steps of every generation, in the order of their reports.
    pub steps: HashMap<(Slot, u32), Vec<(Moment, Step)>>,
    pub samples: Vec<SlotSample>,
    pub samples_lost: u32,
    pub late: Vec<SlotLate>,
    pub tcp: Vec<SlotTcp>,
    pub reports: usize,
    /// Signs of life that said nothing else.
    pub beats: usize,
    /// All that was reported, in the words of `Debug`, for tests that ask for it.
    pub heard: Option<String>,
    pub shortfalls: Vec<Shortfall>,
    pub subscribed: Vec<Subscribed>,
    /// Messages received and published, by slot.
    pub messages: HashMap<Slot, (u32, u32)>,
    /// How the connects to come are ordered.
    pub manner: mqfleet::event::Manner,
    generation: HashMap<Slot, u32>,
    stderr: tempfile::NamedTempFile,
}

impl Worker {
    pub async fn start(defs: Vec<Def>) -> Worker {
        Worker::with_env(defs, &[]).await
    }

    pub async fn with_env(defs: Vec<Def>, env: &[(&str, &str)]) -> Worker {
        Worker::greet(defs, spawn(env)).await
    }

    async fn greet(defs: Vec<Def>, (child, ours, stderr): (Child, StdStream, tempfile::NamedTempFile)) -> Worker {
        let (mut sender, mut receiver) = wire::link(UnixStream::from_std(ours).expect("a link"));
        sender.send(&ToWorker::Hello(Hello::new())).await.expect("to greet");
        let FromWorker::Hello(hello) = receiver.recv().await.expect("a greeting") else { panic!("no greeting") };
        check_hello(&hello).expect("the same version");
        let (defs, remotes): (Vec<ClientDef>, Vec<Remote>) = defs.into_iter().map(|d| (d.client, d.remote)).unzip();
        let room = defs.len() as Slot;
        for (first, part) in (0..).step_by(DEFINE_PART).zip(defs.chunks(DEFINE_PART)) {
            let part = ToWorker::Define { room, first, clients: part.to_vec() };
            sender.feed(&part).await.expect("to define");
        }
        // Each slot has an endpoint of its own.
        for (slot, remote) in remotes.into_iter().enumerate() {
            let endpoint = EndpointKey(slot as u16);
            sender.feed(&ToWorker::Remote { endpoint, remote }).await.expect("to define");
        }
        sender.flush().await.expect("to define");
        Worker {
            child,
            sender: Some(sender),
            receiver,
            steps: HashMap::new(),
            samples: Vec::new(),
            samples_lost: 0,
            late: Vec::new(),
            tcp: Vec::new(),
            reports: 0,
            beats: 0,
            heard: None,
            shortfalls: Vec::new(),
            subscribed: Vec::new(),
            messages: HashMap::new(),
            manner: mqfleet::event::Manner::default(),
            generation: HashMap::new(),
            stderr,
        }
    }

    pub fn generation(&self, slot: Slot) -> u32 {
        self.generation.get(&slot).copied().unwrap_or(0)
    }

    pub async fn connect(&mut self, slots: impl IntoIterator<Item = Slot>) {
        let sender = self.sender.as_mut().expect("a link");
        for slot in slots {
            let generation = self.generation.entry(slot).or_default();
            *generation += 1;
            let order =
                ConnectOrder { generation: *generation, endpoint: EndpointKey(slot as u16), manner: self.manner };
            sender.feed(&ToWorker::Connect { slot, order, credentials: None }).await.expect("to order");
        }
        sender.flush().await.expect("to order");
    }

    pub async fn disconnect(&mut self, slots: impl IntoIterator<Item = Slot>) {
        let sender = self.sender.as_mut().expect("a link");
        for slot in slots {
            sender.feed(&ToWorker::Disconnect { slot }).await.expect("to order");
        }
        sender.flush().await.expect("to order");
    }

    pub async fn stop(&mut self) {
        self.sender.as_mut().expect("a link").send(&ToWorker::Stop).await.expect("to order");
    }

    /// Reads reports until `done` or until `patience` is over; tells which.
    pub async fn until(&mut self, patience: Duration, done: impl Fn(&Worker) -> bool) -> bool {
        let deadline = Instant::now() + patience;
        while !done(self) {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(message) = tokio::time::timeout(left, self.receiver.recv()).await else { return false };
            match message {
                Ok(FromWorker::Report(report)) => self.take(report),
                Ok(FromWorker::Beat) => self.beats += 1,
                Ok(other) => panic!("unexpected: {other:?}"),
                Err(e) => {
                    if done(self) {
                        return true;
                    }
                    let status = self.child.wait();
                    panic!("the worker is gone ({e}), {status:?}; it said: {}", self.stderr());
                }
            }
        }
        true
    }

    fn take(&mut self, report: Report) {
        self.reports += 1;
        if let Some(heard) = &mut self.heard {
            heard.push_str(&format!("{report:?}\n"));
        }
        assert!(report.news.is_sorted_by_key(|n| n.at), "news out of order");
        for news in report.news {
            let steps = self.steps.entry((news.slot, news.generation)).or_default();
            // What holds always: at most one up, exactly one end, and nothing after it.
            assert!(!matches!(steps.last(), Some((_, Step::Ended(..)))), "{news:?} after the end: {steps:?}");
            assert!(steps.is_empty() || matches!(news.step, Step::Ended(..)), "{news:?} after {steps:?}");
            assert!(steps.last().is_none_or(|(at, _)| *at <= news.at), "{news:?} before {steps:?}");
            steps.push((news.at, news.step));
        }
        self.samples.extend(report.samples);
        self.late.extend(report.late);
        self.tcp.extend(report.tcp);
        self.shortfalls.extend(report.shortfalls);
        self.subscribed.extend(report.subscribed);
        for more in report.messages {
            let (received, published) = self.messages.entry(more.slot).or_default();
            *received += more.received;
            *published += more.published;
        }
        self.samples_lost += report.samples_lost;
    }

    /// The latest step of the slot's present generation.
    pub fn step(&self, slot: Slot) -> Option<&Step> {
        self.steps.get(&(slot, self.generation(slot)))?.last().map(|(_, step)| step)
    }

    /// What the broker said, if that slot is up.
    pub fn connack(&self, slot: Slot) -> Option<&Connack> {
        match self.step(slot)? {
            Step::Up(connack) => Some(connack),
            Step::Ended(..) => None,
        }
    }

    pub fn is_up(&self, slot: Slot) -> bool {
        matches!(self.step(slot), Some(Step::Up(_)))
    }

    pub fn is_ended(&self, slot: Slot) -> bool {
        matches!(self.step(slot), Some(Step::Ended(..)))
    }

    /// The cause of the end of the slot's present generation.
    pub fn cause(&self, slot: Slot) -> &mqfleet::event::Cause {
        match self.step(slot) {
            Some(Step::Ended(cause, _)) => cause,
            other => panic!("slot {slot} has not ended: {other:?}"),
        }
    }

    pub fn up(&self) -> usize {
        self.generation.keys().filter(|&&slot| self.is_up(slot)).count()
    }

    pub fn ended(&self) -> usize {
        self.generation.keys().filter(|&&slot| self.is_ended(slot)).count()
    }

    /// Closes the console's end.
    pub fn hang_up(&mut self) {
        self.sender = None;
        // The receiving half keeps the socket open.
        let (_, receiver) = wire::link(UnixStream::pair().expect("a pair").0);
        self.receiver = receiver;
    }

    /// Waits for the process to end.
    pub async fn gone(&mut self, patience: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().expect("the worker's state") {
                return Some(status);
            }
            if Instant::now() > deadline {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub fn stderr(&self) -> String {
        std::fs::read_to_string(self.stderr.path()).unwrap_or_default()
    }

    /// A line of the process's status (`VmRSS`, `RssAnon`), in bytes.
    pub fn memory(&self, which: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("the worker's status");
        let line = status.lines().find_map(|l| l.strip_prefix(which)).expect("such a line");
        line.trim_start_matches(':').trim().trim_end_matches(" kB").trim().parse::<u64>().expect("a number") * 1024
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts `mqfleet worker 0` with one end of a socketpair as its standard input, under what
/// `MQFLEET_TEST_WORKER` names, such as `valgrind --error-exitcode=99`.
pub fn spawn(env: &[(&str, &str)]) -> (Child, StdStream, tempfile::NamedTempFile) {
    let (ours, theirs) = StdStream::pair().expect("a socketpair");
    ours.set_nonblocking(true).expect("a non-blocking socket");
    let stderr = tempfile::NamedTempFile::new().expect("a file");
    let under = std::env::var("MQFLEET_TEST_WORKER").unwrap_or_default();
    let mut words = under.split_whitespace().chain([program(), "worker", "0"]);
    let child = Command::new(words.next().expect("a program"))
        .args(words)
        .envs(env.iter().copied())
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(stderr.reopen().expect("a file"))
        .spawn()
        .expect("a worker");
    (child, ours, stderr)
}
