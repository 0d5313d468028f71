//! How many bytes a second the console sends to a terminal of 120x40, as over SSH, beside htop and btop in terminals of the same size.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use mqfleet_test_support::{
    console::Console,
    process,
    report::{Runs, Table, setting, verdict},
};

const COLUMNS: u16 = 120;
const LINES: u16 = 40;

/// Bytes a second, the median.
const TROUBLE: f64 = 1_500.0;
const CALM: f64 = 300.0;
const FROZEN: f64 = 0.0;

/// What makes a program draw as over a slow link.
const SSH: (&str, &str) = ("SSH_CONNECTION", "192.0.2.1 50000 192.0.2.2 22");

fn main() {
    let seconds = setting("MQFLEET_BENCH_SECONDS", 60);
    println!("terminal: bytes a second to one of {COLUMNS}x{LINES}, {seconds} s each");
    println!("  {}\n", process::machine());
    let mut table = Table::new(["", "median", "highest", ""]);
    for program in ["htop", "btop"] {
        if !is_installed(program) {
            println!("  {program} is not installed: left out\n");
            continue;
        }
        let console = Console::start_program(COLUMNS, LINES, program, &[], &[SSH]);
        row(&mut table, program, &watch(&console, seconds), None);
    }
    let demo = |args: &[&str]| {
        let args = [&["demo", "--clients", "1000"], args].concat();
        let console = Console::start_with(COLUMNS, LINES, &args, &[SSH]);
        // One of its sites is always slow, and in trouble some are always down.
        console.wait_for("all of them started", |screen| {
            screen.contains("1,000 clients") && !screen.contains(" 0 up") && !screen.contains("starting")
        });
        console
    };
    let mut console = demo(&["--calm"]);
    row(&mut table, "mqfleet demo of 1,000, all well", &watch(&console, seconds), Some(CALM));
    console.press("f");
    console.wait_text("FROZEN");
    settle(&console);
    row(&mut table, "the same, frozen", &watch(&console, seconds), Some(FROZEN));
    drop(console);
    let console = demo(&[]);
    row(&mut table, "mqfleet demo of 1,000, with its troubles", &watch(&console, seconds), Some(TROUBLE));
    table.print();
}

fn is_installed(program: &str) -> bool {
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).any(|folder| folder.join(program).is_file())
}

/// Waits until the last frame that was due is there.
fn settle(console: &Console) {
    let mut count = console.byte_count();
    loop {
        sleep(Duration::from_secs(2));
        if count == console.byte_count() {
            return;
        }
        count = console.byte_count();
    }
}

/// The bytes of each second.
fn watch(console: &Console, seconds: usize) -> Runs {
    let (mut runs, mut count, begin) = (Runs::default(), console.byte_count(), Instant::now());
    for second in 1..=seconds {
        sleep((begin + Duration::from_secs(second as u64)).saturating_duration_since(Instant::now()));
        let now = console.byte_count();
        runs.push((now - count) as f64);
        count = now;
    }
    runs
}

fn row(table: &mut Table, name: &str, runs: &Runs, aim: Option<f64>) {
    let bytes = |count: f64| format!("{count:.0} B/s");
    let judged = aim.map_or(String::new(), |aim| verdict(runs.median(), aim, "B/s"));
    table.row([name.into(), bytes(runs.median()), bytes(runs.quantile(1.0)), judged]);
}
