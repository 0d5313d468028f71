//! Defines how a line of Paho's log that is about no packet is read; pure, over any bytes, and it keeps nothing of what it reads.
//!
//! The formats are those of the `Log` calls in Paho C 1.3.16.

use std::ffi::c_int;

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// A system call failed.
    SocketError { socket: c_int, errno: c_int },
    /// No PINGRESP in time; Paho ends the connection next.
    PingTimeout,
    /// This thread begins another connect.
    Connecting,
    /// This thread asks a proxy for the way; nothing is said where it refuses.
    ProxyAsked,
    /// This thread is at a TLS handshake.
    Handshake,
    /// A TLS handshake is done; the host name is checked after it.
    HandshakeDone,
    /// The certificate is not for this host name, nor, unless this thread ends the connection next,
    /// for this address.
    WrongName,
    /// A TLS alert that ends a connection, sent by us or by the broker.
    Alert { ours: bool, words: &'a [u8] },
    /// The answer to this thread's request for a WebSocket is this HTTP status, which is none; the
    /// connection ends next.
    NoWebSocket { status: u16 },
    /// Nothing of interest.
    Other,
}

pub(super) fn parse(text: &[u8]) -> Line<'_> {
    if let Some(rest) = text.strip_prefix(b"Socket error ") {
        return socket_error(rest).unwrap_or(Line::Other);
    }
    // What follows holds the client ID, which may be long enough to have the end of the line cut.
    if text.starts_with(b"PINGRESP not received in keepalive interval for client ")
        || text.starts_with(b"PINGREQ still outstanding for client ")
    {
        return Line::PingTimeout;
    }
    if text.starts_with(b"Connecting to serverURI ") {
        return Line::Connecting;
    }
    if let Some(rest) = text.strip_prefix(b"SSL ") {
        return tls(rest);
    }
    if text.starts_with(b"X509_check_host for hostname ") {
        return Line::WrongName;
    }
    // The rest may hold the proxy's password.
    if text.starts_with(b"Proxy_connect: ") {
        return Line::ProxyAsked;
    }
    if let Some(rest) = text.strip_prefix(b"WebSocket HTTP rc ") {
        let status = int(rest).and_then(|(status, _)| status.try_into().ok());
        return status.map_or(Line::Other, |status| Line::NoWebSocket { status });
    }
    Line::Other
}

/// `alert write:fatal:unknown CA`, `state connect:…`, `handshake done …`.
fn tls(rest: &[u8]) -> Line<'_> {
    if let Some(alert) = rest.strip_prefix(b"alert ") {
        return match (alert.strip_prefix(b"write:fatal:"), alert.strip_prefix(b"read:fatal:")) {
            (Some(words), _) => Line::Alert { ours: true, words },
            (_, Some(words)) => Line::Alert { ours: false, words },
            _ => Line::Other,
        };
    }
    if rest.starts_with(b"handshake done ") {
        return Line::HandshakeDone;
    }
    if [&b"state "[..], b"connect:", b"handshake started "].iter().any(|step| rest.starts_with(step)) {
        return Line::Handshake;
    }
    Line::Other
}

/// `Connection refused(111) in connect for socket 15`. The words are the system's and may be in any
/// language, so it is read from its end; a cut line has none.
fn socket_error(text: &[u8]) -> Option<Line<'_>> {
    let at = rfind(text, b" for socket ")?;
    let (socket, b"") = int(&text[at + b" for socket ".len()..])? else { return None };
    let text = &text[..at];
    let text = &text[..rfind(text, b") in ")?];
    let (errno, b"") = int(&text[rfind(text, b"(")? + 1..])? else { return None };
    Some(Line::SocketError { socket, errno })
}

/// A decimal number at the front, and what follows it.
fn int(text: &[u8]) -> Option<(c_int, &[u8])> {
    let sign = usize::from(text.first() == Some(&b'-'));
    let digits = text[sign..].iter().take_while(|b| b.is_ascii_digit()).count();
    let (number, rest) = text.split_at(sign + digits);
    Some((std::str::from_utf8(number).ok()?.parse().ok()?, rest))
}

fn rfind(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).rposition(|w| w == what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn causes() {
        let line = b"Socket error Connection refused(111) in connect for socket 15";
        assert_eq!(parse(line), Line::SocketError { socket: 15, errno: 111 });
        let line = b"Socket error Connection reset by peer(104) in recv - getch for socket 7";
        assert_eq!(parse(line), Line::SocketError { socket: 7, errno: 104 });
        // Another message that opens alike.
        let line = b"Socket error for client identifier x, socket 7, peer address 1.2.3.4; ending connection";
        assert_eq!(parse(line), Line::Other);
        let line = b"PINGRESP not received in keepalive interval for client a on socket 7, disconnecting";
        assert_eq!(parse(line), Line::PingTimeout);
        assert_eq!(parse(b"Connecting to serverURI 127.0.0.1:1883 with MQTT version 5"), Line::Connecting);
        let line = b"SSL alert write:fatal:unknown CA";
        assert_eq!(parse(line), Line::Alert { ours: true, words: b"unknown CA" });
        let line = b"SSL alert read:fatal:certificate required";
        assert_eq!(parse(line), Line::Alert { ours: false, words: b"certificate required" });
        assert_eq!(parse(b"SSL alert write:warning:close notify"), Line::Other);
        assert_eq!(parse(b"SSL state connect:SSLv3/TLS write client hello:(NONE)"), Line::Handshake);
        assert_eq!(parse(b"SSL connect:error"), Line::Handshake);
        assert_eq!(parse(b"SSL handshake done write:unknown:unknown"), Line::HandshakeDone);
        assert_eq!(parse(b"X509_check_host for hostname a.example failed, rc 0"), Line::WrongName);
        assert_eq!(parse(b"Proxy_connect: \"CONNECT a:1 HTTP/1.1\r\n"), Line::ProxyAsked);
        assert_eq!(parse(b"WebSocket HTTP rc 404"), Line::NoWebSocket { status: 404 });
        assert_eq!(parse(b"WebSocket HTTP rc -x"), Line::Other);
        assert_eq!(parse(b"short"), Line::Other);
        assert_eq!(parse(b""), Line::Other);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(line in prop::collection::vec(any::<u8>(), 0..600)) {
            parse(&line);
        }

        #[test]
        fn near_misses_are_read_without_a_panic(head in "(Socket error |SSL |WebSocket HTTP rc |PINGRE){0,2}", tail in "[ -~]{0,80}") {
            parse(format!("{head}{tail}").as_bytes());
        }
    }
}
