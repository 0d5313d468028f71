//! Defines who answers at the metrics' address: three pages over HTTP/1.1, one request a connection; what stands in them is elsewhere.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};

use super::{Board, exposition::Format};

/// The most that are served at once; others wait to be accepted.
const AT_ONCE: usize = 16;
/// How long a request may take to come, and its answer to be taken.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most bytes of a request's head.
const HEAD: usize = 8 << 10;

/// Answers for as long as it is polled.
pub(super) async fn serve(listener: TcpListener, board: Arc<Board>) {
    let room = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let board = board.clone();
                tokio::spawn(async move {
                    // Whoever asks and goes away is nobody's matter.
                    let _ = timeout(2 * PATIENCE, answer(stream, board)).await;
                    drop(permit);
                });
            }
            // Too many files are open, or who came is gone.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// What is answered.
struct Answer {
    status: &'static str,
    kind: &'static str,
    body: String,
}

impl Answer {
    fn words(status: &'static str, words: impl Into<String>) -> Answer {
        Answer { status, kind: "text/plain; charset=utf-8", body: words.into() + "\n" }
    }
}

async fn answer(mut stream: TcpStream, board: Arc<Board>) -> io::Result<()> {
    let mut bytes = Vec::new();
    let request = timeout(PATIENCE, read(&mut stream, &mut bytes)).await??;
    let is_head = request.method == "HEAD";
    // To write many series takes milliseconds: not on a thread that others wait for.
    let made = tokio::task::spawn_blocking(move || page(&request, &board)).await;
    let Answer { status, kind, body } = made.map_err(io::Error::other)?;
    let allow = if status.starts_with("405") { "Allow: GET, HEAD\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{allow}Connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    if !is_head {
        stream.write_all(body.as_bytes()).await?;
    }
    stream.shutdown().await
}

/// What of a request matters here.
struct Request {
    method: String,
    path: String,
    accept: String,
}

/// Reads a request's head.
async fn read(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<Request> {
    let malformed = || Request { method: String::new(), path: String::new(), accept: String::new() };
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(bytes) {
            Ok(httparse::Status::Complete(_)) => {
                let accepts = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case("accept"));
                let accepts: Vec<_> = accepts.map(|header| String::from_utf8_lossy(header.value)).collect();
                let path = request.path.unwrap_or_default().split('?').next().unwrap_or_default().to_owned();
                let method = request.method.unwrap_or_default().to_owned();
                return Ok(Request { method, path, accept: accepts.join(",") });
            }
            Ok(httparse::Status::Partial) if bytes.len() < HEAD => {}
            _ => return Ok(malformed()),
        }
        if stream.read_buf(bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn page(request: &Request, board: &Board) -> Answer {
    match (request.method.as_str(), request.path.as_str()) {
        ("", _) => Answer::words("400 Bad Request", "this is no request of HTTP/1.1, or a very long one"),
        ("GET" | "HEAD", "/metrics") => match board.sheet() {
            Some(sheet) => {
                let format = Format::accepted(&request.accept);
                Answer { status: "200 OK", kind: format.content_type(), body: sheet.write(format) }
            }
            None => Answer::words("503 Service Unavailable", "the run has only just begun"),
        },
        ("GET" | "HEAD", "/healthz") => match board.health() {
            Ok(words) => Answer::words("200 OK", words),
            Err(words) => Answer::words("503 Service Unavailable", words),
        },
        ("GET" | "HEAD", "/readyz") => match board.readiness() {
            Ok(words) => Answer::words("200 OK", words),
            Err(words) => Answer::words("503 Service Unavailable", words),
        },
        ("GET" | "HEAD", _) => Answer::words("404 Not Found", "there are /metrics, /healthz and /readyz"),
        _ => Answer::words("405 Method Not Allowed", "there is nothing here but to be read"),
    }
}
