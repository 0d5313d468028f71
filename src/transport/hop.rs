//! Defines the way as far as the endpoint's port: its name, or the proxy's, the race of addresses, and what the proxy is asked for; what is spoken behind that port is the connector's matter.

use std::{
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use tokio::time::sleep;

use super::{
    Connector, Socket, Way, because,
    pipe::Pipe,
    proxy,
    reach::{self, Place, Sources},
    socks, staged, timed,
    tls::Setup,
};
use crate::{
    event::{Cause, Failure, Finding, Reason, StageKind},
    fleet::{Endpoint, Proxy, ProxyKind, Tls},
};

/// How long a lookup has before addresses that are known from earlier are tried (RFC 8305 §8, its
/// "resolution delay").
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);

impl Connector {
    /// Goes as far as the endpoint's port, through the proxy where there is one.
    pub(super) async fn reach(&self, way: &Way<'_>, finding: &mut Finding) -> Result<Pipe, Failure> {
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
}
