//! Defines who brings one receiver its messages: one after the other, each try within a limit, again and again until it arrives; how a message is handed over is each way's own matter.

use std::{sync::Arc, time::Duration};

use chrono::Utc;
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::{alertmanager, mail, message::Message, program, spool::Spool, webhook};
use crate::{
    bus::{Bus, Delivery},
    clock::Moment,
    event::{Event, Handled, Handling, Level, What},
    telling::{Notifier, Way},
    text::Scrubbed,
};

/// Why a receiver has not taken a message.
#[derive(Debug)]
pub struct Failure {
    /// In words without any secret.
    pub why: String,
    pub about: About,
}

/// What is wrong, as far as that decides when it is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// The receiver is away or has too much to do, which passes.
    Moment,
    /// It does not take anything from us: somebody has to mend something, here or there.
    Receiver,
    /// It does not take this message. It may take the next one.
    Message,
}

impl Failure {
    pub fn away(why: impl Into<String>) -> Failure {
        Failure { why: why.into(), about: About::Moment }
    }

    pub fn refused(why: impl Into<String>) -> Failure {
        Failure { why: why.into(), about: About::Receiver }
    }

    pub fn message(why: impl Into<String>) -> Failure {
        Failure { why: why.into(), about: About::Message }
    }
}

/// The longest a try takes, whatever the receiver does: below 20 s, with all that ends it.
pub const TRY: Duration = Duration::from_secs(18);
/// How long is waited before the next try, at first; it doubles up to the longest,
const PAUSE: Duration = Duration::from_secs(1);
/// which is this: who is back is not waited for long,
const AWAY: Duration = Duration::from_secs(5);
/// and who takes nothing from us is not asked all the time.
const REFUSED: Duration = Duration::from_secs(300);

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
    timeout(TRY, sending).await.unwrap_or_else(|_| Err(Failure::away(format!("no answer within {} s", TRY.as_secs()))))
}

/// Brings what is in the spool, for as long as it is polled, and counts that.
pub async fn run(notifier: Notifier, spool: Arc<Spool>, delivery: Arc<Delivery>, bus: Bus) {
    let tell = |what| bus.publish([Event { at: Moment::now(), what }]);
    let notice = |level, text: String| tell(What::Notice { level, text: Scrubbed::new(&text) });
    let name = notifier.name.clone();
    let (mut failures, mut pause) = (0u32, PAUSE);
    loop {
        let message = spool.next().await;
        let Err(Failure { why, about }) = hand_over(&notifier, &message).await else {
            debug!(notifier = %name, id = message.id, "sent");
            spool.sent(&message).await;
            delivery.note_told(1);
            for alert in &message.alerts {
                let what = Handled::Told { notifier: name.clone(), is_firing: alert.is_firing };
                tell(What::Handling(Box::new(Handling::of(&alert.rule, what))));
            }
            if std::mem::take(&mut failures) > 0 {
                notice(Level::Info, format!("{name} takes messages again; {} more wait", spool.len()));
            }
            pause = PAUSE;
            continue;
        };
        debug!(notifier = %name, id = message.id, why, ?about, "not sent");
        delivery.note_failed();
        let is_refused = about == About::Message;
        let refusals = spool.failed(&message, is_refused, Utc::now()).await;
        let subject = message.subject();
        let Some(refusals) = refusals else {
            delivery.note_dropped(1);
            notice(Level::Error, format!("gave up a message to {name} after 24 h: {subject}"));
            continue;
        };
        if is_refused {
            // It took the way to there: others may go.
            if refusals == 1 {
                let again = "it is tried again, ever more seldom and for 24 h";
                notice(Level::Error, format!("{name} refuses a message: {why}; {again}: {subject}"));
            }
            continue;
        }
        if failures == 0 {
            let again = if about == About::Receiver { "tried again, ever more seldom" } else { "tried again" };
            let waiting = spool.len();
            notice(Level::Error, format!("cannot tell {name}: {why}; it is {again} ({waiting} waiting)"));
        }
        failures = failures.saturating_add(1);
        let longest = if about == About::Receiver { REFUSED } else { AWAY };
        pause = pause.min(longest);
        sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}
