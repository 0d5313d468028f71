//! Defines what is known of the alerts that fire or are muted, with what is done about each, and where one is among them; when they do is decided elsewhere.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    action::Action,
    clock::Moment,
    event::{Alert, AlertKey, Event, Handled, Handling, Recovery, RecoveryStage, What},
    fleet::{Agent, Places},
    text::Scrubbed,
};

/// What is known of one rule's alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertRow {
    #[serde(skip)]
    agent: Option<Agent>,
    pub rule: Scrubbed,
    /// What fires, and when that was told; `None` where it is muted and does not.
    pub firing: Option<(Moment, Alert)>,
    /// Until when nobody is told, who wants it so, and since when.
    pub muted: Option<(DateTime<Utc>, Scrubbed, Moment)>,
    /// Who is on it, and since when.
    pub acknowledged: Option<(Scrubbed, Moment)>,
    /// Who was told that it fires, and when last.
    pub told: BTreeMap<Scrubbed, Moment>,
    /// What its recovery did, each step with the last that is known of it.
    pub recovery: Vec<(Moment, Recovery)>,
}

impl AlertRow {
    /// The most of what a recovery did that is kept of one alert.
    const STEPS: usize = 20;

    fn new(agent: Option<Agent>, rule: Scrubbed) -> AlertRow {
        let (told, recovery) = Default::default();
        AlertRow { agent, rule, firing: None, muted: None, acknowledged: None, told, recovery }
    }

    pub fn key(&self) -> AlertKey {
        AlertKey::of(self.agent.as_ref(), &self.rule)
    }

    /// The rule's name, with its agent's where there are several.
    pub fn name(&self) -> String {
        Handling {
            agent: self.agent.clone(),
            ..Handling::of(&self.rule, Handled::Acknowledged { by: Scrubbed::default() })
        }
        .name()
    }

    /// What fires.
    pub fn alert(&self) -> Option<&Alert> {
        self.firing.as_ref().map(|(_, alert)| alert)
    }

    pub(super) fn fits(&self, clients: usize) -> bool {
        self.alert().is_none_or(|alert| alert.fits(clients))
    }

    /// It where several agents may have a rule of the same name.
    pub(super) fn moved(self, places: &Places) -> AlertRow {
        let later = places.later;
        AlertRow {
            agent: places.agent.clone(),
            firing: self.firing.map(|(at, alert)| (at.moved(later), alert.moved(places))),
            muted: self.muted.map(|(until, by, at)| (until, by, at.moved(later))),
            acknowledged: self.acknowledged.map(|(by, at)| (by, at.moved(later))),
            told: self.told.into_iter().map(|(name, at)| (name, at.moved(later))).collect(),
            recovery: self.recovery.into_iter().map(|(at, of)| (at.moved(later), of)).collect(),
            rule: self.rule,
        }
    }

    /// The events that tell all of it.
    pub(super) fn events(&self) -> Vec<Event> {
        let firing =
            self.firing.iter().map(|(at, alert)| Event { at: *at, what: What::Alert(Box::new(alert.clone())) });
        let muted = self.muted.iter().map(|(until, by, at)| {
            let (until, by) = (Some(*until), by.clone());
            (*at, Handled::Muted { until, by })
        });
        let acknowledged = self.acknowledged.iter().map(|(by, at)| (*at, Handled::Acknowledged { by: by.clone() }));
        let told = self.told.iter().map(|(notifier, at)| {
            let notifier = notifier.clone();
            (*at, Handled::Told { notifier, is_firing: true })
        });
        let recovery = self.recovery.iter().map(|(at, of)| (*at, Handled::Recovery(of.clone())));
        let handled = muted.chain(acknowledged).chain(told).chain(recovery).map(|(at, what)| {
            let handling = Handling { agent: self.agent.clone(), ..Handling::of(&self.rule, what) };
            Event { at, what: What::Handling(Box::new(handling)) }
        });
        firing.chain(handled).collect()
    }

    fn handle(&mut self, at: Moment, what: &Handled) {
        match what {
            Handled::Told { notifier, is_firing: true } => drop(self.told.insert(notifier.clone(), at)),
            Handled::Told { .. } => {}
            Handled::Muted { until, by } => self.muted = until.map(|until| (until, by.clone(), at)),
            Handled::Acknowledged { by } => self.acknowledged = Some((by.clone(), at)),
            Handled::Recovery(of) => {
                let is_before = |(_, known): &(Moment, Recovery)| known.step == of.step && is_open(known.stage);
                self.recovery.retain(|known| !is_before(known));
                self.recovery.push((at, of.clone()));
                self.recovery.drain(..self.recovery.len().saturating_sub(Self::STEPS));
            }
        }
    }
}

/// Whether there is more to come of a step.
fn is_open(stage: RecoveryStage) -> bool {
    matches!(stage, RecoveryStage::Waiting | RecoveryStage::Started)
}

