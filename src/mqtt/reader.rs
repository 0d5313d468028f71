//! Defines how the fields of a packet are read (MQTT 3.1.1 §1.5, MQTT 5.0 §1.5), never beyond its end.

use super::{Violation, frame::Kind};

/// What is left to read of a packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    pub kind: Kind,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(kind: Kind, rest: &'a [u8]) -> Reader<'a> {
        Reader { kind, rest }
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Violation> {
        let Some((head, rest)) = self.rest.split_at_checked(count) else {
            return Err(Violation::malformed(self.kind, "that ends too early"));
        };
        self.rest = rest;
        Ok(head)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Violation> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn short(&mut self) -> Result<u16, Violation> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    pub(super) fn long(&mut self) -> Result<u32, Violation> {
        let bytes = self.take(4)?;
        Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// A packet identifier, which is never 0 (MQTT 3.1.1 §2.3.1, MQTT 5.0 §2.2.1).
    pub(super) fn identifier(&mut self) -> Result<u16, Violation> {
        match self.short()? {
            0 => Err(Violation::malformed(self.kind, "with packet identifier 0")),
            id => Ok(id),
        }
    }

    /// A variable byte integer: four bytes at most, none too many (MQTT 5.0 §1.5.5).
    pub(super) fn variable(&mut self) -> Result<u32, Violation> {
        let mut value = 0;
        for i in 0..4 {
            let byte = self.byte()?;
            value |= u32::from(byte & 0x7f) << (7 * i);
            if byte & 0x80 == 0 && (i == 0 || byte != 0) {
                return Ok(value);
            }
            if byte & 0x80 == 0 {
                break;
            }
        }
        Err(Violation::malformed(self.kind, "with a number of too many bytes"))
    }

    /// Binary data (MQTT 5.0 §1.5.6).
    pub(super) fn binary(&mut self) -> Result<&'a [u8], Violation> {
        let count = self.short()?;
        self.take(count.into())
    }

    /// A string: UTF-8, without surrogates and without U+0000 (MQTT 3.1.1 §1.5.3, MQTT 5.0 §1.5.4).
    pub(super) fn text(&mut self) -> Result<&'a str, Violation> {
        let bytes = self.binary()?;
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Err(Violation::malformed(self.kind, "with text that is not UTF-8"));
        };
        if bytes.contains(&0) {
            return Err(Violation::malformed(self.kind, "with U+0000 in its text"));
        }
        Ok(text)
    }

    /// All that is left.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Nothing may be left.
    pub(super) fn end(&self) -> Result<(), Violation> {
        match self.is_empty() {
            true => Ok(()),
            false => Err(Violation::malformed(self.kind, "with bytes behind its end")),
        }
    }
}
