//! Tests of the language: what is read, what is printed, what is said of mistakes, and who is meant.

use proptest::prelude::*;

use super::{
    expression::{Compare, Expression, How, Name},
    field::named,
    text::{Glob, Literal, Pattern, Text},
    *,
};
use crate::event::{Badge, Reason};

fn printed(text: &str) -> String {
    Query::parse(text).unwrap_or_else(|error| panic!("{}", error.show(text))).to_string()
}

#[test]
fn a_query_is_printed_in_full() {
    for (text, full) in [
        ("", ""),
        ("  press   eu-2 ", "press eu-2"),
        ("press and eu-2", "press eu-2"),
        ("a b or c d", "a b or c d"),
        ("(a or b) c", "(a or b) c"),
        ("((a b)) c", "a b c"),
        ("-a", "not a"),
        ("!a", "not a"),
        ("not (a b)", "not (a b)"),
        ("--a", "not not a"),
        ("state:rej,wait endpoint:eu-2", "state:rej,wait endpoint:eu-2"),
        ("p99>250ms rc>=3 up<5m", "p99>250ms reconnects>=3 up<5m"),
        ("why:auth label.site:hall-3", "why:auth label.site:hall-3"),
        ("id:press-* group:\"lab 7\"", "id:press-* label:\"lab 7\""),
        ("endpoint!=eu-1", "not endpoint=eu-1"),
        ("for>90m next<1.5s", "for>1h30m next<1s500ms"),
        ("p99>0s", "p99>0s"),
        ("received>1.5k", "received>1500"),
        ("availability<99.90%", "availability<99.9%"),
        ("~^press-(1|2)$", "~^press-(1|2)$"),
        ("(~^a|b or c)", "~^a|b or c"),
        ("~\"a b\" id~\\d+", "~\"a b\" id:~\\d+".replace(":~", "~").as_str()),
        ("site=hall-3", "site=hall-3"),
        ("site=\"hall 3\"", "\"site=hall 3\""),
        ("\"a \\\" \\\\ b\"", "\"a \\\" \\\\ b\""),
        ("\"not\" \"or\"", "\"not\" \"or\""),
        ("OR-1", "OR-1"),
        ("label.\"a b\":x", "label.\"a b\":x"),
        ("reconnects:1,2", "reconnects=1,2"),
        ("reason:not-authorized", "reason:not-authorized"),
        ("press-0001 (eu-1)", "press-0001 eu-1"),
    ] {
        assert_eq!(printed(text), full, "{text}");
        assert_eq!(printed(full), full, "{full}");
    }
}

