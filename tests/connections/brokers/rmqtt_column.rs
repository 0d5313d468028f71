//! The table's column of rmqtt, which is the demo's broker, inside the test's own process: nothing kills or stops it alone.

use mqfleet_test_support::rmqtt::{Door, Papers, Rmqtt};

use super::table::{Broker, Cell, Column, PASSWORD, Ports, Right, Way};

pub const COLUMN: Column = Column {
    name: "rmqtt",
    versions: &["3.1.1", "5"],
    missing: || None,
    start: |certificate, key, _| {
        let papers = Papers { certificate, key, client_ca: None };
        let (broker, [plain, tls]) = Rmqtt::start([Door::Plain, Door::Tls(papers)], "fleet", PASSWORD);
        Box::new(Embedded { broker, ports: Ports { plain, tls } })
    },
    right,
};

struct Embedded {
    broker: Rmqtt,
    ports: Ports,
}

impl Broker for Embedded {
    fn ports(&self) -> Ports {
        self.ports
    }

    fn logs(&self) -> Vec<String> {
        vec![self.broker.log()]
    }

    fn kick(&mut self) {
        self.broker.kick("kicked");
    }

    fn kill(&mut self) {
        self.broker.end();
    }
}

fn right(cell: Cell, way: Way) -> Result<Right, &'static str> {
    Ok(match cell {
        Cell::Right | Cell::Subscribed | Cell::Qos(_) => Right::up("connected %c"),
        Cell::Will => Right::up("disconnected %c: *"),
        Cell::Wrong => Right::new("failed", "bad_credentials", "bad user name or password", "refuses %c"),
        Cell::Duplicate => Right::suspected("disconnected %c: *"),
        Cell::ProbeRefused if way.is_v5() => {
            Right::muted("PUBLISH to mqfleet/probe/%c: not authorized: PublishRefused", "denies publish %c")
        }
        // MQTT 3.1.1 has no word for no: it acknowledges what it does not let through.
        Cell::ProbeRefused => Right::acknowledged("denies publish %c"),
        Cell::SubscriptionRefused if way.is_v5() => {
            let says = "the broker refused the subscription to forbidden/thing: not authorized";
            Right::new("shortfall", "", says, "denies subscribe %c")
        }
        Cell::SubscriptionRefused => {
            Right::new("shortfall", "", "the broker refused the subscription to forbidden/thing", "denies subscribe %c")
        }
        Cell::Kicked => Right::closed(way, "disconnected %c: *"),
        Cell::Full => return Err("it has no limit of connections, only of those that wait"),
        Cell::Stopped => return Err("it ends with the program that it is part of"),
        Cell::Killed => Right::cut(way, "").and_logs_nothing("it is gone"),
    })
}
