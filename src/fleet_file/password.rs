//! Defines where a password or another secret comes from (the environment, a file, a systemd credential, a command, the fleet file itself) and refuses what cannot be one; no message ever holds its text.

use std::{
    ffi::OsString,
    ops::Range,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Surroundings, format, password_command::CommandPattern, template::Template};
use crate::{
    credentials,
    document::{Draft, Report, Table, Value, quoted, thousands},
    fleet::{Password, PasswordSource, Secret},
};

/// A password as a table gives it for its clients.
#[derive(Clone)]
pub(super) struct PasswordPattern {
    source: Source,
    pub span: Range<usize>,
}

#[derive(Clone)]
enum Source {
    /// All clients have this one.
    Common(Found),
    /// What is named in one of these places.
    Named(Place, Template),
    Command(CommandPattern),
}

/// A place where secrets are known by names.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Env,
    File,
    Credential,
}

impl Place {
    fn key(self) -> &'static str {
        match self {
            Place::Env => "env",
            Place::File => "file",
            Place::Credential => "credential",
        }
    }
}

/// One client's password, and what it is at present, where that could be found out.
#[derive(Clone)]
pub(super) struct Found {
    pub password: Password,
    pub now: Option<Secret>,
}

impl Found {
    fn fixed(secret: Secret) -> Found {
        Found { password: Password::Fixed(secret.clone()), now: Some(secret) }
    }

    fn from(source: PasswordSource, now: Option<Secret>) -> Found {
        Found { password: Password::Fetched(Arc::new(source)), now }
    }
}

/// For which client a password is.
#[derive(Clone, Copy, Default)]
pub(super) struct For<'a> {
    pub number: u64,
    pub id: &'a str,
    pub username: &'a str,
}

impl PasswordPattern {
    /// A password that is known; `span` is where its file is named.
    pub(super) fn known(secret: Secret, span: Range<usize>) -> PasswordPattern {
        PasswordPattern { source: Source::Common(Found::fixed(secret)), span }
    }

    /// Reads `password` or `key_password`.
    pub(super) fn read(
        value: &Value<'_>,
        report: &mut Report<'_>,
        around: &Surroundings<'_>,
    ) -> Option<PasswordPattern> {
        let source = match value.is_string() {
            true => {
                report.warning(Draft::at(value.span.clone(), "a password in plain text").help(BETTER));
                match secret(value.string(report, "")?.to_owned()) {
                    Ok(secret) => Source::Common(Found::fixed(secret)),
                    Err(wrong) => {
                        report.error(wrong.at(value.span.clone()));
                        return None;
                    }
                }
            }
            false => Source::read(value, report, around)?,
        };
        Some(PasswordPattern { source, span: value.span.clone() })
    }

    /// Whether it differs from client to client of a table.
    pub(super) fn is_own(&self) -> bool {
        !matches!(self.source, Source::Common(_))
    }

    /// The password of one client; where there is none, `check` knows why.
    pub(super) fn fill(&self, client: For<'_>, check: &mut PasswordCheck, around: &Surroundings<'_>) -> Option<Found> {
        self.source.fill(client, check, around)
    }
}

impl Source {
    fn read(value: &Value<'_>, report: &mut Report<'_>, around: &Surroundings<'_>) -> Option<Source> {
        let example = "{ env = \"PRESS_PASSWORD\" } or { file = \"press.pw\" }";
        let table = value.table(report, format!("`{}`", value.key), example)?;
        table.check(format::PASSWORD, report);
        let from = single(&table, value, &["env", "file", "credential", "command"], "password", report)?;
        let every = table.get("every");
        if let (Some(every), true) = (&every, from.key != "command") {
            report.error(
                Draft::at(every.span.clone(), "`every` goes with `command`")
                    .help("a file is read again for every connect; the environment stays what it is"),
            );
        }
        let source = match from.key.as_str() {
            "command" => Source::Command(CommandPattern::read(&from, every, report, around)?),
            "file" => Source::Named(Place::File, Template::read_with_user(&from, report, around.host)?),
            key => {
                let place = if key == "env" { Place::Env } else { Place::Credential };
                from.string(report, "a text in quotes")?;
                // Someone may have written the password itself here: what is no pattern in it is not repeated.
                let mut silent = Report::new("", "", None);
                let Some(name) = Template::read_with_user(&from, &mut silent, around.host) else {
                    report.error(no_name(place).at(from.span));
                    return None;
                };
                Source::Named(place, name)
            }
        };
        let is_own = match &source {
            Source::Common(_) => false,
            Source::Named(_, name) => name.is_own(),
            Source::Command(command) => command.is_own(),
        };
        if is_own {
            return Some(source);
        }
        let mut check = PasswordCheck::default();
        let found = source.fill(For::default(), &mut check, around);
        check.tell(&from.span, report);
        found.map(Source::Common)
    }

