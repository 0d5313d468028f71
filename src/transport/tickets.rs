//! Defines which TLS session is resumed by whom (RFC 8446 §2.2): the newest that a server gave for the same endpoint, verified by the same name, and the same client certificate.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use chrono::{DateTime, Utc};
use openssl::{
    error::ErrorStack,
    ex_data::Index,
    ssl::{Ssl, SslRef, SslSession},
};

use super::{certificate, kernel};
use crate::fleet::Tls;

/// For whom a session is. A server that is shown one takes the client for the one that it was given to,
/// and the client takes the server for verified: so all that either depends on is in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Holder {
    /// Where the connection goes.
    pub address: Box<str>,
    /// The name that is asked for and verified.
    pub name: Box<str>,
    pub tls: Arc<Tls>,
    /// The mark of the client's certificate and key.
    pub identity: Option<[u8; 32]>,
}

/// The sessions of one context.
#[derive(Default)]
pub(super) struct Tickets(Mutex<HashMap<Arc<Holder>, Ticket>>);

struct Ticket {
    /// In DER: OpenSSL marks a session of TLS 1.3 as used up once one connection has resumed it, and one of
    /// any version once its connection was cut. A fleet that comes back needs it for all of its clients.
    session: Arc<[u8]>,
    /// When the first certificate of the verified chain ends: the server is not verified again before
    /// a whole handshake. None where it is not verified at all.
    ends: Option<DateTime<Utc>>,
}

/// What a connection knows of its sessions, in a place of OpenSSL's for that.
struct Keeper {
    tickets: Arc<Tickets>,
    holder: Arc<Holder>,
    /// The end of the ticket that is resumed.
    inherited: Option<DateTime<Utc>>,
}

impl Tickets {
    /// The most that are kept; beyond it, connections of new holders begin with whole handshakes.
    const MAX: usize = 20_000;

    /// Offers the session that is kept for `holder`, if any, and keeps what the server gives this time.
    pub(super) fn prepare(self: &Arc<Self>, ssl: &mut SslRef, holder: Holder) -> Result<(), ErrorStack> {
        let mut tickets = self.lock();
        let mut known_session = None;
        let holder = match tickets.get_key_value(&holder) {
            Some((known, ticket)) if ticket.ends.is_none_or(|end| Utc::now() < end) => {
                known_session = Some((ticket.session.clone(), ticket.ends));
                known.clone()
            }
            Some((known, _)) => {
                let known = known.clone();
                tickets.remove(&known);
                known
            }
            None => Arc::new(holder),
        };
        drop(tickets);
        let mut inherited = None;
        if let Some((session, ends)) = known_session {
            let session = SslSession::from_der(&session)?;
            kernel::resume(ssl, &session)?;
            inherited = ends;
        }
        ssl.set_ex_data(index()?, Keeper { tickets: self.clone(), holder, inherited });
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<Holder>, Ticket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a session that a server has just given.
pub(super) fn take(ssl: &mut SslRef, session: SslSession) {
    let Some(keeper) = index().ok().and_then(|index| ssl.ex_data(index)) else { return };
    let Keeper { tickets, holder, inherited } = keeper;
    let ends = match ssl.verified_chain() {
        _ if holder.tls.insecure => None,
        Some(chain) if !chain.is_empty() => {
            let ends = chain.iter().filter_map(|c| certificate::time(c.not_after())).min();
            // A certificate whose end cannot be read gives no ticket.
            if ends.is_none() {
                return;
            }
            ends
        }
        // A resumed session shows no certificates.
        _ if inherited.is_some() => *inherited,
        _ => return,
    };
    let Ok(session) = session.to_der().map(Arc::from) else { return };
    let mut tickets = tickets.lock();
    if tickets.len() < Tickets::MAX || tickets.contains_key(holder) {
        tickets.insert(holder.clone(), Ticket { session, ends });
    }
}

fn index() -> Result<Index<Ssl, Keeper>, ErrorStack> {
    static INDEX: OnceLock<Index<Ssl, Keeper>> = OnceLock::new();
    if let Some(index) = INDEX.get() {
        return Ok(*index);
    }
    let new = Ssl::new_ex_index()?;
    Ok(*INDEX.get_or_init(|| new))
}
