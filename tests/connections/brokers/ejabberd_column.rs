//! The table's column of ejabberd's mod_mqtt, which ends when its standard input does.

use mqfleet_test_support::ejabberd::{Ejabberd, Setup};

use super::table::{Broker, Cell, Column, Expected, PASSWORD, Ports};

pub const COLUMN: Column = Column {
    name: "ejabberd",
    versions: &["3.1.1", "5"],
    missing: || (!Ejabberd::is_there()).then_some("it is not installed"),
    start: |certificate, key, _| {
        let user = "fleet";
        let broker = Ejabberd::start(&Setup { certificate, key, client_ca: certificate, user, password: PASSWORD });
        let ports = Ports { plain: broker.plain, tls: Some(broker.tls) };
        Box::new(Running { broker: Some(broker), ports })
    },
    differs,
};

struct Running {
    broker: Option<Ejabberd>,
    ports: Ports,
}

impl Broker for Running {
    fn ports(&self) -> Ports {
        self.ports
    }

    fn user(&self, name: &str) -> String {
        format!("{name}@closed.example")
    }

    fn log(&self) -> String {
        self.broker.as_ref().map(Ejabberd::log).unwrap_or_default()
    }

    fn can(&self, cell: Cell) -> bool {
        !matches!(cell, Cell::Full | Cell::Kicked | Cell::ProbeRefused | Cell::SubscriptionRefused | Cell::Killed)
    }

    fn stop(&mut self) -> bool {
        self.broker = None;
        true
    }
}

fn differs(_: Cell) -> Option<Expected> {
    None
}
