//! Defines how Paho C 1.3.16 reads what the inspector lets through: its parsers and its lists written again, where what would be undefined in C panics.

use super::*;

/// What a command waits for in `m->responses`; of a PUBLISH it shares topic and payload with the list
/// of messages (`MQTTAsyncUtils.c`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    Publish,
    Subscribe(usize),
    Unsubscribe(usize),
}

#[derive(Clone)]
pub(super) struct Paho {
    is_v5: bool,
    responses: Vec<(u16, Command)>,
    /// `outboundMsgs`: QoS, and whether PUBCOMP is next.
    outbound: Vec<(u16, u8, bool)>,
    /// `inboundMsgs`: whether the message is still held.
    inbound: Vec<u16>,
}

impl Paho {
    pub(super) fn new(protocol: Protocol) -> Paho {
        let (responses, outbound, inbound) = Default::default();
        Paho { is_v5: protocol == Protocol::V5, responses, outbound, inbound }
    }

    /// What it sent, read from the bytes.
    pub(super) fn sends(&mut self, packet: &[u8]) {
        let data = body(packet);
        let id = |at: usize| u16::from_be_bytes([data[at], data[at + 1]]);
        let filters = |options: usize| {
            let (mut at, mut count) = (2 + usize::from(self.is_v5), 0);
            while at < data.len() {
                at += 2 + usize::from(id(at)) + options;
                count += 1;
            }
            count
        };
        match (packet[0] >> 4, (packet[0] >> 1) & 3) {
            (3, qos @ 1..) => {
                let id = id(2 + usize::from(id(0)));
                self.outbound.push((id, qos, false));
                self.responses.push((id, Command::Publish));
            }
            (8, _) => self.responses.push((id(0), Command::Subscribe(filters(1)))),
            (10, _) => self.responses.push((id(0), Command::Unsubscribe(filters(0)))),
            _ => {}
        }
    }

    /// `MQTTPacket_Factory` and what is called with its packet.
    pub(super) fn receives(&mut self, packet: &[u8]) {
        let data = body(packet);
        match packet[0] >> 4 {
            2 => {
                assert!(data.len() >= 2, "MQTTPacket_connack");
                if self.is_v5 && data.len() > 2 {
                    self.properties(data, 2);
                }
            }
            3 => self.publish(packet[0], data),
            kind @ 4..=7 => self.ack(kind, data),
            9 => {
                let at = if self.is_v5 { self.properties(data, 2) } else { 2 };
                assert!(data.len() > at, "MQTTPacket_suback frees what was never set");
                // MQTTAsync_receiveThread and `ServerResponse::from_success` of the crate.
                match self.detach(id(data)) {
                    Some(Command::Subscribe(count)) => assert_eq!(count, data.len() - at, "codes read as pointers"),
                    other => panic!("SUBACK frees {other:?}"),
                }
            }
            11 => {
                let at = if self.is_v5 { self.properties(data, 2) } else { data.len() };
                assert!(!self.is_v5 || data.len() > at, "MQTTPacket_unsuback leaks");
                match self.detach(id(data)) {
                    Some(Command::Unsubscribe(count)) => assert!(!self.is_v5 || count == data.len() - at),
                    other => panic!("UNSUBACK frees {other:?}"),
                }
            }
            13 => {}
            14 => {
                assert!(self.is_v5, "unknown to MQTTPacket_Factory");
                if data.len() > 1 {
                    self.properties(data, 1);
                }
            }
            other => panic!("packet type {other} is never freed"),
        }
    }

    fn publish(&mut self, first: u8, data: &[u8]) {
        let len = usize::from(id(data));
        let topic = &data[2..2 + len];
        let mut at = 2 + len;
        let qos = (first >> 1) & 3;
        assert!(qos < 3);
        if qos > 0 {
            let id = id(&data[at..]);
            if qos == 2 && self.inbound.contains(&id) {
                assert!(!self.is_v5, "MQTTProtocol_handlePublishes leaks the message");
            } else if qos == 2 {
                self.inbound.push(id);
            }
            at += 2;
        }
        if self.is_v5 {
            at = self.properties(data, at);
        }
        assert!(at <= data.len(), "a payload of negative length");
        // `AsyncClient::on_message_arrived` and `Message::topic` of the crate.
        assert!(!topic.contains(&0) && std::str::from_utf8(topic).is_ok(), "the crate panics");
    }

