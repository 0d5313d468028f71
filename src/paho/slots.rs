//! Defines the table that connections write and the worker reads, one cell a slot; it decides nothing about connections.
//!
//! Who writes may be one of Paho's threads, under Paho's locks. It locks one cell, for a few stores, and
//! marks the slot. The queue of marked slots has room for all of them and no slot is in it twice, so
//! it cannot overflow: what it says may come late, but nothing of it is ever lost.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::mpsc;

use super::{
    cell::{Cell, Echo},
    refusals::Refusals,
};
use crate::{
    clock::Moment,
    event::{Cause, Generation, Reason, Unanswered},
    fleet::ProbeKind,
    text::Scrubbed,
    wire::{Slot, SlotLate, SlotSample},
};

/// The end of a connection, or of the try to get one.
#[derive(Clone, Debug, PartialEq)]
pub struct End {
    pub at: Moment,
    pub cause: Cause,
    /// What the broker had been asked and had not answered.
    pub unanswered: Option<Box<Unanswered>>,
}

impl End {
    /// One that nothing unanswered explains.
    pub fn new(at: Moment, cause: Cause) -> End {
        End { at, cause, unanswered: None }
    }
}

/// The numbers of a slot's echoes. They begin anywhere, so that those of other clients, of other runs
/// and of other fleets on the same topic are told from them.
struct Echoes {
    first: u64,
    next: AtomicU64,
}

impl Echoes {
    fn new() -> Echoes {
        let first = fastrand::u64(..);
        Echoes { first, next: AtomicU64::new(first) }
    }
}

/// What the table must know of a client.
#[derive(Clone, Debug, PartialEq)]
pub struct Subject {
    /// The topic of its probes.
    pub topic: Arc<str>,
    pub probe: ProbeKind,
}

impl Subject {
    /// Of a slot that is free: nobody is measured.
    pub fn nobody() -> Subject {
        Subject { topic: Arc::default(), probe: ProbeKind::Off }
    }
}

/// A subject, and the one that took its place: who reads it waits for nobody, and those before the last are few.
struct Defined {
    subject: Subject,
    then: OnceLock<Box<Defined>>,
}

impl Defined {
    fn new(subject: Subject) -> Defined {
        Defined { subject, then: OnceLock::new() }
    }

    fn last(&self) -> &Defined {
        let mut last = self;
        while let Some(then) = last.then.get() {
            last = then;
        }
        last
    }
}

pub struct Slots {
    subjects: Box<[Defined]>,
    cells: Box<[Mutex<Cell>]>,
    marked: Box<[AtomicBool]>,
    marks: mpsc::Sender<Slot>,
    samples: Mutex<Vec<SlotSample>>,
    samples_lost: AtomicU32,
    /// When each slot's probe was ordered, in microseconds, where it was told to be late before it went
    /// out; 0 for none. It changes under the lock of its cell.
    held_up: Box<[AtomicU64]>,
    /// Messages that came for each slot since this was last asked.
    received: Box<[AtomicU32]>,
    echoes: Box<[Echoes]>,
    /// Whether each slot's probes are left out, so that its heartbeats are measured.
    muted: Box<[AtomicBool]>,
}

impl Slots {
    /// Samples that may wait to be read.
    pub const SAMPLES: usize = 8192;
    /// How long an echo is awaited while nothing at all comes: a broker that was frozen answers all.
    const SILENT: Duration = Duration::from_secs(60);

    /// The table, and where the slots come out about which there is something to read. Nobody is woken for a
    /// sample: they are collected.
    pub fn new(subjects: Vec<Subject>) -> (Slots, mpsc::Receiver<Slot>) {
        let n = subjects.len();
        let (marks_in, marks) = mpsc::channel(n.max(1));
        let slots = Slots {
            subjects: subjects.into_iter().map(Defined::new).collect(),
            cells: (0..n).map(|_| Mutex::default()).collect(),
            marked: (0..n).map(|_| AtomicBool::new(false)).collect(),
            marks: marks_in,
            samples: Mutex::default(),
            samples_lost: AtomicU32::new(0),
            held_up: (0..n).map(|_| AtomicU64::new(0)).collect(),
            received: (0..n).map(|_| AtomicU32::new(0)).collect(),
            echoes: (0..n).map(|_| Echoes::new()).collect(),
            muted: (0..n).map(|_| AtomicBool::new(false)).collect(),
        };
        (slots, marks)
    }

