//! Defines how an endpoint and a password are read from the command line, by the readers of the fleet file; which option is which is the command line's to say.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{address, headers::Headers, password, password::Wrong, proxy_variables, storing, transport};
use crate::{
    fleet::{Endpoint, Secret, Tls},
    telling::Store,
    text::Scrubbed,
};

/// The endpoint that a URL names, called by its address, with the proxy that the environment names
/// for it; and what is to be said of a proxy variable that cannot be used.
///
/// # Errors
/// What is wrong and what to do about it, in words that repeat no password.
pub fn endpoint(url: &str, ca_file: Option<PathBuf>, insecure: bool) -> Result<(Endpoint, Option<String>), String> {
    let address = address::parse(url).map_err(|(title, help)| sentence(&title, &help))?;
    let scheme = address.scheme;
    if !scheme.is_tls() && (ca_file.is_some() || insecure) {
        let title = format!("{}:// has no certificate: --ca-file and --insecure say nothing", scheme.name());
        return Err(sentence(&title, "TLS is mqtts:// or wss://"));
    }
    let transport = transport::of(&address, Tls { ca_file, insecure, ..Tls::default() }, Headers::default());
    let (proxy, warning) = match proxy_variables::named(&address, &|name| std::env::var_os(name)) {
        Ok(proxy) => (proxy, None),
        Err(unusable) => (None, Some(sentence(&unusable.title(), proxy_variables::HELP))),
    };
    let endpoint = Endpoint { transport, proxy, ..Endpoint::new("", &address.host, address.port) };
    let name = Scrubbed::new(&endpoint.address());
    Ok((Endpoint { name, ..endpoint }, warning))
}

/// The store that a URL names, and the fleet in it where it names one.
///
/// # Errors
/// What is wrong and what to do about it, in words that repeat no password.
pub fn store(url: &str, ca_file: Option<PathBuf>) -> Result<(Store, Option<String>), String> {
    let url = storing::parse(url).map_err(|(title, help)| sentence(&title, &help))?;
    if !url.is_tls && ca_file.is_some() {
        return Err(sentence("without TLS there is no certificate: --ca-file says nothing", "TLS is rediss://"));
    }
    let tls = url.is_tls.then(|| Arc::new(Tls { ca_file, ..Tls::default() }));
    Ok((Store { tls, database: url.database.unwrap_or(0), ..Store::new(url.servers, "") }, url.fleet))
}

/// The password in an environment variable.
///
/// # Errors
/// What is wrong; an argument that is no variable's name is not repeated: it may be the password.
pub fn password_from_env(name: &str) -> Result<Secret, String> {
    password::from_env(name, &|name| std::env::var_os(name)).and_then(filled).map_err(said)
}

/// The password in a file, but for its line end.
///
/// # Errors
/// What is wrong with the file.
pub fn password_from_file(path: &Path) -> Result<Secret, String> {
    password::from_file(path, "password").and_then(filled).map_err(said)
}

fn filled(password: String) -> Result<Secret, Wrong> {
    if password.is_empty() {
        Err(Wrong { title: "the password is empty".into(), help: None })
    } else {
        password::secret(password)
    }
}

fn said(Wrong { title, help }: Wrong) -> String {
    let title = title.replace("`env`", "--password-env");
    help.map_or(title.clone(), |help| sentence(&title, help))
}

fn sentence(title: &str, help: &str) -> String {
    format!("{title}: {help}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_becomes_an_endpoint() {
        for (text, scheme, address) in [
            ("mqtt://localhost", "mqtt", "localhost:1883"),
            ("mqtts://broker.example", "mqtts", "broker.example:8883"),
            ("MQTTS://10.0.0.7:1/", "mqtts", "10.0.0.7:1"),
            ("ws://[2001:db8::1]/mqtt", "ws", "[2001:db8::1]:80"),
            ("wss://a:444", "wss", "a:444"),
            ("mqtts://[::1]", "mqtts", "[::1]:8883"),
            ("unix:///run/mqtt.sock", "unix", "/run/mqtt.sock"),
        ] {
            let (endpoint, _) = endpoint(text, None, false).unwrap();
            assert_eq!((endpoint.transport.scheme(), endpoint.address().as_str()), (scheme, address), "{text}");
            assert_eq!(endpoint.name.as_str(), address);
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_passwords() {
        for (text, ca_file, insecure, why) in [
            ("mqtt://u:hunter2@a", None, false, "has no user"),
            ("http://a", None, false, "\"http://\" is unknown"),
            ("mqtt://a/b", None, false, "has a path"),
            ("mqtt://a\x1b[31m", None, false, "is not a host name"),
            ("mqtt://a", Some("ca.pem"), false, "--ca-file"),
            ("ws://a", None, true, "--insecure"),
            ("unix:///a", None, true, "--insecure"),
        ] {
            let said = endpoint(text, ca_file.map(PathBuf::from), insecure).unwrap_err();
            assert!(said.contains(why) && !said.contains("hunter2") && !said.contains('\x1b'), "{text}: {said}");
        }
        let said = password_from_env("my hunter2!").unwrap_err();
        assert!(said.contains("--password-env must be the name") && !said.contains("hunter2"), "{said}");
        let said = password_from_file(Path::new("/nowhere/pw")).unwrap_err();
        assert!(said.contains("cannot read the password file \"/nowhere/pw\""), "{said}");
        assert!(password_from_file(Path::new("/dev/null")).unwrap_err().contains("empty"));
    }
}
