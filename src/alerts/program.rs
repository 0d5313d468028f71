//! Defines how a message is given to a program: the webhook's body on its standard input, without a shell, in a clean environment and for a limited time.

use std::{io, process::Stdio, time::Duration};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
    time::{sleep, timeout},
};

use super::{courier::Failure, message::Message};
use crate::{
    telling::Program,
    text::{Scrubbed, ellipsize},
};

/// How long it may take, and how long one that was told to end (SIGTERM) may take to do so.
const LIMIT: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(2));
/// What it may know of our environment; everything else stays here, passwords among it.
const ENVIRONMENT: [&str; 4] = ["PATH", "HOME", "LANG", "TZ"];
/// Bytes that are read of what it says of a failure.
const WORDS: u64 = 4 << 10;

pub(super) async fn send(program: &Program, receiver: &str, message: &Message) -> Result<(), Failure> {
    let [command, arguments @ ..] = program.command.as_slice() else { return Err(Failure::new("no program")) };
    let name = ellipsize(&Scrubbed::new(command), 48);
    let body = message.webhook(receiver).to_string() + "\n";
    let child = Command::new(command)
        .args(arguments)
        .current_dir(&program.folder)
        .env_clear()
        .envs(ENVIRONMENT.iter().filter_map(|name| Some((*name, std::env::var_os(name)?))))
        .env("MQFLEET_FLEET", message.fleet.as_str())
        .env("MQFLEET_NOTIFIER", receiver)
        .env("MQFLEET_STATUS", if message.is_firing() { "firing" } else { "resolved" })
        .env("MQFLEET_ID", &message.id)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| Failure::new(format!("cannot start \"{name}\": {error}")))?;
    let mut group = Group::of(child);
    let ended = match timeout(LIMIT.0, group.talk(body)).await {
        Ok(ended) => ended,
        Err(_) => {
            group.end().await;
            return Err(Failure::new(format!("\"{name}\" did not end within {} s", LIMIT.0.as_secs())));
        }
    };
    match ended {
        Ok((true, _)) => Ok(()),
        Ok((false, words)) => Err(Failure::new(format!("\"{name}\" failed{words}"))),
        Err(error) => Err(Failure::new(format!("\"{name}\" cannot be heard: {error}"))),
    }
}

/// A program and the processes that it started itself. Dropping it kills them, unless it ended.
struct Group {
    child: Child,
    /// As long as nobody has waited for the program, its number is no other's.
    id: Option<Pid>,
}

impl Group {
    fn of(child: Child) -> Group {
        let id = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        Group { child, id }
    }

    /// Whether it succeeded, and what it said of a failure.
    async fn talk(&mut self, body: String) -> io::Result<(bool, String)> {
        let (stdin, stderr) = (self.child.stdin.take(), self.child.stderr.take());
        let write = async {
            if let Some(mut stdin) = stdin {
                let _ = stdin.write_all(body.as_bytes()).await; // it needs not read all of it
            }
        };
        let read = async {
            let mut bytes = Vec::new();
            if let Some(mut stderr) = stderr {
                (&mut stderr).take(WORDS).read_to_end(&mut bytes).await?;
                tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await?; // a full pipe would stop it
            }
            io::Result::Ok(bytes)
        };
        let ((), bytes) = tokio::join!(write, read);
        let status = self.child.wait().await?;
        self.id = None;
        let words = String::from_utf8_lossy(&bytes?).into_owned();
        let first = words.lines().map(str::trim).find(|line| !line.is_empty());
        let words = first.map(|line| format!(": {}", ellipsize(&Scrubbed::new(line), 200))).unwrap_or_default();
        Ok((status.success(), format!(" ({status}){words}")))
    }

    /// Tells them all to end, waits a while, and kills who is left.
    async fn end(&mut self) {
        self.signal(Signal::TERM);
        sleep(LIMIT.1).await;
        // Nobody has waited for it yet, so that its number cannot be another's.
        self.signal(Signal::KILL);
        self.id = None;
        let _ = self.child.wait().await;
    }

    fn signal(&self, signal: Signal) {
        if let Some(id) = self.id {
            let _ = kill_process_group(id, signal); // they may be gone already
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}
