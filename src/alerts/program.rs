//! Defines how a message is given to a program: the webhook's body on its standard input, for a limited time.

use std::{io, process::Stdio, time::Duration};

use tokio::{io::AsyncWriteExt, time::timeout};

use super::{courier::Failure, message::Message};
use crate::{
    program::{self, Program, Running},
    text::{Scrubbed, ellipsize},
};

/// How long it may take.
const LIMIT: Duration = Duration::from_secs(15);
/// How long is waited for what it said, once it has ended.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// How long one that was told to end (SIGTERM) may take to do so.
const GRACE: Duration = Duration::from_secs(2);

pub(super) async fn send(program: &Program, receiver: &str, message: &Message) -> Result<(), Failure> {
    let name = program.name();
    let body = message.webhook(receiver).to_string() + "\n";
    let mut command = program.command();
    command
        .env("MQFLEET_FLEET", message.fleet.as_str())
        .env("MQFLEET_NOTIFIER", receiver)
        .env("MQFLEET_STATUS", if message.is_firing() { "firing" } else { "resolved" })
        .env("MQFLEET_ID", &message.id)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let running = Running::start(command);
    let mut running = running.map_err(|error| Failure::new(format!("cannot start \"{name}\": {error}")))?;
    match timeout(LIMIT, talk(&mut running, body)).await {
        Ok(Ok(None)) => Ok(()),
        Ok(Ok(Some(how))) => Err(Failure::new(format!("\"{name}\" {how}"))),
        Ok(Err(error)) => Err(Failure::new(format!("\"{name}\" cannot be heard: {error}"))),
        Err(_) => {
            running.end(GRACE).await;
            Err(Failure::new(format!("\"{name}\" did not end within {} s", LIMIT.as_secs())))
        }
    }
}

/// Tells it, and returns how it failed, where it did.
async fn talk(running: &mut Running, body: String) -> io::Result<Option<String>> {
    let (stdin, stderr) = (running.child().stdin.take(), running.child().stderr.take());
    let write = async {
        if let Some(mut stdin) = stdin {
            let _ = stdin.write_all(body.as_bytes()).await; // it needs not read all of it
        }
    };
    let mut heard = std::pin::pin!(async { tokio::join!(write, program::words(stderr)).1 });
    // What it left behind may keep its pipes for as long as it likes.
    let words = tokio::select! {
        words = &mut heard => words?,
        ended = running.ended() => {
            ended?;
            timeout(LAST_WORDS, heard).await.unwrap_or_else(|_| Ok(Scrubbed::default()))?
        }
    };
    let status = running.wait().await?;
    Ok(match status.success() {
        true => None,
        false if words.is_empty() => Some(format!("failed ({status})")),
        false => Some(format!("failed ({status}): {}", ellipsize(&words, 200))),
    })
}
