//! Defines all the HTTP/1.1 (RFC 9112) that a probe speaks: one request without a body, and the head of its answer; what an answer means is for the asker to say.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::reach;

/// The longest head that is read, in bytes.
const HEAD_MAX: usize = 16 * 1024;

/// The head of an answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub code: u16,
    /// The status in the server's words, such as `404 Not Found`. Nobody has scrubbed it.
    pub status: String,
    fields: Vec<(String, String)>,
}

impl Answer {
    /// The value of a header field, whatever the case of its name.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Silence {
    Broken(io::Error),
    Closed,
    /// More than [`HEAD_MAX`] bytes, and no end.
    Endless,
    /// What came is no HTTP; its first line.
    Other(String),
}

impl Silence {
    /// What happened, as the end of a sentence about the other side; nobody has scrubbed it.
    pub fn words(&self) -> String {
        match self {
            Silence::Broken(error) => reach::words(error),
            Silence::Closed => "it closed the connection".into(),
            Silence::Endless => "its answer has no end".into(),
            Silence::Other(line) => format!("it does not speak HTTP: {line}"),
        }
    }
}

impl From<io::Error> for Silence {
    fn from(error: io::Error) -> Self {
        Silence::Broken(error)
    }
}

/// Sends `request` and reads the head of the answer. It may read past that head, so it is for
/// requests after which the client speaks first.
pub(super) async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), request: &str) -> Result<Answer, Silence> {
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut answer = Vec::with_capacity(512);
    loop {
        if let Some(end) = answer.windows(4).position(|w| w == b"\r\n\r\n") {
            return read(&answer[..end]);
        }
        if answer.len() >= HEAD_MAX {
            return Err(Silence::Endless);
        }
        if stream.read_buf(&mut answer).await? == 0 {
            // Who says something else and goes has said enough.
            return if answer.is_empty() { Err(Silence::Closed) } else { read(&answer).and(Err(Silence::Closed)) };
        }
    }
}

/// Reads a head without the empty line at its end.
fn read(head: &[u8]) -> Result<Answer, Silence> {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let status = first.strip_prefix("HTTP/1.").and_then(|l| l.split_once(' ')).map(|(_, status)| status.trim());
    let code = status.and_then(|s| s.get(..3)).and_then(|c| c.parse().ok());
    let (Some(status), Some(code)) = (status, code) else { return Err(Silence::Other(first.to_owned())) };
    let field = |line: &str| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
    Ok(Answer { code, status: status.to_owned(), fields: lines.filter_map(field).collect() })
}

/// The answer of a server that says exactly this, whatever it is asked.
#[cfg(test)]
pub(super) async fn said(bytes: &str) -> Result<Answer, Silence> {
    let (mut ours, mut theirs) = tokio::io::duplex(4 * HEAD_MAX);
    theirs.write_all(bytes.as_bytes()).await?;
    theirs.shutdown().await?;
    // Its own end stays open for the request.
    ask(&mut ours, "GET / HTTP/1.1\r\n\r\n").await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read() {
        let answer = read(b"HTTP/1.1 302 Found\r\nLOCATION: /a:b \r\nnothing").unwrap();
        assert_eq!((answer.code, answer.status.as_str(), answer.field("location")), (302, "302 Found", Some("/a:b")));
        assert_eq!(answer.field("x"), None);
        assert_eq!(read(b"HTTP/1.0 200").unwrap().code, 200);
        for other in ["HTTP/1.1 2", "HTTP/1.1 20é", "SSH-2.0-OpenSSH_9.2", "", "HTTP/2 200 OK"] {
            assert!(matches!(read(other.as_bytes()), Err(Silence::Other(line)) if line == other), "{other}");
        }
    }

    #[tokio::test]
    async fn an_end_before_the_head_s_is_told_and_so_is_none() {
        assert!(matches!(said("").await, Err(Silence::Closed)));
        assert!(matches!(said("HTTP/1.1 200 OK\r\n").await, Err(Silence::Closed)));
        assert!(matches!(said("\x20\x02\x00\x01").await, Err(Silence::Other(_))));
        assert!(matches!(said(&"x".repeat(2 * HEAD_MAX)).await, Err(Silence::Endless)));
    }
}