/// A rule's alert fires, or is over.
pub(super) fn apply(rows: &mut BTreeMap<AlertKey, AlertRow>, at: Moment, alert: &Alert) {
    let key = alert.key();
    if alert.is_firing {
        let row = rows.entry(key).or_insert_with(|| AlertRow::new(alert.agent.clone(), alert.rule.clone()));
        row.firing = Some((at, alert.clone()));
        return;
    }
    let muted = rows.remove(&key).and_then(|row| row.muted);
    if muted.is_some() {
        rows.insert(key, AlertRow { muted, ..AlertRow::new(alert.agent.clone(), alert.rule.clone()) });
    }
}

/// Something is done about a rule's alert. Of one that does not fire it is known that it is muted, and no more.
pub(super) fn handle(rows: &mut BTreeMap<AlertKey, AlertRow>, at: Moment, handling: &Handling) {
    let key = handling.key();
    if let Handled::Muted { until: Some(_), .. } = handling.what {
        rows.entry(key.clone()).or_insert_with(|| AlertRow::new(handling.agent.clone(), handling.rule.clone()));
    }
    let Some(row) = rows.get_mut(&key) else { return };
    if row.firing.is_some() || matches!(handling.what, Handled::Muted { .. }) {
        row.handle(at, &handling.what);
    }
    if row.firing.is_none() && row.muted.is_none() {
        rows.remove(&key);
    }
}

/// What is looked at of the alerts: which one the cursor is on.
#[derive(Debug, Default)]
pub struct Alerts {
    cursor: Option<AlertKey>,
    top: usize,
    /// What was done last about which rule, and when.
    tended: Option<(AlertKey, Action, Moment)>,
}

impl Alerts {
    /// The lines around them: title and heads.
    pub const FRAME: usize = 2;
    /// The lines of each one.
    pub const LINES: usize = 2;