    fn fill(&self, client: For<'_>, check: &mut PasswordCheck, around: &Surroundings<'_>) -> Option<Found> {
        let (place, name) = match self {
            Source::Common(found) => return Some(found.clone()),
            Source::Command(command) => {
                return Some(Found::from(PasswordSource::Command(command.fill(client, around)), None));
            }
            Source::Named(place, name) => (*place, name),
        };
        let mut text = String::new();
        name.fill_with_user(client.number, client.id, client.username, &mut text);
        let found = find(place, &text, "password", around).and_then(|(text, path)| Ok((secret(text)?, path)));
        match found {
            Ok((now, None)) => Some(Found::fixed(now)),
            Ok((now, Some(path))) => {
                if place == Place::File && is_open(&path) {
                    check.is_open(|| reachable("password", &path));
                }
                Some(Found::from(PasswordSource::File(path), Some(now)))
            }
            Err(wrong) => {
                check.is_wrong(wrong);
                None
            }
        }
    }
}

/// Reads the value of a header from where its table says; with it the file where it stands, if any.
pub(super) fn header(
    value: &Value<'_>,
    report: &mut Report<'_>,
    around: &Surroundings<'_>,
) -> Option<(String, Option<PathBuf>)> {
    let what = "header";
    let table = value.table(report, format!("`{}`", value.key), "{ env = \"TOKEN\" } or { file = \"token\" }")?;
    table.check(format::HEADER, report);
    let from = single(&table, value, format::HEADER.now, what, report)?;
    let place = match from.key.as_str() {
        "env" => Place::Env,
        "file" => Place::File,
        _ => Place::Credential,
    };
    match find(place, from.string(report, "a text in quotes")?, what, around) {
        Ok((text, path)) => {
            if let Some(path) = path.as_ref().filter(|path| place == Place::File && is_open(path)) {
                report.warning(Draft::at(from.span.clone(), reachable(what, path)).help("chmod 600 it"));
            }
            Some((text, path))
        }
        Err(wrong) => {
            report.error(wrong.at(from.span.clone()));
            None
        }
    }
}

/// The one of `keys` that `table` has.
fn single<'t>(
    table: &Table<'t>,
    value: &Value<'_>,
    keys: &[&str],
    what: &str,
    report: &mut Report<'_>,
) -> Option<Value<'t>> {
    let mut given: Vec<Value<'t>> = keys.iter().filter_map(|key| table.get(key)).collect();
    // Where another source was asked for, the error about that says enough.
    if given.len() > 1 || table.is_empty() {
        let all: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
        report.error(
            Draft::at(value.span.clone(), format!("a {what} comes from one place"))
                .help(format!("name one of {}", all.join(", "))),
        );
        return None;
    }
    given.pop()
}

/// What is wrong with the passwords of one table's clients: the first is told, the others are counted.
#[derive(Default)]
pub(super) struct PasswordCheck {
    wrong: Option<Wrong>,
    wrongs: u64,
    open: Option<String>,
    opens: u64,
}

impl PasswordCheck {
    /// The first that is wrong.
    pub(super) fn into_wrong(self) -> Option<Wrong> {
        self.wrong
    }

    fn is_wrong(&mut self, wrong: Wrong) {
        self.wrongs += 1;
        self.wrong.get_or_insert(wrong);
    }

    fn is_open(&mut self, title: impl FnOnce() -> String) {
        self.opens += 1;
        self.open.get_or_insert_with(title);
    }

