//! Defines the last words of a console, on the normal screen after it is left: what the fleet looked like; a live view is the UI's matter.

use std::{fmt::Write, time::Duration};

use crate::{event::Badge, model::Model, words::figures};

/// The report, some lines of text.
pub(super) fn text(model: &Model, run: Duration) -> String {
    let known = model.live();
    let totals = known.totals();
    let run = humantime::format_duration(Duration::from_secs(run.as_secs()));
    let mut out = format!("mqfleet: {} after {run}, {} clients:", known.fleet().name, totals.all());
    for badge in Badge::ALL.into_iter().filter(|badge| totals.wearing(*badge) > 0) {
        let _ = write!(out, " {} {}", totals.wearing(badge), badge.word());
    }
    out.push('\n');
    let reconnects: u64 = known.fleet().keys().map(|key| u64::from(known.row(key).reconnects)).sum();
    let _ = write!(out, "reconnects: {reconnects}");
    if let Some(latency) = known.latency() {
        let _ = write!(out, ", latency {}", figures::percentiles(&latency));
    }
    if known.lost() > 0 {
        let _ = write!(out, ", probes lost: {}", known.lost());
    }
    if known.worker_deaths() > 0 {
        let _ = write!(out, ", worker deaths: {}", known.worker_deaths());
    }
    out.push('\n');
    out
}
