//! Defines what is kept of the messages that a broker refused until it is told: each topic once, and how many there were.

use crate::text::Scrubbed;

/// Messages that a broker refused.
#[derive(Debug, Default)]
pub struct Refusals {
    /// The client's own messages, all of them.
    pub count: u32,
    pub list: Vec<Refusal>,
}

/// The first message that was refused to a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Empty where it is not known.
    pub topic: Box<str>,
    pub is_probe: bool,
    /// The broker's code and its words.
    pub words: Scrubbed,
}

impl Refusals {
    /// The most topics that are kept.
    const MAX: usize = 16;

    pub(super) fn note(&mut self, topic: &str, is_probe: bool, words: Scrubbed) {
        self.count = self.count.saturating_add(u32::from(!is_probe));
        let is_known = self.list.iter().any(|known| *known.topic == *topic && known.is_probe == is_probe);
        if !is_known && self.list.len() < Self::MAX {
            self.list.push(Refusal { topic: topic.into(), is_probe, words });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_kept_once_and_all_messages_counted() {
        let mut refusals = Refusals::default();
        for n in 0..100 {
            refusals.note(&format!("t/{}", n % 20), false, Scrubbed::new("not authorized"));
        }
        refusals.note("probe", true, Scrubbed::default());
        assert_eq!((refusals.count, refusals.list.len()), (100, Refusals::MAX));
    }
}
