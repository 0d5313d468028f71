//! Defines who brings one receiver its messages: one after the other, each try within a limit, again and again until it arrives; how a message is handed over is each way's own matter.

use std::{sync::Arc, time::Duration};

use chrono::Utc;
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::{alertmanager, mail, message::Message, program, spool::Spool, webhook};
use crate::{
    bus::{Bus, Delivery},
    clock::Moment,
    event::{Event, Level, What},
    telling::{Notifier, Way},
    text::Scrubbed,
};

/// Why a receiver has not taken a message.
#[derive(Debug)]
pub struct Failure {
    /// In words without any secret.
    pub why: String,
    /// Whether it is about this message, and not about all.
    pub is_refused: bool,
}

impl Failure {
    pub fn new(why: impl Into<String>) -> Failure {
        Failure { why: why.into(), is_refused: false }
    }

    pub fn refused(why: impl Into<String>) -> Failure {
        Failure { why: why.into(), is_refused: true }
    }
}

/// The longest a try takes, whatever the receiver does: below 20 s, with all that ends it.
pub const TRY: Duration = Duration::from_secs(18);
/// How long is waited before the next try, at first and at most: who is back is not waited for long.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));

/// Tries once to hand a message over.
///
/// # Errors
/// Why it was not taken.
pub async fn hand_over(notifier: &Notifier, message: &Message) -> Result<(), Failure> {
    let sending = async {
        match &notifier.way {
            Way::Webhook(webhook) => webhook::send(webhook, &notifier.name, message).await,
            Way::Alertmanager(alertmanager) => alertmanager::send(alertmanager, notifier, message).await,
            Way::Mail(mail) => mail::send(mail, message).await,
            Way::Program(program) => program::send(program, &notifier.name, message).await,
        }
    };
    timeout(TRY, sending).await.unwrap_or_else(|_| Err(Failure::new(format!("no answer within {} s", TRY.as_secs()))))
}

/// Brings what is in the spool, for as long as it is polled, and counts that.
pub async fn run(notifier: Notifier, spool: Arc<Spool>, delivery: Arc<Delivery>, bus: Bus) {
    let notice = |level, text: String| {
        let what = What::Notice { level, text: Scrubbed::new(&text) };
        bus.publish([Event { at: Moment::now(), what }]);
    };
    let name = notifier.name.clone();
    let (mut failures, mut pause) = (0u32, PAUSE.0);
    loop {
        let message = spool.next().await;
        match hand_over(&notifier, &message).await {
            Ok(()) => {
                debug!(notifier = %name, id = message.id, "sent");
                spool.sent(&message);
                delivery.note_told(1);
                if std::mem::take(&mut failures) > 0 {
                    notice(Level::Info, format!("{name} takes messages again; {} more wait", spool.len()));
                }
                pause = PAUSE.0;
            }
            Err(Failure { why, is_refused }) => {
                debug!(notifier = %name, id = message.id, why, "not sent");
                if failures == 0 {
                    let waiting = spool.len();
                    notice(Level::Error, format!("cannot tell {name}: {why}; it is tried again ({waiting} waiting)"));
                }
                failures = failures.saturating_add(1);
                delivery.note_failed();
                if spool.failed(&message, is_refused, Utc::now()) {
                    delivery.note_dropped(1);
                    notice(Level::Error, format!("gave up a message to {name} after 24 h: {}", message.subject()));
                }
                sleep(pause).await;
                pause = (pause * 2).min(PAUSE.1);
            }
        }
    }
}
