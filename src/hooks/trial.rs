//! Defines the trial of a hook: it is run once, for a change that is made up, and all that it does is shown.

use std::{io, sync::Arc, time::Instant};

use tokio::io::AsyncWriteExt;

use super::{
    process::{Process, Sayings},
    queue::{Change, Words},
};
use crate::{
    clock::Anchor,
    event::{Reason, State, Transition},
    fleet::{ClientKey, Fleet},
    signals::Signals,
    stdio,
    telling::{Hook, Mode},
    text::Scrubbed,
};

/// What is tried.
#[derive(Debug)]
pub struct Trial {
    pub hook: Hook,
    pub fleet: Arc<Fleet>,
    /// Of which client it is told.
    pub client: ClientKey,
}

/// Runs a hook once, for a change that is made up. Returns how it failed, where it did.
///
/// # Errors
/// Where it cannot be started, or nothing can be printed.
pub async fn run(trial: Trial) -> io::Result<Result<(), String>> {
    let Trial { hook, fleet, client } = trial;
    let anchor = Anchor::now();
    let change = Change { at: anchor.moment(), step: step(&hook, &fleet, client), folded: 0, is_initial: false };
    let words = Words { fleet, anchor };
    let line = words.line(&change);
    let one = matches!(hook.mode, Mode::Each { .. }).then_some(&change);
    let program = Scrubbed::new(&hook.run.path.to_string_lossy());
    stdio::print(&format!("{program} ({}) is told: {line}", hook.mode.name()))?;
    let mut signals = Signals::listen()?;
    let begin = Instant::now();
    let mut process = Process::start(&hook, &words, one, Sayings::Shown)
        .map_err(|error| io::Error::new(error.kind(), format!("{program}: {error}")))?;
    let input = process.input();
    let feed = async {
        if let Some(mut input) = input {
            let _ = input.write_all(line.as_bytes()).await; // it need not read
        }
    };
    let outcome = tokio::select! {
        outcome = process.finish(feed, hook.timeout) => outcome,
        // A signal from the terminal is not sent to its process group: it ends with this program.
        _ = signals.next() => Err("was ended by a signal to mqfleet".to_owned()),
    };
    let took = begin.elapsed().as_millis();
    if outcome.is_ok() {
        stdio::print(&format!("hook {} ended well after {took} ms\n", hook.name))?;
    }
    Ok(outcome)
}

/// A change that the hook is told of, whoever the client is.
fn step(hook: &Hook, fleet: &Fleet, client: ClientKey) -> Transition {
    let from = hook.from.first().copied().unwrap_or(State::Up);
    let lost = if from == State::Backoff { State::Connecting } else { State::Backoff };
    let to = hook.to.first().copied().unwrap_or(lost);
    Transition {
        client,
        endpoint: fleet.client(client).endpoint(),
        from,
        to,
        reason: if to == State::Up { Reason::Connected } else { Reason::ConnectionLost },
        detail: Scrubbed::new("made up by mqfleet hook test"),
        attempt: 1,
        next_try: None,
    }
}
