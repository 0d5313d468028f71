//! Defines how it is read where an agent writes how its clients stand (`[store]`), and the URL of a store; nothing is asked there.

use std::{net::IpAddr, sync::Arc, time::Duration};

use super::{
    Surroundings, address::host_and_port, format, notifying::secret, telling::needed, template::Template, transport,
};
use crate::{
    document::{Draft, Report, Table, Value, nearest, quoted},
    fleet::Tls,
    telling::{Servers, Store},
    text::{is_plain, of_plain_name},
};

const EXAMPLE: &str = "url = \"redis://redis.example.net:6379\"";
const LEASE_LEAST: Duration = Duration::from_secs(3);
const LEASE_MOST: Duration = Duration::from_secs(600);
/// Entries of the stream of changes.
const EVENTS_LEAST: u64 = 100;
const EVENTS_MOST: u64 = 10_000_000;
/// Redis has 16 databases unless told otherwise; the most that it can be told is not stated.
const DATABASES_MOST: u32 = 65_535;

pub(super) fn read(root: &Table<'_>, report: &mut Report<'_>, around: &Surroundings<'_>) -> Option<Store> {
    let table = root.get("store")?.table(report, "[store]", "[store]")?;
    table.check(format::STORE, report);
    let url = needed(&table, "url", EXAMPLE, report).and_then(|value| read_url(&value, report));
    let is_tls = url.as_ref().map(|url| url.is_tls);
    let ca_file = table.get("ca_file").and_then(|value| {
        if is_tls == Some(false) {
            let span = table.key_span("ca_file").unwrap_or(value.span.clone());
            let draft = Draft::at(span, "`ca_file` means nothing without TLS");
            report.error(draft.help("TLS is rediss:// or rediss+sentinel:// in `url`"));
        }
        transport::ca_file(&value, report, around)
    });
    let username = table.get("username").map(|value| (value.span.clone(), value.string(report, "a text in quotes")));
    let password = secret(&table, "password", report, around);
    if let (Some((span, _)), None) = (&username, table.key_span("password")) {
        let draft = Draft::at(span.clone(), "a user name without a `password`");
        report
            .error(draft.help("such as password = { credential = \"redis\" }; without both it is the user `default`"));
    }
    if let (Some(url), Some(span)) = (&url, table.key_span("password"))
        && !url.is_tls
        && !is_of_this_host(&url.servers)
    {
        let draft = Draft::at(span, "the password goes over the network in clear");
        report.warning(draft.help("rediss:// in `url` is TLS"));
    }
    let agent = match table.get("agent") {
        Some(value) => read_agent(&value, report, around),
        None => Some((around.host)()),
    };
    let lease = table.get("lease").and_then(|v| v.duration(report, LEASE_LEAST, LEASE_MOST));
    let events = table.get("events").and_then(|v| v.number(report, EVENTS_LEAST..EVENTS_MOST + 1, "entries"));
    let Url { servers, is_tls, database, .. } = url?;
    Some(Store {
        tls: is_tls.then(|| Arc::new(Tls { ca_file, ..Tls::default() })),
        database: database.unwrap_or(0),
        username: username.and_then(|(_, name)| name).map(str::to_owned),
        password,
        lease: lease.unwrap_or(Store::LEASE),
        events: events.map_or(Store::EVENTS, |events| events as u32),
        ..Store::new(servers, &agent?)
    })
}

/// Whether nothing that is sent there leaves this host.
fn is_of_this_host(servers: &Servers) -> bool {
    let is_own = |host: &str| host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    match servers {
        Servers::One(host, _) => is_own(host),
        Servers::Sentinels { at, .. } => at.iter().all(|(host, _)| is_own(host)),
    }
}

fn read_agent(value: &Value<'_>, report: &mut Report<'_>, around: &Surroundings<'_>) -> Option<String> {
    let template = Template::read(value, report, around.host)?;
    let mut name = String::new();
    template.fill(0, "", &mut name);
    let title = if template.is_own() {
        "`agent` speaks of a client, and there is none here"
    } else if name.trim().is_empty() {
        "`agent` is empty"
    } else {
        return Some(name);
    };
    report
        .error(Draft::at(value.span.clone(), title).help("such as agent = \"hall-3\", or \"%h\" for this host's name"));
    None
}

