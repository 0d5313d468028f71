//! Defines how those are read who can be told of alerts (`[notify.webhook.NAME]`, `[notify.alertmanager.NAME]`, `[notify.mail.NAME]`, `[notify.exec.NAME]`); no message ever holds a secret of theirs.

use std::time::Duration;

use super::{
    Surroundings, format,
    hooks::read_program,
    password::{self, For, PasswordCheck, PasswordPattern},
    telling::{needed, one_or_more},
};
use crate::{
    document::{Draft, Report, Table, Value, quoted},
    fleet::{Fleet, Password, Secret},
    telling::{Access, Mail, Notifier, Security, Way, Webhook},
    text::Scrubbed,
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);
const WEEK: Duration = Duration::from_secs(7 * 86_400);
const MESSAGES_MAX: u64 = 1_000_000;
const KINDS: &[&str] = format::NOTIFY.now;

/// Those who can be told, and the names of those of whom something is wrong.
#[derive(Default)]
pub(super) struct Notifiers {
    pub right: Vec<Notifier>,
    pub wrong: Vec<String>,
}

pub(super) fn read(root: &Table<'_>, fleet: &Fleet, report: &mut Report<'_>, around: &Surroundings<'_>) -> Notifiers {
    let example = "[notify.mail.ops], its kind and its name";
    let mut notifiers = Notifiers::default();
    let Some(kinds) = root.get("notify").and_then(|value| value.table(report, "[notify]", example)) else {
        return notifiers;
    };
    kinds.check(format::NOTIFY, report);
    for (kind, named) in kinds.in_order().into_iter().filter(|(kind, _)| KINDS.contains(&kind.as_str())) {
        let Some(named) = named.table(report, format!("[notify.{kind}]"), example) else { continue };
        for (name, value) in named.in_order() {
            if !value.is_table() {
                let span = named.key_span(&name).unwrap_or(value.span);
                report.error(
                    Draft::at(span, format!("{} stands in a notifier without a name", quoted(&name)))
                        .help(format!("write [notify.{kind}.NAME] instead of [notify.{kind}]")),
                );
                continue;
            }
            let full = Scrubbed::new(&format!("{kind}.{name}"));
            let Some(table) = value.table(report, format!("[notify.{full}]"), "") else { continue };
            let way = match kind.as_str() {
                "webhook" => {
                    table.check(format::WEBHOOK, report);
                    webhook(&table, report, around).map(Way::Webhook)
                }
                "alertmanager" => {
                    table.check(format::ALERTMANAGER, report);
                    webhook(&table, report, around).map(Way::Alertmanager)
                }
                "mail" => mail(&table, report, around).map(Way::Mail),
                _ => {
                    table.check(format::EXEC, report);
                    let run = needed(&table, "run", "run = [\"/usr/local/bin/page\"]", report);
                    run.and_then(|run| read_program(&run, fleet, report, around)).map(Way::Program)
                }
            };
            let at_most = table.get("at_most").and_then(|value| at_most(&value, report));
            let least = if kind == "alertmanager" { SECOND * 5 } else { MINUTE };
            let repeat = table.get("repeat").and_then(|v| v.duration(report, least, WEEK));
            let group = table.get("group").and_then(|v| v.duration(report, Duration::ZERO, DAY));
            let resolved = table.get("resolved").and_then(|v| v.boolean(report));
            let Some(way) = way else {
                notifiers.wrong.push(full.to_string());
                continue;
            };
            let (every, wait) = match way {
                Way::Alertmanager(_) => (Notifier::REPEAT_TO_ALERTMANAGER, Duration::ZERO),
                _ => (Notifier::REPEAT, Notifier::GROUP),
            };
            notifiers.right.push(Notifier {
                name: full,
                way,
                at_most,
                repeat: repeat.unwrap_or(every),
                group: group.unwrap_or(wait),
                resolved: resolved.unwrap_or(true),
            });
        }
    }
    notifiers
}

