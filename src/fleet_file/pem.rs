//! Defines how certificates, keys and revocation lists are read as a run will load them, and what is said of a file that it could not; whether a broker likes them is the broker's matter.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use chrono::{DateTime, Utc};
use openssl::{
    asn1::{Asn1Time, Asn1TimeRef},
    error::ErrorStack,
    nid::Nid,
    pkey::{PKey, Private},
    x509::{X509, X509Crl, X509NameRef},
};

use super::pem_form;
use crate::{fleet::Secret, text::Scrubbed};

/// What is wrong with a file, and what to do about it.
pub(super) type Flaw = (String, Option<&'static str>);

/// As much of a file as is read, in bytes: revocation lists are long where a public authority keeps them.
const LOOKED_AT: u64 = 64 << 20;
const CRL: &[u8] = b"-----BEGIN X509 CRL-----";

/// A client's certificate.
#[derive(Clone)]
pub(super) struct Certificate {
    pub not_after: Option<DateTime<Utc>>,
    first: Option<X509>,
    /// The first that is not signed by the one behind it, and that one: the file's chain is none, or in
    /// another order than TLS has it (RFC 5246 §7.4.2).
    pub disorder: Option<(String, String)>,
}

impl Certificate {
    /// Whether a key may be the one that belongs to it; that it is not is certain.
    pub(super) fn may_have(&self, key: &PKey<Private>) -> bool {
        let public = self.first.as_ref().and_then(|certificate| certificate.public_key().ok());
        public.is_none_or(|public| public.public_eq(key))
    }
}

/// Certificates of which each is to be an anchor.
pub(super) struct Anchors {
    /// When the last of them ends.
    pub end: Option<DateTime<Utc>>,
    /// Whose certificate the first is, and who signed it, where none of them is a root.
    pub rootless: Option<(String, String)>,
}

/// Reads a client's certificate, and what chains it to an anchor.
pub(super) fn certificate(path: &Path) -> Result<Certificate, Flaw> {
    let bytes = bytes(path)?;
    let certificates = certificates(&bytes)?;
    let mut pairs = certificates.windows(2).map(|pair| (&pair[0], &pair[1]));
    let disorder = pairs.find(|(signed, signer)| !same(signed.issuer_name(), signer.subject_name()));
    let disorder = disorder.map(|(signed, other)| (words(signed.subject_name()), words(other.subject_name())));
    let first = certificates.into_iter().next();
    let not_after = first.as_ref().and_then(|certificate| moment(certificate.not_after()));
    Ok(Certificate { not_after, first, disorder })
}

/// Reads certificates that are trusted.
pub(super) fn anchors(path: &Path) -> Result<Anchors, Flaw> {
    let bytes = bytes(path)?;
    let certificates = certificates(&bytes)?;
    let (subject, issuer) = (|c: &X509| words(c.subject_name()), |c: &X509| words(c.issuer_name()));
    let is_root = |c: &X509| same(c.subject_name(), c.issuer_name());
    let first = certificates.first().filter(|_| !certificates.iter().any(is_root));
    Ok(Anchors {
        end: certificates.iter().filter_map(|c| moment(c.not_after())).max(),
        rootless: first.map(|first| (subject(first), issuer(first))),
    })
}

/// Reads revocation lists, and says when the first of them is to be replaced.
pub(super) fn revocations(path: &Path) -> Result<Option<DateTime<Utc>>, Flaw> {
    crls(&bytes(path)?)
}

/// Reads a private key, with its password if there is one.
pub(super) fn key(path: &Path, password: Option<&Secret>) -> Result<PKey<Private>, Flaw> {
    let Text { bytes, is_encrypted } = key_text(path, password.is_some())?;
    let password = password.map_or("", |password| password.expose());
    PKey::private_key_from_pem_passphrase(&bytes, password.as_bytes()).map_err(|errors| {
        let says = |word: &str| errors.errors().iter().any(|e| e.reason().is_some_and(|r| r.contains(word)));
        // One time in some hundred a wrong password opens what then is no key: OpenSSL knows no other word for that.
        let is_known = ["DEK-Info: DES-EDE3", "DEK-Info: AES-"].iter().any(|cipher| has(&bytes, cipher));
        if is_encrypted && says("unsupported") && !is_known {
            (
                "is encrypted in an old way (DES, RC2), which OpenSSL 3 does not read any more".into(),
                Some("encrypt it anew: openssl pkcs8 -topk8 -v2 aes-256-cbc -provider legacy -provider default -in FILE -out NEW"),
            )
        } else if is_encrypted {
            ("is not opened by its `key_password`".into(), Some("is it the password of this key?"))
        } else {
            let why = reason(&errors);
            (format!("has a private key that cannot be read: {why}"), Some("look at it: openssl pkey -noout -in FILE"))
        }
    })
}

/// A key's file that looks like one.
pub(super) struct Text {
    bytes: Vec<u8>,
    is_encrypted: bool,
}

/// Looks at a private key's file without opening the key, which takes OpenSSL much longer.
pub(super) fn key_text(path: &Path, has_password: bool) -> Result<Text, Flaw> {
    let bytes = bytes(path)?;
    let has = |label: &str| has(&bytes, label);
    if !has("PRIVATE KEY-----") {
        return Err(match PKey::private_key_from_der(&bytes).is_ok() {
            true => ("is a key in DER, and not in PEM".into(), Some("openssl pkey -inform DER -in FILE -out FILE.pem")),
            false => ("has no private key in PEM".into(), Some("it has a line such as -----BEGIN PRIVATE KEY-----")),
        });
    }
    let is_encrypted = has("-----BEGIN ENCRYPTED PRIVATE KEY-----") || has("4,ENCRYPTED");
    if is_encrypted && !has_password {
        return Err(("is encrypted".into(), Some("give its password: key_password = { file = \"PATH\" }")));
    }
    if let Some(flaw) = pem_form::flaw(&bytes) {
        return Err(flaw);
    }
    Ok(Text { bytes, is_encrypted })
}

fn bytes(path: &Path) -> Result<Vec<u8>, Flaw> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| {
        if file.metadata()?.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        file.take(LOOKED_AT).read_to_end(&mut bytes)
    });
    match read {
        Ok(_) => Ok(bytes),
        Err(error) => Err((format!("cannot be read: {error}"), None)),
    }
}

