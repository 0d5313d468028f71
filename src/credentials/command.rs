//! Defines how a password's command is run: without a shell, in a clean environment, for a limited time and with limited words; when it is run is decided elsewhere.

use std::{io, process::Stdio, time::Duration};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open},
};
use tokio::{
    io::AsyncReadExt,
    process::{Child, ChildStderr, ChildStdout, Command},
    task::spawn_blocking,
    time::timeout,
};

use super::source::READ;
use crate::{
    fleet::PasswordCommand,
    text::{Scrubbed, ellipsize},
};

/// How long a command may take.
const LIMIT: Duration = if cfg!(test) { Duration::from_secs(1) } else { Duration::from_secs(10) };
/// How long one that was told to end (SIGTERM) may take to do so.
const ENDING: Duration = if cfg!(test) { Duration::from_secs(1) } else { Duration::from_secs(2) };
/// Bytes that are kept of what it says of a failure.
const WORDS: u64 = 4 << 10;

/// What a command may know of our environment; everything else stays here, other passwords among it.
const ENVIRONMENT: [&str; 4] = ["PATH", "HOME", "LANG", "TZ"];

/// Runs it, and returns what it said on its standard output.
///
/// # Errors
/// Why that is no password, in words without it.
pub(super) async fn run(command: &PasswordCommand) -> Result<Vec<u8>, String> {
    let program = || ellipsize(&Scrubbed::new(&command.program.to_string_lossy()), 48);
    let child = Command::new(&command.program)
        .args(&command.arguments)
        .current_dir(&command.folder)
        .env_clear()
        .envs(ENVIRONMENT.iter().filter_map(|name| Some((*name, std::env::var_os(name)?))))
        .envs(command.variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("cannot start its command \"{}\": {error}", program()))?;
    let mut group = Group::of(child);
    match timeout(LIMIT, group.listen()).await {
        Ok(said) => said.map_err(|why| format!("its command \"{}\" {why}", program())),
        Err(_) => {
            group.end().await;
            Err(format!("its command \"{}\" did not end within {} s", program(), LIMIT.as_secs()))
        }
    }
}

/// A command and the processes that it started itself. Dropping it kills them, unless it ended.
struct Group {
    child: Child,
    /// As long as nobody has waited for the command, its number is no other's.
    id: Option<Pid>,
}

impl Group {
    fn of(child: Child) -> Group {
        let id = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        Group { child, id }
    }

    async fn listen(&mut self) -> Result<Vec<u8>, String> {
        let (stdout, stderr) = (self.child.stdout.take(), self.child.stderr.take());
        // The first error ends it: whoever says too much is not waited for.
        let (said, words) = tokio::try_join!(password(stdout), words(stderr))?;
        let status = self.child.wait().await.map_err(unheard)?;
        self.id = None;
        match status.success() {
            true => Ok(said),
            // As the system words it: "exit status: 3", "signal: 9 (SIGKILL)".
            false if words.is_empty() => Err(format!("failed ({status})")),
            false => Err(format!("failed ({status}): {words}")),
        }
    }

    /// Tells them all to end, waits a while for the first of them, and kills who is left.
    async fn end(&mut self) {
        self.signal(Signal::TERM);
        if let Some(end) = self.id.and_then(|id| pidfd_open(id, PidfdFlags::empty()).ok()) {
            let limit = Timespec { tv_sec: ENDING.as_secs().cast_signed(), tv_nsec: 0 };
            let wait = move || poll(&mut [PollFd::new(&end, PollFlags::IN)], Some(&limit));
            let _ = spawn_blocking(wait).await; // killed it is in any case
        }
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

fn unheard(error: io::Error) -> String {
    format!("cannot be heard: {error}")
}

/// What it says, which is the password.
async fn password(from: Option<ChildStdout>) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        from.take(READ).read_to_end(&mut bytes).await.map_err(unheard)?;
    }
    match bytes.len() as u64 == READ {
        true => Err("says more than the 65,535 bytes of a password (MQTT 5.0 §1.5.6)".to_owned()),
        false => Ok(bytes),
    }
}

/// What it says of a failure: its first line that is not empty.
async fn words(from: Option<ChildStderr>) -> Result<String, String> {
    let mut bytes = Vec::new();
    if let Some(mut from) = from {
        (&mut from).take(WORDS).read_to_end(&mut bytes).await.map_err(unheard)?;
        tokio::io::copy(&mut from, &mut tokio::io::sink()).await.map_err(unheard)?; // a full pipe would stop it
    }
    let words = String::from_utf8_lossy(&bytes);
    Ok(words.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_owned())
}
