//! Every kind of connection, by the whole program to a real broker: what must come up does and answers probes, what must be refused is, with its reason. Conversations are tested with the worker.

#[path = "harness/certs.rs"]
mod certs;
#[path = "harness/fleet_file.rs"]
mod fleet_file;
#[path = "harness/headless.rs"]
mod headless;
#[path = "harness/mosquitto.rs"]
mod mosquitto;

use std::{collections::HashSet, fs, path::Path};

use certs::{Authority, EXPIRED, NOT_YET, VALID};
use fleet_file::FleetFile;
use headless::Headless;
use mosquitto::{Mosquitto, Setup, free_port};

const NAMES: &str = "DNS:localhost,IP:127.0.0.1";

/// Lines for a listener with TLS.
fn tls(port: u16, (cert, key): &(impl AsRef<Path>, impl AsRef<Path>)) -> Vec<String> {
    vec![
        format!("listener {port} 127.0.0.1"),
        format!("certfile {}", cert.as_ref().display()),
        format!("keyfile {}", key.as_ref().display()),
    ]
}

/// Lines that make the last listener one for WebSockets.
fn websockets() -> [String; 2] {
    ["protocol websockets".into(), "socket_domain ipv4".into()]
}

#[test]
fn every_kind_of_connection_comes_up_and_answers() {
    let ca = Authority::new("test authority");
    let server = ca.issue("server", NAMES, VALID);
    let (cert, key) = ca.issue("client", "DNS:client", VALID);
    let locked = ca.encrypted(&key, "open-sesame-5");
    let ports: [u16; 4] = std::array::from_fn(|_| free_port());
    let [secure, mutual, ws, wss] = ports;
    let mut lines = tls(secure, &server);
    lines.extend(tls(mutual, &server));
    lines.extend([format!("cafile {}", ca.pem().display()), "require_certificate true".into()]);
    lines.extend([vec![format!("listener {ws} 127.0.0.1")], websockets().to_vec()].concat());
    lines.extend([tls(wss, &server), websockets().to_vec()].concat());
    let users = vec![("fleet".to_owned(), "let-me-in-7".to_owned())];
    let broker = Mosquitto::with(Setup { users, lines, verbose: false });

    let (plain, ca_file) = (broker.port(), ca.pem());
    let mut text = format!(
        r#"
        [endpoint.plain]
        url = "mqtt://127.0.0.1:{plain}"
        [endpoint.tls]
        url = "mqtts://localhost:{secure}"
        ca_file = "{ca}"
        [endpoint.address]
        url = "mqtts://127.0.0.1:{secure}"
        ca_file = "{ca}"
        alpn = ["mqtt"]
        [endpoint.insecure]
        url = "mqtts://localhost:{secure}"
        insecure = true
        [endpoint.mutual]
        url = "mqtts://localhost:{mutual}"
        ca_file = "{ca}"
        [endpoint.ws]
        url = "ws://localhost:{ws}/mqtt"
        [endpoint.wss]
        url = "wss://localhost:{wss}/mqtt"
        ca_file = "{ca}"
        [defaults]
        username = "fleet"
        password = {{ env = "FLEET_PASSWORD" }}
        probe = {{ kind = "ack", every = "500ms" }}
        "#,
        ca = ca_file.display(),
    );
    let mut expected = HashSet::new();
    for protocol in ["3.1.1", "5"] {
        for endpoint in ["plain", "tls", "address", "insecure", "mutual", "locked", "ws", "wss"] {
            let id = format!("{endpoint}-{protocol}");
            let papers = match endpoint {
                "mutual" => format!("cert_file = '{}'\nkey_file = '{}'\n", cert.display(), key.display()),
                "locked" => format!(
                    "cert_file = '{}'\nkey_file = '{}'\nkey_password = {{ env = 'KEY_PASSWORD' }}\n",
                    cert.display(),
                    locked.display()
                ),
                _ => String::new(),
            };
            let endpoint = if endpoint == "locked" { "mutual" } else { endpoint };
            let kind = if protocol == "5" { "echo" } else { "ack" };
            text += &format!(
                "[[client]]\nid = '{id}'\nprotocol = '{protocol}'\nendpoints = ['{endpoint}']\n\
                 probe = {{ kind = '{kind}' }}\n{papers}"
            );
            expected.insert(id);
        }
    }
    let file = FleetFile::new(&text);
    let env = [("FLEET_PASSWORD", "let-me-in-7"), ("KEY_PASSWORD", "open-sesame-5")];
    let run = Headless::start(&["run", file.path(), "--samples"], &env);
    run.wait_up(expected.len());
    let heard = run.wait_for("an answer for every client", |h| {
        let answered = h.of_type("sample").filter_map(|l| l["client"].as_str());
        answered.collect::<HashSet<_>>().len() == expected.len()
    });
    drop(heard);

    // What it writes, what its processes are called with and what they know of the environment.
    let heard = run.heard().lines.iter().map(|l| l.to_string()).collect::<String>();
    let mut seen = vec![("its lines".to_owned(), heard.into_bytes())];
    for worker in run.workers().into_values() {
        for what in ["cmdline", "environ"] {
            let path = format!("/proc/{worker}/{what}");
            seen.push((path.clone(), fs::read(path).expect("a worker")));
        }
    }
    seen.push(("its arguments".into(), fs::read(format!("/proc/{}/cmdline", run.id())).expect("the program")));
    assert!(seen.len() >= 4);
    for (what, bytes) in seen {
        for secret in ["let-me-in-7", "open-sesame-5"] {
            assert!(!bytes.windows(secret.len()).any(|w| w == secret.as_bytes()), "{what} hold a password");
        }
    }
}

