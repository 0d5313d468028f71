//! What connects into a blackhole cost the worker that makes them (CPU) and its other clients (the time of their probes); workers without them run beside it, two of them, to show what chance does.

use std::time::{Duration, Instant};

use mqfleet::{
    fleet::{Probe, ProbeKind, Settings},
    wire::{ClientDef, Slot},
};
use mqfleet_test_support::{
    mosquitto, peers, process,
    report::{Runs, Table, count, setting, time, verdict},
    worker::{self, Def, Worker},
};

/// From the last connect until the workers count as calm.
const CALM: Duration = Duration::from_secs(3);

/// What the connects may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The time between two probes of a healthy client.
const EVERY: Duration = Duration::from_secs(1);

/// What hanging connects may cost, in per cent of a core, and of their neighbours' p99.
const CPU: f64 = 0.5;
const P99: f64 = 10.0;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let half = setting("MQFLEET_BENCH_HALF", 500);
    let rounds = setting("MQFLEET_BENCH_ROUNDS", 8);
    let watched = Duration::from_secs(setting("MQFLEET_BENCH_SECONDS", 10) as u64);
    println!("blackhole: {0} healthy clients, probed every second, and {0} connects that hang", count(half));
    println!("  {}", process::machine());
    println!("  four workers side by side, so that what else this machine does is the same for all");
    println!("  {rounds} times {} s; the median (lowest to highest)\n", watched.as_secs());
    let (hole, broker) = (peers::Blackhole::open(), mosquitto::Mosquitto::start());
    let ports = (broker.port(), hole.address().port());
    let mut lots = [
        Lot::start("healthy alone", half, 0, ports).await,
        Lot::start("healthy, beside connects that hang", half, half, ports).await,
        Lot::start("healthy alone, once more", half, 0, ports).await,
        Lot::start("connects that hang, alone", 0, half, ports).await,
    ];
    look(&mut lots, CALM).await;
    for _ in 0..rounds {
        let (before, since) = (lots.each_ref().map(Lot::used), Instant::now());
        look(&mut lots, watched).await;
        for (lot, before) in lots.iter_mut().zip(before) {
            lot.take(before, since.elapsed());
        }
    }
    let mut table = Table::new(["", "probe p50", "probe p99", "CPU of a core", "samples"]);
    for lot in &lots {
        let [least, most] = [0.0, 1.0].map(|q| lot.cpu.quantile(q));
        let cpu = format!("{:.2} % ({least:.2} to {most:.2})", lot.cpu.median());
        table.row([lot.name.into(), lot.p50.times(), lot.p99.times(), cpu, count(lot.samples)]);
    }
    table.print();
    let [alone, beside, again, hanging] = &lots;
    let moved = |lot: &Lot| (lot.p99.median() / alone.p99.median() - 1.0) * 100.0;
    let more = |lot: &Lot| lot.cpu.median() - alone.cpu.median();
    let mut table = Table::new(["to the first", "", ""]);
    table.row([
        "p99 beside connects that hang".into(),
        format!("{:+.1} %", moved(beside)),
        verdict(moved(beside), P99, "%"),
    ]);
    table.row(["p99 by chance".into(), format!("{:+.1} %", moved(again)), String::new()]);
    table.row(["CPU that they add".into(), format!("{:+.2} %", more(beside)), verdict(more(beside), CPU, "%")]);
    table.row(["CPU by chance".into(), format!("{:+.2} %", more(again)), String::new()]);
    let cpu = hanging.cpu.median();
    table.row(["CPU of connects that hang, alone".into(), format!("{cpu:.2} %"), verdict(cpu, CPU, "%")]);
    table.print();
    println!("  the clients' p99 alone: {}", time(alone.p99.median()));
    let hang: usize = lots.iter().map(Lot::hanging).sum();
    println!("  connects that still hang: {} of {}", count(hang), count(2 * half));
}

/// Lets all of them tell what they have to for so long.
async fn look(lots: &mut [Lot; 4], time: Duration) {
    let [a, b, c, d] = lots;
    let hear = |lot| Lot::hear(lot, time);
    tokio::join!(hear(a), hear(b), hear(c), hear(d));
}

/// A worker, and what was seen of it.
struct Lot {
    name: &'static str,
    worker: Worker,
    healthy: usize,
    dark: usize,
    p50: Runs,
    p99: Runs,
    /// Of a core, in per cent.
    cpu: Runs,
    samples: usize,
}

impl Lot {
    /// Starts it, waits until the healthy ones are up, and orders the others.
    async fn start(name: &'static str, healthy: usize, dark: usize, (well, hole): (u16, u16)) -> Lot {
        let port = |n| if n < healthy { well } else { hole };
        let define = |n| Def::new(client(&format!("{name} {n}")), port(n));
        let mut worker = Worker::start((0..healthy + dark).map(define).collect()).await;
        for slot in 0..healthy as Slot {
            worker.connect([slot]).await;
            worker.until(EVERY / healthy as u32, |_| false).await; // their probes come apart, too
        }
        let all_up = worker.until(PATIENCE, |w| w.up() == healthy).await;
        assert!(all_up, "{} of {healthy} up", worker.up());
        worker.connect(healthy as Slot..(healthy + dark) as Slot).await;
        let (p50, p99, cpu) = (Runs::default(), Runs::default(), Runs::default());
        Lot { name, worker, healthy, dark, p50, p99, cpu, samples: 0 }
    }

    async fn hear(&mut self, time: Duration) {
        self.worker.samples.clear();
        self.worker.until(time, |_| false).await;
    }

    /// CPU time so far.
    fn used(&self) -> Duration {
        process::cpu(self.worker.child.id())
    }

    fn hanging(&self) -> usize {
        self.dark - self.worker.ended()
    }

    /// Takes in what came in a round, in which it had used this much CPU time `before`.
    fn take(&mut self, before: Duration, round: Duration) {
        self.cpu.push(self.used().saturating_sub(before).as_secs_f64() / round.as_secs_f64() * 100.0);
        let mut times: Vec<Duration> = self.worker.samples.iter().map(|sample| sample.rtt).collect();
        assert!(self.healthy == 0 || !times.is_empty(), "no probe was answered");
        times.sort();
        self.samples += times.len();
        let at = |share: f64| times.get((times.len() as f64 * share) as usize).copied();
        for (runs, time) in [(&mut self.p50, at(0.5)), (&mut self.p99, at(0.99))] {
            time.into_iter().for_each(|time| runs.push_time(time));
        }
    }
}

/// One whose connect may hang for longer than any run.
fn client(id: &str) -> ClientDef {
    ClientDef {
        settings: Settings {
            connect_timeout: Duration::from_secs(3_600),
            probe: Probe { kind: ProbeKind::Ack, every: EVERY },
            ..worker::settings()
        },
        ..worker::client(id)
    }
}
