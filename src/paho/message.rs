//! Defines how messages and their topics become Paho's: a client's own, and those of its probes; pure.

use paho_mqtt as mqtt;

use crate::fleet::Message;

/// What the message of an acknowledged probe says.
pub(super) const PROBE: &[u8] = b"mqfleet";

/// The digits after that in an echo's message.
const DIGITS: usize = 16;

pub(super) fn message(message: &Message) -> mqtt::Message {
    with_payload(message, message.payload.to_vec())
}

/// The same with another payload.
pub(super) fn with_payload(message: &Message, payload: Vec<u8>) -> mqtt::Message {
    let builder = mqtt::MessageBuilder::new().topic(&*message.topic).payload(payload);
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
pub(super) fn ack(client_id: &str) -> mqtt::Message {
    mqtt::Message::new(probe_topic(client_id), PROBE, mqtt::QoS::AtLeastOnce)
}

/// The message of an echo.
pub(super) fn echo(client_id: &str, number: u64) -> mqtt::Message {
    mqtt::Message::new(probe_topic(client_id), echo_payload(number), mqtt::QoS::AtMostOnce)
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

/// The topic of a client's own probes: wildcards, `$` in front and what brokers refuse in a topic
/// (MQTT 5.0 §1.5.4, §4.7) become `_`.
pub fn probe_topic(client_id: &str) -> String {
    let safe = |c: char| if matches!(c, '+' | '#') || c.is_control() { '_' } else { c };
    let id: String = client_id.chars().map(safe).collect();
    let id = id.strip_prefix('$').map_or(id.clone(), |rest| format!("_{rest}"));
    format!("mqfleet/probe/{id}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_probe_topic_keeps_the_id() {
        assert_eq!(probe_topic("press-0001"), "mqfleet/probe/press-0001");
        assert_eq!(probe_topic("$SYS/+/#\0\x1b"), "mqfleet/probe/_SYS/_/___");
        assert_eq!(probe_topic(""), "mqfleet/probe/");
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

    proptest! {
        #[test]
        fn a_probe_topic_is_a_topic_name(id in "(?s).{0,80}") {
            let topic = probe_topic(&id);
            prop_assert!(!topic.contains(['+', '#', '\0']) && !topic.starts_with('$'));
        }
    }
}
