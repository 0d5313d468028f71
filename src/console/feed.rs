//! Defines what a console shows, a run that goes on or a recording of one, as far as its loop sees a difference; what is drawn of it is the UI's matter.

use crate::{
    action::Scope,
    clock::{Anchor, Moment},
    command::{Command, Playback},
    console::ConsoleError,
    event::{Event, Level},
    model::{Model, Motion, Timeline},
    recording::{Content, News, Player},
    source::Source,
};

/// Where a console's events come from.
pub(super) enum Feed<'a> {
    Live(&'a mut Source),
    Recorded(&'a mut Player),
}

/// What came from a feed.
pub(super) enum Told {
    Events(Vec<Event>),
    Played(News),
}

impl Told {
    /// Whether there is nothing in it that would be missed before the next second is drawn.
    pub(super) fn is_only_figures(&self) -> bool {
        matches!(self, Told::Events(events) if events.iter().all(|event| event.what.is_figure()))
    }
}

impl Feed<'_> {
    /// Which keys mean anything.
    pub(super) fn scope(&self) -> Scope {
        match self {
            Feed::Live(_) => Scope::Live,
            Feed::Recorded(_) => Scope::Replay,
        }
    }

    /// What time it is for the fleet.
    pub(super) fn now(&self) -> Moment {
        match self {
            Feed::Live(_) => Moment::now(),
            Feed::Recorded(player) => player.now(),
        }
    }

    /// What the wall clock says to that.
    pub(super) fn anchor(&self) -> Anchor {
        match self {
            Feed::Live(_) => Anchor::now(),
            Feed::Recorded(player) => player.anchor(),
        }
    }

    /// Waits for what happens next. Cancelling it loses nothing.
    pub(super) async fn next(&mut self) -> Result<Told, ConsoleError> {
        match self {
            Feed::Live(source) => source.next().await.map(Told::Events).ok_or(ConsoleError::EngineEnded),
            Feed::Recorded(player) => Ok(Told::Played(player.next().await)),
        }
    }

    /// Another second is over here. A recording tells its own.
    pub(super) fn second(&self, model: &mut Model) {
        if let Feed::Live(source) = self {
            let now = Moment::now();
            model.look(now);
            source.second(model.live(), &Anchor::now(), now);
        }
    }

    pub(super) async fn command(&self, command: Command) {
        if let Feed::Live(source) = self {
            source.command(command).await;
        }
    }

    /// Does what is wanted of a replay, and tells the user what cannot be done.
    pub(super) fn play(&mut self, playback: Playback, model: &mut Model) {
        if let Feed::Recorded(player) = self {
            let zone = *player.anchor().local(player.now()).offset();
            if let Err(why) = player.command(playback, zone) {
                model.say(Level::Warning, why, Moment::now());
            }
        }
    }

    /// Whether a live run is recorded; `Some(false)` where it was to be, and the disk failed.
    pub(super) fn recording(&self) -> Option<bool> {
        match self {
            Feed::Live(source) => source.is_recording(),
            Feed::Recorded(_) => None,
        }
    }

    /// Whether the news come by themselves, and can wait for the next frame that is due.
    pub(super) fn is_flowing(&self) -> bool {
        match self {
            Feed::Live(_) => true,
            Feed::Recorded(player) => player.motion() == Motion::Playing,
        }
    }

    /// Where the replay is, where it is one.
    pub(super) fn timeline(&self) -> Option<Timeline<'_>> {
        match self {
            Feed::Live(_) => None,
            Feed::Recorded(player) => Some(player.timeline()),
        }
    }
}

/// Lets the model know what came.
pub(super) fn take_in(model: &mut Model, told: Told) {
    match told {
        Told::Events(events) => events.iter().for_each(|event| model.apply(event)),
        Told::Played(News::Entries(entries)) => {
            for entry in entries {
                match entry.content {
                    Content::Event(what) => model.apply(&Event { at: entry.at, what }),
                    Content::Second => model.look(entry.at),
                }
            }
        }
        Told::Played(News::Known(known, at)) => model.restore(*known, at),
        Told::Played(News::Notice(level, text)) => model.say(level, text, Moment::now()),
    }
}
