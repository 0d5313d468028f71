//! Defines how an endpoint's URL is read into scheme, host, port and path; it looks nothing up, and repeats nothing that may be a password.

use crate::document::{Draft, Report, Value, is_plain_url, nearest, quoted};
use std::net::Ipv6Addr;

/// What a URL says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Address {
    pub scheme: Scheme,
    pub host: Box<str>,
    pub port: u16,
    /// Of a WebSocket, or that of the Unix socket; else empty.
    pub path: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scheme {
    Mqtt,
    Mqtts,
    Ws,
    Wss,
    Unix,
}

impl Scheme {
    pub(super) fn name(self) -> &'static str {
        match self {
            Scheme::Mqtt => "mqtt",
            Scheme::Mqtts => "mqtts",
            Scheme::Ws => "ws",
            Scheme::Wss => "wss",
            Scheme::Unix => "unix",
        }
    }

    /// The port as registered with IANA; a Unix socket has none.
    fn port(self) -> u16 {
        match self {
            Scheme::Mqtt => 1883,
            Scheme::Mqtts => 8883,
            Scheme::Ws => 80,
            Scheme::Wss => 443,
            Scheme::Unix => 0,
        }
    }

    pub(super) fn is_tls(self) -> bool {
        matches!(self, Scheme::Mqtts | Scheme::Wss)
    }

    pub(super) fn is_websocket(self) -> bool {
        matches!(self, Scheme::Ws | Scheme::Wss)
    }
}

/// Reads `scheme://host[:port][/path]`, or `unix:///path`.
pub(super) fn read(value: &Value<'_>, report: &mut Report<'_>) -> Option<Address> {
    let text = value.string(report, "a URL in quotes, such as \"mqtt://broker.example:1883\"")?;
    match parse(text) {
        Ok(address) => Some(address),
        Err((title, help)) => {
            report.error(Draft::at(value.span.clone(), title).help(help));
            None
        }
    }
}

/// The same of a text by itself.
///
/// # Errors
/// What is wrong with it, and what to do about it.
pub(super) fn parse(text: &str) -> Result<Address, (String, String)> {
    let wrong = |title: &str, help: &str| Err((title.to_owned(), help.to_owned()));
    const NO_USER: (&str, &str) = ("a URL here has no user", "user name and password belong to the clients");
    let no_user = || wrong(NO_USER.0, NO_USER.1);
    let Some((scheme, rest)) = text.split_once("://") else {
        if text.contains('@') {
            return no_user();
        }
        return Err(("the URL has no scheme".into(), format!("write \"mqtt://{}\"", scrap(text))));
    };
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    let path = &rest[authority.len()..];
    let known = match scheme.to_ascii_lowercase().as_str() {
        "mqtt" => Some(Scheme::Mqtt),
        "mqtts" => Some(Scheme::Mqtts),
        "ws" => Some(Scheme::Ws),
        "wss" => Some(Scheme::Wss),
        "unix" => return socket(authority, path),
        _ => None,
    };
    // A query may hold an @ where there is one; elsewhere it may be a password that has a slash in it.
    let has_user = match known.is_some_and(Scheme::is_websocket) {
        true => authority.contains('@'),
        false => text.contains('@'),
    };
    if has_user {
        return no_user();
    }
    let Some(scheme) = known else { return Err(unknown_scheme(scheme, rest)) };
    if !scheme.is_websocket() && !matches!(path, "" | "/") {
        let help = format!("only ws:// and wss:// have one: {}://host:port", scheme.name());
        return Err(("the URL has a path".into(), help));
    }
    if path.contains('#') || path.chars().any(|c| c.is_control() || c == ' ' || !c.is_ascii()) {
        return wrong(
            "the URL has a path that HTTP does not allow",
            "such as wss://host/mqtt; other signs are written %XX",
        );
    }
    let (host, port) = host_and_port(authority, scheme.name(), scheme.port())?;
    let path = match path {
        _ if !scheme.is_websocket() => String::new(),
        path if path.starts_with('/') => path.to_owned(),
        path => format!("/{path}"),
    };
    Ok(Address { scheme, host: host.into(), port, path })
}

