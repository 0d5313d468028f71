//! Defines what a console shows, a run that goes on or a recording of one, as far as its loop sees a difference; what is drawn of it is the UI's matter.

use crate::{
    action::Scope,
    agent::{Agents, Gone, Here, News as AgentNews, NotDone},
    clock::{Anchor, Moment},
    command::{Command, Playback},
    console::ConsoleError,
    event::{Event, Level, What},
    model::{Model, Motion, Timeline},
    recording::{News, Player},
    run::Live,
};

/// Where a console's events come from.
pub(super) enum Feed<'a> {
    /// With what the wall clock said when the last second was over.
    Live(&'a mut Live, Anchor),
    /// The runs of agents, likewise.
    Attached(&'a mut Agents, Anchor),
    Recorded(&'a mut Player),
}

/// What came from a feed.
pub(super) enum Told {
    Events(Vec<Event>),
    /// That an agent came or went.
    Agent(AgentNews),
    Played(News),
}

impl Told {
    /// Whether another second is over with it.
    pub(super) fn is_second(&self) -> bool {
        matches!(self, Told::Events(events) if events.iter().any(|event| matches!(event.what, What::Second(_))))
    }

    /// Whether there is nothing in it that would be missed before the next second is drawn.
    pub(super) fn is_only_figures(&self) -> bool {
        matches!(self, Told::Events(events) if events.iter().all(|event| event.what.is_figure()))
    }
}

impl Feed<'_> {
    /// Which keys mean anything.
    pub(super) fn scope(&self) -> Scope {
        match self {
            Feed::Live(..) => Scope::Own,
            Feed::Attached(..) => Scope::Attached,
            Feed::Recorded(_) => Scope::Replay,
        }
    }

    /// What time it is for the fleet.
    pub(super) fn now(&self) -> Moment {
        match self {
            Feed::Live(..) => Moment::now(),
            Feed::Attached(agents, _) => agents.now(),
            Feed::Recorded(player) => player.now(),
        }
    }

    /// What the wall clock says to that.
    pub(super) fn anchor(&self) -> Anchor {
        match self {
            Feed::Live(_, anchor) | Feed::Attached(_, anchor) => *anchor,
            Feed::Recorded(player) => player.anchor(),
        }
    }

    /// Waits for what happens next. Cancelling it loses nothing.
    pub(super) async fn next(&mut self) -> Result<Told, ConsoleError> {
        match self {
            Feed::Live(live, anchor) => {
                let events = live.events.next().await.ok_or(ConsoleError::EngineEnded)?;
                events.iter().for_each(|event| event.set_clock(anchor));
                Ok(Told::Events(events))
            }
            Feed::Attached(agents, anchor) => match agents.next().await.ok_or(ConsoleError::AgentsEnded)? {
                AgentNews::Events(events) => {
                    events.iter().for_each(|event| event.set_clock(anchor));
                    Ok(Told::Events(events))
                }
                news => Ok(Told::Agent(news)),
            },
            Feed::Recorded(player) => Ok(Told::Played(player.next().await)),
        }
    }

    /// Gives a command, as far as that is this console's to do; says what was not done.
    pub(super) async fn command(&self, command: Command) -> Vec<NotDone> {
        match self {
            Feed::Live(live, _) => {
                let _ = live.commands.send(command).await; // a run that has ended ends its events
                Vec::new()
            }
            Feed::Attached(agents, _) => agents.give(command).await,
            Feed::Recorded(_) => Vec::new(),
        }
    }

    /// Why no command is this console's to give, where none is.
    pub(super) fn refusal(&self) -> Vec<NotDone> {
        if let Feed::Attached(agents, _) = self { agents.refusal() } else { Vec::new() }
    }

    /// Wants to be who commands.
    pub(super) async fn take_over(&self) {
        if let Feed::Attached(agents, _) = self {
            agents.take_over().await;
        }
    }

    /// Who else commands, where it is not for this console alone to say.
    pub(super) fn others(&self) -> Option<Vec<String>> {
        match self {
            Feed::Attached(agents, _) => Some(agents.others()),
            Feed::Live(..) | Feed::Recorded(_) => None,
        }
    }

    /// The agents that are gone.
    pub(super) fn gone(&self) -> Vec<Gone> {
        match self {
            Feed::Attached(agents, _) => agents.gone(),
            Feed::Live(..) | Feed::Recorded(_) => Vec::new(),
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
    pub(super) fn recording(&self, model: &Model) -> Option<bool> {
        match self {
            Feed::Live(..) | Feed::Attached(..) => model.live().recording(),
            Feed::Recorded(_) => None,
        }
    }

    /// Whether the news come by themselves, and can wait for the next frame that is due.
    pub(super) fn is_flowing(&self) -> bool {
        match self {
            Feed::Live(..) | Feed::Attached(..) => true,
            Feed::Recorded(player) => player.motion() == Motion::Playing,
        }
    }

    /// Where the replay is, where it is one.
    pub(super) fn timeline(&self) -> Option<Timeline<'_>> {
        match self {
            Feed::Live(..) | Feed::Attached(..) => None,
            Feed::Recorded(player) => Some(player.timeline()),
        }
    }
}

/// Lets the model know what came.
pub(super) fn take_in(model: &mut Model, told: Told) {
    match told {
        Told::Events(events) | Told::Agent(AgentNews::Events(events)) => {
            events.iter().for_each(|event| model.apply(event));
        }
        Told::Agent(AgentNews::Here(here)) => {
            let Here { fleet, known, places, gone, at } = *here;
            model.take_in(&fleet, known, &places, gone, at);
        }
        Told::Agent(AgentNews::Gone(places, at)) => model.lose(&places, at),
        Told::Played(News::Entries(entries)) => {
            entries.into_iter().for_each(|entry| model.apply(&entry.event()));
        }
        Told::Played(News::Known(known, at)) => model.restore(*known, at),
        Told::Played(News::Notice(level, text)) => model.say(level, text, Moment::now()),
    }
}
