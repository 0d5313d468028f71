//! Defines how a client's certificate and key are named, and the check that the files are there.

use std::{ops::Range, path::Path, sync::Arc};

use super::{
    pem::{self, Pem},
    report::{Draft, Report, quoted},
    template::Template,
    tree::thousands,
};
use crate::fleet::{Identity, Secret};

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

    pub fn fill(&self, base_dir: &Path, number: u64, id: &str) -> Arc<Identity> {
        let mut text = String::new();
        let mut path = |template: &Template| {
            template.fill(number, id, &mut text);
            base_dir.join(&text)
        };
        let (cert_file, key_file) = (path(&self.cert), path(&self.key));
        Arc::new(Identity { cert_file, key_file, key_password: self.key_password.clone() })
    }
}

/// The wrong files of one table: the first is told, the others are counted.
#[derive(Default)]
pub(super) struct Wrong {
    first: Option<(String, Option<&'static str>)>,
    count: u64,
}

impl Wrong {
    pub fn check(&mut self, identity: &Identity) {
        let key = Pem::Key { has_password: identity.key_password.is_some() };
        let files = [("cert_file", &identity.cert_file, Pem::Certificate), ("key_file", &identity.key_file, key)];
        for (name, path, pem) in files {
            if let Err((wrong, help)) = pem::check(path, pem) {
                self.count += 1;
                let title = || format!("`{name}` {} {wrong}", quoted(&path.display().to_string()));
                self.first.get_or_insert_with(|| (title(), help));
            }
        }
    }

    pub fn tell(self, span: Range<usize>, report: &mut Report<'_>) {
        if let Some((title, help)) = self.first {
            let more = match self.count {
                1 => String::new(),
                n => format!("; so it is with {} files of this table", thousands(n)),
            };
            report.error(Draft::at(span, format!("{title}{more}")).help_if(help.map(str::to_owned)));
        }
    }
}
