//! Defines what the broker was sent and did not answer yet, as far as a person needs to know when it hangs up.

use std::fmt;

use crate::text::Scrubbed;

/// What the broker was sent. Names of topics and filters are scrubbed, and cut where they are long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    Connect,
    PingReq,
    Publish {
        topic: Box<str>,
        qos: u8,
        id: u16,
    },
    /// The first of its filters, and how many more there were.
    Subscribe {
        filter: Box<str>,
        more: u16,
        id: u16,
    },
    Unsubscribe {
        filter: Box<str>,
        more: u16,
        id: u16,
    },
}

impl Asked {
    /// The longest name, in bytes.
    pub const NAME_MAX: usize = 64;

    /// Whether it is the message with this identifier.
    pub(super) fn is_publish(&self, with: u16) -> bool {
        matches!(self, Asked::Publish { id, qos: 1.., .. } if *id == with)
    }

    /// Whether an answer has to come.
    fn needs_answer(&self) -> bool {
        !matches!(self, Asked::Publish { qos: 0, .. })
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Asked::Connect => f.write_str("CONNECT"),
            Asked::PingReq => f.write_str("PINGREQ"),
            Asked::Publish { topic, qos, .. } => write!(f, "PUBLISH to {topic} at QoS {qos}"),
            Asked::Subscribe { filter, more: 0, .. } => write!(f, "SUBSCRIBE {filter}"),
            Asked::Subscribe { filter, more, .. } => write!(f, "SUBSCRIBE {filter} and {more} more"),
            Asked::Unsubscribe { filter, more: 0, .. } => write!(f, "UNSUBSCRIBE {filter}"),
            Asked::Unsubscribe { filter, more, .. } => write!(f, "UNSUBSCRIBE {filter} and {more} more"),
        }
    }
}

/// The topic or filter, scrubbed and short.
pub(super) fn name(raw: &str) -> Box<str> {
    let scrubbed = Scrubbed::new(&raw[..raw.floor_char_boundary(Asked::NAME_MAX + 1)]);
    if raw.len() <= Asked::NAME_MAX && scrubbed.len() <= Asked::NAME_MAX {
        return scrubbed.as_str().into();
    }
    let head = &scrubbed[..scrubbed.floor_char_boundary(Asked::NAME_MAX - '…'.len_utf8())];
    format!("{head}…").into()
}

/// What is not answered, in the order it was sent.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Unanswered(Vec<Asked>);

impl Unanswered {
    /// How many are remembered: the first ones and the last.
    const MAX: usize = 8;

    #[cfg(test)]
    pub fn heap(&self) -> usize {
        self.0.capacity() * (size_of::<Asked>() + Asked::NAME_MAX)
    }

    pub fn sent(&mut self, asked: Asked) {
        let last = self.0.last();
        let replaces = last.is_some_and(|last| !last.needs_answer() && !asked.needs_answer());
        if replaces || self.0.len() >= Self::MAX {
            self.0.pop();
        }
        // Most clients never have more than one.
        if self.0.capacity() == 0 {
            self.0.reserve_exact(1);
        }
        self.0.push(asked);
    }

    /// As `sent`, for a message at QoS 0, of which a client may send many to the same topic.
    pub fn published(&mut self, to: &str) {
        match self.0.last() {
            Some(Asked::Publish { topic, qos: 0, .. }) if **topic == *to => {}
            _ => self.sent(Asked::Publish { topic: name(to), qos: 0, id: 0 }),
        }
    }

    /// The first that `is_it` was answered. A broker passed over what it need not answer before that.
    pub fn answered(&mut self, is_it: impl Fn(&Asked) -> bool) {
        if let Some(at) = self.0.iter().position(is_it) {
            let mut position = 0;
            self.0.retain(|asked| {
                position += 1;
                position > at + 1 || (position <= at && asked.needs_answer())
            });
            if self.0.is_empty() {
                self.0 = Vec::new();
            }
        }
    }

    /// A message at QoS 0 that comes back on its topic, as an echo does, is answered as well.
    pub fn came_back(&mut self, on: &str) {
        self.answered(|asked| matches!(asked, Asked::Publish { topic, qos: 0, .. } if **topic == *on));
    }

    /// Brokers work in order: the first that waits for its answer, else the last sent at all.
    pub fn first(&self) -> Option<&Asked> {
        self.0.iter().find(|asked| asked.needs_answer()).or(self.0.last())
    }
}
