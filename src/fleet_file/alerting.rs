//! Defines how the rules of alerts are read (`[[alert]]`); who can be told is read elsewhere.

use std::time::Duration;

use super::{
    Surroundings, format,
    notifying::Notifiers,
    recovering,
    telling::{Known, needed, one_or_more, read_match, words},
};
use crate::{
    document::{Draft, Report, Table, Value, nearest, quoted},
    event::{Reason, Severity, State},
    fleet::Fleet,
    telling::{AtLeast, Condition, Match, Rule},
    text::Scrubbed,
};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);
const YEAR: Duration = Duration::from_secs(366 * 86_400);
const COUNT_MAX: u64 = 1_000_001;
/// The ways to say of whom a rule is; it has one of them.
const CONDITIONS: [&str; 6] = ["state", "slow", "late", "certificate_ends", "reason", "flaps"];

pub(super) fn read(
    root: &Table<'_>,
    fleet: &Fleet,
    notifiers: &Notifiers,
    report: &mut Report<'_>,
    around: &Surroundings<'_>,
) -> Vec<Rule> {
    let Some(value) = root.get("alert") else { return Vec::new() };
    if value.is_table() {
        let span = root.key_span("alert").unwrap_or(value.span);
        report.error(Draft::at(span, "alerts are a list").help("write [[alert]], with two brackets on each side"));
        return Vec::new();
    }
    let mut rules: Vec<Rule> = Vec::new();
    for value in value.list(report, "[[alert]]").unwrap_or_default() {
        let Some(table) = value.table(report, "[[alert]]", "[[alert]]") else { continue };
        let Some(rule) = read_rule(&table, fleet, notifiers, report, around) else { continue };
        if rules.iter().any(|other| other.name == rule.name) {
            let span = table.get("name").map_or(table.span.clone(), |name| name.span);
            let title = format!("two alerts have the name {}", quoted(&rule.name));
            report.error(Draft::at(span, title).help("messages, mutes and events tell alerts apart by their names"));
        }
        rules.push(rule);
    }
    rules
}

fn read_rule(
    table: &Table<'_>,
    fleet: &Fleet,
    notifiers: &Notifiers,
    report: &mut Report<'_>,
    around: &Surroundings<'_>,
) -> Option<Rule> {
    table.check(format::ALERT, report);
    let name = match table.get("name") {
        Some(value) => {
            let name = value.string(report, "a text in quotes");
            if name.is_some_and(|name| name.trim().is_empty()) {
                report.error(Draft::at(value.span, "`name` is empty").help("such as name = \"presses down\""));
            }
            name.map(Scrubbed::new)
        }
        None => {
            let help = "such as name = \"presses down\": it is what people are told";
            report.error(Draft::at(table.span.clone(), "an alert has no `name`").help(help));
            None
        }
    };
    let matching = match table.get("match") {
        Some(value) => {
            let instead = Known::OtherwiseBy("state = [\"backoff\", \"failed\", \"held\"]");
            read_match(&value, instead, fleet, report)
        }
        None => Some(Match::default()),
    };
    let condition = read_condition(table, report);
    let at_least = table.get("at_least").and_then(|value| at_least(&value, report)).unwrap_or(AtLeast::Count(1));
    let lasting = table.get("for").and_then(|v| v.duration(report, Duration::ZERO, DAY)).unwrap_or(Rule::LASTING);
    let (mut below, mut calm) = (at_least, lasting.max(Rule::CALM));
    if let Some(clear) = table.get("clear").and_then(|v| v.table(report, "`clear`", "{ below = 2, for = \"60s\" }")) {
        clear.check(format::CLEAR, report);
        calm = clear.get("for").and_then(|v| v.duration(report, Duration::ZERO, DAY)).unwrap_or(calm);
        if let Some(value) = clear.get("below") {
            below = self::at_least(&value, report).unwrap_or(below);
            if let Some(title) = is_above(below, at_least, matching.as_ref(), fleet) {
                report.error(Draft::at(value.span, title).help("make it the same or lower"));
            }
        }
    }
    let severity = table.get("severity").and_then(|value| {
        let words = Severity::ALL.map(|severity| (severity.name(), severity));
        value.word(report, &words)
    });
    let notify = table.get("notify").map(|value| read_notify(&value, notifiers, report)).unwrap_or_default();
    let recover = table
        .get("recover")
        .map(|value| recovering::read(&value, condition.as_ref(), matching.as_ref(), fleet, report, around));
    Some(Rule {
        name: name?,
        matching: matching?,
        condition: condition?,
        at_least,
        lasting,
        below,
        calm,
        severity: severity.unwrap_or_default(),
        notify,
        recover: recover.unwrap_or_default(),
    })
}

