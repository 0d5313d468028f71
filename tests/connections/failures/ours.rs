//! Failures on this host: workers that die or cannot start, and patience that ends.

use std::{fs, os::unix::fs::PermissionsExt};

use mqfleet_test_support::{fleet_file::FleetFile, headless::Heard, mosquitto::Mosquitto, peers, script};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};

use super::Run;

fn url(broker: &Mosquitto) -> String {
    format!("mqtt://127.0.0.1:{}", broker.port())
}

fn signal_worker(run: &Run, signal: Signal) {
    let worker = Pid::from_raw(run.program.workers()[&0] as i32).expect("a process");
    kill_process(worker, signal).expect("to signal a worker");
}

#[test]
fn worker_killed() {
    let broker = Mosquitto::start();
    let mut run = Run::at(&url(&broker));
    run.comes_up();
    signal_worker(&run, Signal::KILL);
    run.expect("worker_killed");
    run.comes_up();
}

#[test]
fn worker_stopped() {
    let broker = Mosquitto::start();
    let mut run = Run::at(&url(&broker));
    run.comes_up();
    signal_worker(&run, Signal::STOP);
    run.expect("worker_stopped");
    run.comes_up();
}

#[test]
fn worker_cannot_start() {
    let broker = Mosquitto::start();
    let mut run = Run::at(&url(&broker));
    run.comes_up();
    // The program keeps the files that it has and is given no further one.
    let program = Pid::from_raw(run.program.id() as i32).expect("a process");
    let limit = getrlimit(Resource::Nofile);
    prlimit(Some(program), Resource::Nofile, Rlimit { current: Some(3), ..limit }).expect("to set its limit");
    signal_worker(&run, Signal::KILL);
    run.expect("worker_cannot_start");
    let told = |h: &Heard| {
        let starts = "cannot start: Too many open files (os error 24); its client waits; starting it again in ";
        h.of_type("worker").any(|l| l["event"] == "died" && l["detail"].as_str().is_some_and(|d| d.starts_with(starts)))
    };
    drop(run.program.wait_for("why it cannot start", told));
    prlimit(Some(program), Resource::Nofile, limit).expect("to set its limit");
    run.comes_up();
}

#[test]
fn password_file_gone() {
    let mut broker = Mosquitto::start();
    let file = FleetFile::new(&format!(
        "[endpoint.plant]\nurl = '{}'\n[[client]]\nid = 'press'\nendpoints = ['plant']\nusername = 'op'\npassword = {{ \
         file = 'press.pw' }}\nreconnect = {{ strategy = 'fixed', every = '300ms' }}\n",
        url(&broker)
    ));
    let password = file.dir.path().join("press.pw");
    fs::write(&password, "let-me-in").expect("a file");
    let mut run = Run::file(file, super::plainly);
    run.comes_up();
    fs::remove_file(&password).expect("to remove it");
    broker.restart();
    run.expect_after("connection_lost", "password_file_gone");
    fs::write(&password, "let-me-in").expect("a file");
    run.comes_up();
}

#[test]
fn password_command_fails() {
    let broker = Mosquitto::start();
    let dir = tempfile::tempdir().expect("a folder");
    let token = dir.path().join("token");
    let says = |script: &str| {
        fs::write(dir.path().join("new"), format!("#!/bin/sh\n{script}\n")).expect("a file");
        fs::set_permissions(dir.path().join("new"), PermissionsExt::from_mode(0o700)).expect("its mode");
        fs::rename(dir.path().join("new"), &token).expect("its place");
    };
    says("echo 'no token server' >&2; exit 7");
    let client = format!("username = 'op'\npassword = {{ command = ['{}'] }}", token.display());
    let mut run = Run::with(&url(&broker), "", &client);
    run.expect("password_command_fails");
    says("echo let-me-in");
    run.comes_up();
}

#[test]
fn out_of_files() {
    use std::sync::{Arc, Mutex, mpsc};

    // Its first client is let in, and thrown out when the test says so.
    let (throw_out, order) = mpsc::channel::<()>();
    let order = Arc::new(Mutex::new(Some(order)));
    let broker = peers::serve(move |mut stream| {
        while let Some(packet) = script::packet(&mut stream) {
            let _ = match packet[0] >> 4 {
                1 => std::io::Write::write_all(&mut stream, script::ACCEPT_V5),
                _ => std::io::Write::write_all(&mut stream, &[0xd0, 0]),
            };
            if let Some(order) = order.lock().expect("an order").take() {
                let _ = order.recv();
                return;
            }
        }
    });
    let mut run = Run::at(&format!("mqtt://{broker}"));
    run.comes_up();
    // The worker keeps the files that it has and is given no further one.
    let worker = Pid::from_raw(run.program.workers()[&0] as i32).expect("a process");
    let limit = prlimit(Some(worker), Resource::Nofile, Rlimit { current: Some(3), maximum: Some(4_096) });
    let limit = limit.expect("to set its limit");
    drop(throw_out);
    run.expect_after("connection_lost", "out_of_files");
    let _ = prlimit(
        Some(worker),
        Resource::Nofile,
        Rlimit { maximum: Some(4_096), current: limit.current.min(Some(4_096)) },
    );
    run.comes_up();
}

#[test]
fn retries_exhausted() {
    // It accepts and closes.
    let hangs_up = peers::serve(|mut s| {
        let _ = std::io::Read::read(&mut s, &mut [0; 256]);
    });
    let client = "reconnect = { max_retries = 2 }";
    let mut run = Run::with(&format!("mqtt://{hangs_up}"), "", client);
    for _ in 0..2 {
        let step = run.step("a try", super::is_failure);
        assert_eq!((&step["to"], &step["reason"]), (&"backoff".into(), &"connection_lost".into()));
    }
    run.expect("retries_exhausted");
    run.waits_for_the_operator();
}
