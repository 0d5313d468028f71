//! Whose certificates are taken for whose: the same for clients and for probes, and nothing that is not meant.

use mqfleet::endpoint::probe;
use mqfleet_test_support::{
    async_peers::{self, acceptor, serve_tls},
    certs::Wanted,
};
use openssl::{
    asn1::{Asn1Object, Asn1OctetString},
    x509::{X509Builder, X509Extension, extension::ExtendedKeyUsage},
};

use super::*;

/// The extension subjectAltName with one DNS name of these bytes (RFC 5280 §4.2.1.6).
fn raw_name(name: &[u8]) -> X509Extension {
    let mut der = vec![0x30, name.len() as u8 + 2, 0x82, name.len() as u8];
    der.extend(name);
    let contents = Asn1OctetString::new_from_bytes(&der).unwrap();
    X509Extension::new_from_der(&Asn1Object::from_str("2.5.29.17").unwrap(), false, &contents).unwrap()
}

fn usage(build: impl FnOnce(&mut ExtendedKeyUsage) -> &mut ExtendedKeyUsage) -> impl FnOnce(&mut X509Builder) {
    let mut usage = ExtendedKeyUsage::new();
    build(&mut usage);
    let usage = usage.build().unwrap();
    move |builder: &mut X509Builder| builder.append_extension(usage).unwrap()
}

#[tokio::test]
async fn a_server_is_who_its_certificate_names_and_nobody_else() {
    use Reason::{CertificateExpired, CertificateInvalid, CertificateNameMismatch, CertificateSelfSigned};
    let trust = Trust::new();
    let named = |names: &[&str]| trust.ca.issue(&Wanted { names, ..Wanted::LOCALHOST });
    let called = |subject: &str| trust.ca.issue(&Wanted { subject, names: &[], ..Wanted::LOCALHOST });
    let with = |more: Box<dyn FnOnce(&mut X509Builder)>| {
        trust.ca.issue_with(&Wanted { subject: "broker", names: &[], ..Wanted::LOCALHOST }, more)
    };
    let localhost = |more: Box<dyn FnOnce(&mut X509Builder)>| trust.ca.issue_with(&Wanted::LOCALHOST, more);
    let nul = with(Box::new(|b| b.append_extension(raw_name(b"a.example\0.evil.example")).unwrap()));
    for (own, host, verdict) in [
        (named(&["a.example"]), "a.example", None),
        (named(&["A.Example"]), "a.example", None),
        (named(&["x.example", "a.example"]), "a.example", None),
        (named(&["b.example"]), "a.example", Some((CertificateNameMismatch, "it is for b.example, not for a.example"))),
        (named(&["*.site.example"]), "a.site.example", None),
        (
            named(&["*.site.example"]),
            "b.a.site.example",
            Some((CertificateNameMismatch, "it is for *.site.example, not for b.a.site.example")),
        ),
        (named(&["*.example"]), "example", Some((CertificateNameMismatch, "it is for *.example, not for example"))),
        // Addresses: only as such.
        (named(&["127.0.0.1"]), "127.0.0.1", None),
        (named(&["::1"]), "::1", None),
        (named(&["127.0.0.2"]), "127.0.0.1", Some((CertificateNameMismatch, "it is for 127.0.0.2, not for 127.0.0.1"))),
        (named(&["localhost"]), "127.0.0.1", Some((CertificateNameMismatch, "it is for localhost, not for 127.0.0.1"))),
        (
            with(Box::new(|b| b.append_extension(raw_name(b"127.0.0.1")).unwrap())),
            "127.0.0.1",
            Some((CertificateNameMismatch, "the certificate has 127.0.0.1 only as a DNS name, not as an IP address")),
        ),
        (
            called("127.0.0.1"),
            "127.0.0.1",
            Some((
                CertificateNameMismatch,
                "the certificate has 127.0.0.1 only as its common name, not as an IP address",
            )),
        ),
        // Where there are no other names, the common name counts; else it does not.
        (called("a.example"), "a.example", None),
        (
            trust.ca.issue(&Wanted { subject: "a.example", names: &["b.example"], ..Wanted::LOCALHOST }),
            "a.example",
            Some((CertificateNameMismatch, "it is for b.example, not for a.example")),
        ),
        (nul, "a.example", Some((CertificateNameMismatch, "it is for a.example␀.evil.example, not for a.example"))),
        // What it is for besides names.
        (localhost(Box::new(usage(|u| u.server_auth()))), "localhost", None),
        (
            localhost(Box::new(usage(|u| u.client_auth()))),
            "localhost",
            Some((CertificateInvalid, "CN=broker: the certificate is not for servers")),
        ),
        (
            trust.ca.issue(&Wanted { from: -9, to: -2, ..Wanted::LOCALHOST }),
            "localhost",
            Some((CertificateExpired, "")),
        ),
        (
            Certified::alone(&Wanted::LOCALHOST),
            "localhost",
            Some((CertificateSelfSigned, "CN=broker vouches for itself")),
        ),
    ] {
        let shown = own.certificate.clone();
        let address = if host == "::1" { "[::1]:0" } else { "127.0.0.1:0" };
        let acceptor = Arc::new(acceptor(&own).build());
        let server = async_peers::serve_at(address, move |stream| {
            let acceptor = acceptor.clone();
            async move { async_peers::echo(async_peers::accept(&acceptor, stream).await?).await }
        })
        .await;
        let connector = knowing(&["127.0.0.1"]);
        let endpoint = Endpoint { host: host.into(), ..secure(server, &trust.ca_file()) };
        let result = connect(&connector, &way(&endpoint)).await;
        let finding = probe(&endpoint, &connector, &[], PATIENCE).await;
        match verdict {
            None => assert!(result.is_ok() && finding.is_ok(), "{host}: {:?} {:?}", shown.subject_name(), finding),
            Some((reason, words)) => {
                let (stage, told, detail) = told(&result);
                assert_eq!((stage, told), (StageKind::Tls, reason), "{detail}");
                assert!(words.is_empty() || detail == words, "{detail}");
                assert_eq!(finding.failure, result.err(), "a probe says the same");
            }
        }
    }
}

