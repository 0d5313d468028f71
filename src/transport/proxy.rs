//! Defines how an HTTP proxy is asked for a tunnel (CONNECT, RFC 9110 §9.3.6) and what its refusals mean; how HTTP is read is the `http` file's matter.

use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    because,
    http::{self, Answer, Reading, Silence},
};
use crate::{
    event::{Cause, Reason},
    fleet::{Endpoint, Proxy},
};

/// Asks for a tunnel to the target. On success the stream is the tunnel, and not a byte behind the
/// answer was read.
pub(super) async fn tunnel(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    proxy: &Proxy,
    target: &Endpoint,
) -> Result<(), Cause> {
    let address = target.address();
    let mut request = format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n");
    if let Some(username) = &proxy.username {
        let password = proxy.password.as_ref().map_or("", |p| p.expose());
        let credentials = openssl::base64::encode_block(format!("{username}:{password}").as_bytes());
        request.push_str(&format!("Proxy-Authorization: Basic {credentials}\r\n"));
    }
    request.push_str("\r\n");
    judged(http::ask(stream, &request, Reading::Exact).await.map(|(answer, _)| answer))
}

fn judged(answer: Result<Answer, Silence>) -> Result<(), Cause> {
    let answer = answer.map_err(|silence| {
        let words = silence.words();
        match silence {
            Silence::Other(_) => because(Reason::ProxyFailed, &words),
            _ => because(Reason::ProxyFailed, &format!("no answer to CONNECT: {words}")),
        }
    })?;
    let reason = match answer.code {
        200..300 => return Ok(()),
        407 => Reason::ProxyAuthenticationRequired,
        400..500 => Reason::ProxyRefused,
        _ => Reason::ProxyFailed,
    };
    Err(because(reason, &answer.status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answers_are_judged() {
        for (answer, reason, detail) in [
            ("HTTP/1.1 407 Proxy Authentication Required", Reason::ProxyAuthenticationRequired, "407 Proxy Auth"),
            ("HTTP/1.1 403 Forbidden", Reason::ProxyRefused, "403 Forbidden"),
            ("HTTP/1.1 502 Bad\x1b[31m Gateway", Reason::ProxyFailed, "502 Bad␛[31m Gateway"),
            ("HTTP/1.1 302 Found", Reason::ProxyFailed, "302 Found"),
            ("HTTP/1.1 2", Reason::ProxyFailed, "does not speak HTTP"),
            ("SSH-2.0-OpenSSH_9.2", Reason::ProxyFailed, "does not speak HTTP: SSH-2.0"),
        ] {
            let told = judged(http::said(&format!("{answer}\r\n\r\n")).await).unwrap_err();
            assert_eq!(told.reason, reason, "{answer}");
            assert!(told.detail.contains(detail), "{}", told.detail);
        }
        assert_eq!(judged(http::said("HTTP/1.0 200 Connection established\r\n\r\n").await), Ok(()));
        let closed = judged(http::said("").await).unwrap_err();
        assert_eq!(closed.detail.as_str(), "no answer to CONNECT: it closed the connection");
    }
}
