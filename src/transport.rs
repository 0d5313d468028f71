//! Defines how every connection is made up to where MQTT begins (names, addresses, proxies, TLS, WebSocket, Unix sockets), for clients, probes and the doctor alike; when to connect, and what to say then, is for others.

use std::{
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    clock::Moment,
    event::{Cause, Failure, Finding, Reason, Stage, StageKind},
    fleet::{Endpoint, Identity, Proxy, ProxyKind, Tls, Transport},
    text::Scrubbed,
};

mod cache;
mod certificate;
mod ended;
mod frames;
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

use self::{
    frames::Framed,
    identity::Identities,
    pipe::Pipe,
    reach::{Place, Sources},
    tls::Setup,
    trust::Trusts,
};

/// How long a lookup has before addresses that are known from earlier are tried (RFC 8305 §8, its
/// "resolution delay").
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);

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

    /// Goes as far as the endpoint's port, through the proxy where there is one.
    async fn reach(&self, way: &Way<'_>, finding: &mut Finding) -> Result<Pipe, Failure> {
        let endpoint = way.endpoint;
        // Who is meant by an address must be clear: it is the proxy's where there is one.
        let (host, port, whom) = match &endpoint.proxy {
            Some(proxy) => (&*proxy.host, proxy.port, "the proxy "),
            None => (&*endpoint.host, endpoint.port, ""),
        };
        let of_whom = |Cause { reason, detail }| because(reason, &format!("{whom}{}", detail.as_str()));
        let Finding { stages, addresses, address, .. } = finding;
        let mut lookup = pin!(async { self.shared.resolver.look_up(host).await.map_err(of_whom) });
        let mut doubt = None;
        let mut is_pending = false;
        let ips = match host.parse() {
            Ok(ip) => Arc::from([ip]),
            Err(_) => {
                let late = || because(Reason::DnsTimeout, &format!("no answer about {whom}{host}"));
                let answer = async {
                    if way.known.is_empty() {
                        return lookup.as_mut().await;
                    }
                    tokio::select! {
                        answer = lookup.as_mut() => Ok(answer.unwrap_or_else(|cause| {
                            doubt = Some(cause);
                            way.known.into()
                        })),
                        () = sleep(RESOLUTION_DELAY) => {
                            is_pending = true;
                            Ok(way.known.into())
                        }
                    }
                };
                staged(stages, StageKind::Dns, way.deadline, late, answer).await?
            }
        };
        let in_order = |ips: &[IpAddr]| reach::order(ips).map(|ip| SocketAddr::new(ip, port)).collect::<Vec<_>>();
        let mut place = Place { addresses: in_order(&ips), doubt, failed: None };
        let rest = async { if is_pending { lookup.await.map(|ips| in_order(&ips)) } else { Ok(Vec::new()) } };
        let sources = self.sources(endpoint);
        let connect = reach::connect(&sources, &mut place, rest);
        let done = timed(stages, StageKind::Tcp, way.deadline, connect).await;
        *addresses = place.addresses.into();
        let socket = match done {
            Some(Ok(socket)) => socket,
            Some(Err(cause)) => {
                let Cause { reason, detail } = of_whom(cause);
                let cause = match place.doubt {
                    None => Cause { reason, detail },
                    // Addresses from earlier may well be wrong by now.
                    Some(doubt) => because(reason, &format!("{}; {}", detail.as_str(), doubt.detail.as_str())),
                };
                return Err(Failure { stage: StageKind::Tcp, cause });
            }
            None => {
                if let Some(Cause { reason, detail }) = place.failed.map(of_whom) {
                    let detail = format!("{}; no answer about {whom}{host}", detail.as_str());
                    return Err(Failure { stage: StageKind::Tcp, cause: because(reason, &detail) });
                }
                let detail = format!("no answer from {whom}{}", reach::list(addresses));
                return Err(Failure { stage: StageKind::Tcp, cause: because(Reason::ConnectTimeout, &detail) });
            }
        };
        *address = socket.peer();
        let Some(proxy) = &endpoint.proxy else { return Ok(Pipe::Socket(socket)) };
        let late = || because(Reason::ConnectTimeout, "no answer from the proxy");
        let tunnel = self.tunnel(way, proxy, socket);
        staged(stages, StageKind::Proxy, way.deadline, late, tunnel).await
    }

    fn sources<'a>(&'a self, endpoint: &'a Endpoint) -> Sources<'a> {
        Sources { addresses: &endpoint.bind, turn: &self.shared.source }
    }

    /// Has the proxy open the way to the endpoint.
    async fn tunnel(&self, way: &Way<'_>, proxy: &Proxy, socket: Socket) -> Result<Pipe, Cause> {
        let endpoint = way.endpoint;
        match proxy.kind {
            ProxyKind::Http | ProxyKind::Https => {
                let mut pipe = Pipe::Socket(socket);
                if proxy.kind == ProxyKind::Https {
                    pipe = self.secure_proxy(proxy, pipe).await?;
                }
                proxy::tunnel(&mut pipe, proxy, endpoint).await?;
                Ok(pipe)
            }
            ProxyKind::Socks5h if endpoint.host.parse::<IpAddr>().is_err() => {
                let target = socks::Target::Name(&endpoint.host, endpoint.port);
                self.tunnel_by_socks(way, proxy, socket, &[target]).await
            }
            ProxyKind::Socks5 | ProxyKind::Socks5h => {
                let ips = match endpoint.host.parse() {
                    Ok(ip) => Arc::from([ip]),
                    Err(_) => self.shared.resolver.look_up(&endpoint.host).await?,
                };
                let address = |ip| socks::Target::Address(SocketAddr::new(ip, endpoint.port));
                let targets: Vec<_> = reach::order(&ips).map(address).collect();
                self.tunnel_by_socks(way, proxy, socket, &targets).await
            }
        }
    }

    /// Asks for one target after the other, each on a connection of its own.
    async fn tunnel_by_socks(
        &self,
        way: &Way<'_>,
        proxy: &Proxy,
        socket: Socket,
        targets: &[socks::Target<'_>],
    ) -> Result<Pipe, Cause> {
        let again = socket.peer();
        let mut first = Some(socket);
        let mut refused = because(Reason::Internal, "there is no address to ask the proxy for");
        for target in targets {
            let mut socket = match (first.take(), again) {
                (Some(socket), _) => socket,
                (None, Some(address)) => {
                    let mut place = Place { addresses: vec![address], doubt: None, failed: None };
                    reach::connect(&self.sources(way.endpoint), &mut place, async { Ok(Vec::new()) }).await?
                }
                (None, None) => break,
            };
            match socks::tunnel(&mut socket, proxy, *target).await {
                Ok(()) => return Ok(Pipe::Socket(socket)),
                Err(socks::Refusal::Whole(cause)) => return Err(cause),
                Err(socks::Refusal::Address(cause)) => refused = cause,
            }
        }
        Err(refused)
    }

    /// TLS to the proxy itself, held against the system's trust store.
    async fn secure_proxy(&self, proxy: &Proxy, pipe: Pipe) -> Result<Pipe, Cause> {
        let tls = Arc::new(Tls::default());
        let setup = Setup {
            trust: self.shared.trusts.get(&tls).await?,
            tls,
            name: proxy.host.clone(),
            papers: None,
            examine: false,
            address: format!("{}:{}", proxy.host, proxy.port).into(),
        };
        let of_proxy = |Cause { reason, detail }| because(reason, &format!("the proxy's TLS: {}", detail.as_str()));
        let secure = setup.shake_hands(pipe, &mut None).await.map_err(of_proxy)?;
        self.count(&secure);
        Ok(Pipe::Secure(Box::new(secure)))
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
