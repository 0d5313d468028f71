//! The developer's log of real runs: what is told there, by whom, and who may read it; that no secret is in it is tested with all that is written.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use mqfleet_test_support::{fleet_file::FleetFile, headless::Headless, mosquitto::Mosquitto, process, program};
use rustix::process::Signal;

/// The lines so far.
fn lines(log: &Path) -> Vec<String> {
    fs::read_to_string(log).unwrap_or_default().lines().map(str::to_owned).collect()
}

fn count(log: &Path, words: &[&str]) -> usize {
    lines(log).iter().filter(|line| words.iter().all(|word| line.contains(word))).count()
}

/// Waits until there is a line with all these words.
fn wait_for(log: &Path, words: &[&str]) {
    let begin = Instant::now();
    while count(log, words) == 0 {
        assert!(begin.elapsed() < Duration::from_secs(30), "{words:?} is not among {:#?}", lines(log));
        sleep(Duration::from_millis(10));
    }
}

fn arguments(process: u32) -> String {
    let bytes = process::read(process, "cmdline").expect("the arguments");
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

#[test]
fn console_engine_and_workers_tell_what_they_decided_and_only_where_it_was_asked_for() {
    let mut broker = Mosquitto::start();
    let file = FleetFile::presses(broker.port(), 5);
    let log = file.dir.path().join("debug.log");
    let path = log.to_str().expect("a path");
    let mut run = Headless::start(&["run", file.path(), "--debug-log", path], &[]);
    run.wait_up(5);
    assert!(arguments(run.workers()[&0]).contains("--debug-log"));
    broker.kill9();
    run.wait_up(0);
    for words in [
        [" console DEBUG mqfleet::cli: ", "console starts"],
        [" console DEBUG mqfleet::endpoint::prober: ", "endpoint was probed"],
        [" worker 0 DEBUG mqfleet::cli: ", "worker starts"],
        [" worker 0 DEBUG mqfleet::transport: ", "connection was tried"],
        [" worker 0 DEBUG mqfleet::paho::connection: ", "connection ends"],
    ] {
        wait_for(&log, &words);
    }
    process::signal(run.id(), Signal::TERM);
    run.wait_exit();
    // What was told before the end is there after it.
    assert_eq!(count(&log, &[" console DEBUG mqfleet::lifecycle: ", "is=\"up\""]), 5, "{:#?}", lines(&log));
    let all = lines(&log);
    assert!(all.iter().all(|line| chrono::DateTime::parse_from_rfc3339(line.split(' ').next().unwrap()).is_ok()));
    assert!(all.iter().all(|line| line.contains(" DEBUG mqfleet::")), "others than we tell, too: {all:#?}");
    assert_eq!(fs::metadata(&log).expect("a log").permissions().mode() & 0o777, 0o600);

    broker.restart();
    let run = Headless::start(&["run", file.path()], &[]);
    run.wait_up(5);
    assert!(!arguments(run.workers()[&0]).contains("--debug-log"));
    assert_eq!(lines(&log), all);
}

#[test]
fn a_link_in_its_place_is_refused_before_anything_starts() {
    let file = FleetFile::presses(1, 1);
    let log = file.dir.path().join("debug.log");
    let target = file.dir.path().join("target");
    fs::write(&target, "mine").expect("a file");
    std::os::unix::fs::symlink(&target, &log).expect("a link");
    let done = Command::new(program())
        .args(["run", file.path(), "--debug-log", log.to_str().expect("a path")])
        .output()
        .expect("the program");
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot open the debug log") && said.contains("symbolic link"), "{said}");
    assert_eq!(fs::read_to_string(&target).expect("a file"), "mine");
}
