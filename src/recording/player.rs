//! Defines the player of a recording: it tells what happened when that is due, at any speed; what an operator's wishes do to it is in `command`, and what is shown of it the console's matter.

mod command;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::sleep_until;

use super::{
    entry::Entry,
    reader::{Ending, Recording},
    search::{Found, Goal, Mark, Search, is_told},
    segment::Label,
};
use crate::{
    clock::{Anchor, Moment},
    event::Level,
    fleet::ClientKey,
    model::{Known, Motion, Stretch, Timeline},
};

/// What a player has to tell.
#[derive(Debug)]
pub enum News {
    /// What happened next; nothing where only the motion has changed.
    Entries(Vec<Entry>),
    /// The player is at another time: all that was known then.
    Known(Box<Known>, Moment),
    /// Something to read, about the replay itself.
    Notice(Level, String),
}

/// A recording that is being played.
#[derive(Debug)]
pub struct Player {
    recording: Arc<Recording>,
    /// What is played of it.
    begin: Moment,
    end: Moment,
    stretches: Vec<Stretch>,
    /// What reads on from here; nothing at first.
    reading: Option<Search>,
    /// Why it cannot be read on, where it cannot.
    broken: Option<String>,
    seeking: Option<Seeking>,
    /// What was read and is not told yet, and the place before that.
    ahead: std::vec::IntoIter<Entry>,
    coming: Mark,
    /// The place right after what was told last.
    mark: Mark,
    /// What the wall clock said to what was told last.
    anchor: Anchor,
    drive: Drive,
    /// Seconds of the recording in a second.
    speed: f64,
}

/// A search for another place that is under way.
#[derive(Debug)]
struct Seeking {
    search: Search,
    goal: Goal,
    /// Whether to play from there.
    then_play: bool,
}

/// What moves the time on.
#[derive(Clone, Copy, Debug)]
enum Drive {
    /// It stands still.
    Paused(Moment),
    /// The clock: it was this time then.
    Clock(Moment, Instant),
    /// As fast as can be read, until an end; and whether to play from there.
    Run(Until, bool),
}

#[derive(Clone, Copy, Debug)]
enum Until {
    Time(Moment),
    /// The next event that the log tells, or that is about this client.
    Event(Option<ClientKey>),
}

impl Player {
    /// The most entries told at once: between two tellings keys are heard.
    const AT_ONCE: usize = 2_048;

    /// A player that plays from `from` (the begin) to `to` (the end) at `speed` (above 0), or is paused at its begin.
    pub fn new(
        recording: Arc<Recording>,
        from: Option<Moment>,
        to: Option<Moment>,
        speed: f64,
        is_paused: bool,
    ) -> Player {
        let end = to.map_or(recording.end(), |to| to.clamp(recording.begin(), recording.end()));
        let begin = from.map_or(recording.begin(), |from| from.clamp(recording.begin(), end));
        Player {
            stretches: recording.segments().iter().map(|segment| stretch(&segment.label)).collect(),
            reading: None,
            broken: None,
            seeking: Some(Seeking {
                search: Search::start(recording.clone(), Goal::Time(begin)),
                goal: Goal::Time(begin),
                then_play: !is_paused,
            }),
            ahead: Vec::new().into_iter(),
            coming: Mark::default(),
            mark: Mark::default(),
            anchor: recording.header().anchor(),
            drive: Drive::Paused(begin),
            speed,
            recording,
            begin,
            end,
        }
    }

    pub fn recording(&self) -> &Arc<Recording> {
        &self.recording
    }

    /// What time it is in the recording.
    pub fn now(&self) -> Moment {
        match self.drive {
            Drive::Paused(at) => at,
            Drive::Run(..) => self.anchor.moment(),
            Drive::Clock(from, since) => {
                // What was not told yet has not happened.
                let next = self.ahead.as_slice().first().map_or(self.anchor.moment(), |entry| entry.at);
                self.clock(from, since).min(next.max(from)).min(self.end)
            }
        }
    }

    /// What the wall clock said then.
    pub fn anchor(&self) -> Anchor {
        self.anchor
    }

