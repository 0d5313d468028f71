//! Defines the metrics of a run, which a subscriber of the bus keeps, an HTTP server tells to who scrapes them, and a task pushes to a database; what is done with them is Prometheus' and Grafana's matter.
//!
//! The subscriber is a thread with a mailbox and a [`crate::model::Known`] of its own. With each second it puts up a
//! sheet of all figures, which are those of that very second, as in the JSON summary. A scrape only writes the last sheet: it
//! asks nobody, and nobody waits for it.

mod counts;
mod dashboard;
mod exposition;
mod influx;
mod processes;
mod rules;
mod server;
mod sheet;
pub mod table;

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use tokio::{sync::oneshot, task::JoinHandle, time::sleep};

pub use dashboard::{Source, dashboard};
pub use exposition::{Format, Labels, Sheet};
pub use rules::rules;

use crate::{
    bus::{Bus, Subscription, Taken},
    clock::Moment,
    event::{State, What},
    fleet::Fleet,
    metrics::{counts::Counts, influx::Maker, processes::Processes, sheet::fill},
    telling::{self, Telling},
};

/// The metrics of a run, served and pushed until this is dropped.
#[derive(Debug)]
pub struct Metrics {
    address: Option<SocketAddr>,
    tasks: Vec<JoinHandle<()>>,
    /// Ends when all that happened was counted.
    counted: oneshot::Receiver<()>,
    pushed: Option<influx::Queue>,
}

impl Metrics {
    /// Starts to keep the figures of a run that is to begin, to serve them at `listen` and to push them where `telling`
    /// says. `workers` is how many workers it has. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// Where nothing can listen at that address.
    pub fn start(
        telling: &Telling,
        listen: Option<SocketAddr>,
        fleet: Arc<Fleet>,
        workers: usize,
        bus: &Bus,
    ) -> io::Result<Metrics> {
        let board = Arc::new(Board { workers, posted: Mutex::new(None) });
        let (mut address, mut tasks) = (None, Vec::new());
        if let Some(listen) = listen {
            let listener = std::net::TcpListener::bind(listen)?;
            listener.set_nonblocking(true)?;
            let listener = tokio::net::TcpListener::from_std(listener)?;
            address = Some(listener.local_addr()?);
            tasks.push(tokio::spawn(server::serve(listener, board.clone())));
        }
        let maker = telling.metrics.influx.as_ref().map(|influx| Maker::new(influx, &fleet.name, bus));
        let pushed = maker.as_ref().map(Maker::queue);
        if let (Some(influx), Some(queue)) = (&telling.metrics.influx, &pushed) {
            tasks.push(tokio::spawn(influx::run(influx.clone(), queue.clone(), bus.clone())));
        }
        let (done, counted) = oneshot::channel();
        let keeper = Keeper {
            counts: Counts::new(fleet, telling, bus.begin().moment()),
            processes: Processes::default(),
            looked: None,
            settings: telling.metrics.clone(),
            bus: bus.clone(),
            board,
            maker,
        };
        let events = bus.subscribe("metrics");
        std::thread::Builder::new().name("metrics".into()).spawn(move || {
            keeper.run(events);
            let _ = done.send(());
        })?;
        Ok(Metrics { address, tasks, counted, pushed })
    }

    /// Where it listens, if it does.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Waits, once the bus is closed, for points that are still to be pushed, for at most three seconds. Returns what
    /// is to be said of the rest.
    pub async fn finish(mut self) -> Option<String> {
        const PATIENCE: Duration = Duration::from_secs(3);
        let begin = Instant::now();
        let _ = tokio::time::timeout(PATIENCE, &mut self.counted).await;
        let is_pushed = || self.pushed.as_ref().is_none_or(influx::Queue::is_empty);
        while !is_pushed() && begin.elapsed() < PATIENCE {
            sleep(Duration::from_millis(20)).await;
        }
        (!is_pushed()).then(|| "the last metrics did not reach InfluxDB".to_owned())
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// The thread's part.
struct Keeper {
    counts: Counts,
    processes: Processes,
    /// When the kernel was last asked about them.
    looked: Option<Instant>,
    settings: telling::Metrics,
    bus: Bus,
    board: Arc<Board>,
    maker: Option<Maker>,
}

impl Keeper {
    fn run(mut self, mut events: Subscription) {
        let mut last: Option<(Arc<Sheet>, DateTime<Utc>)> = None;
        loop {
            let events = match events.wait(Duration::from_secs(60)) {
                Taken::Events(events, _) => events,
                Taken::Nothing => continue,
                Taken::Closed => break,
            };
            for event in events {
                self.counts.apply(&event);
                if let What::Second(wall) = event.what {
                    last = Some((self.tell(event.at, wall), wall));
                }
            }
        }
        if let (Some(maker), Some((sheet, wall))) = (&mut self.maker, last) {
            maker.take(&sheet, wall, true);
        }
    }

    /// Puts up the figures of a second.
    fn tell(&mut self, now: Moment, wall: DateTime<Utc>) -> Arc<Sheet> {
        if self.looked.is_none_or(|looked| looked.elapsed() >= Board::LOOK) {
            self.looked = Some(Instant::now());
            look(&mut self.processes, &self.counts);
        }
        let Keeper { counts, settings, processes, bus, .. } = self;
        let sheet = Arc::new(fill(counts, settings, processes, &bus.queues(), &bus.deliveries(), now, wall));
        let ready = counts.workers.values().filter(|worker| worker.process.is_some()).count();
        let totals = counts.known.totals();
        let (up, all) = (totals.of(State::Up), totals.all());
        *self.board.posted() = Some(Posted { at: Instant::now(), sheet: sheet.clone(), ready, up, all });
        if let Some(maker) = &mut self.maker {
            maker.take(&sheet, wall, false);
        }
        sheet
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
