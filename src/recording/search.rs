//! Defines the thread that reads a recording for its player: first it works out what was known where the player wants to be, then it reads on ahead; when what it read is told is the player's matter.

use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use tokio::sync::mpsc;

use super::{
    entry::Entry,
    reader::{Recording, RecordingError},
};
use crate::{
    clock::{Anchor, Moment},
    event::What,
    fleet::ClientKey,
    model::{Known, Log},
};

/// A place between two entries of a recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark {
    pub segment: usize,
    /// How many entries of the segment are before it.
    pub entries: usize,
}

/// Where the player wants to be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Goal {
    /// After everything up to this time.
    Time(Moment),
    /// After the last event that the log tells, or that is about this client, before the entry that is
    /// right before this place.
    EventBefore(Mark, Option<ClientKey>),
}

/// What the thread has found.
#[derive(Debug)]
pub(super) enum Found {
    /// How things stood at the goal, and the place right after the last entry before that.
    Known { known: Box<Known>, mark: Mark, at: Moment, anchor: Anchor },
    /// There is no such event.
    Nothing,
    /// What happened next: entries of one segment, from a place in it on.
    Entries(Mark, Vec<Entry>),
    /// It cannot be read on.
    Failed(RecordingError),
}

/// A search under way. The thread ends with it, or with the recording.
#[derive(Debug)]
pub(super) struct Search {
    found: mpsc::Receiver<Found>,
    percent: Arc<AtomicU8>,
}

impl Search {
    /// Segments that are read ahead.
    const AHEAD: usize = 2;

    pub fn start(recording: Arc<Recording>, goal: Goal) -> Search {
        let (sender, found) = mpsc::channel(Self::AHEAD);
        let percent = Arc::new(AtomicU8::new(0));
        let mut work = Work { recording, sender, percent: percent.clone() };
        std::thread::spawn(move || {
            if let Err(error) = work.run(goal) {
                let _ = work.sender.blocking_send(Found::Failed(error));
            }
        });
        Search { found, percent }
    }

    /// What it finds next; `None` when the recording is over. Cancelling it loses nothing.
    pub async fn next(&mut self) -> Option<Found> {
        self.found.recv().await
    }

    /// How far it is on its way to the goal, 0 to 100.
    pub fn percent(&self) -> u8 {
        self.percent.load(Ordering::Relaxed)
    }
}

/// Whether an event is one that steps go to.
pub(super) fn is_told(entry: &Entry, client: Option<ClientKey>) -> bool {
    let what = &entry.what;
    match (client, what) {
        (None, what) => Log::level(what).is_some(),
        (Some(client), What::State(step)) => step.client == client,
        (Some(client), What::Shortfall(shortfall)) => shortfall.client == client,
        (Some(_), _) => false,
    }
}

struct Work {
    recording: Arc<Recording>,
    sender: mpsc::Sender<Found>,
    percent: Arc<AtomicU8>,
}

impl Work {
    /// So many lines are read from the begin rather than from an entrance: what the log scrolls back to
    /// is only known from there.
    const LINES: u64 = 200_000;

    fn run(&mut self, goal: Goal) -> Result<(), RecordingError> {
        let (time, end) = match goal {
            Goal::Time(at) => (at, None),
            Goal::EventBefore(mark, client) => match self.event_before(mark, client)? {
                Some((at, mark)) => (at, Some(mark)),
                None => {
                    let _ = self.sender.blocking_send(Found::Nothing);
                    return Ok(());
                }
            },
        };
        let is_before = |entry: &Entry, mark: Mark| end.map_or(entry.at <= time, |end| mark < end);
        let first = self.first_segment(time, end);
        // Until the goal is reached.
        let mut under_way = Some(Known::new(self.recording.fleet_at(first).clone(), self.recording.begin()));
        let mut anchor = self.recording.header().anchor();
        let mut reached = Mark { segment: first, entries: 0 };
        for segment in first..self.recording.segments().len() {
            if self.sender.is_closed() {
                return Ok(()); // the player wants to be elsewhere
            }
            let lines = self.recording.lines(segment)?;
            let mut mark = Mark { segment, entries: 0 };
            let mut entries = lines.entries.into_iter().peekable();
            if let Some(mut known) = under_way.take() {
                let standing = if segment == first { lines.standing } else { Vec::new() };
                standing.into_iter().for_each(|entry| known.apply(&entry.event()));
                while let Some(entry) = entries.next_if(|entry| is_before(entry, mark)) {
                    anchor = entry.anchor();
                    mark.entries += 1;
                    reached = mark;
                    known.apply(&entry.event());
                }
                self.tell_progress(first, segment, time);
                if entries.peek().is_none() && end != Some(reached) {
                    under_way = Some(known);
                    continue;
                }
                let at = if end.is_some() { anchor.moment() } else { time };
                if self.send(Found::Known { known: Box::new(known), mark: reached, at, anchor }).is_break() {
                    return Ok(());
                }
            }
            if self.send(Found::Entries(mark, entries.collect())).is_break() {
                return Ok(());
            }
        }
        if let Some(known) = under_way {
            let _ = self.send(Found::Known { known: Box::new(known), mark: reached, at: anchor.moment(), anchor });
        }
        Ok(())
    }

    fn send(&self, found: Found) -> ControlFlow<()> {
        match self.sender.blocking_send(found) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()), // the player wants to be elsewhere
        }
    }

    /// Where reading has to start in order to know everything at a time, or at a place.
    fn first_segment(&self, time: Moment, end: Option<Mark>) -> usize {
        let segments = self.recording.segments();
        let is_before = |n: usize| end.map_or(segments[n].label.first <= time, |end| n <= end.segment);
        let lines: u64 =
            (0..segments.len()).take_while(|n| is_before(*n)).map(|n| u64::from(segments[n].label.lines)).sum();
        let entrance = self.recording.entrance_to(time);
        match end {
            _ if lines <= Self::LINES => 0,
            // Times are not in strict order: the entrance must not be past the place.
            Some(end) if entrance > end.segment => 0,
            _ => entrance,
        }
    }

    /// The last event before a place that is told: its time, and the place after it.
    fn event_before(&self, mark: Mark, client: Option<ClientKey>) -> Result<Option<(Moment, Mark)>, RecordingError> {
        let last = mark.segment.min(self.recording.segments().len().saturating_sub(1));
        for segment in (0..=last).rev() {
            let entries = self.recording.lines(segment)?.entries;
            // The entry right before the place is the present.
            let before = if segment == mark.segment { mark.entries.saturating_sub(1) } else { entries.len() };
            let before = &entries[..before.min(entries.len())];
            if let Some(n) = before.iter().rposition(|entry| is_told(entry, client)) {
                return Ok(Some((entries[n].at, Mark { segment, entries: n + 1 })));
            }
            if self.sender.is_closed() {
                break;
            }
        }
        Ok(None)
    }

    fn tell_progress(&self, first: usize, segment: usize, time: Moment) {
        let segments = self.recording.segments();
        let (begin, now) = (segments[first].label.first, segments[segment].label.last);
        let (done, all) = (now.since(begin).as_micros(), time.since(begin).as_micros().max(1));
        self.percent.store((done * 100 / all).min(100) as u8, Ordering::Relaxed);
    }
}
