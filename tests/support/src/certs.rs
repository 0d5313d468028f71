//! Certificates for tests, in memory and as files: a CA, and what it issues for good or for bad; made anew each time, and known to nobody else.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
};

use mqfleet::fleet::Identity;
use openssl::{
    asn1::{Asn1Time, Asn1TimeRef},
    bn::{BigNum, MsbOption},
    ec::{EcGroup, EcKey},
    hash::MessageDigest,
    nid::Nid,
    pkey::{PKey, Private},
    sign::Signer,
    symm::Cipher,
    x509::{
        X509, X509Builder, X509NameBuilder, X509Ref,
        extension::{BasicConstraints, KeyUsage, SubjectAlternativeName},
    },
};
use tempfile::TempDir;

/// From when to when a certificate is valid, in days from now.
pub type Validity = (i64, i64);
pub const VALID: Validity = (-1, 365);
pub const EXPIRED: Validity = (-9, -2);
pub const NOT_YET: Validity = (3, 365);

/// A CA whose papers are files, in a folder of its own.
pub struct Authority {
    dir: TempDir,
    ca: Certified,
    /// How often it signed for each subject.
    issued: Mutex<HashMap<String, usize>>,
}

impl Authority {
    pub fn new(subject: &str) -> Authority {
        let authority =
            Authority { dir: TempDir::new().unwrap(), ca: Certified::ca(subject), issued: Mutex::default() };
        authority.put("ca", &authority.ca);
        authority
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    /// The authority's own certificate.
    pub fn pem(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// Signs a new key for `names`, as OpenSSL writes them (`DNS:localhost,IP:127.0.0.1`), and returns
    /// certificate and key. Each time these are other files: tests that share an authority do not meet in them.
    pub fn issue(&self, subject: &str, names: &str, (from, to): Validity) -> (PathBuf, PathBuf) {
        let names: Vec<&str> = names.split(',').map(|name| name.split_once(':').unwrap().1).collect();
        let name = match self.issued.lock().unwrap().entry(subject.to_owned()).and_modify(|n| *n += 1).or_insert(1) {
            1 => subject.to_owned(),
            n => format!("{subject}-{n}"),
        };
        self.put(&name, &self.ca.issue(&Wanted { subject, names: &names, from, to, is_ca: false }))
    }

    /// The same key, encrypted.
    pub fn encrypted(&self, key: &Path, password: &str) -> PathBuf {
        let to = key.with_extension("locked");
        let key = PKey::private_key_from_pem(&fs::read(key).unwrap()).unwrap();
        fs::write(&to, key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), password.as_bytes()).unwrap())
            .unwrap();
        to
    }

    fn put(&self, name: &str, certified: &Certified) -> (PathBuf, PathBuf) {
        let (certificate, key) = (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")));
        fs::write(&certificate, certified.pem()).unwrap();
        fs::write(&key, certified.key_pem()).unwrap();
        (certificate, key)
    }
}

/// A folder with a CA and its file, and whatever else a test puts there.
pub struct Trust {
    pub dir: TempDir,
    pub ca: Certified,
}

impl Trust {
    #[expect(clippy::new_without_default, reason = "a new one each time")]
    pub fn new() -> Trust {
        let trust = Trust { dir: TempDir::new().unwrap(), ca: Certified::ca("Test CA") };
        trust.file("ca.pem", trust.ca.pem());
        trust
    }

    pub fn file(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    pub fn ca_file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// Certificate and key as files.
    pub fn identity(&self, name: &str, own: &Certified) -> Identity {
        Identity {
            cert_file: self.file(&format!("{name}.pem"), own.pem()),
            key_file: self.file(&format!("{name}.key"), own.key_pem()),
            key_password: None,
            not_after: None,
        }
    }
}

/// A certificate and its key.
#[derive(Clone)]
pub struct Certified {
    pub certificate: X509,
    pub key: PKey<Private>,
}

/// What a certificate is to say.
pub struct Wanted<'a> {
    pub subject: &'a str,
    /// Host names; those that are addresses become addresses.
    pub names: &'a [&'a str],
    /// Days from now.
    pub from: i64,
    pub to: i64,
    pub is_ca: bool,
}

impl Wanted<'_> {
    /// A good one for localhost by name.
    pub const LOCALHOST: Wanted<'static> =
        Wanted { subject: "broker", names: &["localhost"], from: -1, to: 30, is_ca: false };
}

impl Certified {
    /// A CA that vouches for itself.
    pub fn ca(subject: &str) -> Certified {
        Certified::make(&Wanted { subject, names: &[], from: -1, to: 3650, is_ca: true }, None)
    }

    /// A certificate that vouches for itself.
    pub fn alone(wanted: &Wanted<'_>) -> Certified {
        Certified::make(wanted, None)
    }

    /// A certificate that this one vouches for.
    pub fn issue(&self, wanted: &Wanted<'_>) -> Certified {
        Certified::make(wanted, Some(self))
    }

