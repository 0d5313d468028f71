//! Tests the orders to connect and disconnect, in every order, and that each generation ends once.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use mqfleet::{
    event::{ConnectOrder, Reason, Step},
    fleet::{Probe, ProbeKind, Protocol, Secret},
    wire::ToWorker,
};
use mqfleet_test_support::{
    mosquitto::{Mosquitto, Setup},
    script,
    worker::Worker,
};

use super::{SOON, def, defs};

#[tokio::test]
async fn connect_disconnect_and_back() {
    for protocol in [Protocol::V311, Protocol::V5] {
        let broker = Mosquitto::start();
        let mut one = def("one", broker.port());
        one.settings.protocol = protocol;
        let mut worker = Worker::start(vec![one]).await;
        for _ in 0..3 {
            worker.connect([0]).await;
            assert!(worker.until(SOON, |w| w.is_up(0)).await);
            assert_eq!(worker.connack(0).map(|c| c.session_present), Some(false));
            worker.disconnect([0]).await;
            assert!(worker.until(SOON, |w| w.is_ended(0)).await);
            assert_eq!(worker.cause(0).reason, Reason::OperatorDisconnect);
        }
        let log = broker.log();
        assert_eq!(log.matches("Client one disconnected.").count(), 3, "{protocol:?}: {log}");
    }
}

/// 0 is what switches it off (MQTT 5.0 §3.1.2.10), and the longest there is what does nearly.
#[tokio::test]
async fn the_keep_alive_that_is_given_is_the_one_that_is_sent() {
    for (protocol, accept) in [(Protocol::V311, script::ACCEPT_V311), (Protocol::V5, script::ACCEPT_V5)] {
        let (sender, sent) = std::sync::mpsc::channel();
        let sender = std::sync::Mutex::new(sender);
        let port = script::peer(move |_, packet| {
            if packet[0] >> 4 != 1 {
                return Vec::new();
            }
            // Behind the length, "MQTT", the level and the flags.
            let at = 1 + packet[1..].iter().take_while(|byte| *byte & 0x80 != 0).count() + 1 + 8;
            sender.lock().unwrap().send(u16::from_be_bytes([packet[at], packet[at + 1]])).unwrap();
            vec![accept.to_vec()]
        });
        let keep_alives = [0, 1, 30, 65_535];
        let one = |seconds: u64| {
            let mut one = def(format!("of-{seconds}"), port);
            (one.settings.protocol, one.settings.keep_alive) = (protocol, Duration::from_secs(seconds));
            one
        };
        let mut worker = Worker::start(keep_alives.map(one).into()).await;
        for (slot, seconds) in keep_alives.into_iter().enumerate() {
            worker.connect([slot as u32]).await;
            assert!(worker.until(SOON, |w| w.is_up(slot as u32)).await);
            assert_eq!(u64::from(sent.recv().unwrap()), seconds, "{protocol:?}");
        }
    }
}

#[tokio::test]
async fn a_connect_while_up_cuts_the_one_before() {
    let broker = Mosquitto::start();
    let mut worker = Worker::start(defs(50, broker.port())).await;
    for _ in 0..4 {
        worker.connect(0..50).await;
    }
    assert!(worker.until(SOON, |w| w.up() == 50).await, "{} up", worker.up());
    // A broker that has not read the CONNECT yet may read its end after the next one's. Of who is up it has.
    let said = broker.log().len();
    for _ in 0..3 {
        worker.connect(0..50).await;
        assert!(worker.until(SOON, |w| w.up() == 50).await, "{} up", worker.up());
    }
    for slot in 0..50 {
        for generation in 1..7 {
            let last = worker.steps[&(slot, generation)].last();
            let Some((_, Step::Ended(cause, _))) = last else { panic!("slot {slot}, {generation}: {last:?}") };
            assert_eq!(cause.reason, Reason::OperatorDisconnect);
        }
    }
    let log = &broker.log()[said..];
    assert!(!log.contains("already connected"), "a client met itself: {log}");
}

