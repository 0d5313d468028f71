//! Defines which steps of a recovery are due, and for whom, on whatever time it is told; taking them is `mending`'s matter.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::desk::{Memory, Second};
use crate::{
    clock::Moment,
    command::Command,
    event::{Condition, Handled, Handling, Recovery, RecoveryKind, RecoveryStage, State},
    fleet::{ClientKey, EndpointKey},
    model::Known,
    program::Program,
    telling::{Act, Rule, Step},
    text::Scrubbed,
    words::figures,
};

/// When a step was taken last, kept over restarts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Taken {
    /// Since when the alert lasted for which it was taken,
    alert: DateTime<Utc>,
    /// how often for that one,
    times: u32,
    /// and when last.
    last: DateTime<Utc>,
}

/// What a step did, as messages tell it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Done {
    pub step: u16,
    pub at: DateTime<Utc>,
    pub text: Scrubbed,
    /// Whether it goes on still.
    pub is_going_on: bool,
}

/// What a step made of an endpoint, to be taken back when the alert is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Changed {
    pub step: u16,
    pub endpoint: String,
    /// Connects a second, before and then; `None` where it was put on hold.
    pub rate: Option<(u32, u32)>,
}

/// A step that is to be taken now.
#[derive(Clone, Debug, PartialEq)]
pub struct Due {
    pub rule: Scrubbed,
    pub step: u16,
    pub kind: RecoveryKind,
    pub clients: u32,
    /// What is done, before and after: `reconnect`, `reconnected`.
    pub verb: [&'static str; 2],
    /// To whom or what: `12 clients`.
    pub object: String,
    pub order: Order,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    Commands(Vec<Command>),
    Run { program: Program, timeout: std::time::Duration },
}

impl Due {
    /// How it is told, at a stage and in these words.
    pub fn told(&self, stage: RecoveryStage, text: &str) -> Recovery {
        let &Due { step, kind, clients, .. } = self;
        Recovery { step, kind, stage, clients, text: Scrubbed::new(text) }
    }

    /// What would be done: `would reconnect 12 clients`.
    pub fn would(&self) -> Recovery {
        self.told(RecoveryStage::Started, &format!("would {} {}", self.verb[0], self.object))
    }
}

/// The recoveries of all rules.
#[derive(Debug, Default)]
pub struct Recoveries {
    /// Rules of which a program runs.
    running: BTreeSet<Scrubbed>,
    /// Steps of which it was told that something is in their way.
    waiting: BTreeSet<(Scrubbed, u16)>,
}

impl Recoveries {
    /// Hears what became of a step.
    pub fn hear(&mut self, rule: &Scrubbed, recovery: &Recovery) {
        match recovery.stage {
            RecoveryStage::Started => drop(self.running.insert(rule.clone())),
            RecoveryStage::Done | RecoveryStage::Failed => drop(self.running.remove(rule)),
            RecoveryStage::Waiting => {}
        }
    }

    /// The steps whose time has come, of a rule that fires since `fired`. While a program of it runs, no other step is taken.
    pub fn timely(&self, rule: &Rule, fired: Moment, memory: &Memory, second: Second) -> Vec<u16> {
        let Some(firing) = memory.firing.get(rule.name.as_str()).filter(|_| !self.running.contains(&rule.name)) else {
            return Vec::new();
        };
        let taken = memory.recovery.get(rule.name.as_str());
        let is_timely = |(n, step): &(u16, &Step)| {
            if second.at < fired + step.after {
                return false;
            }
            let Some(taken) = taken.and_then(|taken| taken.get(n)) else { return true };
            let times = if taken.alert == firing.since { taken.times } else { 0 };
            let is_long_ago = |every| (second.wall - taken.last).to_std().is_ok_and(|age| age >= every);
            times < step.at_most && step.every.is_none_or(is_long_ago)
        };
        (0..).zip(&rule.recover).filter(is_timely).map(|(n, _)| n).collect()
    }

