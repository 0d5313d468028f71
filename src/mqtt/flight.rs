//! Defines which packet identifiers are in flight, in both directions, and whose turn it is with each (MQTT 3.1.1 §4.3, MQTT 5.0 §4.3).

use super::{Violation, frame::Kind};

/// What is awaited for an identifier of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    PubAck,
    PubRec,
    /// PUBREC came, and so often again; Paho answers each with a PUBREL, the first of which is to come.
    PubRel(u8),
    /// PUBREL was sent; so many more PUBCOMPs than one may come.
    PubComp(u8),
    /// All is done, but so many PUBCOMPs may come still, to PUBRELs that answered a repeated PUBREC.
    Done(u8),
    /// With how many topic filters.
    SubAck(u16),
    UnsubAck(u16),
}

impl Turn {
    /// After one of the PUBCOMPs.
    fn once_less(self) -> Turn {
        match self {
            Turn::PubComp(more) | Turn::Done(more) => Turn::Done(more.saturating_sub(1)),
            turn => turn,
        }
    }
}

/// Sorted by identifier, empty for most clients most of the time.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Flight {
    ours: Vec<(u16, Turn)>,
    /// QoS 2 identifiers of the broker's whose PUBREL is awaited.
    theirs: Vec<u16>,
}

/// An empty list keeps room for so many, so that a client with one message in flight does not
/// allocate for each.
const SPARE: usize = 16;

fn spare<T>(list: &mut Vec<T>) {
    if list.is_empty() && list.capacity() > SPARE {
        *list = Vec::new();
    }
}

impl Flight {
    #[cfg(test)]
    pub(super) fn heap(&self) -> usize {
        self.ours.capacity() * size_of::<(u16, Turn)>() + self.theirs.capacity() * size_of::<u16>()
    }

    fn find(&self, id: u16) -> Result<usize, usize> {
        self.ours.binary_search_by_key(&id, |&(id, _)| id)
    }

    fn turn(&mut self, id: u16) -> Option<&mut Turn> {
        let at = self.find(id).ok()?;
        Some(&mut self.ours[at].1)
    }

    fn end(&mut self, id: u16) {
        if let Ok(at) = self.find(id) {
            self.ours.remove(at);
            spare(&mut self.ours);
        }
    }

    /// Paho sent a packet that is to be answered. One that is sent again goes on where it was.
    pub(super) fn asked(&mut self, id: u16, turn: Turn, is_again: bool) {
        match self.find(id) {
            Ok(at) if !is_again => self.ours[at].1 = turn,
            Ok(_) => {}
            Err(at) => self.ours.insert(at, (id, turn)),
        }
    }

    /// Paho sent a PUBREL.
    pub(super) fn released(&mut self, id: u16) {
        match self.turn(id) {
            Some(turn) => {
                if let Turn::PubRel(more) = *turn {
                    *turn = Turn::PubComp(more);
                }
            }
            None => self.asked(id, Turn::PubComp(0), true),
        }
    }

    /// MQTT 5.0 §4.3.2.
    pub(super) fn puback(&mut self, id: u16) -> Result<(), Violation> {
        match self.turn(id) {
            Some(Turn::PubAck) => self.end(id),
            other => return Err(wrong(Kind::PubAck, id, other)),
        }
        Ok(())
    }

    /// MQTT 5.0 §4.3.3. A code of failure ends it. Brokers of MQTT 3.1.1 may send it again, for which
    /// Paho is prepared unless it says that it failed; in MQTT 5 they must not (§4.4).
    pub(super) fn pubrec(&mut self, id: u16, has_failed: bool, may_repeat: bool) -> Result<(), Violation> {
        match self.turn(id) {
            Some(Turn::PubRec) if has_failed => self.end(id),
            Some(turn @ Turn::PubRec) => *turn = Turn::PubRel(0),
            Some(Turn::PubRel(more) | Turn::PubComp(more)) if may_repeat && *more < u8::MAX => *more += 1,
            other => return Err(wrong(Kind::PubRec, id, other)),
        }
        Ok(())
    }

