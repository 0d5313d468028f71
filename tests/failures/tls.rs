//! Failures of TLS: certificates of either side, and ports that are not what they are taken for.

use std::{fs, path::PathBuf};

use crate::{
    Run,
    certs::{Authority, EXPIRED, NOT_YET, VALID},
    mosquitto::{Mosquitto, Setup, free_port},
    relay::Relay,
};

const NAMES: &str = "DNS:localhost,IP:127.0.0.1";

type Files = (PathBuf, PathBuf);

/// A broker with TLS, whose certificate can be changed.
struct Secure {
    ca: Authority,
    broker: Mosquitto,
    port: u16,
}

impl Secure {
    /// With the certificate that `issue` makes, and further lines for its listener.
    fn with(issue: impl FnOnce(&Authority) -> Files, more: impl FnOnce(&Authority) -> Vec<String>) -> Secure {
        let ca = Authority::new("plant CA");
        let port = free_port();
        let (cert, key) = (ca.path("its.pem"), ca.path("its.key"));
        let mut lines = vec![
            format!("listener {port} 127.0.0.1"),
            format!("certfile {}", cert.display()),
            format!("keyfile {}", key.display()),
        ];
        lines.extend(more(&ca));
        put(&ca, issue(&ca));
        let broker = Mosquitto::with(Setup { lines, ..Setup::default() });
        Secure { ca, broker, port }
    }

    fn good() -> Secure {
        Secure::with(|ca| ca.issue("broker", NAMES, VALID), |_| Vec::new())
    }

    /// A broker that demands a certificate of its own CA from each client.
    fn strict() -> Secure {
        let demand = |ca: &Authority| vec![format!("cafile {}", ca.pem().display()), "require_certificate true".into()];
        Secure::with(|ca| ca.issue("broker", NAMES, VALID), demand)
    }

    fn run(&self, client: &str) -> Run {
        self.run_at(self.port, client)
    }

    /// A client that trusts the CA, at this port.
    fn run_at(&self, port: u16, client: &str) -> Run {
        let trust = format!("ca_file = \"{}\"", self.ca.pem().display());
        Run::with(&format!("mqtts://localhost:{port}"), &trust, client)
    }

    /// Gives it a good certificate.
    fn mend(&mut self) {
        put(&self.ca, self.ca.issue("mended", NAMES, VALID));
        self.broker.restart();
    }
}

/// Makes these the broker's certificate and key.
fn put(ca: &Authority, (cert, key): Files) {
    fs::copy(cert, ca.path("its.pem")).expect("a certificate");
    fs::copy(key, ca.path("its.key")).expect("a key");
}

/// A broker with this certificate is refused, and taken once it has a good one.
fn refuses(name: &str, issue: impl FnOnce(&Authority) -> Files) {
    let mut server = Secure::with(issue, |_| Vec::new());
    let mut run = server.run("");
    run.expect(name);
    server.mend();
    run.comes_up();
}

#[test]
fn expired() {
    refuses("expired", |ca| ca.issue("broker", NAMES, EXPIRED));
}

#[test]
fn not_yet_valid() {
    refuses("not_yet_valid", |ca| ca.issue("broker", NAMES, NOT_YET));
}

#[test]
fn wrong_name() {
    refuses("wrong_name", |ca| ca.issue("broker", "DNS:elsewhere.example", VALID));
}

#[test]
fn unknown_ca() {
    let other = Authority::new("another CA");
    refuses("unknown_ca", |_| other.issue("broker", NAMES, VALID));
}

#[test]
fn self_signed() {
    let own = Authority::new("broker");
    refuses("self_signed", |_| (own.pem(), own.path("ca.key")));
}

#[test]
fn reset_in_tls() {
    let server = Secure::good();
    let way = Relay::to(([127, 0, 0, 1], server.port).into());
    way.cut_handshakes(true);
    let mut run = server.run_at(way.port(), "");
    run.expect("reset_in_tls");
    way.cut_handshakes(false);
    run.comes_up();
}

#[test]
fn tls_on_plain_port() {
    let server = Secure::good();
    server.run_at(server.broker.port(), "").expect("tls_on_plain_port");
}

#[test]
fn plain_on_tls_port() {
    let server = Secure::good();
    Run::at(&format!("mqtt://127.0.0.1:{}", server.port)).expect("plain_on_tls_port");
}

#[test]
fn client_certificate_missing() {
    Secure::strict().run("").expect("client_certificate_missing");
}

/// The lines that give a client these.
fn papers((cert, key): &Files, more: &str) -> String {
    format!("cert_file = '{}'\nkey_file = '{}'\n{more}", cert.display(), key.display())
}

#[test]
fn client_certificate_of_wrong_ca() {
    let server = Secure::strict();
    let other = Authority::new("another CA");
    let stranger = other.issue("press", "DNS:press", VALID);
    server.run(&papers(&stranger, "")).expect("client_certificate_of_wrong_ca");
}

#[test]
fn client_certificate_expired() {
    let server = Secure::strict();
    let old = server.ca.issue("press", "DNS:press", EXPIRED);
    server.run(&papers(&old, "")).expect("client_certificate_expired");
}

#[test]
fn key_password_wrong() {
    let server = Secure::strict();
    let (cert, key) = server.ca.issue("press", "DNS:press", VALID);
    let locked = server.ca.encrypted(&key, "open-sesame-5");
    server.run(&papers(&(cert, locked), "key_password = 'open-sesame-6'")).expect("key_password_wrong");
}

/// It was good when the program started: else that would not start.
#[test]
fn ca_file_unusable() {
    let mut server = Secure::good();
    let mut run = server.run("");
    run.comes_up();
    server.broker.kill9();
    run.step("held", |step| step["reason"] == "connection_refused");
    let good = fs::read(server.ca.pem()).expect("a file");
    fs::write(server.ca.pem(), "what once was a certificate").expect("a file");
    server.broker.restart();
    run.expect("ca_file_unusable");
    fs::write(server.ca.pem(), good).expect("a file");
    run.comes_up();
}
