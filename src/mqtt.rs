//! Defines the inspector, which stands where bytes go to and come from Paho and lets nothing reach it that is malformed, too large or out of turn; it reads packets and moves none.
//!
//! Paho C 1.3.16 parses what a broker sends without checks: one packet can end a process with all its
//! clients. What is let through here is what MQTT 3.1.1 and MQTT 5.0 allow and Paho survives.

mod asked;
mod flight;
mod frame;
mod incoming;
mod outgoing;
mod properties;
mod reader;
#[cfg(test)]
mod tests;
mod violation;

use asked::Unanswered;
use flight::{Flight, Turn};
use frame::Kind;
use outgoing::Outgoing;

pub use asked::{Asked, name};
pub use frame::frame;
pub use violation::Violation;

use crate::{clock::Moment, fleet::Protocol};

/// A packet from the broker that may reach Paho.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// MQTT 3.1.1 §3.2, MQTT 5.0 §3.2. With `version3` it is one of MQTT 3 to a client of MQTT 5, its
    /// code a return code of MQTT 3.1.1 §3.2.2.3: Paho survives it, but would take code 0 for a
    /// connection, so that it is better not handed on.
    ConnAck {
        code: u8,
        session_present: bool,
        reason: Option<&'a str>,
        reference: Option<&'a str>,
        /// In seconds (MQTT 5.0 §3.2.2.3.14).
        server_keep_alive: Option<u16>,
        version3: bool,
    },
    /// MQTT 5.0 §3.13.
    PingResp,
    /// MQTT 3.1.1 §3.3, MQTT 5.0 §3.3.
    Publish { topic: &'a str, payload: &'a [u8], qos: u8, id: Option<u16>, retain: bool, duplicate: bool },
    /// MQTT 5.0 §3.4; in MQTT 3.1.1 code 0.
    PubAck { id: u16, code: u8, reason: Option<&'a str> },
    /// MQTT 5.0 §3.5; in MQTT 3.1.1 code 0.
    PubRec { id: u16, code: u8, reason: Option<&'a str> },
    /// MQTT 5.0 §3.6.
    PubRel { id: u16 },
    /// MQTT 5.0 §3.7; in MQTT 3.1.1 code 0.
    PubComp { id: u16, code: u8 },
    /// MQTT 3.1.1 §3.9, MQTT 5.0 §3.9: as many codes as filters were asked for.
    SubAck { id: u16, codes: &'a [u8], reason: Option<&'a str> },
    /// MQTT 5.0 §3.11; in MQTT 3.1.1 without codes.
    UnsubAck { id: u16, codes: &'a [u8] },
    /// MQTT 5.0 §3.14.
    Disconnect { code: u8, reason: Option<&'a str>, reference: Option<&'a str> },
}

/// A packet from Paho.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent<'a> {
    Connect { keep_alive: u16 },
    PingReq,
    Publish { topic: &'a str, payload: &'a [u8], qos: u8, id: Option<u16> },
    PubAck { id: u16 },
    PubRec { id: u16 },
    PubRel { id: u16 },
    PubComp { id: u16 },
    Subscribe { id: u16 },
    Unsubscribe { id: u16 },
    Disconnect,
    Other,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    New,
    Connecting,
    Up,
    /// Refused, ended by the broker, or ended here.
    Over,
}

/// What is known of one connection.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub struct Inspector {
    flight: Flight,
    unanswered: Unanswered,
    maximum: u32,
    /// What our CONNECT allowed (MQTT 5.0 §3.1.2.11.3).
    receive_maximum: u16,
    /// Messages of the broker's at QoS 1 and 2 that Paho has not settled yet.
    unsettled: u16,
    protocol: Protocol,
    stage: Stage,
}

impl Inspector {
    /// For a new connection of a Paho client that has no state of another.
    pub fn new(protocol: Protocol, maximum_packet_size: u32) -> Inspector {
        Inspector {
            flight: Flight::default(),
            unanswered: Unanswered::default(),
            maximum: maximum_packet_size,
            receive_maximum: u16::MAX,
            unsettled: 0,
            protocol,
            stage: Stage::New,
        }
    }

