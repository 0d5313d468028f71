//! Defines how a password's command is run: without a shell, in a clean environment, for a limited time and with limited words; when it is run is decided elsewhere.

use std::{io, process::Stdio, time::Duration};

use tokio::{io::AsyncReadExt, process::ChildStdout, time::timeout};

use super::source::READ;
use crate::{
    fleet::PasswordCommand,
    program::{self, Program, Running},
};

/// How long a command may take.
const LIMIT: Duration = if cfg!(test) { Duration::from_secs(1) } else { Duration::from_secs(10) };
/// How long one that was told to end (SIGTERM) may take to do so.
const ENDING: Duration = if cfg!(test) { Duration::from_secs(1) } else { Duration::from_secs(2) };

/// Runs it, and returns what it said on its standard output.
///
/// # Errors
/// Why that is no password, in words without it.
pub(super) async fn run(command: &PasswordCommand) -> Result<Vec<u8>, String> {
    let PasswordCommand { program: path, arguments, folder, .. } = command.clone();
    let program = Program { path, arguments, folder };
    let mut started = program.command();
    started
        .envs(command.variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let running = Running::start(started);
    let mut running = running.map_err(|error| format!("cannot start its command \"{}\": {error}", program.name()))?;
    match timeout(LIMIT, listen(&mut running)).await {
        Ok(said) => said.map_err(|why| format!("its command \"{}\" {why}", program.name())),
        Err(_) => {
            running.end(ENDING).await;
            Err(format!("its command \"{}\" did not end within {} s", program.name(), LIMIT.as_secs()))
        }
    }
}

async fn listen(running: &mut Running) -> Result<Vec<u8>, String> {
    let (stdout, stderr) = (running.child().stdout.take(), running.child().stderr.take());
    // The first error ends it: whoever says too much is not waited for.
    let (said, words) = tokio::try_join!(password(stdout), async { program::words(stderr).await.map_err(unheard) })?;
    let status = running.wait().await.map_err(unheard)?;
    match status.success() {
        true => Ok(said),
        // As the system words it: "exit status: 3", "signal: 9 (SIGKILL)".
        false if words.is_empty() => Err(format!("failed ({status})")),
        false => Err(format!("failed ({status}): {words}")),
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
