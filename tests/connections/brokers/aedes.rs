//! The table's column of aedes, a library for Node.js: the broker is the few lines that its users write.

use std::{path::Path, process::Command};

use mqfleet_test_support::mosquitto::free_port;
use rustix::process::Signal;

use super::{
    server::{Server, installed, program},
    table::{Broker, Cell, Column, Expected, PASSWORD, Ports},
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
    differs,
};

/// What a user of aedes writes: `authenticate`, `authorizePublish`, `authorizeSubscribe` and `preConnect`.
const PROGRAM: &str = r#"
import fs from 'node:fs'; import net from 'node:net'; import tls from 'node:tls'; import readline from 'node:readline'
import { createRequire } from 'node:module'
const { Aedes } = createRequire(process.env.AEDES)('aedes')
const [plain, secure, password, limit] = process.argv.slice(2)
const broker = await Aedes.createBroker({
  preConnect: (client, packet, done) => {
    const full = limit !== 'none' && broker.connectedClients >= Number(limit)
    if (full) console.log('full, refused', packet.clientId)
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
        let ports = Ports { plain: free_port(), tls: Some(free_port()) };
        let dir = Server::folder(&[("broker.mjs", PROGRAM.to_owned())]);
        let [plain, tls] = [ports.plain, ports.tls.unwrap_or(0)].map(|port| port.to_string());
        let limit = limit.map_or("none".to_owned(), |limit| limit.to_string());
        let mut command = Command::new(program("node").expect("node"));
        command.arg(dir.path().join("broker.mjs")).args([&plain, &tls, PASSWORD, &limit]);
        command.env("AEDES", installed("aedes/package.json").expect("aedes")).env("CERT", certificate).env("KEY", key);
        let server = Server::start(dir, &mut command, &[ports.plain, ports.tls.unwrap_or(ports.plain)]);
        Aedes { server, ports }
    }
}

impl Broker for Aedes {
    fn ports(&self) -> Ports {
        self.ports
    }

    fn log(&self) -> String {
        self.server.log()
    }

    fn logs(&self, cell: Cell) -> Option<&'static str> {
        Some(match cell {
            Cell::Right => "accepts right-",
            Cell::Wrong => "refuses wrong-",
            Cell::Duplicate => "closed duplicate-",
            Cell::ProbeRefused => "denies publish proberefused-",
            Cell::SubscriptionRefused => "denies subscribe subscriptionrefused-",
            Cell::Kicked => "kicks kicked-",
            Cell::Full => "full, refused full-",
            _ => return None,
        })
    }

    fn kick(&mut self) -> bool {
        self.server.say("kick");
        true
    }

    fn kill(&mut self) -> bool {
        self.server.kill();
        true
    }

    fn stop(&mut self) -> bool {
        self.server.signal(Signal::TERM);
        true
    }
}

fn differs(_: Cell) -> Option<Expected> {
    None
}