    /// A whole packet from the broker. Err: it must not reach Paho and the connection ends; whatever
    /// comes after it is refused as well. Its cost is bounded: two bytes for an identifier that stays in
    /// flight, and nothing of what the broker wrote.
    pub fn received<'a>(&mut self, packet: &'a [u8]) -> Result<Received<'a>, Violation> {
        let received = self.read(packet).and_then(|received| self.take_turn(&received).map(|()| received));
        if received.is_err() {
            self.stage = Stage::Over;
        }
        received
    }

    fn read<'a>(&self, packet: &'a [u8]) -> Result<Received<'a>, Violation> {
        let header = frame::header(packet)?.filter(|header| header.total == packet.len());
        let Some(header) = header else {
            let kind = packet.first().map_or(Kind::Reserved, |&first| Kind::of(first));
            return Err(Violation::malformed(kind, "that is not whole"));
        };
        let kind = header.kind;
        if packet.len() as u64 > u64::from(self.maximum) {
            return Err(Violation::size(kind, packet.len() as u64, self.maximum));
        }
        // MQTT 5.0 §1.5.5; MQTT 3.1.1 §2.2.3 does not mind.
        if !header.is_minimal && self.protocol == Protocol::V5 {
            return Err(Violation::malformed(kind, "with a remaining length of too many bytes"));
        }
        incoming::check_sender(self.protocol, kind)?;
        self.check_stage(kind)?;
        incoming::read(self.protocol, header, &packet[header.len..])
    }

    /// CONNACK is first and comes once (MQTT 3.1.1 §3.2, MQTT 5.0 §3.2); behind one that refuses
    /// (§3.2.2.3, MQTT 5.0 §3.2.2.2), and behind DISCONNECT (MQTT 5.0 §3.14.4), there is nothing.
    fn check_stage(&self, kind: Kind) -> Result<(), Violation> {
        let words = match self.stage {
            Stage::New => "before CONNECT was sent",
            Stage::Connecting if kind != Kind::ConnAck => "before CONNACK",
            Stage::Up if kind == Kind::ConnAck => "a second time",
            Stage::Over => "behind what was the last packet",
            Stage::Connecting | Stage::Up => return Ok(()),
        };
        Err(Violation::protocol(kind, words))
    }

    /// What Paho is to be given instead of a packet that was let through: a PUBREC without the
    /// properties of MQTT 5.0 §3.5.2.2, of which Paho leaks its copy (`MQTTAsync_cycle`), and a SUBACK of
    /// MQTT 3.1.1 with the only code of a refusal that Paho knows there.
    pub fn instead(&self, packet: &[u8], received: &Received) -> Option<Vec<u8>> {
        match (self.protocol, received) {
            (Protocol::V5, &Received::PubRec { id, code, .. }) if packet.len() > 5 => {
                let [high, low] = id.to_be_bytes();
                Some(vec![0x50, 3, high, low, code])
            }
            (Protocol::V311, Received::SubAck { codes, .. }) if codes.iter().any(|code| *code > 0x80) => {
                let head = packet.len() - codes.len();
                Some([&packet[..head], &codes.iter().map(|code| *code.min(&0x80)).collect::<Vec<u8>>()].concat())
            }
            _ => None,
        }
    }

    /// Whether it is the turn of a well-formed packet, and what it changes.
    fn take_turn(&mut self, received: &Received) -> Result<(), Violation> {
        let is_v5 = self.protocol == Protocol::V5;
        let unanswered = &mut self.unanswered;
        match *received {
            Received::ConnAck { code, version3, .. } => {
                self.stage = if code == 0 && !version3 { Stage::Up } else { Stage::Over };
                unanswered.answered(|asked| matches!(asked, Asked::Connect));
            }
            Received::PingResp => unanswered.answered(|asked| matches!(asked, Asked::PingReq)),
            Received::Publish { topic, qos, id, duplicate, .. } => {
                if let Some(id) = id {
                    if qos == 2 && !self.flight.publish(id, duplicate && !is_v5)? {
                        return Ok(());
                    }
                    if self.unsettled >= self.receive_maximum && is_v5 {
                        return Err(Violation::receive_maximum(Kind::Publish));
                    }
                    self.unsettled = self.unsettled.saturating_add(1);
                }
                unanswered.came_back(topic);
            }
            Received::PubAck { id, .. } => {
                self.flight.puback(id)?;
                unanswered.answered(|asked| asked.is_publish(id));
            }
            Received::PubRec { id, code, .. } => {
                self.flight.pubrec(id, code >= 0x80, code < 0x80 && !is_v5)?;
                unanswered.answered(|asked| asked.is_publish(id));
            }
            Received::PubRel { id } => self.flight.pubrel(id),
            Received::PubComp { id, .. } => self.flight.pubcomp(id)?,
            Received::SubAck { id, codes, .. } => {
                self.flight.suback(id, codes.len())?;
                unanswered.answered(|asked| matches!(asked, Asked::Subscribe { id: its, .. } if *its == id));
            }
            Received::UnsubAck { id, codes } => {
                self.flight.unsuback(id, is_v5.then_some(codes.len()))?;
                unanswered.answered(|asked| matches!(asked, Asked::Unsubscribe { id: its, .. } if *its == id));
            }
            Received::Disconnect { .. } => self.stage = Stage::Over,
        }
        Ok(())
    }

    /// A whole packet from Paho to the broker, told before its answer can come and in the order they go.
    pub fn sent<'a>(&mut self, packet: &'a [u8], at: Moment) -> Sent<'a> {
        match outgoing::read(self.protocol, packet) {
            Outgoing::Connect { keep_alive, receive_maximum } => {
                self.receive_maximum = receive_maximum;
                if self.stage == Stage::New {
                    self.stage = Stage::Connecting;
                }
                self.unanswered.sent(Asked::Connect, at);
                Sent::Connect { keep_alive }
            }
            Outgoing::Publish { topic, payload, qos, id, duplicate } => {
                match id {
                    None => self.unanswered.published(topic, at),
                    Some(id) => {
                        let turn = if qos == 1 { Turn::PubAck } else { Turn::PubRec };
                        self.flight.asked(id, turn, duplicate);
                        let topic = asked::name(topic);
                        self.unanswered.sent(Asked::Publish { topic, qos, id }, at);
                    }
                }
                Sent::Publish { topic, payload, qos, id }
            }
            Outgoing::PubAck(id) => {
                self.unsettled = self.unsettled.saturating_sub(1);
                Sent::PubAck { id }
            }
            // A failure settles a message, and PUBCOMP any other (MQTT 5.0 §4.9).
            Outgoing::PubRec(id, code) => {
                if code >= 0x80 {
                    self.flight.pubrel(id);
                    self.unsettled = self.unsettled.saturating_sub(1);
                }
                Sent::PubRec { id }
            }
            Outgoing::PubRel(id) => {
                self.flight.released(id);
                Sent::PubRel { id }
            }
            Outgoing::PubComp(id) => {
                self.unsettled = self.unsettled.saturating_sub(1);
                Sent::PubComp { id }
            }
            Outgoing::Subscribe(id, filters) => {
                self.flight.asked(id, Turn::SubAck(filters.count), false);
                let (filter, more) = (asked::name(filters.first), filters.count - 1);
                self.unanswered.sent(Asked::Subscribe { filter, more, id }, at);
                Sent::Subscribe { id }
            }
            Outgoing::Unsubscribe(id, filters) => {
                self.flight.asked(id, Turn::UnsubAck(filters.count), false);
                let (filter, more) = (asked::name(filters.first), filters.count - 1);
                self.unanswered.sent(Asked::Unsubscribe { filter, more, id }, at);
                Sent::Unsubscribe { id }
            }
            Outgoing::PingReq => {
                self.unanswered.sent(Asked::PingReq, at);
                Sent::PingReq
            }
            Outgoing::Disconnect => Sent::Disconnect,
            Outgoing::Other => Sent::Other,
        }
    }

    /// What the broker was sent and has not answered, and hung up on, perhaps, and when it was sent. Brokers
    /// work in order: the first that waits for its answer, else the message at QoS 0 after which nothing
    /// else was answered.
    pub fn unanswered(&self) -> Option<&(Asked, Moment)> {
        self.unanswered.first()
    }

    /// Whether the broker answered a message to the same topic before.
    pub fn is_familiar(&self, asked: &Asked) -> bool {
        self.unanswered.is_familiar(asked)
    }

    /// The topic, cut as in [`Asked`], of a message of ours that has no answer yet, where it is remembered.
    pub fn topic(&self, id: u16) -> Option<&str> {
        self.unanswered.topic(id)
    }
}