/// Reads `host[:port]` out of a URL with this scheme, whose port it is where none is given.
///
/// # Errors
/// What is wrong with it, and what to do about it.
pub(super) fn host_and_port<'t>(
    authority: &'t str,
    scheme: &str,
    default: u16,
) -> Result<(&'t str, u16), (String, String)> {
    let wrong = |title: &str, help: String| Err((title.to_owned(), help));
    let (host, port) = match authority.strip_prefix('[').and_then(|a| a.split_once(']')) {
        Some((host, port)) => match host.parse::<Ipv6Addr>() {
            Ok(_) => (host, port),
            Err(_) => {
                let help = format!("such as {scheme}://[2001:db8::1]:{default}");
                return wrong("the URL has no valid IPv6 address in its brackets", help);
            }
        },
        None if authority.matches(':').count() > 1 => {
            let help = format!("an IPv6 address stands in brackets: {scheme}://[2001:db8::1]:{default}");
            return wrong("the URL has too many colons", help);
        }
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    if host.is_empty() {
        return wrong("the URL has no host", format!("such as {scheme}://host.example:{default}"));
    }
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if !host.chars().all(is_name) || host.len() > 253 {
        let help = "letters, digits, dots and dashes; names in other scripts are written in their xn-- form";
        let shown = if is_plain_url(authority) { quoted(host) } else { "the URL's host".into() };
        return Err((format!("{shown} is not a host name"), help.into()));
    }
    match port {
        "" => Ok((host, default)),
        port => match port.strip_prefix(':').and_then(|p| p.parse::<u16>().ok()).filter(|p| *p > 0) {
            Some(port) => Ok((host, port)),
            None => {
                let help = format!("a port is 1 to 65535; without one it is {default}");
                wrong("the URL has no valid port", help)
            }
        },
    }
}

/// Reads what follows `unix://`: nothing but the absolute path of a socket.
fn socket(authority: &str, path: &str) -> Result<Address, (String, String)> {
    let wrong = |title: &str, help: &str| Err((title.to_owned(), help.to_owned()));
    const EXAMPLE: &str = "three slashes and an absolute path, such as unix:///run/mosquitto/mqtt.sock";
    if !authority.is_empty() {
        return wrong("a unix:// URL has no host and no relative path", EXAMPLE);
    }
    if !path.starts_with('/') || path.ends_with('/') {
        return wrong("the unix:// URL names no socket", EXAMPLE);
    }
    if path.len() > SOCKET_PATH_MAX || path.contains('\0') {
        let title = format!("the path of a Unix socket has at most {SOCKET_PATH_MAX} bytes and no NUL");
        return wrong(&title, "give the socket a shorter one, or a symbolic link (unix(7))");
    }
    Ok(Address { scheme: Scheme::Unix, host: "localhost".into(), port: 0, path: path.to_owned() })
}

/// What there is of `sun_path`, but for the NUL at its end (unix(7)).
const SOCKET_PATH_MAX: usize = 107;

/// What to say of a scheme that is none of ours.
fn unknown_scheme(scheme: &str, rest: &str) -> (String, String) {
    let title = match scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')) {
        true => format!("the scheme {} is unknown here", quoted(&format!("{scheme}://"))),
        false => "the URL's scheme is none".into(),
    };
    let help = match scheme.to_ascii_lowercase().as_str() {
        "tcp" => format!("it is \"mqtt://{}\"", scrap(rest)),
        "ssl" | "tls" => format!("it is \"mqtts://{}\"", scrap(rest)),
        other => match nearest(other, ["mqtt", "mqtts", "ws", "wss", "unix"]) {
            Some(word) => format!("did you mean \"{word}://\"?"),
            None => "it can be mqtt://, mqtts://, ws://, wss:// or unix://".into(),
        },
    };
    (title, help)
}

