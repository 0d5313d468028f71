//! Connections to real local servers of every kind, up to where MQTT begins: what comes about, what the other side sees of it, and the words where nothing does.
#![allow(clippy::unwrap_used, reason = "what panics here is a failed test")]

mod clients;
mod identity;
mod proxies;
mod tls;
mod ways;
mod websocket;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use mqfleet::{
    event::{Failure, Finding, Reason, StageKind},
    fleet::{Endpoint, Identity, Tls, Transport},
    transport::{Connector, Resolver, Stream, Way},
};
use mqfleet_test_support::certs::{Certified, Trust};
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