    /// The rule under the cursor, or the one that took its place; the first where it was nowhere yet.
    pub fn cursor<'k>(&self, rows: &'k BTreeMap<AlertKey, AlertRow>) -> Option<(usize, &'k AlertRow)> {
        let place = self.cursor.as_ref().map_or(0, |cursor| rows.keys().take_while(|key| *key < cursor).count());
        let place = place.min(rows.len().checked_sub(1)?);
        rows.values().nth(place).map(|row| (place, row))
    }

    /// The rule that the cursor was put on; `None` where that has gone, and the cursor is on another by itself.
    pub(super) fn chosen(&mut self, rows: &BTreeMap<AlertKey, AlertRow>) -> Option<AlertKey> {
        let chosen = self.cursor.clone().filter(|cursor| rows.contains_key(cursor));
        if chosen.is_none() {
            self.choose(rows);
        }
        chosen
    }

    /// Whether a key is held down that did this about the rule already, which it is to do once.
    pub(super) fn is_held(&mut self, rule: &AlertKey, action: Action, now: Moment, repeat: Duration) -> bool {
        let is_held = self
            .tended
            .as_ref()
            .is_some_and(|(before, what, at)| before == rule && *what == action && now.since(*at) < repeat);
        self.tended = Some((rule.clone(), action, now));
        is_held
    }

    /// Puts the cursor on the rule where it is seen.
    pub(super) fn choose(&mut self, rows: &BTreeMap<AlertKey, AlertRow>) {
        self.cursor = self.cursor(rows).map(|(_, row)| row.key());
    }

    /// The place of the first that is shown, where there is room for so many.
    pub fn top(&self, rows: &BTreeMap<AlertKey, AlertRow>, room: usize) -> usize {
        let place = self.cursor(rows).map_or(0, |(place, _)| place);
        let end = rows.len().saturating_sub(room);
        self.top.min(end).clamp((place + 1).saturating_sub(room), place)
    }

    pub(super) fn step(&mut self, by: isize, rows: &BTreeMap<AlertKey, AlertRow>, room: usize) {
        let place = self.cursor(rows).map_or(0, |(place, _)| place);
        let last = rows.len().saturating_sub(1);
        self.cursor = rows.keys().nth(place.saturating_add_signed(by).min(last)).cloned();
        self.top = self.top(rows, room);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{event::Severity, fleet::Fleet, model::Known};

    fn alert(agent: Option<Agent>, rule: &str, is_firing: bool) -> Alert {
        Alert {
            agent,
            rule: Scrubbed::new(rule),
            severity: Severity::Warning,
            is_firing,
            lasted: Duration::ZERO,
            clients: 1,
            of: 2,
            first: Vec::new(),
            cause: Scrubbed::default(),
        }
    }

    fn known() -> Known {
        Known::new(Fleet::none(), Moment(0))
    }

    fn tell(known: &mut Known, at: u64, agent: Option<Agent>, rule: &str, what: Handled) {
        let handling = Handling { agent, ..Handling::of(&Scrubbed::new(rule), what) };
        known.apply(&Event { at: Moment(at), what: What::Handling(Box::new(handling)) });
    }

    #[test]
    fn an_agent_that_goes_takes_its_own_alerts_with_it_whatever_the_others_are_called() {
        let agent = |number, name| Some(Agent { number, name: Scrubbed::new(name) });
        // Texts of the second begin like those of the first.
        let (eu, more) = (agent(0, "eu"), agent(1, "eu: more"));
        let mut known = known();
        for of in [&eu, &more] {
            let what = What::Alert(Box::new(alert(of.clone(), "presses down", true)));
            known.apply(&Event { at: Moment(1), what });
        }
        assert_eq!(known.alerts().len(), 2, "of one name, and two rules");
        let names: Vec<String> = known.alerts().values().map(AlertRow::name).collect();
        assert_eq!(names, ["eu: presses down", "eu: more: presses down"]);
        known.forget(&Places { agent: eu, ..Places::default() }, Moment(2));
        let left: Vec<AlertKey> = known.alerts().keys().cloned().collect();
        assert_eq!(left, [AlertKey { agent: Some(1), rule: Scrubbed::new("presses down") }]);
        known.forget(&Places { agent: more, ..Places::default() }, Moment(3));
        assert!(known.alerts().is_empty());
    }

    #[test]
    fn what_is_done_is_known_as_long_as_it_matters_and_can_be_told_to_who_comes_late() {
        let mut known = known();
        let text = Scrubbed::new;
        let recovery = |stage| {
            let kind = crate::event::RecoveryKind::Run;
            Handled::Recovery(Recovery { step: 0, kind, stage, clients: 1, text: text("runs x") })
        };
        tell(&mut known, 1, None, "a", Handled::Acknowledged { by: text("ops") });
        assert!(known.alerts().is_empty(), "it does not fire");
        let until = DateTime::from_timestamp(1_800_000_000, 0);
        tell(&mut known, 2, None, "a", Handled::Muted { until, by: text("ops") });
        known.apply(&Event { at: Moment(3), what: What::Alert(Box::new(alert(None, "a", true))) });
        tell(&mut known, 4, None, "a", Handled::Acknowledged { by: text("ops") });
        tell(&mut known, 5, None, "a", Handled::Told { notifier: text("mail.ops"), is_firing: true });
        for stage in [RecoveryStage::Waiting, RecoveryStage::Started, RecoveryStage::Done, RecoveryStage::Started] {
            tell(&mut known, 6, None, "a", recovery(stage));
        }
        let row = known.alerts().values().next().expect("a row").clone();
        let stages: Vec<RecoveryStage> = row.recovery.iter().map(|(_, recovery)| recovery.stage).collect();
        assert_eq!(stages, [RecoveryStage::Done, RecoveryStage::Started], "{row:?}");
        assert!(row.muted.is_some() && row.acknowledged.is_some() && row.told.len() == 1);
        // Who comes late knows the same, by events as by bytes.
        let mut late = Known::new(Fleet::none(), Moment(0));
        known.standings(Moment(9)).for_each(|event| late.apply(&event));
        assert_eq!(late.alerts(), known.alerts());
        let decoded = Known::decode(&known.encode(), Arc::clone(known.fleet())).expect("its own bytes");
        assert_eq!(decoded.alerts(), known.alerts());
        // Once it is over, it is known to be muted and no more.
        known.apply(&Event { at: Moment(10), what: What::Alert(Box::new(alert(None, "a", false))) });
        let row = known.alerts().values().next().expect("a row");
        assert!(row.firing.is_none() && row.muted.is_some() && row.told.is_empty(), "{row:?}");
        tell(&mut known, 11, None, "a", Handled::Muted { until: None, by: Scrubbed::default() });
        assert!(known.alerts().is_empty());
    }

    #[test]
    fn a_key_that_was_meant_for_an_alert_that_is_over_hits_no_other() {
        let mut known = known();
        for rule in ["a", "b", "c"] {
            known.apply(&Event { at: Moment(1), what: What::Alert(Box::new(alert(None, rule, true))) });
        }
        let mut alerts = Alerts::default();
        alerts.choose(known.alerts());
        alerts.step(1, known.alerts(), 2);
        let rule = |key: Option<AlertKey>| key.map(|key| key.rule.to_string());
        assert_eq!(rule(alerts.chosen(known.alerts())).as_deref(), Some("b"));
        known.apply(&Event { at: Moment(2), what: What::Alert(Box::new(alert(None, "b", false))) });
        assert_eq!(alerts.cursor(known.alerts()).map(|(place, row)| (place, row.rule.as_str())), Some((1, "c")));
        assert_eq!(rule(alerts.chosen(known.alerts())), None, "a mute of b would have been one of c");
        assert_eq!(rule(alerts.chosen(known.alerts())).as_deref(), Some("c"), "it is seen by now");
        alerts.step(isize::MIN, known.alerts(), 2);
        assert_eq!(rule(alerts.chosen(known.alerts())).as_deref(), Some("a"));
        alerts.step(isize::MAX, known.alerts(), 1);
        assert_eq!((rule(alerts.chosen(known.alerts())).as_deref(), alerts.top(known.alerts(), 1)), (Some("c"), 1));
    }
}