    pub(super) fn tell(self, span: &Range<usize>, report: &mut Report<'_>) {
        let more = |count: u64| match count {
            1 => String::new(),
            n => format!("; so it is with {} passwords of this table", thousands(n)),
        };
        if let Some(Wrong { title, help }) = self.wrong {
            let draft = Draft::at(span.clone(), format!("{title}{}", more(self.wrongs)));
            report.error(draft.help_if(help.map(str::to_owned)));
        }
        if let Some(title) = self.open {
            report.warning(Draft::at(span.clone(), format!("{title}{}", more(self.opens))).help("chmod 600 it"));
        }
    }
}

const BETTER: &str =
    "better: { env = \"NAME\" }, { file = \"PATH\" }, { credential = \"NAME\" } or { command = [\"PROGRAM\"] }";

/// Why there is no password, and what helps.
#[derive(Debug)]
pub(super) struct Wrong {
    pub title: String,
    pub help: Option<&'static str>,
}

impl Wrong {
    fn new(title: impl Into<String>) -> Wrong {
        Wrong { title: title.into(), help: None }
    }

    fn help(self, help: &'static str) -> Wrong {
        Wrong { help: Some(help), ..self }
    }

    fn at(self, span: Range<usize>) -> Draft {
        Draft::at(span, self.title).help_if(self.help.map(str::to_owned))
    }
}

/// A password as MQTT can carry it.
pub(super) fn secret(password: String) -> Result<Secret, Wrong> {
    credentials::secret(password).map_err(Wrong::new)
}

/// What goes by this name at that place, and the file it is in.
fn find(place: Place, name: &str, what: &str, around: &Surroundings<'_>) -> Result<(String, Option<PathBuf>), Wrong> {
    let path = match place {
        Place::Env => None,
        Place::File => Some(around.base_dir.join(name)),
        Place::Credential => Some(credential(name, around.env)?),
    };
    let text = match &path {
        Some(path) => from_file(path, what)?,
        None => from_env(name, around.env)?,
    };
    match text.is_empty() {
        true => Err(Wrong::new(format!("the {what}'s `{}` is empty", place.key()))),
        false => Ok((text, path)),
    }
}

fn no_name(place: Place) -> Wrong {
    match place {
        Place::Env => Wrong::new("`env` must be the name of an environment variable")
            .help("letters, digits and _, such as \"PRESS_PASSWORD\""),
        Place::File | Place::Credential => {
            Wrong::new("`credential` must be a systemd credential's name, without a path")
        }
    }
}

/// The value of an environment variable.
pub(super) fn from_env(name: &str, env: &dyn Fn(&str) -> Option<OsString>) -> Result<String, Wrong> {
    // Someone may have written the password itself here: it must not be repeated.
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !is_name || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(no_name(Place::Env));
    }
    let unset = || {
        Wrong::new(format!("the environment variable {} is not set", quoted(name)))
            .help("set it where mqfleet is started")
    };
    let value = env(name).ok_or_else(unset)?;
    value.into_string().map_err(|_| Wrong::new(format!("the environment variable {} is not UTF-8", quoted(name))))
}

/// The file of a systemd credential.
fn credential(name: &str, env: &dyn Fn(&str) -> Option<OsString>) -> Result<PathBuf, Wrong> {
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        return Err(no_name(Place::Credential));
    }
    let none = || {
        Wrong::new(format!("there is no credential {}", quoted(name)))
            .help("$CREDENTIALS_DIRECTORY is not set: start mqfleet from a systemd unit with LoadCredential=")
    };
    Ok(Path::new(&env("CREDENTIALS_DIRECTORY").ok_or_else(none)?).join(name))
}

/// What a file holds, but for the line end.
pub(super) fn from_file(path: &Path, what: &str) -> Result<String, Wrong> {
    credentials::of_file(path, what).map_err(Wrong::new)
}

/// Whether others than its owner may read it or write to it.
pub(super) fn is_open(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.mode() & 0o077 != 0)
}

fn reachable(what: &str, path: &Path) -> String {
    format!("others than its owner can reach the {what} file {}", quoted(&path.display().to_string()))
}

#[cfg(test)]
mod tests {
    use std::{fs, fs::Permissions, os::unix::fs::PermissionsExt};

    use crate::{
        fleet::PasswordSource,
        fleet_file::tests::{of_client, read, warnings},
    };

