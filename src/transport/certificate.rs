//! Defines how a certificate is read from OpenSSL; whether to trust it is decided by OpenSSL alone.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use openssl::{
    asn1::{Asn1Time, Asn1TimeRef},
    x509::{X509NameRef, X509Ref},
};

use crate::{event::Certificate, text::Scrubbed};

/// Reads what is told of it.
pub(super) fn read(certificate: &X509Ref) -> Certificate {
    let names = certificate.subject_alt_names();
    let names = names.iter().flatten().filter_map(|name| {
        let ip = |raw: &[u8]| match raw.len() {
            4 => <[u8; 4]>::try_from(raw).ok().map(IpAddr::from),
            _ => <[u8; 16]>::try_from(raw).ok().map(IpAddr::from),
        };
        name.dnsname()
            .map(Scrubbed::new)
            .or_else(|| name.ipaddress().and_then(ip).map(|ip| Scrubbed::new(&ip.to_string())))
    });
    Certificate {
        subject: distinguished(certificate.subject_name()),
        issuer: distinguished(certificate.issuer_name()),
        names: names.take(Certificate::NAMES_MAX).collect(),
        not_before: time(certificate.not_before()),
        not_after: time(certificate.not_after()),
    }
}

fn distinguished(name: &X509NameRef) -> Scrubbed {
    let parts = name.entries().map(|entry| {
        let key = entry.object().nid().short_name().unwrap_or("?");
        let value = entry.data().to_string();
        format!("{key}={}", value.unwrap_or_else(|_| String::from_utf8_lossy(entry.data().as_slice()).into_owned()))
    });
    Scrubbed::new(&parts.collect::<Vec<_>>().join(", "))
}

/// A time of ASN.1.
pub(super) fn time(time: &Asn1TimeRef) -> Option<DateTime<Utc>> {
    let diff = Asn1Time::from_unix(0).ok()?.diff(time).ok()?;
    DateTime::from_timestamp(i64::from(diff.days) * 86_400 + i64::from(diff.secs), 0)
}
