//! Defines how every connection is made up to where MQTT begins (names, addresses, proxies, TLS, WebSocket, Unix sockets), for clients, probes and the doctor alike; when to connect, and what to say then, is for others.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, timeout_at};
use tracing::debug;

use crate::{
    clock::Moment,
    event::{Cause, Failure, Finding, Reason, Stage, StageKind},
    fleet::{Endpoint, Identity, Tls, Transport},
    text::Scrubbed,
};

mod cache;
mod certificate;
mod ended;
mod frames;
mod header;
mod hop;
mod http;
mod identity;
mod inbound;
mod kernel;
mod outbound;
mod pipe;
mod proxy;
mod reach;
mod resolver;
mod socket;
mod socks;
mod stream;
mod tickets;
mod tls;
mod trust;
mod verdict;
mod websocket;

pub use ended::{Ended, of as cause};
pub use resolver::Resolver;
pub use socket::Socket;
pub use stream::{Layered, Stream};
pub use verdict::Apart;

use self::{frames::Framed, identity::Identities, pipe::Pipe, tls::Setup, trust::Trusts};

/// Makes connections; it is cheap to clone, and all tasks of a process share what is in it: names, trust
/// stores, client certificates and TLS sessions.
#[derive(Clone)]
pub struct Connector {
    shared: Arc<Shared>,
}

struct Shared {
    resolver: Resolver,
    trusts: Trusts,
    identities: Identities,
    /// Counts connects from chosen addresses.
    source: AtomicUsize,
    resumed: AtomicU64,
}

/// A connection to make.
#[derive(Clone, Copy, Debug)]
pub struct Way<'a> {
    pub endpoint: &'a Endpoint,
    /// The client's certificate and key.
    pub identity: Option<&'a Identity>,
    /// Addresses that an earlier probe found for the first hop: tried when the lookup has no answer after
    /// 50 ms, and where it fails.
    pub known: &'a [IpAddr],
    /// Over all stages.
    pub deadline: Instant,
    /// Whether to look at the session and its certificates, which takes a whole handshake: for probes.
    pub examine: bool,
}

impl Connector {
    pub fn new(resolver: Resolver) -> Connector {
        let shared = Shared {
            resolver,
            trusts: Trusts::new(),
            identities: Identities::new(),
            source: AtomicUsize::new(0),
            resumed: AtomicU64::new(0),
        };
        Connector { shared: Arc::new(shared) }
    }

    /// How many TLS handshakes only took up an earlier session.
    pub fn resumed(&self) -> u64 {
        self.shared.resumed.load(Ordering::Relaxed)
    }

    /// Makes the connection up to where MQTT begins. Stages, addresses and, where the way is to be
    /// examined, the session go into `finding`, also when it fails.
    ///
    /// # Errors
    /// Where it failed, the last of the stages in `finding`, and why.
    pub async fn connect(&self, way: &Way<'_>, finding: &mut Finding) -> Result<Stream, Failure> {
        let made = self.make(way, finding).await;
        let (address, stages, failure) = (finding.address, &finding.stages, made.as_ref().err());
        debug!(place = %way.endpoint.address(), ?address, ?stages, ?failure, "connection was tried");
        made
    }

    async fn make(&self, way: &Way<'_>, finding: &mut Finding) -> Result<Stream, Failure> {
        let endpoint = way.endpoint;
        let mut pipe = match &endpoint.transport {
            Transport::Unix(path) => {
                let late = || because(Reason::ConnectTimeout, &format!("no answer from {}", path.display()));
                let connect = reach::connect_unix(path);
                Pipe::Socket(staged(&mut finding.stages, StageKind::Tcp, way.deadline, late, connect).await?)
            }
            _ => self.reach(way, finding).await?,
        };
        if let Some(tls) = endpoint.transport.tls() {
            pipe = self.secure(way, tls, pipe, finding).await?;
        }
        let Some(websocket) = endpoint.transport.websocket() else { return Ok(Stream::bare(pipe)) };
        let late = || because(Reason::ConnectTimeout, "no answer to the request for a WebSocket");
        let upgrade = websocket::upgrade(&mut pipe, websocket, endpoint);
        let behind = staged(&mut finding.stages, StageKind::WebSocket, way.deadline, late, upgrade).await?;
        Ok(Stream::framed(Framed::new(pipe, behind)))
    }

    /// TLS to the endpoint.
    async fn secure(&self, way: &Way<'_>, tls: &Arc<Tls>, pipe: Pipe, finding: &mut Finding) -> Result<Pipe, Failure> {
        // Reading a trust store is no part of the endpoint's time, so it is no part of the stage.
        let late = || Err(because(Reason::CaFileUnusable, "reading the trust anchors took too long"));
        let setup = timeout_at(way.deadline, self.setup(way, tls)).await.unwrap_or_else(|_| late());
        let setup = match setup {
            Ok(setup) => setup,
            Err(cause) => {
                finding.stages.push(Stage { kind: StageKind::Tls, took: Duration::ZERO });
                return Err(Failure { stage: StageKind::Tls, cause });
            }
        };
        let late = || because(Reason::ConnectTimeout, "no answer in the TLS handshake");
        let handshake = setup.shake_hands(pipe, &mut finding.session);
        let secure = staged(&mut finding.stages, StageKind::Tls, way.deadline, late, handshake).await?;
        self.count(&secure);
        Ok(Pipe::Secure(Box::new(secure)))
    }

    async fn setup(&self, way: &Way<'_>, tls: &Arc<Tls>) -> Result<Setup, Cause> {
        let endpoint = way.endpoint;
        let papers = match way.identity {
            Some(identity) => Some(self.shared.identities.get(identity).await?),
            None => None,
        };
        Ok(Setup {
            tls: tls.clone(),
            name: tls.server_name.clone().unwrap_or_else(|| endpoint.host.clone()),
            trust: self.shared.trusts.get(tls).await?,
            papers,
            examine: way.examine,
            address: endpoint.address().into(),
        })
    }

    fn count(&self, secure: &tls::Secure) {
        if secure.is_resumed() {
            self.shared.resumed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Times a stage and ends it when its time is up; `late` is what to say then.
async fn staged<T>(
    stages: &mut Vec<Stage>,
    kind: StageKind,
    deadline: Instant,
    late: impl FnOnce() -> Cause,
    work: impl Future<Output = Result<T, Cause>>,
) -> Result<T, Failure> {
    let done = timed(stages, kind, deadline, work).await;
    done.unwrap_or_else(|| Err(late())).map_err(|cause| Failure { stage: kind, cause })
}

/// Times a stage; none where its time was up first.
async fn timed<T>(
    stages: &mut Vec<Stage>,
    kind: StageKind,
    deadline: Instant,
    work: impl Future<Output = T>,
) -> Option<T> {
    let began = Moment::now();
    let done = timeout_at(deadline, work).await;
    stages.push(Stage { kind, took: Moment::now().since(began) });
    done.ok()
}

fn because(reason: Reason, detail: &str) -> Cause {
    Cause { reason, detail: Scrubbed::new(detail) }
}
