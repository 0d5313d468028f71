//! What inspecting and measuring every packet costs a busy worker, as a share of its CPU time; what they find is tested elsewhere.

use std::{
    hint::black_box,
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use mqfleet::{
    clock::Moment,
    fleet::{Conversation, Message, Probe, ProbeKind, Protocol, Settings, Traffic},
    mqtt::{Inspector, frame},
    paho::{Slots, Subject},
    wire::ClientDef,
};
use mqfleet_test_support::{
    mosquitto::Mosquitto,
    process,
    report::{Runs, Table, count, setting, verdict},
    worker::{self, Def, Worker},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// How long a worker that publishes is watched, once it is at full speed.
const WATCHED: Duration = Duration::from_secs(3);

/// A share of the worker's CPU time, in per cent.
const AIM: f64 = 2.0;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let rounds = setting("MQFLEET_BENCH_ROUNDS", 6);
    println!("tap: inspecting and measuring as a share of a busy worker's CPU time, {rounds} rounds");
    println!("  {}", process::machine());
    println!("  a worker's CPU time a message, and what the same packets take here in a loop, on a thread by itself\n");
    let broker = Mosquitto::start();
    let name = "10 clients receive, as fast as Paho can";
    compare(rounds, name, receive, async || receiving(10).await).await;
    let name = "100 clients publish, at the pace that a worker allows itself";
    compare(rounds, name, publish, async || publishing(&broker, 100).await).await;
}

async fn compare(rounds: usize, name: &str, part: impl Fn(Part) -> f64, run: impl AsyncFn() -> Run) {
    let (mut pace, mut whole) = (Runs::default(), Runs::default());
    let (mut inspecting, mut measuring, mut share) = (Runs::default(), Runs::default(), Runs::default());
    for _ in 0..rounds {
        let (run, [inspects, both]) = (run().await, [Part::Inspector, Part::Both].map(&part));
        pace.push(run.pace);
        whole.push(run.cpu * 1e9);
        inspecting.push(inspects * 1e9);
        measuring.push((both - inspects) * 1e9);
        share.push(both / run.cpu * 100.0);
    }
    let spread = |runs: &Runs, text: &dyn Fn(f64) -> String| {
        let [median, low, high] = [runs.median(), runs.quantile(0.0), runs.quantile(1.0)].map(text);
        format!("{median} ({low} to {high})")
    };
    let nanos = |ns: f64| format!("{ns:.0} ns");
    let mut table = Table::new([name, "median (lowest to highest)", ""]);
    table.row(["messages a second".into(), spread(&pace, &|pace| count(pace as usize)), String::new()]);
    table.row(["the worker's CPU time a message".into(), spread(&whole, &nanos), String::new()]);
    table.row(["of that, inspecting".into(), spread(&inspecting, &nanos), String::new()]);
    table.row(["of that, measuring".into(), spread(&measuring, &nanos), String::new()]);
    let judged = verdict(share.median(), AIM, "%");
    table.row(["their share".into(), spread(&share, &|share| format!("{share:.1} %")), judged]);
    table.print();
}

/// Which of the work is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Where packets end, and whether they may go on.
    Inspector,
    /// That, and what is measured by them.
    Both,
}

/// What the worker knows of a client that is up, as far as packets matter to it.
struct Side {
    inspector: Inspector,
    slots: Slots,
    part: Part,
}

const MAXIMUM: u32 = 256 << 10;

impl Side {
    fn up(part: Part) -> Side {
        let subject = Subject { topic: "mqfleet/probe/bench".into(), probe: ProbeKind::Heartbeat };
        let (slots, _) = Slots::new(vec![subject]);
        slots.open(0, 1, Moment::now());
        let mut side = Side { inspector: Inspector::new(Protocol::V5, MAXIMUM), slots, part };
        let connect = [&[0x10, 18, 0, 4][..], b"MQTT", &[5, 2, 0, 30, 0], &[0, 5], b"bench"].concat();
        side.sent(&connect, Moment::now());
        side.received(CONNACK, Moment::now());
        side
    }

    /// All packets that came at once.
    fn received(&mut self, mut bytes: &[u8], at: Moment) {
        while let Some(length) = frame(bytes, MAXIMUM).expect("a packet") {
            let (packet, rest) = bytes.split_at(length);
            let received = self.inspector.received(packet).expect("its turn");
            if self.part == Part::Both {
                self.slots.received(0, 1, &received, at);
            }
            black_box(self.inspector.instead(packet, &received));
            bytes = rest;
        }
    }

    fn sent(&mut self, packet: &[u8], at: Moment) {
        let sent = self.inspector.sent(packet, at);
        if self.part == Part::Both {
            self.slots.sent(0, 1, &sent, at);
        }
        black_box(sent);
    }
}

/// Seconds of CPU time a message that comes; a stamp is for all that came at once.
fn receive(part: Part) -> f64 {
    let (mut side, messages) = (Side::up(part), message().repeat(BATCH));
    timed(LOOPED / BATCH, |_| side.received(&messages, stamp(part))) / BATCH as f64
}

/// Seconds of CPU time a message of QoS 1 that goes, its PUBACK included.
fn publish(part: Part) -> f64 {
    let mut side = Side::up(part);
    let mut publish = [&[0x32, 74, 0, 5][..], b"bench", &[0, 0, 0], &[b'x'; 64]].concat();
    timed(LOOPED, |n| {
        let [high, low] = ((n % 60_000) as u16 + 1).to_be_bytes();
        publish[9..11].copy_from_slice(&[high, low]);
        side.sent(&publish, stamp(part));
        side.received(&[0x40, 2, high, low], stamp(part));
    })
}

