//! Defines conversations of a client with a broker that keep to the specifications, made at random.

use super::{encoder::*, *};
use fastrand::Rng;

pub(super) enum Step {
    Sent(Vec<u8>),
    Received(Vec<u8>),
}

/// What one side owes the other.
#[derive(Clone, Copy)]
enum Due {
    PubAck(u16),
    PubRec(u16),
    PubRel(u16),
    PubComp(u16),
    SubAck(u16, usize),
    UnsubAck(u16, usize),
    PingResp,
}

pub(super) struct Conversation {
    rng: Rng,
    protocol: Protocol,
    steps: usize,
    /// What the broker owes, and the client.
    brokers: Vec<Due>,
    clients: Vec<Due>,
    last_id: u16,
    /// Identifiers in use, the client's and the broker's.
    ours: Vec<u16>,
    theirs: Vec<u16>,
}

impl Conversation {
    pub(super) fn new(protocol: Protocol, seed: u64) -> Conversation {
        let rng = Rng::with_seed(seed);
        let (brokers, clients, ours, theirs) = Default::default();
        Conversation { rng, protocol, steps: 0, brokers, clients, last_id: 0, ours, theirs }
    }

    pub(super) fn next(&mut self) -> Step {
        self.steps += 1;
        match (self.steps, self.rng.u8(0..10)) {
            (1, _) => Step::Sent(connect(self.protocol, None)),
            (2, _) => {
                let head = vec![self.rng.u8(0..2), 0];
                let list = self.properties(Kind::ConnAck);
                Step::Received(packet(0x20, &[head, list].concat()))
            }
            (_, 0..3) if !self.brokers.is_empty() => Step::Received(self.brokers_due()),
            (_, 3..6) if !self.clients.is_empty() => Step::Sent(self.clients_due()),
            (_, 6..8) => Step::Received(self.brokers_own()),
            _ => Step::Sent(self.clients_own()),
        }
    }

    fn brokers_due(&mut self) -> Vec<u8> {
        let at = self.rng.usize(..self.brokers.len());
        match self.brokers.remove(at) {
            Due::PubAck(id) => {
                self.ours.retain(|used| *used != id);
                self.ack(0x40, id, Kind::PubAck, &[0, 0x10, 0x87, 0x97]).0
            }
            Due::PubRec(id) => {
                let (packet, code) = self.ack(0x50, id, Kind::PubRec, &[0, 0, 0, 0x10, 0x80]);
                match code {
                    0x80.. => self.ours.retain(|used| *used != id),
                    _ => self.clients.push(Due::PubRel(id)),
                }
                packet
            }
            Due::PubRel(id) => {
                self.clients.push(Due::PubComp(id));
                self.ack(0x62, id, Kind::PubRel, &[0, 0x92]).0
            }
            Due::PubComp(id) => {
                self.ours.retain(|used| *used != id);
                self.ack(0x70, id, Kind::PubComp, &[0, 0x92]).0
            }
            Due::SubAck(id, count) => self.codes(0x90, id, Kind::SubAck, &[0, 1, 2, 0x80], count),
            Due::UnsubAck(id, count) => self.codes(0xb0, id, Kind::UnsubAck, &[0, 0x11, 0x87], count),
            Due::PingResp => packet(0xd0, &[]),
        }
    }

    fn clients_due(&mut self) -> Vec<u8> {
        let at = self.rng.usize(..self.clients.len());
        match self.clients.remove(at) {
            Due::PubRec(id) => {
                self.brokers.push(Due::PubRel(id));
                about(0x50, id, &[])
            }
            Due::PubRel(id) => {
                self.brokers.push(Due::PubComp(id));
                about(0x62, id, &[])
            }
            Due::PubComp(id) => {
                self.theirs.retain(|used| *used != id);
                about(0x70, id, &[])
            }
            Due::PubAck(id) => {
                self.theirs.retain(|used| *used != id);
                about(0x40, id, &[])
            }
            _ => packet(0xc0, &[]),
        }
    }

