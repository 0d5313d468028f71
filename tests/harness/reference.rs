//! A plain TCP client that measures round trips to a broker with packets made by hand, to compare ours with; it knows no client library.
#![allow(dead_code, reason = "every test binary uses another part of it")]

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use mqfleet::fleet::ProbeKind;

/// Clients that measure until they are asked for what they saw.
pub struct Reference {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Vec<Duration>>>,
}

impl Reference {
    /// Starts this many clients, each with a connection and a thread of its own, that probe about as
    /// often as told.
    pub fn start(port: u16, kind: ProbeKind, clients: usize, every: Duration) -> Reference {
        let stop = Arc::<AtomicBool>::default();
        let client = |n| {
            let stop = stop.clone();
            thread::spawn(move || measure(port, kind, &format!("reference-{}-{n}", kind.name()), every, &stop))
        };
        Reference { threads: (0..clients).map(client).collect(), stop }
    }

    /// The round trips of all of them.
    pub fn stop(self) -> Vec<Duration> {
        self.stop.store(true, Ordering::SeqCst);
        self.threads.into_iter().flat_map(|thread| thread.join().expect("a reference that ends well")).collect()
    }
}

fn measure(port: u16, kind: ProbeKind, id: &str, every: Duration, stop: &AtomicBool) -> Vec<Duration> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the way to the broker");
    stream.set_nodelay(true).expect("a socket of our own");
    let text = |text: &str| [&[0, text.len() as u8], text.as_bytes()].concat();
    let packet = |first: u8, body: Vec<u8>| [vec![first, body.len() as u8], body].concat();
    let topic = text(&format!("reference/{id}"));
    // MQTT 3.1.1: clean session, no keep alive.
    exchange(&mut stream, &packet(0x10, [text("MQTT"), vec![4, 2, 0, 0], text(id)].concat()), 2);
    let (probe, answer) = match kind {
        ProbeKind::Heartbeat => (vec![0xc0, 0], 13),
        ProbeKind::Ack => (packet(0x32, [topic, vec![0, 1], b"mqfleet".to_vec()].concat()), 4),
        ProbeKind::Echo => {
            exchange(&mut stream, &packet(0x82, [vec![0, 1], topic.clone(), vec![0]].concat()), 9);
            (packet(0x30, [topic, b"mqfleet0123456789abcdef".to_vec()].concat()), 3)
        }
        ProbeKind::Off => return Vec::new(),
    };
    let mut seen = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        thread::sleep(every.mul_f64(0.5 + fastrand::f64()));
        seen.push(exchange(&mut stream, &probe, answer));
    }
    seen
}

/// Sends a packet and waits for the answer, which must be of this type; tells how long it took.
fn exchange(stream: &mut TcpStream, packet: &[u8], answer: u8) -> Duration {
    let mut bytes = [0; 256];
    let sent = Instant::now();
    stream.write_all(packet).expect("to send");
    let n = stream.read(&mut bytes).expect("an answer");
    let took = sent.elapsed();
    assert!(n >= 2 && bytes[0] >> 4 == answer, "{:?} instead of an answer of type {answer}", &bytes[..n]);
    took
}
