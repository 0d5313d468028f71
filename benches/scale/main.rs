//! What 100,000 clients on one machine take: the time until all are up, memory and idle CPU, of the real program against real brokers, and the same of 10,000 over TLS; its reader judges by the aims beside the figures.

mod program;

use std::{
    fs, io,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use mqfleet_test_support::{
    certs::{Authority, VALID},
    mosquitto::{Mosquitto, Setup, free_port},
    process::{self, cpu, memory},
    program,
    report::{Table, count, setting, time, verdict},
};
use program::Program;
use rustix::process::{Resource, getrlimit, setrlimit};

/// Bytes of memory a client, of the workers and the console together.
const PLAIN: f64 = 9_000.0;
const TLS: f64 = 45_000.0;

/// All processes together when 100,000 clients are idle, in per cent of a core.
const CPU: f64 = 60.0;

/// The most clients a broker is given, where its open files do not allow fewer.
const BROKER: usize = 17_000;

/// What a broker has open besides its clients, and more.
const SPARE: u64 = 500;

/// From the last connect until the fleet counts as idle.
const CALM: Duration = Duration::from_secs(5);

/// For the start, and for each client at a tenth of the slowest default rate.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_millis(10));

fn main() -> io::Result<()> {
    let (plain, tls) = (setting("MQFLEET_BENCH_CLIENTS", 100_000), setting("MQFLEET_BENCH_TLS", 10_000));
    let watched = Duration::from_secs(setting("MQFLEET_BENCH_SECONDS", 30) as u64);
    let room = (raise_file_limit().saturating_sub(SPARE) as usize).clamp(1, BROKER);
    println!("scale: {} clients on plain TCP, then {} over TLS, on this machine", count(plain), count(tls));
    println!("  {}", process::machine());
    println!(
        "  memory: PSS, where what processes share is divided among them; what the kernel has for sockets is not in it"
    );
    println!("  idle: nothing but heartbeats, one a client every 30 s; watched for {} s\n", watched.as_secs());
    for (clients, way) in [(plain, Way::Plain), (tls, Way::Tls)] {
        if clients > 0 {
            measure(clients, room, &way, watched)?;
        }
    }
    Ok(())
}

/// As many open files as the system allows, for the brokers, which inherit it.
fn raise_file_limit() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[derive(Debug, PartialEq, Eq)]
enum Way {
    Plain,
    Tls,
}

fn measure(clients: usize, room: usize, way: &Way, watched: Duration) -> io::Result<()> {
    let authority = Authority::new("bench");
    let brokers: Vec<(Mosquitto, String, usize)> = shares(clients, clients.div_ceil(room))
        .map(|share| {
            let (broker, endpoint) = start(way, &authority);
            (broker, endpoint, share)
        })
        .collect();
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("fleet.toml");
    fs::write(&file, fleet(&brokers))?;
    let name = if *way == Way::Tls { "TLS" } else { "plain TCP" };
    println!("{} clients on {name}; brokers: {}", count(clients), brokers.len());
    check(&file)?;

    let begin = Instant::now();
    let program = Program::run(file.as_os_str())?;
    program.wait_up(clients, PATIENCE.0 + PATIENCE.1 * clients as u32)?;
    let connected = begin.elapsed();
    let workers = program.workers();
    let used = |ids: &[u32]| ids.iter().map(|&id| cpu(id)).sum::<Duration>();
    let (console, spent) = ([program.id()], [used(&workers), cpu(program.id())]);
    let rate = brokers.iter().map(|(_, _, share)| *share).max().unwrap_or_default() as f64 / RATE;
    let mut table = Table::new(["", "", ""]);
    let least = format!("{} is what the rate of {RATE} a second takes", time(rate));
    table.row(["all up, from the program's start".into(), time(connected.as_secs_f64()), least]);
    for (what, spent) in ["CPU until then, workers", "CPU until then, console"].into_iter().zip(spent) {
        let each = format!("{} a client", time(spent.as_secs_f64() / clients as f64));
        table.row([what.into(), time(spent.as_secs_f64()), each]);
    }

    thread::sleep(CALM);
    let (before, since) = ([used(&workers), used(&console)], Instant::now());
    thread::sleep(watched);
    let seconds = since.elapsed().as_secs_f64();
    let spent = [used(&workers) - before[0], used(&console) - before[1]];
    let [in_workers, in_console] = spent.map(|spent| spent.as_secs_f64() / seconds * 100.0);
    let held = [&workers[..], &console[..]].map(|ids| ids.iter().map(|&id| memory(id).pss).sum::<u64>() as f64);
    let mega = |bytes: f64| format!("{:.1} MB", bytes / 1e6);
    let each = |bytes: f64| format!("{:.2} kB a client", bytes / 1e3 / clients as f64);
    let all = held[0] + held[1];
    let aim = if *way == Way::Tls { TLS } else { PLAIN };
    table.row([format!("memory, workers ({})", workers.len()), mega(held[0]), each(held[0])]);
    table.row(["memory, console".into(), mega(held[1]), each(held[1])]);
    let (figure, aim) = (all / 1e3 / clients as f64, aim / 1e3);
    table.row(["memory, in all".into(), mega(all), format!("{}; {}", each(all), verdict(figure, aim, "kB"))]);
    table.row(["idle CPU of a core, workers".into(), format!("{in_workers:.1} %"), String::new()]);
    table.row(["idle CPU of a core, console".into(), format!("{in_console:.1} %"), String::new()]);
    let cpu = in_workers + in_console;
    let judged = if *way == Way::Tls { String::new() } else { verdict(cpu, CPU, "%") };
    table.row(["idle CPU of a core, in all".into(), format!("{cpu:.1} %"), judged]);
    let fell = verdict(program.fell() as f64, 0.0, "clients");
    table.row(["fell since they were up".into(), count(program.fell()), fell]);
    table.print();
    Ok(())
}

/// Connects a second to an endpoint, by default.
const RATE: f64 = mqfleet::fleet::Endpoint::CONNECT_RATE as f64;

/// So many clients in so many parts, as even as can be.
fn shares(clients: usize, parts: usize) -> impl Iterator<Item = usize> {
    (0..parts).map(move |n| clients / parts + usize::from(n < clients % parts))
}

/// A broker of its own, and the lines of the endpoint that it is.
fn start(way: &Way, authority: &Authority) -> (Mosquitto, String) {
    // A line for each connect would be its own load.
    let mut lines = vec!["connection_messages false".to_owned()];
    if *way == Way::Plain {
        let broker = Mosquitto::with(Setup { lines, ..Setup::default() });
        let endpoint = format!("url = \"mqtt://{}\"", broker.address());
        return (broker, endpoint);
    }
    let (port, (cert, key)) = (free_port(), authority.issue("server", "DNS:localhost", VALID));
    lines.extend([
        format!("listener {port} 127.0.0.1"),
        format!("certfile {}", cert.display()),
        format!("keyfile {}", key.display()),
    ]);
    let broker = Mosquitto::with(Setup { lines, ..Setup::default() });
    (broker, format!("url = \"mqtts://localhost:{port}\"\nca_file = \"{}\"", authority.pem().display()))
}

/// All as it is by default, but that each endpoint has a source address of its own.
fn fleet(brokers: &[(Mosquitto, String, usize)]) -> String {
    let size = setting("MQFLEET_BENCH_WORKER_SIZE", 2_000);
    let part = |(n, (_, endpoint, share)): (usize, &(Mosquitto, String, usize))| {
        format!(
            "[endpoint.b{n}]\n{endpoint}\nbind = \"127.0.1.{}\"\n\
             [[client]]\nid = \"b{n}-%05i\"\ncount = {share}\nendpoints = [\"b{n}\"]\n",
            n + 1
        )
    };
    let parts: String = brokers.iter().enumerate().map(part).collect();
    format!("[fleet]\nname = \"scale\"\nworker_size = {size}\n{parts}")
}

/// Prints what the program itself says of the fleet beforehand.
fn check(file: &Path) -> io::Result<()> {
    let said = Command::new(program()).arg("check").arg(file).output()?;
    for line in String::from_utf8_lossy(&said.stdout).lines().chain(String::from_utf8_lossy(&said.stderr).lines()) {
        println!("  {line}");
    }
    Ok(())
}
