//! Defines what failures of TLS mean: a certificate that is refused here, an alert from the other side, and all else that ends a handshake; pure but for what OpenSSL is asked.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use openssl::{error::ErrorStack, ssl, x509::X509VerifyResult};

use super::{because, reach};
use crate::{
    event::{Cause, Certificate, Reason},
    fleet::{Tls, TlsMinimum},
    text::Scrubbed,
};

/// What a verification error means; `name` is what was verified. The numbers are OpenSSL's `X509_V_ERR_*`
/// (x509_vfy.h), which are part of its stable interface.
pub(super) fn refusal(result: X509VerifyResult, certificate: Option<&Certificate>, name: &str) -> Cause {
    let subject = certificate.map(|c| c.subject.as_str()).unwrap_or("the certificate");
    let day = |time: Option<DateTime<Utc>>| time.map_or("?".into(), |t| t.format("%Y-%m-%d").to_string());
    let issuer = certificate.map_or("its issuer", |c| c.issuer.as_str());
    let (reason, detail) = match result.as_raw() {
        // CERT_NOT_YET_VALID
        9 => {
            let begin = day(certificate.and_then(|c| c.not_before));
            (Reason::CertificateNotYetValid, format!("{subject} is valid from {begin}"))
        }
        // CERT_HAS_EXPIRED
        10 => {
            let end = day(certificate.and_then(|c| c.not_after));
            (Reason::CertificateExpired, format!("{subject} ended on {end}"))
        }
        // DEPTH_ZERO_SELF_SIGNED_CERT
        18 => (Reason::CertificateSelfSigned, format!("{subject} vouches for itself")),
        // UNABLE_TO_GET_ISSUER_CERT: this one was found among the anchors, and is not the chain's end.
        2 if issuer != subject => {
            let detail = format!("{subject} is trusted only together with {issuer}, the root, which is not there");
            (Reason::CertificateUnknownCa, detail)
        }
        // UNABLE_TO_GET_ISSUER_CERT (also _LOCALLY), SELF_SIGNED_CERT_IN_CHAIN,
        // UNABLE_TO_VERIFY_LEAF_SIGNATURE, CERT_UNTRUSTED
        2 | 19 | 20 | 21 | 27 => {
            let detail = match issuer == subject {
                true => format!("{subject} is not trusted"),
                false => format!("{subject} was issued by {issuer}, which is not trusted"),
            };
            (Reason::CertificateUnknownCa, detail)
        }
        // HOSTNAME_MISMATCH, IP_ADDRESS_MISMATCH
        62 | 64 => (Reason::CertificateNameMismatch, mismatch(certificate, subject, name)),
        // UNABLE_TO_GET_CRL, CRL_HAS_EXPIRED, CERT_REVOKED
        3 => (Reason::CertificateInvalid, format!("the CRL file has no revocation list of {issuer}")),
        12 => (Reason::CertificateInvalid, format!("the CRL file's revocation list of {issuer} is out of date")),
        23 => (Reason::CertificateInvalid, format!("{subject} has been revoked by {issuer}")),
        // INVALID_PURPOSE
        26 => (Reason::CertificateInvalid, format!("{subject}: the certificate is not for servers")),
        _ => (Reason::CertificateInvalid, format!("{subject}: {}", result.error_string())),
    };
    because(reason, &detail)
}

/// What a certificate is for instead.
fn mismatch(certificate: Option<&Certificate>, subject: &str, name: &str) -> String {
    let names = || certificate.into_iter().flat_map(|c| &c.names).map(|n| n.as_str());
    if name.parse::<IpAddr>().is_ok() {
        // An address only counts as one (RFC 9110 §4.3.5): had it been in the list as that, it would fit.
        if names().any(|n| n == name) {
            return format!("the certificate has {name} only as a DNS name, not as an IP address");
        }
        let common_name = format!("CN={name}");
        if subject.split(", ").any(|part| part == common_name) {
            return format!("the certificate has {name} only as its common name, not as an IP address");
        }
    }
    let few: Vec<&str> = names().take(4).collect();
    let few = if few.is_empty() { subject.to_owned() } else { few.join(", ") };
    format!("it is for {few}, not for {name}")
}

/// Whose certificate may be meant by an alert.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    /// Whether the server asked for a client's certificate.
    pub asked: bool,
    /// Whether the client has one.
    pub identity: bool,
}

