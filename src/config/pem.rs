//! Defines the check that a certificate or key file is there, can be read and is what it should be; what is in it beyond that, TLS decides.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

/// What a file is to hold.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Pem {
    Certificate,
    /// A private key, with whether there is a password for it.
    Key {
        has_password: bool,
    },
}

/// As much of a file as is looked at, in bytes: certificates may be many, but the first one tells.
const LOOKED_AT: u64 = 1 << 20;

/// What is wrong with a file, and what to do about it; `Ok` where nothing is.
pub(super) fn check(path: &Path, pem: Pem) -> Result<(), (String, Option<&'static str>)> {
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
        Pem::Certificate if !has("-----BEGIN CERTIFICATE-----") && !has("-----BEGIN TRUSTED CERTIFICATE-----") => {
            Err(("has no certificate in PEM".into(), Some("it has a line -----BEGIN CERTIFICATE-----")))
        }
        Pem::Key { .. } if !has("PRIVATE KEY-----") => {
            Err(("has no private key in PEM".into(), Some("it has a line such as -----BEGIN PRIVATE KEY-----")))
        }
        Pem::Key { has_password: false } if has("-----BEGIN ENCRYPTED PRIVATE KEY-----") || has("4,ENCRYPTED") => {
            Err(("is encrypted".into(), Some("give its password: key_password = { file = \"PATH\" }")))
        }
        _ => Ok(()),
    }
}
