//! The table's column of RabbitMQ with its plugin for MQTT: its own Erlang node and epmd, with users, rights and limits from a file of definitions.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use mqfleet_test_support::mosquitto::free_port;
use rustix::process::Signal;

use super::{
    server::{Server, program},
    table::{Broker, Cell, Column, PASSWORD, Ports, Right, Way},
};

pub const COLUMN: Column = Column {
    name: "RabbitMQ",
    versions: &["3.1.1"],
    missing: || home().is_none().then_some("`make brokers` has not installed it"),
    start: |certificate, key, limit| Box::new(RabbitMq::start(certificate, key, limit)),
    right,
};

/// Where Debian has its scripts.
fn home() -> Option<PathBuf> {
    let home = PathBuf::from("/usr/lib/rabbitmq/bin");
    home.join("rabbitmq-server").is_file().then_some(home)
}

struct RabbitMq {
    server: Server,
    /// Nodes start one that outlives them, where there is none.
    _epmd: Server,
    ports: Ports,
    node: Vec<(&'static str, String)>,
}

impl RabbitMq {
    fn start(certificate: &Path, key: &Path, limit: Option<u32>) -> RabbitMq {
        let ports = Ports { plain: free_port(), tls: free_port() };
        let limit = limit.map_or("{}".to_owned(), |limit| format!(r#"{{"max-connections":{limit}}}"#));
        let user = |name: &str| format!(r#"{{"name":"{name}","password":"{PASSWORD}","tags":"","limits":{limit}}}"#);
        let may = |name: &str| format!(r#"{{"user":"{name}","vhost":"/","configure":".*","write":".*","read":".*"}}"#);
        // Topics of MQTT have dots there.
        let denied = r#"{"user":"denied","vhost":"/","exchange":"amq.topic","write":"^free[.].*","read":"^free[.].*"}"#;
        let definitions = format!(
            r#"{{"vhosts":[{{"name":"/"}}],"users":[{},{},{}],"permissions":[{},{},{}],"topic_permissions":[{denied}]}}"#,
            user("fleet"),
            user("kicked"),
            user("denied"),
            may("fleet"),
            may("kicked"),
            may("denied"),
        );
        let conf = format!(
            "listeners.tcp = none\nmqtt.listeners.tcp.1 = 127.0.0.1:{}\nmqtt.listeners.ssl.1 = 127.0.0.1:{}\n\
             ssl_options.cacertfile = {certificate}\nssl_options.certfile = {certificate}\nssl_options.keyfile = {}\n\
             ssl_options.verify = verify_none\nmqtt.allow_anonymous = false\nload_definitions = definitions.json\n\
             log.file = broker.log\nlog.file.level = info\nlog.console = false\n",
            ports.plain,
            ports.tls,
            key.display(),
            certificate = certificate.display(),
        );
        let dir = Server::folder(&[
            ("definitions.json", definitions),
            ("rabbitmq.conf", conf),
            ("plugins", "[rabbitmq_mqtt].\n".into()),
        ]);
        let path = |name: &str| dir.path().join(name).display().to_string();
        let conf = fs::read_to_string(path("rabbitmq.conf")).expect("a file");
        fs::write(path("rabbitmq.conf"), conf.replace("definitions.json", &path("definitions.json"))).expect("a file");
        let [distribution, epmd_port] = [free_port(), free_port()];
        let mut epmd = Command::new(program("epmd").expect("Erlang's epmd"));
        epmd.args(["-address", "127.0.0.1", "-port", &epmd_port.to_string()]);
        let epmd = Server::start(Server::folder(&[]), &mut epmd, &[epmd_port]);
        let node = vec![
            ("HOME", dir.path().display().to_string()),
            ("RABBITMQ_NODENAME", format!("test-{distribution}@localhost")),
            ("RABBITMQ_DIST_PORT", distribution.to_string()),
            ("RABBITMQ_CONFIG_FILE", path("rabbitmq")),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", path("plugins")),
            ("RABBITMQ_MNESIA_BASE", path("mnesia")),
            ("RABBITMQ_LOG_BASE", dir.path().display().to_string()),
            ("RABBITMQ_PID_FILE", path("pid")),
            ("RABBITMQ_FEATURE_FLAGS_FILE", path("flags")),
            ("RABBITMQ_GENERATED_CONFIG_DIR", path("generated")),
            ("ERL_EPMD_ADDRESS", "127.0.0.1".into()),
            ("ERL_EPMD_PORT", epmd_port.to_string()),
        ];
        let script = home().expect("RabbitMQ").join("rabbitmq-server");
        let mut command = Command::new(script);
        command.envs(node.iter().cloned());
        let server = Server::start(dir, &mut command, &[ports.plain, ports.tls]);
        // It listens long before it lets anybody in.
        server.wait_for("Server startup complete");
        RabbitMq { server, _epmd: epmd, ports, node }
    }

    fn control(&self, arguments: &[&str]) {
        let script = home().expect("RabbitMQ").join("rabbitmqctl");
        let done = Command::new(script).args(arguments).envs(self.node.iter().cloned()).output().expect("rabbitmqctl");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&[done.stdout, done.stderr].concat()));
    }
}

impl Broker for RabbitMq {
    fn ports(&self) -> Ports {
        self.ports
    }

    fn logs(&self) -> Vec<String> {
        vec![self.server.log()]
    }

    fn kick(&mut self) {
        self.control(&["delete_user", "kicked"]);
    }

    fn kill(&mut self) {
        self.server.kill();
    }

    fn stop(&mut self) {
        self.server.signal(Signal::TERM);
    }
}

fn right(cell: Cell, way: Way) -> Result<Right, &'static str> {
    const ACCEPTS: &str = "accepting MQTT connection * client id: %c)";
    Ok(match cell {
        Cell::Right | Cell::Qos(0 | 1) | Cell::Will => Right::up(ACCEPTS),
        Cell::Wrong => {
            let log = "MQTT login failed for user 'fleet', authentication failed: Refused";
            Right::new("failed", "bad_credentials", "bad user name or password", log)
        }
        // It knows no QoS 2: it grants 1 where that is asked for, and answers a PUBLISH of it with PUBACK.
        Cell::Subscribed => {
            let says = "subscribed to free/%c with QoS 1 only, 2 was asked for";
            Right::new("shortfall", "", says, ACCEPTS)
        }
        Cell::Qos(_) => {
            let log = "will terminate because peer closed TCP connection";
            Right::new("backoff", "protocol_violation", "protocol violation: *", log)
        }
        Cell::Duplicate => Right::suspected("MQTT disconnecting client * with duplicate id '%c'"),
        // It hangs up on what it does not allow.
        Cell::ProbeRefused => Right::muted(
            "the broker closed the connection * after PUBLISH to mqfleet/probe/%c at QoS 1 (its probe)",
            "access to topic 'mqfleet.probe.%c' in exchange 'amq.topic' in vhost '/' refused for user 'denied'",
        ),
        Cell::SubscriptionRefused => {
            let says = "subscribe refused: the broker closed the connection * after SUBSCRIBE forbidden/thing, for the \
                        second time: let the broker's access rules (ACL) allow it, or leave it out";
            let log =
                "access to topic 'forbidden.thing' in exchange 'amq.topic' in vhost '/' refused for user 'denied'";
            Right::new("failed", "subscribe_refused", says, log)
        }
        Cell::Kicked => Right::closed(way, "elet*user 'kicked'"),
        // To it a user beyond the limit is one who may not connect (CONNACK 5).
        Cell::Full => Right::new(
            "failed",
            "not_authorized",
            "not authorized",
            "access refused for user 'fleet': user connection limit (1) is reached",
        ),
        Cell::Stopped => Right::closed(way, "SIGTERM received - shutting down"),
        Cell::Killed => Right::cut(way, "").and_logs_nothing("it is dead"),
    })
}