/// What an alert of the other side (RFC 8446 §6.2) says of the client's certificate, or of the want of
/// one, if it is about that.
fn refused_certificate(alert: u8, shown: Shown) -> Option<&'static str> {
    Some(match (alert, shown.identity) {
        _ if !shown.asked => return None,
        // certificate_required; some brokers say that the certificate that they did not get is bad.
        (116, _) | (42, false) => "the broker demands a certificate of the client",
        // handshake_failure: TLS 1.2 has no other word for that (RFC 5246 §7.4.6).
        (40, false) => "the broker refused the handshake: it may demand a certificate of the client",
        (48, true) => "the broker does not trust the CA of the client's certificate",
        (45, true) => "to the broker the client's certificate has expired",
        (44, true) => "to the broker the client's certificate has been revoked",
        (43, true) => "the client's certificate is of a kind that the broker does not take",
        (42 | 46, true) => "the broker does not accept the client's certificate",
        (49, true) => "the broker accepts the client's certificate, but does not let it in",
        _ => return None,
    })
}

/// What an alert of the other side means, be it in the handshake or later.
pub(super) fn alert(alert: u8, shown: Shown, tls: &Tls, name: &str) -> Cause {
    if let Some(detail) = refused_certificate(alert, shown) {
        return because(Reason::ClientCertificateRefused, detail);
    }
    let detail = match alert {
        40 => format!("{NO_CIPHER}: the broker takes none of the ciphers, curves and signatures offered"),
        70 => old(tls),
        71 => format!("{NO_CIPHER}: the broker demands stronger ones than are offered"),
        112 => format!("{NO_HOST} of the name {name} (SNI)"),
        120 => format!("{NO_PROTOCOL} = {:?}", tls.alpn),
        other => format!("the broker refused: {}", alert_name(other)),
    };
    because(Reason::TlsFailed, &detail)
}

/// Every version that is offered is too new for it.
fn old(tls: &Tls) -> String {
    match tls.min_version {
        TlsMinimum::V1_2 => format!("{OLD} 1.1 at most"),
        TlsMinimum::V1_3 => format!("{OLD} 1.2 at most, and tls_min is \"1.3\""),
    }
}

const NO_CIPHER: &str = "no cipher in common";
const NO_HOST: &str = "the broker knows no host";
const NO_PROTOCOL: &str = "the broker takes none of alpn";
const OLD: &str = "the broker speaks TLS";
const NO_TLS_PORT: &str = "(it may be full, or this be no TLS port)";

/// What two sides of a handshake may not have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Apart {
    /// There may be no TLS at that port at all.
    Port,
    Version,
    Cipher,
    Protocol,
    /// The server has no host of the name that it was asked for.
    Host,
}

impl Apart {
    /// What the words of a failure of TLS are about, if they are about that.
    pub fn told(detail: &str) -> Option<Apart> {
        let begins = |words| detail.starts_with(words);
        Some(match () {
            () if detail.ends_with(NO_TLS_PORT) => Apart::Port,
            () if begins(OLD) => Apart::Version,
            () if begins(NO_CIPHER) => Apart::Cipher,
            () if begins(NO_PROTOCOL) => Apart::Protocol,
            () if begins(NO_HOST) => Apart::Host,
            () => return None,
        })
    }
}

/// An alert's name (RFC 8446 §6).
fn alert_name(alert: u8) -> String {
    let name = match alert {
        10 => "unexpected message",
        20 => "bad record MAC",
        22 => "record overflow",
        42 => "bad certificate",
        43 => "unsupported certificate",
        44 => "certificate revoked",
        45 => "certificate expired",
        46 => "certificate unknown",
        47 => "illegal parameter",
        48 => "unknown CA",
        49 => "access denied",
        50 => "decode error",
        51 => "decrypt error",
        80 => "internal error",
        86 => "inappropriate fallback",
        90 => "user canceled",
        109 => "missing extension",
        110 => "unsupported extension",
        113 => "bad certificate status response",
        115 => "unknown PSK identity",
        116 => "certificate required",
        other => return format!("alert {other}"),
    };
    name.to_owned()
}

/// The alert of the other side that is in an error of OpenSSL, if any: its `SSL_R_*` code is the alert's
/// number plus 1,000 (sslerr.h).
pub(super) fn alert_in(error: &ssl::Error) -> Option<u8> {
    codes(error).find_map(|code| u8::try_from(code - 1000).ok())
}

fn codes(error: &ssl::Error) -> impl Iterator<Item = i32> + '_ {
    error.ssl_error().into_iter().flat_map(|stack| stack.errors()).map(|e| e.reason_code())
}

