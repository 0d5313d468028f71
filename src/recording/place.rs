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
    /// At this time of day, where the recording has it, or else so long after its begin.
    Clock(NaiveTime, Duration),
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
        let after = clock.map(Duration::from_secs);
        let time = ["%H:%M:%S", "%H:%M"].iter().find_map(|form| NaiveTime::parse_from_str(text, form).ok());
        match (time, after) {
            (Some(time), Some(after)) => Ok(Place::Clock(time, after)),
            (_, after) => after.or_else(|| humantime::parse_duration(text).ok()).map(Place::After).ok_or_else(|| {
                "a place is a time of day such as 12:03:41, a time after the begin such as 00:01:30 or 90s, or a time \
                 such as 2026-11-22T12:00:00Z"
                    .to_owned()
            }),
        }
    }
}

impl Place {
    /// The moment it stands for; the begin where that is before it.
    pub fn moment(self, recording: &Recording) -> Moment {
        let begin = recording.begin();
        let zone = *recording.header().anchor().local(begin).offset();
        self.seen_from(begin, recording, zone).unwrap_or(begin)
    }

    /// The moment it stands for to who sees the recording as it was at `here`, with the clock of `zone`; none where
    /// that is before anything.
    fn seen_from(self, here: Moment, recording: &Recording, zone: FixedOffset) -> Option<Moment> {
        match self {
            Place::After(time) => Some(recording.begin() + time),
            Place::Clock(time, after) => {
                let at = at_clock(recording, time, here, zone);
                let is_in = (recording.begin()..=recording.end()).contains(&at);
                Some(if is_in { at } else { recording.begin() + after })
            }
            Place::At(wall) => Some(recording.begin() + (wall - recording.header().wall).to_std().ok()?),
        }
    }
}

/// The moment that an operator means who sees the recording as it was at `here`: a [`Place`], as the command
/// line has it, or `+90s` and `-90s` from here.
///
/// # Errors
/// Where it is none of these, or not in the recording, in words.
pub fn typed(text: &str, recording: &Recording, here: Moment, zone: FixedOffset) -> Result<Moment, String> {
    let duration = |text: &str| humantime::parse_duration(text.trim()).ok();
    if let Some(by) = text.strip_prefix('+').and_then(duration) {
        return Ok(here + by);
    }
    if let Some(by) = text.strip_prefix('-').and_then(duration) {
        return Ok(here - by);
    }
    let place: Place = text.parse().map_err(|_| {
        format!("\"{text}\" is no time: 12:03:41 as the clock shows it, 90s after the begin, +90s or -90s from here")
    })?;
    let at = place.seen_from(here, recording, zone);
    // So long after the begin that there is no more of it is the end; no such time of day is a mistake.
    let is_in = |at: &Moment| matches!(place, Place::After(_)) || (recording.begin()..=recording.end()).contains(at);
    at.filter(is_in).ok_or_else(|| {
        let clock = |at| recording.header().anchor().utc(at).with_timezone(&zone).format("%H:%M:%S").to_string();
        let (begin, end) = (clock(recording.begin()), clock(recording.end()));
        format!("{text} is not in this recording: it goes from {begin} to {end}")
    })
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
