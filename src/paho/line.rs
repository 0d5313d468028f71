//! Defines how one line of Paho's trace is read; pure, over any bytes, and it keeps nothing of what it reads.
//!
//! The formats are those of `Messages.c` and of the `Log` calls in Paho C 1.3.16. A line opens with a
//! time stamp of [`STAMP`] bytes and is cut after [`TEXT_MAX`] bytes of text.

use std::ffi::c_int;

/// The length of `20240101 123456.789 `.
const STAMP: usize = 20;

/// What Paho keeps of a line after the stamp (`MAX_FUNCTION_NAME_LENGTH` in `Log.c`).
const TEXT_MAX: usize = 256;

/// The longest client ID, in bytes, whose lines are never cut before what is read of them: the rest
/// is a socket number, and
/// ` <- PUBLISH msgid: 65535 qos: 0 retained: 0 payload len(23): mqfleet0123456789abcdef`.
pub(super) const ID_MAX: usize = TEXT_MAX - 11 - 84;

/// What the messages of our own probes say: the trace shows no topic, only how a payload begins, in 30
/// characters at most.
pub(super) const PROBE: &[u8] = b"mqfleet";

/// The digits after that in an echo's message.
const DIGITS: usize = 16;

/// What the message of an echo says.
pub(super) fn echo(number: u64) -> Vec<u8> {
    let mut payload = PROBE.to_vec();
    payload.extend(format!("{number:0DIGITS$x}").bytes());
    payload
}

/// A line, as far as its client is not needed to read it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// It opens with a socket number, as those about a packet do. The rest begins with the client ID,
    /// which may hold any text, so that only who knows the ID can read on: see [`packet`].
    Packet { socket: c_int, rest: &'a [u8] },
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

/// A packet of a client whose ID is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packet {
    Connect,
    PingReq {
        sent: bool,
    },
    PingResp,
    /// A message of our own probes.
    Probe {
        id: u16,
        sent: bool,
    },
    /// One of the client's own messages at QoS 1 or 2.
    Publish {
        id: u16,
        sent: bool,
    },
    /// The first answer to a message: PUBACK, or PUBREC at QoS 2.
    PubAck {
        id: u16,
    },
    /// The message of an echo on its way out.
    Echo {
        number: u64,
        sent: bool,
    },
    /// What reads like the message of an echo that came back; whose it is the number tells.
    Echoed {
        number: u64,
    },
    /// Another message from the broker.
    Message,
    /// Another packet from the broker.
    Received,
}

pub(super) fn parse(line: &[u8]) -> Line<'_> {
    let Some(text) = line.get(STAMP..) else { return Line::Other };
    if let Some((socket, rest)) = int(text) {
        return match rest.strip_prefix(b" ") {
            Some(rest) if socket >= 0 => Line::Packet { socket, rest },
            _ => Line::Other,
        };
    }
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

/// The code of a CONNACK that refuses, at the end of its line. A client ID cannot feign one: something
/// follows it in every line that is not cut. Nor can a message, which only ends lines that say so.
pub(super) fn refusal(rest: &[u8]) -> Option<u8> {
    // Asked of every line: this tells nearly all of them at once.
    let digits = rest.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    let (before, code) = rest.split_at(rest.len() - digits);
    if !before.ends_with(b" <- CONNACK rc: ") || rfind(before, b" payload len(").is_some() {
        return None;
    }
    u8::try_from(int(code)?.0).ok().filter(|code| *code > 0)
}

