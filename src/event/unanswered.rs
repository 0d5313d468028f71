//! Defines what the other side had been asked and had not answered when a connection ended; what follows from it is the lifecycle's matter.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::text::Scrubbed;

/// What was sent that wants an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// The beginning of TLS (RFC 8446 §4.1.2).
    ClientHello,
    Connect,
    PingReq,
    Publish,
    Subscribe,
    Unsubscribe,
}

/// What the other side had been asked and had not answered when a connection ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unanswered {
    pub ask: Ask,
    /// The packet in words, such as `PUBLISH to a/b at QoS 1`.
    pub packet: Scrubbed,
    /// Whether it was a probe of this program's, or the subscription that brings its echoes back.
    pub is_probe: bool,
    /// Whether the broker answered one to the same topic before, on the same connection.
    pub is_familiar: bool,
    /// How long it had had no answer.
    pub waited: Duration,
}

impl Unanswered {
    /// What comes so soon after a packet may well come of it.
    pub const RIGHT_AFTER: Duration = Duration::from_secs(3);

    /// One that says no more than what it is.
    pub fn new(ask: Ask) -> Unanswered {
        Unanswered { ask, packet: Scrubbed::default(), is_probe: false, is_familiar: false, waited: Duration::ZERO }
    }

    /// Whether it may be why the broker ended the connection: brokers do so to a client that asks for what it
    /// may not do, where MQTT has no other answer (MQTT 3.1.1 §3.3.5) or they give none.
    pub fn is_suspect(&self) -> bool {
        let is_of_rights = matches!(self.ask, Ask::Publish | Ask::Subscribe | Ask::Unsubscribe);
        is_of_rights && !self.is_familiar && self.waited <= Self::RIGHT_AFTER
    }

    /// `2 ms after PUBLISH to a/b at QoS 1`.
    pub fn after(&self) -> String {
        let whose = if self.is_probe { " (its probe)" } else { "" };
        let waited = match self.waited.as_millis() {
            ms @ ..1_000 => format!("{ms} ms"),
            ms @ ..10_000 => format!("{}.{} s", ms / 1_000, ms / 100 % 10),
            ms => format!("{} s", ms / 1_000),
        };
        format!("{waited} after {}{whose}", self.packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_just_asked_for_the_first_time_is_suspected() {
        let asked = |ask, is_familiar, ms| {
            let waited = Duration::from_millis(ms);
            let packet = Scrubbed::new("PUBLISH to a at QoS 1");
            Unanswered { is_familiar, waited, packet, ..Unanswered::new(ask) }
        };
        assert!(asked(Ask::Publish, false, 3_000).is_suspect() && asked(Ask::Subscribe, false, 2).is_suspect());
        assert!(!asked(Ask::Publish, true, 2).is_suspect());
        assert!(!asked(Ask::Publish, false, 3_001).is_suspect());
        assert!(!asked(Ask::PingReq, false, 2).is_suspect() && !asked(Ask::Connect, false, 2).is_suspect());
        let after = |ms| asked(Ask::Publish, false, ms).after();
        assert_eq!(after(2), "2 ms after PUBLISH to a at QoS 1");
        assert_eq!(after(1_250), "1.2 s after PUBLISH to a at QoS 1");
        assert_eq!(after(61_000), "61 s after PUBLISH to a at QoS 1");
        let probe = Unanswered { is_probe: true, ..asked(Ask::Publish, false, 0) };
        assert_eq!(probe.after(), "0 ms after PUBLISH to a at QoS 1 (its probe)");
    }
}