    /// MQTT 5.0 §4.3.3.
    pub(super) fn pubcomp(&mut self, id: u16) -> Result<(), Violation> {
        match self.turn(id) {
            Some(Turn::PubComp(0) | Turn::Done(0)) => self.end(id),
            Some(turn @ (Turn::PubComp(1..) | Turn::Done(1..))) => *turn = turn.once_less(),
            other => return Err(wrong(Kind::PubComp, id, other)),
        }
        Ok(())
    }

    /// MQTT 3.1.1 §3.9.3, MQTT 5.0 §3.9.3: a code for each filter.
    pub(super) fn suback(&mut self, id: u16, codes: usize) -> Result<(), Violation> {
        match self.turn(id) {
            Some(Turn::SubAck(count)) if codes.min(u16::MAX.into()) == usize::from(*count) => self.end(id),
            Some(Turn::SubAck(count)) => return Err(Violation::counts(Kind::SubAck, codes, *count)),
            other => return Err(wrong(Kind::SubAck, id, other)),
        }
        Ok(())
    }

    /// MQTT 5.0 §3.11.3: a code for each filter; MQTT 3.1.1 §3.11.3 has none.
    pub(super) fn unsuback(&mut self, id: u16, codes: Option<usize>) -> Result<(), Violation> {
        match (self.turn(id), codes) {
            (Some(Turn::UnsubAck(count)), Some(codes)) if codes.min(u16::MAX.into()) != usize::from(*count) => {
                return Err(Violation::counts(Kind::UnsubAck, codes, *count));
            }
            (Some(Turn::UnsubAck(_)), _) => self.end(id),
            (other, _) => return Err(wrong(Kind::UnsubAck, id, other)),
        }
        Ok(())
    }

    /// A QoS 2 message of the broker's. Its identifier may come again before the PUBREL only as a
    /// repetition, and only in MQTT 3.1.1 (§4.4; MQTT 5.0 §4.4): of one in MQTT 5 Paho leaks the message.
    /// True for a new one.
    pub(super) fn publish(&mut self, id: u16, may_repeat: bool) -> Result<bool, Violation> {
        match self.theirs.binary_search(&id) {
            Ok(_) if may_repeat => Ok(false),
            Ok(_) => Err(Violation::identifier(Kind::Publish, id, "which is in use")),
            Err(at) => {
                self.theirs.insert(at, id);
                Ok(true)
            }
        }
    }

    /// Frees the identifier. One that is unknown is as good: Paho answers it, as it has to (MQTT 3.1.1
    /// §4.3.3, MQTT 5.0 §4.3.3), and a session of before may have left it.
    pub(super) fn pubrel(&mut self, id: u16) {
        if let Ok(at) = self.theirs.binary_search(&id) {
            self.theirs.remove(at);
            spare(&mut self.theirs);
        }
    }
}

fn wrong(kind: Kind, id: u16, turn: Option<&mut Turn>) -> Violation {
    let words = match turn {
        None => "which is not in flight",
        Some(Turn::PubAck) => "which is a PUBLISH at QoS 1",
        Some(Turn::PubRec) => "which is a PUBLISH at QoS 2 that has no PUBREC yet",
        Some(Turn::PubRel(_)) => "which is a PUBLISH at QoS 2 whose PUBREL was not sent yet",
        Some(Turn::PubComp(_)) => "which is a PUBLISH at QoS 2 that was released",
        Some(Turn::Done(_)) => "which is a PUBLISH that was done",
        Some(Turn::SubAck(_)) => "which is a SUBSCRIBE",
        Some(Turn::UnsubAck(_)) => "which is an UNSUBSCRIBE",
    };
    Violation::identifier(kind, id, words)
}
