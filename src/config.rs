//! Defines the floor that reads files: the fleet file, keymaps and themes become values or errors with their places; it connects nothing and draws nothing.

mod address;
mod expand;
mod fleet_file;
mod format;
mod glyphs;
mod key;
mod keymap;
mod nearest;
mod password;
mod redact;
mod report;
mod settings;
mod template;
mod theme;
mod tree;

use std::{
    ffi::OsString,
    fs::{File, OpenOptions},
    io::{ErrorKind, Read, Write},
    path::Path,
};

pub use glyphs::{Badge, Glyphs};
pub use key::Key;
pub use keymap::Keymap;
pub use report::{FileErrors, Warning};
pub use theme::Theme;

use crate::fleet::Fleet;
use report::Report;

/// The commented fleet file that `mqfleet init` writes.
pub const STARTER: &str = include_str!("../assets/fleet.toml");

/// A fleet file that is right.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub fleet: Fleet,
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
}

/// Reads a fleet file, with the passwords it refers to. The errors are all that it has, not only the
/// first.
pub fn load(path: &Path) -> Result<Loaded, FileErrors> {
    let text = read_file(path)?;
    parse(&text, &path.display().to_string(), path.parent().unwrap_or(Path::new("")))
}

/// As [`load`], for a fleet file's text: `file_name` is for messages and gives the fleet its name if
/// the file does not, and `base_dir` is where relative paths start.
pub fn parse(text: &str, file_name: &str, base_dir: &Path) -> Result<Loaded, FileErrors> {
    let name = Path::new(file_name).file_stem().map_or("fleet".into(), |stem| stem.to_string_lossy());
    let around = Surroundings {
        base_dir,
        name: &name,
        env: &|name| std::env::var_os(name),
        host: &|| rustix::system::uname().nodename().to_string_lossy().into_owned(),
    };
    parse_within(text, file_name, &around)
}

fn parse_within(text: &str, file_name: &str, around: &Surroundings<'_>) -> Result<Loaded, FileErrors> {
    let mut report = Report::new(file_name, text, Some(format::REDACTION));
    let fleet = tree::parse(text, &mut report, |root, report| fleet_file::read(root, report, around));
    report.finish(fleet).map(|(fleet, warnings)| Loaded { fleet, warnings })
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

/// The largest file that is read, in bytes.
const FILE_MAX: u64 = 16 << 20;

/// Reads a file of text, at most [`FILE_MAX`] bytes of it.
pub(crate) fn read_file(path: &Path) -> Result<String, FileErrors> {
    let wrong = |what: String, help: Option<&str>| {
        FileErrors::of_file(&path.display().to_string(), what, help.map(str::to_owned))
    };
    let file = File::open(path).map_err(|e| wrong(format!("cannot open {}: {e}", path.display()), None))?;
    let mut bytes = Vec::new();
    file.take(FILE_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| wrong(format!("cannot read {}: {e}", path.display()), None))?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(wrong(
            format!("{} is larger than {} MiB", path.display(), FILE_MAX >> 20),
            Some("is it the right file?"),
        ));
    }
    String::from_utf8(bytes).map_err(|e| {
        let line = e.as_bytes()[..e.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count() + 1;
        wrong(format!("{} is not UTF-8: line {line} has other bytes", path.display()), Some("save it as UTF-8 text"))
    })
}
