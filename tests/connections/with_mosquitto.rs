//! The table's row of mosquitto.

use std::{path::Path, sync::Arc};

use mqfleet_test_support::mosquitto::{Mosquitto, Setup, free_port};

use super::table::{Doors, PASSWORD, Papers, Peer, Shown, rows};

fn open(shown: Shown) -> Option<Arc<Peer>> {
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
    Some(Arc::new(Peer {
        papers,
        doors: Doors { plain: broker.port(), tls, mutual, ws, wss },
        user: "fleet",
        guest: "",
        certified: "",
        to_wrong_password: "not_authorized",
        to_wrong_certificate: "client_certificate_refused",
        _running: Box::new(broker),
    }))
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

rows!(open);
