//! Tests that every kind of probe agrees with a plain TCP client on the same way at the same time, with bounds for a busy machine; the figures themselves are `benches/accuracy.rs`'s.

use std::time::Duration;

use mqfleet::fleet::ProbeKind::{Ack, Echo, Heartbeat};
use mqfleet_test_support::{comparison::Plan, delay::Delay, mosquitto::Mosquitto};

const MS: Duration = Duration::from_millis(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn round_trips_are_those_of_a_plain_client_on_the_same_way() {
    let broker = Mosquitto::start();
    for one_way in [0, 5, 50] {
        let way = Delay::to(broker.address(), one_way * MS);
        let plan = Plan {
            port: way.port(),
            kinds: &[Heartbeat, Ack, Echo],
            clients: 30,
            every: 200 * MS,
            keep_alive: 1_000 * MS,
            pause: 33 * MS,
            time: 4_000 * MS,
        };
        for seen in plan.carry_out().await {
            let (ours, [reference, _]) = seen.quantiles(0.5);
            eprintln!("{one_way} ms one way, {}: {ours:?}, reference {reference:?}", seen.kind.name());
            assert!(ours >= 2 * one_way * MS, "{ours:?}");
            assert!(
                ours.abs_diff(reference) < 5 * MS,
                "{} over {one_way} ms: {ours:?}, {reference:?}",
                seen.kind.name()
            );
        }
    }
}