#[test]
fn a_mistake_is_told_with_its_place_and_what_would_be_right() {
    for (text, place, what, right) in [
        ("state:rjj", "rjj", "no state is \"rjj\"", "did you mean rej? It is one of up, slow, mute"),
        ("state:", "", "a value for state is missing", "one of up, slow"),
        ("state:up,", "", "a value for state is missing", "one of up"),
        ("stat:rej", "stat", "there is no field \"stat\"", "did you mean state? To find it as text, put it in quotes"),
        ("aa:bb:cc", "aa", "there is no field \"aa\"", "To find it as text, put it in quotes"),
        ("p99>250", "250", "250 of what? A time needs its unit", "for example 250ms"),
        ("p99>250mm", "250mm", "there is no unit \"mm\" here", "for example 250ms"),
        ("p99>", "", "a value for p99 is missing", "for example 250ms"),
        ("availability<99", "99", "99 of what? A share needs its %", "for example 99.9%"),
        ("reconnects>x", "x", "\"x\" is no figure", "for example 3"),
        ("endpoint>3", "endpoint>", "endpoint is a text", "for example endpoint=eu-2"),
        ("p99~x", "p99~", "p99 is a figure", "for example p99>250ms"),
        ("a (b or c", "(", "this bracket is not closed", "put ) at its end"),
        ("a) b", ")", "no bracket is open here", "take it away"),
        ("a \"b", "\"", "this quote is not closed", "put \" at its end"),
        ("a or", "", "a condition is missing here", "for example"),
        ("or a", "", "a condition is missing here", "for example"),
        ("a and and b", "", "a condition is missing here", "for example"),
        ("()", "", "a condition is missing here", "for example"),
        ("a not", "not", "what is not to hold is missing", "for example"),
        ("~[", "[", "this is no regular expression: unclosed character class", "quotes"),
        ("~", "", "a regular expression is missing", "for example"),
        ("~(a{1000}){1000}", "(a{1000}){1000}", "this is no regular expression: it is too large", "quotes"),
        ("label.:x", "label.", "the name of the label is missing", "for example"),
        ("größe state:rjj", "rjj", "no state is \"rjj\"", "rej"),
    ] {
        let error = Query::parse(text).expect_err(text);
        assert_eq!((&text[error.at.clone()], &*error.what), (place, what), "{text}");
        let said = error.right.clone().unwrap_or_default();
        assert!(said.contains(right), "{text}: {said}");
        let shown = error.show(text);
        let (query, carets) = (shown.lines().next().unwrap(), shown.lines().nth(1).unwrap());
        assert_eq!(query, text);
        let at = carets.chars().position(|c| c == '^').unwrap();
        let under: String = query.chars().skip(at).take(carets.matches('^').count()).collect();
        assert_eq!(at, text[..error.at.start].chars().count(), "{shown}");
        assert!(under == place || place.is_empty(), "{shown}");
    }
    let deep = format!("{}a{}", "(".repeat(100), ")".repeat(100));
    assert!(Query::parse(&deep).unwrap_err().what.contains("more than 32"));
    assert!(Query::parse(&"-".repeat(4_000)).unwrap_err().what.contains("more than 32"));
    let long = "a ".repeat(3_000);
    let error = Query::parse(&long).unwrap_err();
    assert!(error.at.start == Query::LONGEST && error.at.end == long.len(), "{error}");
    let long = format!("state:rjj {}", "a ".repeat(500));
    assert_eq!(Query::parse(&long).unwrap_err().show(&long).lines().nth(1).unwrap().find('^'), Some(6));
}

#[test]
fn where_only_a_definition_counts_nothing_else_can_be_asked_for() {
    let read = |text| Query::parse_in(text, Scope::Definition);
    for text in
        ["", "id:press-* (endpoint=eu-1 or label.site!=hall-3)", "protocol:5 -transport:wss label~^hall address:x"]
    {
        assert!(read(text).is_ok(), "{text}");
        assert!(Query::parse(text).unwrap().is_of_definition(), "{text}");
    }
    for (text, place) in [
        ("id:a state:up", "state"),
        ("id:a -(why:auth)", "why"),
        ("id:a or p99>250ms", "p99"),
        ("id:a probe:off", "probe"),
        ("id:a hall-3 b", "hall-3"),
        ("id:a ~^x b", "~^x"),
        ("id:a \"b c\" d", "\"b c\""),
    ] {
        let error = read(text).expect_err(text);
        assert_eq!(&text[error.at.clone()], place, "{text}");
        assert!(
            error.what.ends_with("is not known here: only how a client is defined counts")
                || error.what.ends_with("is not known here: only how it is defined counts"),
            "{error}"
        );
        assert_eq!(
            error.right.as_deref(),
            Some("it can be id, endpoint, address, label.NAME, label, protocol, transport")
        );
        assert!(!Query::parse(text).unwrap().is_of_definition(), "{text}");
    }
}

