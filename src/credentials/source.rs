//! Defines how a password is fetched once from where it comes from, and what can be one; when that is done is decided elsewhere.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    time::Duration,
};

use tokio::{task::spawn_blocking, time::timeout};

use super::command;
use crate::{
    fleet::{PasswordSource, Secret},
    text::{Scrubbed, ellipsize},
};

/// The longest password MQTT can carry, in bytes (MQTT 5.0 §1.5.6).
pub(super) const LONGEST: usize = 65_535;
/// With the line end that is taken off, and one byte more to see that it is too much.
pub(super) const READ: u64 = LONGEST as u64 + 3;

/// How long a file may take to be read: as long as a command may take.
const LIMIT: Duration = if cfg!(test) { Duration::from_secs(1) } else { Duration::from_secs(10) };

/// Fetches what `source` says now. `what` is what an error calls it. `going_on` is dropped when nothing of this
/// goes on any more: a file's read that takes too long cannot be called off.
///
/// # Errors
/// Why there is none, in words without the secret.
pub(super) async fn fetch(
    source: &PasswordSource,
    what: &'static str,
    going_on: impl Send + 'static,
) -> Result<Secret, Scrubbed> {
    let fetched = match source {
        PasswordSource::File(path) => {
            let file = path.clone();
            let read = spawn_blocking(move || {
                let _going_on = going_on;
                of_file(&file, what).and_then(|text| filled(text, what))
            });
            match timeout(LIMIT, read).await {
                Ok(read) => read.unwrap_or_else(|error| Err(unreadable(path, what, &error.to_string()))),
                Err(_) => Err(no_answer(path, what)),
            }
        }
        PasswordSource::Command(command) => match command::run(command).await {
            Ok(bytes) => text(bytes).and_then(|text| filled(text, what)).map_err(|why| format!("its command: {why}")),
            Err(why) => Err(why),
        },
    };
    fetched.map_err(|why| Scrubbed::new(&why))
}

/// That a file on a host, or a disk, that does not answer cannot be read.
pub(super) fn no_answer(path: &Path, what: &str) -> String {
    unreadable(path, what, &format!("no answer within {} s; is its mount alive?", LIMIT.as_secs()))
}

pub(super) fn unreadable(path: &Path, what: &str, why: &str) -> String {
    format!("cannot read the {what} file \"{}\": {why}", named(path))
}

fn named(path: &Path) -> String {
    ellipsize(&Scrubbed::new(&path.display().to_string()), 48)
}

/// What a file holds, but for the line end.
///
/// # Errors
/// Why it cannot be read.
pub fn of_file(path: &Path, what: &str) -> Result<String, String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| {
        if file.metadata()?.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        file.take(READ).read_to_end(&mut bytes)
    });
    read.map_err(|error| unreadable(path, what, &error.to_string()))?;
    text(bytes).map_err(|_| format!("the {what} file \"{}\" is not UTF-8", named(path)))
}

/// Text as editors and `echo` leave it, with a line end that is no part of it.
fn text(bytes: Vec<u8>) -> Result<String, String> {
    let mut text = String::from_utf8(bytes).map_err(|_| "what it says is not UTF-8".to_owned())?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

fn filled(text: String, what: &str) -> Result<Secret, String> {
    match text.is_empty() {
        true => Err(format!("the {what} is empty")),
        false => secret(text).map_err(str::to_owned),
    }
}

/// A password as MQTT can carry it.
///
/// # Errors
/// Why it cannot.
pub fn secret(password: String) -> Result<Secret, &'static str> {
    if password.len() > LONGEST {
        Err("a password has at most 65,535 bytes (MQTT 5.0 §1.5.6)")
    } else if password.contains('\0') {
        Err("a password with a NUL character is not supported")
    } else {
        Ok(Secret::new(password))
    }
}
