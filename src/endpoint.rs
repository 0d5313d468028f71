//! Defines the probe of one endpoint, stage by stage (DNS, TCP, proxy, TLS, WebSocket), and what it finds; when to probe is the lifecycle's to say, and no MQTT packet is ever sent.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, timeout, timeout_at},
};

use crate::{
    clock::Moment,
    event::{Cause, Failure, Finding, Reason, Stage, StageKind},
    fleet::Endpoint,
    text::Scrubbed,
};

mod certificate;
mod http;
mod prober;
mod proxy;
mod reach;
mod resolver;
mod tls;
mod websocket;

pub use prober::{News, Prober};
pub use resolver::Resolver;

use self::websocket::Upgrade;

/// Goes through all stages of an endpoint, closes the connection in order and tells what was found.
/// All stages together take at most `limit`, and closing 250 ms more.
pub async fn probe(target: &Endpoint, resolver: &Resolver, limit: Duration) -> Finding {
    let mut finding = Finding {
        stages: Vec::with_capacity(5),
        addresses: Arc::default(),
        address: None,
        session: None,
        failure: None,
    };
    let deadline = Instant::now() + limit;
    finding.failure = walk(target, resolver, deadline, &mut finding).await.err();
    finding
}

async fn walk(target: &Endpoint, resolver: &Resolver, deadline: Instant, finding: &mut Finding) -> Result<(), Failure> {
    // Who is meant by an address must be clear: it is the proxy's where there is one.
    let (host, port, whom) = match &target.proxy {
        Some(proxy) => (&*proxy.host, proxy.port, "the proxy "),
        None => (&*target.host, target.port, ""),
    };
    let of_whom = |Cause { reason, detail }| cause(reason, &format!("{whom}{}", detail.as_str()));
    let stages = &mut finding.stages;
    let ips = match host.parse() {
        Ok(ip) => Arc::from([ip]),
        Err(_) => {
            let late = || cause(Reason::DnsTimeout, &format!("no answer about {whom}{host}"));
            let answer = async { resolver.look_up(host).await.map_err(of_whom) };
            staged(stages, StageKind::Dns, deadline, late, answer).await?
        }
    };
    finding.addresses = reach::order(&ips).map(|ip| SocketAddr::new(ip, port)).collect();
    let late = || cause(Reason::ConnectTimeout, &format!("no answer from {whom}{}", reach::list(&finding.addresses)));
    let connect = async { reach::connect(&finding.addresses).await.map_err(of_whom) };
    let mut stream = staged(stages, StageKind::Tcp, deadline, late, connect).await?;
    finding.address = stream.peer_addr().ok();
    if let Some(proxy) = &target.proxy {
        let late = || cause(Reason::ConnectTimeout, "no answer from the proxy");
        let tunnel = proxy::tunnel(&mut stream, proxy, target);
        staged(stages, StageKind::Proxy, deadline, late, tunnel).await?;
    }
    let path = target.transport.websocket().map(|websocket| &*websocket.path);
    let Some(tls) = target.transport.tls() else {
        if let Some(path) = path {
            websocket(&mut stream, path, target, deadline, stages).await?;
        }
        let _ = close(stream).await;
        return Ok(());
    };
    // Reading a trust store is no part of the endpoint's time, so it is no part of the stage.
    let setup = timeout_at(deadline, tls::setup(tls.clone(), &target.host)).await;
    let late = || Err(cause(Reason::CaFileUnusable, "reading the trust anchors took too long"));
    let setup = match setup.unwrap_or_else(|_| late()) {
        Ok(setup) => setup,
        Err(cause) => {
            stages.push(Stage { kind: StageKind::Tls, took: Duration::ZERO });
            return Err(Failure { stage: StageKind::Tls, cause });
        }
    };
    let late = || cause(Reason::ConnectTimeout, "no answer in the TLS handshake");
    let handshake = tls::handshake(setup, stream, &mut finding.session);
    let mut stream = staged(stages, StageKind::Tls, deadline, late, handshake).await?;
    let mut wants = finding.session.as_ref().is_some_and(|s| s.wants_certificate);
    if let (Some(path), false) = (path, wants) {
        wants = match websocket(&mut stream, path, target, deadline, stages).await {
            Ok(upgrade) => upgrade == Upgrade::WantsCertificate,
            Err(failure) => match finding.address {
                Some(address) if wants_certificate(target, address, deadline).await => {
                    stages.pop();
                    true
                }
                _ => return Err(failure),
            },
        };
    }
    let end = close(stream).await;
    if let Some(session) = &mut finding.session {
        session.wants_certificate = wants || end.is_err_and(|error| tls::wanted_certificate(&error));
    }
    Ok(())
}

/// Whether the server wants a client's certificate. With TLS 1.3 it says so once the handshake is done, and
/// a request that is on its way by then turns that into a reset; so this connects once more and asks
/// for nothing.
async fn wants_certificate(target: &Endpoint, address: SocketAddr, deadline: Instant) -> bool {
    let look = async {
        let tls = target.transport.tls()?;
        let mut stream = reach::connect(&[address]).await.ok()?;
        if let Some(proxy) = &target.proxy {
            proxy::tunnel(&mut stream, proxy, target).await.ok()?;
        }
        let setup = tls::setup(tls.clone(), &target.host).await.ok()?;
        let stream = tls::handshake(setup, stream, &mut None).await.ok()?;
        Some(close(stream).await.is_err_and(|error| tls::wanted_certificate(&error)))
    };
    timeout_at(deadline, look).await.is_ok_and(|seen| seen == Some(true))
}

/// The WebSocket's stage: asks for one and takes leave of it. Where the server wants a client's
/// certificate first there is no such stage.
async fn websocket(
    stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin),
    path: &str,
    target: &Endpoint,
    deadline: Instant,
    stages: &mut Vec<Stage>,
) -> Result<Upgrade, Failure> {
    let late = || cause(Reason::ConnectTimeout, "no answer to the request for a WebSocket");
    let upgrade = websocket::upgrade(stream, path, target);
    let upgrade = staged(stages, StageKind::WebSocket, deadline, late, upgrade).await?;
    match upgrade {
        Upgrade::Done => websocket::close(stream).await,
        Upgrade::WantsCertificate => drop(stages.pop()),
    }
    Ok(upgrade)
}

/// Times a stage and ends it when its time is up; `late` is what to say then.
async fn staged<T>(
    stages: &mut Vec<Stage>,
    kind: StageKind,
    deadline: Instant,
    late: impl FnOnce() -> Cause,
    work: impl Future<Output = Result<T, Cause>>,
) -> Result<T, Failure> {
    let began = Moment::now();
    let done = timeout_at(deadline, work).await.unwrap_or_else(|_| Err(late()));
    stages.push(Stage { kind, took: Moment::now().since(began) });
    done.map_err(|cause| Failure { stage: kind, cause })
}

/// Says goodbye (TLS close_notify, FIN) and waits a moment for the other side's: a connection dropped
/// with unread bytes would end in a reset, which brokers log as an error.
async fn close(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin) -> io::Result<()> {
    let goodbye = async {
        // Where this fails, the other side was first, and what it said may still be there to read.
        let _ = stream.shutdown().await;
        let mut rest = [0; 1024];
        while stream.read(&mut rest).await? > 0 {}
        Ok(())
    };
    timeout(Duration::from_millis(250), goodbye).await.unwrap_or(Ok(()))
}

fn cause(reason: Reason, detail: &str) -> Cause {
    Cause { reason, detail: Scrubbed::new(detail) }
}
