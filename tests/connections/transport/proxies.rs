//! Proxies that speak HTTP, with and without TLS, and SOCKS.

use std::{
    fs,
    process::{Command, Stdio},
    sync::{Mutex, mpsc},
};

use mqfleet::fleet::{Proxy, ProxyKind, Secret, WebSocket};
use mqfleet_test_support::{
    async_peers::{accept, acceptor, carry, echo, request, serve, serve_tls},
    certs::Wanted,
    peers, this_test,
};
use tokio::net::TcpStream;

use super::*;

const OPEN: &str = "HTTP/1.1 200 Connection established\r\n\r\n";

fn through(endpoint: Endpoint, kind: ProxyKind, proxy: SocketAddr) -> Endpoint {
    Endpoint { proxy: Some(Proxy::new(kind, "127.0.0.1", proxy.port())), ..endpoint }
}

fn with_login(endpoint: Endpoint, password: &str) -> Endpoint {
    let proxy = endpoint.proxy.clone().unwrap();
    let proxy = Proxy { username: Some("user".into()), password: Some(Secret::new(password.into())), ..proxy };
    Endpoint { proxy: Some(proxy), ..endpoint }
}

/// An HTTP proxy that says this, in these pieces, with a pause before each, and then opens the way.
async fn opens(target: SocketAddr, pieces: Vec<Vec<u8>>, pause: Duration) -> SocketAddr {
    let pieces = Arc::new(pieces);
    serve(move |mut stream| {
        let pieces = pieces.clone();
        async move {
            request(&mut stream).await?;
            for piece in pieces.iter() {
                tokio::time::sleep(pause).await;
                stream.write_all(piece).await?;
            }
            carry(stream, target).await
        }
    })
    .await
}

/// Case 1.
#[tokio::test]
async fn an_answer_in_pieces_opens_the_way() {
    let trust = Trust::new();
    let broker = serve_tls(acceptor(&trust.ca.issue(&Wanted::LOCALHOST))).await;
    let bytes = |size: usize| OPEN.as_bytes().chunks(size).map(<[u8]>::to_vec).collect::<Vec<_>>();
    let long = format!("HTTP/1.1 200 OK\r\nX-Filler: {}\r\n\r\n", "x".repeat(9_000)).into_bytes();
    for (pieces, pause) in [
        (bytes(1_000), Duration::ZERO),
        (bytes(1), Duration::from_millis(2)),
        (bytes(20), Duration::from_millis(400)),
        (vec![long], Duration::ZERO),
    ] {
        let proxy = opens(broker, pieces, pause).await;
        let endpoint = through(secure(broker, &trust.ca_file()), ProxyKind::Http, proxy);
        let finding = echoes(&connector(), &way(&endpoint)).await;
        assert_eq!(finding.stages.iter().map(|s| s.kind.name()).collect::<Vec<_>>(), ["tcp", "proxy", "tls"]);
        assert_eq!(finding.address, Some(proxy));
    }
}

