//! Defines how the steps of a recovery are read (`recover` of `[[alert]]`); none is taken here.

use std::time::Duration;

use super::{Surroundings, format, hooks::read_program};
use crate::{
    document::{Draft, Report, Table, Value},
    event::{RecoveryKind, State},
    fleet::Fleet,
    telling::{Act, Condition, Match, Step},
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
const WEEK: Duration = Duration::from_secs(7 * 86_400);
const EXAMPLE: &str =
    "[{ action = \"reconnect\", after = \"1m\" }, { run = [\"/usr/local/bin/mend\"], after = \"3m\" }]";
const ACTIONS: [RecoveryKind; 4] =
    [RecoveryKind::Reconnect, RecoveryKind::Failover, RecoveryKind::Hold, RecoveryKind::Rate];

/// Reads the steps of a rule; of those that are wrong it is said why.
pub(super) fn read(
    value: &Value<'_>,
    condition: Option<&Condition>,
    matching: Option<&Match>,
    fleet: &Fleet,
    report: &mut Report<'_>,
    around: &Surroundings<'_>,
) -> Vec<Step> {
    let items = value.list(report, EXAMPLE).unwrap_or_default();
    if items.is_empty() && value.is_array() {
        let title = "`recover` is an empty list";
        report.error(Draft::at(value.span.clone(), title).help(format!("leave it out, or write {EXAMPLE}")));
    }
    let mut steps = Vec::new();
    for item in items {
        let Some(table) = item.table(report, "a step of `recover`", "{ action = \"reconnect\", after = \"1m\" }")
        else {
            continue;
        };
        table.check(format::RECOVER, report);
        let act = read_act(&table, fleet, report, around);
        let after = table.get("after").and_then(|v| v.duration(report, Duration::ZERO, DAY)).unwrap_or_default();
        let every = table.get("every").and_then(|v| v.duration(report, SECOND, WEEK));
        let at_most = table.get("at_most").and_then(|v| v.number(report, 1..1_001, "times"));
        if let (Some(span), None) = (table.key_span("at_most"), table.get("every")) {
            let title = "`at_most` means nothing without `every`";
            report.error(Draft::at(span, title).help(
                "without it a step is taken once while an alert lasts; every = \"30m\" takes it again after that time",
            ));
        }
        let Some(act) = act else { continue };
        warn(&table, &act, condition, matching, fleet, report);
        let at_most = match (every, at_most) {
            (None, _) => 1,
            (Some(_), at_most) => at_most.map_or(u32::MAX, |n| n as u32),
        };
        steps.push(Step { act, after, every, at_most });
    }
    steps
}

fn read_act(table: &Table<'_>, fleet: &Fleet, report: &mut Report<'_>, around: &Surroundings<'_>) -> Option<Act> {
    let mut is_idle = |key: &str, of: &str| {
        if let Some(span) = table.key_span(key) {
            report.error(Draft::at(span, format!("`{key}` means nothing here")).help(of));
        }
    };
    let (action, run) = (table.get("action"), table.get("run"));
    match (action, run) {
        (Some(action), Some(_)) => {
            let title = "a step does one thing, and this one has `action` and `run`";
            report.error(Draft::at(action.span, title).help("write two steps, each with its own `after`"));
            None
        }
        (None, None) => {
            let title = "a step of `recover` does not say what to do";
            let help = format!("give it `action` ({}) or `run`", ACTIONS.map(RecoveryKind::name).join(", "));
            report.error(Draft::at(table.span.clone(), title).help(help));
            None
        }
        (None, Some(run)) => {
            is_idle("to", "it is for action = \"rate\"");
            let timeout = table.get("timeout").and_then(|v| v.duration(report, SECOND, HOUR));
            let program = read_program(&run, fleet, report, around)?;
            Some(Act::Run { program, timeout: timeout.unwrap_or(Step::TIMEOUT) })
        }
        (Some(action), None) => {
            is_idle("timeout", "it is for `run`: how long the program may take");
            let kind = action.word(report, &ACTIONS.map(|kind| (kind.name(), kind)));
            let to = table.get("to").and_then(|v| v.number(report, 1..100_001, "connects a second"));
            match kind? {
                RecoveryKind::Rate => {
                    if table.get("to").is_none() {
                        let title = "a step that lowers the rate does not say to what";
                        let help = "add to = 10: connects a second to each endpoint of the clients concerned";
                        report.error(Draft::at(table.span.clone(), title).help(help));
                    }
                    to.map(|to| Act::Rate(to as u32))
                }
                kind => {
                    if let Some(span) = table.key_span("to") {
                        let title = format!("`to` means nothing with action = \"{}\"", kind.name());
                        report.error(Draft::at(span, title).help("it is for action = \"rate\""));
                    }
                    Some(match kind {
                        RecoveryKind::Failover => Act::Failover,
                        RecoveryKind::Hold => Act::Hold,
                        _ => Act::Reconnect,
                    })
                }
            }
        }
    }
}

/// Says where a step would do harm, or nothing.
fn warn(
    table: &Table<'_>,
    act: &Act,
    condition: Option<&Condition>,
    matching: Option<&Match>,
    fleet: &Fleet,
    report: &mut Report<'_>,
) {
    let span = table.get("action").map_or(table.span.clone(), |value| value.span);
    match (act, condition) {
        (Act::Hold, Some(Condition::State(states))) if states.contains(&State::Held) => {
            let title =
                "this rule counts clients that are held: once their endpoint is on hold its alert is never over";
            report.error(Draft::at(span, title).help("take \"held\" out of `state`, or choose another action"));
        }
        (Act::Failover, _) => {
            let is_meant = |key| matching.is_none_or(|matching| matching.is_for_defined(fleet.client(key), fleet));
            let mut meant = fleet.keys().filter(|key| is_meant(*key)).peekable();
            if meant.peek().is_some() && meant.all(|key| fleet.client(key).endpoints.len() < 2) {
                let title = "no client of this rule has another endpoint to go to";
                report.warning(Draft::at(span, title).help("name several: endpoints = [\"eu-1\", \"eu-2\"]"));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::fleet_file::tests::{read, warnings};

    const PATH: &[(&str, &str)] = &[("PATH", "/usr/bin:/bin")];

    fn rule(recover: &str) -> String {
        format!("[[alert]]\nname = 'a'\nstate = 'backoff'\nrecover = {recover}\n")
    }

    #[test]
    fn steps_are_read_with_all_they_can_say_and_with_the_least() {
        let text = rule(
            "[{ action = 'reconnect' }, { run = ['true', '%f'], after = '3m', at_most = 3, every = '30m', timeout = '5m' },\n\
             { action = 'rate', to = 10, after = '10s' }, { action = 'hold', every = '1h' }]",
        );
        let telling = read(&text, Path::new(""), PATH).expect("a file").telling;
        let [first, program, rate, hold] = telling.alerts[0].recover.as_slice() else { panic!("{telling:?}") };
        assert_eq!((&first.act, first.after, first.every, first.at_most), (&Act::Reconnect, Duration::ZERO, None, 1));
        let Act::Run { program: run, timeout } = &program.act else { panic!("{program:?}") };
        assert_eq!((timeout.as_secs(), run.arguments.as_slice()), (300, &["test".to_owned()][..]));
        assert_eq!((program.after.as_secs(), program.at_most), (180, 3));
        assert_eq!(program.every, Some(Duration::from_secs(1_800)));
        assert_eq!((&rate.act, rate.after.as_secs()), (&Act::Rate(10), 10));
        assert_eq!((&hold.act, hold.at_most), (&Act::Hold, u32::MAX));
        let said = warnings(&read(&rule("[{ action = 'failover' }]"), Path::new(""), PATH).expect("a file"));
        assert!(said.contains("no client of this rule has another endpoint"), "{said}");
    }

    #[test]
    fn every_error_has_its_place_and_what_to_do() {
        for (recover, says, place) in [
            ("[]", "`recover` is an empty list", "9:11"),
            ("'reconnect'", "`recover` must be a list", "9:11"),
            ("['reconnect']", "`recover` must be a table", "9:12"),
            ("[{ after = '1m' }]", "does not say what to do", "9:12"),
            ("[{ action = 'reconect' }]", "did you mean \"reconnect\"?", "9:23"),
            ("[{ action = 'hold', run = ['true'] }]", "does one thing", "9:23"),
            ("[{ action = 'rate' }]", "add to = 10", "9:12"),
            ("[{ action = 'rate', to = 0 }]", "connects a second", "9:36"),
            ("[{ action = 'hold', to = 3 }]", "it is for action = \"rate\"", "9:31"),
            ("[{ action = 'hold', timeout = '3s' }]", "it is for `run`", "9:31"),
            ("[{ run = ['no-such-program-anywhere'] }]", "there is no program", "9:21"),
            ("[{ run = ['true'], after = 5 }]", "needs a unit", "9:38"),
            ("[{ run = ['true'], at_most = 3 }]", "means nothing without `every`", "9:30"),
            ("[{ run = ['true'], evry = '3m' }]", "did you mean `every`?", "9:30"),
        ] {
            let errors = read(&rule(recover), Path::new(""), PATH).expect_err(recover);
            let text = errors.to_string();
            assert!(text.contains(says) && text.contains(&format!("fleet.toml:{place}")), "{recover}: {text}");
        }
        // All at once.
        let all = rule("[{ after = 5 }, { action = 'rate', to = 0 }, { action = 'hold', at_most = 2 }]");
        let errors = read(&all, Path::new(""), PATH).expect_err("three steps, all wrong");
        assert!(errors.count() >= 4, "{errors}");
        let held = rule("[{ action = 'hold' }]").replace("'backoff'", "['backoff', 'held']");
        let text = read(&held, Path::new(""), PATH).expect_err("held").to_string();
        assert!(text.contains("its alert is never over"), "{text}");
    }
}
