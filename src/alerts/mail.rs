//! Defines how a message is sent by mail: SMTP with STARTTLS or TLS, and authentication where it is wanted.

use std::time::{Duration, SystemTime};

use lettre::{
    AsyncSmtpTransport, AsyncTransport, Tokio1Executor,
    message::{
        Mailbox,
        header::{ContentType, HeaderName, HeaderValue},
    },
    transport::smtp::{
        authentication::Credentials,
        client::{Tls, TlsParameters},
    },
};
use tokio::task::spawn_blocking;

use super::{courier::Failure, message::Message};
use crate::{
    credentials,
    telling::{Mail, Security},
    text::Scrubbed,
};

/// For each of the server's answers. A server that says nothing at all is not covered by it: that is the courier's.
const LIMIT: Duration = Duration::from_secs(10);

pub(super) async fn send(mail: &Mail, message: &Message) -> Result<(), Failure> {
    let letter = letter(mail, message)?;
    let tls = match mail.security {
        Security::None => Tls::None,
        security => {
            // It reads the system's certificates, from a disk that may hang.
            let host = mail.host.clone();
            let parameters = spawn_blocking(move || TlsParameters::new(host).map_err(|error| words(&error))).await;
            let parameters = parameters.unwrap_or_else(|error| Err(words(&error))).map_err(Failure::away)?;
            if security == Security::Tls { Tls::Wrapper(parameters) } else { Tls::Required(parameters) }
        }
    };
    let mut server = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&mail.host)
        .port(mail.port)
        .timeout(Some(LIMIT))
        .tls(tls);
    if let Some((username, password)) = &mail.login {
        let secret = credentials::current(password, "password").await.map_err(|why| Failure::away(why.as_str()))?;
        server = server.credentials(Credentials::new(username.clone(), secret.expose().to_owned()));
    }
    let sent = server.build().send(letter).await;
    sent.map(|_| ()).map_err(|error| {
        let why = format!("{}:{}: {}", mail.host, mail.port, words(&error));
        // 530, 534, 535 and 538 are about who asks (RFC 4954 §6). What is said of one message may not hold for the next one.
        match error.status().filter(|_| error.is_permanent()).map(|code| code.to_string()).as_deref() {
            Some("530" | "534" | "535" | "538") => Failure::refused(why),
            Some(_) => Failure::message(why),
            None => Failure::away(why),
        }
    })
}

/// An error with what it comes from: the first alone says little.
fn words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_words = cause.to_string();
        if !words.contains(&cause_words) {
            words = format!("{words}: {cause_words}");
        }
        source = cause.source();
    }
    Scrubbed::new(&words).to_string()
}

fn letter(mail: &Mail, message: &Message) -> Result<lettre::Message, Failure> {
    let address = |text: &str| text.parse::<Mailbox>().map_err(|error| Failure::message(format!("{text}: {error}")));
    let mut letter = lettre::Message::builder()
        .from(address(&mail.from)?)
        .subject(message.subject())
        .message_id(Some(format!("<{}@mqfleet.invalid>", message.id)))
        .date(SystemTime::from(message.at))
        .header(ContentType::TEXT_PLAIN)
        // No vacation note is to answer it (RFC 3834 §5).
        .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned()));
    for to in &mail.to {
        letter = letter.to(address(to)?);
    }
    letter.body(message.text()).map_err(|error| Failure::message(words(&error)))
}
