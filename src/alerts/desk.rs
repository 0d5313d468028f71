//! Defines who is told of an alert, when, and in how many messages: grouping, repetition, the brake and the most a day; how a message gets to its receiver is elsewhere.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{
    message::{Message, Told, fingerprint},
    recovery::{Changed, Done, TakenSteps},
};
use crate::{clock::Moment, event::Severity, telling::Notifier, text::Scrubbed};

/// What is kept over a restart, so that nobody is told twice, or too often.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// Alerts that fire, by their rules' names.
    pub firing: BTreeMap<String, Firing>,
    /// By the notifiers' names.
    pub receivers: BTreeMap<String, Receiver>,
    /// Until when nobody is told of a rule's alert, and who wants it so.
    pub muted: BTreeMap<String, (DateTime<Utc>, Scrubbed)>,
    /// When which step of a recovery was taken last.
    pub recovery: TakenSteps,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Firing {
    pub since: DateTime<Utc>,
    #[serde(default)]
    pub severity: Severity,
    /// The most clients at a time.
    pub most: u32,
    /// When whom was told last, by the notifiers' names.
    pub told: BTreeMap<String, DateTime<Utc>>,
    /// Who is on it, where somebody is.
    #[serde(default)]
    pub acknowledged: Option<Scrubbed>,
    /// What its recovery did, the oldest first.
    #[serde(default)]
    pub done: Vec<Done>,
    #[serde(default)]
    pub changed: Vec<Changed>,
}

impl Firing {
    /// The most of what a recovery did that one message tells.
    pub const STEPS: usize = 20;
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Receiver {
    /// When it was told something within the last 24 hours; kept where there is a limit to that.
    pub sent: VecDeque<DateTime<Utc>>,
    /// What waits because there was too much at a time.
    pub held: Vec<Told>,
    /// Messages that were left out since the last one.
    pub left_out: u32,
}

impl Receiver {
    /// Whether it was sent as many messages within 24 hours as it is to have at most.
    fn is_spent(&mut self, most: u32, wall: DateTime<Utc>) -> bool {
        let is_old = |sent: &DateTime<Utc>| (wall - *sent).num_seconds() >= 86_400;
        while self.sent.front().is_some_and(is_old) {
            self.sent.pop_front();
        }
        self.sent.len() >= most as usize
    }
}

/// The end of a second, by both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Second {
    pub at: Moment,
    pub wall: DateTime<Utc>,
}

/// What is decided at the end of a second.
#[derive(Debug, Default)]
pub struct Decided {
    /// Messages, each with the place of its notifier.
    pub messages: Vec<(usize, Message)>,
    /// What an operator should know.
    pub notices: Vec<String>,
}

/// Decides who is told.
#[derive(Debug)]
pub struct Desk {
    fleet: Scrubbed,
    notifiers: Vec<Notifier>,
    pub memory: Memory,
    /// When whom is told of a rule for the first time, by the places of rule and notifier.
    due: BTreeMap<(usize, usize), Moment>,
    /// Those of them that were not told, because there were too many messages within a day.
    left_out: BTreeSet<(usize, usize)>,
    /// When each was told something within the last minute.
    recent: Vec<VecDeque<Moment>>,
}

impl Desk {
    /// The most messages a minute to one receiver; what there is more goes into one.
    pub const BRAKE: usize = 10;
    /// When it is looked again whether there is room for who was left out.
    const AGAIN: Duration = Duration::from_secs(600);
    const MINUTE: Duration = Duration::from_secs(60);

    pub fn new(fleet: Scrubbed, notifiers: Vec<Notifier>, memory: Memory) -> Desk {
        let recent = vec![VecDeque::new(); notifiers.len()];
        Desk { fleet, notifiers, memory, due: BTreeMap::new(), left_out: BTreeSet::new(), recent }
    }

