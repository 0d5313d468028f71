//! Defines how an endpoint is asked for a WebSocket (RFC 6455 §4.1) and what its refusals mean; no frame is sent but the one that closes it.

use std::time::Duration;

use openssl::{base64::encode_block, sha::sha1};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use super::{
    cause,
    http::{self, Answer, Silence},
    tls,
};
use crate::{
    event::{Cause, Reason},
    fleet::Endpoint,
    text::Scrubbed,
};

/// What a server mixes into its answer (RFC 6455 §1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The subprotocol that carries MQTT (MQTT 5.0 §6).
const PROTOCOL: &str = "mqtt";

/// What came of asking.
#[derive(Debug, PartialEq)]
pub(super) enum Upgrade {
    Done,
    /// The server ended TLS for want of a client's certificate, as with TLS 1.3 it does only now.
    WantsCertificate,
}

/// Asks for a WebSocket, in the same words as Paho (`WebSocket_connect`).
pub(super) async fn upgrade(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    path: &str,
    target: &Endpoint,
) -> Result<Upgrade, Cause> {
    let key = encode_block(&fastrand::u128(..).to_be_bytes());
    // Paho always names the port, the usual one as well.
    let host = target.address();
    let origin = if target.transport.tls().is_some() { "https" } else { "http" };
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Origin: {origin}://{host}\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: {PROTOCOL}\r\n\r\n"
    );
    match http::ask(stream, &request).await {
        Err(Silence::Broken(error)) if tls::wanted_certificate(&error) => Ok(Upgrade::WantsCertificate),
        answer => judged(answer, &key).map(|()| Upgrade::Done),
    }
}

/// Says goodbye (RFC 6455 §5.5.1) and waits a moment for the other side's: a server that loses a
/// WebSocket without it logs an error.
pub(super) async fn close(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    const NORMAL: [u8; 2] = 1000u16.to_be_bytes();
    let mask = fastrand::u32(..).to_be_bytes();
    let mut frame = vec![0x88, 0x80 | NORMAL.len() as u8];
    frame.extend(mask);
    frame.extend(NORMAL.iter().zip(mask).map(|(byte, mask)| byte ^ mask));
    let goodbye = async {
        stream.write_all(&frame).await?;
        stream.flush().await?;
        stream.read(&mut [0; 128]).await
    };
    // Whatever becomes of it, the connection below is closed next.
    let _ = timeout(Duration::from_millis(250), goodbye).await;
}

fn judged(answer: Result<Answer, Silence>, key: &str) -> Result<(), Cause> {
    let refused = |detail: &str| Err(cause(Reason::WebSocketRefused, detail));
    let answer = match answer {
        Ok(answer) => answer,
        Err(silence @ (Silence::Other(_) | Silence::Endless)) => return refused(&silence.words()),
        // So does a broker that is asked for MQTT there.
        Err(silence) => return refused(&format!("{} instead of answering: is it HTTP at this port?", silence.words())),
    };
    let status = &answer.status;
    let hint = match answer.code {
        101 => return accepted(&answer, key),
        200..300 => "a web server, but no WebSocket: is the path right?".to_owned(),
        300..400 => match answer.field("location") {
            Some(location) => format!("it points to {}", Scrubbed::new(location)),
            None => String::new(),
        },
        400 | 404 | 405 | 426 => "is the path right?".to_owned(),
        _ => String::new(),
    };
    let colon = if hint.is_empty() { "" } else { ": " };
    refused(&format!("{status}{colon}{hint}"))
}

/// What a server that says 101 has to say besides (RFC 6455 §4.1).
fn accepted(answer: &Answer, key: &str) -> Result<(), Cause> {
    let expected = encode_block(&sha1(format!("{key}{GUID}").as_bytes()));
    if answer.field("sec-websocket-accept") != Some(&*expected) {
        let detail = format!("{}, but its Sec-WebSocket-Accept does not belong to this request", answer.status);
        return Err(cause(Reason::WebSocketRefused, &detail));
    }
    match answer.field("sec-websocket-protocol") {
        // A server should say which it took, but Paho goes on all the same.
        None => Ok(()),
        Some(protocol) if protocol.eq_ignore_ascii_case(PROTOCOL) => Ok(()),
        Some(other) => {
            Err(cause(Reason::WebSocketRefused, &format!("it speaks {} there, not {PROTOCOL}", Scrubbed::new(other))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 6455 §1.3.
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

    async fn says(head: &str) -> Result<(), Cause> {
        judged(http::said(&format!("{head}\r\n\r\n")).await, KEY)
    }

    #[tokio::test]
    async fn a_server_has_to_answer_this_very_request() {
        let good = format!("HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: {ACCEPT}");
        assert_eq!(says(&good).await, Ok(()));
        assert_eq!(says(&format!("{good}\r\nSec-WebSocket-Protocol: mqtt")).await, Ok(()));
        let other = says(&format!("{good}\r\nSec-WebSocket-Protocol: chat\x1b[2J")).await.unwrap_err();
        assert_eq!(other.detail.as_str(), "it speaks chat␛[2J there, not mqtt");
        let replayed = says("HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x").await.unwrap_err();
        assert!(replayed.detail.contains("does not belong to this request"), "{replayed:?}");
    }

    #[tokio::test]
    async fn refusals_are_told_in_the_server_s_words() {
        for (head, detail) in [
            ("HTTP/1.1 404 Not Found", "404 Not Found: is the path right?"),
            ("HTTP/1.1 403 Forbidden", "403 Forbidden"),
            ("HTTP/1.1 200 OK", "200 OK: a web server, but no WebSocket: is the path right?"),
            ("HTTP/1.1 301 Moved\r\nLocation: https://x\x1b[2J/", "301 Moved: it points to https://x␛[2J/"),
            ("HTTP/1.1 503 Service Unavailable", "503 Service Unavailable"),
            ("SSH-2.0-x", "it does not speak HTTP: SSH-2.0-x"),
        ] {
            let Cause { reason, detail: told } = says(head).await.unwrap_err();
            assert_eq!((reason, told.as_str()), (Reason::WebSocketRefused, detail));
        }
        let closed = judged(http::said("").await, KEY).unwrap_err();
        assert!(closed.detail.starts_with("it closed the connection instead of answering"), "{closed:?}");
    }
}
