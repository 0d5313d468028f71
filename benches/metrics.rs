//! What metrics cost with 100,000 clients: series, a scrape while the fleet answers, and with as many picked clients as the cap allows; judged by the aims beside the figures.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::Utc;
use mqfleet::{
    bus::Bus,
    clock::{Anchor, Moment},
    event::{Event, Reason, Sample, State, Transition, What},
    fleet::{Client, ClientKey, Endpoint, EndpointKey, Fleet, ProbeKind},
    metrics::Metrics,
    telling::{self, Match, Picked, Telling},
    text::Scrubbed,
};
use mqfleet_test_support::{process, report::setting};

const ENDPOINTS: u16 = 6;
/// Aims of the default: series, and the slowest of the scrapes.
const SERIES: usize = 1_000;
const SCRAPE: Duration = Duration::from_millis(20);
const SCRAPES: usize = 200;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let clients = setting("MQFLEET_BENCH_CLIENTS", 100_000);
    println!("metrics: {clients} clients at {ENDPOINTS} endpoints");
    println!("  {}", process::machine());
    let picked = Picked { matching: Match::default(), at_most: Picked::AT_MOST };
    let (series, slowest) = measure(clients, None).await;
    let (capped, _) = measure(clients, Some(picked)).await;
    assert!(series <= SERIES && slowest <= SCRAPE, "aims: {SERIES} series, {SCRAPE:?}");
    assert!(capped <= SERIES + 5 * Picked::AT_MOST, "the cap does not hold");
}

async fn measure(clients: usize, picked: Option<Picked>) -> (usize, Duration) {
    let what = picked.as_ref().map_or("default".to_owned(), |p| format!("all picked, at most {}", p.at_most));
    let endpoint = |n: usize| EndpointKey((n % usize::from(ENDPOINTS)) as u16);
    let settings = Arc::default();
    let fleet = Arc::new(Fleet {
        name: Scrubbed::new("bench"),
        env: None,
        worker_size: 1_000,
        endpoints: (0..ENDPOINTS).map(|n| Endpoint::new(&format!("eu-{n}"), "127.0.0.1", 1883)).collect(),
        clients: (0..clients).map(|n| Client::new(&format!("c{n}"), endpoint(n), Arc::clone(&settings))).collect(),
    });
    let bus = Bus::new(Anchor::now());
    let metrics = telling::Metrics { clients: picked, ..Default::default() };
    let telling = Telling { metrics, ..Default::default() };
    let workers = clients.div_ceil(1_000);
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let metrics = Metrics::start(&telling, Some(listen), fleet.clone(), workers, &bus).expect("it listens");
    // As many processes as there would be workers, all of them this one.
    for worker in 0..workers as u32 {
        let (worker, event) = (mqfleet::fleet::WorkerKey(worker), mqfleet::event::WorkerEvent::Started);
        let detail = mqfleet::event::WorkerEvent::birth(std::process::id(), 1_000);
        bus.publish([Event { at: Moment::now(), what: What::Worker { worker, event, detail } }]);
    }
    let step = move |n: usize, from, to, reason| {
        let (client, endpoint, detail) = (ClientKey(n as u32), endpoint(n), Scrubbed::default());
        let step = Transition { client, endpoint, from, to, reason, detail, attempt: 1, next_try: None };
        Event { at: Moment::now(), what: What::State(step) }
    };
    for part in (0..clients).collect::<Vec<_>>().chunks(1_000) {
        bus.publish(part.iter().map(|&n| step(n, State::Connecting, State::Up, Reason::Connected)));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let reasons = [Reason::ConnectionLost, Reason::KeepAliveTimeout, Reason::SessionTakenOver, Reason::ServerBusy];
    let (mut times, mut last) = (Vec::new(), String::new());
    let fleet_goes_on = tokio::spawn({
        let bus = bus.clone();
        async move {
            for round in 0.. {
                let begin = Instant::now();
                bus.publish((0..clients / 10).map(|n| {
                    let (client, probe) = (ClientKey(((round + n * 10) % clients) as u32), ProbeKind::Ack);
                    let rtt = Duration::from_micros(300 + n as u64 % 5_000);
                    Event { at: Moment::now(), what: What::Sample(Sample { client, probe, rtt }) }
                }));
                bus.publish((0..24).map(|n| step(n, State::Up, State::Backoff, reasons[n % reasons.len()])));
                bus.publish((0..24).map(|n| step(n, State::Backoff, State::Up, Reason::Connected)));
                bus.publish([Event { at: Moment::now(), what: What::Second(Utc::now()) }]);
                tokio::time::sleep(Duration::from_secs(1).saturating_sub(begin.elapsed()) / 4).await;
            }
        }
    });
    let address = metrics.address().expect("it listens");
    while times.len() < SCRAPES {
        let (took, body) = tokio::task::spawn_blocking(move || scrape(address)).await.expect("a scrape");
        if body.starts_with("HTTP/1.1 200") && body.contains("reason=\"server_busy\"") {
            times.push(took);
            last = body;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    fleet_goes_on.abort();
    times.sort();
    let body = last.split_once("\r\n\r\n").expect("a body").1;
    let series = body.lines().filter(|line| !line.starts_with('#')).count();
    let (p50, slowest) = (times[times.len() / 2], *times.last().expect("scrapes"));
    println!(
        "  {what}: {series} series, {} kB; {SCRAPES} scrapes: p50 {p50:.1?}, slowest {slowest:.1?}",
        body.len() / 1_000
    );
    (series, slowest)
}

fn scrape(address: SocketAddr) -> (Duration, String) {
    let begin = Instant::now();
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: l\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    (begin.elapsed(), answer)
}
