//! Defines what a connection does with what comes from the broker: whole packets that the inspector lets through wait for Paho, anything else ends it.

use std::{io, time::Duration};

use super::{Connection, State};
use crate::{
    clock::Moment,
    event::{Ask, Cause, Reason, Unanswered},
    fleet::Protocol,
    mqtt::{self, Received, Violation},
    paho::{
        cause,
        connections::{CONNECTIONS, Connections},
        slots::End,
    },
    text::Scrubbed,
};

impl Connection {
    /// Takes in what came from the broker; `partial` is what is left of it before.
    pub(crate) fn take_in(&self, partial: &mut Vec<u8>, bytes: &[u8], at: Moment) {
        let mut state = self.state();
        // Two stamps of the kernel may be a microsecond the wrong way round, and an end never comes before its up.
        let at = at.max(state.heard);
        state.heard = at;
        if partial.is_empty() {
            let taken = self.take_in_packets(&mut state, bytes, at);
            partial.extend_from_slice(&bytes[taken..]);
        } else {
            partial.extend_from_slice(bytes);
            let taken = self.take_in_packets(&mut state, partial, at);
            partial.drain(..taken);
        }
        if partial.is_empty() && partial.capacity() > Self::KEPT {
            *partial = Vec::new();
        }
        state.partial = partial.len();
        if !state.count() {
            let held = Connections::HELD_MAX >> 20;
            let detail =
                format!("the worker holds {held} MiB of packets for all its clients, there is no room for more");
            self.end_in(
                &mut state,
                End::new(at, Cause { reason: Reason::PacketTooLarge, detail: Scrubbed::new(&detail) }),
            );
            partial.clear();
        }
        self.offer(&mut state);
    }

    /// Takes in the packets that are complete, and tells how many bytes they have.
    fn take_in_packets(&self, state: &mut State, bytes: &[u8], at: Moment) -> usize {
        if !state.is_up
            && let Some(cause) = cause::other_protocol(bytes, self.way)
        {
            self.end_in(state, End::new(at, cause));
        }
        let mut taken = 0;
        while !state.is_over {
            match mqtt::frame(&bytes[taken..], self.maximum_packet_size) {
                Ok(Some(length)) => {
                    self.take_in_packet(state, &bytes[taken..taken + length], at);
                    taken += length;
                }
                Ok(None) => return taken,
                Err(violation) => self.violated(state, &violation, at),
            }
        }
        bytes.len()
    }

    fn take_in_packet(&self, state: &mut State, packet: &[u8], at: Moment) {
        let refused = self.refused(state, packet);
        let received = match state.inspector.received(packet) {
            Ok(received) => received,
            Err(violation) => return self.violated(state, &violation, at),
        };
        let end = |cause| End::new(at, cause);
        match &received {
            Received::ConnAck { code: 0, version3: false, server_keep_alive, .. } => {
                state.is_up = true;
                if let Some(seconds) = server_keep_alive {
                    state.keep_alive = Duration::from_secs((*seconds).into());
                }
                if !state.keep_alive.is_zero() {
                    CONNECTIONS.await_idle(self.number, at + state.keep_alive);
                }
            }
            Received::ConnAck { code, reason, version3, .. } => {
                let cause = cause::refused(self.protocol, *version3, *code, *reason);
                return self.end_in(state, end(cause));
            }
            Received::Disconnect { code, reason, .. } => {
                let unanswered = self.unanswered(state, at);
                let cause = cause::with(cause::disconnected(*code, *reason), unanswered.as_deref());
                return self.end_in(state, End { at, cause, unanswered });
            }
            Received::PubAck { id, code: code @ 0x80.., reason }
            | Received::PubRec { id, code: code @ 0x80.., reason } => {
                let words = cause::code(*code, *reason);
                self.slots.refuse(self.slot, self.generation, *id, refused.as_deref(), words);
            }
            _ => {}
        }
        self.slots.received(self.slot, self.generation, &received, at);
        match state.inspector.instead(packet, &received) {
            Some(other) => state.inbox.extend_from_slice(&other),
            None => state.inbox.extend_from_slice(packet),
        }
    }

    /// What came breaks the rules.
    fn violated(&self, state: &mut State, violation: &Violation, at: Moment) {
        let cause = Cause { reason: Reason::ProtocolViolation, detail: Scrubbed::new(&violation.to_string()) };
        let is_between_packets = !self.is_plain || state.is_written();
        self.end_in(state, End::new(at, cause));
        if self.protocol == Protocol::V5 && is_between_packets {
            // DISCONNECT with the reason (MQTT 5.0 §3.14, §4.13).
            state.outbox = vec![0xe0, 1, violation.code()];
        }
    }

    /// Nothing more comes from the broker: its stream ended, with an error or without.
    pub(crate) fn ended(&self, error: Option<&io::Error>) {
        let at = Moment::now();
        let mut state = self.state();
        let cause = cause::ended(error, state.is_up);
        let unanswered = self.unanswered(&state, at);
        let (cause, unanswered) = match state.is_up {
            true => (cause::with(cause, unanswered.as_deref()), unanswered),
            // Be it that CONNECT did not even go out.
            false => (cause, unanswered.or_else(|| Some(Box::new(Unanswered::new(Ask::Connect))))),
        };
        self.end_in(&mut state, End { at, cause, unanswered });
    }

    /// What the broker had been asked and had not answered until then.
    fn unanswered(&self, state: &State, at: Moment) -> Option<Box<Unanswered>> {
        let (asked, sent) = state.inspector.unanswered()?;
        let is_familiar = state.inspector.is_familiar(asked);
        let probe = self.slots.probe_topic(self.slot);
        cause::unanswered(asked, at.since(*sent), is_familiar, probe).map(Box::new)
    }

    /// The topic of the message that this packet is the answer to, before it has been taken in, where it is a
    /// PUBACK or a PUBREC that may refuse it.
    fn refused(&self, state: &State, packet: &[u8]) -> Option<Box<str>> {
        match *packet {
            [0x40 | 0x50, _, high, low, code, ..] if code >= 0x80 && self.protocol == Protocol::V5 => {
                state.inspector.topic(u16::from_be_bytes([high, low])).map(Into::into)
            }
            _ => None,
        }
    }
}
