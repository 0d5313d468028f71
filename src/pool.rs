//! Defines the pool: the worker processes of a fleet, where each client is placed, and their supervision; what the clients are told to do is the engine's matter.

mod definitions;
pub mod files;
mod last_words;
mod orders;
mod placement;
mod process;
mod silence;

use std::{net::IpAddr, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};

pub use placement::Placement;

use crate::{
    clock::Moment,
    event::{Cause, Reason, WorkerEvent},
    fleet::{ClientKey, Difference, EndpointKey, Fleet, WorkerKey},
    pool::{
        definitions::Definitions,
        orders::{Inbox, Orders},
        process::Process,
        silence::Silence,
    },
    text::Scrubbed,
    wire::{FromWorker, Report, Slot, ToWorker, WireError},
};

/// What a worker's supervisor tells the engine.
#[derive(Debug)]
pub enum PoolNews {
    /// The worker knows its clients and takes orders.
    Ready(WorkerKey),
    Report(WorkerKey, Report),
    /// The worker is gone, or as good as gone, and with it its connections. Another one is on its way.
    Lost {
        worker: WorkerKey,
        cause: Cause,
        at: Moment,
    },
    /// For the event log.
    Event {
        worker: WorkerKey,
        event: WorkerEvent,
        detail: Scrubbed,
    },
    /// Something that the operator should read about all workers.
    Warning(Scrubbed),
}

/// The workers of a fleet. Dropping it ends them: each worker exits when its end of the link closes.
#[derive(Debug)]
pub struct Pool {
    placement: Arc<Placement>,
    definitions: Definitions,
    orders: Vec<Orders>,
    news: mpsc::Receiver<PoolNews>,
    /// For supervisors to come.
    news_sender: mpsc::Sender<PoolNews>,
    stop: watch::Sender<bool>,
    supervisors: JoinSet<()>,
}

impl Pool {
    /// How many pieces of news may wait for the engine. Where it is full, the worker keeps its
    /// reports, and folds them, until there is room.
    const NEWS: usize = 256;
    /// How long a worker may take to disconnect its clients before it is killed.
    const STOP: Duration = Duration::from_secs(4);

    /// Starts the workers that `fleet` needs.
    pub fn start(fleet: &Arc<Fleet>) -> Pool {
        let placement = Arc::new(Placement::new(fleet));
        let definitions = Definitions::new(fleet, &placement);
        let (news_sender, news) = mpsc::channel(Self::NEWS);
        if let Some(words) = files::shortage(&placement) {
            let _ = news_sender.try_send(PoolNews::Warning(Scrubbed::new(&words))); // there is room
        }
        let (orders, supervisors, stop) = (Vec::new(), JoinSet::new(), watch::Sender::new(false));
        let mut pool = Pool { placement, definitions, orders, news, news_sender, stop, supervisors };
        pool.start_workers();
        pool
    }

    /// Starts those workers that are not there yet.
    fn start_workers(&mut self) {
        for worker in self.placement.workers().skip(self.orders.len()) {
            // An order to connect and one to disconnect for each slot, twice over. A worker that
            // leaves more than that lying does not read its orders any more.
            let (orders, inbox) = orders::queue(4 * self.placement.room_of(worker) as usize + 16);
            self.orders.push(orders);
            let supervisor = Supervisor {
                worker,
                definitions: self.definitions.clone(),
                inbox,
                news: self.news_sender.clone(),
                stop: self.stop.subscribe(),
            };
            self.supervisors.spawn(supervisor.run());
        }
    }

    /// The fleet is another one from now on: its clients get their places, and orders that are given from now on hold
    /// for what it says.
    pub fn revise(&mut self, fleet: &Arc<Fleet>, difference: &Difference) {
        self.placement = Arc::new(self.placement.extended(fleet));
        self.definitions.revise(fleet, &self.placement, difference);
        self.start_workers();
    }

    pub fn placement(&self) -> &Arc<Placement> {
        &self.placement
    }

    /// Waits for the next piece of news.
    pub async fn next(&mut self) -> Option<PoolNews> {
        let news = self.news.recv().await;
        if let Some(PoolNews::Lost { worker, .. }) = &news {
            self.orders[worker.index()].begin_life();
        }
        news
    }

    /// Tells the workers where an endpoint's first hop is, for the connects that are ordered from now on.
    pub fn learn(&self, endpoint: EndpointKey, addresses: &Arc<[IpAddr]>) {
        self.definitions.learn(endpoint, addresses);
    }

    /// Gives an order about a client to its worker. A worker that leaves so many lying that one is
    /// lost is as good as dead: its supervisor replaces it, and all its clients are lined up anew.
    pub fn order(&self, client: ClientKey, order: impl FnOnce(Slot) -> ToWorker) {
        let (worker, slot) = self.placement.of(client);
        self.orders[worker.index()].give(order(slot));
    }

