//! Brokers that send without end, or never send what they began: what a worker holds for them has a bound.

use std::{
    io::{Read, Write},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Instant,
};

use mqfleet_test_support::{SOON, script::packet};
use rustix::net::sockopt::set_socket_recv_buffer_size;

use super::{
    broker::{Way, answer, listen},
    language::{Act, Occasion, acts},
    *,
};

/// What a worker may hold for all its clients together (`Connections::HELD_MAX`), and what allocation adds.
const HELD: u64 = 64 * MIB;
const ROOM: u64 = 32 * MIB;

fn bytes(text: &str, protocol: Protocol) -> Vec<u8> {
    let acts = acts(text, &Occasion { is_v5: protocol == Protocol::V5, ..Occasion::default() });
    let [Act::Send(bytes)] = &acts[..] else { panic!("{text} are not just bytes") };
    bytes.clone()
}

/// Accepts a client of its version.
fn accept(stream: &mut impl Way) -> Option<()> {
    let connect = packet(stream)?;
    stream.write_all(&answer(&connect, connect[8] == 5)).ok()
}

#[tokio::test]
async fn two_thousand_halves_of_a_packet_stay_within_the_bound() {
    const CLIENTS: usize = 2_000;
    // 250 KiB are announced, and half of that comes.
    let half = [bytes("30 88 d0 0f [ 't' ] p", Protocol::V311), vec![b'x'; 125 << 10]].concat();
    let port = listen(false, move |_, mut stream| {
        let mut talk = || {
            accept(&mut stream)?;
            stream.write_all(&half).ok()?;
            while packet(&mut stream).is_some() {}
            Some(())
        };
        let _ = talk();
    });
    let def = |n: usize| {
        let client = client(format!("half-{n}"), BOTH[n % 2], 0, ProbeKind::Off);
        Def::new(ClientDef { conversation: Arc::default(), ..client }, port)
    };
    let healthy = Healthy::new();
    let mut worker = healthy.worker((0..CLIENTS).map(def).collect()).await;
    let base = worker.memory("VmRSS");
    let others = Healthy::COUNT as Slot..(Healthy::COUNT + CLIENTS) as Slot;
    let mut most = 0;
    // As many at once as connect at an endpoint at once.
    for some in others.clone().collect::<Vec<_>>().chunks(100) {
        worker.connect(some.iter().copied()).await;
        assert!(worker.until(SOON, |w| some.iter().all(|&slot| w.step(slot).is_some())).await, "stuck");
        most = most.max(worker.memory("VmRSS"));
    }
    Healthy::have_not_blinked(&mut worker).await;
    let settled = |w: &Worker| others.clone().filter(|&slot| w.is_ended(slot)).count() >= CLIENTS / 2;
    assert!(worker.until(SOON, settled).await, "too few ended to prove that there is a bound");
    most = most.max(worker.memory("VmRSS"));
    let (ended, up) = others.clone().partition::<Vec<_>, _>(|&slot| worker.is_ended(slot));
    println!("{} up, {} ended, {} MiB of {} MiB before", up.len(), ended.len(), most / MIB, base / MIB);
    assert!(up.len() > 100, "hardly any may hold a packet");
    for slot in ended {
        let cause = worker.cause(slot);
        assert_eq!(cause.reason.name(), "packet_too_large", "{cause:?}");
    }
    assert!(most < base + HELD + ROOM, "it grew to {} MiB", most / MIB);
}

/// A burst that comes over and over after the CONNACK.
#[derive(Clone, Copy)]
struct Flood {
    name: &'static str,
    says: &'static str,
    /// Whether it reads what the client answers.
    reads: bool,
    /// What ends it in MQTT 5, where it is not allowed.
    ends: Option<&'static str>,
}

const fn flood(name: &'static str, says: &'static str) -> Flood {
    Flood { name, says, reads: true, ends: None }
}

const FLOODS: [Flood; 6] = [
    flood("small messages", "500*(30 { ['t'] p 64*78 })"),
    flood("large messages", "4*(30 { ['t'] p 200000*78 })"),
    flood("messages at QoS 1", "900*(32 { ['t'] 00 01 p 9*78 })"),
    Flood { ends: Some("which is in use"), ..flood("one message at QoS 2", "2000*(3c { ['t'] 00 01 p })") },
    flood("PUBRELs", "2000*(62 { 00 2a })"),
    flood("PINGRESPs", "5000*(d0 {})"),
];

