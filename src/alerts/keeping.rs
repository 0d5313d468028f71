//! Defines how what outlives the program is kept: as JSON in files of ours; what that is, others say.

use std::{io, path::Path};

use serde::{Serialize, de::DeserializeOwned};

use crate::private;

/// What was written there; `None` where nothing is.
///
/// # Errors
/// Where it cannot be read, or is something else.
pub fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    let bytes = private::read_all(path)?;
    bytes.map(|bytes| Ok(serde_json::from_slice(&bytes)?)).transpose()
}

/// Writes it: whenever the program or the host dies, what was there before or this is there, whole.
///
/// # Errors
/// Where the disk does not take it.
pub fn write(path: &Path, what: &impl Serialize) -> io::Result<()> {
    private::replace(path, &serde_json::to_vec(what)?)
}
