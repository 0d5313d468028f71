//! The table's column of rmqtt, which is the demo's broker, inside the test's own process: nothing kills or stops it alone.

use mqfleet_test_support::rmqtt::{Door, Papers, Rmqtt};

use super::table::{Broker, Cell, Column, Expected, PASSWORD, Ports};

pub const COLUMN: Column = Column {
    name: "rmqtt",
    versions: &["3.1.1", "5"],
    missing: || None,
    start: |certificate, key, _| {
        let papers = Papers { certificate, key, client_ca: None };
        let (broker, [plain, tls]) = Rmqtt::start([Door::Plain, Door::Tls(papers)], "fleet", PASSWORD);
        Box::new(Embedded { _broker: broker, ports: Ports { plain, tls: Some(tls) } })
    },
    differs,
};

struct Embedded {
    _broker: Rmqtt,
    ports: Ports,
}

impl Broker for Embedded {
    fn ports(&self) -> Ports {
        self.ports
    }

    fn log(&self) -> String {
        String::new()
    }

    fn can(&self, cell: Cell) -> bool {
        matches!(cell, Cell::Right | Cell::Wrong | Cell::Qos(_) | Cell::Will | Cell::Duplicate)
    }
}

fn differs(_: Cell) -> Option<Expected> {
    None
}