#[test]
fn what_a_table_says_is_a_query_that_reads_the_same() {
    let query = Query::all([
        Query::text(Field::Endpoint, None, ["eu-1", "eu-2"]),
        Query::text(Field::LabelNamed, Some("site"), ["hall 3", "dock-*"]),
        Query::any(["connection_lost", "certificate"].map(|word| Query::typed_choice(Field::Reason, word).unwrap())),
    ]);
    let text = "endpoint=eu-1,eu-2 label.site=\"hall 3\",dock-* (reason:connection_lost or reason:certificate)";
    assert_eq!((query.to_string().as_str(), Query::parse(text)), (text, Ok(query)));
    let (what, right) = Query::typed_choice(Field::State, "bakcoff").unwrap_err();
    assert!(what == "no state is \"bakcoff\"" && right.unwrap().starts_with("did you mean backoff?"));
}

#[test]
fn what_may_become_a_query_is_told_from_what_cannot() {
    for text in ["state:", "state:r,", "a or", "(a", "\"a", "p99>", "p99>25", "not", "~", "~[a"] {
        assert!(Query::parse(text).unwrap_err().is_incomplete, "{text}");
    }
    for text in ["state:rjj b", "a) b", "p99>250 b", "stat:x b", "or a"] {
        assert!(!Query::parse(text).unwrap_err().is_incomplete, "{text}");
    }
}

#[test]
fn a_word_at_the_end_that_may_become_an_operator_is_not_settled() {
    for text in ["pump a", "pump an", "pump o", "pump AN", "(pump) n", "p99>250ms no"] {
        let last = text.rfind(' ').unwrap() + 1;
        assert_eq!(settled(text), &text[..last], "{text}");
    }
    for text in ["a", "an", "pump and", "pump or", "pump not", "pump ant", "\"x an", "~an", "", "pump ", "pump ~a"] {
        assert_eq!(settled(text), text, "{text}");
    }
}

/// A client of a fleet that is not there.
struct Someone {
    badge: Badge,
    is_down: bool,
    reason: Reason,
    p99: Option<u64>,
}

impl Subject for Someone {
    fn badge(&self) -> Badge {
        self.badge
    }

    fn is_down(&self) -> bool {
        self.is_down
    }

    fn reason(&self) -> Option<Reason> {
        Some(self.reason)
    }

    fn protocol(&self) -> Option<crate::fleet::Protocol> {
        Some(crate::fleet::Protocol::V311)
    }

    fn scheme(&self) -> Option<&'static str> {
        Some("wss")
    }

    fn probe(&self) -> Option<crate::fleet::ProbeKind> {
        Some(crate::fleet::ProbeKind::Echo)
    }

    fn text(&self, field: Field, is_it: &mut dyn FnMut(&str) -> bool) -> bool {
        match field {
            Field::Id => is_it("Press-0017"),
            Field::Endpoint => is_it("eu-2"),
            Field::Address => is_it("größe.example:8883"),
            Field::Why => is_it(self.reason.words()),
            _ => false,
        }
    }

    fn label(&self, is_it: &mut dyn FnMut(&str, &str) -> bool) -> bool {
        is_it("line", "b") || is_it("site", "Hall-3")
    }

    fn figure(&self, field: Field) -> Option<u64> {
        match field {
            Field::P99 => self.p99,
            Field::Reconnects => Some(3),
            Field::Availability => Some(999_000),
            _ => None,
        }
    }
}

