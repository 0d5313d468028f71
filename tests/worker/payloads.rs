//! Tests that what messages say goes nowhere: Paho's trace shows how each begins, and nothing of that is kept.

use std::{sync::Arc, time::Duration};

use mqfleet::fleet::{Conversation, Message, ProbeKind, Subscription, Traffic};
use mqfleet_test_support::{mosquitto::Mosquitto, worker::Worker};

use super::{SOON, def};

/// These read like lines about something else; the last is longer than what the trace shows.
const PAYLOADS: [&str; 4] = [
    "secret <- CONNACK rc: 5",
    "SSL alert read:fatal:secret",
    "secret in recv for socket 5",
    "secret, and all that is behind it, is none of our business",
];

#[tokio::test]
async fn nothing_of_a_payload_is_reported() {
    let mut broker = Mosquitto::start();
    let one = |i: usize| {
        let mut one = def(format!("client-{i}"), broker.port());
        (one.settings.probe.kind, one.settings.probe.every) = (ProbeKind::Heartbeat, Duration::from_millis(100));
        let payload = PAYLOADS[i / 3].as_bytes().into();
        let message = Message { topic: format!("news/{i}").into(), payload, qos: (i % 3) as u8, retain: false };
        let subscribe = vec![Subscription { filter: "news/#".into(), qos: 2 }];
        let publish = Some(Traffic { message, every: Duration::from_millis(20) });
        one.conversation = Arc::new(Conversation { subscribe, publish, ..Conversation::default() });
        one
    };
    let n = 3 * PAYLOADS.len();
    // The crate would log by the first, if anybody had asked for it, and Paho's own log by the others.
    let dir = tempfile::TempDir::new().expect("a folder");
    let trace = dir.path().join("trace");
    let trace = trace.to_str().expect("a path");
    let env = [("RUST_LOG", "trace"), ("MQTT_C_CLIENT_TRACE", trace), ("MQTT_C_CLIENT_TRACE_LEVEL", "PROTOCOL")];
    let mut worker = Worker::with_env((0..n).map(one).collect(), &env).await;
    worker.heard = Some(String::new());
    worker.connect(0..n as u32).await;
    let heard = |w: &Worker| w.messages.values().filter(|(received, sent)| *received > 100 && *sent > 10).count() == n;
    assert!(worker.until(SOON, heard).await, "{:?}", worker.messages);
    broker.kill9();
    assert!(worker.until(SOON, |w| w.ended() == n).await);
    let said = worker.heard.take().expect("it") + &worker.stderr();
    assert!(said.contains("ConnectionLost") && !said.contains("secret"), "{said}");
    assert!(!std::path::Path::new(trace).exists(), "Paho wrote a trace of its own");
}
