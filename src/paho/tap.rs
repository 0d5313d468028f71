//! Defines what the lines of Paho's trace tell about connections (round trips, sockets); how a line is read is in `line`, what they tell of failures in `trouble`.
//!
//! Which connection a line is about is never searched for in its text, since a client ID may hold any
//! text and two clients may have the same one. The CONNACK's line carries the socket, and Paho calls
//! the connect's success callback next on the same thread: that binds socket and slot.

use std::{
    cell::Cell as ThreadCell,
    os::fd::RawFd,
    sync::{Arc, OnceLock},
    time::Duration,
};

use super::{
    arrivals::Arrivals,
    cell::Cell,
    line::{self, ID_MAX, Line, Packet},
    slots::Slots,
    trouble,
};
use crate::{clock::Moment, fleet::ProbeKind, wire::SlotSample};

/// The least time between two messages of a client's own that are timed,
const OWN_EVERY: Duration = Duration::from_secs(1);

/// and where the last one has no answer: from then on it may be that the broker swallowed it.
const OWN_LOST: Duration = Duration::from_secs(60);

/// What the trace reports to: Paho's trace callback carries no context.
static TAP: OnceLock<Tap> = OnceLock::new();

struct Tap {
    slots: Arc<Slots>,
    /// Without it the answers are stamped when Paho comes to them.
    arrivals: Option<Arrivals>,
}

thread_local! {
    static SOCKET: ThreadCell<Option<RawFd>> = const { ThreadCell::new(None) };
}

/// The socket of the packet that this thread handled last.
pub(super) fn last_socket() -> Option<RawFd> {
    SOCKET.get()
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
    let line = line::parse(text);
    trouble::note(&line, at);
    if let Line::Packet { socket, rest } = line {
        SOCKET.set(Some(socket));
        if let Some(tap) = TAP.get() {
            tap.slots.line(socket, at);
            on_packet(tap, socket, rest, at);
        }
    }
}

fn on_packet(Tap { slots, arrivals }: &Tap, socket: RawFd, rest: &[u8], at: Moment) {
    let Some(slot) = slots.owner(socket) else { return };
    let subject = slots.subject(slot);
    let Some(packet) = line::packet(rest, subject.client_id.as_bytes()) else { return };
    let is_message = match packet {
        Packet::Message => true,
        Packet::Echoed { number } => subject.probe != ProbeKind::Echo || !slots.is_own_echo(slot, number),
        _ => false,
    };
    if is_message {
        slots.received(slot);
    }
    let is_measured = |probe| is_measured(subject.probe, probe);
    if matches!(packet, Packet::Publish { .. }) && subject.probe != ProbeKind::Heartbeat {
        return;
    }
    let expect = || arrivals.iter().for_each(|arrivals| arrivals.expect(socket));
    let sent = |sent: bool, probe| {
        if sent && is_measured(probe) {
            expect();
        }
        sent.then_some(at)
    };
    let answered = |cell: &mut Cell, sent: Moment, probe| {
        if is_measured(probe) {
            let arrived = arrivals.as_ref().and_then(|a| a.take(socket));
            let at = arrived.filter(|&arrived| arrived >= sent).unwrap_or(at);
            let rtt = at.since(sent);
            cell.round_trips = [rtt, cell.round_trips[0]];
            slots.sample(SlotSample { slot, probe, at, rtt });
        }
    };
    let mut cell = slots.cell(slot);
    match packet {
        // The socket is a new connection's already.
        Packet::Connect => return slots.release(&mut cell, slot),
        Packet::PingReq { sent: ok } => {
            cell.ping = sent(ok, ProbeKind::Heartbeat);
            return;
        }
        Packet::Probe { id, sent: ok } => {
            cell.publish = sent(ok, ProbeKind::Ack).map(|at| (id, at));
            if !ok {
                cell.probing = None;
            }
            return;
        }
        Packet::Publish { id, sent: ok } => {
            let pause = if cell.publish.is_some() { OWN_LOST } else { OWN_EVERY };
            if at.since(cell.timed) >= pause {
                cell.publish = sent(ok, ProbeKind::Ack).map(|at| (id, at));
                cell.timed = at;
            }
            return;
        }
        Packet::Echo { number, sent: ok } => {
            if let Some(mut echo) = cell.echo.take_if(|echo| echo.number == number) {
                echo.sent = sent(ok, ProbeKind::Echo);
                cell.echo = echo.sent.map(|_| echo);
            }
            return;
        }
        Packet::PingResp => {
            if let Some(sent) = cell.ping.take() {
                answered(&mut cell, sent, ProbeKind::Heartbeat);
            }
        }
        Packet::PubAck { id } => {
            if let Some((_, sent)) = cell.publish.take_if(|(expected, _)| *expected == id) {
                cell.probing = None;
                answered(&mut cell, sent, ProbeKind::Ack);
            }
        }
        Packet::Echoed { number } => {
            let echo = cell.echo.take_if(|echo| echo.number == number);
            if let Some(sent) = echo.and_then(|echo| echo.sent) {
                answered(&mut cell, sent, ProbeKind::Echo);
            }
        }
        Packet::Message | Packet::Received => {}
    }
    // What arrived was not, or not only, the answer: only what arrives from now on can be.
    if cell.is_awaiting(subject.probe) {
        expect();
    }
}

