//! The real program without a screen for tests: its JSON lines as they come; it knows nothing of terminals.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{SOON, program};

pub struct Headless {
    child: Child,
    heard: Arc<(Mutex<Heard>, Condvar)>,
}

/// What the program has said so far.
#[derive(Default)]
pub struct Heard {
    pub lines: Vec<Value>,
    /// The present state of each client.
    pub states: HashMap<String, String>,
    /// How many clients are in each state.
    counts: HashMap<String, usize>,
    ended: bool,
}

impl Heard {
    pub fn count(&self, state: &str) -> usize {
        self.counts.get(state).copied().unwrap_or(0)
    }

    pub fn of_type<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> + 'a {
        self.lines.iter().filter(move |l| l["type"] == kind)
    }

    fn take(&mut self, line: Value) {
        if line["type"] == "state" {
            let to = line["to"].as_str().expect("a state").to_owned();
            *self.counts.entry(to.clone()).or_default() += 1;
            if let Some(before) = self.states.insert(line["client"].as_str().expect("a client").to_owned(), to) {
                *self.counts.entry(before.clone()).or_default() -= 1;
                assert_eq!(line["from"], before.as_str(), "a step that does not join up: {line}");
            }
        }
        self.lines.push(line);
    }
}

impl Headless {
    /// Starts the program with `--format json` after `args`.
    pub fn start(args: &[&str], env: &[(&str, &str)]) -> Headless {
        Headless::of(Command::new(program()).args(args).envs(env.iter().copied()))
    }

    /// The same, of whatever in the end becomes the program.
    pub fn of(command: &mut Command) -> Headless {
        let mut child = command
            .args(["--format", "json"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let heard = Arc::new((Mutex::new(Heard::default()), Condvar::new()));
        let out = BufReader::new(child.stdout.take().expect("a pipe"));
        let shared = heard.clone();
        std::thread::spawn(move || {
            for line in out.lines() {
                let line = line.expect("UTF-8");
                let value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("not JSON: {e}: {line}"));
                lock(&shared.0).take(value);
                shared.1.notify_all();
            }
            lock(&shared.0).ended = true;
            shared.1.notify_all();
        });
        Headless { child, heard }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn heard(&self) -> MutexGuard<'_, Heard> {
        lock(&self.heard.0)
    }

    /// Waits until what was heard is as wanted.
    #[track_caller]
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&Heard) -> bool) -> MutexGuard<'_, Heard> {
        let end = Instant::now() + SOON;
        let mut heard = self.heard();
        while !wanted(&heard) {
            let left = end.saturating_duration_since(Instant::now());
            let counts = heard.counts.clone();
            if left.is_zero() || heard.ended {
                let last = heard.of_type("state").last().map(ToString::to_string).unwrap_or_default();
                let when = if heard.ended { "before the program ended".to_owned() } else { format!("within {SOON:?}") };
                drop(heard);
                panic!("not heard {when}: {what}; states: {counts:?}; the last step: {last}");
            }
            heard = self.heard.1.wait_timeout(heard, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        heard
    }

    /// Waits until exactly `count` clients are up.
    #[track_caller]
    pub fn wait_up(&self, count: usize) {
        drop(self.wait_for(&format!("{count} up"), |h| h.count("up") == count));
    }

    /// The process IDs of the workers, by their place in the pool, as last told.
    pub fn workers(&self) -> HashMap<u64, u32> {
        let heard = self.heard();
        let told = heard.of_type("worker").filter(|l| l["event"] == "started" || l["event"] == "restarted");
        told.map(|l| {
            let detail = l["detail"].as_str().expect("words");
            let id = detail.strip_prefix("process ").and_then(|d| d.split(',').next()).expect("a process");
            (l["worker"].as_u64().expect("a number"), id.parse().expect("a process ID"))
        })
        .collect()
    }

    #[track_caller]
    pub fn wait_exit(&mut self) -> ExitStatus {
        let end = Instant::now() + SOON;
        loop {
            if let Some(status) = self.child.try_wait().expect("a status") {
                // The reader may be behind.
                while !self.heard().ended && Instant::now() < end {
                    std::thread::sleep(Duration::from_millis(5));
                }
                return status;
            }
            assert!(Instant::now() < end, "the program does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Headless {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lock(heard: &Mutex<Heard>) -> MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}
