//! Defines the floor that reads files: the fleet file, keymaps and themes become values or errors with their places; it connects nothing and draws nothing.

mod glyphs;
mod key;
mod keymap;
mod nearest;
mod redact;
mod report;
mod theme;
mod tree;

use std::{fs::File, io::Read, path::Path};

pub use glyphs::{Badge, Glyphs};
pub use key::Key;
pub use keymap::Keymap;
pub use report::{FileErrors, Warning};
pub use theme::Theme;

/// The largest file that is read, in bytes.
const FILE_MAX: u64 = 16 << 20;

/// Reads a file of text, at most [`FILE_MAX`] bytes of it.
fn read_file(path: &Path) -> Result<String, FileErrors> {
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