/// Answers of the client's that nobody reads: they have to wait somewhere.
const UNREAD: [Flood; 3] = [
    Flood { reads: false, ..flood("messages at QoS 1, answers unread", "9000*(32 { ['t'] 00 01 p })") },
    Flood { reads: false, ..flood("PUBRELs, answers unread", "9000*(62 { 00 2a })") },
    Flood { reads: false, ends: Some("which is in use"), ..flood("repeated QoS 2", "9000*(3c { ['t'] 00 01 p })") },
];

/// A flood to one client.
struct Case {
    flood: Flood,
    protocol: Protocol,
    is_tls: bool,
    sent: Arc<AtomicU64>,
}

impl Case {
    fn new(flood: Flood, protocol: Protocol, is_tls: bool, is_over: &Arc<AtomicBool>) -> (Case, Def) {
        let case = Case { flood, protocol, is_tls, sent: Arc::default() };
        let (burst, is_over, sent) = (bytes(flood.says, protocol), is_over.clone(), case.sent.clone());
        let port = listen(is_tls, move |socket, mut stream| {
            let mut talk = || {
                accept(&mut stream)?;
                if flood.reads {
                    // What comes is thrown away beneath TLS: nothing is said that would have to be understood.
                    let mut from = socket.try_clone().ok()?;
                    std::thread::spawn(move || while matches!(from.read(&mut [0; 4096]), Ok(1..)) {});
                } else {
                    set_socket_recv_buffer_size(socket, 4096).ok()?;
                }
                while !is_over.load(Ordering::Relaxed) {
                    stream.write_all(&burst).ok()?;
                    sent.fetch_add(burst.len() as u64, Ordering::Relaxed);
                }
                Some(())
            };
            let _ = talk();
        });
        let client = client(case.to_string(), protocol, 0, ProbeKind::Off);
        (case, over(ClientDef { conversation: Arc::default(), ..client }, is_tls, port))
    }
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let way = if self.is_tls { "TLS" } else { "TCP" };
        write!(f, "{}, {:?} {way}", self.flood.name, self.protocol)
    }
}

/// Lets all of them come for so long, while the healthy clients are served. Tells how many MiB more than
/// before were held.
async fn held(floods: &[Flood], ways: &[bool], lasting: Duration) -> u64 {
    let is_over = Arc::new(AtomicBool::new(false));
    let each = floods.iter().flat_map(|flood| BOTH.map(|protocol| (flood, protocol)));
    let each = each.flat_map(|(flood, protocol)| ways.iter().map(move |&is_tls| (*flood, protocol, is_tls)));
    let (cases, defs): (Vec<Case>, Vec<Def>) =
        each.map(|(flood, protocol, is_tls)| Case::new(flood, protocol, is_tls, &is_over)).unzip();
    let healthy = Healthy::new();
    let mut worker = healthy.worker(defs).await;
    let slots: Vec<Slot> = (Healthy::COUNT as Slot..).take(cases.len()).collect();
    let base = worker.memory("VmRSS");
    worker.connect(slots.iter().copied()).await;
    let (started, mut most) = (Instant::now(), base);
    while started.elapsed() < lasting {
        measured(&mut worker, Healthy::slots()).await;
        most = most.max(worker.memory("VmRSS"));
    }
    for (&slot, case) in slots.iter().zip(&cases) {
        let messages = worker.messages.get(&slot).map_or(0, |m| m.0);
        let sent = case.sent.load(Ordering::Relaxed) / 1024;
        match case.flood.ends.filter(|_| case.protocol == Protocol::V5) {
            Some(words) => assert!(worker.cause(slot).detail.contains(words), "{case}: {:?}", worker.step(slot)),
            None => assert!(worker.is_up(slot), "{case}: {:?}", worker.step(slot)),
        }
        println!("{case}: {sent} KiB, {messages} messages");
    }
    is_over.store(true, Ordering::Relaxed);
    Healthy::have_not_blinked(&mut worker).await;
    println!("at most {} MiB, {} MiB before", most / MIB, base / MIB);
    (most - base) / MIB
}

fn lasting() -> Duration {
    Duration::from_secs(if std::env::var_os("MQFLEET_ROUNDS").is_some() { 20 } else { 4 })
}

#[tokio::test]
async fn endless_floods_are_held_back() {
    let held = held(&FLOODS, &[false, true], lasting()).await;
    assert!(held * MIB < HELD + ROOM, "{held} MiB were held");
}

#[tokio::test]
async fn answers_that_nobody_reads_hold_the_broker_back() {
    let held = held(&UNREAD, &[false, true], lasting()).await;
    assert!(held * MIB < ROOM, "{held} MiB were held");
}