    /// How many slots there is room for.
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// A slot's client is this one from now on: to be called while it has no connection.
    pub fn define(&self, slot: Slot, subject: Subject) {
        let last = self.subjects[slot as usize].last();
        if last.subject != subject {
            let _ = last.then.set(Box::new(Defined::new(subject))); // one thread alone defines
        }
    }

    /// Opens a cell for a new generation, ordered at this time; what is told of the one before changes
    /// nothing from then on.
    pub fn open(&self, slot: Slot, generation: Generation, ordered: Moment) {
        let mut cell = self.cell(slot);
        self.release(&mut cell, slot);
        let (round_trips, refusals) = (cell.round_trips, std::mem::take(&mut cell.refusals));
        *cell = Cell { generation, ordered, round_trips, refusals, ..Cell::default() };
    }

    /// Leaves out a slot's probes, or has them sent again.
    pub fn mute(&self, slot: Slot, is_muted: bool) {
        self.muted[slot as usize].store(is_muted, Ordering::Relaxed);
    }

    /// By what a slot is measured at present.
    pub(super) fn probe(&self, slot: Slot) -> ProbeKind {
        let is_muted = self.muted[slot as usize].load(Ordering::Relaxed);
        if is_muted { ProbeKind::Heartbeat } else { self.subject(slot).probe }
    }

    /// The topic of its probes, where it sends any.
    pub(super) fn probe_topic(&self, slot: Slot) -> Option<&str> {
        matches!(self.probe(slot), ProbeKind::Ack | ProbeKind::Echo).then(|| &*self.subject(slot).topic)
    }

    /// Notes that the broker refused a message; `topic` as far as it is known.
    pub(super) fn refuse(&self, slot: Slot, generation: Generation, id: u16, topic: Option<&str>, words: Scrubbed) {
        let mut cell = self.cell(slot);
        if cell.generation != generation {
            return;
        }
        let is_probe = cell.probing.is_some() && cell.publish.is_some_and(|(probe, _)| probe == id);
        cell.refusals.note(topic.unwrap_or_default(), is_probe, words);
        drop(cell);
        self.mark(slot);
    }

    /// What the broker refused since this was last asked.
    pub fn take_refusals(&self, slot: Slot) -> Refusals {
        std::mem::take(&mut self.cell(slot).refusals)
    }

