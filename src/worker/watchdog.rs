//! Defines the thread that ends this process when nothing else can any more; the orderly end is the driver's.

use std::{
    io::{self, Write},
    os::fd::OwnedFd,
    process, thread,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    process::{Signal, getpid, kill_process},
};

/// How long the orderly end may take once the console is gone or told us to stop.
const GRACE: Duration = Duration::from_secs(2);

/// Ends the process [`GRACE`] after the other end of `link` closes. One that hangs while the console is
/// there is the console's to end: it hears no more of it.
pub(super) fn start(link: OwnedFd) -> io::Result<()> {
    thread::Builder::new().name("watchdog".into()).stack_size(64 << 10).spawn(move || watch(&link))?;
    Ok(())
}

fn watch(link: &OwnedFd) {
    let mut fds = [PollFd::new(link, PollFlags::RDHUP)];
    // The console closed its end, or the descriptor is none of ours.
    while let Err(Errno::INTR) = poll(&mut fds, None) {}
    thread::sleep(GRACE);
    die(&format!("still here {} s after the console went", GRACE.as_secs()));
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
