//! Tests what a client does once it is up: subscriptions, births, wills, its own traffic; and the proxy on the way there.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use mqfleet::{
    event::Reason,
    fleet::{Conversation, Message, Protocol, Proxy, ProxyKind, Secret, Subscription, Traffic},
};
use mqfleet_test_support::{
    mosquitto::{Mosquitto, Setup},
    script::{ACCEPT_V5, ACCEPT_V311, server},
    worker::{Def, Worker},
};

use super::{SOON, def};

fn message(topic: &str, payload: &str) -> Message {
    Message { topic: topic.into(), payload: payload.as_bytes().into(), qos: 1, retain: false }
}

fn listener(id: &str, port: u16, filter: &str, qos: u8) -> Def {
    let mut one = def(id, port);
    let subscribe = vec![Subscription { filter: filter.into(), qos }];
    one.conversation = Arc::new(Conversation { subscribe, ..Conversation::default() });
    one
}

fn received(worker: &Worker, slot: u32) -> u32 {
    worker.messages.get(&slot).map_or(0, |m| m.0)
}

#[tokio::test]
async fn births_wills_and_goodbyes() {
    for protocol in [Protocol::V311, Protocol::V5] {
        let broker = Mosquitto::with(Setup { verbose: true, ..Setup::default() });
        let mut ears = Worker::start(vec![listener("ears", broker.port(), "status/#", 1)]).await;
        ears.connect([0]).await;
        let is_subscribed = || broker.log().contains("Sending SUBACK to ears");
        assert!(ears.until(SOON, |w| w.is_up(0) && is_subscribed()).await || is_subscribed());

        let mouths = ["polite", "killed"].map(|id| {
            let mut one = def(id, broker.port());
            one.settings.protocol = protocol;
            let (will, birth) = (message(&format!("status/{id}"), "gone"), message(&format!("status/{id}"), "here"));
            one.conversation = Arc::new(Conversation { will: Some(will), birth: Some(birth), ..Default::default() });
            one
        });
        let mut talkers = Worker::start(mouths.to_vec()).await;
        talkers.connect(0..2).await;
        assert!(ears.until(SOON, |w| received(w, 0) == 2).await, "births: {}", broker.log());
        assert!(talkers.until(SOON, |w| w.messages.values().map(|m| m.1).sum::<u32>() == 2).await);
        talkers.disconnect([0]).await;
        assert!(talkers.until(SOON, |w| w.is_ended(0)).await);
        talkers.child.kill().expect("to kill the worker");
        assert!(ears.until(SOON, |w| received(w, 0) == 3).await, "the will: {}", broker.log());
        let log = broker.log();
        let told = |id: &str| log.matches(&format!("'status/{id}'")).count();
        // Of the polite one there is the birth alone, once in and once out.
        assert_eq!((told("polite"), log.matches("Sending PUBLISH to ears").count()), (2, 3), "{log}");
    }
}

#[tokio::test]
async fn traffic_is_published_and_counted() {
    let broker = Mosquitto::start();
    let mut source = def("source", broker.port());
    let publish = Traffic { message: message("data/source", "{\"n\":%s}"), every: Duration::from_millis(50) };
    source.conversation = Arc::new(Conversation { publish: Some(publish), ..Default::default() });
    let mut worker = Worker::start(vec![listener("ears", broker.port(), "data/+", 2), source]).await;
    worker.connect([0]).await;
    assert!(worker.until(SOON, |w| w.is_up(0)).await);
    worker.connect([1]).await;
    assert!(worker.until(SOON, |w| received(w, 0) >= 20).await, "{:?}", worker.messages);
    worker.disconnect([1]).await;
    assert!(worker.until(SOON, |w| w.messages[&1].1 == received(w, 0)).await, "{:?}", worker.messages);
}

/// Accepts a connect and answers the subscription with `code`.
fn grudging(accept: &'static [u8], suback: Vec<u8>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut buffer = [0; 4096];
        for answer in [accept, &suback] {
            if !matches!(stream.read(&mut buffer), Ok(1..)) || stream.write_all(answer).is_err() {
                return;
            }
        }
        while matches!(stream.read(&mut buffer), Ok(1..)) {}
    });
    port
}

#[tokio::test]
async fn less_than_was_asked_for_is_told() {
    let cases = [
        (Protocol::V311, ACCEPT_V311, vec![0x90, 3, 0, 1, 0], Some(0)),
        (Protocol::V311, ACCEPT_V311, vec![0x90, 3, 0, 1, 0x80], None),
        (Protocol::V5, ACCEPT_V5, vec![0x90, 4, 0, 1, 0, 0], Some(0)),
        (Protocol::V5, ACCEPT_V5, vec![0x90, 4, 0, 1, 0, 0x87], None),
    ];
    for (protocol, accept, suback, granted) in cases {
        let mut one = listener("one", grudging(accept, suback), "cmd/#", 1);
        one.settings.protocol = protocol;
        let mut worker = Worker::start(vec![one]).await;
        worker.connect([0]).await;
        assert!(worker.until(SOON, |w| !w.shortfalls.is_empty()).await, "{protocol:?} {granted:?}");
        let shortfall = &worker.shortfalls[0];
        assert_eq!((shortfall.filter.as_str(), shortfall.asked, shortfall.granted), ("cmd/#", 1, granted));
        if (protocol, granted) == (Protocol::V5, None) {
            assert_eq!(shortfall.detail.as_str(), "not authorized");
        }
        assert!(worker.is_up(0), "a subscription is not a connection");
    }
}

