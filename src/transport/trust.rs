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
    pub fn new() -> Trusts {
        Trusts(Cache::new())
    }

    /// The context for these settings, read anew where a file has changed. Sessions do not outlive it.
    pub async fn get(&self, tls: &Tls) -> Result<Arc<Trust>, Cause> {
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

/// Where this build's OpenSSL looks for the system's trust store: a file, and a folder of hashed names.
fn built_in() -> Option<(PathBuf, PathBuf)> {
    let folder = openssl::version::dir().split('"').nth(1)?;
    let or = |variable, name| std::env::var_os(variable).map_or_else(|| Path::new(folder).join(name), PathBuf::from);
    Some((or("SSL_CERT_FILE", "cert.pem"), or("SSL_CERT_DIR", "certs")))
}

fn holds_nothing((file, folder): &(PathBuf, PathBuf)) -> bool {
    !file.is_file() && fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
        || !file.is_file() && !folder.is_dir()
}

/// The files and folders of the system's trust store.
fn system_files() -> Vec<PathBuf> {
    match built_in().filter(|paths| !holds_nothing(paths)) {
        Some((file, folder)) => vec![file, folder],
        None => {
            let found = openssl_probe::probe();
            found.cert_file.into_iter().chain(found.cert_dir).collect()
        }
    }
}

/// The system's trust store: where OpenSSL was built to look for it, or, where there is nothing, where
/// systems are known to keep it.
fn system_store(context: &mut SslContextBuilder) -> Result<(), ErrorStack> {
    context.set_default_verify_paths()?;
    if !built_in().as_ref().is_none_or(holds_nothing) {
        return Ok(());
    }
    let found = openssl_probe::probe();
    let store = context.cert_store_mut();
    if let Some(file) = found.cert_file.as_deref().and_then(Path::to_str) {
        store.add_lookup(X509Lookup::<File>::file())?.load_cert_file(file, SslFiletype::PEM)?;
    }
    for folder in found.cert_dir.iter().filter_map(|folder| folder.to_str()) {
        store.add_lookup(X509Lookup::<HashDir>::hash_dir())?.add_dir(folder, SslFiletype::PEM)?;
    }
    Ok(())
}
