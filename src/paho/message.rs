//! Defines how messages and their topics become Paho's: a client's own, and those of its probes; pure.

use paho_mqtt as mqtt;

use crate::fleet::{Message, Protocol};

/// What the message of an acknowledged probe says.
pub(super) const PROBE: &[u8] = b"mqfleet";

/// The digits after that in an echo's message.
const DIGITS: usize = 16;

pub(super) fn message(message: &Message) -> mqtt::Message {
    let builder = mqtt::MessageBuilder::new().topic(&*message.topic).payload(&*message.payload);
    builder.qos(qos(message.qos)).retained(message.retain).finalize()
}

pub(super) fn qos(level: u8) -> mqtt::QoS {
    match level {
        0 => mqtt::QoS::AtMostOnce,
        1 => mqtt::QoS::AtLeastOnce,
        _ => mqtt::QoS::ExactlyOnce,
    }
}

/// The message of an acknowledged probe.
pub(super) fn ack(topic: &str) -> mqtt::Message {
    mqtt::Message::new(topic, PROBE, mqtt::QoS::AtLeastOnce)
}

/// The message of an echo.
pub(super) fn echo(topic: &str, number: u64) -> mqtt::Message {
    mqtt::Message::new(topic, echo_payload(number), mqtt::QoS::AtMostOnce)
}

fn echo_payload(number: u64) -> Vec<u8> {
    let mut payload = PROBE.to_vec();
    payload.extend(format!("{number:0DIGITS$x}").bytes());
    payload
}

/// The number of the echo with this message, if it is one's.
pub(super) fn echo_number(payload: &[u8]) -> Option<u64> {
    let digits = payload.strip_prefix(PROBE)?;
    if digits.len() != DIGITS || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// `%s` in a payload is the message's number, `%%` a percent sign.
pub(super) fn numbered(payload: &[u8], number: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 8);
    let mut rest = payload;
    while let Some(at) = rest.iter().position(|&b| b == b'%') {
        out.extend_from_slice(&rest[..at]);
        match rest.get(at + 1) {
            Some(b's') => out.extend_from_slice(number.to_string().as_bytes()),
            Some(b'%') => out.push(b'%'),
            Some(&other) => out.extend_from_slice(&[b'%', other]),
            None => out.push(b'%'),
        }
        rest = rest.get(at + 2..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out
}

/// How long the packet of a message is, in bytes, without properties (MQTT 3.1.1 §3.3, MQTT 5.0 §3.3).
pub fn length(message: &Message, protocol: Protocol) -> u64 {
    let identifier = if message.qos > 0 { 2 } else { 0 };
    let properties = if protocol == Protocol::V5 { 1 } else { 0 };
    let body = 2 + message.topic.len() + identifier + properties + message.payload.len();
    let length = match body {
        0..=127 => 1,
        128..=16_383 => 2,
        16_384..=2_097_151 => 3,
        _ => 4,
    };
    (1 + length + body) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_as_long_as_mqtt_makes_it() {
        let message = |payload: usize, qos| Message {
            topic: "t".into(),
            payload: vec![b'x'; payload].into(),
            qos,
            retain: false,
        };
        assert_eq!(length(&message(0, 0), Protocol::V311), 5);
        assert_eq!(length(&message(10, 1), Protocol::V5), 18);
        assert_eq!(length(&message(124, 0), Protocol::V311), 129);
        assert_eq!(length(&message(125, 0), Protocol::V311), 131);
    }

    #[test]
    fn echoes_are_known_by_their_number_and_nothing_else_is_one() {
        assert_eq!(echo_number(&echo_payload(0x2a)), Some(0x2a));
        for other in ["mqfleet", "mqfleet+00000000000002a", "mqfleet000000000000002", "mqfleet000000000000002a0", ""] {
            assert_eq!(echo_number(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn a_payload_can_have_its_number() {
        assert_eq!(numbered(b"{\"n\":%s}", 7), b"{\"n\":7}");
        assert_eq!(numbered(b"100%% of %s%", 12), b"100% of 12%");
        assert_eq!(numbered(b"\xff%x", 1), b"\xff%x");
    }
}
