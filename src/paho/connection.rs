//! Defines one connection as both its sides see it: Paho, which reads and writes whole packets, and the task that carries bytes to and from the broker.
//!
//! What is malformed, too large or out of turn ends the connection here and never reaches Paho.

mod inbound;

use std::{
    ffi::c_int,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{runtime::Handle, sync::Notify};
use tracing::debug;

use super::{
    carry,
    cause::Way,
    connections::{CONNECTIONS, Connections, Ready},
    slots::{End, Slots},
    socket::Current,
};
use crate::{
    clock::Moment,
    event::{Generation, Tcp},
    fleet::Protocol,
    mqtt::{self, Inspector, Sent},
    transport::{Socket, Stream},
    wire::Slot,
};

/// A connection of one slot, from the moment that it can carry MQTT to the moment that it is closed.
pub(super) struct Connection {
    pub number: c_int,
    slots: Arc<Slots>,
    slot: Slot,
    generation: Generation,
    protocol: Protocol,
    maximum_packet_size: u32,
    way: Way,
    /// Whether the bytes of MQTT are those of the socket, so that Paho's threads write them themselves.
    is_plain: bool,
    state: Mutex<State>,
    /// Tells the task that there is something to write, room to read, or an end.
    pub changed: Notify,
}

struct State {
    /// Until the task is done, which closes it.
    socket: Option<Socket>,
    inspector: Inspector,
    /// Packets for Paho, of which it has `taken` bytes.
    inbox: Vec<u8>,
    taken: usize,
    /// For the broker. Of a plain connection the rest of a packet and what Paho acknowledges after it.
    outbox: Vec<u8>,
    /// The task has more of that, which has to go first.
    is_writing: bool,
    /// The length of the packet that is not complete yet, as far as it came.
    partial: usize,
    /// What the process has counted for this connection, in bytes.
    held: usize,
    /// Whether nothing is read until Paho has taken some of that.
    is_paused: bool,
    /// Whether it is in Paho's queue.
    is_queued: bool,
    /// Whether Paho was told to wait with what it writes.
    is_held_up: bool,
    /// Packets that it has read since then: it keeps the answer to each.
    unsent: u32,
    is_up: bool,
    /// Nothing comes any more: Paho is told so after what came before.
    is_over: bool,
    /// Paho has let go.
    is_closed: bool,
    /// It is to be closed without a word to the broker.
    is_cut: bool,
    /// When anything came last, and when Paho sent anything.
    heard: Moment,
    sent: Moment,
    /// The keep alive that holds, the broker's where it set one (MQTT 5.0 §3.2.2.3.14); zero for none.
    keep_alive: Duration,
}

/// What the task is to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wants {
    /// So many bytes at most; one that is small does not suffer from what others hold.
    pub read: usize,
    pub write: bool,
    /// Paho has let go: what is to be written is the last.
    pub close: bool,
    /// There is nothing more to carry.
    pub end: bool,
    /// Nothing more may be said to the broker.
    pub cut: bool,
}

/// What a connection is for.
pub(super) struct Purpose {
    pub slots: Arc<Slots>,
    pub slot: Slot,
    pub generation: Generation,
    pub protocol: Protocol,
    /// In bytes.
    pub maximum_packet_size: u32,
    pub way: Way,
}

impl Connection {
    /// While more than this waits for Paho nothing is read, in bytes.
    const INBOX: usize = 64 << 10;
    /// While this much waits to go through TLS or a WebSocket Paho may not write, in bytes.
    const OUTBOX: usize = 16 << 10;
    /// When so many packets came to a client whose answers the broker does not read, Paho is given no more.
    const UNSENT: u32 = 256;
    /// What an empty buffer may keep, in bytes.
    const KEPT: usize = 512;

