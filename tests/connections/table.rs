//! The table of connections: each way in, and each way to be refused, tried by the whole program in both versions of MQTT; which brokers there are is for the rows to say.

use std::{any::Any, collections::HashMap, path::PathBuf, sync::Arc};

use mqfleet_test_support::{
    certs::{Authority, EXPIRED, NOT_YET, VALID},
    fleet_file::FleetFile,
    headless::Headless,
    process,
};
use serde_json::Value;

/// The secrets. None of them may be seen anywhere.
pub const PASSWORD: &str = "let-me-in-7";
const KEY_PASSWORD: &str = "open-sesame-5";
const GUEST_PASSWORD: &str = "any-will-do-3";
const WRONG_PASSWORD: &str = "not-mine-9";
const SECRETS: [(&str, &str); 4] = [
    ("PASSWORD", PASSWORD),
    ("KEY_PASSWORD", KEY_PASSWORD),
    ("GUEST_PASSWORD", GUEST_PASSWORD),
    ("WRONG_PASSWORD", WRONG_PASSWORD),
];

const NAMES: &str = "DNS:localhost,IP:127.0.0.1";
const VERSIONS: [&str; 2] = ["3.1.1", "5"];

/// A running broker, and how it receives.
pub struct Peer {
    pub papers: Papers,
    pub doors: Doors,
    /// A user who needs [`PASSWORD`].
    pub user: &'static str,
    /// A client's lines with which anybody comes in at most doors.
    pub guest: &'static str,
    /// A client's lines, beside its certificate, with which it comes in where one is wanted.
    pub certified: &'static str,
    /// What it says to a wrong password.
    pub to_wrong_password: &'static str,
    /// What it says to a missing certificate, or one of a stranger.
    pub to_wrong_certificate: &'static str,
    /// The broker itself.
    pub _running: Box<dyn Any + Send + Sync>,
}

/// The port for each kind of connection.
pub struct Doors {
    pub plain: u16,
    pub tls: u16,
    pub mutual: u16,
    pub ws: u16,
    pub wss: u16,
}

/// What a broker shows of itself.
#[derive(Clone, Copy, Debug)]
pub enum Shown {
    Valid,
    Expired,
    NotYet,
    WrongName,
    UnknownCa,
}

/// The certificates of a broker and of its clients.
pub struct Papers {
    /// Whom both trust.
    pub ca: Authority,
    stranger: Authority,
    pub server: (PathBuf, PathBuf),
}

impl Papers {
    pub fn new(shown: Shown) -> Papers {
        let (ca, stranger) = (Authority::new("test authority"), Authority::new("another authority"));
        let server = match shown {
            Shown::Valid => ca.issue("server", NAMES, VALID),
            Shown::Expired => ca.issue("server", NAMES, EXPIRED),
            Shown::NotYet => ca.issue("server", NAMES, NOT_YET),
            Shown::WrongName => ca.issue("server", "DNS:elsewhere.example", VALID),
            Shown::UnknownCa => stranger.issue("server", NAMES, VALID),
        };
        Papers { ca, stranger, server }
    }
}

/// A way in.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Plain,
    Password,
    Tls,
    /// By address, and with ALPN.
    TlsByAddress,
    /// Without a look at the certificate.
    TlsUnverified,
    /// With a certificate of the client's own,
    Mutual,
    /// whose key is encrypted.
    MutualEncrypted,
    WebSocket,
    SecureWebSocket,
}

/// A way to stay outside.
#[derive(Clone, Copy, Debug)]
pub enum Refused {
    WrongPassword,
    NoCertificate,
    StrangersCertificate,
    /// The client is who refuses.
    Server(Shown),
}

/// A broker that shows this of itself, where it is installed.
type Open = fn(Shown) -> Option<Arc<Peer>>;

/// The tests of a broker that this function starts, a row each.
macro_rules! rows {
    ($open:path) => {
        use $crate::table::{Kind::*, Refused::*, Shown::*, refuses, works};
        rows! { $open:
            takes_whoever_comes: works(Plain);
            knows_a_password: works(Password);
            speaks_tls: works(Tls);
            speaks_tls_by_address: works(TlsByAddress);
            speaks_tls_to_who_does_not_look: works(TlsUnverified);
            speaks_mutual_tls: works(Mutual);
            speaks_mutual_tls_with_an_encrypted_key: works(MutualEncrypted);
            speaks_websocket: works(WebSocket);
            speaks_secure_websocket: works(SecureWebSocket);
            refuses_a_wrong_password: refuses(WrongPassword);
            refuses_a_client_without_a_certificate: refuses(NoCertificate);
            refuses_a_stranger_s_certificate: refuses(StrangersCertificate);
            is_refused_when_expired: refuses(Server(Expired));
            is_refused_when_not_yet_valid: refuses(Server(NotYet));
            is_refused_under_another_name: refuses(Server(WrongName));
            is_refused_when_of_an_unknown_authority: refuses(Server(UnknownCa));
        }
    };
    ($open:path: $($name:ident: $try:ident($row:expr);)*) => {
        $(#[test]
        fn $name() {
            $try($open, $row);
        })*
    };
}
pub(super) use rows;

