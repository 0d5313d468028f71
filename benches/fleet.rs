//! Connects a fleet and has all of it publish at once, three ways against one broker: the least it can cost, mqfleet, and Paho alone; it measures, and leaves judging to its reader.

#[path = "harness/alone.rs"]
mod alone;
#[path = "harness/floor.rs"]
mod floor;
#[path = "harness/headless.rs"]
mod headless;
#[path = "../tests/harness/mosquitto.rs"]
mod mosquitto;
#[path = "harness/phases.rs"]
mod phases;
#[path = "harness/process.rs"]
mod process;
#[path = "harness/report.rs"]
mod report;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use phases::Times;
use report::{Runs, Table, count, setting, verdict};

/// Connects under way at once, for everybody: mosquitto listens with a backlog of 100, and a connect
/// that finds it full is tried again by the kernel after a second.
const WINDOW: usize = 100;

/// What a phase may take before it counts as hung.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |n: usize| args.get(n).and_then(|a| a.parse::<usize>().ok()).unwrap_or(0);
    let broker = SocketAddr::from((Ipv4Addr::LOCALHOST, number(1) as u16));
    match args.first().map(String::as_str) {
        Some("floor") => floor::main(broker, number(2), number(3)),
        Some("alone") => alone::main(broker, number(2), number(3)),
        _ => compare(),
    }
}

#[derive(Default)]
struct Contender {
    name: String,
    clients: usize,
    from_start: Runs,
    connects: Runs,
    burst: Runs,
    /// Runs in which a phase was not done within [`PATIENCE`].
    given_up: usize,
}

impl Contender {
    fn new(name: &str, clients: usize) -> Contender {
        Contender { name: format!("{name}, {}", count(clients)), clients, ..Contender::default() }
    }

    fn take(&mut self, times: Times) {
        let phases = [
            (&mut self.from_start, times.from_start),
            (&mut self.connects, times.connects),
            (&mut self.burst, times.burst),
        ];
        for (runs, time) in phases {
            match time {
                Some(time) => runs.push_time(time),
                None => self.given_up += 1,
            }
        }
    }
}

fn compare() -> io::Result<()> {
    let clients = setting("MQFLEET_BENCH_CLIENTS", 10_000);
    let rounds = setting("MQFLEET_BENCH_ROUNDS", 3);
    let window = setting("MQFLEET_BENCH_WINDOW", WINDOW);
    let full = setting("MQFLEET_BENCH_FULL", 0) > 0;
    let alone: &[usize] = if full { &[2_000, 4_000, 8_000] } else { &[2_000, 4_000] };
    println!("fleet: one broker, {} clients connect and publish at once", count(clients));
    println!("  {}", process::machine());
    println!("  {rounds} rounds of all contenders in turn; the median (lowest to highest)");
    println!("  at most {window} connects under way at once, whoever connects");
    println!("  connected: until the last CONNACK; of mqfleet, until the line that tells it was read");
    println!("  QoS 1 from each at once: from the first PUBLISH to the last PUBACK\n");
    let broker = mosquitto::Mosquitto::start();
    let mut floor = Contender::new("floor: bare tokio", clients);
    let mut fleet = Contender::new("mqfleet", clients);
    let mut one: Vec<Contender> = alone.iter().map(|&n| Contender::new("Paho, one process", n)).collect();
    for _ in 0..rounds {
        let child = |kind: &str, n: usize| {
            let args = [kind.into(), broker.port().to_string(), n.to_string(), window.to_string()];
            phases::run(&args, PATIENCE)
        };
        floor.take(child("floor", clients)?);
        fleet.take(headless::run(broker.port(), clients, window, PATIENCE)?);
        for contender in &mut one {
            contender.take(child("alone", contender.clients)?);
        }
    }
    let mut table = Table::new(["", "connected, from its start", "from the first connect", "QoS 1 from each at once"]);
    for c in [&floor, &fleet].into_iter().chain(&one) {
        table.row([c.name.clone(), c.from_start.times(), c.connects.times(), c.burst.times()]);
    }
    table.print();
    if floor.given_up + fleet.given_up == 0 {
        let ratio = |a: &Runs, b: &Runs| a.median() / b.median();
        let (start, connects) = (ratio(&fleet.from_start, &floor.from_start), ratio(&fleet.connects, &floor.connects));
        let burst = ratio(&fleet.burst, &floor.burst);
        let mut table = Table::new(["mqfleet to the floor", "ratio", ""]);
        table.row(["connected, from its start".into(), format!("{start:.2}"), verdict(start, 1.5, "×")]);
        table.row(["connected, from the first connect".into(), format!("{connects:.2}"), verdict(connects, 1.5, "×")]);
        table.row(["QoS 1 from each at once".into(), format!("{burst:.2}"), verdict(burst, 3.0, "×")]);
        table.print();
    }
    for c in [&floor, &fleet].into_iter().chain(&one).filter(|c| c.given_up > 0) {
        println!("  {}: given up {} times after {} s", c.name, c.given_up, PATIENCE.as_secs());
    }
    Ok(())
}
