//! Defines the child processes of a demo and the frames they are told things with; what a broker or a site does with them is in `broker` and `site`.

use std::{
    io,
    os::{fd::AsFd, unix::net::UnixStream as StdUnixStream},
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};
use tokio::{
    net::UnixStream,
    process::{Child, Command},
    sync::mpsc,
    time::timeout,
};

use super::{
    DemoError,
    relay::{Conditions, Cut},
};
use crate::{
    fleet::Secret,
    text::Scrubbed,
    wire::{self, Hello, WireError, check_hello, link},
};

/// The hidden subcommand that runs [`super::broker_main`].
pub(super) const BROKER: &str = "demo-broker";
/// The hidden subcommand that runs [`super::site_main`].
pub(super) const SITE: &str = "demo-site";

/// What a part is told. The first after the greeting says how to start.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToPart {
    Hello(Hello),
    /// Be the broker. The only user name and the only password it lets in; room for this many connections.
    Broker {
        username: String,
        password: Exposed,
        connections: u32,
    },
    /// Be a site: relay this many connections at most, from `port` (0 for any free one).
    Site {
        port: u16,
        connections: u32,
        conditions: Conditions,
        seed: u64,
    },
    /// Where the broker is now; none while it is down.
    BrokerAt(Option<u16>),
    Conditions(Conditions),
    /// Cut one connection, picked at random.
    Cut(Cut),
}

/// A password on its way through the pipe: in clear there, nowhere else.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Exposed(String);

impl Exposed {
    pub(super) fn new(secret: &Secret) -> Exposed {
        Exposed(secret.expose().to_owned())
    }

    pub(super) fn into_secret(self) -> Secret {
        Secret::new(self.0)
    }
}

impl std::fmt::Debug for Exposed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

/// What a part says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FromPart {
    Hello(Hello),
    /// It listens on this port of 127.0.0.1.
    Ready {
        port: u16,
    },
    /// It cannot do what it was told to, and ends.
    Failed(Scrubbed),
    /// Something the operator should know; it goes on.
    Notice(Scrubbed),
}

/// What a running part has to tell, or that it ended.
#[derive(Debug)]
pub(super) enum News {
    Notice(Scrubbed),
    Ended,
}

/// A running child process, killed when dropped.
pub(super) struct Part {
    process: Child,
    orders: wire::Sender,
    port: u16,
}

impl Part {
    /// The longest time from the start of the process to its port.
    const START: Duration = Duration::from_secs(10);
    /// How long a part may take to leave by itself before it is killed.
    const LEAVE: Duration = Duration::from_secs(1);

    /// Starts `program` as `role`, gives it its task and waits until it listens. What it says from
    /// then on goes to `news` together with `tag`; [`News::Ended`] is the last.
    pub(super) async fn start<T: Copy + Send + 'static>(
        program: &Path,
        role: &'static str,
        task: ToPart,
        tag: T,
        news: mpsc::Sender<(T, News)>,
    ) -> Result<Part, DemoError> {
        let spawn = |source| DemoError::Spawn { program: program.to_owned(), role, source };
        // The pair is close-on-exec: no other child holds an end, so an end's closing is always seen.
        let (ours, theirs) = StdUnixStream::pair().map_err(spawn)?;
        ours.set_nonblocking(true).map_err(spawn)?;
        let process = Command::new(program)
            .arg(role)
            .env_clear() // it needs nothing from there, and there may be secrets
            .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C at the terminal is the console's to handle; a part leaves when the console does.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(spawn)?;
        let (mut orders, mut reports) = link(UnixStream::from_std(ours).map_err(spawn)?);

        let greet = async {
            orders.feed(&ToPart::Hello(Hello::new())).await?;
            orders.send(&task).await?;
            loop {
                match reports.recv().await? {
                    FromPart::Hello(hello) => check_hello(&hello)?,
                    FromPart::Ready { port } => return Ok(Ok(port)),
                    FromPart::Failed(why) | FromPart::Notice(why) => return Ok(Err(why)),
                }
            }
        };
        let port = match timeout(Self::START, greet).await {
            Ok(Ok(Ok(port))) => port,
            Ok(Ok(Err(why))) => return Err(DemoError::Refused { role, why }),
            Ok(Err(source)) => return Err(DemoError::Talk { role, source }),
            Err(_) => return Err(DemoError::Slow { role, limit: Self::START }),
        };
        tokio::spawn(async move {
            loop {
                let item = match reports.recv().await {
                    Ok(FromPart::Notice(text) | FromPart::Failed(text)) => News::Notice(text),
                    Ok(FromPart::Hello(_) | FromPart::Ready { .. }) => continue,
                    Err(_) => News::Ended,
                };
                let last = matches!(item, News::Ended);
                if news.send((tag, item)).await.is_err() || last {
                    return;
                }
            }
        });
        Ok(Part { process, orders, port })
    }

    /// The port it listens on, at 127.0.0.1.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Sends one order. A part that is gone cannot be told anything; its end is in the news.
    pub(super) async fn tell(&mut self, order: &ToPart) {
        let _ = self.orders.send(order).await;
    }

    /// Kills it (SIGKILL) and waits until the process is gone.
    pub(super) async fn kill(mut self) {
        let _ = self.process.kill().await;
    }

    /// Closes the pipe, on which it leaves; kills it where it does not.
    pub(super) async fn stop(self) -> Option<ExitStatus> {
        let Part { mut process, orders, .. } = self;
        drop(orders);
        match timeout(Self::LEAVE, process.wait()).await {
            Ok(status) => status.ok(),
            Err(_) => {
                let _ = process.kill().await;
                None
            }
        }
    }
}

/// The child's end: the link on descriptor 0, and the task that came over it.
pub(super) async fn accept() -> Result<(wire::Sender, wire::Receiver, ToPart), WireError> {
    let end = io::stdin().as_fd().try_clone_to_owned()?;
    rustix::net::sockopt::socket_type(&end).map_err(|_| WireError::Stranger)?;
    let stream = StdUnixStream::from(end);
    stream.set_nonblocking(true)?;
    let (mut reports, mut orders) = link(UnixStream::from_std(stream)?);
    reports.send(&FromPart::Hello(Hello::new())).await?;
    match orders.recv().await? {
        ToPart::Hello(hello) => check_hello(&hello)?,
        _ => return Err(WireError::Stranger),
    }
    let task = orders.recv().await?;
    Ok((reports, orders, task))
}

/// Raises this process's limit of open files as far as it may; says why where that is below `need`.
pub(super) fn make_room(need: u64) -> Result<(), Scrubbed> {
    let limit = getrlimit(Resource::Nofile);
    let room = match limit.maximum {
        Some(hard) => hard,
        // Without a hard limit the kernel still has one of its own: ask for what is needed, no more.
        None => need.max(limit.current.unwrap_or(need)),
    };
    if room < need {
        return Err(Scrubbed::new(&format!(
            "{need} open files are needed but this system allows {room}: raise `ulimit -Hn`, or ask for fewer clients"
        )));
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(room), maximum: limit.maximum })
        .map_err(|e| Scrubbed::new(&format!("cannot raise the limit of open files to {room}: {e}")))
}