    /// Rule `rule` fires. Who is told of it already is not told again.
    pub fn fires(&mut self, rule: usize, told: &Told, notify: &[usize], second: Second) {
        let firing = self.memory.firing.entry(told.rule.to_string());
        let firing = firing.or_insert_with(|| Firing {
            since: told.since,
            severity: told.severity,
            most: told.clients,
            told: BTreeMap::new(),
            acknowledged: None,
            done: Vec::new(),
            changed: Vec::new(),
        });
        for &to in notify {
            let notifier = &self.notifiers[to];
            if !firing.told.contains_key(notifier.name.as_str()) {
                self.due.insert((rule, to), second.at + notifier.group);
            }
        }
    }

    /// A rule's alert is over; `rule` is its place where the file still has it. Whoever was told that it fires is told,
    /// whether the rule names it still or not, and though it is muted: else it would fire there for ever.
    pub fn is_over(&mut self, rule: Option<usize>, told: Told, second: Second, decided: &mut Decided) {
        let firing = self.memory.firing.remove(told.rule.as_str());
        self.due.retain(|(of, _), _| Some(*of) != rule);
        self.left_out.retain(|(of, _)| Some(*of) != rule);
        let was_told = |name: &str| firing.as_ref().is_some_and(|firing| firing.told.contains_key(name));
        for name in firing.iter().flat_map(|firing| firing.told.keys()) {
            if !self.notifiers.iter().any(|notifier| notifier.name.as_str() == name) {
                decided.notices.push(format!(
                    "{name} was told that {} fires, and cannot be told that it is over: the fleet file has no {name} any more",
                    told.rule
                ));
            }
        }
        for to in 0..self.notifiers.len() {
            let name = self.notifiers[to].name.to_string();
            // Of what it was not told it needs not be told that it is over.
            if was_told(&name) && self.notifiers[to].resolved {
                self.send(to, told.clone(), false, second, decided);
            } else if let Some(receiver) = self.memory.receivers.get_mut(&name) {
                receiver.held.retain(|held| !held.is_same(&told));
            }
        }
    }

    /// Which of these are to be told now that rule `rule` fires, and whether they were told before.
    pub fn is_due(&self, rule: usize, name: &str, notify: &[usize], second: Second) -> Vec<(usize, bool)> {
        let Some(firing) = self.memory.firing.get(name).filter(|_| !self.memory.muted.contains_key(name)) else {
            return Vec::new();
        };
        let is_due = |to: usize| match firing.told.get(self.notifiers[to].name.as_str()) {
            Some(last) => {
                let is_old = |last: DateTime<Utc>| {
                    (second.wall - last).to_std().is_ok_and(|age| age >= self.notifiers[to].repeat)
                };
                let repeat = firing.acknowledged.is_none() && is_old(*last);
                repeat.then_some((to, true))
            }
            None => self.due.get(&(rule, to)).is_some_and(|due| second.at >= *due).then_some((to, false)),
        };
        notify.iter().copied().filter_map(is_due).collect()
    }

    /// Tells receiver `to` that a rule fires.
    pub fn tell(&mut self, rule: usize, to: usize, told: Told, is_repeat: bool, second: Second, decided: &mut Decided) {
        // Who was left out is told when there is room again, if it is still so.
        let again = second.at + Self::AGAIN;
        if self.left_out.contains(&(rule, to)) && self.is_spent(to, second.wall) {
            self.due.insert((rule, to), again);
            return;
        }
        self.due.remove(&(rule, to));
        self.left_out.remove(&(rule, to));
        let name = told.rule.to_string();
        let is_told = self.send(to, told, is_repeat, second, decided);
        if !is_told && !is_repeat {
            self.due.insert((rule, to), again);
            self.left_out.insert((rule, to));
        }
        if let Some(firing) = self.memory.firing.get_mut(&name)
            && (is_told || is_repeat)
        {
            firing.told.insert(self.notifiers[to].name.to_string(), second.wall);
        }
    }

