//! Defines one worker process as the console sees it: its start, its link, its end; what is said over the link is the supervisor's matter.

use std::{
    io,
    os::unix::process::ExitStatusExt,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::BufReader,
    process::{Child, Command},
    task::JoinHandle,
    time::timeout,
};

use crate::{
    debug_log,
    fleet::WorkerKey,
    pool::last_words::{LastWords, listen},
    text::Scrubbed,
    wire::{self, FromWorker, Hello, ToWorker, WireError},
};

/// A running worker and the link to it.
pub(super) struct Process {
    child: Child,
    pub sender: wire::Sender,
    pub receiver: wire::Receiver,
    last_words: Arc<Mutex<LastWords>>,
    /// Ends with the process's standard error.
    listener: Option<JoinHandle<()>>,
}

/// What a worker may know of our environment. Everything else stays here: a fleet file may take its
/// passwords from there.
const ENVIRONMENT: [&str; 7] = [
    "PATH",
    "LANG",
    "LC_ALL",
    "RUST_BACKTRACE",
    "LD_LIBRARY_PATH",
    // Where OpenSSL has the system's trust store, if not in its usual place.
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

impl Process {
    /// How long a worker that is about to die may take.
    const DYING: Duration = Duration::from_millis(200);

    /// Starts the worker as a process of this same binary. Its standard input is its end of the
    /// link; it is in a process group of its own, so that Ctrl-C at the terminal reaches only us.
    pub fn spawn(worker: WorkerKey) -> io::Result<Process> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let mut command = Command::new(crate::pool::own_binary()?);
        command
            .arg0("mqfleet")
            .args(["worker", &worker.0.to_string()])
            .args(debug_log::is_on().then_some("--debug-log"))
            .env_clear()
            .envs(ENVIRONMENT.iter().filter_map(|name| Some((*name, std::env::var_os(name)?))))
            // The C library gives each thread a heap of its own, up to eight a core, and returns little of
            // what was used there once: a worker's few threads allocate in turns and can share two.
            .env("MALLOC_ARENA_MAX", "2")
            .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command.spawn()?;
        let last_words = Arc::new(Mutex::new(LastWords::default()));
        let words = |stderr| tokio::spawn(listen(BufReader::new(stderr), last_words.clone()));
        let listener = child.stderr.take().map(words);
        let (sender, receiver) = wire::link(tokio::net::UnixStream::from_std(ours)?);
        Ok(Process { child, sender, receiver, last_words, listener })
    }

    /// The process ID; 0 once it has been waited for.
    pub fn id(&self) -> u32 {
        self.child.id().unwrap_or(0)
    }

    /// Exchanges hellos and tells the worker its clients, and what is known of the endpoints.
    pub async fn greet(&mut self, definitions: Vec<ToWorker>) -> Result<(), WireError> {
        self.sender.send(&ToWorker::Hello(Hello::new())).await?;
        match self.receiver.recv().await? {
            FromWorker::Hello(hello) => wire::check_hello(&hello)?,
            FromWorker::Report(_) | FromWorker::Beat => return Err(WireError::Stranger),
        }
        for definition in definitions {
            self.sender.feed(&definition).await?;
        }
        self.sender.flush().await
    }

    /// Lets the worker disconnect its clients and exit; kills it where it takes longer than `patience`.
    pub async fn stop(mut self, patience: Duration) {
        let ended = timeout(patience, async {
            // A worker that reads nothing any more has no room for this either.
            let _ = self.sender.send(&ToWorker::Stop).await;
            // What it still reports has to be read, or it could not finish.
            while self.receiver.recv::<FromWorker>().await.is_ok() {}
            self.child.wait().await
        });
        if ended.await.is_err() {
            let _ = self.child.kill().await;
        }
    }

    /// Makes sure that a worker with which talking failed is dead, and tells how it died.
    pub async fn bury(mut self, error: WireError) -> Scrubbed {
        let died_itself = timeout(Self::DYING, self.child.wait()).await;
        let how = match died_itself {
            Ok(Ok(status)) => describe(status),
            _ => {
                let why = match error {
                    WireError::Io(e) if e.kind() == io::ErrorKind::TimedOut => "did not take its orders".into(),
                    error => error.to_string(),
                };
                self.kill(&why).await
            }
        };
        self.with_last_words(&how).await
    }

    /// Ends a worker that does not speak any more, and tells how it died.
    pub async fn put_down(mut self, why: &str) -> Scrubbed {
        let how = self.kill(why).await;
        self.with_last_words(&how).await
    }

    /// Kills it, also where it is stopped. One that hangs in the kernel dies later: nobody waits for that.
    async fn kill(&mut self, why: &str) -> String {
        let _ = timeout(10 * Self::DYING, self.child.kill()).await;
        format!("{why}, killed")
    }

    async fn with_last_words(self, how: &str) -> Scrubbed {
        if let Some(listener) = self.listener {
            let _ = timeout(Self::DYING, listener).await; // what it said may still be in the pipe
        }
        let words = self.last_words.lock().unwrap_or_else(PoisonError::into_inner);
        match words.get() {
            "" => Scrubbed::new(how),
            words => Scrubbed::new(&format!("{how} ({words})")),
        }
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

#[cfg(test)]
impl Process {
    /// A process that neither reads nor writes its end of the link, and that end.
    pub fn mute() -> (Process, tokio::net::UnixStream) {
        let (ours, theirs) = tokio::net::UnixStream::pair().expect("a pair");
        let child = Command::new("sleep").arg("60").kill_on_drop(true).spawn().expect("a process");
        let (sender, receiver) = wire::link(ours);
        (Process { child, sender, receiver, last_words: Arc::default(), listener: None }, theirs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{event::ConnectOrder, fleet::EndpointKey};

    #[tokio::test]
    async fn a_worker_that_reads_nothing_any_more_is_killed_in_the_end() {
        let (mut process, _silent) = Process::mute();
        let id = rustix::process::Pid::from_raw(process.id() as i32).expect("a process");
        let order = ToWorker::Connect {
            slot: 0,
            order: ConnectOrder { generation: 1, endpoint: EndpointKey(0), manner: Default::default() },
            credentials: None,
        };
        let fill = async { while process.sender.send(&order).await.is_ok() {} };
        assert!(timeout(Duration::from_millis(300), fill).await.is_err(), "the socket took everything");
        let stopped = timeout(Duration::from_secs(10), process.stop(Duration::from_millis(100))).await;
        assert!(stopped.is_ok(), "it waits for ever");
        assert!(rustix::process::test_kill_process(id).is_err(), "it is still there");
    }

    #[tokio::test]
    async fn the_last_words_of_a_dead_worker_are_heard_however_late() {
        for _ in 0..20 {
            let (mut process, _silent) = Process::mute();
            let mut dying = Command::new("sh");
            dying.args(["-c", "echo no room >&2; exit 3"]).stderr(Stdio::piped());
            process.child = dying.spawn().expect("a process");
            let stderr = process.child.stderr.take().expect("its words");
            process.listener = Some(tokio::spawn(listen(BufReader::new(stderr), process.last_words.clone())));
            assert_eq!(process.bury(WireError::Closed).await.as_str(), "exited with code 3 (no room)");
        }
    }
}