    #[test]
    fn each_client_can_have_a_password_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            fs::write(dir.path().join(name), text).unwrap();
            fs::set_permissions(dir.path().join(name), Permissions::from_mode(0o600)).unwrap();
        };
        ["c-1", "c-2", "u1", "u2"].iter().for_each(|name| put(name, &format!("of {name}\n")));
        let folder = dir.path().to_str().unwrap();
        let env = [("PW_001", "one"), ("PW_002", "two"), ("CREDENTIALS_DIRECTORY", folder)];
        let clients = |password: &str| {
            let text = format!(
                "[[client]]\nid = 'c-%i'\ncount = 2\nusername = 'u%i'\nendpoints = ['a']\npassword = {password}\n"
            );
            read(&text, dir.path(), &env)
        };
        for (password, are) in [
            ("{ file = '%c' }", ["of c-1", "of c-2"]),
            ("{ file = '%u' }", ["of u1", "of u2"]),
            ("{ credential = 'c-%i' }", ["of c-1", "of c-2"]),
            ("{ env = 'PW_%03i' }", ["one", "two"]),
        ] {
            let loaded = clients(password).unwrap();
            assert_eq!(warnings(&loaded), "", "{password}");
            let found: Vec<_> = loaded.fleet.clients[1..].iter().map(|client| of_client(client).unwrap()).collect();
            assert_eq!(found, are, "{password}");
        }
        // The first is told, the others are counted.
        for (password, says) in [
            ("{ file = 'no/%c' }", "no/c-1\": No such file or directory (os error 2); so it is with 2 passwords of"),
            ("{ env = 'NO_%i' }", "the environment variable \"NO_1\" is not set; so it is with 2 passwords"),
            ("{ env = '%c' }", "must be the name of an environment variable; so it is with 2 passwords"),
        ] {
            let errors = clients(password).unwrap_err();
            assert!(errors.count() == 1 && errors.to_string().contains(says), "{password}: {errors}");
            assert!(errors.to_string().contains("fleet.toml:11:12"), "{errors}");
        }
        fs::set_permissions(dir.path().join("c-2"), Permissions::from_mode(0o644)).unwrap();
        let said = warnings(&clients("{ file = '%c' }").unwrap());
        assert!(said.contains("others than its owner can reach the password file") && said.contains("c-2"), "{said}");
    }

    #[test]
    fn a_command_is_the_same_for_all_clients_or_each_one_s_own() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("token"), "#!/bin/sh\necho x\n").unwrap();
        fs::set_permissions(dir.path().join("token"), Permissions::from_mode(0o700)).unwrap();
        let commands = |password: &str| {
            let text = format!(
                "[[client]]\nid = 'c-%i'\ncount = 2\nusername = 'u%i'\nendpoints = ['a']\npassword = {password}\n"
            );
            let loaded = read(&text, dir.path(), &[("PATH", "/usr/bin:/bin")]).map_err(|errors| errors.to_string())?;
            let command = |n: usize| match &**loaded.fleet.clients[n].password.as_ref().unwrap().source().unwrap() {
                PasswordSource::Command(command) => command.clone(),
                other => panic!("{other:?}"),
            };
            Ok::<_, String>((command(1), command(2)))
        };
        let (one, two) = commands("{ command = ['sh', '-c', 'echo 100%%'], every = '50m' }").unwrap();
        assert_eq!(one, two);
        assert_eq!((one.program.to_str(), &one.arguments[1..]), (Some("sh"), &["echo 100%".to_owned()][..]));
        assert_eq!((one.variables.len(), one.every.unwrap().as_secs(), &*one.folder), (0, 3_000, dir.path()));
        let (one, two) = commands("{ command = ['./token', '--user=%u', '%c'] }").unwrap();
        assert_eq!(one.program, dir.path().join("./token"));
        assert_eq!((one.every, &*two.arguments), (None, &["--user=u2".to_owned(), "c-2".to_owned()][..]));
        let told = [("MQFLEET_CLIENT", "c-2"), ("MQFLEET_NUMBER", "2"), ("MQFLEET_USERNAME", "u2")];
        assert_eq!(two.variables, told.map(|(name, value)| (name, value.to_owned())));
        fs::set_permissions(dir.path().join("token"), Permissions::from_mode(0o600)).unwrap();
        let said = commands("{ command = ['./token'] }").unwrap_err();
        assert!(said.contains("there is no program") && said.contains("fleet.toml:11:"), "{said}");
    }
}