/// Case 1: slow proxies are waited for side by side.
#[tokio::test]
async fn many_clients_go_through_a_slow_proxy_at_once() {
    let broker = serve(echo).await;
    let proxy = opens(broker, vec![OPEN.into()], Duration::from_millis(500)).await;
    let endpoint = through(plain(broker), ProxyKind::Http, proxy);
    let (connector, began) = (connector(), Instant::now());
    let way = way(&endpoint);
    futures_util::future::join_all((0..100).map(|_| echoes(&connector, &way))).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn what_follows_the_proxy_s_answer_is_not_lost() {
    let proxy = serve(|mut stream| async move {
        request(&mut stream).await?;
        stream.write_all(format!("{OPEN}from the broker").as_bytes()).await?;
        stream.shutdown().await
    })
    .await;
    let endpoint = through(plain(proxy), ProxyKind::Http, proxy);
    let mut stream = connect(&connector(), &way(&endpoint)).await.unwrap_or_else(|f| panic!("{f:?}"));
    assert_eq!(hear(&mut stream).await.0, b"from the broker");
}

#[tokio::test]
async fn refusals_of_an_http_proxy_are_told_and_no_password() {
    let broker = serve(echo).await;
    // "user:hunter2"
    let guarded = serve(move |mut stream: TcpStream| async move {
        let known = request(&mut stream).await?.contains("\r\nProxy-Authorization: Basic dXNlcjpodW50ZXIy\r\n");
        if known {
            stream.write_all(OPEN.as_bytes()).await?;
            return carry(stream, broker).await;
        }
        stream.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n").await
    })
    .await;
    let strict = serve(|mut stream: TcpStream| async move {
        request(&mut stream).await?;
        stream.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n").await
    })
    .await;
    let hangs = serve(|mut stream: TcpStream| async move {
        request(&mut stream).await?;
        std::future::pending().await
    })
    .await;
    let endpoint = |proxy| through(plain(broker), ProxyKind::Http, proxy);
    echoes(&connector(), &way(&with_login(endpoint(guarded), "hunter2"))).await;
    let refused = Reason::ProxyAuthenticationRequired;
    for (endpoint, reason, words) in [
        (endpoint(guarded), refused, "407 Proxy Authentication Required"),
        (with_login(endpoint(guarded), "hunter3"), refused, "407 Proxy Authentication Required"),
        (endpoint(strict), Reason::ProxyRefused, "403 Forbidden"),
        (endpoint(hangs), Reason::ConnectTimeout, "no answer from the proxy"),
    ] {
        let soon = Way { deadline: Instant::now() + Duration::from_millis(800), ..way(&endpoint) };
        let result = connect(&connector(), &soon).await;
        assert_eq!(told(&result), (StageKind::Proxy, reason, words));
    }
}

/// Runs this test again with this file as the system's trust store. False in the test itself.
fn again_with_system_store(file: &Path) -> bool {
    const INSIDE: &str = "MQFLEET_TEST_OWN_STORE";
    if std::env::var_os(INSIDE).is_some() {
        return false;
    }
    let mut own = Command::new(std::env::current_exe().unwrap());
    own.args(this_test()).env(INSIDE, file).env("SSL_CERT_FILE", file).stdin(Stdio::null());
    assert!(own.status().unwrap().success(), "see above");
    true
}

#[tokio::test]
async fn a_proxy_in_tls_is_verified_by_the_system_and_carries_tls() {
    // The store has to be there when this process starts: its CA and the server's papers are files.
    let trust = Trust::new();
    let store = std::env::var_os("MQFLEET_TEST_OWN_STORE").map(PathBuf::from);
    if store.is_none() {
        let (own, theirs) = (Certified::ca("Company CA"), trust.file("store.pem", ""));
        let papers = own.issue(&Wanted { subject: "proxy", ..Wanted::LOCALHOST });
        fs::write(&theirs, own.pem()).unwrap();
        trust.file("store.pem.proxy", format!("{}{}", papers.pem(), papers.key_pem()));
        // The test in this process sees a proxy that nobody vouches for.
        assert!(again_with_system_store(&theirs));
    }
    let papers = match &store {
        Some(store) => {
            let pem = fs::read(format!("{}.proxy", store.display())).unwrap();
            Certified {
                certificate: openssl::x509::X509::from_pem(&pem).unwrap(),
                key: openssl::pkey::PKey::private_key_from_pem(&pem).unwrap(),
            }
        }
        None => Certified::ca("Company CA").issue(&Wanted::LOCALHOST),
    };
    let broker = serve_tls(acceptor(&trust.ca.issue(&Wanted::LOCALHOST))).await;
    let plain_broker = serve(echo).await;
    let proxy_acceptor = Arc::new(acceptor(&papers).build());
    let proxy = serve(move |stream| {
        let acceptor = proxy_acceptor.clone();
        async move {
            let mut stream = accept(&acceptor, stream).await?;
            let asked = request(&mut stream).await?;
            stream.write_all(OPEN.as_bytes()).await?;
            let port = asked.split([':', ' ']).nth(2).unwrap().parse().unwrap();
            carry(stream, SocketAddr::from(([127, 0, 0, 1], port))).await
        }
    })
    .await;
    let by_name = |endpoint| {
        let endpoint = through(endpoint, ProxyKind::Https, proxy);
        Endpoint { proxy: endpoint.proxy.map(|p| Proxy { host: "localhost".into(), ..p }), ..endpoint }
    };
    let (secured, plainly) = (by_name(secure(broker, &trust.ca_file())), by_name(plain(plain_broker)));
    if store.is_none() {
        let result = connect(&connector(), &way(&secured)).await;
        let words = "the proxy's TLS: CN=broker was issued by CN=Company CA, which is not trusted";
        assert_eq!(told(&result), (StageKind::Proxy, Reason::CertificateUnknownCa, words));
        return;
    }
    let finding = echoes(&connector(), &way(&secured)).await;
    assert_eq!(finding.stages.iter().map(|s| s.kind.name()).collect::<Vec<_>>(), ["dns", "tcp", "proxy", "tls"]);
    echoes(&connector(), &way(&plainly)).await;
    let other_name =
        Endpoint { proxy: plainly.proxy.clone().map(|p| Proxy { host: "127.0.0.1".into(), ..p }), ..plainly };
    let result = connect(&connector(), &way(&other_name)).await;
    let words = "the proxy's TLS: it is for localhost, not for 127.0.0.1";
    assert_eq!(told(&result), (StageKind::Proxy, Reason::CertificateNameMismatch, words));
}

/// What a SOCKS proxy does with those who ask it.
#[derive(Clone, Copy, Default)]
struct Rules {
    /// "user" and this.
    password: Option<&'static str>,
    /// Replies to the requests in their order; 0 from there on.
    replies: &'static [u8],
}

/// A SOCKS proxy that opens the way to `target`, whatever it is asked for, and tells the addresses of its
/// requests: kind, address and port as they came.
async fn socks(target: SocketAddr, rules: Rules) -> (SocketAddr, mpsc::Receiver<Vec<u8>>) {
    let (tell, heard) = mpsc::channel();
    let asked = Arc::new(Mutex::new(0));
    let address = serve(move |mut stream| {
        let (tell, asked) = (tell.clone(), asked.clone());
        async move {
            let mut head = [0; 2];
            stream.read_exact(&mut head).await?;
            let mut methods = vec![0; usize::from(head[1])];
            stream.read_exact(&mut methods).await?;
            let wanted = if rules.password.is_some() { 2 } else { 0 };
            if !methods.contains(&wanted) {
                return stream.write_all(&[5, 0xff]).await;
            }
            stream.write_all(&[5, wanted]).await?;
            if let Some(password) = rules.password {
                let mut login = vec![0; 2 + "user".len() + 1];
                stream.read_exact(&mut login).await?;
                let mut given = vec![0; usize::from(login[6])];
                stream.read_exact(&mut given).await?;
                let good = login[..6] == *b"\x01\x04user" && given == password.as_bytes();
                stream.write_all(&[1, u8::from(!good)]).await?;
                if !good {
                    return Ok(());
                }
            }
            let mut request = [0; 4];
            stream.read_exact(&mut request).await?;
            let length = match request[3] {
                1 => 4,
                4 => 16,
                _ => usize::from(stream.read_u8().await?),
            };
            let mut asked_for = vec![0; length + 2];
            stream.read_exact(&mut asked_for).await?;
            asked_for.insert(0, request[3]);
            tell.send(asked_for).unwrap();
            let reply = {
                let mut asked = asked.lock().unwrap();
                *asked += 1;
                rules.replies.get(*asked - 1).copied().unwrap_or(0)
            };
            // In pieces.
            for byte in [5, reply, 0, 1, 127, 0, 0, 1, 0, 80] {
                stream.write_all(&[byte]).await?;
                tokio::task::yield_now().await;
            }
            if reply == 0 { carry(stream, target).await } else { Ok(()) }
        }
    })
    .await;
    (address, heard)
}

#[tokio::test]
async fn socks_is_given_an_address_or_a_name() {
    let trust = Trust::new();
    let broker = serve_tls(acceptor(&trust.ca.issue(&Wanted::LOCALHOST))).await;
    let (proxy, heard) = socks(broker, Rules::default()).await;
    let port = broker.port().to_be_bytes();
    for (kind, asked) in [
        (ProxyKind::Socks5, [&[1, 127, 0, 0, 1][..], &port].concat()),
        (ProxyKind::Socks5h, [&[3][..], b"localhost", &port].concat()),
    ] {
        let endpoint = through(secure(broker, &trust.ca_file()), kind, proxy);
        let finding = echoes(&knowing(&["127.0.0.1"]), &way(&endpoint)).await;
        assert_eq!(finding.stages.iter().map(|s| s.kind.name()).collect::<Vec<_>>(), ["tcp", "proxy", "tls"]);
        assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), asked);
    }
    let by_address = Endpoint { host: "127.0.0.1".into(), ..through(plain(broker), ProxyKind::Socks5h, proxy) };
    drop(connect(&connector(), &way(&by_address)).await);
    assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), [&[1, 127, 0, 0, 1][..], &port].concat());
}

