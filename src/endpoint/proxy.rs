//! Defines how an HTTP proxy is asked for a tunnel (CONNECT, RFC 9110 §9.3.6) and what its refusals mean; it speaks no other HTTP.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{cause, reach};
use crate::{
    event::{Cause, Reason},
    fleet::{Endpoint, Proxy},
};

/// The longest answer that is read, in bytes.
const ANSWER_MAX: usize = 16 * 1024;

/// Asks for a tunnel to the target. On success the stream is the tunnel.
pub(super) async fn tunnel(stream: &mut TcpStream, proxy: &Proxy, target: &Endpoint) -> Result<(), Cause> {
    let address = target.address();
    let mut request = format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n");
    if let Some(username) = &proxy.username {
        let password = proxy.password.as_ref().map_or("", |p| p.expose());
        let credentials = openssl::base64::encode_block(format!("{username}:{password}").as_bytes());
        request.push_str(&format!("Proxy-Authorization: Basic {credentials}\r\n"));
    }
    request.push_str("\r\n");
    let broken = |error: std::io::Error| {
        let why = if error.kind() == std::io::ErrorKind::UnexpectedEof {
            "it closed the connection".to_owned()
        } else {
            reach::words(&error)
        };
        cause(Reason::ProxyFailed, &format!("no answer to CONNECT: {why}"))
    };
    stream.write_all(request.as_bytes()).await.map_err(broken)?;
    // The client speaks first in a tunnel, with TLS and MQTT alike: no byte follows the answer.
    let mut answer = Vec::with_capacity(512);
    while !answer.windows(4).any(|w| w == b"\r\n\r\n") {
        if answer.len() >= ANSWER_MAX {
            return Err(cause(Reason::ProxyFailed, "its answer to CONNECT has no end"));
        }
        if stream.read_buf(&mut answer).await.map_err(broken)? == 0 {
            return Err(broken(std::io::ErrorKind::UnexpectedEof.into()));
        }
    }
    judged(&answer)
}

fn judged(answer: &[u8]) -> Result<(), Cause> {
    let line = String::from_utf8_lossy(answer.split(|b| *b == b'\r').next().unwrap_or_default()).into_owned();
    let status = line.strip_prefix("HTTP/1.").and_then(|l| l.split_once(' ')).map(|(_, status)| status.trim());
    let code = status.and_then(|s| s.get(..3)).and_then(|c| c.parse::<u16>().ok());
    let reason = match code {
        Some(200..300) => return Ok(()),
        Some(407) => Reason::ProxyAuthenticationRequired,
        Some(400..500) => Reason::ProxyRefused,
        Some(_) => Reason::ProxyFailed,
        None => return Err(cause(Reason::ProxyFailed, &format!("it does not speak HTTP: {line}"))),
    };
    Err(cause(reason, status.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_judged() {
        assert_eq!(judged(b"HTTP/1.0 200 Connection established\r\n\r\n"), Ok(()));
        for (answer, reason, detail) in [
            ("HTTP/1.1 407 Proxy Authentication Required", Reason::ProxyAuthenticationRequired, "407 Proxy Auth"),
            ("HTTP/1.1 403 Forbidden", Reason::ProxyRefused, "403 Forbidden"),
            ("HTTP/1.1 502 Bad\x1b[31m Gateway", Reason::ProxyFailed, "502 Bad␛[31m Gateway"),
            ("HTTP/1.1 302 Found", Reason::ProxyFailed, "302 Found"),
            ("HTTP/1.1 2", Reason::ProxyFailed, "does not speak HTTP"),
            ("HTTP/1.1 20é", Reason::ProxyFailed, "does not speak HTTP"),
            ("SSH-2.0-OpenSSH_9.2", Reason::ProxyFailed, "does not speak HTTP: SSH-2.0"),
        ] {
            let told = judged(format!("{answer}\r\n\r\n").as_bytes()).unwrap_err();
            assert_eq!(told.reason, reason, "{answer}");
            assert!(told.detail.contains(detail), "{}", told.detail);
        }
    }
}
