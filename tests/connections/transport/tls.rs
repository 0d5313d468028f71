//! TLS besides whose certificate it is: names, versions, protocols, sessions, revocation and how streams end.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use mqfleet::{endpoint::probe, fleet::TlsMinimum, transport};
use mqfleet_test_support::{
    async_peers::{accept, acceptor, acceptor_of, echo, serve, serve_tls},
    certs::Wanted,
};
use openssl::ssl::{NameType, SslVersion};

use super::*;

fn good(trust: &Trust) -> Certified {
    trust.ca.issue(&Wanted { names: &["localhost", "127.0.0.1", "broker.example"], ..Wanted::LOCALHOST })
}

fn tls_of(trust: &Trust) -> Tls {
    Tls { ca_file: Some(trust.ca_file()), ..Tls::default() }
}

#[tokio::test]
async fn a_name_is_asked_for_and_never_an_address() {
    let trust = Trust::new();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let mut acceptor = acceptor(&good(&trust));
    let tell = asked.clone();
    acceptor.set_servername_callback(move |ssl, _| {
        tell.lock().unwrap().push(ssl.servername(NameType::HOST_NAME).map(str::to_owned));
        Ok(())
    });
    let address = serve_tls(acceptor).await;
    let by_name = secure(address, &trust.ca_file());
    let by_address = Endpoint { host: "127.0.0.1".into(), ..by_name.clone() };
    let named = |name: &str, endpoint: &Endpoint| {
        let tls = Tls { server_name: Some(name.into()), ..tls_of(&trust) };
        Endpoint { transport: Transport::Tls(Arc::new(tls)), ..endpoint.clone() }
    };
    for (endpoint, name) in [
        (by_name.clone(), Some("localhost")),
        (by_address.clone(), None),
        // Case 10.
        (named("broker.example", &by_address), Some("broker.example")),
        (named("127.0.0.1", &by_name), None),
    ] {
        echoes(&connector(), &way(&endpoint)).await;
        assert_eq!(asked.lock().unwrap().pop().flatten().as_deref(), name);
    }
    let result = connect(&connector(), &way(&named("other.example", &by_name))).await;
    let words = "it is for localhost, 127.0.0.1, broker.example, not for other.example";
    assert_eq!(told(&result), (StageKind::Tls, Reason::CertificateNameMismatch, words));
}

/// Case 12.
#[tokio::test]
async fn what_two_sides_have_not_in_common_is_told() {
    let trust = Trust::new();
    let own = good(&trust);
    let mut old = acceptor_of(&own, SslVersion::TLS1_2);
    old.set_min_proto_version(Some(SslVersion::TLS1_1)).unwrap();
    old.set_max_proto_version(Some(SslVersion::TLS1_1)).unwrap();
    old.clear_options(openssl::ssl::SslOptions::NO_TLSV1_1);
    old.set_cipher_list("ALL:@SECLEVEL=0").unwrap();
    let old = serve_tls(old).await;
    let middle = serve_tls(acceptor_of(&own, SslVersion::TLS1_2)).await;
    let mut anonymous = acceptor_of(&own, SslVersion::TLS1_2);
    anonymous.set_cipher_list("ADH:@SECLEVEL=0").unwrap();
    let anonymous = serve_tls(anonymous).await;
    let mut choosy = acceptor(&own);
    choosy.set_alpn_select_callback(|_, offered| {
        openssl::ssl::select_next_proto(b"\x04mqtt", offered).ok_or(openssl::ssl::AlpnError::ALERT_FATAL)
    });
    let choosy = serve_tls(choosy).await;
    let newest = Tls { min_version: TlsMinimum::V1_3, ..tls_of(&trust) };
    let alpn = Tls { alpn: vec!["x-amzn-mqtt-ca".into(), "h2".into()], ..tls_of(&trust) };
    for (address, tls, words) in [
        (old, tls_of(&trust), "the broker speaks TLS 1.1 at most"),
        (middle, newest.clone(), "the broker speaks TLS 1.2 at most, and tls_min is \"1.3\""),
        (
            anonymous,
            tls_of(&trust),
            "no cipher in common: the broker takes none of the ciphers, curves and signatures offered",
        ),
        (choosy, alpn, "the broker takes none of alpn = [\"x-amzn-mqtt-ca\", \"h2\"]"),
    ] {
        let result = connect(&connector(), &way(&with_tls(address, tls))).await;
        assert_eq!(told(&result), (StageKind::Tls, Reason::TlsFailed, words));
    }
    echoes(&connector(), &way(&with_tls(middle, tls_of(&trust)))).await;
    echoes(&connector(), &way(&with_tls(serve_tls(acceptor(&own)).await, newest))).await;
    let mqtt = Tls { alpn: vec!["h2".into(), "mqtt".into()], ..tls_of(&trust) };
    echoes(&connector(), &way(&with_tls(choosy, mqtt))).await;
}

