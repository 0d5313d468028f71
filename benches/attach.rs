//! How long it takes from attaching to an agent until everything is known, beside reading the same bytes from memory, and from an event until an attached subscriber has it.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use mqfleet::{
    agent::{self, Purpose, Target},
    clock::Moment,
    event::What,
    model::Known,
};
use mqfleet_test_support::{
    SOON,
    fleet_file::FleetFile,
    mosquitto::{Mosquitto, Setup},
    program,
    report::{Runs, Table, count, setting, verdict},
};
use tempfile::TempDir;

/// Milliseconds until the first frame could be drawn, by clients.
const AIMS: [(u32, f64); 2] = [(10_000, 100.0), (100_000, 600.0)];
/// Milliseconds from an event to an attached subscriber, p99.
const AIM_EVENT: f64 = 50.0;

fn main() {
    let home = TempDir::new().expect("a folder");
    // Of this process too: it attaches.
    let folders = [("XDG_RUNTIME_DIR", home.path().join("run")), ("XDG_STATE_HOME", home.path().join("state"))];
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let mut table = Table::new(["clients", "until all is known", "reading it from memory", "MB", ""]);
    for (clients, aim) in AIMS {
        // Nobody connects: what is known of a client is as much without.
        let file = idle_fleet(clients);
        let (agent, target) = start(&file, &folders);
        let (mut times, mut decoding) = (Runs::default(), Runs::default());
        let mut bytes = 0;
        for _ in 0..setting("ROUNDS", 5) {
            let begin = Instant::now();
            let attached = runtime.block_on(agent::attach(&target, Purpose::Watch)).expect("an agent");
            times.push_time(begin.elapsed());
            let encoded = attached.known.encode();
            bytes = encoded.len();
            let begin = Instant::now();
            Known::decode(&encoded, attached.fleet.clone()).expect("what was encoded");
            decoding.push_time(begin.elapsed());
        }
        end(agent);
        table.row([
            count(clients as usize),
            times.times(),
            decoding.times(),
            format!("{:.1}", bytes as f64 / 1e6),
            verdict((times.median() * 1e3).round(), aim, "ms"),
        ]);
    }
    table.print();

    let broker = Mosquitto::with(Setup::default());
    let file = FleetFile::new(&format!(
        "[fleet]\nname = 'test'\n[endpoint.a]\nurl = 'mqtt://127.0.0.1:{}'\n[defaults]\nprobe = {{ kind = 'ack', every = '100ms' }}\n\
         [[client]]\nid = 'c-%04i'\ncount = 500\nendpoints = ['a']\n",
        broker.port()
    ));
    let (agent, target) = start(&file, &folders);
    let (late, rate) = runtime.block_on(async {
        let mut attached = agent::attach(&target, Purpose::Watch).await.expect("an agent");
        let begin = Instant::now();
        let (mut late, mut all) = (Runs::default(), 0u64);
        while begin.elapsed() < Duration::from_secs(setting("SECONDS", 10) as u64) {
            let events = attached.events.next().await.expect("an agent");
            let now = Moment::now();
            all += events.len() as u64;
            // Samples are collected four times a second before they are told; seconds are told at once.
            let at_once = events.iter().filter(|event| matches!(event.what, What::Second(_) | What::State(_)));
            at_once.for_each(|event| late.push_time(now.since(event.at)));
        }
        (late, all as f64 / begin.elapsed().as_secs_f64())
    });
    end(agent);
    let p99 = late.quantile(0.99) * 1e3;
    println!(
        "from an event to an attached subscriber: p99 {p99:.1} ms of {} at {rate:.0} events/s; {}",
        late.len(),
        verdict(p99, AIM_EVENT, "ms")
    );
}

fn idle_fleet(clients: u32) -> FleetFile {
    FleetFile::new(&format!(
        "[fleet]\nname = 'test'\n[endpoint.a]\nurl = 'mqtt://127.0.0.1:1'\n[defaults]\nstart_connected = false\n\
         [[client]]\nid = 'c-%06i'\ncount = {clients}\nendpoints = ['a']\n"
    ))
}

fn start(file: &FleetFile, folders: &[(&str, std::path::PathBuf)]) -> (Child, Target) {
    let mut command = Command::new(program());
    command.args(["agent", file.path()]).envs(folders.iter().map(|(name, path)| (*name, path.as_os_str())));
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("the agent starts");
    let target = Target::Path(folders[0].1.join("mqfleet/test.sock"));
    let Target::Path(path) = &target else { unreachable!() };
    let end = Instant::now() + SOON;
    while std::os::unix::net::UnixStream::connect(path).is_err() {
        assert!(Instant::now() < end, "it does not listen");
        std::thread::sleep(Duration::from_millis(10));
    }
    (child, target)
}

fn end(mut agent: Child) {
    mqfleet_test_support::process::signal(agent.id(), rustix::process::Signal::TERM);
    agent.wait().expect("it is ours");
}