/// Whether a rule would be over with more clients than it fires from, in words where it would. A count and a share are
/// compared for the clients that the rule looks at.
fn is_above(below: AtLeast, at_least: AtLeast, matching: Option<&Match>, fleet: &Fleet) -> Option<String> {
    let over = "it would fire and be over at once";
    let is_above = match (below, at_least) {
        (AtLeast::Count(below), AtLeast::Count(at_least)) => below > at_least,
        (AtLeast::Share(below), AtLeast::Share(at_least)) => below > at_least,
        _ => {
            let is_meant = |key| matching.is_none_or(|matching| matching.is_for_defined(fleet.client(key), fleet));
            let all = fleet.keys().filter(|key| is_meant(*key)).count() as u32;
            let (below, at_least) = (below.of(all), at_least.of(all));
            let of = format!("of the {all} clients of this rule `below` is {below}, and `at_least` {at_least}: {over}");
            return (all > 0 && below > at_least).then_some(of);
        }
    };
    is_above.then(|| format!("`below` is above `at_least`: {over}"))
}

fn read_condition(table: &Table<'_>, report: &mut Report<'_>) -> Option<Condition> {
    let mut given: Vec<Value<'_>> = CONDITIONS.iter().filter_map(|key| table.get(key)).collect();
    let all = || CONDITIONS.map(|key| format!("`{key}`")).join(", ");
    if given.len() > 1 {
        let title = format!("an alert is about one thing, and this one about {}", given.len());
        report.error(Draft::at(given[1].span.clone(), title).help(format!("keep one of {}", all())));
        return None;
    }
    let Some(value) = given.pop() else {
        let help = format!("say it with one of {}: state = [\"backoff\", \"failed\", \"held\"]", all());
        report.error(Draft::at(table.span.clone(), "an alert does not say what is wrong with a client").help(help));
        return None;
    };
    let shortest = Duration::from_millis(100);
    Some(match value.key.as_str() {
        "state" => Condition::State(words(&value, &State::ALL.map(|state| (state.name(), state)), report)),
        "reason" => {
            let names: Vec<(&str, Reason)> = Reason::ALL.iter().map(|reason| (reason.name(), *reason)).collect();
            Condition::Reason(words(&value, &names, report))
        }
        "slow" => {
            if !value.boolean(report)? {
                let help = "write slow = true, or another condition";
                report.error(Draft::at(value.span, "`slow` can only be true").help(help));
            }
            Condition::Slow
        }
        "late" => Condition::Late(value.duration(report, shortest, DAY)?),
        "certificate_ends" => Condition::CertificateEnds(value.duration(report, SECOND, YEAR)?),
        _ => {
            let table = value.table(report, "`flaps`", "{ more_than = 5, in = \"10m\" }")?;
            table.check(format::FLAPS, report);
            let mut of = |key: &str| needed(&table, key, "flaps = { more_than = 5, in = \"10m\" }", report);
            let (more_than, within) = (of("more_than"), of("in"));
            let more_than = more_than.and_then(|v| v.number(report, 1..1_001, "losses"));
            let within = within.and_then(|v| v.duration(report, SECOND, DAY));
            Condition::Flaps { more_than: more_than? as u32, within: within? }
        }
    })
}

/// A count, or a share in per cent.
fn at_least(value: &Value<'_>, report: &mut Report<'_>) -> Option<AtLeast> {
    if !value.is_string() {
        return value.number(report, 1..COUNT_MAX, "clients").map(|count| AtLeast::Count(count as u32));
    }
    let text = value.string(report, "")?;
    let share = text.trim().strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    match share.filter(|share| *share > 0.0 && *share <= 100.0) {
        Some(share) => Some(AtLeast::Share(share / 100.0)),
        None => {
            let title = format!("`{}` is neither a count nor a share of the clients: {}", value.key, quoted(text));
            report.error(Draft::at(value.span.clone(), title).help("write 3, or \"10%\" (above 0 and up to 100)"));
            None
        }
    }
}

