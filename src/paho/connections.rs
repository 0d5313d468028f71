//! Defines the connections that Paho knows by their number, and the queue of those that it has to read; what one of them is, is in `connection`.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    ffi::c_int,
    sync::{
        Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use rustc_hash::FxHashMap;

use super::{connection::Connection, socket::Current};
use crate::clock::Moment;

/// Keep alives are looked at in steps: to wake Paho's thread costs more than to send a PINGREQ, and with many of
/// them at once the last waits for the first.
const GRID: Duration = Duration::from_millis(50);

/// The time between two looks of Paho's at a PINGREQ that has no answer, or could not be sent.
const LOOK: Duration = Duration::from_millis(200);

/// The connections of this process: Paho is there once in a process, too.
pub(super) static CONNECTIONS: LazyLock<Connections> = LazyLock::new(Connections::default);

#[derive(Default)]
pub(super) struct Connections {
    known: RwLock<FxHashMap<c_int, Arc<Connection>>>,
    /// The number that was given last. Two thousand million connects are enough for any worker's life.
    last: AtomicI32,
    queue: Mutex<Queue>,
    /// Paho's receive thread waits here.
    filled: Condvar,
    /// When that thread was here last, in microseconds.
    cycled: AtomicU64,
    /// What is held for all of them, in bytes.
    held: AtomicUsize,
}

/// Each connection is in it once to be read; to be written again each time that it had no room and has some.
#[derive(Default)]
struct Queue {
    ready: VecDeque<Ready>,
    /// When which connection may have been idle for as long as its keep alive, or its PINGREQ unanswered; each
    /// that is up is in it once.
    idle: BinaryHeap<Reverse<(Moment, c_int)>>,
    is_awaited: bool,
    is_woken: bool,
}

/// What Paho can do for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ready {
    /// Read a packet, or its end.
    Read(c_int),
    /// Write again, which it may not have done before.
    Write(c_int),
}

impl Connections {
    /// The most that may wait in all connections for Paho, for the network, or for the rest of a packet, in
    /// bytes. A connection that needs more than [`Connections::SPARED`] beyond it ends.
    pub(super) const HELD_MAX: usize = 64 << 20;
    /// What a connection may hold all the same.
    pub(super) const SPARED: usize = 4 << 10;

    /// Makes a connection known under a number of its own.
    pub(super) fn add(&self, make: impl FnOnce(c_int) -> Arc<Connection>) -> Arc<Connection> {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let connection = make(number);
        self.known.write().unwrap_or_else(PoisonError::into_inner).insert(number, connection.clone());
        connection
    }

    pub(super) fn get(&self, number: c_int) -> Option<Arc<Connection>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(&number).cloned()
    }

    pub(super) fn remove(&self, number: c_int) -> Option<Arc<Connection>> {
        self.known.write().unwrap_or_else(PoisonError::into_inner).remove(&number)
    }

    /// Puts a connection into the queue; who does so sees to it that it is not there yet.
    pub(super) fn push(&self, ready: Ready) {
        let mut queue = self.queue();
        queue.ready.push_back(ready);
        self.notify(queue);
    }

    /// Has Paho's receive thread go round.
    pub(super) fn wake(&self) {
        let mut queue = self.queue();
        queue.is_woken = true;
        self.notify(queue);
    }

    /// Has Paho look at the keep alive of a connection then, or [`GRID`] later; a second from now at the earliest:
    /// its receive thread comes by so often.
    pub(super) fn await_idle(&self, number: c_int, at: Moment) {
        let at = Moment(at.0.next_multiple_of(GRID.as_micros() as u64));
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let mut queue = self.queue();
        // Of those that are gone none may stay for a long keep alive's time.
        if queue.idle.len() > 2 * known.len() + 64 {
            queue.idle.retain(|Reverse((_, number))| known.contains_key(number));
        }
        queue.idle.push(Reverse((at, number)));
    }

    /// Those connections that were idle for as long as their keep alive, and those that may not be answered.
    pub(super) fn take_idle(&self) -> Vec<c_int> {
        let now = Moment::now();
        let mut queue = self.queue();
        let mut idle = Vec::new();
        while queue.idle.peek().is_some_and(|Reverse((at, _))| *at <= now)
            && let Some(Reverse((_, number))) = queue.idle.pop()
        {
            idle.push(number);
        }
        drop(queue);
        // Most have sent and heard something since they were put there.
        idle.retain(|&number| match self.get(number).and_then(|connection| connection.idle_at()) {
            Some(at) if at > now => {
                self.await_idle(number, at);
                false
            }
            at => at.is_some(),
        });
        idle
    }

    /// Paho has looked at the keep alives of these.
    pub(super) fn looked_at(&self, numbers: &[c_int]) {
        let again = Moment::now() + LOOK;
        for &number in numbers {
            if let Some(at) = self.get(number).and_then(|connection| connection.idle_at()) {
                self.await_idle(number, at.max(again));
            }
        }
    }

    /// Waits until there is something for Paho to do, and puts what it has to read into `current`.
    pub(super) fn next(&self, patience: Duration, current: &mut Current) -> Option<Ready> {
        self.cycled.store(Moment::now().0, Ordering::Relaxed);
        let deadline = Instant::now() + patience;
        loop {
            let ready = self.pop(deadline)?;
            let Ready::Read(number) = ready else { return Some(ready) };
            // One that Paho has closed meanwhile is gone.
            if self.get(number).is_some_and(|connection| connection.read(current)) {
                return Some(ready);
            }
        }
    }

    fn pop(&self, deadline: Instant) -> Option<Ready> {
        let mut queue = self.queue();
        loop {
            if let Some(ready) = queue.ready.pop_front() {
                return Some(ready);
            }
            let idle = queue.idle.peek().map_or(Duration::MAX, |Reverse((at, _))| at.since(Moment::now()));
            let left = deadline.saturating_duration_since(Instant::now()).min(idle);
            if std::mem::take(&mut queue.is_woken) || left.is_zero() {
                return None;
            }
            queue.is_awaited = true;
            queue = self.filled.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// When Paho's receive thread last asked for something to do.
    pub(super) fn cycled(&self) -> Moment {
        Moment(self.cycled.load(Ordering::Relaxed))
    }

    /// Takes note that a connection holds `now` bytes where it held `before`; false where there is no room.
    pub(super) fn hold(&self, before: usize, now: usize) -> bool {
        if now <= before {
            self.held.fetch_sub(before - now, Ordering::Relaxed);
            return true;
        }
        let all = self.held.fetch_add(now - before, Ordering::Relaxed) + (now - before);
        all <= Self::HELD_MAX || now <= Self::SPARED
    }

    /// Whether there is no room for more.
    pub(super) fn is_full(&self) -> bool {
        self.held.load(Ordering::Relaxed) > Self::HELD_MAX
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Once for each wait: whoever comes next is seen by the thread that was woken.
    fn notify(&self, mut queue: MutexGuard<'_, Queue>) {
        let is_awaited = std::mem::take(&mut queue.is_awaited);
        drop(queue);
        if is_awaited {
            self.filled.notify_one();
        }
    }
}
