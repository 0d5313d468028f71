//! `check --connect` as a whole program: what many clients have alike is one line, and who cannot stay is told. That good fleets pass and secrets stay secret is tested with the fleet.
#![allow(clippy::unwrap_used, reason = "what panics here is a failed test")]

use std::{
    io::{Read, Write},
    net::TcpStream,
    process::Command,
};

use mqfleet_test_support::{
    fleet_file::FleetFile,
    mosquitto::{Mosquitto, Setup},
    peers, program,
};

/// The exit code, and what is printed.
fn check(file: &FleetFile, more: &[&str]) -> (Option<i32>, String) {
    let arguments = [&["check", file.path(), "--connect"], more].concat();
    let done = Command::new(program()).args(arguments).output().unwrap();
    (done.status.code(), String::from_utf8(done.stdout).unwrap())
}

/// Two hundred clients of one broker, with these lines each.
fn fleet(port: u16, client: &str) -> FleetFile {
    FleetFile::new(&format!(
        "[endpoint.e]\nurl = 'mqtt://127.0.0.1:{port}'\n[[client]]\nid = 'press-%03i'\ncount = 200\nendpoints = ['e']\n{client}\n"
    ))
}

#[test]
fn what_all_clients_have_alike_is_one_line() {
    let users = vec![("op".to_owned(), "right".to_owned())];
    let broker = Mosquitto::with(Setup { users, ..Setup::default() });
    let file = fleet(broker.port(), "username = 'op'\npassword = 'wrong'");
    let (code, said) = check(&file, &[]);
    let told = format!(
        "200 clients could not connect to e (127.0.0.1:{}): not authorized (press-001 … press-200)\n\
         0 of 200 clients connected\n",
        broker.port()
    );
    assert_eq!((code, said.as_str()), (Some(3), told.as_str()));
}

#[test]
fn a_check_fails_where_a_query_means_somebody() {
    let broker = Mosquitto::with(Setup::default());
    let file = fleet(broker.port(), "labels = { site = 'hall-3' }");
    let passes = check(&file, &["--fail-if", "-state:up", "--fail-if", "p99>1h"]);
    assert_eq!(passes, (Some(0), "all 200 clients connected\n".to_owned()));
    let arguments =
        ["check", file.path(), "--connect", "--fail-if", "down", "--fail-if", "label.site:hall-3 id:press-00*"];
    let fails = Command::new(program()).args(arguments).output().unwrap();
    let said = String::from_utf8(fails.stderr).unwrap();
    assert_eq!(fails.status.code(), Some(3), "{said}");
    assert!(said.contains("label.site:hall-3 id:press-00*: press-001 and 8 more") && !said.contains("down:"), "{said}");
}

#[test]
fn a_lesser_subscription_of_all_clients_is_one_line() {
    let broker = Mosquitto::with(Setup { lines: vec!["max_qos 0".into()], ..Setup::default() });
    let file = fleet(broker.port(), "subscribe = [{ topic = 'cmd/%c/#', qos = 1 }]");
    let (code, said) = check(&file, &[]);
    let told = format!(
        "warning: 200 clients at e (127.0.0.1:{}): subscribed to cmd/%c/# with QoS 0 only, 1 was asked for \
         (press-001 … press-200)\nall 200 clients connected\n",
        broker.port()
    );
    assert_eq!((code, said.as_str()), (Some(0), told.as_str()));
}

/// A broker of MQTT 5.0 that accepts everybody, and hangs up on whoever sends a packet of this kind.
fn hangs_up_on(kind: u8) -> u16 {
    let talk = move |mut stream: TcpStream| {
        loop {
            let mut head = [0; 2];
            if stream.read_exact(&mut head).is_err() {
                return;
            }
            // No packet of these clients is longer than one byte can say.
            let mut rest = vec![0; usize::from(head[1])];
            let _ = stream.read_exact(&mut rest);
            let answer: &[u8] = match head[0] >> 4 {
                asked if asked == kind => return,
                1 => &[0x20, 3, 0, 0, 0],
                8 => &[0x90, 4, rest[0], rest[1], 0, 1],
                12 => &[0xd0, 0],
                _ => continue,
            };
            let _ = stream.write_all(answer);
        }
    };
    peers::serve(talk).port()
}

/// SUBSCRIBE and the birth's PUBLISH.
#[test]
fn who_is_thrown_off_right_after_connecting_is_told() {
    for (kind, client) in
        [(8, "subscribe = [{ topic = 'cmd/%c' }]"), (3, "birth = { topic = 'status', payload = 'here' }")]
    {
        let file = fleet(hangs_up_on(kind), client);
        let (code, said) = check(&file, &[]);
        assert_eq!(code, Some(3), "{client}: {said}");
        let (line, last) = said.trim_end().split_once('\n').unwrap();
        assert!(line.starts_with("200 clients connected to e (127.0.0.1:"), "{client}: {said}");
        assert!(line.contains("and lost that at once: ") && line.contains("the broker closed"), "{client}: {said}");
        assert_eq!(last, "0 of 200 clients connected", "{client}");
        let (code, json) = check(&file, &["--format", "json"]);
        let thrown = json.lines().filter(|l| l.contains(r#""from":"up","to":"failed""#)).count();
        assert_eq!((code, thrown), (Some(3), 200), "{client}");
    }
}

#[test]
fn who_is_thrown_off_over_the_program_s_own_probe_is_connected_without_it() {
    let file = fleet(hangs_up_on(3), "probe = { kind = 'ack', every = '30s' }");
    let (code, said) = check(&file, &[]);
    let (line, last) = said.trim_end().split_once('\n').unwrap();
    assert!(
        line.contains("warning: e refuses a probe (") && line.contains("PUBLISH to mqfleet/probe/press-"),
        "{said}"
    );
    assert_eq!((code, last), (Some(0), "all 200 clients connected"));
}
