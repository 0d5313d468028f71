//! Tests of when alerts fire and who is told, on made-up time.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use chrono::DateTime;
use proptest::prelude::*;

mod keeping;
mod recovery;

use super::{recovery as steps, *};
use crate::{
    event::{Reason, State, Transition},
    fleet::{Client, ClientKey, Endpoint, EndpointKey, Secret},
    program::Program,
    query::Query,
    telling::{Access, AtLeast, Condition, Match, Notifier, Rule, Way, Webhook},
};

const CLIENTS: u32 = 40;

fn fleet() -> Arc<Fleet> {
    Arc::new(Fleet {
        name: Scrubbed::new("f"),
        env: None,
        worker_size: 500,
        endpoints: vec![Endpoint::new("eu-1", "127.0.0.1", 1883)],
        clients: (0..CLIENTS).map(|n| Client::new(&format!("press-{n:02}"), EndpointKey(0), Arc::default())).collect(),
    })
}

fn notifier(name: &str) -> Notifier {
    let way = Way::Program(Program { path: "true".into(), arguments: Vec::new(), folder: PathBuf::new() });
    let (repeat, group) = (Notifier::REPEAT, Notifier::GROUP);
    Notifier { name: Scrubbed::new(name), way, at_most: None, repeat, group, resolved: true }
}

fn rule(at_least: u32, lasting: u64, calm: u64) -> Rule {
    Rule {
        name: Scrubbed::new("presses down"),
        matching: Match::default(),
        condition: Condition::State(vec![State::Backoff, State::Failed]),
        at_least: AtLeast::Count(at_least),
        lasting: Duration::from_secs(lasting),
        below: AtLeast::Count(at_least),
        calm: Duration::from_secs(calm),
        severity: Severity::Critical,
        notify: vec![0],
        recover: Vec::new(),
    }
}

fn telling(rules: Vec<Rule>, notifiers: Vec<Notifier>) -> Telling {
    Telling { alerts: rules, notifiers, ..Telling::default() }
}

/// A book and the time in it.
struct Run {
    book: Book,
    second: u64,
    states: BTreeMap<u32, State>,
    alerts: Vec<(u64, crate::event::Alert)>,
    messages: Vec<(u64, usize, Message)>,
    notices: Vec<String>,
    handlings: Vec<(u64, crate::event::Handling)>,
    due: Vec<(u64, Due)>,
    /// What programs of recoveries were given.
    given: Vec<(u64, usize, Message)>,
}

impl Run {
    fn new(telling: &Telling) -> Run {
        Run::at(telling, Memory::default(), 0)
    }

    fn at(telling: &Telling, memory: Memory, second: u64) -> Run {
        Run::of(fleet(), telling, memory, second)
    }

    fn of(fleet: Arc<Fleet>, telling: &Telling, memory: Memory, second: u64) -> Run {
        let clients = fleet.clients.len() as u32;
        let book = Book::new(fleet, telling, memory, Moment(second * 1_000_000));
        let (alerts, messages, notices, handlings, due, given) = Default::default();
        let states = BTreeMap::new();
        let mut run = Run { book, second, states, alerts, messages, notices, handlings, due, given };
        (0..clients).for_each(|client| run.step(client, State::Up));
        run
    }

    fn step(&mut self, client: u32, to: State) {
        let from = self.states.insert(client, to).unwrap_or(State::Off);
        let reason = if to == State::Up { Reason::Connected } else { Reason::ConnectionRefused };
        let detail = Scrubbed::default();
        let step = Transition {
            client: ClientKey(client),
            endpoint: EndpointKey(0),
            from,
            to,
            reason,
            detail,
            attempt: 1,
            next_try: None,
        };
        let event = Event { at: Moment(self.second * 1_000_000), what: What::State(step) };
        assert!(self.book.apply(&event).is_none());
    }

    /// Lets seconds pass.
    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.second += 1;
            let wall = DateTime::from_timestamp(1_800_000_000 + self.second as i64, 0).expect("a time");
            let event = Event { at: Moment(self.second * 1_000_000), what: What::Second(wall) };
            let outcome = self.book.apply(&event).expect("a second comes to something");
            let Outcome { alerts, handlings, due, decided } = outcome;
            self.handlings.extend(handlings.into_iter().map(|handling| (self.second, handling)));
            for (due, message) in due {
                self.given.extend(message.map(|message| (self.second, 0, message)));
                self.due.push((self.second, due));
            }
            self.alerts.extend(alerts.into_iter().map(|alert| (self.second, alert)));
            self.messages.extend(decided.messages.into_iter().map(|(to, message)| (self.second, to, message)));
            self.notices.extend(decided.notices);
        }
    }

    /// When what was told: `+` fires, `-` is over, `r` is a repeat.
    fn told(&self) -> Vec<(u64, char)> {
        let sign = |message: &Message| match (message.is_firing(), message.is_repeat) {
            (true, false) => '+',
            (true, true) => 'r',
            (false, _) => '-',
        };
        self.messages.iter().map(|(second, _, message)| (*second, sign(message))).collect()
    }
}

