//! Defines where agents listen, how one of them is found, and the bytes that are carried there for another host.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    fs::{FlockOperation, OFlags, flock},
    io::Errno,
    process::geteuid,
};
use tokio::net::{UnixListener, UnixStream};

use super::{merger::TooMany, target::Target};
use crate::{
    stdio,
    store::Trouble,
    text::{self, Scrubbed},
    wire::WireError,
};

/// Why there is no agent to be had.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error("no agent runs here (looked into {}): start one with mqfleet up FILE, or mqfleet agent FILE", folder.display())]
    NoAgent { folder: PathBuf },
    #[error("several agents run here: {}; name one", names.join(", "))]
    Several { names: Vec<String> },
    #[error("no agent answers at {}: {error}; is it running? mqfleet agent FILE starts one", path.display())]
    NoAnswer { path: PathBuf, error: io::Error },
    #[error("an agent of {name:?} runs already: mqfleet attach {name}")]
    Running { name: String },
    #[error("cannot listen at {}: {error}", path.display())]
    Listen { path: PathBuf, error: io::Error },
    #[error("the agent speaks protocol {theirs} (mqfleet {version}), this mqfleet {ours}: {then}")]
    Protocol { theirs: u32, ours: u32, version: String, then: String },
    #[error("an agent of {name:?} runs already, without what {} asks for: mqfleet attach {name} shows it as it is, mqfleet ctl {name} stop ends it", options.join(" "))]
    Other { name: String, options: Vec<String> },
    #[error("the agent did not start: {0}")]
    Start(String),
    #[error("the agent does not answer: nothing within {}; is it stopped?", humantime::format_duration(*.0))]
    Silent(Duration),
    #[error("the agent cannot be talked to: {0}")]
    Wire(WireError),
    #[error("the agent refused: {0}")]
    Refused(String),
    #[error("{0:?} names no agent: a name, a path to a socket, or ssh://[USER@]HOST[:PORT]/NAME")]
    Target(String),
    #[error("{0}")]
    Ssh(String),
    #[error("{name} is attached to already, by the name before: name each agent once")]
    Twice { name: String },
    #[error("the agent of {name} answers there by now")]
    Another { name: String },
    #[error(transparent)]
    Store(#[from] Trouble),
    #[error(transparent)]
    TooMany(#[from] TooMany),
    #[error("{}", texts.join("\n"))]
    Each { texts: Vec<String> },
    #[error("there is no group {0:?} on this host, which [agent] group names")]
    Group(String),
}

impl From<WireError> for AgentError {
    fn from(error: WireError) -> AgentError {
        AgentError::Wire(error)
    }
}

/// A fleet's name as a file's ([`text::plain_name`]). A name that is longer than a socket's path has room for ends with a
/// sum of the whole.
pub(super) fn file_name(fleet: &str) -> String {
    const MOST: usize = 48;
    let name = text::plain_name(fleet);
    if name.len() <= MOST {
        return name;
    }
    // FNV-1a (RFC 9923).
    let sum = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{}-{sum:016x}", &name[..MOST])
}

/// Where root's agents listen, and those that are services.
const SERVICES: &str = "/run/mqfleet";

/// The folder of this user's sockets.
pub(super) fn folder() -> PathBuf {
    let id = geteuid().as_raw();
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty()) {
        Some(dir) => PathBuf::from(dir).join("mqfleet"),
        None if id == 0 => PathBuf::from(SERVICES),
        None if Path::new(&format!("/run/user/{id}")).is_dir() => format!("/run/user/{id}/mqfleet").into(),
        None => std::env::temp_dir().join(format!("mqfleet-{id}")),
    }
}

/// The socket of a fleet's agent.
pub(super) fn path_of(fleet: &str) -> PathBuf {
    // systemd's RuntimeDirectory=mqfleet/NAME is the unit's own.
    match std::env::var_os("RUNTIME_DIRECTORY") {
        Some(dir) if !dir.is_empty() => PathBuf::from(dir).join("agent.sock"),
        _ => folder().join(format!("{}.sock", file_name(fleet))),
    }
}

