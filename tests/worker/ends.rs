//! Tests how a worker process starts and, above all, how it ends.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use mqfleet::event::Reason;
use mqfleet_test_support::{mosquitto::Mosquitto, program, worker::Worker};
use rustix::process::{Pid, Signal, kill_process};

use super::{SOON, defs};

const N: usize = 200;

/// The bound of the task: about two seconds.
const GONE: Duration = Duration::from_millis(3_000);

async fn all_up(broker: &Mosquitto) -> Worker {
    let mut worker = Worker::start(defs(N, broker.port())).await;
    worker.connect(0..N as u32).await;
    assert!(worker.until(SOON, |w| w.up() == N).await, "{} up", worker.up());
    worker
}

fn orderly(broker: &Mosquitto) -> usize {
    broker.log().matches(" disconnected.").count()
}

#[tokio::test]
async fn the_console_goes() {
    let broker = Mosquitto::start();
    let mut worker = all_up(&broker).await;
    let started = Instant::now();
    worker.hang_up();
    let status = worker.gone(GONE).await.expect("an end");
    eprintln!("gone {:.0?} after the console", started.elapsed());
    assert!(status.success(), "{status}: {}", worker.stderr());
    assert_eq!(orderly(&broker), N, "{}", broker.log());
}

#[tokio::test]
async fn the_console_says_stop() {
    let broker = Mosquitto::start();
    let mut worker = all_up(&broker).await;
    worker.stop().await;
    assert!(worker.until(SOON, |w| w.ended() == N).await, "{} ended", worker.ended());
    assert!((0..N as u32).all(|slot| worker.cause(slot).reason == Reason::OperatorDisconnect));
    assert!(worker.gone(GONE).await.expect("an end").success(), "{}", worker.stderr());
    assert_eq!(orderly(&broker), N, "{}", broker.log());
}

#[tokio::test]
async fn a_terminate_signal() {
    let broker = Mosquitto::start();
    let mut worker = all_up(&broker).await;
    kill_process(Pid::from_child(&worker.child), Signal::TERM).expect("to signal");
    assert!(worker.gone(GONE).await.expect("an end").success(), "{}", worker.stderr());
    assert_eq!(orderly(&broker), N, "{}", broker.log());
}

#[tokio::test]
async fn the_console_goes_while_the_broker_is_frozen() {
    let broker = Mosquitto::start();
    let mut worker = all_up(&broker).await;
    broker.freeze();
    worker.hang_up();
    assert!(worker.gone(GONE).await.is_some(), "a worker outlived its console");
}

#[tokio::test]
async fn the_console_goes_before_any_order() {
    let mut worker = Worker::start(defs(3, 1)).await;
    worker.hang_up();
    assert!(worker.gone(GONE).await.expect("an end").success(), "{}", worker.stderr());
}

#[tokio::test]
async fn the_console_goes_in_the_middle_of_connecting() {
    let broker = Mosquitto::start();
    let mut worker = Worker::start(defs(1_000, broker.port())).await;
    worker.connect(0..1_000).await;
    worker.hang_up();
    assert!(worker.gone(GONE).await.is_some(), "a worker outlived its console");
}

#[test]
fn a_worker_started_by_hand_says_so() {
    let done = Command::new(program()).args(["worker", "0"]).stdin(Stdio::null()).output();
    let done = done.expect("a worker");
    assert_eq!(done.status.code(), Some(1));
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(said.contains("not by hand"), "{said}");
}
