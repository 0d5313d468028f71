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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It is found so: at the start of the run, or after its definition changed.
    Found,
    /// It changed.
    Changed,
}

/// What is known of the fleet, and of each client whether it has been found.
pub(super) struct Watch {
    known: Known,
    is_found: Vec<bool>,
    pub anchor: Anchor,
}

impl Watch {
    pub fn new(fleet: Arc<Fleet>, anchor: Anchor) -> Watch {
        let is_found = vec![false; fleet.clients.len()];
        Watch { known: Known::new(fleet, anchor.moment()), is_found, anchor }
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
                self.is_found.resize(fleet.clients.len(), false);
                let gone = self.is_found.iter_mut().zip(&fleet.clients).filter(|(_, client)| client.is_gone);
                gone.for_each(|(is_found, _)| *is_found = false);
                None
            }
            What::State(step) if self.known.fleet().has(step.client) => self.step(step),
            _ => None,
        }
    }

    fn step(&mut self, step: &Transition) -> Option<Step> {
        let is_found = &mut self.is_found[step.client.index()];
        let was_found = *is_found;
        match step.reason {
            // What the fleet file asks for is no news: it is found anew where that leads to.
            Reason::ConfigurationChanged | Reason::Removed => {
                *is_found = false;
                return None;
            }
            Reason::OperatorConnect | Reason::OperatorReconnect | Reason::OperatorDisconnect => *is_found = true,
            _ if was_found => {}
            _ => {
                let is_on_its_way = matches!(Badge::of(step.to, step.reason), Badge::Queued | Badge::Connecting);
                *is_found = !is_on_its_way && step.to != State::Off;
                return is_found.then_some(Step::Found);
            }
        }
        Some(Step::Changed)
    }

    /// Whether a hook is to be told of a step, which was the last thing that was taken in.
    pub fn is_for(&self, hook: &Hook, kind: Step, at: Moment, step: &Transition) -> bool {
        let from = match kind {
            Step::Found if !hook.initial => return false,
            Step::Found => None,
            Step::Changed => Some(step.from),
        };
        let happened = Happened { facts: self.known.facts(step.client, at), step };
        hook.is_about(from, step.to) && hook.matching.is_for(&happened)
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

    fn reason(&self) -> Reason {
        self.step.reason
    }

    fn protocol(&self) -> Protocol {
        self.facts.protocol()
    }

    fn scheme(&self) -> &'static str {
        self.facts.scheme()
    }

    fn probe(&self) -> ProbeKind {
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
