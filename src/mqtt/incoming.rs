//! Defines how the packets of a broker are read (MQTT 3.1.1 §3, MQTT 5.0 §3), each by itself; whether it is its turn is not its matter.

use super::{
    Received, Violation,
    frame::{Header, Kind},
    properties,
    reader::Reader,
};
use crate::fleet::Protocol;

/// `body` is what follows the header.
pub(super) fn read<'a>(protocol: Protocol, header: Header, body: &'a [u8]) -> Result<Received<'a>, Violation> {
    let kind = header.kind;
    let reader = Reader::new(kind, body);
    match kind {
        Kind::ConnAck => connack(protocol, reader),
        Kind::Publish => publish(protocol, header.flags, reader),
        Kind::PubAck => ack(protocol, reader).map(|Ack { id, code, reason }| Received::PubAck { id, code, reason }),
        Kind::PubRec => ack(protocol, reader).map(|Ack { id, code, reason }| Received::PubRec { id, code, reason }),
        Kind::PubRel => ack(protocol, reader).map(|Ack { id, .. }| Received::PubRel { id }),
        Kind::PubComp => ack(protocol, reader).map(|Ack { id, code, .. }| Received::PubComp { id, code }),
        Kind::SubAck => suback(protocol, reader),
        Kind::UnsubAck => unsuback(protocol, reader),
        Kind::PingResp => reader.end().map(|()| Received::PingResp),
        Kind::Disconnect => disconnect(reader),
        _ => Err(Violation::protocol(kind, "from a broker")),
    }
}

/// What a broker may send (MQTT 3.1.1 §2.2.1, MQTT 5.0 §2.1.2). AUTH is for those who asked for it
/// (MQTT 5.0 §4.12), which no client here does.
pub(super) fn check_sender(protocol: Protocol, kind: Kind) -> Result<(), Violation> {
    let words = match (kind, protocol) {
        (Kind::Connect | Kind::Subscribe | Kind::Unsubscribe | Kind::PingReq, _) => "from a broker",
        (Kind::Disconnect, Protocol::V311) => "from a broker of MQTT 3.1.1",
        (Kind::Auth, Protocol::V311) => "in MQTT 3.1.1",
        (Kind::Auth, Protocol::V5) => "that was not asked for",
        _ => return Ok(()),
    };
    Err(Violation::protocol(kind, words))
}

