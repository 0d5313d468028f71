//! The table's row of mosquitto.

use std::path::Path;

use super::{
    mosquitto::{Mosquitto, Setup, free_port},
    table::{Doors, Kind, PASSWORD, Papers, Peer, Refused, Shown, refuses, works},
};

fn open(shown: Shown) -> Peer {
    let papers = Papers::new(shown);
    let [tls, mutual, ws, wss] = std::array::from_fn(|_| free_port());
    let lines = [
        // Whoever gives a name still has to know its password.
        vec!["allow_anonymous true".into()],
        listener(tls),
        secure(&papers),
        listener(mutual),
        secure(&papers),
        vec![format!("cafile {}", papers.ca.pem().display()), "require_certificate true".into()],
        listener(ws),
        websocket(),
        listener(wss),
        secure(&papers),
        websocket(),
    ];
    let users = vec![("fleet".to_owned(), PASSWORD.to_owned())];
    let broker = Mosquitto::with(Setup { users, lines: lines.concat(), ..Setup::default() });
    Peer {
        papers,
        doors: Doors { plain: broker.port(), tls, mutual, ws, wss },
        user: "fleet",
        guest: "",
        certified: "",
        to_wrong_password: "not_authorized",
        to_wrong_certificate: "client_certificate_refused",
        _running: Box::new(broker),
    }
}

fn listener(port: u16) -> Vec<String> {
    vec![format!("listener {port} 127.0.0.1")]
}

fn secure(papers: &Papers) -> Vec<String> {
    let line = |key: &str, path: &Path| format!("{key} {}", path.display());
    vec![line("certfile", &papers.server.0), line("keyfile", &papers.server.1)]
}

fn websocket() -> Vec<String> {
    vec!["protocol websockets".into(), "socket_domain ipv4".into()]
}

#[test]
fn takes_whoever_comes() {
    works(&open(Shown::Valid), Kind::Plain);
}

#[test]
fn knows_a_password() {
    works(&open(Shown::Valid), Kind::Password);
}

#[test]
fn speaks_tls() {
    works(&open(Shown::Valid), Kind::Tls);
}

#[test]
fn speaks_tls_by_address() {
    works(&open(Shown::Valid), Kind::TlsByAddress);
}

#[test]
fn speaks_tls_to_who_does_not_look() {
    works(&open(Shown::Valid), Kind::TlsUnverified);
}

#[test]
fn speaks_mutual_tls() {
    works(&open(Shown::Valid), Kind::Mutual);
}

#[test]
fn speaks_mutual_tls_with_an_encrypted_key() {
    works(&open(Shown::Valid), Kind::MutualEncrypted);
}

#[test]
fn speaks_websocket() {
    works(&open(Shown::Valid), Kind::WebSocket);
}

#[test]
fn speaks_secure_websocket() {
    works(&open(Shown::Valid), Kind::SecureWebSocket);
}

#[test]
fn refuses_a_wrong_password() {
    refuses(&open(Shown::Valid), Refused::WrongPassword);
}

#[test]
fn refuses_a_client_without_a_certificate() {
    refuses(&open(Shown::Valid), Refused::NoCertificate);
}

#[test]
fn refuses_a_stranger_s_certificate() {
    refuses(&open(Shown::Valid), Refused::StrangersCertificate);
}

#[test]
fn is_refused_when_expired() {
    refuses(&open(Shown::Expired), Refused::Server(Shown::Expired));
}

#[test]
fn is_refused_when_not_yet_valid() {
    refuses(&open(Shown::NotYet), Refused::Server(Shown::NotYet));
}

#[test]
fn is_refused_under_another_name() {
    refuses(&open(Shown::WrongName), Refused::Server(Shown::WrongName));
}

#[test]
fn is_refused_when_of_an_unknown_authority() {
    refuses(&open(Shown::UnknownCa), Refused::Server(Shown::UnknownCa));
}