#[test]
fn who_is_meant() {
    let who = Someone { badge: Badge::Rejected, is_down: true, reason: Reason::NotAuthorized, p99: Some(250_000) };
    for (text, meant) in [
        ("", true),
        ("press", true),
        ("PRESS-0017", true),
        ("press-*", true),
        ("*17", true),
        ("p*s-00*7", true),
        ("ress-*", false),
        ("\"press-*\"", false),
        ("rej", true),
        ("ej", false),
        ("down", true),
        ("rejected", true),
        ("hall-3", true),
        ("te=hall", true),
        ("site=x", false),
        ("site=hall-*", true),
        ("\"not auth\"", true),
        ("not auth", false),
        ("state:rej,wait", true),
        ("state:down", true),
        ("state:re", true),
        ("state:up", false),
        ("state!=up", true),
        ("id:0017", true),
        ("id=0017", false),
        ("id=press-0017", true),
        ("id=press*", true),
        ("id~^press-\\d+$", true),
        ("id!~^press", false),
        ("~^hall", true),
        ("~^all", false),
        ("~^site=h.*3$", true),
        ("~hall-\\d", true),
        ("endpoint:eu-1,eu-2", true),
        ("address:GRÖSSE", false),
        ("address:GRÖßE", true),
        ("label.site:hall-3", true),
        ("label.SITE=hall-3", true),
        ("label.line:hall", false),
        ("label.line=b label=b", true),
        ("label.nowhere:*", false),
        ("why:auth", true),
        ("reason:not_authorized", true),
        ("reason:\"not authorized\"", true),
        ("reason:certificate", false),
        ("protocol:3.1.1", true),
        ("protocol:5", false),
        ("transport:ws", false),
        ("transport:ws*", true),
        ("probe:echo", true),
        ("p99>249ms p99<=250ms p99=250ms", true),
        ("p99>0.25s", false),
        ("p99>=0.25s", true),
        ("p50>1s", false),
        ("p50<=1s", false),
        ("-p50<=1s", true),
        ("reconnects:1,2,3", true),
        ("availability<99.95% availability>=99.9%", true),
        ("press or nobody", true),
        ("nobody or press down", true),
        ("(nobody or press) up", false),
        ("press -(eu-2 rej)", false),
        ("press not eu-1 !eu-3 -eu-4", true),
    ] {
        assert_eq!(Query::parse(text).unwrap().matches(&who), meant, "{text}");
    }
}

struct Plant;

impl Values for Plant {
    fn labels(&self) -> Vec<String> {
        vec!["site".to_owned(), "shop floor".to_owned()]
    }

    fn values(&self, field: Field, label: Option<&str>, _: &str) -> Vec<String> {
        let values: &[&str] = match (field, label) {
            (Field::Endpoint, None) => &["eu-1", "eu-2", "us-1"],
            (Field::LabelNamed, Some("site")) => &["hall-3", "hall 4"],
            _ => &[],
        };
        values.iter().map(|value| (*value).to_owned()).collect()
    }
}

#[test]
fn a_query_is_completed_at_the_cursor() {
    for (text, words) in [
        ("sta", &["state:"][..]),
        ("a -re", &["reason:", "received=", "reconnects>", "refused>", "retransmits>"]),
        ("state:", &["conn", "dead", "down", "fail", "held", "mute", "off", "que", "rej", "slow", "unk", "up", "wait"]),
        ("state:up,w", &["wait"]),
        ("(endpoint=e", &["eu-1", "eu-2"]),
        ("endpoint!=e", &["eu-1", "eu-2"]),
        ("label.s", &["label.\"shop floor\":", "label.site:"]),
        ("label.site:hall", &["\"hall 4\"", "hall-3"]),
        ("p99>2", &[]),
        ("~sta", &[]),
        ("\"sta", &[]),
        ("nothing:x", &[]),
    ] {
        let found = complete(text, text.len(), &Plant);
        assert_eq!(found.words, words, "{text}");
    }
    let found = complete("sta wait", 3, &Plant);
    assert_eq!((found.at.clone(), found.common()), (0..3, "state:"));
    let found = complete("endpoint:eu", 11, &Plant);
    assert_eq!((found.at.clone(), found.common()), (9..11, "eu-"));
    assert_eq!(complete("", 0, &Plant).words.len(), FIELDS.len() - 1 + 2, "each field, and each label");
}

/// What is completed is a query, or the begin of one.
#[test]
fn every_name_that_is_offered_is_read() {
    for name in complete("", 0, &Plant).words {
        let error = Query::parse(&name).expect_err("a value is missing");
        assert!(error.is_incomplete && error.what.starts_with("a value for "), "{name}: {error}");
    }
}

