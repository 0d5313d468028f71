//! Defines how an address on the command line becomes an endpoint; the fleet file's endpoints are the config's.

use std::{path::PathBuf, sync::Arc};

use url::{Host, Url};

use crate::{
    fleet::{Endpoint, Tls, Transport},
    text::Scrubbed,
};

/// Whether the argument is a URL, and not a file's name.
pub fn is_url(argument: &str) -> bool {
    argument.contains("://")
}

/// Reads `mqtt://`, `mqtts://`, `ws://` or `wss://`, a host, and perhaps a port and a path.
///
/// # Errors
/// In words that repeat nothing of a URL with a user in it: it may hold a password.
pub fn endpoint(text: &str, ca_file: Option<PathBuf>, insecure: bool) -> Result<Endpoint, String> {
    if text.contains('@') {
        return Err("a URL for the doctor has no user: nobody logs in".into());
    }
    let shown = Scrubbed::new(text);
    let url = Url::parse(text).map_err(|e| format!("\"{shown}\" is no URL: {e}"))?;
    let tls = || Arc::new(Tls { ca_file: ca_file.clone(), insecure, alpn: Vec::new() });
    let path = Arc::from(if url.path().is_empty() { "/" } else { url.path() });
    // Ports as registered with IANA.
    let (transport, usual_port) = match url.scheme() {
        "mqtt" => (Transport::Tcp, 1883),
        "mqtts" => (Transport::Tls(tls()), 8883),
        "ws" => (Transport::WebSocket(path), 80),
        "wss" => (Transport::SecureWebSocket(path, tls()), 443),
        other => {
            let other = Scrubbed::new(other);
            return Err(format!("\"{other}://\" is unknown here; it must be mqtt://, mqtts://, ws:// or wss://"));
        }
    };
    if transport.tls().is_none() && (ca_file.is_some() || insecure) {
        return Err(format!("{}:// has no certificate: --ca-file and --insecure say nothing", url.scheme()));
    }
    if matches!(url.scheme(), "mqtt" | "mqtts") && !matches!(url.path(), "" | "/") {
        return Err(format!("\"{shown}\" has a path, which {}:// has not", url.scheme()));
    }
    let host = match url.host() {
        // A scheme that the URL standard does not know leaves an IPv4 address as text, which is well.
        Some(Host::Domain(name)) => name.to_owned(),
        Some(Host::Ipv4(ip)) => ip.to_string(),
        Some(Host::Ipv6(ip)) => ip.to_string(),
        None => return Err(format!("\"{shown}\" has no host")),
    };
    if host.is_empty() || !host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':')) {
        return Err(format!("\"{shown}\" has no valid host name; other scripts are written in their xn-- form"));
    }
    let port = match url.port() {
        Some(0) => return Err(format!("\"{shown}\" has no valid port: it is 1 to 65535")),
        port => port.unwrap_or(usual_port),
    };
    let name = Endpoint::new("", &host, port).address();
    Ok(Endpoint { transport, ..Endpoint::new(&name, &host, port) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        for (text, scheme, address) in [
            ("mqtt://localhost", "mqtt", "localhost:1883"),
            ("mqtts://broker.example", "mqtts", "broker.example:8883"),
            ("MQTTS://10.0.0.7:1/", "mqtts", "10.0.0.7:1"),
            ("ws://[2001:db8::1]/mqtt", "ws", "[2001:db8::1]:80"),
            ("wss://a:444", "wss", "a:444"),
        ] {
            let endpoint = endpoint(text, None, false).unwrap();
            assert_eq!((endpoint.transport.scheme(), endpoint.address().as_str()), (scheme, address), "{text}");
        }
    }

    #[test]
    fn wrong_addresses_say_why() {
        for (text, why) in [
            ("mqtt://u:hunter2@a", "has no user"),
            ("http://a", "\"http://\" is unknown"),
            ("mqtt://", "no host"),
            ("mqtt://a/b", "has a path"),
            ("mqtt://a:0", "no valid port"),
            ("mqtt://a:99999", "is no URL"),
            ("mqtt://größe", "xn--"),
            ("mqtt://a\x1b[31m", "is"),
        ] {
            let said = endpoint(text, None, false).unwrap_err();
            assert!(said.contains(why) && !said.contains("hunter2") && !said.contains('\x1b'), "{text}: {said}");
        }
        assert!(endpoint("mqtt://a", Some("ca.pem".into()), false).unwrap_err().contains("--ca-file"));
        assert!(endpoint("ws://a", None, true).unwrap_err().contains("--insecure"));
    }
}
