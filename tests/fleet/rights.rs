//! What brokers do not grant to clients that they let in: the program's own probe, which must keep nobody down and is told of once, and messages, which are told and not counted as published. Connections that end over that are in the table of `failures`.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use mqfleet_test_support::{
    fleet_file::FleetFile,
    headless::{Headless, Heard},
    mosquitto::{Mosquitto, Setup},
    script::{self, ACCEPT_V5, ACCEPT_V311, CLOSE},
};

const CLIENTS: usize = 200;

/// How long after the start they must be up for good.
const LIMIT: Duration = Duration::from_secs(10);

/// How a broker refuses.
#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    ClosesOnPublish,
    ClosesOnSubscribe,
    PubAck,
    SubAck,
    Disconnect,
}

/// A broker that refuses probes so, and how often each client connected to it.
fn broker(how: How, is_v5: bool) -> (u16, Arc<Mutex<HashMap<String, u32>>>) {
    let connects: Arc<Mutex<HashMap<String, u32>>> = Arc::default();
    let counted = connects.clone();
    let port = script::peer(move |_, packet| match (packet[0] >> 4, how) {
        (1, _) => {
            *counted.lock().expect("a lock").entry(script::client_id(packet)).or_default() += 1;
            vec![if is_v5 { ACCEPT_V5 } else { ACCEPT_V311 }.to_vec()]
        }
        (3, How::ClosesOnPublish) => vec![CLOSE.to_vec()],
        (3, How::Disconnect) => vec![vec![0xe0, 1, 0x87], CLOSE.to_vec()],
        (3, _) if packet[0] & 6 != 0 => {
            let (_, [high, low]) = script::publish(packet);
            vec![vec![0x40, 3, high, low, 0x87]]
        }
        (8, How::ClosesOnSubscribe) => vec![CLOSE.to_vec()],
        (8, _) if is_v5 => vec![vec![0x90, 4, packet[2], packet[3], 0, 0x87]],
        (8, _) => vec![vec![0x90, 3, packet[2], packet[3], 0x80]],
        (12, _) => vec![vec![0xd0, 0]],
        _ => Vec::new(),
    });
    (port, connects)
}

fn measured(heard: &Heard) -> usize {
    heard.of_type("measured").filter(|l| l["probe"] == "heartbeat").count()
}

fn check(how: How, is_v5: bool) {
    let (port, connects) = broker(how, is_v5);
    let kind = if matches!(how, How::ClosesOnSubscribe | How::SubAck) { "echo" } else { "ack" };
    let took = check_at(port, &format!("{how:?}"), is_v5, kind);
    let connects = connects.lock().expect("a lock");
    let most = connects.values().max().copied();
    eprintln!("{how:?}, MQTT 5: {is_v5}: up after {took:.1?}, at most {most:?} connects a client");
    assert!(connects.len() == CLIENTS && most <= Some(3), "{how:?}, MQTT 5: {is_v5}: {most:?} connects");
}

/// The clients come up at a broker that refuses probes of this kind, and stay up. Returns when they were.
fn check_at(port: u16, how: &str, is_v5: bool, kind: &str) -> Duration {
    let protocol = if is_v5 { "5" } else { "3.1.1" };
    let fleet = FleetFile::new(&format!(
        "[endpoint.plant]\nurl = 'mqtt://127.0.0.1:{port}'\n[[client]]\nid = 'l%03i'\ncount = {CLIENTS}\n\
         endpoints = ['plant']\nprotocol = '{protocol}'\nprobe = {{ kind = '{kind}' }}\nkeep_alive = '5s'\n"
    ));
    let began = Instant::now();
    let program = Headless::start(&["run", fleet.path()], &[]);
    let is_settled = |h: &Heard| h.count("up") == CLIENTS && measured(h) == CLIENTS;
    let summaries = |h: &Heard| h.of_type("summary").count();
    let heard = program.wait_for(&format!("{how} in {protocol}: all up without their probes"), is_settled);
    let (took, before) = (began.elapsed(), summaries(&heard));
    drop(heard);
    assert!(took <= LIMIT, "{how} in {protocol}: up after {took:?}");
    // The last one may be told to be measured otherwise just before it is told to be lost.
    let heard = program.wait_for("they are so in the next second", |h| is_settled(h) && summaries(h) > before);
    let steps = heard.of_type("state").count();
    drop(heard);
    // Their heartbeats are answered, and nobody is thrown off: longer than a probe is waited for.
    let before = summaries(&program.heard());
    let heard = program.wait_for("seven seconds", |h| summaries(h) >= before + 7);
    let later: Vec<_> = heard.of_type("state").skip(steps).collect();
    assert!(later.is_empty() && heard.count("up") == CLIENTS, "{how} in {protocol}: {later:#?}");
    let notices: Vec<_> = heard.of_type("notice").map(|l| l["text"].as_str().expect("a text").to_owned()).collect();
    assert_eq!(notices.len(), 1, "one sentence for all: {notices:?}");
    assert!(notices[0].starts_with("plant refuses a probe (") && notices[0].contains("heartbeats"), "{}", notices[0]);
    let short = heard.of_type("shortfall").count();
    assert_eq!(short, 0, "nothing that a client asked for itself is amiss");
    let samples = heard.of_type("summary").last().expect("a summary")["p50_us"].as_u64();
    assert!(samples.is_some(), "measured by nothing");
    took
}

