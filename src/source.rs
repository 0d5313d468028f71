//! Defines where a program's events come from (an engine, what runs beside it) and the log file they are kept in; who shows them is the program's matter.

mod logfile;

use std::sync::Arc;

use tokio::sync::mpsc;

pub use logfile::LogFile;

use crate::{clock::Anchor, command::Command, engine::Engine, event::Event, fleet::Fleet};

/// A live engine, with what else has something to tell.
pub struct Source {
    fleet: Arc<Fleet>,
    engine: Engine,
    /// The demo's events, where there is a demo.
    beside: Option<mpsc::Receiver<Event>>,
    log: Option<LogFile>,
}

impl Source {
    /// Starts an engine for `fleet`. Must be called inside a tokio runtime.
    pub fn start(fleet: Arc<Fleet>, seed: u64) -> Source {
        Source { engine: Engine::start(fleet.clone(), seed), fleet, beside: None, log: None }
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

    pub fn fleet(&self) -> &Arc<Fleet> {
        &self.fleet
    }

    pub fn workers(&self) -> usize {
        self.engine.workers()
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
        };
        if let Some(log) = &mut self.log {
            log.write(&self.fleet, &Anchor::now(), &events);
        }
        Some(events)
    }

    pub async fn command(&self, command: Command) {
        self.engine.command(command).await;
    }

    /// Disconnects everything, ends the workers, finishes the log. Returns what is to be said of
    /// lines that could not be written.
    pub async fn stop(self) -> Option<String> {
        self.engine.stop().await;
        match self.log {
            Some(log) => log.finish().await,
            None => None,
        }
    }
}