#[tokio::test]
async fn a_session_is_taken_up_again() {
    let broker = Mosquitto::start();
    let mut one = def("one", broker.port());
    (one.settings.protocol, one.settings.clean_start) = (Protocol::V311, false);
    let mut worker = Worker::start(vec![one]).await;
    for session_present in [false, true] {
        worker.connect([0]).await;
        assert!(worker.until(SOON, |w| w.is_up(0)).await);
        assert_eq!(worker.connack(0).map(|c| c.session_present), Some(session_present));
        worker.disconnect([0]).await;
        assert!(worker.until(SOON, |w| w.is_ended(0)).await);
    }
}

/// Paho cannot abort a connect: its end is told at once all the same, and the next one waits.
#[tokio::test]
async fn a_connecting_client_can_be_disconnected_and_connected_again() {
    let broker = Mosquitto::start();
    broker.freeze();
    let mut one = def("one", broker.port());
    one.settings.connect_timeout = Duration::from_secs(40);
    let mut worker = Worker::start(vec![one]).await;
    worker.connect([0]).await;
    worker.disconnect([0]).await;
    let started = Instant::now();
    assert!(worker.until(SOON, |w| w.is_ended(0)).await);
    assert!(started.elapsed() < Duration::from_secs(20), "it took {:?}", started.elapsed());
    worker.connect([0]).await;
    broker.thaw();
    assert!(worker.until(SOON, |w| w.is_up(0)).await);
    assert!(!broker.log().contains("already connected"), "it met itself: {}", broker.log());
}

/// A broker that takes the connection and never says a word.
#[tokio::test]
async fn a_silent_broker_ends_as_a_timeout_each_time() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let mut one = def("one", silent.local_addr().expect("an address").port());
    one.settings.connect_timeout = Duration::from_millis(1_300);
    let mut worker = Worker::start(vec![one]).await;
    for _ in 0..3 {
        let started = Instant::now();
        worker.connect([0]).await;
        assert!(worker.until(SOON, |w| w.is_ended(0)).await);
        let took = started.elapsed();
        assert_eq!(worker.cause(0).reason, Reason::ConnectTimeout, "{:?}", worker.cause(0));
        assert!(took >= Duration::from_millis(1_250) && took < Duration::from_secs(10), "it took {took:?}");
    }
}

/// Whatever the orders: every generation ends exactly once ([`Worker`] checks that none ends twice
/// and that nothing follows an end).
#[tokio::test]
async fn a_storm_of_orders_leaves_no_generation_open() {
    const N: u32 = 100;
    let mut broker = Mosquitto::start();
    let mut all = defs(N as usize, broker.port());
    for (i, def) in all.iter_mut().enumerate() {
        def.settings.protocol = if i % 2 == 0 { Protocol::V5 } else { Protocol::V311 };
        def.settings.connect_timeout = Duration::from_secs(3);
    }
    let mut worker = Worker::start(all).await;
    let mut random = fastrand::Rng::with_seed(7);
    for round in 0..60 {
        let mut some: Vec<u32> = (0..N).filter(|_| random.bool()).collect();
        random.shuffle(&mut some);
        if random.u8(..) < 140 {
            worker.connect(some).await
        } else {
            worker.disconnect(some).await
        }
        match round % 20 {
            7 => broker.freeze(),
            9 => broker.thaw(),
            13 => broker.kill9(),
            16 => broker.restart(),
            _ => {}
        }
        let pause = Duration::from_millis(random.u64(0..40));
        worker.until(pause, |_| false).await;
    }
    worker.disconnect(0..N).await;
    let open = |w: &Worker| {
        let ended = |slot, generation| {
            w.steps.get(&(slot, generation)).is_some_and(|s| matches!(s.last(), Some((_, Step::Ended(..)))))
        };
        (0..N).map(|s| (1..=w.generation(s)).filter(|&g| !ended(s, g)).count()).sum::<usize>()
    };
    assert!(worker.until(SOON, |w| open(w) == 0).await, "{} generations are open", open(&worker));
    // And all of them can still be brought up.
    worker.connect(0..N).await;
    assert!(worker.until(SOON, |w| w.up() == N as usize).await, "{} up; {}", worker.up(), worker.stderr());
}

