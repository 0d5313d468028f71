//! Defines how frames of a WebSocket's server are taken apart (RFC 6455 §5), whatever pieces they come in, without waiting for a whole one; pure.

use std::io::Cursor;

use tungstenite::protocol::frame::{
    FrameHeader,
    coding::{Control, Data, OpCode},
};

use super::because;
use crate::{
    event::{Cause, Reason},
    text::Scrubbed,
};

/// The longest a frame that is no data may be (§5.5).
const CONTROL_MAX: u64 = 125;

/// The frames so far.
pub(super) struct Inbound {
    /// What was read and not taken yet.
    ahead: Vec<u8>,
    taken: usize,
    state: State,
    /// Whether a message goes on in the next frame of data (§5.4).
    is_open: bool,
}

#[derive(Clone, Copy)]
enum State {
    Head,
    /// So many bytes of data are still to come.
    Data(u64),
    Control(Control, usize),
}

/// What comes next.
#[derive(Debug, PartialEq)]
pub(super) enum Piece<'a> {
    /// Data that was read already; `took` says how much of it is dealt with.
    Data(&'a [u8]),
    /// So many bytes of data, none of which was read yet; `passed` says how many went by.
    Body(u64),
    Ping(Vec<u8>),
    /// The other side closes the WebSocket.
    Close(Cause),
    /// Nothing until more is read.
    More,
}

impl Inbound {
    /// Begins with what was read already.
    pub(super) fn new(ahead: Vec<u8>) -> Inbound {
        Inbound { ahead, taken: 0, state: State::Head, is_open: false }
    }

    /// Takes in what was read.
    pub(super) fn read(&mut self, bytes: &[u8]) {
        // What was taken goes first: what is left is part of a frame's head, however the reads fall.
        self.ahead.drain(..std::mem::take(&mut self.taken));
        self.ahead.extend_from_slice(bytes);
    }

    /// So many bytes of `Data` are dealt with.
    pub(super) fn took(&mut self, count: usize) {
        self.skip(count);
        self.passed(count);
    }

    /// So many bytes of `Body` went by.
    pub(super) fn passed(&mut self, count: usize) {
        if let State::Data(left) = self.state {
            self.state = State::Data(left.saturating_sub(count as u64));
        }
    }

    fn rest(&self) -> &[u8] {
        &self.ahead[self.taken..]
    }

    fn skip(&mut self, count: usize) {
        self.taken += count;
        if self.taken == self.ahead.len() {
            // An idle connection holds nothing.
            (self.ahead, self.taken) = (Vec::new(), 0);
        }
    }

    /// What comes next.
    ///
    /// # Errors
    /// Where the other side does not keep to the protocol.
    pub(super) fn next(&mut self) -> Result<Piece<'_>, Cause> {
        loop {
            match self.state {
                State::Data(0) => self.state = State::Head,
                State::Data(left) if self.rest().is_empty() => return Ok(Piece::Body(left)),
                State::Data(left) => {
                    let count = self.rest().len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    return Ok(Piece::Data(&self.rest()[..count]));
                }
                State::Control(_, length) if self.rest().len() < length => return Ok(Piece::More),
                State::Control(kind, length) => {
                    let payload = self.rest()[..length].to_vec();
                    self.skip(length);
                    self.state = State::Head;
                    match kind {
                        Control::Close => return closed(&payload).map(Piece::Close),
                        Control::Ping => return Ok(Piece::Ping(payload)),
                        // Nobody asked for it, and that is allowed (§5.5.3).
                        Control::Pong | Control::Reserved(_) => {}
                    }
                }
                State::Head => {
                    let mut cursor = Cursor::new(self.rest());
                    let parsed = FrameHeader::parse(&mut cursor);
                    let length = cursor.position() as usize;
                    let Some((head, left)) = parsed.map_err(|e| wrong(&e.to_string()))? else { return Ok(Piece::More) };
                    self.skip(length);
                    self.state = self.begun(&head, left)?;
                }
            }
        }
    }

    /// What a frame's head leads to.
    fn begun(&mut self, head: &FrameHeader, left: u64) -> Result<State, Cause> {
        if head.rsv1 || head.rsv2 || head.rsv3 {
            return Err(wrong("a frame uses an extension that nobody asked for"));
        }
        if head.mask.is_some() {
            return Err(wrong("a server's frame with a mask"));
        }
        match head.opcode {
            _ if left > u64::MAX / 2 => Err(wrong("a frame longer than there can be")),
            OpCode::Control(_) if !head.is_final || left > CONTROL_MAX => {
                Err(wrong("a control frame in pieces, or too long"))
            }
            OpCode::Control(kind) => Ok(State::Control(kind, left as usize)),
            OpCode::Data(Data::Text) => {
                Err(because(Reason::ProtocolViolation, "the broker sent text in the WebSocket, where MQTT is binary"))
            }
            OpCode::Data(kind) if (kind == Data::Continue) != self.is_open => {
                Err(wrong("a message's pieces do not follow each other"))
            }
            OpCode::Data(_) => {
                self.is_open = !head.is_final;
                Ok(State::Data(left))
            }
        }
    }
}

