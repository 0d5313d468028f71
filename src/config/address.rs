//! Defines how an endpoint's URL is read into scheme, host, port and path; it looks nothing up.

use std::net::Ipv6Addr;

use super::{
    nearest::nearest,
    report::{Draft, Report, quoted},
    tree::Value,
};

/// What a URL says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Address {
    pub scheme: Scheme,
    pub host: Box<str>,
    pub port: u16,
    /// Empty but for WebSockets.
    pub path: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scheme {
    Mqtt,
    Mqtts,
    Ws,
    Wss,
}

impl Scheme {
    pub fn name(self) -> &'static str {
        match self {
            Scheme::Mqtt => "mqtt",
            Scheme::Mqtts => "mqtts",
            Scheme::Ws => "ws",
            Scheme::Wss => "wss",
        }
    }

    /// The port as registered with IANA.
    fn port(self) -> u16 {
        match self {
            Scheme::Mqtt => 1883,
            Scheme::Mqtts => 8883,
            Scheme::Ws => 80,
            Scheme::Wss => 443,
        }
    }

    pub fn is_tls(self) -> bool {
        matches!(self, Scheme::Mqtts | Scheme::Wss)
    }

    fn has_path(self) -> bool {
        matches!(self, Scheme::Ws | Scheme::Wss)
    }
}

/// Reads `scheme://host[:port][/path]`.
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
    if text.contains('@') {
        // Nothing of such a URL may be repeated: it may hold a password.
        return wrong("a URL here has no user", "user name and password belong to the clients");
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(("the URL has no scheme".into(), format!("write \"mqtt://{}\"", scrap(text))));
    };
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "mqtt" => Scheme::Mqtt,
        "mqtts" => Scheme::Mqtts,
        "ws" => Scheme::Ws,
        "wss" => Scheme::Wss,
        "tcp" => {
            return Err(("the scheme \"tcp://\" is unknown here".into(), format!("it is \"mqtt://{}\"", scrap(rest))));
        }
        "ssl" | "tls" => {
            let title = format!("the scheme {} is unknown here", quoted(&format!("{scheme}://")));
            return Err((title, format!("it is \"mqtts://{}\"", scrap(rest))));
        }
        other => {
            let near = nearest(other, ["mqtt", "mqtts", "ws", "wss"]);
            let help = near.map_or("it can be mqtt://, mqtts://, ws:// or wss://".into(), |word| {
                format!("did you mean \"{word}://\"?")
            });
            return Err((format!("the scheme {} is unknown", quoted(&format!("{scheme}://"))), help));
        }
    };
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    let path = &rest[authority.len()..];
    if !scheme.has_path() && !matches!(path, "" | "/") {
        let help = format!("only ws:// and wss:// have one: {}://host:port", scheme.name());
        return Err(("the URL has a path".into(), help));
    }
    if path.contains('#') || path.chars().any(|c| c.is_control() || c == ' ' || !c.is_ascii()) {
        return wrong(
            "the URL has a path that HTTP does not allow",
            "such as wss://host/mqtt; other signs are written %XX",
        );
    }
    let (host, port) = match authority.strip_prefix('[').and_then(|a| a.split_once(']')) {
        Some((host, port)) => match host.parse::<Ipv6Addr>() {
            Ok(_) => (host, port),
            Err(_) => {
                return wrong("the URL has no valid IPv6 address in its brackets", "such as mqtt://[2001:db8::1]:1883");
            }
        },
        None if authority.matches(':').count() > 1 => {
            return wrong(
                "the URL has too many colons",
                "an IPv6 address stands in brackets: mqtt://[2001:db8::1]:1883",
            );
        }
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    if host.is_empty() {
        return wrong("the URL has no host", "such as mqtt://broker.example:1883");
    }
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if !host.chars().all(is_name) || host.len() > 253 {
        let help = "letters, digits, dots and dashes; names in other scripts are written in their xn-- form";
        return Err((format!("{} is not a host name", quoted(host)), help.into()));
    }
    let port = match port {
        "" => scheme.port(),
        port => match port.strip_prefix(':').and_then(|p| p.parse::<u16>().ok()).filter(|p| *p > 0) {
            Some(port) => port,
            None => {
                let help = format!("a port is 1 to 65535; without one it is {}", scheme.port());
                return Err(("the URL has no valid port".into(), help));
            }
        },
    };
    let path = match path {
        _ if !scheme.has_path() => String::new(),
        path if path.starts_with('/') => path.to_owned(),
        path => format!("/{path}"),
    };
    Ok(Address { scheme, host: host.into(), port, path })
}

/// A piece of a URL for a hint.
fn scrap(text: &str) -> String {
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
        ] {
            let address = parse(text).unwrap();
            assert_eq!((&*address.host, address.port, address.path.as_str()), (host, port, path), "{text}");
        }
    }

    #[test]
    fn wrong_addresses_say_why() {
        for (text, title, help) in [
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
        ] {
            let (t, h) = parse(text).unwrap_err();
            assert!(t.contains(title) && h.contains(help), "{text}: {t}; {h}");
            assert!(!t.contains("hunter2") && !h.contains("hunter2"));
        }
    }
}
