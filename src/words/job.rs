//! Defines how jobs are put in words.

use super::figures;
use crate::event::{Deed, Fate, Job, JobState, Roll, Skip};

/// What a job does, as a sentence of the events: `job #3 reconnects 300 clients, 20 at a time`.
pub fn sentence(job: &Job) -> String {
    let what = format!("job {}: {} {}", job.id, job.deed.name(), figures::clients(job.all()));
    let undoes = job.undoes.map(|id| format!(", to take {id} back")).unwrap_or_default();
    match job.state {
        JobState::Running if job.settled() + job.under_way > 0 => format!("{what} goes on: {}", counts(job)),
        JobState::Running => format!("{what}{undoes}, {}", roll(job.roll)),
        _ => format!("{what} {}: {}", job.state.name(), counts(job)),
    }
}

/// `212 done, 1 failed, 87 not begun`; what there is none of is left out.
fn counts(job: &Job) -> String {
    let counts = [
        (job.done, "done"),
        (job.under_way, "under way"),
        (job.failed, "failed"),
        (job.skipped, "left alone"),
        (job.left, "waiting"),
    ];
    let said = counts.into_iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{} {what}", figures::count(n)));
    let said: Vec<String> = said.collect();
    if said.is_empty() { "nobody is concerned".to_owned() } else { said.join(", ") }
}

/// How far it is: `job #3: reconnect 212 of 300`, and what is the matter where it does not go on.
pub fn progress(job: &Job) -> String {
    let far = format!(
        "job {}: {} {} of {}",
        job.id,
        job.deed.name(),
        figures::count(job.settled()),
        figures::count(job.all())
    );
    if job.state == JobState::Running { far } else { format!("{far}, {}", state(job)) }
}

/// How it stands, in a word or two.
pub fn state(job: &Job) -> String {
    match job.state {
        JobState::Stopped => format!("stopped, {} failed", figures::count(job.failed)),
        state => state.name().to_owned(),
    }
}

/// How it goes about it: `20 at a time, stops after 5 failures`.
pub fn roll(roll: Roll) -> String {
    let (pace, stop) = roll_parts(roll);
    format!("{pace}, {stop}")
}

/// How many at once, and when it stops.
pub fn roll_parts(roll: Roll) -> (String, String) {
    let pace = match roll.at_once {
        0 => "as fast as their gates allow".to_owned(),
        1 => "one at a time".to_owned(),
        n => format!("{} at a time", figures::count(n)),
    };
    let stop = match roll.stop_after {
        0 => "whatever fails".to_owned(),
        1 => "stops at the first failure".to_owned(),
        n => format!("stops after {} failures", figures::count(n)),
    };
    (pace, stop)
}

/// What became of a client.
pub fn fate(deed: Deed, fate: Fate) -> String {
    match fate {
        Fate::UnderWay => "on its way".to_owned(),
        Fate::Done => match deed {
            Deed::Connect => "connected",
            Deed::Reconnect => "reconnected",
            Deed::Disconnect => "disconnected",
        }
        .to_owned(),
        Fate::Failed(reason) => format!("failed: {}", super::reason(reason, "")),
        Fate::Skipped(skip) => format!("left alone: {}", why(skip)),
    }
}

fn why(skip: Skip) -> &'static str {
    match skip {
        Skip::Gone => "not in the fleet any more",
        Skip::There => "it was so already",
        Skip::Changed => "switched by somebody meanwhile",
        Skip::Overtaken => "another order came first",
        Skip::NotBegun => "the job ended before its turn",
    }
}
