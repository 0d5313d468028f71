//! Defines what Paho's log tells of failures: the thread that logged one calls the callback that reports the end next, so that what went wrong last on a thread is the cause.

use std::{cell::Cell, os::fd::RawFd, time::Duration};

use super::{line::Line, packet::Packet};
use crate::clock::Moment;

/// What went wrong last on this thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trouble {
    at: Moment,
    pub what: Fault,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    System {
        socket: RawFd,
        errno: i32,
    },
    PingTimeout,
    /// The proxy was asked for the way, and nothing came after that.
    Proxy,
    /// A TLS handshake was begun, and nothing came after that.
    Handshake,
    /// A TLS handshake was done; with TLS 1.3 only then the broker says what it thinks of ours.
    Secured,
    /// The broker's certificate is for another host.
    WrongName,
    /// A CONNACK refused with this code.
    Refused(u8),
    /// There is no WebSocket, but this HTTP status.
    NoWebSocket {
        status: u16,
    },
    /// An alert ended TLS: ours about the broker's part, or the broker's about ours.
    Alert {
        ours: bool,
        words: Words,
    },
}

impl Fault {
    /// Whether it is something of the way there, and over once a packet of MQTT goes along.
    fn is_of_the_way(self) -> bool {
        use Fault::*;
        matches!(self, Proxy | Handshake | WrongName | Refused(_) | Alert { .. } | NoWebSocket { .. })
    }
}

/// An alert's name, as OpenSSL has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Words {
    bytes: [u8; 40],
    len: u8,
}

impl Words {
    fn new(text: &[u8]) -> Words {
        let mut words = Words { bytes: [0; 40], len: text.len().min(40) as u8 };
        words.bytes[..words.len.into()].copy_from_slice(&text[..words.len.into()]);
        words
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len.into()]
    }
}

thread_local! {
    static TROUBLE: Cell<Option<Trouble>> = const { Cell::new(None) };
}

/// The callback follows its line within the same call of Paho's; what is older belongs to another.
const FRESH: Duration = Duration::from_secs(1);

/// Takes what went wrong on this thread just before `at`; where the connection's socket is known,
/// another socket's trouble is none of it.
pub(super) fn take(socket: Option<RawFd>, at: Moment) -> Option<Fault> {
    let trouble = TROUBLE.take()?;
    let other = matches!(trouble.what, Fault::System { socket: s, .. } if socket.is_some_and(|mine| mine != s));
    (!other && at.since(trouble.at) <= FRESH).then_some(trouble.what)
}

/// Takes in a packet, which ends some troubles and may be one. Runs on Paho's threads, under its locks.
pub(super) fn pass(socket: RawFd, packet: Packet) {
    // A system call that failed for another socket and ended nothing is not to be blamed.
    let is_over = |what: Fault| match what {
        Fault::System { socket: s, .. } => s != socket,
        Fault::Secured => packet != Packet::Connect,
        what => what.is_of_the_way(),
    };
    if TROUBLE.get().is_some_and(|t| is_over(t.what)) {
        TROUBLE.set(None);
    }
    if let Packet::ConnAck(code) = packet
        && let Ok(code @ 1..) = u8::try_from(code)
    {
        TROUBLE.set(Some(Trouble { at: Moment::now(), what: Fault::Refused(code) }));
    }
}

/// Takes in one line. Runs on Paho's threads, under its locks.
pub(super) fn note(line: &Line<'_>, at: Moment) {
    let fault = |what| {
        // The first failure is the cause; what closing the socket brings about is not.
        let first = TROUBLE.get().filter(|t| at.since(t.at) <= FRESH).is_some_and(|t| same_socket(t.what, what));
        if !first {
            TROUBLE.set(Some(Trouble { at, what }));
        }
    };
    match *line {
        Line::SocketError { socket, errno } => fault(Fault::System { socket, errno }),
        Line::PingTimeout => TROUBLE.set(Some(Trouble { at, what: Fault::PingTimeout })),
        Line::Connecting => TROUBLE.set(None),
        Line::ProxyAsked => TROUBLE.set(Some(Trouble { at, what: Fault::Proxy })),
        Line::Handshake => {
            let known = TROUBLE.get().is_some_and(|t| at.since(t.at) <= FRESH && t.what != Fault::Proxy);
            if !known {
                TROUBLE.set(Some(Trouble { at, what: Fault::Handshake }));
            }
        }
        Line::HandshakeDone => TROUBLE.set(Some(Trouble { at, what: Fault::Secured })),
        Line::WrongName => TROUBLE.set(Some(Trouble { at, what: Fault::WrongName })),
        Line::Alert { ours, words } => {
            TROUBLE.set(Some(Trouble { at, what: Fault::Alert { ours, words: Words::new(words) } }));
        }
        Line::NoWebSocket { status } => TROUBLE.set(Some(Trouble { at, what: Fault::NoWebSocket { status } })),
        Line::Other => {}
    }
}

fn same_socket(a: Fault, b: Fault) -> bool {
    match (a, b) {
        (Fault::System { socket: a, .. }, Fault::System { socket: b, .. }) => a == b,
        (Fault::PingTimeout, _) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paho::line;

    #[test]
    fn the_first_failure_of_a_socket_is_its_cause() {
        let say = |text: &str| note(&line::parse(text.as_bytes()), Moment::now());
        say("Socket error Connection reset by peer(104) in recv - getch for socket 15");
        say("Socket error Broken pipe(32) in writev for socket 15");
        assert_eq!(take(Some(15), Moment::now()), Some(Fault::System { socket: 15, errno: 104 }));
        assert_eq!(take(Some(15), Moment::now()), None);
        say("Socket error Connection reset by peer(104) in recv - getch for socket 15");
        assert_eq!(take(Some(16), Moment::now()), None);
        say("Socket error Connection reset by peer(104) in recv - getch for socket 15");
        assert_eq!(take(Some(15), Moment::now() + FRESH + FRESH), None);
    }
}
