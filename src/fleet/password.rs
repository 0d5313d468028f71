//! Defines where a client's password comes from: it is known for the whole run, or fetched whenever the client connects; fetching it is elsewhere.

use std::{ffi::OsString, path::PathBuf, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Secret, in_clear};

/// A client's password, or where it is to be had.
#[derive(Clone, Debug, PartialEq)]
pub enum Password {
    /// It stands in the fleet file or in the environment, and stays what it is.
    Fixed(Secret),
    /// It may be another one by the next connect.
    Fetched(Arc<PasswordSource>),
}

impl Password {
    /// The password itself, where it is known for the whole run.
    pub fn fixed(&self) -> Option<&Secret> {
        match self {
            Password::Fixed(secret) => Some(secret),
            Password::Fetched(_) => None,
        }
    }

    /// Where it is to be had, where it is not known for the whole run.
    pub fn source(&self) -> Option<&Arc<PasswordSource>> {
        match self {
            Password::Fixed(_) => None,
            Password::Fetched(source) => Some(source),
        }
    }
}

/// What a password is fetched from. Clients that name the same share what is fetched.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PasswordSource {
    /// A file, but for its line end; read again for every connect.
    File(PathBuf),
    Command(PasswordCommand),
}

impl PasswordSource {
    pub fn is_command(&self) -> bool {
        matches!(self, PasswordSource::Command(_))
    }
}

/// A program that says a password on its standard output. It is run without a shell.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PasswordCommand {
    /// Its path, or a name to be found in `PATH`.
    pub program: OsString,
    pub arguments: Vec<String>,
    /// Where it runs: the fleet file's folder.
    pub folder: PathBuf,
    /// What it is told of the fleet and, where it is for one client alone, of that: the variables
    /// `MQFLEET_…`.
    pub variables: Vec<(&'static str, String)>,
    /// How long what it said is used, at least 1 s; `None`: until a broker refuses it.
    pub every: Option<Duration>,
}

/// What a client proves with that it is who it says, fetched for one connect.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Credentials {
    #[serde(with = "in_clear")]
    pub password: Option<Secret>,
    /// Of the key of its certificate.
    #[serde(with = "in_clear")]
    pub key_password: Option<Secret>,
}
