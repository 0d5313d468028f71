//! Defines where agents listen, how one of them is found, and the bytes that are carried there for another host.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FlockOperation, OFlags, flock},
    process::geteuid,
};
use tokio::net::{UnixListener, UnixStream};

use super::merger::TooMany;
use crate::{stdio, text::Scrubbed, wire::WireError};

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
    #[error("the agent and this program do not understand each other: {0}")]
    Wire(#[from] WireError),
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
    TooMany(#[from] TooMany),
    #[error("{}", texts.join("\n"))]
    Each { texts: Vec<String> },
    #[error("there is no group {0:?} on this host, which [agent] group names")]
    Group(String),
}

/// Which agent is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The only one.
    Only,
    /// The one of this fleet.
    Name(String),
    Path(PathBuf),
    Ssh {
        /// As ssh takes it: `[USER@]HOST`.
        host: String,
        port: Option<u16>,
        name: String,
    },
}

impl Target {
    /// The same where it was found without a name: by that of its fleet.
    pub(super) fn named(self, fleet: &str) -> Target {
        match self {
            Target::Only => Target::Name(fleet.to_owned()),
            Target::Ssh { host, port, name } if name.is_empty() => Target::Ssh { host, port, name: file_name(fleet) },
            target => target,
        }
    }
}

impl std::str::FromStr for Target {
    type Err = AgentError;

    fn from_str(text: &str) -> Result<Target, AgentError> {
        let wrong = || AgentError::Target(text.to_owned());
        if let Some(rest) = text.strip_prefix("ssh://") {
            let (host, name) = rest.split_once('/').unwrap_or((rest, ""));
            let (host, port) = match host.rsplit_once(':') {
                Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse().map_err(|_| wrong())?)),
                _ => (host, None),
            };
            // What begins with a dash would be an option of ssh.
            if host.is_empty() || host.starts_with('-') || !name.chars().all(is_plain) {
                return Err(wrong());
            }
            return Ok(Target::Ssh { host: host.to_owned(), port, name: name.to_owned() });
        }
        match text {
            "" => Err(wrong()),
            path if path.contains('/') => Ok(Target::Path(path.into())),
            name => Ok(Target::Name(name.to_owned())),
        }
    }
}

/// What may be in a socket's name, and needs no quotes in a shell.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

/// A fleet's name as a file's.
pub(super) fn file_name(fleet: &str) -> String {
    let name: String = fleet.chars().map(|c| if is_plain(c) { c } else { '_' }).take(64).collect();
    if name.starts_with('.') { format!("_{name}") } else { name }
}

/// The folder of this user's sockets.
pub(super) fn folder() -> PathBuf {
    let id = geteuid().as_raw();
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty()) {
        Some(dir) => PathBuf::from(dir).join("mqfleet"),
        None if id == 0 => PathBuf::from("/run/mqfleet"),
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

/// The sockets that are there, whether or not anybody listens, with the names of their fleets.
fn sockets() -> Vec<(String, PathBuf)> {
    let entries = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten();
    let mut found = Vec::new();
    for dir in [folder(), PathBuf::from("/run/mqfleet")] {
        for entry in entries(&dir) {
            let name = entry.file_name().to_string_lossy().into_owned();
            match name.strip_suffix(".sock") {
                Some(name) => found.push((name.to_owned(), entry.path())),
                None => found.push((name, entry.path().join("agent.sock"))),
            }
        }
    }
    found.retain(|(_, path)| path.exists());
    found.sort();
    found.dedup();
    found
}

/// Those of them that somebody listens at; the others are what killed agents left.
async fn answering() -> Vec<(String, PathBuf, UnixStream)> {
    let mut answering = Vec::new();
    for (name, path) in sockets() {
        if let Ok(stream) = UnixStream::connect(&path).await {
            answering.push((name, path, stream));
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
            let found = sockets().into_iter().find(|(known, _)| *known == file_name(name));
            at(found.map_or_else(|| path_of(name), |(_, path)| path)).await
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
    }
}

/// A socket that is listened at. Its lock is held as long as this lives, and is the kernel's to give up.
pub(super) struct Listening {
    pub listener: UnixListener,
    pub path: PathBuf,
    _lock: File,
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Makes the folder of a socket, where others may reach it or not.
pub(super) fn make_folder(path: &Path, is_shared: bool) -> io::Result<()> {
    let Some(dir) = path.parent() else { return Ok(()) };
    fs::DirBuilder::new().recursive(true).mode(if is_shared { 0o755 } else { 0o700 }).create(dir)?;
    let owner = fs::metadata(dir)?.uid();
    if owner != geteuid().as_raw() && owner != 0 {
        let text = format!("the folder {} is another user's", dir.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    Ok(())
}

/// Listens for a fleet's consoles: for the user's own, or for those of a group, too.
pub(super) fn listen(fleet: &str, group: Option<&str>) -> Result<Listening, AgentError> {
    let path = path_of(fleet);
    let failed = |error| AgentError::Listen { path: path.clone(), error };
    make_folder(&path, group.is_some()).map_err(failed)?;
    let lock = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits() as i32)
        .open(path.with_extension("lock"))
        .map_err(failed)?;
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Err(AgentError::Running { name: fleet.to_owned() });
    }
    // Who holds the lock may take away what a killed agent left.
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let mask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
    let bound = UnixListener::bind(&path);
    rustix::process::umask(mask);
    let listener = bound.map_err(failed)?;
    if let Some(group) = group {
        let id = group_id(group).ok_or_else(|| AgentError::Group(group.to_owned()))?;
        std::os::unix::fs::chown(&path, None, Some(id)).map_err(failed)?;
        fs::set_permissions(&path, Permissions::from_mode(0o660)).map_err(failed)?;
    }
    Ok(Listening { listener, path, _lock: lock })
}

fn group_id(name: &str) -> Option<u32> {
    entry("/etc/group", |fields| fields.first() == Some(&name))?.get(2)?.parse().ok()
}

/// The name of a user; the number where there is none.
pub(super) fn user_name(id: u32) -> String {
    let number = id.to_string();
    let found = entry("/etc/passwd", |fields| fields.get(2) == Some(&number.as_str()));
    found.and_then(|fields| fields.first().cloned()).unwrap_or(number)
}

fn entry(path: &str, is_it: impl Fn(&[&str]) -> bool) -> Option<Vec<String>> {
    let text = fs::read_to_string(path).ok()?;
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
    fn targets_are_names_paths_and_other_hosts() {
        let ssh = |host: &str, port, name: &str| Target::Ssh { host: host.into(), port, name: name.into() };
        let good = [
            ("plant", Target::Name("plant".into())),
            ("./a.sock", Target::Path("./a.sock".into())),
            ("ssh://edge-7/plant", ssh("edge-7", None, "plant")),
            ("ssh://ops@edge-7:2222/plant", ssh("ops@edge-7", Some(2222), "plant")),
            ("ssh://[::1]/", ssh("[::1]", None, "")),
        ];
        for (text, target) in good {
            assert_eq!(text.parse::<Target>().expect(text), target);
        }
        for text in ["", "ssh://", "ssh://-oProxyCommand=x/y", "ssh://h/a;b", "ssh://h/$(x)", "ssh://h:x/a"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_fleet_s_name_cannot_leave_the_folder() {
        assert_eq!(file_name("Plant EU/7"), "Plant_EU_7");
        assert_eq!(file_name("../../etc"), "_.._.._etc");
        assert!(file_name(&"x".repeat(500)).len() <= 65);
    }
}
