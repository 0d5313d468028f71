//! Defines what the lines of Paho's trace tell about connections (round trips, sockets, causes); how a line is read is in `line`.
//!
//! Which connection a line is about is never searched for in its text, since a client ID may hold any
//! text and two clients may have the same one. The CONNACK's line carries the socket, and Paho calls
//! the connect's success callback next on the same thread: that binds socket and slot. The cause of
//! an end is found the same way: the thread that logged it calls the callback that reports the end.

use std::{
    cell::Cell as ThreadCell,
    os::fd::RawFd,
    sync::{Arc, OnceLock},
    time::Duration,
};

use super::{
    arrivals::Arrivals,
    line::{self, ID_MAX, Line, Packet},
    slots::Slots,
};
use crate::{clock::Moment, fleet::ProbeKind, wire::SlotSample};

/// What the trace reports to: Paho's trace callback carries no context.
static TAP: OnceLock<Tap> = OnceLock::new();

struct Tap {
    slots: Arc<Slots>,
    /// Without it the answers are stamped when Paho comes to them.
    arrivals: Option<Arrivals>,
}

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
    /// An alert ended TLS: ours about the broker's part, or the broker's about ours.
    Alert {
        ours: bool,
        words: Words,
    },
}

impl Fault {
    /// Whether it is something of the way there, and over once a packet of MQTT goes along.
    fn is_of_the_way(self) -> bool {
        matches!(self, Fault::Proxy | Fault::Handshake | Fault::WrongName | Fault::Refused(_) | Fault::Alert { .. })
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
    static SOCKET: ThreadCell<Option<RawFd>> = const { ThreadCell::new(None) };
    static TROUBLE: ThreadCell<Option<Trouble>> = const { ThreadCell::new(None) };
}

/// Part of the line about a CONNECT, whether or not it could be sent.
const CONNECT: &[u8] = b" -> CONNECT version ";

/// The callback follows its line within the same call of Paho's; what is older belongs to another.
const FRESH: Duration = Duration::from_secs(1);

/// The socket of the packet that this thread handled last.
pub(super) fn last_socket() -> Option<RawFd> {
    SOCKET.get()
}

/// Takes what went wrong on this thread just before `at`; where the connection's socket is known,
/// another socket's trouble is none of it.
pub(super) fn take_trouble(socket: Option<RawFd>, at: Moment) -> Option<Fault> {
    let trouble = TROUBLE.take()?;
    let other = matches!(trouble.what, Fault::System { socket: s, .. } if socket.is_some_and(|mine| mine != s));
    (!other && at.since(trouble.at) <= FRESH).then_some(trouble.what)
}

/// Has the trace report to `slots`. Only the first table of a process is followed.
pub(super) fn follow(slots: &Arc<Slots>) {
    TAP.get_or_init(|| {
        let arrivals = Arrivals::start();
        if let Err(e) = &arrivals {
            eprintln!("worker: round trips are measured less exactly: {e}");
        }
        Tap { slots: slots.clone(), arrivals: arrivals.ok() }
    });
}

/// Whether the lines about this client are short enough to be read.
pub(super) fn can_follow(client_id: &str) -> bool {
    client_id.len() <= ID_MAX
}

/// Reads one line. Runs on Paho's threads, under its locks.
pub(super) fn on_line(text: &[u8]) {
    let at = Moment::now();
    let fault = |what| {
        // The first failure is the cause; what closing the socket brings about is not.
        let first = TROUBLE.get().filter(|t| at.since(t.at) <= FRESH).is_some_and(|t| same_socket(t.what, what));
        if !first {
            TROUBLE.set(Some(Trouble { at, what }));
        }
    };
    match line::parse(text) {
        Line::Packet { socket, rest } => {
            SOCKET.set(Some(socket));
            // A system call that failed for another socket and ended nothing is not to be blamed.
            let is_over = |what: Fault| match what {
                Fault::System { socket: s, .. } => s != socket,
                Fault::Secured => !rest.windows(CONNECT.len()).any(|w| w == CONNECT),
                what => what.is_of_the_way(),
            };
            if TROUBLE.get().is_some_and(|t| is_over(t.what)) {
                TROUBLE.set(None);
            }
            if let Some(code) = line::refusal(rest) {
                TROUBLE.set(Some(Trouble { at, what: Fault::Refused(code) }));
            }
            if let Some(tap) = TAP.get() {
                on_packet(tap, socket, rest, at);
            }
        }
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

fn on_packet(Tap { slots, arrivals }: &Tap, socket: RawFd, rest: &[u8], at: Moment) {
    let Some(slot) = slots.owner(socket) else { return };
    let subject = slots.subject(slot);
    let Some(packet) = line::packet(rest, subject.client_id.as_bytes()) else { return };
    if packet == Packet::Message {
        return slots.received(slot);
    }
    let mut cell = slots.cell(slot);
    let sent = |sent: bool| {
        if let (true, Some(arrivals)) = (sent, arrivals) {
            arrivals.expect(socket);
        }
        sent
    };
    let answered = |sent: Moment, probe| {
        if subject.probe == probe {
            let arrived = arrivals.as_ref().and_then(|a| a.take(socket));
            let at = arrived.filter(|&arrived| arrived >= sent).unwrap_or(at);
            slots.sample(SlotSample { slot, probe, at, rtt: at.since(sent) });
        }
    };
    match packet {
        // The socket is a new connection's already.
        Packet::Connect => slots.release(&mut cell, slot),
        Packet::PingReq { sent: ok } => cell.ping = sent(ok).then_some(at),
        Packet::PingResp => {
            if let Some(sent) = cell.ping.take() {
                answered(sent, ProbeKind::Heartbeat);
            }
        }
        Packet::Probe { id, sent: ok } => {
            cell.publish = sent(ok).then_some((id, at));
            cell.probing = ok;
        }
        Packet::PubAck { id } => {
            if let Some((_, sent)) = cell.publish.take_if(|(expected, _)| *expected == id) {
                cell.probing = false;
                answered(sent, ProbeKind::Ack);
            }
        }
        Packet::Message => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paho::slots::Subject;

    /// One test, since a process has one table.
    #[test]
    fn round_trips_and_causes_go_to_the_socket_s_slot() {
        let id = "same <- PINGRESP";
        let subject = |probe| Subject { client_id: id.into(), probe };
        let (slots, mut news) = Slots::new(vec![subject(ProbeKind::Heartbeat), subject(ProbeKind::Ack)]);
        let slots = Arc::new(slots);
        follow(&slots);
        let say = |text: &str| on_line(format!("20240101 123456.789 {text}").as_bytes());
        let bind = |slot: u32, socket| {
            slots.open(slot, 1);
            say(&format!("{socket} {id} -> CONNECT version 5 clean: 1 (0)"));
            say(&format!("{socket} {id} <- CONNACK rc: 0"));
            assert_eq!(last_socket(), Some(socket));
            slots.bind(&mut slots.cell(slot), slot, socket);
        };
        bind(0, 15);
        bind(1, 16);

        // Both speak at once, with one and the same client ID.
        say(&format!("15 {id} -> PINGREQ (0)"));
        say(&format!("16 {id} -> PUBLISH msgid: 3 qos: 1 retained: 0 rc 0 payload len(7): mqfleet"));
        say(&format!("16 {id} <- PUBACK msgid: 4"));
        say(&format!("16 {id} <- PUBACK msgid: 3"));
        say(&format!("15 {id} <- PINGRESP"));
        say(&format!("15 {id} <- PINGRESP"));
        let mut seen = Vec::new();
        while let Ok(sample) = news.samples.try_recv() {
            seen.push((sample.slot, sample.probe));
        }
        assert_eq!(seen, [(1, ProbeKind::Ack), (0, ProbeKind::Heartbeat)]);

        // The first failure of a socket is its cause; another socket's is not.
        say("Socket error Connection reset by peer(104) in recv - getch for socket 15");
        say("Socket error Broken pipe(32) in writev for socket 15");
        assert_eq!(take_trouble(Some(15), Moment::now()), Some(Fault::System { socket: 15, errno: 104 }));
        assert_eq!(take_trouble(Some(15), Moment::now()), None);
        say("Socket error Connection reset by peer(104) in recv - getch for socket 15");
        assert_eq!(take_trouble(Some(16), Moment::now()), None);
        say("Socket error Connection reset by peer(104) in recv - getch for socket 15");
        assert_eq!(take_trouble(Some(15), Moment::now() + FRESH + FRESH), None);

        // A socket number that comes back is another connection's.
        say(&format!("16 {id} -> CONNECT version 5 clean: 1 (0)"));
        assert_eq!(slots.owner(16), None);
    }
}
