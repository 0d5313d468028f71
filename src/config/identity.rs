//! Defines how a client's certificate and key are named, and the check that the files are there and when the certificate ends.

use std::{
    collections::HashMap,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use chrono::{DateTime, Utc};

use super::{
    pem::{self, Flaw, Pem},
    report::{Draft, Report, quoted},
    template::Template,
    tree::thousands,
};
use crate::{
    event::Expiry,
    fleet::{Identity, Secret},
};

/// What a client's table says of its certificate and key: both or neither.
#[derive(Clone)]
pub(super) struct Papers {
    pub cert: Template,
    pub key: Template,
    pub key_password: Option<Secret>,
    /// Where to point at when a file is wrong.
    pub span: Range<usize>,
}

impl Papers {
    /// Whether they differ from client to client of a table.
    pub fn is_own(&self) -> bool {
        self.cert.is_own() || self.key.is_own()
    }

    /// The papers of one client, as its files are.
    pub fn fill(&self, base_dir: &Path, number: u64, id: &str, check: &mut Check<'_>) -> Arc<Identity> {
        let mut text = String::new();
        let mut path = |template: &Template| {
            template.fill(number, id, &mut text);
            base_dir.join(&text)
        };
        let (cert_file, key_file) = (path(&self.cert), path(&self.key));
        let key = Pem::Key { has_password: self.key_password.is_some() };
        let not_after = check.look("cert_file", &cert_file, Pem::Certificate, self.cert.is_own());
        check.look("key_file", &key_file, key, self.key.is_own());
        Arc::new(Identity { cert_file, key_file, key_password: self.key_password.clone(), not_after })
    }
}

/// What was found of files that more than one table may name.
pub(super) type Seen = HashMap<(PathBuf, Pem), Result<Option<DateTime<Utc>>, Flaw>>;

/// The check of one table's files. Of those that are wrong, and of certificates that end soon, the
/// first is told and the others are counted.
pub(super) struct Check<'a> {
    seen: &'a mut Seen,
    now: DateTime<Utc>,
    wrong: Option<(String, Option<&'static str>)>,
    wrongs: u64,
    ending: Option<String>,
    endings: u64,
}

impl<'a> Check<'a> {
    pub fn new(seen: &'a mut Seen, now: DateTime<Utc>) -> Check<'a> {
        Check { seen, now, wrong: None, wrongs: 0, ending: None, endings: 0 }
    }

    /// Looks at a file, `is_own` where no other client has it, and says when its certificate ends.
    fn look(&mut self, name: &str, path: &Path, pem: Pem, is_own: bool) -> Option<DateTime<Utc>> {
        let found = match is_own {
            true => pem::read(path, pem),
            false => self.seen.entry((path.to_owned(), pem)).or_insert_with(|| pem::read(path, pem)).clone(),
        };
        let title = |what: &str| format!("`{name}` {} {what}", quoted(&path.display().to_string()));
        match found {
            Ok(end) => {
                let soon = end.map(|end| Expiry::new(end, self.now)).filter(|expiry| expiry.is_soon());
                if let Some(expiry) = soon {
                    self.endings += 1;
                    self.ending.get_or_insert_with(|| title(&expiry.to_string()));
                }
                end
            }
            Err((flaw, help)) => {
                self.wrongs += 1;
                self.wrong.get_or_insert_with(|| (title(&flaw), help));
                None
            }
        }
    }

    pub fn tell(self, span: Range<usize>, report: &mut Report<'_>) {
        let more = |count: u64, files: &str| match count {
            1 => String::new(),
            n => format!("; so it is with {} {files} of this table", thousands(n)),
        };
        if let Some((title, help)) = self.wrong {
            let title = format!("{title}{}", more(self.wrongs, "files"));
            report.error(Draft::at(span.clone(), title).help_if(help.map(str::to_owned)));
        }
        if let Some(title) = self.ending {
            let title = format!("{title}{}", more(self.endings, "certificates"));
            report.warning(Draft::at(span, title).help("have it issued anew: a broker refuses one that has ended"));
        }
    }
}