fn read_notify(value: &Value<'_>, notifiers: &Notifiers, report: &mut Report<'_>) -> Vec<usize> {
    let mut notify = Vec::new();
    for item in one_or_more(value, report) {
        let Some(name) = item.string(report, "a notifier's kind and name, such as \"mail.ops\"") else { continue };
        // What is wrong with one is said where that stands.
        if notifiers.wrong.iter().any(|wrong| wrong == name) {
            continue;
        }
        match notifiers.right.iter().position(|notifier| notifier.name.as_str() == name) {
            Some(place) if notify.contains(&place) => {
                let title = format!("{} is named twice", quoted(name));
                report.error(Draft::at(item.span, title).help("once is enough: it is told of each alert once"));
            }
            Some(place) => notify.push(place),
            None => {
                let help = match nearest(name, notifiers.right.iter().map(|notifier| notifier.name.as_str())) {
                    Some(near) => format!("did you mean {}?", quoted(near)),
                    None => "each has a table of its own: [notify.mail.ops] is \"mail.ops\"".to_owned(),
                };
                report
                    .error(Draft::at(item.span, format!("nobody to be told has the name {}", quoted(name))).help(help));
            }
        }
    }
    notify
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{fleet_file::tests::read, telling::Way};

    const NOTIFY: &str = "[notify.webhook.center]\nurl = \"http://127.0.0.1:1/x\"\n";

    #[test]
    fn a_rule_with_all_it_can_say_and_one_with_the_least() {
        let text = format!(
            "{NOTIFY}[[alert]]\nname = 'a'\nmatch = {{ id = 'x*' }}\nstate = ['backoff', 'failed']\nat_least = '10%'\nfor = '5s'\n\
             clear = {{ below = 1, for = '7s' }}\nseverity = 'critical'\nnotify = ['webhook.center']\n\
             [[alert]]\nname = 'b'\nflaps = {{ more_than = 5, in = '10m' }}\n"
        );
        let telling = read(&text, Path::new(""), &[]).expect("a file").telling;
        let [a, b] = telling.alerts.as_slice() else { panic!("{telling:?}") };
        assert_eq!((a.at_least, a.below), (AtLeast::Share(0.1), AtLeast::Count(1)));
        assert_eq!((a.lasting.as_secs(), a.calm.as_secs(), a.severity), (5, 7, Severity::Critical));
        assert_eq!(
            (&a.condition, a.notify.as_slice()),
            (&Condition::State(vec![State::Backoff, State::Failed]), &[0][..])
        );
        assert_eq!((b.at_least, b.lasting, b.calm), (AtLeast::Count(1), Rule::LASTING, Rule::CALM));
        assert!(
            matches!(telling.notifiers[0].way, Way::Webhook(_))
                && telling.notifiers[0].name.as_str() == "webhook.center"
        );
    }

    #[test]
    fn every_error_has_its_place_and_what_to_do() {
        for (rule, says, place) in [
            ("slow = true", "an alert has no `name`", "6:1"),
            ("name = 'a'\nslow = true\nmatch = 'id:a* state:down'", "state is not known here", "9:16"),
            ("name = 'a'\nslow = true\nmatch = { state = 'down' }", "beside `match`, not in it: state = [", "9:11"),
            ("name = 'a'", "does not say what is wrong with a client", "6:1"),
            ("name = 'a'\nslow = true\nlate = '1s'", "about one thing, and this one about 2", "9:8"),
            ("name = 'a'\nslow = false", "`slow` can only be true", "8:8"),
            ("name = 'a'\nstate = ['bakoff']", "did you mean \"backoff\"?", "8:10"),
            ("name = 'a'\nreason = 'conection_refused'", "did you mean \"connection_refused\"?", "8:10"),
            ("name = 'a'\nreason = []", "`reason` is an empty list", "8:10"),
            ("name = 'a'\nslow = true\nat_least = '0%'", "neither a count nor a share", "9:12"),
            ("name = 'a'\nslow = true\nat_least = 0", "a whole number of clients", "9:12"),
            ("name = 'a'\nslow = true\nclear = { below = 2 }", "`below` is above `at_least`", "9:19"),
            ("name = 'a'\nslow = true\nfor = 5", "needs a unit", "9:7"),
            ("name = 'a'\nflaps = { in = '10m' }", "`flaps` has no `more_than`", "8:9"),
            ("name = 'a'\nslow = true\nseverity = 'high'", "`severity` cannot be \"high\"", "9:12"),
            ("name = 'a'\nslow = true\nnotify = 'mail.ops'", "nobody to be told has the name \"mail.ops\"", "9:10"),
            ("name = 'a'\nslow = true\nrecover = []", "`recover` is an empty list", "9:11"),
            ("name = 'a'\nslow = true\n[[alert]]\nname = 'a'\nslow = true", "two alerts have the name", "10:8"),
        ] {
            let errors = read(&format!("[[alert]]\n{rule}\n"), Path::new(""), &[]).expect_err(rule);
            let text = errors.to_string();
            assert!(text.contains(says) && text.contains(&format!("fleet.toml:{place}")), "{rule}: {text}");
        }
    }

    #[test]
    fn a_count_and_a_share_are_compared_for_the_clients_that_the_rule_looks_at() {
        for (at_least, below, says) in [
            ("3", "'10%'", Some("of the 40 clients of this rule `below` is 4, and `at_least` 3")),
            ("4", "'10%'", None),
            ("'10%'", "5", Some("of the 40 clients of this rule `below` is 5, and `at_least` 4")),
            ("'10%'", "4", None),
        ] {
            let text = format!(
                "[[client]]\nid = 'y-%i'\ncount = 40\nendpoints = ['a']\n[[alert]]\nname = 'a'\nslow = true\n\
                 match = 'id:y-*'\nat_least = {at_least}\nclear = {{ below = {below} }}\n"
            );
            let read = read(&text, Path::new(""), &[]);
            match says {
                None => assert!(read.is_ok(), "{at_least} {below}: {read:?}"),
                Some(says) => {
                    let text = read.expect_err("it is over at once").to_string();
                    assert!(text.contains(says) && text.contains("fleet.toml:15:19"), "{text}");
                }
            }
        }
    }
}
