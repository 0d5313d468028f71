//! The table's row of ejabberd, which tests that run at the same time share.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use mqfleet_test_support::ejabberd::{Ejabberd, Setup};

use super::table::{Doors, PASSWORD, Papers, Peer, Shown, rows};

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

/// Tests with a valid certificate share one while there are some; nothing where it is not installed.
fn broker(shown: Shown) -> Option<Arc<Peer>> {
    static SHARED: Mutex<Weak<Peer>> = Mutex::new(Weak::new());
    if !Ejabberd::is_there() {
        return None;
    }
    if !matches!(shown, Shown::Valid) {
        return Some(Arc::new(open(shown)));
    }
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    let peer = shared.upgrade().unwrap_or_else(|| Arc::new(open(shown)));
    *shared = Arc::downgrade(&peer);
    Some(peer)
}

rows!(broker);