    /// The end of this generation's connection was ordered: it is no loss.
    pub fn leave(&self, slot: Slot) {
        self.cell(slot).is_leaving = true;
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
    pub fn begin_probe(&self, slot: Slot, now: Moment) -> bool {
        let mut cell = self.cell(slot);
        if cell.probing.is_none() {
            self.held_up[slot as usize].store(0, Ordering::Relaxed);
        } else if !cell.is_refused {
            return false;
        }
        cell.probing.get_or_insert(now);
        cell.is_refused = false;
        true
    }

    /// Notes that the probe or the echo that was begun last did not go out: the next one goes in its place,
    /// and has been ordered since then.
    pub fn refuse_probe(&self, slot: Slot) {
        self.cell(slot).is_refused = true;
    }

    /// The probe of a slot that has no answer though it is late, told once.
    pub fn take_late(&self, slot: Slot, now: Moment) -> Option<SlotLate> {
        let mut cell = self.cell(slot);
        if !cell.is_up {
            return None;
        }
        let (probe, since) = cell.unanswered(self.probe(slot))?;
        if cell.told == Some(since) || now.since(since) < cell.patience() {
            return None;
        }
        cell.told = Some(since);
        self.held_up[slot as usize].store(cell.held_up().map_or(0, |ordered| ordered.0), Ordering::Relaxed);
        Some(SlotLate { slot, generation: cell.generation, probe, since })
    }

    /// Notes that an echo goes out and gives its number; `None` while one is awaited that may still come.
    /// A message of QoS 0 may be lost, and then nothing tells: it is given up `patience` after its order
    /// where anything came since then (`heard`), and later where the broker says nothing at all.
    pub fn begin_echo(&self, slot: Slot, patience: Duration, heard: Moment, now: Moment) -> Option<u64> {
        let mut cell = self.cell(slot);
        let refused = cell.echo.filter(|_| cell.is_refused);
        if let (Some(echo), None) = (cell.echo, refused) {
            let waited = now.since(echo.ordered);
            let is_silent = heard < echo.ordered;
            if waited < patience || (waited < patience.max(Self::SILENT) && is_silent) {
                return None;
            }
        }
        if refused.is_none() {
            self.held_up[slot as usize].store(0, Ordering::Relaxed);
        }
        let number = self.echoes[slot as usize].next.fetch_add(1, Ordering::Relaxed);
        cell.echo = Some(Echo { number, ordered: refused.map_or(now, |echo| echo.ordered), sent: None });
        cell.is_refused = false;
        Some(number)
    }

    /// Whether a number is that of an echo of this slot's, awaited or not.
    pub(super) fn is_own_echo(&self, slot: Slot, number: u64) -> bool {
        let Echoes { first, next } = &self.echoes[slot as usize];
        number.wrapping_sub(*first) < next.load(Ordering::Relaxed).wrapping_sub(*first)
    }

    /// Takes out samples, the oldest `most` of them.
    pub fn take_samples(&self, most: usize) -> Vec<SlotSample> {
        let mut samples = self.samples();
        let most = most.min(samples.len());
        let rest = samples.split_off(most);
        std::mem::replace(&mut samples, rest)
    }

    fn samples(&self) -> MutexGuard<'_, Vec<SlotSample>> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of samples that found no room since this was last asked.
    pub fn take_samples_lost(&self) -> u32 {
        self.samples_lost.swap(0, Ordering::Relaxed)
    }

    /// The number of messages that came for a slot since this was last asked.
    pub fn take_received(&self, slot: Slot) -> u32 {
        self.received[slot as usize].swap(0, Ordering::Relaxed)
    }

    pub(super) fn count_received(&self, slot: Slot) {
        self.received[slot as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn subject(&self, slot: Slot) -> &Subject {
        &self.subjects[slot as usize].last().subject
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

    /// Hands on what an answer took; from its order where the probe was told to be late since then. To be
    /// called under the lock of its cell.
    pub(super) fn sample(&self, mut sample: SlotSample) {
        let ordered = self.held_up[sample.slot as usize].swap(0, Ordering::Relaxed);
        if ordered > 0 {
            sample.rtt = sample.at.since(Moment(ordered));
        }
        let mut samples = self.samples();
        if samples.len() < Self::SAMPLES {
            samples.push(sample);
        } else {
            self.samples_lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The slot's connection is over: nothing of it is awaited any more.
    fn release(&self, cell: &mut Cell, slot: Slot) {
        (cell.ping, cell.publish, cell.probing, cell.echo) = (None, None, None, None);
        (cell.is_up, cell.is_refused) = (false, false);
        self.held_up[slot as usize].store(0, Ordering::Relaxed);
    }

    /// Notes the end of a generation, once, and marks the slot.
    pub(super) fn end(&self, slot: Slot, generation: Generation, end: End) {
        let mut cell = self.cell(slot);
        if cell.generation != generation {
            return;
        }
        self.release(&mut cell, slot);
        if !cell.is_leaving {
            cell.end.get_or_insert(end);
        }
        drop(cell);
        self.mark(slot);
    }

    /// Paho has closed the connection by itself, of which there are two reasons: it was told to, or its keep
    /// alive has run out (`MQTTProtocol_keepalive`).
    pub(super) fn closed(&self, slot: Slot, generation: Generation, at: Moment) {
        let detail = match self.cell(slot).ping {
            Some(_) => "no PINGRESP within one and a half times the keep alive",
            None => "no room for a PINGREQ within one and a half times the keep alive",
        };
        let cause = Cause { reason: Reason::KeepAliveTimeout, detail: Scrubbed::new(detail) };
        self.end(slot, generation, End::new(at, cause));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn table(n: usize) -> (Slots, mpsc::Receiver<Slot>) {
        Slots::new(vec![Subject { topic: "x".into(), probe: ProbeKind::Ack }; n])
    }

    #[test]
    fn the_queue_of_marks_cannot_overflow() {
        let (slots, mut marks) = table(3);
        for _ in 0..100 {
            for slot in 0..3 {
                slots.mark(slot);
            }
        }
        let mut seen: Vec<u32> = std::iter::from_fn(|| marks.try_recv().ok()).collect();
        seen.sort();
        assert_eq!(seen, [0, 1, 2]);
        slots.unmark(1);
        slots.mark(1);
        assert_eq!(marks.try_recv().ok(), Some(1));
        assert!(marks.try_recv().is_err());
    }

    #[test]
    fn a_generation_ends_once() {
        let (slots, _news) = table(2);
        slots.open(0, 7, Moment(0));
        let end = |reason| End::new(Moment(1), Cause { reason, detail: Scrubbed::default() });
        slots.end(0, 6, end(Reason::Banned));
        slots.end(0, 7, end(Reason::SessionTakenOver));
        slots.end(0, 7, end(Reason::ConnectionLost));
        assert_eq!(slots.take_end(0).map(|e| e.cause.reason), Some(Reason::SessionTakenOver));
        assert_eq!(slots.take_end(0), None);
    }

    #[test]
    fn a_lost_echo_is_given_up_and_not_taken_for_the_next() {
        let (slots, _news) = table(2);
        let patience = Duration::from_secs(5);
        let first = slots.begin_echo(0, patience, Moment(1), Moment(0)).expect("a number");
        assert_eq!(slots.begin_echo(0, patience, Moment(1), Moment(4_999_999)), None);
        assert_eq!(slots.begin_echo(0, patience, Moment(1), Moment(5_000_000)), Some(first.wrapping_add(1)));
        assert_eq!(slots.cell(0).echo.map(|e| e.number), Some(first.wrapping_add(1)));
        let own = [first.wrapping_sub(1), first, first.wrapping_add(1), first.wrapping_add(2)];
        assert_eq!(own.map(|n| slots.is_own_echo(0, n)), [false, true, true, false]);
        assert!(!slots.is_own_echo(1, first));
    }

    #[test]
    fn a_late_probe_is_told_once() {
        let (slots, _news) = table(1);
        let late = |at| slots.take_late(0, Moment(at)).map(|l| (l.generation, l.probe, l.since));
        slots.open(0, 7, Moment(0));
        slots.cell(0).is_up = true;
        assert!(slots.begin_probe(0, Moment(0)) && !slots.begin_probe(0, Moment(3)));
        assert_eq!(late(999_999), None);
        assert_eq!(late(1_000_000), Some((7, ProbeKind::Ack, Moment(0))));
        assert_eq!(late(2_000_000), None);
        slots.refuse_probe(0);
        assert!(slots.begin_probe(0, Moment(2_000_000)));
        assert_eq!(late(3_000_000), None, "it goes in the place of the first");
        slots.cell(0).probing = None;
        assert!(slots.begin_probe(0, Moment(4_000_000)));
        assert_eq!(late(5_000_000), Some((7, ProbeKind::Ack, Moment(4_000_000))));
        slots.open(0, 8, Moment(0));
        assert!(slots.begin_probe(0, Moment(3_000_000)));
        assert_eq!(late(9_000_000), None, "it is not up");
    }

    #[test]
    fn a_probe_that_was_late_before_it_went_out_took_that_long() {
        let (slots, _marks) = table(1);
        let answered = |at| {
            let at = Moment(at);
            slots.sample(SlotSample { slot: 0, probe: ProbeKind::Ack, at, rtt: Duration::from_micros(9) });
            slots.cell(0).probing = None;
        };
        slots.open(0, 7, Moment(0));
        slots.cell(0).is_up = true;
        assert!(slots.begin_probe(0, Moment(1)));
        assert_eq!(slots.take_late(0, Moment(5_000_000)).map(|l| l.since), Some(Moment(1)));
        slots.cell(0).publish = Some((1, Moment(6_000_000)));
        assert_eq!(slots.take_late(0, Moment(9_000_000)), None, "told once");
        answered(9_000_001);
        assert!(slots.begin_probe(0, Moment(10_000_000)));
        slots.cell(0).publish = Some((2, Moment(10_000_005)));
        assert_eq!(slots.take_late(0, Moment(12_000_000)).map(|l| l.since), Some(Moment(10_000_005)));
        answered(12_000_001);
        let took: Vec<_> = slots.take_samples(9).iter().map(|s| s.rtt.as_micros()).collect();
        assert_eq!(took, [9_000_000, 9]);
    }

    #[test]
    fn lost_samples_are_counted() {
        let (slots, _marks) = table(1);
        let sample = SlotSample { slot: 0, probe: ProbeKind::Ack, at: Moment(1), rtt: Duration::from_micros(9) };
        for _ in 0..Slots::SAMPLES + 5 {
            slots.sample(sample);
        }
        assert_eq!((slots.take_samples_lost(), slots.take_samples_lost()), (5, 0));
        assert_eq!((slots.take_samples(3).len(), slots.take_samples(9_000).len()), (3, Slots::SAMPLES - 3));
    }
}
