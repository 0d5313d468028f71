//! Tests of what holds over restarts, mutes and changes of the file, on made-up time.

use super::*;
use crate::event::{Alert, Handled, Handling};

/// The memory as the disk gives it back.
fn kept(run: &Run) -> Memory {
    serde_json::from_slice(&serde_json::to_vec(run.book.memory()).expect("JSON")).expect("a memory")
}

impl Run {
    fn handle(&mut self, what: Handled) {
        let handling = Handling::of(&Scrubbed::new("presses down"), what);
        let event = Event { at: Moment(self.second * 1_000_000), what: What::Handling(Box::new(handling)) };
        assert!(self.book.apply(&event).is_none());
    }

    fn mute(&mut self, seconds: u64) {
        let until = DateTime::from_timestamp(1_800_000_000 + (self.second + seconds) as i64, 0).expect("a time");
        self.handle(Handled::Muted { until: Some(until), by: Scrubbed::new("ops") });
    }
}

#[test]
fn who_is_muted_is_told_when_that_is_over_and_whoever_was_told_before_hears_the_end() {
    let telling = telling(vec![rule(1, 0, 20)], vec![notifier("exec.a")]);
    let mut run = Run::new(&telling);
    run.mute(3_600);
    run.step(1, State::Backoff);
    run.pass(1_000);
    assert_eq!((run.told(), run.alerts.len()), (Vec::new(), 1), "it fires, and nobody is told");
    // A restart does not end it, and says so.
    let mut run = Run::at(&telling, kept(&run), run.second);
    run.step(1, State::Backoff);
    run.pass(2_599);
    assert_eq!(run.told(), []);
    assert!(matches!(&run.handlings[0].1.what, Handled::Muted { until: Some(_), by } if by.as_str() == "ops"));
    run.pass(2);
    assert_eq!(run.told(), [(3_600, '+')]);
    assert!(matches!(run.handlings[1].1.what, Handled::Muted { until: None, .. }), "{:?}", run.handlings);
    run.mute(3_600);
    run.step(1, State::Up);
    run.pass(60);
    assert_eq!(run.told().iter().map(|(_, sign)| *sign).collect::<String>(), "+-");
    // What comes and goes while it is muted is never told.
    run.step(1, State::Backoff);
    run.pass(60);
    run.step(1, State::Up);
    run.pass(60);
    assert_eq!(run.told().len(), 2);
}

#[test]
fn what_is_acknowledged_is_not_repeated_until_it_fires_anew() {
    let telling = telling(vec![rule(1, 0, 20)], vec![notifier("exec.a")]);
    let mut run = Run::new(&telling);
    run.step(1, State::Backoff);
    run.pass(100);
    run.handle(Handled::Acknowledged { by: Scrubbed::new("ops") });
    let mut run = Run { messages: run.messages.clone(), ..Run::at(&telling, kept(&run), run.second) };
    run.step(1, State::Backoff);
    run.pass(30_000);
    assert_eq!(run.told().len(), 1, "{:?}", run.told());
    assert_eq!(run.handlings.len(), 1, "it is told anew that somebody is on it: {:?}", run.handlings);
    run.step(1, State::Up);
    run.pass(60);
    run.step(1, State::Backoff);
    run.pass(15_000);
    assert_eq!(run.told().into_iter().map(|(_, sign)| sign).collect::<String>(), "+-+r");
}

