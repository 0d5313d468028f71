//! Defines how a message is posted to a webhook; HTTP itself is elsewhere.

use super::{courier::Failure, message::Message};
use crate::{
    http::{self, Answer, Post},
    telling::Webhook,
};

pub(super) async fn send(webhook: &Webhook, receiver: &str, message: &Message) -> Result<(), Failure> {
    let body = message.webhook(receiver).to_string();
    post(webhook, webhook.url.clone(), body).await
}

/// Posts JSON to a receiver, at an address of it.
pub(super) async fn post(receiver: &Webhook, url: crate::fleet::Secret, body: String) -> Result<(), Failure> {
    let authorization = http::authorization(&receiver.access, "Bearer").await;
    let authorization = authorization.map_err(|why| Failure::away(why.as_str()))?;
    let (content_type, body) = ("application/json", body.into_bytes());
    let posted = http::post(Post { url, authorization, content_type, is_gzip: false, body }).await;
    let judged = posted.map_err(Failure::away).and_then(|answer| judge(&answer));
    judged.map_err(|failure| Failure { why: format!("{}: {}", receiver.shown, failure.why), ..failure })
}

/// What an answer means: of 400, 413 and 422 the message itself is the reason; 408, 425 and 429 are about the moment, and
/// all others below 500 about how it is asked (RFC 9110 §15.5, RFC 6585 §4, RFC 8470 §5.2).
fn judge(answer: &Answer) -> Result<(), Failure> {
    let Some(why) = answer.refusal() else { return Ok(()) };
    Err(match answer.status {
        400 | 413 | 422 => Failure::message(format!("{why} to this message")),
        408 | 425 | 429 | 500.. => Failure::away(why),
        _ => Failure::refused(why),
    })
}
