//! Tests of which steps of a recovery are taken when and for whom, and of what is told of them, on made-up time.

use super::*;
use crate::{
    command::Command,
    event::{Condition as GateCondition, Gate, Handled, Handling, Recovery, RecoveryStage},
    telling::{Act, Step},
};

fn step(act: Act, after: u64) -> Step {
    Step { act, after: Duration::from_secs(after), every: None, at_most: 1 }
}

fn program() -> Act {
    let program = Program { path: "/bin/mend".into(), arguments: Vec::new(), folder: PathBuf::new() };
    Act::Run { program, timeout: Step::TIMEOUT }
}

/// A rule that fires after 10 s, and is over after 20.
fn recovering(recover: Vec<Step>) -> Telling {
    telling(vec![Rule { recover, ..rule(1, 10, 20) }], vec![notifier("exec.a")])
}

impl Run {
    fn gate(&mut self, condition: GateCondition, rate_set: u32) {
        let (rate, eta) = (rate_set, Duration::ZERO);
        let gate = Gate { condition, waiting: 0, in_flight: 0, rate_set, rate, eta };
        self.tell(What::Gate(EndpointKey(0), gate));
    }

    fn tell(&mut self, what: What) {
        let event = Event { at: Moment(self.second * 1_000_000), what };
        assert!(self.book.apply(&event).is_none());
    }

    fn hear(&mut self, step: u16, stage: RecoveryStage, text: &str) {
        let kind = crate::event::RecoveryKind::Run;
        let recovery = Recovery { step, kind, stage, clients: 1, text: Scrubbed::new(text) };
        self.tell(What::Handling(Box::new(Handling::of(&Scrubbed::new("presses down"), Handled::Recovery(recovery)))));
    }

    /// When what was done, in words.
    fn done(&self) -> Vec<(u64, String)> {
        self.due.iter().map(|(second, due)| (*second, format!("{} {}", due.verb[0], due.object))).collect()
    }
}

#[test]
fn steps_are_due_in_turn_and_a_program_again_and_again_and_no_more_often_than_allowed_over_restarts_too() {
    let again = Step { every: Some(Duration::from_secs(1_800)), at_most: 3, ..step(program(), 180) };
    let telling = recovering(vec![step(Act::Reconnect, 60), again]);
    let mut run = Run::new(&telling);
    run.step(3, State::Backoff);
    run.step(4, State::Failed);
    run.pass(4_000);
    // It fires at 11.
    let twice = [
        (71, "reconnect 2 clients".to_owned()),
        (191, "run /bin/mend".to_owned()),
        (1_991, "run /bin/mend".to_owned()),
    ];
    assert_eq!(run.done()[..3], twice);
    let [.., (_, last)] = run.due.as_slice() else { panic!("{:?}", run.due) };
    assert!(matches!(last.order, steps::Order::Run { .. }));
    let Some((_, first)) = run.due.first() else { panic!("none") };
    assert_eq!(first.order, steps::Order::Commands(vec![Command::Reconnect(vec![ClientKey(3), ClientKey(4)])]));
    // A restart takes none of them once more, and counts on.
    let memory = serde_json::from_slice(&serde_json::to_vec(run.book.memory()).expect("JSON")).expect("a memory");
    let mut later = Run::at(&telling, memory, run.second);
    later.step(3, State::Backoff);
    later.pass(10_000);
    assert_eq!((run.done().len(), later.done()), (4, Vec::new()), "three times at most, before and after");
    // Another alert soon after this one is another one, but not sooner than `every` allows.
    later.step(3, State::Up);
    later.pass(30);
    later.step(3, State::Backoff);
    let begin = later.second;
    later.pass(300);
    let steps: Vec<(u64, String)> = later.done().into_iter().map(|(at, done)| (at - begin, done)).collect();
    assert_eq!(steps, [(71, "reconnect 1 client".to_owned()), (191, "run /bin/mend".to_owned())]);
    later.step(3, State::Up);
    later.pass(30);
    later.step(3, State::Backoff);
    let (begin, before) = (later.second, later.due.len());
    later.pass(1_000);
    assert_eq!(later.done()[before..], [(begin + 71, "reconnect 1 client".to_owned())]);
}

