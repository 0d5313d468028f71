//! Defines how the tests write packets.

use super::*;

/// A packet with this first byte.
pub(super) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    variable(body.len(), &mut bytes);
    bytes.extend_from_slice(body);
    bytes
}

pub(super) fn variable(mut value: usize, to: &mut Vec<u8>) {
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        to.push(byte | if value > 0 { 0x80 } else { 0 });
        if value == 0 {
            return;
        }
    }
}

/// A string or binary data, with its length.
pub(super) fn text(content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    [&u16::try_from(content.len()).expect("a short text").to_be_bytes(), content].concat()
}

/// Properties with their length, in MQTT 5 only.
pub(super) fn listed(protocol: Protocol, properties: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    if protocol == Protocol::V5 {
        variable(properties.len(), &mut bytes);
        bytes.extend_from_slice(properties);
    }
    bytes
}

pub(super) fn connect(protocol: Protocol, receive_maximum: Option<u16>) -> Vec<u8> {
    let level = if protocol == Protocol::V5 { 5 } else { 4 };
    let announced = receive_maximum.map_or(Vec::new(), |n| [&[0x21][..], &n.to_be_bytes()].concat());
    let body = [text("MQTT"), vec![level, 0, 0, 30], listed(protocol, &announced), text("client")].concat();
    packet(0x10, &body)
}

pub(super) fn publish(
    protocol: Protocol,
    flags: u8,
    topic: &str,
    id: u16,
    properties: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    let id = if flags & 6 == 0 { Vec::new() } else { id.to_be_bytes().to_vec() };
    packet(0x30 | flags, &[text(topic), id, listed(protocol, properties), payload.to_vec()].concat())
}

/// A packet of an identifier and what follows it.
pub(super) fn about(first: u8, id: u16, rest: &[u8]) -> Vec<u8> {
    packet(first, &[&id.to_be_bytes(), rest].concat())
}

pub(super) fn subscribe(protocol: Protocol, id: u16, filters: &[&str]) -> Vec<u8> {
    let filters: Vec<u8> = filters.iter().flat_map(|f| [text(f), vec![1]].concat()).collect();
    about(0x82, id, &[listed(protocol, &[]), filters].concat())
}

pub(super) fn unsubscribe(protocol: Protocol, id: u16, filters: &[&str]) -> Vec<u8> {
    let filters: Vec<u8> = filters.iter().flat_map(text).collect();
    about(0xa2, id, &[listed(protocol, &[]), filters].concat())
}

/// What was received, written again: the same but for properties of no interest.
pub(super) fn again(protocol: Protocol, received: &Received) -> Vec<u8> {
    let with = |id: u8, words: Option<&str>| words.map_or(Vec::new(), |w| [vec![id], text(w)].concat());
    let said =
        |words: Option<&str>, server: Option<&str>| listed(protocol, &[with(0x1f, words), with(0x1c, server)].concat());
    let ack = |first, id, code, reason| match protocol {
        Protocol::V311 => about(first, id, &[]),
        Protocol::V5 => about(first, id, &[vec![code], said(reason, None)].concat()),
    };
    match *received {
        Received::ConnAck { code, session_present, version3: true, .. } => {
            packet(0x20, &[session_present.into(), code])
        }
        Received::ConnAck { code, session_present, reason, reference, server_keep_alive, .. } => {
            let seconds = server_keep_alive.map_or(Vec::new(), |s| [vec![0x13], s.to_be_bytes().to_vec()].concat());
            let list = listed(protocol, &[with(0x1f, reason), with(0x1c, reference), seconds].concat());
            packet(0x20, &[vec![session_present.into(), code], list].concat())
        }
        Received::PingResp => packet(0xd0, &[]),
        Received::Publish { topic, payload, qos, id, retain, duplicate } => {
            let flags = u8::from(retain) | qos << 1 | u8::from(duplicate) << 3;
            publish(protocol, flags, topic, id.unwrap_or(0), &[], payload)
        }
        Received::PubAck { id, code, reason } => ack(0x40, id, code, reason),
        Received::PubRec { id, code, reason } => ack(0x50, id, code, reason),
        Received::PubRel { id } => ack(0x62, id, 0, None),
        Received::PubComp { id, code } => ack(0x70, id, code, None),
        Received::SubAck { id, codes, reason } => about(0x90, id, &[said(reason, None), codes.to_vec()].concat()),
        Received::UnsubAck { id, codes } => about(0xb0, id, &[said(None, None), codes.to_vec()].concat()),
        Received::Disconnect { code, reason, reference } => {
            packet(0xe0, &[vec![code], said(reason, reference)].concat())
        }
    }
}
