//! Tests that the end of a connection, or of a try, is told with its true cause.

use std::{
    io::Read,
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};

use mqfleet::{
    event::Reason,
    fleet::{Protocol, Secret},
};
use mqfleet_test_support::{
    mosquitto::{Mosquitto, Setup, free_port},
    script::{self, ACCEPT_V5, ACCEPT_V311},
    worker::Worker,
};

use super::{SOON, def};

const BOTH: [Protocol; 2] = [Protocol::V311, Protocol::V5];

#[tokio::test]
async fn a_wrong_password() {
    let users = vec![("ann".to_owned(), "right".to_owned())];
    let broker = Mosquitto::with(Setup { users, ..Setup::default() });
    let mut all = Vec::new();
    for protocol in BOTH {
        for password in ["right", "wrong"] {
            let mut def = def(format!("{protocol:?}-{password}"), broker.port());
            def.settings.protocol = protocol;
            def.username = Some("ann".into());
            def.password = Some(Secret::new(password.into()));
            all.push(def);
        }
    }
    let mut worker = Worker::start(all).await;
    worker.connect(0..4).await;
    assert!(worker.until(SOON, |w| w.up() + w.ended() == 4).await);
    assert!(worker.is_up(0) && worker.is_up(2));
    // mosquitto says "not authorized" in either version.
    for slot in [1, 3] {
        assert_eq!(worker.cause(slot).reason, Reason::NotAuthorized, "{:?}", worker.cause(slot));
    }
}

#[tokio::test]
async fn nobody_listens() {
    let port = free_port();
    let mut all = vec![def("a", port), def("b", port)];
    all[1].settings.protocol = Protocol::V311;
    all[1].remote.endpoint.host = "localhost".into();
    let mut worker = Worker::start(all).await;
    let started = Instant::now();
    worker.connect(0..2).await;
    assert!(worker.until(SOON, |w| w.ended() == 2).await);
    for slot in 0..2 {
        assert_eq!(worker.cause(slot).reason, Reason::ConnectionRefused, "{:?}", worker.cause(slot));
    }
    // Long before the limit of a connect.
    assert!(started.elapsed() < Duration::from_secs(15), "it took {:?}", started.elapsed());
}

#[tokio::test]
async fn an_address_of_version_6() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else { return eprintln!("no IPv6 here") };
    let port = listener.local_addr().expect("an address").port();
    let mut one = def("a", port);
    one.remote.endpoint.host = "::1".into();
    let mut worker = Worker::start(vec![one]).await;
    worker.connect([0]).await;
    let heard = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut first = [0];
        stream.read_exact(&mut first).expect("a CONNECT");
        first[0]
    });
    assert!(worker.until(SOON, |w| w.is_ended(0)).await);
    assert_eq!(heard.join().expect("a CONNECT"), 0x10);
}

#[tokio::test]
async fn a_name_without_an_address() {
    let mut one = def("a", 1883);
    one.remote.endpoint.host = "no-such-host.invalid".into();
    one.settings.connect_timeout = Duration::from_secs(30);
    let mut worker = Worker::start(vec![one]).await;
    worker.connect([0]).await;
    assert!(worker.until(Duration::from_secs(40), |w| w.is_ended(0)).await);
    assert_eq!(worker.cause(0).reason, Reason::NameNotResolved, "{:?}", worker.cause(0));
}

/// Something that is no broker: it hangs up on whoever speaks.
#[tokio::test]
async fn the_other_end_hangs_up_instead_of_answering() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut byte = [0];
            let _ = stream.expect("a connection").read(&mut byte);
        }
    });
    let mut all: Vec<_> = BOTH.iter().map(|p| (def(format!("{p:?}"), port), *p)).collect();
    all.iter_mut().for_each(|(def, protocol)| def.settings.protocol = *protocol);
    let mut worker = Worker::start(all.into_iter().map(|(def, _)| def).collect()).await;
    worker.connect(0..2).await;
    assert!(worker.until(SOON, |w| w.ended() == 2).await);
    for slot in 0..2 {
        assert_eq!(worker.cause(slot).reason, Reason::ConnectionLost, "{:?}", worker.cause(slot));
        assert!(!worker.cause(slot).detail.is_empty());
    }
}

