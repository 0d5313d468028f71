//! Defines the worker process: orders in and reports out over the socket that is its standard input, MQTT clients inside; which client belongs into which worker is the pool's matter.

mod beat;
mod driver;
mod lane;
mod outbox;
mod reach;
mod talk;
mod timers;
mod watchdog;

use std::{
    io,
    os::{fd::AsFd, unix::net::UnixStream as StdStream},
    process::ExitCode,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::{
    net::UnixStream,
    runtime::{Builder, Handle},
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    task::JoinHandle,
    time::{sleep, timeout},
};

use self::{
    beat::Beat,
    driver::Driver,
    reach::{Answer, Reach},
};
use crate::{
    clock::Moment,
    paho::{Paho, Slots, Subject},
    stdio::complain,
    wire::{self, ClientDef, FromWorker, Hello, Receiver, Sender, Slot, ToWorker, WireError, check_hello},
};

/// How long the DISCONNECTs may take at the end.
const FAREWELL: Duration = Duration::from_millis(1_500);

/// Threads that make connections and carry what goes over them.
const CARRIERS: usize = 2;

/// The longest sleep of the loop, which looks then whether Paho is alive again.
const TICK: Duration = Duration::from_millis(900);

#[derive(Debug, thiserror::Error)]
enum WorkerError {
    #[error("standard input is not the socket of a console ({0}). Workers are started by mqfleet, not by hand")]
    NoLink(io::Error),
    #[error("Paho cannot create a client: {0}")]
    Paho(#[from] paho_mqtt::Error),
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("the console broke the protocol: {0}")]
    Protocol(&'static str),
}

/// Runs this process as a worker until the console says stop or closes its end.
pub fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            complain(&format!("worker: {e}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), WorkerError> {
    let link = StdStream::from(io::stdin().as_fd().try_clone_to_owned().map_err(WorkerError::NoLink)?);
    link.peer_addr().map_err(WorkerError::NoLink)?;
    link.set_nonblocking(true)?;
    // A socket a client; the usual soft limit of 1,024 is for programs that use select(2).
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    let _ = setrlimit(Resource::Nofile, files); // where it fails, the clients that fit still connect
    let paho = Rc::new(Paho::start()?);
    let beat = Beat::new({
        let paho = paho.clone();
        move || paho.is_alive(Moment::now())
    });
    watchdog::start(link.try_clone()?.into())?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    // Apart from the loop, which a handshake would keep waiting; two, so that two CPUs can be at handshakes.
    let carriers = Builder::new_multi_thread().worker_threads(CARRIERS).thread_name("carrier").enable_all().build()?;
    let result = runtime.block_on(async {
        let (sender, receiver) = wire::link(UnixStream::from_std(link)?);
        serve(carriers.handle(), sender, receiver, beat).await
    });
    // Destroying hundreds of clients one by one would be a long goodbye; the kernel is quicker.
    std::mem::forget((paho, runtime, carriers));
    match result {
        // The console may go at any time.
        Err(WorkerError::Wire(WireError::Closed)) => Ok(()),
        Err(WorkerError::Wire(WireError::Io(e)))
            if matches!(e.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) =>
        {
            Ok(())
        }
        other => other,
    }
}

async fn serve(carriers: &Handle, mut sender: Sender, mut receiver: Receiver, beat: Beat) -> Result<(), WorkerError> {
    let mut terminate = signal(SignalKind::terminate())?;
    sender.send(&FromWorker::Hello(Hello::new())).await?;
    let defs = tokio::select! {
        defs = introduce(&mut receiver) => defs?,
        _ = terminate.recv() => return Ok(()),
    };
    let Some((defs, room, first)) = defs else { return Ok(()) };
    let subject = |d: &ClientDef| Subject { topic: d.probe_topic.clone(), probe: d.settings.probe.kind };
    let mut subjects: Vec<Subject> = defs.iter().map(subject).collect();
    subjects.resize(subjects.len().max(room as usize), Subject::nobody());
    let (slots, marks) = Slots::new(subjects);
    let slots = Arc::new(slots);
    let (reach, answers) = Reach::new(carriers.clone());
    let driver = Driver::new(slots.clone(), defs, reach);
    let (reports, writer) = write_reports(sender);
    let mut worker = Worker { driver, slots, marks, answers, reports, beat };
    let result = worker.obey(first, &mut receiver, &mut terminate).await;
    watchdog::end_within_grace();
    worker.say_goodbye(writer).await;
    std::mem::forget(worker.driver);
    result
}

/// Greets the console and takes in the clients and for how many there is to be room, up to the first thing else; `None`
/// for an order to stop.
async fn introduce(receiver: &mut Receiver) -> Result<Option<(Vec<ClientDef>, Slot, ToWorker)>, WorkerError> {
    let (mut defs, mut slots) = (Vec::new(), 0);
    let mut greeted = false;
    loop {
        match receiver.recv().await? {
            ToWorker::Hello(hello) if !greeted => {
                check_hello(&hello)?;
                greeted = true;
            }
            _ if !greeted => return Err(WorkerError::Protocol("it did not greet first")),
            ToWorker::Hello(_) => return Err(WorkerError::Protocol("it greeted twice")),
            ToWorker::Define { room, first, clients } if first as usize == defs.len() => {
                slots = room;
                defs.extend(clients);
            }
            ToWorker::Define { .. } => return Err(WorkerError::Protocol("a definition of a slot out of its order")),
            ToWorker::Stop => return Ok(None),
            order => return Ok(Some((defs, slots, order))),
        }
    }
}

/// Sends reports as fast as the console reads them; one waits while one is being written.
fn write_reports(mut sender: Sender) -> (mpsc::Sender<FromWorker>, JoinHandle<()>) {
    let (reports, mut queue) = mpsc::channel(1);
    let writer = tokio::spawn(async move {
        while let Some(report) = queue.recv().await {
            if sender.send(&report).await.is_err() {
                return; // the console is gone: the receiving half tells
            }
        }
    });
    (reports, writer)
}

struct Worker {
    driver: Driver,
    slots: Arc<Slots>,
    marks: mpsc::Receiver<Slot>,
    answers: mpsc::Receiver<Answer>,
    reports: mpsc::Sender<FromWorker>,
    beat: Beat,
}

impl Worker {
    /// Obeys until told to stop; `Err` where the console is gone or makes no sense.
    async fn obey(
        &mut self,
        first: ToWorker,
        receiver: &mut Receiver,
        terminate: &mut Signal,
    ) -> Result<(), WorkerError> {
        let mut order = Some(first);
        loop {
            match order.take() {
                None => {}
                Some(ToWorker::Remote { endpoint, remote }) => self.driver.remote(endpoint, remote),
                Some(ToWorker::Connect { order, .. }) if !self.driver.knows(order.endpoint) => {
                    return Err(WorkerError::Protocol("an order to connect to an endpoint it did not describe"));
                }
                Some(ToWorker::Connect { slot, order, credentials }) if self.driver.has(slot) => {
                    self.driver.connect(slot, order, credentials);
                }
                Some(ToWorker::Disconnect { slot }) if self.driver.has(slot) => self.driver.disconnect(slot),
                Some(ToWorker::Stop) => return Ok(()),
                Some(ToWorker::Connect { .. } | ToWorker::Disconnect { .. }) => {
                    return Err(WorkerError::Protocol("an order for a slot that was not defined"));
                }
                Some(ToWorker::Define { first, clients, .. }) => {
                    for (slot, client) in (first..).zip(clients) {
                        if !self.driver.define(slot, client) {
                            return Err(WorkerError::Protocol("a definition of a slot that there is no room for"));
                        }
                    }
                }
                Some(ToWorker::Hello(_)) => return Err(WorkerError::Protocol("it greeted twice")),
            }
            tokio::select! {
                message = receiver.recv(), if !self.driver.outbox.is_crowded() => order = Some(message?),
                _ = terminate.recv() => return Ok(()),
                () = self.turn() => {}
            }
        }
    }

    /// Waits for one thing to happen other than an order, and deals with it. Cancelling it loses nothing.
    async fn turn(&mut self) {
        let now = Moment::now();
        let report = self.driver.outbox.due();
        let has_report = report.is_some_and(|at| at <= now);
        let may_send = (has_report || self.beat.due() <= now) && self.beat.is_alive();
        let sends = [report, Some(self.beat.due())].into_iter().flatten().filter(|&at| at > now);
        let wake = sends.fold(self.driver.next_due(), Moment::min);
        tokio::select! {
            Some(slot) = self.marks.recv() => {
                settle(&self.slots, &mut self.driver, slot);
                while let Ok(slot) = self.marks.try_recv() {
                    settle(&self.slots, &mut self.driver, slot);
                }
            }
            Some(answer) = self.answers.recv() => {
                self.driver.reached(answer);
                while let Ok(answer) = self.answers.try_recv() {
                    self.driver.reached(answer);
                }
            }
            Ok(permit) = self.reports.reserve(), if may_send => {
                self.beat.sent(now);
                if has_report {
                    self.driver.collect(now); // in their order with what else is told
                    permit.send(FromWorker::Report(self.driver.outbox.take(now)));
                } else {
                    permit.send(FromWorker::Beat);
                }
            }
            () = sleep(wake.since(now).min(TICK)) => {}
        }
        self.driver.on_time(Moment::now());
    }

    /// Disconnects all, reports it as far as anybody listens, and waits for both, but not long.
    async fn say_goodbye(&mut self, writer: JoinHandle<()>) {
        let farewell = async {
            self.driver.disconnect_all();
            self.driver.count();
            self.driver.collect(Moment::now());
            while self.driver.is_leaving() || (self.driver.outbox.due().is_some() && !writer.is_finished()) {
                self.turn().await;
            }
            let (nobody, _) = mpsc::channel(1);
            drop(std::mem::replace(&mut self.reports, nobody)); // the writer ends with the last report
            let _ = writer.await;
        };
        // Whoever is still connected then is cut by the end of the process.
        let _ = timeout(FAREWELL, farewell).await;
    }
}

/// The mark is taken off first: what is written to the cell from then on marks the slot again.
fn settle(slots: &Slots, driver: &mut Driver, slot: Slot) {
    slots.unmark(slot);
    driver.settle(slot);
}
