//! What it costs to read a query, and to ask it of every client of a large fleet.

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use mqfleet::{
    clock::Moment,
    event::{Event, Reason, Sample, State, Transition, What},
    fleet::{Client, ClientKey, Endpoint, EndpointKey, Fleet, Labels, ProbeKind, Settings},
    model::Known,
    query::Query,
    text::Scrubbed,
};
use mqfleet_test_support::{
    process,
    report::{Runs, Table, count, setting, time, verdict},
};

/// Milliseconds that a query of a fleet of 100,000 may take.
const AIM: f64 = 50.0;

const QUERIES: [&str; 9] = [
    "press-0042",
    "nobody-is-called-so",
    "~hall-(3|4)/.*3$",
    "state:rej,wait endpoint:eu-2",
    "id:*/hall-20/* -state:up",
    "label.site:hall-3 or reason:connection",
    "reconnects<1 up<5m",
    "p99>250ms",
    "(p50<20ms p99>250ms) or why:lost or loss>1%",
];

fn main() {
    let (rows, rounds) = (setting("MQFLEET_BENCH_ROWS", 100_000), setting("MQFLEET_BENCH_FRAMES", 20));
    println!("query: {} clients, each query {rounds} times", count(rows));
    println!("  {}", process::machine());
    println!("  CPU time of the asking thread: neighbours on the machine do not count\n");
    let now = Moment(1_000_000_000);
    let known = known(rows, now);
    let now = now + Duration::from_secs(60);
    let mut table = Table::new(["query", "meant", "read", "p50", "longest", ""]);
    for text in QUERIES {
        let (mut reads, mut runs, mut meant) = (Runs::default(), Runs::default(), 0);
        for _ in 0..rounds {
            let begin = Instant::now();
            let query = black_box(Query::parse(text));
            reads.push_time(begin.elapsed());
            let Ok(query) = query else { continue };
            let begin = cpu_time();
            meant = known.fleet().keys().filter(|key| query.matches(&known.facts(*key, now))).count();
            runs.push_time(cpu_time().saturating_sub(begin));
        }
        let judged = verdict(runs.median() * 1e3, AIM, "ms");
        let figures = [reads.median(), runs.median(), runs.quantile(1.0)].map(time);
        let [read, median, longest] = figures;
        table.row([text.to_owned(), count(meant), read, median, longest, judged]);
    }
    table.print();
}

fn cpu_time() -> Duration {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
}

/// A fleet of which each client was answered a few times, and some are down.
fn known(rows: usize, now: Moment) -> Known {
    let settings = Arc::new(Settings::default());
    let labels: Vec<Arc<Labels>> = (0..40)
        .map(|n| Arc::new(Labels::from([(Scrubbed::new("site"), Scrubbed::new(&format!("hall-{n}")))])))
        .collect();
    let client = |n: usize| Client {
        labels: labels[n % 40].clone(),
        ..Client::new(&format!("plant-7/hall-{}/press-{n:06}", n % 40), EndpointKey((n % 4) as u16), settings.clone())
    };
    let fleet = Fleet {
        name: Scrubbed::new("bench"),
        env: None,
        worker_size: 500,
        endpoints: (0..4).map(|n| Endpoint::new(&format!("eu-{n}"), "192.0.2.1", 1883)).collect(),
        clients: (0..rows).map(client).collect(),
    };
    let mut known = Known::new(Arc::new(fleet), now);
    for n in 0..rows {
        let client = ClientKey(n as u32);
        let mut go = |from, to, reason| {
            let endpoint = EndpointKey((n % 4) as u16);
            let detail = Scrubbed::new(if to == State::Up { "" } else { "closed by peer" });
            let what =
                What::State(Transition { client, endpoint, from, to, reason, detail, attempt: 1, next_try: None });
            known.apply(&Event { at: now, what });
        };
        go(State::Off, State::Up, Reason::Connected);
        for k in 0..5 {
            let rtt = Duration::from_micros(300 + (n * (k + 1) % 400_000) as u64);
            let what = What::Sample(Sample { client, probe: ProbeKind::Heartbeat, rtt });
            known.apply(&Event { at: now + Duration::from_secs(5 * k as u64), what });
        }
        if n % 10 == 0 {
            let endpoint = EndpointKey((n % 4) as u16);
            let (detail, reason) = (Scrubbed::new("closed by peer"), Reason::ConnectionLost);
            let (from, to) = (State::Up, State::Backoff);
            let what =
                What::State(Transition { client, endpoint, from, to, reason, detail, attempt: 1, next_try: None });
            known.apply(&Event { at: now + Duration::from_secs(30), what });
        }
    }
    known
}
