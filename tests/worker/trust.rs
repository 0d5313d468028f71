//! Tests whom a worker trusts over TLS: the endpoint's own file as it is now, else the system's store; nobody tells it anything else.

use std::{fs, path::PathBuf, sync::Arc};

use mqfleet::{
    event::Reason,
    fleet::{EndpointKey, Tls, Transport},
    wire::ToWorker,
};
use mqfleet_test_support::{
    certs::{Authority, VALID},
    mosquitto::{Mosquitto, Setup, free_port},
    worker::{Def, Worker},
};

use super::{SOON, def};

fn secure(id: &str, port: u16, ca_file: Option<PathBuf>) -> Def {
    let mut one = def(id, port);
    one.remote.endpoint.host = "localhost".into();
    one.remote.endpoint.transport = Transport::Tls(Arc::new(Tls { ca_file, ..Tls::default() }));
    one
}

/// A broker with a certificate of this authority, and its port.
fn broker_of(ca: &Authority) -> (Mosquitto, u16) {
    let (cert, key) = ca.issue("server", "DNS:localhost", VALID);
    let port = free_port();
    let lines = vec![
        format!("listener {port} 127.0.0.1"),
        format!("certfile {}", cert.display()),
        format!("keyfile {}", key.display()),
    ];
    (Mosquitto::with(Setup { lines, ..Setup::default() }), port)
}

/// What a worker says of a broker whose authority is not among those that it trusts.
#[track_caller]
fn assert_unknown(worker: &Worker, slot: u32) {
    let cause = worker.cause(slot);
    assert_eq!(cause.reason, Reason::CertificateUnknownCa, "{cause:?}");
    assert_eq!(cause.detail.as_str(), "CN=server was issued by CN=right, which is not trusted");
}

#[tokio::test]
async fn the_latest_word_on_trust_counts() {
    let (ca, other) = (Authority::new("right"), Authority::new("wrong"));
    let (_broker, port) = broker_of(&ca);
    let (right, wrong) = (ca.pem(), other.pem());
    let changing = other.path("changing.pem");
    fs::copy(&wrong, &changing).expect("a file");
    let all = vec![
        secure("system", port, None),
        secure("file", port, Some(right.clone())),
        secure("other-file", port, Some(wrong.clone())),
        secure("changing-file", port, Some(changing.clone())),
    ];
    let mended = secure("", port, None).remote;
    let system = [("SSL_CERT_FILE", right.to_str().expect("a path"))];
    let mut worker = Worker::with_env(all, &system).await;
    // All at once: what one of them trusts, and the session that it has, is nothing to the others.
    for round in 0..20 {
        worker.connect(0..4).await;
        assert!(worker.until(SOON, |w| w.up() + w.ended() == 4).await, "{round}: {:?}", worker.steps);
        assert!((0..2).all(|slot| worker.is_up(slot)), "{round}: {:?}", worker.steps);
        (2..4).for_each(|slot| assert_unknown(&worker, slot));
        worker.disconnect(0..2).await;
        assert!(worker.until(SOON, |w| w.ended() == 4).await, "{round}: {:?}", worker.steps);
    }
    // What is told of an endpoint later holds for the next connect.
    let order = ToWorker::Remote { endpoint: EndpointKey(2), remote: mended };
    worker.sender.as_mut().expect("a link").send(&order).await.expect("to tell");
    // And so does what a file says by then.
    fs::copy(&right, &changing).expect("a file");
    worker.connect([2]).await;
    assert!(worker.until(SOON, |w| w.is_up(2)).await, "{:?}", worker.steps);
    while !worker.is_up(3) {
        worker.connect([3]).await;
        assert!(worker.until(SOON, |w| w.is_up(3) || w.is_ended(3)).await, "{:?}", worker.steps);
        assert!(worker.generation(3) < 1_000, "it reads no file anew");
    }
}

#[tokio::test]
async fn a_store_without_the_authority_is_none() {
    let (ca, other) = (Authority::new("right"), Authority::new("wrong"));
    let (_broker, port) = broker_of(&ca);
    let store = other.pem();
    let system = [("SSL_CERT_FILE", store.to_str().expect("a path"))];
    let mut worker = Worker::with_env(vec![secure("system", port, None)], &system).await;
    worker.connect([0]).await;
    assert!(worker.until(SOON, |w| w.is_ended(0)).await);
    assert_unknown(&worker, 0);
}