fn wrong(words: &str) -> Cause {
    because(Reason::ProtocolViolation, &format!("in the broker's WebSocket: {words}"))
}

/// What the other side's closing says (§7.4.1).
fn closed(payload: &[u8]) -> Result<Cause, Cause> {
    let [high, low, words @ ..] = payload else {
        let cause = because(Reason::ConnectionLost, "the broker closed the WebSocket");
        return if payload.is_empty() { Ok(cause) } else { Err(wrong("half a code for closing")) };
    };
    let code = u16::from_be_bytes([*high, *low]);
    let meaning = match code {
        1000 => "normal",
        1001 => "going away",
        1002 => "protocol error",
        1003 => "unsupported data",
        1007 => "invalid data",
        1008 => "policy violation",
        1009 => "message too big",
        1010 => "missing extension",
        1011 => "internal error",
        1012 => "service restart",
        1013 => "try again later",
        1014 => "bad gateway",
        _ => "code of its own",
    };
    let words = Scrubbed::from_bytes(words);
    let colon = if words.is_empty() { "" } else { ": " };
    let detail = format!("the broker closed the WebSocket with {code} ({meaning}){colon}{}", words.as_str());
    Ok(because(Reason::ConnectionLost, &detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All data of these bytes, read in pieces of this size, and the pings among it.
    fn taken_apart(bytes: &[u8], piece: usize) -> (Vec<u8>, Vec<Vec<u8>>, Option<Cause>) {
        let mut inbound = Inbound::new(Vec::new());
        let (mut data, mut pings, mut pieces) = (Vec::new(), Vec::new(), bytes.chunks(piece));
        loop {
            match inbound.next() {
                Ok(Piece::Data(part)) => {
                    // Not all at once, either.
                    let count = part.len().div_ceil(2);
                    data.extend_from_slice(&part[..count]);
                    inbound.took(count);
                }
                Ok(Piece::Ping(said)) => pings.push(said),
                Ok(Piece::Close(cause)) => return (data, pings, Some(cause)),
                Ok(Piece::Body(_) | Piece::More) => match pieces.next() {
                    Some(bytes) => inbound.read(bytes),
                    None => {
                        assert!(inbound.ahead.capacity() == 0 || !inbound.rest().is_empty(), "nothing is held");
                        return (data, pings, None);
                    }
                },
                Err(cause) => return (data, pings, Some(cause)),
            }
        }
    }

    #[test]
    fn frames_are_taken_apart_in_any_pieces() {
        let long = vec![b'x'; 70_000];
        let frames = [
            &[0x02, 2][..],
            b"ab",
            &[0x89, 5],
            b"there",
            &[0x00, 126, 0, 130],
            &[b'c'; 130],
            &[0x80, 0],
            &[0x8a, 1, 0],
            &[0x82, 127, 0, 0, 0, 0, 0, 1, 0x11, 0x70],
            &long,
        ]
        .concat();
        let expected = [b"ab", &[b'c'; 130][..], &long].concat();
        for piece in [1, 2, 3, 7, 1_000, 1_000_000] {
            let (data, pings, end) = taken_apart(&frames, piece);
            assert!(data == expected, "{piece}");
            assert_eq!((pings, end), (vec![b"there".to_vec()], None));
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_comes_is_too_strange(bytes: Vec<u8>, piece in 1_usize..9) {
            let whole = taken_apart(&bytes, bytes.len().max(1));
            proptest::prop_assert_eq!(taken_apart(&bytes, piece), whole);
        }
    }

    #[test]
    fn what_breaks_the_protocol_is_told() {
        for frame in [
            &[0xc2, 0][..],                         // a reserved bit
            &[0x82, 0x80, 0, 0, 0, 0],              // a mask
            &[0x83, 0],                             // a reserved kind
            &[0x8b, 0],                             // another
            &[0x81, 1, b'x'],                       // text
            &[0x80, 0],                             // a continuation of nothing
            &[0x02, 0, 0x82, 0],                    // two beginnings
            &[0x09, 0],                             // a ping in pieces
            &[0x89, 126, 0, 126],                   // a long one
            &[0x88, 1, 3],                          // half a code
            &[0x82, 127, 255, 0, 0, 0, 0, 0, 0, 0], // a length with its highest bit
        ] {
            let (_, _, end) = taken_apart(frame, 1);
            assert_eq!(end.map(|c| c.reason), Some(Reason::ProtocolViolation), "{frame:?}");
        }
    }
}