fn has(bytes: &[u8], label: &str) -> bool {
    bytes.windows(label.len()).any(|window| window == label.as_bytes())
}

/// The certificates of a file; none where they are in OpenSSL's own form, which is left to TLS.
fn certificates(bytes: &[u8]) -> Result<Vec<X509>, Flaw> {
    let is_trusted = has(bytes, "-----BEGIN TRUSTED CERTIFICATE-----");
    if !is_trusted && !has(bytes, "-----BEGIN CERTIFICATE-----") && !has(bytes, "-----BEGIN X509 CERTIFICATE-----") {
        return Err(match X509::from_der(bytes).is_ok() {
            true => (
                "is a certificate in DER, and not in PEM".into(),
                Some("openssl x509 -inform DER -in FILE -out FILE.pem"),
            ),
            false => ("has no certificate in PEM".into(), Some("it has a line -----BEGIN CERTIFICATE-----")),
        });
    }
    if let Some(flaw) = pem_form::flaw(bytes) {
        return Err(flaw);
    }
    match X509::stack_from_pem(bytes) {
        Ok(certificates) => Ok(certificates),
        Err(_) if is_trusted => Ok(Vec::new()),
        Err(errors) => Err((
            format!("has a certificate that cannot be read: {}", reason(&errors)),
            Some("look at it: openssl x509 -noout -text -in FILE"),
        )),
    }
}

/// OpenSSL's own word for what is wrong.
fn reason(errors: &ErrorStack) -> String {
    let reason = errors.errors().iter().find_map(|error| error.reason());
    reason.unwrap_or("OpenSSL does not say why").to_owned()
}

fn same(a: &X509NameRef, b: &X509NameRef) -> bool {
    a.try_cmp(b).is_ok_and(|order| order.is_eq())
}