/// Reads the rest of a packet's line, given the client's ID; `None` where it is another client's or
/// about nothing of interest.
pub(super) fn packet(rest: &[u8], client_id: &[u8]) -> Option<Packet> {
    let rest = rest.strip_prefix(client_id)?.strip_prefix(b" ")?;
    if rest.starts_with(b"-> CONNECT ") {
        return Some(Packet::Connect);
    }
    if rest == b"<- PINGRESP" {
        return Some(Packet::PingResp);
    }
    if let Some(rest) = rest.strip_prefix(b"-> PINGREQ (") {
        return (int(rest)?.1 == b")").then_some(Packet::PingReq { sent: rest == b"0)" });
    }
    if let Some(rest) = rest.strip_prefix(b"<- PUBACK msgid: ").or(rest.strip_prefix(b"<- PUBREC msgid: ")) {
        let (id, b"") = int(rest)? else { return None };
        return Some(Packet::PubAck { id: id.try_into().ok()? });
    }
    if let Some(rest) = rest.strip_prefix(b"<- PUBLISH ") {
        return Some(echoed(rest).map_or(Packet::Message, |number| Packet::Echoed { number }));
    }
    if rest.starts_with(b"<- ") {
        return Some(Packet::Received);
    }
    if let Some(rest) = rest.strip_prefix(b"-> PUBLISH qos: 0 retained: 0 rc: ") {
        let (rc, rest) = int(rest)?;
        return Some(Packet::Echo { number: echo_number(rest)?, sent: rc == 0 });
    }
    if let Some(rest) = rest.strip_prefix(b"-> PUBLISH msgid: ") {
        let (id, rest) = int(rest)?;
        let id = id.try_into().ok()?;
        let (qos, rest) = int(rest.strip_prefix(b" qos: ")?)?;
        let (_, rest) = int(rest.strip_prefix(b" retained: ")?)?;
        let (rc, rest) = int(rest.strip_prefix(b" rc ")?)?;
        let (_, payload) = int(rest.strip_prefix(b" payload len(")?)?;
        let (sent, is_probe) = (rc == 0, qos == 1 && payload.strip_prefix(b"): ") == Some(PROBE));
        return Some(if is_probe { Packet::Probe { id, sent } } else { Packet::Publish { id, sent } });
    }
    None
}

/// The number of an echo, from what follows `<- PUBLISH `. A retained message is none: ours never are.
fn echoed(rest: &[u8]) -> Option<u64> {
    let (_, rest) = int(rest.strip_prefix(b"msgid: ")?)?;
    echo_number(rest.strip_prefix(b" qos: 0 retained: 0")?)
}

