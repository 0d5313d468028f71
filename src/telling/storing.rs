//! Defines where an agent writes how its clients stand (`[store]`); writing it is done elsewhere.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    fleet::{Password, Tls},
    text::Scrubbed,
};

/// A store that speaks the Redis protocol, and what an agent keeps there.
#[derive(Clone, Debug, PartialEq)]
pub struct Store {
    pub servers: Servers,
    /// How the servers' certificates are verified (`rediss://`), those of Sentinels, too.
    pub tls: Option<Arc<Tls>>,
    /// The number of the database (`SELECT`).
    pub database: u32,
    /// The user of the store's ACL; without one it is `default`.
    pub username: Option<String>,
    pub password: Option<Password>,
    /// What this agent is called there.
    pub agent: Scrubbed,
    /// Who has not been heard of for so long is gone.
    pub lease: Duration,
    /// About so many entries of the stream of changes are kept.
    pub events: u32,
}

impl Store {
    pub const LEASE: Duration = Duration::from_secs(15);
    pub const EVENTS: u32 = 100_000;
    pub const PORT: u16 = 6379;
    pub const SENTINEL_PORT: u16 = 26379;

    /// The store there, with what is usual for the rest; `agent` is what this one is called.
    pub fn new(servers: Servers, agent: &str) -> Store {
        Store {
            servers,
            tls: None,
            database: 0,
            username: None,
            password: None,
            agent: Scrubbed::new(agent),
            lease: Store::LEASE,
            events: Store::EVENTS,
        }
    }
}

/// Where a store is.
#[derive(Clone, Debug, PartialEq)]
pub enum Servers {
    /// One server, or one of a cluster.
    One(Box<str>, u16),
    /// The Sentinels that know which server is the master of this name at present.
    Sentinels { master: Box<str>, at: Vec<(Box<str>, u16)> },
}

/// Its URL, which has no secret.
impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "rediss" } else { "redis" };
        match &self.servers {
            Servers::One(host, port) => write!(f, "{scheme}://{}", place(host, *port))?,
            Servers::Sentinels { master, at } => {
                let all: Vec<String> = at.iter().map(|(host, port)| place(host, *port)).collect();
                write!(f, "{scheme}+sentinel://{}/{}", all.join(","), Scrubbed::new(master))?;
            }
        }
        match self.database {
            0 => Ok(()),
            database => write!(f, "/{database}"),
        }
    }
}

/// `host:port`, with an IPv6 address in brackets (RFC 3986 §3.2.2).
fn place(host: &str, port: u16) -> String {
    let host = Scrubbed::new(host);
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
