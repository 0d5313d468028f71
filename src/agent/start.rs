//! Defines how an agent is started that outlives the terminal it is started from.

use std::{
    ffi::OsString,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use super::socket::{self, AgentError, Target};
use crate::{pool, private};

/// The longest that an agent may take until it listens.
const PATIENCE: Duration = Duration::from_secs(30);

/// Starts an agent for a fleet file, with more arguments of `mqfleet agent`, unless one runs already, and waits
/// until it answers at `target`. Where systemd manages the user's processes it is a scope of its own, which the end
/// of the login session does not end; elsewhere a session of its own.
///
/// # Errors
/// Where it does not come up: with what it said.
pub async fn start(file: &Path, arguments: Vec<OsString>, target: &Target) -> Result<(), AgentError> {
    if socket::connect(target).await.is_ok() {
        return Ok(());
    }
    let Target::Path(path) = target else { return Err(AgentError::Target(String::new())) };
    let failed = |error| AgentError::Listen { path: path.clone(), error };
    socket::make_folder(path, false).map_err(failed)?;
    let said = path.with_extension("out");
    let _ = std::fs::remove_file(&said);
    let out = private::create(&said).map_err(failed)?;
    let program = pool::own_binary().and_then(std::fs::canonicalize).map_err(failed)?;
    let file = std::path::absolute(file).map_err(failed)?;
    let mut command = match has_user_manager() {
        true => {
            let mut command = Command::new("systemd-run");
            command.args(["--user", "--scope", "--quiet", "--collect", "--"]).arg(program);
            command
        }
        false => Command::new(program),
    };
    command.args(["agent", "--detached"]).arg(file).args(arguments);
    command.stdin(Stdio::null()).stdout(out.try_clone().map_err(failed)?).stderr(out);
    let mut child = command.spawn().map_err(failed)?;
    let end = Instant::now() + PATIENCE;
    loop {
        if socket::connect(target).await.is_ok() {
            return Ok(());
        }
        let ended = child.try_wait().map_err(failed)?;
        if ended.is_some() || Instant::now() >= end {
            let text = std::fs::read_to_string(&said).unwrap_or_default();
            let text = text.trim().trim_start_matches("mqfleet: ");
            let text = if text.is_empty() { "the agent did not come up" } else { text };
            return Err(failed(std::io::Error::other(text.to_owned())));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Whether systemd manages the processes of this user.
fn has_user_manager() -> bool {
    let dir = std::env::var_os("XDG_RUNTIME_DIR").map(std::path::PathBuf::from);
    dir.is_some_and(|dir| dir.join("systemd/private").exists())
}
