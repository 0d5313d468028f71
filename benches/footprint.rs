//! What a calm fleet of 1,000 clients costs the machine (memory, CPU, bytes to the terminal) and how soon its first frame is there, of the real console in a real pseudo-terminal.

use std::{
    fs, io,
    path::Path,
    time::{Duration, Instant},
};

use mqfleet_test_support::{
    SOON,
    console::Console,
    mosquitto,
    process::{self, Memory, children, cpu, memory},
    report::{Runs, Table, count, setting, time, verdict},
};

const COLUMNS: u16 = 120;
const LINES: u16 = 40;

/// From the last connect until the screen counts as calm.
const CALM: Duration = Duration::from_secs(15);

fn main() -> io::Result<()> {
    let clients = setting("MQFLEET_BENCH_IDLE", 1_000);
    let watched = Duration::from_secs(setting("MQFLEET_BENCH_SECONDS", 30) as u64);
    println!("footprint: {} idle clients of the default fleet, console at {COLUMNS}x{LINES}", count(clients));
    println!("  {}\n", process::machine());
    let broker = mosquitto::Mosquitto::start();
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("fleet.toml");
    fs::write(&file, fleet(broker.port(), clients))?;
    first_frame(&file, setting("MQFLEET_BENCH_STARTS", 20));
    idle(&file, clients, watched);
    Ok(())
}

/// All as `mqfleet init` has it, but for the number of clients.
fn fleet(port: u16, clients: usize) -> String {
    format!(
        r#"
        [fleet]
        name = "bench"
        [endpoint.local]
        url = "mqtt://127.0.0.1:{port}"
        [defaults]
        protocol = "5"
        keep_alive = "30s"
        [[client]]
        id = "press-%04i"
        count = {clients}
        endpoints = ["local"]
        "#
    )
}

fn start(file: &Path) -> Console {
    Console::start(COLUMNS, LINES, &["run", &file.display().to_string()])
}

/// From the start of the program to its first byte, and to the end of its first frame.
fn first_frame(file: &Path, starts: usize) {
    let (mut byte, mut frame) = (Runs::default(), Runs::default());
    for _ in 0..starts {
        let begin = Instant::now();
        let console = start(file);
        let mut is_silent = true;
        loop {
            let bytes = console.bytes();
            if is_silent && !bytes.is_empty() {
                is_silent = false;
                byte.push_time(begin.elapsed());
            }
            if bytes.windows(END_OF_FRAME.len()).any(|w| w == END_OF_FRAME) {
                frame.push_time(begin.elapsed());
                break;
            }
            assert!(begin.elapsed() < SOON, "no frame\n{}", console.screen());
            std::thread::sleep(Duration::from_micros(100));
        }
        quit(console);
    }
    let mut table = Table::new([&format!("time to the first frame, {starts} starts"), "median", "p90", "longest", ""]);
    let mut row = |name: &str, runs: &Runs, verdict: String| {
        let cells = [runs.median(), runs.quantile(0.9), runs.quantile(1.0)].map(time);
        let [median, p90, longest] = cells;
        table.row([name.to_owned(), median, p90, longest, verdict]);
    };
    row("first byte", &byte, String::new());
    row("first frame, whole", &frame, verdict(frame.median() * 1e3, 100.0, "ms"));
    table.print();
}

/// How a frame ends: synchronized output is switched off.
const END_OF_FRAME: &[u8] = b"\x1b[?2026l";

fn quit(mut console: Console) {
    let processes = console.descendants();
    console.signal(rustix::process::Signal::TERM);
    console.wait_exit();
    process::assert_gone(&processes);
}

fn idle(file: &Path, clients: usize, watched: Duration) {
    let begin = Instant::now();
    let console = start(file);
    let all_up = format!("{} up", count(clients));
    console.wait_at_most(Duration::from_secs(60), &all_up, |screen| screen.contains(&all_up));
    let connected = begin.elapsed();
    std::thread::sleep(CALM);
    let mut processes = vec![("console".to_owned(), console.id())];
    let workers = children(console.id());
    processes.extend(workers.iter().enumerate().map(|(n, id)| (format!("worker {n}"), *id)));
    let before: Vec<Duration> = processes.iter().map(|(_, id)| cpu(*id)).collect();
    let (bytes, since) = (console.byte_count(), Instant::now());
    std::thread::sleep(watched);
    let written = console.byte_count() - bytes;
    let seconds = since.elapsed().as_secs_f64();
    let used: Vec<Duration> = processes.iter().zip(&before).map(|((_, id), &b)| cpu(*id).saturating_sub(b)).collect();

    println!(
        "  connected after {}; then calm for {} s, watched for {seconds:.0} s",
        time(connected.as_secs_f64()),
        CALM.as_secs()
    );
    let mut table = Table::new(["", "PSS", "RSS", "its own", "CPU of a core"]);
    let mega = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
    let percent = |time: Duration| time.as_secs_f64() / seconds * 100.0;
    let mut sum = Memory::default();
    for ((name, id), &used) in processes.iter().zip(&used) {
        let m = memory(*id);
        sum = Memory { rss: sum.rss + m.rss, pss: sum.pss + m.pss, anon: sum.anon + m.anon };
        table.row([name.clone(), mega(m.pss), mega(m.rss), mega(m.anon), format!("{:.2} %", percent(used))]);
    }
    let used = percent(used.iter().sum());
    table.row(["in all".into(), mega(sum.pss), mega(sum.rss), mega(sum.anon), format!("{used:.2} %")]);
    table.print();
    let pace = written as f64 / seconds;
    let mut table = Table::new(["in all", "", ""]);
    let pss = sum.pss as f64 / 1e6;
    table.row(["memory (PSS: shared pages count once)".into(), format!("{pss:.1} MB"), verdict(pss, 40.0, "MB")]);
    table.row(["CPU".into(), format!("{used:.2} %"), verdict(used, 0.5, "%")]);
    table.row(["bytes to the terminal".into(), format!("{pace:.0} B/s"), verdict(pace, 1000.0, "B/s")]);
    table.print();
    quit(console);
}
