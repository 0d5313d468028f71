//! Probes of real local servers, good and bad: the stage, the reason and the words of each. What the program makes of findings is tested elsewhere.
#![allow(clippy::unwrap_used, reason = "what panics here is a failed test")]

use std::{
    io::Write,
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use mqfleet::{
    endpoint::{Prober, probe},
    event::{Finding, Reason, StageKind},
    fleet::{Endpoint, EndpointKey, Proxy, ProxyKind, Secret, Tls, Transport, WebSocket},
    transport::{Connector, Resolver},
};
use mqfleet_test_support::{
    certs::{Certified, Trust, Wanted},
    peers::{Blackhole, TlsSetup, accepted, serve, serve_http, serve_proxy, serve_tls},
};
use openssl::ssl::SslVersion;

const PATIENCE: Duration = Duration::from_secs(10);

/// An endpoint on this port of localhost, by name.
fn plain(address: SocketAddr) -> Endpoint {
    Endpoint::new("e", "localhost", address.port())
}

fn tls(address: SocketAddr, ca_file: &Path) -> Endpoint {
    let tls = Tls { ca_file: Some(ca_file.to_owned()), ..Tls::default() };
    Endpoint { transport: Transport::Tls(Arc::new(tls)), ..plain(address) }
}

async fn find(endpoint: &Endpoint) -> Finding {
    probe(endpoint, &Connector::new(Resolver::system()), &[], PATIENCE).await
}

/// Where it failed, why, and in which words.
#[track_caller]
fn failure(finding: &Finding) -> (StageKind, Reason, &str) {
    let failure = finding.failure.as_ref().expect("a failure");
    assert_eq!(finding.stages.last().map(|s| s.kind), Some(failure.stage));
    (failure.stage, failure.cause.reason, &failure.cause.detail)
}

fn kinds(finding: &Finding) -> Vec<&'static str> {
    finding.stages.iter().map(|s| s.kind.name()).collect()
}

#[tokio::test]
async fn a_plain_port_that_accepts_is_well_and_hears_no_byte() {
    let (tell, heard) = mpsc::channel();
    let tell = Arc::new(Mutex::new(tell));
    let address = serve(move |mut stream| {
        let mut bytes = Vec::new();
        let end = std::io::Read::read_to_end(&mut stream, &mut bytes);
        tell.lock().unwrap().send((end.is_ok(), bytes)).unwrap();
    });
    let finding = find(&plain(address)).await;
    assert!(finding.is_ok(), "{finding:?}");
    assert_eq!(kinds(&finding), ["dns", "tcp"]);
    assert_eq!(finding.address, Some(address));
    assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), (true, vec![]), "a FIN and nothing else");
    let by_address = find(&Endpoint::new("e", "127.0.0.1", address.port())).await;
    assert!(by_address.is_ok());
    assert_eq!(kinds(&by_address), ["tcp"]);
}

#[tokio::test]
async fn refused_blackholed_and_unknown_are_told_apart() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let finding = find(&Endpoint::new("e", "127.0.0.1", free.port())).await;
    let detail = free.to_string();
    assert_eq!(failure(&finding), (StageKind::Tcp, Reason::ConnectionRefused, detail.as_str()));

    let hole = Blackhole::open();
    let target = Endpoint::new("e", "127.0.0.1", hole.address().port());
    let began = Instant::now();
    let finding = probe(&target, &Connector::new(Resolver::system()), &[], Duration::from_millis(700)).await;
    let detail = format!("no answer from {}", hole.address());
    assert_eq!(failure(&finding), (StageKind::Tcp, Reason::ConnectTimeout, detail.as_str()));
    assert!((700..3_000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());

    let finding = find(&Endpoint::new("e", "broker.invalid", 1883)).await;
    let (stage, reason, detail) = failure(&finding);
    assert_eq!((stage, reason), (StageKind::Dns, Reason::NameNotResolved));
    assert!(detail.starts_with("broker.invalid: "), "{detail}");
}

