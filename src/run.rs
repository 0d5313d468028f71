//! Defines a live run: an engine, the log file and the recording that are kept of it, the hooks that are told and the store that is written; who shows it is the program's matter.

mod logfile;

use std::sync::Arc;

use tokio::sync::mpsc;

pub use logfile::LogFile;

use crate::{
    alerts::Alerts,
    bus::{Bus, Subscription},
    clock::Anchor,
    command::Command,
    engine::{Engine, Reviser},
    fleet::Fleet,
    hooks::Hooks,
    metrics::Metrics,
    recording::Recorder,
    store::Store,
};

/// A live run, and what is kept of it.
pub struct Run {
    fleet: Arc<Fleet>,
    bus: Bus,
    engine: Engine,
    kept: Kept,
}

/// What is kept of a run, or told of it.
#[derive(Default)]
pub struct Kept {
    pub log: Option<LogFile>,
    pub recorder: Option<Recorder>,
    /// Served and pushed for as long as it runs.
    pub metrics: Option<Metrics>,
    pub alerts: Option<Alerts>,
    pub hooks: Option<Hooks>,
    pub store: Option<Store>,
}

/// What shows a run hears of it, and tells it.
#[derive(Debug)]
pub struct Live {
    pub fleet: Arc<Fleet>,
    pub events: Subscription,
    pub commands: mpsc::Sender<Command>,
    /// What the wall clock said at its begin.
    pub begin: Anchor,
}

impl Run {
    /// Starts an engine for `fleet` that publishes on `bus`, whose subscribers (the log and the recorder, where
    /// there are such) are there. Must be called inside a tokio runtime. `seed` decides the jitter of retries.
    pub fn start(fleet: Arc<Fleet>, seed: u64, bus: Bus) -> Run {
        let engine = Engine::start(fleet.clone(), seed, bus.clone());
        Run { engine, fleet, bus, kept: Kept::default() }
    }

    /// Starts it with one who hears all of it.
    pub fn start_shown(fleet: Arc<Fleet>, seed: u64, bus: Bus) -> (Run, Live) {
        let events = bus.subscribe("shown");
        let run = Run::start(fleet, seed, bus);
        let live = Live { fleet: run.fleet.clone(), events, commands: run.commands(), begin: run.bus.begin() };
        (run, live)
    }

    /// Takes these along, to be finished with the run.
    #[must_use]
    pub fn with(self, mut kept: Kept) -> Run {
        if let Some(alerts) = &mut kept.alerts {
            alerts.command(self.commands());
        }
        Run { kept, ..self }
    }

    pub fn fleet(&self) -> &Arc<Fleet> {
        &self.fleet
    }

    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    pub fn workers(&self) -> usize {
        self.engine.workers()
    }

    /// Where commands go. They are carried out in their order; a full queue is waited for.
    pub fn commands(&self) -> mpsc::Sender<Command> {
        self.engine.commands()
    }

    /// Where the engine is told of another fleet.
    pub fn reviser(&self) -> Reviser {
        self.engine.reviser()
    }

    /// Disconnects everything, ends the workers, finishes the log, the recording, the metrics and the hooks. Returns what is
    /// to be said of what could not be written.
    pub async fn stop(self) -> Option<String> {
        self.engine.stop().await;
        let Kept { log, recorder, metrics, alerts, hooks, store } = self.kept;
        let log = async {
            match log {
                Some(log) => log.finish().await,
                None => None,
            }
        };
        let recorder = async {
            match recorder {
                Some(recorder) => recorder.finish().await,
                None => None,
            }
        };
        let metrics = async {
            match metrics {
                Some(metrics) => metrics.finish().await,
                None => None,
            }
        };
        let alerts = async {
            match alerts {
                Some(alerts) => alerts.finish().await,
                None => None,
            }
        };
        let hooks = async {
            if let Some(hooks) = hooks {
                hooks.finish().await;
            }
            None
        };
        let store = async {
            match store {
                Some(store) => store.finish().await,
                None => None,
            }
        };
        let words: Vec<String> =
            <[_; 6]>::from(tokio::join!(log, recorder, metrics, alerts, hooks, store)).into_iter().flatten().collect();
        (!words.is_empty()).then(|| words.join("; "))
    }
}
