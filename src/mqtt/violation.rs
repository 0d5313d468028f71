//! Defines `Violation`, why a packet is not let through, in words for people; of what the broker sent it keeps nothing but numbers.

use std::fmt;

use super::frame::Kind;

/// Why a packet is not let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    kind: Kind,
    code: u8,
    fault: Fault,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Words(&'static str),
    Byte(&'static str, u8),
    Identifier(u16, &'static str),
    Property(u8, &'static str),
    Counts { told: u32, asked: u32 },
    Size { bytes: u64, maximum: u32 },
}

impl Violation {
    pub(super) fn malformed(kind: Kind, words: &'static str) -> Violation {
        Violation { kind, code: 0x81, fault: Fault::Words(words) }
    }

    pub(super) fn protocol(kind: Kind, words: &'static str) -> Violation {
        Violation { kind, code: 0x82, fault: Fault::Words(words) }
    }

    /// `words` end before the byte.
    pub(super) fn byte(kind: Kind, words: &'static str, byte: u8) -> Violation {
        Violation { kind, code: 0x81, fault: Fault::Byte(words, byte) }
    }

    /// `words` are what is wrong about the identifier.
    pub(super) fn identifier(kind: Kind, id: u16, words: &'static str) -> Violation {
        Violation { kind, code: 0x82, fault: Fault::Identifier(id, words) }
    }

    /// `words` are what is wrong about the property.
    pub(super) fn property(kind: Kind, id: u8, words: &'static str) -> Violation {
        Violation { kind, code: 0x82, fault: Fault::Property(id, words) }
    }

    pub(super) fn counts(kind: Kind, told: usize, asked: u16) -> Violation {
        let told = u32::try_from(told).unwrap_or(u32::MAX);
        Violation { kind, code: 0x82, fault: Fault::Counts { told, asked: asked.into() } }
    }

    pub(super) fn size(kind: Kind, bytes: u64, maximum: u32) -> Violation {
        Violation { kind, code: 0x95, fault: Fault::Size { bytes, maximum } }
    }

    pub(super) fn receive_maximum(kind: Kind) -> Violation {
        Violation { kind, code: 0x93, fault: Fault::Words("beyond the receive maximum") }
    }

    pub(super) fn topic_alias(kind: Kind) -> Violation {
        Violation { kind, code: 0x94, fault: Fault::Words("with a topic alias, though none was allowed") }
    }

    /// The type of the packet, as the specifications spell it.
    pub fn packet(&self) -> &'static str {
        self.kind.name()
    }

    /// What a DISCONNECT about it would say (MQTT 5.0 §3.14.2.1): 0x81 malformed packet, 0x82 protocol
    /// error, 0x93 receive maximum exceeded, 0x94 topic alias invalid, 0x95 packet too large.
    pub fn code(&self) -> u8 {
        self.code
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let packet = self.packet();
        match self.fault {
            Fault::Words(words) => write!(f, "{packet} {words}"),
            Fault::Byte(words, byte) => write!(f, "{packet} {words} {byte:#04x}"),
            Fault::Identifier(id, words) => write!(f, "{packet} for packet identifier {id}, {words}"),
            Fault::Property(id, words) => match super::properties::name(id) {
                Some(name) => write!(f, "{packet} with property {name}, {words}"),
                None => write!(f, "{packet} with property {id:#04x}, {words}"),
            },
            Fault::Counts { told, asked } => {
                let (codes, filters) = (grouped(told.into()), grouped(asked.into()));
                write!(f, "{packet} with {codes} reason {} to {filters} topic {}", code_s(told), filter_s(asked))
            }
            Fault::Size { bytes, maximum } => {
                write!(f, "{packet} of {} bytes, of which {} are allowed", grouped(bytes), grouped(maximum.into()))
            }
        }
    }
}

impl std::error::Error for Violation {}

fn code_s(n: u32) -> &'static str {
    if n == 1 { "code" } else { "codes" }
}

fn filter_s(n: u32) -> &'static str {
    if n == 1 { "filter" } else { "filters" }
}

fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}