/// The sockets that are there, whether or not anybody listens, with the names of their fleets as those of files. The
/// user's own come first.
fn sockets() -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    let mut folders = vec![folder(), PathBuf::from(SERVICES)];
    folders.dedup(); // root's are the same
    for dir in folders {
        // What another user put into its place would show a fleet of his own, and take the commands.
        if is_trusted(&dir).is_err() {
            continue;
        }
        let mut paths: Vec<PathBuf> = fs::read_dir(&dir).into_iter().flatten().flatten().map(|e| e.path()).collect();
        paths.sort();
        for path in paths {
            match path.extension() {
                Some(kind) if kind == "sock" => found.push(path),
                _ => found.push(path.join("agent.sock")),
            }
        }
    }
    found.retain(|path| path.exists());
    found.into_iter().map(|path| (name_of(&path), path)).collect()
}

/// The name in a socket's path: `mqfleet attach` finds it by that.
fn name_of(path: &Path) -> String {
    let is_service = path.file_name().is_some_and(|name| name == "agent.sock");
    let named = if is_service { path.parent().and_then(Path::file_name) } else { path.file_stem() };
    named.unwrap_or_default().to_string_lossy().into_owned()
}

/// Those of them that somebody listens at; the others are what killed agents left.
async fn answering() -> Vec<(String, PathBuf, UnixStream)> {
    let mut answering = Vec::new();
    for (name, path) in sockets() {
        if let Ok(stream) = UnixStream::connect(&path).await {
            answering.push((text::of_plain_name(&name), path, stream));
        }
    }
    answering
}

/// The agents that run on this host, by the names of their fleets, with where they listen.
pub async fn running() -> Vec<(Scrubbed, Target)> {
    let running = answering().await.into_iter();
    running.map(|(name, path, _)| (Scrubbed::new(&name), Target::Path(path))).collect()
}

/// Connects to an agent on this host.
pub(super) async fn connect(target: &Target) -> Result<UnixStream, AgentError> {
    let at = |path: PathBuf| async move {
        UnixStream::connect(&path).await.map_err(|error| AgentError::NoAnswer { path, error })
    };
    match target {
        Target::Path(path) => at(path.clone()).await,
        Target::Name(name) => {
            // Over ssh it is written as in the file.
            let is_it = |(known, _): &(String, PathBuf)| *known == file_name(name) || *known == **name;
            let mut found = sockets().into_iter().filter(is_it);
            let first = at(found.next().map_or_else(|| path_of(name), |(_, path)| path)).await;
            // One that a killed agent left, or another user's, hides none that answers.
            for (_, path) in found {
                if first.is_ok() {
                    break;
                }
                if let Ok(stream) = at(path).await {
                    return Ok(stream);
                }
            }
            first
        }
        Target::Only => {
            let mut running = answering().await;
            match running.len() {
                0 => Err(AgentError::NoAgent { folder: folder() }),
                1 => Ok(running.remove(0).2),
                _ => Err(AgentError::Several { names: running.into_iter().map(|(name, ..)| name).collect() }),
            }
        }
        Target::Ssh { .. } => Err(AgentError::Target("ssh://".to_owned())),
        Target::Stored(stored) => Err(AgentError::Target(stored.store.to_string())),
    }
}

/// A fleet's agent is this process, and no other one, as long as this lives: its lock is the kernel's to give up.
pub(super) struct Claim {
    path: PathBuf,
    group: Option<u32>,
    _lock: File,
}

/// A socket that is listened at.
pub(super) struct Listening {
    pub listener: UnixListener,
    path: PathBuf,
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Makes the folder of a socket, where others may reach it or not.
pub(super) fn make_folder(path: &Path, is_shared: bool) -> io::Result<()> {
    let Some(dir) = path.parent() else { return Ok(()) };
    // Others' agents are below root's folder; a socket's own mode says who may connect.
    let mode = if is_shared || geteuid().is_root() { 0o755 } else { 0o700 };
    fs::DirBuilder::new().recursive(true).mode(mode).create(dir)?;
    is_trusted(dir)
}

/// Whether a folder is one, and this user's or root's: in the folder for temporary files anybody may be there first.
fn is_trusted(dir: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(dir)?;
    let why = match found.is_dir() {
        true if [geteuid().as_raw(), 0].contains(&found.uid()) => return Ok(()),
        true => format!("the folder {} is another user's", dir.display()),
        false => format!("{} is no folder", dir.display()),
    };
    Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
}

/// How long who starts waits for the agent before to have ended, which has taken its socket away.
const FAREWELL: Duration = Duration::from_secs(10);

/// Becomes the agent of a fleet, for the user's own consoles, or for those of a group, too.
pub(super) async fn claim(fleet: &str, group: Option<&str>) -> Result<Claim, AgentError> {
    let path = path_of(fleet);
    let failed = |error| AgentError::Listen { path: path.clone(), error };
    let group = match group {
        Some(name) => Some(group_id(name).ok_or_else(|| AgentError::Group(name.to_owned()))?),
        None => None,
    };
    make_folder(&path, group.is_some()).map_err(failed)?;
    let lock = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits() as i32)
        .open(path.with_extension("lock"))
        .map_err(failed)?;
    let end = Instant::now() + FAREWELL;
    loop {
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Claim { path, group, _lock: lock }),
            Err(Errno::WOULDBLOCK) if path.exists() || Instant::now() >= end => {
                return Err(AgentError::Running { name: fleet.to_owned() });
            }
            Err(Errno::WOULDBLOCK) => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(error) => return Err(failed(error.into())),
        }
    }
}