#[tokio::test]
async fn a_connection_that_ends_before_the_answer_is_no_refusal() {
    let server = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = server.local_addr().expect("an address").port();
    thread::spawn(move || {
        let (mut stream, _) = server.accept().expect("a client");
        let mut buffer = [0; 4096];
        let _ = stream.read(&mut buffer);
        let _ = stream.write_all(ACCEPT_V5);
        let _ = stream.read(&mut buffer); // SUBSCRIBE
    });
    let mut one = listener("one", port, "cmd/#", 1);
    one.settings.protocol = Protocol::V5;
    let mut worker = Worker::start(vec![one]).await;
    worker.connect([0]).await;
    assert!(worker.until(SOON, |w| w.is_ended(0)).await, "{:?}", worker.steps);
    assert_eq!(worker.shortfalls, []);
}

#[tokio::test]
async fn a_topic_that_is_no_text_harms_nobody() {
    // A PUBLISH at QoS 0 to a topic of a NUL between two bytes that are no UTF-8.
    for (protocol, accept, publish) in [
        (Protocol::V311, ACCEPT_V311, vec![0x30, 6, 0, 3, 0xff, 0, 0xfe, b'x']),
        (Protocol::V5, ACCEPT_V5, vec![0x30, 7, 0, 3, 0xff, 0, 0xfe, 0, b'x']),
    ] {
        let port = server(vec![accept.to_vec(), publish.clone(), publish]);
        let mut one = def("one", port);
        one.settings.protocol = protocol;
        let mut worker = Worker::start(vec![one]).await;
        worker.connect([0]).await;
        worker.until(SOON, |w| received(w, 0) == 2 || w.is_ended(0)).await;
        assert!(worker.child.try_wait().expect("its state").is_none(), "it died: {}", worker.stderr());
    }
}

/// A proxy that lets through whoever has this authorization, and keeps what it was asked.
fn proxy(authorization: Option<&'static str>) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let kept = asked.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let kept = kept.clone();
            thread::spawn(move || pass(stream, authorization, &kept));
        }
    });
    (port, asked)
}

fn pass(mut client: TcpStream, authorization: Option<&str>, asked: &Mutex<Vec<String>>) -> Option<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).ok()?;
        request.push(byte[0]);
    }
    let request = String::from_utf8(request).ok()?;
    asked.lock().ok()?.push(request.clone());
    let given = request.lines().find_map(|l| l.strip_prefix("Proxy-Authorization: Basic "));
    if given != authorization {
        client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").ok()?;
        return None;
    }
    let target = request.strip_prefix("CONNECT ")?.split(' ').next()?;
    let mut broker = TcpStream::connect(target).ok()?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").ok()?;
    let (mut back, mut up) = (client.try_clone().ok()?, broker.try_clone().ok()?);
    thread::spawn(move || std::io::copy(&mut up, &mut back));
    std::io::copy(&mut client, &mut broker).ok()?;
    Some(())
}

#[tokio::test]
async fn a_proxy_with_and_without_password() {
    let broker = Mosquitto::start();
    let (open, asked) = proxy(None);
    // operator:s3cret@
    let (guarded, _) = proxy(Some("b3BlcmF0b3I6czNjcmV0QA=="));
    let through = |id: &str, port: u16, password: Option<&str>| {
        let mut one = def(id, broker.port());
        one.remote.endpoint.host = "localhost".into();
        let password = password.map(|p| Secret::new(p.into()));
        let username = password.is_some().then(|| "operator".into());
        one.remote.endpoint.proxy =
            Some(Proxy { username, password, ..Proxy::new(ProxyKind::Http, "127.0.0.1", port) });
        one
    };
    let all = vec![
        through("open", open, None),
        through("right", guarded, Some("s3cret@")),
        through("wrong", guarded, Some("guess")),
        through("none", guarded, None),
    ];
    let mut worker = Worker::start(all).await;
    for round in 0..20 {
        worker.connect(0..4).await;
        assert!(worker.until(SOON, |w| w.up() + w.ended() == 4).await, "{round}: {:?}", worker.steps);
        assert!(worker.is_up(0) && worker.is_up(1), "{round}: {:?}", worker.steps);
        for slot in [2, 3] {
            assert_eq!(
                worker.cause(slot).reason,
                Reason::ProxyAuthenticationRequired,
                "{round}: {:?}",
                worker.cause(slot)
            );
        }
        worker.disconnect(0..2).await;
        assert!(worker.until(SOON, |w| w.ended() == 4).await, "{round}: {:?}", worker.steps);
    }
    let asked = asked.lock().expect("what it was asked");
    assert!(asked[0].starts_with(&format!("CONNECT localhost:{} HTTP/1.1\r\n", broker.port())), "{asked:?}");
}

#[tokio::test]
async fn what_mqtt_5_adds_to_a_connect_is_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let mut one = def("one", listener.local_addr().expect("an address").port());
    one.settings.session_expiry = Duration::from_secs(3_600);
    one.settings.receive_maximum = Some(7);
    one.settings.user_properties = vec![("site".into(), "hall-3".into())];
    let mut worker = Worker::start(vec![one]).await;
    worker.connect([0]).await;
    let connect = tokio::task::spawn_blocking(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut buffer = vec![0; 4096];
        let n = stream.read(&mut buffer).expect("a CONNECT");
        buffer.truncate(n);
        buffer
    });
    let connect = connect.await.expect("a CONNECT");
    let parts: [&[u8]; 3] = [&[0x11, 0, 0, 0x0e, 0x10], &[0x21, 0, 7], b"\x26\0\x04site\0\x06hall-3"];
    for part in parts {
        assert!(connect.windows(part.len()).any(|w| w == part), "{connect:x?} has no {part:x?}");
    }
}
