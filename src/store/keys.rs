//! Defines the keys that a fleet has in a store: all with one hash tag, so that a cluster keeps them together and a script may touch them at once.

use crate::text::plain_name;

/// The keys of one fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Keys {
    /// With the colon at its end.
    prefix: String,
}

impl Keys {
    pub fn new(fleet: &str) -> Keys {
        Keys { prefix: format!("mqfleet:{{{}}}:", plain_name(fleet)) }
    }

    /// A hash: each agent's name, and what there is to say of it as JSON.
    pub fn agents(&self) -> String {
        format!("{}agents", self.prefix)
    }

    /// A hash: each agent's name, and how often it was registered. It outlives the agent, so that an old one is known.
    pub fn epochs(&self) -> String {
        format!("{}epochs", self.prefix)
    }

    /// A string that ends by itself: who is this agent at present (`epoch:instance:turn`). It is presence and fence.
    pub fn presence(&self, agent: &str) -> String {
        format!("{}agent:{}", self.prefix, plain_name(agent))
    }

    /// A hash: the ID of each of the agent's clients, and its row as JSON.
    pub fn rows(&self, agent: &str) -> String {
        format!("{}rows:{}", self.prefix, plain_name(agent))
    }

    /// The same while all of them are written anew.
    pub fn new_rows(&self, agent: &str) -> String {
        format!("{}new-rows:{}", self.prefix, plain_name(agent))
    }

    /// A stream: what changed, an entry for each time that it was written.
    pub fn events(&self) -> String {
        format!("{}events", self.prefix)
    }

    /// A channel: the same lines.
    pub fn changes(&self) -> String {
        format!("{}changes", self.prefix)
    }

    /// All keys and channels of the fleet, as an ACL has them.
    pub fn pattern(&self) -> String {
        format!("{}*", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_reaches_beyond_its_fleet() {
        let keys = Keys::new("plant-eu");
        assert_eq!(keys.rows("hall-3"), "mqfleet:{plant-eu}:rows:hall-3");
        assert_eq!(
            (keys.agents().as_str(), keys.pattern().as_str()),
            ("mqfleet:{plant-eu}:agents", "mqfleet:{plant-eu}:*")
        );
        // Signs that mean something in a hash tag, a pattern or a line of an ACL.
        let odd = Keys::new("a}:* ?[b]\n");
        assert_eq!(odd.pattern(), "mqfleet:{a%7D%3A%2A%20%3F%5Bb%5D%0A}:*");
        assert_ne!(keys.rows("a:b"), keys.rows("a%3Ab"));
    }
}
