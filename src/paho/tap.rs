//! Defines what Paho's log tells about connections (round trips, sockets); how a packet is read is in `packet`, what the log tells of failures in `trouble`.
//!
//! Which connection a packet is of is not told by its client ID, since two clients may have the same
//! one. The CONNACK's word carries the socket, and Paho calls the connect's success callback next on the
//! same thread: that binds socket and slot.

use std::{
    cell::Cell as ThreadCell,
    os::fd::RawFd,
    sync::{Arc, OnceLock},
    time::Duration,
};

use super::{
    arrivals::Arrivals,
    cell::Cell,
    line,
    packet::{Packet, Told},
    slots::Slots,
    trouble,
};
use crate::{clock::Moment, fleet::ProbeKind, wire::SlotSample};

/// The least time between two messages of a client's own that are timed,
const OWN_EVERY: Duration = Duration::from_secs(1);

/// and where the last one has no answer: from then on it may be that the broker swallowed it.
const OWN_LOST: Duration = Duration::from_secs(60);

/// What the log reports to: it carries no context.
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

/// Has the log report to `slots`. Only the first table of a process is followed.
pub(super) fn follow(slots: &Arc<Slots>) {
    TAP.get_or_init(|| {
        let arrivals = Arrivals::start();
        if let Err(e) = &arrivals {
            eprintln!("worker: round trips are measured less exactly: {e}");
        }
        Tap { slots: slots.clone(), arrivals: arrivals.ok() }
    });
}

/// Reads one line that is about no packet. Runs on Paho's threads, under its locks.
pub(super) fn on_line(text: &[u8]) {
    trouble::note(&line::parse(text), Moment::now());
}

/// Takes in one packet, just after it was sent or received. Runs on Paho's threads, under its locks.
pub(super) fn on_packet(told: &Told<'_>) {
    let packet = told.packet();
    SOCKET.set(Some(told.socket));
    trouble::pass(told.socket, packet);
    if let Some(tap) = TAP.get() {
        tap.follow(told, packet);
    }
}

impl Tap {
    fn follow(&self, told: &Told<'_>, packet: Packet) {
        let (Tap { slots, arrivals }, socket) = (self, told.socket);
        if packet == Packet::Connect {
            slots.asked(socket, Moment::now());
        }
        let Some(slot) = slots.owner(socket) else { return };
        if packet == Packet::Connect {
            // The socket is a new connection's already.
            return slots.release(&mut slots.cell(slot), slot);
        }
        let subject = slots.subject(slot);
        if told.client_id != subject.client_id.as_bytes() {
            return;
        }
        let is_message = match packet {
            Packet::Message => true,
            Packet::Echoed { number } => subject.probe != ProbeKind::Echo || !slots.is_own_echo(slot, number),
            Packet::Publish { .. } if subject.probe != ProbeKind::Heartbeat => return,
            Packet::Sent => return,
            _ => false,
        };
        if is_message {
            slots.received(slot);
            // Nearly always: messages come by the hundred thousand.
            if !arrivals.as_ref().is_some_and(|arrivals| arrivals.expects(socket)) {
                return;
            }
        }
        let is_measured = |probe| is_measured(subject.probe, probe);
        let expect = || arrivals.iter().for_each(|arrivals| arrivals.expect(socket));
        let sent = |sent: bool, probe| {
            let at = Moment::now();
            if sent && is_measured(probe) {
                expect();
            }
            sent.then_some(at)
        };
        let answered = |cell: &mut Cell, sent: Moment, probe| {
            if is_measured(probe) {
                let arrived = arrivals.as_ref().and_then(|a| a.take(socket));
                let at = arrived.filter(|&arrived| arrived >= sent).unwrap_or_else(Moment::now);
                let rtt = at.since(sent);
                cell.round_trips = [rtt, cell.round_trips[0]];
                slots.sample(SlotSample { slot, probe, at, rtt });
            }
        };
        let mut cell = slots.cell(slot);
        match packet {
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
                let (pause, now) = (if cell.publish.is_some() { OWN_LOST } else { OWN_EVERY }, Moment::now());
                if now.since(cell.timed) >= pause {
                    cell.publish = sent(ok, ProbeKind::Ack).map(|at| (id, at));
                    cell.timed = now;
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
            _ => {}
        }
        // What arrived was not, or not only, the answer: only what arrives from now on can be.
        if cell.is_awaiting(subject.probe) {
            expect();
        }
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
    use crate::paho::{
        packet::{self, tests::told},
        slots::Subject,
    };

    /// One test, since a process has one table.
    #[test]
    fn round_trips_go_to_the_socket_s_slot() {
        let id = "same";
        let subject = |probe| Subject { client_id: id.into(), probe };
        let probes = [ProbeKind::Heartbeat, ProbeKind::Ack, ProbeKind::Echo];
        let (slots, mut news) = Slots::new(probes.map(subject).into());
        let slots = Arc::new(slots);
        follow(&slots);
        let say = |socket, number, values: &[i32], payload: &[u8]| {
            on_packet(&Told { socket, client_id: id.as_bytes(), ..told(number, values, payload) });
        };
        let connect = |socket| say(socket, 0, &[5, 1, 0], b"");
        let bind = |slot: u32, socket| {
            slots.open(slot, 1);
            connect(socket);
            say(socket, 1, &[0], b"");
            assert_eq!(last_socket(), Some(socket));
            slots.bind(&mut slots.cell(slot), slot, socket);
        };
        bind(0, 15);
        bind(1, 16);

        // Both speak at once, with one and the same client ID.
        let ping_resp = || say(15, 21, &[], b"");
        let publish = |socket, n, payload: &[u8]| say(socket, 10, &[n, 1, 0, 0, payload.len() as i32], payload);
        let ack = |socket, n| say(socket, 14, &[n], b"");
        say(15, 20, &[0], b"");
        publish(16, 3, packet::PROBE);
        ack(16, 4);
        ack(16, 3);
        let stranger = Told { client_id: b"stranger", ..told(21, &[], b"") };
        on_packet(&stranger);
        ping_resp();
        ping_resp();
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
        let own = |n| publish(15, n, b"on");
        own(7);
        own(8);
        ack(15, 8);
        ack(15, 7);
        own(9);
        ack(15, 9);
        assert_eq!(seen(), [(0, ProbeKind::Ack)]);
        slots.cell(0).timed = Moment(0);
        own(10);
        assert_eq!(slots.cell(0).publish.map(|(id, _)| id), Some(10));
        publish(16, 5, b"on");
        ack(16, 5);
        ack(15, 10);
        assert_eq!(seen(), [(0, ProbeKind::Ack)]);

        // An echo counts once, and only that which is awaited.
        bind(2, 17);
        let out = |number| say(17, 27, &[0, 0, 23], &packet::echo(number));
        let back = |number: u64| say(17, 11, &[0, 0, 0, 23], &packet::echo(number));
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
        say(17, 11, &[0, 0, 1, 23], &packet::echo(number));
        assert_eq!((seen(), slots.take_received(2)), (vec![], 2));
        back(number);
        back(number);
        assert_eq!((seen(), slots.take_received(2)), (vec![(2, ProbeKind::Echo)], 0));

        // A socket number that comes back is another connection's.
        connect(16);
        assert_eq!(slots.owner(16), None);
    }
}
