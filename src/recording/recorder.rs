//! Defines the recorder, the run's end of a recording that is being written: it takes events and waits for nothing; how they are written is the keeper's matter.

use std::{io, path::Path, sync::Arc, time::Duration};

use tokio::sync::{mpsc, oneshot};

use super::{
    files::{Files, Limits},
    head::Header,
    keeper::Keeper,
    queue::{Batch, Queue},
};
use crate::{
    clock::{Anchor, Moment},
    event::Event,
    fleet::Fleet,
    lines,
    model::Known,
    text::Scrubbed,
};

/// A recording that is being written, by a thread of its own: a slow or full disk delays nobody.
pub struct Recorder {
    queue: Arc<Queue>,
    notices: mpsc::Receiver<Event>,
    /// What the thread has to say of what it could not write.
    finished: oneshot::Receiver<Option<String>>,
    begin: Anchor,
}

impl Recorder {
    /// Makes the file and starts the thread. A recording that is there already becomes `FILE.1`.
    ///
    /// # Errors
    /// Where the file cannot be made, or is there and no recording.
    pub fn start(path: &Path, limits: Limits, fleet: Arc<Fleet>, workers: usize) -> io::Result<Recorder> {
        let files = Files::create(path, limits)?;
        let queue = Arc::new(Queue::default());
        let (notice_sender, notices) = mpsc::channel(16);
        let (done, finished) = oneshot::channel();
        let anchor = Anchor::now();
        let begin = anchor.moment();
        let program = Scrubbed::new(env!("CARGO_PKG_VERSION"));
        let header = Header { program, run: begin, begin, wall: anchor.utc(begin), workers };
        let keeper =
            Keeper { path: path.to_owned(), files, fleet, header, queue: queue.clone(), notices: notice_sender };
        std::thread::Builder::new().name("recorder".into()).spawn(move || {
            let _ = done.send(keeper.run());
        })?;
        Ok(Recorder { queue, notices, finished, begin: anchor })
    }

    /// When the recording begins.
    pub fn begin(&self) -> &Anchor {
        &self.begin
    }

    /// Records events; `anchor` tells what the wall clock says to them.
    pub fn write(&self, anchor: &Anchor, events: &[Event]) {
        if !events.is_empty() {
            self.queue.push(Batch { anchor: *anchor, events: events.to_vec(), second: None });
        }
    }

    /// Records the fleet in numbers; to be called once a second, after [`Known::look`].
    pub fn second(&self, known: &Known, anchor: &Anchor, at: Moment) {
        let second = Some((at, lines::json_summary_kept(known, anchor, at)));
        self.queue.push(Batch { anchor: *anchor, events: Vec::new(), second });
    }

    /// Whether it still records. Once a disk failed, it does not.
    pub fn is_on(&self) -> bool {
        !self.queue.is_closed()
    }

    /// Waits for something to tell the operator about the recording.
    pub async fn notice(&mut self) -> Event {
        match self.notices.recv().await {
            Some(event) => event,
            None => std::future::pending().await,
        }
    }

    /// Writes what is left, for at most two seconds, and returns what is to be said of the rest.
    pub async fn finish(self) -> Option<String> {
        self.finish_within(Duration::from_secs(2)).await
    }

    pub(super) async fn finish_within(self, patience: Duration) -> Option<String> {
        self.queue.close();
        match tokio::time::timeout(patience, self.finished).await {
            Ok(words) => words.unwrap_or_default(),
            Err(_) => Some("the recording's disk hangs: its last events were not written".to_owned()),
        }
    }
}
