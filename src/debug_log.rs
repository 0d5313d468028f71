//! Defines the developer's log: what console, engine and workers decided, and when, as lines in a file; what is told there is with who decides.

use std::{
    fmt,
    io::{self, Write},
    path::Path,
    sync::OnceLock,
};

use chrono::{SecondsFormat, Utc};
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    filter::Targets,
    fmt::{format::Writer, time::FormatTime},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::{private, text::Scrubbed};

/// Lines that may wait for a disk. What comes while it is full is lost: nobody waits for this log.
const LINES: usize = 10_000;

/// How a worker's lines begin on its standard error, which the console reads.
const OF_WORKER: &str = "debug: ";

/// Where the lines go, in the console; nowhere where no such log was asked for.
static FILE: OnceLock<NonBlocking> = OnceLock::new();

/// Has what is told from here on appended to the file, until what is returned is dropped. A file that is made
/// is its owner's alone, and no symbolic link to a file is followed.
///
/// # Errors
/// Where it cannot be opened.
pub fn start(path: &Path) -> io::Result<WorkerGuard> {
    let (file, guard) = appender(private::append(path)?);
    let _ = FILE.set(file.clone()); // once a process
    listen(Stamp { begin: "", who: "console".into() }, file);
    Ok(guard)
}

/// The same in a worker process, whose lines go to its standard error, for the console to put them into the file.
pub fn start_in_worker(index: u32) -> WorkerGuard {
    let (stderr, guard) = appender(io::stderr());
    listen(Stamp { begin: OF_WORKER, who: format!("worker {index}") }, stderr);
    guard
}

/// Whether there is such a log, so that workers are to tell, too.
pub fn is_on() -> bool {
    FILE.get().is_some()
}

/// Takes a line of a worker's standard error into the file; false where it is none for it.
pub fn take_in(line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(OF_WORKER.as_bytes()) else { return false };
    let Some(mut file) = FILE.get().cloned() else { return false };
    let _ = file.write_all(format!("{}\n", Scrubbed::from_bytes(rest)).as_bytes()); // it waits in a queue
    true
}

fn appender(to: impl Write + Send + 'static) -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default().lossy(true).buffered_lines_limit(LINES).thread_name("debug-log").finish(to)
}

/// Only what this program tells: its libraries know nothing of secrets.
fn listen(stamp: Stamp, to: NonBlocking) {
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_timer(stamp).with_writer(to);
    let ours = Targets::new().with_target(env!("CARGO_CRATE_NAME"), LevelFilter::TRACE);
    let _ = tracing_subscriber::registry().with(lines).with(ours).try_init(); // once a process
}

/// When, in UTC to the microsecond, and whose line it is.
struct Stamp {
    begin: &'static str,
    who: String,
}

impl FormatTime for Stamp {
    fn format_time(&self, to: &mut Writer<'_>) -> fmt::Result {
        let now = Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true);
        write!(to, "{}{now} {}", self.begin, self.who)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_line_for_it_or_comes_without_it_is_left_to_others() {
        assert!(!take_in(b"worker: no room"));
        assert!(!is_on() && !take_in(b"debug: 2026 worker 0 DEBUG x"));
    }
}