/// What ended a handshake that no certificate and no alert ended. `has_answered` is whether the server's
/// hello came (RFC 8446 §4.1.3): until then nothing shows that it speaks TLS.
pub(super) fn broken(error: &ssl::Error, has_answered: bool, tls: &Tls) -> Cause {
    if let Some(error) = error.io_error() {
        return match (reach::reason(error), has_answered) {
            (Reason::ConnectionReset, false) => {
                because(Reason::ConnectionReset, &format!("by the server instead of an answer in TLS {NO_TLS_PORT}"))
            }
            (Reason::ConnectionReset, true) => because(
                Reason::ConnectionReset,
                "in the middle of the TLS handshake, by the server or on the way there",
            ),
            _ => because(Reason::TlsFailed, &format!("in the TLS handshake: {}", reach::words(error))),
        };
    }
    let closed = match has_answered {
        true => "closed by the server in the middle of the TLS handshake".to_owned(),
        false => format!("closed by the server instead of an answer in TLS {NO_TLS_PORT}"),
    };
    let Some(stack) = error.ssl_error() else { return because(Reason::ConnectionLost, &closed) };
    match codes(error).next() {
        // BAD_PACKET_LENGTH…, HTTP_REQUEST, HTTPS_PROXY_REQUEST, PACKET_LENGTH_TOO_LONG, UNKNOWN_PROTOCOL,
        // WRONG_VERSION_NUMBER: the first bytes are no TLS record.
        Some(155 | 156 | 198 | 252 | 267) => because(Reason::NotTls, "the server answered, but not in TLS"),
        // UNEXPECTED_EOF_WHILE_READING
        Some(294) => because(Reason::ConnectionLost, &closed),
        // UNSUPPORTED_PROTOCOL, WRONG_SSL_VERSION: its hello names a version that was not offered.
        Some(258 | 266) => because(Reason::TlsFailed, &old(tls)),
        _ => because(Reason::TlsFailed, &stack_words(stack)),
    }
}

/// Why a TLS stream that stood ended with this error of OpenSSL.
pub(super) fn lost(error: &ssl::Error, shown: Shown, tls: &Tls, name: &str) -> Cause {
    if let Some(number) = alert_in(error) {
        return alert(number, shown, tls, name);
    }
    match (codes(error).next(), error.ssl_error()) {
        // UNEXPECTED_EOF_WHILE_READING
        (Some(294), _) | (_, None) => cut_off(),
        (_, Some(stack)) => because(Reason::TlsFailed, &stack_words(stack)),
    }
}

/// Why a TLS stream that stood ended with what is below it (RFC 8446 §6.1).
pub(super) fn cut_off() -> Cause {
    because(Reason::ConnectionLost, "the broker closed the connection without taking leave in TLS")
}

/// OpenSSL's words, without files and line numbers.
pub(super) fn stack_words(stack: &ErrorStack) -> String {
    let words = stack.errors().iter().filter_map(|e| e.reason()).collect::<Vec<_>>().join("; ");
    if words.is_empty() { "no reason given".into() } else { Scrubbed::new(&words).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_a_refusal_of_the_certificate_only_where_it_can_be_about_that() {
        let refused = |alert, identity| refused_certificate(alert, Shown { asked: true, identity }).is_some();
        for alert in [42, 43, 44, 45, 46, 48, 49, 116] {
            assert!(refused(alert, true), "{alert}");
            assert!(refused_certificate(alert, Shown { asked: false, identity: true }).is_none(), "{alert}");
        }
        for alert in [40, 42, 116] {
            assert!(refused(alert, false), "{alert}");
        }
        // Without a certificate none can be of an unknown CA; with one, a handshake fails for anything.
        for alert in [48, 45, 49] {
            assert!(!refused(alert, false), "{alert}");
        }
        for alert in [10, 20, 22, 40, 47, 50, 51, 70, 71, 80, 90, 110, 112, 115, 120] {
            assert!(!refused(alert, true) && (alert == 40 || !refused(alert, false)), "{alert}");
        }
    }

    #[test]
    fn an_address_that_is_only_a_name_is_told_so() {
        let certificate = |subject: &str, names: &[&str]| Certificate {
            subject: Scrubbed::new(subject),
            issuer: Scrubbed::new("CN=x"),
            names: names.iter().map(|n| Scrubbed::new(n)).collect(),
            not_before: None,
            not_after: None,
        };
        for (subject, names, name, words) in [
            (
                "CN=b",
                &["127.0.0.1"][..],
                "127.0.0.1",
                "the certificate has 127.0.0.1 only as a DNS name, not as an IP address",
            ),
            ("O=x, CN=::1", &[], "::1", "the certificate has ::1 only as its common name, not as an IP address"),
            ("CN=b", &["10.0.0.1"], "127.0.0.1", "it is for 10.0.0.1, not for 127.0.0.1"),
            ("CN=b", &[], "127.0.0.1", "it is for CN=b, not for 127.0.0.1"),
            ("CN=b", &["a.example"], "b.example", "it is for a.example, not for b.example"),
        ] {
            assert_eq!(mismatch(Some(&certificate(subject, names)), subject, name), words);
        }
    }
}
