//! Tests echoes: what a round trip through the broker takes, that only a client's own echo counts, and that a lost one is a gap.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use mqfleet::fleet::{Conversation, Message, ProbeKind, Protocol, Subscription, Traffic};
use mqfleet_test_support::{
    mosquitto::{Mosquitto, Setup},
    script::{self, ACCEPT_V5, ACCEPT_V311, peer},
    worker::{Def, Worker},
};

use super::{SOON, def};

const MS: Duration = Duration::from_millis(1);

fn probing(id: &str, port: u16, kind: ProbeKind, protocol: Protocol) -> Def {
    let mut one = def(id, port);
    (one.settings.probe.kind, one.settings.probe.every, one.settings.protocol) = (kind, 50 * MS, protocol);
    one
}

fn count(worker: &Worker, slot: u32) -> usize {
    worker.samples.iter().filter(|s| s.slot == slot).count()
}

#[tokio::test]
async fn echoes_and_acks_agree_and_echoes_are_no_traffic() {
    let broker = Mosquitto::start();
    let mut all = Vec::new();
    for i in 0..20 {
        let protocol = if i % 2 == 0 { Protocol::V5 } else { Protocol::V311 };
        let kind = if i < 10 { ProbeKind::Echo } else { ProbeKind::Ack };
        all.push(probing(&format!("client-{i}"), broker.port(), kind, protocol));
    }
    for id in ["$SYS/+/#", "x <- PUBLISH msgid: 0 qos: 0 retained: 0 payload len(23): ", "温度計"] {
        all.push(probing(id, broker.port(), ProbeKind::Echo, Protocol::V5));
    }
    // Its echoes come to it by two subscriptions.
    let mut nosy = probing("nosy", broker.port(), ProbeKind::Echo, Protocol::V5);
    let subscribe = vec![Subscription { filter: "mqfleet/probe/nosy".into(), qos: 2 }];
    nosy.conversation = Arc::new(Conversation { subscribe, ..Conversation::default() });
    all.push(nosy);
    let kinds: Vec<ProbeKind> = all.iter().map(|d| d.settings.probe.kind).collect();
    let n = all.len() as u32;
    let mut worker = Worker::start(all).await;
    worker.connect(0..n).await;
    let all_there = worker.until(SOON, |w| (0..n).all(|slot| count(w, slot) >= 40)).await;
    let counts: Vec<_> = (0..n).map(|slot| count(&worker, slot)).collect();
    assert!(all_there, "{counts:?}");
    worker.until(2 * Duration::from_secs(1), |w| !w.messages.is_empty()).await;
    assert!(worker.messages.is_empty(), "{:?}", worker.messages);
    assert!(worker.shortfalls.is_empty() && worker.subscribed.iter().all(|s| s.slot == n - 1));
    let half = |kind| {
        let mut rtt: Vec<_> = worker.samples.iter().filter(|s| s.probe == kind).map(|s| s.rtt).collect();
        rtt.sort();
        rtt[rtt.len() / 2]
    };
    assert!(worker.samples.iter().all(|s| s.probe == kinds[s.slot as usize]));
    let (echo, ack) = (half(ProbeKind::Echo), half(ProbeKind::Ack));
    eprintln!("median: echo {echo:?}, ack {ack:?}");
    assert!(echo > Duration::ZERO && echo < 5 * ack + 5 * MS && ack < 5 * echo + 5 * MS, "{echo:?} {ack:?}");
}

/// Others publish to the same topic, and the broker keeps a message there: none of that is an echo.
#[tokio::test]
async fn what_others_say_on_the_topic_is_no_echo() {
    let broker = Mosquitto::with(Setup { verbose: true, ..Setup::default() });
    let intruder = |id: &str, retain| {
        let mut one = def(id, broker.port());
        let payload = b"mqfleet0000000000000001".as_slice().into();
        let message = Message { topic: "mqfleet/probe/one".into(), payload, qos: 0, retain };
        let publish = Some(Traffic { message, every: 20 * MS });
        one.conversation = Arc::new(Conversation { publish, ..Conversation::default() });
        one
    };
    let mut one = probing("one", broker.port(), ProbeKind::Echo, Protocol::V5);
    one.settings.probe.every = Duration::from_secs(3_600);
    let twin = probing("twin", broker.port(), ProbeKind::Echo, Protocol::V311);
    let mut worker = Worker::start(vec![intruder("a", true), intruder("b", false), one, twin]).await;
    worker.connect([0, 1]).await;
    assert!(worker.until(SOON, |w| w.messages.len() == 2).await);
    worker.connect([2, 3]).await;
    let heard = |w: &Worker| w.messages.get(&2).map_or(0, |m| m.0) >= 50 && count(w, 3) >= 10;
    assert!(worker.until(SOON, heard).await, "{:?}", worker.messages);
    assert_eq!(count(&worker, 2), 0, "{:?}", worker.samples);
    assert_eq!(worker.messages.get(&3), None, "echoes are no messages");
}

/// The payload of a PUBLISH at QoS 0.
fn payload(packet: &[u8], is_v5: bool) -> &[u8] {
    let topic = usize::from(packet[2]) << 8 | usize::from(packet[3]);
    &packet[4 + topic + usize::from(is_v5)..]
}