    /// Makes it known to Paho, and has a task of `runtime` carry what goes over `stream`.
    pub(super) fn open(stream: Stream, purpose: Purpose, runtime: &Handle) -> Arc<Connection> {
        let Purpose { slots, slot, generation, protocol, maximum_packet_size, way } = purpose;
        let state = State {
            socket: Some(stream.socket().clone()),
            inspector: Inspector::new(protocol, maximum_packet_size),
            inbox: Vec::new(),
            taken: 0,
            outbox: Vec::new(),
            is_writing: false,
            partial: 0,
            held: 0,
            is_paused: false,
            is_queued: false,
            is_held_up: false,
            unsent: 0,
            is_up: false,
            is_over: false,
            is_closed: false,
            is_cut: false,
            heard: Moment::now(),
            sent: Moment::now(),
            keep_alive: Duration::ZERO,
        };
        let connection = CONNECTIONS.add(|number| {
            Arc::new(Connection {
                number,
                slots,
                slot,
                generation,
                protocol,
                maximum_packet_size,
                way,
                is_plain: matches!(stream, Stream::Plain(_)),
                state: Mutex::new(state),
                changed: Notify::new(),
            })
        });
        runtime.spawn(carry::carry(connection.clone(), stream));
        connection
    }

    /// What the kernel says of it; `None` once it is closed, and for a Unix socket.
    pub(super) fn tcp(&self) -> Option<Tcp> {
        self.state().socket.as_ref()?.tcp()
    }

    /// When anything came from the broker last.
    pub(super) fn heard(&self) -> Moment {
        self.state().heard
    }

    /// When it will have been idle in one direction for as long as its keep alive; `None` where that is never.
    pub(super) fn idle_at(&self) -> Option<Moment> {
        let state = self.state();
        let is_kept = !state.keep_alive.is_zero() && !state.is_over && !state.is_closed;
        is_kept.then(|| state.sent.min(state.heard) + state.keep_alive)
    }

    /// Whether nothing is left of it but what Paho may still have to read.
    pub(super) fn is_gone(&self) -> bool {
        self.state().socket.is_none()
    }

    /// Paho sends a packet.
    pub(super) fn send(&self, packet: &[u8]) {
        let mut state = self.state();
        if state.is_closed {
            return;
        }
        if state.is_over {
            // An end before Paho knew the connection found nobody to be told.
            return self.queue(&mut state);
        }
        state.sent = Moment::now();
        let mut rest = packet;
        if self.is_plain {
            // Before it goes: an answer may have come before the kernel returns.
            self.inspect(&mut state, packet);
            if state.is_written() {
                // What does not go out now the task writes, and tells why where it cannot.
                let written = state.socket.as_ref().and_then(|socket| socket.try_write(rest).ok());
                rest = &rest[written.unwrap_or(0)..];
            }
        }
        if !rest.is_empty() {
            state.outbox.extend_from_slice(rest);
            state.count();
            self.changed.notify_one();
        }
    }

    /// Whether Paho may send.
    pub(super) fn may_send(&self) -> bool {
        let mut state = self.state();
        let may = self.has_room(&state);
        state.is_held_up |= !may;
        may
    }

    fn has_room(&self, state: &State) -> bool {
        if self.is_plain { state.is_written() } else { state.outbox.len() < Self::OUTBOX }
    }

    /// Takes out what waits for the broker, for the task to write at once.
    pub(super) fn take_output(&self, output: &mut Vec<u8>) {
        let mut state = self.state();
        *output = std::mem::take(&mut state.outbox);
        state.is_writing = true;
        if !self.is_plain {
            let mut rest = &output[..];
            while let Ok(Some(length)) = mqtt::frame(rest, u32::MAX) {
                self.inspect(&mut state, &rest[..length]);
                rest = &rest[length..];
            }
        }
        self.freed(state);
    }

    /// The task has written all that it took.
    pub(super) fn put_out(&self) {
        let mut state = self.state();
        state.is_writing = false;
        self.freed(state);
    }

    /// Lets Paho go on where it waits for room.
    fn freed(&self, mut state: MutexGuard<'_, State>) {
        state.count();
        if self.has_room(&state) && std::mem::take(&mut state.is_held_up) {
            CONNECTIONS.push(Ready::Write(self.number));
            state.unsent = 0;
            self.offer(&mut state);
        }
    }

