//! Defines what a fleet's alerts come to: events go in, and what is to be told of the rules and done about them comes out; it knows no clock but the events' and reaches nobody.

use std::sync::Arc;

use chrono::{DateTime, SubsecRound, Utc};

use super::{
    desk::{Decided, Desk, Firing, Memory, Second},
    message::{Message, Told, clock, fingerprint},
    recovery::{Done, Due, Order, Recoveries},
    rules::{Phase, Watch},
};
use crate::{
    clock::{Anchor, Moment},
    event::{Alert, Event, Handled, Handling, Recovery, RecoveryStage, What},
    fleet::Fleet,
    model::Known,
    telling::Telling,
    text::Scrubbed,
};

/// All rules of a fleet, and who is told.
#[derive(Debug)]
pub struct Book {
    known: Known,
    watches: Vec<Watch>,
    desk: Desk,
    recoveries: Recoveries,
    /// What the last second said of both clocks.
    anchor: Anchor,
    /// Whether a second is over.
    is_begun: bool,
    /// Rules that fire since before the run, and are to be told of as events.
    restored: Vec<usize>,
    /// Those that the file has no longer, and that are over by that.
    removed: Vec<String>,
}

/// What a second comes to.
#[derive(Debug, Default)]
pub struct Outcome {
    pub alerts: Vec<Alert>,
    /// What is told of mutes and recoveries besides.
    pub handlings: Vec<Handling>,
    /// Steps to take, each with what a program is told.
    pub due: Vec<(Due, Option<Message>)>,
    pub decided: Decided,
}

impl Book {
    /// Begins with a fleet of which nothing has happened yet, and with what was told before.
    pub fn new(fleet: Arc<Fleet>, telling: &Telling, mut memory: Memory, now: Moment) -> Book {
        let mut watches: Vec<Watch> = telling.alerts.iter().cloned().map(Watch::new).collect();
        let mut restored = Vec::new();
        let is_rule = |name: &String| telling.alerts.iter().any(|rule| rule.name.as_str() == name);
        memory.muted.retain(|name, _| is_rule(name));
        memory.recovery.retain(|name, _| is_rule(name));
        for done in memory.firing.values_mut().flat_map(|firing| &mut firing.done).filter(|done| done.is_going_on) {
            done.is_going_on = false;
            done.text = Scrubbed::new(&format!("{} (its end is not known: the agent ended)", done.text));
        }
        let removed = memory.firing.keys().filter(|name| !is_rule(name)).cloned().collect();
        for (n, watch) in watches.iter_mut().enumerate() {
            if let Some(firing) = memory.firing.get(watch.rule.name.as_str()) {
                watch.phase = Phase::Firing { since: now, most: firing.most, calm: None };
                watch.began = Some(firing.since);
                restored.push(n);
            }
        }
        let desk = Desk::new(fleet.name.clone(), telling.notifiers.clone(), memory);
        let (known, anchor) = (Known::new(fleet, now), Anchor::new(now, DateTime::default()));
        let recoveries = Recoveries::default();
        Book { known, watches, desk, recoveries, anchor, is_begun: false, restored, removed }
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
            What::Handling(handling) => self.handle(event.at, handling),
            // To the millisecond, as a recording has it: on that the same is decided.
            What::Second(wall) => return Some(self.second(event.at, wall.trunc_subsecs(3))),
            _ => {}
        }
        None
    }

    /// Takes in what is done about an alert.
    fn handle(&mut self, at: Moment, handling: &Handling) {
        let rule = &handling.rule;
        if !self.watches.iter().any(|watch| watch.rule.name == *rule) {
            return;
        }
        let memory = &mut self.desk.memory;
        match &handling.what {
            Handled::Told { .. } => {}
            Handled::Muted { until: Some(until), by } => {
                memory.muted.insert(rule.to_string(), (*until, by.clone()));
            }
            Handled::Muted { until: None, .. } => drop(memory.muted.remove(rule.as_str())),
            Handled::Acknowledged { by } => {
                if let Some(firing) = memory.firing.get_mut(rule.as_str()) {
                    firing.acknowledged = Some(by.clone());
                }
            }
            Handled::Recovery(recovery) => {
                self.recoveries.hear(rule, recovery);
                if let Some(firing) = memory.firing.get_mut(rule.as_str()) {
                    note(firing, recovery, self.anchor.utc(at).trunc_subsecs(3));
                }
            }
        }
    }

    fn second(&mut self, now: Moment, wall: DateTime<Utc>) -> Outcome {
        let mut outcome = Outcome::default();
        let Book { known, watches, desk, recoveries, anchor, is_begun, restored, removed } = self;
        *anchor = Anchor::new(now, wall);
        let second = Second { at: now, wall };
        let fleet = known.fleet().clone();
        let is_first = !std::mem::replace(is_begun, true);
        for name in std::mem::take(removed) {
            let alert = end(desk, &name, second, &mut outcome.decided);
            outcome.alerts.extend(alert);
        }
        for (name, (until, by)) in desk.memory.muted.clone() {
            let rule = Scrubbed::new(&name);
            if until <= wall {
                desk.memory.muted.remove(&name);
                let over = Handled::Muted { until: None, by: Scrubbed::default() };
                outcome.handlings.push(Handling::of(&rule, over));
            } else if is_first {
                outcome.handlings.push(Handling::of(&rule, Handled::Muted { until: Some(until), by }));
            }
        }
        for (n, watch) in watches.iter_mut().enumerate() {
            let notify = watch.rule.notify.clone();
            let was_restored = restored.contains(&n);
            if was_restored {
                watch.restore(now, wall);
            }
            let news = watch.look(known, now, wall);
            let tell = |watch: &Watch, alert: &Alert, firing: Option<&Firing>| Told {
                since: watch.began.unwrap_or(wall - alert.lasted),
                recovery: firing.map(done_words).unwrap_or_default(),
                ..Told::of(alert, &fleet, wall)
            };
            let name = watch.rule.name.to_string();
            match news {
                Some(alert) if alert.is_firing => {
                    desk.fires(n, &tell(watch, &alert, None), &notify, second);
                    outcome.alerts.push(alert);
                }
                Some(alert) => {
                    let told = tell(watch, &alert, desk.memory.firing.get(&name));
                    let changed =
                        desk.memory.firing.get(&name).map(|firing| firing.changed.clone()).unwrap_or_default();
                    desk.is_over(Some(n), told, second, &mut outcome.decided);
                    let undone = recoveries.undo(&watch.rule.name, &changed, known);
                    outcome.due.extend(undone.into_iter().map(|due| (due, None)));
                    outcome.alerts.push(alert);
                }
                None if was_restored => {
                    let alert = watch.now(known, now, wall);
                    desk.fires(n, &tell(watch, &alert, None), &notify, second);
                    outcome.alerts.push(alert);
                    if let Some(firing) = desk.memory.firing.get_mut(&name) {
                        let by = firing.acknowledged.clone().map(|by| Handled::Acknowledged { by });
                        outcome.handlings.extend(by.map(|what| Handling::of(&watch.rule.name, what)));
                        let again = Recoveries::redo(&watch.rule.name, &mut firing.changed, known);
                        outcome.due.extend(again.into_iter().map(|due| (due, None)));
                    }
                }
                None => {}
            }
            if let Phase::Firing { most, .. } = watch.phase
                && let Some(firing) = desk.memory.firing.get_mut(&name)
            {
                firing.most = most;
            }
            recover(watch, known, desk, recoveries, second, &mut outcome, &tell);
            for (to, is_repeat) in desk.is_due(n, &watch.rule.name, &notify, second) {
                let alert = watch.now(known, now, wall);
                let told = tell(watch, &alert, desk.memory.firing.get(&name));
                desk.tell(n, to, told, is_repeat, second, &mut outcome.decided);
            }
        }
        restored.clear();
        desk.release(second, &mut outcome.decided);
        outcome
    }
}

