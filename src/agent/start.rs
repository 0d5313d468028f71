//! Defines how an agent is started that outlives the terminal it is started from.

use std::{
    ffi::OsString,
    io,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use super::{
    socket::{self, AgentError},
    target::Target,
};
use crate::{pool, private};

/// The longest that an agent may take until it listens.
const PATIENCE: Duration = Duration::from_secs(30);

/// Starts an agent for a fleet file, with more arguments of `mqfleet agent`, unless one runs already, and waits
/// until it answers at `target`. Where systemd manages the user's processes it is a scope of its own, which the end
/// of the login session does not end; elsewhere a session of its own.
///
/// # Errors
/// Where it does not come up: with what it said. Where one runs already that these arguments can do nothing for.
pub async fn start(file: &Path, fleet: &str, arguments: Vec<OsString>) -> Result<Target, AgentError> {
    let path = socket::path_of(fleet);
    let target = Target::Path(path.clone());
    let failed = |error: io::Error| AgentError::Start(error.to_string());
    // Before it is connected to: what is in another user's folder is not this user's agent.
    socket::make_folder(&path, false).map_err(failed)?;
    if socket::connect(&target).await.is_ok() {
        let mut options: Vec<String> = arguments.iter().map(|a| a.to_string_lossy().into_owned()).collect();
        options.retain(|argument| argument.starts_with("--"));
        return match options.is_empty() {
            true => Ok(target),
            false => Err(AgentError::Other { name: fleet.to_owned(), options }),
        };
    }
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
    let what = command.get_program().to_string_lossy().into_owned();
    let mut child = command.spawn().map_err(|error| AgentError::Start(format!("cannot run {what}: {error}")))?;
    let end = Instant::now() + PATIENCE;
    loop {
        if socket::connect(&target).await.is_ok() {
            return Ok(target);
        }
        let said = || std::fs::read_to_string(&said).unwrap_or_default();
        if let Some(status) = child.try_wait().map_err(failed)? {
            let said = said();
            let text = said.trim().trim_start_matches("mqfleet: ");
            return Err(AgentError::Start(if text.is_empty() { status.to_string() } else { text.to_owned() }));
        }
        if Instant::now() >= end {
            let text = format!(
                "it does not listen after {} s, and goes on trying as process {}",
                PATIENCE.as_secs(),
                child.id()
            );
            return Err(AgentError::Start(text));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Whether systemd manages the processes of this user.
fn has_user_manager() -> bool {
    let dir = std::env::var_os("XDG_RUNTIME_DIR").map(std::path::PathBuf::from);
    dir.is_some_and(|dir| dir.join("systemd/private").exists())
}
