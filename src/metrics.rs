//! Defines the metrics of a run, which a subscriber of the bus keeps and an HTTP server tells to who scrapes them; what is done with them is Prometheus' matter.
//!
//! The subscriber is a thread with a mailbox and a [`crate::model::Known`] of its own. With each second it puts up a
//! sheet of all figures, which are those of that very second, as in the JSON summary. A scrape only writes the last sheet: it
//! asks nobody, and nobody waits for it.

mod counts;
mod exposition;
mod processes;
mod server;
mod sheet;
pub mod table;

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::task::JoinHandle;

pub use exposition::{Format, Labels, Sheet};

use crate::{
    bus::{Bus, Taken},
    event::What,
    fleet::Fleet,
    metrics::{counts::Counts, processes::Processes, sheet::fill},
    telling,
};

/// The metrics of a run, served until this is dropped.
#[derive(Debug)]
pub struct Metrics {
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl Metrics {
    /// Starts to keep the figures of a run that is to begin, and to serve them where `settings` say. `workers` is
    /// how many workers it has. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// Where nothing can listen at that address.
    pub fn start(
        settings: &telling::Metrics,
        listen: SocketAddr,
        fleet: Arc<Fleet>,
        workers: usize,
        bus: &Bus,
    ) -> io::Result<Metrics> {
        let listener = std::net::TcpListener::bind(listen)?;
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        let board = Arc::new(Board { workers, posted: Mutex::new(None) });
        let mut events = bus.subscribe("metrics");
        let keeper =
            (Counts::new(fleet, settings.clone(), bus.begin().moment()), settings.clone(), bus.clone(), board.clone());
        std::thread::Builder::new().name("metrics".into()).spawn(move || {
            let (mut counts, settings, bus, board) = keeper;
            let (mut processes, mut looked) = (Processes::default(), None);
            loop {
                let events = match events.wait(Duration::from_secs(60)) {
                    Taken::Events(events, _) => events,
                    Taken::Nothing => continue,
                    Taken::Closed => return,
                };
                for event in events {
                    counts.apply(&event);
                    let What::Second(wall) = event.what else { continue };
                    if looked.is_none_or(|looked: Instant| looked.elapsed() >= Board::LOOK) {
                        looked = Some(Instant::now());
                        look(&mut processes, &counts);
                    }
                    let sheet = fill(&counts, &settings, &processes, &bus.queues(), event.at, wall);
                    let ready = counts.workers.values().filter(|worker| worker.process.is_some()).count();
                    let up = counts.known.totals().of(crate::event::State::Up);
                    let posted = Posted {
                        at: Instant::now(),
                        sheet: Arc::new(sheet),
                        ready,
                        up,
                        all: counts.known.totals().all(),
                    };
                    *board.posted() = Some(posted);
                }
            }
        })?;
        let server = tokio::spawn(server::serve(listener, board));
        Ok(Metrics { address, server })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Looks at the program's processes.
fn look(processes: &mut Processes, counts: &Counts) {
    processes.look("main", std::process::id());
    for (worker, of_worker) in &counts.workers {
        if let Some(process) = of_worker.process {
            processes.look(&format!("worker-{worker}"), process);
        }
    }
}

/// Where the last sheet is put up.
#[derive(Debug)]
struct Board {
    workers: usize,
    posted: Mutex<Option<Posted>>,
}

#[derive(Debug)]
struct Posted {
    at: Instant,
    sheet: Arc<Sheet>,
    /// Workers that hold their clients; clients that are up, and all.
    ready: usize,
    up: u32,
    all: u32,
}

impl Board {
    /// A run that has told no second for so long does not live.
    const SILENCE: Duration = Duration::from_secs(5);
    /// How often the kernel is asked about the processes.
    const LOOK: Duration = Duration::from_secs(2);

    fn posted(&self) -> std::sync::MutexGuard<'_, Option<Posted>> {
        self.posted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sheet(&self) -> Option<Arc<Sheet>> {
        self.posted().as_ref().map(|posted| posted.sheet.clone())
    }

    /// Whether the run lives: its engine tells the time.
    fn health(&self) -> Result<String, String> {
        match &*self.posted() {
            None => Err("the run has only just begun".to_owned()),
            Some(Posted { at, .. }) if at.elapsed() > Self::SILENCE => {
                Err(format!("the engine has told no second for {} s", at.elapsed().as_secs()))
            }
            Some(_) => Ok("ok".to_owned()),
        }
    }

    /// Whether it does what it is for: every worker holds its clients. That a broker is down is not its fault.
    fn readiness(&self) -> Result<String, String> {
        self.health()?;
        match &*self.posted() {
            Some(Posted { ready, .. }) if *ready < self.workers => {
                Err(format!("{ready} of {} workers are up", self.workers))
            }
            Some(Posted { up, all, .. }) => Ok(format!("{up} of {all} clients are up")),
            None => Err("the run has only just begun".to_owned()),
        }
    }
}
