//! Refusals of a broker that was reached: what it answers to CONNECT, or that it does not.

use std::{
    io::Read,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use mqfleet_test_support::{
    fleet_file::FleetFile,
    mosquitto::{Mosquitto, Setup},
    peers::serve,
    script::{self, ACCEPT_V5, ACCEPT_V311},
};
use rustix::process::{Resource, Rlimit, getrlimit};

use super::{Run, V311, plainly};

/// A real broker with one user.
fn guarded() -> Mosquitto {
    Mosquitto::with(Setup { users: vec![("ann".into(), "right".into())], ..Setup::default() })
}

fn url(port: u16) -> String {
    format!("mqtt://127.0.0.1:{port}")
}

#[test]
fn bad_password() {
    let broker = guarded();
    let run = &mut with_login(&broker, "");
    run.expect("bad_password");
    run.waits_for_the_operator();
}

#[test]
fn bad_password_311() {
    with_login(&guarded(), V311).expect("bad_password_311");
}

/// A client with a wrong password.
fn with_login(broker: &Mosquitto, more: &str) -> Run {
    let more = format!("{more}username = 'ann'\npassword = 'wrong'\n");
    Run::with(&url(broker.port()), "", &more)
}

#[test]
fn no_password() {
    Run::at(&url(guarded().port())).expect("no_password");
}

/// A broker that refuses with this packet.
fn refuses(name: &str, client: &str, refusal: &'static [u8]) -> Run {
    let port = script::server(vec![refusal.to_vec()]);
    let mut run = Run::with(&url(port), "", client);
    run.expect(name);
    run
}

/// A broker that refuses with this packet until it has been mended.
fn refuses_for_a_while(name: &str, client: &str, refusal: &'static [u8]) {
    let mended = Arc::<AtomicBool>::default();
    let accept = if client.contains(V311) { ACCEPT_V311 } else { ACCEPT_V5 };
    let is_mended = mended.clone();
    let port = script::server_that(move || {
        vec![if is_mended.load(Ordering::SeqCst) { accept.to_vec() } else { refusal.to_vec() }]
    });
    let mut run = Run::with(&url(port), "", client);
    run.expect(name);
    mended.store(true, Ordering::SeqCst);
    run.comes_up();
}

#[test]
fn bad_credentials() {
    refuses("bad_credentials", "", &[0x20, 3, 0, 0x86, 0]);
}

#[test]
fn bad_credentials_311() {
    refuses("bad_credentials_311", V311, &[0x20, 2, 0, 4]);
}

#[test]
fn client_id_rejected() {
    let run = refuses("client_id_rejected", "", &[0x20, 3, 0, 0x85, 0]);
    run.waits_for_the_operator();
}

/// Mosquitto calls an ID without its prefix not authorized.
#[test]
fn client_id_prefix() {
    let broker = Mosquitto::with(Setup { lines: vec!["clientid_prefixes plant-".into()], ..Setup::default() });
    Run::at(&url(broker.port())).expect("client_id_prefix");
}

#[test]
fn client_id_rejected_311() {
    refuses("client_id_rejected_311", V311, &[0x20, 2, 0, 2]);
}

#[test]
fn banned() {
    let run = refuses("banned", "", &[0x20, 3, 0, 0x8a, 0]);
    run.waits_for_the_operator();
}

#[test]
fn version_unsupported() {
    // What a broker of MQTT 3 says to a client of MQTT 5, in its own shape.
    refuses("version_unsupported", "", &[0x20, 2, 0, 1]);
}

#[test]
fn version_unsupported_5() {
    refuses("version_unsupported_5", "", &[0x20, 3, 0, 0x84, 0]);
}

#[test]
fn server_unavailable_311() {
    refuses_for_a_while("server_unavailable_311", V311, &[0x20, 2, 0, 3]);
}

#[test]
fn server_busy() {
    refuses_for_a_while("server_busy", "", &[0x20, 3, 0, 0x89, 0]);
}

#[test]
fn quota_exceeded() {
    refuses_for_a_while("quota_exceeded", "", &[0x20, 3, 0, 0x97, 0]);
}

#[test]
fn connection_rate_exceeded() {
    let port = script::server(vec![vec![0x20, 3, 0, 0x9f, 0]]);
    let mut run = Run::at(&url(port));
    run.expect("connection_rate_exceeded");
    // And everybody else at this endpoint is let through more slowly.
    let slower = |l: &serde_json::Value| l["rate"].as_u64() < l["rate_set"].as_u64();
    drop(run.program.wait_for("a slower gate", |h| h.of_type("gate").any(slower)));
}

/// Mosquitto's own limit forgets itself after the first refusal (2.0.11); that of the kernel does not.
#[test]
fn max_connections() {
    let broker = Mosquitto::start();
    let limit = getrlimit(Resource::Nofile);
    let most = broker.files_at_rest();
    broker.limit_files(Rlimit { current: Some(most), ..limit });
    let mut run = Run::at(&url(broker.port()));
    run.expect("max_connections");
    broker.limit_files(limit);
    run.comes_up();
}

#[test]
fn connack_never_comes() {
    let broker = Mosquitto::start();
    broker.freeze();
    let mut run = Run::at(&url(broker.port()));
    run.expect("connack_never_comes");
    broker.thaw();
    run.comes_up();
}

#[test]
fn no_broker_at_the_port() {
    let web = serve(|mut s| {
        let _ = s.read(&mut [0; 512]);
        let _ = std::io::Write::write_all(&mut s, b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    Run::at(&url(web.port())).expect("no_broker_at_the_port");
}

/// A client that is sent elsewhere, with another endpoint in its list.
fn sent(name: &str, follow: bool) -> Run {
    let other = Mosquitto::start();
    let port = script::server(vec![vec![0x20, 3, 0, 0x9c, 0]]);
    let file = FleetFile::new(&format!(
        "[endpoint.plant]\nurl = '{}'\n[endpoint.spare]\nurl = '{}'\n\
         [[client]]\nid = 'press'\nendpoints = ['plant', 'spare']\nfollow_redirects = {follow}\n\
         reconnect = {{ strategy = 'fixed', every = '300ms' }}\n",
        url(port),
        url(other.port())
    ));
    let mut run = Run::file(file, plainly);
    run.expect(name);
    if follow {
        let step = run.step("its way", |step| step["to"] == "queued");
        assert_eq!((&step["reason"], &step["endpoint"]), (&"redirected".into(), &"spare".into()));
        run.comes_up();
    }
    run
}

#[test]
fn use_another_server() {
    sent("use_another_server", false).waits_for_the_operator();
}

#[test]
fn use_another_server_and_go() {
    sent("use_another_server_and_go", true);
}