#[test]
fn it_fires_when_enough_are_down_for_long_enough_and_is_told_with_all_that_came_meanwhile() {
    let mut run = Run::new(&telling(vec![rule(3, 30, 60)], vec![notifier("exec.a")]));
    run.pass(10);
    run.step(0, State::Backoff);
    run.step(1, State::Backoff);
    run.pass(100);
    assert!(run.alerts.is_empty(), "two are not enough");
    run.step(2, State::Failed);
    run.pass(20);
    // A step of the next try is no way out.
    run.step(0, State::Queued);
    run.pass(5);
    run.step(0, State::Connecting);
    run.pass(6);
    let [(141, alert)] = run.alerts.as_slice() else { panic!("{:?}", run.alerts) };
    let lasted = Duration::from_secs(30);
    assert_eq!((alert.clients, alert.of, alert.is_firing, alert.lasted), (3, CLIENTS, true, lasted));
    (3..30).for_each(|client| run.step(client, State::Backoff));
    run.pass(20);
    let [(151, 0, message)] = run.messages.as_slice() else { panic!("{:?}", run.messages) };
    let told = &message.alerts[0];
    assert_eq!(
        (told.clients, told.names.len(), told.cause.as_str()),
        (30, 20, "all 30 down: connection refused, since 08:02 UTC"),
        "{told:?}"
    );
    assert!(
        message.subject().starts_with("[FIRING critical] f: presses down: 30 of 40 clients since "),
        "{}",
        message.subject()
    );
    assert!(message.text().contains("  - press-19\n  and 10 more\n"), "{}", message.text());
    // It is over a minute after the last but two is up.
    (2..30).for_each(|client| run.step(client, State::Up));
    run.pass(59);
    run.step(2, State::Backoff);
    run.pass(2);
    run.step(2, State::Up);
    run.pass(70);
    assert_eq!(run.told(), [(151, '+'), (283, '-')]);
    let (_, _, over) = &run.messages[1];
    assert_eq!((over.alerts[0].clients, over.alerts[0].is_untold), (30, false));
    assert!(over.subject().contains("presses down: over, was at most 30 of 40 clients, "), "{}", over.subject());
}

#[test]
fn who_flaps_is_told_of_once_and_its_end_once() {
    let mut run = Run::new(&telling(vec![rule(1, 0, 60)], vec![notifier("exec.a")]));
    for _ in 0..30 {
        run.step(7, State::Backoff);
        run.pass(5);
        run.step(7, State::Up);
        run.pass(15);
    }
    run.pass(120);
    assert_eq!(run.told().into_iter().map(|(_, sign)| sign).collect::<String>(), "+-");
    // A rule about that itself.
    let flaps = Condition::Flaps { more_than: 5, within: Duration::from_secs(600) };
    let mut run = Run::new(&telling(vec![Rule { condition: flaps, ..rule(1, 0, 60) }], vec![notifier("exec.a")]));
    for _ in 0..7 {
        run.step(7, State::Backoff);
        run.pass(1);
        run.step(7, State::Up);
        run.pass(99);
    }
    let [(501, alert)] = run.alerts.as_slice() else { panic!("{:?}", run.alerts) };
    assert_eq!(alert.first, [ClientKey(7)]);
    run.pass(400);
    assert_eq!(run.alerts.last().map(|(_, alert)| alert.is_firing), Some(false), "{:?}", run.alerts);
}

#[test]
fn what_lasts_is_repeated_and_a_restart_repeats_nothing() {
    let telling = telling(vec![rule(1, 10, 60)], vec![notifier("exec.a")]);
    let mut run = Run::new(&telling);
    run.step(1, State::Backoff);
    run.pass(5 * 3_600);
    assert_eq!(run.told(), [(21, '+'), (14_421, 'r')]);
    let memory = serde_json::to_vec(run.book.memory()).expect("JSON");
    let memory = || serde_json::from_slice(&memory).expect("a memory");
    // It is still so after the restart, and once more later.
    let mut again = Run::at(&telling, memory(), run.second + 100);
    again.step(1, State::Backoff);
    again.pass(600);
    assert_eq!((again.told(), again.alerts.len()), (Vec::new(), 1), "told twice");
    assert_eq!(again.alerts[0].1.lasted, Duration::from_secs(18_100));
    // Or it is over.
    let mut over = Run::at(&telling, memory(), run.second + 100);
    over.pass(600);
    assert_eq!(over.told().into_iter().map(|(_, sign)| sign).collect::<String>(), "-");
    assert!(over.book.memory().firing.is_empty());
    // Of a message that was decided on before it died, and not noted, its successor has the same name.
    let mut early = Run::new(&telling);
    early.step(1, State::Backoff);
    early.pass(15);
    let before = early.book.memory().clone();
    early.pass(20);
    let mut late = Run::at(&telling, before, early.second);
    late.step(1, State::Backoff);
    late.pass(20);
    assert_eq!(early.messages[0].2.id, late.messages[0].2.id);
}

