//! Defines how a script's job is followed to its end, and what is said of it.

use std::{process::ExitCode, time::Duration};

use tokio::time::{Instant, timeout_at};

use super::ControlError;
use crate::{
    agent::{AgentError, Attached},
    clock::Moment,
    event::{Deed, Fate, Job, JobId, JobState, Skip, What},
    stdio,
    wire::WireError,
    words,
};

/// Waits for the end of the job that was ordered at `asked`, or until it begins with no more. Its exit code is 0 where
/// every client is where it is to be, and 3 where some are not; these are named.
pub(super) async fn follow(
    attached: &mut Attached,
    deed: Deed,
    asked: Moment,
    end: Instant,
    patience: Duration,
) -> Result<ExitCode, ControlError> {
    let mut id: Option<JobId> = None;
    while let Ok(events) = timeout_at(end, attached.events.next()).await {
        let Some(events) = events else { return Err(AgentError::Wire(WireError::Closed).into()) };
        for event in &events {
            attached.known.apply(event);
            let What::Job(news) = &event.what else { continue };
            let job = news.job;
            if id.is_none() && job.deed == deed && job.begun >= asked && job.undoes.is_none() {
                id = Some(job.id);
            }
        }
        let job = id.and_then(|id| attached.known.job(id)).map(|row| row.job);
        if let Some(job) = job.filter(|job| job.ended.is_some() || is_standing(job)) {
            return tell(attached, &job);
        }
    }
    let what = id.map_or("the job".to_owned(), |id| format!("job {id}"));
    stdio::complain(&format!(
        "{what} is not over after {}; it goes on without this",
        humantime::format_duration(patience)
    ));
    Ok(ExitCode::from(3))
}

/// Whether it waits for the operator.
fn is_standing(job: &Job) -> bool {
    matches!(job.state, JobState::Stopped | JobState::Paused) && job.under_way == 0
}

fn tell(attached: &Attached, job: &Job) -> Result<ExitCode, ControlError> {
    stdio::print(&format!("{}\n", words::job::sentence(job)))
        .map_err(|error| ControlError::Agent(AgentError::Wire(error.into())))?;
    let Some(row) = attached.known.job(job.id) else { return Ok(ExitCode::from(3)) };
    let fleet = attached.known.fleet();
    let is_as_wanted = |fate: &Fate| matches!(fate, Fate::Done | Fate::Skipped(Skip::There | Skip::Gone));
    for (client, fate) in row.results().iter().filter(|(_, fate)| !is_as_wanted(fate)) {
        stdio::complain(&format!("{}: {}", fleet.client(*client).name, words::job::fate(job.deed, *fate)));
    }
    let is_whole = job.left == 0 && row.results().iter().all(|(_, fate)| is_as_wanted(fate));
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::from(3) })
}
