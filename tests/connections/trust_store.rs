//! A fleet whose brokers are verified against a whole trust store, by the whole program: a broker that moves to another CA of the store is followed, one that leaves the store is refused. What the store costs is benchmarked.

use std::{
    fs,
    path::{Path, PathBuf},
};

use mqfleet_test_support::{
    certs::{Authority, VALID},
    fleet_file::FleetFile,
    headless::{self, Headless},
    mosquitto::{Mosquitto, Setup, free_port},
};
use tempfile::TempDir;

/// Enough for their losses to put an endpoint in doubt, so that it is asked before anybody tries again.
const MANY: usize = 20;

/// The system's store where it is, with these authorities in it.
fn store(folder: &TempDir, authorities: &[&Authority]) -> PathBuf {
    let mut pem = fs::read_to_string("/etc/ssl/certs/ca-certificates.crt").unwrap_or_default();
    for authority in authorities {
        pem.push_str(&fs::read_to_string(authority.pem()).expect("a certificate"));
    }
    let file = folder.path().join("store.pem");
    fs::write(&file, pem).expect("a file");
    file
}

/// Has the broker show this certificate from its next start on.
fn show((cert, key): &(impl AsRef<Path>, impl AsRef<Path>), (shown, shown_key): &(PathBuf, PathBuf)) {
    fs::copy(cert, shown).expect("a certificate");
    fs::copy(key, shown_key).expect("a key");
}

#[test]
fn a_broker_is_followed_within_the_store_and_not_out_of_it() {
    follow(MANY);
}

/// A single one tries again at once, without anybody's asking first: it holds the broker against the whole
/// store by itself, so that nothing fails within it and the stranger is named.
#[test]
fn a_single_client_follows_by_itself() {
    let fleet = follow(1);
    let heard = fleet.heard();
    let reasons: std::collections::BTreeSet<_> = heard
        .of_type("state")
        .filter_map(|l| l["reason"].as_str().filter(|r| r.contains("certificate") || r.contains("tls")))
        .collect();
    assert_eq!(reasons, ["certificate_unknown_ca"].into());
}

fn follow(clients: usize) -> Headless {
    let [first, second, stranger] = ["first", "second", "stranger"].map(Authority::new);
    let folder = TempDir::new().expect("a folder");
    let store = store(&folder, &[&first, &second]);
    let shown = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let issue = |authority: &Authority| authority.issue("server", "DNS:localhost", VALID);
    show(&issue(&first), &shown);
    let port = free_port();
    let lines = vec![
        format!("listener {port} 127.0.0.1"),
        format!("certfile {}", shown.0.display()),
        format!("keyfile {}", shown.1.display()),
    ];
    let mut broker = Mosquitto::with(Setup { lines, ..Setup::default() });
    let file = FleetFile::new(&format!(
        r#"
        [endpoint.secure]
        url = "mqtts://localhost:{port}"
        [defaults]
        reconnect = {{ strategy = "fixed", every = "300ms" }}
        [[client]]
        id = "c-%02i"
        count = {clients}
        endpoints = ["secure"]
        "#
    ));
    let store = store.to_str().expect("a path");
    let fleet = Headless::start(&["run", file.path()], &[("SSL_CERT_FILE", store)]);
    fleet.wait_up(clients);

    // Another CA of the store: nobody has to do anything.
    show(&issue(&second), &shown);
    broker.restart();
    drop(fleet.wait_for("all up twice", |h| ups(h) == 2 * clients && h.count("up") == clients));

    // One that is not in the store: named, and nobody gets through.
    show(&issue(&stranger), &shown);
    broker.restart();
    let heard =
        fleet.wait_for("all held", |h| h.count("held") == clients && last_reasons(h) == ["certificate_unknown_ca"]);
    assert_eq!(ups(&heard), 2 * clients, "nobody came up with a certificate of a stranger");
    drop(heard);
    let words = "issued by CN=stranger, which is not trusted";
    let named = |line: &serde_json::Value| line["detail"].as_str().is_some_and(|detail| detail.contains(words));
    drop(fleet.wait_for(words, |h| h.of_type("gate").any(named)));

    show(&issue(&first), &shown);
    broker.restart();
    drop(fleet.wait_for("all up a third time", |h| ups(h) == 3 * clients && h.count("up") == clients));
    fleet
}

fn ups(heard: &headless::Heard) -> usize {
    heard.of_type("state").filter(|l| l["to"] == "up").count()
}

/// The different reasons for which the clients are where they are.
fn last_reasons(heard: &headless::Heard) -> Vec<String> {
    let mut last = std::collections::HashMap::new();
    for line in heard.of_type("state") {
        last.insert(line["client"].to_string(), line["reason"].as_str().unwrap_or_default().to_owned());
    }
    let mut reasons: Vec<String> = last.into_values().collect();
    reasons.sort();
    reasons.dedup();
    reasons
}
