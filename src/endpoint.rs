//! Defines the probe of one endpoint, stage by stage (DNS, TCP, proxy, TLS), and what it finds; when to probe is the lifecycle's to say, and no MQTT packet is ever sent.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, timeout, timeout_at},
};

use crate::{
    clock::Moment,
    event::{Cause, Failure, Finding, Reason, Stage, StageKind},
    fleet::{Endpoint, Transport},
    text::Scrubbed,
};

mod certificate;
mod prober;
mod proxy;
mod reach;
mod resolver;
mod tls;

pub use prober::{News, Prober};
pub use resolver::Resolver;

/// Goes through all stages of an endpoint, closes the connection in order and tells what was found.
/// All stages together take at most `limit`, and closing 250 ms more.
pub async fn probe(target: &Endpoint, resolver: &Resolver, limit: Duration) -> Finding {
    let mut finding = Finding {
        stages: Vec::with_capacity(4),
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
    match &target.transport {
        Transport::Tcp | Transport::WebSocket(_) => drop(close(stream).await),
        Transport::Tls(tls) | Transport::SecureWebSocket(_, tls) => {
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
            let stream = staged(stages, StageKind::Tls, deadline, late, handshake).await?;
            let end = close(stream).await;
            if let (Some(session), Err(error)) = (&mut finding.session, end) {
                session.wants_certificate |= tls::wanted_certificate(&error);
            }
        }
    }
    Ok(())
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
