//! Defines the recorder, the run's end of a recording that is being written: it hears what is published; how that is written is the keeper's matter.

use std::{io, path::Path, sync::Arc, time::Duration};

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
        let keeper = Keeper { path: path.to_owned(), files, fleet, header, events, bus: bus.clone() };
        std::thread::Builder::new().name("recorder".into()).spawn(move || {
            let _ = done.send(keeper.run());
        })?;
        bus.publish([Event { at: begin, what: What::Recording(true) }]);
        Ok(Recorder { finished })
    }

    /// Waits until what is left is written, once the bus is closed, for at most two seconds, and returns what is
    /// to be said of the rest.
    pub async fn finish(self) -> Option<String> {
        self.finish_within(Duration::from_secs(2)).await
    }

    pub(super) async fn finish_within(self, patience: Duration) -> Option<String> {
        match tokio::time::timeout(patience, self.finished).await {
            Ok(words) => words.unwrap_or_default(),
            Err(_) => Some("the recording's disk hangs: its last events were not written".to_owned()),
        }
    }
}