#[test]
fn a_broker_that_closes_on_publish_has_its_clients_back_without_their_probes() {
    check(How::ClosesOnPublish, true);
    check(How::ClosesOnPublish, false);
}

#[test]
fn a_broker_that_closes_on_subscribe_has_its_clients_back_without_their_echoes() {
    check(How::ClosesOnSubscribe, true);
    check(How::ClosesOnSubscribe, false);
}

/// MQTT 3.1.1 has no code in its PUBACK.
#[test]
fn a_broker_that_refuses_by_puback_keeps_its_clients() {
    check(How::PubAck, true);
}

#[test]
fn a_broker_that_refuses_by_suback_keeps_its_clients() {
    check(How::SubAck, true);
    check(How::SubAck, false);
}

/// MQTT 3.1.1 has no DISCONNECT of a broker's.
#[test]
fn a_broker_that_says_disconnect_has_its_clients_back_without_their_probes() {
    check(How::Disconnect, true);
}

/// Mosquitto says so in its PUBACK. In MQTT 3.1.1 it acknowledges what it throws away.
#[test]
fn mosquitto_s_access_rules_keep_no_client_down() {
    let dir = tempfile::TempDir::new().expect("a folder");
    let path = dir.path().join("acl");
    std::fs::write(&path, "topic write ok/#\n").expect("a file");
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("to share it");
    let lines = vec![format!("acl_file {}", path.display())];
    let broker = Mosquitto::with(Setup { lines, verbose: true, ..Setup::default() });
    let took = check_at(broker.port(), "mosquitto", true, "ack");
    let connects = broker.log().matches("New client connected").count();
    eprintln!("mosquitto: up after {took:.1?}, {connects} connects of {CLIENTS} clients");
    assert_eq!(connects, CLIENTS);
}

/// The client `press` at a broker with these lines, with more of its own.
fn press(lines: Vec<String>, more: &str) -> (Mosquitto, FleetFile, Headless) {
    let broker = Mosquitto::with(Setup { users: vec![("ann".into(), "right".into())], lines, ..Setup::default() });
    let fleet = FleetFile::new(&format!(
        "[endpoint.plant]\nurl = 'mqtt://127.0.0.1:{}'\n[[client]]\nid = 'press'\nendpoints = ['plant']\n\
         username = 'ann'\npassword = 'right'\n{more}\n",
        broker.port()
    ));
    let program = Headless::start(&["run", fleet.path()], &[]);
    (broker, fleet, program)
}

/// How often it was told that messages to this topic are not what was asked for.
fn told(heard: &Heard, topic: &str) -> usize {
    heard.of_type("shortfall").filter(|l| l["request"] == "publish" && l["filter"] == topic).count()
}

fn published(heard: &Heard) -> u64 {
    heard.of_type("summary").last().and_then(|l| l["published"].as_u64()).unwrap_or_default()
}

#[test]
fn messages_that_are_refused_are_told_once_and_not_counted_as_published() {
    let dir = tempfile::TempDir::new().expect("a folder");
    let path = dir.path().join("acl");
    std::fs::write(&path, "user ann\ntopic write ok/#\n").expect("a file");
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("to share it");
    let (_broker, _fleet, program) = press(
        vec![format!("acl_file {}", path.display())],
        "birth = { topic = 'status/%c', payload = 'on', qos = 1 }\n\
         publish = { topic = 'secret/%c', payload = '%s', qos = 1, every = '200ms' }",
    );
    let both = |h: &Heard| told(h, "status/press") >= 1 && told(h, "secret/press") >= 1;
    let heard = program.wait_for("both refusals", both);
    assert!(heard.of_type("shortfall").all(|l| l["detail"] == "not authorized" && l["granted"].is_null()));
    drop(heard);
    let summaries = |h: &Heard| h.of_type("summary").count();
    let before = summaries(&program.heard());
    let heard = program.wait_for("more of them", |h| summaries(h) >= before + 3);
    assert_eq!((told(&heard, "status/press"), told(&heard, "secret/press")), (1, 1));
    // What is under way counts until it is refused.
    assert!(published(&heard) <= 2, "{} published", published(&heard));
    assert_eq!(heard.states["press"], "up");
}

/// Sending more than a broker takes would end the connection (MQTT 5.0 §3.2.2.3.4 to §3.2.2.3.6).
#[test]
fn what_a_broker_takes_at_most_is_kept_to_and_told() {
    let long = "x".repeat(300);
    let (_broker, _fleet, program) = press(
        vec!["max_packet_size 200".into(), "max_qos 1".into(), "retain_available false".into()],
        &format!(
            "birth = {{ topic = 'status/%c', payload = '{long}', qos = 1 }}\n\
             publish = {{ topic = 'data/%c', payload = '%s', qos = 2, every = '200ms' }}"
        ),
    );
    let both = |h: &Heard| told(h, "status/press") == 1 && told(h, "data/press") == 1 && published(h) >= 5;
    let heard = program.wait_for("both, and messages at the QoS that it takes", both);
    let of = |topic: &str| heard.of_type("shortfall").find(|l| l["filter"] == topic).expect("told").clone();
    let (birth, data) = (of("status/press"), of("data/press"));
    assert_eq!((&birth["granted"], &data["granted"]), (&serde_json::Value::Null, &1.into()));
    assert_eq!(birth["detail"], "its packet of 320 bytes is larger than the broker takes (200 at most)");
    assert_eq!(data["detail"], "the broker takes no higher QoS");
    assert!(heard.of_type("state").all(|l| l["from"] != "up"), "it was thrown off");
}
