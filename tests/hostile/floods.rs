//! Brokers that send without end, or never send what they began: what a worker holds for them has a bound.

use std::{
    io::{Read, Write},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Instant,
};

use super::{
    broker::{Way, answer, listen},
    language::{Act, Occasion, acts},
    script::packet,
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

/// Sends a burst over and over after the CONNACK, and reads only where it is told to.
struct Flood {
    says: &'static str,
    reads: bool,
    /// Whether it goes on for ever, where nothing is wrong with it.
    is_allowed: bool,
}

const FLOODS: [Flood; 8] = [
    Flood { says: "500*(30 { ['t'] p 64*78 })", reads: true, is_allowed: true },
    Flood { says: "4*(30 { ['t'] p 200000*78 })", reads: true, is_allowed: true },
    Flood { says: "900*(32 { ['t'] 00 01 p 9*78 })", reads: true, is_allowed: true },
    Flood { says: "900*(32 { ['t'] 00 01 p 9*78 })", reads: false, is_allowed: true },
    Flood { says: "2000*(62 { 00 2a })", reads: true, is_allowed: true },
    Flood { says: "2000*(62 { 00 2a })", reads: false, is_allowed: true },
    Flood { says: "2000*(3c { ['t'] 00 01 p })", reads: false, is_allowed: false },
    Flood { says: "5000*(d0 {})", reads: false, is_allowed: true },
];

#[tokio::test]
async fn endless_floods_are_held_back() {
    let seconds = Duration::from_secs(4);
    let is_over = Arc::new(AtomicBool::new(false));
    let sent = Arc::new(AtomicU64::new(0));
    let (mut defs, mut rows) = (Vec::new(), Vec::new());
    for (flood, protocol) in FLOODS.iter().flat_map(|flood| BOTH.map(|protocol| (flood, protocol))) {
        for is_tls in [false, true] {
            let burst = bytes(flood.says, protocol);
            let (is_over, sent) = (is_over.clone(), sent.clone());
            let port = listen(is_tls, move |socket, mut stream| {
                let mut talk = || {
                    accept(&mut stream)?;
                    if flood.reads && !is_tls {
                        let mut from = socket.try_clone().ok()?;
                        std::thread::spawn(move || while matches!(from.read(&mut [0; 4096]), Ok(1..)) {});
                    }
                    while !is_over.load(Ordering::Relaxed) {
                        stream.write_all(&burst).ok()?;
                        sent.fetch_add(burst.len() as u64, Ordering::Relaxed);
                    }
                    Some(())
                };
                let _ = talk();
            });
            let name = format!("flood-{}", rows.len());
            let client = client(name, protocol, 0, ProbeKind::Off);
            defs.push(over(ClientDef { conversation: Arc::default(), ..client }, is_tls, port));
            rows.push((flood, protocol, is_tls));
        }
    }
    let healthy = Healthy::new();
    let mut worker = healthy.worker(defs).await;
    let base = worker.memory("VmRSS");
    let slots: Vec<Slot> = (Healthy::COUNT as Slot..).take(rows.len()).collect();
    worker.connect(slots.iter().copied()).await;
    let (started, mut most) = (Instant::now(), base);
    while started.elapsed() < seconds {
        // Each of them goes on being served meanwhile.
        measured(&mut worker, Healthy::slots()).await;
        most = most.max(worker.memory("VmRSS"));
    }
    is_over.store(true, Ordering::Relaxed);
    Healthy::have_not_blinked(&mut worker).await;
    most = most.max(worker.memory("VmRSS"));
    let all = sent.load(Ordering::Relaxed) / MIB;
    println!("{all} MiB came, at most {} MiB were held, {} MiB before", most / MIB, base / MIB);
    for (&slot, (flood, protocol, is_tls)) in slots.iter().zip(&rows) {
        let messages = worker.messages.get(&slot).map_or(0, |m| m.0);
        let steps = worker.steps.get(&(slot, 1)).map(|steps| steps.iter().map(|s| &s.1).collect::<Vec<_>>());
        println!("{} {protocol:?} TLS {is_tls} reads {}: {messages} messages, {steps:?}", flood.says, flood.reads);
    }
    assert!(most < base + HELD + ROOM, "it grew to {} MiB", most / MIB);
}
