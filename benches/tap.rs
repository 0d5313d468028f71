//! What following Paho's trace costs a busy worker: the same worker with it and without, in turn; what the trace tells is tested elsewhere.

#[path = "harness/process.rs"]
mod machine;
#[path = "../tests/harness/mosquitto.rs"]
mod mosquitto;
#[path = "../tests/harness/worker.rs"]
mod process;
#[path = "harness/report.rs"]
mod report;

use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use mosquitto::Mosquitto;
use mqfleet::{
    fleet::{Conversation, Message, Probe, ProbeKind, Protocol, Traffic},
    wire::{ClientDef, TEST_NO_TAP},
};
use process::{Def, Worker};
use report::{Runs, Table, count, setting, verdict};

const PATIENCE: Duration = Duration::from_secs(60);

/// How long a worker that publishes is watched, once it is at full speed.
const WATCHED: Duration = Duration::from_secs(3);

/// A share of what it is without, in per cent.
const AIM: f64 = 5.0;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let rounds = setting("MQFLEET_BENCH_ROUNDS", 12);
    println!("tap: a worker with it and without in turn, {rounds} rounds");
    println!("  {}\n", machine::machine());
    let broker = Mosquitto::start();
    let name = "100 clients publish, at the pace that a worker allows itself";
    compare(rounds, name, async |env| publishing(&broker, 100, env).await).await;
    let name = "10 clients receive, as fast as Paho can";
    compare(rounds, name, async |env| receiving(10, env).await).await;
}

async fn compare(rounds: usize, name: &str, run: impl AsyncFn(&[(&str, &str)]) -> Run) {
    let (mut with, mut without, mut loss, mut more) =
        (Runs::default(), Runs::default(), Runs::default(), Runs::default());
    for round in 0..rounds {
        // The second of two may find the machine otherwise than the first.
        let ([tapped, plain], turn) = ([&[][..], &[(TEST_NO_TAP, "1")][..]], round % 2 == 0);
        let (a, b) = if turn { (tapped, plain) } else { (plain, tapped) };
        let (a, b) = (run(a).await, run(b).await);
        let (tapped, plain) = if turn { (a, b) } else { (b, a) };
        with.push(tapped.pace);
        without.push(plain.pace);
        loss.push((1.0 - tapped.pace / plain.pace) * 100.0);
        more.push((tapped.cpu / plain.cpu - 1.0) * 100.0);
    }
    let pace = |runs: &Runs| {
        let [median, low, high] = [runs.median(), runs.quantile(0.0), runs.quantile(1.0)].map(|p| count(p as usize));
        format!("{median} ({low} to {high})")
    };
    let percent = |r: &Runs| format!("{:.1} % ({:.1} to {:.1})", r.median(), r.quantile(0.0), r.quantile(1.0));
    let mut table = Table::new([name, "median (lowest to highest)", ""]);
    table.row(["messages a second, with".into(), pace(&with), String::new()]);
    table.row(["without".into(), pace(&without), String::new()]);
    table.row(["slower, by the round".into(), percent(&loss), verdict(loss.median(), AIM, "%")]);
    table.row(["more CPU time a message".into(), percent(&more), String::new()]);
    table.print();
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

fn serve(mut client: TcpStream, begin: &AtomicBool) -> io::Result<()> {
    // CONNECT, and CONNACK of MQTT 5.0; then PUBLISH: a topic of 5 bytes, no properties.
    let _ = client.read(&mut [0; 1024])?;
    client.write_all(&[0x20, 3, 0, 0, 0])?;
    while !begin.load(Ordering::SeqCst) {
        thread::sleep(Duration::from_millis(1));
    }
    let messages = [&[0x30, 72, 0, 5][..], b"bench", &[0], &[b'x'; 64]].concat().repeat(BATCH);
    for _ in 0..MESSAGES / BATCH {
        client.write_all(&messages)?;
    }
    client.write_all(&[&[0x32, 10, 0, 5][..], b"bench", &[0, 1, 0]].concat())?;
    let mut answer = [0; 2];
    client.read_exact(&mut answer)?;
    assert_eq!(answer[0] >> 4, 4, "{answer:?} instead of a PUBACK");
    Ok(())
}

async fn receiving(clients: usize, env: &[(&str, &str)]) -> Run {
    let flood = Flood::start(clients);
    let mut worker = start(clients, flood.port, Arc::default(), env).await;
    let look = |w: &Worker, messages| (messages, Instant::now(), machine::cpu(w.child.id()));
    let before = look(&worker, 0);
    flood.begin.store(true, Ordering::SeqCst);
    while flood.busy.load(Ordering::SeqCst) > 0 {
        assert!(before.1.elapsed() < PATIENCE, "not all was taken");
        worker.until(Duration::from_millis(5), |_| false).await;
    }
    Run::between(before, look(&worker, (clients * MESSAGES) as u64))
}

async fn publishing(broker: &Mosquitto, clients: usize, env: &[(&str, &str)]) -> Run {
    let message = Message { topic: "bench".into(), payload: [b'x'; 64][..].into(), qos: 1, retain: false };
    let publish = Some(Traffic { message, every: Duration::from_millis(1) });
    let conversation = Arc::new(Conversation { publish, ..Conversation::default() });
    let mut worker = start(clients, broker.port(), conversation, env).await;
    // Counted once a second; the first counts are of the start.
    let published = |w: &Worker| w.messages.values().map(|(_, published)| u64::from(*published)).sum::<u64>();
    let look = |w: &Worker| (published(w), Instant::now(), machine::cpu(w.child.id()));
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

async fn start(clients: usize, port: u16, conversation: Arc<Conversation>, env: &[(&str, &str)]) -> Worker {
    let define = |n| {
        let client = ClientDef {
            id: format!("bench-{n:04}").into(),
            protocol: Protocol::V5,
            keep_alive: Duration::from_secs(30),
            clean_start: true,
            session_expiry: Duration::ZERO,
            receive_maximum: None,
            maximum_packet_size: 256 << 10,
            user_properties: Vec::new(),
            connect_timeout: Duration::from_secs(30),
            probe: Probe { kind: ProbeKind::Heartbeat, every: Duration::from_secs(5) },
            username: None,
            password: None,
            identity: None,
            conversation: conversation.clone(),
        };
        Def::new(client, port)
    };
    let mut worker = Worker::with_env((0..clients).map(define).collect(), env).await;
    worker.connect(0..clients as u32).await;
    assert!(worker.until(PATIENCE, |w| w.up() == clients).await, "{} up", worker.up());
    worker
}
