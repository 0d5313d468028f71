//! Defines what the broker was sent and did not answer yet, as far as a person needs to know when it hangs up.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
};

use crate::{clock::Moment, text::Scrubbed};

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

/// A topic or filter as [`Asked`] has it: scrubbed and short.
pub fn name(raw: &str) -> Box<str> {
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
pub(super) struct Unanswered {
    list: Vec<(Asked, Moment)>,
    /// Topics to which the broker has taken messages, as hashes, the last ones (a client's own and its probe's);
    /// 0 for none.
    familiar: [u16; 2],
}

impl Unanswered {
    /// How many are remembered: the first ones and the last.
    const MAX: usize = 8;

    #[cfg(test)]
    pub(super) fn heap(&self) -> usize {
        self.list.capacity() * (size_of::<(Asked, Moment)>() + Asked::NAME_MAX)
    }

    pub(super) fn sent(&mut self, asked: Asked, at: Moment) {
        let last = self.list.last();
        let replaces = last.is_some_and(|(last, _)| !last.needs_answer() && !asked.needs_answer());
        if replaces || self.list.len() >= Self::MAX {
            self.list.pop();
        }
        // Most clients never have more than one.
        if self.list.capacity() == 0 {
            self.list.reserve_exact(1);
        }
        self.list.push((asked, at));
    }

    /// As `sent`, for a message at QoS 0, of which a client may send many to the same topic: the first counts.
    pub(super) fn published(&mut self, to: &str, at: Moment) {
        match self.list.last() {
            Some((Asked::Publish { topic, qos: 0, .. }, _)) if **topic == *to => {}
            _ => self.sent(Asked::Publish { topic: name(to), qos: 0, id: 0 }, at),
        }
    }

    /// The first that `is_it` was answered. A broker passed over what it need not answer before that.
    pub(super) fn answered(&mut self, is_it: impl Fn(&Asked) -> bool) {
        if let Some(at) = self.list.iter().position(|(asked, _)| is_it(asked)) {
            // What the broker passed over it has taken.
            for (asked, _) in &self.list[..=at] {
                if let Asked::Publish { topic, .. } = asked
                    && (is_it(asked) || !asked.needs_answer())
                    && !self.familiar.contains(&hash(topic))
                {
                    self.familiar.rotate_right(1);
                    self.familiar[0] = hash(topic);
                }
            }
            let mut position = 0;
            self.list.retain(|(asked, _)| {
                position += 1;
                position > at + 1 || (position <= at && asked.needs_answer())
            });
            if self.list.is_empty() {
                self.list = Vec::new();
            }
        }
    }

    /// A message at QoS 0 that comes back on its topic, as an echo does, is answered as well.
    pub(super) fn came_back(&mut self, on: &str) {
        self.answered(|asked| matches!(asked, Asked::Publish { topic, qos: 0, .. } if **topic == *on));
    }

    /// Brokers work in order: the first that waits for its answer, else the last sent at all.
    pub(super) fn first(&self) -> Option<&(Asked, Moment)> {
        self.list.iter().find(|(asked, _)| asked.needs_answer()).or(self.list.last())
    }

    /// Whether it is a message to a topic to which the broker has taken one.
    pub(super) fn is_familiar(&self, asked: &Asked) -> bool {
        matches!(asked, Asked::Publish { topic, .. } if self.familiar.contains(&hash(topic)))
    }

    /// The topic of the message with this identifier, where that is remembered.
    pub(super) fn topic(&self, with: u16) -> Option<&str> {
        self.list.iter().find_map(|(asked, _)| match asked {
            Asked::Publish { topic, .. } if asked.is_publish(with) => Some(&**topic),
            _ => None,
        })
    }
}

/// Never 0.
fn hash(topic: &str) -> u16 {
    let mut hasher = DefaultHasher::new();
    topic.hash(&mut hasher);
    (hasher.finish() as u16).max(1)
}
