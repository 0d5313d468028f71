//! Failures of TLS: certificates of either side, and ports that are not what they are taken for.

use std::{
    fs,
    io::Read,
    net::{TcpListener, TcpStream},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use mqfleet_test_support::{
    certs::{Authority, Certified, EXPIRED, NOT_YET, VALID, Wanted},
    fleet_file::FleetFile,
    mosquitto::{Mosquitto, Setup, free_port},
    peers::{TlsSetup, serve_tls},
    relay::Relay,
};
use openssl::ssl::{AlpnError, SslOptions, SslVersion};
use tempfile::TempDir;

use super::{Run, plainly};

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
    ///
    /// In TLS 1.3 its refusal comes when the client's CONNECT is under way already (RFC 8446
    /// §4.4.2.4): mosquitto then resets the connection, and whether the client still reads the refusal
    /// is a race. A try that only sees the connection end is `tls_failed`, and soon followed by another.
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
    let server = Secure::strict();
    let mut run = server.run("");
    run.expect_after("tls_failed", "client_certificate_missing");
    run.waits_for_the_operator();
    let own = server.ca.issue("press", "DNS:press", VALID);
    server.run(&papers(&own, "")).comes_up();
}

/// The lines that give a client these.
fn papers((cert, key): &Files, more: &str) -> String {
    format!("cert_file = '{}'\nkey_file = '{}'\n{more}", cert.display(), key.display())
}

/// A client whose certificate the broker refuses; a run with a better one in its place comes up.
fn is_refused(name: &str, issue: impl FnOnce(&Authority) -> Files) {
    let server = Secure::strict();
    let own = issue(&server.ca);
    let mut run = server.run(&papers(&own, ""));
    run.expect_after("tls_failed", name);
    run.waits_for_the_operator();
    let (cert, key) = server.ca.issue("mended", "DNS:press", VALID);
    fs::copy(cert, &own.0).expect("a certificate");
    fs::copy(key, &own.1).expect("a key");
    server.run(&papers(&own, "")).comes_up();
}

#[test]
fn client_certificate_of_wrong_ca() {
    let other = Authority::new("another CA");
    is_refused("client_certificate_of_wrong_ca", |_| other.issue("press", "DNS:press", VALID));
}

#[test]
fn client_certificate_expired() {
    is_refused("client_certificate_expired", |ca| ca.issue("press", "DNS:press", EXPIRED));
}

/// A server that demands a certificate of its own CA in TLS 1.2, where its refusal is part of the
/// handshake. (Mosquitto cannot be kept from TLS 1.3.)
fn refuses_in_12(name: &str, own: Option<Certified>) {
    let dir = TempDir::new().expect("a folder");
    let put = |file: &str, text: String| {
        fs::write(dir.path().join(file), text).expect("a file");
        dir.path().join(file)
    };
    let ca = Certified::ca("plant CA");
    let setup = TlsSetup { client_ca: Some(ca.clone()), version: Some(SslVersion::TLS1_2), ..TlsSetup::default() };
    let port = serve_tls(&ca.issue(&Wanted::LOCALHOST), setup).port();
    let own = own.map(|own| papers(&(put("press.pem", own.pem()), put("press.key", own.key_pem())), ""));
    let trust = format!("ca_file = '{}'", put("ca.pem", ca.pem()).display());
    Run::with(&format!("mqtts://localhost:{port}"), &trust, &own.unwrap_or_default()).expect(name);
}

#[test]
fn client_certificate_missing_12() {
    refuses_in_12("client_certificate_missing_12", None);
}

#[test]
fn client_certificate_of_wrong_ca_12() {
    let other = Certified::ca("another CA");
    refuses_in_12("client_certificate_of_wrong_ca_12", Some(other.issue(&Wanted::LOCALHOST)));
}

/// The key was good when the program started: else that would not start.
#[test]
fn key_password_wrong() {
    let mut server = Secure::strict();
    let (cert, key) = server.ca.issue("press", "DNS:press", VALID);
    let locked = server.ca.encrypted(&key, "open-sesame-6");
    let good = fs::read(&locked).expect("a key");
    let mut run = server.run(&papers(&(cert, locked.clone()), "key_password = 'open-sesame-6'"));
    run.comes_up();
    server.broker.kill9();
    run.step("held", |step| step["to"] == "held");
    server.ca.encrypted(&key, "open-sesame-5");
    server.broker.restart();
    run.expect_after("connection_refused", "key_password_wrong");
    fs::write(locked, good).expect("a key");
    run.comes_up();
}

/// It was good when the program started: else that would not start.
#[test]
fn ca_file_unusable() {
    let mut server = Secure::good();
    let mut run = server.run("");
    run.comes_up();
    server.broker.kill9();
    run.step("held", |step| step["to"] == "held");
    let good = fs::read(server.ca.pem()).expect("a file");
    fs::write(server.ca.pem(), "what once was a certificate").expect("a file");
    server.broker.restart();
    run.expect("ca_file_unusable");
    fs::write(server.ca.pem(), good).expect("a file");
    run.comes_up();
}

