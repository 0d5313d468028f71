//! Defines the table that Paho's callbacks write and the worker reads, one cell a slot; it decides nothing about connections.
//!
//! A callback runs on Paho's threads under Paho's locks. It locks one cell, for a few stores, and
//! marks the slot. The queue of marked slots has room for all of them and no slot is in it twice, so
//! it cannot overflow: what it says may come late, but nothing of it is ever lost.

use std::{
    os::fd::RawFd,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use tokio::sync::mpsc;

use super::tap::Fault;
use crate::{
    clock::Moment,
    event::{Cause, Generation},
    fleet::ProbeKind,
    wire::{Slot, SlotSample},
};

/// The end of a connection, or of the try to get one.
#[derive(Clone, Debug, PartialEq)]
pub struct End {
    pub at: Moment,
    pub cause: Cause,
}

/// What the failure callback of a connect was told: the code, above 0 where it is the broker's, and
/// what the trace said just before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refusal {
    pub at: Moment,
    pub rc: i32,
    pub fault: Option<Fault>,
}

/// What the callbacks know of one slot.
#[derive(Debug, Default)]
pub(super) struct Cell {
    /// The connect order that Paho works on or has fulfilled; callbacks of others change nothing.
    pub generation: Generation,
    pub up: Option<Moment>,
    pub refusal: Option<Refusal>,
    pub end: Option<End>,
    /// The socket, while the connection is up.
    pub socket: Option<RawFd>,
    /// When the PINGREQ went out that was not answered yet.
    pub ping: Option<Moment>,
    /// The probe's message that was not acknowledged yet, and when it went out.
    pub publish: Option<(u16, Moment)>,
    /// Whether a probe was ordered and not acknowledged yet.
    pub probing: bool,
}

/// What the table must know of a client.
#[derive(Clone, Debug)]
pub struct Subject {
    pub client_id: Arc<str>,
    pub probe: ProbeKind,
}

pub struct Slots {
    subjects: Box<[Subject]>,
    cells: Box<[Mutex<Cell>]>,
    marked: Box<[AtomicBool]>,
    marks: mpsc::Sender<Slot>,
    samples: mpsc::Sender<SlotSample>,
    samples_lost: AtomicU32,
    /// Messages that came for each slot since this was last asked.
    received: Box<[AtomicU32]>,
    /// Which slot a socket belongs to, by descriptor; `FREE` for none.
    sockets: Box<[AtomicU32]>,
}

/// The reading ends of a [`Slots`] table.
pub struct News {
    /// Slots about which there is something to read.
    pub marks: mpsc::Receiver<Slot>,
    pub samples: mpsc::Receiver<SlotSample>,
}

impl Slots {
    /// Samples that may wait to be read.
    pub const SAMPLES: usize = 8192;
    /// Descriptors above this are not followed. A worker holds at most 2,000 clients.
    const SOCKETS: usize = 8192;
    const FREE: u32 = u32::MAX;

    pub fn new(subjects: Vec<Subject>) -> (Slots, News) {
        let n = subjects.len();
        let (marks_in, marks) = mpsc::channel(n.max(1));
        let (samples_in, samples) = mpsc::channel(Self::SAMPLES);
        let slots = Slots {
            subjects: subjects.into(),
            cells: (0..n).map(|_| Mutex::default()).collect(),
            marked: (0..n).map(|_| AtomicBool::new(false)).collect(),
            marks: marks_in,
            samples: samples_in,
            samples_lost: AtomicU32::new(0),
            received: (0..n).map(|_| AtomicU32::new(0)).collect(),
            sockets: (0..Self::SOCKETS).map(|_| AtomicU32::new(Self::FREE)).collect(),
        };
        (slots, News { marks, samples })
    }

    /// Opens a cell for a new generation; callbacks of the one before change nothing from then on.
    pub fn open(&self, slot: Slot, generation: Generation) {
        let mut cell = self.cell(slot);
        self.release(&mut cell, slot);
        *cell = Cell { generation, ..Cell::default() };
    }

    /// Accepts that a slot's mark was received. To be called before its cell is read.
    pub fn unmark(&self, slot: Slot) {
        self.marked[slot as usize].store(false, Ordering::SeqCst);
    }

    /// How the connection of this generation ended. It is there to be taken once.
    pub fn take_end(&self, slot: Slot) -> Option<End> {
        self.cell(slot).end.take()
    }

    /// Notes that a probe goes out; false where the one before was not answered yet.
    pub fn begin_probe(&self, slot: Slot) -> bool {
        !std::mem::replace(&mut self.cell(slot).probing, true)
    }

    /// The number of samples that found the queue full since this was last asked.
    pub fn take_samples_lost(&self) -> u32 {
        self.samples_lost.swap(0, Ordering::Relaxed)
    }

