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

use super::{
    SOON, def,
    mosquitto::{Mosquitto, Setup, free_port},
    process::Worker,
};

const BOTH: [Protocol; 2] = [Protocol::V311, Protocol::V5];

#[tokio::test]
async fn a_wrong_password() {
    let users = vec![("ann".to_owned(), "right".to_owned())];
    let broker = Mosquitto::with(Setup { users, ..Setup::default() });
    let mut all = Vec::new();
    for protocol in BOTH {
        for password in ["right", "wrong"] {
            let mut def = def(format!("{protocol:?}-{password}"), broker.port());
            def.protocol = protocol;
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
    all[1].protocol = Protocol::V311;
    all[1].host = "localhost".into();
    let mut worker = Worker::start(all).await;
    let started = Instant::now();
    worker.connect(0..2).await;
    assert!(worker.until(SOON, |w| w.ended() == 2).await);
    for slot in 0..2 {
        assert_eq!(worker.cause(slot).reason, Reason::ConnectionRefused, "{:?}", worker.cause(slot));
    }
    assert!(started.elapsed() < Duration::from_secs(3), "it took {:?}", started.elapsed());
}

#[tokio::test]
async fn an_address_of_version_6() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else { return eprintln!("no IPv6 here") };
    let port = listener.local_addr().expect("an address").port();
    let mut one = def("a", port);
    one.host = "::1".into();
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
    one.host = "no-such-host.invalid".into();
    one.connect_timeout = Duration::from_secs(30);
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
    all.iter_mut().for_each(|(def, protocol)| def.protocol = *protocol);
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
    assert_eq!(worker.cause(0).reason, Reason::SessionTakenOver, "{:?}", worker.cause(0));

    // MQTT 3.1.1 has no word for it.
    all.iter_mut().for_each(|d| d.protocol = Protocol::V311);
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
    all[1].protocol = Protocol::V311;
    let mut worker = Worker::start(all).await;
    worker.connect(0..2).await;
    assert!(worker.until(SOON, |w| w.up() == 2).await);
    broker.stop();
    assert!(worker.until(SOON, |w| w.ended() == 2).await);
    assert_eq!(worker.cause(0).reason, Reason::ServerShuttingDown, "{:?}", worker.cause(0));
    assert_eq!(worker.cause(1).reason, Reason::ConnectionLost, "{:?}", worker.cause(1));
    assert_eq!(worker.cause(1).detail.as_str(), "the broker closed the connection");
}

#[tokio::test]
async fn a_broker_that_falls_silent() {
    let broker = Mosquitto::start();
    let mut all = vec![def("a", broker.port()), def("x".repeat(300), broker.port())];
    all.iter_mut().for_each(|d| d.keep_alive = Duration::from_secs(1));
    let mut worker = Worker::start(all).await;
    worker.connect(0..2).await;
    assert!(worker.until(SOON, |w| w.up() == 2).await);
    broker.freeze();
    assert!(worker.until(SOON, |w| w.ended() == 2).await);
    for slot in 0..2 {
        assert_eq!(worker.cause(slot).reason, Reason::KeepAliveTimeout, "{:?}", worker.cause(slot));
    }
}