fn stamp(part: Part) -> Moment {
    if part == Part::Both { Moment::now() } else { Moment(1) }
}

/// Messages that the loop here takes.
const LOOPED: usize = 1_000_000;

/// The CPU time of this thread, in seconds a turn.
fn timed(turns: usize, mut turn: impl FnMut(usize)) -> f64 {
    let begin = cpu_time();
    (0..turns).for_each(&mut turn);
    (cpu_time() - begin).as_secs_f64() / turns as f64
}

fn cpu_time() -> Duration {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
}

struct Run {
    /// Messages a second.
    pace: f64,
    /// The worker's CPU time, in seconds a message.
    cpu: f64,
}

/// Something to connect to that sends each client so many messages of QoS 0 as fast as it takes them, and
/// then one of QoS 1: its PUBACK tells that Paho is through with all of them. What was written only would
/// count what lies in buffers.
struct Flood {
    port: u16,
    /// Clients that still have something to take.
    busy: Arc<AtomicUsize>,
    begin: Arc<AtomicBool>,
}

/// Messages sent in one go.
const BATCH: usize = 50;

/// Messages for each client.
const MESSAGES: usize = 200_000;

impl Flood {
    fn start(clients: usize) -> Flood {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let (busy, begin) = (Arc::new(AtomicUsize::new(clients)), Arc::<AtomicBool>::default());
        let (counted, begun) = (busy.clone(), begin.clone());
        thread::spawn(move || {
            for client in listener.incoming().take(clients).flatten() {
                let (counted, begun) = (counted.clone(), begun.clone());
                thread::spawn(move || {
                    serve(client, &begun).expect("a client that takes it all");
                    counted.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Flood { port, busy, begin }
    }
}

/// Of MQTT 5.0: success, no properties.
const CONNACK: &[u8] = &[0x20, 3, 0, 0, 0];

/// PUBLISH of MQTT 5.0 at QoS 0: a topic of 5 bytes, no properties.
fn message() -> Vec<u8> {
    [&[0x30, 72, 0, 5][..], b"bench", &[0], &[b'x'; 64]].concat()
}

fn serve(mut client: TcpStream, begin: &AtomicBool) -> io::Result<()> {
    let _ = client.read(&mut [0; 1024])?;
    client.write_all(CONNACK)?;
    while !begin.load(Ordering::SeqCst) {
        thread::sleep(Duration::from_millis(1));
    }
    let messages = message().repeat(BATCH);
    for _ in 0..MESSAGES / BATCH {
        client.write_all(&messages)?;
    }
    client.write_all(&[&[0x32, 10, 0, 5][..], b"bench", &[0, 1, 0]].concat())?;
    let mut answer = [0; 2];
    client.read_exact(&mut answer)?;
    assert_eq!(answer[0] >> 4, 4, "{answer:?} instead of a PUBACK");
    Ok(())
}

async fn receiving(clients: usize) -> Run {
    let flood = Flood::start(clients);
    let mut worker = start(clients, flood.port, Arc::default()).await;
    let look = |w: &Worker, messages| (messages, Instant::now(), process::cpu(w.child.id()));
    let before = look(&worker, 0);
    flood.begin.store(true, Ordering::SeqCst);
    while flood.busy.load(Ordering::SeqCst) > 0 {
        assert!(before.1.elapsed() < PATIENCE, "not all was taken");
        worker.until(Duration::from_millis(5), |_| false).await;
    }
    Run::between(before, look(&worker, (clients * MESSAGES) as u64))
}

async fn publishing(broker: &Mosquitto, clients: usize) -> Run {
    let message = Message { topic: "bench".into(), payload: [b'x'; 64][..].into(), qos: 1, retain: false };
    let publish = Some(Traffic { message, every: Duration::from_millis(1) });
    let conversation = Arc::new(Conversation { publish, ..Conversation::default() });
    let mut worker = start(clients, broker.port(), conversation).await;
    // Counted once a second; the first counts are of the start.
    let published = |w: &Worker| w.messages.values().map(|(_, published)| u64::from(*published)).sum::<u64>();
    let look = |w: &Worker| (published(w), Instant::now(), process::cpu(w.child.id()));
    let mut before = look(&worker);
    for n in 0..2 + WATCHED.as_secs() {
        let known = published(&worker);
        assert!(worker.until(PATIENCE, |w| published(w) > known).await, "nothing was published");
        if n == 1 {
            before = look(&worker);
        }
    }
    Run::between(before, look(&worker))
}

impl Run {
    /// From messages, time and CPU time, before and after.
    fn between(before: (u64, Instant, Duration), after: (u64, Instant, Duration)) -> Run {
        let messages = (after.0 - before.0) as f64;
        Run {
            pace: messages / (after.1 - before.1).as_secs_f64(),
            cpu: after.2.saturating_sub(before.2).as_secs_f64() / messages,
        }
    }
}

async fn start(clients: usize, port: u16, conversation: Arc<Conversation>) -> Worker {
    let define = |n| {
        let client = ClientDef {
            settings: Settings {
                maximum_packet_size: MAXIMUM,
                probe: Probe { kind: ProbeKind::Heartbeat, every: Duration::from_secs(5) },
                ..worker::settings()
            },
            probe_topic: "".into(),
            conversation: conversation.clone(),
            ..worker::client(format!("bench-{n:04}"))
        };
        Def::new(client, port)
    };
    let mut worker = Worker::start((0..clients).map(define).collect()).await;
    worker.connect(0..clients as u32).await;
    assert!(worker.until(PATIENCE, |w| w.up() == clients).await, "{} up", worker.up());
    worker
}