    /// Takes a step for the clients of whom the rule's condition is true, but for those whom an operator holds: what is to
    /// be done, or what is in its way, where that was not told yet.
    pub fn take(
        &mut self,
        rule: &Rule,
        step: u16,
        found: &[ClientKey],
        known: &Known,
        memory: &mut Memory,
        second: Second,
    ) -> Option<Result<Due, Handling>> {
        let name = rule.name.as_str();
        let firing = memory.firing.get_mut(name).filter(|_| !found.is_empty())?;
        let act = &rule.recover[usize::from(step)].act;
        match plan(act, found, known) {
            Err(obstacle) => {
                let text = Scrubbed::new(&obstacle);
                let (kind, stage, clients) = (act.kind(), RecoveryStage::Waiting, found.len() as u32);
                let what = Handled::Recovery(Recovery { step, kind, stage, clients, text });
                self.waiting.insert((rule.name.clone(), step)).then(|| Err(Handling::of(&rule.name, what)))
            }
            Ok(Plan { clients, verb, object, order, changes }) => {
                self.waiting.remove(&(rule.name.clone(), step));
                let changed = changes.into_iter().map(|(endpoint, rate)| Changed { step, endpoint, rate });
                firing.changed.extend(changed);
                let alert = firing.since;
                let taken = memory.recovery.entry(name.to_owned()).or_default();
                let before = taken.get(&step).filter(|taken| taken.alert == alert).map_or(0, |taken| taken.times);
                taken.insert(step, Taken { alert, times: before.saturating_add(1), last: second.wall });
                Some(Ok(Due { rule: rule.name.clone(), step, kind: act.kind(), clients, verb, object, order }))
            }
        }
    }

    /// Takes back what the steps made of endpoints, as far as nobody has changed that since: the alert is over.
    pub fn undo(&mut self, rule: &Scrubbed, changed: &[Changed], known: &Known) -> Vec<Due> {
        self.waiting.retain(|(of, _)| of != rule);
        let undo = |Changed { step, endpoint, rate }: &Changed| {
            let (key, gate_rate, is_on_hold) = gate(known, endpoint)?;
            let (kind, command, verb, object) = match *rate {
                None if is_on_hold => {
                    (RecoveryKind::Hold, Command::Release(key), ["release", "released"], endpoint.clone())
                }
                Some((from, to)) if gate_rate == to => {
                    let object = format!("the rate of {endpoint} to {from}/s again");
                    (RecoveryKind::Rate, Command::SetRate(key, from), ["raise", "raised"], object)
                }
                _ => return None,
            };
            let order = Order::Commands(vec![command]);
            Some(Due { rule: rule.clone(), step: *step, kind, clients: 0, verb, object, order })
        };
        changed.iter().rev().filter_map(undo).collect()
    }

