//! Defines the log file: every event as a line, kept in memory while the disk takes none; what a line says is the `lines` module's matter.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::sync::oneshot;

use crate::{
    bus::{Bus, Subscription, Taken},
    clock::{Anchor, Moment},
    event::{Event, Level, What},
    fleet::Fleet,
    lines, private,
    text::Scrubbed,
};

/// A log file with a thread of its own that hears what happens and writes it: a slow or full disk delays nobody.
pub struct LogFile {
    /// What the thread has to say of lines it could not write.
    finished: oneshot::Receiver<Option<String>>,
}

impl LogFile {
    /// Opens (or makes) the file and starts the thread, which hears all that is published from now on.
    ///
    /// # Errors
    /// Where the file cannot be opened for appending, or is a symbolic link to one.
    pub fn open(path: &Path, fleet: Arc<Fleet>, bus: &Bus) -> io::Result<LogFile> {
        let file = private::append(path)?;
        let (done, finished) = oneshot::channel();
        let (events, bus) = (bus.subscribe("log"), bus.clone());
        let path = path.to_owned();
        let anchor = bus.begin();
        let keeper = Keeper { file, path, fleet, anchor, pending: Vec::new(), failing: false, lost: 0, bus };
        std::thread::Builder::new().name("log".into()).spawn(move || {
            let _ = done.send(keeper.run(events));
        })?;
        Ok(LogFile { finished })
    }

    /// Waits until what is left is written, once the bus is closed, for at most two seconds, and returns what is
    /// to be said of the rest.
    pub async fn finish(self) -> Option<String> {
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
    fleet: Arc<Fleet>,
    anchor: Anchor,
    /// What the disk has not taken yet, from the first byte it refused.
    pending: Vec<u8>,
    failing: bool,
    /// Bytes given up because `pending` was full.
    lost: u64,
    bus: Bus,
}

impl Keeper {
    /// The most bytes kept while the disk takes none: some 100,000 lines.
    const PENDING: usize = 16 << 20;
    const RETRY: Duration = Duration::from_secs(1);

    /// Works until nothing can come any more; returns what is to be said of lines it could not write.
    fn run(mut self, mut events: Subscription) -> Option<String> {
        loop {
            match events.wait(Self::RETRY) {
                Taken::Events(events, folded) => self.write(&events, folded),
                Taken::Nothing if self.pending.is_empty() => continue,
                Taken::Nothing => {}
                Taken::Closed => break,
            }
            self.flush();
        }
        self.flush();
        let left = self.pending.len() as u64 + self.lost;
        (left > 0).then(|| format!("the last {left} bytes of the log {} could not be written", self.path.display()))
    }

    fn write(&mut self, events: &[Event], folded: u64) {
        if folded > 0 {
            self.take(format!("(here {folded} events are folded into others: the log was late)\n").as_bytes());
        }
        for event in events {
            event.set_clock(&mut self.anchor);
            if let What::Fleet(fleet) = &event.what {
                self.fleet = fleet.clone();
            }
            if let Some(line) = lines::plain(&self.fleet, &self.anchor, event) {
                self.take(format!("{line}\n").as_bytes());
            }
        }
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
        let what = What::Notice { level, text: Scrubbed::new(&text) };
        self.bus.publish([Event { at: Moment::now(), what }]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keeper(path: &Path) -> (Keeper, Subscription) {
        let file = private::append(path).expect("a file");
        let bus = Bus::new(Anchor::now());
        let (heard, anchor, path) = (bus.subscribe("log"), bus.begin(), path.to_owned());
        let fleet =
            Fleet { name: Scrubbed::new("f"), env: None, worker_size: 1, endpoints: Vec::new(), clients: Vec::new() };
        let keeper =
            Keeper { file, path, fleet: Arc::new(fleet), anchor, pending: Vec::new(), failing: false, lost: 0, bus };
        (keeper, heard)
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
        let Taken::Events(told, 0) = heard.wait(Duration::ZERO) else { panic!("it says nothing") };
        assert!(matches!(&told[..], [Event { what: What::Notice { level: Level::Error, .. }, .. }]), "it says it once");
    }
}