    /// The same with what `more` adds to it.
    pub fn issue_with(&self, wanted: &Wanted<'_>, more: impl FnOnce(&mut X509Builder)) -> Certified {
        Certified::make_with(wanted, Some(self), more)
    }

    pub fn pem(&self) -> String {
        String::from_utf8(self.certificate.to_pem().unwrap()).unwrap()
    }

    pub fn key_pem(&self) -> String {
        String::from_utf8(self.key.private_key_to_pem_pkcs8().unwrap()).unwrap()
    }

    /// A revocation list (RFC 5280 §5) in PEM that ends in so many days.
    pub fn crl(&self, revoked: &[&X509Ref], days: i64) -> String {
        let der = |tag: u8, parts: &[Vec<u8>]| {
            let contents = parts.concat();
            let mut out = vec![tag];
            match contents.len() {
                length @ 0..128 => out.push(length as u8),
                length => out.extend([0x82, (length >> 8) as u8, length as u8]),
            }
            out.extend(contents);
            out
        };
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
        let time = |days: i64| {
            let time = Asn1Time::from_unix(now + days * 86_400).unwrap();
            let time: &Asn1TimeRef = &time;
            let date = Asn1Time::from_unix(0).unwrap().diff(time).unwrap();
            let at = chrono::DateTime::from_timestamp(i64::from(date.days) * 86_400 + i64::from(date.secs), 0).unwrap();
            der(0x17, &[at.format("%y%m%d%H%M%SZ").to_string().into_bytes()])
        };
        const SEQUENCE: u8 = 0x30;
        // ecdsa-with-SHA256 (RFC 5758 §3.2)
        let algorithm = der(SEQUENCE, &[vec![0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]]);
        let entry = |certificate: &&X509Ref| {
            let mut serial = certificate.serial_number().to_bn().unwrap().to_vec();
            if serial[0] >= 0x80 {
                serial.insert(0, 0);
            }
            der(SEQUENCE, &[der(0x02, &[serial]), time(-3)])
        };
        let mut parts = vec![
            vec![0x02, 1, 1],
            algorithm.clone(),
            self.certificate.subject_name().to_der().unwrap(),
            time(-4),
            time(days),
        ];
        if !revoked.is_empty() {
            parts.push(der(SEQUENCE, &revoked.iter().map(entry).collect::<Vec<_>>()));
        }
        let list = der(SEQUENCE, &parts);
        let mut signer = Signer::new(MessageDigest::sha256(), &self.key).unwrap();
        let signature = [vec![0], signer.sign_oneshot_to_vec(&list).unwrap()].concat();
        let whole = der(SEQUENCE, &[list, algorithm, der(0x03, &[signature])]);
        format!("-----BEGIN X509 CRL-----\n{}\n-----END X509 CRL-----\n", openssl::base64::encode_block(&whole))
    }

    fn make(wanted: &Wanted<'_>, issuer: Option<&Certified>) -> Certified {
        Certified::make_with(wanted, issuer, |_| {})
    }

    fn make_with(wanted: &Wanted<'_>, issuer: Option<&Certified>, more: impl FnOnce(&mut X509Builder)) -> Certified {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
        let mut name = X509NameBuilder::new().unwrap();
        name.append_entry_by_nid(Nid::COMMONNAME, wanted.subject).unwrap();
        let name = name.build();
        let mut serial = BigNum::new().unwrap();
        serial.rand(120, MsbOption::MAYBE_ZERO, false).unwrap();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
        let time = |days: i64| Asn1Time::from_unix(now + days * 86_400).unwrap();
        let mut builder = X509Builder::new().unwrap();
        builder.set_version(2).unwrap();
        builder.set_serial_number(&serial.to_asn1_integer().unwrap()).unwrap();
        builder.set_subject_name(&name).unwrap();
        builder.set_issuer_name(issuer.map_or(&name, |i| i.certificate.subject_name())).unwrap();
        builder.set_not_before(&time(wanted.from)).unwrap();
        builder.set_not_after(&time(wanted.to)).unwrap();
        builder.set_pubkey(&key).unwrap();
        if wanted.is_ca {
            builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
            builder.append_extension(KeyUsage::new().critical().key_cert_sign().crl_sign().build().unwrap()).unwrap();
        }
        if !wanted.names.is_empty() {
            let mut names = SubjectAlternativeName::new();
            for host in wanted.names {
                match host.parse::<std::net::IpAddr>() {
                    Ok(_) => names.ip(host),
                    Err(_) => names.dns(host),
                };
            }
            let names = names.build(&builder.x509v3_context(issuer.map(|i| &*i.certificate), None)).unwrap();
            builder.append_extension(names).unwrap();
        }
        more(&mut builder);
        builder.sign(issuer.map_or(&key, |i| &i.key), MessageDigest::sha256()).unwrap();
        Certified { certificate: builder.build(), key }
    }
}
