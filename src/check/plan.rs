//! Defines what a fleet takes of its host (workers, memory, open files, ports), and what is said where that is more than there is; what the host has is read elsewhere.

use std::{collections::BTreeMap, net::IpAddr};

use super::host::Host;
use crate::{
    fleet::{Client, Endpoint, EndpointKey, Fleet, ProxyKind, Transport},
    lines,
    pool::{Placement, files},
    words::figures,
};

/// Bytes of memory that a client takes in its worker and in the console, without TLS and with it. Round
/// figures of idle clients (PSS); whoever measures anew may put others here.
const PLAIN_CLIENT: u64 = 9_000;
const TLS_CLIENT: u64 = 45_000;
/// The same of a worker and of the console, before there is a client in them.
const WORKER: u64 = 1_400_000;
const CONSOLE: u64 = 9_000_000;

/// Ports of an address that are left to other programs and to connections that are not quite gone.
const SPARE_PORTS: u64 = 232;

/// What a fleet takes.
#[derive(Debug)]
pub struct Plan {
    host: Host,
    clients: usize,
    workers: usize,
    /// Clients of the worker that has most.
    largest: usize,
    are_even: bool,
    /// In bytes.
    memory: u64,
    /// Open files of the fullest worker.
    files: u64,
    crowds: Vec<Crowd>,
}

/// Clients that have more connections to one place than their source addresses have ports.
#[derive(Debug)]
struct Crowd {
    endpoints: Vec<String>,
    place: String,
    clients: u64,
    addresses: u64,
    /// Addresses that would do.
    wanted: u64,
}

/// What is doubtful about a plan, and what helps.
#[derive(Debug, PartialEq, Eq)]
pub struct Doubt {
    pub title: String,
    pub help: String,
}

impl Plan {
    pub fn new(fleet: &Fleet, host: Host) -> Plan {
        let placement = Placement::new(fleet);
        let sizes = || placement.workers().map(|worker| placement.clients_of(worker).len());
        let of_clients: u64 = fleet.clients.iter().map(|client| memory_of(fleet, client)).sum();
        let largest = sizes().max().unwrap_or_default();
        Plan {
            host,
            clients: fleet.clients.len(),
            workers: sizes().len(),
            largest,
            are_even: sizes().all(|size| size == largest),
            memory: CONSOLE + WORKER * sizes().len() as u64 + of_clients,
            files: files::needed(largest),
            crowds: crowds(fleet, host.ports),
        }
    }

    /// The plan in one line, for people.
    pub fn text(&self) -> String {
        let clients = figures::clients(self.clients);
        let memory = memory(self.memory);
        let files = figures::count(self.files);
        let limit =
            self.host.files.map_or("there is no limit".into(), |n| format!("your limit is {}", figures::count(n)));
        let workers = figures::count(self.workers);
        let of = if self.are_even { "of" } else { "of up to" };
        match self.workers {
            1 => format!("{clients} → 1 worker, about {memory}; it needs {files} open files, {limit}"),
            _ => format!(
                "{clients} → {workers} workers {of} {}, about {memory}; each worker needs {files} open files, {limit}",
                figures::count(self.largest)
            ),
        }
    }

    /// The plan as scripts read it.
    pub fn line(&self) -> lines::Plan {
        let warnings = self.doubts().into_iter().map(|doubt| format!("{}: {}", doubt.title, doubt.help));
        lines::Plan {
            clients: self.clients,
            workers: self.workers,
            worker_clients: self.largest,
            memory_bytes: self.memory,
            worker_files: self.files,
            files_limit: self.host.files,
            memory_available_bytes: self.host.memory,
            ports: self.host.ports,
            warnings: warnings.collect(),
        }
    }

