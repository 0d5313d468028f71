//! Defines how a recording's file is read: the fleet it is of, its segments, from where to read on, and what is missing at its end; what a segment's lines tell is elsewhere.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    entry::{Entries, Lines},
    files::older_files,
    head::{self, Header, Wrong},
    segment::Label,
};
use crate::{clock::Moment, fleet::Fleet, model::Known, text::Scrubbed};

/// Why a recording cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    #[error("cannot read {}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("{} is no recording: {why}", path.display())]
    NoRecording { path: PathBuf, why: String },
    #[error(
        "{} was written by mqfleet {program} in version {version} of the format, and this one reads up to version {}: use a newer mqfleet",
        path.display(),
        head::VERSION
    )]
    Newer { path: PathBuf, program: Scrubbed, version: u32 },
    #[error("{} is damaged at byte {offset}: {why}; what comes before it can be read with --to", path.display())]
    Damaged { path: PathBuf, offset: u64, why: String },
}

impl RecordingError {
    fn of_segment(path: &Path, segment: &Segment, error: io::Error) -> RecordingError {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::InvalidData => {
                RecordingError::Damaged { path, offset: segment.offset, why: error.to_string() }
            }
            _ => RecordingError::Io { path, error },
        }
    }
}

/// How a recording ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The run ended, and all of it is here.
    Orderly,
    /// Nothing tells its end: the run goes on, or died. At most a second of it is missing.
    Open,
    /// It died while it wrote: this many bytes at the end are no whole segment.
    Torn {
        bytes: u64,
        /// What these were to be, where that much was written: so many lines, the last of that time.
        lost: Option<(u32, Moment)>,
    },
}

/// A segment and where it is.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    pub label: Label,
    file: usize,
    /// Of the label.
    offset: u64,
}

/// A recording that is open: one file, or all files of a run that was written in turns.
#[derive(Debug)]
pub struct Recording {
    header: Header,
    /// The fleet, and those that it became, each with the segment where it begins: the first of all with the first.
    fleets: Vec<(usize, Arc<Fleet>)>,
    files: Vec<(PathBuf, File)>,
    segments: Vec<Segment>,
    ending: Ending,
    unread: Option<RecordingError>,
}

impl Recording {
    /// Opens a recording. Of the files that a run with a size limit leaves, `FILE` stands for itself
    /// and all older ones (`FILE.1` and so on) that are there; `FILE.1` for itself alone.
    ///
    /// # Errors
    /// Where it cannot be read, is none, or is newer than this program. A torn end is no error.
    pub fn open(path: &Path) -> Result<Arc<Recording>, RecordingError> {
        let newest = Scan::of(path)?;
        let (mut older, mut unread) = (Vec::new(), None);
        for path in older_files(path) {
            match Scan::of(&path) {
                Ok(scan) if scan.header.run == newest.header.run => older.push(scan),
                Ok(_) => break, // of another run
                Err(error) => {
                    unread = Some(error);
                    break;
                }
            }
        }
        let ending = newest.ending;
        older.reverse();
        let (mut files, mut segments, mut header) = (Vec::new(), Vec::new(), None);
        let mut fleets: Vec<(usize, Arc<Fleet>)> = Vec::new();
        for scan in older.into_iter().chain([newest]) {
            for (segment, fleet) in scan.fleets {
                // Each file begins with a head, mostly with that of the same fleet.
                if fleets.last().is_none_or(|(_, known)| **known != fleet) {
                    fleets.push((segments.len() + segment, Arc::new(fleet)));
                }
            }
            segments.extend(scan.segments.iter().map(|segment| Segment { file: files.len(), ..*segment }));
            files.push((scan.path, scan.file));
            header.get_or_insert(scan.header);
        }
        let Some(header) = header else { unreachable!("the newest file is always there") };
        Ok(Arc::new(Recording { header, fleets, files, segments, ending, unread }))
    }

    /// Why the next older file could not be read, where there is one: it may be of this run, or of one before.
    pub fn unread(&self) -> Option<&RecordingError> {
        self.unread.as_ref()
    }

    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The fleet at the begin, as far as it is known: no passwords (an empty one stands for one that was there), no
    /// payloads, no certificates.
    pub fn fleet(&self) -> &Arc<Fleet> {
        self.fleet_at(0)
    }

    /// The fleet at the begin of a segment.
    pub(super) fn fleet_at(&self, segment: usize) -> &Arc<Fleet> {
        let place = self.fleets.partition_point(|(begin, _)| *begin <= segment);
        &self.fleets[place.saturating_sub(1)].1
    }

    pub fn begin(&self) -> Moment {
        self.header.begin
    }

    /// The time of the last thing it tells.
    pub fn end(&self) -> Moment {
        self.segments.iter().map(|segment| segment.label.last).fold(self.header.begin, Moment::max)
    }

    pub fn ending(&self) -> Ending {
        self.ending
    }

    /// All segments in their order, as a timeline is drawn from: their labels tell times, connections
    /// lost and clients up.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Everything from the begin.
    pub fn entries(self: &Arc<Self>) -> Entries {
        Entries::new(self.clone(), 0)
    }

    /// Everything from the last entrance on that is before `at` by the [`Known::memory`] of its fleet:
    /// first how things stood there (with the entrance's time), then what happened since, also what is
    /// still before `at`.
    pub fn entries_from(self: &Arc<Self>, at: Moment) -> Entries {
        Entries::new(self.clone(), self.entrance_to(at))
    }

