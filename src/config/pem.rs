//! Defines the check that a certificate or key file is there, can be read and is what it should be, and when its certificates end; what is in it beyond that, TLS decides.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use chrono::{DateTime, Utc};
use openssl::{
    asn1::{Asn1Time, Asn1TimeRef},
    x509::{X509, X509Crl},
};

/// What a file is to hold.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Pem {
    /// A certificate, and perhaps what chains it to an anchor.
    Certificate,
    /// Certificates of which each is an anchor.
    Anchors,
    /// Certificate revocation lists, each of which is looked at.
    Crls,
    /// A private key, with whether there is a password for it.
    Key { has_password: bool },
}

/// What is wrong with a file, and what to do about it.
pub(super) type Flaw = (String, Option<&'static str>);

/// As much of a file as is looked at, in bytes: certificates may be many, but the first one tells.
const LOOKED_AT: u64 = 1 << 20;
/// The same of revocation lists, which are long where a public authority keeps them.
const LOOKED_AT_CRLS: u64 = 64 << 20;
const CRL: &[u8] = b"-----BEGIN X509 CRL-----";

/// Looks at a file, and says when it ends: with its first certificate, with the last of its anchors, or
/// where the first of its revocation lists is to be replaced. `None` for a key, and where no certificate could be read.
pub(super) fn read(path: &Path, pem: Pem) -> Result<Option<DateTime<Utc>>, Flaw> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| {
        if file.metadata()?.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        file.take(if pem == Pem::Crls { LOOKED_AT_CRLS } else { LOOKED_AT }).read_to_end(&mut bytes)
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
        Pem::Crls => crls(&bytes),
        Pem::Key { .. } if !has("PRIVATE KEY-----") => {
            Err(("has no private key in PEM".into(), Some("it has a line such as -----BEGIN PRIVATE KEY-----")))
        }
        Pem::Key { has_password: false } if has("-----BEGIN ENCRYPTED PRIVATE KEY-----") || has("4,ENCRYPTED") => {
            Err(("is encrypted".into(), Some("give its password: key_password = { file = \"PATH\" }")))
        }
        Pem::Certificate => Ok(X509::from_pem(&bytes).ok().and_then(|certificate| moment(certificate.not_after()))),
        Pem::Anchors => {
            Ok(X509::stack_from_pem(&bytes).ok().and_then(|all| all.iter().filter_map(|c| moment(c.not_after())).max()))
        }
        Pem::Key { .. } => Ok(None),
    }
}

fn crls(bytes: &[u8]) -> Result<Option<DateTime<Utc>>, Flaw> {
    let starts: Vec<usize> = bytes.windows(CRL.len()).enumerate().filter(|(_, w)| *w == CRL).map(|(i, _)| i).collect();
    if starts.is_empty() {
        let is_der = X509Crl::from_der(bytes).is_ok();
        return Err((
            "has no certificate revocation list in PEM".into(),
            Some(match is_der {
                true => "it is one in DER: openssl crl -inform DER -in FILE -out FILE.pem",
                false => "it has a line -----BEGIN X509 CRL-----",
            }),
        ));
    }
    let ends = starts[1..].iter().copied().chain([bytes.len()]);
    let mut next: Option<DateTime<Utc>> = None;
    for (i, (start, end)) in starts.iter().copied().zip(ends).enumerate() {
        let Ok(crl) = X509Crl::from_pem(&bytes[start..end]) else {
            let line = bytes[..start].iter().filter(|b| **b == b'\n').count() + 1;
            let title = format!("has a revocation list that cannot be read: the {}, in line {line}", nth(i + 1));
            return Err((title, Some("fetch it anew from the authority that issued it")));
        };
        next = crl.next_update().and_then(moment).into_iter().chain(next).min();
    }
    Ok(next)
}

fn nth(n: usize) -> String {
    match n {
        1 => "first".into(),
        n => format!("number {n}"),
    }
}

fn moment(time: &Asn1TimeRef) -> Option<DateTime<Utc>> {
    let since_1970 = Asn1Time::from_unix(0).ok()?.diff(time).ok()?;
    DateTime::from_timestamp(i64::from(since_1970.days) * 86_400 + i64::from(since_1970.secs), 0)
}

#[cfg(test)]
pub(in crate::config) mod tests {
    use chrono::Utc;
    use openssl::x509::X509Crl;

    use crate::config::tests::{certificate, read, warnings};

    /// A revocation list whose successor is due so many days from now, as PEM.
    pub fn crl(days: i64) -> Vec<u8> {
        use openssl::{
            asn1::Asn1Time,
            bn::BigNum,
            ec,
            hash::MessageDigest,
            nid::Nid,
            pkey::PKey,
            x509::{CrlNumber, X509, X509CrlBuilder, X509NameBuilder, extension::*},
        };
        let group = ec::EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        let key = PKey::from_ec_key(ec::EcKey::generate(&group).unwrap()).unwrap();
        let time = |days: i64| Asn1Time::from_unix(Utc::now().timestamp() + days * 86_400 + 60).unwrap();
        let mut name = X509NameBuilder::new().unwrap();
        name.append_entry_by_text("CN", "ca").unwrap();
        let mut builder = X509CrlBuilder::new().unwrap();
        builder.set_issuer_name(&name.build()).unwrap();
        let mut ca = X509::builder().unwrap();
        ca.set_pubkey(&key).unwrap();
        ca.append_extension(SubjectKeyIdentifier::new().build(&ca.x509v3_context(None, None)).unwrap()).unwrap();
        let ca = ca.build();
        let authority = AuthorityKeyIdentifier::new()
            .keyid(true)
            .build(&X509::builder().unwrap().x509v3_context(Some(&ca), None))
            .unwrap();
        builder.append_extension(authority).unwrap();
        let number = CrlNumber::new(BigNum::from_u32(1).unwrap()).unwrap();
        builder.append_extension(number.build().unwrap()).unwrap();
        builder.set_last_update(&time(-400)).unwrap();
        builder.set_next_update(&time(days)).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        builder.build().unwrap().to_pem().unwrap()
    }

    #[test]
    fn revocation_lists_are_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).unwrap();
        put("good.pem", &[crl(7), b"# the other CA\n".to_vec(), crl(1)].concat());
        put("old.pem", &[crl(7), crl(-2)].concat());
        put("broken.pem", &[crl(7), b"-----BEGIN X509 CRL-----\nnothing\n".to_vec()].concat());
        put("cert.pem", &certificate(7));
        put("der.pem", &X509Crl::from_pem(&crl(7)).unwrap().to_der().unwrap());
        let seen =
            |file: &str| read(&format!("[endpoint.t]\nurl = 'mqtts://t'\ncrl_file = '{file}.pem'"), dir.path(), &[]);
        let good = seen("good").unwrap();
        assert_eq!(warnings(&good), "", "that the next one is due soon is how it should be");
        assert_eq!(good.fleet.endpoints[1].transport.tls().unwrap().crl_file, Some(dir.path().join("good.pem")));
        let said = warnings(&seen("old").unwrap());
        assert!(said.contains("`crl_file`") && said.contains("whose time is over") && said.contains(":8:12"), "{said}");
        for (file, says) in [
            ("broken", "cannot be read: the number 2, in line"),
            ("cert", "has no certificate revocation list in PEM"),
            ("der", "openssl crl -inform DER"),
            ("nosuch", "cannot be read: No such file"),
        ] {
            let errors = seen(file).unwrap_err().to_string();
            assert!(errors.contains(says), "{file}: {errors}");
        }
    }
}
