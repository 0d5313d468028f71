//! Defines which agent is meant, as it is written: a name, a path, or another host.

use std::{fmt, path::PathBuf};

use super::{
    socket::{AgentError, file_name},
    stored::Stored,
};
use crate::text::is_plain;

/// Which agent is meant.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// The only one.
    Only,
    /// The one of this fleet.
    Name(String),
    Path(PathBuf),
    Ssh {
        /// As ssh takes it: `[USER@]HOST`.
        host: String,
        port: Option<u16>,
        name: String,
    },
    /// One whose rows are in a store.
    Stored(Box<Stored>),
}

impl Target {
    /// The same where it was found without a name: by that of its fleet.
    pub(super) fn named(self, fleet: &str) -> Target {
        match self {
            Target::Only => Target::Name(fleet.to_owned()),
            Target::Ssh { host, port, name } if name.is_empty() => Target::Ssh { host, port, name: file_name(fleet) },
            target => target,
        }
    }
}

/// As it is written, so that a shell sees nothing in it; but in a path it may.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Only => Ok(()),
            Target::Name(name) => f.write_str(&file_name(name)),
            Target::Path(path) => path.display().fmt(f),
            Target::Stored(stored) => write!(f, "{}/{}", stored.store, stored.fleet),
            Target::Ssh { host, port, name } => {
                let host = if host.matches(':').count() > 1 { bracketed(host) } else { host.clone() };
                let port = port.map(|port| format!(":{port}")).unwrap_or_default();
                write!(f, "ssh://{host}{port}/{name}")
            }
        }
    }
}

/// An IPv6 address as in an URL.
fn bracketed(host: &str) -> String {
    match host.rsplit_once('@') {
        Some((user, host)) => format!("{user}@[{host}]"),
        None => format!("[{host}]"),
    }
}

impl std::str::FromStr for Target {
    type Err = AgentError;

    fn from_str(text: &str) -> Result<Target, AgentError> {
        let wrong = || AgentError::Target(text.to_owned());
        if let Some(rest) = text.strip_prefix("ssh://") {
            let (host, name) = rest.split_once('/').unwrap_or((rest, ""));
            let (host, port) = match host.rsplit_once(':') {
                Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse().map_err(|_| wrong())?)),
                _ => (host, None),
            };
            // The brackets of an IPv6 address are an URL's (RFC 3986, 3.2.2); ssh takes them for a part of a name.
            let host: String = host.chars().filter(|c| !matches!(c, '[' | ']')).collect();
            // What begins with a dash would be an option of ssh.
            if host.is_empty() || host.starts_with('-') || !name.chars().all(|c| is_plain(c) || c == '%') {
                return Err(wrong());
            }
            return Ok(Target::Ssh { host, port, name: name.to_owned() });
        }
        match text {
            "" => Err(wrong()),
            path if path.contains('/') => Ok(Target::Path(path.into())),
            name => Ok(Target::Name(name.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_names_paths_and_other_hosts() {
        let ssh = |host: &str, port, name: &str| Target::Ssh { host: host.into(), port, name: name.into() };
        let good = [
            ("plant", Target::Name("plant".into())),
            ("./a.sock", Target::Path("./a.sock".into())),
            ("ssh://edge-7/plant", ssh("edge-7", None, "plant")),
            ("ssh://ops@edge-7:2222/plant", ssh("ops@edge-7", Some(2222), "plant")),
            ("ssh://[::1]/", ssh("::1", None, "")),
            ("ssh://ops@[::1]:2222/Plant%20EU", ssh("ops@::1", Some(2222), "Plant%20EU")),
        ];
        for (text, target) in good {
            assert_eq!(text.parse::<Target>().expect(text), target);
            assert_eq!(target.to_string(), text);
        }
        for text in ["", "ssh://", "ssh://-oProxyCommand=x/y", "ssh://h/a;b", "ssh://h/$(x)", "ssh://h:x/a"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