/// `"20/day"`: the most messages.
fn at_most(value: &Value<'_>, report: &mut Report<'_>) -> Option<u32> {
    let text = value.string(report, "a number of messages a day, such as \"20/day\"")?;
    let number = text.strip_suffix("/day").and_then(|number| number.trim().parse::<u64>().ok());
    let number = number.filter(|number| (1..=MESSAGES_MAX).contains(number));
    if number.is_none() {
        let title = format!("`at_most` is no number of messages a day: {}", quoted(text));
        report.error(Draft::at(value.span.clone(), title).help("such as at_most = \"20/day\"; a day is 24 hours"));
    }
    number.map(|number| number as u32)
}

/// A secret that is the same whoever it is about, and is fetched anew whenever it is used.
pub(super) fn secret(
    table: &Table<'_>,
    key: &str,
    report: &mut Report<'_>,
    around: &Surroundings<'_>,
) -> Option<Password> {
    let value = table.get(key)?;
    let pattern = PasswordPattern::read(&value, report, around)?;
    if pattern.is_own() {
        report.error(
            Draft::at(value.span, format!("`{key}` speaks of a client, and there is none here"))
                .help("take %i, %c and %u out of it"),
        );
        return None;
    }
    pattern.fill(For::default(), &mut PasswordCheck::default(), around).map(|found| found.password)
}

fn webhook(table: &Table<'_>, report: &mut Report<'_>, around: &Surroundings<'_>) -> Option<Webhook> {
    let example = "https://center.example.net/mqfleet";
    let value = needed(table, "url", &format!("url = \"{example}\""), report);
    let url = value.and_then(|value| {
        let text = match value.is_string() {
            true => value.string(report, "")?.to_owned(),
            false => password::header(&value, report, around)?.0,
        };
        match web_address(&text, example) {
            Ok(shown) => Some((Secret::new(text), Scrubbed::new(&shown))),
            Err((title, help)) => {
                report.error(Draft::at(value.span, title).help(help));
                None
            }
        }
    });
    let access = access(table, report, around);
    let ((url, shown), access) = (url?, access?);
    warn_of_clear(&url, &access, table, report);
    Some(Webhook { url, shown, access })
}

/// What a receiver is shown: a token, or a user name and a password, or nothing.
pub(super) fn access(table: &Table<'_>, report: &mut Report<'_>, around: &Surroundings<'_>) -> Option<Access> {
    let username = table.get("username").map(|value| (value.span.clone(), value.string(report, "a text in quotes")));
    let password = secret(table, "password", report, around);
    let token = secret(table, "token", report, around);
    let has = |key: &str| table.get(key).is_some();
    match (username, has("password"), has("token")) {
        (None, false, false) => Some(Access::Open),
        (None, false, true) => token.map(Access::Bearer),
        (Some((_, username)), true, false) => {
            Some(Access::Basic { username: username?.to_owned(), password: password? })
        }
        (username, _, is_token) => {
            let span = username.map_or_else(|| table.key_span("password"), |(span, _)| Some(span));
            let title = match is_token {
                true => "a receiver is shown a token, or a user name and a password",
                false => "a user name and a password go together",
            };
            let help = "give `username` and `password`, or `token` alone";
            report.error(Draft::at(span.unwrap_or(table.span.clone()), title).help(help));
            None
        }
    }
}

/// Warns where a secret goes over the network in clear.
pub(super) fn warn_of_clear(url: &Secret, access: &Access, table: &Table<'_>, report: &mut Report<'_>) {
    let lower = url.expose().to_ascii_lowercase();
    let is_here = |host: &str| ["localhost", "127.", "[::1]"].iter().any(|here| host.starts_with(here));
    let is_clear = lower.strip_prefix("http://").is_some_and(|host| !is_here(host));
    let what = match access {
        Access::Open => return,
        Access::Basic { .. } => "password",
        Access::Bearer(_) => "token",
    };
    if is_clear {
        let span = table.key_span(what).unwrap_or(table.span.clone());
        let title = format!("the {what} goes over the network in clear");
        report.warning(Draft::at(span, title).help("https:// in `url` protects it"));
    }
}

