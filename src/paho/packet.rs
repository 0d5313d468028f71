//! Defines how what Paho's log tells of a packet is read; pure, and it keeps nothing of what it reads.
//!
//! The numbers and their values are those of the formats in `Messages.c` of Paho C 1.3.16.

use std::{ffi::c_int, os::fd::RawFd};

/// What the messages of our own probes say: the log shows no topic, only how a payload begins, in 30
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

/// What the log tells of a packet, after it was sent or received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told<'a> {
    /// Of the format that Paho's own log has for it.
    pub number: c_int,
    pub socket: RawFd,
    pub client_id: &'a [u8],
    /// What that format shows after the client ID, less the payload.
    pub values: [c_int; 5],
    /// How the payload begins; what is not ASCII there is escaped.
    pub payload: &'a [u8],
}

/// A packet, as far as it is of interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packet {
    Connect,
    /// With its code.
    ConnAck(c_int),
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
    /// Another packet to the broker.
    Sent,
}

impl Told<'_> {
    pub fn packet(&self) -> Packet {
        let [a, b, c, d, e] = self.values;
        match self.number {
            0 => Packet::Connect,
            1 => Packet::ConnAck(a),
            20 => Packet::PingReq { sent: a == 0 },
            21 => Packet::PingResp,
            // Message ID, QoS, retained, result, length.
            10 => match (a as u16, d == 0) {
                (id, sent) if (b, e) == (1, PROBE.len() as c_int) && self.payload == PROBE => {
                    Packet::Probe { id, sent }
                }
                (id, sent) => Packet::Publish { id, sent },
            },
            // Retained, result, length.
            27 => self.echo_number(c).map_or(Packet::Sent, |number| Packet::Echo { number, sent: b == 0 }),
            // Message ID, QoS, retained, length. Echoes are never retained.
            11 if (b, c) == (0, 0) => self.echo_number(d).map_or(Packet::Message, |number| Packet::Echoed { number }),
            11 => Packet::Message,
            14 | 15 => Packet::PubAck { id: a as u16 },
            17 | 19 | 23 | 24 | 30 => Packet::Received,
            _ => Packet::Sent,
        }
    }

    /// The number of an echo, of a message of this length.
    fn echo_number(&self, length: c_int) -> Option<u64> {
        let digits = self.payload.strip_prefix(PROBE)?;
        let is_whole = length as usize == PROBE.len() + DIGITS && digits.len() == DIGITS;
        if !is_whole || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn told<'a>(number: c_int, values: &[c_int], payload: &'a [u8]) -> Told<'a> {
        let mut all = [0; 5];
        all[..values.len()].copy_from_slice(values);
        Told { number, socket: 15, client_id: b"good", values: all, payload }
    }

    fn read(number: c_int, values: &[c_int], payload: &[u8]) -> Packet {
        told(number, values, payload).packet()
    }

    #[test]
    fn packets_of_a_client() {
        assert_eq!(read(0, &[4, 1, 0], b""), Packet::Connect);
        assert_eq!(read(1, &[135], b""), Packet::ConnAck(135));
        assert_eq!(read(20, &[0], b""), Packet::PingReq { sent: true });
        assert_eq!(read(20, &[-1], b""), Packet::PingReq { sent: false });
        assert_eq!(read(21, &[], b""), Packet::PingResp);
        assert_eq!(read(14, &[65535], b""), Packet::PubAck { id: 65535 });
        assert_eq!(read(15, &[9], b""), Packet::PubAck { id: 9 });
        assert_eq!(read(13, &[9, 0], b""), Packet::Sent);
        assert_eq!(read(30, &[142], b""), Packet::Received);
        assert_eq!(read(28, &[0], b""), Packet::Sent);
        assert_eq!(read(10, &[9, 1, 0, 0, 7], b"mqfleet"), Packet::Probe { id: 9, sent: true });
        for (qos, length, payload) in [(1, 8, &b"mqfleet2"[..]), (2, 7, b"mqfleet"), (2, 0, b"")] {
            assert_eq!(read(10, &[9, qos, 0, -1, length], payload), Packet::Publish { id: 9, sent: false });
        }
        assert_eq!(read(11, &[1, 1, 0, 11], b"<- PINGRESP"), Packet::Message);
        assert_eq!(read(27, &[0, 0, 2], b"ab"), Packet::Sent);
    }

    #[test]
    fn echoes_are_known_by_their_number_and_nothing_else_is_one() {
        let payload = echo(0x2a);
        assert_eq!(read(27, &[0, 0, 23], &payload), Packet::Echo { number: 0x2a, sent: true });
        assert_eq!(read(27, &[0, -22, 23], &payload), Packet::Echo { number: 0x2a, sent: false });
        let back = |qos, retained, length, payload: &[u8]| read(11, &[0, qos, retained, length], payload);
        assert_eq!(back(0, 0, 23, &payload), Packet::Echoed { number: 0x2a });
        assert_eq!(back(0, 1, 23, &payload), Packet::Message);
        assert_eq!(back(1, 0, 23, &payload), Packet::Message);
        for other in ["mqfleet", "mqfleet+00000000000002a", "mqfleet000000000000002", "mqfleet000000000000002a0", ""] {
            assert_eq!(back(0, 0, other.len() as c_int, other.as_bytes()), Packet::Message, "{other}");
        }
        // A longer message of which this much is shown.
        assert_eq!(back(0, 0, 24, &payload), Packet::Message);
    }
}