/// A name as people know it: its common name, or else its organisation.
fn words(name: &X509NameRef) -> String {
    let entry = |nid| name.entries_by_nid(nid).next().and_then(|entry| entry.data().to_string().ok());
    let text = entry(Nid::COMMONNAME).or_else(|| entry(Nid::ORGANIZATIONNAME));
    text.map_or("an authority without a name".into(), |text| format!("\"{}\"", Scrubbed::new(&text)))
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
pub(in crate::fleet_file) mod tests {
    use chrono::Utc;
    use openssl::{
        symm::Cipher,
        x509::{X509, X509Crl},
    };

    use crate::fleet_file::tests::{certificate, locked, pair, read, warnings};

    /// A revocation list whose successor is due so many days from now, as PEM.
    pub(crate) fn crl(days: i64) -> Vec<u8> {
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

    /// A certificate for this name, signed by that one, as PEM.
    fn signed(subject: &str, issuer: &str) -> Vec<u8> {
        use openssl::{asn1::Asn1Time, hash::MessageDigest, x509::X509NameBuilder};
        let name = |text: &str| {
            let mut name = X509NameBuilder::new().unwrap();
            name.append_entry_by_text("CN", text).unwrap();
            name.build()
        };
        let (_, key) = pair(1);
        let mut builder = X509::builder().unwrap();
        builder.set_subject_name(&name(subject)).unwrap();
        builder.set_issuer_name(&name(issuer)).unwrap();
        builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::days_from_now(400).unwrap()).unwrap();
        builder.set_pubkey(&key).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        builder.build().to_pem().unwrap()
    }

    #[test]
    fn authorities_are_read_as_a_run_will_load_them() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).unwrap();
        let seen = |file: &str| read(&format!("[endpoint.t]\nurl = 'mqtts://t'\nca_file = '{file}'"), dir.path(), &[]);
        let (root, between) = (signed("Root", "Root"), signed("Between", "Root"));
        put("root", &root);
        put("both", &[&between[..], &root].concat());
        put("between", &between);
        put("trusted", b"-----BEGIN TRUSTED CERTIFICATE-----\nMIIB\n-----END TRUSTED CERTIFICATE-----\n");
        for file in ["root", "both", "trusted"] {
            assert_eq!(warnings(&seen(file).unwrap()), "", "{file}");
        }
        let said = warnings(&seen("between").unwrap());
        assert!(said.contains("has no root: \"Between\" is signed by \"Root\""), "{said}");
        assert!(said.contains("add the certificate of \"Root\"") && said.contains("fleet.toml:8:11"), "{said}");
        let text = String::from_utf8(root).unwrap();
        put("glued", text.trim_end().repeat(2).as_bytes());
        put("indented", text.replace('\n', "\n  ").replacen("-----BEGIN", "  -----BEGIN", 1).as_bytes());
        put("cut", &text.as_bytes()[..200]);
        put("spoilt", text.replacen("MII", "MIJ", 1).as_bytes());
        put("der", &X509::from_pem(text.as_bytes()).unwrap().to_der().unwrap());
        put("empty", b"");
        for (file, says, help) in [
            ("glued", "the begin or end of a block that is not on a line of its own", "`cat A B`"),
            ("indented", "an indented line 1", "sed -i"),
            ("cut", "begins in line 1 and does not end", "copy it anew"),
            ("spoilt", "a certificate that cannot be read: ", "openssl x509 -noout"),
            ("der", "is a certificate in DER", "openssl x509 -inform DER"),
            ("empty", "has no certificate in PEM", ""),
        ] {
            let errors = seen(file).unwrap_err().to_string();
            assert!(errors.contains(says) && errors.contains(help), "{file}: {errors}");
        }
    }

    #[test]
    fn keys_are_read_as_a_run_will_load_them() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).unwrap();
        let (certificate, key) = pair(400);
        let rsa = openssl::rsa::Rsa::generate(2048).unwrap();
        let pem = key.private_key_to_pem_pkcs8().unwrap();
        put("cert", &certificate);
        put("good", &pem);
        put(
            "sec1",
            &[
                b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n",
                &*key.ec_key().unwrap().private_key_to_pem().unwrap(),
            ]
            .concat(),
        );
        put("locked", &locked(&key, "hunter2"));
        put("other", &pair(400).1.private_key_to_pem_pkcs8().unwrap());
        put("rsa", &rsa.private_key_to_pem().unwrap());
        put("des3", &rsa.private_key_to_pem_passphrase(Cipher::des_ede3_cbc(), b"hunter2").unwrap());
        put("des", DES.as_bytes());
        put("der", &key.private_key_to_der().unwrap());
        put("glued", &[&certificate[..certificate.len() - 1], &pem].concat());
        put("spoilt", String::from_utf8(pem.clone()).unwrap().replacen("MI", "MJ", 1).as_bytes());
        let seen = |file: &str, more: &str| {
            let client = "[[client]]\nid = 'y'\nendpoints = ['t']\ncert_file = 'cert'";
            let text = format!("[endpoint.t]\nurl = 'mqtts://t'\n{client}\nkey_file = '{file}'\n{more}");
            read(&text, dir.path(), &[("PW", "hunter2"), ("BAD", "hunter3")])
        };
        let (right, wrong) = ("key_password = { env = 'PW' }", "key_password = { env = 'BAD' }");
        for (file, more) in [("good", ""), ("good", right), ("sec1", ""), ("locked", right)] {
            assert!(seen(file, more).is_ok(), "{file}: {}", seen(file, more).unwrap_err());
        }
        for (file, more, says) in [
            ("other", "", "is not the key of"),
            ("rsa", "", "take the pair that was made together"),
            ("des3", right, "is not the key of"),
            ("locked", "", "is encrypted"),
            ("des", "", "is encrypted"),
            ("locked", wrong, "is not opened by its `key_password`"),
            ("des3", wrong, "is not opened by its `key_password`"),
            ("des", right, "in an old way (DES, RC2)"),
            ("der", "", "openssl pkey -inform DER"),
            ("cert", "", "has no private key in PEM"),
            ("glued", "", "not on a line of its own"),
            ("spoilt", "", "a private key that cannot be read: "),
        ] {
            let errors = seen(file, more).unwrap_err().to_string();
            assert!(errors.contains(says) && !errors.contains("hunter"), "{file}: {errors}");
            assert_eq!(errors.matches("error: ").count(), 1, "one slip, one error: {errors}");
        }
    }

    /// A key of nobody, as OpenSSL 0.9 encrypted them (DES-CBC, "hunter2").
    const DES: &str = "-----BEGIN RSA PRIVATE KEY-----\n\
        Proc-Type: 4,ENCRYPTED\n\
        DEK-Info: DES-CBC,C1E9BB42E73AD76C\n\
        \n\
        OIXDlqi8C/puqgxnyty8/ffYgqaCa6EPVRSUP+uJbeBnUXSMg/GhZVlWEUdvcVrH\n\
        iNwrAA/Lrcqi6ccAWgxSRDNuEJ6lKnNTcaa+rjdccSEdFoIvWASFzgljMFEC2l4a\n\
        LtGhR3pYSNtN4Nx34PUYjdorjo3vdz/4BysWdNLrjHbYAE0xYd6ZCRkwUA35astd\n\
        ejwYPnjFCvdkDM6bEZ3fFmnvQ52k/CLUbsA2ECY1s9tQ0tuDRhm/XJRoVoMCox3i\n\
        7siHmrbXgXn/8/kfofsyt9pvVL6vzoy7WsD8gC9EHeMGxjrwWlocTKN4RWlO86e7\n\
        dB/LfUracU5QhbKHAkVv9SsCSVUioKX41jTKHqwG3Vj8R42h3dXZIjZ4hJJGfq1B\n\
        HjdGYbvDifovvN5IxvFLPFAZXjkIQBAa+4EQq9KZvX5U6JvUe3dICg==\n\
        -----END RSA PRIVATE KEY-----\n";
}