    /// Where it is in the recording, but for the time.
    pub fn timeline(&self) -> Timeline<'_> {
        let Player { speed, begin, end, ref stretches, .. } = *self;
        Timeline { motion: self.motion(), speed, begin, end, stretches }
    }

    pub fn motion(&self) -> Motion {
        match (&self.seeking, self.drive) {
            (Some(seeking), _) => Motion::Seeking(Some(seeking.search.percent())),
            (None, Drive::Paused(at)) if at >= self.end => Motion::Ended,
            (None, Drive::Paused(_)) => Motion::Paused,
            (None, Drive::Run(..)) => Motion::Seeking(None),
            (None, Drive::Clock(..)) => Motion::Playing,
        }
    }

    /// Waits for what is to be told next. Cancelling it loses nothing.
    pub async fn next(&mut self) -> News {
        loop {
            if let Some(seeking) = &mut self.seeking {
                let found = seeking.search.next().await;
                return self.arrive(found);
            } else if matches!(self.drive, Drive::Paused(_)) {
                std::future::pending::<()>().await;
            } else if let Some(next) = self.ahead.as_slice().first() {
                if next.at > self.end && matches!(self.drive, Drive::Run(Until::Event(_), _)) {
                    self.stop(self.end);
                    return no_event_after();
                }
                sleep_until(self.due(next.at).into()).await;
                return News::Entries(self.tell());
            } else if let Some(reading) = &mut self.reading {
                let found = reading.next().await;
                if let Some(news) = self.take_in(found) {
                    return news;
                }
            } else {
                self.stop(self.now());
                let why = self.broken.clone().unwrap_or_else(|| "the recording cannot be read".to_owned());
                return News::Notice(Level::Error, why);
            }
        }
    }

    /// When an entry of this time is to be told, or the end is reached before that.
    fn due(&self, next: Moment) -> Instant {
        let Drive::Clock(from, since) = self.drive else { return Instant::now() };
        let distance = next.min(self.end).since(from).as_secs_f64() / self.speed;
        since + Duration::try_from_secs_f64(distance).unwrap_or(Duration::from_secs(86_400))
    }

    /// Where the clock is, whether or not all was told up to there.
    fn clock(&self, from: Moment, since: Instant) -> Moment {
        let passed = since.elapsed().as_secs_f64() * self.speed;
        from + Duration::try_from_secs_f64(passed).unwrap_or(Duration::MAX)
    }

    /// Takes what is due off what was read.
    fn tell(&mut self) -> Vec<Entry> {
        let mut told = Vec::new();
        let now = match self.drive {
            Drive::Clock(from, since) => self.clock(from, since),
            Drive::Run(Until::Time(at), _) => at,
            Drive::Run(Until::Event(_), _) => self.end,
            Drive::Paused(_) => return told,
        };
        while let Some(next) = self.ahead.as_slice().first() {
            if told.len() == Self::AT_ONCE {
                // Faster than it can be told: the time goes on from here.
                if let Drive::Clock(..) = self.drive {
                    self.go_on(self.anchor.moment(), true);
                }
                break;
            }
            if next.at > now.min(self.end) {
                match self.drive {
                    Drive::Run(Until::Time(at), then_play) => self.go_on(at, then_play),
                    Drive::Clock(..) if now < self.end => {}
                    _ => self.stop(self.end),
                }
                break;
            }
            let Some(entry) = self.ahead.next() else { break };
            self.coming.entries += 1;
            self.mark = self.coming;
            self.anchor = entry.anchor();
            let is_there = matches!(self.drive, Drive::Run(Until::Event(client), _) if is_told(&entry, client));
            told.push(entry);
            if is_there {
                self.stop(self.anchor.moment());
                break;
            }
        }
        told
    }

    /// Ends a search for another place.
    fn arrive(&mut self, found: Option<Found>) -> News {
        let Some(Seeking { search, goal, then_play }) = self.seeking.take() else { return News::Entries(Vec::new()) };
        match found {
            // What is before the part that is played is not there.
            Some(Found::Known { at, .. }) if matches!(goal, Goal::EventBefore(..)) && at < self.begin => {
                no_event_before()
            }
            Some(Found::Known { known, mark, at, anchor }) => {
                (self.reading, self.mark, self.anchor) = (Some(search), mark, anchor);
                self.ahead = Vec::new().into_iter();
                let at = at.min(self.end);
                self.go_on(at, then_play && at < self.end);
                News::Known(known, at)
            }
            Some(Found::Failed(error)) => {
                self.broken = Some(error.to_string());
                News::Notice(Level::Error, error.to_string())
            }
            Some(Found::Nothing) => no_event_before(),
            Some(Found::Entries(..)) | None => News::Entries(Vec::new()),
        }
    }

    /// Takes in what was read ahead.
    fn take_in(&mut self, found: Option<Found>) -> Option<News> {
        match found {
            Some(Found::Entries(mark, entries)) => {
                (self.coming, self.ahead) = (mark, entries.into_iter());
                None
            }
            Some(Found::Failed(error)) => {
                // Whoever plays on is told again.
                (self.reading, self.broken) = (None, Some(error.to_string()));
                None
            }
            Some(Found::Known { .. } | Found::Nothing) => None,
            None => {
                let was_event = matches!(self.drive, Drive::Run(Until::Event(_), _));
                self.stop(self.end);
                Some(if was_event { no_event_after() } else { self.last_words() })
            }
        }
    }

    fn last_words(&self) -> News {
        match self.recording.ending() {
            Ending::Orderly => News::Notice(Level::Info, "the end of the recording".to_owned()),
            Ending::Open => News::Notice(
                Level::Warning,
                "the recording ends here, the run did not: it goes on, or died within a second".to_owned(),
            ),
            Ending::Torn { .. } => News::Notice(
                Level::Warning,
                "the recording ends here, the run did not: it died while it wrote, and what followed is torn"
                    .to_owned(),
            ),
        }
    }

    fn go_on(&mut self, at: Moment, is_playing: bool) {
        self.drive = if is_playing { Drive::Clock(at, Instant::now()) } else { Drive::Paused(at) };
    }

    fn stop(&mut self, at: Moment) {
        self.drive = Drive::Paused(at);
    }
}

fn no_event_before() -> News {
    News::Notice(Level::Info, "no such event before this".to_owned())
}

fn no_event_after() -> News {
    News::Notice(Level::Info, "no such event after this: the end".to_owned())
}

fn stretch(label: &Label) -> Stretch {
    let Label { first, last, lost, slow, down, .. } = *label;
    Stretch { first, last, lost, slow, down }
}

#[cfg(test)]
mod tests;
