//! The table's row of ejabberd, which tests that run at the same time share.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::{
    ejabberd::{Ejabberd, Setup},
    table::{self, Doors, Kind, PASSWORD, Papers, Peer, Refused, Shown},
};

fn open(shown: Shown) -> Peer {
    let papers = Papers::new(shown);
    let (certificate, key) = &papers.server;
    let setup = Setup { certificate, key, client_ca: &papers.ca.pem(), user: "fleet", password: PASSWORD };
    let broker = Ejabberd::start(&setup);
    let Ejabberd { plain, tls, mutual, ws, wss, .. } = broker;
    Peer {
        papers,
        doors: Doors { plain, tls, mutual, ws, wss },
        user: "fleet@closed.example",
        guest: "username = 'guest'\npassword = { env = 'GUEST_PASSWORD' }",
        certified: "username = 'fleet@closed.example'",
        to_wrong_password: "not_authorized",
        // It lets everybody finish the handshake.
        to_wrong_certificate: "not_authorized",
        _running: Box::new(broker),
    }
}

/// The one that others use already, or a new one; nothing where it is not installed.
fn shared() -> Option<Arc<Peer>> {
    static SHARED: Mutex<Weak<Peer>> = Mutex::new(Weak::new());
    if !Ejabberd::is_there() {
        return None;
    }
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    let peer = shared.upgrade().unwrap_or_else(|| Arc::new(open(Shown::Valid)));
    *shared = Arc::downgrade(&peer);
    Some(peer)
}

fn works(kind: Kind) {
    if let Some(peer) = shared() {
        table::works(&peer, kind);
    }
}

fn refuses(refused: Refused) {
    if let Some(peer) = shared() {
        table::refuses(&peer, refused);
    }
}

fn is_refused(shown: Shown) {
    if Ejabberd::is_there() {
        table::refuses(&open(shown), Refused::Server(shown));
    }
}

#[test]
fn takes_whoever_comes() {
    works(Kind::Plain);
}

#[test]
fn knows_a_password() {
    works(Kind::Password);
}

#[test]
fn speaks_tls() {
    works(Kind::Tls);
}

#[test]
fn speaks_tls_by_address() {
    works(Kind::TlsByAddress);
}

#[test]
fn speaks_tls_to_who_does_not_look() {
    works(Kind::TlsUnverified);
}

#[test]
fn speaks_mutual_tls() {
    works(Kind::Mutual);
}

#[test]
fn speaks_mutual_tls_with_an_encrypted_key() {
    works(Kind::MutualEncrypted);
}

#[test]
fn speaks_websocket() {
    works(Kind::WebSocket);
}

#[test]
fn speaks_secure_websocket() {
    works(Kind::SecureWebSocket);
}

#[test]
fn refuses_a_wrong_password() {
    refuses(Refused::WrongPassword);
}

#[test]
fn refuses_a_client_without_a_certificate() {
    refuses(Refused::NoCertificate);
}

#[test]
fn refuses_a_stranger_s_certificate() {
    refuses(Refused::StrangersCertificate);
}

#[test]
fn is_refused_when_expired() {
    is_refused(Shown::Expired);
}

#[test]
fn is_refused_when_not_yet_valid() {
    is_refused(Shown::NotYet);
}

#[test]
fn is_refused_under_another_name() {
    is_refused(Shown::WrongName);
}

#[test]
fn is_refused_when_of_an_unknown_authority() {
    is_refused(Shown::UnknownCa);
}
