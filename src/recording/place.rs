//! Defines a time in a recording as people write it, on the command line and in the console; going there is the reader's and the player's matter.

use std::{str::FromStr, time::Duration};

use chrono::{DateTime, FixedOffset, NaiveTime, Utc};

use super::reader::Recording;
use crate::clock::Moment;

/// A time in a recording, as the command line has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Place {
    /// So long after its begin.
    After(Duration),
    /// When the wall clock said so.
    At(DateTime<Utc>),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        if let Ok(time) = DateTime::parse_from_rfc3339(text) {
            return Ok(Place::At(time.to_utc()));
        }
        let parts: Option<Vec<u64>> = text.split(':').map(|part| part.parse().ok()).collect();
        let clock = match parts.as_deref() {
            Some(&[hours, minutes @ 0..60, seconds @ 0..60]) => {
                hours.checked_mul(3_600).and_then(|h| h.checked_add(minutes * 60 + seconds))
            }
            Some(&[minutes, seconds @ 0..60]) => minutes.checked_mul(60).and_then(|m| m.checked_add(seconds)),
            _ => None,
        };
        let after = clock.map(Duration::from_secs).or_else(|| humantime::parse_duration(text).ok());
        after.map(Place::After).ok_or_else(|| {
            "a place is a time after the begin such as 00:01:30 or 90s, or a time such as 2026-11-22T12:00:00Z"
                .to_owned()
        })
    }
}

impl Place {
    /// The moment it stands for.
    pub fn moment(self, recording: &Recording) -> Moment {
        match self {
            Place::After(time) => recording.begin() + time,
            Place::At(wall) => at_wall(recording, wall),
        }
    }
}

/// The moment that an operator means who sees the recording as it was at `here`: `12:03:41` as the
/// screen's clock shows it in `zone` (the first time after `here` or the last before, whichever is in the
/// recording or nearer to it), `90s` after the begin, `+90s` and `-90s` from here, or a date and time.
///
/// # Errors
/// Where it is none of these, in words.
pub fn typed(text: &str, recording: &Recording, here: Moment, zone: FixedOffset) -> Result<Moment, String> {
    let duration = |text: &str| humantime::parse_duration(text.trim()).ok();
    if let Some(by) = text.strip_prefix('+').and_then(duration) {
        return Ok(here + by);
    }
    if let Some(by) = text.strip_prefix('-').and_then(duration) {
        return Ok(here - by);
    }
    if let Some(time) = ["%H:%M:%S", "%H:%M"].iter().find_map(|form| NaiveTime::parse_from_str(text, form).ok()) {
        return Ok(at_clock(recording, time, here, zone));
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(at_wall(recording, time.to_utc()));
    }
    duration(text).map(|after| recording.begin() + after).ok_or_else(|| {
        format!("\"{text}\" is no time: 12:03:41 as the clock shows it, 90s after the begin, +90s or -90s from here")
    })
}

fn at_wall(recording: &Recording, wall: DateTime<Utc>) -> Moment {
    recording.begin() + (wall - recording.header().wall).to_std().unwrap_or_default()
}

fn at_clock(recording: &Recording, time: NaiveTime, here: Moment, zone: FixedOffset) -> Moment {
    const DAY: Duration = Duration::from_secs(86_400);
    let anchor = recording.header().anchor();
    let now = anchor.utc(here).with_timezone(&zone).time();
    let ahead = (time - now).to_std().unwrap_or_else(|_| DAY.saturating_sub((now - time).to_std().unwrap_or_default()));
    let next = here + ahead;
    let last = next - DAY;
    let distance = |at: Moment| recording.begin().since(at).max(at.since(recording.end()));
    if distance(next) <= distance(last) { next } else { last }
}
