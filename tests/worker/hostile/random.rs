//! A broker that does anything at random, to clients that come back at once: long forms find what no table thinks of.

use std::{
    io::Write,
    net::TcpStream,
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use fastrand::Rng;
use mqfleet::fleet::Traffic;
use mqfleet_test_support::{SOON, script::packet};
use rustix::net::sockopt::set_socket_linger;

use super::{
    broker::{Way, answer, identifier, listen},
    language::with_variable,
    *,
};

/// Under a tool that takes ten times as long for everything (`MQFLEET_TEST_WORKER`) fewer of them say less.
fn is_slow() -> bool {
    std::env::var_os("MQFLEET_TEST_WORKER").is_some()
}

fn clients() -> usize {
    if is_slow() { 20 } else { 50 }
}

/// How long it goes on.
fn seconds() -> Duration {
    let seconds = std::env::var("MQFLEET_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(20);
    Duration::from_secs(seconds)
}

fn seed() -> u64 {
    let seed = std::env::var("MQFLEET_SEED").map_or_else(|_| fastrand::u64(..), |s| s.parse().expect("a seed"));
    println!("MQFLEET_SEED={seed}");
    seed
}

/// One connection's broker.
struct Random {
    rng: Rng,
    is_v5: bool,
    /// In a hundred, how often something is wrong.
    wildness: u8,
    /// Of the client's packets lately.
    ids: [u16; 4],
    /// Waits to go out with what comes next.
    held: Vec<u8>,
}

impl Random {
    /// What goes out once the client has sent this packet.
    fn after(&mut self, packet: &[u8]) -> Vec<u8> {
        match identifier(packet) {
            0 => {}
            id => self.ids[self.rng.usize(0..4)] = id,
        }
        let mut out = std::mem::take(&mut self.held);
        if packet[0] >> 4 == 1 {
            out.extend(if self.rng.u8(0..10) == 0 { self.connack() } else { answer(packet, self.is_v5) });
        } else if self.rng.u8(0..100) >= 2 {
            out.extend(answer(packet, self.is_v5));
        }
        if self.rng.u8(0..3) == 0 {
            out.extend(self.allowed());
        }
        if self.rng.u8(0..100) < self.wildness {
            let wrong = match self.rng.u8(0..4) {
                0 => self.out_of_turn(),
                1 => (0..self.rng.usize(0..30)).map(|_| self.rng.u8(..)).collect(),
                2 if !out.is_empty() => self.mutated(&std::mem::take(&mut out)),
                _ => {
                    let packet = self.allowed();
                    self.mutated(&packet)
                }
            };
            out.extend(wrong);
        }
        if self.rng.u8(0..8) == 0 {
            self.held = std::mem::take(&mut out);
        }
        out
    }

    fn text(&mut self) -> Vec<u8> {
        let text: Vec<u8> = (0..self.rng.usize(1..12)).map(|_| self.rng.u8(b'a'..=b'z')).collect();
        self.string(&text)
    }

    fn string(&self, text: &[u8]) -> Vec<u8> {
        [&(text.len() as u16).to_be_bytes(), text].concat()
    }

    /// The properties that may be in any packet.
    fn properties(&mut self, has_reason: bool) -> Vec<u8> {
        if !self.is_v5 {
            return Vec::new();
        }
        let mut list = Vec::new();
        if has_reason && self.rng.bool() {
            list.push(0x1f);
            list.extend(self.text());
        }
        for _ in 0..self.rng.u8(0..3) {
            list.push(0x26);
            list.extend(self.text());
            list.extend(self.text());
        }
        with_variable(list)
    }

    fn packet(&self, first: u8, parts: &[&[u8]]) -> Vec<u8> {
        let mut out = vec![first];
        out.extend(with_variable(parts.concat()));
        out
    }

    fn connack(&mut self) -> Vec<u8> {
        let code = *self.rng.choice(&[0, 0, 5, 0x87, 0xee]).expect("some");
        let properties = self.properties(true);
        self.packet(0x20, &[&[0, if self.is_v5 || code < 6 { code } else { 0 }], &properties])
    }

    /// What a broker may send unasked.
    fn allowed(&mut self) -> Vec<u8> {
        let id = self.rng.u16(1..9).to_be_bytes();
        match self.rng.u8(0..10) {
            0..=6 => {
                let qos = self.rng.u8(0..3);
                let (topic, properties) = (self.text(), self.properties(false));
                let length = *self.rng.choice(&[0, 3, 40, 1_500, 20_000]).expect("some");
                let id = if qos > 0 { &id[..] } else { &[] };
                let repeated = if qos == 2 && !self.is_v5 { 8 } else { 0 };
                self.packet(0x30 | qos << 1 | repeated, &[&topic, id, &properties, &vec![b'x'; length]])
            }
            7 | 8 => self.packet(0x62, &[&id]),
            _ => vec![0xd0, 0],
        }
    }

    /// An answer to something that was asked, or not.
    fn out_of_turn(&mut self) -> Vec<u8> {
        let id = self.ids[self.rng.usize(0..4)].to_be_bytes();
        let first = *self.rng.choice(&[0x20, 0x40, 0x50, 0x62, 0x70, 0x90, 0xb0, 0xe0, 0xf0]).expect("some");
        let code = [*self.rng.choice(&[0, 1, 0x10, 0x80, 0x92]).expect("some")];
        match (first, self.rng.bool()) {
            (0x40..=0x70, true) => self.packet(first, &[&id]),
            (0x40..=0x70, false) => {
                let properties = self.properties(true);
                self.packet(first, &[&id, &code, &properties])
            }
            (0xe0 | 0xf0, true) => self.packet(first, &[]),
            (0xe0 | 0xf0, false) => self.packet(first, &[&code]),
            _ => {
                let properties = self.properties(true);
                self.packet(first, &[&id, &properties, &code])
            }
        }
    }

    fn mutated(&mut self, source: &[u8]) -> Vec<u8> {
        let mut bytes = source.to_vec();
        for _ in 0..self.rng.usize(1..4) {
            let at = self.rng.usize(..bytes.len().max(1));
            match self.rng.u8(0..6) {
                0 if !bytes.is_empty() => bytes[at] ^= 1 << self.rng.u8(0..8),
                1 if !bytes.is_empty() => bytes[at] = self.rng.u8(..),
                2 if !bytes.is_empty() => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][self.rng.usize(..5)],
                3 if !bytes.is_empty() => drop(bytes.remove(at)),
                4 => bytes.truncate(at),
                _ => bytes.insert(at.min(bytes.len()), self.rng.u8(..)),
            }
        }
        // What is far off in its length is refused for that alone.
        if bytes.len() > 1 && self.rng.u8(0..4) > 0 {
            let body = bytes.split_off(2);
            bytes = self.packet(bytes[0], &[&body]);
        }
        bytes
    }

    fn talk(mut self, socket: &TcpStream, stream: &mut impl Way) -> std::io::Result<()> {
        socket.set_nodelay(true)?;
        while let Some(packet) = packet(stream) {
            let out = self.after(&packet);
            let (head, tail) = out.split_at(if self.rng.bool() { out.len() } else { self.rng.usize(..=out.len()) });
            stream.write_all(head)?;
            stream.write_all(tail)?;
            match self.rng.u16(0..4_000) {
                0..=9 => return Ok(()),
                10..=19 => return set_socket_linger(socket, Some(Duration::ZERO)).map_err(Into::into),
                // It says no more, and listens on.
                20 => self.wildness = 0,
                _ => {}
            }
        }
        Ok(())
    }
}

fn busy(n: usize, port: u16, is_tls: bool) -> Def {
    let kinds = [ProbeKind::Ack, ProbeKind::Echo, ProbeKind::Heartbeat];
    let pace = if is_slow() { 10 } else { 1 };
    let mut client = client(format!("random-{n}"), BOTH[n % 2], (n % 3) as u8, kinds[n % 3]);
    let conversation = Arc::make_mut(&mut client.conversation);
    conversation.subscribe.push(Subscription { filter: "more/+".into(), qos: 1 });
    let message = Message { topic: "t".into(), payload: Arc::new([7; 40]), qos: (n / 3 % 3) as u8, retain: false };
    conversation.publish = Some(Traffic { message, every: Duration::from_millis(3) * pace });
    client.settings.probe.every = Duration::from_millis(4) * pace;
    client.settings.keep_alive = Duration::from_secs(1 + n as u64 % 3);
    client.settings.connect_timeout = Duration::from_secs(if is_slow() { 10 } else { 2 });
    client.settings.receive_maximum = n.is_multiple_of(4).then_some(100);
    over(client, is_tls, port)
}

#[tokio::test]
#[ignore = "a soak: MQFLEET_SECONDS=60 cargo test --release --test worker hostile:: -- --ignored --nocapture"]
async fn random_packets_never_end_a_worker() {
    let (seed, seconds) = (seed(), seconds());
    let started = Instant::now();
    let (connections, packets) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let ports = [false, true].map(|is_tls| {
        let (connections, packets) = (connections.clone(), packets.clone());
        listen(is_tls, move |socket, mut stream| {
            let mut rng = Rng::with_seed(seed.wrapping_add(connections.fetch_add(1, Ordering::Relaxed)));
            let wildness = *rng.choice(&[0, 1, 1, 3, 10, 40]).expect("some");
            let Some(connect) = packet(&mut stream) else { return };
            let mut random = Random { rng, is_v5: connect[8] == 5, wildness, ids: [1; 4], held: Vec::new() };
            let first = random.after(&connect);
            let mut counted = Counted(&mut stream, &packets);
            if counted.write_all(&first).is_ok() {
                let _ = random.talk(socket, &mut counted);
            }
        })
    });
    let clients = clients();
    let def = |n: usize| busy(n, ports[usize::from(n.is_multiple_of(5))], n.is_multiple_of(5));
    let mut worker = Worker::start((0..clients).map(def).collect()).await;
    let slots = || 0..clients as Slot;
    worker.connect(slots()).await;
    let mut rng = Rng::with_seed(seed);
    let (mut connects, mut ups, mut most) = (clients, 0, 0);
    let mut reasons = std::collections::BTreeMap::<&str, usize>::new();
    while started.elapsed() < seconds {
        // `until` panics where the worker has died.
        worker.until(Duration::from_millis(50), |w| slots().any(|slot| w.is_ended(slot))).await;
        let over: Vec<Slot> = slots().filter(|&slot| worker.is_ended(slot)).collect();
        for &slot in &over {
            let steps = &worker.steps[&(slot, worker.generation(slot))];
            ups += usize::from(steps.len() > 1);
            *reasons.entry(worker.cause(slot).reason.name()).or_default() += 1;
        }
        connects += over.len();
        worker.connect(over).await;
        match rng.u8(0..60) {
            0 => worker.disconnect([rng.u32(slots())]).await,
            // One that is up is cut.
            1 => worker.connect([rng.u32(slots())]).await,
            _ => {}
        }
        most = most.max(worker.memory("VmRSS"));
        // What is told is told: a soak keeps nothing.
        worker.samples.clear();
        worker.late.clear();
        worker.shortfalls.clear();
        worker.subscribed.clear();
        worker.tcp.clear();
        let present: Vec<u32> = slots().map(|slot| worker.generation(slot)).collect();
        worker.steps.retain(|(slot, generation), _| *generation + 1 >= present[*slot as usize]);
    }
    println!(
        "{connects} connects, {ups} of them up, {} packets, {} MiB at most",
        packets.load(Ordering::Relaxed),
        most / MIB
    );
    println!("{reasons:?}");
    worker.disconnect(slots()).await;
    worker.until(SOON, |w| slots().all(|slot| w.is_ended(slot))).await;
    worker.stop().await;
    let status = worker.gone(SOON).await.expect("an end");
    assert!(status.success(), "{status}: {}", worker.stderr());
    assert!(ups > connects / 4, "too few came up to prove anything");
}

/// Counts what is written.
struct Counted<'a, W>(&'a mut W, &'a AtomicU64);

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.1.fetch_add(u64::from(!bytes.is_empty()), Ordering::Relaxed);
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

impl<W: std::io::Read> std::io::Read for Counted<'_, W> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}
