//! Defines the file in which an agent keeps its clients' records over a restart: written every minute and at its end, whole or not at all; what is in a record is the model's matter.

use std::{io, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::time::{MissedTickBehavior, interval};

use super::{client::boot, server::Shared, state::State};
use crate::{clock::Moment, event::Level, model::Known};

const FILE: &str = "records";
/// Raised with every change of what is in it.
const VERSION: u32 = 1;
const EVERY: Duration = Duration::from_secs(60);
/// The records that are read from the run at a time: nothing is published meanwhile.
const AT_ONCE: usize = 1_000;

/// The first line of the file.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    version: u32,
    at: Moment,
    wall: DateTime<Utc>,
    boot: [u8; 16],
}

/// Goes on with the records of the run before. Returns what is wrong with them, in words, where they cannot be used.
pub(super) fn recall(state: &State, known: &mut Known, now: Moment) -> Option<String> {
    let why = match state.read(FILE) {
        Ok(None) => return None,
        Ok(Some(bytes)) => take_in(&bytes, known, now).err()?,
        Err(error) => error.to_string(),
    };
    Some(format!(
        "the clients' records begin anew: those of before cannot be used ({}): {why}",
        state.path(FILE).display()
    ))
}

fn take_in(bytes: &[u8], known: &mut Known, now: Moment) -> Result<(), String> {
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or("its first line is cut off")?;
    let (head, records) = (&bytes[..end], &bytes[end + 1..]);
    let Head { version, at, wall, boot: theirs } =
        serde_json::from_slice(head).map_err(|error| format!("its first line is no head: {error}"))?;
    if version != VERSION {
        return Err(format!("it is of version {version}, and this program reads version {VERSION}"));
    }
    // By the wall clock, where the host was started anew.
    let passed = (Utc::now() - wall).num_microseconds().unwrap_or_default().max(0);
    let later = if theirs == boot() { 0 } else { now.0.cast_signed().wrapping_sub(at.moved(passed).0.cast_signed()) };
    if known.recall(records, later, now) { Ok(()) } else { Err("it is damaged".to_owned()) }
}

/// Keeps them for as long as the run goes on.
pub(super) async fn keep(shared: Arc<Shared>, state: State) {
    let mut turns = interval(EVERY);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    turns.tick().await; // at once
    let mut is_failing = false;
    let mut stop = shared.stop.subscribe();
    loop {
        tokio::select! {
            _ = turns.tick() => {}
            _ = stop.wait_for(Option::is_some) => return,
        }
        let written = write(&shared, &state).await;
        if let (Err(error), false) = (&written, is_failing) {
            shared.notice(Level::Error, &format!("a restart will not know the clients' records: {error}"));
        }
        is_failing = written.is_err();
    }
}

/// Writes them now.
///
/// # Errors
/// Where the disk does not take it.
pub(super) async fn write(shared: &Arc<Shared>, state: &State) -> io::Result<()> {
    let (shared, state) = (shared.clone(), state.clone());
    let write = move || {
        let now = Moment::now();
        let head = Head { version: VERSION, at: now, wall: Utc::now(), boot: boot() };
        let mut bytes = serde_json::to_vec(&head)?;
        bytes.push(b'\n');
        let clients = shared.bus.known(|known| known.rows().len()).unwrap_or_default();
        for first in (0..clients).step_by(AT_ONCE) {
            let records = shared.bus.known(|known| known.encode_records(first..first + AT_ONCE, now));
            bytes.extend(records.unwrap_or_default());
        }
        state.write(FILE, &bytes)
    };
    tokio::task::spawn_blocking(write).await.map_err(io::Error::other)?
}
