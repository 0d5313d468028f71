//! Defines the check that a certificate or key file is there, can be read and is what it should be, and when its certificates end; what is in it beyond that, TLS decides.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use chrono::{DateTime, Utc};
use openssl::{asn1::Asn1Time, x509::X509};

/// What a file is to hold.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Pem {
    /// A certificate, and perhaps what chains it to an anchor.
    Certificate,
    /// Certificates of which each is an anchor.
    Anchors,
    /// A private key, with whether there is a password for it.
    Key { has_password: bool },
}

/// What is wrong with a file, and what to do about it.
pub(super) type Flaw = (String, Option<&'static str>);

/// As much of a file as is looked at, in bytes: certificates may be many, but the first one tells.
const LOOKED_AT: u64 = 1 << 20;

/// Looks at a file, and says when it ends: with its first certificate, or with the last of its
/// anchors. `None` for a key, and where no certificate could be read.
pub(super) fn read(path: &Path, pem: Pem) -> Result<Option<DateTime<Utc>>, Flaw> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| {
        if file.metadata()?.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        file.take(LOOKED_AT).read_to_end(&mut bytes)
    });
    if let Err(error) = read {
        return Err((format!("cannot be read: {error}"), None));
    }
    let has = |label: &str| bytes.windows(label.len()).any(|w| w == label.as_bytes());
    match pem {
        Pem::Certificate | Pem::Anchors
            if !has("-----BEGIN CERTIFICATE-----") && !has("-----BEGIN TRUSTED CERTIFICATE-----") =>
        {
            Err(("has no certificate in PEM".into(), Some("it has a line -----BEGIN CERTIFICATE-----")))
        }
        Pem::Key { .. } if !has("PRIVATE KEY-----") => {
            Err(("has no private key in PEM".into(), Some("it has a line such as -----BEGIN PRIVATE KEY-----")))
        }
        Pem::Key { has_password: false } if has("-----BEGIN ENCRYPTED PRIVATE KEY-----") || has("4,ENCRYPTED") => {
            Err(("is encrypted".into(), Some("give its password: key_password = { file = \"PATH\" }")))
        }
        Pem::Certificate => Ok(X509::from_pem(&bytes).ok().and_then(|certificate| not_after(&certificate))),
        Pem::Anchors => Ok(X509::stack_from_pem(&bytes).ok().and_then(|all| all.iter().filter_map(not_after).max())),
        Pem::Key { .. } => Ok(None),
    }
}

fn not_after(certificate: &X509) -> Option<DateTime<Utc>> {
    let since_1970 = Asn1Time::from_unix(0).ok()?.diff(certificate.not_after()).ok()?;
    DateTime::from_timestamp(i64::from(since_1970.days) * 86_400 + i64::from(since_1970.secs), 0)
}