    /// Sends what was held back and may go now: all of it in one message.
    pub fn release(&mut self, second: Second, decided: &mut Decided) {
        for to in 0..self.notifiers.len() {
            let name = self.notifiers[to].name.to_string();
            let is_held = self.memory.receivers.get(&name).is_some_and(|receiver| !receiver.held.is_empty());
            // What was promised waits until there is room.
            if is_held && !self.is_braked(to, second.at) && !self.is_spent(to, second.wall) {
                let held = self.memory.receivers.get_mut(&name).map(|receiver| std::mem::take(&mut receiver.held));
                self.dispatch(to, held.unwrap_or_default(), false, second, decided);
            }
        }
    }

    fn is_spent(&mut self, to: usize, wall: DateTime<Utc>) -> bool {
        let Some(most) = self.notifiers[to].at_most else { return false };
        let receiver = self.memory.receivers.get_mut(self.notifiers[to].name.as_str());
        receiver.is_some_and(|receiver| receiver.is_spent(most, wall))
    }

    fn is_braked(&mut self, to: usize, now: Moment) -> bool {
        let recent = &mut self.recent[to];
        while recent.front().is_some_and(|at| now.since(*at) >= Self::MINUTE) {
            recent.pop_front();
        }
        recent.len() >= Self::BRAKE && !self.notifiers[to].way.groups_by_itself()
    }

    /// Sends one alert, or holds it back; returns whether its receiver will hear of it.
    fn send(&mut self, to: usize, told: Told, is_repeat: bool, second: Second, decided: &mut Decided) -> bool {
        let (is_braked, is_spent) = (self.is_braked(to, second.at), self.is_spent(to, second.wall));
        let receiver = self.memory.receivers.entry(self.notifiers[to].name.to_string()).or_default();
        if !is_braked && (receiver.held.is_empty() || is_spent) {
            // That it is over is told late rather than never: who heard of the alert would see it fire for ever.
            let is_sent = self.dispatch(to, vec![told.clone()], is_repeat, second, decided);
            if is_sent || told.is_firing {
                return is_sent;
            }
        }
        let receiver = self.memory.receivers.entry(self.notifiers[to].name.to_string()).or_default();
        // Of each alert the last word; that one was never told of it.
        let before = receiver.held.iter().position(|held| held.is_same(&told));
        let before = before.map(|place| receiver.held.remove(place));
        let is_untold = !told.is_firing && before.is_some_and(|before| before.is_firing && !is_repeat);
        receiver.held.push(Told { is_untold, ..told });
        true
    }

    fn dispatch(
        &mut self,
        to: usize,
        alerts: Vec<Told>,
        is_repeat: bool,
        second: Second,
        decided: &mut Decided,
    ) -> bool {
        let notifier = &self.notifiers[to];
        let receiver = self.memory.receivers.entry(notifier.name.to_string()).or_default();
        if let Some(most) = notifier.at_most {
            if receiver.is_spent(most, second.wall) {
                receiver.left_out = receiver.left_out.saturating_add(1);
                if receiver.left_out == 1 {
                    decided.notices.push(format!(
                        "{} was sent {most} messages within 24 hours: until the first of them is so old, alerts are not told there (at_most)",
                        notifier.name
                    ));
                }
                return false;
            }
            receiver.sent.push_back(second.wall);
        }
        self.recent[to].push_back(second.at);
        let mut texts: Vec<String> = vec![self.fleet.to_string(), notifier.name.to_string()];
        for alert in &alerts {
            let status = if alert.is_firing { "firing" } else { "resolved" };
            texts.extend([alert.rule.to_string(), status.to_owned(), alert.since.timestamp_millis().to_string()]);
        }
        if is_repeat {
            texts.push(second.wall.timestamp_millis().to_string());
        }
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let left_out = std::mem::take(&mut receiver.left_out);
        let message = Message {
            id: fingerprint(&texts),
            fleet: self.fleet.clone(),
            at: second.wall,
            is_repeat,
            alerts,
            left_out,
        };
        decided.messages.push((to, message));
        true
    }
}