    /// Where the fleet takes more than there is.
    pub fn doubts(&self) -> Vec<Doubt> {
        let mut doubts = Vec::new();
        if let Some(limit) = self.host.files.filter(|limit| *limit < self.files) {
            let fitting = files::fitting(limit);
            let (needed, limit) = (figures::count(self.files), figures::count(limit));
            let smaller = match fitting {
                0 => String::new(),
                n => format!("worker_size = {n} in [fleet], or "),
            };
            doubts.push(Doubt {
                title: format!("the fullest worker needs {needed} open files, and a process may have {limit}"),
                help: format!(
                    "{smaller}a higher limit: `ulimit -Hn {}` as root before mqfleet starts, or LimitNOFILE= in its systemd unit",
                    self.files
                ),
            });
        }
        if let Some(has) = self.host.memory.filter(|has| *has < self.memory) {
            doubts.push(Doubt {
                title: format!(
                    "the fleet takes about {}, and this host has {} to give",
                    memory(self.memory),
                    memory(has)
                ),
                help: format!(
                    "run a part of it elsewhere: a client takes about {} kB, one over TLS {} kB",
                    PLAIN_CLIENT / 1_000,
                    TLS_CLIENT / 1_000
                ),
            });
        }
        doubts.extend(self.crowds.iter().map(|crowd| crowd.doubt(self.host.ports)));
        doubts
    }
}

impl Crowd {
    fn doubt(&self, ports: u64) -> Doubt {
        let addresses = match self.addresses {
            1 => "one source address".to_owned(),
            n => format!("{} source addresses", figures::count(n)),
        };
        let what = if self.endpoints.len() == 1 { "endpoint" } else { "endpoints" };
        let named = self.endpoints.iter().take(4).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = if self.endpoints.len() > 4 { ", …" } else { "" };
        Doubt {
            title: format!(
                "{} connect to {} ({what} {named}{more}) from {addresses}, and an address has {} ports",
                figures::clients(self.clients),
                self.place,
                figures::count(ports)
            ),
            help: format!(
                "give `bind` {} addresses of this host, or widen net.ipv4.ip_local_port_range",
                figures::count(self.wanted)
            ),
        }
    }
}

/// The most that a client takes at one of the endpoints where it may be.
fn memory_of(fleet: &Fleet, client: &Client) -> u64 {
    let at = |endpoint: &Endpoint| match endpoint.transport.tls().is_some() || is_by_https(endpoint) {
        true => TLS_CLIENT,
        false => PLAIN_CLIENT,
    };
    client.endpoints.iter().map(|key| at(fleet.endpoint(*key))).max().unwrap_or_default()
}

fn is_by_https(endpoint: &Endpoint) -> bool {
    endpoint.proxy.as_ref().is_some_and(|proxy| proxy.kind == ProxyKind::Https)
}

/// Clients by the place that they connect to, each with its first endpoint: two endpoints may be one
/// place, and behind a proxy all are.
fn crowds(fleet: &Fleet, ports: u64) -> Vec<Crowd> {
    let mut counts = vec![0; fleet.endpoints.len()];
    for client in &fleet.clients {
        counts[client.endpoint().index()] += 1;
    }
    let mut places: BTreeMap<(String, Vec<IpAddr>), (u64, Vec<EndpointKey>)> = BTreeMap::new();
    for (key, count) in fleet.endpoint_keys().zip(counts).filter(|(_, count)| *count > 0) {
        let endpoint = fleet.endpoint(key);
        if matches!(endpoint.transport, Transport::Unix(_)) {
            continue;
        }
        let place = match &endpoint.proxy {
            Some(proxy) => format!("the proxy {}", Endpoint::new("", &proxy.host, proxy.port).address()),
            None => endpoint.address(),
        };
        let (sum, keys) = places.entry((place.to_ascii_lowercase(), endpoint.bind.to_vec())).or_default();
        *sum += count;
        keys.push(key);
    }
    let usable = ports.saturating_sub(SPARE_PORTS).max(1);
    let crowd = |((place, bind), (clients, keys)): ((String, Vec<IpAddr>), (u64, Vec<EndpointKey>))| {
        let (addresses, wanted) = (bind.len().max(1) as u64, clients.div_ceil(usable));
        let endpoints = keys.iter().map(|key| fleet.endpoint(*key).name.to_string()).collect();
        (wanted > addresses).then_some(Crowd { endpoints, place, clients, addresses, wanted })
    };
    places.into_iter().filter_map(crowd).collect()
}

