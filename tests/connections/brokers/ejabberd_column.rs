//! The table's column of ejabberd's mod_mqtt, which ends when its standard input does.

use mqfleet_test_support::ejabberd::{Ejabberd, Setup};

use super::table::{Broker, Cell, Column, PASSWORD, Ports, Right, Way};

pub const COLUMN: Column = Column {
    name: "ejabberd",
    versions: &["3.1.1", "5"],
    missing: || (!Ejabberd::is_there()).then_some("it is not installed"),
    start: |certificate, key, _| {
        let user = "fleet";
        let broker = Ejabberd::start(&Setup { certificate, key, client_ca: certificate, user, password: PASSWORD });
        let ports = Ports { plain: broker.plain, tls: broker.tls };
        Box::new(Running { broker, ports })
    },
    right,
};

struct Running {
    broker: Ejabberd,
    ports: Ports,
}

impl Broker for Running {
    fn ports(&self) -> Ports {
        self.ports
    }

    fn user(&self, name: &str) -> String {
        format!("{name}@closed.example")
    }

    fn logs(&self) -> Vec<String> {
        vec![self.broker.log()]
    }

    fn kill(&mut self) {
        self.broker.kill();
    }

    fn stop(&mut self) {
        self.broker.stop();
    }
}

fn right(cell: Cell, way: Way) -> Result<Right, &'static str> {
    const OPENS: &str = "Opened MQTT session for *@closed.example/%c from";
    Ok(match cell {
        Cell::Right | Cell::Subscribed | Cell::Qos(_) => Right::up(OPENS),
        Cell::Will => {
            Right::up("Closing MQTT session for *@closed.example/%c from *: Connection failed: connection closed")
        }
        Cell::Wrong => {
            let says = "not authorized";
            Right::new(
                "failed",
                "not_authorized",
                says,
                "Rejected MQTT connection from *: Authentication failed: Not authorized",
            )
        }
        Cell::Duplicate if way.is_v5() => {
            let says = "taken over: same client ID: Replaced by another connection";
            Right::new("backoff", "session_taken_over", says, OPENS)
        }
        Cell::Duplicate => Right::suspected(OPENS),
        // Of what it refuses it logs nothing.
        Cell::ProbeRefused if way.is_v5() => Right::muted(
            "PUBLISH to mqfleet/probe/%c: topic not accepted: Publishing to this topic is forbidden by service policy",
            OPENS,
        ),
        // MQTT 3.1.1 has no word for no: it acknowledges what it does not let through.
        Cell::ProbeRefused => Right::acknowledged(OPENS),
        Cell::SubscriptionRefused if way.is_v5() => {
            let says = "the broker refused the subscription to forbidden/thing: topic not accepted: Subscribing to this \
                        topic is forbidden by service policy";
            Right::new("shortfall", "", says, OPENS)
        }
        Cell::SubscriptionRefused => {
            Right::new("shortfall", "", "the broker refused the subscription to forbidden/thing", OPENS)
        }
        Cell::Kicked => return Err("it has no way to throw a client of MQTT off"),
        Cell::Full => return Err("it has no limit of connections"),
        Cell::Stopped => Right::cut(way, "Stop accepting TCP connections at * for mod_mqtt"),
        Cell::Killed => Right::cut(way, "").and_logs_nothing("it is dead"),
    })
}
