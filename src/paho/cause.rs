//! Defines what the end of a connection that could carry MQTT means; pure. What keeps one from coming about is the transport's matter.

use std::{
    io::{self, ErrorKind},
    time::Duration,
};

use paho_mqtt as mqtt;

use crate::{
    event::{Ask, Cause, Reason, Unanswered},
    fleet::Protocol,
    mqtt::{Asked, name as mqtt_name},
    text::Scrubbed,
    transport,
};

fn cause(reason: Reason, detail: &str) -> Cause {
    Cause { reason, detail: Scrubbed::new(detail) }
}

/// What lies between this host and the broker, as far as an end may be due to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Way {
    pub tls: bool,
}

/// What `asked`, sent so long ago, is to whoever has to find the cause of an end; `None` where it explains
/// nothing. `probe` is the topic of the client's probes, where it sends any.
pub(super) fn unanswered(
    asked: &Asked,
    waited: Duration,
    is_familiar: bool,
    probe: Option<&str>,
) -> Option<Unanswered> {
    let is_of_probe = |topic: &str| probe.is_some_and(|probe| *mqtt_name(probe) == *topic);
    let (ask, is_probe) = match asked {
        Asked::Connect => (Ask::Connect, false),
        Asked::PingReq => (Ask::PingReq, false),
        // Nothing answers it: long after it, it is only what came last.
        Asked::Publish { qos: 0, .. } if waited > Unanswered::RIGHT_AFTER => return None,
        Asked::Publish { topic, .. } => (Ask::Publish, is_of_probe(topic)),
        Asked::Subscribe { filter, .. } => (Ask::Subscribe, is_of_probe(filter)),
        Asked::Unsubscribe { .. } => (Ask::Unsubscribe, false),
    };
    Some(Unanswered { ask, packet: Scrubbed::new(&asked.to_string()), is_probe, is_familiar, waited })
}

/// Adds what had no answer to what ended a connection that was up.
pub(super) fn with(cause: Cause, unanswered: Option<&Unanswered>) -> Cause {
    let Some(unanswered) = unanswered.filter(|_| cause.reason.may_mean_a_packet()) else { return cause };
    let Cause { reason, detail } = cause;
    let detail = match detail.as_str() {
        "" => unanswered.after(),
        CLOSED => format!("{CLOSED} {}", unanswered.after()),
        words => format!("{words}, {}", unanswered.after()),
    };
    Cause { reason, detail: Scrubbed::new(&detail) }
}

const CLOSED: &str = "the broker closed the connection";

/// Why nothing comes from the broker any more: its stream ended, with an error or without, before the
/// CONNACK (`is_up`) or after it.
pub(super) fn ended(error: Option<&io::Error>, is_up: bool) -> Cause {
    // With or without taking leave in TLS.
    let closed = |detail: &str| detail.starts_with(CLOSED);
    match error.map(transport::cause) {
        Some(told) if is_up => told,
        // An orderly end and a reset are the same before the CONNACK.
        Some(told) if told.reason != Reason::ConnectionLost || !(closed(&told.detail) || is_reset(error)) => told,
        _ if is_up => cause(Reason::ConnectionLost, CLOSED),
        // What it may want instead is for the lifecycle to say, which knows of the others.
        _ => cause(Reason::ConnectionLost, "the broker closed the connection instead of answering CONNECT"),
    }
}

fn is_reset(error: Option<&io::Error>) -> bool {
    error.is_some_and(|error| matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted))
}

/// Why the broker refused, by the code of its CONNACK and what it said besides. A broker of MQTT 3 answers
/// a client of MQTT 5 in its own way (`version3`).
pub(super) fn refused(protocol: Protocol, version3: bool, code: u8, words: Option<&str>) -> Cause {
    let words = words.unwrap_or_default();
    if version3 {
        let reason = Reason::from_return_code(code);
        // One that accepts is of no use to a client of MQTT 5 either.
        return match code == 0 || reason == Reason::UnsupportedProtocolVersion {
            true => cause(Reason::UnsupportedProtocolVersion, "it answers in MQTT 3"),
            false => cause(reason, words),
        };
    }
    match protocol {
        Protocol::V311 if code > 5 => cause(Reason::OtherBrokerReason, &format!("CONNACK return code {code}")),
        Protocol::V311 => cause(Reason::from_return_code(code), words),
        Protocol::V5 => coded("CONNACK", code, words),
    }
}

