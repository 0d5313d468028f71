//! Defines what an operator's wishes do to a player: play, speed, steps, and ways to other times; telling what happens there is the player's own matter.

use std::time::Duration;

use chrono::FixedOffset;

use super::{Drive, Player, Seeking, Until};
use crate::{
    clock::Moment,
    command::{Direction, Playback},
    model::{Motion, Stretch},
    recording::{
        place::typed,
        search::{Goal, Search},
    },
};

impl Player {
    /// The speeds that a key steps through.
    const SPEEDS: [f64; 11] = [0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 100.0, 300.0, 1_000.0];
    const SKIP: Duration = Duration::from_secs(10);
    /// What is so many lines ahead is read through; what is further is searched for.
    const NEAR: u64 = 100_000;
    /// Trouble after so much time without any is another trouble.
    const CALM: Duration = Duration::from_secs(10);

    /// Does what the operator wants. Returns what cannot be done, in words.
    ///
    /// # Errors
    /// Where a time that was typed is none.
    pub fn command(&mut self, playback: Playback, zone: FixedOffset) -> Result<(), String> {
        let (now, target) = (self.now(), self.target());
        match playback {
            Playback::PlayOrPause => match self.motion() {
                Motion::Playing => self.stop(now),
                Motion::Paused => self.go_on(now, true),
                Motion::Ended => self.seek(Goal::Time(self.begin), true),
                Motion::Seeking(_) => match (&mut self.seeking, &mut self.drive) {
                    (Some(Seeking { then_play, .. }), _) | (None, Drive::Run(_, then_play)) => *then_play = !*then_play,
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
            Playback::Skip(Direction::Forward) => self.go_to(target + Self::SKIP),
            Playback::Skip(Direction::Backward) => self.go_to(target - Self::SKIP),
            Playback::Event(Direction::Forward, client) => {
                if self.seeking.is_none() {
                    self.drive = Drive::Run(Until::Event(client), false);
                }
            }
            Playback::Event(Direction::Backward, client) => {
                // A key that is held down steps as fast as can be searched.
                if !matches!(self.seeking, Some(Seeking { goal: Goal::EventBefore(..), .. })) {
                    self.seek(Goal::EventBefore(self.mark, client), false);
                }
            }
            Playback::Trouble(direction) => {
                let is_played = |at: &Moment| (self.begin..=self.end).contains(at);
                let found = match direction {
                    Direction::Forward => troubles(&self.stretches).filter(is_played).find(|at| *at > target),
                    Direction::Backward => {
                        troubles(&self.stretches).filter(is_played).take_while(|at| *at < target).last()
                    }
                };
                let where_ = if direction == Direction::Forward { "after" } else { "before" };
                self.go_to(found.ok_or_else(|| format!("no trouble {where_} this"))?);
            }
            Playback::GoTo(text) => self.go_to(typed(&text, &self.recording, target, zone)?),
        }
        Ok(())
    }

    /// Goes to a time, and goes on there as it did here.
    fn go_to(&mut self, at: Moment) {
        let at = at.clamp(self.begin, self.end);
        let was_playing = match (&self.seeking, self.drive) {
            (&Some(Seeking { then_play, .. }), _) | (None, Drive::Run(_, then_play)) => then_play,
            (None, drive) => matches!(drive, Drive::Clock(..)),
        };
        let is_near = self.reading.is_some() && at >= self.now() && self.lines_to(at) <= Self::NEAR;
        if self.seeking.is_none() && is_near {
            self.drive = Drive::Run(Until::Time(at), was_playing);
        } else {
            self.seek(Goal::Time(at), was_playing);
        }
    }

    fn seek(&mut self, goal: Goal, then_play: bool) {
        self.stop(self.now());
        self.seeking = Some(Seeking { search: Search::start(self.recording.clone(), goal), goal, then_play });
    }

    /// The time to which it is on its way, or else the present.
    fn target(&self) -> Moment {
        match (&self.seeking, self.drive) {
            (&Some(Seeking { goal: Goal::Time(at), .. }), _) | (None, Drive::Run(Until::Time(at), _)) => at,
            _ => self.now(),
        }
    }

    /// How many lines must be read from here to a time.
    fn lines_to(&self, at: Moment) -> u64 {
        let ahead = self.recording.segments().iter().skip(self.mark.segment);
        ahead.take_while(|segment| segment.label.first <= at).map(|segment| u64::from(segment.label.lines)).sum()
    }
}

/// The moment before each trouble begins: connections are lost, or clients are slow where none was. What comes first in
/// a stretch may be the loss itself, and whoever goes to a time has seen what happened by then.
fn troubles(stretches: &[Stretch]) -> impl Iterator<Item = Moment> {
    let mut before = Stretch::default();
    let mut last: Option<Moment> = None;
    stretches.iter().filter_map(move |stretch| {
        let is_trouble = stretch.lost > 0 || stretch.slow > 0 && before.slow == 0;
        let is_new = last.is_none_or(|last| stretch.first.since(last) > Player::CALM);
        before = *stretch;
        last = if is_trouble { Some(stretch.last) } else { last };
        (is_trouble && is_new).then(|| stretch.first - Duration::from_micros(1))
    })
}
