//! Defines where a program's events come from (an engine, what runs beside it) and the log file and the recording they are kept in; who shows them is the program's matter.

mod logfile;

use std::sync::Arc;

use tokio::sync::mpsc;

pub use logfile::LogFile;

use crate::{
    clock::{Anchor, Moment},
    command::Command,
    engine::Engine,
    event::Event,
    fleet::Fleet,
    model::Known,
    recording::Recorder,
};

/// A live engine, with what else has something to tell.
pub struct Source {
    fleet: Arc<Fleet>,
    engine: Engine,
    /// The demo's events, where there is a demo.
    beside: Option<mpsc::Receiver<Event>>,
    log: Option<LogFile>,
    recorder: Option<Recorder>,
    /// What the wall clock said to the last events.
    anchor: Anchor,
}

impl Source {
    /// Starts an engine for `fleet`. Must be called inside a tokio runtime.
    pub fn start(fleet: Arc<Fleet>, seed: u64) -> Source {
        let engine = Engine::start(fleet.clone(), seed);
        Source { engine, fleet, beside: None, log: None, recorder: None, anchor: Anchor::now() }
    }

    /// Takes in events from beside the engine as well.
    pub fn with_beside(mut self, events: mpsc::Receiver<Event>) -> Source {
        self.beside = Some(events);
        self
    }

    /// Keeps every event in this log file.
    pub fn with_log(mut self, log: Option<LogFile>) -> Source {
        self.log = log;
        self
    }

    /// Keeps every event in this recording.
    pub fn with_recorder(mut self, recorder: Option<Recorder>) -> Source {
        // The run and its recording begin at one time.
        self.anchor = recorder.as_ref().map_or(self.anchor, |recorder| *recorder.begin());
        self.recorder = recorder;
        self
    }

    pub fn fleet(&self) -> &Arc<Fleet> {
        &self.fleet
    }

    pub fn workers(&self) -> usize {
        self.engine.workers()
    }

    /// What the wall clock said to the last events, or at the begin where there were none: all that
    /// tell of them tell the same time.
    pub fn anchor(&self) -> &Anchor {
        &self.anchor
    }

    /// Whether the run is recorded; `Some(false)` where it was to be, and the disk failed.
    pub fn is_recording(&self) -> Option<bool> {
        self.recorder.as_ref().map(Recorder::is_on)
    }

    /// Takes the fleet in numbers for the recording. To be called once a second, after [`Known::look`].
    pub fn second(&self, known: &Known, anchor: &Anchor, at: Moment) {
        if let Some(recorder) = &self.recorder {
            recorder.second(known, anchor, at);
        }
    }

    /// Waits for the next events; `None` when the engine has ended. Cancelling it loses nothing.
    pub async fn next(&mut self) -> Option<Vec<Event>> {
        let beside = async {
            match &mut self.beside {
                Some(events) => events.recv().await,
                None => std::future::pending().await,
            }
        };
        let log = async {
            match &mut self.log {
                Some(log) => log.notice().await,
                None => std::future::pending().await,
            }
        };
        let recorder = async {
            match &mut self.recorder {
                Some(recorder) => recorder.notice().await,
                None => std::future::pending().await,
            }
        };
        let events = tokio::select! {
            events = self.engine.next() => events?,
            event = beside => match event {
                Some(event) => vec![event],
                None => {
                    self.beside = None;
                    Vec::new()
                }
            },
            notice = log => vec![notice],
            notice = recorder => vec![notice],
        };
        self.anchor = Anchor::now();
        if let Some(log) = &mut self.log {
            log.write(&self.fleet, &self.anchor, &events);
        }
        if let Some(recorder) = &self.recorder {
            recorder.write(&self.anchor, &events);
        }
        Some(events)
    }

    pub async fn command(&self, command: Command) {
        self.engine.command(command).await;
    }

    /// Disconnects everything, ends the workers, finishes the log and the recording. Returns what is
    /// to be said of what could not be written.
    pub async fn stop(self) -> Option<String> {
        self.engine.stop().await;
        let log = async {
            match self.log {
                Some(log) => log.finish().await,
                None => None,
            }
        };
        let recorder = async {
            match self.recorder {
                Some(recorder) => recorder.finish().await,
                None => None,
            }
        };
        let words: Vec<String> = <[_; 2]>::from(tokio::join!(log, recorder)).into_iter().flatten().collect();
        (!words.is_empty()).then(|| words.join("; "))
    }
}