    /// Disconnects everything, ends all workers and waits until the last one is gone.
    pub async fn stop(mut self) {
        let _ = self.stop.send(true);
        // Supervisors that wait to be heard would wait for ever.
        self.news.close();
        while self.supervisors.join_next().await.is_some() {}
    }
}

/// Keeps one worker process alive.
struct Supervisor {
    worker: WorkerKey,
    definitions: Definitions,
    inbox: Inbox,
    news: mpsc::Sender<PoolNews>,
    stop: watch::Receiver<bool>,
}

/// Why a worker has to be replaced.
#[derive(Debug)]
enum Failure {
    /// Talking to it failed.
    Talk(WireError),
    /// It says nothing any more.
    Silent,
}

impl<T: Into<WireError>> From<T> for Failure {
    fn from(error: T) -> Self {
        Failure::Talk(error.into())
    }
}

/// Why a worker is not looked after any more.
enum End {
    /// The pool ends.
    Stopped,
    /// It died, or had to be killed.
    Died(Scrubbed),
}

impl Supervisor {
    /// A worker that lived this long starts anew at once; one that dies young is given time.
    const YOUNG: Duration = Duration::from_secs(10);
    const MAX_PAUSE: Duration = Duration::from_secs(10);
    /// How long a new worker may take to say hello.
    const HELLO: Duration = Duration::from_secs(10);
    /// How long a worker may leave orders lying for which there is no room in its socket any more.
    const ORDERS: Duration = Duration::from_secs(5);

    async fn run(mut self) {
        let mut early_deaths = 0u32;
        let mut first = true;
        loop {
            let born = Instant::now();
            let detail = match self.live(first).await {
                End::Stopped => return,
                End::Died(detail) => detail,
            };
            first = false;
            early_deaths = if born.elapsed() < Self::YOUNG { early_deaths + 1 } else { 0 };
            let pause = match early_deaths {
                0 | 1 => Duration::ZERO,
                n => (Duration::from_millis(250) * (1 << n.min(6))).min(Self::MAX_PAUSE),
            };
            let held = match self.definitions.clients_of(self.worker) {
                1 => "client waits".to_owned(),
                n => format!("{n} clients wait"),
            };
            let again = match pause {
                Duration::ZERO => "starting it again".to_owned(),
                pause => format!("starting it again in {:.1} s", pause.as_secs_f64()),
            };
            let detail = Scrubbed::new(&format!("{detail}; its {held}; {again}"));
            let event = WorkerEvent::Died;
            if self.tell(PoolNews::Event { worker: self.worker, event, detail }).await.is_err() {
                return;
            }
            tokio::select! {
                () = sleep(pause) => {}
                _ = self.stop.changed() => return,
            }
        }
    }

    /// One life of the worker.
    async fn live(&mut self, first: bool) -> End {
        let mut process = match Process::spawn(self.worker) {
            Ok(process) => process,
            Err(error) => {
                let how = Scrubbed::new(&format!("cannot start: {error}"));
                return match self.lose(Reason::WorkerLost, how.clone()).await {
                    Ok(()) => End::Died(how),
                    Err(()) => End::Stopped,
                };
            }
        };
        let end = self.serve(&mut process, first).await;
        match end {
            Ok(()) => {
                process.stop(Pool::STOP).await;
                End::Stopped
            }
            Err(Failure::Talk(error)) => {
                let how = process.bury(error).await;
                // At once, so that nobody takes dead connections for live ones.
                match self.lose(Reason::WorkerLost, how.clone()).await {
                    Ok(()) => End::Died(how),
                    Err(()) => End::Stopped,
                }
            }
            Err(Failure::Silent) => match self.tell_silence().await {
                Ok(()) => End::Died(process.put_down(&format!("silent for {} s", Silence::LIMIT.as_secs())).await),
                Err(()) => End::Stopped,
            },
        }
    }

    /// Tells the engine that the worker's clients have no connections any more.
    async fn lose(&mut self, reason: Reason, detail: Scrubbed) -> Result<(), ()> {
        let cause = Cause { reason, detail };
        self.tell(PoolNews::Lost { worker: self.worker, cause, at: Moment::now() }).await?;
        // Orders for this one are void for the next: its clients are lined up anew.
        self.inbox.begin_life();
        Ok(())
    }

    /// The same of a worker that is silent, before anything else is done about it.
    async fn tell_silence(&mut self) -> Result<(), ()> {
        let patience = Silence::LIMIT.as_secs();
        let detail = Scrubbed::new(&format!("for {patience} s (stopped, or hung)"));
        self.tell(PoolNews::Event { worker: self.worker, event: WorkerEvent::Silent, detail }).await?;
        let detail = Scrubbed::new(&format!("no word for {patience} s (stopped, or hung)"));
        self.lose(Reason::WorkerSilent, detail).await
    }

