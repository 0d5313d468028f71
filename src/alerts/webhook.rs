//! Defines how a message is posted to a webhook, over HTTP or HTTPS, by a proxy where the environment names one.

use std::time::Duration;

use tokio::task::spawn_blocking;
use ureq::{
    Agent, Error,
    tls::{RootCerts, TlsConfig, TlsProvider},
};

use super::{courier::Failure, message::Message};
use crate::{
    credentials,
    telling::{Access, Webhook},
    text::Scrubbed,
};

/// Within this all of a request is over: the names, the connection, the answer.
const LIMIT: Duration = Duration::from_secs(15);

pub(super) async fn send(webhook: &Webhook, receiver: &str, message: &Message) -> Result<(), Failure> {
    let authorization = match &webhook.access {
        Access::Open => None,
        Access::Basic { username, password } => {
            let secret = credentials::current(password, "password").await.map_err(|why| Failure::away(why.as_str()))?;
            let pair = format!("{username}:{}", secret.expose());
            Some(format!("Basic {}", openssl::base64::encode_block(pair.as_bytes())))
        }
        Access::Bearer(token) => {
            let secret = credentials::current(token, "token").await.map_err(|why| Failure::away(why.as_str()))?;
            Some(format!("Bearer {}", secret.expose()))
        }
    };
    let body = message.webhook(receiver).to_string();
    let (url, shown) = (webhook.url.clone(), webhook.shown.clone());
    // The request blocks its thread, but for no longer than its limit.
    let posted = spawn_blocking(move || {
        let status = post(url.expose(), authorization.as_deref(), body).map_err(|error| in_words(&error))?;
        judge(status)
    });
    let posted = posted.await.unwrap_or_else(|error| Err(Failure::away(error.to_string())));
    posted.map_err(|failure| Failure { why: format!("{shown}: {}", failure.why), ..failure })
}

/// Posts a body; returns the answer's status.
fn post(url: &str, authorization: Option<&str>, body: String) -> Result<u16, Error> {
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
    let mut request = Agent::new_with_config(config).post(url).header("Content-Type", "application/json");
    if let Some(authorization) = authorization {
        request = request.header("Authorization", authorization);
    }
    Ok(request.send(body)?.status().as_u16())
}

/// What an answer means: of 400, 413 and 422 the message itself is the reason; 408, 425 and 429 are about the moment, and
/// all others below 500 about how it is asked (RFC 9110 §15.5, RFC 6585 §4, RFC 8470 §5.2).
fn judge(status: u16) -> Result<(), Failure> {
    Err(match status {
        200..300 => return Ok(()),
        400 | 413 | 422 => Failure::message(format!("it answers {status} to this message")),
        300..400 => {
            Failure::refused(format!("it answers {status}, and redirections are not followed: name its new address"))
        }
        401 | 403 => Failure::refused(format!("it answers {status}: it does not take these credentials")),
        408 | 425 | 429 => Failure::away(format!("it answers {status}")),
        400..500 => Failure::refused(format!("it answers {status}")),
        _ => Failure::away(format!("it answers {status}")),
    })
}

fn in_words(error: &Error) -> Failure {
    let why = match error {
        // It repeats the URL.
        Error::BadUri(_) => "its URL cannot be used".to_owned(),
        Error::Timeout(_) => format!("no answer within {} s", LIMIT.as_secs()),
        other => Scrubbed::new(&other.to_string()).to_string(),
    };
    Failure::away(why)
}