fn read_url(value: &Value<'_>, report: &mut Report<'_>) -> Option<Url> {
    let url = parse(value.string(report, "a URL in quotes, such as \"redis://redis.example.net:6379\"")?);
    let url = url.and_then(|url| match &url.fleet {
        None => Ok(url),
        Some(_) => Err((
            "the URL names more than a database".to_owned(),
            "it ends with a number or nothing, such as redis://host:6379/0; the fleet's name is that of [fleet]"
                .to_owned(),
        )),
    });
    url.map_err(|(title, help)| report.error(Draft::at(value.span.clone(), title).help(help))).ok()
}

/// What the URL of a store says.
#[derive(Debug, PartialEq)]
pub(super) struct Url {
    pub servers: Servers,
    pub is_tls: bool,
    pub database: Option<u32>,
    /// The fleet that is meant, where it names one.
    pub fleet: Option<String>,
}

const SCHEMES: [(&str, bool, bool); 4] = [
    ("redis", false, false),
    ("rediss", true, false),
    ("redis+sentinel", false, true),
    ("rediss+sentinel", true, true),
];

/// Reads `redis://host[:port][/database][/fleet]`, or `redis+sentinel://host[:port],…/master[/database][/fleet]`; nothing
/// of it is repeated that may be a password. A last part of digits alone is a database.
///
/// # Errors
/// What is wrong with it, and what to do about it.
pub(super) fn parse(text: &str) -> Result<Url, (String, String)> {
    let wrong = |title: &str, help: &str| Err((title.to_owned(), help.to_owned()));
    if text.contains('@') {
        return wrong("a URL here has no user", "user name and password are given beside it, where nobody sees them");
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return wrong("the URL has no scheme", "such as redis://redis.example.net:6379");
    };
    let lower = scheme.to_ascii_lowercase();
    let Some(&(scheme, is_tls, is_sentinel)) = SCHEMES.iter().find(|(name, ..)| *name == lower) else {
        return Err(unknown_scheme(&lower));
    };
    if rest.contains(['?', '#']) {
        return wrong("the URL has a query", "what else there is to say is said beside it");
    }
    let mut parts = rest.split('/');
    let authority = parts.next().unwrap_or_default();
    let mut parts: Vec<&str> = parts.collect();
    if parts.last() == Some(&"") {
        parts.pop();
    }
    let mut parts = parts.into_iter();
    let servers = if is_sentinel {
        let at = authority
            .split(',')
            .map(|one| host_and_port(one.trim(), scheme, Store::SENTINEL_PORT).map(|(host, port)| (host.into(), port)));
        let at = at.collect::<Result<Vec<_>, _>>()?;
        let Some(master) = parts.next().filter(|master| !master.is_empty()) else {
            let help = format!("such as {scheme}://host-1,host-2/mymaster: the name in `sentinel monitor mymaster …`");
            return Err(("the URL names no master".to_owned(), help));
        };
        if !master.chars().all(|c| is_plain(c) || c == '%') {
            return wrong("the master's name has odd signs", "letters, digits, dots and dashes; others as %XX");
        }
        Servers::Sentinels { master: of_plain_name(master).into(), at }
    } else {
        if authority.contains(',') {
            let help = format!("one server; Sentinels that know it are {scheme}+sentinel://host-1,host-2/mymaster");
            return Err(("the URL has several hosts".to_owned(), help));
        }
        let (host, port) = host_and_port(authority, scheme, Store::PORT)?;
        Servers::One(host.into(), port)
    };
    let parts: Vec<&str> = parts.collect();
    let (database, fleet) = match parts.as_slice() {
        [] => (None, None),
        [one] => match number(one) {
            Some(database) => (Some(database), None),
            None => (None, Some(*one)),
        },
        [database, fleet] => match number(database) {
            Some(database) => (Some(database), Some(*fleet)),
            None => return wrong("the URL's database is no number", "such as redis://host:6379/0/plant-eu"),
        },
        _ => return wrong("the URL's path has too many parts", "such as redis://host:6379/0/plant-eu"),
    };
    let database = match database {
        Some(Err(())) => {
            return Err((
                "the URL's database is too large".to_owned(),
                format!("it is 0 to {DATABASES_MOST}, and as a rule below 16"),
            ));
        }
        Some(Ok(database)) => Some(database),
        None => None,
    };
    if fleet.is_some_and(str::is_empty) {
        return wrong("the URL's path has an empty part", "such as redis://host:6379/0/plant-eu");
    }
    Ok(Url { servers, is_tls, database, fleet: fleet.map(of_plain_name) })
}

