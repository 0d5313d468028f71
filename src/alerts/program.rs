//! Defines how a program is given a message: the webhook's body on its standard input, for a limited time.

use std::{
    io,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{io::AsyncWriteExt, time::timeout};

use super::{courier::Failure, message::Message};
use crate::{
    program::{self, Program, Running},
    text::{Scrubbed, ellipsize},
};

/// How long one that is told of an alert may take.
const LIMIT: Duration = Duration::from_secs(15);
/// How long is waited for what it said, once it has ended.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// How long one that was told to end (SIGTERM) may take to do so.
const GRACE: Duration = Duration::from_secs(2);

pub(super) async fn send(program: &Program, receiver: &str, message: &Message) -> Result<(), Failure> {
    let body = message.webhook(receiver).to_string() + "\n";
    let variables = [
        ("MQFLEET_FLEET", message.fleet.to_string()),
        ("MQFLEET_NOTIFIER", receiver.to_owned()),
        ("MQFLEET_STATUS", if message.is_firing() { "firing" } else { "resolved" }.to_owned()),
        ("MQFLEET_ID", message.id.clone()),
    ];
    let (status, words) = give(program, variables, body, LIMIT).await.map_err(Failure::away)?;
    let name = program.name();
    match status.success() {
        true => Ok(()),
        false if words.is_empty() => Err(Failure::away(format!("\"{name}\" failed ({status})"))),
        false => Err(Failure::away(format!("\"{name}\" failed ({status}): {}", ellipsize(&words, 200)))),
    }
}

/// Runs a program that reads `body`, and leaves alone what it leaves behind. Returns how it ended, and the first line
/// that it said on its standard error.
///
/// # Errors
/// Where it could not be run, or did not end within `limit`, in words: it was ended then, with all that it started.
pub(super) async fn give<const N: usize>(
    program: &Program,
    variables: [(&'static str, String); N],
    body: String,
    limit: Duration,
) -> Result<(ExitStatus, Scrubbed), String> {
    let name = program.name();
    let mut command = program.command();
    command.envs(variables).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut running = Running::start(command).map_err(|error| format!("cannot start \"{name}\": {error}"))?;
    match timeout(limit, talk(&mut running, body)).await {
        Ok(Ok(ended)) => Ok(ended),
        Ok(Err(error)) => Err(format!("\"{name}\" cannot be heard: {error}")),
        Err(_) => {
            running.end(GRACE).await;
            Err(format!("\"{name}\" did not end within {} s", limit.as_secs()))
        }
    }
}

async fn talk(running: &mut Running, body: String) -> io::Result<(ExitStatus, Scrubbed)> {
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
    Ok((running.wait().await?, words))
}
