//! What the kernel says of a process: memory, CPU time, children; starting and ending one is for the benchmark.
#![allow(dead_code, reason = "every benchmark uses another part of it")]

use std::{fs, io::ErrorKind, time::Duration};

use rustix::process::{Pid, Signal, kill_process};

/// A process's memory, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// What it has in memory.
    pub rss: u64,
    /// The same, with what it shares divided among those that share it: only these may be added up.
    pub pss: u64,
    /// What is its own alone: the heap, the stacks, written data.
    pub anon: u64,
}

/// Reads `smaps_rollup`. A process that is gone has none.
///
/// # Panics
/// Where that is for root alone: the program keeps its memory to itself.
pub fn memory(id: u32) -> Memory {
    let text = match fs::read_to_string(format!("/proc/{id}/smaps_rollup")) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => panic!("only root may measure memory: {error}"),
        text => text.unwrap_or_default(),
    };
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) * 1024
    };
    Memory { rss: field("Rss:"), pss: field("Pss:"), anon: field("Pss_Anon:") }
}

/// Clock ticks a second in /proc, the same on every Linux.
const USER_HZ: f64 = 100.0;

/// User and system time since its start, of all its threads, in steps of a clock tick (10 ms).
pub fn cpu(id: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    // After the name in parentheses, utime and stime are the 12th and 13th fields (proc(5)).
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    let ticks: u64 = fields.filter_map(|f| f.parse::<u64>().ok()).sum();
    Duration::from_secs_f64(ticks as f64 / USER_HZ)
}

/// The processes that `parent` started and that still run.
pub fn children(parent: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let mut found: Vec<u32> = entries
        .filter_map(|entry| {
            let id: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
            let of: u32 = stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()?;
            (of == parent).then_some(id)
        })
        .collect();
    found.sort_unstable();
    found
}

/// Sends a signal to a process that this program started, itself or through one it started.
pub fn signal(id: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(id).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// The machine, in words: a figure means little without it.
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        cpu.lines().find_map(|l| l.strip_prefix("model name")).unwrap_or("").trim_start_matches(['\t', ' ', ':']);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?");
    format!("{cores} cores ({model}), load before {load}")
}