/// What of the URL of a receiver may be shown: without its path, which may be a secret. Where it is none, what is wrong
/// and what to write.
pub(super) fn web_address(url: &str, example: &str) -> Result<String, (&'static str, String)> {
    let help = format!("such as \"{example}\"");
    let lower = url.to_ascii_lowercase();
    let scheme = ["https://", "http://"].into_iter().find(|scheme| lower.starts_with(scheme));
    let Some(scheme) = scheme else { return Err(("a URL here begins with https:// or http://", help)) };
    let rest = &url[scheme.len()..];
    let host = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    if host.contains('@') {
        let help = "give `username` and `password`, or a `token`, beside it";
        return Err(("a URL here has no user", help.to_owned()));
    }
    let is_sign = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}');
    let is_url = !host.is_empty() && !host.starts_with(':') && url.chars().all(is_sign);
    let port = host.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')).map(|(_, port)| port.parse::<u16>());
    match is_url && !matches!(port, Some(Err(_) | Ok(0))) {
        true => Ok(format!("{scheme}{host}")),
        false => Err(("this is no URL", help)),
    }
}

fn mail(table: &Table<'_>, report: &mut Report<'_>, around: &Surroundings<'_>) -> Option<Mail> {
    table.check(format::MAIL, report);
    let server = needed(table, "server", "server = \"smtps://mail.example.net\"", report).and_then(|value| {
        let read = server(value.string(report, "a URL in quotes, such as \"smtps://mail.example.net\"")?);
        read.map_err(|(title, help)| report.error(Draft::at(value.span, title).help(help))).ok()
    });
    let tls = table.get("tls").and_then(|value| Some((value.word(report, &[("never", ())])?, value.span)));
    let from = needed(table, "from", "from = \"mqfleet@example.net\"", report).and_then(|v| address(&v, report));
    let to = needed(table, "to", "to = [\"ops@example.net\"]", report);
    let to: Vec<String> = to
        .map(|value| one_or_more(&value, report))
        .map(|items| items.iter().filter_map(|item| address(item, report)).collect())
        .unwrap_or_default();
    let password = secret(table, "password", report, around);
    let username = table.get("username").map(|value| (value.span.clone(), value.string(report, "a text in quotes")));
    let login = match (username, table.key_span("password")) {
        (None, None) => None,
        (Some((_, username)), Some(_)) => Some((username?.to_owned(), password?)),
        (Some((span, _)), None) | (None, Some(span)) => {
            let help = "give both, or neither where the server takes mail from everyone";
            report.error(Draft::at(span, "a user name and a password go together").help(help));
            return None;
        }
    };
    let (host, port, mut security) = server?;
    if let Some(((), span)) = tls {
        if security == Security::Tls {
            report.error(
                Draft::at(span.clone(), "smtps:// is TLS, and `tls` says never")
                    .help("take `tls` out, or write smtp:// for a server without TLS"),
            );
        }
        if login.is_some() {
            let title = "the password goes over the network in clear (tls = \"never\")";
            report.warning(
                Draft::at(span, title).help("with smtp:// alone STARTTLS is demanded; smtps:// is TLS at once"),
            );
        }
        security = Security::None;
    }
    Some(Mail { host, port, security, from: from?, to, login })
}