    fn brokers_own(&mut self) -> Vec<u8> {
        let qos = self.rng.u8(0..3);
        let mut id = self.rng.u16(1..50);
        while self.theirs.contains(&id) {
            id = self.rng.u16(1..);
        }
        match self.rng.u8(0..10) {
            0 => return packet(0xd0, &[]),
            // One that a session of before left.
            1 if qos == 2 => return self.ack(0x62, id, Kind::PubRel, &[0]).0,
            _ => {}
        }
        if qos > 0 {
            self.theirs.push(id);
            self.clients.push(if qos == 1 { Due::PubAck(id) } else { Due::PubRec(id) });
        }
        let flags = qos << 1 | self.rng.u8(0..2) | if qos > 0 { self.rng.u8(0..2) << 3 } else { 0 };
        let id = if qos > 0 { id.to_be_bytes().to_vec() } else { Vec::new() };
        let topic = text(["a", "a/b", "größe/x", "$SYS/uptime", " "][self.rng.usize(..5)]);
        let payload: Vec<u8> = (0..self.rng.usize(..200)).map(|_| self.rng.u8(..)).collect();
        packet(0x30 | flags, &[topic, id, self.properties(Kind::Publish), payload].concat())
    }

    fn clients_own(&mut self) -> Vec<u8> {
        let mut id = self.last_id.wrapping_add(1).max(1);
        while self.ours.contains(&id) {
            id = id.wrapping_add(1).max(1);
        }
        let count = self.rng.usize(1..4);
        let filters = &["a/#", "b/+/c", "d"][..count];
        let kind = self.rng.u8(0..6);
        if kind < 4 {
            self.last_id = id;
            self.ours.push(id);
        }
        let due = match kind {
            0 => Due::PubAck(id),
            1 => Due::PubRec(id),
            2 => Due::SubAck(id, count),
            3 => Due::UnsubAck(id, count),
            4 => Due::PingResp,
            _ => return publish(self.protocol, 0, "own", 0, &[], b"x"),
        };
        self.brokers.push(due);
        match kind {
            0 => publish(self.protocol, 2, "own/1", id, &[], b"x"),
            1 => publish(self.protocol, 4, "own/2", id, &[], b"x"),
            2 => subscribe(self.protocol, id, filters),
            3 => unsubscribe(self.protocol, id, filters),
            _ => packet(0xc0, &[]),
        }
    }

    fn ack(&mut self, first: u8, id: u16, kind: Kind, codes: &[u8]) -> (Vec<u8>, u8) {
        let code = *self.rng.choice(codes).expect("a code");
        let properties = self.properties(kind);
        match (self.protocol, self.rng.u8(0..3)) {
            (Protocol::V5, 0) => (about(first, id, &[code]), code),
            (Protocol::V5, 1) => (about(first, id, &[vec![code], properties].concat()), code),
            _ => (about(first, id, &[]), 0),
        }
    }

    fn codes(&mut self, first: u8, id: u16, kind: Kind, codes: &[u8], count: usize) -> Vec<u8> {
        self.ours.retain(|used| *used != id);
        let list = self.properties(kind);
        let told: Vec<u8> = (0..count).map(|_| *self.rng.choice(codes).expect("a code")).collect();
        match (self.protocol, kind) {
            (Protocol::V311, Kind::UnsubAck) => about(first, id, &[]),
            _ => about(first, id, &[list, told].concat()),
        }
    }

    /// Some that the packet may have, with their length.
    fn properties(&mut self, kind: Kind) -> Vec<u8> {
        let all: &[&[u8]] = match kind {
            Kind::Publish => &[
                &[0x01, 1],
                &[0x02, 0, 0, 0, 9],
                &[0x03, 0, 1, b'j'],
                &[0x08, 0, 2, b'r', b'/'],
                &[0x09, 0, 3, 0, 255, 7],
                &[0x0b, 0x80, 0x01],
                &[0x0b, 1],
            ],
            Kind::ConnAck => &[
                &[0x11, 0, 0, 0, 9],
                &[0x12, 0, 1, b'c'],
                &[0x13, 0, 60],
                &[0x21, 0, 10],
                &[0x22, 0, 0],
                &[0x24, 1],
                &[0x25, 0],
                &[0x27, 0, 1, 0, 0],
                &[0x28, 1],
                &[0x29, 1],
                &[0x2a, 0],
                &[0x1c, 0, 1, b's'],
                &[0x15, 0, 1, b'm'],
                &[0x16, 0, 1, 0],
                &[0x1a, 0, 0],
                &[0x1f, 0, 2, b'o', b'k'],
            ],
            _ => &[&[0x1f, 0, 2, b'o', b'k']],
        };
        let user: &[u8] = &[0x26, 0, 1, b'k', 0, 0];
        let often = self.rng.usize(1..6);
        let mut list = Vec::new();
        for &property in all.iter().chain(&[user, user]) {
            if self.rng.usize(..often) == 0 {
                list.extend_from_slice(property);
            }
        }
        listed(self.protocol, &list)
    }
}
