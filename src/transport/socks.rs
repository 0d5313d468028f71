//! Defines how a SOCKS proxy of version 5 is asked for a connection (RFC 1928), with a user name and password where it wants them (RFC 1929), and what its refusals mean.

use std::{io, net::SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{because, reach};
use crate::{
    event::{Cause, Reason},
    fleet::Proxy,
};

const VERSION: u8 = 5;
const CONNECT: u8 = 1;

/// Ways to log in (RFC 1928 §3).
const NO_LOGIN: u8 = 0;
const PASSWORD: u8 = 2;
const NONE_ACCEPTABLE: u8 = 0xff;

/// Kinds of addresses (§5).
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// Where to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target<'a> {
    Address(SocketAddr),
    /// For the proxy to look up.
    Name(&'a str, u16),
}

/// Why there is no connection.
#[derive(Debug, PartialEq)]
pub(super) enum Refusal {
    /// Of this address; another one of the same host may fare better.
    Address(Cause),
    Whole(Cause),
}

/// Asks for a connection. On success the stream is that, and not a byte behind the answer was read.
pub(super) async fn tunnel(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    proxy: &Proxy,
    target: Target<'_>,
) -> Result<(), Refusal> {
    log_in(stream, proxy).await.map_err(Refusal::Whole)?;
    let broken = |what: &str, error: io::Error| Refusal::Whole(silence(what, &error));
    let request = request(target).map_err(Refusal::Whole)?;
    say(stream, &request).await.map_err(|e| broken("the request", e))?;
    let mut head = [0; 4];
    stream.read_exact(&mut head).await.map_err(|e| broken("the request", e))?;
    let [version, reply, _, kind] = head;
    if version != VERSION {
        return Err(Refusal::Whole(stranger()));
    }
    if reply != 0 {
        return Err(refused(reply));
    }
    // The address that it connects from is of no use here, but has to be read.
    let length = match kind {
        IPV4 => 4,
        IPV6 => 16,
        NAME => usize::from(stream.read_u8().await.map_err(|e| broken("the request", e))?),
        _ => return Err(Refusal::Whole(stranger())),
    };
    let mut bound = [0; 255 + 2];
    stream.read_exact(&mut bound[..length + 2]).await.map_err(|e| broken("the request", e))?;
    Ok(())
}

async fn log_in(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), proxy: &Proxy) -> Result<(), Cause> {
    let broken = |error: io::Error| silence("the greeting", &error);
    let login = proxy.username.as_deref().map(|name| (name, proxy.password.as_ref().map_or("", |p| p.expose())));
    let greeting: &[u8] = if login.is_some() { &[VERSION, 2, NO_LOGIN, PASSWORD] } else { &[VERSION, 1, NO_LOGIN] };
    say(stream, greeting).await.map_err(broken)?;
    let mut choice = [0; 2];
    stream.read_exact(&mut choice).await.map_err(broken)?;
    match (choice, login) {
        ([VERSION, NO_LOGIN], _) => Ok(()),
        ([VERSION, PASSWORD], Some((name, password))) => {
            let mut words = vec![1];
            for part in [name, password] {
                let long = || because(Reason::ProxyAuthenticationRequired, "SOCKS takes at most 255 bytes of each");
                words.push(u8::try_from(part.len()).map_err(|_| long())?);
                words.extend_from_slice(part.as_bytes());
            }
            say(stream, &words).await.map_err(|e| silence("the password", &e))?;
            let mut verdict = [0; 2];
            stream.read_exact(&mut verdict).await.map_err(|e| silence("the password", &e))?;
            match verdict[1] {
                0 => Ok(()),
                _ => Err(because(Reason::ProxyAuthenticationRequired, "user name or password not accepted")),
            }
        }
        ([VERSION, NONE_ACCEPTABLE], None) => {
            Err(because(Reason::ProxyAuthenticationRequired, "it takes nobody without a user name"))
        }
        ([VERSION, NONE_ACCEPTABLE], Some(_)) => {
            Err(because(Reason::ProxyRefused, "it takes no login by user name and password"))
        }
        ([VERSION, method], _) => {
            Err(because(Reason::ProxyFailed, &format!("it chose a login that was not offered (0x{method:02x})")))
        }
        _ => Err(stranger()),
    }
}

fn request(target: Target<'_>) -> Result<Vec<u8>, Cause> {
    let mut request = vec![VERSION, CONNECT, 0];
    let port = match target {
        Target::Address(SocketAddr::V4(address)) => {
            request.push(IPV4);
            request.extend(address.ip().octets());
            address.port()
        }
        Target::Address(SocketAddr::V6(address)) => {
            request.push(IPV6);
            request.extend(address.ip().octets());
            address.port()
        }
        Target::Name(name, port) => {
            let long = || because(Reason::ProxyRefused, "SOCKS takes host names of at most 255 bytes");
            request.extend([NAME, u8::try_from(name.len()).map_err(|_| long())?]);
            request.extend(name.as_bytes());
            port
        }
    };
    request.extend(port.to_be_bytes());
    Ok(request)
}

async fn say(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

/// What a reply means (RFC 1928 §6).
fn refused(reply: u8) -> Refusal {
    let address = |words: &str| Refusal::Address(because(Reason::ProxyFailed, words));
    match reply {
        1 => Refusal::Whole(because(Reason::ProxyFailed, "general failure (1)")),
        2 => Refusal::Whole(because(Reason::ProxyRefused, "not allowed by its rules (2)")),
        3 => address("from there the network is unreachable (3)"),
        4 => address("from there the host is unreachable (4)"),
        5 => address("from there the connection is refused (5)"),
        6 => address("from there the host is too far (TTL expired, 6)"),
        7 => Refusal::Whole(because(Reason::ProxyRefused, "it makes no connections (command not supported, 7)")),
        8 => address("it does not know this kind of address (8)"),
        other => Refusal::Whole(because(Reason::ProxyFailed, &format!("reply {other}"))),
    }
}

fn silence(to: &str, error: &io::Error) -> Cause {
    let words = match error.kind() {
        io::ErrorKind::UnexpectedEof => "it closed the connection".to_owned(),
        _ => reach::words(error),
    };
    because(Reason::ProxyFailed, &format!("no answer to {to}: {words}"))
}

fn stranger() -> Cause {
    because(Reason::ProxyFailed, "it does not speak SOCKS 5")
}
