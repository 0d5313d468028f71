//! Defines the TLS contexts, one for all connections that trust the same: its trust anchors and revocation lists, and the sessions that may be resumed in it; who is verified by which name is the handshake's matter.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use openssl::{
    error::ErrorStack,
    ssl::{SslContext, SslContextBuilder, SslFiletype, SslMethod, SslMode, SslSessionCacheMode},
    x509::{
        store::{File, HashDir, X509Lookup},
        verify::X509VerifyFlags,
    },
};
use openssl_probe::ProbeResult;

use super::{because, cache::Cache, reach, tickets, tickets::Tickets, verdict::stack_words};
use crate::{
    event::{Cause, Reason},
    fleet::Tls,
};

/// What a context is made for. All else that a connection asks of TLS is its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    ca_file: Option<PathBuf>,
    crl_file: Option<PathBuf>,
    insecure: bool,
}

/// A context and the sessions of its connections.
pub(super) struct Trust {
    pub context: SslContext,
    pub tickets: Arc<Tickets>,
}

/// All contexts of a process.
pub(super) struct Trusts(Cache<Key, Trust>);

impl Trusts {
    pub(super) fn new() -> Trusts {
        Trusts(Cache::new())
    }

    /// The context for these settings, read anew where a file has changed. Sessions do not outlive it.
    pub(super) async fn get(&self, tls: &Tls) -> Result<Arc<Trust>, Cause> {
        let key = Key { ca_file: tls.ca_file.clone(), crl_file: tls.crl_file.clone(), insecure: tls.insecure };
        let (ours, files) = (key.clone(), key.clone());
        self.0.get(&key, move || files.files(), move || ours.build()).await
    }
}

impl Key {
    fn files(self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = self.crl_file.into_iter().collect();
        match self.ca_file {
            Some(file) => files.push(file),
            None => files.extend(system_files()),
        }
        files
    }

    fn build(&self) -> Result<Trust, Cause> {
        let internal = |e: ErrorStack| because(Reason::Internal, &format!("OpenSSL: {}", stack_words(&e)));
        let mut context = SslContext::builder(SslMethod::tls_client()).map_err(internal)?;
        // An idle connection holds no buffers; a write that was put off may come from elsewhere in memory.
        context.set_mode(
            SslMode::RELEASE_BUFFERS
                | SslMode::AUTO_RETRY
                | SslMode::ENABLE_PARTIAL_WRITE
                | SslMode::ACCEPT_MOVING_WRITE_BUFFER,
        );
        match &self.ca_file {
            Some(file) if self.insecure => context.set_ca_file(file).unwrap_or_default(),
            Some(file) => context.set_ca_file(file).map_err(|e| unusable(file, "certificates", &e))?,
            None => system_store(&mut context).map_err(internal)?,
        }
        if let (Some(file), false) = (&self.crl_file, self.insecure) {
            let path = file.to_str().filter(|path| !path.contains('\0'));
            let path = path.ok_or_else(|| because(Reason::CaFileUnusable, "its name is no UTF-8"))?;
            let store = context.cert_store_mut();
            let lookup = store.add_lookup(X509Lookup::<File>::file()).map_err(internal)?;
            let loaded = lookup.load_crl_file(path, SslFiletype::PEM);
            loaded.map_err(|e| unusable(file, "revocation lists", &e))?;
            store.set_flags(X509VerifyFlags::CRL_CHECK).map_err(internal)?;
        }
        context.set_session_cache_mode(SslSessionCacheMode::CLIENT | SslSessionCacheMode::NO_INTERNAL);
        context.set_new_session_callback(tickets::take);
        Ok(Trust { context: context.build(), tickets: Arc::default() })
    }
}

fn unusable(file: &Path, what: &str, error: &ErrorStack) -> Cause {
    let why = match fs::metadata(file) {
        Err(error) => reach::words(&error),
        Ok(_) => format!("no {what} in PEM ({})", stack_words(error)),
    };
    because(Reason::CaFileUnusable, &format!("{}: {why}", file.display()))
}

/// Where OpenSSL looks for the system's trust store: a file, and folders of hashed names.
struct Places {
    file: PathBuf,
    folders: Vec<PathBuf>,
    /// Whether the environment names one of them, which is then meant.
    are_chosen: bool,
}

impl Places {
    /// Those of this build's OpenSSL, and of its environment.
    fn of_openssl() -> Option<Places> {
        let own = Path::new(openssl::version::dir().split('"').nth(1)?);
        let (file, folders) = (std::env::var_os("SSL_CERT_FILE"), std::env::var_os("SSL_CERT_DIR"));
        Some(Places {
            are_chosen: file.is_some() || folders.is_some(),
            file: file.map_or_else(|| own.join("cert.pem"), PathBuf::from),
            folders: folders.map_or_else(|| vec![own.join("certs")], |list| std::env::split_paths(&list).collect()),
        })
    }

    fn hold_nothing(&self) -> bool {
        let is_empty = |folder: &PathBuf| fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none());
        !self.file.is_file() && self.folders.iter().all(is_empty)
    }
}

/// Where systems are known to keep their trust store, if there is nothing where OpenSSL looks: it may have
/// been built for another system.
fn elsewhere() -> Option<ProbeResult> {
    let places = Places::of_openssl();
    let is_empty = places.is_none_or(|places| !places.are_chosen && places.hold_nothing());
    is_empty.then(openssl_probe::probe)
}

/// The files and folders of the system's trust store.
fn system_files() -> Vec<PathBuf> {
    match (elsewhere(), Places::of_openssl()) {
        (Some(found), _) => found.cert_file.into_iter().chain(found.cert_dir).collect(),
        (None, places) => places.into_iter().flat_map(|p| [p.file].into_iter().chain(p.folders)).collect(),
    }
}

/// The system's trust store: where OpenSSL was built to look for it, or, where there is nothing, where
/// systems are known to keep it.
fn system_store(context: &mut SslContextBuilder) -> Result<(), ErrorStack> {
    context.set_default_verify_paths()?;
    let Some(found) = elsewhere() else { return Ok(()) };
    let store = context.cert_store_mut();
    if let Some(file) = found.cert_file.as_deref().and_then(Path::to_str) {
        store.add_lookup(X509Lookup::<File>::file())?.load_cert_file(file, SslFiletype::PEM)?;
    }
    for folder in found.cert_dir.iter().filter_map(|folder| folder.to_str()) {
        store.add_lookup(X509Lookup::<HashDir>::hash_dir())?.add_dir(folder, SslFiletype::PEM)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_looked_for_elsewhere_only_where_there_is_none() {
        let dir = tempfile::TempDir::new().unwrap();
        let (file, empty, full) = (dir.path().join("cert.pem"), dir.path().join("empty"), dir.path().join("full"));
        for folder in [&empty, &full] {
            fs::create_dir(folder).unwrap();
        }
        fs::write(full.join("00000000.0"), "").unwrap();
        let hold_nothing = |folders: &[&PathBuf]| {
            let folders = folders.iter().copied().cloned().collect();
            Places { file: file.clone(), folders, are_chosen: false }.hold_nothing()
        };
        assert!(hold_nothing(&[]) && hold_nothing(&[&empty, &dir.path().join("missing")]));
        assert!(!hold_nothing(&[&empty, &full]));
        fs::write(&file, "").unwrap();
        assert!(!hold_nothing(&[&empty]));
    }
}