#[tokio::test]
async fn socks_takes_a_password_and_says_when_not() {
    let broker = serve(echo).await;
    let (guarded, _heard) = socks(broker, Rules { password: Some("hunter2"), ..Rules::default() }).await;
    let endpoint = through(plain(broker), ProxyKind::Socks5, guarded);
    echoes(&connector(), &way(&with_login(endpoint.clone(), "hunter2"))).await;
    for (endpoint, words) in [
        (endpoint.clone(), "it takes nobody without a user name"),
        (with_login(endpoint, "wrong"), "user name or password not accepted"),
    ] {
        let result = connect(&connector(), &way(&endpoint)).await;
        assert_eq!(told(&result), (StageKind::Proxy, Reason::ProxyAuthenticationRequired, words));
    }
    let (open, _heard) = socks(broker, Rules::default()).await;
    // Who has a password is let in without it all the same.
    echoes(&connector(), &way(&with_login(through(plain(broker), ProxyKind::Socks5, open), "x"))).await;
}

#[tokio::test]
async fn refusals_of_socks_are_told_in_words() {
    let broker = serve(echo).await;
    for (replies, reason, words) in [
        (&[1][..], Reason::ProxyFailed, "general failure (1)"),
        (&[2], Reason::ProxyRefused, "not allowed by its rules (2)"),
        (&[3], Reason::ProxyFailed, "from there the network is unreachable (3)"),
        (&[4], Reason::ProxyFailed, "from there the host is unreachable (4)"),
        (&[5], Reason::ProxyFailed, "from there the connection is refused (5)"),
        (&[6], Reason::ProxyFailed, "from there the host is too far (TTL expired, 6)"),
        (&[7], Reason::ProxyRefused, "it makes no connections (command not supported, 7)"),
        (&[8], Reason::ProxyFailed, "it does not know this kind of address (8)"),
        (&[99], Reason::ProxyFailed, "reply 99"),
    ] {
        let (proxy, _heard) = socks(broker, Rules { replies, ..Rules::default() }).await;
        let endpoint = through(plain(broker), ProxyKind::Socks5h, proxy);
        let result = connect(&connector(), &way(&endpoint)).await;
        assert_eq!(told(&result), (StageKind::Proxy, reason, words));
    }
    let http = serve(|mut stream: TcpStream| async move { stream.write_all(b"HTTP/1.1 400 Bad\r\n\r\n").await }).await;
    let result = connect(&connector(), &way(&through(plain(broker), ProxyKind::Socks5, http))).await;
    assert_eq!(told(&result), (StageKind::Proxy, Reason::ProxyFailed, "it does not speak SOCKS 5"));
    let mute = serve(|_| async { Ok(()) }).await;
    let result = connect(&connector(), &way(&through(plain(broker), ProxyKind::Socks5, mute))).await;
    let (stage, reason, words) = told(&result);
    assert_eq!((stage, reason), (StageKind::Proxy, Reason::ProxyFailed));
    assert!(words.starts_with("no answer to the greeting: "), "{words}");
}

#[tokio::test]
async fn socks_is_asked_for_the_next_address_where_one_is_refused() {
    let broker = serve(echo).await;
    let (proxy, heard) = socks(broker, Rules { replies: &[5, 4], ..Rules::default() }).await;
    let endpoint = Endpoint { host: "many.example".into(), ..through(plain(broker), ProxyKind::Socks5, proxy) };
    echoes(&knowing(&["::1", "10.0.0.1", "::2"]), &way(&endpoint)).await;
    let kinds: Vec<u8> = heard.try_iter().map(|asked| asked[0]).collect();
    assert_eq!(kinds, [4, 1, 4]);
}

#[tokio::test]
async fn a_websocket_goes_through_socks() {
    let (tell, _heard) = mpsc::channel();
    let server = peers::serve_http(tell, peers::accepted);
    let (proxy, _asked) = socks(server, Rules::default()).await;
    let websocket = Transport::WebSocket(Arc::new(WebSocket::new("/mqtt")));
    let endpoint = Endpoint { transport: websocket, ..through(plain(server), ProxyKind::Socks5h, proxy) };
    assert!(connect(&connector(), &way(&endpoint)).await.is_ok());
}
