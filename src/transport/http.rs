//! Defines all the HTTP/1.1 (RFC 9112) that is spoken: one request without a body, and the head of its answer; what an answer means is for the asker to say.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{ended, reach};

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
    pub(super) fn field(&self, name: &str) -> Option<&str> {
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
    pub(super) fn words(&self) -> String {
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

/// How far reading may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// Not a byte past the head: what follows stays in the stream.
    Exact,
    /// As it comes; what follows the head is handed over with it.
    Ahead,
}

/// Sends `request` and reads the head of the answer, in whatever pieces it comes, and with [`Reading::Ahead`]
/// perhaps something of what follows. Interim answers (RFC 9110 §15.2) are passed over.
pub(super) async fn ask(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    request: &str,
    reading: Reading,
) -> Result<(Answer, Vec<u8>), Silence> {
    let sent = send(stream, request).await;
    let mut heard = Vec::with_capacity(512);
    let mut looked = 0;
    let answered = loop {
        if let Some((head, whole)) = end(&heard, looked) {
            let rest = heard.split_off(whole);
            match read(&heard[..head]) {
                Ok(answer) if matches!(answer.code, 100 | 102..200) => {
                    (heard, looked) = (rest, 0);
                    continue;
                }
                answer => break answer.map(|answer| (answer, rest)),
            }
        }
        // An end may have begun in the last two bytes.
        looked = heard.len().saturating_sub(2);
        if heard.len() >= HEAD_MAX {
            break Err(Silence::Endless);
        }
        let most = match reading {
            // The shortest way to an end from here: nothing behind it can be read by that.
            Reading::Exact if heard.ends_with(b"\n") || heard.ends_with(b"\n\r") => 1,
            Reading::Exact => 2,
            Reading::Ahead => 4096,
        };
        match (&mut *stream).take(most).read_buf(&mut heard).await {
            // Who says something else and goes has said enough.
            Ok(0) if heard.is_empty() => break Err(Silence::Closed),
            Ok(0) => break read(&heard).and(Err(Silence::Closed)),
            Ok(_) => {}
            Err(error) => break Err(Silence::Broken(error)),
        }
    };
    match (sent, answered) {
        // A server that refuses may hang up before it has read all; what it said by then counts.
        (Err(error), Err(Silence::Broken(_) | Silence::Closed)) if ended::told(&error).is_none() => {
            Err(Silence::Broken(error))
        }
        (_, answered) => answered,
    }
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), request: &str) -> io::Result<()> {
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await
}

/// Where the head ends, and the empty line behind it, from there on. Lines may end without a carriage
/// return (RFC 9112 §2.2).
fn end(heard: &[u8], from: usize) -> Option<(usize, usize)> {
    heard.iter().enumerate().skip(from).filter(|(_, byte)| **byte == b'\n').find_map(|(at, _)| {
        let next = &heard[at + 1..];
        let whole = if next.starts_with(b"\n") { at + 2 } else { at + 3 };
        (next.starts_with(b"\n") || next.starts_with(b"\r\n")).then_some((at, whole))
    })
}

/// Reads a head without the empty line at its end.
fn read(head: &[u8]) -> Result<Answer, Silence> {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.split('\n').map(|line| line.trim_end_matches('\r'));
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
    ask(&mut ours, "GET / HTTP/1.1\r\n\r\n", Reading::Ahead).await.map(|(answer, _)| answer)
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

    #[tokio::test]
    async fn a_head_comes_in_any_pieces_and_what_is_behind_it_is_not_lost() {
        let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(8_000));
        for head in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\nA: b\n\n", "HTTP/1.0 200 OK\nA: b\n\r\n", &long] {
            for reading in [Reading::Exact, Reading::Ahead] {
                for piece in [1, 3, 30, 100_000] {
                    let (mut ours, mut theirs) = tokio::io::duplex(64);
                    let all = format!("HTTP/1.1 103 Early Hints\r\n\r\n{head}behind");
                    let say = tokio::spawn(async move {
                        for part in all.as_bytes().chunks(piece) {
                            theirs.write_all(part).await.unwrap();
                            tokio::task::yield_now().await;
                        }
                    });
                    let (answer, mut rest) = ask(&mut ours, "GET", reading).await.unwrap();
                    assert_eq!(answer.code, 200);
                    assert!(rest.is_empty() || reading == Reading::Ahead);
                    ours.read_to_end(&mut rest).await.unwrap();
                    assert_eq!(rest, b"behind", "{head:.30} {reading:?} {piece}");
                    say.await.unwrap();
                }
            }
        }
    }
}
