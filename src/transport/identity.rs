//! Defines how a client's own certificate and key are read, once for all its connections; whether a server takes them is the server's to say.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use openssl::{
    error::ErrorStack,
    pkey::{PKey, Private},
    sha::Sha256,
    ssl::SslRef,
    x509::X509,
};

use super::{because, cache::Cache, reach, verdict::stack_words};
use crate::{
    event::{Cause, Reason},
    fleet::Identity,
};

/// A certificate, what chains it to an anchor, and its key.
pub(super) struct Papers {
    certificate: X509,
    chain: Vec<X509>,
    key: PKey<Private>,
    /// Tells these from any others.
    pub mark: [u8; 32],
}

/// What identities are known by: their files, and a hash of the key's password, so that there is no
/// second copy of it.
type Key = (PathBuf, PathBuf, Option<[u8; 32]>);

/// All client certificates of a process.
pub(super) struct Identities(Cache<Key, Papers>);

impl Identities {
    pub(super) fn new() -> Identities {
        Identities(Cache::new())
    }

    /// The certificate and key of a client, read anew where a file has changed.
    pub(super) async fn get(&self, identity: &Identity) -> Result<Arc<Papers>, Cause> {
        let password = identity.key_password.as_ref().map(|p| openssl::sha::sha256(p.expose().as_bytes()));
        let key = (identity.cert_file.clone(), identity.key_file.clone(), password);
        let files = vec![identity.cert_file.clone(), identity.key_file.clone()];
        let identity = identity.clone();
        self.0.get(&key, move || files, move || read(&identity)).await
    }
}

impl Papers {
    /// Has a connection show these where the server asks for them.
    pub(super) fn give(&self, ssl: &mut SslRef) -> Result<(), ErrorStack> {
        ssl.set_certificate(&self.certificate)?;
        ssl.set_private_key(&self.key)?;
        for certificate in &self.chain {
            ssl.add_chain_cert(certificate.clone())?;
        }
        Ok(())
    }
}

fn read(identity: &Identity) -> Result<Papers, Cause> {
    let unusable = |file: &Path, why: &str| {
        because(Reason::TlsFailed, &format!("the client's certificate cannot be used: {}: {why}", file.display()))
    };
    let bytes = |file: &Path| fs::read(file).map_err(|e| unusable(file, &reach::words(&e)));
    let (cert_file, key_file) = (&identity.cert_file, &identity.key_file);
    let mut chain = X509::stack_from_pem(&bytes(cert_file)?).unwrap_or_default();
    if chain.is_empty() {
        return Err(unusable(cert_file, "no certificate in PEM that can be read"));
    }
    let certificate = chain.remove(0);
    let pem = bytes(key_file)?;
    let mut is_locked = false;
    let key = PKey::private_key_from_pem_callback(&pem, |buffer| {
        is_locked = true;
        let password = identity.key_password.as_ref().map_or(&[][..], |p| p.expose().as_bytes());
        let Some(room) = buffer.get_mut(..password.len()) else { return Ok(0) };
        room.copy_from_slice(password);
        Ok(password.len())
    });
    let key = key.map_err(|_| match (is_locked, &identity.key_password) {
        (true, Some(_)) => unusable(key_file, "wrong password for the key, or of a kind that is too old"),
        (true, None) => unusable(key_file, "the key has a password, and none is given"),
        (false, _) => unusable(key_file, "no private key in PEM that can be read"),
    })?;
    let is_its_own = certificate.public_key().is_ok_and(|public| public.public_eq(&key));
    if !is_its_own {
        return Err(unusable(key_file, "the key of another certificate"));
    }
    let mut mark = Sha256::new();
    for certificate in [&certificate].into_iter().chain(&chain) {
        mark.update(&certificate.to_der().map_err(|e| unusable(cert_file, &stack_words(&e)))?);
    }
    Ok(Papers { certificate, chain, key, mark: mark.finish() })
}
