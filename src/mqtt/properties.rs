//! Defines which properties a packet may have and how they are read (MQTT 5.0 §2.2.2); of their values only those of use here are kept.

use super::{Violation, frame::Kind, reader::Reader};

/// All properties of a packet but PUBLISH, in bytes: Paho takes some tens of times as much for them.
pub(super) const BYTES_MAX: usize = 16 * 1024;

/// User properties of a packet but PUBLISH.
pub(super) const USER_MAX: usize = 64;

/// Properties of a PUBLISH: they come from other clients, through brokers that let them pass, so that
/// the bound is one that only a flood reaches.
pub(super) const PUBLISH_MAX: usize = 1024;

const USER_PROPERTY: u8 = 0x26;
const SUBSCRIPTION_IDENTIFIER: u8 = 0x0b;

/// What is kept of a packet's properties.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Properties<'a> {
    pub reason: Option<&'a str>,
    pub reference: Option<&'a str>,
    pub receive_maximum: Option<u16>,
    pub topic_alias: Option<u16>,
    /// In seconds.
    pub server_keep_alive: Option<u16>,
}

#[derive(Clone, Copy)]
enum Form {
    /// 0 or 1.
    Switch,
    Short,
    /// A short that is not 0.
    Count,
    Long,
    /// A long that is not 0.
    Size,
    /// A variable byte integer that is not 0.
    Variable,
    Text,
    Binary,
    Pair,
}

/// MQTT 5.0 §2.2.2.2, table 2-4, less what only a Will has. Where the table says DISCONNECT for
/// Session Expiry Interval (0x11), that is the client's only (§3.14.2.2.2).
const TABLE: [(u8, &str, Form, &[Kind]); 26] = {
    use Form::*;
    use Kind::*;
    [
        (0x01, "Payload Format Indicator", Switch, &[Publish]),
        (0x02, "Message Expiry Interval", Long, &[Publish]),
        (0x03, "Content Type", Text, &[Publish]),
        (0x08, "Response Topic", Text, &[Publish]),
        (0x09, "Correlation Data", Binary, &[Publish]),
        (SUBSCRIPTION_IDENTIFIER, "Subscription Identifier", Variable, &[Publish, Subscribe]),
        (0x11, "Session Expiry Interval", Long, &[Connect, ConnAck]),
        (0x12, "Assigned Client Identifier", Text, &[ConnAck]),
        (0x13, "Server Keep Alive", Short, &[ConnAck]),
        (0x15, "Authentication Method", Text, &[Connect, ConnAck]),
        (0x16, "Authentication Data", Binary, &[Connect, ConnAck]),
        (0x17, "Request Problem Information", Switch, &[Connect]),
        (0x19, "Request Response Information", Switch, &[Connect]),
        (0x1a, "Response Information", Text, &[ConnAck]),
        (0x1c, "Server Reference", Text, &[ConnAck, Disconnect]),
        (0x1f, "Reason String", Text, &[ConnAck, PubAck, PubRec, PubRel, PubComp, SubAck, UnsubAck, Disconnect]),
        (0x21, "Receive Maximum", Count, &[Connect, ConnAck]),
        (0x22, "Topic Alias Maximum", Short, &[Connect, ConnAck]),
        (0x23, "Topic Alias", Count, &[Publish]),
        (0x24, "Maximum QoS", Switch, &[ConnAck]),
        (0x25, "Retain Available", Switch, &[ConnAck]),
        (
            USER_PROPERTY,
            "User Property",
            Pair,
            &[
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
                Disconnect,
            ],
        ),
        (0x27, "Maximum Packet Size", Size, &[Connect, ConnAck]),
        (0x28, "Wildcard Subscription Available", Switch, &[ConnAck]),
        (0x29, "Subscription Identifiers Available", Switch, &[ConnAck]),
        (0x2a, "Shared Subscription Available", Switch, &[ConnAck]),
    ]
};

pub(super) fn name(id: u8) -> Option<&'static str> {
    TABLE.iter().find(|row| row.0 == id).map(|row| row.1)
}

/// Reads the list and its length: exactly as long as it says, each property known, allowed in this
/// packet, once unless it may repeat, and within its range.
pub(super) fn read<'a>(reader: &mut Reader<'a>) -> Result<Properties<'a>, Violation> {
    let kind = reader.kind;
    let len = reader.variable()? as usize;
    if len > BYTES_MAX && kind != Kind::Publish {
        return Err(Violation::protocol(kind, "with more than 16 KiB of properties"));
    }
    let mut list = Reader::new(kind, reader.take(len)?);
    let mut properties = Properties::default();
    let (mut seen, mut repeatable) = (0_u64, 0);
    while !list.is_empty() {
        let id = list.byte()?;
        let row = TABLE.iter().find(|row| row.0 == id);
        let Some(&(_, _, form, _)) = row.filter(|row| row.3.contains(&kind)) else {
            return Err(Violation::property(kind, id, "which it must not have"));
        };
        if id == USER_PROPERTY || (id == SUBSCRIPTION_IDENTIFIER && kind == Kind::Publish) {
            repeatable += 1;
            let (maximum, words) = match kind {
                Kind::Publish => (PUBLISH_MAX, "with more than 1,024 properties"),
                _ => (USER_MAX, "with more than 64 user properties"),
            };
            if repeatable > maximum {
                return Err(Violation::protocol(kind, words));
            }
        } else if seen & (1 << id) != 0 {
            return Err(Violation::property(kind, id, "which it has twice"));
        }
        seen |= 1 << id;
        let out_of_range = Violation::property(kind, id, "whose value is out of range");
        match form {
            Form::Switch => {
                if list.byte()? > 1 {
                    return Err(out_of_range);
                }
            }
            Form::Short => {
                let n = list.short()?;
                if id == 0x13 {
                    properties.server_keep_alive = Some(n);
                }
            }
            Form::Count => match (list.short()?, id) {
                (0, _) => return Err(out_of_range),
                (n, 0x21) => properties.receive_maximum = Some(n),
                (n, _) => properties.topic_alias = Some(n),
            },
            Form::Long => {
                list.long()?;
            }
            Form::Size => {
                if list.long()? == 0 {
                    return Err(out_of_range);
                }
            }
            Form::Variable => {
                if list.variable()? == 0 {
                    return Err(out_of_range);
                }
            }
            Form::Text => match (list.text()?, id) {
                (text, 0x1f) => properties.reason = Some(text),
                (text, 0x1c) => properties.reference = Some(text),
                _ => {}
            },
            Form::Binary => {
                list.binary()?;
            }
            Form::Pair => {
                list.text()?;
                list.text()?;
            }
        }
    }
    Ok(properties)
}
