//! Certificates of clients: shown where the server asks for one, read from their files, and refused in words.

use mqfleet::{endpoint::probe, fleet::Secret, transport};
use mqfleet_test_support::{
    async_peers::{self, acceptor_of, serve_tls},
    certs::Wanted,
};
use openssl::{
    ssl::{SslAcceptorBuilder, SslVerifyMode, SslVersion},
    symm::Cipher,
};

use super::*;

const VERSIONS: [SslVersion; 2] = [SslVersion::TLS1_2, SslVersion::TLS1_3];

fn strict(trust: &Trust, version: SslVersion) -> SslAcceptorBuilder {
    let mut acceptor = acceptor_of(&trust.ca.issue(&Wanted::LOCALHOST), version);
    acceptor.cert_store_mut().add_cert(trust.ca.certificate.clone()).unwrap();
    acceptor.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
    acceptor
}

fn press(ca: &Certified) -> Certified {
    ca.issue(&Wanted { subject: "press", names: &[], ..Wanted::LOCALHOST })
}

/// What the server says of a client, be it in the handshake or when it reads.
async fn refused(endpoint: &Endpoint, identity: Option<&Identity>) -> (Reason, String) {
    let way = Way { identity, ..way(endpoint) };
    let cause = match connect(&connector(), &way).await {
        Err(failure) => failure.cause,
        Ok(mut stream) => transport::cause(&hear(&mut stream).await.1.expect_err("it stays")),
    };
    (cause.reason, cause.detail.to_string())
}

#[tokio::test]
async fn a_client_shows_its_certificate_where_it_is_asked_for_one() {
    let trust = Trust::new();
    let between = trust.ca.issue(&Wanted { subject: "Between", names: &[], from: -1, to: 99, is_ca: true });
    let own = press(&between);
    // What chains it to the anchor comes from the same file.
    let chained = Identity {
        cert_file: trust.file("chained.pem", format!("{}{}", own.pem(), between.pem())),
        ..trust.identity("press", &own)
    };
    let locked = Identity {
        key_file: trust.file(
            "locked.key",
            own.key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), b"open-sesame-5").unwrap(),
        ),
        key_password: Some(Secret::new("open-sesame-5".into())),
        ..chained.clone()
    };
    for version in VERSIONS {
        let endpoint = secure(serve_tls(strict(&trust, version)).await, &trust.ca_file());
        for identity in [&chained, &locked] {
            echoes(&connector(), &Way { identity: Some(identity), ..way(&endpoint) }).await;
        }
        let (reason, words) = refused(&endpoint, None).await;
        assert_eq!(reason, Reason::ClientCertificateRefused, "{version:?}: {words}");
        let finding = probe(&endpoint, &connector(), &[], PATIENCE).await;
        assert!(finding.is_ok() && finding.session.as_ref().unwrap().wants_certificate, "{finding:?}");
    }
    // And nobody else is shown it.
    let content = serve_tls(acceptor_of(&trust.ca.issue(&Wanted::LOCALHOST), SslVersion::TLS1_3)).await;
    echoes(&connector(), &Way { identity: Some(&chained), ..way(&secure(content, &trust.ca_file())) }).await;
}

#[tokio::test]
async fn refusals_of_a_client_s_certificate_are_told() {
    let trust = Trust::new();
    let foreign = trust.identity("foreign", &press(&Certified::ca("Other CA")));
    let old = Wanted { subject: "press", names: &[], from: -9, to: -2, is_ca: false };
    let expired = trust.identity("expired", &trust.ca.issue(&old));
    for version in VERSIONS {
        let endpoint = secure(serve_tls(strict(&trust, version)).await, &trust.ca_file());
        for (identity, words) in [
            (&foreign, "the broker does not trust the CA of the client's certificate"),
            (&expired, "to the broker the client's certificate has expired"),
        ] {
            let told = refused(&endpoint, Some(identity)).await;
            assert_eq!(told, (Reason::ClientCertificateRefused, words.to_owned()), "{version:?}");
        }
    }
}

