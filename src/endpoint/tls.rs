//! Defines the TLS handshake of a probe, verified as strictly as Paho does it later, and what its failures mean; client certificates are the clients' own matter.

use std::{
    io,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use chrono::Utc;
use openssl::{
    error::ErrorStack,
    ssl::{self, Ssl, SslContext, SslMethod, SslRef, SslVerifyMode},
    stack::StackRef,
    x509::{X509, X509VerifyResult},
};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

use super::{cause, certificate, reach};
use crate::{
    event::{Cause, Certificate, Reason, Session},
    fleet::Tls,
    text::Scrubbed,
};

/// A handshake that is ready to begin.
pub(super) struct Setup {
    ssl: Ssl,
    verification: Arc<Mutex<Verification>>,
    host: Box<str>,
    insecure: bool,
}

/// What OpenSSL's verification of the chain said.
#[derive(Default)]
struct Verification {
    refused: Option<(X509VerifyResult, u32)>,
    /// The chain as far as it was built.
    chain: Vec<X509>,
}

/// Reads the trust anchors, off the runtime's threads: the system's store takes OpenSSL some 20 ms.
pub(super) async fn setup(tls: Arc<Tls>, host: &str) -> Result<Setup, Cause> {
    let host = host.into();
    let built = tokio::task::spawn_blocking(move || build(&tls, host)).await;
    built.unwrap_or_else(|e| Err(cause(Reason::Internal, &e.to_string())))
}

fn build(tls: &Tls, host: Box<str>) -> Result<Setup, Cause> {
    let internal = |e: ErrorStack| cause(Reason::Internal, &format!("OpenSSL: {}", stack_words(&e)));
    let verification = Arc::new(Mutex::new(Verification::default()));
    // As Paho: TLS_client_method, the library's own limits, and no flags on the trust store.
    let mut context = SslContext::builder(SslMethod::tls_client()).map_err(internal)?;
    match &tls.ca_file {
        Some(file) if tls.insecure => context.set_ca_file(file).unwrap_or_default(),
        Some(file) => context.set_ca_file(file).map_err(|e| {
            let why = match std::fs::metadata(file) {
                Err(error) => reach::words(&error),
                Ok(_) => format!("no certificates in PEM ({})", stack_words(&e)),
            };
            cause(Reason::CaFileUnusable, &format!("{}: {why}", file.display()))
        })?,
        None => context.set_default_verify_paths().map_err(internal)?,
    }
    if !tls.alpn.is_empty() {
        let mut offer = Vec::new();
        for name in &tls.alpn {
            let length = u8::try_from(name.len()).ok().filter(|n| *n > 0);
            offer.push(length.ok_or_else(|| cause(Reason::Internal, "an ALPN name has 1 to 255 bytes"))?);
            offer.extend_from_slice(name.as_bytes());
        }
        context.set_alpn_protos(&offer).map_err(internal)?;
    }
    let said = verification.clone();
    let insecure = tls.insecure;
    let mode = if insecure { SslVerifyMode::NONE } else { SslVerifyMode::PEER };
    context.set_verify_callback(mode, move |is_ok, store| {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_ok && said.refused.is_none() {
            said.refused = Some((store.error(), store.error_depth()));
        }
        if let Some(chain) = store.chain() {
            said.chain = chain.iter().map(|c| c.to_owned()).collect();
        }
        is_ok || insecure
    });
    let mut ssl = Ssl::new(&context.build()).map_err(internal)?;
    match host.parse::<IpAddr>() {
        Ok(ip) => ssl.param_mut().set_ip(ip).map_err(internal)?,
        Err(_) => {
            ssl.set_hostname(&host).map_err(internal)?;
            ssl.param_mut().set_host(&host).map_err(internal)?;
        }
    }
    Ok(Setup { ssl, verification, host, insecure })
}

/// Shakes hands. What was learnt goes into `session`, even if it fails.
pub(super) async fn handshake(
    setup: Setup,
    stream: TcpStream,
    session: &mut Option<Session>,
) -> Result<SslStream<TcpStream>, Cause> {
    let Setup { ssl, verification, host, insecure } = setup;
    let mut stream = SslStream::new(ssl, stream).map_err(|e| cause(Reason::Internal, &stack_words(&e)))?;
    let done = Pin::new(&mut stream).connect().await;
    let said = std::mem::take(&mut *verification.lock().unwrap_or_else(PoisonError::into_inner));
    let chain: Vec<Certificate> = said.chain.iter().map(|c| certificate::read(c)).collect();
    let refused = said.refused.map(|(result, depth)| refusal(result, chain.get(depth as usize), &host));
    let learnt = Session {
        protocol: None,
        cipher: None,
        alpn: None,
        anchor: None,
        overlooked: refused.clone().filter(|_| insecure),
        wants_certificate: false,
        chain,
    };
    let trusted = refused.is_none() && !insecure;
    let ssl = stream.ssl();
    let anchor = ssl.peer_cert_chain().filter(|_| trusted).and_then(|sent| anchor(&said.chain, sent));
    let told = match (done, refused) {
        (Ok(()), _) => {
            *session = Some(Session {
                protocol: Some(ssl.version_str()),
                cipher: ssl.current_cipher().map(|c| Scrubbed::new(c.name())),
                alpn: ssl.selected_alpn_protocol().map(Scrubbed::from_bytes),
                anchor,
                ..learnt
            });
            return Ok(stream);
        }
        (Err(error), _) if (trusted || insecure) && !said.chain.is_empty() && wants_certificate(&error) => {
            *session = Some(Session { wants_certificate: true, anchor, ..learnt });
            return Ok(stream);
        }
        (Err(_), Some(refused)) if !insecure => refused,
        (Err(error), _) => broken(&error, has_answered(ssl)),
    };
    if !learnt.chain.is_empty() {
        *session = Some(learnt);
    }
    Err(told)
}

/// The end of a verified chain, and what of it the server did not send: without that, the end alone
/// would not verify it.
fn anchor(chain: &[X509], sent: &StackRef<X509>) -> Option<Arc<str>> {
    let (end, way) = chain.split_last()?;
    let unsent = way.iter().filter(|c| !sent.iter().any(|s| s == c.as_ref()));
    let mut pem = Vec::new();
    for certificate in [end].into_iter().chain(unsent) {
        pem.extend(certificate.to_pem().ok()?);
    }
    String::from_utf8(pem).ok().map(Arc::from)
}

/// What a verification error means. The numbers are OpenSSL's `X509_V_ERR_*` (x509_vfy.h), which are
/// part of its stable interface.
fn refusal(result: X509VerifyResult, certificate: Option<&Certificate>, host: &str) -> Cause {
    let subject = certificate.map(|c| c.subject.as_str()).unwrap_or("the certificate");
    let day = |time: Option<chrono::DateTime<Utc>>| time.map_or("?".into(), |t| t.format("%Y-%m-%d").to_string());
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
        // UNABLE_TO_GET_ISSUER_CERT (also _LOCALLY), SELF_SIGNED_CERT_IN_CHAIN,
        // UNABLE_TO_VERIFY_LEAF_SIGNATURE, CERT_UNTRUSTED
        2 | 19 | 20 | 21 | 27 => {
            let issuer = certificate.map_or("its issuer", |c| c.issuer.as_str());
            let detail = match issuer == subject {
                true => format!("{subject} is not trusted"),
                false => format!("{subject} was issued by {issuer}, which is not trusted"),
            };
            (Reason::CertificateUnknownCa, detail)
        }
        // HOSTNAME_MISMATCH, IP_ADDRESS_MISMATCH
        62 | 64 => {
            let names: Vec<&str> = certificate.into_iter().flat_map(|c| &c.names).map(|n| n.as_str()).take(4).collect();
            let names = if names.is_empty() { subject.to_owned() } else { names.join(", ") };
            (Reason::CertificateNameMismatch, format!("it is for {names}, not for {host}"))
        }
        _ => (Reason::CertificateInvalid, format!("{subject}: {}", result.error_string())),
    };
    cause(reason, &detail)
}

