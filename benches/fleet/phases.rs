//! A contender of the fleet benchmark in a process of its own: the lines by which it tells its phases, and how it is started, led through them and ended; what it does in them is its own matter.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::Duration,
};

use mqfleet::clock::Moment;
use mqfleet_test_support::process::cpu;

/// The contender's own side.
#[derive(Debug, Default)]
pub struct Phases;

impl Phases {
    /// All are connected; waits for the word to publish.
    pub fn up(&self, begin: Moment, end: Moment) -> io::Result<()> {
        say(begin, end)?;
        io::stdin().read_exact(&mut [0])
    }

    /// All is acknowledged; waits for the word to end.
    pub fn burst(&self, begin: Moment, end: Moment) -> io::Result<()> {
        say(begin, end)?;
        io::stdin().read(&mut [0]).map(drop)
    }
}

fn say(begin: Moment, end: Moment) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{} {}", begin.0, end.0)?;
    out.flush()
}

/// What one run came to; a phase that took too long is missing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    /// From the start of the program to the last CONNACK.
    pub from_start: Option<Duration>,
    /// From the first connect to the last CONNACK.
    pub connects: Option<Duration>,
    /// The CPU time of all that hold connections, from their start to the last CONNACK.
    pub cpu: Option<Duration>,
    /// The same of clients that probe from when they are up, where there was such a run.
    pub probing_cpu: Option<Duration>,
    /// From the first PUBLISH to the last PUBACK.
    pub burst: Option<Duration>,
}

/// Runs a contender: this same program with `args`. It is ended where a phase takes longer than `patience`.
pub fn run(args: &[String], patience: Duration) -> io::Result<Times> {
    let start = Moment::now();
    let mut child = Guarded(
        Command::new(std::env::current_exe()?).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?,
    );
    let (mut word, out) = (child.0.stdin.take(), child.0.stdout.take());
    let (sender, phases) = channel();
    std::thread::spawn(move || {
        for line in out.into_iter().flat_map(|out| BufReader::new(out).lines()).map_while(Result::ok) {
            let moments: Vec<u64> = line.split(' ').filter_map(|n| n.parse().ok()).collect();
            if let [begin, end] = moments[..] {
                let _ = sender.send((Moment(begin), Moment(end)));
            }
        }
    });
    let mut times = Times::default();
    if let Some((begin, end)) = next(&phases, patience)? {
        times.from_start = Some(end.since(start));
        times.connects = Some(end.since(begin));
        times.cpu = Some(cpu(child.0.id()));
        std::thread::sleep(SETTLE);
        if let Some(word) = &mut word {
            word.write_all(b"!")?;
        }
        times.burst = next(&phases, patience)?.map(|(begin, end)| end.since(begin));
    }
    Ok(times)
}

/// Until the broker and everybody else have calmed down after the connects.
pub const SETTLE: Duration = Duration::from_millis(500);

fn next(phases: &Receiver<(Moment, Moment)>, patience: Duration) -> io::Result<Option<(Moment, Moment)>> {
    match phases.recv_timeout(patience) {
        Ok(phase) => Ok(Some(phase)),
        Err(RecvTimeoutError::Timeout) => Ok(None),
        Err(RecvTimeoutError::Disconnected) => Err(io::Error::other("the contender ended early; see above")),
    }
}

/// A process that ends with its owner.
pub struct Guarded(pub Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