    /// The number of messages that came for a slot since this was last asked.
    pub fn take_received(&self, slot: Slot) -> u32 {
        self.received[slot as usize].swap(0, Ordering::Relaxed)
    }

    pub(super) fn received(&self, slot: Slot) {
        self.received[slot as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn subject(&self, slot: Slot) -> &Subject {
        &self.subjects[slot as usize]
    }

    pub(super) fn cell(&self, slot: Slot) -> MutexGuard<'_, Cell> {
        // A cell has no state that a panic could leave half made.
        self.cells[slot as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts the slot into the queue unless it is there.
    pub(super) fn mark(&self, slot: Slot) {
        if !self.marked[slot as usize].swap(true, Ordering::SeqCst) {
            // There is room for every slot once; it only fails when the reader is gone.
            let _ = self.marks.try_send(slot);
        }
    }

    pub(super) fn sample(&self, sample: SlotSample) {
        if self.samples.try_send(sample).is_err() {
            self.samples_lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The slot of a socket whose connection is up.
    pub(super) fn owner(&self, socket: RawFd) -> Option<Slot> {
        let slot = self.sockets.get(usize::try_from(socket).ok()?)?.load(Ordering::Relaxed);
        (slot != Self::FREE).then_some(slot)
    }

    /// From now on lines about this socket are lines about this slot.
    pub(super) fn bind(&self, cell: &mut Cell, slot: Slot, socket: RawFd) {
        if let Some(owner) = usize::try_from(socket).ok().and_then(|s| self.sockets.get(s)) {
            owner.store(slot, Ordering::Relaxed);
            cell.socket = Some(socket);
        }
    }

    /// The slot's socket is closed: its number may be another's the next moment.
    pub(super) fn release(&self, cell: &mut Cell, slot: Slot) {
        if let Some(socket) = cell.socket.take() {
            // It may be another's already, where the broker was not what closed it.
            let owner = &self.sockets[socket as usize];
            let _ = owner.compare_exchange(slot, Self::FREE, Ordering::Relaxed, Ordering::Relaxed);
        }
        (cell.ping, cell.publish) = (None, None);
    }

    /// Notes the end of a generation, once, and marks the slot.
    pub(super) fn end(&self, slot: Slot, generation: Generation, mut cell: MutexGuard<'_, Cell>, end: End) {
        if cell.generation != generation {
            return;
        }
        self.release(&mut cell, slot);
        cell.end.get_or_insert(end);
        drop(cell);
        self.mark(slot);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{event::Reason, text::Scrubbed};

    fn table(n: usize) -> (Slots, News) {
        Slots::new(vec![Subject { client_id: "x".into(), probe: ProbeKind::Ack }; n])
    }

    #[test]
    fn the_queue_of_marks_cannot_overflow() {
        let (slots, mut news) = table(3);
        for _ in 0..100 {
            for slot in 0..3 {
                slots.mark(slot);
            }
        }
        let mut seen: Vec<u32> = std::iter::from_fn(|| news.marks.try_recv().ok()).collect();
        seen.sort();
        assert_eq!(seen, [0, 1, 2]);
        slots.unmark(1);
        slots.mark(1);
        assert_eq!(news.marks.try_recv().ok(), Some(1));
        assert!(news.marks.try_recv().is_err());
    }

    #[test]
    fn a_generation_ends_once_and_frees_its_socket() {
        let (slots, _news) = table(2);
        slots.open(0, 7);
        slots.bind(&mut slots.cell(0), 0, 15);
        assert_eq!(slots.owner(15), Some(0));
        let end = |reason| End { at: Moment(1), cause: Cause { reason, detail: Scrubbed::default() } };
        slots.end(0, 6, slots.cell(0), end(Reason::Banned));
        slots.end(0, 7, slots.cell(0), end(Reason::SessionTakenOver));
        slots.end(0, 7, slots.cell(0), end(Reason::ConnectionLost));
        assert_eq!(slots.owner(15), None);
        assert_eq!(slots.take_end(0).map(|e| e.cause.reason), Some(Reason::SessionTakenOver));
        assert_eq!(slots.take_end(0), None);
    }

    #[test]
    fn lost_samples_are_counted() {
        let (slots, mut news) = table(1);
        let sample = SlotSample { slot: 0, probe: ProbeKind::Ack, at: Moment(1), rtt: Duration::from_micros(9) };
        for _ in 0..Slots::SAMPLES + 5 {
            slots.sample(sample);
        }
        assert_eq!((slots.take_samples_lost(), slots.take_samples_lost()), (5, 0));
        assert_eq!(news.samples.try_recv().ok(), Some(sample));
    }
}
