//! Defines how what Paho tells of a failure becomes a reason and its detail; pure.

use std::io;

use paho_mqtt as mqtt;
use rustix::io::Errno;

use super::trouble::{Fault, Words};
use crate::{event::Cause, event::Reason, fleet::Protocol, text::Scrubbed};

fn cause(reason: Reason, detail: &str) -> Cause {
    Cause { reason, detail: Scrubbed::new(detail) }
}

/// What lies between this host and the broker, as far as a failure may be due to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    pub proxy: bool,
    pub tls: bool,
    /// Whether the client has a certificate of its own.
    pub identity: bool,
}

/// Why a connection that was up is lost.
pub(super) fn lost(fault: Option<Fault>) -> Cause {
    let Some(Fault::System { errno, .. }) = fault else {
        return match fault {
            Some(Fault::PingTimeout) => {
                cause(Reason::KeepAliveTimeout, "no PINGRESP within one and a half times the keep alive")
            }
            Some(Fault::Alert { ours, words }) => alert(ours, words, true),
            // An orderly end of the stream is no error to the system, so there is no line about it.
            _ => cause(Reason::ConnectionLost, "the broker closed the connection"),
        };
    };
    match Errno::from_raw_os_error(errno) {
        Errno::PIPE => cause(Reason::ConnectionLost, "the broker closed the connection"),
        _ => cause(Reason::ConnectionLost, &words(errno)),
    }
}

/// Why the broker, speaking MQTT 5.0, ended a connection. `words` is its reason string, if any.
pub(super) fn server_disconnect(code: mqtt::ReasonCode, words: Option<String>) -> Cause {
    let detail = words.unwrap_or_default();
    if code.is_err() {
        return cause(Reason::from_code(code as u32 as u8), &detail);
    }
    let detail = if detail.is_empty() { "the broker said goodbye" } else { &detail };
    cause(Reason::ConnectionLost, detail)
}

/// Why a connect failed. `rc` is what the failure callback was given: above 0 the broker's code,
/// else Paho's own.
pub(super) fn refused(protocol: Protocol, way: Way, rc: i32, error: &mqtt::Error, fault: Option<Fault>) -> Cause {
    if let (Ok(code @ 1..), _) = (u8::try_from(rc), error) {
        // Paho does not hand on the CONNACK's properties, so there is no reason string to be had.
        return match protocol {
            Protocol::V311 if code > 5 => cause(Reason::OtherBrokerReason, &format!("CONNACK return code {code}")),
            Protocol::V311 => cause(Reason::from_return_code(code), ""),
            Protocol::V5 if Reason::from_code(code) == Reason::OtherBrokerReason => {
                cause(Reason::OtherBrokerReason, &format!("CONNACK reason code 0x{code:02x}"))
            }
            Protocol::V5 => cause(Reason::from_code(code), ""),
        };
    }
    match fault {
        // A broker of MQTT 3 answers in its own way, which Paho, at MQTT 5.0, takes for no code at all.
        Some(Fault::Refused(code)) => {
            let reason = Reason::from_return_code(code);
            let is_version = reason == Reason::UnsupportedProtocolVersion;
            return cause(reason, if is_version { "it answers in MQTT 3" } else { "" });
        }
        Some(Fault::System { errno, .. }) if !way.tls && is_hang_up(errno) => return unanswered(way),
        Some(Fault::System { errno, .. }) => return system(errno),
        Some(Fault::Alert { ours, words }) if way.tls => return alert(ours, words, way.identity),
        Some(Fault::WrongName) if way.tls => {
            return cause(Reason::TlsFailed, "the broker's certificate is for another host name");
        }
        Some(Fault::NoWebSocket { status }) => {
            return cause(Reason::WebSocketRefused, &format!("HTTP status {status}"));
        }
        _ => {}
    }
    match error {
        mqtt::Error::TcpConnectTimeout => cause(Reason::ConnectTimeout, ""),
        mqtt::Error::TcpTlsConnectFailure if way.proxy && fault == Some(Fault::Proxy) => {
            cause(Reason::ProxyRefused, "the proxy did not open the way to the broker")
        }
        mqtt::Error::TcpTlsConnectFailure if way.tls && fault == Some(Fault::Handshake) => {
            cause(Reason::TlsFailed, "the handshake was cut short (it may be no TLS port)")
        }
        mqtt::Error::TcpTlsConnectFailure | mqtt::Error::TcpConnectCompletionFailure
            if way.tls && fault == Some(Fault::Secured) =>
        {
            let perhaps = if way.identity { "it may not accept" } else { "it may demand" };
            let detail = format!("the broker hung up right after the handshake: {perhaps} the client's certificate");
            cause(Reason::TlsFailed, &detail)
        }
        mqtt::Error::TcpTlsConnectFailure if way.tls && way.identity => cause(
            Reason::TlsFailed,
            "no connection, or the client's certificate, its key or the key's password is wrong",
        ),
        mqtt::Error::TcpTlsConnectFailure if way.proxy => {
            cause(Reason::ConnectionRefused, "the proxy is refusing or unreachable")
        }
        // Paho keeps to itself what the socket said.
        mqtt::Error::TcpTlsConnectFailure => cause(Reason::ConnectionRefused, "refused or unreachable"),
        mqtt::Error::TcpConnectCompletionFailure => unanswered(way),
        mqtt::Error::SocketError(_) => cause(Reason::ConnectionLost, "the socket failed during the connect"),
        other => cause(Reason::Internal, &format!("Paho: {other}")),
    }
}

/// Whether a connect that failed with this error may have had nothing to do with it.
pub(super) fn may_be_anothers(error: &mqtt::Error, fault: Option<Fault>) -> bool {
    matches!(error, mqtt::Error::SocketError(_)) && !matches!(fault, Some(Fault::NoWebSocket { .. }))
}

