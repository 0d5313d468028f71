//! WebSockets: what the server says in its answer and in frames, in whatever pieces, and what it hears.

use std::sync::mpsc;

use mqfleet::{
    fleet::{Secret, WebSocket},
    transport,
};
use mqfleet_test_support::{
    async_peers::{accept, acceptor, frame, read_frame, request, serve},
    certs::Wanted,
    peers::accepted,
};
use tokio::net::TcpStream;

use super::*;

const BINARY: u8 = 0x82;
const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint { transport: Transport::WebSocket(Arc::new(WebSocket::new("/mqtt"))), ..plain(address) }
}

/// A server that agrees to a WebSocket and then says these bytes, all at once.
async fn says(behind: Vec<u8>) -> SocketAddr {
    serve(move |mut stream: TcpStream| {
        let behind = behind.clone();
        async move {
            let mut all = accepted(&request(&mut stream).await?).into_bytes();
            all.extend(behind);
            stream.write_all(&all).await?;
            // Until the other side has seen it.
            stream.read_to_end(&mut Vec::new()).await.map(drop)
        }
    })
    .await
}

/// What is heard of a server that says this, and how that ends.
async fn heard_of(behind: Vec<u8>) -> (Vec<u8>, Reason, String) {
    let endpoint = endpoint(says(behind).await);
    let mut stream = connect(&connector(), &way(&endpoint)).await.unwrap_or_else(|f| panic!("{f:?}"));
    let (heard, end) = hear(&mut stream).await;
    let cause = transport::cause(&end.expect_err("an end that is no end of the stream"));
    (heard, cause.reason, cause.detail.to_string())
}

/// Echoes the frames of a client, masked as they have to be.
async fn echo_frames(mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin) -> io::Result<()> {
    loop {
        let (head, payload) = read_frame(&mut stream).await?;
        stream.write_all(&frame(head, &payload)).await?;
        stream.flush().await?;
    }
}