#[test]
fn a_match_that_is_a_query_counts_whom_it_means_and_nobody_else() {
    let clients = |id, count, site| {
        format!("[[client]]\nid = '{id}-%i'\ncount = {count}\nendpoints = ['a']\nlabels = {{ site = '{site}' }}\n")
    };
    let text = format!(
        "[endpoint.a]\nurl = 'mqtt://127.0.0.1'\n{}{}[[alert]]\nname = 'hall 3'\nmatch = 'label.site:hall-3'\n\
         state = 'backoff'\nat_least = 3\nfor = '0s'\n",
        clients("press", 4, "hall-3"),
        clients("oven", 9, "hall-4"),
    );
    let loaded = crate::fleet_file::parse(&text, "f.toml", Path::new("/")).expect("a file");
    let mut run = Run::of(Arc::new(loaded.fleet), &loaded.telling, Memory::default(), 0);
    (4..13).for_each(|oven| run.step(oven, State::Backoff));
    (0..2).for_each(|press| run.step(press, State::Backoff));
    run.pass(10);
    assert!(run.alerts.is_empty(), "{:?}", run.alerts);
    run.step(3, State::Backoff);
    run.pass(2);
    let [(_, alert)] = run.alerts.as_slice() else { panic!("{:?}", run.alerts) };
    assert_eq!((alert.clients, alert.of), (3, 4));
    assert_eq!(alert.first, [0, 1, 3].map(ClientKey));
}

#[test]
fn a_storm_of_alerts_is_a_few_messages_and_one_with_the_rest() {
    let rules = (0..50).map(|n| Rule {
        name: Scrubbed::new(&format!("rule {n}")),
        matching: Match::of(Query::parse("id:press-0*").expect("a query")),
        ..rule(1, 0, 60)
    });
    let mut run = Run::new(&telling(rules.collect(), vec![notifier("exec.a")]));
    run.step(1, State::Backoff);
    run.pass(200);
    assert_eq!(run.messages.len(), 11, "{:?}", run.told());
    let sizes: Vec<usize> = run.messages.iter().map(|(_, _, message)| message.alerts.len()).collect();
    assert_eq!((sizes.iter().sum::<usize>(), sizes[10], run.messages[10].0), (50, 40, 71));
    assert_eq!(run.messages[10].2.subject(), "[FIRING] f: 40 alerts");
}

#[test]
fn there_are_no_more_messages_a_day_than_allowed_also_over_a_restart() {
    let two = Notifier { at_most: Some(3), ..notifier("exec.a") };
    let telling = telling(vec![rule(1, 0, 10)], vec![two]);
    let mut run = Run::new(&telling);
    let mut memory = Memory::default();
    for _ in 0..5 {
        run = Run::at(&telling, memory, run.second);
        run.step(1, State::Backoff);
        run.pass(30);
        run.step(1, State::Up);
        run.pass(30);
        memory = run.book.memory().clone();
    }
    assert_eq!(memory.receivers["exec.a"].sent.len(), 3);
    assert_eq!(memory.receivers["exec.a"].left_out, 4, "the last over was not told as nothing before it was");
    run.pass(86_400);
    run.step(1, State::Backoff);
    run.pass(30);
    // That the second is over was not told yet.
    let [.., (_, _, over), (_, _, last)] = run.messages.as_slice() else { panic!("{:?}", run.messages) };
    assert!(!over.alerts[0].is_firing && last.alerts[0].is_firing, "{over:?} {last:?}");
    assert!(over.left_out == 4 && over.text().contains("were left out"), "{over:?}");
}

#[test]
fn an_alertmanager_hears_of_everything_at_once_and_again_while_it_lasts() {
    let rules = || (0..30).map(|n| Rule { name: Scrubbed::new(&format!("rule {n}")), ..rule(1, 5, 60) }).collect();
    let (url, shown) = (Secret::new("http://127.0.0.1:9093".to_owned()), Scrubbed::default());
    let way = Way::Alertmanager(Webhook { url, shown, access: Access::Open });
    let (repeat, group) = (Notifier::REPEAT_TO_ALERTMANAGER, Duration::ZERO);
    let alertmanager = Notifier { way, repeat, group, ..notifier("alertmanager.a") };
    let mut run = Run::new(&telling(rules(), vec![alertmanager]));
    run.step(0, State::Backoff);
    run.pass(200);
    let first = run.told().iter().take_while(|(second, _)| *second == run.messages[0].0).count();
    assert_eq!((first, run.messages.len()), (30, 4 * 30), "{:?}", run.told());
    // Somebody else hears of ten, and of the rest in one.
    let mut run = Run::new(&telling(rules(), vec![notifier("exec.a")]));
    run.step(0, State::Backoff);
    run.pass(200);
    assert_eq!(run.messages.len(), 11, "{:?}", run.told());
}