    /// What the steps made of endpoints before this program began, once more: it lasts as long as the alert. What the file
    /// says by now is what it becomes again after that.
    pub fn redo(rule: &Scrubbed, changed: &mut [Changed], known: &Known) -> Vec<Due> {
        let redo = |Changed { step, endpoint, rate }: &mut Changed| {
            let (key, gate_rate, is_on_hold) = gate(known, endpoint)?;
            let (kind, command, verb, object) = match rate {
                None if !is_on_hold => (RecoveryKind::Hold, Command::Hold(key), ["hold", "held"], endpoint.clone()),
                Some((from, to)) if gate_rate > *to => {
                    *from = gate_rate;
                    let object = format!("the rate of {endpoint} to {to}/s");
                    (RecoveryKind::Rate, Command::SetRate(key, *to), ["lower", "lowered"], object)
                }
                _ => return None,
            };
            let (order, object) = (Order::Commands(vec![command]), format!("{object}, as before the restart"));
            Some(Due { rule: rule.clone(), step: *step, kind, clients: 0, verb, object, order })
        };
        changed.iter_mut().filter_map(redo).collect()
    }
}

/// What comes of a step.
struct Plan {
    clients: u32,
    verb: [&'static str; 2],
    object: String,
    order: Order,
    /// Endpoints that are on hold by it, or whose rate is another one.
    changes: Vec<(String, Option<(u32, u32)>)>,
}

/// What a step comes to, or what is in its way.
fn plan(act: &Act, found: &[ClientKey], known: &Known) -> Result<Plan, String> {
    let fleet = known.fleet();
    let all = figures::clients(found.len() as u64);
    let mut free: Vec<ClientKey> = found.to_vec();
    free.retain(|key| known.row(*key).state != State::Off && !is_on_hold(known, known.row(*key).endpoint));
    if free.is_empty() {
        return Err(format!("an operator holds {all} of this alert, or has switched them off"));
    }
    if let Act::Failover = act {
        free.retain(|key| fleet.client(*key).endpoints.len() > 1);
        if free.is_empty() {
            return Err(format!("{all} of this alert: none has another endpoint"));
        }
    }
    let clients = free.len() as u32;
    let whom = figures::clients(u64::from(clients));
    let endpoints: BTreeSet<EndpointKey> = free.iter().map(|key| known.row(*key).endpoint).collect();
    let name = |key: EndpointKey| fleet.endpoint(key).name.to_string();
    let names = |keys: &[EndpointKey]| keys.iter().map(|key| name(*key)).collect::<Vec<_>>().join(", ");
    let (verb, object, order, changes) = match act {
        Act::Reconnect => {
            let order = Order::Commands(vec![Command::Reconnect(free)]);
            (["reconnect", "reconnected"], whom, order, Vec::new())
        }
        Act::Failover => {
            let order = Order::Commands(vec![Command::Failover(free)]);
            (["tell", "told"], format!("{whom} to fail over"), order, Vec::new())
        }
        Act::Hold => {
            let keys: Vec<EndpointKey> = endpoints.into_iter().collect();
            let order = Order::Commands(keys.iter().map(|key| Command::Hold(*key)).collect());
            (["hold", "held"], names(&keys), order, keys.iter().map(|key| (name(*key), None)).collect())
        }
        Act::Rate(to) => {
            let rate =
                |key: EndpointKey| known.gate(key).map_or(fleet.endpoint(key).connect_rate, |gate| gate.rate_set);
            let keys: Vec<EndpointKey> = endpoints.into_iter().filter(|key| rate(*key) > *to).collect();
            if keys.is_empty() {
                return Err(format!("no more than {to} a second connect already"));
            }
            let order = Order::Commands(keys.iter().map(|key| Command::SetRate(*key, *to)).collect());
            let changes = keys.iter().map(|key| (name(*key), Some((rate(*key), *to)))).collect();
            (["lower", "lowered"], format!("the rate of {} to {to}/s", names(&keys)), order, changes)
        }
        Act::Run { program, timeout } => {
            let order = Order::Run { program: program.clone(), timeout: *timeout };
            (["run", "ran"], program.name(), order, Vec::new())
        }
    };
    Ok(Plan { clients, verb, object, order, changes })
}

fn is_on_hold(known: &Known, endpoint: EndpointKey) -> bool {
    known.gate(endpoint).is_some_and(|gate| gate.condition == Condition::OnHold)
}

/// The endpoint of that name, with the connects a second that are set, and whether it is on hold.
fn gate(known: &Known, name: &str) -> Option<(EndpointKey, u32, bool)> {
    let fleet = known.fleet();
    let key = fleet.endpoint_keys().find(|key| *fleet.endpoint(*key).name == *name)?;
    let rate = known.gate(key).map_or(fleet.endpoint(key).connect_rate, |gate| gate.rate_set);
    Some((key, rate, is_on_hold(known, key)))
}

/// When which step of which rule was taken, by the rules' names.
pub type TakenSteps = BTreeMap<String, BTreeMap<u16, Taken>>;
