//! Defines how a fleet file becomes a fleet, or errors with their places; it connects nothing.

mod address;
mod alerting;
mod argument;
mod bind;
mod conversation;
mod exceptions;
mod expand;
mod format;
mod headers;
mod hooks;
mod identity;
mod influx;
mod inventory;
mod measuring;
mod notifying;
mod password;
mod password_command;
mod pem;
mod pem_form;
mod proxy;
mod proxy_variables;
mod recovering;
mod settings;
mod size;
mod storing;
mod tables;
mod telling;
mod template;
mod transport;

use std::{
    ffi::OsString,
    fs::OpenOptions,
    io::{ErrorKind, Write},
    net::{IpAddr, UdpSocket},
    path::Path,
};

use chrono::{DateTime, Utc};

pub use argument::{endpoint, password_from_env, password_from_file, store};
pub use telling::listen;

use crate::{
    document::{self, FileErrors, Report, STDIN, Warning},
    fleet::Fleet,
    telling::Telling,
};

/// The commented fleet file that `mqfleet init` writes.
pub const STARTER: &str = include_str!("../assets/fleet.toml");

/// A fleet file that is right.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub fleet: Fleet,
    /// Whose members may attach to the fleet's agent, beside its own user (`[agent] group`).
    pub agent_group: Option<String>,
    /// What is told to programs outside.
    pub telling: Telling,
    /// What is doubtful about it all the same, in the order of the file's tables.
    pub warnings: Vec<Warning>,
}

/// What a fleet file refers to outside itself.
struct Surroundings<'a> {
    /// What relative paths are relative to.
    base_dir: &'a Path,
    /// The fleet's name, if the file gives none.
    name: &'a str,
    env: &'a dyn Fn(&str) -> Option<OsString>,
    host: &'a dyn Fn() -> String,
    /// Whether an address is one of this host's.
    is_own: &'a dyn Fn(IpAddr) -> bool,
    /// Of the keys that the clients of a table have each for itself, so many are opened.
    keys_opened: u64,
    /// What certificates are held against.
    now: DateTime<Utc>,
}

/// Keys of a table's clients that are opened before a run: to open those of 10,000 takes OpenSSL seconds.
const BEFORE_A_RUN: u64 = 100;
const ALL: u64 = u64::MAX;

/// Reads a fleet file, with the passwords it refers to. The errors are all that it has, not only the
/// first; but where each client has a key of its own, some are looked into for all.
pub fn load(path: &Path) -> Result<Loaded, FileErrors> {
    read_with(path, BEFORE_A_RUN)
}

/// As [`load`], and opens every key.
pub fn check(path: &Path) -> Result<Loaded, FileErrors> {
    read_with(path, ALL)
}

/// As [`check`], from standard input; relative paths are relative to the working directory.
pub fn check_stdin() -> Result<Loaded, FileErrors> {
    let text = document::read_stdin()?;
    parse(&text, STDIN, Path::new(""))
}

fn read_with(path: &Path, keys_opened: u64) -> Result<Loaded, FileErrors> {
    let text = document::read_file(path)?;
    parse_with(&text, &path.display().to_string(), path.parent().unwrap_or(Path::new("")), keys_opened)
}

/// As [`check`], for a fleet file's text: `file_name` is for messages and gives the fleet its name if
/// the file does not, and `base_dir` is where relative paths start.
pub fn parse(text: &str, file_name: &str, base_dir: &Path) -> Result<Loaded, FileErrors> {
    parse_with(text, file_name, base_dir, ALL)
}

fn parse_with(text: &str, file_name: &str, base_dir: &Path, keys_opened: u64) -> Result<Loaded, FileErrors> {
    let name = Path::new(file_name).file_stem().map_or("fleet".into(), |stem| stem.to_string_lossy());
    let around = Surroundings {
        base_dir,
        name: if file_name == STDIN { "fleet" } else { &name },
        env: &|name| std::env::var_os(name),
        host: &|| rustix::system::uname().nodename().to_string_lossy().into_owned(),
        is_own: &is_own,
        keys_opened,
        now: Utc::now(),
    };
    parse_within(text, file_name, &around)
}

/// Whether a socket can have the address. Where that cannot be said, it is taken for right.
fn is_own(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).err().is_none_or(|error| error.kind() != ErrorKind::AddrNotAvailable)
}

fn parse_within(text: &str, file_name: &str, around: &Surroundings<'_>) -> Result<Loaded, FileErrors> {
    let mut report = Report::new(file_name, text, Some(format::REDACTION));
    let read = document::parse(text, &mut report, |root, report| {
        let fleet = tables::read(root, report, around);
        let telling = telling::read(root, &fleet, report, around);
        (fleet, tables::read_agent(root, report), telling)
    });
    let read = report.finish(read);
    read.map(|((fleet, agent_group, telling), warnings)| Loaded { fleet, agent_group, telling, warnings })
}

/// Writes [`STARTER`] to a new file; one that is there already is left alone.
pub fn write_starter(path: &Path) -> Result<(), FileErrors> {
    let name = path.display().to_string();
    let written = OpenOptions::new().write(true).create_new(true).open(path).and_then(|mut file| {
        file.write_all(STARTER.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => FileErrors::of_file(
            &name,
            format!("{name} is there already and was left as it is"),
            Some("name another file, or remove that one first".into()),
        ),
        _ => FileErrors::of_file(&name, format!("cannot write {name}: {error}"), None),
    })
}

#[cfg(test)]
mod tests;
