//! Defines how text goes to standard output and standard error when whoever reads them may be gone; a screen and a run's lines have writers of their own.

use std::{
    io::{self, Write},
    os::fd::AsFd,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Writes a text to standard output. A reader that went away is not an error.
///
/// # Errors
/// Where it cannot be written for any other reason, such as a full disk.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(e),
        _ => Ok(()),
    }
}

/// Writes a line to standard error. Where that cannot be, there is nobody left to tell it to.
pub fn complain(line: &str) {
    let (text, mut out) = (format!("{line}\n"), io::stderr().lock());
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        match out.write(rest) {
            Ok(0) => return,
            Ok(count) => rest = &rest[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Another program that has the same terminal, such as ssh, may have made it so.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && is_soon_ready(&out) => {}
            Err(_) => return,
        }
    }
}

/// Whether more can be written within half a second.
fn is_soon_ready(out: &impl AsFd) -> bool {
    let patience = Timespec { tv_sec: 0, tv_nsec: 500_000_000 };
    poll(&mut [PollFd::new(out, PollFlags::OUT)], Some(&patience)).is_ok_and(|ready| ready > 0)
}
