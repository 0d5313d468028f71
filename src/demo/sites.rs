//! Defines the four sites of the demo and the fleet that lives at them, a pure function of the options; nothing here listens or connects.

use std::{fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Options, relay::Conditions};
use crate::{
    fleet::{Client, Endpoint, EndpointKey, Fleet, Password, Probe, ProbeKind, Reconnect, Secret, Settings, Strategy},
    text::Scrubbed,
};

/// A place with clients and a way of its own to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Site {
    Near,
    Regional,
    Far,
    Bad,
}

impl Site {
    /// All of them; a site's place here is its endpoint's key.
    pub const ALL: [Site; 4] = [Site::Near, Site::Regional, Site::Far, Site::Bad];

    pub fn name(self) -> &'static str {
        match self {
            Site::Near => "near",
            Site::Regional => "regional",
            Site::Far => "far",
            Site::Bad => "bad",
        }
    }

    pub fn index(self) -> usize {
        self as usize
    }

    /// The site's ordinary way to the broker. The near one adds nothing to what the relay itself takes.
    pub fn conditions(self) -> Conditions {
        let (rtt, jitter, spikes_per_mille, spike) = match self {
            Site::Near => (0, 0, 0, 0),
            Site::Regional => (12, 4, 0, 0),
            Site::Far => (90, 25, 0, 0),
            Site::Bad => (140, 120, 20, 2000),
        };
        let ms = Duration::from_millis;
        Conditions { rtt: ms(rtt), jitter: ms(jitter), spikes_per_mille, spike: ms(spike), dark: false }
    }

    /// The same way when the site is slow.
    pub fn slow(self) -> Conditions {
        let usual = self.conditions();
        Conditions { rtt: usual.rtt * 4 + Duration::from_millis(300), jitter: usual.jitter * 4, ..usual }
    }

    /// What the n-th client of the site is called, so that place and machine can be told.
    fn client_id(self, n: u32, width: usize) -> String {
        let of = |names: &[&'static str]| names[n as usize % names.len()];
        match self {
            Site::Near => {
                let hall = n / 7 % 4 + 1;
                format!(
                    "near-hall{hall}-{}-{n:0w$}",
                    of(&["press", "lathe", "robot", "oven", "mill"]),
                    w = width.max(4)
                )
            }
            Site::Regional => format!("regional-{}-{n:0w$}", of(&["store", "depot", "store"]), w = width.max(4)),
            Site::Far => format!("far-{}-{n:0w$}", of(&["ship", "ship", "rig"]), w = width.max(3)),
            Site::Bad => format!("bad-{}-{n:0w$}", of(&["tunnel", "mine", "lift"]), w = width.max(2)),
        }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the broker of one run lets in.
#[derive(Clone)]
pub(super) struct Credentials {
    pub username: &'static str,
    pub password: Secret,
}

impl Credentials {
    pub(super) fn new(seed: u64) -> Credentials {
        let mut rng = fastrand::Rng::with_seed(seed ^ 0x9a55_303d);
        Credentials { username: "demo", password: Secret::new(format!("{:016x}", rng.u64(..))) }
    }
}

/// How many clients each site has; every site has one before any has two.
pub(super) fn shares(clients: u32) -> [u32; 4] {
    let mut shares = [0; 4];
    for site in placement(clients) {
        shares[site.index()] += 1;
    }
    shares
}

/// The site of each client, in the order of the fleet: mixed, so that any screenful shows all four.
fn placement(clients: u32) -> impl Iterator<Item = Site> {
    const ORDER: [Site; 10] = {
        use Site::*;
        [Near, Regional, Far, Bad, Near, Regional, Near, Far, Regional, Near]
    };
    (0..clients as usize).map(|n| ORDER[n % ORDER.len()])
}

/// Who was planted into a fleet to be in trouble by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Planted {
    /// The clients, by index, that have a wrong password.
    pub refused: Vec<usize>,
    /// The two clients, by index, that have the same client ID.
    pub twins: Option<(usize, usize)>,
}

/// The fleet that fits the options, with the sites' relays at these ports of 127.0.0.1.
pub(super) fn fleet(options: &Options, ports: [u16; 4], credentials: &Credentials) -> (Fleet, Planted) {
    let shares = shares(options.clients);
    let endpoints = Site::ALL.map(|site| {
        let count = shares[site.index()];
        Endpoint {
            // Full within three seconds, and slow enough to be watched.
            connect_rate: (count * 2 / 5).max(4),
            max_connecting: (count / 4).clamp(8, Endpoint::MAX_CONNECTING),
            ..Endpoint::new(site.name(), "127.0.0.1", ports[site.index()])
        }
    });
    let settings = Arc::new(settings(options.clients));
    let username: Arc<str> = credentials.username.into();
    let mut numbers = [0; 4];
    let mut clients: Vec<Client> = placement(options.clients)
        .map(|site| {
            let number = &mut numbers[site.index()];
            *number += 1;
            let id = site.client_id(*number, shares[site.index()].to_string().len());
            Client {
                username: Some(username.clone()),
                password: Some(Password::Fixed(credentials.password.clone())),
                ..Client::new(&id, EndpointKey(site.index() as u16), settings.clone())
            }
        })
        .collect();
    let planted = if options.calm { Planted::default() } else { plant(&mut clients, options.seed) };
    let fleet =
        Fleet { name: Scrubbed::new("demo"), env: None, worker_size: 500, endpoints: endpoints.into(), clients };
    (fleet, planted)
}

/// Gives 1.5 % of the clients a wrong password (never all of a site) and two the same client ID.
fn plant(clients: &mut [Client], seed: u64) -> Planted {
    let mut rng = fastrand::Rng::with_seed(seed ^ 0x0d0b_b1e5);
    let mut order: Vec<usize> = (0..clients.len()).collect();
    rng.shuffle(&mut order);
    let mut planted = Planted::default();

    // The twins share a site, so that nothing but the ID tells them apart.
    let near: Vec<usize> =
        order.iter().copied().filter(|&n| clients[n].endpoint().index() == Site::Near.index()).take(4).collect();
    if let [first, second, _, _] = near[..] {
        let (first, second) = (first.min(second), first.max(second));
        clients[second].id = clients[first].id.clone();
        clients[second].name = clients[first].name.clone();
        planted.twins = Some((first, second));
    }

    let wanted = if clients.len() < 10 { 0 } else { (clients.len() * 3).div_ceil(200) };
    let mut good = [0_usize; 4];
    for client in clients.iter() {
        good[client.endpoint().index()] += 1;
    }
    let wrong = Password::Fixed(Secret::new("not the password".to_owned()));
    for n in order {
        let is_twin = planted.twins.is_some_and(|(a, b)| n == a || n == b);
        let left = &mut good[clients[n].endpoint().index()];
        if planted.refused.len() == wanted {
            break;
        }
        if !is_twin && *left > 1 {
            *left -= 1;
            clients[n].password = Some(wrong.clone());
            planted.refused.push(n);
        }
    }
    planted.refused.sort_unstable();
    planted
}

/// Settings under which a fleet of this size sends at most about a thousand probes a second.
fn settings(clients: u32) -> Settings {
    let every = Duration::from_secs(u64::from(clients.div_ceil(1000)).max(1));
    Settings {
        // Longer than a probe's turn, so that pings are only sent where probes are not answered.
        keep_alive: (every * 3 / 2).max(Duration::from_secs(3)),
        connect_timeout: Duration::from_secs(8),
        reconnect: Reconnect {
            strategy: Strategy::Exponential { min: Duration::from_millis(750), max: Duration::from_secs(15) },
            max_retries: 0,
            stable_after: Duration::from_secs(10),
        },
        probe: Probe { kind: ProbeKind::Ack, every },
        slow_p99: Some(Duration::from_millis(250)),
        ..Settings::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{HashMap, HashSet};

    fn made(clients: u32, seed: u64, calm: bool) -> (Fleet, Planted) {
        fleet(&Options { clients, seed, calm }, [1, 2, 3, 4], &Credentials::new(seed))
    }

    #[test]
    fn a_fleet_has_the_asked_size_at_the_right_places() {
        assert_eq!(shares(200), [80, 60, 40, 20]);
        assert_eq!(shares(10), [4, 3, 2, 1]);
        assert_eq!(shares(1), [1, 0, 0, 0]);
        assert_eq!(shares(4), [1, 1, 1, 1]);
        for clients in [1, 2, 7, 200, 2_003, 100_000] {
            let (fleet, _) = made(clients, 1, false);
            assert_eq!(fleet.clients.len(), clients as usize);
            for client in &fleet.clients {
                assert!(client.id.starts_with(fleet.endpoint(client.endpoint()).name.as_str()), "{}", client.id);
            }
        }
    }

    #[test]
    fn exactly_one_pair_shares_an_id() {
        for seed in 0..20 {
            let (fleet, planted) = made(200, seed, false);
            let mut ids: HashMap<_, Vec<usize>> = HashMap::new();
            for (n, client) in fleet.clients.iter().enumerate() {
                ids.entry(client.id.clone()).or_default().push(n);
            }
            let pairs: Vec<_> = ids.into_values().filter(|who| who.len() > 1).collect();
            let (a, b) = planted.twins.unwrap();
            assert_eq!(pairs, [vec![a, b]]);
        }
    }

    #[test]
    fn a_few_have_a_wrong_password_but_never_a_whole_site() {
        for (clients, wrong) in [(1, 0), (9, 0), (10, 1), (200, 3), (1_000, 15)] {
            for seed in 0..20 {
                let (fleet, planted) = made(clients, seed, false);
                assert_eq!(planted.refused.len(), wrong);
                let right = Credentials::new(seed).password;
                let mut good = HashSet::new();
                for (n, client) in fleet.clients.iter().enumerate() {
                    let is_right = client.password.as_ref().unwrap().fixed().unwrap().expose() == right.expose();
                    assert_eq!(is_right, !planted.refused.contains(&n));
                    if is_right {
                        good.insert(client.endpoint());
                    }
                }
                assert_eq!(good.len(), shares(clients).iter().filter(|&&n| n > 0).count());
            }
        }
    }

    #[test]
    fn calm_plants_nothing() {
        let (fleet, planted) = made(500, 3, true);
        assert_eq!(planted, Planted::default());
        assert_eq!(fleet.clients.iter().map(|c| c.id.clone()).collect::<HashSet<_>>().len(), 500);
    }

    #[test]
    fn probes_stay_below_a_thousand_a_second() {
        for clients in [1, 200, 500, 1_000, 1_001, 10_000, 100_000] {
            let settings = settings(clients);
            assert!(f64::from(clients) / settings.probe.every.as_secs_f64() <= 1000.0);
            assert!(settings.keep_alive > settings.probe.every);
        }
        assert_eq!(settings(500).probe.every, Duration::from_secs(1));
    }

    #[test]
    fn passwords_differ_by_run_and_are_not_printed() {
        assert_ne!(Credentials::new(1).password.expose(), Credentials::new(2).password.expose());
        let (fleet, _) = made(10, 1, false);
        assert!(!format!("{fleet:?}").contains(Credentials::new(1).password.expose()));
    }
}
