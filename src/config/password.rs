//! Defines where a password or another secret comes from (the environment, a file, a systemd credential, the fleet file itself) and refuses what cannot be one; no message ever holds its text.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::Path,
};

use super::{
    Surroundings, format,
    report::{Draft, Report, quoted},
    tree::Value,
};
use crate::fleet::Secret;

/// The longest password MQTT can carry, in bytes (MQTT 5.0 §1.5.6).
const LONGEST: usize = 65_535;

pub(super) fn read(value: &Value<'_>, report: &mut Report<'_>, around: &Surroundings<'_>) -> Option<Secret> {
    if value.is_string() {
        let text = value.string(report, "")?;
        report.warning(
            Draft::at(value.span.clone(), "a password in plain text")
                .help("better: { env = \"NAME\" }, { file = \"PATH\" } or { credential = \"NAME\" }"),
        );
        return checked(text.to_owned(), value, report);
    }
    checked(from_elsewhere(value, "password", report, around)?, value, report)
}

/// Reads a secret from where the table `value` says. `what` is what messages call it.
pub(super) fn from_elsewhere(
    value: &Value<'_>,
    what: &str,
    report: &mut Report<'_>,
    around: &Surroundings<'_>,
) -> Option<String> {
    let example = "{ env = \"PRESS_PASSWORD\" } or { file = \"press.pw\" }";
    let table = value.table(report, format!("`{}`", value.key), example)?;
    table.check(format::PASSWORD, report);
    let given: Vec<Value<'_>> = format::PASSWORD.now.iter().filter_map(|key| table.get(key)).collect();
    let [source] = given.as_slice() else {
        // Where another source was asked for, the error about that says enough.
        if given.len() > 1 || table.is_empty() {
            report.error(
                Draft::at(value.span.clone(), format!("a {what} comes from one place"))
                    .help("name one of { env = \"NAME\" }, { file = \"PATH\" }, { credential = \"NAME\" }"),
            );
        }
        return None;
    };
    let text = source.string(report, "a text in quotes")?;
    let read = match source.key.as_str() {
        "env" => from_env(text, around.env),
        "file" => {
            let path = around.base_dir.join(text);
            if is_open(&path) {
                let title = format!("others than its owner can reach the {what} file {}", named(&path));
                report.warning(Draft::at(source.span.clone(), title).help("chmod 600 it"));
            }
            from_file(&path, what)
        }
        _ => from_credential(text, what, around.env),
    };
    let secret = match read {
        Ok(secret) => secret,
        Err(Wrong { title, help }) => {
            report.error(Draft::at(source.span.clone(), title).help_if(help.map(str::to_owned)));
            return None;
        }
    };
    if secret.is_empty() {
        report.error(Draft::at(source.span.clone(), format!("the {what}'s `{}` is empty", source.key)));
        return None;
    }
    Some(secret)
}

/// Why there is no password, and what helps.
#[derive(Debug)]
pub(super) struct Wrong {
    pub title: String,
    pub help: Option<&'static str>,
}

impl Wrong {
    fn new(title: impl Into<String>) -> Wrong {
        Wrong { title: title.into(), help: None }
    }

    fn help(self, help: &'static str) -> Wrong {
        Wrong { help: Some(help), ..self }
    }
}

fn checked(password: String, value: &Value<'_>, report: &mut Report<'_>) -> Option<Secret> {
    match secret(password) {
        Ok(secret) => Some(secret),
        Err(wrong) => {
            report.error(Draft::at(value.span.clone(), wrong.title));
            None
        }
    }
}

/// A password as MQTT can carry it.
pub(super) fn secret(password: String) -> Result<Secret, Wrong> {
    if password.len() > LONGEST {
        Err(Wrong::new("a password has at most 65,535 bytes (MQTT 5.0 §1.5.6)"))
    } else if password.contains('\0') {
        Err(Wrong::new("a password with a NUL character is not supported"))
    } else {
        Ok(Secret::new(password))
    }
}

/// The value of an environment variable.
pub(super) fn from_env(name: &str, env: &dyn Fn(&str) -> Option<OsString>) -> Result<String, Wrong> {
    // Someone may have written the password itself here: it must not be repeated.
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !is_name || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(Wrong::new("`env` must be the name of an environment variable")
            .help("letters, digits and _, such as \"PRESS_PASSWORD\""));
    }
    let unset = || {
        Wrong::new(format!("the environment variable {} is not set", quoted(name)))
            .help("set it where mqfleet is started")
    };
    let value = env(name).ok_or_else(unset)?;
    value.into_string().map_err(|_| Wrong::new(format!("the environment variable {} is not UTF-8", quoted(name))))
}

fn from_credential(name: &str, what: &str, env: &dyn Fn(&str) -> Option<OsString>) -> Result<String, Wrong> {
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        return Err(Wrong::new("`credential` must be a systemd credential's name, without a path"));
    }
    let none = || {
        Wrong::new(format!("there is no credential {}", quoted(name)))
            .help("$CREDENTIALS_DIRECTORY is not set: start mqfleet from a systemd unit with LoadCredential=")
    };
    let directory = env("CREDENTIALS_DIRECTORY").ok_or_else(none)?;
    from_file(&Path::new(&directory).join(name), what)
}

/// What a file holds, but for the line end.
pub(super) fn from_file(path: &Path, what: &str) -> Result<String, Wrong> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| {
        if file.metadata()?.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        // Room for the line end that is taken off, and one byte to see that it is too much.
        file.take(LONGEST as u64 + 3).read_to_end(&mut bytes)
    });
    read.map_err(|error| Wrong::new(format!("cannot read the {what} file {}: {error}", named(path))))?;
    let no_text = |_| Wrong::new(format!("the {what} file {} is not UTF-8", named(path)));
    let mut password = String::from_utf8(bytes).map_err(no_text)?;
    // Editors and `echo` end a file with a line end, which is no part of the password.
    if password.ends_with('\n') {
        password.pop();
        if password.ends_with('\r') {
            password.pop();
        }
    }
    Ok(password)
}

/// Whether others than its owner may read it or write to it.
fn is_open(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.mode() & 0o077 != 0)
}

fn named(path: &Path) -> String {
    quoted(&path.display().to_string())
}
