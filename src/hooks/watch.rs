//! Defines which steps of clients are changes that somebody is to be told of, and which only lead to where a client is found at the start.

use std::sync::Arc;

use crate::{
    clock::{Anchor, Moment},
    event::{Badge, Event, Reason, State, Transition, What},
    fleet::{Fleet, ProbeKind, Protocol},
    model::{Facts, Known},
    query::{Field, Subject},
    telling::Hook,
};

/// A client's step, as somebody outside has it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Step {
    pub step: Transition,
    /// It is found so, at the start of the run or after its definition changed: where it came from is what was said of it
    /// before that.
    pub is_initial: bool,
}

/// What is known of the fleet, and how each client stands to somebody outside.
pub(super) struct Watch {
    known: Known,
    /// Where each was, of those that are not found yet.
    on_their_way: Vec<Option<State>>,
    pub anchor: Anchor,
}

impl Watch {
    pub fn new(fleet: Arc<Fleet>, anchor: Anchor) -> Watch {
        let on_their_way = vec![Some(State::Off); fleet.clients.len()];
        Watch { known: Known::new(fleet, anchor.moment()), on_their_way, anchor }
    }

    pub fn fleet(&self) -> &Arc<Fleet> {
        self.known.fleet()
    }

    /// Takes an event in, and says whether it is such a step.
    pub fn apply(&mut self, event: &Event) -> Option<Step> {
        self.known.apply(event);
        event.set_clock(&mut self.anchor);
        match &event.what {
            What::Fleet(fleet) => {
                self.on_their_way.resize(fleet.clients.len(), Some(State::Off));
                let gone = self.on_their_way.iter_mut().zip(&fleet.clients).filter(|(_, client)| client.is_gone);
                gone.for_each(|(way, _)| *way = Some(State::Off));
                None
            }
            What::State(step) if self.known.fleet().has(step.client) => self.step(step),
            _ => None,
        }
    }

    fn step(&mut self, step: &Transition) -> Option<Step> {
        let way = &mut self.on_their_way[step.client.index()];
        let changed = Step { step: step.clone(), is_initial: false };
        match (step.reason, *way) {
            // What the fleet file asks for is no news: it is found anew where that leads to.
            (Reason::ConfigurationChanged | Reason::Removed, before) => {
                *way = before.or(Some(step.from));
                None
            }
            (Reason::OperatorConnect | Reason::OperatorReconnect | Reason::OperatorDisconnect, _) => {
                *way = None;
                Some(changed)
            }
            (_, None) => Some(changed),
            (_, Some(from)) => {
                let is_on_its_way = matches!(Badge::of(step.to, step.reason), Badge::Queued | Badge::Connecting);
                if is_on_its_way || step.to == State::Off {
                    return None;
                }
                *way = None;
                Some(Step { step: Transition { from, ..step.clone() }, is_initial: true })
            }
        }
    }

    /// Whether a hook is to be told of a step, which was the last thing that was taken in.
    pub fn is_for(&self, hook: &Hook, at: Moment, Step { step, is_initial }: &Step) -> bool {
        let from = (!is_initial).then_some(step.from);
        let happened = Happened { facts: self.known.facts(step.client, at), step };
        (hook.initial || !is_initial) && hook.is_about(from, step.to) && hook.matching.is_for(&happened)
    }
}

/// A client at its step: with the reason of that very step, also where the row shows an earlier one.
struct Happened<'k> {
    facts: Facts<'k>,
    step: &'k Transition,
}

impl Subject for Happened<'_> {
    fn badge(&self) -> Badge {
        self.facts.badge()
    }

    fn is_down(&self) -> bool {
        self.facts.is_down()
    }

    fn reason(&self) -> Option<Reason> {
        Some(self.step.reason)
    }

    fn protocol(&self) -> Option<Protocol> {
        self.facts.protocol()
    }

    fn scheme(&self) -> Option<&'static str> {
        self.facts.scheme()
    }

    fn probe(&self) -> Option<ProbeKind> {
        self.facts.probe()
    }

    fn text(&self, field: Field, is_it: &mut dyn FnMut(&str) -> bool) -> bool {
        self.facts.text(field, is_it)
    }

    fn label(&self, is_it: &mut dyn FnMut(&str, &str) -> bool) -> bool {
        self.facts.label(is_it)
    }

    fn figure(&self, field: Field) -> Option<u64> {
        self.facts.figure(field)
    }
}