fn server(url: &str) -> Result<(String, u16, Security), (String, String)> {
    let wrong = |title: &str| {
        (title.to_owned(), "such as \"smtps://mail.example.net\" or \"smtp://mail.example.net:587\"".to_owned())
    };
    let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("the server's URL has no scheme"))?;
    let (security, default) = match scheme {
        "smtps" => (Security::Tls, 465),
        "smtp" => (Security::StartTls, 587),
        _ => return Err(wrong("a mail server's URL begins with smtp:// or smtps://")),
    };
    if rest.contains('@') {
        return Err(("a URL here has no user".to_owned(), "give `username` and `password` beside it".to_owned()));
    }
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') && !host.is_empty() => {
            (host, port.parse().ok().filter(|port| *port > 0).ok_or_else(|| wrong("the port is not 1 to 65535"))?)
        }
        _ => (rest, default),
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    match !host.is_empty() && host.chars().all(is_host) {
        true => Ok((host.to_owned(), port, security)),
        false => Err(wrong("the server's URL has no host, or more than that")),
    }
}

/// An address, with a name before it or without.
fn address(value: &Value<'_>, report: &mut Report<'_>) -> Option<String> {
    let text = value.string(report, "an address in quotes, such as \"ops@example.net\"")?;
    let bare = text.trim().rsplit_once('<').map_or(text.trim(), |(_, bare)| bare.strip_suffix('>').unwrap_or(""));
    let is_whole = bare
        .rsplit_once('@')
        .is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty() && !bare.contains(char::is_whitespace));
    if !is_whole || text.contains(char::is_control) {
        let title = format!("`{}` is no mail address: {}", value.key, quoted(text));
        report.error(
            Draft::at(value.span.clone(), title).help("such as \"ops@example.net\" or \"Ops <ops@example.net>\""),
        );
        return None;
    }
    Some(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::{fs, fs::Permissions, os::unix::fs::PermissionsExt, path::Path};

    use super::*;
    use crate::fleet_file::tests::{read, warnings};

    #[test]
    fn each_kind_is_read_and_its_secrets_are_not_shown() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("pw");
        fs::write(&file, "hunter2\n").expect("a file");
        fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("a mode");
        let text = "
            [notify.webhook.a]
            url = { env = 'HOOK' }
            token = { file = 'pw' }
            at_most = '20/day'
            repeat = '1h'
            group = '2s'
            resolved = false
            [notify.alertmanager.e]
            url = 'http://127.0.0.1:9093/am'
            username = 'mqfleet'
            password = { file = 'pw' }
            [notify.mail.b]
            server = 'smtps://mail.example.net'
            from = 'mqfleet <mqfleet@example.net>'
            to = ['ops@example.net', 'Night <night@example.net>']
            username = 'mqfleet'
            password = { env = 'HOOK' }
            [notify.mail.c]
            server = 'smtp://[::1]:2525'
            tls = 'never'
            from = 'a@b'
            to = 'c@d'
            [notify.exec.d]
            run = ['sh', '-c', 'cat >/dev/null', '%f']
        ";
        let env = [("HOOK", "https://hooks.example.net/T0/hunter2"), ("PATH", "/usr/bin:/bin")];
        let loaded = read(text, dir.path(), &env).expect("a file");
        let [a, e, b, c, d] = loaded.telling.notifiers.as_slice() else { panic!("{:?}", loaded.telling) };
        let Way::Webhook(webhook) = &a.way else { panic!("{a:?}") };
        assert_eq!((webhook.shown.as_str(), a.at_most), ("https://hooks.example.net", Some(20)));
        assert!(matches!(webhook.access, Access::Bearer(Password::Fetched(_))));
        assert_eq!((a.repeat.as_secs(), a.group.as_secs(), a.resolved), (3_600, 2, false));
        assert!(matches!(&e.way, Way::Alertmanager(one) if one.shown.as_str() == "http://127.0.0.1:9093"), "{e:?}");
        assert_eq!((e.repeat.as_secs(), e.group.as_secs(), e.resolved, e.at_most), (60, 0, true, None));
        let Way::Mail(mail) = &b.way else { panic!("{b:?}") };
        assert_eq!(
            (mail.host.as_str(), mail.port, mail.security, mail.to.len()),
            ("mail.example.net", 465, Security::Tls, 2)
        );
        let Way::Mail(mail) = &c.way else { panic!("{c:?}") };
        assert_eq!((mail.host.as_str(), mail.port, mail.security), ("::1", 2525, Security::None));
        let Way::Program(program) = &d.way else { panic!("{d:?}") };
        assert_eq!(program.arguments, ["-c", "cat >/dev/null", "test"]);
        assert_eq!(program.folder, dir.path());
        assert!(!format!("{loaded:?}").contains("hunter2"));
        assert_eq!(warnings(&loaded), "");
        let clear = "[notify.webhook.a]\nurl = 'http://center/x'\ntoken = { env = 'HOOK' }";
        let warned = warnings(&read(clear, dir.path(), &env).expect("a file"));
        assert!(warned.contains("the token goes over the network in clear"), "{warned}");
    }

    #[test]
    fn every_error_has_its_place_and_what_to_do() {
        const MAIL: &str = "[notify.mail.a]\nserver = 'smtp://m'\nfrom = 'a@b'\nto = 'c@d'\n";
        for (table, says, place) in [
            ("[notify.pigeon.a]\nx = 1", "unknown key \"pigeon\"", "6:9"),
            ("[notify.mail]\nserver = 'smtp://a'", "stands in a notifier without a name", "7:1"),
            ("[notify.webhook.a]\n", "has no `url`", "6:1"),
            ("[notify.webhook.a]\nurl = 'center/x'", "begins with https:// or http://", "7:7"),
            ("[notify.webhook.a]\nurl = 'https://u:hunter2@center/x'", "a URL here has no user", "7:7"),
            ("[notify.webhook.a]\nurl = 'https://c:x/hunter2'", "this is no URL", "7:7"),
            ("[notify.webhook.a]\nurl = 'https://c/x'\nusername = 'a'", "go together", "8:12"),
            ("[notify.webhook.a]\nurl = 'https://c/hunter2'\nat_most = 'many'", "no number of messages a day", "8:11"),
            ("[notify.webhook.a]\nurl = 'https://c/x'\nrepeat = '1s'", "`repeat` must be 1m", "8:10"),
            ("[notify.alertmanager.a]\nurl = 'am:9093'", "begins with https:// or http://", "7:7"),
            ("[notify.alertmanager.a]\nurl = 'am'\nrepeat = '1s'", "`repeat` must be 5s to 7days", "8:10"),
            ("[notify.alertmanager.a]\nurl = 'http://am'\nat_most = '2/day'", "`at_most` does not belong to", "8:1"),
            ("[notify.mail.a]\nserver = 'mail'\nfrom = 'a@b'\nto = 'c@d'", "has no scheme", "7:10"),
            ("[notify.mail.a]\nserver = 'smtp://m:0'\nfrom = 'a@b'\nto = 'c@d'", "1 to 65535", "7:10"),
            ("[notify.mail.a]\nserver = 'smtp://m'\nfrom = 'a b'\nto = []", "no mail address", "8:8"),
            (&format!("{MAIL}password = {{ env = 'PW' }}"), "go together", "10:1"),
            (&format!("{MAIL}tls = 'maybe'"), "`tls` cannot be \"maybe\"", "10:7"),
            ("[notify.exec.a]\nrun = []", "`run` is empty", "7:7"),
            ("[notify.exec.a]\nrun = ['/no/such/program']", "there is no program", "7:8"),
            ("[notify.exec.a]\nrun = ['sh', '%c']", "\"%c\" is no pattern", "7:15"),
            ("[notify.exec.a]\nrun = 'page'", "must be a list", "7:7"),
        ] {
            let errors = read(table, Path::new(""), &[("PW", "hunter2")]).expect_err(table);
            let text = errors.to_string();
            assert!(text.contains(says) && text.contains(&format!("fleet.toml:{place}")), "{table}: {text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
}
