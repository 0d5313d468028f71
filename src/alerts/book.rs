//! Defines what a fleet's alerts come to: events go in, and what is to be told of the rules comes out; it knows no clock but the events' and reaches nobody.

use std::sync::Arc;

use chrono::{DateTime, SubsecRound, Utc};

use super::{
    desk::{Decided, Desk, Memory, Second},
    message::Told,
    rules::{Phase, Watch},
};
use crate::{
    clock::{Anchor, Moment},
    event::{Alert, Event, What},
    fleet::Fleet,
    model::Known,
    telling::Telling,
};

/// All rules of a fleet, and who is told.
#[derive(Debug)]
pub struct Book {
    known: Known,
    watches: Vec<Watch>,
    desk: Desk,
    /// Rules that fire since before the run, and are to be told of as events.
    restored: Vec<usize>,
}

/// What a second comes to.
#[derive(Debug, Default)]
pub struct Outcome {
    pub alerts: Vec<Alert>,
    pub decided: Decided,
}

impl Book {
    /// Begins with a fleet of which nothing has happened yet, and with what was told before.
    pub fn new(fleet: Arc<Fleet>, telling: &Telling, memory: Memory, now: Moment) -> Book {
        let mut watches: Vec<Watch> = telling.alerts.iter().cloned().map(Watch::new).collect();
        let mut restored = Vec::new();
        let mut memory = memory;
        memory.firing.retain(|name, _| telling.alerts.iter().any(|rule| rule.name.as_str() == name));
        for (n, watch) in watches.iter_mut().enumerate() {
            if let Some(firing) = memory.firing.get(watch.rule.name.as_str()) {
                watch.phase = Phase::Firing { since: now, most: firing.most, calm: None };
                watch.began = Some(firing.since);
                restored.push(n);
            }
        }
        let desk = Desk::new(fleet.name.clone(), telling.notifiers.clone(), memory);
        Book { known: Known::new(fleet, now), watches, desk, restored }
    }

    /// What is to be kept over a restart.
    pub fn memory(&self) -> &Memory {
        &self.desk.memory
    }

    /// Takes an event in. The end of a second comes to something.
    pub fn apply(&mut self, event: &Event) -> Option<Outcome> {
        self.known.apply(event);
        match &event.what {
            What::Standing(standing) => {
                let flaps = self.known.row(standing.client).record.flaps();
                self.watches.iter_mut().for_each(|watch| watch.begin(standing.client, flaps));
            }
            What::Fleet(_) => self.watches.iter_mut().for_each(Watch::forget_members),
            // To the millisecond, as a recording has it: on that the same is decided.
            What::Second(wall) => return Some(self.second(event.at, wall.trunc_subsecs(3))),
            _ => {}
        }
        None
    }

    fn second(&mut self, now: Moment, wall: DateTime<Utc>) -> Outcome {
        let mut outcome = Outcome::default();
        let Book { known, watches, desk, restored } = self;
        let (anchor, second) = (Anchor::new(now, wall), Second { at: now, wall });
        let fleet = known.fleet().clone();
        for (n, watch) in watches.iter_mut().enumerate() {
            let notify = watch.rule.notify.clone();
            let was_restored = restored.contains(&n);
            if was_restored {
                watch.restore(now, wall);
            }
            let began = watch.began;
            let news = watch.look(known, now, wall);
            let told = |watch: &Watch, alert: &Alert| Told {
                since: watch.began.or(began).unwrap_or_else(|| anchor.utc(alert.since)),
                ..Told::of(alert, &fleet, &anchor, wall)
            };
            match news {
                Some(alert) if alert.is_firing => {
                    desk.fires(n, &told(watch, &alert), &notify, second);
                    outcome.alerts.push(alert);
                }
                Some(alert) => {
                    desk.is_over(n, told(watch, &alert), &notify, second, &mut outcome.decided);
                    outcome.alerts.push(alert);
                }
                None if was_restored => {
                    let alert = watch.now(known, now, wall);
                    desk.fires(n, &told(watch, &alert), &notify, second);
                    outcome.alerts.push(alert);
                }
                None => {}
            }
            if let Phase::Firing { most, .. } = watch.phase
                && let Some(firing) = desk.memory.firing.get_mut(watch.rule.name.as_str())
            {
                firing.most = most;
            }
            for (to, is_repeat) in desk.is_due(n, &watch.rule.name, &notify, second) {
                let alert = watch.now(known, now, wall);
                desk.tell(n, to, told(watch, &alert), is_repeat, second, &mut outcome.decided);
            }
        }
        restored.clear();
        desk.release(second, &mut outcome.decided);
        outcome
    }
}
