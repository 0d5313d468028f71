//! Defines what is kept of a worker's standard error to say why it died: its first line that says something; when it is told is the process's matter.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufRead, AsyncBufReadExt};

use crate::{debug_log, text::Scrubbed};

/// The most bytes of a line that are looked at.
const LINE: usize = 1_024;

/// How the words of a death begin: what the standard library says when there is no memory, and what
/// a worker says itself.
const DEATHS: [&str; 2] = ["memory allocation of ", "worker: "];

/// What says nothing, and stands around what does.
const NOISE: [&str; 4] = ["note: ", "stack backtrace:", "skipping backtrace printing", "thread caused non-unwinding"];

/// The first line that says something; one that tells of a death comes before all others.
#[derive(Debug, Default)]
pub(super) struct LastWords {
    words: String,
    is_death: bool,
    /// The line told where there was a panic; the next one tells what it was.
    is_open: bool,
}

impl LastWords {
    pub fn get(&self) -> &str {
        &self.words
    }

    fn hear(&mut self, line: &[u8]) {
        if debug_log::take_in(line) {
            return;
        }
        let line = Scrubbed::from_bytes(line);
        let line = line.trim();
        if line.is_empty() || is_noise(line) {
            return;
        }
        if std::mem::take(&mut self.is_open) {
            self.words = Scrubbed::new(&format!("{} {line}", self.words)).to_string();
            return;
        }
        let is_panic = line.starts_with("thread ") && line.contains(" panicked at ");
        let is_death = is_panic || DEATHS.iter().any(|begin| line.starts_with(begin));
        if self.words.is_empty() || is_death && !self.is_death {
            (self.words, self.is_death) = (line.to_owned(), is_death);
            self.is_open = is_panic && line.ends_with(':');
        }
    }
}

/// Hints about backtraces, and their frames.
fn is_noise(line: &str) -> bool {
    let frame = line.trim_start_matches(|c: char| c.is_ascii_digit());
    let is_frame = frame.len() < line.len() && frame.starts_with(": ") || line.starts_with("at ");
    is_frame || NOISE.iter().any(|begin| line.starts_with(begin))
}

/// Listens to the end, line by line; whatever comes, little of it is kept.
pub(super) async fn listen(mut stderr: impl AsyncBufRead + Unpin, last_words: Arc<Mutex<LastWords>>) {
    let hear = |line: &[u8]| last_words.lock().unwrap_or_else(PoisonError::into_inner).hear(line);
    let mut line = Vec::new();
    while let Ok(some) = stderr.fill_buf().await
        && !some.is_empty()
    {
        let end = some.iter().position(|byte| *byte == b'\n');
        let len = end.unwrap_or(some.len());
        line.extend_from_slice(&some[..len.min(LINE - line.len())]);
        stderr.consume(len + usize::from(end.is_some()));
        if end.is_some() {
            hear(&line);
            line.clear();
        }
    }
    hear(&line); // one without an end
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn last_words(said: &str) -> String {
        let words = Arc::new(Mutex::new(LastWords::default()));
        listen(said.as_bytes(), words.clone()).await;
        words.lock().unwrap().get().to_owned()
    }

    #[tokio::test]
    async fn the_first_line_that_says_something_is_kept() {
        for (said, kept) in [
            ("", ""),
            ("no room\n", "no room"),
            ("no room", "no room"),
            ("\n \nfirst\nsecond\n", "first"),
            (
                "memory allocation of 4294967296 bytes failed\nskipping backtrace printing to avoid potential recursion\n",
                "memory allocation of 4294967296 bytes failed",
            ),
            (
                "\nthread 'main' (4711) panicked at src/worker.rs:10:9:\nindex out of bounds\nstack backtrace:\n   0: std::panicking\n             at /rustc/x\nnote: run with `RUST_BACKTRACE=full`\n",
                "thread 'main' (4711) panicked at src/worker.rs:10:9: index out of bounds",
            ),
            ("note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n", ""),
            (
                "libfoo: a warning, hours ago\nlibfoo: another\nworker: no way on: killing myself\nworker: and more\n",
                "worker: no way on: killing myself",
            ),
            ("worker: first\nmemory allocation of 8 bytes failed\n", "worker: first"),
        ] {
            assert_eq!(last_words(said).await, kept, "{said:?}");
        }
    }

    #[tokio::test]
    async fn a_line_without_an_end_costs_little() {
        let words = last_words(&"x".repeat(1 << 20)).await;
        assert!(words.chars().count() <= Scrubbed::MAX, "{}", words.len());
    }
}
