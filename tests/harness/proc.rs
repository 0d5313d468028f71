//! What `/proc` tells of a process of the program: some of it to root alone, since the program keeps its memory to itself.
#![allow(dead_code, reason = "every test binary uses another part of it")]

use std::{fs, io::ErrorKind};

/// A file of the process; `None` where only root may read it, and we are somebody else.
#[track_caller]
pub fn read(id: u32, file: &str) -> Option<Vec<u8>> {
    let is_root = rustix::process::geteuid().is_root();
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

/// The process of the worker with this number.
pub fn worker(number: u32, processes: &[u32]) -> u32 {
    let called = format!("mqfleet\0worker\0{number}\0").into_bytes();
    let is_it = |id: &&u32| read(**id, "cmdline").as_ref() == Some(&called);
    *processes.iter().find(is_it).expect("a worker")
}
