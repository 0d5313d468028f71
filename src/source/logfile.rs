//! Defines the log file: every event as a line, kept in memory while the disk takes none; what a line says is the `lines` module's matter.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};

use crate::{
    clock::{Anchor, Moment},
    event::{Event, Level, What},
    fleet::Fleet,
    lines, private,
    text::Scrubbed,
};

/// A log file with a thread of its own that writes it: a slow or full disk delays nobody.
pub struct LogFile {
    lines: SyncSender<String>,
    notices: mpsc::Receiver<Event>,
    /// What the thread has to say of lines it could not write.
    finished: oneshot::Receiver<Option<String>>,
    /// Lines that found the queue full.
    dropped: u64,
}

impl LogFile {
    /// Batches of lines that may wait for the thread.
    const QUEUE: usize = 64;

    /// Opens (or makes) the file and starts the thread.
    ///
    /// # Errors
    /// Where the file cannot be opened for appending, or is a symbolic link to one.
    pub fn open(path: &Path) -> io::Result<LogFile> {
        let file = private::append(path)?;
        let (lines, receiver) = sync_channel(Self::QUEUE);
        let (notice_sender, notices) = mpsc::channel(16);
        let (done, finished) = oneshot::channel();
        let keeper = Keeper {
            file,
            path: path.to_owned(),
            pending: Vec::new(),
            failing: false,
            lost: 0,
            notices: notice_sender,
        };
        std::thread::Builder::new().name("log".into()).spawn(move || {
            let _ = done.send(keeper.run(&receiver));
        })?;
        Ok(LogFile { lines, notices, finished, dropped: 0 })
    }

    /// Queues the lines of `events`.
    pub fn write(&mut self, fleet: &Fleet, anchor: &Anchor, events: &[Event]) {
        let mut text = String::new();
        for event in events {
            if let Some(line) = lines::plain(fleet, anchor, event) {
                text.push_str(&line);
                text.push('\n');
            }
        }
        if self.dropped > 0 {
            text.insert_str(
                0,
                &format!("({} batches of lines are missing here: the log's thread was late)\n", self.dropped),
            );
        }
        if text.is_empty() {
            return;
        }
        match self.lines.try_send(text) {
            Ok(()) => self.dropped = 0,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.dropped += 1,
        }
    }

    /// Waits for something to tell the operator about the log.
    pub async fn notice(&mut self) -> Event {
        match self.notices.recv().await {
            Some(event) => event,
            None => std::future::pending().await,
        }
    }

    /// Writes what is left, for at most two seconds, and returns what is to be said of the rest.
    pub async fn finish(self) -> Option<String> {
        drop(self.lines);
        match tokio::time::timeout(Duration::from_secs(2), self.finished).await {
            Ok(words) => words.unwrap_or_default(),
            Err(_) => Some("the log's disk hangs: its last lines were not written".to_owned()),
        }
    }
}

/// The thread's part.
struct Keeper {
    file: File,
    path: PathBuf,
    /// What the disk has not taken yet, from the first byte it refused.
    pending: Vec<u8>,
    failing: bool,
    /// Bytes given up because `pending` was full.
    lost: u64,
    notices: mpsc::Sender<Event>,
}

impl Keeper {
    /// The most bytes kept while the disk takes none: some 100,000 lines.
    const PENDING: usize = 16 << 20;
    const RETRY: Duration = Duration::from_secs(1);

    /// Works until nothing can come any more; returns what is to be said of lines it could not write.
    fn run(mut self, lines: &Receiver<String>) -> Option<String> {
        loop {
            match lines.recv_timeout(Self::RETRY) {
                Ok(text) => self.take(text.as_bytes()),
                Err(RecvTimeoutError::Timeout) if self.pending.is_empty() => continue,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.flush();
        }
        self.flush();
        let left = self.pending.len() as u64 + self.lost;
        (left > 0).then(|| format!("the last {left} bytes of the log {} could not be written", self.path.display()))
    }

    fn take(&mut self, text: &[u8]) {
        // Where nothing waits, the disk is well: whatever the size, it goes out at once.
        if self.pending.is_empty() || self.pending.len() + text.len() <= Self::PENDING {
            self.pending.extend_from_slice(text);
        } else {
            self.lost += text.len() as u64;
        }
    }

    fn flush(&mut self) {
        let mut written = 0;
        let mut result = Ok(());
        while written < self.pending.len() && result.is_ok() {
            match self.file.write(&self.pending[written..]) {
                Ok(0) => result = Err(io::Error::from(io::ErrorKind::WriteZero)),
                Ok(n) => written += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => result = Err(e),
            }
        }
        self.pending.drain(..written);
        match result {
            Err(error) if !self.failing => {
                self.failing = true;
                self.tell(
                    Level::Error,
                    format!(
                        "cannot write the log {}: {error}; its lines are kept in memory until there is room",
                        self.path.display()
                    ),
                );
            }
            Ok(()) if self.failing => {
                self.failing = false;
                let lost = std::mem::take(&mut self.lost);
                let missing = if lost > 0 {
                    format!("; {lost} bytes of it were too many to keep and are missing")
                } else {
                    String::new()
                };
                self.tell(
                    Level::Info,
                    format!("the log {} is written again, with what was kept{missing}", self.path.display()),
                );
            }
            _ => {}
        }
    }

    fn tell(&self, level: Level, text: String) {
        // A full queue: the operator has sixteen notices about this very log already.
        let _ = self
            .notices
            .try_send(Event { at: Moment::now(), what: What::Notice { level, text: Scrubbed::new(&text) } });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keeper(path: &Path) -> (Keeper, mpsc::Receiver<Event>) {
        let file = private::append(path).expect("a file");
        let (notices, heard) = mpsc::channel(16);
        (Keeper { file, path: path.to_owned(), pending: Vec::new(), failing: false, lost: 0, notices }, heard)
    }

    #[test]
    fn a_storm_in_one_piece_is_not_too_much_for_a_disk_that_is_well() {
        let dir = tempfile::TempDir::new().expect("a folder");
        let path = dir.path().join("log");
        let (mut keeper, _heard) = keeper(&path);
        let storm = vec![b'x'; Keeper::PENDING + 1];
        for _ in 0..2 {
            keeper.take(&storm);
            keeper.flush();
        }
        assert_eq!(path.metadata().expect("a file").len(), 2 * storm.len() as u64);
    }

    #[test]
    fn a_full_disk_keeps_so_much_and_no_more() {
        let (mut keeper, mut heard) = keeper(Path::new("/dev/full"));
        for _ in 0..20 {
            keeper.take(&vec![b'x'; 1 << 20]);
            keeper.flush();
        }
        assert_eq!((keeper.pending.len(), keeper.lost), (Keeper::PENDING, 4 << 20));
        assert!(matches!(heard.try_recv().expect("a word").what, What::Notice { level: Level::Error, .. }));
        assert!(heard.try_recv().is_err(), "it says it once");
    }
}
