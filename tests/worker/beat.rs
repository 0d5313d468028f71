//! Tests a worker's sign of life: nothing else tells the console of one that is stopped or hangs.

use std::time::{Duration, Instant};

use mqfleet_test_support::{mosquitto::Mosquitto, worker::Worker};

use super::def;

#[tokio::test]
async fn a_worker_with_nothing_to_say_says_so_once_a_second() {
    let broker = Mosquitto::start();
    let mut worker = Worker::start(vec![def("quiet", broker.port())]).await;
    assert!(worker.until(super::SOON, |w| w.beats == 1).await, "not even one");
    let began = Instant::now();
    assert!(worker.until(super::SOON, |w| w.beats == 4).await, "{} beats", worker.beats);
    let took = began.elapsed();
    // The console takes 5 s of silence for its end.
    assert!(took > Duration::from_secs(2) && took < 3 * Duration::from_secs(5), "three beats in {took:?}");
    assert_eq!(worker.reports, 0);
    // Up and idle it is no different.
    worker.connect([0]).await;
    assert!(worker.until(super::SOON, |w| w.is_up(0)).await);
    let before = worker.beats;
    assert!(worker.until(super::SOON, |w| w.beats == before + 2).await, "{} beats", worker.beats);
}
