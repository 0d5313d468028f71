//! Defines how an endpoint is asked for a WebSocket (RFC 6455 §4.1) and what its refusals mean; its frames are another file's matter.

use openssl::{base64::encode_block, sha::sha1};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    because, ended, header,
    http::{self, Answer, Reading, Silence},
};
use crate::{
    event::{Cause, Reason},
    fleet::{Endpoint, Secret, WebSocket},
    text::Scrubbed,
};

/// What a server mixes into its answer (RFC 6455 §1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The subprotocol that carries MQTT (MQTT 5.0 §6).
const PROTOCOL: &str = "mqtt";

/// Asks for a WebSocket; returns what came behind the server's answer.
pub(super) async fn upgrade(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    websocket: &WebSocket,
    target: &Endpoint,
) -> Result<Vec<u8>, Cause> {
    let key = encode_block(&fastrand::u128(..).to_be_bytes());
    let mut headers = websocket.headers.clone();
    for (name, path) in &websocket.header_files {
        headers.push((name.clone(), header::of_file(name, path).await?));
    }
    let request = request(websocket, &headers, target, &key)?;
    match http::ask(stream, &request, Reading::Ahead).await {
        Ok((answer, behind)) => judged(Ok(answer), &key).map(|()| behind),
        // What TLS says of the client's certificate it says only now, in version 1.3.
        Err(Silence::Broken(error)) if is_of_certificate(&error) => Err(ended::of(&error)),
        Err(silence) => judged(Err(silence), &key).map(|()| Vec::new()),
    }
}

fn is_of_certificate(error: &std::io::Error) -> bool {
    ended::told(error).is_some_and(|cause| cause.reason == Reason::ClientCertificateRefused)
}

fn request(
    websocket: &WebSocket,
    headers: &[(Box<str>, Secret)],
    target: &Endpoint,
    key: &str,
) -> Result<String, Cause> {
    let own = |name: &str| headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name));
    // The port is always named, the usual one as well.
    let host = target.address();
    let scheme = if target.transport.tls().is_some() { "https" } else { "http" };
    let mut request = format!("GET {} HTTP/1.1\r\n", websocket.path);
    if !own("host") {
        request.push_str(&format!("Host: {host}\r\n"));
    }
    request.push_str("Upgrade: websocket\r\nConnection: Upgrade\r\n");
    if !own("origin") {
        request.push_str(&format!("Origin: {scheme}://{host}\r\n"));
    }
    request.push_str(&format!(
        "Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: {PROTOCOL}\r\n"
    ));
    for (name, value) in headers {
        if [name, value.expose()].iter().any(|text| text.contains(['\r', '\n', '\0'])) {
            return Err(because(Reason::Internal, &format!("the header {name} would end its line")));
        }
        request.push_str(&format!("{name}: {}\r\n", value.expose()));
    }
    request.push_str("\r\n");
    Ok(request)
}

fn judged(answer: Result<Answer, Silence>, key: &str) -> Result<(), Cause> {
    let refused = |detail: &str| Err(because(Reason::WebSocketRefused, detail));
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
        return Err(because(Reason::WebSocketRefused, &detail));
    }
    if let Some(extension) = answer.field("sec-websocket-extensions") {
        let detail = format!("it uses {}, which nobody asked for", Scrubbed::new(extension));
        return Err(because(Reason::WebSocketRefused, &detail));
    }
    match answer.field("sec-websocket-protocol") {
        // A server should say which it took, but most clients go on all the same.
        None => Ok(()),
        Some(protocol) if protocol.eq_ignore_ascii_case(PROTOCOL) => Ok(()),
        Some(other) => {
            Err(because(Reason::WebSocketRefused, &format!("it speaks {} there, not {PROTOCOL}", Scrubbed::new(other))))
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
