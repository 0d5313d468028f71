//! Defines the probe of one endpoint, stage by stage (DNS, TCP, proxy, TLS), and what it finds; when to probe is the lifecycle's to say, and no MQTT packet is ever sent.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, timeout, timeout_at},
};

use crate::{
    clock::Moment,
    event::{Cause, Reason},
    fleet::{Endpoint, Transport},
    text::Scrubbed,
};

mod certificate;
mod prober;
mod proxy;
mod reach;
mod resolver;
mod tls;

pub use certificate::Certificate;
pub use prober::{News, Prober};
pub use resolver::Resolver;
pub use tls::Session;

/// What a probe found out.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The stages that were gone through, in their order. Where the probe failed, the last one did.
    pub stages: Vec<Stage>,
    /// All addresses that the name stands for (the proxy's name, where there is a proxy), in the
    /// order in which they were tried.
    pub addresses: Arc<[SocketAddr]>,
    /// The address that accepted the connection: the proxy's, where there is one.
    pub address: Option<SocketAddr>,
    /// What is known of the TLS session and its certificates, even where they were refused.
    pub session: Option<Session>,
    /// Why the endpoint cannot be used, if so.
    pub failure: Option<Failure>,
}

impl Finding {
    /// A finding without any stage, for a probe that could not run at all.
    fn broken(detail: &str) -> Finding {
        let cause = cause(Reason::Internal, detail);
        Finding {
            stages: Vec::new(),
            addresses: Arc::default(),
            address: None,
            session: None,
            failure: Some(Failure { stage: StageKind::Dns, cause }),
        }
    }

    pub fn is_ok(&self) -> bool {
        self.failure.is_none()
    }

    /// The time from the first stage's begin to the last one's end.
    pub fn took(&self) -> Duration {
        self.stages.iter().map(|s| s.took).sum()
    }

    /// The one trust anchor that the endpoint's verified chain ended in, as PEM: a trust file with
    /// this alone verifies the same chain. None without TLS, and where nothing was verified.
    pub fn anchor(&self) -> Option<&Arc<str>> {
        self.session.as_ref().filter(|_| self.is_ok())?.anchor.as_ref()
    }
}

/// One stage of a probe and the time it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    pub kind: StageKind,
    pub took: Duration,
}

/// The stages in their order. An endpoint given by address has no DNS stage, and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StageKind {
    Dns,
    Tcp,
    Proxy,
    Tls,
}

impl StageKind {
    /// The stable name, as scripts read it.
    pub fn name(self) -> &'static str {
        match self {
            StageKind::Dns => "dns",
            StageKind::Tcp => "tcp",
            StageKind::Proxy => "proxy",
            StageKind::Tls => "tls",
        }
    }
}

/// Where a probe ended, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    pub stage: StageKind,
    pub cause: Cause,
}

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