impl Claim {
    /// Listens for consoles.
    pub(super) fn listen(&self) -> Result<Listening, AgentError> {
        let failed = |error| AgentError::Listen { path: self.path.clone(), error };
        // Who holds the lock may take away what a killed agent left.
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let mask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
        let bound = UnixListener::bind(&self.path);
        rustix::process::umask(mask);
        let listening = Listening { listener: bound.map_err(failed)?, path: self.path.clone() };
        if let Some(group) = self.group {
            std::os::unix::fs::chown(&self.path, None, Some(group)).map_err(failed)?;
            fs::set_permissions(&self.path, Permissions::from_mode(0o660)).map_err(failed)?;
        }
        Ok(listening)
    }

    /// Where, and how a person names it.
    pub(super) fn place(&self) -> (&Path, String) {
        (&self.path, name_of(&self.path))
    }
}

/// The number of a group, which may be in a directory service that getent(1) asks.
fn group_id(name: &str) -> Option<u32> {
    let is_it = |fields: &[&str]| fields.first() == Some(&name);
    let known = entry(&fs::read_to_string("/etc/group").unwrap_or_default(), is_it);
    let found = known.or_else(|| {
        let found = Command::new("getent").args(["group", "--", name]).stdin(Stdio::null()).output().ok()?;
        entry(&String::from_utf8_lossy(&found.stdout), is_it)
    });
    found?.get(2)?.parse().ok()
}

/// The name of a user; the number where there is none.
pub(super) fn user_name(id: u32) -> String {
    let number = id.to_string();
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let found = entry(&users, |fields| fields.get(2) == Some(&number.as_str()));
    found.and_then(|fields| fields.first().cloned()).unwrap_or(number)
}

fn entry(text: &str, is_it: impl Fn(&[&str]) -> bool) -> Option<Vec<String>> {
    let mut lines = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
    Some(lines.find(|fields| is_it(fields))?.into_iter().map(str::to_owned).collect())
}

/// Carries bytes between standard input and output and an agent: the far end of `ssh://`.
///
/// # Errors
/// Where there is no agent. That the other end hangs up is none.
pub async fn relay(target: &Target) -> Result<(), AgentError> {
    let mut stream = connect(target).await?;
    let mut near = tokio::io::join(tokio::io::stdin(), tokio::io::stdout());
    if let Err(error) = tokio::io::copy_bidirectional(&mut near, &mut stream).await
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        stdio::complain(&format!("mqfleet: {error}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_s_name_cannot_leave_the_folder() {
        for (fleet, file) in
            [("plant-7", "plant-7"), ("Plant EU/7", "Plant%20EU%2F7"), ("../../etc", "%2E.%2F..%2Fetc")]
        {
            assert_eq!(file_name(fleet), file);
            assert_eq!(text::of_plain_name(file), fleet);
        }
    }

    #[test]
    fn no_two_fleets_have_the_same_file() {
        assert_ne!(file_name("a b"), file_name("a_b"));
        let long = |end: &str| file_name(&("x".repeat(500) + end));
        assert!(long("1").len() <= 65 && long("1") != long("2"));
    }

    #[test]
    fn a_folder_that_is_a_link_is_not_trusted() {
        let dir = tempfile::TempDir::new().expect("a folder");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path(), &link).expect("a link");
        assert!(is_trusted(dir.path()).is_ok() && is_trusted(&link).is_err());
    }
}