/// ` payload len(23): mqfleet0123456789abcdef`, and nothing after it.
fn echo_number(rest: &[u8]) -> Option<u64> {
    let (length, payload) = int(rest.strip_prefix(b" payload len(")?)?;
    let digits = payload.strip_prefix(b"): ")?.strip_prefix(PROBE)?;
    let whole = length as usize == PROBE.len() + DIGITS && digits.len() == DIGITS;
    if !whole || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
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

    fn stamped(text: &str) -> Vec<u8> {
        format!("20240101 123456.789 {text}").into_bytes()
    }

    #[test]
    fn a_refusal_is_the_end_of_its_line() {
        for (rest, code) in [
            (&b"press <- CONNACK rc: 1"[..], Some(1)),
            (b"press <- CONNACK rc: 135", Some(135)),
            (b"press <- CONNACK rc: 0", None),
            (b"press <- CONNACK rc: -1", None),
            (b"press <- CONNACK rc: ", None),
            (b"x <- CONNACK rc: 1 <- PINGRESP", None),
            (b"x <- PUBLISH msgid: 0 qos: 0 retained: 0 payload len(19): y <- CONNACK rc: 135", None),
            (b"x <- CONNACK rc: 1 <- CONNACK rc: 5", Some(5)),
        ] {
            assert_eq!(refusal(rest), code, "{}", String::from_utf8_lossy(rest));
        }
    }

    /// Reads a whole line as the tap does.
    fn read(text: &str, id: &str) -> Option<(c_int, Packet)> {
        let line = stamped(text);
        let Line::Packet { socket, rest } = parse(&line) else { return None };
        Some((socket, packet(rest, id.as_bytes())?))
    }

    #[test]
    fn packets_of_a_client() {
        assert_eq!(read("15 good -> CONNECT version 4 clean: 1 (0)", "good"), Some((15, Packet::Connect)));
        assert_eq!(read("15 good -> PINGREQ (0)", "good"), Some((15, Packet::PingReq { sent: true })));
        assert_eq!(read("15 good -> PINGREQ (-1)", "good"), Some((15, Packet::PingReq { sent: false })));
        assert_eq!(read("15 good <- PINGRESP", "good"), Some((15, Packet::PingResp)));
        assert_eq!(read("15 good <- PUBACK msgid: 65535", "good"), Some((15, Packet::PubAck { id: 65535 })));
        assert_eq!(read("7 good <- DISCONNECT (142)", "good"), Some((7, Packet::Received)));
        assert_eq!(read("7 good -> DISCONNECT (0)", "good"), None);
        assert_eq!(
            read("15 good -> PUBLISH msgid: 9 qos: 1 retained: 0 rc 0 payload len(7): mqfleet", "good"),
            Some((15, Packet::Probe { id: 9, sent: true }))
        );
        for own in ["qos: 1 retained: 0 rc 0 payload len(8): mqfleet2", "qos: 2 retained: 1 rc 0 payload len(0): "] {
            let packet = Packet::Publish { id: 9, sent: true };
            assert_eq!(read(&format!("15 good -> PUBLISH msgid: 9 {own}"), "good"), Some((15, packet)), "{own}");
        }
        assert_eq!(read("15 good <- PUBREC msgid: 9", "good"), Some((15, Packet::PubAck { id: 9 })));
        assert_eq!(read("15 good -> PUBREC msgid: 9 (0)", "good"), None);
        let line = "15 good <- PUBLISH msgid: 1 qos: 1 retained: 0 payload len(11): <- PINGRESP";
        assert_eq!(read(line, "good"), Some((15, Packet::Message)));
        assert_eq!(read("15 good -> PUBLISH qos: 0 retained: 0 rc: 0 payload len(2): ab", "good"), None);
        assert_eq!(read("15 good <- PUBACK msgid: 65536", "good"), None);
        assert_eq!(read("15  <- PINGRESP", ""), Some((15, Packet::PingResp)));
    }

    #[test]
    fn echoes_are_known_by_their_number_and_nothing_else_is_one() {
        let payload = String::from_utf8(echo(0x2a)).expect("text");
        let out = |rc| format!("15 good -> PUBLISH qos: 0 retained: 0 rc: {rc} payload len(23): {payload}");
        assert_eq!(read(&out(0), "good"), Some((15, Packet::Echo { number: 0x2a, sent: true })));
        assert_eq!(read(&out(-22), "good"), Some((15, Packet::Echo { number: 0x2a, sent: false })));
        let back = |flags: &str, payload: &str| {
            read(&format!("15 good <- PUBLISH msgid: 0 {flags} payload len({}): {payload}", payload.len()), "good")
        };
        assert_eq!(back("qos: 0 retained: 0", &payload), Some((15, Packet::Echoed { number: 0x2a })));
        let message = Some((15, Packet::Message));
        assert_eq!(back("qos: 0 retained: 1", &payload), message);
        assert_eq!(back("qos: 1 retained: 0", &payload), message);
        for other in ["mqfleet", "mqfleet+00000000000002a", "mqfleet000000000000002", "mqfleet000000000000002a0", ""] {
            assert_eq!(back("qos: 0 retained: 0", other), message, "{other}");
        }
        // A longer message of which the line shows this much.
        let cut = format!("15 good <- PUBLISH msgid: 0 qos: 0 retained: 0 payload len(24): {payload}");
        assert_eq!(read(&cut, "good"), message);
    }

    #[test]
    fn another_clients_line_is_not_taken() {
        assert_eq!(read("15 good2 <- PINGRESP", "good"), None);
        assert_eq!(read("15 goo <- PINGRESP", "good"), None);
    }

    #[test]
    fn hostile_ids_do_not_speak_for_packets() {
        let id = "x <- PINGRESP";
        assert_eq!(read(&format!("15 {id} -> PINGREQ (0)"), id), Some((15, Packet::PingReq { sent: true })));
        assert_eq!(read(&format!("15 {id} <- CONNACK rc: 0"), id), Some((15, Packet::Received)));
        let id = "12 x -> PUBLISH msgid: 1 qos: 1 retained: 0 rc 0 payload len(0): ";
        assert_eq!(read(&format!("15 {id} <- PINGRESP"), id), Some((15, Packet::PingResp)));
        let id = "\x1b[31m温度\n-> CONNECT ";
        assert_eq!(read(&format!("15 {id} <- PINGRESP"), id), Some((15, Packet::PingResp)));
    }

    #[test]
    fn causes() {
        let line = stamped("Socket error Connection refused(111) in connect for socket 15");
        assert_eq!(parse(&line), Line::SocketError { socket: 15, errno: 111 });
        let line = stamped("Socket error Connection reset by peer(104) in recv - getch for socket 7");
        assert_eq!(parse(&line), Line::SocketError { socket: 7, errno: 104 });
        // Another message that opens alike.
        let line = stamped("Socket error for client identifier x, socket 7, peer address 1.2.3.4; ending connection");
        assert_eq!(parse(&line), Line::Other);
        let line = stamped("PINGRESP not received in keepalive interval for client a on socket 7, disconnecting");
        assert_eq!(parse(&line), Line::PingTimeout);
        assert_eq!(parse(&stamped("Connecting to serverURI 127.0.0.1:1883 with MQTT version 5")), Line::Connecting);
        let line = stamped("SSL alert write:fatal:unknown CA");
        assert_eq!(parse(&line), Line::Alert { ours: true, words: b"unknown CA" });
        let line = stamped("SSL alert read:fatal:certificate required");
        assert_eq!(parse(&line), Line::Alert { ours: false, words: b"certificate required" });
        assert_eq!(parse(&stamped("SSL alert write:warning:close notify")), Line::Other);
        assert_eq!(parse(&stamped("SSL state connect:SSLv3/TLS write client hello:(NONE)")), Line::Handshake);
        assert_eq!(parse(&stamped("SSL connect:error")), Line::Handshake);
        assert_eq!(parse(&stamped("SSL handshake done write:unknown:unknown")), Line::HandshakeDone);
        assert_eq!(parse(&stamped("X509_check_host for hostname a.example failed, rc 0")), Line::WrongName);
        assert_eq!(parse(&stamped("Proxy_connect: \"CONNECT a:1 HTTP/1.1\r\n")), Line::ProxyAsked);
        assert_eq!(parse(&stamped("WebSocket HTTP rc 404")), Line::NoWebSocket { status: 404 });
        assert_eq!(parse(&stamped("WebSocket HTTP rc -x")), Line::Other);
        assert_eq!(parse(b"short"), Line::Other);
        assert_eq!(parse(b""), Line::Other);
    }

    #[test]
    fn the_longest_followed_id_leaves_room() {
        let id = "x".repeat(ID_MAX);
        let whole = format!("{} {id} -> PUBLISH msgid: 65535 qos: 1 retained: 0 rc 0 payload len(7): mqfleet", 99_999);
        assert_eq!(
            read(&whole[..whole.len().min(TEXT_MAX)], &id),
            Some((99_999, Packet::Probe { id: 65535, sent: true }))
        );
        let payload = String::from_utf8(echo(u64::MAX)).expect("text");
        for (line, packet) in [
            (" -> PUBLISH qos: 0 retained: 0 rc: -22", Packet::Echo { number: u64::MAX, sent: false }),
            (" <- PUBLISH msgid: 65535 qos: 0 retained: 0", Packet::Echoed { number: u64::MAX }),
        ] {
            let whole = format!("{} {id}{line} payload len({}): {payload}", i32::MAX, payload.len());
            assert!(whole.len() <= TEXT_MAX, "{} bytes", whole.len());
            assert_eq!(read(&whole, &id), Some((i32::MAX, packet)));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(line in prop::collection::vec(any::<u8>(), 0..600), id in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Line::Packet { rest, .. } = parse(&line) {
                packet(rest, &id);
            }
        }

        #[test]
        fn near_misses_are_read_without_a_panic(head in "(Socket error |[0-9]{1,12} |PINGRE|getaddrinfo ){0,2}", tail in "[ -~]{0,80}") {
            let line = stamped(&format!("{head}{tail}"));
            if let Line::Packet { rest, .. } = parse(&line) {
                packet(rest, b"");
            }
        }

        #[test]
        fn any_id_is_told_from_what_follows_it(id in "(?s)[^\0]{0,60}", socket in 0..9999i32) {
            prop_assert_eq!(read(&format!("{socket} {id} <- PINGRESP"), &id), Some((socket, Packet::PingResp)));
            prop_assert_eq!(read(&format!("{socket} {id} -> CONNECT version 5 clean: 1 (0)"), &id), Some((socket, Packet::Connect)));
        }
    }
}
