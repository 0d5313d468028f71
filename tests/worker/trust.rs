//! Tests whom a worker trusts over TLS: the anchors it is told last, before the endpoint's own file, before the system's store.

use std::{fs, path::PathBuf, sync::Arc};

use mqfleet::{
    event::Reason,
    fleet::{EndpointKey, Tls, Transport},
    wire::ToWorker,
};

use super::{
    SOON,
    certs::{Authority, VALID},
    def,
    mosquitto::{Mosquitto, Setup, free_port},
    process::{Def, Worker},
};

fn secure(id: &str, port: u16, ca_file: Option<PathBuf>, anchors: Option<&PathBuf>) -> Def {
    let mut one = def(id, port);
    one.remote.endpoint.host = "localhost".into();
    one.remote.endpoint.transport = Transport::Tls(Arc::new(Tls { ca_file, ..Tls::default() }));
    let _ = anchors;
    one
}

#[tokio::test]
async fn the_latest_word_on_trust_counts() {
    let (ca, other) = (Authority::new("right"), Authority::new("wrong"));
    let (cert, key) = ca.issue("server", "DNS:localhost", VALID);
    let port = free_port();
    let lines = vec![
        format!("listener {port} 127.0.0.1"),
        format!("certfile {}", cert.display()),
        format!("keyfile {}", key.display()),
    ];
    let _broker = Mosquitto::with(Setup { lines, ..Setup::default() });
    let (right, wrong) = (ca.pem(), other.pem());
    let all = vec![
        secure("system", port, None, None),
        secure("file", port, Some(right.clone()), None),
        secure("anchor", port, Some(wrong.clone()), Some(&right)),
        secure("other-file", port, Some(wrong.clone()), None),
        secure("other-anchor", port, Some(right.clone()), Some(&wrong)),
    ];
    let mended = secure("", port, None, Some(&right)).remote;
    let store = ca.pem();
    let system = [("SSL_CERT_FILE", store.to_str().expect("a path"))];
    let mut worker = Worker::with_env(all, &system).await;
    // All at once: a connect that fails frees its socket's number for another, which Paho may then blame.
    for round in 0..20 {
        worker.connect(0..5).await;
        assert!(worker.until(SOON, |w| w.up() + w.ended() == 5).await, "{round}: {:?}", worker.steps);
        assert!((0..3).all(|slot| worker.is_up(slot)), "{round}: {:?}", worker.steps);
        for slot in [3, 4] {
            let cause = worker.cause(slot);
            let is_named = cause.detail.contains("nobody trusted here");
            assert!(cause.reason == Reason::TlsFailed && is_named, "{round}: {cause:?}");
        }
        worker.disconnect(0..3).await;
        assert!(worker.until(SOON, |w| w.ended() == 5).await, "{round}: {:?}", worker.steps);
    }
    // What is told of an endpoint later holds for the next connect.
    let order = ToWorker::Remote { endpoint: EndpointKey(4), remote: mended };
    worker.sender.as_mut().expect("a link").send(&order).await.expect("to tell");
    worker.connect([4]).await;
    assert!(worker.until(SOON, |w| w.is_up(4)).await, "{:?}", worker.steps);
}

#[tokio::test]
async fn a_store_without_the_authority_is_none() {
    let (ca, other) = (Authority::new("right"), Authority::new("wrong"));
    let (cert, key) = ca.issue("server", "DNS:localhost", VALID);
    let port = free_port();
    let lines = vec![
        format!("listener {port} 127.0.0.1"),
        format!("certfile {}", cert.display()),
        format!("keyfile {}", key.display()),
    ];
    let _broker = Mosquitto::with(Setup { lines, ..Setup::default() });
    let store = other.pem();
    let system = [("SSL_CERT_FILE", store.to_str().expect("a path"))];
    let mut worker = Worker::with_env(vec![secure("system", port, None, None)], &system).await;
    worker.connect([0]).await;
    assert!(worker.until(SOON, |w| w.is_ended(0)).await);
    assert_eq!(worker.cause(0).reason, Reason::TlsFailed);
}