/// MQTT 3.1.1 §3.2, MQTT 5.0 §3.2. A broker that knows MQTT 3 only answers a client of MQTT 5 with two
/// bytes; in MQTT 5 the length of the properties cannot be left out.
fn connack(protocol: Protocol, mut reader: Reader<'_>) -> Result<Received<'_>, Violation> {
    let (flags, code) = (reader.byte()?, reader.byte()?);
    if flags > 1 {
        return Err(Violation::byte(reader.kind, "with acknowledge flags", flags));
    }
    let session_present = flags == 1;
    if session_present && code != 0 {
        return Err(Violation::protocol(reader.kind, "with a session, but refused"));
    }
    let version3 = protocol == Protocol::V5 && reader.is_empty();
    let mut kept = properties::Properties::default();
    if protocol == Protocol::V5 && !version3 {
        check_code(reader.kind, code, &[0])?;
        kept = properties::read(&mut reader)?;
    }
    reader.end()?;
    let properties::Properties { reason, reference, server_keep_alive, .. } = kept;
    Ok(Received::ConnAck { code, session_present, reason, reference, server_keep_alive, version3 })
}

/// MQTT 3.1.1 §3.3, MQTT 5.0 §3.3; topic names: §4.7.
fn publish(protocol: Protocol, flags: u8, mut reader: Reader<'_>) -> Result<Received<'_>, Violation> {
    let kind = reader.kind;
    let topic = reader.text()?;
    let qos = (flags >> 1) & 3;
    let id = if qos > 0 { Some(reader.identifier()?) } else { None };
    if protocol == Protocol::V5 && properties::read(&mut reader)?.topic_alias.is_some() {
        return Err(Violation::topic_alias(kind));
    }
    if topic.is_empty() {
        return Err(Violation::protocol(kind, "without a topic"));
    }
    if topic.contains(['+', '#']) {
        return Err(Violation::protocol(kind, "with a wildcard in its topic"));
    }
    let (retain, duplicate) = (flags & 1 != 0, flags & 8 != 0);
    Ok(Received::Publish { topic, payload: reader.rest(), qos, id, retain, duplicate })
}

struct Ack<'a> {
    id: u16,
    code: u8,
    reason: Option<&'a str>,
}

/// PUBACK, PUBREC, PUBREL and PUBCOMP: an identifier (MQTT 3.1.1 §3.4–§3.7), and in MQTT 5 a code and
/// properties that can be left out (MQTT 5.0 §3.4–§3.7).
fn ack(protocol: Protocol, mut reader: Reader<'_>) -> Result<Ack<'_>, Violation> {
    let id = reader.identifier()?;
    let (mut code, mut reason) = (0, None);
    if protocol == Protocol::V5 && !reader.is_empty() {
        code = reader.byte()?;
        let successes: &[u8] = if matches!(reader.kind, Kind::PubAck | Kind::PubRec) { &[0, 0x10] } else { &[0] };
        check_code(reader.kind, code, successes)?;
        if !reader.is_empty() {
            reason = properties::read(&mut reader)?.reason;
        }
    }
    reader.end()?;
    Ok(Ack { id, code, reason })
}

/// MQTT 3.1.1 §3.9, MQTT 5.0 §3.9.
fn suback(protocol: Protocol, mut reader: Reader<'_>) -> Result<Received<'_>, Violation> {
    let kind = reader.kind;
    let id = reader.identifier()?;
    let reason = if protocol == Protocol::V5 { properties::read(&mut reader)?.reason } else { None };
    let codes = reader.rest();
    if codes.is_empty() {
        return Err(Violation::protocol(kind, "without reason codes"));
    }
    for &code in codes {
        match protocol {
            // Only 0x80 is a refusal by the book, but some brokers refuse with the codes of MQTT 5 (ejabberd).
            Protocol::V311 if (3..0x80).contains(&code) => return Err(Violation::byte(kind, "with return code", code)),
            Protocol::V311 => {}
            Protocol::V5 => check_code(kind, code, &[0, 1, 2])?,
        }
    }
    Ok(Received::SubAck { id, codes, reason })
}

/// MQTT 3.1.1 §3.11, MQTT 5.0 §3.11.
fn unsuback(protocol: Protocol, mut reader: Reader<'_>) -> Result<Received<'_>, Violation> {
    let kind = reader.kind;
    let id = reader.identifier()?;
    if protocol == Protocol::V311 {
        return reader.end().map(|()| Received::UnsubAck { id, codes: &[] });
    }
    properties::read(&mut reader)?;
    let codes = reader.rest();
    if codes.is_empty() {
        return Err(Violation::protocol(kind, "without reason codes"));
    }
    for &code in codes {
        check_code(kind, code, &[0, 0x11])?;
    }
    Ok(Received::UnsubAck { id, codes })
}

/// MQTT 5.0 §3.14: code and properties can be left out, 0x04 is a client's.
fn disconnect(mut reader: Reader<'_>) -> Result<Received<'_>, Violation> {
    let (mut code, mut properties) = (0, properties::Properties::default());
    if !reader.is_empty() {
        code = reader.byte()?;
        check_code(reader.kind, code, &[0])?;
        if !reader.is_empty() {
            properties = properties::read(&mut reader)?;
        }
    }
    reader.end()?;
    Ok(Received::Disconnect { code, reason: properties.reason, reference: properties.reference })
}

/// Codes of 0x80 and more are failures, known here or not (MQTT 5.0 §2.4); below, only these exist.
fn check_code(kind: Kind, code: u8, successes: &[u8]) -> Result<(), Violation> {
    match code >= 0x80 || successes.contains(&code) {
        true => Ok(()),
        false => Err(Violation::byte(kind, "with reason code", code)),
    }
}