#[tokio::test]
async fn sessions_are_resumed_by_whom_they_were_given_to() {
    let trust = Trust::new();
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let address = serve_tls(acceptor_of(&good(&trust), version)).await;
        let (connector, endpoint) = (connector(), secure(address, &trust.ca_file()));
        for resumed in 0..4 {
            echoes(&connector, &way(&endpoint)).await;
            assert_eq!(connector.resumed(), resumed, "{version:?}");
        }
        // A probe looks at the certificate each time.
        for _ in 0..2 {
            let finding = probe(&endpoint, &connector, &[], PATIENCE).await;
            assert_eq!(finding.certificate().map(|c| c.subject.as_str()), Some("CN=broker"), "{finding:?}");
        }
        assert_eq!(connector.resumed(), 3);
        // By another name, at another minimum, with an identity: whole handshakes.
        let own = trust.identity("own", &trust.ca.issue(&Wanted { subject: "own", ..Wanted::LOCALHOST }));
        let named = Tls { server_name: Some("broker.example".into()), ..tls_of(&trust) };
        echoes(&connector, &way(&with_tls(address, named))).await;
        echoes(&connector, &Way { identity: Some(&own), ..way(&endpoint) }).await;
        assert_eq!(connector.resumed(), 3);
        echoes(&connector, &Way { identity: Some(&own), ..way(&endpoint) }).await;
        assert_eq!(connector.resumed(), 4);
        // What verified it once is gone with a new trust file.
        trust.file("ca.pem", format!("{}\n", trust.ca.pem()));
        tokio::time::sleep(Duration::from_millis(150)).await;
        echoes(&connector, &way(&endpoint)).await;
        assert_eq!(connector.resumed(), 4);
        trust.file("ca.pem", trust.ca.pem());
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
}

/// What was cut is taken up again like what was closed in order: so it is when a whole fleet comes back.
#[tokio::test]
async fn a_session_outlives_a_connection_that_was_cut() {
    let trust = Trust::new();
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let acceptor = Arc::new(acceptor_of(&good(&trust), version).build());
        let address = serve(move |stream| {
            let acceptor = acceptor.clone();
            async move {
                let mut stream = accept(&acceptor, stream).await?;
                stream.write_all(b"last words").await
            }
        })
        .await;
        let (connector, endpoint) = (connector(), secure(address, &trust.ca_file()));
        for resumed in 0..6 {
            let mut stream = connect(&connector, &way(&endpoint)).await.unwrap_or_else(|f| panic!("{f:?}"));
            let (heard, end) = hear(&mut stream).await;
            assert!(heard == b"last words" && end.is_err(), "{end:?}");
            assert_eq!(connector.resumed(), resumed, "{version:?}");
        }
    }
}

/// A server that knows nothing of earlier sessions is no failure.
#[tokio::test]
async fn a_session_that_the_server_has_forgotten_is_begun_anew() {
    let trust = Trust::new();
    let acceptors = [acceptor(&good(&trust)), acceptor(&good(&trust))].map(|a| a.build());
    let (acceptors, turn) = (Arc::new(acceptors), Arc::new(AtomicUsize::new(0)));
    let address = serve(move |stream| {
        let (acceptors, turn) = (acceptors.clone(), turn.fetch_add(1, Ordering::SeqCst));
        async move { echo(accept(&acceptors[turn % 2], stream).await?).await }
    })
    .await;
    let (connector, endpoint) = (connector(), secure(address, &trust.ca_file()));
    for _ in 0..4 {
        echoes(&connector, &way(&endpoint)).await;
    }
    assert_eq!(connector.resumed(), 0);
}

/// A session is not shown to a server after the certificate that verified it has ended, or not at all.
#[tokio::test]
async fn refused_servers_leave_no_session() {
    let trust = Trust::new();
    let own = Certified::ca("Other CA").issue(&Wanted::LOCALHOST);
    let address = serve_tls(acceptor(&own)).await;
    let (connector, endpoint) = (connector(), secure(address, &trust.ca_file()));
    let insecure = with_tls(address, Tls { insecure: true, ..tls_of(&trust) });
    for _ in 0..2 {
        echoes(&connector, &way(&insecure)).await;
        assert!(connect(&connector, &way(&endpoint)).await.is_err());
    }
    assert_eq!(connector.resumed(), 1, "the insecure one's own");
}

