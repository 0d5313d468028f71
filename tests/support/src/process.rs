//! What the kernel says of the processes of a test: who started whom, their memory, CPU time, limits and files; and signals to them.

use std::{
    fs,
    io::ErrorKind,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, geteuid, kill_process};

use crate::SOON;

/// A file of the process in `/proc`; `None` where only root may read it, since the program keeps its memory to itself, and
/// we are somebody else.
#[track_caller]
pub fn read(id: u32, file: &str) -> Option<Vec<u8>> {
    let is_root = geteuid().is_root();
    match fs::read(format!("/proc/{id}/{file}")) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied && !is_root => None,
        read => Some(read.expect("a process")),
    }
}

/// The soft and the hard limit on core files, as the kernel words them.
pub fn core_limits(id: u32) -> [String; 2] {
    let limits = fs::read_to_string(format!("/proc/{id}/limits")).expect("a process");
    let line = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).expect("a limit");
    let mut words = line.split_whitespace().map(str::to_owned);
    [words.next().expect("soft"), words.next().expect("hard")]
}

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
    let mut found: Vec<u32> = parents().filter(|(id, of)| *of == parent && is_running(*id)).map(|(id, _)| id).collect();
    found.sort_unstable();
    found
}

/// All processes that descend from this one now.
pub fn descendants(of: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = parents().collect();
    let mut found = vec![of];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(parents.iter().filter(|(_, p)| *p == parent).map(|(id, _)| *id));
        next += 1;
    }
    found.remove(0);
    found
}

/// All processes with their parents.
fn parents() -> impl Iterator<Item = (u32, u32)> {
    fs::read_dir("/proc").expect("/proc").filter_map(|entry| {
        let id: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let parent = stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()?;
        Some((id, parent))
    })
}

/// The process of the worker with this number.
pub fn worker(number: u32, processes: &[u32]) -> u32 {
    let called = format!("mqfleet\0worker\0{number}\0").into_bytes();
    let is_it = |id: &&u32| read(**id, "cmdline").as_ref() == Some(&called);
    *processes.iter().find(is_it).expect("a worker")
}

/// Whether a process is there and not only waits to be waited for.
pub fn is_running(id: u32) -> bool {
    fs::read_to_string(format!("/proc/{id}/stat"))
        .is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| !rest.trim_start().starts_with('Z')))
}

/// Waits until none of these processes runs any more.
#[track_caller]
pub fn assert_gone(processes: &[u32]) {
    let end = Instant::now() + SOON;
    loop {
        let left: Vec<u32> = processes.iter().copied().filter(|id| is_running(*id)).collect();
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < end, "still running: {left:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Sends a signal to a process that this program started, itself or through one it started.
#[track_caller]
pub fn signal(id: u32, signal: Signal) {
    let pid = Pid::from_raw(id as i32).expect("a process ID");
    kill_process(pid, signal).expect("the signal is sent");
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
