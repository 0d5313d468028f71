//! Connections that were up and ended: the broker's goodbyes, its death, its silence.

use std::{
    io::{Read, Write},
    process::Command,
};

use mqfleet_test_support::{
    mosquitto::{Mosquitto, Setup},
    peers::{accepted, serve},
    relay::Relay,
    script::{self, ACCEPT_V5, ACCEPT_V311},
};

use super::Run;

fn url(port: u16) -> String {
    format!("mqtt://127.0.0.1:{port}")
}

/// A broker that says goodbye with this code to everybody; the client comes back each time.
fn ends_with(name: &str, code: u8) -> Run {
    let port = script::server(vec![ACCEPT_V5.to_vec(), vec![0xe0, 1, code]]);
    let mut run = Run::at(&url(port));
    run.comes_up();
    run.expect(name);
    run
}

#[test]
fn taken_over() {
    let mut run = ends_with("taken_over", 0x8e);
    run.comes_up();
}

#[test]
fn taken_over_twice() {
    let port = script::server(vec![ACCEPT_V5.to_vec(), vec![0xe0, 1, 0x8e]]);
    let mut run = Run::at(&url(port));
    run.comes_up();
    let first = run.step("the first time", super::is_failure);
    assert_eq!(first["reason"], "session_taken_over");
    run.comes_up();
    run.expect("taken_over_twice");
    run.waits_for_the_operator();
}

/// What MQTT 3.1.1 has no word for. Having come back, the client throws off the other.
#[test]
fn taken_over_without_a_word() {
    let broker = Mosquitto::start();
    let mut run = Run::with(&url(broker.port()), "", "protocol = '3.1.1'");
    run.comes_up();
    let _other = script::stranger(broker.port(), "press");
    run.expect("taken_over_without_a_word");
    run.comes_up();
}

#[test]
fn shutting_down() {
    let mut run = ends_with("shutting_down", 0x8b);
    run.comes_up();
}

#[test]
fn keep_alive_expired() {
    ends_with("keep_alive_expired", 0x8d).comes_up();
}

#[test]
fn receive_maximum_exceeded() {
    ends_with("receive_maximum_exceeded", 0x93).comes_up();
}

#[test]
fn message_rate_too_high() {
    ends_with("message_rate_too_high", 0x96).comes_up();
}

#[test]
fn maximum_connect_time() {
    ends_with("maximum_connect_time", 0xa0).comes_up();
}

#[test]
fn packet_too_large() {
    ends_with("packet_too_large", 0x95).comes_up();
}

#[test]
fn kicked() {
    let plugin = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib"]
        .map(|dir| format!("{dir}/mosquitto_dynamic_security.so"))
        .into_iter()
        .find(|path| std::path::Path::new(path).exists());
    let Some(plugin) = plugin else {
        return super::not_shown("kicked", "mosquitto has no dynamic security plugin here");
    };
    let dir = tempfile::TempDir::new().expect("a folder");
    let conf = dir.path().join("dynsec.json");
    let conf = conf.to_str().expect("a path");
    let ctrl = |args: &[&str]| {
        let done = Command::new("mosquitto_ctrl").args(args).output().expect("mosquitto_ctrl");
        assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
    };
    ctrl(&["dynsec", "init", conf, "admin", "admin-5"]);
    let lines =
        vec!["allow_anonymous false".to_owned(), format!("plugin {plugin}"), format!("plugin_opt_config_file {conf}")];
    let broker = Mosquitto::with(Setup { lines, ..Setup::default() });
    let port = broker.port().to_string();
    let order = |args: &[&str]| ctrl(&[&["-p", &port, "-u", "admin", "-P", "admin-5", "dynsec"], args].concat());
    order(&["createClient", "ann", "-p", "right"]);
    let mut run = Run::with(&url(broker.port()), "", "username = 'ann'\npassword = 'right'");
    run.comes_up();
    order(&["disableClient", "ann"]);
    run.expect("kicked");
    // It comes back as it would after any goodbye, and learns that it may not.
    let next = run.step("a refusal", super::is_failure);
    assert_eq!(
        (&next["to"], &next["reason"], super::next_action(&next)),
        (&"backoff".into(), &"not_authorized".into(), "soon")
    );
}

