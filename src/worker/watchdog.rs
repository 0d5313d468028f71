//! Defines the thread that ends this process when nothing else can any more; the orderly end is the driver's.

use std::{
    io::{self, Write},
    os::fd::OwnedFd,
    process,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Signal, getpid, kill_process},
};

/// How long the orderly end may take once the console is gone or told us to stop.
const GRACE: Duration = Duration::from_secs(2);

/// Looks at the driver's beats that find none, one a second, after which Paho counts as hung: then
/// every client here is dead, and a new worker is the only cure.
const MISSED: u32 = 30;

/// The driver's sign of life.
#[derive(Clone, Default)]
pub(super) struct Beat(Arc<AtomicU64>);

impl Beat {
    /// To be called at least once a second.
    pub(super) fn tick(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Ends the process [`GRACE`] after the other end of `link` closes, and when `beat` stops.
pub(super) fn start(link: OwnedFd, beat: Beat) -> std::io::Result<()> {
    thread::Builder::new().name("watchdog".into()).stack_size(64 << 10).spawn(move || watch(&link, &beat))?;
    Ok(())
}

fn watch(link: &OwnedFd, beat: &Beat) {
    let second = Timespec { tv_sec: 1, tv_nsec: 0 };
    let (mut last, mut missed) = (0, 0);
    loop {
        let mut fds = [PollFd::new(link, PollFlags::RDHUP)];
        match poll(&mut fds, Some(&second)) {
            Ok(0) | Err(Errno::INTR) => {}
            // The console closed its end, or the descriptor is none of ours.
            Ok(_) | Err(_) => {
                thread::sleep(GRACE);
                die(&format!("still here {} s after the console went", GRACE.as_secs()));
            }
        }
        let now = beat.0.load(Ordering::Relaxed);
        missed = if now == last { missed + 1 } else { 0 };
        last = now;
        if missed >= MISSED {
            die(&format!("no sign of life from Paho for {MISSED} s"));
        }
    }
}

/// Kills the process in [`GRACE`], whatever hangs by then.
pub(super) fn end_within_grace() {
    // Where no thread can be had the orderly end has to do.
    let _ = thread::Builder::new().stack_size(64 << 10).spawn(|| {
        thread::sleep(GRACE);
        die("the orderly end took too long");
    });
}

/// No destructor and no `atexit` handler may wait for a lock that a hung thread holds.
fn die(why: &str) -> ! {
    // `eprintln!` would panic, and end this thread instead of the process: with the console gone
    // nobody holds the other end of standard error any more.
    let _ = writeln!(io::stderr(), "worker: {why}: killing myself");
    let _ = kill_process(getpid(), Signal::KILL);
    process::abort()
}
