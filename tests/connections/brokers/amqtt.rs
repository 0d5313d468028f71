//! The table's column of amqtt, a broker in Python, as its own command starts it from a file.

use std::{path::Path, process::Command};

use mqfleet_test_support::mosquitto::free_port;
use rustix::process::Signal;

use super::{
    server::{Server, installed},
    table::{Broker, Cell, Column, PASSWORD, Ports, Right, Way},
};

pub const COLUMN: Column = Column {
    name: "amqtt",
    versions: &["3.1.1"],
    missing: || installed("amqtt/bin/amqtt").is_none().then_some("`make brokers` has not installed it"),
    start: |certificate, key, limit| Box::new(Amqtt::start(certificate, key, limit)),
    right,
};

struct Amqtt {
    server: Server,
    ports: Ports,
}

impl Amqtt {
    fn start(certificate: &Path, key: &Path, limit: Option<u32>) -> Amqtt {
        let ports = Ports { plain: free_port(), tls: free_port() };
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
            tls = ports.tls,
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
        let server = Server::start(dir, &mut command, &[ports.plain, ports.tls]);
        Amqtt { server, ports }
    }
}

impl Broker for Amqtt {
    fn ports(&self) -> Ports {
        self.ports
    }

    fn logs(&self) -> Vec<String> {
        vec![self.server.log()]
    }

    fn kill(&mut self) {
        self.server.kill();
    }

    fn stop(&mut self) {
        self.server.signal(Signal::TERM);
    }
}

fn right(cell: Cell, way: Way) -> Result<Right, &'static str> {
    const SERVES: &str = "%c Start messages handling";
    Ok(match cell {
        Cell::Right | Cell::Subscribed => Right::up(SERVES),
        Cell::Qos(_) => Right::up("Broadcasting message from (client id=%c) on topic 'free/%c'"),
        Cell::Will => Right::up("Broadcasting message from (client id=%c) on topic 'ends/%c'"),
        Cell::Wrong => Right::new(
            "failed",
            "not_authorized",
            "not authorized",
            "Authentication failure: password mismatch for user 'fleet'",
        ),
        // It leaves both connected.
        Cell::Duplicate => Right::new("nothing", "connected", "both are up", SERVES),
        Cell::ProbeRefused => Right::acknowledged(SERVES),
        Cell::SubscriptionRefused => {
            let says = "the broker refused the subscription to forbidden/thing";
            Right::new("shortfall", "", says, "%c handling subscription")
        }
        Cell::Kicked => return Err("it has no way to throw a client off"),
        // It leaves whom it has no room for without an answer.
        Cell::Full => Right::new(
            "backoff",
            "connect_timeout",
            "connect timed out: no CONNACK within 5s, though it answers others (it may be full)",
            "1/1 connections acquired",
        ),
        Cell::Stopped => Right::cut(way, "%c"),
        Cell::Killed => Right::cut(way, "").and_logs_nothing("it is dead"),
    })
}