#[test]
fn broker_killed() {
    let mut broker = Mosquitto::start();
    let mut run = Run::at(&url(broker.port()));
    run.comes_up();
    broker.kill9();
    run.expect("broker_killed");
    // The endpoint is asked before anybody connects again: it is held, and comes back by itself.
    let held = run.step("held", |step| step["to"] == "held");
    assert_eq!(held["reason"], "connection_refused");
    broker.restart();
    run.comes_up();
}

#[test]
fn broker_stopped() {
    let mut broker = Mosquitto::start();
    let mut run = Run::with(&url(broker.port()), "", "protocol = '3.1.1'");
    run.comes_up();
    broker.stop();
    run.expect("broker_stopped");
    broker.restart();
    run.comes_up();
}

#[test]
fn broker_frozen() {
    let broker = Mosquitto::start();
    let mut run = Run::with(&url(broker.port()), "", "keep_alive = '1s'");
    run.comes_up();
    broker.freeze();
    run.expect("broker_frozen");
    broker.thaw();
    run.comes_up();
}

#[test]
fn half_open() {
    let broker = Mosquitto::start();
    let way = Relay::to(broker.address());
    let mut run = Run::with(&url(way.port()), "", "keep_alive = '1s'");
    run.comes_up();
    way.go_deaf();
    run.expect("half_open");
    run.comes_up();
}

/// A server that accepts a client in a WebSocket, and then says these frames.
fn ends_in_websocket(name: &str, frames: &'static [u8]) {
    let web = serve(move |mut s| {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            match s.read(&mut byte) {
                Ok(1) => head.push(byte[0]),
                _ => return,
            }
        }
        let answer = accepted(&String::from_utf8_lossy(&head));
        // CONNECT comes; the CONNACK is one frame.
        let said = s.write_all(answer.as_bytes()).and_then(|()| s.read(&mut [0; 512]).map(drop));
        let connack = [&[0x82, ACCEPT_V5.len() as u8][..], ACCEPT_V5].concat();
        if said.and_then(|()| s.write_all(&[&connack[..], frames].concat())).is_ok() {
            let _ = s.read_to_end(&mut Vec::new());
        }
    });
    let mut run = Run::at(&format!("ws://{web}/mqtt"));
    run.comes_up();
    run.expect(name);
    run.comes_up();
}

#[test]
fn websocket_closed() {
    ends_in_websocket("websocket_closed", b"\x88\x0c\x03\xf0over quota");
}

#[test]
fn websocket_text() {
    ends_in_websocket("websocket_text", b"\x81\x05hello");
}

/// Paho never hears of it.
#[test]
fn malformed_packet() {
    let port = script::server(vec![ACCEPT_V5.to_vec(), vec![0x36, 5, 0, 1, b'a', 0, 0]]);
    let mut run = Run::at(&url(port));
    run.comes_up();
    run.expect("malformed_packet");
    run.comes_up();
}

/// Case 6: it cost the worker with all its clients.
#[test]
fn suback_without_codes() {
    let port = script::peer(|_, packet| match packet[0] >> 4 {
        1 => vec![ACCEPT_V311.to_vec()],
        8 => vec![vec![0x90, 2, packet[2], packet[3]]],
        _ => Vec::new(),
    });
    let mut run = Run::with(&url(port), "", "protocol = '3.1.1'\nsubscribe = [{ topic = 'news', qos = 1 }]");
    run.comes_up();
    run.expect("suback_without_codes");
    run.comes_up();
    let died = run.program.heard().of_type("worker").any(|l| l["event"] == "died");
    assert!(!died, "the worker died of it");
}

#[test]
fn message_too_large() {
    let broker = Mosquitto::start();
    let payload = "x".repeat(3_000);
    let client = format!(
        "protocol = '3.1.1'\nmaximum_packet_size = '1kB'\nsubscribe = [{{ topic = 'status' }}]\n\
         birth = {{ topic = 'status', payload = '{payload}' }}"
    );
    let mut run = Run::with(&url(broker.port()), "", &client);
    run.comes_up();
    run.expect("message_too_large");
    run.comes_up();
}