#[test]
fn nobody_is_touched_whom_an_operator_holds_and_that_is_told_once() {
    let mut run = Run::new(&recovering(vec![step(Act::Reconnect, 0), step(program(), 5)]));
    run.gate(GateCondition::OnHold, 100);
    run.step(3, State::Backoff);
    run.pass(60);
    assert_eq!(run.done(), []);
    let told: Vec<String> = run.handlings.iter().map(|(_, handling)| crate::words::alert::handling(handling)).collect();
    let why = "recovery of presses down: an operator holds 1 client of this alert, or has switched them off, so";
    assert_eq!(told, [format!("{why} reconnect waits"), format!("{why} run waits")]);
    // Once they are let go it is made up for.
    run.gate(GateCondition::Open, 100);
    run.pass(2);
    assert_eq!(run.done(), [(61, "reconnect 1 client".to_owned()), (61, "run /bin/mend".to_owned())]);
}

#[test]
fn while_a_program_runs_no_other_step_is_taken_and_its_end_is_told_with_the_length_of_the_outage() {
    let mut run = Run::new(&recovering(vec![step(program(), 5), step(Act::Reconnect, 8)]));
    run.step(3, State::Backoff);
    run.pass(16);
    assert_eq!(run.done(), [(16, "run /bin/mend".to_owned())]);
    let (_, _, message) = &run.given[0];
    assert_eq!(message.alerts[0].names, [Scrubbed::new("press-03")], "the program is told of whom");
    run.hear(0, RecoveryStage::Started, "runs /bin/mend");
    run.pass(60);
    assert_eq!(run.due.len(), 1, "{:?}", run.done());
    // Of one that was killed with its agent nobody knows.
    let killed = Run::at(&recovering(Vec::new()), run.book.memory().clone(), run.second);
    let text = killed.book.memory().firing["presses down"].done[0].text.to_string();
    assert_eq!(text, "runs /bin/mend (its end is not known: the agent ended)");
    run.hear(0, RecoveryStage::Done, "ran /bin/mend: exit 0 after 1 min");
    run.pass(1);
    assert_eq!(run.done()[1..], [(77, "reconnect 1 client".to_owned())]);
    run.hear(1, RecoveryStage::Done, "reconnected 1 client");
    run.step(3, State::Up);
    run.pass(30);
    let (_, _, over) = run.messages.last().expect("its end");
    let text = over.text();
    let steps = "recovery: ran /bin/mend: exit 0 after 1 min at 08:01:16 UTC; reconnected 1 client at 08:01:17 UTC";
    assert!(text.contains(steps), "{text}");
    // From the first second in which it was down to the first in which all was well for long enough.
    let length = "over, was at most 1 of 40 clients, 08:00:01 UTC to 08:01:38 UTC, 97 s";
    assert!(text.contains(length), "{text}");
    assert_eq!(over.webhook("exec.a")["alerts"][0]["annotations"]["recovery"].as_str(), Some(steps));
}

#[test]
fn what_is_made_of_endpoints_is_taken_back_when_the_alert_is_over_unless_somebody_else_changed_it() {
    let telling = recovering(vec![step(Act::Rate(5), 0), step(Act::Hold, 10)]);
    for is_changed in [false, true] {
        let mut run = Run::new(&telling);
        run.gate(GateCondition::Open, 1_000);
        run.step(3, State::Backoff);
        run.pass(15);
        assert_eq!(run.done(), [(11, "lower the rate of eu-1 to 5/s".to_owned())]);
        run.gate(GateCondition::Open, 5);
        run.pass(10);
        assert_eq!(run.done()[1..], [(21, "hold eu-1".to_owned())]);
        run.gate(GateCondition::OnHold, 5);
        // After a restart the endpoint is as the file has it, until it is made so again.
        let mut run = Run::at(&telling, run.book.memory().clone(), run.second);
        run.step(3, State::Backoff);
        run.pass(1);
        let again: Vec<String> = run.done().into_iter().map(|(_, done)| done).collect();
        assert_eq!(
            again,
            ["lower the rate of eu-1 to 5/s, as before the restart", "hold eu-1, as before the restart"]
                .map(str::to_owned)
        );
        run.due.clear();
        let (condition, rate) = if is_changed { (GateCondition::Open, 7) } else { (GateCondition::OnHold, 5) };
        run.gate(condition, rate);
        run.step(3, State::Up);
        run.pass(30);
        let commands: Vec<_> = run.due.iter().map(|(_, due)| due.order.clone()).collect();
        let expected: &[Command] = match is_changed {
            true => &[],
            false => &[Command::Release(EndpointKey(0)), Command::SetRate(EndpointKey(0), 1_000)],
        };
        let expected: Vec<_> = expected.iter().map(|command| steps::Order::Commands(vec![command.clone()])).collect();
        assert_eq!(commands, expected);
    }
}
