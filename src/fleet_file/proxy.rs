//! Defines how the URL of a proxy is read; which proxies the environment names is read elsewhere, and no message ever holds a password.

use std::{net::IpAddr, sync::Arc};

use super::address::{Address, Scheme};
use crate::{
    document::{Draft, Report, Value},
    fleet::{Proxy, ProxyKind, Secret},
};

pub(super) const HELP: &str =
    "such as \"http://proxy:3128\", \"socks5h://proxy\" or, with a user, \"https://user@proxy:3129\"";
/// What `http://user:password` looks like is a host and its port.
const FORGOTTEN: &str = "host:port stands behind the scheme; a user and a password stand before it and an @: \
                         \"http://user:password@proxy:3128\"";

/// The longest user name or password that SOCKS can carry, in bytes (RFC 1929 §2).
const SOCKS_TEXT: usize = 255;

/// Reads an endpoint's `proxy`; `address` is what its URL says, if it could be read.
pub(super) fn read(value: &Value<'_>, address: Option<&Address>, report: &mut Report<'_>) -> Option<Proxy> {
    let text = value.string(report, "a proxy's URL in quotes, such as \"http://proxy:3128\"")?;
    if address.is_some_and(|a| a.scheme == Scheme::Unix) {
        report.error(
            Draft::at(value.span.clone(), "`proxy` means nothing with unix://")
                .help("a Unix socket is on this host; take one of them out"),
        );
        return None;
    }
    match parse(text) {
        Ok(proxy) => {
            if proxy.password.is_some() {
                report.warning(
                    Draft::at(value.span.clone(), "a proxy's password in plain text")
                        .help("better: leave `proxy` out and set https_proxy or http_proxy where mqfleet is started"),
                );
            }
            Some(proxy)
        }
        Err(wrong) => {
            let help = if wrong == NO_PORT { FORGOTTEN } else { HELP };
            report.error(Draft::at(value.span.clone(), format!("`proxy` {wrong}")).help(help));
            None
        }
    }
}

const NO_PORT: &str = "has no valid port";

/// Reads `[scheme://][user[:password]@]host[:port]`. What is wrong follows the name of what was read.
pub(super) fn parse(text: &str) -> Result<Proxy, &'static str> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
    let (kind, port_else) = match scheme.to_ascii_lowercase().as_str() {
        "http" => (ProxyKind::Http, 80),
        "https" => (ProxyKind::Https, 443),
        "socks5" => (ProxyKind::Socks5, 1080),
        "socks5h" => (ProxyKind::Socks5h, 1080),
        "socks" => return Err("says \"socks://\", of which there are several: it is socks5:// or socks5h://"),
        "socks4" | "socks4a" => return Err("is a SOCKS 4 proxy, which cannot do IPv6 and passwords: use socks5h://"),
        _ => return Err("is no proxy's URL: it can be http://, https://, socks5:// or socks5h://"),
    };
    let (user, host) = match rest.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, rest),
    };
    let host = host.strip_suffix('/').unwrap_or(host);
    let (host, port) = match host.strip_prefix('[').and_then(|h| h.split_once(']')) {
        Some((host, port)) if host.parse::<IpAddr>().is_ok_and(|a| a.is_ipv6()) => (host, port),
        Some(_) => return Err("has no valid address in its brackets"),
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if host.is_empty() || host.len() > 253 || !host.chars().all(is_name) {
        return Err("has no valid host");
    }
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => port_else,
        digits => digits.and_then(|d| d.parse().ok()).filter(|p| *p > 0).ok_or(NO_PORT)?,
    };
    let decoded =
        |text: &str| decode(text).ok_or("has a user or password that cannot be read: % stands before 2 digits");
    let (username, password) = match user.map(|u| u.split_once(':').unwrap_or((u, ""))) {
        None => (None, None),
        Some((name, password)) => {
            (Some(decoded(name)?).filter(|name| !name.is_empty()), Some(decoded(password)?).filter(|p| !p.is_empty()))
        }
    };
    if kind == ProxyKind::Http || kind == ProxyKind::Https {
        if username.as_ref().is_some_and(|name| name.contains(':')) {
            return Err("has a user with a colon, which HTTP cannot carry (RFC 7617 §2)");
        }
    } else if username.iter().chain(&password).any(|text| text.len() > SOCKS_TEXT) {
        return Err("has a user or password of more than 255 bytes, which SOCKS cannot carry (RFC 1929 §2)");
    } else if username.is_none() && password.is_some() {
        return Err("has a password without a user, which SOCKS cannot carry (RFC 1929 §2)");
    }
    let (username, password) = (username.map(Arc::from), password.map(Secret::new));
    Ok(Proxy { username, password, ..Proxy::new(kind, host, port) })
}

/// Undoes `%XX`.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains(['\0', '\r', '\n']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_read() {
        for (text, kind, host, port, username, password) in [
            ("http://proxy:3128/", ProxyKind::Http, "proxy", 3128, None, None),
            ("proxy", ProxyKind::Http, "proxy", 80, None, None),
            ("proxy:8080", ProxyKind::Http, "proxy", 8080, None, None),
            ("http://u@[::1]:8080", ProxyKind::Http, "::1", 8080, Some("u"), None),
            ("http://u:p%40ss@p:1", ProxyKind::Http, "p", 1, Some("u"), Some("p@ss")),
            ("http://u:p@ss@p", ProxyKind::Http, "p", 80, Some("u"), Some("p@ss")),
            ("HTTPS://p", ProxyKind::Https, "p", 443, None, None),
            ("socks5://p", ProxyKind::Socks5, "p", 1080, None, None),
            ("socks5h://u:p:w@10.0.0.7", ProxyKind::Socks5h, "10.0.0.7", 1080, Some("u"), Some("p:w")),
        ] {
            let proxy = parse(text).unwrap();
            assert_eq!((proxy.kind, &*proxy.host, proxy.port), (kind, host, port), "{text}");
            assert_eq!(proxy.username.as_deref(), username, "{text}");
            assert_eq!(proxy.password.as_ref().map(|p| p.expose()), password, "{text}");
            assert_eq!(proxy.variable, None);
        }
    }

    #[test]
    fn wrong_proxies_say_why_and_no_password() {
        let long = format!("socks5://u:{}@p", "hunter2".repeat(40));
        for (text, says) in [
            ("http://", "no valid host"),
            ("http://p:x", NO_PORT),
            ("http://p:0", NO_PORT),
            ("http://u:hunter2", NO_PORT),
            ("socks5://u:hunter2", NO_PORT),
            ("u:hunter2", NO_PORT),
            ("http://u:hunter2@", "no valid host"),
            ("http://u:%zzhunter2@p", "cannot be read"),
            ("http://u%3A:hunter2@p", "a user with a colon"),
            ("http://u:hunter2%0Ax@p", "cannot be read"),
            ("http://[x]:1", "no valid address"),
            ("http://[10.0.0.7]:1", "no valid address"),
            ("ftp://u:hunter2@p", "no proxy's URL"),
            ("socks://p", "socks5:// or socks5h://"),
            ("socks4a://p", "SOCKS 4"),
            ("socks5://:hunter2@p", "without a user"),
            (&long, "more than 255 bytes"),
        ] {
            let wrong = parse(text).unwrap_err();
            assert!(wrong.contains(says) && !wrong.contains("hunter2"), "{text}: {wrong}");
        }
    }
}
