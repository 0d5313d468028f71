//! The table's row of rmqtt, the demo's broker.

use std::sync::Arc;

use mqfleet_test_support::rmqtt::{self, Door, Rmqtt};

use super::table::{Doors, PASSWORD, Papers, Peer, Shown, rows};

fn open(shown: Shown) -> Option<Arc<Peer>> {
    let papers = Papers::new(shown);
    let (certificate, key) = (papers.server.0.as_path(), papers.server.1.as_path());
    let ca = papers.ca.pem();
    let one_sided = rmqtt::Papers { certificate, key, client_ca: None };
    let mutual = rmqtt::Papers { client_ca: Some(&ca), ..one_sided };
    let doors =
        [Door::Plain, Door::Tls(one_sided), Door::Tls(mutual), Door::WebSocket, Door::SecureWebSocket(one_sided)];
    let (broker, [plain, tls, mutual, ws, wss]) = Rmqtt::start(doors, "fleet", PASSWORD);
    Some(Arc::new(Peer {
        papers,
        doors: Doors { plain, tls, mutual, ws, wss },
        user: "fleet",
        guest: "",
        certified: "",
        to_wrong_password: "bad_credentials",
        to_wrong_certificate: "client_certificate_refused",
        _running: Box::new(broker),
    }))
}

rows!(open);