#[tokio::test]
async fn hostile_client_ids_are_only_names() {
    let long = "x".repeat(65_535);
    let ids = [
        "\x1b]0;owned\x07\x1b[2J",
        "a b  c",
        "-> CONNECT version 5 clean: 1 (0)",
        "x <- PINGRESP",
        "99 y -> PUBLISH msgid: 1 qos: 1 retained: 0 rc 0 payload len(0): ",
        "%s%n%d",
        "温度計\u{202e}🦀e\u{301}",
        "$SYS/#/+",
        &long,
        "",
    ];
    // mosquitto is free to refuse some of them; what counts is that each ends as something.
    let broker = Mosquitto::with(Setup { verbose: false, ..Setup::default() });
    for protocol in [Protocol::V311, Protocol::V5] {
        let mut all: Vec<_> = ids.iter().map(|&id| def(id, broker.port())).collect();
        for def in &mut all {
            def.settings.protocol = protocol;
        }
        let n = all.len() as u32;
        let mut worker = Worker::start(all).await;
        worker.connect(0..n).await;
        assert!(worker.until(SOON, |w| w.up() + w.ended() == n as usize).await);
        for slot in [1, 2, 3, 4, 5, 7, 8, 9] {
            assert!(worker.is_up(slot), "{protocol:?} {:.40}: {:?}", ids[slot as usize], worker.step(slot));
        }
        worker.disconnect(0..n).await;
        assert!(worker.until(SOON, |w| w.ended() == n as usize).await);
        assert_eq!(worker.stderr(), "");
    }
}

#[tokio::test]
async fn a_nul_where_none_may_be_is_an_end_and_no_crash() {
    let broker = Mosquitto::start();
    let mut all = vec![def("a\0b", broker.port()), def("good", broker.port())];
    all.extend([def("name", broker.port()), def("password", broker.port())]);
    all[2].username = Some("a\0b".into());
    all[3].username = Some("ann".into());
    all[3].password = Some(Secret::new("a\0b".into()));
    let mut worker = Worker::start(all).await;
    worker.connect(0..4).await;
    assert!(worker.until(SOON, |w| w.ended() == 2 && w.is_up(1) && w.is_up(3)).await, "{}", worker.stderr());
    for slot in [0, 2] {
        assert_eq!(worker.cause(slot).reason, Reason::Internal);
        assert!(worker.cause(slot).detail.contains("NUL"), "{:?}", worker.cause(slot));
    }
}

/// Settings that no sensible fleet has must not stop the others either.
#[tokio::test]
async fn extreme_times_are_survived() {
    let broker = Mosquitto::start();
    let mut all = defs(3, broker.port());
    for (def, time) in all.iter_mut().zip([Duration::ZERO, Duration::MAX, Duration::from_secs(10)]) {
        def.settings.probe =
            Probe { kind: ProbeKind::Ack, every: if time.is_zero() { time } else { Duration::from_millis(5) } };
        (def.settings.keep_alive, def.settings.connect_timeout) = (time, time.max(Duration::from_secs(5)));
    }
    let mut worker = Worker::start(all).await;
    worker.connect(0..3).await;
    let measured = |w: &Worker| (0..3).all(|slot| w.samples.iter().any(|s| s.slot == slot));
    assert!(worker.until(SOON, measured).await, "{}", worker.stderr());
    assert_eq!(worker.up(), 3);
}

#[tokio::test]
async fn an_order_for_no_slot_ends_the_worker_with_a_word() {
    let broker = Mosquitto::start();
    let mut worker = Worker::start(defs(1, broker.port())).await;
    worker
        .sender
        .as_mut()
        .expect("a link")
        .send(&ToWorker::Connect {
            slot: 1,
            order: ConnectOrder {
                generation: 1,
                endpoint: mqfleet::fleet::EndpointKey(0),
                manner: mqfleet::event::Manner::default(),
            },
            credentials: None,
        })
        .await
        .expect("to order");
    let status = worker.gone(Duration::from_secs(4)).await.expect("an end");
    assert_eq!(status.code(), Some(1));
    assert!(worker.stderr().contains("a slot that was not defined"), "{}", worker.stderr());
}
