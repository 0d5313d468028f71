//! What an endpoint costs the rest of the fleet while it is blackholed, or while its name is looked up in vain: nothing. What its probe says is tested in `endpoint.rs`.
#![allow(clippy::unwrap_used, reason = "what panics here is a failed test")]

use std::{
    collections::HashSet,
    fs,
    net::SocketAddr,
    time::{Duration, Instant},
};

use mqfleet_test_support::{
    SOON,
    console::Console,
    fleet_file::FleetFile,
    headless::{self, Headless},
    mosquitto::Mosquitto,
    name_server::{self, NameServer},
    peers::Blackhole,
    process,
};
use rustix::process::Signal;

/// How long the program may take to leave: the workers say goodbye, and nobody waits for a resolver.
const AT_ONCE: Duration = Duration::from_secs(3);

#[test]
fn paho_never_hears_of_a_blackholed_endpoint() {
    let (hole, broker) = (Blackhole::open(), Mosquitto::start());
    let file = FleetFile::new(&format!(
        r#"
        [endpoint.dark]
        url = "mqtt://{}"
        [endpoint.well]
        url = "mqtt://{}"
        [defaults]
        probe = {{ kind = "ack", every = "2s" }}
        [[client]]
        id = "dark-%03i"
        count = 500
        endpoints = ["dark"]
        [[client]]
        id = "well-%03i"
        count = 500
        endpoints = ["well"]
        "#,
        hole.address(),
        broker.address(),
    ));
    let mut run = Headless::start(&["run", file.path(), "--samples"], &[]);
    run.wait_up(500);
    let (begun, used) = (Instant::now(), cpu(&run));
    let mut seen = HashSet::new();
    let held = |h: &headless::Heard| h.of_type("state").filter(|l| l["reason"] == "connect_timeout").count();
    while held(&run.heard()) < 500 {
        seen.extend(callers(hole.address()));
        assert!(begun.elapsed() < SOON, "its clients are not told why they wait");
        std::thread::sleep(Duration::from_millis(50));
    }
    let (took, used) = (begun.elapsed(), cpu(&run).saturating_sub(used));
    println!("{:.1} % of a core in {took:?}", 100.0 * used.as_secs_f64() / took.as_secs_f64());
    // The figure is the benchmark's; one that polls takes a whole core.
    assert!(used < took / 2, "{used:?} of CPU time in {took:?}");
    // Only root is told whose a socket is: the program lets no other look at its files.
    if rustix::process::geteuid().is_root() {
        assert_eq!(seen, HashSet::from([run.id()]), "only the probe, which is the program's own, knocks there");
    }
    assert_eq!(run.workers().len(), 1, "the dark and the well share a worker");
    let heard = run.heard();
    let dark = heard.of_type("state").filter(|l| l["endpoint"] == "dark");
    let steps: HashSet<&str> = dark.map(|l| l["to"].as_str().unwrap()).collect();
    assert_eq!(steps, HashSet::from(["held"]), "one of its clients was to connect");
    assert_eq!(heard.count("up"), 500);
    let answered: HashSet<&str> = heard.of_type("sample").map(|l| l["client"].as_str().unwrap()).collect();
    assert_eq!(answered.len(), 500, "probes of the others are answered meanwhile");
    drop(heard);
    process::signal(run.id(), Signal::TERM);
    let asked = Instant::now();
    run.wait_exit();
    assert!(asked.elapsed() < AT_ONCE, "it took {:?} to leave", asked.elapsed());
}

/// What the program and its workers have used so far.
fn cpu(run: &Headless) -> Duration {
    run.workers().values().copied().chain([run.id()]).map(process::cpu).sum()
}

/// The processes that have a connect to this address under way.
fn callers(address: SocketAddr) -> HashSet<u32> {
    const SYN_SENT: &str = "02";
    let remote = format!("0100007F:{:04X}", address.port());
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let rows = table.lines().map(|l| l.split_whitespace().collect::<Vec<_>>());
    let sockets: Vec<String> = rows
        .filter(|f| f.len() > 9 && f[2] == remote && f[3] == SYN_SENT)
        .map(|f| format!("socket:[{}]", f[9]))
        .collect();
    let holds = |id: u32| {
        let files = fs::read_dir(format!("/proc/{id}/fd")).ok()?;
        let mut targets = files.flatten().filter_map(|f| fs::read_link(f.path()).ok());
        targets.any(|t| sockets.iter().any(|s| t.as_os_str() == s.as_str())).then_some(id)
    };
    if sockets.is_empty() { HashSet::new() } else { processes().filter_map(holds).collect() }
}

