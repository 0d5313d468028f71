//! Defines who is told of alerts (`[notify.KIND.NAME]`): by a webhook, by Alertmanager, by mail, by a program; how that is done is elsewhere.

use std::time::Duration;

use crate::{
    fleet::{Password, Secret},
    program::Program,
    text::Scrubbed,
};

/// Somebody who is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Notifier {
    /// Its kind and its name, as rules refer to it: `mail.ops`.
    pub name: Scrubbed,
    pub way: Way,
    /// The most messages within 24 hours.
    pub at_most: Option<u32>,
    /// While an alert fires it is told again after this time.
    pub repeat: Duration,
    /// So long is waited for who else is concerned, before it is told.
    pub group: Duration,
    /// Whether it is told when an alert is over.
    pub resolved: bool,
}

impl Notifier {
    pub const REPEAT: Duration = Duration::from_secs(4 * 3_600);
    pub const GROUP: Duration = Duration::from_secs(10);
    /// An Alertmanager takes what it does not hear again for an end.
    pub const REPEAT_TO_ALERTMANAGER: Duration = Duration::from_secs(60);
}

/// How somebody is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Way {
    /// An HTTP request with the body of Alertmanager's webhook, version 4.
    Webhook(Webhook),
    /// An Alertmanager, which tells others.
    Alertmanager(Webhook),
    Mail(Mail),
    /// A program without a shell, which reads the webhook's body from its standard input.
    Program(Program),
}

impl Way {
    /// Whether whoever is told so groups and holds back by itself, and is to hear of everything at once.
    pub fn groups_by_itself(&self) -> bool {
        matches!(self, Way::Alertmanager(_))
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Webhook {
    /// It may hold a token.
    pub url: Secret,
    /// What of it may be shown: without its path.
    pub shown: Scrubbed,
    pub access: Access,
}

/// How a receiver knows who asks.
#[derive(Clone, Debug, PartialEq)]
pub enum Access {
    Open,
    /// Basic authentication (RFC 7617).
    Basic {
        username: String,
        password: Password,
    },
    /// A bearer token (RFC 6750).
    Bearer(Password),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Mail {
    pub host: String,
    pub port: u16,
    pub security: Security,
    /// As RFC 5322 has addresses, such as `mqfleet <mqfleet@example.net>`.
    pub from: String,
    pub to: Vec<String>,
    pub login: Option<(String, Password)>,
}

/// What protects a conversation by SMTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// TLS from the first byte on (`smtps://`).
    Tls,
    /// STARTTLS (RFC 3207), or none at all is sent (`smtp://`).
    StartTls,
    /// Nothing (`tls = "never"`).
    None,
}