    /// Talks to the worker until the pool stops (`Ok`) or the worker fails.
    async fn serve(&mut self, process: &mut Process, first: bool) -> Result<(), Failure> {
        let mut seen = 0;
        let greeted = tokio::select! {
            greeted = timeout(Self::HELLO, process.greet(self.definitions.since(self.worker, &mut seen))) => greeted,
            _ = self.stop.changed() => return Ok(()),
        };
        greeted.map_err(|_| late())??;
        let event = if first { WorkerEvent::Started } else { WorkerEvent::Restarted };
        let detail = WorkerEvent::birth(process.id(), self.definitions.clients_of(self.worker));
        let introduction = [PoolNews::Event { worker: self.worker, event, detail }, PoolNews::Ready(self.worker)];
        for news in introduction {
            if self.tell(news).await.is_err() {
                return Ok(());
            }
        }
        let mut batch = Vec::new();
        let mut silence = Silence::new(Instant::now());
        let mut look = interval(Silence::LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = self.stop.changed() => return Ok(()),
                frame = process.receiver.recv() => {
                    silence.hear();
                    match frame? {
                        FromWorker::Beat => {}
                        FromWorker::Report(report) => {
                            if self.tell(PoolNews::Report(self.worker, report)).await.is_err() {
                                return Ok(());
                            }
                        }
                        FromWorker::Hello(_) => return Err(WireError::Stranger.into()),
                    }
                }
                _ = look.tick() => {
                    if silence.look(Instant::now()) {
                        return Err(Failure::Silent);
                    }
                }
                more = self.inbox.take(&mut batch) => {
                    if !more.map_err(|_| late())? {
                        return Ok(());
                    }
                    let sent = timeout(Self::ORDERS, async {
                        for order in self.definitions.since(self.worker, &mut seen).into_iter().chain(batch.drain(..)) {
                            process.sender.feed(&order).await?;
                        }
                        process.sender.flush().await?;
                        Ok::<_, WireError>(())
                    });
                    sent.await.map_err(|_| late())??;
                }
            }
        }
    }

    /// Tells the engine; fails where the pool is stopping.
    async fn tell(&mut self, news: PoolNews) -> Result<(), ()> {
        tokio::select! {
            sent = self.news.send(news) => sent.map_err(|_| ()),
            _ = self.stop.changed() => Err(()),
        }
    }
}

fn late() -> WireError {
    WireError::Io(std::io::ErrorKind::TimedOut.into())
}

/// The path that starts this very program again, also when a package upgrade has replaced its file.
pub fn own_binary() -> std::io::Result<std::path::PathBuf> {
    let link = std::path::Path::new("/proc/self/exe");
    if link.exists() { Ok(link.to_owned()) } else { std::env::current_exe() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of one worker, with the engine's ends: its orders, its news, its order to stop.
    fn supervisor() -> (Supervisor, Orders, mpsc::Receiver<PoolNews>, watch::Sender<bool>) {
        let fleet = placement::tests::fleet(500, &[3]);
        let (stop, stopped) = watch::channel(false);
        let (news, heard) = mpsc::channel(4);
        let (orders, inbox) = orders::queue(4);
        let fleet = Arc::new(fleet);
        let definitions = Definitions::new(&fleet, &Arc::new(Placement::new(&fleet)));
        let worker = WorkerKey(0);
        (Supervisor { worker, definitions, inbox, news, stop: stopped }, orders, heard, stop)
    }

    /// It runs, and says nothing: so does one whose loop spins, or waits for a lock that nobody gives back.
    #[tokio::test]
    async fn a_worker_that_says_nothing_any_more_is_noticed_though_it_runs() {
        use crate::wire::{Hello, link};

        let (mut process, theirs) = Process::mute();
        let (mut supervisor, _orders, _heard, _stop) = supervisor();
        let (mut sender, _receiver) = link(theirs);
        let worker = async {
            sender.send(&FromWorker::Hello(Hello::new())).await.expect("to greet");
            for _ in 0..3 {
                sleep(Duration::from_secs(1)).await;
                sender.send(&FromWorker::Beat).await.expect("to beat");
            }
            Instant::now()
        };
        // On a machine that does much else its own late looks put the end off.
        let served = timeout(12 * Silence::LIMIT, supervisor.serve(&mut process, true));
        let (end, last) = tokio::join!(served, worker);
        assert!(matches!(end, Ok(Err(Failure::Silent))), "{end:?}");
        assert!(last.elapsed() >= Silence::LIMIT, "after {:?}", last.elapsed());
    }

    #[tokio::test]
    async fn a_worker_that_never_greets_does_not_keep_the_pool_from_stopping() {
        let (mut process, _silent) = Process::mute();
        let (mut supervisor, _orders, _heard, stop) = supervisor();
        let (end, ()) = tokio::join!(timeout(Supervisor::HELLO / 2, supervisor.serve(&mut process, true)), async {
            stop.send_replace(true);
        });
        assert!(end.expect("it waits for the greeting").is_ok());
    }
}
