//! Defines the way to another host's agent: ssh, which carries what is said between here and `mqfleet attach --stdio` there.

use std::{process::Stdio, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, ChildStdin, ChildStdout, Command},
    task::JoinHandle,
    time::timeout,
};

use super::socket::AgentError;
use crate::text::Scrubbed;

/// A child that carries what is written to it, and what is read from it. It ends with this.
pub(super) struct Ssh {
    pub(super) child: Child,
    pub(super) read: ChildStdout,
    pub(super) write: ChildStdin,
    pub(super) said: LastWords,
}

/// What ssh, or mqfleet at the far end, says beside that.
pub(super) struct LastWords {
    host: String,
    text: JoinHandle<Scrubbed>,
}

/// The longest that ssh is listened to after it has failed.
const FAREWELL: Duration = Duration::from_secs(2);

/// Starts it, for the agent of this name, or the only one there. `is_silent`: it asks nobody for a password.
///
/// # Errors
/// Where ssh cannot be run.
pub(super) fn start(host: &str, port: Option<u16>, name: &str, is_silent: bool) -> Result<Ssh, AgentError> {
    let mut ssh = Command::new("ssh");
    if is_silent {
        ssh.args(["-o", "BatchMode=yes"]);
    }
    if let Some(port) = port {
        ssh.arg("-p").arg(port.to_string());
    }
    // No terminal at the far end; nothing but plain characters is in the name, so no shell sees a meaning in it.
    ssh.args(["-T", "--", host, "mqfleet", "attach", "--stdio"]);
    if !name.is_empty() {
        ssh.arg(name);
    }
    // It asks for a password at the terminal itself; what else it says must not get onto our screen.
    ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let cannot = |why: &str| AgentError::Ssh(format!("cannot run ssh: {why}"));
    let mut child = ssh.spawn().map_err(|error| cannot(&error.to_string()))?;
    let (Some(read), Some(write), Some(said)) = (child.stdout.take(), child.stdin.take(), child.stderr.take()) else {
        return Err(cannot("it has no pipes"));
    };
    let said = LastWords { host: host.to_owned(), text: tokio::spawn(last_words(said)) };
    Ok(Ssh { child, read, write, said })
}

impl LastWords {
    /// Why there is nobody at the other end, where ssh knows, or mqfleet there.
    pub(super) async fn error(self) -> Option<AgentError> {
        let text = timeout(FAREWELL, self.text).await.ok()?.ok()?;
        (!text.is_empty()).then(|| AgentError::Ssh(format!("{}: {text}", self.host)))
    }
}

/// What a program says until its end, as far as a person would read it.
async fn last_words(mut said: impl AsyncRead + Unpin) -> Scrubbed {
    const MOST: usize = 2_000;
    let (mut text, mut buffer) = (Vec::new(), [0; 512]);
    while let Ok(count @ 1..) = said.read(&mut buffer).await {
        text.extend_from_slice(&buffer[..count]);
        text.drain(..text.len().saturating_sub(MOST));
    }
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().map(|line| line.trim_start_matches("mqfleet: ").trim()).collect();
    Scrubbed::new(lines.join("; ").trim_matches([' ', ';']))
}
