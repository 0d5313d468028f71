//! Defines how a client's certificate and key are named, and the check that its files can be loaded, belong together and have not ended.

use std::{
    collections::HashMap,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use openssl::pkey::{PKey, Private};

use super::{
    Surroundings,
    password::{For, Found, PasswordCheck, PasswordPattern},
    pem::{self, Certificate, Flaw},
    template::Template,
};
use crate::{
    document::{Draft, Elsewhere, Report, quoted, thousands},
    event::Expiry,
    fleet::{Identity, Password, PasswordSource, Secret},
};

/// What a client's table says of its certificate and key: both or neither.
#[derive(Clone)]
pub(super) struct Papers {
    pub cert: Template,
    pub key: Template,
    pub key_password: Option<PasswordPattern>,
    /// Where to point at when a file is wrong.
    pub span: Range<usize>,
}

impl Papers {
    /// Whether they differ from client to client of a table.
    pub(super) fn is_own(&self) -> bool {
        let is_own = |password: &PasswordPattern| password.is_own();
        self.cert.is_own() || self.key.is_own() || self.key_password.as_ref().is_some_and(is_own)
    }

    /// The papers of one client, as its files are, and where the key's password is fetched from, if it is.
    pub(super) fn fill(&self, client: For<'_>, check: &mut Check<'_>, around: &Surroundings<'_>) -> Filled {
        let mut text = String::new();
        let mut path = |template: &Template| {
            template.fill(client.number, client.id, &mut text);
            around.base_dir.join(&text)
        };
        let (cert_file, key_file) = (path(&self.cert), path(&self.key));
        let certificate = check.certificate(&cert_file, self.cert.is_own());
        let found = self.key_password.as_ref().map(|password| password.fill(client, &mut check.passwords, around));
        let password = match &found {
            None => KeyPassword::None,
            Some(Some(Found { now: Some(now), .. })) => KeyPassword::Known(now),
            Some(_) => KeyPassword::Unknown,
        };
        let key = check.key(&key_file, password, self.key.is_own());
        let not_after = certificate.as_ref().and_then(|certificate| certificate.not_after);
        if let (Some(certificate), Some(key)) = (&certificate, &key)
            && !certificate.may_have(key)
        {
            check.is_wrong(|| {
                let (cert, key) = (cert_file.display().to_string(), key_file.display().to_string());
                let title = format!("`key_file` {} is not the key of {}", quoted(&key), quoted(&cert));
                (title, Some("take the pair that was made together: `cert_file` has the public part of `key_file`"))
            });
        }
        let password = found.flatten().map(|found| found.password);
        let key_password = password.as_ref().and_then(Password::fixed).cloned();
        let source = password.as_ref().and_then(Password::source).cloned();
        (Arc::new(Identity { cert_file, key_file, key_password, not_after }), source)
    }
}

/// A client's papers, and where the password of the key is fetched from, if it is.
pub(super) type Filled = (Arc<Identity>, Option<Arc<PasswordSource>>);

/// What is known of a key's password when the file is read.
enum KeyPassword<'a> {
    /// There is none.
    None,
    Known(&'a Secret),
    /// A command will say it, or what was to say it is wrong.
    Unknown,
}

/// What was found of files that more than one client or table may name.
#[derive(Default)]
pub(super) struct Seen {
    certificates: HashMap<PathBuf, Result<Certificate, Flaw>>,
    /// Those without a password.
    keys: HashMap<PathBuf, Result<PKey<Private>, Flaw>>,
}

/// The check of one table's files. Of those that are wrong, and of certificates that end soon, the
/// first is told and the others are counted.
pub(super) struct Check<'a> {
    seen: &'a mut Seen,
    now: DateTime<Utc>,
    /// Keys that may still be opened: OpenSSL takes half a millisecond for one.
    left: u64,
    wrong: Option<(String, Option<&'static str>)>,
    wrongs: u64,
    ending: Option<String>,
    endings: u64,
    pub passwords: PasswordCheck,
    disorder: Option<String>,
    disorders: u64,
}

impl<'a> Check<'a> {
    pub(super) fn new(seen: &'a mut Seen, around: &Surroundings<'_>) -> Check<'a> {
        Check {
            seen,
            now: around.now,
            left: around.keys_opened,
            wrong: None,
            wrongs: 0,
            ending: None,
            endings: 0,
            passwords: PasswordCheck::default(),
            disorder: None,
            disorders: 0,
        }
    }

    /// Looks at a certificate, `is_own` where no other client has it.
    fn certificate(&mut self, path: &Path, is_own: bool) -> Option<Certificate> {
        let found = match is_own {
            true => pem::certificate(path),
            false => self.seen.certificates.entry(path.to_owned()).or_insert_with(|| pem::certificate(path)).clone(),
        };
        let certificate = self.good("cert_file", path, found)?;
        let expiry = certificate.not_after.map(|end| Expiry::new(end, self.now));
        if let Some(expiry) = expiry.filter(|expiry| expiry.is_soon()) {
            self.endings += 1;
            self.ending.get_or_insert_with(|| title("cert_file", path, &expiry.to_string()));
        }
        if let Some((signed, other)) = &certificate.disorder {
            self.disorders += 1;
            self.disorder.get_or_insert_with(|| {
                title(
                    "cert_file",
                    path,
                    &format!("is no chain in its order: behind {signed} is {other}, which did not sign it"),
                )
            });
        }
        Some(certificate)
    }

    /// The same of a key. `None` where it was not opened.
    fn key(&mut self, path: &Path, password: KeyPassword<'_>, is_own: bool) -> Option<PKey<Private>> {
        let has_password = !matches!(password, KeyPassword::None);
        let found = match (is_own || has_password, password) {
            (true, password) if self.left == 0 || matches!(password, KeyPassword::Unknown) => {
                let looked_at = pem::key_text(path, has_password);
                self.good("key_file", path, looked_at);
                return None;
            }
            (true, password) => {
                self.left -= 1;
                pem::key(path, if let KeyPassword::Known(secret) = password { Some(secret) } else { None })
            }
            (false, _) => self.seen.keys.entry(path.to_owned()).or_insert_with(|| pem::key(path, None)).clone(),
        };
        self.good("key_file", path, found)
    }

    fn good<T>(&mut self, name: &str, path: &Path, found: Result<T, Flaw>) -> Option<T> {
        match found {
            Ok(good) => Some(good),
            Err((flaw, help)) => {
                self.is_wrong(|| (title(name, path, &flaw), help));
                None
            }
        }
    }

    fn is_wrong(&mut self, what: impl FnOnce() -> Flaw) {
        self.wrongs += 1;
        self.wrong.get_or_insert_with(what);
    }

    /// Lets it open at most so many keys.
    pub(super) fn opening(self, keys: u64) -> Check<'a> {
        Check { left: keys, ..self }
    }

    /// Keys that may still be opened.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// Tells what is wrong with one client's files, at the place that names it in an inventory.
    pub(super) fn tell_at(self, place: impl Fn() -> Elsewhere, report: &mut Report<'_>) {
        let wrong_password = self.passwords.into_wrong().map(|wrong| (wrong.title, wrong.help));
        for (title, help) in self.wrong.into_iter().chain(wrong_password) {
            report.error_of(|| Draft::elsewhere(place(), title).help_if(help.map(str::to_owned)));
        }
        if let Some(title) = self.ending {
            report.warning_of(|| Draft::elsewhere(place(), title).help(ANEW));
        }
    }

    /// `password_span` is where the password of the keys is named.
    pub(super) fn tell(self, span: Range<usize>, password_span: Option<&Range<usize>>, report: &mut Report<'_>) {
        self.passwords.tell(password_span.unwrap_or(&span), report);
        let more = |count: u64, files: &str| match count {
            1 => String::new(),
            n => format!("; so it is with {} {files} of this table", thousands(n)),
        };
        if let Some((title, help)) = self.wrong {
            let title = format!("{title}{}", more(self.wrongs, "files"));
            report.error(Draft::at(span.clone(), title).help_if(help.map(str::to_owned)));
        }
        if let Some(title) = self.disorder {
            let title = format!("{title}{}", more(self.disorders, "files"));
            let help = "the client's own certificate comes first, then that of who signed it, and so on: some brokers refuse another order";
            report.warning(Draft::at(span.clone(), title).help(help));
        }
        if let Some(title) = self.ending {
            let title = format!("{title}{}", more(self.endings, "certificates"));
            report.warning(Draft::at(span, title).help(ANEW));
        }
    }
}

const ANEW: &str = "have it issued anew: a broker refuses one that has ended";

fn title(name: &str, path: &Path, what: &str) -> String {
    format!("`{name}` {} {what}", quoted(&path.display().to_string()))
}