#[tokio::test]
async fn a_client_id_that_is_there_twice() {
    let broker = Mosquitto::start();
    let mut all = vec![def("twin", broker.port()), def("twin", broker.port())];
    let mut worker = Worker::start(all.clone()).await;
    worker.connect([0]).await;
    assert!(worker.until(SOON, |w| w.is_up(0)).await);
    worker.connect([1]).await;
    assert!(worker.until(SOON, |w| w.is_ended(0) && w.is_up(1)).await);
    // Not every mosquitto says so to a client of MQTT 5.0 either.
    let cause = worker.cause(0);
    assert!(matches!(cause.reason, Reason::SessionTakenOver | Reason::ConnectionLost), "{cause:?}");

    // MQTT 3.1.1 has no word for it.
    all.iter_mut().for_each(|d| d.settings.protocol = Protocol::V311);
    let mut worker = Worker::start(all).await;
    worker.connect([0]).await;
    assert!(worker.until(SOON, |w| w.is_up(0)).await);
    worker.connect([1]).await;
    assert!(worker.until(SOON, |w| w.is_ended(0) && w.is_up(1)).await);
    assert_eq!(worker.cause(0).reason, Reason::ConnectionLost, "{:?}", worker.cause(0));
}

#[tokio::test]
async fn a_broker_that_shuts_down_in_order() {
    let mut broker = Mosquitto::start();
    let mut all = vec![def("a", broker.port()), def("b", broker.port())];
    all[1].settings.protocol = Protocol::V311;
    let mut worker = Worker::start(all).await;
    worker.connect(0..2).await;
    assert!(worker.until(SOON, |w| w.up() == 2).await);
    broker.stop();
    assert!(worker.until(SOON, |w| w.ended() == 2).await);
    // Not every mosquitto says so.
    let cause = worker.cause(0);
    assert!(matches!(cause.reason, Reason::ServerShuttingDown | Reason::ConnectionLost), "{cause:?}");
    assert_eq!(worker.cause(1).reason, Reason::ConnectionLost, "{:?}", worker.cause(1));
    assert_eq!(worker.cause(1).detail.as_str(), "the broker closed the connection");
}

#[tokio::test]
async fn a_broker_that_falls_silent() {
    let broker = Mosquitto::start();
    let mut all = vec![def("a", broker.port()), def("x".repeat(300), broker.port())];
    all.iter_mut().for_each(|d| d.settings.keep_alive = Duration::from_secs(1));
    let mut worker = Worker::start(all).await;
    worker.connect(0..2).await;
    assert!(worker.until(SOON, |w| w.up() == 2).await);
    broker.freeze();
    assert!(worker.until(SOON, |w| w.ended() == 2).await);
    for slot in 0..2 {
        assert_eq!(worker.cause(slot).reason, Reason::KeepAliveTimeout, "{:?}", worker.cause(slot));
    }
}

/// One client against a server that says just this.
async fn end_after(protocol: Protocol, answers: &[&[u8]]) -> (Reason, String) {
    let port = script::server(answers.iter().map(|a| a.to_vec()).collect());
    let mut one = def("one", port);
    one.settings.protocol = protocol;
    one.settings.connect_timeout = Duration::from_secs(2);
    let mut worker = Worker::start(vec![one]).await;
    worker.connect([0]).await;
    assert!(worker.until(SOON, |w| w.is_ended(0)).await, "{protocol:?} {answers:?}: {:?}", worker.step(0));
    let cause = worker.cause(0);
    let end = (cause.reason, cause.detail.to_string());
    // The worker is none the worse for it.
    assert_eq!(worker.child.try_wait().expect("its state"), None);
    assert_eq!(worker.stderr(), "");
    end
}

#[tokio::test]
async fn a_connack_of_3_1_1_that_refuses() {
    for (code, reason) in [
        (1, Reason::UnsupportedProtocolVersion),
        (2, Reason::ClientIdRejected),
        (3, Reason::ServerUnavailable),
        (4, Reason::BadCredentials),
        (5, Reason::NotAuthorized),
        (200, Reason::OtherBrokerReason),
    ] {
        let end = end_after(Protocol::V311, &[&[0x20, 2, 0, code]]).await;
        assert_eq!(end.0, reason, "{code}: {end:?}");
    }
}

