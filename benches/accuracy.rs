//! How exact the measured round trips are: over ways of known length beside a plain TCP client on the same way at the same time, and what a worker's own size adds; what is done with them is no matter here.

#[path = "../tests/harness/comparison.rs"]
mod comparison;
#[path = "../tests/harness/delay.rs"]
mod delay;
#[path = "harness/process.rs"]
mod machine;
#[path = "../tests/harness/mosquitto.rs"]
mod mosquitto;
#[path = "../tests/harness/worker.rs"]
mod process;
#[path = "../tests/harness/reference.rs"]
mod reference;
#[path = "harness/report.rs"]
mod report;

use std::time::Duration;

use comparison::Plan;
use delay::Delay;
use mosquitto::Mosquitto;
use mqfleet::fleet::ProbeKind::{Ack, Echo, Heartbeat};
use report::{Table, count, setting, time};

const MS: Duration = Duration::from_millis(1);

/// What the median may be off: so many ms, and so large a share where that is more than what a
/// thread's wake-up takes.
const OFF: (f64, f64) = (1.0, 0.05);

/// What a process may add, in ms, at the 99th percentile.
const BIAS: f64 = 0.3;

#[tokio::main]
async fn main() {
    let (clients, seconds) = (setting("MQFLEET_BENCH_CLIENTS", 500), setting("MQFLEET_BENCH_SECONDS", 20) as u32);
    println!("accuracy: {} clients of a worker and a plain TCP client, {seconds} s each", count(clients));
    println!("  {}\n", machine::machine());
    let broker = Mosquitto::start();
    let plan = Plan {
        port: broker.port(),
        kinds: &[Heartbeat, Ack, Echo],
        clients,
        every: 1_000 * MS,
        keep_alive: 5_000 * MS,
        pause: 5_000 * MS / clients as u32,
        time: seconds * 1_000 * MS,
        reference: (4, 50 * MS),
    };
    let mut table = Table::new(["p50", "probes", "ours", "plain TCP", "off by", "aim 1 ms and 5 %"]);
    for one_way in [0, 5, 50, 200] {
        let port = Delay::to(broker.address(), one_way * MS).port();
        for seen in (Plan { port, ..plan }).carry_out().await {
            let (ours, plain) = seconds_of(seen.quantiles(0.5));
            let off = ours - plain;
            let is_met = off.abs() * 1e3 <= OFF.0 && (one_way == 0 || off.abs() <= OFF.1 * plain);
            table.row([
                format!("{one_way} ms one way, {}", seen.kind.name()),
                count(seen.ours.len()),
                exact(ours),
                exact(plain),
                format!("{:+.0} µs, {:+.1} %", off * 1e6, off / plain * 100.0),
                if is_met { "met".into() } else { "MISSED".into() },
            ]);
        }
    }
    table.print();

    let mut table = Table::new(["what a worker adds", "probes", "p50", "p99", "plain TCP, p99", "aim 0.3 ms at p99"]);
    for clients in [1, 100, 500] {
        for kind in [Heartbeat, Ack, Echo] {
            // About 500 probes a second, but one client alone has not so many; heartbeats 17 a second.
            let (every, keep_alive) = ((clients * 2 * MS).max(20 * MS), (clients * 60 * MS).max(1_000 * MS));
            let pause = if kind == Heartbeat { keep_alive / clients } else { MS };
            let plan = Plan { kinds: &[kind], clients: clients as usize, every, keep_alive, pause, ..plan };
            bias(&mut table, "", plan).await;
        }
    }
    // As a fleet connects by default, 100 a second: ten heartbeats are due each time that Paho looks.
    let plan = Plan { kinds: &[Heartbeat], clients: 500, pause: 10 * MS, ..plan };
    bias(&mut table, ", ten in step", plan).await;
    table.print();
}

/// Adds a line to the table of what a worker adds.
async fn bias(table: &mut Table, how: &str, plan: Plan<'_>) {
    let Some(seen) = (Plan { reference: (2, 20 * MS), ..plan }).carry_out().await.pop() else { return };
    let [(half, plain_half), (most, plain_most)] = [0.5, 0.99].map(|share| seconds_of(seen.quantiles(share)));
    table.row([
        format!("{} clients, {}{how}", count(plan.clients), seen.kind.name()),
        count(seen.ours.len()),
        format!("{:+.0} µs", (half - plain_half) * 1e6),
        format!("{:+.0} µs", (most - plain_most) * 1e6),
        time(plain_most),
        if (most - plain_most) * 1e3 <= BIAS { "met".into() } else { "MISSED".into() },
    ]);
}

fn seconds_of((ours, plain): (Duration, Duration)) -> (f64, f64) {
    (ours.as_secs_f64(), plain.as_secs_f64())
}

fn exact(seconds: f64) -> String {
    if seconds < 1e-3 { format!("{:.0} µs", seconds * 1e6) } else { format!("{:.2} ms", seconds * 1e3) }
}
