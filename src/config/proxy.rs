//! Defines how an endpoint's HTTP proxy is read from its table or, as other programs do, from the environment; no message ever holds its password.

use std::{ffi::OsString, net::IpAddr};

use super::{
    Surroundings,
    address::{Address, Scheme},
    report::{Draft, Report},
    tree::Value,
};
use crate::fleet::{Proxy, ProxyKind, Secret};

/// The port of a proxy whose URL has none, as of any `http://` URL.
const PORT: u16 = 80;
const HELP: &str = "such as \"http://proxy:3128\" or \"http://user@proxy:3128\"";

/// Reads `http://[user[:password]@]host[:port]`.
pub(super) fn read(value: &Value<'_>, report: &mut Report<'_>) -> Option<Proxy> {
    let text = value.string(report, "a proxy's URL in quotes, such as \"http://proxy:3128\"")?;
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
            report.error(Draft::at(value.span.clone(), format!("`proxy` {wrong}")).help(HELP));
            None
        }
    }
}

/// The proxy that the environment names for this address; a variable that makes no sense is reported.
pub(super) fn from_environment(address: &Address, report: &mut Report<'_>, around: &Surroundings<'_>) -> Option<Proxy> {
    named(address, around.env).unwrap_or_else(|wrong| {
        report.error(Draft::of_file(wrong).help(HELP));
        None
    })
}

/// The proxy that the environment names for this address: `https_proxy` for TLS, `http_proxy` else
/// (in capitals that one may be a web request's header), `all_proxy` for both, but for this very host
/// and what `no_proxy` lists.
///
/// # Errors
/// Which variable makes no sense, and why.
pub(super) fn named(address: &Address, env: &dyn Fn(&str) -> Option<OsString>) -> Result<Option<Proxy>, String> {
    let names: &[&str] = match address.scheme {
        Scheme::Mqtts | Scheme::Wss => &["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"],
        Scheme::Mqtt | Scheme::Ws => &["http_proxy", "all_proxy", "ALL_PROXY"],
    };
    let get = |name: &str| env(name).filter(|value| !value.is_empty());
    let Some((name, value)) = names.iter().find_map(|name| Some((*name, get(name)?))) else { return Ok(None) };
    let exceptions = get("no_proxy").or_else(|| get("NO_PROXY")).unwrap_or_default();
    if is_here(&address.host) || is_excepted(&address.host, address.port, &exceptions) {
        return Ok(None);
    }
    let parsed = value.to_str().ok_or("is not UTF-8").and_then(parse);
    parsed.map(Some).map_err(|wrong| format!("the environment variable \"{name}\" {wrong}"))
}

fn is_here(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|a| a.is_loopback())
}

/// Whether a list such as `.example.net,10.0.0.7,other:8883` names the host, or a domain it is in.
fn is_excepted(host: &str, port: u16, list: &OsString) -> bool {
    let host = host.to_ascii_lowercase();
    list.to_string_lossy().split(',').map(|entry| entry.trim().to_ascii_lowercase()).any(|entry| {
        let (name, its_port) = match entry.rsplit_once(':') {
            Some((name, digits)) if !name.contains(':') => (name.to_owned(), digits.parse::<u16>().ok()),
            _ => (entry, None),
        };
        let name = name.trim_start_matches('*').trim_start_matches('.');
        if its_port.is_some_and(|p| p != port) {
            return false;
        }
        match name {
            "" => list.to_string_lossy().split(',').any(|e| e.trim() == "*"),
            name => host == name || host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.')),
        }
    })
}

fn parse(text: &str) -> Result<Proxy, &'static str> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
    if scheme.eq_ignore_ascii_case("https") {
        return Err("is reached by TLS, which Paho cannot do; it talks to proxies in the clear");
    }
    if !scheme.eq_ignore_ascii_case("http") {
        return Err("is no HTTP proxy's URL");
    }
    let (user, host) = match rest.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, rest),
    };
    let host = host.strip_suffix('/').unwrap_or(host);
    let (host, port) = match host.strip_prefix('[').and_then(|h| h.split_once(']')) {
        Some((host, port)) if host.parse::<IpAddr>().is_ok() => (host, port),
        Some(_) => return Err("has no valid address in its brackets"),
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if host.is_empty() || host.len() > 253 || !host.chars().all(is_name) {
        return Err("has no valid host");
    }
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => PORT,
        digits => digits.and_then(|d| d.parse().ok()).filter(|p| *p > 0).ok_or("has no valid port")?,
    };
    let decoded = |text: &str| decode(text).ok_or("has a user or password that cannot be read");
    let (username, password) = match user.map(|u| u.split_once(':').unwrap_or((u, ""))) {
        None => (None, None),
        Some((name, password)) => (
            Some(decoded(name)?.into()).filter(|name: &std::sync::Arc<str>| !name.is_empty()),
            Some(decoded(password)?).filter(|p| !p.is_empty()).map(Secret::new),
        ),
    };
    Ok(Proxy { username, password, ..Proxy::new(ProxyKind::Http, host, port) })
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
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_read() {
        let seen = |text| {
            let proxy = parse(text).unwrap();
            let password = proxy.password.as_ref().map(|p| p.expose().to_owned());
            (proxy.host.to_string(), proxy.port, proxy.username.as_deref().map(str::to_owned), password)
        };
        assert_eq!(seen("http://proxy:3128/"), ("proxy".into(), 3128, None, None));
        assert_eq!(seen("proxy"), ("proxy".into(), 80, None, None));
        assert_eq!(seen("http://u@[::1]:8080"), ("::1".into(), 8080, Some("u".into()), None));
        assert_eq!(seen("http://u:p%40ss@p:1"), ("p".into(), 1, Some("u".into()), Some("p@ss".into())));
        for wrong in
            ["https://p", "socks5://p", "http://", "http://p:x", "http://p:0", "http://u:%zz@p", "http://[x]:1"]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn exceptions_name_hosts_and_domains() {
        let is = |host, list: &str| is_excepted(host, 8883, &list.into());
        assert!(is("b.example.net", "example.net") && is("b.example.net", "x, .Example.Net"));
        assert!(is("b", "*") && is("b", "b:8883") && !is("b", "b:1883"));
        assert!(!is("badexample.net", "example.net") && !is("b", "") && !is("b", "c"));
    }
}
