//! Tests that a worker outlives brokers that reset busy connections: while clients publish at QoS 0, 1 and 2, subscribe and probe, every connection ends in a reset, thousands of times over.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use mqfleet::{
    event::Step,
    fleet::{Conversation, Message, Probe, ProbeKind, Protocol, Settings, Subscription, Traffic},
    wire::{ClientDef, Slot},
};
use mqfleet_test_support::{
    script::{self, packet},
    worker::{self, Def, Worker},
};
use rustix::net::sockopt::set_socket_linger;

/// A bound for what takes seconds, on a machine that does much else.
const SOON: Duration = Duration::from_secs(120);

const CLIENTS: usize = 40;

/// Connects of one round.
const ROUND: usize = 250;

/// `make chaos` asks for more.
fn rounds() -> usize {
    std::env::var("MQFLEET_ROUNDS").ok().and_then(|r| r.parse().ok()).unwrap_or(4)
}

/// A broker that answers all it is asked and resets each connection after a few packets.
fn broker() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    let resets = Arc::<AtomicUsize>::default();
    let counted = resets.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let counted = counted.clone();
            thread::spawn(move || {
                let _ = serve(&stream);
                // With nothing to wait for, closing is a reset (socket(7), SO_LINGER).
                set_socket_linger(&stream, Some(Duration::ZERO)).expect("a socket");
                counted.fetch_add(1, Ordering::SeqCst);
            });
        }
    });
    (port, resets)
}

fn serve(mut stream: &TcpStream) -> Option<()> {
    let mut from = stream.try_clone().ok()?;
    let is_v5 = packet(&mut from)?[8] == 5;
    let accept = if is_v5 { script::ACCEPT_V5 } else { script::ACCEPT_V311 };
    stream.write_all(accept).ok()?;
    for _ in 0..fastrand::u8(0..12) {
        let packet = packet(&mut from)?;
        let id = packet_identifier(&packet);
        let answer = match packet[0] >> 4 {
            3 if packet[0] & 6 == 2 => vec![0x40, 2, id[0], id[1]],
            3 if packet[0] & 6 == 4 => vec![0x50, 2, id[0], id[1]],
            6 => vec![0x70, 2, packet[2], packet[3]],
            8 if is_v5 => vec![0x90, 4, packet[2], packet[3], 0, 0],
            8 => vec![0x90, 3, packet[2], packet[3], 0],
            12 => vec![0xd0, 0],
            _ => continue,
        };
        stream.write_all(&answer).ok()?;
    }
    // Some are reset while the client writes, some with bytes on their way.
    if fastrand::bool() {
        stream.set_read_timeout(Some(Duration::from_millis(fastrand::u64(1..20)))).ok()?;
        let _ = from.read(&mut [0; 64]);
    }
    Some(())
}

/// Of a PUBLISH, behind its topic; packets here are shorter than 128 bytes.
fn packet_identifier(packet: &[u8]) -> [u8; 2] {
    let topic = packet.get(3).map_or(0, |&n| usize::from(n));
    [packet.get(4 + topic).copied().unwrap_or(0), packet.get(5 + topic).copied().unwrap_or(0)]
}

fn client(n: usize, port: u16) -> Def {
    let message = Message { topic: "t".into(), payload: Arc::new([7; 40]), qos: (n % 3) as u8, retain: false };
    let conversation = Conversation {
        subscribe: vec![Subscription { filter: "cmd/#".into(), qos: 1 }],
        publish: Some(Traffic { message: message.clone(), every: Duration::from_millis(1) }),
        birth: Some(message),
        will: None,
    };
    let kinds = [ProbeKind::Ack, ProbeKind::Echo, ProbeKind::Heartbeat];
    let client = ClientDef {
        settings: Settings {
            protocol: if n.is_multiple_of(2) { Protocol::V5 } else { Protocol::V311 },
            probe: Probe { kind: kinds[n % 3], every: Duration::from_millis(2) },
            ..worker::settings()
        },
        conversation: Arc::new(conversation),
        ..worker::client(format!("reset-{n}"))
    };
    Def::new(client, port)
}

#[tokio::test]
async fn resets_of_busy_connections_cost_those_only() {
    let (port, resets) = broker();
    let mut worker = Worker::start((0..CLIENTS).map(|n| client(n, port)).collect()).await;
    let wanted = rounds() * ROUND;
    let mut connects = 0;
    let slots = || 0..CLIENTS as Slot;
    worker.connect(slots()).await;
    while connects < wanted {
        // `until` panics where the worker has died.
        assert!(worker.until(SOON, |w| slots().any(|slot| w.is_ended(slot))).await, "stuck after {connects}");
        let over: Vec<Slot> = slots().filter(|&slot| worker.is_ended(slot)).collect();
        connects += over.len();
        worker.connect(over).await;
    }
    let ups = worker.steps.values().filter(|steps| matches!(steps[0].1, Step::Up(_))).count();
    println!("{connects} connects, {ups} of them up, {} resets", resets.load(Ordering::SeqCst));
    assert!(ups > connects / 2, "too few came up to prove anything");
}