#[test]
fn ten_thousand_lost_at_once_are_one_message_and_one_when_it_is_over() {
    let clients = 10_000;
    let mut fleet = Fleet::clone(&fleet());
    fleet.clients = (0..clients).map(|n| Client::new(&format!("c{n}"), EndpointKey(0), Arc::default())).collect();
    let telling = telling(vec![rule(1, 5, 60)], vec![notifier("exec.a"), notifier("exec.b")]);
    let both = Telling { alerts: vec![Rule { notify: vec![0, 1], ..telling.alerts[0].clone() }], ..telling };
    let mut run = Run::new(&both);
    run.book = Book::new(Arc::new(fleet), &both, Memory::default(), Moment(0));
    (0..clients).for_each(|client| run.step(client, State::Up));
    run.pass(1);
    (0..clients).for_each(|client| run.step(client, State::Backoff));
    run.pass(60);
    (0..clients).for_each(|client| run.step(client, State::Up));
    run.pass(90);
    assert_eq!(run.messages.len(), 4, "{:?}", run.told());
    assert!(run.messages.iter().all(|(_, _, message)| message.alerts[0].clients == clients));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Whoever goes up and down: alerts come and go by turns, each fires only after enough have been down for long enough, of
    /// each that was told its end is told, and no name of a message is used twice.
    #[test]
    fn alerts_come_and_go_by_turns_and_nothing_is_told_twice(
        at_least in 1u32..4, lasting in 0u64..20, calm in 0u64..20, group in 0u64..20,
        acts in proptest::collection::vec((0..5u32, 0..5u8, 1..25u64), 1..40),
    ) {
        let notifier = Notifier { group: Duration::from_secs(group), ..notifier("exec.a") };
        let mut run = Run::new(&telling(vec![rule(at_least, lasting, calm)], vec![notifier]));
        let (mut down_for, mut calm_for) = (0u64, 0u64);
        for (client, to, seconds) in acts {
            let states = [State::Up, State::Up, State::Backoff, State::Failed, State::Off];
            run.step(client, states[usize::from(to)]);
            for _ in 0..seconds {
                let is_down = |state: &&State| matches!(state, State::Backoff | State::Failed);
                let is_enough = run.states.values().filter(is_down).count() as u32 >= at_least;
                (down_for, calm_for) = if is_enough { (down_for + 1, 0) } else { (0, calm_for + 1) };
                let before = run.alerts.len();
                run.pass(1);
                for (_, alert) in &run.alerts[before..] {
                    prop_assert!(if alert.is_firing { down_for > lasting } else { calm_for > calm }, "{alert:?}");
                }
            }
        }
        let signs: Vec<bool> = run.alerts.iter().map(|(_, alert)| alert.is_firing).collect();
        prop_assert!(signs.iter().enumerate().all(|(n, is_firing)| *is_firing == (n % 2 == 0)));
        let told: Vec<char> = run.told().into_iter().map(|(_, sign)| sign).collect();
        prop_assert!(told.iter().enumerate().all(|(n, sign)| *sign == if n % 2 == 0 { '+' } else { '-' }), "{told:?}");
        let mut ids: Vec<&str> = run.messages.iter().map(|(_, _, message)| message.id.as_str()).collect();
        ids.sort_unstable();
        let count = ids.len();
        ids.dedup();
        prop_assert_eq!(ids.len(), count);
    }

    /// What is on disk is what was told, and any webhook's receiver can read it.
    #[test]
    fn a_message_is_the_same_after_a_restart_and_its_body_is_alertmanager_s(name in ".{0,40}", rule_name in ".{0,40}") {
        let fleet = Fleet { name: Scrubbed::new(&name), ..Fleet::clone(&fleet()) };
        let mut message = test_message(&fleet);
        message.alerts[0].rule = Scrubbed::new(&rule_name);
        let read: Message = serde_json::from_slice(&serde_json::to_vec(&message).unwrap()).unwrap();
        prop_assert_eq!(&read, &message);
        let body: serde_json::Value = serde_json::from_str(&message.webhook("exec.a").to_string()).unwrap();
        prop_assert_eq!(body["version"].as_str(), Some("4"));
        prop_assert_eq!(body["alerts"][0]["labels"]["alertname"].as_str(), Some(message.alerts[0].rule.as_str()));
        prop_assert_eq!(body["alerts"][0]["fingerprint"].as_str().map(str::len), Some(16));
    }
}
