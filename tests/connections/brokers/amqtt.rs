//! The table's column of amqtt, a broker in Python, as its own command starts it from a file.

use std::{path::Path, process::Command};

use mqfleet_test_support::mosquitto::free_port;
use rustix::process::Signal;

use super::{
    server::{Server, installed},
    table::{Broker, Cell, Column, Expected, PASSWORD, Ports},
};

pub const COLUMN: Column = Column {
    name: "amqtt",
    versions: &["3.1.1"],
    missing: || installed("amqtt/bin/amqtt").is_none().then_some("`make brokers` has not installed it"),
    start: |certificate, key, limit| Box::new(Amqtt::start(certificate, key, limit)),
    differs,
};

struct Amqtt {
    server: Server,
    ports: Ports,
}

impl Amqtt {
    fn start(certificate: &Path, key: &Path, limit: Option<u32>) -> Amqtt {
        let ports = Ports { plain: free_port(), tls: Some(free_port()) };
        // Who is denied may publish and subscribe to what the others' cells need, and to nothing else.
        let conf = format!(
            r##"
listeners:
  default: {{type: tcp, bind: "127.0.0.1:{plain}", max_connections: {limit}}}
  secure: {{type: tcp, bind: "127.0.0.1:{tls}", ssl: true, certfile: "{certificate}", keyfile: "{key}", max_connections: {limit}}}
plugins:
  amqtt.plugins.logging_amqtt.EventLoggerPlugin:
  amqtt.plugins.authentication.FileAuthPlugin: {{password_file: passwords}}
  amqtt.plugins.topic_checking.TopicAccessControlListPlugin:
    publish_acl: {{fleet: ["#"], kicked: ["#"], denied: ["free/#"]}}
    acl: {{fleet: ["#"], kicked: ["#"], denied: ["free/#"]}}
"##,
            plain = ports.plain,
            tls = ports.tls.unwrap_or(0),
            limit = limit.unwrap_or(0),
            certificate = certificate.display(),
            key = key.display(),
        );
        let dir = Server::folder(&[("broker.yaml", conf)]);
        let python = installed("amqtt/bin/python").expect("amqtt");
        let hash = "import sys; from amqtt.plugins.authentication import *; from argon2 import PasswordHasher as H; print(H().hash(sys.argv[1]))";
        let hashed = Command::new(&python).args(["-c", hash, PASSWORD]).output().expect("python");
        assert!(hashed.status.success(), "{}", String::from_utf8_lossy(&hashed.stderr));
        let hashed = String::from_utf8(hashed.stdout).expect("a hash");
        let users = ["fleet", "kicked", "denied"].map(|user| format!("{user}:{}\n", hashed.trim()));
        std::fs::write(dir.path().join("passwords"), users.concat()).expect("a file");
        let mut command = Command::new(installed("amqtt/bin/amqtt").expect("amqtt"));
        command.args(["-d", "-c", "broker.yaml"]);
        let server = Server::start(dir, &mut command, &[ports.plain, ports.tls.unwrap_or(ports.plain)]);
        Amqtt { server, ports }
    }
}

impl Broker for Amqtt {
    fn ports(&self) -> Ports {
        self.ports
    }

    fn log(&self) -> String {
        self.server.log()
    }

    fn kill(&mut self) -> bool {
        self.server.kill();
        true
    }

    fn stop(&mut self) -> bool {
        self.server.signal(Signal::TERM);
        true
    }
}

fn differs(cell: Cell) -> Option<Expected> {
    match cell {
        // It leaves both connected.
        Cell::Duplicate => Some(Expected { outcomes: &["nothing"], reasons: &[] }),
        // It acknowledges what it does not let through, at times late.
        Cell::ProbeRefused => Some(Expected { outcomes: &["answered", "late", "notice"], reasons: &[] }),
        _ => None,
    }
}