#[test]
fn the_table_of_fields_is_in_order_and_its_examples_are_queries() {
    for (place, info) in FIELDS.iter().enumerate() {
        assert_eq!(info.field as usize, place, "{}", info.name);
        let query = printed(info.example);
        assert!(query.starts_with(info.name.trim_end_matches("NAME")), "{query}");
        assert!(info.field == Field::LabelNamed || named(info.name) == Some(info.field));
        for alias in info.aliases {
            assert_eq!(named(alias), Some(info.field), "{alias}");
        }
        assert!((info.kind == Kind::Choice) == (info.field.words().count() > 0));
    }
    assert!(Badge::ALL.iter().enumerate().all(|(place, badge)| *badge as usize == place), "a bit for each");
    assert!(Reason::ALL.iter().enumerate().all(|(place, reason)| *reason as usize == place));
    assert!(Reason::ALL.len() <= 128 && Badge::ALL.len() < 128);
}

#[test]
fn the_readme_has_the_table_of_fields() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    assert!(readme.contains(&table()), "this belongs into README.md:\n{}", table());
}

fn texts() -> impl Strategy<Value = Text> {
    prop_oneof![
        3 => "[a-z0-9._/=-]{1,8}".prop_map(|text| Text::Literal(Literal::new(&text))),
        2 => "(?s).{0,6}".prop_map(|text| Text::Literal(Literal::new(&text))),
        1 => prop::sample::select(vec!["and", "OR", "not", "-a", "~a", "a:b", "state=up", "=", "!", "\\", "a\\\"b"])
            .prop_map(|text| Text::Literal(Literal::new(text))),
        1 => "[a-z0-9.-]{0,3}[*][a-z0-9.*-]{0,4}".prop_filter("no sign", |text| !text.starts_with('-'))
            .prop_map(|text| Text::Glob(Glob::new(&text))),
    ]
}

fn patterns() -> impl Strategy<Value = Text> {
    let patterns = vec!["^a", "a b", "(a|b)+", "\\\"", "\"", "a\"b c", "[)]", "a\\\\", "\\d{2}", "x,y", "[\"]"];
    prop::sample::select(patterns).prop_map(|source| Text::Regex(Pattern::new(source).unwrap()))
}

fn names() -> impl Strategy<Value = Name> {
    let plain = vec![Field::Id, Field::Endpoint, Field::Address, Field::Why, Field::Label];
    prop_oneof![
        prop::sample::select(plain).prop_map(|field| Name { field, label: None }),
        prop_oneof!["[a-z.]{1,6}", "(?s).{1,4}"]
            .prop_map(|label| Name { field: Field::LabelNamed, label: Some(label.into()) }),
    ]
}