/// A client comes up, its probes are answered, it hears what it says, and its secrets stay secret.
pub fn works(open: Open, kind: Kind) {
    let Some(peer) = open(Shown::Valid) else { return };
    let ca = format!("ca_file = '{}'", peer.papers.ca.pem().display());
    let Doors { plain, tls, mutual, ws, wss } = peer.doors;
    let (url, trust) = match kind {
        Kind::Plain | Kind::Password => (format!("mqtt://127.0.0.1:{plain}"), String::new()),
        Kind::Tls => (format!("mqtts://localhost:{tls}"), ca),
        Kind::TlsByAddress => (format!("mqtts://127.0.0.1:{tls}"), format!("{ca}\nalpn = ['mqtt']")),
        Kind::TlsUnverified => (format!("mqtts://localhost:{tls}"), "insecure = true".into()),
        Kind::Mutual | Kind::MutualEncrypted => (format!("mqtts://localhost:{mutual}"), ca),
        Kind::WebSocket => (format!("ws://localhost:{ws}/mqtt"), String::new()),
        Kind::SecureWebSocket => (format!("wss://localhost:{wss}/mqtt"), ca),
    };
    let client = match kind {
        Kind::Password => format!("username = '{}'\npassword = {{ env = 'PASSWORD' }}", peer.user),
        Kind::Mutual | Kind::MutualEncrypted => {
            let (certificate, key) = peer.papers.ca.issue(peer.user, NAMES, VALID);
            let locked = || peer.papers.ca.encrypted(&key, KEY_PASSWORD);
            let key = match kind {
                Kind::Mutual => format!("key_file = '{}'", key.display()),
                _ => format!("key_file = '{}'\nkey_password = {{ env = 'KEY_PASSWORD' }}", locked().display()),
            };
            format!("cert_file = '{}'\n{key}\n{}", certificate.display(), peer.certified)
        }
        _ => peer.guest.into(),
    };
    let runs = VERSIONS.map(|version| Run::start(&format!("{kind:?}"), version, &url, &trust, &client));
    for (version, Run { program, .. }) in VERSIONS.into_iter().zip(&runs) {
        program.wait_up(1);
        let probe = probe(version);
        drop(program.wait_for("an answered probe", |h| h.of_type("sample").any(|l| l["probe"] == probe)));
        let heard = program.wait_for("what it published itself", |h| {
            h.of_type("summary").last().is_some_and(|l| l["received"].as_u64() >= Some(3))
        });
        let last = heard.of_type("summary").last().expect("a summary");
        assert!(last["published"].as_u64() >= last["received"].as_u64(), "{last}");
        drop(heard);
        assert_secret(program);
    }
}