#[tokio::test]
async fn a_connack_of_5_that_refuses() {
    for (code, reason) in [
        (0x80, Reason::UnspecifiedError),
        (0x85, Reason::ClientIdRejected),
        (0x86, Reason::BadCredentials),
        (0x87, Reason::NotAuthorized),
        (0x8a, Reason::Banned),
        (0x9d, Reason::ServerMoved),
        (0xef, Reason::OtherBrokerReason),
    ] {
        let end = end_after(Protocol::V5, &[&[0x20, 3, 0, code, 0]]).await;
        assert_eq!(end.0, reason, "0x{code:02x}: {end:?}");
    }
}

#[tokio::test]
async fn a_disconnect_of_5_tells_why_and_its_words_are_scrubbed() {
    let words = b"go\x1b[31m away";
    let mut packet = vec![0xe0, 0, 0x8e, words.len() as u8 + 3, 0x1f, 0, words.len() as u8];
    packet.extend(words);
    packet[1] = packet.len() as u8 - 2;
    let end = end_after(Protocol::V5, &[ACCEPT_V5, &packet]).await;
    assert_eq!(end, (Reason::SessionTakenOver, "go␛[31m away".to_owned()));

    assert_eq!(end_after(Protocol::V5, &[ACCEPT_V5, &[0xe0, 1, 0x8b]]).await.0, Reason::ServerShuttingDown);
    assert_eq!(end_after(Protocol::V5, &[ACCEPT_V5, &[0xe0, 1, 0x98]]).await.0, Reason::AdministrativeAction);
    assert_eq!(end_after(Protocol::V5, &[ACCEPT_V5, &[0xe0, 1, 0xfe]]).await.0, Reason::OtherBrokerReason);
    assert_eq!(end_after(Protocol::V5, &[ACCEPT_V5, &[0xe0, 0]]).await.0, Reason::ConnectionLost);
}

/// None of these may take the worker down, whatever they end as.
#[tokio::test]
async fn servers_that_talk_nonsense() {
    let flood = [0xff; 4096];
    let mut nonsense: Vec<(Protocol, &[u8])> = Vec::new();
    for protocol in BOTH {
        nonsense.push((protocol, b"HTTP/1.1 400 Bad Request\r\n\r\n"));
        nonsense.push((protocol, &flood));
        nonsense.push((protocol, &[0x20, 0]));
        nonsense.push((protocol, &[0x20, 0x80, 0x80, 0x80, 0x80]));
        nonsense.push((protocol, &[0x20, 3, 0, 0x55, 0]));
        nonsense.push((protocol, &[0xe0, 1, 0x8b]));
    }
    nonsense.push((Protocol::V5, &[0x20, 3, 0, 0, 0x7f]));
    for (protocol, answer) in nonsense {
        let end = end_after(protocol, &[answer]).await;
        let first = &answer[..answer.len().min(8)];
        eprintln!("{protocol:?}, {first:02x?}: {end:?}");
    }
}

/// A topic that is not UTF-8, a PUBLISH that was not asked for, acknowledgements of nothing.
#[tokio::test]
async fn packets_that_nobody_asked_for() {
    let odd: &[&[u8]] = &[
        &[0x30, 4, 0, 1, 0xff, 0],
        &[0x40, 2, 0, 9],
        &[0x50, 2, 0, 9],
        &[0x90, 3, 0, 9, 0],
        &[0xb0, 2, 0, 9],
        &[0xd0, 0],
    ];
    for packet in odd {
        let port = script::server(vec![ACCEPT_V311.to_vec(), packet.to_vec()]);
        let broker = Mosquitto::start();
        let mut all = vec![def("odd", port), def("sane", broker.port())];
        all[0].settings.protocol = Protocol::V311;
        let mut worker = Worker::start(all).await;
        worker.connect(0..2).await;
        assert!(worker.until(SOON, |w| w.is_up(1) && w.steps.contains_key(&(0, 1))).await);
        worker.until(Duration::from_millis(200), |w| w.is_ended(0)).await;
        worker.disconnect(0..2).await;
        assert!(worker.until(SOON, |w| w.ended() == 2).await, "{packet:?}: {}", worker.stderr());
    }
}
