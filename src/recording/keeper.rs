//! Defines the thread that writes a recording: lines into segments, entrances among them, and what happens when the disk takes no more; what waits for it is the queue's matter.

use std::{
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use super::{
    files::Files,
    head::{self, Header},
    queue::{Batch, Queue, Taken},
    segment::{Draft, Label},
};
use crate::{
    clock::{Anchor, Moment},
    event::{Event, Level, State, What},
    fleet::Fleet,
    lines,
    model::Known,
    text::Scrubbed,
};

/// Half of what may be lost: the other half is for writing on a busy machine.
const FLUSH: Duration = Duration::from_millis(500);
/// Lines of more bytes are not gathered in one segment, however fast they come: limits of size are
/// kept to within a segment.
const SEGMENT: usize = 256 << 10;
/// An entrance costs bytes, and the way to the next one time: there is another once so many times its
/// bytes were written.
const ENTRANCE_EVERY: usize = 8;
const ENTRANCE_MIN: usize = 64 << 10;

pub(super) struct Keeper {
    pub path: PathBuf,
    pub files: Files,
    pub fleet: Arc<Fleet>,
    pub header: Header,
    pub queue: Arc<Queue>,
    pub notices: mpsc::Sender<Event>,
}

impl Keeper {
    /// Works until the queue is closed and empty, or the disk fails. Returns what is to be said of
    /// what is missing.
    pub fn run(self) -> Option<String> {
        let (path, queue, notices) = (self.path.clone(), self.queue.clone(), self.notices.clone());
        let mut writing = match Writing::new(self) {
            Ok(writing) => writing,
            Err(error) => return Some(give_up(&path, &queue, &notices, &error)),
        };
        loop {
            let done = match queue.take(writing.patience()) {
                Taken::Closed => break,
                Taken::Nothing => Ok(()),
                Taken::Batches(batches) => batches.into_iter().try_for_each(|batch| writing.take_in(batch)),
                Taken::Folded(batch, folded) => {
                    let text = format!(
                        "the recording {} is late: its disk is slow; {folded} events are folded into others",
                        path.display()
                    );
                    tell(&notices, Level::Warning, &text);
                    writing.take_in(batch)
                }
            };
            if let Err(error) = done.and_then(|()| writing.flush_if_due()) {
                return Some(give_up(&path, &queue, &notices, &error));
            }
        }
        match writing.flush(true) {
            Ok(()) => None,
            Err(error) => Some(give_up(&path, &queue, &notices, &error)),
        }
    }
}

/// Ends the recording for good, and says so.
fn give_up(path: &std::path::Path, queue: &Queue, notices: &mpsc::Sender<Event>, error: &io::Error) -> String {
    queue.close();
    let text = format!("recording is off: cannot write {}: {error}; what it holds so far is kept", path.display());
    tell(notices, Level::Error, &text);
    text
}

fn tell(notices: &mpsc::Sender<Event>, level: Level, text: &str) {
    // A full queue: the operator has sixteen notices about this very recording already.
    let what = What::Notice { level, text: Scrubbed::new(text) };
    let _ = notices.try_send(Event { at: Moment::now(), what });
}

struct Writing {
    files: Files,
    fleet: Arc<Fleet>,
    header: Header,
    /// What a reader that starts at the next entrance has to be told.
    known: Known,
    /// The time of the newest line.
    now: Moment,
    anchor: Anchor,
    draft: Draft,
    packer: zstd::bulk::Compressor<'static>,
    due: Instant,
    /// Whether the draft begins with an entrance, and how many bytes that had.
    is_entrance: bool,
    entrance: usize,
    /// Bytes of lines since then.
    since: usize,
}

impl Writing {
    fn new(keeper: Keeper) -> io::Result<Writing> {
        let Keeper { files, fleet, header, .. } = keeper;
        let mut packer = zstd::bulk::Compressor::new(zstd::DEFAULT_COMPRESSION_LEVEL)?;
        packer.include_checksum(true)?;
        let mut writing = Writing {
            known: Known::new(fleet.clone(), header.begin),
            now: header.begin,
            anchor: header.anchor(),
            files,
            fleet,
            header,
            draft: Draft::default(),
            packer,
            due: Instant::now(),
            is_entrance: false,
            entrance: 0,
            since: 0,
        };
        writing.enter(true);
        writing.flush(false)?;
        Ok(writing)
    }

    /// How long it can wait for more.
    fn patience(&self) -> Duration {
        // Without anything to write: until something comes, or a file is too old.
        if self.draft.is_empty() { FLUSH } else { self.due.saturating_duration_since(Instant::now()) }
    }

    fn take_in(&mut self, batch: Batch) -> io::Result<()> {
        self.anchor = batch.anchor;
        for event in &batch.events {
            if let What::State(step) = &event.what
                && step.from == State::Up
                && step.to != State::Up
            {
                self.draft.lost += 1;
            }
            self.known.apply(event);
            self.push(event.at, &lines::json_kept(&self.fleet, &batch.anchor, event, false))?;
        }
        match batch.second {
            Some((at, line)) => {
                self.known.look(at);
                self.push(at, &line)
            }
            None => Ok(()),
        }
    }

    fn push(&mut self, at: Moment, line: &str) -> io::Result<()> {
        if self.draft.is_empty() {
            self.due = Instant::now() + FLUSH;
        }
        self.now = self.now.max(at);
        self.since += line.len();
        self.draft.push(at, line);
        if self.draft.len() >= SEGMENT { self.flush(false) } else { Ok(()) }
    }

    fn flush_if_due(&mut self) -> io::Result<()> {
        let is_due = !self.draft.is_empty() && Instant::now() >= self.due;
        if is_due { self.flush(false) } else { Ok(()) }
    }

    /// Writes the draft as a segment; where it is time for that, the next one is an entrance.
    fn flush(&mut self, is_end: bool) -> io::Result<()> {
        if self.draft.is_empty() && !is_end {
            return Ok(());
        }
        let totals = *self.known.totals();
        let is_entrance = std::mem::take(&mut self.is_entrance);
        if self.draft.is_empty() {
            self.draft.push_head(self.now, ""); // an end without news has its time, too
        }
        let mark = |label: &mut Label| {
            (label.is_entrance, label.is_end) = (is_entrance, is_end);
            label.up = totals.of(State::Up);
            (label.slow, label.down) = (totals.slow(), totals.all() - label.up - totals.of(State::Off));
        };
        let (_, segment) = self.draft.finish(&mut self.packer, mark)?;
        self.files.write(&segment)?;
        if is_end {
            return Ok(());
        }
        if self.files.is_full() {
            self.files.turn()?;
            (self.header.begin, self.header.wall) = (self.now, self.anchor.utc(self.now));
            self.enter(true);
        } else if self.since >= ENTRANCE_MIN.max(ENTRANCE_EVERY * self.entrance) {
            self.enter(false);
        }
        Ok(())
    }

    /// Begins the draft with how everything stands, and before that the head, where a file begins.
    fn enter(&mut self, with_head: bool) {
        self.due = Instant::now() + FLUSH;
        if with_head {
            self.draft.push_head(self.header.begin, &head::lines(&self.header, &self.fleet));
        }
        self.known.look(self.now);
        for event in self.known.standings(self.now) {
            self.draft.push(self.now, &lines::json_kept(&self.fleet, &self.anchor, &event, true));
        }
        (self.is_entrance, self.entrance, self.since) = (true, self.draft.len(), 0);
    }
}