    /// Puts the next packet into `current`, or nothing where the connection is over; false where there is
    /// neither.
    pub(super) fn read(&self, current: &mut Current) -> bool {
        let mut state = self.state();
        state.is_queued = false;
        let waiting = &state.inbox[state.taken..];
        let length = mqtt::frame(waiting, u32::MAX).ok().flatten();
        let Some(length) = length else {
            current.begin(self.number);
            return state.is_over;
        };
        current.begin(self.number);
        current.packet.extend_from_slice(&waiting[..length]);
        state.taken += length;
        if state.taken == state.inbox.len() {
            state.taken = 0;
            state.inbox.clear();
            state.inbox.shrink_to(Self::KEPT);
        } else if state.taken >= Self::INBOX {
            // Under load it is never empty: what was taken has to go all the same.
            let taken = std::mem::take(&mut state.taken);
            state.inbox.drain(..taken);
        }
        state.unsent += u32::from(state.is_held_up);
        state.count();
        self.offer(&mut state);
        if state.is_paused && !self.must_pause(&state) {
            state.is_paused = false;
            self.changed.notify_one();
        }
        true
    }

    /// Paho has closed it.
    pub(super) fn closed(&self) {
        let mut state = self.state();
        state.is_closed = true;
        let is_own = !state.is_over;
        drop(state);
        if is_own {
            self.slots.closed(self.slot, self.generation, Moment::now());
        }
        self.changed.notify_one();
    }

    /// Ends it at once, without a reason that anybody is told.
    pub(super) fn cut(&self) {
        let mut state = self.state();
        state.is_cut = true;
        self.over(&mut state);
        drop(state);
        self.changed.notify_one();
    }

    pub(super) fn wants(&self) -> Wants {
        let mut state = self.state();
        state.is_paused = self.must_pause(&state);
        let room =
            if CONNECTIONS.is_full() { Connections::SPARED.saturating_sub(state.held).max(1) } else { usize::MAX };
        let write = !state.outbox.is_empty() && !state.is_cut;
        Wants {
            read: if state.is_over || state.is_closed || state.is_paused { 0 } else { room },
            write,
            close: state.is_closed,
            cut: state.is_cut,
            end: state.is_cut || (state.is_over || state.is_closed) && !write,
        }
    }

    /// Whether what waits for Paho here has to be taken before more is read: because it is much, because the
    /// process has no room for more, or because the broker does not read.
    fn must_pause(&self, state: &State) -> bool {
        let waiting = state.waiting();
        waiting >= Self::INBOX || waiting > 0 && (CONNECTIONS.is_full() || state.is_choked())
    }

    /// The task is done.
    pub(super) fn gone(&self) {
        let mut state = self.state();
        (state.socket, state.partial) = (None, 0);
        state.count();
        drop(state);
        self.slots.mark(self.slot);
    }

    fn end_in(&self, state: &mut State, end: End) {
        if !state.is_over {
            debug!(connection = self.number, slot = self.slot, generation = self.generation, ?end, "connection ends");
            self.slots.end(self.slot, self.generation, end);
            self.over(state);
        }
    }

    fn over(&self, state: &mut State) {
        state.is_over = true;
        state.outbox = Vec::new();
        self.queue(state);
    }

    /// Has Paho read what there is for it.
    fn offer(&self, state: &mut State) {
        if state.is_over || state.waiting() > 0 && !state.is_choked() {
            self.queue(state);
        }
    }

    fn queue(&self, state: &mut State) {
        if !std::mem::replace(&mut state.is_queued, true) {
            CONNECTIONS.push(Ready::Read(self.number));
        }
    }

    /// Notes what goes to the broker, just before it goes.
    fn inspect(&self, state: &mut State, packet: &[u8]) {
        let now = Moment::now();
        let sent = state.inspector.sent(packet, now);
        if let Sent::Connect { keep_alive } = sent {
            state.keep_alive = Duration::from_secs(keep_alive.into());
        }
        self.slots.sent(self.slot, self.generation, &sent, now);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every state that a panic can leave is one that a connection may end in.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether all that Paho sent is on its way.
    fn is_written(&self) -> bool {
        self.outbox.is_empty() && !self.is_writing
    }

    fn waiting(&self) -> usize {
        self.inbox.len() - self.taken
    }

    /// Whether Paho holds back as many answers as it may.
    fn is_choked(&self) -> bool {
        self.is_held_up && self.unsent >= Connection::UNSENT
    }

    /// Has the process count what is held; false where that is too much.
    fn count(&mut self) -> bool {
        let now = self.waiting() + self.outbox.len() + self.partial;
        CONNECTIONS.hold(std::mem::replace(&mut self.held, now), now)
    }
}

impl Drop for State {
    fn drop(&mut self) {
        CONNECTIONS.hold(self.held, 0);
    }
}
