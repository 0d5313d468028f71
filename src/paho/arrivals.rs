//! Defines when an answer reached this host, whatever Paho is doing then; which answer it is, the tap knows.
//!
//! Paho sends the PINGREQs of all clients that are due in one go, and reads the answers one by one
//! after that: with 500 clients in step its own queue took 11 ms where the broker took 0.1. So a
//! thread of ours waits on the same sockets, without reading, and asks the kernel when that arrived. The
//! thread's own wake-up is late by some 25 µs on an idle machine and by 0.2 ms on a busy one.

use std::{
    io,
    os::fd::{OwnedFd, RawFd},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use rustix::{
    buffer::spare_capacity,
    event::epoll::{self, CreateFlags, EventData, EventFlags},
    io::Errno,
};

use super::raw;
use crate::clock::Moment;

pub(super) struct Arrivals(Arc<Table>);

struct Table {
    epoll: OwnedFd,
    /// By descriptor: when something arrived since it was expected; 0 for nothing, and while something
    /// is expected [`EXPECTED`] and which time that is, so that a late word about an earlier one is told
    /// from it.
    at: Box<[AtomicU64]>,
    /// How often something was expected.
    times: AtomicU64,
}

/// No moment has this bit.
const EXPECTED: u64 = 1 << 63;

impl Arrivals {
    const SOCKETS: usize = 8192;

    pub(super) fn start() -> io::Result<Arrivals> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let table = Arc::new(Table {
            epoll,
            at: (0..Self::SOCKETS).map(|_| AtomicU64::new(0)).collect(),
            times: AtomicU64::new(0),
        });
        let watched = table.clone();
        thread::Builder::new().name("arrivals".into()).stack_size(128 << 10).spawn(move || watched.watch())?;
        Ok(Arrivals(table))
    }

    /// From now on the next arrival on this socket counts; so does what has arrived and was not read.
    /// To be called by Paho's threads only, so that the socket cannot be closed meanwhile; the kernel
    /// forgets it when Paho closes it.
    pub(super) fn expect(&self, socket: RawFd) {
        let Some(at) = self.0.slot(socket) else { return };
        let time = self.0.times.fetch_add(1, Ordering::Relaxed) & u64::from(u32::MAX);
        at.store(EXPECTED | time, Ordering::SeqCst);
        let (fd, data) = (raw::borrow(socket), EventData::new_u64(time << 32 | socket as u64));
        let once = EventFlags::IN | EventFlags::ONESHOT;
        if epoll::modify(&self.0.epoll, fd, data, once) == Err(Errno::NOENT) {
            // Where either fails a stamp of our own has to do.
            raw::socket::stamp(socket);
            let _ = epoll::add(&self.0.epoll, fd, data, once);
        }
    }

    /// When something arrived since [`Arrivals::expect`], if it was seen.
    pub(super) fn take(&self, socket: RawFd) -> Option<Moment> {
        let slot = self.0.slot(socket)?;
        let at = slot.swap(0, Ordering::SeqCst);
        (at != 0 && at & EXPECTED == 0).then_some(Moment(at))
    }

    /// Whether something is expected on this socket that was not taken.
    pub(super) fn expects(&self, socket: RawFd) -> bool {
        self.0.slot(socket).is_some_and(|at| at.load(Ordering::Relaxed) != 0)
    }
}

impl Table {
    fn slot(&self, socket: RawFd) -> Option<&AtomicU64> {
        self.at.get(usize::try_from(socket).ok()?)
    }

    fn watch(&self) {
        let mut events = Vec::with_capacity(256);
        loop {
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return, // from now on the lines' own stamps have to do
            }
            let woken = Moment::now();
            for event in &events {
                let data = event.data;
                let (socket, time) = (data.u64() as u32 as RawFd, data.u64() >> 32);
                // Where Paho has read it already the kernel cannot tell any more.
                let ago = raw::socket::waiting_since(socket).map(|ago| ago.as_micros() as u64);
                let arrived = ago.map_or(woken.0, |ago| Moment::now().0.saturating_sub(ago));
                if let Some(at) = self.slot(socket) {
                    let _ = at.compare_exchange(EXPECTED | time, arrived, Ordering::SeqCst, Ordering::SeqCst);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        os::{fd::AsRawFd, unix::net::UnixStream},
        time::{Duration, Instant},
    };

    use super::*;

    #[test]
    fn an_arrival_is_stamped_though_nobody_reads() {
        let arrivals = Arrivals::start().expect("a thread");
        let (mut far, near) = UnixStream::pair().expect("a pair");
        let socket = near.as_raw_fd();
        for _ in 0..3 {
            arrivals.expect(socket);
            let sent = Moment::now();
            far.write_all(b"x").expect("to write");
            let deadline = Instant::now() + Duration::from_secs(5);
            while arrivals.0.at[socket as usize].load(Ordering::SeqCst) & EXPECTED != 0 {
                assert!(Instant::now() < deadline, "nothing was stamped");
                thread::yield_now();
            }
            let at = arrivals.take(socket).expect("a stamp");
            assert!(at + Duration::from_millis(1) >= sent, "{at:?} is before {sent:?}");
            std::io::Read::read_exact(&mut (&near), &mut [0]).expect("to read");
            assert_eq!(arrivals.take(socket), None);
        }
    }
}