fn expressions() -> impl Strategy<Value = Expression> {
    let hows = prop::sample::select(vec![How::Has, How::Is]);
    let compares = vec![Compare::Less, Compare::AtMost, Compare::Equal, Compare::AtLeast, Compare::More];
    let figures: Vec<Field> = FIELDS
        .iter()
        .filter(|info| matches!(info.kind, Kind::Count | Kind::Time | Kind::Share))
        .map(|info| info.field)
        .collect();
    let choices: Vec<String> = FIELDS
        .iter()
        .filter(|info| info.kind == Kind::Choice)
        .flat_map(|info| info.field.words().map(|word| format!("{}:{word}", info.name)))
        .collect();
    let leaf = prop_oneof![
        texts().prop_map(Expression::Shows),
        patterns().prop_map(Expression::Shows),
        (names(), hows, prop::collection::vec(texts(), 1..3)).prop_map(|(name, how, values)| Expression::Text {
            name,
            how,
            values
        }),
        (names(), patterns()).prop_map(|(name, pattern)| Expression::Text {
            name,
            how: How::Has,
            values: vec![pattern]
        }),
        prop::sample::select(choices).prop_map(|text| Query::parse(&text).unwrap().root),
        (prop::sample::select(figures), prop::sample::select(compares), prop::collection::vec(any::<u64>(), 1..3))
            .prop_map(|(field, compare, values)| Expression::Figure { field, compare, values }),
    ];
    leaf.prop_recursive(5, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(Expression::all),
            prop::collection::vec(inner.clone(), 1..4).prop_map(Expression::any),
            inner.prop_map(|part| Expression::Not(Box::new(part))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn what_is_printed_reads_the_same(root in expressions()) {
        let query = Query { root };
        let text = query.to_string();
        let read = Query::parse(&text).map_err(|error| TestCaseError::fail(error.show(&text)))?;
        prop_assert_eq!(&read, &query, "{}", text);
        prop_assert_eq!(read.to_string(), text);
    }
}

/// Random inputs: bare nonsense, pieces of the language in any order, and queries with a few changes.
#[test]
fn nothing_that_is_typed_makes_it_fall_over() {
    let rounds = std::env::var("MQFLEET_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(1_usize);
    let mut random = fastrand::Rng::with_seed(7);
    let pieces = pieces();
    let mut valid = 0;
    for _ in 0..rounds * 50_000 {
        let text = input(&mut random, &pieces);
        match Query::parse(&text) {
            Ok(query) => {
                valid += 1;
                let printed = query.to_string();
                let again = Query::parse(&printed);
                assert_eq!(again.as_ref(), Ok(&query), "{text:?} is printed as {printed:?}");
            }
            Err(error) => {
                let place = text.get(error.at.clone());
                assert!(place.is_some(), "{text:?}: {error:?} is not within it");
                assert!(!error.what.is_empty() && error.character <= text.chars().count() + 1, "{text:?}: {error:?}");
                let _ = error.show(&text);
            }
        }
        let _ = complete(&text, random.usize(..=text.len()), &Plant);
    }
    assert!(valid * 10 > rounds * 50_000, "{valid} were queries: too few to tell anything");
}

fn pieces() -> Vec<String> {
    let signs = [
        " ",
        " ",
        "(",
        ")",
        "\"",
        "~",
        "-",
        "!",
        "or",
        "and",
        "not",
        ":",
        "=",
        "<",
        ">",
        "<=",
        ">=",
        "!=",
        "!~",
        ",",
        "*",
        "\\",
        "a",
        "press-1",
        "site=hall",
        "label.",
        "label.site:",
        "250ms",
        "5m",
        "99.9%",
        "3",
        "1.5k",
        "ß",
        "温",
        "e\u{301}",
        "\t",
        "\u{0}",
        "[",
        "]",
        "{9}",
        "99999999999999999999d",
        "0.0000001s",
    ];
    let fields = FIELDS.iter().flat_map(|info| [info.name.to_owned(), format!("{} ", info.example)]);
    signs.iter().map(|sign| (*sign).to_owned()).chain(fields).collect()
}

fn input(random: &mut fastrand::Rng, pieces: &[String]) -> String {
    let mut text = String::new();
    match random.u8(..4) {
        0 => text.extend((0..random.usize(..20)).map(|_| random.char(..))),
        1 => (0..random.usize(..12)).for_each(|_| text += &pieces[random.usize(..pieces.len())]),
        _ => {
            for n in 0..random.usize(1..5) {
                let between = [" ", " or ", " and ", " -", " not "][random.usize(..5)];
                text += if n == 0 { "" } else { between };
                text += FIELDS[random.usize(..FIELDS.len())].example;
            }
            for _ in 0..random.usize(..3) {
                let at = random.usize(..=text.len());
                if let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) {
                    match random.u8(..3) {
                        0 => text.insert_str(at, &pieces[random.usize(..pieces.len())]),
                        1 => text.replace_range(at..at + c.len_utf8(), ""),
                        _ => text.truncate(at),
                    }
                }
            }
        }
    }
    text
}
