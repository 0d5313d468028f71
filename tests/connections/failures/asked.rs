//! Failures of which the broker says nothing, or says it in an answer to something else than CONNECT: what it had been asked, who else is up, and what was before tell the cause.

use std::{
    io::Read,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use mqfleet_test_support::{
    fleet_file::FleetFile,
    mosquitto::Mosquitto,
    script::{self, ACCEPT_V5, ACCEPT_V311, CLOSE},
};

use super::{Run, V311, plainly};

fn url(port: u16) -> String {
    format!("mqtt://127.0.0.1:{port}")
}

/// A broker that closes the connection over packets of one type, and takes no others amiss.
fn closing_on(kind: u8) -> u16 {
    script::peer(move |_, packet| match packet[0] >> 4 {
        1 => vec![ACCEPT_V5.to_vec()],
        12 => vec![vec![0xd0, 0]],
        same if same == kind => vec![CLOSE.to_vec()],
        _ => Vec::new(),
    })
}

const BIRTH: &str = "birth = { topic = 'status/%c', payload = 'on', qos = 1 }";

/// Case 11.
#[test]
fn publish_closed_on_once() {
    let mut run = Run::with(&url(closing_on(3)), "", BIRTH);
    run.comes_up();
    run.expect("publish_closed_on_once");
}

#[test]
fn publish_closed_on() {
    let mut run = Run::with(&url(closing_on(3)), "", BIRTH);
    run.expect_after("connection_lost", "publish_closed_on");
    run.waits_for_the_operator();
}

#[test]
fn subscribe_closed_on() {
    let mut run = Run::with(&url(closing_on(8)), "", "subscribe = [{ topic = 'cmd/#', qos = 1 }]");
    run.expect_after("connection_lost", "subscribe_closed_on");
}

const ACK: &str = "probe = { kind = 'ack', every = '200ms', topic = 'diag/%c' }";

/// The way it goes by itself is in `probe_refused`.
#[test]
fn probe_closed_on() {
    let mut run = Run::with(&url(closing_on(3)), "", ACK);
    run.expect_after("connection_lost", "probe_closed_on");
    run.comes_up();
}

#[test]
fn probe_disconnected_over() {
    let port = script::peer(|_, packet| match packet[0] >> 4 {
        1 => vec![ACCEPT_V5.to_vec()],
        3 => vec![vec![0xe0, 1, 0x87], CLOSE.to_vec()],
        _ => Vec::new(),
    });
    let mut run = Run::with(&url(port), "", ACK);
    run.comes_up();
    run.expect("probe_disconnected_over");
    run.comes_up();
}

/// A fleet of `press` and of one that was there before, which comes up first.
fn beside_another(url: &str, endpoint: &str, client: &str) -> Run {
    let file = FleetFile::new(&format!(
        "[endpoint.plant]\nurl = '{url}'\n{endpoint}\n[defaults]\nconnect_timeout = '2s'\n\
         reconnect = {{ strategy = 'fixed', every = '300ms' }}\n{client}\n\
         [[client]]\nid = 'first'\nendpoints = ['plant']\n[[client]]\nid = 'press'\nendpoints = ['plant']\n"
    ));
    Run::file(file, plainly)
}

#[test]
fn broker_full() {
    let mended = Arc::<AtomicBool>::default();
    let has_room = mended.clone();
    let port = script::peer(move |_, packet| match packet[0] >> 4 {
        1 if script::client_id(packet) == "first" || has_room.load(Ordering::SeqCst) => vec![ACCEPT_V5.to_vec()],
        1 => vec![CLOSE.to_vec()],
        _ => Vec::new(),
    });
    let mut run = beside_another(&url(port), "", "");
    // It may come first.
    run.expect_after("connection_lost", "broker_full");
    mended.store(true, Ordering::SeqCst);
    run.comes_up();
}

#[test]
fn not_let_in() {
    let times = AtomicU32::new(0);
    let port = script::peer(move |_, packet| match packet[0] >> 4 {
        1 if script::client_id(packet) == "first" => vec![ACCEPT_V5.to_vec()],
        // Not before the other one was hung up on, which came at the same time.
        1 if script::client_id(packet) == "second" && times.fetch_add(1, Ordering::SeqCst) >= 4 => {
            vec![ACCEPT_V5.to_vec()]
        }
        1 => vec![CLOSE.to_vec()],
        _ => Vec::new(),
    });
    let more = "[[client]]\nid = 'second'\nendpoints = ['plant']";
    let mut run = beside_another(&url(port), "", more);
    run.expect_after_all(&["connection_lost", "broker_full"], "not_let_in");
}

/// A broker of MQTT 3.1.1 only that does not say so.
fn old_broker(to_v5: impl Fn() -> Vec<Vec<u8>> + Send + Sync + 'static) -> u16 {
    script::peer(move |_, packet| match (packet[0] >> 4, packet.get(8)) {
        (1, Some(5)) => to_v5(),
        (1, _) => vec![ACCEPT_V311.to_vec()],
        (12, _) => vec![vec![0xd0, 0]],
        _ => Vec::new(),
    })
}

#[test]
fn version_hung_up_on() {
    Run::at(&url(old_broker(|| vec![CLOSE.to_vec()]))).expect("version_hung_up_on");
}

#[test]
fn version_in_silence() {
    Run::at(&url(old_broker(Vec::new))).expect("version_in_silence");
}

/// The three shapes of it, and none is in the way where either version will do.
#[test]
fn version_found_by_itself() {
    for shape in [|| vec![CLOSE.to_vec()], Vec::new, || vec![vec![0x20, 2, 0, 1], CLOSE.to_vec()]] {
        let mut run = Run::with(&url(old_broker(shape)), "", "protocol = 'auto'");
        let step = run.step("up", |step| step["to"] == "up");
        assert_eq!((&step["detail"], &step["attempt"]), (&"in MQTT 3.1.1".into(), &1.into()), "{step}");
        let wrong = run.program.heard().of_type("state").any(super::is_failure);
        assert!(!wrong, "a failure is told: version_found_by_itself");
    }
    // One that hangs up on both is tried with both.
    let neither = script::peer(|_, _| vec![CLOSE.to_vec()]);
    Run::with(&url(neither), "", "protocol = 'auto'").expect("version_found_by_itself");
}

/// Its user is taken away and given back: the client asks again within seconds.
#[test]
fn refused_after_being_up() {
    let refuses = Arc::<AtomicBool>::default();
    let is_refusing = refuses.clone();
    let port = script::server_that(move || match is_refusing.load(Ordering::SeqCst) {
        true => vec![vec![0x20, 3, 0, 0x87, 0]],
        false => vec![ACCEPT_V5.to_vec(), vec![0xe0, 1, 0x8b]],
    });
    let mut run = Run::at(&url(port));
    run.comes_up();
    refuses.store(true, Ordering::SeqCst);
    run.expect_after("server_shutting_down", "refused_after_being_up");
    refuses.store(false, Ordering::SeqCst);
    run.comes_up();
}

/// A client of another program with this ID that comes back a second after it was thrown off, each time.
fn double(port: u16, protocol: u8) -> Arc<AtomicBool> {
    let ends = Arc::<AtomicBool>::default();
    let has_ended = ends.clone();
    thread::spawn(move || {
        while !has_ended.load(Ordering::SeqCst) {
            let mut stream = script::stranger_of(protocol, port, "press");
            let _ = stream.read_to_end(&mut Vec::new());
            thread::sleep(Duration::from_secs(1)); // its way, which the program is to find out
        }
    });
    ends
}

#[test]
fn double_elsewhere() {
    let broker = Mosquitto::start();
    let mut run = Run::with(&url(broker.port()), "", V311);
    run.comes_up();
    let _ends = double(broker.port(), 4);
    run.expect_after("connection_lost", "double_elsewhere");
    run.comes_up();
}

/// Another client is up all the while, so that it is not the broker.
#[test]
fn double_elsewhere_for_sure() {
    let broker = Mosquitto::start();
    let mut run = beside_another(&url(broker.port()), "", V311);
    run.comes_up();
    let _ends = double(broker.port(), 4);
    let is_last = |step: &serde_json::Value| step["to"] == "failed";
    let step = run.step("the end of it", is_last);
    run.compare("double_elsewhere_for_sure", step);
    run.waits_for_the_operator();
}

/// Mosquitto keeps no session over its own end.
#[test]
fn session_lost() {
    let mut broker = Mosquitto::start();
    let client = format!("{V311}clean_start = false\n");
    let mut run = Run::with(&url(broker.port()), "", &client);
    run.comes_up();
    broker.kill9();
    broker.restart();
    let step = run.step("up again", |step| step["to"] == "up");
    run.compare("session_lost", step);
}

#[test]
fn refused_with_a_reason() {
    // CONNACK with a reason string (MQTT 5.0 §3.2.2.3.9). Case 14.
    let port = script::server(vec![b"\x20\x10\0\x87\x0d\x1f\0\x0atoken old!".to_vec()]);
    Run::at(&url(port)).expect("refused_with_a_reason");
}

#[test]
fn refused_with_an_unknown_code() {
    let port = script::server(vec![b"\x20\x0a\0\xb5\x07\x1f\0\x04noon".to_vec()]);
    Run::at(&url(port)).expect("refused_with_an_unknown_code");
}

/// What MQTT 5 brokers say of messages, and what becomes of it.
#[test]
fn disconnected_over_a_message() {
    let port = script::peer(|_, packet| match packet[0] >> 4 {
        1 => vec![ACCEPT_V5.to_vec()],
        3 => vec![vec![0xe0, 1, 0x90], CLOSE.to_vec()],
        _ => Vec::new(),
    });
    let mut run = Run::with(&url(port), "", BIRTH);
    run.comes_up();
    run.expect("disconnected_over_a_message");
}