/// A client at a server of this kind, which trusts its CA.
fn at(setup: TlsSetup, more: &str) -> (Run, TempDir) {
    let dir = TempDir::new().expect("a folder");
    let ca = Certified::ca("plant CA");
    let port = serve_tls(&ca.issue(&Wanted::LOCALHOST), setup).port();
    let file = dir.path().join("ca.pem");
    fs::write(&file, ca.pem()).expect("a file");
    let trust = format!("ca_file = '{}'\n{more}", file.display());
    (Run::with(&format!("mqtts://localhost:{port}"), &trust, ""), dir)
}

#[test]
fn tls_too_old() {
    let setup = TlsSetup {
        more: Some(|acceptor| {
            acceptor.clear_options(SslOptions::NO_TLSV1_1);
            acceptor.set_min_proto_version(Some(SslVersion::TLS1_1)).expect("a version");
            acceptor.set_max_proto_version(Some(SslVersion::TLS1_1)).expect("a version");
            acceptor.set_cipher_list("ALL:@SECLEVEL=0").expect("ciphers");
        }),
        ..TlsSetup::default()
    };
    at(setup, "").0.expect("tls_too_old");
}

#[test]
fn tls_min_too_high() {
    let setup = TlsSetup { version: Some(SslVersion::TLS1_2), ..TlsSetup::default() };
    at(setup, "tls_min = '1.3'").0.expect("tls_min_too_high");
}

#[test]
fn no_cipher_in_common() {
    let more: fn(&mut _) = |acceptor: &mut openssl::ssl::SslAcceptorBuilder| {
        acceptor.set_cipher_list("ADH:@SECLEVEL=0").expect("ciphers");
    };
    let setup = TlsSetup { version: Some(SslVersion::TLS1_2), more: Some(more), ..TlsSetup::default() };
    at(setup, "").0.expect("no_cipher_in_common");
}

#[test]
fn no_protocol_in_common() {
    let setup = TlsSetup {
        more: Some(|acceptor| {
            acceptor.set_alpn_select_callback(|_, offered| {
                openssl::ssl::select_next_proto(b"\x02h2", offered).ok_or(AlpnError::ALERT_FATAL)
            });
        }),
        ..TlsSetup::default()
    };
    at(setup, "alpn = ['mqtt', 'x-mqtt']").0.expect("no_protocol_in_common");
}

#[test]
fn server_name_mismatch() {
    let server = Secure::good();
    let more = format!("ca_file = '{}'\nserver_name = 'other.example'", server.ca.pem().display());
    Run::with(&format!("mqtts://127.0.0.1:{}", server.port), &more, "").expect("server_name_mismatch");
}

#[test]
fn revoked() {
    let dir = TempDir::new().expect("a folder");
    let put = |file: &str, text: String| {
        fs::write(dir.path().join(file), text).expect("a file");
        dir.path().join(file)
    };
    let ca = Certified::ca("plant CA");
    let own = ca.issue(&Wanted::LOCALHOST);
    let files = [put("ca.pem", ca.pem()), put("crl.pem", ca.crl(&[&own.certificate], 30))];
    let port = serve_tls(&own, TlsSetup::default()).port();
    let trust = format!("ca_file = '{}'\ncrl_file = '{}'", files[0].display(), files[1].display());
    Run::with(&format!("mqtts://localhost:{port}"), &trust, "").expect("revoked");
}

/// A way to a broker that lets one client through, and then hangs up on each as soon as it begins TLS.
fn full_after(one: &Arc<AtomicBool>, target: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (port, is_full) = (listener.local_addr().expect("an address").port(), one.clone());
    thread::spawn(move || {
        for mut near in listener.incoming().flatten() {
            if is_full.load(Ordering::SeqCst) {
                let _ = near.read(&mut [0; 2048]);
                continue;
            }
            let Ok(far) = TcpStream::connect(("127.0.0.1", target)) else { return };
            let (near_2, far_2) = (near.try_clone().expect("a socket"), far.try_clone().expect("a socket"));
            for (mut from, mut to) in [(near, far), (far_2, near_2)] {
                thread::spawn(move || std::io::copy(&mut from, &mut to));
            }
        }
    });
    port
}

/// Neither a port without TLS nor a matter of certificates: another one is up.
#[test]
fn broker_full_tls() {
    let secure = Secure::good();
    let is_full = Arc::<AtomicBool>::default();
    let port = full_after(&is_full, secure.port);
    let file = FleetFile::new(&format!(
        "[endpoint.plant]\nurl = 'mqtts://localhost:{port}'\nca_file = '{}'\nconnect_rate = 1\n[defaults]\n\
         reconnect = {{ strategy = 'fixed', every = '300ms' }}\n\
         [[client]]\nid = 'first'\nendpoints = ['plant']\n[[client]]\nid = 'press'\nendpoints = ['plant']\n",
        secure.ca.pem().display()
    ));
    let mut run = Run::file(file, plainly);
    drop(run.program.wait_for("the first one up", |h| h.states.get("first").is_some_and(|s| s == "up")));
    is_full.store(true, Ordering::SeqCst);
    run.expect("broker_full_tls");
    let shut = run.program.heard().of_type("gate").any(|l| l["condition"] == "shut");
    assert!(!shut, "an endpoint with a client that is up is not shut");
    is_full.store(false, Ordering::SeqCst);
    run.comes_up();
}