#[tokio::test]
async fn a_pinned_authority_is_the_only_one() {
    let trust = Trust::new();
    let other = Certified::ca("Other CA");
    let address = serve_tls(acceptor(&other.issue(&Wanted::LOCALHOST))).await;
    let pinned = secure(address, &trust.ca_file());
    let of_the_system = with_tls(address, Tls::default());
    for endpoint in [&pinned, &of_the_system] {
        let result = connect(&connector(), &way(endpoint)).await;
        let words = "CN=broker was issued by CN=Other CA, which is not trusted";
        assert_eq!(told(&result), (StageKind::Tls, Reason::CertificateUnknownCa, words));
    }
    // Side by side in one connector they stay what they are.
    let connector = connector();
    let theirs = trust.file("other.pem", other.pem());
    echoes(&connector, &way(&secure(address, &theirs))).await;
    assert!(connect(&connector, &way(&pinned)).await.is_err());
    echoes(&connector, &way(&with_tls(address, Tls { insecure: true, ..Tls::default() }))).await;
    assert!(connect(&connector, &way(&pinned)).await.is_err());
    assert!(connect(&connector, &way(&of_the_system)).await.is_err());
}

#[tokio::test]
async fn a_changed_trust_file_is_read_again() {
    let trust = Trust::new();
    let other = Certified::ca("Other CA");
    let address = serve_tls(acceptor(&other.issue(&Wanted::LOCALHOST))).await;
    let endpoint = secure(address, &trust.ca_file());
    let connector = connector();
    assert!(connect(&connector, &way(&endpoint)).await.is_err());
    trust.file("ca.pem", format!("{}{}", trust.ca.pem(), other.pem()));
    tokio::time::sleep(Duration::from_millis(150)).await;
    echoes(&connector, &way(&endpoint)).await;
    std::fs::remove_file(trust.ca_file()).unwrap();
    tokio::time::sleep(Duration::from_millis(150)).await;
    let result = connect(&connector, &way(&endpoint)).await;
    let words = format!("{}: no such file or directory", trust.ca_file().display());
    assert_eq!(told(&result), (StageKind::Tls, Reason::CaFileUnusable, words.as_str()));
}