#[test]
fn a_rule_that_the_file_has_no_longer_is_over_for_whoever_was_told() {
    let before = telling(vec![rule(1, 0, 20)], vec![notifier("exec.a"), notifier("exec.b")]);
    let before = Telling { alerts: vec![Rule { notify: vec![0, 1], ..before.alerts[0].clone() }], ..before };
    let mut run = Run::new(&before);
    run.step(1, State::Backoff);
    run.pass(100);
    assert_eq!(run.messages.len(), 2);
    // Renamed, and one of two receivers is gone.
    let renamed = Rule { name: Scrubbed::new("presses"), ..rule(1, 0, 20) };
    let mut again = Run::at(&telling(vec![renamed], vec![notifier("exec.a")]), kept(&run), run.second);
    again.step(1, State::Backoff);
    again.pass(30);
    let over = again.messages.iter().find(|(_, _, message)| !message.is_firing()).expect("its end");
    assert_eq!((over.0, over.1), (run.second + 1, 0));
    let told = &over.2.alerts[0];
    assert_eq!((told.rule.as_str(), told.severity, told.clients), ("presses down", Severity::Critical, 1));
    assert_eq!(told.since, run.messages[0].2.alerts[0].since, "it is the end of the same alert");
    assert!(over.2.text().contains("does not have this rule any more"), "{}", over.2.text());
    let says = "exec.b was told that presses down fires, and cannot be told that it is over";
    assert!(again.notices[0].starts_with(says), "{:?}", again.notices);
    let alert = again.alerts.iter().find(|(_, alert)| !alert.is_firing).expect("an event");
    assert_eq!(alert.1.rule.as_str(), "presses down");
    assert_eq!(again.book.memory().firing.keys().collect::<Vec<_>>(), ["presses"]);
    // A receiver that the rule alone names no longer is told, too.
    let mut left = Run::at(&Telling { alerts: vec![rule(1, 0, 20)], ..before }, kept(&run), run.second);
    left.pass(60);
    let mut whom: Vec<usize> = left.messages.iter().map(|(_, to, _)| *to).collect();
    whom.sort_unstable();
    assert_eq!(whom, [0, 1]);
}

#[test]
fn after_a_restart_it_is_not_over_before_the_fleet_has_come_up_again() {
    let telling = telling(vec![rule(2, 0, 5)], vec![notifier("exec.a")]);
    let mut run = Run::new(&telling);
    (0..3).for_each(|client| run.step(client, State::Backoff));
    run.pass(100);
    assert_eq!(run.told().len(), 1);
    // A broker that says nothing: the connects take their time, and come to nothing again.
    let settled = Run::at(&telling, kept(&run), run.second);
    let book = Book::new(fleet(), &telling, kept(&run), Moment(run.second * 1_000_000));
    let mut again = Run { book, ..settled };
    (0..CLIENTS).for_each(|client| again.step(client, State::Connecting));
    (3..CLIENTS).for_each(|client| again.step(client, State::Up));
    again.pass(60);
    assert_eq!(again.told(), [], "told to be over, and nobody is back");
    (0..3).for_each(|client| again.step(client, State::Backoff));
    again.pass(60);
    assert_eq!(again.told(), []);
    assert_eq!(again.alerts.iter().filter(|(_, alert)| !alert.is_firing).count(), 0);
    (0..2).for_each(|client| again.step(client, State::Up));
    again.pass(10);
    assert_eq!(again.told().into_iter().map(|(_, sign)| sign).collect::<String>(), "-");
}

#[test]
fn an_alert_that_is_older_than_this_host_s_clock_lasts_as_long_as_it_does() {
    let telling = telling(vec![rule(1, 0, 20)], vec![notifier("exec.a")]);
    let mut run = Run::new(&telling);
    run.step(1, State::Backoff);
    run.pass(10_000);
    let memory = kept(&run);
    // The host was started anew ten seconds ago.
    let mut book = Book::new(fleet(), &telling, memory, Moment(10_000_000));
    let wall = DateTime::from_timestamp(1_800_000_000 + 20_001, 0).expect("a time");
    let what = What::Second(wall);
    let outcome = book.apply(&Event { at: Moment(11_000_000), what }).expect("a second");
    let alert: &Alert = &outcome.alerts[0];
    assert_eq!(alert.lasted, Duration::from_secs(20_000));
    let sentence = crate::words::alert::sentence(&fleet(), alert);
    let lasted = crate::words::figures::wait(Duration::from_secs(20_000));
    assert!(sentence.contains(&format!(" for {lasted}")), "{sentence}");
}