/// Whether a client whose probes are of the one kind is also measured by the other.
///
/// The keep alive sends a PINGREQ only where nothing went out, or nothing came in, for as long as it is
/// (`MQTTProtocol_keepalive`): a client that publishes at QoS 1 more often than that never sends one. So
/// what its broker takes to acknowledge its own messages is measured instead.
fn is_measured(probes: ProbeKind, probe: ProbeKind) -> bool {
    probes == probe || (probes, probe) == (ProbeKind::Heartbeat, ProbeKind::Ack)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paho::slots::Subject;

    /// One test, since a process has one table.
    #[test]
    fn round_trips_go_to_the_socket_s_slot() {
        let id = "same <- PINGRESP";
        let subject = |probe| Subject { client_id: id.into(), probe };
        let probes = [ProbeKind::Heartbeat, ProbeKind::Ack, ProbeKind::Echo];
        let (slots, mut news) = Slots::new(probes.map(subject).into());
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
        let mut seen = || {
            let mut seen = Vec::new();
            while let Ok(sample) = news.samples.try_recv() {
                seen.push((sample.slot, sample.probe));
            }
            seen
        };
        assert_eq!(seen(), [(1, ProbeKind::Ack), (0, ProbeKind::Heartbeat)]);
        assert!(slots.cell(1).asked.is_some(), "when CONNECT went out");

        // Messages of a client's own stand in for its heartbeats, one at a time and not each of them.
        let own = |n| say(&format!("15 {id} -> PUBLISH msgid: {n} qos: 1 retained: 0 rc 0 payload len(2): on"));
        let ack = |n| say(&format!("15 {id} <- PUBACK msgid: {n}"));
        own(7);
        own(8);
        ack(8);
        ack(7);
        own(9);
        ack(9);
        assert_eq!(seen(), [(0, ProbeKind::Ack)]);
        slots.cell(0).timed = Moment(0);
        own(10);
        assert_eq!(slots.cell(0).publish.map(|(id, _)| id), Some(10));
        say(&format!("16 {id} -> PUBLISH msgid: 5 qos: 1 retained: 0 rc 0 payload len(2): on"));
        say(&format!("16 {id} <- PUBACK msgid: 5"));
        ack(10);
        assert_eq!(seen(), [(0, ProbeKind::Ack)]);

        // An echo counts once, and only that which is awaited.
        bind(2, 17);
        let payload = |number| String::from_utf8(line::echo(number)).unwrap();
        let out =
            |number| say(&format!("17 {id} -> PUBLISH qos: 0 retained: 0 rc: 0 payload len(23): {}", payload(number)));
        let back = |number: u64| {
            say(&format!("17 {id} <- PUBLISH msgid: 0 qos: 0 retained: 0 payload len(23): {}", payload(number)));
        };
        let lost = slots.begin_echo(2, Duration::ZERO, Moment::now()).unwrap();
        out(lost);
        let number = slots.begin_echo(2, Duration::ZERO, Moment::now()).unwrap();
        back(number);
        out(number);
        back(lost);
        assert_eq!((seen(), slots.take_received(2)), (vec![], 0));
        back(number);
        assert_eq!(seen(), [], "it cannot be back before it went out");
        let number = slots.begin_echo(2, Duration::from_secs(9), Moment::now()).unwrap();
        out(number);
        back(number.wrapping_add(1)); // another's
        say(&format!("17 {id} <- PUBLISH msgid: 0 qos: 0 retained: 1 payload len(23): {}", payload(number)));
        assert_eq!((seen(), slots.take_received(2)), (vec![], 2));
        back(number);
        back(number);
        assert_eq!((seen(), slots.take_received(2)), (vec![(2, ProbeKind::Echo)], 0));

        // A socket number that comes back is another connection's.
        say(&format!("16 {id} -> CONNECT version 5 clean: 1 (0)"));
        assert_eq!(slots.owner(16), None);
    }
}