/// Where TLS must not come about: what is wrong, and what the client says of it.
#[test]
fn what_tls_must_refuse_is_refused_with_its_reason() {
    let (ca, other) = (Authority::new("test authority"), Authority::new("another authority"));
    let good = ca.issue("good", NAMES, VALID);
    let cases = [
        ("expired", ca.issue("expired", NAMES, EXPIRED), "certificate_expired"),
        ("notyet", ca.issue("notyet", NAMES, NOT_YET), "certificate_not_yet_valid"),
        ("wrongname", ca.issue("wrongname", "DNS:elsewhere.example", VALID), "certificate_name_mismatch"),
        ("unknownca", other.issue("unknownca", NAMES, VALID), "certificate_unknown_ca"),
        ("noclientcert", good.clone(), "tls_failed"),
        ("strangecert", good.clone(), "tls_failed"),
    ];
    let ports: Vec<u16> = cases.iter().map(|_| free_port()).collect();
    let mut lines = Vec::new();
    let (cert, key) = other.issue("stranger", "DNS:stranger", VALID);
    let mut text = String::from("[defaults]\nreconnect = { strategy = 'fixed', every = '200ms', max_retries = 2 }\n");
    let mut expected = Vec::new();
    for ((name, server, reason), port) in cases.iter().zip(&ports) {
        lines.extend(tls(*port, server));
        let demands = name.ends_with("cert");
        if demands {
            lines.extend([format!("cafile {}", ca.pem().display()), "require_certificate true".into()]);
        }
        text += &format!("[endpoint.{name}]\nurl = 'mqtts://localhost:{port}'\nca_file = '{}'\n", ca.pem().display());
        expected.push((*name, vec![*reason]));
    }
    let broker = Mosquitto::with(Setup { lines, ..Setup::default() });
    // Plain MQTT where TLS is asked for, and nobody at all.
    let (plain, closed) = (broker.port(), free_port());
    text += &format!("[endpoint.plain]\nurl = 'mqtts://localhost:{plain}'\ninsecure = true\n");
    text += &format!("[endpoint.closed]\nurl = 'mqtts://localhost:{closed}'\ninsecure = true\n");
    // What a broker does with a TLS hello at a plain port is a matter of taste.
    expected.push(("plain", vec!["tls_failed", "connection_reset", "not_tls"]));
    expected.push(("closed", vec!["connection_refused"]));
    for (name, ..) in &expected {
        let papers = match *name {
            "strangecert" => format!("cert_file = '{}'\nkey_file = '{}'\n", cert.display(), key.display()),
            _ => String::new(),
        };
        for protocol in ["3.1.1", "5"] {
            text += &format!(
                "[[client]]\nid = '{name}-{protocol}'\nprotocol = '{protocol}'\nendpoints = ['{name}']\n{papers}"
            );
        }
    }
    let file = FleetFile::new(&text);
    let run = Headless::start(&["run", file.path()], &[]);
    // Who is held may not connect: the endpoint itself was asked. What concerns a client's own
    // certificate only its own connect can show.
    let given_up = 2 * expected.iter().filter(|(name, _)| name.ends_with("cert")).count();
    let all = 2 * expected.len();
    let heard = run.wait_for("all held or given up", |h| {
        h.count("failed") == given_up && h.count("held") + h.count("queued") == all - given_up
    });
    for (name, reasons) in expected {
        for protocol in ["3.1.1", "5"] {
            let id = format!("{name}-{protocol}");
            let steps: Vec<_> = heard.of_type("state").filter(|l| l["client"] == id.as_str()).collect();
            assert!(steps.iter().all(|l| l["to"] != "up"), "{id} came up");
            let is_told = |step: &&serde_json::Value| reasons.iter().any(|reason| step["reason"] == *reason);
            assert!(steps.iter().any(is_told), "{id}: {steps:?}");
            // Of its own certificate the client's reason has to say who did not like it.
            let is_named =
                |step: &&serde_json::Value| step["detail"].as_str().is_some_and(|d| d.contains("the broker"));
            assert!(!name.ends_with("cert") || steps.iter().filter(|s| is_told(s)).any(is_named), "{id}: {steps:?}");
            let tried = steps.iter().any(|l| l["to"] == "connecting");
            assert_eq!(tried, name.ends_with("cert"), "{id}: {steps:?}");
        }
    }
}

#[test]
fn a_downgrade_is_told_and_messages_are_counted() {
    let broker = Mosquitto::with(Setup { lines: vec!["max_qos 1".into()], ..Setup::default() });
    let file = FleetFile::new(&format!(
        r#"
        [endpoint.local]
        url = "mqtt://127.0.0.1:{}"
        [[client]]
        id = "ears"
        endpoints = ["local"]
        subscribe = [{{ topic = "data/#", qos = 2 }}]
        [[client]]
        id = "source-%i"
        count = 2
        endpoints = ["local"]
        publish = {{ topic = "data/%c", payload = "%s", every = "100ms" }}
        "#,
        broker.port()
    ));
    let run = Headless::start(&["run", file.path()], &[]);
    run.wait_up(3);
    let says = "ears: subscribed to data/# with QoS 1 only, 2 was asked for";
    drop(run.wait_for("the downgrade", |h| h.of_type("notice").any(|l| l["text"] == says)));
    let heard =
        run.wait_for("messages", |h| h.of_type("summary").last().is_some_and(|l| l["received"].as_u64() >= Some(20)));
    let last = heard.of_type("summary").last().expect("a summary");
    assert!(last["published"].as_u64() >= last["received"].as_u64(), "{last}");
}
