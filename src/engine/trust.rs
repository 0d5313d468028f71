//! Defines which trust anchors the workers are given for each endpoint; they come out of its probes, which verify against all that the operator trusts.
//!
//! Paho reads and parses the whole trust store for every single TLS connection: with a system's 145
//! certificates that is 20 ms and almost a megabyte a client. The one anchor that a verified chain
//! ends in serves as well, and whatever else a broker might show is refused as before.

use std::sync::Arc;

use crate::{event::Finding, fleet::EndpointKey};

/// The anchors that were found for each endpoint, newest first.
#[derive(Debug, Default)]
pub(super) struct Trust(Vec<Vec<Arc<str>>>);

impl Trust {
    /// Behind one name may be brokers with certificates of different CAs, above all while a new CA
    /// is being rolled out: so many anchors are kept side by side.
    const KEPT: usize = 4;

    /// Takes in what a probe of an endpoint found, and gives all that was found for it, in PEM.
    pub fn learn(&mut self, endpoint: EndpointKey, finding: &Finding) -> Option<Arc<str>> {
        let anchor = finding.anchor()?;
        if self.0.len() <= endpoint.index() {
            self.0.resize_with(endpoint.index() + 1, Vec::new);
        }
        let known = &mut self.0[endpoint.index()];
        known.retain(|other| other != anchor);
        known.insert(0, anchor.clone());
        known.truncate(Self::KEPT);
        Some(known.concat().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Session;

    fn finding(anchor: Option<&str>) -> Finding {
        let session = Session {
            protocol: None,
            cipher: None,
            alpn: None,
            chain: Vec::new(),
            anchor: anchor.map(Arc::from),
            overlooked: None,
            wants_certificate: false,
        };
        Finding { failure: None, session: Some(session), ..Finding::broken("") }
    }

    #[test]
    fn the_last_few_anchors_are_trusted_together() {
        let mut trust = Trust::default();
        let mut learn = |anchor| trust.learn(EndpointKey(1), &finding(Some(anchor)));
        assert_eq!(learn("a").as_deref(), Some("a"));
        assert_eq!(learn("b").as_deref(), Some("ba"));
        assert_eq!(learn("a").as_deref(), Some("ab"));
        for anchor in ["c", "d", "e"] {
            learn(anchor);
        }
        assert_eq!(learn("e").as_deref(), Some("edca"));
        assert_eq!(trust.learn(EndpointKey(1), &finding(None)), None);
        assert_eq!(trust.learn(EndpointKey(0), &finding(Some("z"))).as_deref(), Some("z"));
    }
}
