//! Defines how Paho's own packets are read: they are trusted, so that one that does not parse is merely unknown.

use super::{Violation, frame, frame::Kind, properties, reader::Reader};
use crate::fleet::Protocol;

/// A packet to the broker.
pub(super) enum Outgoing<'a> {
    Connect { keep_alive: u16, receive_maximum: u16 },
    Publish { topic: &'a str, payload: &'a [u8], qos: u8, id: Option<u16>, duplicate: bool },
    PubAck(u16),
    PubRec(u16, u8),
    PubRel(u16),
    PubComp(u16),
    Subscribe(u16, Filters<'a>),
    Unsubscribe(u16, Filters<'a>),
    PingReq,
    Disconnect,
    Other,
}

/// The first of a packet's topic filters, and how many there are.
#[derive(Clone, Copy)]
pub(super) struct Filters<'a> {
    pub first: &'a str,
    pub count: u16,
}

pub(super) fn read(protocol: Protocol, packet: &[u8]) -> Outgoing<'_> {
    parse(protocol, packet).unwrap_or(Outgoing::Other)
}

fn parse(protocol: Protocol, packet: &[u8]) -> Result<Outgoing<'_>, Violation> {
    let Some(header) = frame::header(packet)?.filter(|h| h.total == packet.len()) else {
        return Ok(Outgoing::Other);
    };
    let reader = &mut Reader::new(header.kind, &packet[header.len..]);
    Ok(match header.kind {
        Kind::Connect => {
            // Name, level and flags (MQTT 5.0 §3.1.2).
            reader.text()?;
            reader.take(2)?;
            let keep_alive = reader.short()?;
            let announced = match protocol {
                Protocol::V5 => properties::read(reader).ok().and_then(|p| p.receive_maximum),
                Protocol::V311 => None,
            };
            Outgoing::Connect { keep_alive, receive_maximum: announced.unwrap_or(u16::MAX) }
        }
        Kind::Publish => {
            let topic = reader.text()?;
            let qos = (header.flags >> 1) & 3;
            let id = if qos > 0 { Some(reader.identifier()?) } else { None };
            skip_properties(protocol, reader)?;
            Outgoing::Publish { topic, payload: reader.rest(), qos, id, duplicate: header.flags & 8 != 0 }
        }
        Kind::PubAck => Outgoing::PubAck(reader.identifier()?),
        Kind::PubRec => Outgoing::PubRec(reader.identifier()?, if reader.is_empty() { 0 } else { reader.byte()? }),
        Kind::PubRel => Outgoing::PubRel(reader.identifier()?),
        Kind::PubComp => Outgoing::PubComp(reader.identifier()?),
        Kind::Subscribe => {
            let id = reader.identifier()?;
            skip_properties(protocol, reader)?;
            Outgoing::Subscribe(id, filters(reader, 1)?)
        }
        Kind::Unsubscribe => {
            let id = reader.identifier()?;
            skip_properties(protocol, reader)?;
            Outgoing::Unsubscribe(id, filters(reader, 0)?)
        }
        Kind::PingReq => Outgoing::PingReq,
        Kind::Disconnect => Outgoing::Disconnect,
        _ => Outgoing::Other,
    })
}

/// Their own bounds are for brokers.
fn skip_properties(protocol: Protocol, reader: &mut Reader<'_>) -> Result<(), Violation> {
    if protocol == Protocol::V5 {
        let len = reader.variable()?;
        reader.take(len as usize)?;
    }
    Ok(())
}

/// Each followed by `options` bytes (MQTT 5.0 §3.8.3, §3.10.3).
fn filters<'a>(reader: &mut Reader<'a>, options: usize) -> Result<Filters<'a>, Violation> {
    let mut filters = Filters { first: reader.text()?, count: 1 };
    reader.take(options)?;
    while !reader.is_empty() {
        reader.binary()?;
        reader.take(options)?;
        filters.count = filters.count.saturating_add(1);
    }
    Ok(filters)
}