/// A piece of a URL for a hint.
fn scrap(text: &str) -> String {
    if !is_plain_url(text) {
        return "host:port".into();
    }
    let quoted = quoted(text);
    quoted.trim_matches('"').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        for (text, host, port, path) in [
            ("mqtt://localhost", "localhost", 1883, ""),
            ("mqtt://localhost/", "localhost", 1883, ""),
            ("MQTT://broker-1.example_x.net:11883", "broker-1.example_x.net", 11883, ""),
            ("mqtt://10.0.0.7:1", "10.0.0.7", 1, ""),
            ("mqtt://[2001:db8::1]", "2001:db8::1", 1883, ""),
            ("mqtt://[::1]:65535", "::1", 65535, ""),
            ("mqtts://a", "a", 8883, ""),
            ("ws://a", "a", 80, "/"),
            ("wss://a/mqtt?x=1", "a", 443, "/mqtt?x=1"),
            ("ws://a:8080?x=1", "a", 8080, "/?x=1"),
            ("wss://a/mqtt?user=a@b", "a", 443, "/mqtt?user=a@b"),
            ("ws://a/@/b", "a", 80, "/@/b"),
            ("unix:///run/a@b.sock", "localhost", 0, "/run/a@b.sock"),
            ("UNIX:///größe?x #", "localhost", 0, "/größe?x #"),
        ] {
            let address = parse(text).unwrap();
            assert_eq!((&*address.host, address.port, address.path.as_str()), (host, port, path), "{text}");
        }
    }

    #[test]
    fn wrong_addresses_say_why() {
        let long = format!("unix:///{}", "x".repeat(107));
        assert!(parse(&long).unwrap_err().0.contains("at most 107 bytes") && parse(&long[..long.len() - 1]).is_ok());
        for (text, title, help) in [
            ("unix:a", "no scheme", ""),
            ("localhost:1883", "no scheme", "\"mqtt://localhost:1883\""),
            ("tcp://a:1", "unknown", "\"mqtt://a:1\""),
            ("ssl://a", "unknown", "\"mqtts://a\""),
            ("mqtts://a/path", "has a path", "mqtts://host:port"),
            ("ws://a/b c", "a path that HTTP does not allow", ""),
            ("wss://a:0", "no valid port", "443"),
            ("mqt://a", "\"mqt://\" is unknown", "\"mqtt://\""),
            ("carrier-pigeon://a", "unknown", "it can be mqtt://"),
            ("mqtt://a/path", "has a path", ""),
            ("mqtt://a?b", "has a path", ""),
            ("mqtt://", "no host", ""),
            ("mqtt://:1883", "no host", ""),
            ("mqtt://a:0", "no valid port", ""),
            ("mqtt://a:65536", "no valid port", ""),
            ("mqtt://a:x", "no valid port", ""),
            ("mqtt://::1", "too many colons", "brackets"),
            ("mqtt://[::1", "too many colons", "brackets"),
            ("mqtt://[::g]", "no valid IPv6", ""),
            ("mqtt://[::1]1883", "no valid port", ""),
            ("mqtt://a b", "\"a b\" is not a host name", ""),
            ("mqtt://größe", "not a host name", "xn--"),
            ("mqtt://u:hunter2@a", "has no user", "password"),
            ("hunter2@a", "has no user", ""),
            ("u:hunter2", "no scheme", "\"mqtt://host:port\""),
            ("tcp://u:hunter2", "unknown", "\"mqtt://host:port\""),
            ("mqtt://u:hunter2", "no valid port", ""),
            ("mqtt://u:hunter2/x@a", "has no user", ""),
            ("wss://u:hunter2@a/b", "has no user", ""),
            ("wss://u:hunter2/x@a", "no valid port", ""),
            ("wss://hunter2%/x@a", "the URL's host is not", ""),
            ("u:hunter2://a", "scheme is none", ""),
            ("unix://run/a.sock", "no host and no relative path", "three slashes"),
            ("unix://a.sock", "no host and no relative path", "unix:///run"),
            ("unix://u:hunter2@host/a", "no host and no relative path", ""),
            ("unix://", "names no socket", ""),
            ("unix:///", "names no socket", ""),
            ("unix:///run/", "names no socket", ""),
            ("unx:///a", "unknown", "did you mean \"unix://\"?"),
        ] {
            let (t, h) = parse(text).unwrap_err();
            assert!(t.contains(title) && h.contains(help), "{text}: {t}; {h}");
            assert!(!t.contains("hunter2") && !h.contains("hunter2"));
        }
    }
}
