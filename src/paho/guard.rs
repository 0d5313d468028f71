//! Defines the guard against Paho's process-wide deadlock; it knows nothing of clients.
//!
//! Paho C 1.3.16 wakes its receive thread by a byte through a socketpair (`Socket_interrupt` in
//! `Socket.c`), often while it holds the mutex that the receive thread needs. The send is blocking:
//! once some 280 bytes are waiting it never returns, and every client of the process is dead. A
//! wake-up that is already pending is all that is wanted, so the send end is made non-blocking.

use std::{
    collections::BTreeSet,
    fs, io,
    os::fd::{AsRawFd, RawFd},
};

use rustix::{
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    net::{AddressFamily, RecvFlags, SendFlags, SocketType, recv, send, sockopt},
};

use super::raw;

/// Why the guard could not be set. A process without it must not connect anything.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    #[error("cannot list the open files in /proc/self/fd: {0}")]
    List(io::Error),
    #[error("expected Paho to open one socketpair, found {0} new AF_UNIX stream sockets")]
    NoPair(usize),
    #[error("cannot tell which end of Paho's socketpair is the sending one: {0} of 2 are blocking")]
    Ends(usize),
    #[error("what looks like Paho's socketpair is not one pair")]
    Strangers,
    #[error("cannot set up Paho's socketpair: {0}")]
    System(#[from] rustix::io::Errno),
}

/// The sockets of this process that look like an end of Paho's socketpair.
pub(super) fn candidates() -> Result<BTreeSet<RawFd>, GuardError> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc/self/fd").map_err(GuardError::List)? {
        let name = entry.map_err(GuardError::List)?.file_name();
        let Some(fd) = name.to_str().and_then(|n| n.parse::<RawFd>().ok()) else { continue };
        let socket = raw::borrow(fd);
        if sockopt::socket_domain(socket) == Ok(AddressFamily::UNIX)
            && sockopt::socket_type(socket) == Ok(SocketType::STREAM)
        {
            found.insert(fd);
        }
    }
    Ok(found)
}

/// The send end of Paho's socketpair, which lives as long as Paho has a client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waker(RawFd);

impl Waker {
    /// Wakes Paho's receive thread, as `Socket_interrupt` does.
    pub fn wake(self) {
        let _ = send(raw::borrow(self.0), &[0], SendFlags::empty()); // where it is full one is pending
    }
}

/// Makes the send end of the socketpair that appeared since `before` non-blocking. Paho itself made
/// the receive end so, which is how the two are told apart.
pub(super) fn arm(before: &BTreeSet<RawFd>) -> Result<Waker, GuardError> {
    let new: Vec<RawFd> = candidates()?.difference(before).copied().collect();
    let [a, b] = new[..] else { return Err(GuardError::NoPair(new.len())) };
    let blocking = |fd| fcntl_getfl(raw::borrow(fd)).map(|f| !f.contains(OFlags::NONBLOCK));
    let (from, to) = match (blocking(a)?, blocking(b)?) {
        (true, false) => (a, b),
        (false, true) => (b, a),
        (x, y) => return Err(GuardError::Ends(usize::from(x) + usize::from(y))),
    };
    let (from, to) = (raw::borrow(from), raw::borrow(to));
    fcntl_setfl(from, fcntl_getfl(from)? | OFlags::NONBLOCK)?;
    // A byte through the pair shows that these two belong together. Nobody reads it but us: Paho
    // starts its threads with the first connect.
    let mut byte = [0];
    let arrived = send(from, &[0x2a], SendFlags::empty())
        .and_then(|_| recv(to, &mut byte, RecvFlags::empty()))
        .is_ok_and(|(n, _)| n == 1 && byte == [0x2a]);
    if arrived { Ok(Waker(from.as_raw_fd())) } else { Err(GuardError::Strangers) }
}
