//! Defines the one match of clients (`match = { … }`): by endpoint, label and ID; who asks it, and what for, is elsewhere.

use crate::{
    fleet::{Client, EndpointKey},
    text::Scrubbed,
};

/// Which clients are meant: those that every key lets through. One that is empty lets all through.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Match {
    /// Any of these.
    pub endpoints: Vec<EndpointKey>,
    /// All of these labels, each with any of its values.
    pub labels: Vec<(Scrubbed, Vec<Scrubbed>)>,
    /// The whole client ID, where `*` is any text and `?` any one character.
    pub id: Option<String>,
}

impl Match {
    /// Whether it is for a client that is at this endpoint.
    pub fn is_for(&self, client: &Client, endpoint: EndpointKey) -> bool {
        let has =
            |(name, values): &(Scrubbed, Vec<Scrubbed>)| client.labels.get(name).is_some_and(|v| values.contains(v));
        (self.endpoints.is_empty() || self.endpoints.contains(&endpoint))
            && self.labels.iter().all(has)
            && self.id.as_ref().is_none_or(|pattern| is_like(pattern, &client.id))
    }
}

/// Whether a text is like a pattern. It goes back no further than to the last `*`, so that no pattern is slow.
fn is_like(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // Behind the last `*`, and what of the text is behind what that stands for.
    let mut back = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                p += 1;
                back = Some((p, t));
            }
            Some(&c) if c == '?' || c == text[t] => (p, t) = (p + 1, t + 1),
            _ => match back {
                Some((behind, from)) => {
                    (p, t) = (behind, from + 1);
                    back = Some((behind, t));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::fleet::Labels;

    #[test]
    fn patterns() {
        for (pattern, text, is) in [
            ("press-*", "press-0001", true),
            ("press-*", "press", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("p*-0?01", "press-0001", true),
            ("p*-0?01", "press-0001x", false),
            ("*a*b", "xaxaxb", true),
            ("?", "ß", true),
            ("a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
        ] {
            assert_eq!(is_like(pattern, text), is, "{pattern} {text}");
        }
    }

    #[test]
    fn every_key_must_let_a_client_through() {
        let text = Scrubbed::new;
        let mut client = Client::new("press-1", EndpointKey(0), Arc::default());
        client.labels = Arc::new(Labels::from([(text("site"), text("hall-3")), (text("line"), text("7"))]));
        let is_for = |matching: &Match| matching.is_for(&client, EndpointKey(0));
        let site = |values: &[&str]| vec![(text("site"), values.iter().map(|v| text(v)).collect())];
        assert!(is_for(&Match::default()));
        assert!(is_for(&Match { endpoints: vec![EndpointKey(1), EndpointKey(0)], ..Match::default() }));
        assert!(!is_for(&Match { endpoints: vec![EndpointKey(1)], ..Match::default() }));
        assert!(is_for(&Match { labels: site(&["hall-1", "hall-3"]), ..Match::default() }));
        assert!(!is_for(&Match { labels: site(&["hall-1"]), ..Match::default() }));
        let both = |id: &str| Match { labels: site(&["hall-3"]), id: Some(id.to_owned()), ..Match::default() };
        assert!(is_for(&both("press-?")) && !is_for(&both("oven-*")));
    }
}
