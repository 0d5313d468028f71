//! The real program without a screen, for benchmarks of large fleets: how many of its clients are up by its own lines, which it counts and does not keep; what it costs is read elsewhere.

use std::{
    ffi::OsStr,
    io::{self, BufRead, BufReader, ErrorKind},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use mqfleet_test_support::{
    process::{children, signal},
    program,
};
use rustix::process::Signal;

/// A running program. It is told to end with its owner, and waited for with all its workers.
pub struct Program {
    child: Child,
    lines: Arc<Lines>,
}

/// What its lines told so far.
#[derive(Debug, Default)]
struct Lines {
    rose: AtomicUsize,
    fell: AtomicUsize,
    is_over: AtomicBool,
}

impl Program {
    /// What it may take to say goodbye to all its brokers.
    const GOODBYE: Duration = Duration::from_secs(30);

    /// Starts `mqfleet run` on this fleet file.
    pub fn run(file: &OsStr) -> io::Result<Program> {
        let mut child = Command::new(program())
            .arg("run")
            .arg(file)
            .args(["--format", "json"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let (lines, out) = (Arc::<Lines>::default(), child.stdout.take());
        let counted = lines.clone();
        thread::spawn(move || {
            let lines = out.into_iter().flat_map(|out| BufReader::with_capacity(1 << 20, out).lines());
            for line in lines.map_while(Result::ok) {
                counted.rose.fetch_add(line.contains(r#""to":"up""#).into(), Ordering::SeqCst);
                counted.fell.fetch_add(line.contains(r#""from":"up""#).into(), Ordering::SeqCst);
            }
            counted.is_over.store(true, Ordering::SeqCst);
        });
        Ok(Program { child, lines })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn workers(&self) -> Vec<u32> {
        children(self.id())
    }

    /// Clients that are up, as far as the program told.
    pub fn up(&self) -> usize {
        self.lines.rose.load(Ordering::SeqCst).saturating_sub(self.fell())
    }

    /// Clients that were up and then were not.
    pub fn fell(&self) -> usize {
        self.lines.fell.load(Ordering::SeqCst)
    }

    /// Waits until this many are up.
    ///
    /// # Errors
    /// Where that takes too long, or the program ends before.
    pub fn wait_up(&self, clients: usize, patience: Duration) -> io::Result<()> {
        let begin = Instant::now();
        while self.up() < clients {
            let words = match (begin.elapsed() > patience, self.lines.is_over.load(Ordering::SeqCst)) {
                (_, true) => "it ended",
                (true, _) => "it takes too long",
                _ => {
                    thread::sleep(Duration::from_millis(20));
                    continue;
                }
            };
            let words = format!("{} of {clients} are up, {} fell, and {words}", self.up(), self.fell());
            return Err(io::Error::new(ErrorKind::TimedOut, words));
        }
        Ok(())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let workers = self.workers();
        signal(self.id(), Signal::TERM);
        let begin = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && begin.elapsed() < Self::GOODBYE {
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        // They end with it, by themselves.
        let is_there = |id: &u32| std::path::Path::new("/proc").join(id.to_string()).exists();
        while workers.iter().any(is_there) && begin.elapsed() < Self::GOODBYE {
            thread::sleep(Duration::from_millis(20));
        }
    }
}