fn processes() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc").unwrap().filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok())
}

/// A fleet on two brokers: `near`, by address, and `far`, by a name that only the name server knows.
fn near_and_far(near: &Mosquitto, far: &Mosquitto, count: usize) -> FleetFile {
    FleetFile::new(&format!(
        r#"
        [endpoint.far]
        url = "mqtt://{}:{}"
        [endpoint.near]
        url = "mqtt://{}"
        [defaults]
        probe = {{ kind = "ack", every = "1s" }}
        connect_timeout = "1s"
        [[client]]
        id = "press-%02i"
        count = {count}
        endpoints = ["near"]
        [[client]]
        id = "tower-%02i"
        count = {count}
        endpoints = ["far"]
        "#,
        name_server::NAME,
        far.port(),
        near.address(),
    ))
}

/// Reconnects the clients that `filter` shows, all at once.
fn reconnect(console: &mut Console, filter: &str, count: usize) {
    console.press(&format!("/{filter}\r"));
    console.wait_text(&format!("{count} of"));
    console.press("*");
    console.wait_text(&format!("{count} marked"));
    console.press("r");
    console.wait_text(&format!("econnect {count} clients"));
    console.press("y");
}

#[track_caller]
fn wait_connects(broker: &Mosquitto, count: usize) {
    let end = Instant::now() + SOON;
    while broker.log().matches("New client connected").count() < count {
        assert!(Instant::now() < end, "not {count} connects:\n{}", broker.log());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a thread of the program waits for the resolver.
fn is_looking_up(id: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{id}/task")).unwrap().flatten();
    let mut names = threads.filter_map(|t| fs::read_to_string(t.path().join("comm")).ok());
    names.any(|name| name.trim() == "lookup")
}

/// Leaves by key, which must not take long.
fn leave(console: &mut Console) {
    let processes = console.descendants();
    assert!(!processes.is_empty(), "no worker");
    console.press("q");
    console.wait_text("yes, quit");
    let asked = Instant::now();
    console.press("y");
    assert_eq!(console.wait_exit().code, 0);
    println!("it left within {:?}", asked.elapsed());
    assert!(asked.elapsed() < AT_ONCE, "it took {:?} to leave", asked.elapsed());
    process::assert_gone(&processes);
}

#[test]
fn a_name_server_that_hangs_stalls_nobody_else() {
    let Some(names) = NameServer::start() else { return };
    names.hang();
    let (near, far) = (Mosquitto::start(), Mosquitto::start());
    let file = near_and_far(&near, &far, 40);
    let mut console = Console::start(120, 40, &["run", file.path()]);
    console.wait_for("near up, far held", |s| s.contains("40 up") && s.contains("40 dead"));
    names.wait_asked();
    reconnect(&mut console, "press", 40);
    wait_connects(&near, 80);
    console.wait_text("40 up");
    assert!(is_looking_up(console.id()), "the lookup has ended, and nothing is shown");
    leave(&mut console);
    assert_eq!(far.log().matches("New client connected").count(), 0);
}

#[test]
fn a_name_server_that_hangs_later_is_not_missed_by_who_reconnects() {
    let Some(names) = NameServer::start() else { return };
    let (near, far) = (Mosquitto::start(), Mosquitto::start());
    let file = near_and_far(&near, &far, 40);
    let mut console = Console::start(120, 40, &["run", file.path()]);
    console.wait_text("80 up");
    names.hang();
    // Nobody asks again: the address that the probe found serves until the endpoint is in doubt.
    reconnect(&mut console, "tower-0", 9);
    wait_connects(&far, 49);
    console.wait_text("80 up");
    assert_eq!(near.log().matches("New client connected").count(), 40, "the others did not blink");
    leave(&mut console);
}
