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
    let authorization = authorization.map_err(|why| Failure::new(why.as_str()))?;
    let (content_type, body) = ("application/json", body.into_bytes());
    let posted = http::post(Post { url, authorization, content_type, is_gzip: false, body }).await;
    let judged = posted.map_err(Failure::new).and_then(|answer| judge(&answer));
    judged.map_err(|failure| Failure { why: format!("{}: {}", receiver.shown, failure.why), ..failure })
}

/// What an answer means: of 400, 413 and 422 the message itself is the reason (RFC 9110 §15.5).
fn judge(answer: &Answer) -> Result<(), Failure> {
    match (answer.status, answer.refusal()) {
        (_, None) => Ok(()),
        (status @ (400 | 413 | 422), _) => Err(Failure::refused(format!("it answers {status} to this message"))),
        (_, Some(why)) => Err(Failure::new(why)),
    }
}
