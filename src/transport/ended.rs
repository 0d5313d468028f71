//! Defines how the end of a connection is told inside an `io::Error`, and what such an error means; what the layers see is theirs to put in.

use std::{error::Error, fmt, io};

use super::{because, reach};
use crate::event::{Cause, Reason};

/// Why a layer above the socket ended; the inner error of what it returns.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended(pub Cause);

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.detail.is_empty() { self.0.reason.words() } else { &self.0.detail })
    }
}

impl Error for Ended {}

impl From<Ended> for io::Error {
    fn from(ended: Ended) -> io::Error {
        io::Error::other(ended)
    }
}

/// The cause that a layer gave this error, if one did.
pub(super) fn told(error: &io::Error) -> Option<&Cause> {
    error.get_ref()?.downcast_ref::<Ended>().map(|ended| &ended.0)
}

/// Why a connection that stood ended with this error of its stream.
pub fn of(error: &io::Error) -> Cause {
    if let Some(cause) = told(error) {
        return cause.clone();
    }
    match error.kind() {
        // An orderly end, and one that was seen only by writing on.
        io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe => {
            because(Reason::ConnectionLost, "the broker closed the connection")
        }
        _ => because(Reason::ConnectionLost, &reach::words(error)),
    }
}