/// With TLS 1.3 the refusal comes when the client speaks already, and the connection breaks under what it
/// says: it is told all the same.
#[tokio::test]
async fn a_refusal_is_heard_by_who_speaks_first() {
    let trust = Trust::new();
    let acceptor = Arc::new(strict(&trust, SslVersion::TLS1_3).build());
    let address = async_peers::serve(move |stream| {
        let acceptor = acceptor.clone();
        async move { async_peers::accept(&acceptor, stream).await.map(drop) }
    })
    .await;
    let endpoint = secure(address, &trust.ca_file());
    let mut stream = connect(&connector(), &way(&endpoint)).await.unwrap_or_else(|f| panic!("{f:?}"));
    let Stream::Layered(layered) = &mut stream else { panic!("a plain stream") };
    let mut error = None;
    for _ in 0..100 {
        error = layered.write_all(b"CONNECT").await.err();
        if error.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let cause = transport::cause(&error.expect("an end"));
    assert_eq!(cause.reason, Reason::ClientCertificateRefused, "{cause:?}");
}

/// An alert is about the client's certificate only where the server asked for one.
#[tokio::test]
async fn a_server_that_asks_for_nothing_refuses_no_certificate() {
    let trust = Trust::new();
    let own = trust.identity("press", &press(&trust.ca));
    let mut anonymous = acceptor_of(&trust.ca.issue(&Wanted::LOCALHOST), SslVersion::TLS1_2);
    anonymous.set_cipher_list("ADH:@SECLEVEL=0").unwrap();
    let endpoint = secure(serve_tls(anonymous).await, &trust.ca_file());
    for identity in [None, Some(&own)] {
        let (reason, words) = refused(&endpoint, identity).await;
        assert_eq!(reason, Reason::TlsFailed, "{words}");
    }
    assert!(!probe(&endpoint, &connector(), &[], PATIENCE).await.is_ok());
}

/// Case 13.
#[tokio::test]
async fn papers_that_cannot_be_used_are_named() {
    let trust = Trust::new();
    let endpoint = secure(serve_tls(strict(&trust, SslVersion::TLS1_3)).await, &trust.ca_file());
    let own = press(&trust.ca);
    let good = trust.identity("press", &own);
    let other = trust.identity("other", &press(&trust.ca));
    let locked = trust.file(
        "locked.key",
        own.key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), b"open-sesame-5").unwrap(),
    );
    let with_key = |key_file: &PathBuf| Identity { key_file: key_file.clone(), ..good.clone() };
    let wrong = Identity { key_password: Some(Secret::new("sesame".into())), ..with_key(&locked) };
    let missing = trust.dir.path().join("missing.pem");
    let empty = trust.file("empty.pem", "nothing");
    for (identity, file, words) in [
        (with_key(&other.key_file), &other.key_file, "the key of another certificate"),
        (with_key(&locked), &locked, "the key has a password, and none is given"),
        (wrong, &locked, "wrong password for the key, or of a kind that is too old"),
        (with_key(&missing), &missing, "no such file or directory"),
        (with_key(&empty), &empty, "no private key in PEM that can be read"),
        (Identity { cert_file: empty.clone(), ..good.clone() }, &empty, "no certificate in PEM that can be read"),
    ] {
        let way = Way { identity: Some(&identity), ..way(&endpoint) };
        let result = connect(&connector(), &way).await;
        let (stage, reason, detail) = told(&result);
        assert_eq!((stage, reason), (StageKind::Tls, Reason::TlsFailed));
        assert_eq!(detail, format!("the client's certificate cannot be used: {}: {words}", file.display()));
    }
    // Files that are renewed are read again.
    let connector = connector();
    let renewed = with_key(&other.key_file);
    assert!(connect(&connector, &Way { identity: Some(&renewed), ..way(&endpoint) }).await.is_err());
    std::fs::copy(&good.key_file, &other.key_file).unwrap();
    tokio::time::sleep(Duration::from_millis(150)).await;
    echoes(&connector, &Way { identity: Some(&renewed), ..way(&endpoint) }).await;
}
