//! The table's row of rmqtt, the demo's broker.

use super::{
    rmqtt::{self, Door, Rmqtt},
    table::{Doors, Kind, PASSWORD, Papers, Peer, Refused, Shown, refuses, works},
};

fn open(shown: Shown) -> Peer {
    let papers = Papers::new(shown);
    let (certificate, key) = (papers.server.0.as_path(), papers.server.1.as_path());
    let ca = papers.ca.pem();
    let one_sided = rmqtt::Papers { certificate, key, client_ca: None };
    let mutual = rmqtt::Papers { client_ca: Some(&ca), ..one_sided };
    let doors =
        [Door::Plain, Door::Tls(one_sided), Door::Tls(mutual), Door::WebSocket, Door::SecureWebSocket(one_sided)];
    let (broker, [plain, tls, mutual, ws, wss]) = Rmqtt::start(doors, "fleet", PASSWORD);
    Peer {
        papers,
        doors: Doors { plain, tls, mutual, ws, wss },
        user: "fleet",
        guest: "",
        certified: "",
        to_wrong_password: "bad_credentials",
        to_wrong_certificate: "client_certificate_refused",
        _running: Box::new(broker),
    }
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
