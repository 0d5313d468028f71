//! Defines what packets tell of a slot's connection: when it is up, and what its probes' answers took; what becomes of that is the table's matter.

use std::time::Duration;

use super::{
    cell::Cell,
    message::{PROBE, echo_number},
    slots::Slots,
};
use crate::{
    clock::Moment,
    event::Generation,
    fleet::ProbeKind,
    mqtt::{Received, Sent},
    wire::{Slot, SlotSample},
};

/// The least time between two messages of a client's own that are timed,
const OWN_EVERY: Duration = Duration::from_secs(1);

/// and where the last one has no answer: from then on it may be that the broker swallowed it.
const OWN_LOST: Duration = Duration::from_secs(60);

impl Slots {
    /// Takes in a packet that goes to the broker at this moment.
    pub fn sent(&self, slot: Slot, generation: Generation, sent: &Sent<'_>, at: Moment) {
        let (subject, probe) = (self.subject(slot), self.probe(slot));
        let is_of_interest = match sent {
            Sent::Connect { .. } | Sent::PingReq => true,
            Sent::Publish { qos, .. } => *qos > 0 || probe == ProbeKind::Echo,
            _ => false,
        };
        if !is_of_interest {
            return;
        }
        let mut cell = self.cell(slot);
        if cell.generation != generation {
            return;
        }
        match *sent {
            Sent::Connect { .. } => cell.asked = Some(at),
            Sent::PingReq => cell.ping = Some(at),
            Sent::Publish { id: Some(id), topic, payload, .. } if payload == PROBE && topic == &*subject.topic => {
                cell.publish = Some((id, at));
            }
            Sent::Publish { id: Some(id), .. } if probe == ProbeKind::Heartbeat => {
                let pause = if cell.publish.is_some() { OWN_LOST } else { OWN_EVERY };
                if at.since(cell.timed) >= pause || cell.timed == Moment(0) {
                    (cell.publish, cell.timed) = (Some((id, at)), at);
                }
            }
            Sent::Publish { id: None, topic, payload, .. } if topic == &*subject.topic => {
                let number = echo_number(payload);
                if let Some(echo) = cell.echo.as_mut().filter(|echo| Some(echo.number) == number) {
                    echo.sent = Some(at);
                }
            }
            _ => {}
        }
    }

    /// Takes in a packet that reached this host at this moment.
    pub fn received(&self, slot: Slot, generation: Generation, received: &Received<'_>, at: Moment) {
        let subject = self.subject(slot);
        let echoed = match received {
            Received::Publish { topic, payload, qos: 0, retain: false, .. }
                if self.probe(slot) == ProbeKind::Echo && *topic == &*subject.topic =>
            {
                echo_number(payload).filter(|&number| self.is_own_echo(slot, number))
            }
            _ => None,
        };
        let is_of_interest = match received {
            Received::Publish { .. } if echoed.is_none() => {
                self.count_received(slot);
                false
            }
            Received::Publish { .. } | Received::ConnAck { .. } | Received::PingResp => true,
            Received::PubAck { .. } | Received::PubRec { .. } => true,
            _ => false,
        };
        if !is_of_interest {
            return;
        }
        let mut cell = self.cell(slot);
        if cell.generation != generation {
            return;
        }
        match *received {
            Received::ConnAck { .. } => (cell.up, cell.is_up) = (Some(at), true),
            Received::PingResp => {
                if let Some(sent) = cell.ping.take() {
                    self.answered(&mut cell, slot, sent, at, ProbeKind::Heartbeat);
                }
            }
            Received::PubAck { id, .. } | Received::PubRec { id, .. } => {
                if let Some((_, sent)) = cell.publish.take_if(|(expected, _)| *expected == id) {
                    cell.probing = None;
                    self.answered(&mut cell, slot, sent, at, ProbeKind::Ack);
                }
            }
            _ => {
                let echo = cell.echo.take_if(|echo| Some(echo.number) == echoed);
                if let Some(sent) = echo.and_then(|echo| echo.sent) {
                    self.answered(&mut cell, slot, sent, at, ProbeKind::Echo);
                }
            }
        }
    }

