//! WebSockets in front of a real broker, by a server that does all that the standard lets it do to a client (case 5), with and without TLS.

use std::{net::SocketAddr, sync::mpsc, time::Instant};

use mqfleet::fleet::{Conversation, Endpoint, Message, Subscription, Tls, Transport, WebSocket};
use mqfleet_test_support::{
    async_peers::{accept, acceptor, frame, read_frame, request, serve},
    fleet_file::FleetFile,
    headless::Headless,
    mosquitto::Mosquitto,
    peers::accepted,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split},
    net::TcpStream,
};

use super::*;

/// How a server speaks to its clients.
#[derive(Clone, Copy)]
struct Manner {
    /// The length of its answer's head; 0 for what it needs.
    head: usize,
    /// In how many bytes at once.
    piece: usize,
    /// Each message of its in frames of so many bytes, with a ping between them; 0 for whole ones.
    frames: usize,
}

const PLAINLY: Manner = Manner { head: 0, piece: usize::MAX, frames: 0 };

/// One connection of a WebSocket to `broker`; what was asked for goes to `tell`.
async fn relay(
    mut near: impl AsyncRead + AsyncWrite + Unpin,
    broker: SocketAddr,
    manner: Manner,
    tell: mpsc::Sender<String>,
) -> std::io::Result<()> {
    let asked = request(&mut near).await?;
    let mut answer = accepted(&asked);
    let _ = tell.send(asked); // a test that has heard enough
    if let Some(filler) = manner.head.checked_sub(answer.len() + "X: \r\n".len()) {
        answer.insert_str(answer.len() - 2, &format!("X: {}\r\n", "x".repeat(filler)));
        assert_eq!(answer.len(), manner.head);
    }
    for piece in answer.as_bytes().chunks(manner.piece) {
        near.write_all(piece).await?;
        near.flush().await?;
    }
    let (mut from, mut to) = split(near);
    let (mut up, mut down) = TcpStream::connect(broker).await?.into_split();
    let there = async {
        loop {
            match read_frame(&mut from).await? {
                (0x88, _) => break down.shutdown().await,
                (0x8a, payload) => assert_eq!(payload, b"there?"),
                (_, payload) => down.write_all(&payload).await?,
            }
        }
    };
    let back = async {
        let mut bytes = vec![0; 64 << 10];
        loop {
            let count = up.read(&mut bytes).await?;
            if count == 0 {
                break to.shutdown().await;
            }
            let size = if manner.frames == 0 { count } else { manner.frames };
            let last = count.div_ceil(size) - 1;
            for (n, part) in bytes[..count].chunks(size).enumerate() {
                let head = if n == 0 { 2 } else { 0 } | if n == last { 0x80 } else { 0 };
                let mut said = frame(head, part);
                if manner.frames > 0 {
                    said.extend(frame(0x89, b"there?"));
                }
                for piece in said.chunks(manner.piece) {
                    to.write_all(piece).await?;
                    to.flush().await?;
                }
            }
        }
    };
    tokio::try_join!(there, back).map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_may_answer_at_any_length_in_any_pieces() {
    let broker = Mosquitto::start();
    let target = broker.address();
    let count = many(200, 50);
    for manner in [
        Manner { head: 1_203, ..PLAINLY },
        Manner { head: 1_203, piece: 1, frames: 0 },
        Manner { head: 8_000, piece: 30, frames: 0 },
        Manner { frames: 3, ..PLAINLY },
        Manner { head: 8_000, piece: 1, frames: 2 },
    ] {
        let (tell, _heard) = mpsc::channel();
        let server = serve(move |stream| {
            stream.set_nodelay(true).unwrap();
            relay(stream, target, manner, tell.clone())
        })
        .await;
        let websocket = Transport::WebSocket(Arc::new(WebSocket::new("/mqtt")));
        let endpoint = Endpoint { transport: websocket, ..Endpoint::new("ws", "127.0.0.1", server.port()) };
        let mut worker = Worker::start(defs("ws", count, &endpoint)).await;
        let began = Instant::now();
        worker.connect(0..count as u32).await;
        let Manner { head, piece, frames } = manner;
        let what = format!("a head of {head} bytes, pieces of {piece}, frames of {frames}");
        assert!(worker.until(SOON, |w| w.up() == count).await, "{what}: {} of {count}", worker.up());
        println!("{what}: {count} up after {:.2?}", began.elapsed());
        measured(&mut worker, 0..count as u32).await;
        assert_eq!(worker.ended(), 0, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_a_megabyte_comes_back_in_tls() {
    let (broker, papers) = (Mosquitto::start(), Papers::new(&["localhost"]));
    let (target, tls) = (broker.address(), Arc::new(acceptor(&papers.own).build()));
    let (tell, _heard) = mpsc::channel();
    let server = serve(move |stream| {
        let (tls, tell) = (tls.clone(), tell.clone());
        async move { relay(accept(&tls, stream).await?, target, PLAINLY, tell).await }
    })
    .await;
    let tls = Tls { ca_file: Some(papers.ca_file.clone()), ..Tls::default() };
    let transport = Transport::SecureWebSocket(Arc::new(WebSocket::new("/mqtt")), Arc::new(tls));
    let endpoint = Endpoint { transport, ..Endpoint::new("wss", "localhost", server.port()) };
    let large = |id: &str, protocol: Protocol, maximum: u32| {
        let mut one = def(id.into(), &endpoint);
        (one.settings.protocol, one.settings.maximum_packet_size) = (protocol, maximum);
        let topic = format!("large/{id}");
        let payload: Arc<[u8]> = vec![b'x'; 1 << 20].into();
        let birth = Message { topic: topic.as_str().into(), payload, qos: 1, retain: false };
        let subscribe = vec![Subscription { filter: topic.as_str().into(), qos: 1 }];
        one.conversation = Arc::new(Conversation { birth: Some(birth), subscribe, ..Conversation::default() });
        one
    };
    let all = vec![
        large("v5", Protocol::V5, 2 << 20),
        large("v311", Protocol::V311, 2 << 20),
        large("small", Protocol::V311, 256 << 10),
    ];
    let mut worker = Worker::start(all).await;
    worker.connect(0..3).await;
    let came = |w: &Worker, slot: u32| w.messages.get(&slot).is_some_and(|(received, _)| *received >= 1);
    assert!(
        worker.until(SOON, |w| came(w, 0) && came(w, 1) && w.is_ended(2)).await,
        "{:?}, {:?}",
        worker.messages,
        worker.steps
    );
    assert!(worker.is_up(0) && worker.is_up(1));
    measured(&mut worker, 0..2).await;
    let words = worker.cause(2).detail.to_string();
    assert!(
        words.starts_with("PUBLISH of 1,048,5") && words.ends_with("bytes, of which 262,144 are allowed"),
        "{words}"
    );
}

/// What lets a client in is in no line that the program writes.
#[test]
fn a_secret_header_reaches_the_server_and_nobody_else() {
    const TOKEN: &str = "open-sesame-of-the-gateway";
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let broker = Mosquitto::start();
    let target = broker.address();
    let (tell, heard) = mpsc::channel();
    let server = runtime.block_on(serve(move |stream| relay(stream, target, PLAINLY, tell.clone())));
    let file = FleetFile::new(&format!(
        r#"
        [endpoint.gateway]
        url = "ws://{server}/mqtt?tenant=7"
        headers = {{ Authorization = {{ env = "GATEWAY" }}, Origin = "https://console.example" }}
        [defaults]
        probe = {{ kind = "echo", every = "300ms" }}
        [[client]]
        id = "press-%i"
        count = 5
        endpoints = ["gateway"]
        "#
    ));
    let log = file.dir.path().join("log");
    let args = ["run", file.path(), "--samples", "--log", log.to_str().unwrap()];
    let run = Headless::start(&args, &[("GATEWAY", &format!("Bearer {TOKEN}"))]);
    run.wait_up(5);
    drop(run.wait_for("samples", |h| h.of_type("sample").count() >= 10));
    // The probe asks first.
    for _ in 0..6 {
        let asked = heard.recv_timeout(SOON).unwrap();
        assert!(asked.starts_with("GET /mqtt?tenant=7 HTTP/1.1\r\n"), "{asked}");
        assert!(asked.contains(&format!("\r\nAuthorization: Bearer {TOKEN}\r\n")), "{asked}");
        assert!(asked.contains("\r\nOrigin: https://console.example\r\n"), "{asked}");
    }
    let said = run.heard().lines.iter().map(|l| l.to_string()).collect::<String>();
    let log = std::fs::read_to_string(log).unwrap();
    assert!(!said.contains(TOKEN) && !log.contains(TOKEN), "it told the token");
}
