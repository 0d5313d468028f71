//! What following Paho's trace costs a worker that is busy publishing: the same worker with it and without, in turn; what the trace tells is tested elsewhere.

#[path = "harness/process.rs"]
mod machine;
#[path = "../tests/harness/mosquitto.rs"]
mod mosquitto;
#[path = "../tests/harness/worker.rs"]
mod process;
#[path = "harness/report.rs"]
mod report;

use std::{
    sync::Arc,
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

/// A share of what it is without, in per cent.
const AIM: f64 = 5.0;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (clients, rounds) = (setting("MQFLEET_BENCH_CLIENTS", 100), setting("MQFLEET_BENCH_ROUNDS", 12));
    println!("tap: {} clients of a worker publish at QoS 1 as fast as they can, {rounds} rounds", count(clients));
    println!("  {}\n", machine::machine());
    let broker = Mosquitto::start();
    let (mut with, mut without, mut loss, mut more) =
        (Runs::default(), Runs::default(), Runs::default(), Runs::default());
    for round in 0..rounds {
        // The second of two may find the machine otherwise than the first.
        let ([tapped, plain], turn) = ([&[][..], &[(TEST_NO_TAP, "1")][..]], round % 2 == 0);
        let (a, b) = if turn { (tapped, plain) } else { (plain, tapped) };
        let (a, b) = (run(&broker, clients, a).await, run(&broker, clients, b).await);
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
    let mut table = Table::new(["median (lowest to highest)", "", ""]);
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

async fn run(broker: &Mosquitto, clients: usize, env: &[(&str, &str)]) -> Run {
    let message = Message { topic: "bench".into(), payload: [b'x'; 64][..].into(), qos: 1, retain: false };
    let publish = Some(Traffic { message, every: Duration::from_millis(1) });
    let conversation = Arc::new(Conversation { publish, ..Conversation::default() });
    let define = |n| {
        let client = ClientDef {
            id: format!("bench-{n:04}").into(),
            protocol: Protocol::V5,
            keep_alive: Duration::from_secs(30),
            clean_start: true,
            session_expiry: Duration::ZERO,
            receive_maximum: None,
            user_properties: Vec::new(),
            connect_timeout: Duration::from_secs(30),
            probe: Probe { kind: ProbeKind::Heartbeat, every: Duration::from_secs(5) },
            username: None,
            password: None,
            identity: None,
            conversation: conversation.clone(),
        };
        Def::new(client, broker.port())
    };
    let mut worker = Worker::with_env((0..clients).map(define).collect(), env).await;
    worker.connect(0..clients as u32).await;
    assert!(worker.until(PATIENCE, |w| w.up() == clients).await, "{} up", worker.up());
    // Counted once a second; the first counts are of the start.
    let published = |w: &Worker| w.messages.values().map(|(_, published)| u64::from(*published)).sum::<u64>();
    let mut mark = (0, Instant::now(), Duration::ZERO);
    for n in 0..5 {
        let before = published(&worker);
        assert!(worker.until(PATIENCE, |w| published(w) > before).await, "nothing was published");
        if n == 1 {
            mark = (published(&worker), Instant::now(), machine::cpu(worker.child.id()));
        }
    }
    let (before, since, cpu) = mark;
    let messages = (published(&worker) - before) as f64;
    Run {
        pace: messages / since.elapsed().as_secs_f64(),
        cpu: (machine::cpu(worker.child.id()).saturating_sub(cpu)).as_secs_f64() / messages,
    }
}
