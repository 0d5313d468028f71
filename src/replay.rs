//! Defines the replay of a recording as lines, at any speed and from any time on; which lines these are is the script's matter, and the recording's own form the reader's.

use std::{
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::sleep_until;

use crate::{
    clock::Moment,
    event::{Event, What},
    headless::{Format, PRINT_AHEAD, Printer, Script},
    recording::{Ending, Entries, Entry, Place, Recording, RecordingError},
    report::{Report, Tally},
    signals::Signals,
    stdio::complain,
};

/// What is replayed, and how.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub format: Format,
    /// Prints a line for each sample; only as JSON.
    pub samples: bool,
    pub speed: Speed,
    pub from: Option<Place>,
    pub to: Option<Place>,
}

/// How fast time passes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// So many seconds of the recording in a second; above 0.
    Times(f64),
    /// As fast as can be read.
    Max,
}

impl std::str::FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Speed, String> {
        if text == "max" {
            return Ok(Speed::Max);
        }
        let number = text.strip_suffix(['x', '×']).unwrap_or(text).parse::<f64>().ok();
        let times = number.filter(|times| (0.001..=1e6).contains(times));
        times
            .map(Speed::Times)
            .ok_or_else(|| "a speed is a number from 0.001x to 1000000x, such as 100x, or max".to_owned())
    }
}

/// Entries up to a time, read so early that at `from` everything is known that was known then.
pub struct Passage {
    entries: Entries,
    to: Option<Moment>,
}

impl Passage {
    pub fn new(recording: &Arc<Recording>, from: Option<Moment>, to: Option<Moment>) -> Passage {
        let entries = match from {
            None => recording.entries(),
            Some(from) => recording.entries_from(from),
        };
        Passage { entries, to }
    }

    /// How many lines were not understood so far.
    pub fn skipped(&self) -> u64 {
        self.entries.skipped()
    }
}

impl Iterator for Passage {
    type Item = Result<Entry, RecordingError>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.entries.next()?;
        let is_over = matches!((&entry, self.to), (Ok(entry), Some(to)) if entry.at > to);
        (!is_over).then_some(entry)
    }
}

/// Says on standard error what may be missing before a recording's begin.
pub fn tell_begin(recording: &Recording) {
    if let Some(error) = recording.unread() {
        complain(&format!("mqfleet: warning: the run may have begun before this: {error}"));
    }
}

/// Says on standard error what is missing from a recording, so that nobody takes its end for the run's.
pub fn tell_ending(recording: &Recording) {
    let end = recording.header().anchor().utc(recording.end()).format("%H:%M:%S%.3f UTC");
    let missing = match recording.ending() {
        Ending::Orderly => return,
        Ending::Open => " without an end of the run: that goes on, or died within a second".to_owned(),
        Ending::Torn { bytes, lost: Some((lines, last)) } => {
            let short = last.since(recording.end()).as_secs_f64();
            format!(": {bytes} bytes after that are torn; {lines} lines, {short:.1} s, are lost")
        }
        Ending::Torn { bytes, lost: None } => format!(": {bytes} bytes after that are torn"),
    };
    complain(&format!("mqfleet: the recording ends at {end}{missing}"));
}

/// Prints a recording as the live run printed it.
///
/// # Errors
/// Where signals cannot be handled, the recording is damaged, or standard output fails other than by
/// being closed.
pub async fn run(recording: &Arc<Recording>, options: Options) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen()?;
    let [from, to] = [options.from, options.to].map(|place| place.map(|place| place.moment(recording)));
    let mut script =
        Script::new(recording.fleet().clone(), options.format, options.samples, recording.header().anchor());
    let printer = Printer::start()?;
    let mut clock = Clock { speed: options.speed, started: None };
    script.start(recording.header().workers);
    let mut passage = Passage::new(recording, from, to);
    let mut next = passage.next();
    let mut last = recording.header().anchor();
    let (mut ended, mut has_begun, mut read) = (false, false, 0u64);
    while let Some(entry) = next {
        let entry = entry?;
        next = passage.next();
        // Samples come a moment after their time: what is told from the begin on is told here as well.
        has_begun |= from.is_none_or(|from| entry.at >= from);
        let is_before = !has_begun;
        let due = if is_before { None } else { clock.due(entry.at) };
        read += 1;
        let is_full = |script: &Script| script.text.len() >= PRINT_AHEAD;
        // Waiting costs more than reading: where nothing is to be waited for, signals are still heard.
        while due.is_some() || is_full(&script) || read.is_multiple_of(4_096) {
            tokio::select! {
                biased;
                signal = signals.next() => {
                    printer.finish(script.text).await?;
                    return Ok(ExitCode::from(128 + signal as u8));
                }
                sent = printer.send(&mut script.text), if !script.text.is_empty() => {
                    if sent.is_err() {
                        return Ok(ExitCode::SUCCESS); // nobody reads any more
                    }
                }
                () = sleep_until(due.unwrap_or_else(Instant::now).into()), if !is_full(&script) => break,
            }
        }
        last = entry.anchor();
        let said = script.text.len();
        script.anchor = last;
        let event = entry.event();
        let is_second = matches!(event.what, What::Second(_));
        // The last word of a run that ended in good order is what it printed at its end.
        if is_second && next.is_none() && to.is_none() && recording.ending() == Ending::Orderly {
            script.end(&event);
            ended = true;
        } else {
            script.event(&event);
        }
        if is_before {
            script.text.truncate(said);
        }
    }
    if !ended {
        script.end(&Event { at: last.moment(), what: What::Second(last.utc(last.moment())) });
    }
    printer.finish(script.text).await?;
    if passage.skipped() > 0 {
        complain(&format!(
            "mqfleet: {} lines of the recording are of a kind that this version does not know",
            passage.skipped()
        ));
    }
    if to.is_none() {
        tell_ending(recording);
    }
    Ok(ExitCode::SUCCESS)
}

/// The summary of a recording, or of a part of it.
///
/// # Errors
/// Where it is damaged.
pub fn report(recording: &Arc<Recording>, from: Option<Place>, to: Option<Place>) -> Result<Report, RecordingError> {
    let [from, to] = [from, to].map(|place| place.map(|place| place.moment(recording)));
    let begin = from.unwrap_or(recording.begin());
    let mut end = begin;
    let mut tally = Tally::new(recording.fleet().clone(), begin);
    for entry in Passage::new(recording, from, to) {
        let entry = entry?;
        end = end.max(entry.at);
        tally.apply(&entry.event());
    }
    if to.is_none() {
        tell_ending(recording);
    }
    Ok(tally.report(to.map_or(end, |to| to.min(end)), &recording.header().anchor()))
}

/// When what happened is told.
struct Clock {
    speed: Speed,
    /// What time it was, there and here, when the replay began.
    started: Option<(Moment, Instant)>,
}

impl Clock {
    fn due(&mut self, at: Moment) -> Option<Instant> {
        let Speed::Times(times) = self.speed else { return None };
        let (there, here) = *self.started.get_or_insert_with(|| (at, Instant::now()));
        Some(here + Duration::try_from_secs_f64(at.since(there).as_secs_f64() / times).unwrap_or(Duration::MAX / 4))
    }
}
