//! Tests that all a broker says when it accepts a client is handed on, that it is heeded, and how long it took to get there.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use mqfleet::{
    event::Connack,
    fleet::{Protocol, Proxy, ProxyKind, Tls, Transport, WebSocket},
};
use mqfleet_test_support::{
    certs::{Authority, VALID},
    mosquitto::{Mosquitto, Setup, free_port},
    script::{ACCEPT_V5, ACCEPT_V311, peer, server},
    worker::Worker,
};

use super::{SOON, def};

const MS: Duration = Duration::from_millis(1);

#[tokio::test]
async fn everything_that_mqtt_5_can_say() {
    let properties: &[&[u8]] = &[
        &[0x11, 0, 0, 0x0e, 0x10],
        &[0x21, 0, 20],
        &[0x24, 1],
        &[0x25, 0],
        &[0x27, 0, 1, 0, 0],
        b"\x12\0\x06auto-1",
        &[0x22, 0, 10],
        b"\x1f\0\x0ago\x1b[31m on",
        b"\x26\0\x01a\0\x01b",
        &[0x28, 0],
        &[0x29, 1],
        &[0x2a, 0],
        &[0x13, 0, 45],
        b"\x1a\0\x04resp",
        b"\x1c\0\x0aother:1883",
    ];
    let properties = properties.concat();
    let mut packet = vec![0x20, properties.len() as u8 + 3, 1, 0, properties.len() as u8];
    packet.extend(properties);
    let mut one = def("", server(vec![packet]));
    one.settings.clean_start = false;
    let mut worker = Worker::start(vec![one]).await;
    worker.connect([0]).await;
    assert!(worker.until(SOON, |w| w.is_up(0)).await, "{:?}", worker.step(0));
    let connack = worker.connack(0).expect("it is up").clone();
    assert!(connack.reached.is_some() && connack.answered.is_some(), "{connack:?}");
    let expected = Connack {
        session_present: true,
        stages: connack.stages.clone(),
        reached: connack.reached,
        answered: connack.answered,
        session_expiry: Some(3_600),
        receive_maximum: Some(20),
        maximum_qos: Some(1),
        retain_available: Some(false),
        maximum_packet_size: Some(65_536),
        assigned_client_id: Some(mqfleet::text::Scrubbed::new("auto-1")),
        topic_alias_maximum: Some(10),
        reason_string: Some(mqfleet::text::Scrubbed::new("go\x1b[31m on")),
        wildcard_subscription_available: Some(false),
        subscription_identifiers_available: Some(true),
        shared_subscription_available: Some(false),
        server_keep_alive: Some(45),
        server_reference: Some(mqfleet::text::Scrubbed::new("other:1883")),
    };
    assert_eq!(connack, expected);
    assert_eq!(connack.reason_string.as_deref(), Some("go␛[31m on"));
}

#[tokio::test]
async fn what_mosquitto_says_over_every_transport() {
    let ca = Authority::new("right");
    let (cert, key) = ca.issue("server", "DNS:localhost", VALID);
    let [secure, ws, wss]: [u16; 3] = std::array::from_fn(|_| free_port());
    let mut lines = Vec::new();
    for (port, is_secure) in [(secure, true), (ws, false), (wss, true)] {
        lines.push(format!("listener {port} 127.0.0.1"));
        if is_secure {
            lines.extend([format!("certfile {}", cert.display()), format!("keyfile {}", key.display())]);
        }
        if port != secure {
            lines.extend(["protocol websockets".into(), "socket_domain ipv4".into()]);
        }
    }
    let broker = Mosquitto::with(Setup { lines, ..Setup::default() });
    // Its WebSockets come after its other listeners.
    let deadline = Instant::now() + SOON;
    while let Err(e) = TcpStream::connect(("127.0.0.1", wss)) {
        assert!(Instant::now() < deadline, "mosquitto has no WebSockets: {e}; it said:\n{}", broker.log());
        thread::sleep(5 * MS);
    }
    let tls = Arc::new(Tls { ca_file: Some(ca.pem()), ..Tls::default() });
    let ways = [
        (broker.port(), Transport::Tcp),
        (secure, Transport::Tls(tls.clone())),
        (ws, Transport::WebSocket(Arc::new(WebSocket::new("/mqtt")))),
        (wss, Transport::SecureWebSocket(Arc::new(WebSocket::new("/mqtt")), tls)),
    ];
    let mut all = Vec::new();
    for (port, transport) in ways {
        for protocol in [Protocol::V5, Protocol::V311] {
            let mut one = def("", port);
            one.settings.protocol = protocol;
            one.remote.endpoint.host = "localhost".into();
            one.remote.endpoint.transport = transport.clone();
            all.push(one);
        }
    }
    let long = "x".repeat(3_000);
    all.push(def(long, broker.port()));
    let n = all.len() as u32;
    let mut worker = Worker::start(all).await;
    worker.connect(0..n).await;
    assert!(worker.until(SOON, |w| w.up() == n as usize).await, "{:?}", worker.steps);
    for slot in 0..n {
        let connack = worker.connack(slot).expect("it is up");
        let (Some(reached), Some(answered)) = (connack.reached, connack.answered) else { panic!("{connack:?}") };
        assert!(reached > Duration::ZERO && reached + answered < SOON, "{connack:?}");
        let is_v5 = slot % 2 == 0;
        assert_eq!(connack.topic_alias_maximum.is_some(), is_v5, "{connack:?}");
        assert_eq!(connack.receive_maximum.is_some(), is_v5, "{connack:?}");
        let given = connack.assigned_client_id.as_ref().is_some_and(|id| !id.is_empty());
        assert_eq!(given, is_v5 && slot != n - 1, "{connack:?}");
    }
}

