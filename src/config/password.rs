//! Defines where a password comes from (the environment, a file, a systemd credential, the fleet file itself) and refuses what cannot be one; no message ever holds its text.

use std::{
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
    let table = value.table(report, "`password`", "{ env = \"PRESS_PASSWORD\" } or { file = \"press.pw\" }")?;
    table.check(format::PASSWORD, report);
    let given: Vec<Value<'_>> = format::PASSWORD.now.iter().filter_map(|key| table.get(key)).collect();
    let [source] = given.as_slice() else {
        // Where another source was asked for, the error about that says enough.
        if given.len() > 1 || table.is_empty() {
            report.error(
                Draft::at(value.span.clone(), "a password comes from one place")
                    .help("name one of { env = \"NAME\" }, { file = \"PATH\" }, { credential = \"NAME\" }"),
            );
        }
        return None;
    };
    let text = source.string(report, "a text in quotes")?;
    let password = match source.key.as_str() {
        "env" => from_env(text, source, report, around),
        "file" => from_file(&around.base_dir.join(text), source, report),
        _ => from_credential(text, source, report, around),
    }?;
    if password.is_empty() {
        report.error(Draft::at(source.span.clone(), format!("the password's `{}` is empty", source.key)));
        return None;
    }
    checked(password, value, report)
}

fn checked(password: String, value: &Value<'_>, report: &mut Report<'_>) -> Option<Secret> {
    let wrong = if password.len() > LONGEST {
        "a password has at most 65,535 bytes (MQTT 5.0 §1.5.6)"
    } else if password.contains('\0') {
        "a password with a NUL character is not supported"
    } else {
        return Some(Secret::new(password));
    };
    report.error(Draft::at(value.span.clone(), wrong));
    None
}

fn from_env(name: &str, source: &Value<'_>, report: &mut Report<'_>, around: &Surroundings<'_>) -> Option<String> {
    // Someone may have written the password itself here: it must not be repeated.
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !is_name || name.starts_with(|c: char| c.is_ascii_digit()) {
        report.error(
            Draft::at(source.span.clone(), "`env` must be the name of an environment variable")
                .help("letters, digits and _, such as \"PRESS_PASSWORD\""),
        );
        return None;
    }
    let Some(value) = (around.env)(name) else {
        report.error(
            Draft::at(source.span.clone(), format!("the environment variable {} is not set", quoted(name)))
                .help("set it where mqfleet is started"),
        );
        return None;
    };
    let value = value.into_string().ok();
    if value.is_none() {
        report.error(Draft::at(source.span.clone(), format!("the environment variable {} is not UTF-8", quoted(name))));
    }
    value
}

fn from_credential(
    name: &str,
    source: &Value<'_>,
    report: &mut Report<'_>,
    around: &Surroundings<'_>,
) -> Option<String> {
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        report
            .error(Draft::at(source.span.clone(), "`credential` must be a systemd credential's name, without a path"));
        return None;
    }
    let Some(directory) = (around.env)("CREDENTIALS_DIRECTORY") else {
        report.error(
            Draft::at(source.span.clone(), format!("there is no credential {}", quoted(name)))
                .help("$CREDENTIALS_DIRECTORY is not set: start mqfleet from a systemd unit with LoadCredential="),
        );
        return None;
    };
    from_file(&Path::new(&directory).join(name), source, report)
}

fn from_file(path: &Path, source: &Value<'_>, report: &mut Report<'_>) -> Option<String> {
    let name = path.display().to_string();
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| {
        let meta = file.metadata()?;
        if meta.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        // Room for the line end that is taken off, and one byte to see that it is too much.
        file.take(LONGEST as u64 + 3).read_to_end(&mut bytes)?;
        Ok(meta.mode())
    });
    match read {
        Ok(mode) if source.key == "file" && mode & 0o077 != 0 => report.warning(
            Draft::at(
                source.span.clone(),
                format!("others than its owner can reach the password file {}", quoted(&name)),
            )
            .help("chmod 600 it"),
        ),
        Ok(_) => {}
        Err(error) => {
            report.error(Draft::at(
                source.span.clone(),
                format!("cannot read the password file {}: {error}", quoted(&name)),
            ));
            return None;
        }
    }
    let Ok(mut password) = String::from_utf8(bytes) else {
        report.error(Draft::at(source.span.clone(), format!("the password file {} is not UTF-8", quoted(&name))));
        return None;
    };
    // Editors and `echo` end a file with a line end, which is no part of the password.
    if password.ends_with('\n') {
        password.pop();
        if password.ends_with('\r') {
            password.pop();
        }
    }
    Some(password)
}
