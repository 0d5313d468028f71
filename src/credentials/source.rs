//! Defines how a password is fetched once from where it comes from, and what can be one; when that is done is decided elsewhere.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use super::command;
use crate::{
    fleet::{PasswordSource, Secret},
    text::{Scrubbed, ellipsize},
};

/// The longest password MQTT can carry, in bytes (MQTT 5.0 §1.5.6).
pub(super) const LONGEST: usize = 65_535;
/// With the line end that is taken off, and one byte more to see that it is too much.
pub(super) const READ: u64 = LONGEST as u64 + 3;

/// Fetches what `source` says now. `what` is what an error calls it.
///
/// # Errors
/// Why there is none, in words without the secret.
pub(super) async fn fetch(source: &PasswordSource, what: &'static str) -> Result<Secret, Scrubbed> {
    let fetched = match source {
        PasswordSource::File(path) => {
            let path = path.clone();
            // A file may be on another host, which may not answer.
            let read = tokio::task::spawn_blocking(move || of_file(&path, what).and_then(|text| filled(text, what)));
            read.await.unwrap_or_else(|error| Err(format!("reading the {what} file failed: {error}")))
        }
        PasswordSource::Command(command) => match command::run(command).await {
            Ok(bytes) => text(bytes).and_then(|text| filled(text, what)).map_err(|why| format!("its command: {why}")),
            Err(why) => Err(why),
        },
    };
    fetched.map_err(|why| Scrubbed::new(&why))
}

/// What a file holds, but for the line end.
///
/// # Errors
/// Why it cannot be read.
pub fn of_file(path: &Path, what: &str) -> Result<String, String> {
    let named = || ellipsize(&Scrubbed::new(&path.display().to_string()), 48);
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| {
        if file.metadata()?.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        file.take(READ).read_to_end(&mut bytes)
    });
    read.map_err(|error| format!("cannot read the {what} file \"{}\": {error}", named()))?;
    text(bytes).map_err(|_| format!("the {what} file \"{}\" is not UTF-8", named()))
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