/// A size as people say it: `27 MB`, `0.9 GB`, `45.0 GB`.
fn memory(bytes: u64) -> String {
    match bytes {
        0..900_000_000 => format!("{} MB", bytes.div_ceil(1_000_000)),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        fleet::{Proxy, Settings, Tls},
        text::Scrubbed,
    };

    const PLENTY: Host = Host { files: None, memory: None, ports: 28_232 };

    /// A fleet with so many clients at each endpoint.
    fn fleet(worker_size: usize, at: Vec<(Endpoint, usize)>) -> Fleet {
        let settings = Arc::new(Settings::default());
        let client = |endpoint: usize| Client::new("c", EndpointKey(endpoint as u16), settings.clone());
        let clients = at.iter().enumerate().flat_map(|(e, (_, n))| vec![client(e); *n]).collect();
        let endpoints = at.into_iter().map(|(endpoint, _)| endpoint).collect();
        Fleet { name: Scrubbed::new("t"), env: None, worker_size, endpoints, clients }
    }

    fn endpoint(name: &str) -> Endpoint {
        Endpoint::new(name, "broker", 1883)
    }

    fn over_tls(name: &str) -> Endpoint {
        Endpoint { transport: Transport::Tls(Arc::new(Tls::default())), ..endpoint(name) }
    }

    fn bound(name: &str, bind: &[&str]) -> Endpoint {
        Endpoint { bind: bind.iter().map(|a| a.parse().unwrap()).collect(), ..endpoint(name) }
    }

    #[test]
    fn a_plan_reads_well() {
        let limited = Host { files: Some(20_000), ..PLENTY };
        for (at, worker_size, host, says) in [
            (
                vec![(endpoint("a"), 100_000)],
                2_000,
                limited,
                "100,000 clients → 50 workers of 2,000, about 1.0 GB; each worker needs 2,064 open files, your limit is 20,000",
            ),
            (
                vec![(endpoint("a"), 1)],
                500,
                limited,
                "1 client → 1 worker, about 11 MB; it needs 65 open files, your limit is 20,000",
            ),
            (
                vec![(endpoint("a"), 1_000)],
                500,
                PLENTY,
                "1,000 clients → 2 workers of 500, about 21 MB; each worker needs 564 open files, there is no limit",
            ),
            (
                vec![(endpoint("a"), 501), (over_tls("b"), 100)],
                500,
                PLENTY,
                "601 clients → 2 workers of up to 301, about 21 MB; each worker needs 365 open files, there is no limit",
            ),
        ] {
            assert_eq!(Plan::new(&fleet(worker_size, at), host).text(), says);
        }
    }

    #[test]
    fn a_client_is_reckoned_by_the_dearest_of_its_endpoints() {
        let mut fleet = fleet(10, vec![(endpoint("a"), 10), (over_tls("b"), 0)]);
        let plain = Plan::new(&fleet, PLENTY);
        for client in &mut fleet.clients {
            client.endpoints = Arc::new([EndpointKey(0), EndpointKey(1)]);
        }
        let both = Plan::new(&fleet, PLENTY);
        assert_eq!((plain.files, both.files), (74, 74));
        assert_eq!(both.memory - plain.memory, 10 * (TLS_CLIENT - PLAIN_CLIENT));
        let proxy = Some(Proxy::new(ProxyKind::Https, "p", 443));
        fleet.endpoints[1] = Endpoint { proxy, ..endpoint("b") };
        assert_eq!(Plan::new(&fleet, PLENTY).memory, both.memory);
    }

    #[test]
    fn too_few_open_files_say_what_to_do() {
        let fleet = fleet(1_500, vec![(endpoint("a"), 3_000)]);
        assert_eq!(Plan::new(&fleet, Host { files: Some(1_564), ..PLENTY }).doubts(), []);
        let doubts = Plan::new(&fleet, Host { files: Some(1_024), ..PLENTY }).doubts();
        assert_eq!(
            doubts,
            [Doubt {
                title: "the fullest worker needs 1,564 open files, and a process may have 1,024".into(),
                help:
                    "worker_size = 960 in [fleet], or a higher limit: `ulimit -Hn 1564` as root before mqfleet starts, \
                       or LimitNOFILE= in its systemd unit"
                        .into(),
            }]
        );
        let none = &Plan::new(&fleet, Host { files: Some(10), ..PLENTY }).doubts()[0];
        assert!(none.help.starts_with("a higher limit"), "{}", none.help);
        let line = Plan::new(&fleet, Host { files: Some(1_024), ..PLENTY }).line();
        assert_eq!((line.worker_files, line.files_limit), (1_564, Some(1_024)));
        assert!(line.warnings[0].contains("worker_size"));
    }

    #[test]
    fn too_little_memory_says_how_much_it_takes() {
        let fleet = fleet(1_000, vec![(over_tls("a"), 1_000)]);
        let plan = |memory| Plan::new(&fleet, Host { memory: Some(memory), ..PLENTY });
        assert_eq!(plan(60_000_000).doubts(), []);
        let doubts = plan(50_000_000).doubts();
        assert_eq!(doubts[0].title, "the fleet takes about 56 MB, and this host has 50 MB to give");
        assert!(doubts[0].help.contains("over TLS 45 kB"), "{doubts:?}");
        assert_eq!(plan(50_000_000).line().memory_available_bytes, Some(50_000_000));
    }

    #[test]
    fn too_few_ports_say_how_many_addresses_it_takes() {
        let said = |at: Vec<(Endpoint, usize)>| {
            let doubts = Plan::new(&fleet(2_000, at), PLENTY).doubts();
            doubts.into_iter().map(|doubt| format!("{}: {}", doubt.title, doubt.help)).collect::<Vec<_>>()
        };
        let two = ["127.0.0.2", "127.0.0.3"];
        assert_eq!(said(vec![(endpoint("a"), 28_000)]), [""; 0]);
        assert_eq!(said(vec![(bound("a", &two), 56_000)]), [""; 0]);
        assert_eq!(
            said(vec![(endpoint("a"), 28_001)]),
            ["28,001 clients connect to broker:1883 (endpoint a) from one source address, and an address has 28,232 \
              ports: give `bind` 2 addresses of this host, or widen net.ipv4.ip_local_port_range"]
        );
        let many = said(vec![(bound("a", &two), 56_001)]);
        assert!(many[0].contains("from 2 source addresses") && many[0].contains("`bind` 3 addresses"), "{many:?}");
        // Two endpoints that are one place, two that are not, and one that needs no port.
        let same = said(vec![(endpoint("a"), 20_000), (over_tls("b"), 20_000)]);
        assert!(same[0].contains("40,000 clients connect to broker:1883 (endpoints a, b)"), "{same:?}");
        let other = Endpoint { port: 8883, ..over_tls("b") };
        assert_eq!(said(vec![(endpoint("a"), 20_000), (other.clone(), 20_000)]), [""; 0]);
        let unix = Endpoint { transport: Transport::Unix("/a".into()), ..endpoint("a") };
        assert_eq!(said(vec![(unix, 40_000)]), [""; 0]);
        // Behind one proxy all is one place.
        let by = |endpoint| Endpoint { proxy: Some(Proxy::new(ProxyKind::Socks5h, "::1", 1080)), ..endpoint };
        let proxied = said(vec![(by(endpoint("a")), 20_000), (by(other), 20_000)]);
        assert!(proxied[0].contains("connect to the proxy [::1]:1080 (endpoints a, b)"), "{proxied:?}");
    }
}
