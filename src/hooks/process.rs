//! Defines one process of a hook: what it is started with, for how long it may run, and how it did; what it is told is its hook's matter.

use std::{io, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{ChildStderr, ChildStdin},
    task::JoinHandle,
    time::timeout,
};
use tracing::debug;

use super::queue::{Change, Words};
use crate::{
    program::Running,
    telling::Hook,
    text::{Scrubbed, ellipsize},
};

/// A running process of a hook, with all that it started itself. Dropping it kills them.
pub(super) struct Process {
    running: Running,
    stdin: Option<ChildStdin>,
    /// The first line that it says, once it has said all.
    words: Option<JoinHandle<Scrubbed>>,
}

/// Where what a process says goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sayings {
    /// Standard output nowhere, and standard error to the developer's log.
    Kept,
    /// Both to our own.
    Shown,
}

impl Process {
    /// How long one that was told to end (SIGTERM) may take to do so.
    const GRACE: Duration = Duration::from_millis(1_500);
    /// How long the last words of one that has ended may be on their way.
    const DYING: Duration = Duration::from_millis(200);
    /// Bytes of what one says that are looked at; the rest is read and forgotten.
    const WORDS: u64 = 16 << 10;

    /// Starts one, for this change where it is for one alone.
    pub fn start(hook: &Hook, words: &Words, change: Option<&Change>, sayings: Sayings) -> io::Result<Process> {
        let mut command = hook.run.command();
        command.stdin(Stdio::piped()).envs(variables(hook, words, change));
        match sayings {
            Sayings::Kept => command.stdout(Stdio::null()).stderr(Stdio::piped()),
            Sayings::Shown => command.stdout(Stdio::inherit()).stderr(Stdio::inherit()),
        };
        let mut running = Running::start(command)?;
        let child = running.child();
        let name = hook.name.clone();
        let words = child.stderr.take().map(|stderr| tokio::spawn(listen(stderr, name)));
        Ok(Process { stdin: child.stdin.take(), running, words })
    }

    /// Its standard input; there is one, once.
    pub fn input(&mut self) -> Option<ChildStdin> {
        self.stdin.take()
    }

    /// Feeds it until all is said or it has ended, and waits for its end. `limit` is how long all that may take.
    ///
    /// # Errors
    /// How it failed, in words.
    pub async fn finish(mut self, feed: impl Future<Output = ()>, limit: Duration) -> Result<(), String> {
        let running = &self.running;
        let ended = async {
            tokio::select! {
                biased;
                ended = running.ended() => return ended,
                () = feed => {}
            }
            running.ended().await
        };
        match timeout(limit, ended).await {
            Err(_) => {
                self.running.end(Self::GRACE).await;
                let limit = humantime::format_duration(limit);
                Err(self.with_words(format!("did not end within {limit}, and was ended")).await)
            }
            Ok(ended) => {
                let status = match ended {
                    Ok(()) => self.running.finish().await,
                    Err(error) => Err(error),
                };
                match status {
                    Ok(status) if status.success() => Ok(()),
                    Ok(status) => Err(self.with_words(format!("failed ({status})")).await),
                    Err(error) => Err(format!("cannot be waited for: {error}")),
                }
            }
        }
    }

    async fn with_words(&mut self, how: String) -> String {
        let Some(words) = self.words.take() else { return how };
        match timeout(Self::DYING, words).await {
            Ok(Ok(words)) if !words.is_empty() => format!("{how}: {}", ellipsize(&words, 120)),
            _ => how,
        }
    }
}

/// What a process finds in its environment of the fleet and, where it is for one change, of that.
fn variables(hook: &Hook, words: &Words, change: Option<&Change>) -> Vec<(&'static str, String)> {
    let fleet = &words.fleet;
    let mut variables = vec![("MQFLEET_FLEET", fleet.name.to_string()), ("MQFLEET_HOOK", hook.name.to_string())];
    if let Some(Change { step, .. }) = change {
        variables.extend([
            ("MQFLEET_CLIENT", fleet.client(step.client).name.to_string()),
            ("MQFLEET_ENDPOINT", fleet.endpoint(step.endpoint).name.to_string()),
            ("MQFLEET_FROM", step.from.name().to_owned()),
            ("MQFLEET_TO", step.to.name().to_owned()),
            ("MQFLEET_REASON", step.reason.name().to_owned()),
            ("MQFLEET_DETAIL", step.detail.to_string()),
            ("MQFLEET_ATTEMPT", step.attempt.to_string()),
        ]);
    }
    variables
}

/// Takes what a process says into the developer's log, and returns its first line.
async fn listen(stderr: ChildStderr, hook: Scrubbed) -> Scrubbed {
    let mut first = Scrubbed::default();
    let mut stderr = BufReader::new(stderr);
    let mut heard = (&mut stderr).take(Process::WORDS);
    let mut line = Vec::new();
    while heard.read_until(b'\n', &mut line).await.is_ok_and(|read| read > 0) {
        let said = Scrubbed::from_bytes(line.trim_ascii());
        debug!(%hook, "hook says: {said}");
        if first.is_empty() {
            first = said;
        }
        line.clear();
    }
    // A full pipe would stop it.
    let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
    first
}
