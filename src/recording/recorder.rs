//! Defines the recorder, the run's end of a recording that is being written: it hears what is published; how that is written is the keeper's matter.

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::oneshot;

use super::{
    files::{Files, Limits},
    head::Header,
    keeper::Keeper,
};
use crate::{
    bus::Bus,
    event::{Event, What},
    fleet::Fleet,
    text::Scrubbed,
};

/// A recording that is being written, by a thread of its own: a slow or full disk delays nobody.
pub struct Recorder {
    /// What the thread has to say of what it could not write.
    finished: oneshot::Receiver<Option<String>>,
    /// Segments written so far.
    progress: Arc<AtomicU64>,
}

impl Recorder {
    /// Makes the file and starts the thread, which hears all that is published from now on. A recording that is
    /// there already becomes `FILE.1`.
    ///
    /// # Errors
    /// Where the file cannot be made, or is there and no recording.
    pub fn start(path: &Path, limits: Limits, fleet: Arc<Fleet>, workers: usize, bus: &Bus) -> io::Result<Recorder> {
        let files = Files::create(path, limits)?;
        let (done, finished) = oneshot::channel();
        // The run and its recording begin at one time.
        let anchor = bus.begin();
        let begin = anchor.moment();
        let program = Scrubbed::new(env!("CARGO_PKG_VERSION"));
        let header = Header { program, run: begin, begin, wall: anchor.utc(begin), workers };
        let events = bus.subscribe("recording");
        let progress = Arc::new(AtomicU64::new(0));
        let keeper = Keeper {
            path: path.to_owned(),
            files,
            fleet,
            header,
            events,
            bus: bus.clone(),
            progress: progress.clone(),
        };
        std::thread::Builder::new().name("recorder".into()).spawn(move || {
            let _ = done.send(keeper.run());
        })?;
        bus.publish([Event { at: begin, what: What::Recording(true) }]);
        Ok(Recorder { finished, progress })
    }

    /// Waits until what is left is written, once the bus is closed, as long as two seconds bring it on, and
    /// returns what is to be said of the rest.
    pub async fn finish(mut self) -> Option<String> {
        let mut written = 0;
        loop {
            match tokio::time::timeout(Duration::from_secs(2), &mut self.finished).await {
                Ok(words) => return words.unwrap_or_default(),
                Err(_) if self.progress.load(Ordering::Relaxed) > written => {
                    written = self.progress.load(Ordering::Relaxed);
                }
                Err(_) => return Some("the recording's disk hangs: its last events were not written".to_owned()),
            }
        }
    }
}