    /// The last segment from which everything can be read that must be known at `at`.
    pub(super) fn entrance_to(&self, at: Moment) -> usize {
        let memory = self.fleets.iter().map(|(_, fleet)| Known::memory(fleet)).max().unwrap_or_default();
        let since = Moment(at.0.saturating_sub(memory.as_micros() as u64));
        let entrance = self.segments.iter().rposition(|s| s.label.is_entrance && s.label.first <= since);
        entrance.unwrap_or(0)
    }

    /// What a segment tells.
    pub(super) fn lines(&self, segment: usize) -> Result<Lines, RecordingError> {
        let fleet = self.fleet_at(segment);
        let mut lines = Lines::read(&self.read(&self.segments[segment])?, fleet);
        if segment > 0 && self.fleets.iter().any(|(begin, _)| *begin == segment) {
            lines.begin_with(fleet);
        }
        Ok(lines)
    }

    fn read(&self, segment: &Segment) -> Result<String, RecordingError> {
        let (path, file) = &self.files[segment.file];
        unpack(file, segment).map_err(|error| RecordingError::of_segment(path, segment, error))
    }
}

/// One file and what is in it.
struct Scan {
    path: PathBuf,
    file: File,
    header: Header,
    /// Those whose heads are in it, with their segments.
    fleets: Vec<(usize, Fleet)>,
    segments: Vec<Segment>,
    ending: Ending,
}

impl Scan {
    fn of(path: &Path) -> Result<Scan, RecordingError> {
        let failed = |error| RecordingError::Io { path: path.to_owned(), error };
        let file = File::open(path).map_err(failed)?;
        let len = file.metadata().map_err(failed)?.len();
        let (mut segments, mut offset) = (Vec::new(), 0);
        let mut torn = None;
        while offset < len {
            let label = label_at(&file, offset).map_err(failed)?;
            let end = label.map(|label| offset + Label::LEN as u64 + u64::from(label.packed));
            match (label, end) {
                (Some(label), Some(end)) if end <= len => {
                    segments.push(Segment { label, file: 0, offset });
                    offset = end;
                }
                _ => {
                    torn = Some(label);
                    break;
                }
            }
        }
        // After the death of a whole machine the last segment may have its length and yet not its bytes.
        if torn.is_none()
            && let Some(last) = segments.pop_if(|last| unpack(&file, last).is_err())
        {
            (torn, offset) = (Some(Some(last.label)), last.offset);
        }
        let Some(first) = segments.first() else {
            return Err(RecordingError::NoRecording { path: path.to_owned(), why: why_none(&file, len) });
        };
        let text = unpack(&file, first).map_err(|error| RecordingError::of_segment(path, first, error))?;
        let (header, fleet) = head::read(&text, clients_max(&first.label)).map_err(|wrong| match wrong {
            Wrong::NoHead(why) => RecordingError::NoRecording { path: path.to_owned(), why },
            Wrong::Newer { version, program } => RecordingError::Newer { path: path.to_owned(), program, version },
        })?;
        let mut fleets = vec![(0, fleet)];
        for (n, segment) in segments.iter().enumerate().skip(1).filter(|(_, segment)| segment.label.has_head) {
            // Where that is damaged, whoever reads on hears of it, and what comes before it can be read.
            let head = unpack(&file, segment).ok().and_then(|text| head::read(&text, clients_max(&segment.label)).ok());
            fleets.extend(head.map(|(_, fleet)| (n, fleet)));
        }
        let ending = match torn {
            Some(label) => Ending::Torn { bytes: len - offset, lost: label.map(|label| (label.lines, label.last)) },
            None if segments.last().is_some_and(|last| last.label.is_end) => Ending::Orderly,
            None => Ending::Open,
        };
        Ok(Scan { path: path.to_owned(), file, header, fleets, segments, ending })
    }
}

/// The most clients that a head may tell of which is packed so well: those of a fleet whose IDs differ in a
/// number only were seen to take 0.87 bytes each.
fn clients_max(label: &Label) -> usize {
    1_000 + 2 * label.packed as usize
}

fn label_at(file: &File, offset: u64) -> io::Result<Option<Label>> {
    let mut bytes = [0; Label::LEN];
    match file.read_exact_at(&mut bytes, offset) {
        Ok(()) => Ok(Label::from_bytes(&bytes)),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(e) => Err(e),
    }
}

/// The lines of a segment. An error of the kind `InvalidData` is one of the segment, not of the disk.
fn unpack(file: &File, segment: &Segment) -> io::Result<String> {
    let damaged = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    let mut packed = vec![0; segment.label.packed as usize];
    file.read_exact_at(&mut packed, segment.offset + Label::LEN as u64)?;
    let text = zstd::bulk::decompress(&packed, segment.label.unpacked as usize).map_err(|e| damaged(&e.to_string()))?;
    if text.len() != segment.label.unpacked as usize {
        return Err(damaged("it is shorter than its label says"));
    }
    String::from_utf8(text).map_err(|_| damaged("it is no UTF-8"))
}

/// Says in words what a file without a single segment is instead.
fn why_none(file: &File, len: u64) -> String {
    let mut begin = [0; 16];
    let read = file.read_at(&mut begin, 0).unwrap_or(0);
    let begin = &begin[..read];
    if len == 0 {
        "it is empty".to_owned()
    } else if begin.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        "it is packed by zstd, but mqfleet did not write it".to_owned()
    } else if begin.starts_with(b"{") {
        "it is plain JSON; `--record FILE` writes recordings".to_owned()
    } else if !begin.starts_with(&Label::default().to_bytes()[..12]) {
        "`mqfleet run --record FILE` did not write it".to_owned()
    } else if len >= Label::LEN as u64 && matches!(label_at(file, 0), Ok(None)) {
        "it is damaged at its begin: what that says of its size cannot be".to_owned()
    } else {
        "the run died before its first half second was over".to_owned()
    }
}
