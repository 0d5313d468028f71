//! The table's column of mosquitto, with its own plugin for users, rights and whom to throw off.

use std::{path::Path, process::Command};

use mqfleet_test_support::mosquitto::{Mosquitto, Setup, free_port};
use rustix::process::Rlimit;

use super::table::{Broker, Cell, Column, PASSWORD, Ports, Right, Way};

pub const COLUMN: Column = Column {
    name: "mosquitto",
    versions: &["3.1.1", "5"],
    missing: || None,
    start: |certificate, key, limit| Box::new(WithRules::start(certificate, key, limit)),
    right,
};

struct WithRules {
    broker: Mosquitto,
    ports: Ports,
    _rules: tempfile::TempDir,
}

impl WithRules {
    fn start(certificate: &Path, key: &Path, limit: Option<u32>) -> WithRules {
        let dir = tempfile::TempDir::new().expect("a folder");
        let rules = dir.path().join("rules.json");
        let done =
            Command::new("mosquitto_ctrl").args(["dynsec", "init"]).arg(&rules).args(["admin", PASSWORD]).output();
        assert!(done.as_ref().is_ok_and(|done| done.status.success()), "{done:?}");
        let plugin = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib", "/usr/lib64"]
            .map(|folder| Path::new(folder).join("mosquitto_dynamic_security.so"));
        let plugin = plugin.iter().find(|p| p.exists()).expect("mosquitto's plugin for access rules");
        let tls = free_port();
        let lines = vec![
            format!("plugin {}", plugin.display()),
            format!("plugin_opt_config_file {}", rules.display()),
            format!("listener {tls} 127.0.0.1"),
            format!("certfile {}", certificate.display()),
            format!("keyfile {}", key.display()),
            "allow_anonymous false".into(),
        ];
        let setup = Setup { lines, verbose: true, ..Setup::default() };
        let broker = Mosquitto::with(setup);
        let column = WithRules { ports: Ports { plain: broker.port(), tls }, broker, _rules: dir };
        for user in ["fleet", "kicked", "denied"] {
            column.control(&["createClient", user, "-p", PASSWORD]);
        }
        for role in ["all", "outcast"] {
            column.control(&["createRole", role]);
        }
        for kind in ["publishClientSend", "publishClientReceive", "subscribePattern"] {
            column.control(&["addRoleACL", "all", kind, "#", "allow"]);
        }
        column.control(&["addRoleACL", "outcast", "publishClientSend", "mqfleet/#", "deny"]);
        column.control(&["addRoleACL", "outcast", "subscribePattern", "forbidden/#", "deny"]);
        column.control(&["addClientRole", "denied", "outcast", "9"]);
        for user in ["fleet", "kicked", "denied"] {
            column.control(&["addClientRole", user, "all", "1"]);
        }
        // Its own limit stops working after the first refusal: it is given no more descriptors instead.
        if let Some(limit) = limit {
            // With each connection its library for access rules opens a file.
            let files = Some(column.broker.files_at_rest() + u64::from(limit) + 1);
            column.broker.limit_files(Rlimit { current: files, maximum: files });
        }
        column
    }

    fn control(&self, arguments: &[&str]) {
        let port = self.broker.port().to_string();
        let mut command = Command::new("mosquitto_ctrl");
        command.args(["-h", "127.0.0.1", "-p", &port, "-u", "admin", "-P", PASSWORD, "dynsec"]).args(arguments);
        let done = command.output().expect("mosquitto_ctrl");
        let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
        assert!(done.status.success() && !said.contains("Error"), "{arguments:?}: {said}");
    }
}

impl Broker for WithRules {
    fn ports(&self) -> Ports {
        self.ports
    }

    fn logs(&self) -> Vec<String> {
        vec![self.broker.log()]
    }

    fn kick(&mut self) {
        self.control(&["disableClient", "kicked"]);
    }

    fn kill(&mut self) {
        self.broker.kill9();
    }

    fn stop(&mut self) {
        self.broker.stop();
    }
}

fn right(cell: Cell, way: Way) -> Result<Right, &'static str> {
    let refused = if way.is_v5() { "not authorized" } else { "" };
    Ok(match cell {
        Cell::Right => Right::up("New client connected from * as %c (p"),
        Cell::Subscribed => Right::up("Sending SUBACK to %c"),
        Cell::Qos(0) => Right::up("Received PUBLISH from %c (d0, q0"),
        Cell::Qos(1) => Right::up("Received PUBLISH from %c (d0, q1"),
        Cell::Qos(_) => Right::up("Received PUBLISH from %c (d0, q2"),
        Cell::Will => Right::up("Sending PUBLISH to ears (d0, q1, r0, m*, 'ends/%c'"),
        // It knows no name yet, and says 135 in MQTT 5.
        Cell::Wrong if way.is_v5() => {
            Right::new("failed", "not_authorized", "not authorized", "Sending CONNACK to 127.0.0.1 (0, 135)")
        }
        Cell::Wrong => Right::new("failed", "not_authorized", "not authorized", "Sending CONNACK to 127.0.0.1 (0, 5)"),
        // Not in MQTT 5 either does its 2.0.11 say so to the client.
        Cell::Duplicate => Right::suspected("Client %c already connected, closing old connection"),
        Cell::ProbeRefused if way.is_v5() => {
            Right::muted("PUBLISH to mqfleet/probe/%c: not authorized", "Denied PUBLISH from %c (d0, q1")
        }
        // MQTT 3.1.1 has no word for no: it acknowledges what it does not let through.
        Cell::ProbeRefused => Right::acknowledged("Denied PUBLISH from %c (d0, q1"),
        Cell::SubscriptionRefused => {
            let says = match refused {
                "" => "the broker refused the subscription to forbidden/thing",
                _ => "the broker refused the subscription to forbidden/thing: not authorized",
            };
            Right::new("shortfall", "", says, "Sending SUBACK to %c")
        }
        Cell::Kicked if way.is_v5() => {
            let log = "Client %c been disconnected by administrative action";
            Right::new("backoff", "administrative_action", "kicked by administrator", log)
        }
        Cell::Kicked => Right::closed(way, "Client %c been disconnected by administrative action"),
        // Its library for access rules has no descriptor left to read them. In MQTT 5 nobody is up there, and without
        // TLS it cannot be told whether it speaks that at all.
        Cell::Full if way.is_v5() && !way.is_tls() => {
            let says = "connection lost: the broker closed the connection instead of answering CONNECT (it may be full, \
                        or speak MQTT 3.1.1 only: set protocol = \"3.1.1\")";
            Right::new("backoff", "connection_lost", says, "Client connection from 127.0.0.1 denied access by tcpd")
        }
        Cell::Full => {
            let says = "broker full, it seems: it hung up, while another is up; or it does not let this client in";
            Right::new("backoff", "broker_full", says, "Client connection from 127.0.0.1 denied access by tcpd")
        }
        Cell::Stopped => Right::closed(way, "terminating"),
        Cell::Killed => Right::cut(way, "").and_logs_nothing("it is dead"),
    })
}
