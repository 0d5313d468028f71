//! Certificates for tests, made by the `openssl` program in a directory of their own; what they are held against is for the tests to say.
#![allow(dead_code, reason = "every test binary uses another part of it")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

/// From well before now to well after it.
pub const VALID: (&str, &str) = ("20200101000000Z", "20490101000000Z");
pub const EXPIRED: (&str, &str) = ("20200101000000Z", "20210101000000Z");
pub const NOT_YET: (&str, &str) = ("20480101000000Z", "20490101000000Z");

/// An authority and what it has signed.
pub struct Authority {
    dir: TempDir,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let ca = Authority { dir: TempDir::new().expect("a directory") };
        let conf = format!(
            "[ca]\ndefault_ca = d\n[d]\ndatabase = {0}/index\nnew_certs_dir = {0}\nrand_serial = yes\n\
             default_md = sha256\npolicy = p\ncertificate = {0}/ca.pem\nprivate_key = {0}/ca.key\n\
             unique_subject = no\n[p]\ncommonName = supplied\n",
            ca.dir.path().display()
        );
        fs::write(ca.path("conf"), conf).expect("a file");
        fs::write(ca.path("index"), "").expect("a file");
        ca.key("ca");
        let subject = format!("/CN={name}");
        ca.openssl(&["req", "-x509", "-new", "-key", "ca.key", "-out", "ca.pem", "-days", "3650", "-subj", &subject]);
        ca
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    /// The authority's own certificate.
    pub fn pem(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// Signs a new key for `names`, such as `DNS:localhost`, and returns certificate and key.
    pub fn issue(&self, file: &str, names: &str, (from, to): (&str, &str)) -> (PathBuf, PathBuf) {
        self.key(file);
        let (key, request, cert, extra) =
            (format!("{file}.key"), format!("{file}.csr"), format!("{file}.pem"), format!("{file}.ext"));
        let subject = format!("/CN={file}");
        self.openssl(&["req", "-new", "-key", &key, "-out", &request, "-subj", &subject]);
        fs::write(self.path(&extra), format!("subjectAltName = {names}\n")).expect("a file");
        self.openssl(&[
            "ca",
            "-batch",
            "-notext",
            "-config",
            "conf",
            "-in",
            &request,
            "-out",
            &cert,
            "-extfile",
            &extra,
            "-startdate",
            from,
            "-enddate",
            to,
        ]);
        (self.path(&cert), self.path(&key))
    }

    /// The same key, encrypted.
    pub fn encrypted(&self, key: &Path, password: &str) -> PathBuf {
        let to = key.with_extension("locked");
        let pass = format!("pass:{password}");
        let (from, out) = (key.to_str().expect("a path"), to.to_str().expect("a path"));
        self.openssl(&["pkcs8", "-topk8", "-v2", "aes-256-cbc", "-in", from, "-out", out, "-passout", &pass]);
        to
    }

    fn key(&self, file: &str) {
        let key = format!("{file}.key");
        self.openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", &key]);
    }

    fn openssl(&self, args: &[&str]) {
        let done = Command::new("openssl").args(args).current_dir(self.dir.path()).output().expect("openssl");
        assert!(done.status.success(), "openssl {args:?}: {}", String::from_utf8_lossy(&done.stderr));
    }
}
