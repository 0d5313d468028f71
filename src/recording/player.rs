//! Defines the player of a recording: it tells what happened when that is due, at any speed, and goes to other times; what is shown of it is the console's matter.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::FixedOffset;
use tokio::time::sleep_until;

use super::{
    entry::Entry,
    place::typed,
    reader::{Ending, Recording},
    search::{Found, Goal, Mark, Search, is_told},
    segment::Label,
};
use crate::{
    clock::{Anchor, Moment},
    command::{Direction, Playback},
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
    /// A search for another place, while it is under way; and whether to play from there.
    seeking: Option<(Search, bool)>,
    /// What was read and is not told yet.
    ahead: std::vec::IntoIter<Entry>,
    /// The place before that.
    mark: Mark,
    /// What the wall clock said to what was told last.
    anchor: Anchor,
    drive: Drive,
    /// Seconds of the recording in a second.
    speed: f64,
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
    /// The speeds that a key steps through.
    const SPEEDS: [f64; 11] = [0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 100.0, 300.0, 1_000.0];
    const SKIP: Duration = Duration::from_secs(10);
    /// The most entries told at once: between two tellings keys are heard.
    const AT_ONCE: usize = 2_048;
    /// What is so many lines ahead is read through; what is further is searched for.
    const NEAR: u64 = 100_000;
    /// Trouble after so much time without any is another trouble.
    const CALM: Duration = Duration::from_secs(10);

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
            seeking: Some((Search::start(recording.clone(), Goal::Time(begin)), !is_paused)),
            ahead: Vec::new().into_iter(),
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
            (Some((search, _)), _) => Motion::Seeking(Some(search.percent())),
            (None, Drive::Paused(at)) if at >= self.end => Motion::Ended,
            (None, Drive::Paused(_)) => Motion::Paused,
            (None, Drive::Run(..)) => Motion::Seeking(None),
            (None, Drive::Clock(..)) => Motion::Playing,
        }
    }

    /// Waits for what is to be told next. Cancelling it loses nothing.
    pub async fn next(&mut self) -> News {
        loop {
            if let Some((search, then_play)) = &mut self.seeking {
                let (found, then_play) = (search.next().await, *then_play);
                return self.arrive(found, then_play);
            } else if matches!(self.drive, Drive::Paused(_)) {
                std::future::pending::<()>().await;
            } else if let Some(next) = self.ahead.as_slice().first() {
                sleep_until(self.due(next.at).into()).await;
                return News::Entries(self.tell());
            } else if let Some(reading) = &mut self.reading {
                let found = reading.next().await;
                if let Some(news) = self.take_in(found) {
                    return news;
                }
            } else {
                self.stop(self.now()); // it could not even be begun
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
            self.mark.entries += 1;
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
    fn arrive(&mut self, found: Option<Found>, then_play: bool) -> News {
        let search = self.seeking.take().map(|(search, _)| search);
        match found {
            Some(Found::Known { known, mark, at, anchor }) => {
                (self.reading, self.mark, self.anchor) = (search, mark, anchor);
                self.ahead = Vec::new().into_iter();
                let at = at.min(self.end);
                self.go_on(at, then_play && at < self.end);
                News::Known(known, at)
            }
            Some(Found::Failed(error)) => News::Notice(Level::Error, error.to_string()),
            Some(Found::Nothing) => News::Notice(Level::Info, "no such event before this".to_owned()),
            Some(Found::Entries(..)) | None => News::Entries(Vec::new()),
        }
    }

    /// Takes in what was read ahead.
    fn take_in(&mut self, found: Option<Found>) -> Option<News> {
        match found {
            Some(Found::Entries(mark, entries)) => {
                (self.mark, self.ahead) = (mark, entries.into_iter());
                None
            }
            Some(Found::Failed(error)) => {
                self.stop(self.anchor.moment());
                Some(News::Notice(Level::Error, error.to_string()))
            }
            Some(Found::Known { .. } | Found::Nothing) => None,
            None => {
                let was_event = matches!(self.drive, Drive::Run(Until::Event(_), _));
                self.stop(self.end);
                Some(if was_event {
                    News::Notice(Level::Info, "no such event after this: the end".to_owned())
                } else {
                    self.last_words()
                })
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

    /// Does what the operator wants. Returns what cannot be done, in words.
    ///
    /// # Errors
    /// Where a time that was typed is none.
    pub fn command(&mut self, playback: Playback, zone: FixedOffset) -> Result<(), String> {
        let now = self.now();
        match playback {
            Playback::PlayOrPause => match self.motion() {
                Motion::Playing => self.stop(now),
                Motion::Paused => self.go_on(now, true),
                Motion::Ended => self.seek(Goal::Time(self.begin), true),
                Motion::Seeking(_) => match (&mut self.seeking, &mut self.drive) {
                    (Some((_, then_play)), _) | (None, Drive::Run(_, then_play)) => *then_play = !*then_play,
                    _ => {}
                },
            },
            Playback::Faster | Playback::Slower => {
                let mut speeds = Self::SPEEDS.into_iter();
                let speed = match playback {
                    Playback::Faster => speeds.find(|speed| *speed > self.speed),
                    _ => speeds.rfind(|speed| *speed < self.speed),
                };
                self.speed = speed.unwrap_or(self.speed);
                if let Drive::Clock(..) = self.drive {
                    self.go_on(now, true);
                }
            }
            Playback::Skip(Direction::Forward) => self.go_to(now + Self::SKIP),
            Playback::Skip(Direction::Backward) => {
                self.go_to(Moment(now.0.saturating_sub(Self::SKIP.as_micros() as u64)));
            }
            Playback::Event(Direction::Forward, client) => {
                if self.seeking.is_none() {
                    self.drive = Drive::Run(Until::Event(client), false);
                }
            }
            Playback::Event(Direction::Backward, client) => self.seek(Goal::EventBefore(self.mark, client), false),
            Playback::Trouble(direction) => {
                let is_played = |at: &Moment| (self.begin..=self.end).contains(at);
                let found = match direction {
                    Direction::Forward => troubles(&self.stretches).filter(is_played).find(|at| *at > now),
                    Direction::Backward => {
                        troubles(&self.stretches).filter(is_played).take_while(|at| *at < now).last()
                    }
                };
                let where_ = if direction == Direction::Forward { "after" } else { "before" };
                self.go_to(found.ok_or_else(|| format!("no trouble {where_} this"))?);
            }
            Playback::GoTo(text) => self.go_to(typed(&text, &self.recording, now, zone)?),
        }
        Ok(())
    }

    /// Goes to a time, and goes on there as it did here.
    fn go_to(&mut self, at: Moment) {
        let at = at.clamp(self.begin, self.end);
        let was_playing = match (&self.seeking, self.drive) {
            (&Some((_, then_play)), _) | (None, Drive::Run(_, then_play)) => then_play,
            (None, drive) => matches!(drive, Drive::Clock(..)),
        };
        if self.seeking.is_none() && at >= self.now() && self.lines_to(at) <= Self::NEAR {
            self.drive = Drive::Run(Until::Time(at), was_playing);
        } else {
            self.seek(Goal::Time(at), was_playing);
        }
    }

    fn seek(&mut self, goal: Goal, then_play: bool) {
        self.stop(self.now());
        self.seeking = Some((Search::start(self.recording.clone(), goal), then_play));
    }

    /// How many lines must be read from here to a time.
    fn lines_to(&self, at: Moment) -> u64 {
        let ahead = self.recording.segments().iter().skip(self.mark.segment);
        ahead.take_while(|segment| segment.label.first <= at).map(|segment| u64::from(segment.label.lines)).sum()
    }
}

fn stretch(label: &Label) -> Stretch {
    let Label { first, last, lost, slow, down, .. } = *label;
    Stretch { first, last, lost, slow, down }
}

/// When each trouble begins: connections are lost, or clients are slow where none was.
fn troubles(stretches: &[Stretch]) -> impl Iterator<Item = Moment> {
    let mut before = Stretch::default();
    let mut last: Option<Moment> = None;
    stretches.iter().filter_map(move |stretch| {
        let is_trouble = stretch.lost > 0 || stretch.slow > 0 && before.slow == 0;
        let is_new = last.is_none_or(|last| stretch.first.since(last) > Player::CALM);
        before = *stretch;
        last = if is_trouble { Some(stretch.last) } else { last };
        (is_trouble && is_new).then_some(stretch.first)
    })
}

#[cfg(test)]
mod tests;
