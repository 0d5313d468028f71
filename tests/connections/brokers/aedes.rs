//! The table's column of aedes, a library for Node.js: the broker is the few lines that its users write.

use std::{path::Path, process::Command};

use mqfleet_test_support::mosquitto::free_port;
use rustix::process::Signal;

use super::{
    server::{Server, installed, program},
    table::{Broker, Cell, Column, PASSWORD, Ports, Right, Way},
};

pub const COLUMN: Column = Column {
    name: "aedes",
    versions: &["3.1.1"],
    missing: || match (program("node"), installed("aedes/node_modules/aedes")) {
        (None, _) => Some("there is no node"),
        (_, None) => Some("`make brokers` has not installed it"),
        _ => None,
    },
    start: |certificate, key, limit| Box::new(Aedes::start(certificate, key, limit)),
    right,
};

/// What a user of aedes writes: `authenticate`, `authorizePublish`, `authorizeSubscribe` and `preConnect`.
const PROGRAM: &str = r#"
import fs from 'node:fs'; import net from 'node:net'; import tls from 'node:tls'; import readline from 'node:readline'
import { createRequire } from 'node:module'
const { Aedes } = createRequire(process.env.AEDES)('aedes')
const [plain, secure, password, limit] = process.argv.slice(2)
const taken = {}
const broker = await Aedes.createBroker({
  preConnect: (client, packet, done) => {
    const door = client.conn.localPort
    const full = limit !== 'none' && (taken[door] ?? 0) >= Number(limit)
    if (full) console.log('full, refused', packet.clientId)
    else taken[door] = (taken[door] ?? 0) + 1
    done(null, !full)
  },
  authenticate: (client, user, given, done) => {
    const ok = String(given) === password
    client.user = user
    console.log(ok ? 'accepts' : 'refuses', client.id)
    done(ok ? null : Object.assign(new Error('bad'), { returnCode: 4 }), ok)
  },
  authorizePublish: (client, packet, done) => {
    const denied = client && client.user === 'denied' && packet.topic.startsWith('mqfleet/')
    if (denied) console.log('denies publish', client.id)
    done(denied ? new Error('denied') : null)
  },
  authorizeSubscribe: (client, sub, done) => {
    const denied = client.user === 'denied' && sub.topic.startsWith('forbidden/')
    if (denied) console.log('denies subscribe', client.id)
    done(null, denied ? null : sub)
  }
})
broker.on('clientDisconnect', client => console.log('closed', client.id))
broker.on('clientError', (client, error) => console.log('error', client.id, error.message))
net.createServer(broker.handle).listen(Number(plain), '127.0.0.1')
tls.createServer({ cert: fs.readFileSync(process.env.CERT), key: fs.readFileSync(process.env.KEY) }, broker.handle)
  .listen(Number(secure), '127.0.0.1')
const input = readline.createInterface({ input: process.stdin })
input.on('line', () => {
  for (const client of Object.values(broker.clients)) if (client.user === 'kicked') { console.log('kicks', client.id); client.close() }
})
input.on('close', () => process.exit(0))
process.on('SIGTERM', () => broker.close(() => process.exit(0)))
"#;

struct Aedes {
    server: Server,
    ports: Ports,
}

impl Aedes {
    fn start(certificate: &Path, key: &Path, limit: Option<u32>) -> Aedes {
        let ports = Ports { plain: free_port(), tls: free_port() };
        let dir = Server::folder(&[("broker.mjs", PROGRAM.to_owned())]);
        let [plain, tls] = [ports.plain, ports.tls].map(|port| port.to_string());
        let limit = limit.map_or("none".to_owned(), |limit| limit.to_string());
        let mut command = Command::new(program("node").expect("node"));
        command.arg(dir.path().join("broker.mjs")).args([&plain, &tls, PASSWORD, &limit]);
        command.env("AEDES", installed("aedes/package.json").expect("aedes")).env("CERT", certificate).env("KEY", key);
        let server = Server::start(dir, &mut command, &[ports.plain, ports.tls]);
        Aedes { server, ports }
    }
}

impl Broker for Aedes {
    fn ports(&self) -> Ports {
        self.ports
    }

    fn logs(&self) -> Vec<String> {
        vec![self.server.log()]
    }

    fn kick(&mut self) {
        self.server.say("kick");
    }

    fn kill(&mut self) {
        self.server.kill();
    }

    fn stop(&mut self) {
        self.server.signal(Signal::TERM);
    }
}

fn right(cell: Cell, way: Way) -> Result<Right, &'static str> {
    Ok(match cell {
        Cell::Right | Cell::Subscribed | Cell::Qos(_) => Right::up("accepts %c"),
        Cell::Will => Right::up("closed %c"),
        Cell::Wrong => Right::new("failed", "bad_credentials", "bad user name or password", "refuses %c"),
        Cell::Duplicate => Right::suspected("closed %c"),
        Cell::ProbeRefused => {
            let says = match way.is_tls() {
                true => {
                    "the broker closed the connection without taking leave in TLS, * after PUBLISH to mqfleet/probe/%c at QoS 1 (its probe)"
                }
                false => "the broker closed the connection * after PUBLISH to mqfleet/probe/%c at QoS 1 (its probe)",
            };
            Right::muted(says, "denies publish %c")
        }
        Cell::SubscriptionRefused => {
            let says = "the broker refused the subscription to forbidden/thing";
            Right::new("shortfall", "", says, "denies subscribe %c")
        }
        Cell::Kicked => Right::cut(way, "kicks %c"),
        // It leaves whom it does not let in without an answer.
        Cell::Full => Right::new(
            "backoff",
            "connect_timeout",
            "connect timed out: no CONNACK within 5s, though it answers others (it may be full)",
            "full, refused %c",
        ),
        Cell::Stopped => Right::cut(way, "closed %c"),
        Cell::Killed => Right::cut(way, "").and_logs_nothing("it is dead"),
    })
}
