//! Defines when the operator is told that an endpoint's certificate will soon end: once for each certificate; what a probe finds is the endpoint's matter.

use chrono::{DateTime, Utc};

use crate::{
    event::{Finding, Level, What},
    fleet::{EndpointKey, Fleet},
    text::Scrubbed,
};

/// The endpoints by name, each with the end of the certificate of which the operator was told.
#[derive(Debug)]
pub(super) struct Renewals(Vec<(Scrubbed, Option<DateTime<Utc>>)>);

impl Renewals {
    pub fn new(fleet: &Fleet) -> Renewals {
        Renewals(fleet.endpoints.iter().map(|endpoint| (endpoint.name.clone(), None)).collect())
    }

    /// The fleet is another one: of certificates that it knew it tells nothing twice.
    pub fn revise(&mut self, fleet: &Fleet) {
        let new = fleet.endpoints.iter().skip(self.0.len()).map(|endpoint| (endpoint.name.clone(), None));
        self.0.extend(new.collect::<Vec<_>>());
    }

    /// What is to be said of the certificate that a probe was shown. Where it was refused, that is
    /// said by the clients that are held.
    pub fn notice(&mut self, endpoint: EndpointKey, finding: &Finding, now: DateTime<Utc>) -> Option<What> {
        let certificate = finding.certificate().filter(|_| finding.is_ok())?;
        let (end, expiry) = (certificate.not_after?, certificate.expiry(now)?);
        let (name, told) = &mut self.0[endpoint.index()];
        if !expiry.is_soon() || told.replace(end) == Some(end) {
            return None;
        }
        let level = if expiry.is_over() { Level::Error } else { Level::Warning };
        let day = end.format("%Y-%m-%d");
        let text = Scrubbed::new(&format!("{name}: the certificate {} {expiry} ({day})", certificate.subject));
        Some(What::Notice { level, text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Cause, Certificate, Failure, Reason, Session, StageKind};

    fn finding(not_after: &str) -> Finding {
        let certificate = Certificate {
            subject: Scrubbed::new("CN=eu-1.example"),
            issuer: Scrubbed::new("CN=ca"),
            names: Vec::new(),
            not_before: None,
            not_after: Some(not_after.parse().unwrap()),
        };
        let session = Session {
            protocol: Some("TLSv1.3"),
            cipher: None,
            alpn: None,
            chain: vec![certificate],
            overlooked: None,
            wants_certificate: false,
        };
        Finding { session: Some(session), failure: None, ..Finding::broken("") }
    }

    #[test]
    fn each_certificate_is_told_of_once_and_only_when_it_ends_soon() {
        let (mut renewals, key) = (Renewals(vec![(Scrubbed::new("eu-1"), None)]), EndpointKey(0));
        let now = "2026-11-20T11:00:00Z".parse().unwrap();
        let mut said = |finding: &Finding| match renewals.notice(key, finding, now) {
            Some(What::Notice { text, .. }) => Some(text.to_string()),
            _ => None,
        };
        assert_eq!(said(&finding("2026-12-11T11:00:00Z")), None);
        let soon = finding("2026-12-02T12:00:00Z");
        let words = "eu-1: the certificate CN=eu-1.example ends in 12 days (2026-12-02)";
        assert_eq!(said(&soon).as_deref(), Some(words));
        assert_eq!(said(&soon), None);
        assert_eq!(said(&finding("2027-11-20T11:00:00Z")), None);
        assert!(said(&finding("2026-11-19T12:00:00Z")).is_some_and(|t| t.contains("ended within the last day")));
        let cause = Cause { reason: Reason::CertificateExpired, detail: Scrubbed::default() };
        let failure = Some(Failure { stage: StageKind::Tls, cause });
        assert_eq!(said(&Finding { failure, ..finding("2020-01-01T00:00:00Z") }), None);
    }
}