/// OpenSSL's `SSL_R_*` codes of a failed handshake (sslerr.h); an alert from the other side is its
/// number (RFC 8446 §6) plus 1,000.
fn codes(error: &ssl::Error) -> impl Iterator<Item = i32> + '_ {
    error.ssl_error().into_iter().flat_map(|stack| stack.errors()).map(|e| e.reason_code())
}

/// Alerts that answer a missing client certificate: bad_certificate, handshake_failure (TLS 1.2),
/// certificate_required (TLS 1.3). Asked only once the server's own chain has been verified, after
/// which handshake_failure has no other cause (RFC 5246 §7.4.6).
fn wants_certificate(error: &ssl::Error) -> bool {
    codes(error).any(|code| matches!(code, 1040 | 1042 | 1116))
}

/// Whether the error of a later read is the alert certificate_required: with TLS 1.3 the client's end
/// of the handshake is done before the server has seen that nothing was sent (RFC 8446 §4.4.2.4).
pub(super) fn wanted_certificate(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|e| e.downcast_ref::<ssl::Error>());
    error.is_some_and(|e| codes(e).any(|code| code == 1116))
}

/// Whether the server's hello came (RFC 8446 §4.1.3): until then nothing shows that it speaks TLS.
fn has_answered(ssl: &SslRef) -> bool {
    let mut random = [0; 32];
    ssl.server_random(&mut random);
    random != [0; 32]
}

fn broken(error: &ssl::Error, has_answered: bool) -> Cause {
    if let Some(error) = error.io_error() {
        return match (reach::reason(error), has_answered) {
            (Reason::ConnectionReset, false) => {
                cause(Reason::ConnectionReset, "by the server instead of an answer in TLS (it may be no TLS port)")
            }
            (Reason::ConnectionReset, true) => {
                cause(Reason::ConnectionReset, "in the middle of the TLS handshake, by the server or on the way there")
            }
            _ => cause(Reason::TlsFailed, &format!("in the TLS handshake: {}", reach::words(error))),
        };
    }
    let closed = match has_answered {
        true => "closed by the server in the middle of the TLS handshake",
        false => "closed by the server instead of an answer in TLS (it may be no TLS port)",
    };
    let Some(stack) = error.ssl_error() else { return cause(Reason::TlsFailed, closed) };
    match codes(error).next() {
        // BAD_PACKET_LENGTH…, HTTP_REQUEST, HTTPS_PROXY_REQUEST, PACKET_LENGTH_TOO_LONG, UNKNOWN_PROTOCOL,
        // WRONG_VERSION_NUMBER: the first bytes are no TLS record.
        Some(155 | 156 | 198 | 252 | 267) => cause(Reason::NotTls, "the server answered, but not in TLS"),
        // UNEXPECTED_EOF_WHILE_READING
        Some(294) => cause(Reason::TlsFailed, closed),
        _ => cause(Reason::TlsFailed, &stack_words(stack)),
    }
}

/// OpenSSL's words, without files and line numbers.
fn stack_words(stack: &ErrorStack) -> String {
    let words = stack.errors().iter().filter_map(|e| e.reason()).collect::<Vec<_>>().join("; ");
    if words.is_empty() { "no reason given".into() } else { words }
}
