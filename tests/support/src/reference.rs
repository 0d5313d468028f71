//! Plain TCP clients that measure round trips to a broker with packets made by hand, to compare ours with; they know no client library.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use mqfleet::fleet::ProbeKind;
use rustix::{
    buffer::spare_capacity,
    event::epoll::{self, CreateFlags, EventData, EventFlags},
    io::Errno,
    time::Timespec,
};

/// What the clients of a reference do: a probe on a connection that was idle for as long as those that it
/// is compared with are, and as many at a time.
#[derive(Clone, Copy, Debug)]
pub struct Habit {
    pub kind: ProbeKind,
    pub clients: usize,
    /// The time between two probes of a client.
    pub every: Duration,
    /// How many of them send in one go.
    pub together: usize,
}

/// Clients that measure until they are asked for what they saw; one thread has them all.
pub struct Reference {
    begin: Sender<()>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

/// What clients of a reference saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// From the return of `send` to that of `read`.
    pub round_trips: Vec<Duration>,
    /// How long `send` took.
    pub sends: Vec<Duration>,
}

impl Reference {
    /// Connects the clients of one reference of several.
    pub fn connect(port: u16, habit: Habit, which: usize) -> Reference {
        let stop = Arc::<AtomicBool>::default();
        let (clients, stopped) = (connect(port, habit, which), stop.clone());
        let (begin, begun) = channel();
        let thread = thread::spawn(move || {
            begun.recv().expect("a beginning");
            measure(clients, habit, &stopped)
        });
        Reference { begin, stop, thread }
    }

    pub fn begin(&self) {
        self.begin.send(()).expect("a thread that waits");
    }

    pub fn stop(self) -> Seen {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().expect("a reference that ends well")
    }
}

struct Client {
    stream: TcpStream,
    probe: Vec<u8>,
    sent: Option<Instant>,
}

fn measure(mut clients: Vec<Client>, habit: Habit, stop: &AtomicBool) -> Seen {
    let epoll = epoll::create(CreateFlags::CLOEXEC).expect("an epoll");
    for (n, client) in clients.iter().enumerate() {
        epoll::add(&epoll, &client.stream, EventData::new_u64(n as u64), EventFlags::IN).expect("to watch it");
    }
    let answer = match habit.kind {
        ProbeKind::Heartbeat => 13,
        ProbeKind::Ack => 4,
        ProbeKind::Echo | ProbeKind::Off => 3,
    };
    let (mut seen, mut events, mut bytes) = (Seen::default(), Vec::with_capacity(256), [0; 256]);
    let between = habit.every.mul_f64(habit.together as f64 / habit.clients as f64);
    let (mut next, mut due) = (0, Instant::now() + between.mul_f64(fastrand::f64()));
    while !stop.load(Ordering::SeqCst) {
        if due <= Instant::now() {
            for _ in 0..habit.together {
                let client = &mut clients[next];
                if client.sent.is_none() {
                    let begin = Instant::now();
                    client.stream.write_all(&client.probe).expect("to send");
                    let sent = Instant::now();
                    client.sent = Some(sent);
                    seen.sends.push(sent - begin);
                }
                next = (next + 1) % clients.len();
            }
            due += between.mul_f64(0.5 + fastrand::f64());
        }
        let wait = due.saturating_duration_since(Instant::now()).min(Duration::from_millis(100));
        let wait = Timespec { tv_sec: 0, tv_nsec: wait.as_nanos() as i64 };
        events.clear();
        match epoll::wait(&epoll, spare_capacity(&mut events), Some(&wait)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => panic!("epoll: {e}"),
        }
        for event in &events {
            let client = &mut clients[event.data.u64() as usize];
            let n = match client.stream.read(&mut bytes) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => continue,
                n => n.expect("an answer"),
            };
            let arrived = Instant::now();
            assert!(n >= 2 && bytes[0] >> 4 == answer, "{:?} instead of an answer of type {answer}", &bytes[..n]);
            seen.round_trips.push(arrived - client.sent.take().expect("an answer to something"));
        }
    }
    seen
}

/// Connections of MQTT 3.1.1 with a clean session and no keep alive, and the packets that probe them.
fn connect(port: u16, Habit { kind, clients, .. }: Habit, which: usize) -> Vec<Client> {
    let id = |n| format!("reference-{which}-{}-{n}", kind.name());
    let text = |text: &str| [&[0, text.len() as u8], text.as_bytes()].concat();
    let topic = |n| text(&format!("reference/{}", id(n)));
    let packet = |first: u8, body: Vec<u8>| [vec![first, body.len() as u8], body].concat();
    let probe = |n| match kind {
        ProbeKind::Heartbeat | ProbeKind::Off => vec![0xc0, 0],
        ProbeKind::Ack => packet(0x32, [topic(n), vec![0, 1], b"mqfleet".to_vec()].concat()),
        ProbeKind::Echo => packet(0x30, [topic(n), b"mqfleet0123456789abcdef".to_vec()].concat()),
    };
    let open = |n| {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the way to the broker");
        stream.set_nodelay(true).expect("a socket of our own");
        Client { stream, probe: probe(n), sent: None }
    };
    let mut all: Vec<Client> = (0..clients).map(open).collect();
    exchange(&mut all, 2, |n| packet(0x10, [text("MQTT"), vec![4, 2, 0, 0], text(&id(n))].concat()));
    if kind == ProbeKind::Echo {
        exchange(&mut all, 9, |n| packet(0x82, [vec![0, 1], topic(n), vec![0]].concat()));
    }
    for client in &all {
        client.stream.set_nonblocking(true).expect("a socket of our own");
    }
    all
}

/// Has all send a packet and wait for the answer, which must be of this type.
fn exchange(clients: &mut [Client], answer: u8, packet: impl Fn(usize) -> Vec<u8>) {
    for (n, client) in clients.iter_mut().enumerate() {
        client.stream.write_all(&packet(n)).expect("to send");
    }
    let mut bytes = [0; 256];
    for client in clients {
        let n = client.stream.read(&mut bytes).expect("an answer");
        assert!(n >= 2 && bytes[0] >> 4 == answer, "{:?} instead of an answer of type {answer}", &bytes[..n]);
    }
}
