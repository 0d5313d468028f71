//! Defines how a TOML file that a person wrote is read: its tables and values with their places, and all that is wrong in it; what its keys mean is the readers' matter.

mod escapes;
mod nearest;
mod redact;
mod report;
mod tree;

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

pub use nearest::nearest;
pub(crate) use redact::{Redaction, is_plain_url};
pub(crate) use report::{Draft, Elsewhere, Report, quoted};
pub use report::{FileErrors, Warning};
pub(crate) use tree::{Keys, Table, Value, parse, thousands};

/// What standard input is called in messages.
pub const STDIN: &str = "<stdin>";

/// The largest file that is read, in bytes: while it is read, it takes fifty times as much memory.
const FILE_MAX: u64 = 32 << 20;

/// Reads a file of text, at most [`FILE_MAX`] bytes of it.
pub(crate) fn read_file(path: &Path) -> Result<String, FileErrors> {
    let name = path.display().to_string();
    let file = File::open(path).map_err(|error| {
        let help = "only `mqfleet check -` reads standard input; a file of that name is ./-";
        FileErrors::of_file(&name, format!("cannot open {name}: {error}"), (name == "-").then(|| help.into()))
    })?;
    read_text(file, &name)
}

/// As [`read_file`], from standard input.
pub(crate) fn read_stdin() -> Result<String, FileErrors> {
    read_text(io::stdin().lock(), STDIN)
}

fn read_text(from: impl Read, name: &str) -> Result<String, FileErrors> {
    let wrong = |what: String, help: Option<&str>| FileErrors::of_file(name, what, help.map(str::to_owned));
    let mut bytes = Vec::new();
    from.take(FILE_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| wrong(format!("cannot read {name}: {error}"), None))?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(wrong(
            format!("{name} is larger than {} MiB", FILE_MAX >> 20),
            Some(
                "is it the right file? in a fleet file one [[client]] with `count` stands for many, and `from = \
                 \"devices.csv\"` for all that a registry exports",
            ),
        ));
    }
    String::from_utf8(bytes).map_err(|e| {
        let line = e.as_bytes()[..e.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count() + 1;
        wrong(format!("{name} is not UTF-8: line {line} has other bytes"), Some("save it as UTF-8 text"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_cannot_be_read_say_why() {
        let dir = tempfile::tempdir().unwrap();
        let stdin = read_text(&b"\xff"[..], STDIN).unwrap_err().to_string();
        assert!(stdin.contains("<stdin> is not UTF-8: line 1"), "{stdin}");
        let dash = read_file(Path::new("-")).unwrap_err().to_string();
        assert!(dash.contains("only `mqfleet check -` reads standard input"), "{dash}");
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("latin1"), b"[fleet]\nname = \"caf\xe9\"\n").unwrap();
        File::create(path("huge")).unwrap().set_len(FILE_MAX + 1).unwrap();
        for (name, says) in [
            ("nosuch", "cannot open"),
            (".", "cannot read"),
            ("latin1", "is not UTF-8: line 2"),
            ("huge", "is larger than 32 MiB"),
        ] {
            let errors = read_file(&path(name)).unwrap_err().to_string();
            assert!(errors.starts_with("error: ") && errors.contains(says), "{errors}");
        }
    }
}
