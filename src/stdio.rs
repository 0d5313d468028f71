//! Defines how text goes to standard output and standard error when whoever reads them may be gone; a screen and a run's lines have writers of their own.

use std::io::{self, Write};

/// Writes a text to standard output. A reader that went away is not an error.
///
/// # Errors
/// Where it cannot be written for any other reason, such as a full disk.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(e),
        _ => Ok(()),
    }
}

/// Writes a line to standard error. Where that cannot be, there is nobody left to tell it to.
pub fn complain(line: &str) {
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}
