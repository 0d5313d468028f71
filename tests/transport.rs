//! Connections to real local servers of every kind, up to where MQTT begins: what comes about, what the other side sees of it, and the words where nothing does.
#![allow(clippy::unwrap_used, reason = "what panics here is a failed test")]

#[path = "harness/async_peers.rs"]
mod async_peers;
#[path = "harness/certs.rs"]
mod certs;
#[path = "harness/peers.rs"]
mod peers;

#[path = "transport/clients.rs"]
mod clients;
#[path = "transport/identity.rs"]
mod identity;
#[path = "transport/proxies.rs"]
mod proxies;
#[path = "transport/tls.rs"]
mod tls;
#[path = "transport/ways.rs"]
mod ways;
#[path = "transport/websocket.rs"]
mod websocket;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use certs::Certified;
use mqfleet::{
    event::{Failure, Finding, Reason, StageKind},
    fleet::{Endpoint, Identity, Tls, Transport},
    transport::{Connector, Resolver, Stream, Way},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, timeout},
};

const PATIENCE: Duration = Duration::from_secs(10);

fn connector() -> Connector {
    Connector::new(Resolver::system())
}

/// A connector for which every name is these addresses.
fn knowing(ips: &[&str]) -> Connector {
    let ips: Vec<IpAddr> = ips.iter().map(|ip| ip.parse().unwrap()).collect();
    Connector::new(Resolver::with(move |_| Ok(ips.clone())))
}

/// An endpoint on this port of localhost, by name.
fn plain(address: SocketAddr) -> Endpoint {
    Endpoint::new("e", "localhost", address.port())
}

/// The same in TLS.
fn secure(address: SocketAddr, ca_file: &Path) -> Endpoint {
    with_tls(address, Tls { ca_file: Some(ca_file.to_owned()), ..Tls::default() })
}

fn with_tls(address: SocketAddr, tls: Tls) -> Endpoint {
    Endpoint { transport: Transport::Tls(Arc::new(tls)), ..plain(address) }
}

fn way(endpoint: &Endpoint) -> Way<'_> {
    Way { endpoint, identity: None, known: &[], deadline: Instant::now() + PATIENCE, examine: false }
}

async fn connect(connector: &Connector, way: &Way<'_>) -> Result<Stream, Failure> {
    connector.connect(way, &mut Finding::default()).await
}

/// Connects, has a word said back, and closes in order.
async fn echoes(connector: &Connector, way: &Way<'_>) -> Finding {
    let mut finding = Finding::default();
    let mut stream = connector.connect(way, &mut finding).await.unwrap_or_else(|failure| panic!("{failure:?}"));
    assert_eq!(say(&mut stream, b"a word").await.unwrap(), b"a word");
    stream.close().await.unwrap();
    finding
}

/// Says this and hears as much.
async fn say(stream: &mut Stream, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut heard = vec![0; bytes.len()];
    let talk = async {
        match stream {
            Stream::Plain(socket) => {
                socket.write_all(bytes).await?;
                socket.read_exact(&mut heard).await?;
            }
            Stream::Layered(layered) => {
                let (mut from, mut to) = tokio::io::split(layered);
                let said = async {
                    to.write_all(bytes).await?;
                    to.flush().await
                };
                tokio::try_join!(said, from.read_exact(&mut heard))?;
            }
        }
        Ok(heard)
    };
    timeout(PATIENCE, talk).await.expect("an answer")
}

/// Reads to the end and tells what came and how it ended.
async fn hear(stream: &mut Stream) -> (Vec<u8>, io::Result<()>) {
    let mut heard = Vec::new();
    let read = async {
        match stream {
            Stream::Plain(socket) => socket.read_to_end(&mut heard).await,
            Stream::Layered(layered) => layered.read_to_end(&mut heard).await,
        }
    };
    let end = timeout(PATIENCE, read).await.expect("an end").map(|_| ());
    (heard, end)
}

/// Where it failed, why, and in which words.
#[track_caller]
fn told(result: &Result<Stream, Failure>) -> (StageKind, Reason, &str) {
    let Err(failure) = result else { panic!("it is connected") };
    (failure.stage, failure.cause.reason, &failure.cause.detail)
}

/// A folder with a CA and its file.
struct Trust {
    dir: TempDir,
    ca: Certified,
}

impl Trust {
    fn new() -> Trust {
        let trust = Trust { dir: TempDir::new().unwrap(), ca: Certified::ca("Test CA") };
        trust.file("ca.pem", trust.ca.pem());
        trust
    }

    fn file(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn ca_file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// Certificate and key as files.
    fn identity(&self, name: &str, own: &Certified) -> Identity {
        Identity {
            cert_file: self.file(&format!("{name}.pem"), own.pem()),
            key_file: self.file(&format!("{name}.key"), own.key_pem()),
            key_password: None,
            not_after: None,
        }
    }
}
