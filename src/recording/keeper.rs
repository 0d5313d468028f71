//! Defines the thread that writes a recording: lines into segments, entrances among them, and what happens when the disk takes no more.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    files::Files,
    head::{self, Header},
    segment::{Draft, Label},
};
use crate::{
    bus::{Bus, Subscription, Taken},
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
    pub events: Subscription,
    pub bus: Bus,
    /// Counts the segments that are written.
    pub progress: Arc<AtomicU64>,
}

impl Keeper {
    /// Works until the bus is closed and all is written, or the disk fails. Returns what is to be said of
    /// what is missing.
    pub fn run(self) -> Option<String> {
        let Keeper { path, files, fleet, header, mut events, bus, progress } = self;
        let give_up = |error: &io::Error| {
            let text =
                format!("recording is off: cannot write {}: {error}; what it holds so far is kept", path.display());
            let at = Moment::now();
            let what = What::Notice { level: Level::Error, text: Scrubbed::new(&text) };
            bus.publish([Event { at, what: What::Recording(false) }, Event { at, what }]);
            Some(text)
        };
        let mut writing = match Writing::new(files, fleet, header, progress) {
            Ok(writing) => writing,
            Err(error) => return give_up(&error),
        };
        loop {
            let done = match events.wait(writing.patience()) {
                Taken::Closed => break,
                Taken::Nothing => Ok(()),
                Taken::Events(events, folded) => {
                    if folded > 0 {
                        let text = format!(
                            "the recording {} is late: its disk is slow; {folded} events are folded into others",
                            path.display()
                        );
                        let what = What::Notice { level: Level::Warning, text: Scrubbed::new(&text) };
                        bus.publish([Event { at: Moment::now(), what }]);
                    }
                    writing.take_in(&events)
                }
            };
            if let Err(error) = done.and_then(|()| writing.flush_if_due()) {
                return give_up(&error);
            }
        }
        match writing.flush(true) {
            Ok(()) => None,
            Err(error) => give_up(&error),
        }
    }
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
    /// Whether the draft is the begin of another file.
    begins_file: bool,
    /// Segments written.
    progress: Arc<AtomicU64>,
    /// Whether the draft begins with an entrance, and how many bytes that had.
    is_entrance: bool,
    entrance: usize,
    /// Whether it begins with the head of another fleet.
    has_head: bool,
    /// Bytes of lines since then.
    since: usize,
}

impl Writing {
    fn new(files: Files, fleet: Arc<Fleet>, header: Header, progress: Arc<AtomicU64>) -> io::Result<Writing> {
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
            begins_file: false,
            progress,
            is_entrance: false,
            entrance: 0,
            has_head: false,
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

    fn take_in(&mut self, events: &[Event]) -> io::Result<()> {
        for event in events {
            if let What::State(step) = &event.what
                && step.from == State::Up
                && step.to != State::Up
            {
                self.draft.lost += 1;
            }
            event.set_clock(&mut self.anchor);
            self.known.apply(event);
            match event.what {
                What::Second(_) => {
                    let line = lines::json_summary_kept(&self.known, &self.anchor, event.at);
                    self.push(event.at, &line)?;
                }
                What::Recording(_) => {} // whoever reads it knows
                What::Fleet(ref fleet) => self.turn_to(fleet)?,
                _ => self.push(event.at, &lines::json_kept(&self.fleet, &self.anchor, event, false))?,
            }
        }
        Ok(())
    }

    /// The fleet is another one: a segment begins with its head, and how it stands.
    fn turn_to(&mut self, fleet: &Arc<Fleet>) -> io::Result<()> {
        self.flush(false)?;
        self.draft = Draft::default(); // at the most an entrance of the fleet before
        self.fleet = fleet.clone();
        self.has_head = true;
        self.enter(true);
        Ok(())
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
        let has_head = std::mem::take(&mut self.has_head);
        if self.draft.is_empty() {
            self.draft.push_head(self.now, ""); // an end without news has its time, too
        }
        let mark = |label: &mut Label| {
            (label.is_entrance, label.is_end, label.has_head) = (is_entrance, is_end, has_head);
            label.up = totals.of(State::Up);
            (label.slow, label.down) = (totals.slow(), totals.all() - label.up - totals.of(State::Off));
        };
        let (_, segment) = self.draft.finish(&mut self.packer, mark)?;
        match std::mem::take(&mut self.begins_file) {
            true => self.files.turn(&segment)?,
            false => self.files.write(&segment)?,
        }
        self.progress.fetch_add(1, Ordering::Relaxed);
        if is_end {
            return Ok(());
        }
        if self.files.is_full() {
            self.begins_file = true;
            (self.header.begin, self.header.wall) = (self.now, self.anchor.utc(self.now));
            self.enter(true);
        } else if self.since >= ENTRANCE_MIN.max(ENTRANCE_EVERY * self.entrance) {
            self.enter(false);
        }
        Ok(())
    }

    /// Begins the draft with how everything stands, and before that the head, where a file or another fleet begins.
    fn enter(&mut self, with_head: bool) {
        self.due = Instant::now() + FLUSH;
        if with_head {
            self.draft.push_head(self.now, &head::lines(&self.header, &self.fleet));
        }
        self.known.look(self.now);
        for event in self.known.standings(self.now) {
            self.draft.push(self.now, &lines::json_kept(&self.fleet, &self.anchor, &event, true));
        }
        (self.is_entrance, self.entrance, self.since) = (true, self.draft.len(), 0);
    }
}
