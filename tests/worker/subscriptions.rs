//! Tests what becomes of subscriptions that are refused or never answered: it is told, and the client goes on.

use std::{sync::Arc, time::Duration};

use mqfleet::fleet::{Conversation, Message, Protocol, Subscription, Traffic};
use mqfleet_test_support::{
    mosquitto::Mosquitto,
    script::{ACCEPT_V5, ACCEPT_V311, peer, swallowing},
    worker::{Def, Worker},
};

use super::{SOON, def};

/// The bound is 10 s.
const PATIENCE: Duration = Duration::from_secs(30);

fn message(topic: &str) -> Message {
    Message { topic: topic.into(), payload: b"x".as_slice().into(), qos: 1, retain: false }
}

fn talker(id: &str, port: u16, filters: &[&str]) -> Def {
    let mut one = def(id, port);
    let subscribe = filters.iter().map(|&filter| Subscription { filter: filter.into(), qos: 1 }).collect();
    one.conversation = Arc::new(Conversation {
        subscribe,
        birth: Some(message(&format!("born/{id}"))),
        publish: Some(Traffic { message: message(&format!("data/{id}")), every: Duration::from_millis(100) }),
        will: None,
    });
    one
}

#[tokio::test]
async fn a_broker_that_never_answers_them() {
    let broker = Mosquitto::start();
    let deaf = swallowing(8, broker.port());
    let mut one = talker("one", deaf, &["cmd/#", "all"]);
    one.settings.protocol = Protocol::V311;
    let ears = talker("ears", broker.port(), &["born/one", "data/one"]);
    let mut worker = Worker::start(vec![one, ears]).await;
    worker.connect([1]).await;
    assert!(worker.until(SOON, |w| w.subscribed.iter().any(|s| s.slot == 1)).await);
    worker.connect([0]).await;
    // What it does after the greeting reaches the broker: the birth, then its traffic.
    let heard = |w: &Worker| w.messages.get(&1).map_or(0, |m| m.0) >= 3;
    assert!(worker.until(PATIENCE, heard).await, "{:?} {:?}", worker.messages, worker.shortfalls);
    assert!(worker.is_up(0));
    let told: Vec<_> = worker.shortfalls.iter().map(|s| (s.slot, s.filter.as_str(), s.asked, s.granted)).collect();
    assert_eq!(told, [(0, "cmd/#", 1, None), (0, "all", 1, None)]);
    assert!(worker.shortfalls.iter().all(|s| s.detail.as_str() == "no answer within 10 s"));
    let subscribed = worker.subscribed.iter().find(|s| s.slot == 0).expect("it is told");
    assert!(subscribed.took >= Duration::from_millis(9_990), "{subscribed:?}");
}

/// The answer comes after all, but too late: it is told once, and nothing ends over it.
#[tokio::test]
async fn an_answer_that_comes_too_late() {
    let port = peer(|_, packet| match packet[0] >> 4 {
        1 => vec![ACCEPT_V311.to_vec()],
        8 => {
            std::thread::sleep(Duration::from_secs(11));
            vec![vec![0x90, 3, packet[2], packet[3], 1]]
        }
        _ => Vec::new(),
    });
    let mut one = talker("one", port, &["cmd/#"]);
    one.settings.protocol = Protocol::V311;
    let mut worker = Worker::start(vec![one]).await;
    worker.connect([0]).await;
    assert!(worker.until(PATIENCE, |w| !w.subscribed.is_empty()).await);
    worker.until(Duration::from_secs(3), |_| false).await;
    assert!(worker.is_up(0), "{:?}", worker.step(0));
    assert_eq!((worker.shortfalls.len(), worker.subscribed.len()), (1, 1), "{:?}", worker.shortfalls);
}

#[tokio::test]
async fn why_a_broker_of_mqtt_5_refuses() {
    let port = peer(|_, packet| match packet[0] >> 4 {
        1 => vec![ACCEPT_V5.to_vec()],
        8 => vec![[&[0x90, 14, packet[2], packet[3], 10, 0x1f, 0, 7][..], b"no\x1bway.", &[0x87]].concat()],
        _ => Vec::new(),
    });
    let mut worker = Worker::start(vec![talker("one", port, &["cmd/#"])]).await;
    worker.connect([0]).await;
    assert!(worker.until(SOON, |w| !w.subscribed.is_empty() && !w.shortfalls.is_empty()).await);
    let shortfall = &worker.shortfalls[0];
    assert_eq!((shortfall.granted, shortfall.detail.as_str()), (None, "not authorized: no␛way."));
}
