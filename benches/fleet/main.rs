//! Connects a fleet and has all of it publish at once, two ways against one broker: the least it can cost, and mqfleet; it measures, and leaves judging to its reader.

mod floor;
mod headless;
mod phases;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use mqfleet_test_support::{
    mosquitto, process,
    report::{Runs, Table, count, setting, verdict},
};
use phases::Times;

/// Connects under way at once, for everybody. mosquitto listens with a backlog of 100: a connect that finds
/// it full is tried again by the kernel after a second.
const WINDOWS: [usize; 3] = [90, 200, 1_000];

/// What mqfleet may cost, in times of the least that it can cost.
const CPU: f64 = 1.3;
const WALL: f64 = 2.0;
const BURST: f64 = 2.0;

/// What a phase may take before it counts as hung.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |n: usize| args.get(n).and_then(|a| a.parse::<usize>().ok()).unwrap_or(0);
    let broker = SocketAddr::from((Ipv4Addr::LOCALHOST, number(1) as u16));
    match args.first().map(String::as_str) {
        Some("floor") => floor::main(broker, number(2), number(3)),
        _ => compare(),
    }
}

#[derive(Default)]
struct Contender {
    name: String,
    from_start: Runs,
    connects: Runs,
    cpu: Runs,
    /// Of mqfleet's second run: not compared, the floor's clients do not probe.
    probing_cpu: Runs,
    burst: Runs,
    /// Runs in which a phase was not done within [`PATIENCE`].
    given_up: usize,
}

impl Contender {
    fn new(name: &str, clients: usize) -> Contender {
        Contender { name: format!("{name}, {}", count(clients)), ..Contender::default() }
    }

    fn take(&mut self, times: Times) {
        let phases = [
            (&mut self.from_start, times.from_start),
            (&mut self.connects, times.connects),
            (&mut self.cpu, times.cpu),
            (&mut self.burst, times.burst),
        ];
        for (runs, time) in phases {
            match time {
                Some(time) => runs.push_time(time),
                None => self.given_up += 1,
            }
        }
        if let Some(time) = times.probing_cpu {
            self.probing_cpu.push_time(time);
        }
    }

    fn row(&self, table: &mut Table) {
        let times = [&self.from_start, &self.connects, &self.cpu, &self.burst].map(Runs::times);
        let [from_start, connects, cpu, burst] = times;
        table.row([self.name.clone(), from_start, connects, cpu, burst]);
    }
}

fn compare() -> io::Result<()> {
    let clients = setting("MQFLEET_BENCH_CLIENTS", 10_000);
    let rounds = setting("MQFLEET_BENCH_ROUNDS", 3);
    println!("fleet: one broker, {} clients connect and publish at once", count(clients));
    println!("  {}", process::machine());
    println!("  {rounds} rounds of all contenders in turn; the median (lowest to highest)");
    println!("  connected: until the last CONNACK; of mqfleet, until the line that tells it was read");
    println!("  CPU: of all processes that hold connections, from their start to the last CONNACK");
    println!("  mqfleet's burst is a run of its own, of clients that probe (ack, each 3 s) from when they are up");
    println!("  QoS 1 from each at once: from the first PUBLISH to the last PUBACK\n");
    // A line for each connect would be its own load, on the cores of those who are measured.
    let lines = vec!["connection_messages false".to_owned()];
    let broker = mosquitto::Mosquitto::with(mosquitto::Setup { lines, ..mosquitto::Setup::default() });
    for window in WINDOWS {
        println!("at most {window} connects under way at once, whoever connects");
        let mut floor = Contender::new("floor: bare tokio", clients);
        let mut fleet = Contender::new("mqfleet", clients);
        for _ in 0..rounds {
            let args = ["floor".into(), broker.port().to_string(), clients.to_string(), window.to_string()];
            floor.take(phases::run(&args, PATIENCE)?);
            fleet.take(headless::run(broker.port(), clients, window, PATIENCE)?);
        }
        let heads = ["", "connected, from its start", "from the first connect", "CPU", "QoS 1 from each at once"];
        let mut table = Table::new(heads);
        for contender in [&floor, &fleet] {
            contender.row(&mut table);
        }
        table.print();
        if floor.given_up + fleet.given_up == 0 {
            let mut table = Table::new(["mqfleet to the floor", "ratio", ""]);
            for (what, ours, least, aim) in [
                ("CPU", &fleet.cpu, &floor.cpu, CPU),
                ("connected, from its start", &fleet.from_start, &floor.from_start, WALL),
                ("connected, from the first connect", &fleet.connects, &floor.connects, WALL),
                ("QoS 1 from each at once", &fleet.burst, &floor.burst, BURST),
            ] {
                let ratio = ours.median() / least.median();
                table.row([what.into(), format!("{ratio:.2}"), verdict(ratio, aim, "×")]);
            }
            table.print();
        }
        println!("  mqfleet, where its clients probe while others connect: CPU {}\n", fleet.probing_cpu.times());
        for c in [&floor, &fleet].into_iter().filter(|c| c.given_up > 0) {
            println!("  {}: given up {} times after {} s", c.name, c.given_up, PATIENCE.as_secs());
        }
    }
    Ok(())
}
