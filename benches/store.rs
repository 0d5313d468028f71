//! What a store costs and how late its readers are, with a real Redis and 100,000 rows: from a change on the bus until another program has read it, all rows written and read, and the store's memory; judged by the aims beside the figures.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::{
        Arc,
        mpsc::{Receiver, channel},
    },
    time::{Duration, Instant},
};

use chrono::Utc;
use mqfleet::{
    bus::Bus,
    clock::{Anchor, Moment},
    event::{Event, Reason, Sample, State, Transition, What},
    fleet::{Client, ClientKey, Endpoint, EndpointKey, Fleet, Labels, ProbeKind},
    store::{self, Store},
    telling::{self, Servers},
    text::Scrubbed,
};
use mqfleet_test_support::{
    SOON, process,
    redis::{self, Redis},
    report::{Runs, Table, count, setting, verdict},
};

/// Changes a second, and for how long each.
const RATES: [usize; 3] = [1_000, 5_000, 20_000];
const LASTING: Duration = Duration::from_secs(10);
/// Aims: milliseconds from a change to a reader at 5,000 changes/s, p99; MB of the store with 100,000 rows; seconds to
/// write all rows anew, and to read them.
const AIM_READER: f64 = 50.0;
const AIM_MEMORY: f64 = 40.0;
const AIM_WRITE: f64 = 2.0;
const AIM_READ: f64 = 1.0;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    if !redis::is_there() {
        return;
    }
    let clients = setting("MQFLEET_BENCH_CLIENTS", 100_000);
    println!("store: {clients} clients");
    println!("  {}", process::machine());
    let redis = Redis::start();
    let empty = used(&redis);
    let labels = Arc::new(Labels::from([(Scrubbed::new("site"), Scrubbed::new("hall-3"))]));
    let settings = Arc::default();
    let client = |n: usize| Client {
        labels: labels.clone(),
        ..Client::new(&format!("press-{n:06}"), EndpointKey(0), Arc::clone(&settings))
    };
    let fleet = Arc::new(Fleet {
        name: Scrubbed::new("bench"),
        env: None,
        worker_size: 1_000,
        endpoints: vec![Endpoint::new("eu-1", "127.0.0.1", 1883)],
        clients: (0..clients).map(client).collect(),
    });
    let bus = Bus::new(Anchor::now());
    let place = telling::Store::new(Servers::One("127.0.0.1".into(), redis.port()), "hall-3");
    let store = Store::start(place.clone(), fleet, &bus).expect("a thread");
    let heard = subscribe(&redis);
    for part in (0..clients).collect::<Vec<_>>().chunks(500) {
        bus.publish(part.iter().map(|&n| step(n, State::Connecting, State::Up, "")));
        bus.publish(part.iter().map(|&n| {
            let (client, probe) = (ClientKey(n as u32), ProbeKind::Ack);
            let rtt = Duration::from_micros(300 + n as u64 % 5_000);
            Event { at: Moment::now(), what: What::Sample(Sample { client, probe, rtt }) }
        }));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let key = "mqfleet:{bench}:rows:hall-3";
    wait("all rows are there", || redis.cli(&["HLEN", key]) == clients.to_string()).await;
    // Rows with all that an answer brings: of each client within 30 s.
    for _ in 0..31 {
        bus.publish([Event { at: Moment::now(), what: What::Second(Utc::now()) }]);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    redis.cli(&["DEL", "mqfleet:{bench}:events"]);
    let memory = (used(&redis) - empty) as f64 / 1e6;
    println!("  rows: {memory:.1} MB in the store ({})", verdict(memory, AIM_MEMORY, "MB"));
    println!("  a row: {}", redis.cli(&["HGET", key, "press-000007"]));
    while heard.try_recv().is_ok() {}

    let mut table = Table::new(["changes/s", "read", "p50", "p99", "slowest", ""]);
    for rate in RATES {
        let begin = Instant::now();
        let mut sent = 0;
        while begin.elapsed() < LASTING {
            let due = (begin.elapsed().as_secs_f64() * rate as f64) as usize;
            bus.publish((sent..due).map(|n| {
                let (from, to) = if (n / clients).is_multiple_of(2) {
                    (State::Up, State::Backoff)
                } else {
                    (State::Backoff, State::Up)
                };
                step(n % clients, from, to, &format!("t={}", Moment::now().0))
            }));
            sent = due;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let mut times: Vec<u64> = (0..sent).map(|_| heard.recv_timeout(SOON).expect("it is published")).collect();
        times.sort_unstable();
        let at =
            |share: f64| times[((share * times.len() as f64).ceil() as usize).clamp(1, times.len()) - 1] as f64 / 1e3;
        let judged = if rate == 5_000 { verdict(at(0.99), AIM_READER, "ms") } else { String::new() };
        let ms = |share: f64| format!("{:.1} ms", at(share));
        table.row([count(rate), count(times.len()), ms(0.5), ms(0.99), ms(1.0), judged]);
    }
    table.print();

    let mut reading = Runs::default();
    for _ in 0..5 {
        let begin = Instant::now();
        let snapshot = store::read(&place, "bench").await.expect("the rows");
        assert_eq!(snapshot.rows.len(), clients);
        reading.push_time(begin.elapsed());
    }
    println!("  all rows read: {} ({})", reading.times(), verdict(reading.median(), AIM_READ, "s"));
    let mut writing = Runs::default();
    for _ in 0..5 {
        let begin = Instant::now();
        redis.cli(&["FLUSHALL"]);
        wait("all rows are there again", || redis.cli(&["HLEN", key]) == clients.to_string()).await;
        writing.push_time(begin.elapsed());
    }
    println!(
        "  all rows there after FLUSHALL: {} ({})",
        writing.times(),
        verdict(writing.quantile(1.0), AIM_WRITE, "s")
    );
    bus.close();
    assert_eq!(store.finish().await, None);
}

fn step(n: usize, from: State, to: State, detail: &str) -> Event {
    let reason = if to == State::Up { Reason::Connected } else { Reason::ConnectionLost };
    let (client, endpoint, detail) = (ClientKey(n as u32), EndpointKey(0), Scrubbed::new(detail));
    let step = Transition { client, endpoint, from, to, reason, detail, attempt: 1, next_try: None };
    Event { at: Moment::now(), what: What::State(step) }
}

/// The memory that the store uses, in bytes.
fn used(redis: &Redis) -> u64 {
    let info = redis.cli(&["INFO", "memory"]);
    let line = info.lines().find_map(|line| line.trim().strip_prefix("used_memory:").map(str::to_owned));
    line.expect("a figure").parse().expect("a number")
}

async fn wait(what: &str, is_so: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < SOON, "not within {SOON:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Reads what is published as any program would, from a bare socket: how many microseconds after each change.
fn subscribe(redis: &Redis) -> Receiver<u64> {
    let mut stream = TcpStream::connect(redis.address()).expect("a store");
    stream.write_all(b"SUBSCRIBE mqfleet:{bench}:changes\r\n").expect("it reads");
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let (mut bytes, mut buffer) = (Vec::new(), [0; 65_536]);
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            let now = Moment::now().0;
            bytes.extend_from_slice(&buffer[..count]);
            let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            for line in bytes.drain(..end).collect::<Vec<u8>>().split(|byte| *byte == b'\n') {
                let line = String::from_utf8_lossy(line);
                let Some((_, rest)) = line.split_once("\"detail\":\"t=") else { continue };
                let sent: u64 = rest.split('"').next().and_then(|digits| digits.parse().ok()).expect("a time");
                if sender.send(now.saturating_sub(sent)).is_err() {
                    return;
                }
            }
        }
    });
    receiver
}
