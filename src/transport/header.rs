//! Defines how the value of a header that comes from a file is read for each connect, since tokens there change; where headers are sent is the WebSocket's matter.

use std::path::Path;

use tokio::{fs::File, io::AsyncReadExt};

use super::because;
use crate::{
    event::{Cause, Reason},
    fleet::Secret,
};

/// Bytes of a value that are read; the servers' own limits for a whole request begin at 8 KiB.
const LONGEST: u64 = 64 << 10;

/// What the file of the header `name` holds now, but for its line end and blanks around (RFC 9110 §5.5).
///
/// # Errors
/// Why there is no value, in words without it.
pub(super) async fn of_file(name: &str, path: &Path) -> Result<Secret, Cause> {
    let fail = |why: &str| {
        let detail = format!("the file of the header {name}, \"{}\", {why}", path.display());
        because(Reason::PasswordUnavailable, &detail)
    };
    let mut bytes = Vec::new();
    let file = File::open(path).await.map_err(|error| fail(&format!("cannot be read: {error}")))?;
    let read = file.take(LONGEST + 1).read_to_end(&mut bytes).await;
    read.map_err(|error| fail(&format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > LONGEST {
        return Err(fail("has more than 64 KiB"));
    }
    let text = String::from_utf8(bytes).map_err(|_| fail("is not UTF-8"))?;
    let line = text.strip_suffix('\n').map_or(&*text, |line| line.strip_suffix('\r').unwrap_or(line));
    let value = line.trim_matches([' ', '\t']);
    match value {
        "" => Err(fail("is empty")),
        _ if value.chars().any(|c| c.is_control() && c != '\t') => Err(fail("has more than one line")),
        _ => Ok(Secret::new(value.to_owned())),
    }
}