/// Decides which steps of a rule's recovery are to be taken now.
fn recover(
    watch: &mut Watch,
    known: &Known,
    desk: &mut Desk,
    recoveries: &mut Recoveries,
    second: Second,
    outcome: &mut Outcome,
    tell: &impl Fn(&Watch, &Alert, Option<&Firing>) -> Told,
) {
    let Some(fired) = watch.fires_since() else { return };
    let timely = recoveries.timely(&watch.rule, fired, &desk.memory, second);
    if timely.is_empty() {
        return;
    }
    let found = watch.find(known, second.at, second.wall).clients;
    for step in timely {
        let taken = recoveries.take(&watch.rule, step, &found, known, &mut desk.memory, second);
        match taken {
            None => {}
            Some(Err(waiting)) => outcome.handlings.push(waiting),
            Some(Ok(due)) => {
                let is_program = matches!(due.order, Order::Run { .. });
                let message = is_program.then(|| {
                    let alert = watch.now(known, second.at, second.wall);
                    let told = tell(watch, &alert, desk.memory.firing.get(watch.rule.name.as_str()));
                    let id = [known.fleet().name.as_str(), &told.rule, &step.to_string(), &second.wall.to_rfc3339()];
                    let (id, fleet) = (fingerprint(&id), known.fleet().name.clone());
                    Message { id, fleet, at: second.wall, is_repeat: false, alerts: vec![told], left_out: 0 }
                });
                outcome.due.push((due, message));
                // While it runs, nothing else is done.
                if is_program {
                    return;
                }
            }
        }
    }
}

/// Ends an alert whose rule the file has no longer.
fn end(desk: &mut Desk, rule: &str, second: Second, decided: &mut Decided) -> Option<Alert> {
    let firing = desk.memory.firing.get(rule)?;
    let alert = Alert {
        agent: None,
        rule: Scrubbed::new(rule),
        severity: firing.severity,
        is_firing: false,
        lasted: (second.wall - firing.since).to_std().unwrap_or_default(),
        clients: firing.most,
        of: firing.most,
        first: Vec::new(),
        cause: Scrubbed::new("the fleet file does not have this rule any more"),
    };
    let told =
        Told { since: firing.since, recovery: done_words(firing), ..Told::of(&alert, &Fleet::none(), second.wall) };
    desk.is_over(None, told, second, decided);
    Some(alert)
}

/// Notes what a step did, for messages.
fn note(firing: &mut Firing, recovery: &Recovery, at: DateTime<Utc>) {
    if recovery.stage == RecoveryStage::Waiting {
        return;
    }
    let step = recovery.step;
    firing.done.retain(|done| !(done.is_going_on && done.step == step));
    let is_going_on = recovery.stage == RecoveryStage::Started;
    firing.done.push(Done { step, at, text: recovery.text.clone(), is_going_on });
    firing.done.drain(..firing.done.len().saturating_sub(Firing::STEPS));
}

fn done_words(firing: &Firing) -> Vec<Scrubbed> {
    firing.done.iter().map(|done| Scrubbed::new(&format!("{} at {}", done.text, clock(done.at)))).collect()
}
