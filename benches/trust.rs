//! What 500 TLS clients cost in time and memory when they are verified against the system's trust store, beside what they cost against a file with the one CA; that both refuse a stranger is tested elsewhere.

use std::{fs, io, path::Path, time::Instant};

use mqfleet_test_support::{
    certs::{Authority, VALID},
    fleet_file::FleetFile,
    headless::Headless,
    mosquitto::{Mosquitto, Setup, free_port},
    process::{self, children, memory},
    report::{Runs, Table, count, setting, verdict},
};

const STORE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Time and memory with the store may be so many times what they are with one CA.
const AIM: f64 = 1.1;

fn main() -> io::Result<()> {
    let (clients, rounds) = (setting("MQFLEET_BENCH_TLS", 500), setting("MQFLEET_BENCH_ROUNDS", 5));
    println!("trust: {} TLS clients in a worker, {rounds} rounds, each in both ways", count(clients));
    println!("  {}\n", process::machine());
    let authority = Authority::new("bench");
    let Ok(system) = fs::read_to_string(STORE) else {
        println!("  skipped: there is no {STORE}");
        return Ok(());
    };
    let store = authority.path("store.pem");
    fs::write(&store, format!("{system}{}", fs::read_to_string(authority.pem())?))?;
    let (cert, key) = authority.issue("server", "DNS:localhost", VALID);
    let port = free_port();
    let lines = vec![
        format!("listener {port} 127.0.0.1"),
        format!("certfile {}", cert.display()),
        format!("keyfile {}", key.display()),
    ];
    let _broker = Mosquitto::with(Setup { lines, ..Setup::default() });
    let ways = [("one CA", Some(authority.pem())), ("system's store", None)];
    let mut runs = [(Runs::default(), Runs::default()), (Runs::default(), Runs::default())];
    for _ in 0..rounds {
        for ((_, ca_file), (connected, held)) in ways.iter().zip(&mut runs) {
            let (seconds, bytes) = run(port, clients, ca_file.as_deref(), &store);
            connected.push(seconds);
            held.push(bytes as f64 / 1e6);
        }
    }
    let certificates = system.matches("BEGIN CERTIFICATE").count() + 1;
    let mut table = Table::new(["median (lowest to highest)", "all up", "memory of the worker (PSS)"]);
    for ((name, ca_file), (connected, held)) in ways.iter().zip(&runs) {
        let name = if ca_file.is_some() { (*name).to_owned() } else { format!("{name} of {certificates}") };
        let (median, low, high) = (held.median(), held.quantile(0.0), held.quantile(1.0));
        table.row([name, connected.times(), format!("{median:.1} MB ({low:.1} to {high:.1})")]);
    }
    table.print();
    let [(one_time, one_held), (all_time, all_held)] = &runs;
    for (what, ratio) in
        [("time", all_time.median() / one_time.median()), ("memory", all_held.median() / one_held.median())]
    {
        println!("  {what}: {ratio:.2} times that of one CA; {}", verdict(ratio, AIM, "times"));
    }
    println!("  all up: from the program's start, its probe of the endpoint included");
    Ok(())
}

/// Seconds from the program's start until all are up, and the bytes their worker has then.
fn run(port: u16, clients: usize, ca_file: Option<&Path>, store: &Path) -> (f64, u64) {
    let ca_file = ca_file.map(|file| format!("ca_file = \"{}\"", file.display())).unwrap_or_default();
    let file = FleetFile::new(&format!(
        r#"
        [endpoint.secure]
        url = "mqtts://localhost:{port}"
        connect_rate = 100000
        {ca_file}
        [[client]]
        id = "c-%03i"
        count = {clients}
        endpoints = ["secure"]
        "#
    ));
    let begin = Instant::now();
    let fleet = Headless::start(&["run", file.path()], &[("SSL_CERT_FILE", store.to_str().expect("a path"))]);
    fleet.wait_up(clients);
    let seconds = begin.elapsed().as_secs_f64();
    let bytes = children(fleet.id()).iter().map(|&worker| memory(worker).pss).sum();
    (seconds, bytes)
}
