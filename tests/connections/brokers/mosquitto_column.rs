//! The table's column of mosquitto, with its own plugin for users, rights and whom to throw off.

use std::{path::Path, process::Command};

use mqfleet_test_support::mosquitto::{Mosquitto, Setup, free_port};
use rustix::process::Rlimit;

use super::table::{Broker, Cell, Column, Expected, PASSWORD, Ports};

pub const COLUMN: Column = Column {
    name: "mosquitto",
    versions: &["3.1.1", "5"],
    missing: || None,
    start: |certificate, key, limit| Box::new(WithRules::start(certificate, key, limit)),
    differs,
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
        let column = WithRules { ports: Ports { plain: broker.port(), tls: Some(tls) }, broker, _rules: dir };
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
            let files = Some(column.broker.files_at_rest() + u64::from(limit));
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

    fn log(&self) -> String {
        self.broker.log()
    }

    fn logs(&self, cell: Cell) -> Option<&'static str> {
        Some(match cell {
            Cell::Right => "as right-5-tls (p5",
            Cell::Duplicate => "already connected, closing old connection",
            Cell::ProbeRefused => "Denied PUBLISH from proberefused-5-tls",
            Cell::Stopped => "terminating",
            _ => return None,
        })
    }

    fn kick(&mut self) -> bool {
        self.control(&["disableClient", "kicked"]);
        true
    }

    fn kill(&mut self) -> bool {
        self.broker.kill9();
        true
    }

    fn stop(&mut self) -> bool {
        self.broker.stop();
        true
    }
}

fn differs(cell: Cell) -> Option<Expected> {
    match cell {
        // MQTT 3.1.1 has no word for no: it acknowledges what it does not let through.
        Cell::ProbeRefused => Some(Expected { outcomes: &["answered", "notice", "late", "shortfall"], reasons: &[] }),
        _ => None,
    }
}