/// An echo that is lost is a gap: the next is sent after a while, and one that comes late is not taken
/// for it.
#[tokio::test]
async fn a_lost_echo_is_a_gap() {
    for (protocol, accept) in [(Protocol::V5, ACCEPT_V5), (Protocol::V311, ACCEPT_V311)] {
        let sent = Arc::new(Mutex::new(Vec::<Vec<u8>>::new()));
        let kept = sent.clone();
        let port = peer(move |_, packet| match packet[0] >> 4 {
            1 => vec![accept.to_vec()],
            8 if protocol == Protocol::V5 => vec![vec![0x90, 4, packet[2], packet[3], 0, 0]],
            8 => vec![vec![0x90, 3, packet[2], packet[3], 0]],
            3 => {
                let mut sent = kept.lock().expect("it");
                sent.push(packet.to_vec());
                match &sent[..] {
                    [only] => {
                        // Not this one, but one like it, and this one as if the broker had kept it.
                        let (mut other, mut retained) = (only.clone(), only.clone());
                        let last = other.len() - 1;
                        other[last] = if other[last] == b'0' { b'1' } else { b'0' };
                        retained[0] |= 1;
                        vec![other, retained]
                    }
                    [first, second] => {
                        let (first, second) = (first.clone(), second.clone());
                        drop(sent);
                        thread::sleep(300 * MS);
                        vec![first, second]
                    }
                    _ => vec![packet.to_vec()],
                }
            }
            _ => Vec::new(),
        });
        let mut worker = Worker::start(vec![probing("one", port, ProbeKind::Echo, protocol)]).await;
        worker.connect([0]).await;
        assert!(worker.until(SOON, |w| count(w, 0) >= 5).await, "{:?}", worker.samples);
        let up = worker.steps[&(0, 1)][0].0;
        let first = worker.samples[0];
        assert!(first.rtt >= 290 * MS && first.rtt < Duration::from_secs(4), "{first:?}");
        assert!(first.at.since(up) >= Duration::from_secs(5), "{first:?} {up:?}");
        let sent = sent.lock().expect("it").clone();
        let is_v5 = protocol == Protocol::V5;
        let payloads: HashSet<_> = sent.iter().map(|p| payload(p, is_v5)).collect();
        assert!(payloads.len() == sent.len() && payloads.iter().all(|p| p.starts_with(b"mqfleet") && p.len() == 23));
        worker.until(SOON, |w| w.messages.contains_key(&0)).await;
        assert_eq!(worker.messages[&0].0, 2, "the two that were not ours");
    }
}

/// Another message that arrives before the answer does not make the round trip any shorter.
#[tokio::test]
async fn what_arrives_before_the_answer_is_not_the_answer() {
    let port = || {
        peer(|_, packet| match packet[0] >> 4 {
            1 => vec![ACCEPT_V311.to_vec()],
            8 => vec![vec![0x90, 3, packet[2], packet[3], 0]],
            // The message goes back at once, the answer only with the next packet.
            3 => {
                let topic = usize::from(packet[3]);
                let answer = match packet[0] & 6 {
                    0 => packet.to_vec(),
                    _ => vec![0x40, 2, packet[4 + topic], packet[5 + topic]],
                };
                vec![vec![0x30, 4, 0, 1, b'm', b'x'], Vec::new(), answer]
            }
            _ => Vec::new(),
        })
    };
    let slow = |port: u16| {
        // Between two writes of the peer.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
        let own = listener.local_addr().expect("an address").port();
        thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                thread::spawn(move || {
                    let mut broker = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
                    let (mut back, mut down) = (broker.try_clone().ok()?, client.try_clone().ok()?);
                    thread::spawn(move || deal_out(&mut back, &mut down));
                    std::io::copy(&mut client, &mut broker).ok()
                });
            }
        });
        own
    };
    for kind in [ProbeKind::Echo, ProbeKind::Ack] {
        let mut one = probing("one", slow(port()), kind, Protocol::V311);
        one.settings.probe.every = 500 * MS;
        let mut worker = Worker::start(vec![one]).await;
        worker.connect([0]).await;
        assert!(worker.until(SOON, |w| count(w, 0) >= 3).await, "{:?}", worker.samples);
        for sample in &worker.samples {
            assert!(sample.rtt >= 190 * MS, "{sample:?}");
        }
    }
}

/// Hands packets on, each 100 ms after the one before.
fn deal_out(from: &mut std::net::TcpStream, to: &mut std::net::TcpStream) -> Option<()> {
    while let Some(packet) = script::packet(from) {
        thread::sleep(100 * MS);
        std::io::Write::write_all(to, &packet).ok()?;
    }
    Some(())
}

#[tokio::test]
async fn without_the_subscription_there_is_no_echo_and_it_is_told() {
    let published = Arc::new(AtomicUsize::new(0));
    let counted = published.clone();
    let port = peer(move |_, packet| match packet[0] >> 4 {
        1 => vec![ACCEPT_V5.to_vec()],
        8 => {
            // No identifier, QoS 0, no other option: with no-local nothing would come back.
            assert_eq!(packet[4..], *b"\0\0\x11mqfleet/probe/one\0", "{packet:x?}");
            vec![[&[0x90, 10, packet[2], packet[3], 6, 0x1f, 0, 3][..], b"no.", &[0x87]].concat()]
        }
        3 => {
            counted.fetch_add(1, Ordering::SeqCst);
            Vec::new()
        }
        _ => Vec::new(),
    });
    let mut worker = Worker::start(vec![probing("one", port, ProbeKind::Echo, Protocol::V5)]).await;
    worker.connect([0]).await;
    assert!(worker.until(SOON, |w| !w.shortfalls.is_empty()).await);
    let shortfall = &worker.shortfalls[0];
    assert_eq!((shortfall.filter.as_str(), shortfall.asked, shortfall.granted), ("mqfleet/probe/one", 0, None));
    assert_eq!(shortfall.detail.as_str(), "SUBSCRIBE mqfleet/probe/one: not authorized: no.");
    worker.until(500 * MS, |_| false).await;
    assert!(worker.is_up(0) && worker.subscribed.is_empty());
    assert_eq!(published.load(Ordering::SeqCst), 0);
}