/// A client does not come up, and says why.
pub fn refuses(open: Open, refused: Refused) {
    let shown = if let Refused::Server(shown) = refused { shown } else { Shown::Valid };
    let Some(peer) = open(shown) else { return };
    let ca = format!("ca_file = '{}'", peer.papers.ca.pem().display());
    let Doors { plain, tls, mutual, .. } = peer.doors;
    let (url, client, reason) = match refused {
        Refused::WrongPassword => (
            format!("mqtt://127.0.0.1:{plain}"),
            format!("username = '{}'\npassword = {{ env = 'WRONG_PASSWORD' }}", peer.user),
            peer.to_wrong_password,
        ),
        Refused::NoCertificate => {
            (format!("mqtts://localhost:{mutual}"), peer.certified.into(), peer.to_wrong_certificate)
        }
        Refused::StrangersCertificate => {
            let (certificate, key) = peer.papers.stranger.issue(peer.user, NAMES, VALID);
            let files = format!("cert_file = '{}'\nkey_file = '{}'", certificate.display(), key.display());
            let client = format!("{files}\n{}", peer.certified);
            (format!("mqtts://localhost:{mutual}"), client, peer.to_wrong_certificate)
        }
        Refused::Server(shown) => {
            let reason = match shown {
                Shown::Valid => panic!("nobody refuses that"),
                Shown::Expired => "certificate_expired",
                Shown::NotYet => "certificate_not_yet_valid",
                Shown::WrongName => "certificate_name_mismatch",
                Shown::UnknownCa => "certificate_unknown_ca",
            };
            (format!("mqtts://localhost:{tls}"), peer.guest.into(), reason)
        }
    };
    // The endpoint itself is asked for its certificate, before a client of it may connect. What
    // concerns a client alone only its own connect can show.
    let is_held = matches!(refused, Refused::Server(_));
    let ends = if is_held { "held" } else { "failed" };
    let trust = if url.starts_with("mqtts") { ca } else { String::new() };
    let runs = VERSIONS.map(|version| Run::start(&format!("{refused:?}"), version, &url, &trust, &client));
    for Run { program, .. } in &runs {
        // Until its endpoint was asked it is held as well.
        let has_ended = |l: &Value| l["to"] == ends && (!is_held || l["reason"] == reason);
        let heard = program.wait_for(reason, |h| h.of_type("state").any(has_ended));
        let steps: Vec<_> = heard.of_type("state").collect();
        assert!(steps.iter().all(|l| l["to"] != "up"), "it came up: {steps:?}");
        assert_eq!(steps.iter().any(|l| l["to"] == "connecting"), !is_held, "{steps:?}");
        let told: Vec<_> = steps.iter().filter(|l| l["reason"] == reason).collect();
        assert!(!told.is_empty(), "no {reason}: {steps:?}");
        // Of its own certificate the client has to say that it is the cause, and who did not like it, even
        // where with TLS 1.3 the connection is gone before the client has read the refusal.
        let detail = |l: &Value, words: &str| l["detail"].as_str().is_some_and(|d| d.contains(words));
        let is_clear = |l: &Value| detail(l, "the broker") && detail(l, "certificate");
        let mut ends =
            steps.iter().filter(|l| l["reason"] == "client_certificate_refused" || l["reason"] == "tls_failed");
        assert!(ends.all(|l| is_clear(l)), "{steps:?}");
        drop(heard);
        assert_secret(program);
    }
}

/// Each kind of probe goes along every way.
fn probe(version: &str) -> &'static str {
    if version == "5" { "echo" } else { "ack" }
}

/// The program, with one client.
struct Run {
    program: Headless,
    _file: FleetFile,
}

impl Run {
    fn start(name: &str, version: &str, url: &str, trust: &str, client: &str) -> Run {
        // Tests that share a broker must not take over each other's clients.
        let id = format!("{}-{version}", name.replace(['(', ')'], "-"));
        let probe = probe(version);
        let file = FleetFile::new(&format!(
            r#"
            [endpoint.broker]
            url = "{url}"
            {trust}
            [defaults]
            probe = {{ kind = "{probe}", every = "200ms" }}
            reconnect = {{ strategy = "fixed", every = "200ms" }}
            [[client]]
            id = "{id}"
            protocol = "{version}"
            endpoints = ["broker"]
            subscribe = [{{ topic = "table/%c", qos = 1 }}]
            publish = {{ topic = "table/%c", payload = "%s", every = "100ms" }}
            {client}
            "#
        ));
        let program = Headless::start(&["run", file.path(), "--samples"], &SECRETS);
        Run { program, _file: file }
    }
}

/// Looks for the secrets in what the program writes, in what its processes are called with, and in the
/// environment of its workers.
fn assert_secret(program: &Headless) {
    // A client may be held before its worker is there.
    drop(program.wait_for("a worker", |h| h.of_type("worker").next().is_some()));
    let heard = program.heard().lines.iter().map(|l| l.to_string()).collect::<String>();
    let mut seen = HashMap::from([("its lines".to_owned(), heard.into_bytes())]);
    let mut read = |id: u32, file: &str| {
        seen.extend(process::read(id, file).map(|bytes| (format!("{file} of {id}"), bytes)));
    };
    read(program.id(), "cmdline");
    for worker in program.workers().into_values() {
        read(worker, "cmdline");
        read(worker, "environ");
    }
    for (what, bytes) in seen {
        for (_, secret) in SECRETS {
            assert!(!bytes.windows(secret.len()).any(|w| w == secret.as_bytes()), "{what} hold a password");
        }
    }
}