    fn ack(&mut self, kind: u8, data: &[u8]) {
        let id = id(data);
        let mut code = 0;
        if self.is_v5 && data.len() > 2 {
            code = data[2];
        }
        if self.is_v5 && data.len() > 3 {
            assert_ne!(kind, 5, "MQTTAsync_cycle leaks them");
            self.properties(data, 3);
        }
        let found = self.outbound.iter().position(|m| m.0 == id);
        let mut removes = false;
        match (kind, found) {
            (6, _) => return self.inbound.retain(|held| *held != id),
            (4, Some(at)) => {
                assert_eq!(self.outbound[at].1, 1, "a PUBACK that ends the connection");
                removes = true;
            }
            (5, Some(at)) if self.outbound[at].1 == 2 && !self.outbound[at].2 => match code {
                0x80.. => removes = true,
                _ => self.outbound[at].2 = true,
            },
            (7, Some(at)) => removes = self.outbound[at].1 == 2 && self.outbound[at].2,
            _ => {}
        }
        if removes {
            self.outbound.remove(found.expect("found"));
        }
        if kind != 5 || code >= 0x80 {
            // MQTTAsync_cycle: a command whose message stays in the list is freed with what they share.
            match self.detach(id) {
                Some(Command::Publish) => assert!(removes, "topic and payload freed twice"),
                other => assert_eq!(other, None, "an acknowledgement frees another command"),
            }
        }
    }

    fn detach(&mut self, token: u16) -> Option<Command> {
        let at = self.responses.iter().position(|(id, _)| *id == token)?;
        Some(self.responses.remove(at).1)
    }

    /// `MQTTProperties_read`: where they end.
    fn properties(&self, data: &[u8], at: usize) -> usize {
        let (mut left, mut at) = variable(data, at);
        while left > 0 {
            let begin = at;
            at = property(data, at);
            left = left.checked_sub(at - begin).expect("a length that goes below zero");
        }
        at
    }
}

fn body(packet: &[u8]) -> &[u8] {
    let (len, at) = variable(packet, 1);
    assert_eq!(packet.len(), at + len);
    &packet[at..]
}

fn id(data: &[u8]) -> u16 {
    u16::from_be_bytes([data[0], data[1]])
}

/// `MQTTPacket_decodeBuf`, which reads on behind the end.
fn variable(data: &[u8], mut at: usize) -> (usize, usize) {
    let mut value = 0;
    for i in 0..4 {
        value |= usize::from(data[at] & 0x7f) << (7 * i);
        at += 1;
        if data[at - 1] & 0x80 == 0 {
            return (value, at);
        }
    }
    panic!("a number of five bytes");
}

/// `MQTTProperty_read`: where it ends.
fn property(data: &[u8], at: usize) -> usize {
    let text = |at: usize| {
        let end = at + 2 + usize::from(id(&data[at..]));
        // `CString` in the crate.
        assert!(end <= data.len(), "MQTTLenStringRead");
        end
    };
    let end = match data[at] {
        0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28..=0x2a => at + 2,
        0x13 | 0x21..=0x23 => at + 3,
        0x02 | 0x11 | 0x18 | 0x27 => at + 5,
        0x0b => variable(data, at + 1).1,
        0x03 | 0x08 | 0x09 | 0x12 | 0x15 | 0x16 | 0x1a | 0x1c | 0x1f => text(at + 1),
        0x26 => text(text(at + 1)),
        other => panic!("property {other:#x}, of which the crate knows nothing"),
    };
    assert!(end <= data.len(), "MQTTProperty_read reads behind the packet");
    end
}
