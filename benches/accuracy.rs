//! How exact the measured round trips are: over ways of known length beside a plain TCP client on the same way at the same time, and what a worker's own size adds; what is done with them is no matter here.

use std::time::Duration;

use mqfleet::fleet::ProbeKind::{Ack, Echo, Heartbeat};
use mqfleet_test_support::{
    comparison::{Plan, Seen, quantile},
    delay::Delay,
    mosquitto::Mosquitto,
    process,
    report::{Table, count, setting, time},
};

const MS: Duration = Duration::from_millis(1);

/// What the median may be off: so many ms, and so large a share.
const OFF: (f64, f64) = (1.0, 0.05);

/// What a process may add, in ms, at the 99th percentile.
const BIAS: f64 = 0.3;

#[tokio::main]
async fn main() {
    let (clients, seconds) = (setting("MQFLEET_BENCH_CLIENTS", 500), setting("MQFLEET_BENCH_SECONDS", 20) as u32);
    println!("accuracy: {} clients of a worker and as many plain TCP clients, twice, {seconds} s each", count(clients));
    println!("  {}", process::machine());
    println!(
        "  \"between\" is what the two lots of plain clients differ by: no difference below that means anything\n"
    );
    let broker = Mosquitto::start();
    let plan = Plan {
        port: broker.port(),
        kinds: &[Heartbeat, Ack, Echo],
        clients,
        every: 1_000 * MS,
        keep_alive: 5_000 * MS,
        pause: 5_000 * MS / clients as u32,
        time: seconds * 1_000 * MS,
    };
    let mut table =
        Table::new(["p50", "probes", "ours", "plain TCP", "off by", "between", "its send()", "aim 1 ms and 5 %"]);
    for one_way in [0, 5, 50, 200] {
        let port = Delay::to(broker.address(), one_way * MS).port();
        for seen in (Plan { port, ..plan }).carry_out().await {
            let [ours, plain, between] = figures(&seen, 0.5);
            let off = ours - plain;
            table.row([
                format!("{one_way} ms one way, {}", seen.kind.name()),
                count(seen.ours.len()),
                exact(ours),
                exact(plain),
                format!("{:+.0} µs, {:+.1} %", off * 1e6, off / plain * 100.0),
                format!("{:.0} µs, {:.1} %", between * 1e6, between / plain * 100.0),
                exact(quantile(&seen.sends, 0.5).as_secs_f64()),
                verdict(off.abs() * 1e3 <= OFF.0 && off.abs() <= OFF.1 * plain),
            ]);
        }
    }
    table.print();

    let heads = ["what a worker adds", "probes", "p50", "p99", "plain TCP, p99", "between", "aim 0.3 ms at p99"];
    let mut table = Table::new(heads);
    for clients in [1, 100, 500] {
        for kind in [Heartbeat, Ack, Echo] {
            // About 500 probes a second, but one client alone has not so many; heartbeats 10 a second.
            let (every, keep_alive) = ((clients * 2 * MS).max(20 * MS), (clients * 100 * MS).max(1_000 * MS));
            let pause = if kind == Heartbeat { keep_alive / clients } else { MS };
            let time = if kind == Heartbeat { plan.time.max(keep_alive * 3 / 2) } else { plan.time };
            let plan = Plan { kinds: &[kind], clients: clients as usize, every, keep_alive, pause, time, ..plan };
            bias(&mut table, "", plan).await;
        }
    }
    // As a fleet connects by default, 100 a second: twenty heartbeats are due each time that Paho looks.
    let plan = Plan { kinds: &[Heartbeat], clients: 500, pause: 10 * MS, ..plan };
    bias(&mut table, ", twenty in step", plan).await;
    table.print();
}

/// Adds a line to the table of what a worker adds.
async fn bias(table: &mut Table, how: &str, plan: Plan<'_>) {
    let Some(seen) = plan.carry_out().await.pop() else { return };
    let [[half, plain_half, _], [most, plain_most, between]] = [0.5, 0.99].map(|share| figures(&seen, share));
    table.row([
        format!("{} clients, {}{how}", count(plan.clients), seen.kind.name()),
        count(seen.ours.len()),
        format!("{:+.0} µs", (half - plain_half) * 1e6),
        format!("{:+.0} µs", (most - plain_most) * 1e6),
        time(plain_most),
        exact(between),
        verdict((most - plain_most) * 1e3 <= BIAS),
    ]);
}

/// In seconds: ours, the plain clients', and the difference between the two lots of those.
fn figures(seen: &Seen, share: f64) -> [f64; 3] {
    let (ours, plain) = seen.quantiles(share);
    let [a, b] = plain.map(|plain| plain.as_secs_f64());
    [ours.as_secs_f64(), (a + b) / 2.0, (a - b).abs()]
}

fn verdict(is_met: bool) -> String {
    if is_met { "met".into() } else { "MISSED".into() }
}

fn exact(seconds: f64) -> String {
    if seconds < 1e-3 { format!("{:.0} µs", seconds * 1e6) } else { format!("{:.2} ms", seconds * 1e3) }
}
