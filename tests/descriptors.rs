//! Paho in this very process, reconnecting over and over while the kernel is asked about its sockets: no client is ever shown another's.

#[path = "harness/mosquitto.rs"]
mod mosquitto;

use std::{
    collections::HashMap,
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use mosquitto::Mosquitto;
use mqfleet::{
    event::Cause,
    fleet::{Endpoint, Probe, ProbeKind, Protocol},
    paho::{Client, Outcome, Paho, Pending, Route, Slots, Subject},
    wire::{ClientDef, Remote, Slot},
};

/// Reconnects of one round.
const ROUND: usize = 200;

const CLIENTS: usize = 40;

/// A bound for what takes milliseconds, on a machine that does much else.
const SOON: Duration = Duration::from_secs(30);

/// `make chaos` asks for more.
fn rounds() -> usize {
    std::env::var("MQFLEET_ROUNDS").ok().and_then(|r| r.parse().ok()).unwrap_or(5)
}

/// A log filter that asks for everything.
struct Everything;

impl log::Log for Everything {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, _: &log::Record<'_>) {}
    fn flush(&self) {}
}

/// Also shows that the program's log filter does not make Paho's trace chattier: the trace's callback
/// would end this process.
#[test]
fn no_client_is_shown_another_s_socket() {
    log::set_logger(&Everything).expect("the first logger");
    log::set_max_level(log::LevelFilter::Trace);
    let paho = Paho::start().expect("Paho");
    let broker = Mosquitto::start();
    let subject = |n| Subject { client_id: id(n), probe: ProbeKind::Ack };
    let (slots, _news) = Slots::new((0..CLIENTS).map(subject).collect());
    let slots = Arc::new(slots);
    paho.follow(&slots);

    // Asks all the time, whatever is going on.
    let done = Arc::<AtomicBool>::default();
    let (seen_by, is_done) = (slots.clone(), done.clone());
    let reader = thread::spawn(move || {
        let (mut seen, mut count) = (HashMap::new(), 0u64);
        while !is_done.load(Ordering::SeqCst) {
            for slot in 0..CLIENTS {
                let Some(reading) = seen_by.kernel(slot as Slot) else { continue };
                count += 1;
                let known = *seen.entry((slot, reading.generation)).or_insert(reading.port);
                assert_eq!(known, reading.port, "client {slot}, connect {}", reading.generation);
            }
        }
        (seen, count)
    });

    let route = Route::new(Remote::from(&Endpoint::new("e", "127.0.0.1", broker.port())));
    let mut lanes: Vec<Lane> = (0..CLIENTS).map(|_| Lane::default()).collect();
    let mut retired = Vec::new();
    let wanted = rounds() * ROUND;
    let mut connects = 0;
    let mut last = Instant::now();
    while connects < wanted {
        assert!(last.elapsed() < SOON, "stuck after {connects} of {wanted} connects");
        retired.retain(|client: &Client| !client.is_free());
        let before = connects;
        for (n, lane) in lanes.iter_mut().enumerate() {
            if lane.has_come_up() {
                connects += 1;
                // Every third is cut by the broker, which gives the session to another connection.
                match fastrand::u8(..3) {
                    0 => lane.heir = Some(take_over(broker.port(), &id(n))),
                    _ => lane.leaving = lane.client.as_ref().map(Client::disconnect),
                }
            } else if lane.has_ended(n, &slots) {
                let (made, pending) = lane.next(n, &slots, &route).expect("a client");
                retired.extend(lane.client.replace(made));
                lane.connecting = Some(pending);
            }
        }
        if connects > before {
            last = Instant::now();
        } else {
            thread::sleep(Duration::from_micros(200));
        }
    }
    done.store(true, Ordering::SeqCst);
    let (seen, count) = reader.join().expect("no client was shown two sockets");
    let sockets = seen.len();
    println!("{connects} connects, {count} readings of {sockets} connections");
    assert!(sockets > connects / 20, "too few were seen to prove anything");

    // `New client connected from 127.0.0.1:43210 as client-7 (p5, c1, k30).`
    let log = broker.log();
    let mut ports: HashMap<&str, Vec<u16>> = HashMap::new();
    for words in log.lines().filter(|l| l.starts_with("New client")).map(|l| l.split(' ').collect::<Vec<_>>()) {
        let port = words[4].rsplit(':').next().and_then(|p| p.parse().ok()).expect("a port");
        ports.entry(words[6]).or_default().push(port);
    }
    for ((slot, generation), port) in seen {
        let id = id(slot);
        let own = &ports[&*id];
        assert!(own.contains(&port), "client {slot}, connect {generation}: port {port} is not its own");
    }
    // Destroying them one by one is a long goodbye; the end of the process is quicker.
    std::mem::forget((lanes, retired, paho));
}

#[derive(Default)]
struct Lane {
    client: Option<Client>,
    connecting: Option<Pending>,
    leaving: Option<Pending>,
    /// Its connect was taken for another's failure.
    is_mistaken: bool,
    /// The connection that has its session.
    heir: Option<TcpStream>,
    generation: u32,
}

impl Lane {
    fn next(&mut self, n: usize, slots: &Arc<Slots>, route: &Route) -> Result<(Client, Pending), Cause> {
        self.generation += 1;
        let address = Ipv4Addr::LOCALHOST.into();
        Client::connect(slots.clone(), n as Slot, self.generation, define(n), route, address)
    }

    fn has_come_up(&mut self) -> bool {
        let (Some(client), Some(pending)) = (&self.client, &mut self.connecting) else { return false };
        match client.outcome(pending) {
            None => return false,
            Some(Outcome::Accepted(_)) => {}
            // Another's failure: Paho took one socket for the other. This one is over as well.
            Some(Outcome::Mistaken(_)) => {
                (self.connecting, self.is_mistaken) = (None, true);
                return false;
            }
            Some(Outcome::Failed(end)) => panic!("a connect failed: {end:?}"),
        }
        self.connecting = None;
        true
    }

    fn has_ended(&mut self, n: usize, slots: &Slots) -> bool {
        if self.client.is_none() || self.connecting.is_some() {
            return self.client.is_none();
        }
        let has_left = self.leaving.as_mut().is_some_and(Pending::is_done);
        let is_over = has_left || self.is_mistaken || slots.take_end(n as Slot).is_some();
        if is_over {
            (self.leaving, self.heir, self.is_mistaken) = (None, None, false);
        }
        is_over
    }
}

fn id(n: usize) -> Arc<str> {
    format!("client-{n}").into()
}

/// Takes a client's session over with a connection of its own, which is to be kept.
fn take_over(port: u16, id: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the broker");
    let mut packet = vec![0x10, 12 + id.len() as u8, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 60, 0, id.len() as u8];
    packet.extend(id.bytes());
    stream.write_all(&packet).expect("to send");
    stream.read_exact(&mut [0; 4]).expect("a CONNACK");
    stream
}

fn define(n: usize) -> ClientDef {
    ClientDef {
        id: id(n),
        protocol: Protocol::V5,
        keep_alive: Duration::from_secs(30),
        clean_start: true,
        session_expiry: Duration::ZERO,
        receive_maximum: None,
        maximum_packet_size: 256 << 10,
        user_properties: Vec::new(),
        connect_timeout: Duration::from_secs(30),
        probe: Probe { kind: ProbeKind::Off, every: Duration::from_secs(1) },
        username: None,
        password: None,
        identity: None,
        conversation: Arc::default(),
    }
}
