//! Defines the recording of a run: a file of lines in segments, how it is written while the run goes on and read after; what a line says is the `lines` module's matter.
//!
//! A recording is a row of segments. Each is a [`Label`] (a skippable frame, which zstd tools pass
//! over) and one zstd frame with a checksum, whose lines are those of `--format json`, each with
//! `at_us` (its [`Moment`](crate::clock::Moment)) and `exact` (the event itself, to the nanosecond). A
//! segment is written whole, at least every half second: a death between two costs what was not yet
//! written, a death within one leaves a torn segment, which no reader takes for data.
//!
//! A file begins with the head: `start`, then a line for each endpoint, settings and client; and so does a segment
//! within it where the fleet became another one. An
//! *entrance* is a segment that begins with lines marked `"snapshot":true`, which tell how everything
//! stands. A file's first segment is one, and more follow from time to time, so that reading can start
//! in the middle.

mod entry;
mod files;
mod head;
mod keeper;
mod place;
mod player;
mod reader;
mod recorder;
mod search;
mod segment;

pub use entry::is_of;
pub use entry::{Entries, Entry};
pub use files::Limits;
pub use head::{Header, VERSION, lines as head, of_head};
pub use place::{Place, typed};
pub use player::{News, Player};
pub use reader::{Ending, Recording, RecordingError, Segment};
pub use recorder::Recorder;
pub use segment::Label;

#[cfg(test)]
mod tests;