/// A reason code of MQTT 5.0 that is a failure; one that nobody knows is told as it is.
fn coded(packet: &str, code: u8, words: &str) -> Cause {
    let reason = Reason::from_code(code);
    if reason != Reason::OtherBrokerReason {
        return cause(reason, words);
    }
    let colon = if words.is_empty() { "" } else { ": " };
    cause(reason, &format!("{packet} reason code 0x{code:02x}{colon}{words}"))
}

/// Why the broker, speaking MQTT 5.0, ended a connection. `words` is its reason string, if any.
pub(super) fn disconnected(code: u8, words: Option<&str>) -> Cause {
    let words = words.unwrap_or_default();
    if code >= 0x80 {
        return coded("DISCONNECT", code, words);
    }
    cause(Reason::ConnectionLost, if words.is_empty() { "the broker said goodbye" } else { words })
}

/// Whether what answers CONNECT with these bytes speaks another protocol: text, or TLS. No packet of MQTT
/// begins with four characters of text, since its length would have to be that of a long one.
pub(super) fn other_protocol(bytes: &[u8], way: Way) -> Option<Cause> {
    let is_text = |byte: &&u8| matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n');
    let detail = match bytes {
        _ if bytes.starts_with(b"HTTP/") => {
            "it answers in HTTP, not in MQTT (it may be a web server, or a port for WebSocket)".to_owned()
        }
        // A record (RFC 8446 §5.1).
        [0x14..=0x17, 3, 0..=4, ..] if way.tls => "it answers in TLS, not in MQTT".to_owned(),
        [0x14..=0x17, 3, 0..=4, ..] => "it answers in TLS, not in MQTT (this port wants TLS)".to_owned(),
        _ if bytes.len() >= 4 && bytes.iter().take(4).filter(is_text).count() == 4 => {
            let line = bytes.split(|byte| matches!(byte, b'\r' | b'\n')).find(|line| !line.is_empty());
            let line = line.unwrap_or_default();
            format!("it does not answer in MQTT, but with \"{}\"", Scrubbed::from_bytes(&line[..line.len().min(80)]))
        }
        _ => return None,
    };
    Some(cause(Reason::ProtocolViolation, &detail))
}

/// Why Paho gave a connect up of which nothing else tells.
pub(super) fn of_paho(error: &mqtt::Error) -> Cause {
    cause(Reason::Internal, &format!("Paho: {error}"))
}

/// A reason code of MQTT 5.0 that is a failure, in words; the broker's own come after that.
pub(super) fn code(code: u8, said: Option<&str>) -> Scrubbed {
    let words = match Reason::from_code(code) {
        Reason::OtherBrokerReason => format!("reason code 0x{code:02x}"),
        reason => reason.words().to_owned(),
    };
    match said {
        Some(said) if !said.is_empty() => Scrubbed::new(&format!("{words}: {said}")),
        _ => Scrubbed::new(&words),
    }
}

/// Why a subscription failed, with the broker's reason string where it gave one.
pub(super) fn subscription(error: &mqtt::Error) -> Scrubbed {
    match error {
        mqtt::Error::ReasonCode(code, properties) => {
            let said = properties.get_string(mqtt::PropertyCode::ReasonString);
            self::code(*code as u32 as u8, said.as_deref())
        }
        // The return code 0x80 of MQTT 3.1.1, which says no more.
        mqtt::Error::Failure => Scrubbed::default(),
        other => Scrubbed::new(&format!("it was not sent: Paho: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_tls_are_no_mqtt() {
        let told = |came: &[u8]| other_protocol(came, Way::default()).map(|cause| cause.detail.to_string());
        let words = told(b"220 mail.example ESMTP\r\n").expect("text");
        assert_eq!(words, "it does not answer in MQTT, but with \"220 mail.example ESMTP\"");
        assert!(told(b"HTTP/1.1 400 Bad Request\r\n\r\n").is_some_and(|words| words.contains("in HTTP")));
        assert!(told(&[0x15, 3, 1, 0, 2, 2, 70]).is_some_and(|words| words.contains("wants TLS")));
        assert!(told(&[b'x'; 5_000]).is_some_and(|words| words.len() < 140));
        for came in [&b""[..], b"@@", &[0x20, 2, 0, 0], &[0x40, 2, 0, 1], &[0x30, 9, 0, 3, b'a', b'/', b'b', 0, 0]] {
            assert_eq!(told(came), None, "{came:?}");
        }
    }
}
