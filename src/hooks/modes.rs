//! Defines the three ways in which a hook's changes become processes: batch, each, stream; which changes it is told of is decided elsewhere.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use tokio::{
    io::AsyncWriteExt,
    process::ChildStdin,
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};

use super::{
    complaint::Complaint,
    process::{Process, Sayings},
    queue::{Change, Queue},
};
use crate::{
    fleet::ClientKey,
    telling::{Hook, Mode},
};

/// A batch ends when nothing came for so long,
const QUIET: Duration = Duration::from_millis(100);
/// or when it has taken so long, or half of its hook's time limit.
const MOMENT: Duration = Duration::from_secs(2);
/// How long nobody tries to start a program that could not be started, at first and at most.
const RESTART: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Lines that are written at once.
const LINES: usize = 500;

/// Changes that wait unfolded for a hook that is busy.
pub(super) fn patience(mode: Mode) -> usize {
    match mode {
        Mode::Each { .. } => 1_000,
        Mode::Batch | Mode::Stream => 50_000,
    }
}

/// Tells a hook of what comes until nothing comes any more.
pub(super) async fn serve(hook: &Hook, queue: &Queue, mut complaint: Complaint) {
    match hook.mode {
        Mode::Batch => batch(hook, queue, &mut complaint).await,
        Mode::Each { at_most } => each(hook, queue, &mut complaint, at_most).await,
        Mode::Stream => stream(hook, queue, &mut complaint).await,
    }
}

fn unstarted(error: std::io::Error, hook: &Hook) -> String {
    format!("cannot be started: {}: {error}", hook.run.path.to_string_lossy())
}

async fn batch(hook: &Hook, queue: &Queue, complaint: &mut Complaint) {
    while queue.is_any().await {
        let end = Instant::now() + MOMENT.min(hook.timeout / 2);
        let mut process = match Process::start(hook, &queue.words(), None, Sayings::Kept) {
            Ok(process) => process,
            Err(error) => {
                complaint.note(Err(unstarted(error, hook)));
                queue.take(usize::MAX);
                sleep(if queue.is_closed() { Duration::ZERO } else { RESTART.0 }).await;
                continue;
            }
        };
        let input = process.input();
        let feed = async {
            let Some(mut input) = input else { return };
            loop {
                if !write(&mut input, queue, &queue.take(LINES)).await {
                    queue.take(usize::MAX); // it has had enough, and was told of them as far as it wanted to be
                    return;
                }
                let quiet = (Instant::now() + QUIET).min(end);
                if !timeout_at(quiet, queue.is_any()).await.unwrap_or_default() || Instant::now() >= end {
                    return;
                }
            }
        };
        complaint.note(process.finish(feed, hook.timeout).await);
    }
}

/// Writes changes as lines; false where nobody reads any more.
async fn write(input: &mut ChildStdin, queue: &Queue, changes: &[Change]) -> bool {
    let words = queue.words();
    let text: String = changes.iter().map(|change| words.line(change)).collect();
    input.write_all(text.as_bytes()).await.is_ok()
}

async fn each(hook: &Hook, queue: &Queue, complaint: &mut Complaint, at_most: usize) {
    let mut busy: HashSet<ClientKey> = HashSet::new();
    let mut running: JoinSet<(ClientKey, Result<(), String>)> = JoinSet::new();
    loop {
        tokio::select! {
            Some(Ok((client, outcome))) = running.join_next() => {
                busy.remove(&client);
                complaint.note(outcome);
            }
            change = queue.next_other_than(&busy), if running.len() < at_most => {
                let Some(change) = change else { break };
                let (words, client, limit) = (queue.words(), change.step.client, hook.timeout);
                match Process::start(hook, &words, Some(&change), Sayings::Kept) {
                    Ok(mut process) => {
                        let (input, line) = (process.input(), words.line(&change));
                        let feed = async move {
                            if let Some(mut input) = input {
                                let _ = input.write_all(line.as_bytes()).await; // who does not want it has the environment
                            }
                        };
                        busy.insert(client);
                        running.spawn(async move { (client, process.finish(feed, limit).await) });
                    }
                    Err(error) => complaint.note(Err(unstarted(error, hook))),
                }
            }
        }
    }
    while let Some(Ok((_, outcome))) = running.join_next().await {
        complaint.note(outcome);
    }
}

async fn stream(hook: &Hook, queue: &Queue, complaint: &mut Complaint) {
    let mut told: HashMap<ClientKey, Change> = HashMap::new();
    let mut pause = RESTART.0;
    loop {
        let begin = Instant::now();
        let outcome = match Process::start(hook, &queue.words(), None, Sayings::Kept) {
            Ok(mut process) => {
                let input = process.input();
                let feed = async {
                    let Some(mut input) = input else { return };
                    while queue.is_any().await {
                        let changes = queue.take(LINES);
                        told.extend(changes.iter().map(|change| (change.step.client, change.clone())));
                        if !write(&mut input, queue, &changes).await {
                            return;
                        }
                    }
                };
                process.finish(feed, Duration::MAX).await
            }
            Err(error) => Err(unstarted(error, hook)),
        };
        if queue.is_closed() {
            return complaint.note(outcome);
        }
        complaint.note(outcome.and(Err("ended by itself, and is started again".to_owned())));
        pause = if begin.elapsed() >= RESTART.1 { RESTART.0 } else { pause };
        sleep(pause).await;
        pause = (2 * pause).min(RESTART.1);
        // What was in the pipe is lost: the next one is told where everybody is who is still there.
        let fleet = queue.words().fleet;
        let there = told.drain().filter(|(client, _)| fleet.has(*client));
        let mut again: Vec<Change> = there.map(|(_, change)| Change { is_initial: true, ..change }).collect();
        again.sort_by_key(|change| change.at);
        queue.push_first(again);
    }
}
