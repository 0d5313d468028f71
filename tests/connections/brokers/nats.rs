//! The table's column of NATS, whose server speaks MQTT 3.1.1 besides its own language.

use std::{fs, path::Path, process::Command};

use mqfleet_test_support::mosquitto::free_port;
use rustix::process::Signal;

use super::{
    server::{Server, program},
    table::{Broker, Cell, Column, PASSWORD, Ports, Right, Way},
};

pub const COLUMN: Column = Column {
    name: "NATS",
    versions: &["3.1.1"],
    missing: || program("nats-server").is_none().then_some("`make brokers` has not installed it"),
    start: |certificate, key, limit| Box::new(Nats::start(certificate, key, limit)),
    right,
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
        Nats { plain: server(plain, "", limit), tls: server(tls, &files, limit), ports: Ports { plain, tls } }
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

    fn logs(&self) -> Vec<String> {
        vec![self.plain.log(), self.tls.log()]
    }

    fn are_doors_apart(&self) -> bool {
        true
    }

    fn kick(&mut self) {
        for server in [&self.plain, &self.tls] {
            let path = |name: &str| server.dir.path().join(name);
            fs::copy(path("without.conf"), path("nats.conf")).expect("a file");
            server.signal(Signal::HUP);
        }
    }

    fn kill(&mut self) {
        self.plain.kill();
        self.tls.kill();
    }

    fn stop(&mut self) {
        self.plain.signal(Signal::TERM);
        self.tls.signal(Signal::TERM);
    }
}

fn right(cell: Cell, way: Way) -> Result<Right, &'static str> {
    const CONNECTED: &str = "\"%c\" - Client connected";
    Ok(match cell {
        Cell::Right | Cell::Qos(0 | 1) | Cell::Will => Right::up(CONNECTED),
        Cell::Wrong => {
            Right::new("failed", "not_authorized", "not authorized", "\"%c\" - authentication error - User \"fleet\"")
        }
        // It knows no QoS 2: it grants 1 where that is asked for, and hangs up on a PUBLISH of it.
        Cell::Subscribed => {
            let says = "subscribed to free/%c with QoS 1 only, 2 was asked for";
            Right::new("shortfall", "", says, CONNECTED)
        }
        Cell::Qos(_) => {
            let says = "publish refused: the broker closed the connection * after PUBLISH to free/%c at QoS 2, for the \
                        second time: let the broker's access rules (ACL) allow it, or leave it out";
            Right::new("failed", "publish_refused", says, "\"%c\" - publish QoS=2 not supported")
        }
        Cell::Duplicate => Right::suspected("\"%c\" - Client connection closed: Duplicate Client ID"),
        // It acknowledges what it does not let through.
        Cell::ProbeRefused => {
            Right::acknowledged("\"%c\" - Publish Violation - User \"denied\", Subject \"mqfleet.probe.%c\"")
        }
        Cell::SubscriptionRefused => {
            let says = "the broker refused the subscription to forbidden/thing";
            let log = "\"%c\" - Subscription Violation - User \"denied\", Subject \"forbidden.thing\"";
            Right::new("shortfall", "", says, log)
        }
        Cell::Kicked => Right::closed(way, "Reloaded: authorization users"),
        Cell::Full => {
            let says = "broker full, it seems: it hung up, while another is up; or it does not let this client in";
            Right::new("backoff", "broker_full", says, "maximum connections exceeded")
        }
        Cell::Stopped => Right::closed(way, "\"%c\" - Client connection closed: Server Shutdown"),
        Cell::Killed => Right::cut(way, "").and_logs_nothing("it is dead"),
    })
}
