//! Defines where a packet ends and what its first byte may be (MQTT 3.1.1 §2.2, MQTT 5.0 §2.1); which packets a broker may send is not its matter.

use super::Violation;

/// The packet types (MQTT 5.0 §2.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Reserved,
    Connect,
    ConnAck,
    Publish,
    PubAck,
    PubRec,
    PubRel,
    PubComp,
    Subscribe,
    SubAck,
    Unsubscribe,
    UnsubAck,
    PingReq,
    PingResp,
    Disconnect,
    Auth,
}

impl Kind {
    const ALL: [(Kind, &'static str); 16] = [
        (Kind::Reserved, "reserved packet type 0"),
        (Kind::Connect, "CONNECT"),
        (Kind::ConnAck, "CONNACK"),
        (Kind::Publish, "PUBLISH"),
        (Kind::PubAck, "PUBACK"),
        (Kind::PubRec, "PUBREC"),
        (Kind::PubRel, "PUBREL"),
        (Kind::PubComp, "PUBCOMP"),
        (Kind::Subscribe, "SUBSCRIBE"),
        (Kind::SubAck, "SUBACK"),
        (Kind::Unsubscribe, "UNSUBSCRIBE"),
        (Kind::UnsubAck, "UNSUBACK"),
        (Kind::PingReq, "PINGREQ"),
        (Kind::PingResp, "PINGRESP"),
        (Kind::Disconnect, "DISCONNECT"),
        (Kind::Auth, "AUTH"),
    ];

    pub(super) fn of(first: u8) -> Kind {
        Self::ALL[usize::from(first >> 4)].0
    }

    pub(super) fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

/// The fixed header of a packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub kind: Kind,
    /// The lower half of the first byte.
    pub flags: u8,
    /// How long it is itself.
    pub len: usize,
    /// How long the packet is, with it.
    pub total: usize,
    /// Whether its remaining length has no byte too many (MQTT 5.0 §1.5.5).
    pub is_minimal: bool,
}

/// How long the first packet in `bytes` is, in either direction, when that is known: None where more
/// bytes are needed to tell or to complete it. A first byte that no packet has, a remaining length of
/// more than four bytes, and more than `maximum` bytes in all are told as soon as the header shows them.
pub fn frame(bytes: &[u8], maximum: u32) -> Result<Option<usize>, Violation> {
    let Some(header) = header(bytes)? else { return Ok(None) };
    if header.total as u64 > u64::from(maximum) {
        return Err(Violation::size(header.kind, header.total as u64, maximum));
    }
    Ok((header.total <= bytes.len()).then_some(header.total))
}

/// The header at the front, when it is complete.
pub(super) fn header(bytes: &[u8]) -> Result<Option<Header>, Violation> {
    let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
    let (kind, flags) = (Kind::of(first), first & 0x0f);
    check_first(kind, flags)?;
    let mut remaining = 0;
    for (i, &byte) in rest.iter().take(4).enumerate() {
        remaining |= usize::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            let len = 2 + i;
            return Ok(Some(Header { kind, flags, len, total: len + remaining, is_minimal: i == 0 || byte != 0 }));
        }
    }
    if rest.len() >= 4 {
        return Err(Violation::malformed(kind, "with a remaining length of more than four bytes"));
    }
    Ok(None)
}

/// Flags are fixed for all types but PUBLISH (MQTT 3.1.1 §2.2.2, MQTT 5.0 §2.1.3); there QoS 3 is
/// malformed (§3.3.1.2), and so is a repetition at QoS 0 (§3.3.1.1).
fn check_first(kind: Kind, flags: u8) -> Result<(), Violation> {
    match (kind, flags) {
        (Kind::Reserved, _) => Err(Violation::malformed(kind, "that no packet has")),
        (Kind::Publish, _) if flags & 0b0110 == 0b0110 => Err(Violation::malformed(kind, "with QoS 3")),
        (Kind::Publish, _) if flags & 0b1110 == 0b1000 => Err(Violation::malformed(kind, "repeated at QoS 0")),
        (Kind::Publish, _) | (Kind::PubRel | Kind::Subscribe | Kind::Unsubscribe, 0b0010) => Ok(()),
        (Kind::PubRel | Kind::Subscribe | Kind::Unsubscribe, _) => Err(Violation::byte(kind, "with flags", flags)),
        (_, 0) => Ok(()),
        _ => Err(Violation::byte(kind, "with flags", flags)),
    }
}