/// The broker took the connection and closed it, in order or by a reset, where a CONNACK was due.
fn unanswered(way: Way) -> Cause {
    let what = "the broker closed the connection instead of answering CONNECT";
    let detail = if way.tls { what.to_owned() } else { format!("{what} (it may want TLS at this port, or be full)") };
    cause(Reason::ConnectionLost, &detail)
}

fn is_hang_up(errno: i32) -> bool {
    matches!(Errno::from_raw_os_error(errno), Errno::CONNRESET | Errno::PIPE | Errno::CONNABORTED)
}

/// Why TLS ended with an alert (RFC 8446 §6.2). What the broker says of the client's certificate, or of
/// the want of one (`identity`), is its refusal; of all else the next try may see another end.
fn alert(ours: bool, words: Words, identity: bool) -> Cause {
    let refused = if ours { None } else { refused_certificate(words.bytes(), identity) };
    if let Some(detail) = refused {
        return cause(Reason::ClientCertificateRefused, detail);
    }
    let name = Scrubbed::from_bytes(words.bytes());
    let detail = match (ours, words.bytes()) {
        (true, b"unknown CA") => "nobody trusted here has signed the broker's certificate".to_owned(),
        (true, b"certificate expired") => "the broker's certificate has expired".to_owned(),
        (true, b"bad certificate") => "the broker's certificate is not valid, or not yet".to_owned(),
        (true, _) => format!("the broker's part of the handshake is not accepted: {}", name.as_str()),
        (false, _) => format!("the broker refused: {}", name.as_str()),
    };
    cause(Reason::TlsFailed, &detail)
}

/// What a broker's alert says of the client's certificate, if it is about that.
fn refused_certificate(words: &[u8], identity: bool) -> Option<&'static str> {
    Some(match (words, identity) {
        // OpenSSL 3.0 has no name yet for what TLS 1.3 says then (alert 116); some brokers say that the
        // certificate that they did not get is bad.
        (b"certificate required", _) | (b"unknown" | b"bad certificate", false) => {
            "the broker demands a certificate of the client"
        }
        // TLS 1.2 has no other word for that (RFC 5246 §7.4.6).
        (b"handshake failure", false) => "the broker refused the handshake: it may demand a certificate of the client",
        (b"unknown CA", true) => "the broker does not trust the CA of the client's certificate",
        (b"certificate expired", true) => "to the broker the client's certificate has expired",
        (b"certificate revoked", true) => "to the broker the client's certificate has been revoked",
        (b"unsupported certificate", true) => "the client's certificate is of a kind that the broker does not take",
        (b"bad certificate" | b"certificate unknown", true) => "the broker does not accept the client's certificate",
        (b"access denied", true) => "the broker accepts the client's certificate, but does not let it in",
        _ => return None,
    })
}

/// Why a subscription failed, with the broker's reason string where it gave one.
pub(super) fn subscription(error: &mqtt::Error) -> Scrubbed {
    match error {
        mqtt::Error::ReasonCode(code, properties) => {
            let words = Reason::from_code(*code as u32 as u8).words();
            match properties.get_string(mqtt::PropertyCode::ReasonString) {
                Some(said) if !said.is_empty() => Scrubbed::new(&format!("{words}: {said}")),
                _ => Scrubbed::new(words),
            }
        }
        _ => Scrubbed::default(),
    }
}

/// What a failed system call says about a connect.
pub(super) fn system(errno: i32) -> Cause {
    let reason = match Errno::from_raw_os_error(errno) {
        Errno::CONNREFUSED => return cause(Reason::ConnectionRefused, ""),
        Errno::NETUNREACH | Errno::HOSTUNREACH | Errno::NETDOWN | Errno::HOSTDOWN | Errno::ADDRNOTAVAIL => {
            Reason::NetworkUnreachable
        }
        Errno::TIMEDOUT => Reason::ConnectTimeout,
        Errno::CONNRESET | Errno::PIPE | Errno::CONNABORTED => Reason::ConnectionLost,
        _ => Reason::Internal,
    };
    cause(reason, &words(errno))
}

/// The system's words for an error, without the number that the library adds.
fn words(errno: i32) -> String {
    let text = io::Error::from_raw_os_error(errno).to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_a_refusal_of_the_certificate_only_where_it_can_be_about_that() {
        let refused = |words: &str, identity| refused_certificate(words.as_bytes(), identity).is_some();
        for words in [
            "bad certificate",
            "unsupported certificate",
            "certificate revoked",
            "certificate expired",
            "certificate unknown",
            "unknown CA",
            "access denied",
            "certificate required",
        ] {
            assert!(refused(words, true), "{words}");
        }
        for words in ["handshake failure", "bad certificate", "certificate required", "unknown"] {
            assert!(refused(words, false), "{words}");
        }
        // Without a certificate none can be of an unknown CA; with one, a handshake fails for anything.
        for words in ["unknown CA", "certificate expired", "access denied"] {
            assert!(!refused(words, false), "{words}");
        }
        for words in ["handshake failure", "unknown"] {
            assert!(!refused(words, true), "{words}");
        }
        // What OpenSSL 3.0 says of the other alerts that end a connection.
        for words in [
            "unexpected message",
            "bad record mac",
            "record overflow",
            "illegal parameter",
            "decode error",
            "decrypt error",
            "protocol version",
            "insufficient security",
            "internal error",
            "user canceled",
            "unsupported extension",
            "unrecognized name",
            "unknown PSK identity",
            "no application protocol",
        ] {
            assert!(!refused(words, true) && !refused(words, false), "{words}");
        }
    }
}
