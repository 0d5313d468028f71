//! Defines how a body is posted over HTTP or HTTPS, within a limit and by a proxy where the environment names one; what is posted, and what an answer means, is its sender's matter.

use std::{io::Read, time::Duration};

use tokio::task::spawn_blocking;
use ureq::{
    Agent, Error,
    tls::{RootCerts, TlsConfig, TlsProvider},
};

use crate::{credentials, fleet::Secret, telling::Access, text::Scrubbed};

/// Within this all of a request is over: the names, the connection, the answer.
pub const LIMIT: Duration = Duration::from_secs(15);
/// Bytes of an answer that are looked at.
const WORDS: u64 = 4 << 10;
/// The longest that a receiver may have us wait (`Retry-After`).
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What is posted, and where to. A URL may be a secret itself.
#[derive(Debug)]
pub struct Post {
    pub url: Secret,
    /// The value of `Authorization`.
    pub authorization: Option<Secret>,
    pub content_type: &'static str,
    /// Whether the body is compressed with gzip.
    pub is_gzip: bool,
    pub body: Vec<u8>,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// When it wants to be asked again, at most a minute.
    pub retry_after: Option<Duration>,
    /// The begin of what it says where it does not take the body.
    pub words: Scrubbed,
}

impl Answer {
    /// Why a body was not taken, as far as the status alone tells (RFC 9110 §15); `None` where it was.
    pub fn refusal(&self) -> Option<String> {
        let status = self.status;
        match status {
            200..300 => None,
            300..=399 => Some(format!("it answers {status}, and redirections are not followed: name its new address")),
            401 | 403 => Some(format!("it answers {status}: it does not take these credentials")),
            _ => Some(format!("it answers {status}")),
        }
    }
}

/// What a request has to show. A token goes by the name `scheme`, such as `Bearer`.
///
/// # Errors
/// Why the secret cannot be had, in words without it.
pub async fn authorization(access: &Access, scheme: &str) -> Result<Option<Secret>, Scrubbed> {
    let header = match access {
        Access::Open => return Ok(None),
        Access::Basic { username, password } => {
            let secret = credentials::current(password, "password").await?;
            let pair = format!("{username}:{}", secret.expose());
            format!("Basic {}", openssl::base64::encode_block(pair.as_bytes()))
        }
        Access::Bearer(token) => format!("{scheme} {}", credentials::current(token, "token").await?.expose()),
    };
    Ok(Some(Secret::new(header)))
}

/// An address with these parameters behind it.
pub fn with_parameters(address: &str, parameters: &[(&str, &str)]) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte); // RFC 3986 §2.3
    let mut url = address.to_owned();
    for (n, (name, value)) in parameters.iter().enumerate() {
        url.push(if n == 0 { '?' } else { '&' });
        url.push_str(name);
        url.push('=');
        for byte in value.bytes() {
            match is_plain(byte) {
                true => url.push(char::from(byte)),
                false => url.push_str(&format!("%{byte:02X}")),
            }
        }
    }
    url
}

/// Posts a body.
///
/// # Errors
/// Why there is no answer, in words without the URL.
pub async fn post(what: Post) -> Result<Answer, String> {
    // The request blocks its thread, but for no longer than its limit.
    let posted = spawn_blocking(move || send(&what).map_err(|error| in_words(&error))).await;
    posted.unwrap_or_else(|error| Err(error.to_string()))
}

fn send(what: &Post) -> Result<Answer, Error> {
    let tls = TlsConfig::builder().provider(TlsProvider::NativeTls).root_certs(RootCerts::PlatformVerifier).build();
    let config = Agent::config_builder()
        .timeout_global(Some(LIMIT))
        .tls_config(tls)
        .user_agent(concat!("mqfleet/", env!("CARGO_PKG_VERSION")))
        // Whatever is answered is the receiver's word. A secret goes to no other place than the one that was named.
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .build();
    let mut request = Agent::new_with_config(config).post(what.url.expose()).header("Content-Type", what.content_type);
    if what.is_gzip {
        request = request.header("Content-Encoding", "gzip");
    }
    if let Some(authorization) = &what.authorization {
        request = request.header("Authorization", authorization.expose());
    }
    let answer = request.send(&what.body[..])?;
    let status = answer.status().as_u16();
    let retry_after = answer.headers().get("Retry-After").and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let retry_after = retry_after.map(|seconds| Duration::from_secs(seconds).min(LONGEST_WAIT));
    let mut words = Vec::new();
    if !(200..300).contains(&status) {
        // Without them the status is all that is known.
        let _ = answer.into_body().into_reader().take(WORDS).read_to_end(&mut words);
    }
    Ok(Answer { status, retry_after, words: Scrubbed::from_bytes(words.trim_ascii()) })
}

fn in_words(error: &Error) -> String {
    match error {
        // It repeats the URL.
        Error::BadUri(_) => "its URL cannot be used".to_owned(),
        Error::Timeout(_) => format!("no answer within {} s", LIMIT.as_secs()),
        other => Scrubbed::new(&other.to_string()).to_string(),
    }
}
