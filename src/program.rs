//! Defines how somebody else's program is run: without a shell, in a clean environment, in a process group of its own that can be ended as a whole; what it is told and what it says is its user's matter.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::{
    io::AsyncReadExt,
    process::{Child, ChildStderr, Command},
    signal::unix::{SignalKind, signal},
    time::timeout,
};

use crate::text::{Scrubbed, ellipsize};

/// What a program may know of our environment; everything else stays here, passwords among it.
const ENVIRONMENT: [&str; 4] = ["PATH", "HOME", "LANG", "TZ"];
/// Bytes that are looked at of what a program says of a failure.
const WORDS: u64 = 4 << 10;

/// A program, as the fleet file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Its path, or a name that is looked up in `PATH`.
    pub path: OsString,
    pub arguments: Vec<String>,
    /// Where it runs.
    pub folder: PathBuf,
}

impl Program {
    /// What it is called where it is told of: its path, which may be cut.
    pub fn name(&self) -> String {
        ellipsize(&Scrubbed::new(&self.path.to_string_lossy()), 48)
    }

    /// How it is started; standard input and output are left to say.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command
            .args(&self.arguments)
            .current_dir(&self.folder)
            .env_clear()
            .envs(ENVIRONMENT.iter().filter_map(|name| Some((*name, std::env::var_os(name)?))))
            .process_group(0)
            .kill_on_drop(true);
        command
    }
}

/// The file that a name stands for: itself, where it is a path, and else the first one in the folders of `path` that can
/// be run; `None` where there is none.
pub fn find(program: &OsStr, path: &OsStr) -> Option<PathBuf> {
    let is_program = |path: &Path| path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    if Path::new(program).components().count() == 1 && !Path::new(program).is_absolute() {
        return std::env::split_paths(path).map(|folder| folder.join(program)).find(|path| is_program(path));
    }
    Some(PathBuf::from(program)).filter(|path| is_program(path))
}

/// What a program says of a failure on its standard error: the first line that is not empty. All of it is read, for a
/// full pipe would stop the program.
///
/// # Errors
/// Where it cannot be heard, as the system has it.
pub async fn words(stderr: Option<ChildStderr>) -> io::Result<Scrubbed> {
    let Some(mut stderr) = stderr else { return Ok(Scrubbed::default()) };
    let mut bytes = Vec::new();
    (&mut stderr).take(WORDS).read_to_end(&mut bytes).await?;
    tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await?;
    let words = String::from_utf8_lossy(&bytes);
    Ok(Scrubbed::new(words.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default()))
}

/// A running program and the processes that it started itself. Dropping it kills them, unless it was waited for.
#[derive(Debug)]
pub struct Running {
    child: Child,
    /// As long as nobody has waited for the program, its number is no other's.
    id: Option<Pid>,
}

impl Running {
    /// # Errors
    /// Where it cannot be started, as the system has it.
    pub fn start(mut command: Command) -> io::Result<Running> {
        let child = command.spawn()?;
        let id = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        Ok(Running { child, id })
    }

    /// The program itself, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Waits for the program's end, and leaves alone what it left behind.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await?;
        self.id = None;
        Ok(status)
    }

    /// Waits until the program has ended, and leaves its number taken. Cancelling it loses nothing.
    ///
    /// # Errors
    /// Where no signals can be listened to.
    pub async fn ended(&self) -> io::Result<()> {
        const LOOK: WaitIdOptions = WaitIdOptions::EXITED.union(WaitIdOptions::NOHANG).union(WaitIdOptions::NOWAIT);
        let mut children = signal(SignalKind::child())?;
        while let Some(id) = self.id
            && let Ok(None) = waitid(WaitId::Pid(id), LOOK)
        {
            children.recv().await;
        }
        Ok(())
    }

    /// Waits for the program's end, and kills what it left behind in its group.
    pub async fn finish(&mut self) -> io::Result<ExitStatus> {
        self.ended().await?;
        self.signal(Signal::KILL);
        self.wait().await
    }

    /// Tells them all to end, waits a while for the first of them, and kills who is left.
    pub async fn end(&mut self, grace: Duration) {
        self.signal(Signal::TERM);
        let _ = timeout(grace, self.ended()).await; // killed it is in any case
        self.signal(Signal::KILL);
        let _ = self.wait().await;
    }

    fn signal(&self, signal: Signal) {
        if let Some(id) = self.id {
            let _ = kill_process_group(id, signal); // they may be gone already
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}