    fn answered(&self, cell: &mut Cell, slot: Slot, sent: Moment, at: Moment, probe: ProbeKind) {
        if is_measured(self.probe(slot), probe) {
            let rtt = at.since(sent);
            cell.round_trips = [rtt, cell.round_trips[0]];
            self.sample(SlotSample { slot, probe, at, rtt });
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
        message::{echo, numbered},
        slots::Subject,
    };

    const TOPIC: &str = "mqfleet/probe/same";

    #[test]
    fn round_trips_are_those_of_a_slot_s_own_probes() {
        let probes = [ProbeKind::Heartbeat, ProbeKind::Ack, ProbeKind::Echo];
        let (slots, _marks) = Slots::new(probes.map(|probe| Subject { topic: TOPIC.into(), probe }).into());
        let at = |us: u64| Moment(1_000_000 + us);
        let say = |slot: Slot, sent: Sent<'_>, us| slots.sent(slot, 1, &sent, at(us));
        let hear = |slot: Slot, received: Received<'_>, us| slots.received(slot, 1, &received, at(us));
        let publish = |id: u16, payload| Sent::Publish { topic: TOPIC, payload, qos: 1, id: Some(id) };
        let puback = |id| Received::PubAck { id, code: 0, reason: None };
        for slot in 0..3 {
            slots.open(slot, 1, Moment(0));
            say(slot, Sent::Connect { keep_alive: 5 }, 0);
            hear(
                slot,
                Received::ConnAck {
                    code: 0,
                    session_present: false,
                    reason: None,
                    reference: None,
                    server_keep_alive: None,
                    version3: false,
                },
                9,
            );
            let cell = slots.cell(slot);
            assert_eq!((cell.asked, cell.up), (Some(at(0)), Some(at(9))));
        }
        say(0, Sent::PingReq, 10);
        say(1, publish(3, PROBE), 10);
        hear(1, puback(4), 20);
        hear(1, puback(3), 30);
        hear(0, Received::PingResp, 40);
        hear(0, Received::PingResp, 50);
        let seen = || {
            let samples = slots.take_samples(9);
            samples.iter().map(|s| (s.slot, s.probe, s.rtt.as_micros())).collect::<Vec<_>>()
        };
        assert_eq!(seen(), [(1, ProbeKind::Ack, 20), (0, ProbeKind::Heartbeat, 30)]);

        // Messages of a client's own stand in for its heartbeats, one at a time and not each of them.
        say(0, publish(7, b"on"), 100);
        say(0, publish(8, b"on"), 101);
        hear(0, puback(8), 110);
        hear(0, puback(7), 120);
        say(0, publish(9, b"on"), 121);
        hear(0, puback(9), 122);
        assert_eq!(seen(), [(0, ProbeKind::Ack, 20)]);
        say(0, publish(10, b"on"), 1_000_200);
        assert_eq!(slots.cell(0).publish.map(|(id, _)| id), Some(10));

        // An echo is known by its number; other messages on its topic are messages.
        let number = slots.begin_echo(2, Duration::from_secs(5), Moment(0), Moment(1)).expect("a number");
        let (message, other) = (echo("same", number), numbered(b"%s", 1));
        let back =
            |payload| Received::Publish { topic: TOPIC, payload, qos: 0, id: None, retain: false, duplicate: false };
        say(2, Sent::Publish { topic: TOPIC, payload: message.payload(), qos: 0, id: None }, 200);
        hear(2, back(&other), 210);
        hear(2, back(message.payload()), 230);
        hear(2, back(message.payload()), 240);
        assert_eq!(seen(), [(2, ProbeKind::Echo, 30)]);
        assert_eq!(slots.take_received(2), 1);
        // Of another connection nothing counts.
        slots.received(2, 2, &back(b"x"), at(300));
        slots.sent(0, 2, &Sent::PingReq, at(300));
        assert_eq!(slots.cell(0).ping, None);
    }
}