#[tokio::test]
async fn an_address_that_is_silent_or_refuses_gives_way_to_the_next() {
    let hole = Blackhole::open();
    // The same port on another loopback address, where someone does answer.
    let listener = TcpListener::bind(("127.0.0.2", hole.address().port())).unwrap();
    let resolver = Resolver::with(|_| Ok(["::1", "127.0.0.1", "127.0.0.2"].map(|a| a.parse().unwrap()).into()));
    let target = Endpoint::new("e", "many.example", hole.address().port());
    let finding = probe(&target, &Connector::new(resolver), &[], PATIENCE).await;
    assert_eq!(finding.address, Some(listener.local_addr().unwrap()), "{finding:?}");
    assert!(finding.took() < Duration::from_secs(2), "{:?}", finding.took());
}

/// The resolver is handed in here: no name server on this machine can be made to hang.
#[tokio::test]
async fn a_resolver_that_hangs_stalls_only_its_own_endpoint() {
    let well = serve(drop);
    let (release, hold) = mpsc::channel::<()>();
    let (hold, asked) = (Mutex::new(hold), Arc::new(AtomicUsize::new(0)));
    let count = asked.clone();
    let resolver = Resolver::with(move |host| {
        if host == "hangs.example" {
            count.fetch_add(1, Ordering::Relaxed);
            let _ = hold.lock().unwrap().recv_timeout(Duration::from_secs(30));
        }
        Ok(vec![[127, 0, 0, 1].into()])
    });
    let endpoints = ["hangs.example", "well.example"].map(|host| Endpoint::new(host, host, well.port()));
    let mut prober = Prober::new(Arc::new(endpoints), Connector::new(resolver));
    let (hangs, is_well) = (EndpointKey(0), EndpointKey(1));
    assert!(prober.ask(hangs, Duration::from_millis(500)));
    assert!(!prober.ask(hangs, Duration::from_millis(500)), "one probe an endpoint at once");
    let mut took = Vec::new();
    for _ in 0..20 {
        let began = Instant::now();
        assert!(prober.ask(is_well, PATIENCE));
        let mut news = prober.next().await;
        if news.endpoint == hangs {
            news = prober.next().await;
        }
        assert!(news.finding.is_ok(), "{news:?}");
        took.push(began.elapsed());
    }
    // The other would hold up all of them, a busy machine a few.
    took.sort();
    assert!(took[took.len() / 2] < Duration::from_millis(250), "{took:?}");
    // Again and again, and still one lookup.
    for _ in 0..20 {
        prober.ask(hangs, Duration::from_millis(20));
        let news = prober.next().await;
        if news.endpoint == hangs {
            let (stage, reason, detail) = failure(&news.finding);
            assert_eq!((stage, reason), (StageKind::Dns, Reason::DnsTimeout));
            assert_eq!(detail, "no answer about hangs.example");
        }
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    drop(release);
}

/// Cases 3 and 4: while its name is in doubt, an endpoint is where it was.
#[tokio::test]
async fn an_endpoint_that_was_reached_once_is_reached_while_its_name_is_in_doubt() {
    let well = serve(drop);
    let mood = Arc::new(AtomicUsize::new(0));
    let now = mood.clone();
    let resolver = Resolver::with(move |_| match now.load(Ordering::SeqCst) {
        0 => Ok(vec![[127, 0, 0, 1].into()]),
        1 => Err(std::io::Error::other("the name server is down")),
        _ => {
            std::thread::sleep(PATIENCE);
            Err(std::io::Error::other("the name server is down"))
        }
    });
    let far = [Endpoint::new("far", "far.example", well.port())];
    let mut prober = Prober::new(Arc::new(far.clone()), Connector::new(resolver.clone()));
    for turn in [0, 1, 2] {
        mood.store(turn, Ordering::SeqCst);
        // Until what was heard last is forgotten.
        while turn > 0
            && probe(&far[0], &Connector::new(resolver.clone()), &[], Duration::from_millis(50)).await.is_ok()
        {}
        let (key, began) = (EndpointKey(0), Instant::now());
        assert!(prober.ask(key, PATIENCE));
        let finding = prober.next().await.finding;
        assert!(finding.is_ok(), "{turn}: {finding:?}");
        assert_eq!(finding.address.map(|a| a.ip()), Some([127, 0, 0, 1].into()));
        assert_eq!(**prober.known(key), [std::net::IpAddr::from([127, 0, 0, 1])]);
        assert!(began.elapsed() < Duration::from_secs(3), "{turn}: {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_cancelled_probe_brings_no_news_and_leaves_room_for_another() {
    let hole = Blackhole::open();
    let well = serve(drop);
    let endpoints = [hole.address(), well].map(|a| Endpoint::new("e", "127.0.0.1", a.port()));
    let mut prober = Prober::new(Arc::new(endpoints), Connector::new(Resolver::system()));
    prober.ask(EndpointKey(0), PATIENCE);
    prober.cancel(EndpointKey(0));
    assert_eq!(prober.under_way(), 0);
    assert!(prober.ask(EndpointKey(0), Duration::from_millis(300)));
    assert!(prober.ask(EndpointKey(1), PATIENCE));
    let news = [prober.next().await, prober.next().await].map(|n| (n.endpoint, n.finding.is_ok()));
    assert_eq!(news, [(EndpointKey(1), true), (EndpointKey(0), false)]);
    assert!(tokio::time::timeout(Duration::from_millis(50), prober.next()).await.is_err(), "and nothing more");
}

#[tokio::test]
async fn a_valid_chain_verifies_against_its_pinned_ca() {
    let trust = Trust::new();
    let other = Certified::ca("Other CA");
    let both = trust.file("both.pem", format!("{}{}", other.pem(), trust.ca.pem()));
    let between = trust.ca.issue(&Wanted { subject: "Between", names: &[], from: -1, to: 99, is_ca: true });
    let own = between.issue(&Wanted { names: &["localhost", "127.0.0.1"], ..Wanted::LOCALHOST });
    let setup = TlsSetup { intermediates: vec![between.clone()], alpn: Some(b"\x04mqtt"), ..TlsSetup::default() };
    let address = serve_tls(&own, setup);
    let mut endpoint = tls(address, &both);
    if let Transport::Tls(tls) = &mut endpoint.transport {
        Arc::get_mut(tls).unwrap().alpn = vec!["x".into(), "mqtt".into()];
    }
    let finding = find(&endpoint).await;
    assert!(finding.is_ok(), "{finding:?}");
    assert_eq!(kinds(&finding), ["dns", "tcp", "tls"]);
    let session = finding.session.as_ref().unwrap();
    assert_eq!((session.protocol, session.alpn.as_deref()), (Some("TLSv1.3"), Some("mqtt")));
    assert!(session.cipher.as_ref().unwrap().starts_with("TLS_"));
    let subjects: Vec<&str> = session.chain.iter().map(|c| c.subject.as_str()).collect();
    assert_eq!(subjects, ["CN=broker", "CN=Between", "CN=Test CA"]);
    assert_eq!(session.chain[0].issuer.as_str(), "CN=Between");
    assert_eq!(session.chain[0].names.iter().map(|n| n.as_str()).collect::<Vec<_>>(), ["localhost", "127.0.0.1"]);
    assert_eq!(session.chain[0].days_left(chrono::Utc::now()), Some(29));
    assert_eq!(session.chain[1].days_left(chrono::Utc::now()), Some(98));

    let alone = trust.ca_file();
    assert!(find(&tls(address, &alone)).await.is_ok());
    // By address: the certificate names that as well.
    let by_address = Endpoint { host: "127.0.0.1".into(), ..tls(address, &alone) };
    assert!(find(&by_address).await.is_ok());
    // And the anchor is no master key.
    let foreign = serve_tls(&other.issue(&Wanted::LOCALHOST), TlsSetup::default());
    assert_eq!(failure(&find(&tls(foreign, &alone)).await).1, Reason::CertificateUnknownCa);
}

#[tokio::test]
async fn a_trust_file_may_bring_what_the_server_does_not_send() {
    let trust = Trust::new();
    let between = trust.ca.issue(&Wanted { subject: "Between", names: &[], from: -1, to: 99, is_ca: true });
    let address = serve_tls(&between.issue(&Wanted::LOCALHOST), TlsSetup::default());
    let both = trust.file("both.pem", format!("{}{}", between.pem(), trust.ca.pem()));
    assert!(find(&tls(address, &both)).await.is_ok());
    let by_root = find(&tls(address, &trust.ca_file())).await;
    assert_eq!(failure(&by_root).1, Reason::CertificateUnknownCa, "the root alone is not enough");
    let without_root = find(&tls(address, &trust.file("between.pem", between.pem()))).await;
    let words = "CN=Between is trusted only together with CN=Test CA, the root, which is not there";
    assert_eq!(failure(&without_root), (StageKind::Tls, Reason::CertificateUnknownCa, words));
}

#[tokio::test]
async fn certificates_are_refused_by_name() {
    let trust = Trust::new();
    let bad = Wanted::LOCALHOST;
    let day = |days: i64| (chrono::Utc::now() + chrono::Duration::days(days)).format("%Y-%m-%d").to_string();
    let hostile = Wanted { names: &["localhost"], subject: "evil\u{202e}\x1b[2J", from: -9, to: -2, is_ca: false };
    for (own, reason, detail) in [
        (
            trust.ca.issue(&Wanted { from: -9, to: -2, ..bad }),
            Reason::CertificateExpired,
            format!("CN=broker ended on {}", day(-2)),
        ),
        (
            trust.ca.issue(&Wanted { from: 3, ..Wanted::LOCALHOST }),
            Reason::CertificateNotYetValid,
            format!("CN=broker is valid from {}", day(3)),
        ),
        (
            trust.ca.issue(&Wanted { names: &["a.example", "b.example"], ..Wanted::LOCALHOST }),
            Reason::CertificateNameMismatch,
            "it is for a.example, b.example, not for localhost".into(),
        ),
        (
            Certified::ca("Foreign").issue(&Wanted::LOCALHOST),
            Reason::CertificateUnknownCa,
            "CN=broker was issued by CN=Foreign, which is not trusted".into(),
        ),
        (Certified::alone(&Wanted::LOCALHOST), Reason::CertificateSelfSigned, "CN=broker vouches for itself".into()),
        (trust.ca.issue(&hostile), Reason::CertificateExpired, format!("CN=evil·␛[2J ended on {}", day(-2))),
    ] {
        let address = serve_tls(&own, TlsSetup::default());
        let finding = find(&tls(address, &trust.ca_file())).await;
        assert_eq!(failure(&finding), (StageKind::Tls, reason, detail.as_str()));
        assert!(!finding.session.as_ref().unwrap().chain.is_empty(), "the certificate is told all the same");

        let insecure = Tls { ca_file: Some(trust.ca_file()), insecure: true, ..Tls::default() };
        let endpoint = Endpoint { transport: Transport::Tls(Arc::new(insecure)), ..plain(address) };
        let finding = find(&endpoint).await;
        assert!(finding.is_ok(), "{finding:?}");
        assert_eq!(finding.session.unwrap().overlooked.unwrap().reason, reason);
    }
}

#[tokio::test]
async fn a_self_signed_certificate_that_is_trusted_will_do() {
    let trust = Trust::new();
    let own = Certified::alone(&Wanted::LOCALHOST);
    let file = trust.file("own.pem", own.pem());
    let finding = find(&tls(serve_tls(&own, TlsSetup::default()), &file)).await;
    assert!(finding.is_ok(), "{finding:?}");
}

#[tokio::test]
async fn a_trust_file_that_cannot_be_used_is_named() {
    let trust = Trust::new();
    let address = serve_tls(&trust.ca.issue(&Wanted::LOCALHOST), TlsSetup::default());
    let missing = trust.dir.path().join("missing.pem");
    let finding = find(&tls(address, &missing)).await;
    let detail = format!("{}: no such file or directory", missing.display());
    assert_eq!(failure(&finding), (StageKind::Tls, Reason::CaFileUnusable, detail.as_str()));
    let finding = find(&tls(address, &trust.file("empty.pem", "nothing"))).await;
    let (_, reason, detail) = failure(&finding);
    assert_eq!(reason, Reason::CaFileUnusable);
    assert!(detail.contains("no certificates in PEM"), "{detail}");
}

#[tokio::test]
async fn a_server_that_wants_a_client_certificate_is_well() {
    let trust = Trust::new();
    let between = trust.ca.issue(&Wanted { subject: "Between", names: &[], from: -1, to: 99, is_ca: true });
    let own = between.issue(&Wanted::LOCALHOST);
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let setup = TlsSetup {
            client_ca: Some(trust.ca.clone()),
            intermediates: vec![between.clone()],
            version: Some(version),
            ..TlsSetup::default()
        };
        let finding = find(&tls(serve_tls(&own, setup.clone()), &trust.ca_file())).await;
        assert!(finding.is_ok(), "{finding:?}");
        assert!(finding.session.unwrap().wants_certificate, "{version:?}");
        // Not so where its own certificate is wrong.
        let wrong = serve_tls(&Certified::ca("Foreign").issue(&Wanted::LOCALHOST), setup);
        assert_eq!(failure(&find(&tls(wrong, &trust.ca_file())).await).1, Reason::CertificateUnknownCa);
    }
    let content = serve_tls(&trust.ca.issue(&Wanted::LOCALHOST), TlsSetup::default());
    assert!(!find(&tls(content, &trust.ca_file())).await.session.unwrap().wants_certificate);
}

#[tokio::test]
async fn what_is_no_tls_is_told() {
    let trust = Trust::new();
    let probe_of = async |address| find(&tls(address, &trust.ca_file())).await;

    let talks = serve(|mut s| {
        s.write_all(b"220 mail.example ESMTP ready\r\n").unwrap();
        let _ = std::io::Read::read(&mut s, &mut [0; 2048]);
    });
    let finding = probe_of(talks).await;
    assert_eq!(failure(&finding), (StageKind::Tls, Reason::NotTls, "the server answered, but not in TLS"));

    // What an MQTT broker does on its plain port.
    let closes = serve(|mut s| {
        let _ = std::io::Read::read(&mut s, &mut [0; 2048]);
    });
    let finding = probe_of(closes).await;
    let words = "closed by the server instead of an answer in TLS (it may be full, or this be no TLS port)";
    assert_eq!(failure(&finding), (StageKind::Tls, Reason::ConnectionLost, words));

    let resets = serve(|mut s| {
        let _ = std::io::Read::read(&mut s, &mut [0; 8]);
        rustix::net::sockopt::set_socket_linger(&s, Some(Duration::ZERO)).unwrap();
    });
    let finding = probe_of(resets).await;
    let words = "by the server instead of an answer in TLS (it may be full, or this be no TLS port)";
    assert_eq!(failure(&finding), (StageKind::Tls, Reason::ConnectionReset, words));

    let (_keep, kept) = mpsc::channel::<()>();
    let kept = Arc::new(Mutex::new(kept));
    let silent = serve(move |_stream| kept.lock().unwrap().recv().unwrap_or_default());
    let finding =
        probe(&tls(silent, &trust.ca_file()), &Connector::new(Resolver::system()), &[], Duration::from_millis(500))
            .await;
    let words = "no answer in the TLS handshake";
    assert_eq!(failure(&finding), (StageKind::Tls, Reason::ConnectTimeout, words));

    // The other way round nothing is to be seen: TCP stands, and nobody has spoken yet.
    let address = serve_tls(&trust.ca.issue(&Wanted::LOCALHOST), TlsSetup::default());
    assert!(find(&plain(address)).await.is_ok());
}

#[tokio::test]
async fn proxies_are_asked_and_their_refusals_told() {
    let trust = Trust::new();
    let broker = serve_tls(&trust.ca.issue(&Wanted::LOCALHOST), TlsSetup::default());
    let expected = format!("CONNECT localhost:{0} HTTP/1.1\r\nHost: localhost:{0}\r\n", broker.port());
    let open =
        serve_proxy(broker, move |request| (!request.starts_with(&expected)).then_some("HTTP/1.1 400 Bad Request"));
    // "user:hunter2"
    let guarded = serve_proxy(broker, |request| {
        let known = request.contains("\r\nProxy-Authorization: Basic dXNlcjpodW50ZXIy\r\n");
        (!known).then_some("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0")
    });
    let strict = serve_proxy(broker, |_| Some("HTTP/1.1 403 Forbidden"));
    let broken = serve_proxy(broker, |_| Some("HTTP/1.1 503 Service Unavailable"));
    let mute = serve(drop);
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let through = async |proxy: SocketAddr, login: Option<&str>| {
        let proxy = Proxy {
            username: login.map(|_| "user".into()),
            password: login.map(|p| Secret::new(p.into())),
            ..Proxy::new(ProxyKind::Http, "127.0.0.1", proxy.port())
        };
        find(&Endpoint { proxy: Some(proxy), ..tls(broker, &trust.ca_file()) }).await
    };
    for (proxy, login) in [(open, None), (guarded, Some("hunter2"))] {
        let finding = through(proxy, login).await;
        assert!(finding.is_ok(), "{finding:?}");
        assert_eq!(kinds(&finding), ["tcp", "proxy", "tls"]);
        assert_eq!(finding.address, Some(proxy));
    }
    for (proxy, login, reason, words) in [
        (guarded, None, Reason::ProxyAuthenticationRequired, "407 Proxy Authentication Required"),
        (guarded, Some("wrong"), Reason::ProxyAuthenticationRequired, "407 Proxy Authentication Required"),
        (strict, None, Reason::ProxyRefused, "403 Forbidden"),
        (broken, None, Reason::ProxyFailed, "503 Service Unavailable"),
    ] {
        let finding = through(proxy, login).await;
        assert_eq!(failure(&finding), (StageKind::Proxy, reason, words));
        assert!(!format!("{finding:?}").contains("hunter2"));
    }
    let finding = through(mute, None).await;
    assert_eq!((failure(&finding).0, failure(&finding).1), (StageKind::Proxy, Reason::ProxyFailed));
    let finding = through(free, None).await;
    assert_eq!((failure(&finding).0, failure(&finding).1), (StageKind::Tcp, Reason::ConnectionRefused));
}

/// An endpoint for WebSockets on this port of localhost.
fn websocket(address: SocketAddr, path: &str) -> Endpoint {
    Endpoint { transport: Transport::WebSocket(Arc::new(WebSocket::new(path))), ..plain(address) }
}

#[tokio::test]
async fn a_websocket_is_asked_for_as_paho_does_and_closed_in_order() {
    let (tell, heard) = mpsc::channel();
    let address = serve_http(tell, accepted);
    let finding = find(&websocket(address, "/mqtt?x=1")).await;
    assert!(finding.is_ok(), "{finding:?}");
    assert_eq!(kinds(&finding), ["dns", "tcp", "websocket"]);
    let (request, rest) = heard.recv_timeout(PATIENCE).unwrap();
    let host = format!("localhost:{}", address.port());
    let lines: Vec<&str> = request.lines().filter(|l| !l.starts_with("Sec-WebSocket-Key: ")).collect();
    assert_eq!(
        lines,
        [
            "GET /mqtt?x=1 HTTP/1.1",
            &format!("Host: {host}"),
            "Upgrade: websocket",
            "Connection: Upgrade",
            &format!("Origin: http://{host}"),
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Protocol: mqtt",
            ""
        ]
    );
    // One masked frame that closes, with 1000 in it (RFC 6455 §5.5.1, §7.4.1), and no byte of MQTT.
    let [0x88, 0x82, ref mask @ .., high, low] = rest[..] else { panic!("{rest:?}") };
    assert_eq!([high ^ mask[0], low ^ mask[1]], 1000u16.to_be_bytes());
    assert_eq!(mask.len(), 4);
}

#[tokio::test]
async fn a_websocket_that_is_refused_says_why() {
    let (tell, _heard) = mpsc::channel();
    let answers = |words: &'static str| serve_http(tell.clone(), move |_| format!("{words}\r\n\r\n"));
    let replay = "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
    for (address, words) in [
        (answers("HTTP/1.1 404 Not Found"), "404 Not Found: is the path right?"),
        (answers("HTTP/1.1 503 Go\x1b[31m away"), "503 Go␛[31m away"),
        (answers("HTTP/1.1 307 Elsewhere\r\nLocation: /ws"), "307 Elsewhere: it points to /ws"),
        (answers(replay), "101 Switching Protocols, but its Sec-WebSocket-Accept does not belong to this request"),
        // A broker of MQTT 5.0 may say DISCONNECT (protocol error) before it goes.
        (answers("\u{4}\u{1}x"), "it does not speak HTTP: ␄␁x"),
        (serve(drop), "instead of answering: is it HTTP at this port?"),
    ] {
        let finding = find(&websocket(address, "/mqtt")).await;
        let (stage, reason, detail) = failure(&finding);
        assert_eq!((stage, reason), (StageKind::WebSocket, Reason::WebSocketRefused));
        assert!(detail.contains(words), "{detail}");
    }
    let (_keep, kept) = mpsc::channel::<()>();
    let kept = Arc::new(Mutex::new(kept));
    let silent = serve(move |_stream| kept.lock().unwrap().recv().unwrap_or_default());
    let finding =
        probe(&websocket(silent, "/"), &Connector::new(Resolver::system()), &[], Duration::from_millis(500)).await;
    let words = "no answer to the request for a WebSocket";
    assert_eq!(failure(&finding), (StageKind::WebSocket, Reason::ConnectTimeout, words));
}

#[tokio::test]
async fn a_secure_websocket_has_both_stages_and_may_want_a_certificate_first() {
    let trust = Trust::new();
    let own = trust.ca.issue(&Wanted::LOCALHOST);
    let secure = |address| {
        let tls = Tls { ca_file: Some(trust.ca_file()), ..Tls::default() };
        Endpoint {
            transport: Transport::SecureWebSocket(Arc::new(WebSocket::new("/mqtt")), Arc::new(tls)),
            ..plain(address)
        }
    };
    // It reads, and hangs up.
    let finding = find(&secure(serve_tls(&own, TlsSetup::default()))).await;
    assert_eq!((failure(&finding).0, failure(&finding).1), (StageKind::WebSocket, Reason::WebSocketRefused));
    assert!(finding.session.is_some_and(|s| !s.wants_certificate));
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let setup = TlsSetup { client_ca: Some(trust.ca.clone()), version: Some(version), ..TlsSetup::default() };
        let finding = find(&secure(serve_tls(&own, setup))).await;
        assert!(finding.is_ok(), "{finding:?}");
        assert_eq!(kinds(&finding), ["dns", "tcp", "tls"], "what comes after it cannot be known");
        assert!(finding.session.unwrap().wants_certificate);
    }
}