/// The number that digits are, or that they are too many; `None` where it is something else.
fn number(text: &str) -> Option<Result<u32, ()>> {
    let is_number = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    is_number.then(|| text.parse().ok().filter(|number| *number <= DATABASES_MOST).ok_or(()))
}

fn unknown_scheme(scheme: &str) -> (String, String) {
    let title = match scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')) {
        true => format!("the scheme {} is unknown here", quoted(&format!("{scheme}://"))),
        false => "the URL's scheme is none".into(),
    };
    let help = match scheme {
        "valkey" | "keydb" | "dragonfly" => "whatever speaks the Redis protocol is \"redis://\"".to_owned(),
        "valkeys" => "with TLS it is \"rediss://\"".to_owned(),
        "sentinel" => "it is \"redis+sentinel://\"".to_owned(),
        other => match nearest(other, SCHEMES.map(|(name, ..)| name)) {
            Some(word) => format!("did you mean \"{word}://\"?"),
            None => "it can be redis://, rediss://, redis+sentinel:// or rediss+sentinel://".to_owned(),
        },
    };
    (title, help)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::fleet_file::tests::{read, warnings};

    #[test]
    fn urls_are_read() {
        let one = |host: &str, port| Servers::One(host.into(), port);
        let sentinels = |master: &str, at: &[(&str, u16)]| Servers::Sentinels {
            master: master.into(),
            at: at.iter().map(|(host, port)| ((*host).into(), *port)).collect(),
        };
        for (text, servers, is_tls, database, fleet) in [
            ("redis://localhost", one("localhost", 6379), false, None, None),
            ("redis://localhost/", one("localhost", 6379), false, None, None),
            ("REDISS://r.example:7000/3", one("r.example", 7000), true, Some(3), None),
            ("redis://[::1]/plant-eu", one("::1", 6379), false, None, Some("plant-eu")),
            ("redis://h:1/0/Plant%20EU", one("h", 1), false, Some(0), Some("Plant EU")),
            ("redis://h/0/7", one("h", 6379), false, Some(0), Some("7")),
            ("redis+sentinel://a,b:1/m", sentinels("m", &[("a", 26379), ("b", 1)]), false, None, None),
            ("rediss+sentinel://a/m/2/f", sentinels("m", &[("a", 26379)]), true, Some(2), Some("f")),
            ("redis+sentinel://a/m/f", sentinels("m", &[("a", 26379)]), false, None, Some("f")),
        ] {
            let url = Url { servers, is_tls, database, fleet: fleet.map(str::to_owned) };
            assert_eq!(parse(text), Ok(url), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_url_is_said_without_passwords() {
        for (text, title, help) in [
            ("localhost", "no scheme", "redis://"),
            ("redis://u:hunter2@h", "has no user", "beside it"),
            ("redis://u:hunter2", "no valid port", "6379"),
            ("valkey://h", "unknown", "\"redis://\""),
            ("redi://h", "unknown", "did you mean \"redis://\"?"),
            ("http://h", "unknown", "it can be"),
            ("redis://", "no host", "redis://host.example:6379"),
            ("redis://a,b", "several hosts", "redis+sentinel://"),
            ("redis://h?db=3", "has a query", ""),
            ("redis://h/x/f", "database is no number", ""),
            ("redis://h/99999999999", "database is too large", ""),
            ("redis://h/0/a/b", "too many parts", ""),
            ("redis://h/0//", "an empty part", ""),
            ("redis+sentinel://a,b", "names no master", "sentinel monitor"),
            ("redis+sentinel://a,/m", "no host", ":26379"),
        ] {
            let (t, h) = parse(text).unwrap_err();
            assert!(t.contains(title) && h.contains(help), "{text}: {t}; {h}");
            assert!(!t.contains("hunter2") && !h.contains("hunter2"));
        }
    }

    #[test]
    fn a_table_is_read_and_its_password_is_not_shown() {
        let text = "
            [store]
            url = 'rediss+sentinel://a,b/m/2'
            username = 'mqfleet'
            password = { env = 'REDIS' }
            agent = 'line-%h'
            lease = '30s'
            events = 5000
        ";
        let loaded = read(text, Path::new(""), &[("REDIS", "hunter2")]).expect("a file");
        let store = loaded.telling.store.as_ref().expect("a store");
        assert_eq!(store.to_string(), "rediss+sentinel://a:26379,b:26379/m/2");
        assert_eq!((store.lease.as_secs(), store.events), (30, 5_000));
        assert!(store.agent.starts_with("line-") && store.agent.len() > 5, "{:?}", store.agent);
        assert_eq!(store.username.as_deref(), Some("mqfleet"));
        assert!(store.password.is_some() && !format!("{loaded:?}").contains("hunter2"));
        assert_eq!(warnings(&loaded), "");
        let clear = "[store]\nurl = 'redis://10.0.0.7'\npassword = { env = 'REDIS' }";
        let loaded = read(clear, Path::new(""), &[("REDIS", "hunter2")]).expect("a file");
        assert!(warnings(&loaded).contains("in clear"));
        let own = "[store]\nurl = 'redis://127.0.0.1'\npassword = { env = 'REDIS' }";
        let loaded = read(own, Path::new(""), &[("REDIS", "hunter2")]).expect("a file");
        assert_eq!(warnings(&loaded), "");
    }

    #[test]
    fn every_error_has_its_place_and_what_to_do() {
        for (table, says, place) in [
            ("[store]\n", "[store] has no `url`", "6:1"),
            ("[store]\nurl = 6379", "`url` must be a URL in quotes", "7:7"),
            ("[store]\nurl = 'redis://u:hunter2@h'", "a URL here has no user", "7:7"),
            ("[store]\nurl = 'redis://h/plant'", "names more than a database", "7:7"),
            ("[store]\nurl = 'redis://h'\nca_file = '/no/ca.pem'", "`ca_file` means nothing without TLS", "8:1"),
            ("[store]\nurl = 'rediss://h'\nca_file = '/no/ca.pem'", "`ca_file` \"/no/ca.pem\"", "8:11"),
            ("[store]\nurl = 'redis://h'\nusername = 'a'", "without a `password`", "8:12"),
            ("[store]\nurl = 'redis://h'\npassword = { env = 'NONE' }", "NONE", "8:12"),
            ("[store]\nurl = 'redis://h'\npassword = { file = 'pw/%c' }", "speaks of a client", "8:12"),
            ("[store]\nurl = 'redis://h'\nagent = ''", "`agent` is empty", "8:9"),
            ("[store]\nurl = 'redis://h'\nagent = '%i'", "speaks of a client", "8:9"),
            ("[store]\nurl = 'redis://h'\nlease = '1s'", "`lease` must be 3s to 10m", "8:9"),
            ("[store]\nurl = 'redis://h'\nevents = 3", "`events` must be", "8:10"),
            ("[store]\nurl = 'redis://h'\nlaese = '15s'", "did you mean `lease`?", "8:1"),
        ] {
            let errors = read(table, Path::new(""), &[("PW", "hunter2")]).expect_err(table);
            let text = errors.to_string();
            assert!(text.contains(says) && text.contains(&format!("fleet.toml:{place}")), "{table}: {text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
}
