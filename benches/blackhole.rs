//! What a blackholed endpoint with half of the fleet costs the other half (the time of their probes) and the machine (CPU); the same fleet without it runs beside it, twice, to show what chance does.

#[path = "../tests/harness/certs.rs"]
mod certs;
#[path = "../tests/harness/mosquitto.rs"]
mod mosquitto;
#[path = "../tests/harness/peers.rs"]
mod peers;
#[path = "harness/process.rs"]
mod process;
#[path = "harness/report.rs"]
mod report;

use std::{
    fs,
    io::{self, BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

use report::{Runs, Table, count, setting, time, verdict};

/// From the last connect until the program counts as calm. The first probe of a blackholed endpoint
/// ends 5 s after the start; the others follow for as long as the program runs.
const CALM: Duration = Duration::from_secs(3);

/// What the connects may take.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> io::Result<()> {
    let clients = setting("MQFLEET_BENCH_HALF", 500);
    let rounds = setting("MQFLEET_BENCH_ROUNDS", 6);
    let watched = Duration::from_secs(setting("MQFLEET_BENCH_SECONDS", 10) as u64);
    println!("blackhole: {} clients on a healthy endpoint, probed every 5 s", count(clients));
    println!("  {}", process::machine());
    println!("  three programs side by side, so that what else this machine does is the same for all");
    println!("  {rounds} times {} s; the median (lowest to highest)\n", watched.as_secs());
    let (hole, broker) = (peers::Blackhole::open(), mosquitto::Mosquitto::start());
    let folder = tempfile::tempdir()?;
    let mut fleets = Vec::new();
    for (name, dark) in [
        ("they alone", None),
        ("a blackholed endpoint with as many", Some(hole.address())),
        ("they alone, once more", None),
    ] {
        let file = folder.path().join("fleet.toml");
        fs::write(&file, text(fleets.len(), broker.address(), dark, clients))?;
        fleets.push(Fleet::start(name, &file, clients)?);
    }
    std::thread::sleep(CALM);
    fleets.iter().for_each(|fleet| while fleet.lines.try_recv().is_ok() {});
    for _ in 0..rounds {
        let (before, since): (Vec<_>, _) = (fleets.iter().map(Fleet::used).collect(), Instant::now());
        std::thread::sleep(watched);
        for (fleet, before) in fleets.iter_mut().zip(before) {
            fleet.take(before, since.elapsed())?;
        }
    }
    let mut table = Table::new(["", "probe p50", "probe p99", "CPU of a core", "samples"]);
    for f in &fleets {
        let [least, most] = [0.0, 1.0].map(|q| f.cpu.quantile(q));
        let cpu = format!("{:.1} % ({least:.1} to {most:.1})", f.cpu.median());
        table.row([f.name.into(), f.p50.times(), f.p99.times(), cpu, count(f.samples)]);
    }
    table.print();
    let [alone, dark, again] = &fleets[..] else { return Ok(()) };
    let change = |a: &Fleet, b: &Fleet| (b.p99.median() / a.p99.median() - 1.0) * 100.0;
    let mut table = Table::new(["to the first", "", ""]);
    let moved = change(alone, dark);
    table.row(["p99 beside a blackholed endpoint".into(), format!("{moved:+.1} %"), verdict(moved, 10.0, "%")]);
    table.row(["p99 by chance".into(), format!("{:+.1} %", change(alone, again)), String::new()]);
    let (cpu, added) = (dark.cpu.median(), dark.cpu.median() - alone.cpu.median());
    table.row(["CPU that it adds, of a core".into(), format!("{added:+.1} %"), String::new()]);
    table.row(["CPU in all, beside a blackholed endpoint".into(), format!("{cpu:.1} %"), verdict(cpu, 5.0, "%")]);
    table.print();
    println!("  the clients' p99 alone: {}", time(alone.p99.median()));
    Ok(())
}

/// The `number`th fleet file: no two fleets have a client ID in common.
fn text(number: usize, well: SocketAddr, dark: Option<SocketAddr>, clients: usize) -> String {
    let half = |name: &str, address: SocketAddr| {
        format!(
            "[endpoint.{name}]\nurl = \"mqtt://{address}\"\n\
             [[client]]\nid = \"{name}-{number}-%04i\"\ncount = {clients}\nendpoints = [\"{name}\"]\n"
        )
    };
    let dark = dark.map_or(String::new(), |address| half("dark", address));
    format!("[defaults]\nprobe = {{ kind = \"ack\", every = \"5s\" }}\n{}{dark}", half("well", well))
}

/// A running program, and what was seen of it.
struct Fleet {
    name: &'static str,
    child: Ended,
    lines: Receiver<String>,
    processes: Vec<u32>,
    p50: Runs,
    p99: Runs,
    /// Of a core, in percent: the program and its workers.
    cpu: Runs,
    samples: usize,
}

impl Fleet {
    /// Starts the program and waits until this many of its clients are up.
    fn start(name: &'static str, file: &Path, clients: usize) -> io::Result<Fleet> {
        let mut child = Ended(
            Command::new(env!("CARGO_BIN_EXE_mqfleet"))
                .arg("run")
                .arg(file)
                .args(["--format", "json", "--samples"])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()?,
        );
        let lines = read(&mut child.0);
        let begin = Instant::now();
        let mut up = 0;
        while up < clients {
            let line = lines.recv_timeout(PATIENCE.saturating_sub(begin.elapsed())).map_err(io::Error::other)?;
            up += usize::from(line.contains(r#""to":"up""#));
        }
        let processes = process::children(child.0.id()).into_iter().chain([child.0.id()]).collect();
        let (p50, p99, cpu) = (Runs::default(), Runs::default(), Runs::default());
        Ok(Fleet { name, child, lines, processes, p50, p99, cpu, samples: 0 })
    }

    /// CPU time so far.
    fn used(&self) -> Duration {
        self.processes.iter().map(|&id| process::cpu(id)).sum()
    }

    /// Takes in what came in a round, in which it had used this much CPU time `before`.
    fn take(&mut self, before: Duration, round: Duration) -> io::Result<()> {
        self.cpu.push(self.used().saturating_sub(before).as_secs_f64() / round.as_secs_f64() * 100.0);
        let mut times = Runs::default();
        let micros = self.lines.try_iter().filter_map(|line| {
            let line: serde_json::Value = serde_json::from_str(&line).ok()?;
            line.get("rtt_us")?.as_u64()
        });
        micros.for_each(|us| times.push(us as f64 / 1e6));
        if times.is_empty() {
            return Err(io::Error::other(format!("process {}: no probe was answered", self.child.0.id())));
        }
        self.samples += times.len();
        self.p50.push(times.median());
        self.p99.push(times.quantile(0.99));
        Ok(())
    }
}

/// The program's lines as they come.
fn read(child: &mut Child) -> Receiver<String> {
    let (sender, lines) = channel();
    let out = child.stdout.take();
    std::thread::spawn(move || {
        for line in out.into_iter().flat_map(|out| BufReader::new(out).lines()).map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// A process that ends with its owner; its workers end with it.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