/// A server that lets a client wait for its CONNACK, and a proxy that lets it wait for its way.
#[tokio::test]
async fn each_wait_counts_where_it_was() {
    let slow = peer(|_, packet| match packet[0] >> 4 {
        1 => {
            thread::sleep(400 * MS);
            vec![ACCEPT_V5.to_vec()]
        }
        _ => Vec::new(),
    });
    let broker = Mosquitto::start();
    let mut all = vec![def("answer", slow), def("way", broker.port())];
    all[1].remote.endpoint.proxy = Some(Proxy::new(ProxyKind::Http, "127.0.0.1", slow_proxy(broker.port())));
    let mut worker = Worker::start(all).await;
    // A socket's number comes back: what is told of it must not.
    for round in 0..3 {
        for slot in 0..2 {
            worker.connect([slot]).await;
            assert!(worker.until(SOON, |w| w.is_up(slot)).await, "{round}: {:?}", worker.step(slot));
            let connack = worker.connack(slot).expect("it is up");
            let (Some(reached), Some(answered)) = (connack.reached, connack.answered) else { panic!("{connack:?}") };
            let (waited, other) = if slot == 0 { (answered, reached) } else { (reached, answered) };
            assert!(waited >= 390 * MS && other < waited, "{round}: {connack:?}");
        }
        worker.disconnect(0..2).await;
        assert!(worker.until(SOON, |w| w.ended() == 2).await);
    }
}

/// A proxy that thinks before it opens the way.
fn slow_proxy(broker: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            thread::spawn(move || {
                let (mut request, mut byte) = (Vec::new(), [0]);
                while !request.ends_with(b"\r\n\r\n") {
                    client.read_exact(&mut byte).ok()?;
                    request.push(byte[0]);
                }
                thread::sleep(400 * MS);
                let mut up = TcpStream::connect(("127.0.0.1", broker)).ok()?;
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").ok()?;
                let (mut down, mut back) = (client.try_clone().ok()?, up.try_clone().ok()?);
                thread::spawn(move || std::io::copy(&mut back, &mut down));
                std::io::copy(&mut client, &mut up).ok()
            });
        }
    });
    port
}

/// The broker's keep alive counts, not ours: by ours it would cut us.
#[tokio::test]
async fn the_server_s_keep_alive_is_kept() {
    let pings = Arc::new(AtomicUsize::new(0));
    let counted = pings.clone();
    let port = peer(move |_, packet| match packet[0] >> 4 {
        1 => vec![vec![0x20, 6, 0, 0, 3, 0x13, 0, 1]],
        12 => {
            counted.fetch_add(1, Ordering::SeqCst);
            vec![vec![0xd0, 0]]
        }
        _ => Vec::new(),
    });
    let mut one = def("one", port);
    one.settings.keep_alive = Duration::from_secs(60);
    let mut other = def("other", server(vec![ACCEPT_V311.to_vec()]));
    (other.settings.protocol, other.settings.keep_alive) = (Protocol::V311, Duration::from_secs(60));
    let mut worker = Worker::start(vec![one, other]).await;
    worker.connect(0..2).await;
    assert!(worker.until(SOON, |w| w.up() == 2).await);
    assert_eq!(worker.connack(0).and_then(|c| c.server_keep_alive), Some(1));
    worker.until(Duration::from_secs(8), |_| pings.load(Ordering::SeqCst) >= 3).await;
    let seen = pings.load(Ordering::SeqCst);
    assert!(seen >= 3, "{seen} pings in 8 s with a keep alive of 1 s");
    assert!(worker.is_up(0) && worker.is_up(1));
}