#[tokio::test]
async fn revoked_certificates_are_refused() {
    let trust = Trust::new();
    let [good, bad] = [good(&trust), good(&trust)];
    let other = Certified::ca("Other CA");
    let revoked = trust.ca.crl(&[&bad.certificate], 30);
    let endpoint = async |own: &Certified, crl: &str| {
        let crl_file = Some(trust.file("crl.pem", crl));
        with_tls(serve_tls(acceptor(own)).await, Tls { crl_file, ..tls_of(&trust) })
    };
    echoes(&connector(), &way(&endpoint(&good, &revoked).await)).await;
    let late = trust.ca.crl(&[], -1);
    for (own, list, words) in [
        (&bad, revoked.clone(), "CN=broker has been revoked by CN=Test CA"),
        (&good, other.crl(&[], 30), "the CRL file has no revocation list of CN=Test CA"),
        (&good, late, "the CRL file's revocation list of CN=Test CA is out of date"),
    ] {
        let result = connect(&connector(), &way(&endpoint(own, &list).await)).await;
        assert_eq!(told(&result), (StageKind::Tls, Reason::CertificateInvalid, words));
    }
    let result = connect(&connector(), &way(&endpoint(&good, "nothing").await)).await;
    let (_, reason, words) = told(&result);
    assert_eq!(reason, Reason::CaFileUnusable);
    assert!(words.contains("crl.pem: no revocation lists in PEM"), "{words}");
    // One that comes to be revoked is refused from then on, session or not.
    let (connector, endpoint) = (connector(), endpoint(&bad, &trust.ca.crl(&[], 30)).await);
    for _ in 0..2 {
        echoes(&connector, &way(&endpoint)).await;
    }
    assert_eq!(connector.resumed(), 1);
    trust.file("crl.pem", &revoked);
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!(told(&connect(&connector, &way(&endpoint)).await).1, Reason::CertificateInvalid);
}

#[tokio::test]
async fn the_end_of_a_stream_is_told() {
    let trust = Trust::new();
    let acceptor = Arc::new(acceptor(&good(&trust)).build());
    for (how, words) in [
        ("orderly", None),
        ("cut", Some("the broker closed the connection without taking leave in TLS")),
        ("reset", Some("connection reset by peer")),
    ] {
        let acceptor = acceptor.clone();
        let address = serve(move |stream| {
            let acceptor = acceptor.clone();
            async move {
                let mut stream = accept(&acceptor, stream).await?;
                stream.write_all(b"last words").await?;
                match how {
                    "orderly" => stream.shutdown().await,
                    "reset" => {
                        rustix::net::sockopt::set_socket_linger(stream.get_ref(), Some(Duration::ZERO))?;
                        Ok(())
                    }
                    _ => Ok(()),
                }
            }
        })
        .await;
        let endpoint = secure(address, &trust.ca_file());
        let mut stream = connect(&connector(), &way(&endpoint)).await.unwrap_or_else(|f| panic!("{f:?}"));
        let (heard, end) = hear(&mut stream).await;
        assert!(heard == b"last words" || how == "reset", "{how}: {heard:?}");
        let cause = end.err().map(|error| transport::cause(&error));
        assert_eq!(cause.as_ref().map(|c| c.detail.as_str()), words, "{how}");
        assert!(cause.is_none_or(|c| c.reason == Reason::ConnectionLost));
    }
}

/// Two handshakes at once do not wait for each other, and an idle peer of one holds nobody up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_handshakes_go_side_by_side() {
    let trust = Trust::new();
    let address = serve_tls(acceptor(&good(&trust))).await;
    let silent = serve(|stream| async move {
        let _stream = stream;
        std::future::pending().await
    })
    .await;
    let connector = connector();
    let stuck = secure(silent, &trust.ca_file());
    let held = tokio::spawn({
        let connector = connector.clone();
        async move { connect(&connector, &Way { deadline: Instant::now() + PATIENCE, ..way(&stuck) }).await.is_ok() }
    });
    let endpoint = secure(address, &trust.ca_file());
    let tasks: Vec<_> = (0..200)
        .map(|_| {
            let (connector, endpoint) = (connector.clone(), endpoint.clone());
            tokio::spawn(async move { echoes(&connector, &way(&endpoint)).await })
        })
        .collect();
    for task in tasks {
        timeout(PATIENCE, task).await.expect("in time").unwrap();
    }
    held.abort();
}
