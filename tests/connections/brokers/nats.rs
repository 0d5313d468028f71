//! The table's column of NATS, whose server speaks MQTT 3.1.1 besides its own language.

use std::{fs, path::Path, process::Command};

use mqfleet_test_support::mosquitto::free_port;
use rustix::process::Signal;

use super::{
    server::{Server, program},
    table::{Broker, Cell, Column, Expected, PASSWORD, Ports},
};

pub const COLUMN: Column = Column {
    name: "NATS",
    versions: &["3.1.1"],
    missing: || program("nats-server").is_none().then_some("`make brokers` has not installed it"),
    start: |certificate, key, limit| Box::new(Nats::start(certificate, key, limit)),
    differs,
};

/// One server has one door for MQTT: there are two, which know nothing of each other.
struct Nats {
    plain: Server,
    tls: Server,
    ports: Ports,
}

impl Nats {
    fn start(certificate: &Path, key: &Path, limit: Option<u32>) -> Nats {
        let [plain, tls] = [free_port(), free_port()];
        let files = format!("tls {{ cert_file: '{}', key_file: '{}' }}", certificate.display(), key.display());
        Nats {
            plain: server(plain, "", limit),
            tls: server(tls, &files, limit),
            ports: Ports { plain, tls: Some(tls) },
        }
    }
}

fn conf(own: u16, port: u16, tls: &str, limit: Option<u32>, kicked: &str) -> String {
    let limit = limit.map_or(String::new(), |limit| format!("max_connections: {limit}"));
    format!(
        r#"
server_name: "test-{port}"
listen: "127.0.0.1:{own}"
jetstream {{ store_dir: "store" }}
{limit}
mqtt {{ listen: "127.0.0.1:{port}", {tls} }}
debug: true
authorization {{ users: [
  {{ user: fleet, password: "{PASSWORD}" }}
  {kicked}
  {{ user: denied, password: "{PASSWORD}", permissions: {{ publish: {{ deny: ["mqfleet.>"] }}, subscribe: {{ deny: ["forbidden.>"] }} }} }}
] }}
"#
    )
}

const KICKED: &str = "{ user: kicked, password: \"let-me-in-7\" }";

fn server(port: u16, tls: &str, limit: Option<u32>) -> Server {
    let own = free_port();
    let dir = Server::folder(&[
        ("nats.conf", conf(own, port, tls, limit, KICKED)),
        // The same without the one who is to be thrown off.
        ("without.conf", conf(own, port, tls, limit, "")),
    ]);
    let mut command = Command::new(program("nats-server").expect("nats-server"));
    command.args(["-c", "nats.conf"]);
    Server::start(dir, &mut command, &[port])
}

impl Broker for Nats {
    fn ports(&self) -> Ports {
        self.ports
    }

    fn log(&self) -> String {
        self.plain.log() + &self.tls.log()
    }

    fn are_doors_apart(&self) -> bool {
        true
    }

    fn kick(&mut self) -> bool {
        for server in [&self.plain, &self.tls] {
            let path = |name: &str| server.dir.path().join(name);
            fs::copy(path("without.conf"), path("nats.conf")).expect("a file");
            server.signal(Signal::HUP);
        }
        true
    }

    fn kill(&mut self) -> bool {
        self.plain.kill();
        self.tls.kill();
        true
    }

    fn stop(&mut self) -> bool {
        self.plain.signal(Signal::TERM);
        self.tls.signal(Signal::TERM);
        true
    }
}

fn differs(cell: Cell) -> Option<Expected> {
    match cell {
        // It knows no QoS 2: it grants 1 where that is asked for, and hangs up on a PUBLISH of it.
        Cell::Qos(2) => Some(Expected { outcomes: &["shortfall", "backoff"], reasons: &["", "connection_lost"] }),
        // It acknowledges what it does not let through.
        Cell::ProbeRefused => Some(Expected { outcomes: &["answered", "notice"], reasons: &[] }),
        _ => None,
    }
}
