//! Defines what a probe of an endpoint finds, stage by stage; the probe itself is the endpoint's.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize};

use super::{Cause, Expiry, Reason};
use crate::text::Scrubbed;

/// What a probe found out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The stages that were gone through, in their order. Where the probe failed, the last one did.
    pub stages: Vec<Stage>,
    /// All addresses that the name stands for (the proxy's name, where there is a proxy), in the
    /// order in which they were tried.
    pub addresses: Arc<[SocketAddr]>,
    /// The address that accepted the connection: the proxy's, where there is one.
    pub address: Option<SocketAddr>,
    /// What is known of the TLS session and its certificates, even where they were refused.
    pub session: Option<Session>,
    /// Why the endpoint cannot be used, if so.
    pub failure: Option<Failure>,
}

impl Finding {
    /// A finding without any stage, for a probe that could not run at all.
    pub fn broken(detail: &str) -> Finding {
        let cause = Cause { reason: Reason::Internal, detail: Scrubbed::new(detail) };
        Finding {
            stages: Vec::new(),
            addresses: Arc::default(),
            address: None,
            session: None,
            failure: Some(Failure { stage: StageKind::Dns, cause }),
        }
    }

    pub fn is_ok(&self) -> bool {
        self.failure.is_none()
    }

    /// The time from the first stage's begin to the last one's end.
    pub fn took(&self) -> Duration {
        self.stages.iter().map(|s| s.took).sum()
    }

    /// The certificate that the server showed as its own.
    pub fn certificate(&self) -> Option<&Certificate> {
        self.session.as_ref()?.chain.first()
    }
}

/// One stage of a probe and the time it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    pub kind: StageKind,
    pub took: Duration,
}

/// The stages in their order. An endpoint given by address has no DNS stage, and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StageKind {
    Dns,
    Tcp,
    Proxy,
    Tls,
    #[serde(rename = "websocket")]
    WebSocket,
}

impl StageKind {
    /// The stable name, as scripts read it.
    pub fn name(self) -> &'static str {
        match self {
            StageKind::Dns => "dns",
            StageKind::Tcp => "tcp",
            StageKind::Proxy => "proxy",
            StageKind::Tls => "tls",
            StageKind::WebSocket => "websocket",
        }
    }
}

/// Where a probe ended, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    pub stage: StageKind,
    pub cause: Cause,
}

/// The name of a TLS version as OpenSSL tells it, such as `TLSv1.3`.
pub type TlsVersion = &'static str;

/// What is known of a TLS session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// The protocol's version, such as `TLSv1.3`; none where the handshake did not get that far.
    #[serde(deserialize_with = "protocol")]
    pub protocol: Option<TlsVersion>,
    pub cipher: Option<Scrubbed>,
    /// The protocol that the server chose of those offered (ALPN).
    pub alpn: Option<Scrubbed>,
    /// The server's certificate first, then what chains it towards an anchor.
    pub chain: Vec<Certificate>,
    /// What is wrong with a certificate that was not to be verified (`insecure`).
    pub overlooked: Option<Cause>,
    /// Whether the server ended the connection for want of a client's certificate: it is well, and
    /// clients with one may connect.
    pub wants_certificate: bool,
}

/// What an X.509 certificate (RFC 5280) says of itself. All texts come from the other side, and are
/// scrubbed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The subject's distinguished name, such as `CN=broker.example, O=Example`.
    pub subject: Scrubbed,
    pub issuer: Scrubbed,
    /// The host names and addresses it is for (subjectAltName), at most [`Certificate::NAMES_MAX`].
    pub names: Vec<Scrubbed>,
    pub not_before: Option<DateTime<Utc>>,
    pub not_after: Option<DateTime<Utc>>,
}

impl Certificate {
    /// The most names that are kept.
    pub const NAMES_MAX: usize = 100;

    /// Whole days until it ends; negative when it has ended.
    pub fn days_left(&self, now: DateTime<Utc>) -> Option<i64> {
        self.expiry(now).map(Expiry::days)
    }

    /// How far it is from its end, where it says so.
    pub fn expiry(&self, now: DateTime<Utc>) -> Option<Expiry> {
        self.not_after.map(|end| Expiry::new(end, now))
    }
}

/// A version's name from a text that may say anything.
fn protocol<'de, D: Deserializer<'de>>(text: D) -> Result<Option<TlsVersion>, D::Error> {
    const NAMES: [TlsVersion; 5] = ["TLSv1.3", "TLSv1.2", "TLSv1.1", "TLSv1", "SSLv3"];
    let text = Option::<String>::deserialize(text)?;
    Ok(text.map(|text| NAMES.into_iter().find(|name| *name == text).unwrap_or("unknown")))
}