/// Case 5.
#[tokio::test]
async fn the_answer_s_head_has_any_length_and_comes_in_any_pieces() {
    for (length, piece) in
        [(0, 1), (0, 30), (1_203, 1_203), (1_203, 30), (8_000, 8_000), (8_000, 1_000), (15_000, 4_096)]
    {
        let address = serve(move |mut stream: TcpStream| async move {
            let mut answer = accepted(&request(&mut stream).await?);
            if let Some(filler) = usize::checked_sub(length, answer.len() + "X: \r\n".len()) {
                answer.insert_str(answer.len() - 2, &format!("X: {}\r\n", "x".repeat(filler)));
                assert_eq!(answer.len(), length);
            }
            stream.set_nodelay(true)?;
            for part in answer.as_bytes().chunks(piece) {
                stream.write_all(part).await?;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            echo_frames(stream).await
        })
        .await;
        let endpoint = endpoint(address);
        let mut stream = connect(&connector(), &way(&endpoint)).await.unwrap_or_else(|f| panic!("{f:?}"));
        assert_eq!(say(&mut stream, b"a word").await.unwrap(), b"a word", "{length} {piece}");
    }
}

#[tokio::test]
async fn frames_right_behind_the_answer_are_read() {
    let goodbye = frame(CLOSE, &1001_u16.to_be_bytes());
    let (heard, ..) = heard_of([frame(BINARY, b"at once"), goodbye].concat()).await;
    assert_eq!(heard, b"at once");
}

#[tokio::test]
async fn a_message_in_several_frames_with_a_ping_between_them_is_one() {
    let address = serve(|mut stream: TcpStream| async move {
        let answer = accepted(&request(&mut stream).await?);
        stream.write_all(answer.as_bytes()).await?;
        let pieces = [
            frame(0x02, b"one "),
            frame(PING, b"there?"),
            frame(0x00, b"two "),
            frame(PONG, b"unasked"),
            frame(0x80, b"three"),
            frame(BINARY, b""),
            frame(BINARY, b"!"),
        ];
        for byte in pieces.concat() {
            stream.write_all(&[byte]).await?;
        }
        let (head, payload) = read_frame(&mut stream).await?;
        assert_eq!((head, payload.as_slice()), (PONG, &b"there?"[..]));
        stream.write_all(&frame(BINARY, b" heard")).await?;
        stream.shutdown().await
    })
    .await;
    let endpoint = endpoint(address);
    let mut stream = connect(&connector(), &way(&endpoint)).await.unwrap_or_else(|f| panic!("{f:?}"));
    let (heard, end) = hear(&mut stream).await;
    assert_eq!(String::from_utf8_lossy(&heard), "one two three! heard");
    let cause = transport::cause(&end.unwrap_err());
    assert_eq!(cause.reason, Reason::ConnectionLost);
    assert_eq!(cause.detail.as_str(), "the broker closed the connection without closing the WebSocket");
}

#[tokio::test]
async fn a_server_s_closing_is_told_with_its_code_and_words() {
    let close = |code: u16, words: &str| frame(CLOSE, &[&code.to_be_bytes()[..], words.as_bytes()].concat());
    for (said, words) in [
        (frame(CLOSE, b""), "the broker closed the WebSocket"),
        (close(1000, ""), "the broker closed the WebSocket with 1000 (normal)"),
        (close(1008, "no\x1b[2J entry"), "the broker closed the WebSocket with 1008 (policy violation): no␛[2J entry"),
        (close(4001, "over quota"), "the broker closed the WebSocket with 4001 (code of its own): over quota"),
    ] {
        let (heard, reason, detail) = heard_of([frame(BINARY, b"before"), said].concat()).await;
        assert_eq!((heard.as_slice(), reason, detail.as_str()), (&b"before"[..], Reason::ConnectionLost, words));
    }
}

#[tokio::test]
async fn what_is_no_mqtt_in_a_websocket_is_a_protocol_error() {
    let (_, reason, words) = heard_of(frame(TEXT, b"hello")).await;
    assert_eq!(reason, Reason::ProtocolViolation);
    assert_eq!(words, "the broker sent text in the WebSocket, where MQTT is binary");
    let mut masked = frame(BINARY, b"\0\0\0\0x");
    masked[1] = 0x81;
    for said in [masked, frame(0xc2, b"x"), frame(0x83, b"x"), frame(0x80, b"x"), frame(0x09, b"x")] {
        let (_, reason, words) = heard_of(said).await;
        assert_eq!(reason, Reason::ProtocolViolation);
        assert!(words.starts_with("in the broker's WebSocket: "), "{words}");
    }
    // A length that there cannot be.
    let (_, reason, words) = heard_of([&[BINARY, 127][..], &u64::MAX.to_be_bytes()].concat()).await;
    assert_eq!(
        (reason, words.as_str()),
        (Reason::ProtocolViolation, "in the broker's WebSocket: a frame longer than there can be")
    );
}

#[tokio::test]
async fn headers_reach_the_server_and_no_words() {
    let (tell, heard) = mpsc::channel();
    let address = serve(move |mut stream: TcpStream| {
        let tell = tell.clone();
        async move {
            tell.send(request(&mut stream).await?).unwrap();
            stream.write_all(b"HTTP/1.1 401 Unauthorized\r\n\r\n").await
        }
    })
    .await;
    let headers = vec![
        ("Authorization".into(), Secret::new("Bearer hunter2".into())),
        ("Origin".into(), Secret::new("https://console.example".into())),
    ];
    let websocket = WebSocket { headers, ..WebSocket::new("/mqtt?x=1") };
    let mut endpoint = Endpoint { transport: Transport::WebSocket(Arc::new(websocket)), ..plain(address) };
    let result = connect(&connector(), &way(&endpoint)).await;
    assert_eq!(told(&result), (StageKind::WebSocket, Reason::WebSocketRefused, "401 Unauthorized"));
    let request = heard.recv_timeout(PATIENCE).unwrap();
    let lines: Vec<&str> = request.lines().filter(|l| !l.starts_with("Sec-WebSocket-Key: ")).collect();
    let host = format!("Host: localhost:{}", address.port());
    assert_eq!(
        lines,
        [
            "GET /mqtt?x=1 HTTP/1.1",
            &host,
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Protocol: mqtt",
            "Authorization: Bearer hunter2",
            "Origin: https://console.example",
            ""
        ]
    );
    // A value that would end its line is sent nowhere.
    let split = WebSocket { headers: vec![("X".into(), Secret::new("a\r\nB: c".into()))], ..WebSocket::new("/") };
    endpoint.transport = Transport::WebSocket(Arc::new(split));
    let result = connect(&connector(), &way(&endpoint)).await;
    assert_eq!(told(&result), (StageKind::WebSocket, Reason::Internal, "the header X would end its line"));
}

/// A token in a file may be another one by the next connect.
#[tokio::test]
async fn a_header_s_file_is_read_for_every_connect() {
    let (tell, heard) = mpsc::channel();
    let address = serve(move |mut stream: TcpStream| {
        let tell = tell.clone();
        async move {
            tell.send(request(&mut stream).await?).unwrap();
            stream.write_all(b"HTTP/1.1 401 Unauthorized\r\n\r\n").await
        }
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let websocket = WebSocket { header_files: vec![("X-Token".into(), path.clone())], ..WebSocket::new("/") };
    let endpoint = Endpoint { transport: Transport::WebSocket(Arc::new(websocket)), ..plain(address) };
    for (text, sent) in [("hunter2\n", "hunter2"), (" Bearer x\r\n", "Bearer x")] {
        std::fs::write(&path, text).unwrap();
        let result = connect(&connector(), &way(&endpoint)).await;
        assert_eq!(told(&result), (StageKind::WebSocket, Reason::WebSocketRefused, "401 Unauthorized"));
        let request = heard.recv_timeout(PATIENCE).unwrap();
        assert!(request.contains(&format!("\r\nX-Token: {sent}\r\n")), "{request}");
    }
    let name = path.display();
    for (text, why) in [
        (Some("a\r\nB: hunter2\n"), "has more than one line"),
        (Some("\n"), "is empty"),
        (None, "cannot be read: No such file or directory (os error 2)"),
    ] {
        match text {
            Some(text) => std::fs::write(&path, text).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let result = connect(&connector(), &way(&endpoint)).await;
        let says = format!("the file of the header X-Token, \"{name}\", {why}");
        assert_eq!(told(&result), (StageKind::WebSocket, Reason::PasswordUnavailable, &*says));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_a_megabyte_passes_in_tls_both_ways() {
    let trust = Trust::new();
    let acceptor = Arc::new(acceptor(&trust.ca.issue(&Wanted::LOCALHOST)).build());
    const SIZE: usize = 1 << 20;
    let address = serve(move |stream: TcpStream| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = accept(&acceptor, stream).await?;
            let answer = accepted(&request(&mut stream).await?);
            stream.write_all(answer.as_bytes()).await?;
            let mut all = Vec::with_capacity(SIZE);
            while all.len() < SIZE {
                let (head, payload) = read_frame(&mut stream).await?;
                assert_eq!(head, BINARY);
                all.extend(payload);
            }
            // In one frame.
            stream.write_all(&frame(BINARY, &all)).await?;
            echo_frames(stream).await
        }
    })
    .await;
    let tls = Tls { ca_file: Some(trust.ca_file()), ..Tls::default() };
    let transport = Transport::SecureWebSocket(Arc::new(WebSocket::new("/mqtt")), Arc::new(tls));
    let endpoint = Endpoint { transport, ..plain(address) };
    let mut stream = connect(&connector(), &way(&endpoint)).await.unwrap_or_else(|f| panic!("{f:?}"));
    let bytes: Vec<u8> = (0..SIZE).map(|at| (at ^ (at >> 8)) as u8).collect();
    assert!(say(&mut stream, &bytes).await.unwrap() == bytes);
    assert_eq!(say(&mut stream, b"still there").await.unwrap(), b"still there");
}

#[tokio::test]
async fn a_websocket_is_closed_with_its_code() {
    let (tell, heard) = mpsc::channel();
    let address = serve(move |mut stream: TcpStream| {
        let tell = tell.clone();
        async move {
            let answer = accepted(&request(&mut stream).await?);
            stream.write_all(answer.as_bytes()).await?;
            let frames = [read_frame(&mut stream).await?, read_frame(&mut stream).await?];
            stream.write_all(&frame(CLOSE, &1000_u16.to_be_bytes())).await?;
            let rest = stream.read_to_end(&mut Vec::new()).await?;
            tell.send((frames, rest)).unwrap();
            Ok(())
        }
    })
    .await;
    let endpoint = endpoint(address);
    let mut stream = connect(&connector(), &way(&endpoint)).await.unwrap_or_else(|f| panic!("{f:?}"));
    let Stream::Layered(layered) = &mut stream else { panic!("a plain stream") };
    layered.write_all(b"last words").await.unwrap();
    layered.flush().await.unwrap();
    let began = Instant::now();
    layered.close().await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let (frames, rest) = heard.recv_timeout(PATIENCE).unwrap();
    assert_eq!(frames, [(BINARY, b"last words".to_vec()), (CLOSE, 1000_u16.to_be_bytes().to_vec())]);
    assert_eq!(rest, 0);
}
