//! Defines what the console knows and what its user looks at, both changed only by events and actions on given time; it reads no clock, does no I/O and knows nothing of drawing.

mod act;
mod answers;
mod confirm;
mod connection;
mod events;
mod facts;
mod filter_line;
mod groups;
mod heat;
mod histogram;
mod history;
mod insight;
mod jobs;
mod joining;
mod keeping;
mod known;
mod latencies;
mod link;
mod log;
mod map;
mod mode;
mod navigation;
mod order;
mod palette;
mod pivot;
mod pulse;
mod record;
mod revision;
mod row;
mod screens;
mod sparse;
mod standing;
mod strip;
mod survey;
mod timeline;
mod totals;
mod trend;
mod typing;
mod view;
mod wishes;

pub use act::Effect;
pub use answers::Answers;
pub use confirm::{Confirm, Typed, Wish};
pub use connection::Connection;
pub use events::{EventFacts, Events};
pub use facts::Facts;
pub use filter_line::FilterLine;
pub use groups::{Group, Groups};
pub use heat::{Heat, Slice};
pub use histogram::{BUCKETS, Histogram, Latency, begin};
pub use insight::{Insight, Shared, Why};
pub use jobs::{JobRow, JobsView};
pub use known::Known;
pub use latencies::Latencies;
pub use link::Link;
pub use log::{Entry, Log, Subject};
pub use map::{Block, Cell, Grid, Line, Map, Spot};
pub use mode::Mode;
pub use order::{Chosen, Column, Origin, Sort};
pub use palette::{Palette, meant};
pub use pivot::{By, Part, PartKey, Pivot};
pub use pulse::Pulse;
pub use record::{Record, share};
pub use row::{Row, Slow};
pub use survey::{Place, Survey};
pub use timeline::{Motion, Stretch, Timeline};
pub use totals::Totals;
pub use trend::{Bucket, Trend};
pub use view::{Frozen, Model, Toast};

#[cfg(test)]
use order::Filter;

#[cfg(test)]
mod tests;
