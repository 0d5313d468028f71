//! The real program without a screen, for the fleet benchmark: how long its clients take to connect, and to publish all at once; its lines are all it is judged by.

use std::{
    collections::HashSet,
    fs,
    io::{self, BufRead, BufReader},
    process::{Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::Duration,
};

use mqfleet::clock::Moment;
use mqfleet_test_support::{
    process::{children, cpu, signal},
    program,
};
use rustix::process::Signal;

use super::phases::{Guarded, SETTLE, Times};

/// The time between two probes of a client: a worker that is stopped for somewhat longer must not be
/// silent for so long that it is replaced.
const EVERY: Duration = Duration::from_secs(3);

/// What a stamp may be off, in seconds.
const MILLI: f64 = 1e-3;

/// What the clients are for: to connect and be there, as they are by default and as the floor's, or to publish
/// as well.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Connect,
    Publish,
}

/// Runs `mqfleet run` on a fleet of this size and times it: once for the connects, and once more for the burst,
/// since clients that probe already while others connect do more than the floor's.
pub fn run(port: u16, clients: usize, window: usize, patience: Duration) -> io::Result<Times> {
    let connected = once(port, clients, window, Purpose::Connect, patience)?;
    let published = once(port, clients, window, Purpose::Publish, patience)?;
    Ok(Times { burst: published.burst, probing_cpu: published.cpu, ..connected })
}

/// The burst needs no order of its own: every worker is stopped (SIGSTOP) for longer than the time
/// between two probes, so that the next probe of each client falls due meanwhile. When the workers
/// go on, each client publishes at once, on the way that every probe takes.
fn once(port: u16, clients: usize, window: usize, purpose: Purpose, patience: Duration) -> io::Result<Times> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("fleet.toml");
    fs::write(&file, fleet(port, clients, window, purpose))?;
    let start = Moment::now();
    let child = Command::new(program())
        .arg("run")
        .arg(&file)
        .args(["--format", "json", "--samples"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut child = Guarded(child);
    let out = child.0.stdout.take();
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        let lines = out.into_iter().flat_map(|out| BufReader::with_capacity(1 << 20, out).lines());
        for line in lines.map_while(Result::ok) {
            if sender.send((Moment::now(), line)).is_err() {
                return;
            }
        }
    });
    let mut times = Times::default();
    let mut first = None;
    let mut up = 0;
    while up < clients {
        let Some((at, line)) = next(&lines, patience)? else { return Ok(times) };
        if first.is_none() && line.contains(r#""to":"connecting""#) {
            first = Some(at);
        }
        if line.contains(r#""to":"up""#) {
            up += 1;
            times.from_start = Some(at.since(start));
            times.connects = first.map(|first| at.since(first));
        }
    }
    let workers = children(child.0.id());
    times.cpu = Some(workers.iter().map(|&id| cpu(id)).sum());
    if purpose == Purpose::Publish {
        std::thread::sleep(SETTLE);
        times.burst = burst(&workers, &lines, clients, patience)?;
    }
    Ok(times)
}

/// From the first PUBLISH to the last PUBACK, by the stamps of the lines: those of the trace tap, to
/// the millisecond. The few clients whose probe was under way when their worker was stopped count
/// when they get that answer.
fn burst(workers: &[u32], lines: &Lines, clients: usize, patience: Duration) -> io::Result<Option<Duration>> {
    workers.iter().for_each(|&id| signal(id, Signal::STOP));
    std::thread::sleep(EVERY + EVERY / 4);
    while lines.try_recv().is_ok() {}
    let resumed = chrono::Utc::now().timestamp_millis() as f64 / 1e3;
    workers.iter().for_each(|&id| signal(id, Signal::CONT));
    let mut answered = HashSet::new();
    let (mut begin, mut end) = (f64::MAX, 0.0);
    while answered.len() < clients {
        let Some((_, line)) = next(lines, patience)? else { return Ok(None) };
        let Some(sample) = Sample::read(&line) else { continue };
        if sample.at < resumed {
            continue; // answered before, reported after
        }
        if sample.at - sample.rtt > resumed + EVERY.as_secs_f64() / 2.0 {
            break; // the next probes: the trace did not tell of somebody's first
        }
        if sample.at - sample.rtt >= resumed - MILLI {
            begin = f64::min(begin, sample.at - sample.rtt);
            end = f64::max(end, sample.at);
        }
        answered.insert(sample.client);
    }
    let nearly_all = answered.len() >= clients * 999 / 1000;
    Ok(nearly_all.then(|| Duration::from_secs_f64(end - begin)))
}

/// Who was answered, when (in seconds since 1970), and how long it took.
struct Sample {
    client: String,
    at: f64,
    rtt: f64,
}

impl Sample {
    fn read(line: &str) -> Option<Sample> {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        let at = chrono::DateTime::parse_from_rfc3339(line.get("ts")?.as_str()?).ok()?;
        let rtt = line.get("rtt_us")?.as_u64()? as f64 / 1e6;
        Some(Sample { client: line.get("client")?.as_str()?.to_owned(), at: at.timestamp_millis() as f64 / 1e3, rtt })
    }
}

type Lines = Receiver<(Moment, String)>;

fn next(lines: &Lines, patience: Duration) -> io::Result<Option<(Moment, String)>> {
    match lines.recv_timeout(patience) {
        Ok(line) => Ok(Some(line)),
        Err(RecvTimeoutError::Timeout) => Ok(None),
        Err(RecvTimeoutError::Disconnected) => Err(io::Error::other("mqfleet ended early; see above")),
    }
}

fn fleet(port: u16, clients: usize, window: usize, purpose: Purpose) -> String {
    let probe = match purpose {
        Purpose::Connect => r#"{ kind = "heartbeat" }"#.to_owned(),
        Purpose::Publish => format!(r#"{{ kind = "ack", every = "{}s" }}"#, EVERY.as_secs()),
    };
    format!(
        r#"
        [fleet]
        name = "bench"
        [endpoint.here]
        url = "mqtt://127.0.0.1:{port}"
        connect_rate = 100000
        max_connecting = {window}
        [defaults]
        probe = {probe}
        [[client]]
        id = "fleet-%05i"
        count = {clients}
        endpoints = ["here"]
        "#
    )
}
