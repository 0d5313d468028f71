//! Defines how the tables are read that say what is told to programs outside, and of which clients (`[metrics]`, `match`); hooks are read elsewhere.

use std::net::SocketAddr;

use super::{Surroundings, alerting, format, hooks, influx, notifying, storing, tables::endpoint_names};
use crate::{
    document::{Draft, Report, Table, Value, nearest, quoted},
    fleet::Fleet,
    query::{Field, Query, Scope},
    telling::{Match, Metrics, Picked, Telling},
    text::Scrubbed,
};

pub(super) fn read(root: &Table<'_>, fleet: &Fleet, report: &mut Report<'_>, around: &Surroundings<'_>) -> Telling {
    let notifiers = notifying::read(root, fleet, report, around);
    let alerts = alerting::read(root, fleet, &notifiers, report, around);
    let table = root.get("metrics").and_then(|v| v.table(report, "[metrics]", "[metrics]"));
    let metrics = table.map(|table| read_metrics(&table, fleet, report, around)).unwrap_or_default();
    let hooks = hooks::read(root, fleet, report, around);
    Telling { metrics, hooks, alerts, notifiers: notifiers.right, store: storing::read(root, report, around) }
}

fn read_metrics(table: &Table<'_>, fleet: &Fleet, report: &mut Report<'_>, around: &Surroundings<'_>) -> Metrics {
    table.check(format::METRICS, report);
    let listen = table.get("listen").and_then(|value| {
        let text = value.string(report, "an address and a port in quotes, such as \"127.0.0.1:9464\"")?;
        let address = listen(text);
        if let Err(help) = &address {
            let title = format!("`listen` is not an address and a port: {}", quoted(text));
            report.error(Draft::at(value.span, title).help(help.clone()));
        }
        address.ok()
    });
    let label =
        table.get("label").and_then(|value| label_name(&value, value.string(report, "a label's name")?, fleet, report));
    let clients = table.get("clients").and_then(|value| {
        let table =
            value.table(report, "`clients`", "{ match = { label = { critical = \"yes\" } }, at_most = 2000 }")?;
        table.check(format::PICKED, report);
        let at_most = table.get("at_most").and_then(|v| v.number(report, 1..100_001, "clients"));
        let matching = match table.get("match") {
            Some(value) => read_match(&value, Known::Defined, fleet, report)?,
            None => {
                let draft = Draft::at(table.span.clone(), "`clients` has no `match`");
                report.error(draft.help("say which: clients = { match = { id = \"press-*\" } }"));
                return None;
            }
        };
        Some(Picked { matching, at_most: at_most.map_or(Picked::AT_MOST, |n| n as usize) })
    });
    let influx = table.get("influx").and_then(|value| influx::read(&value, report, around));
    Metrics { listen, label, clients, influx }
}

/// Reads where to listen. Whoever wants more than this host to reach it says so: there is no word for everywhere.
///
/// # Errors
/// What to write instead.
pub fn listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        let port = text.rsplit(':').next().and_then(|port| port.parse::<u16>().ok()).unwrap_or(9464);
        format!("write \"127.0.0.1:{port}\", or \"0.0.0.0:{port}\" where whoever reaches this host is to read it")
    })
}

/// How much is known of clients where a match is read.
#[derive(Clone, Copy)]
pub(super) enum Known {
    /// How they are, too.
    All,
    /// How they are defined alone.
    Defined,
    /// How they are defined alone; how they are, keys beside `match` say, such as these.
    OtherwiseBy(&'static str),
}

impl Known {
    fn scope(self) -> Scope {
        match self {
            Known::All => Scope::Running,
            Known::Defined | Known::OtherwiseBy(_) => Scope::Definition,
        }
    }

    /// What to do with a match that asks for more; `right` is what a match can have.
    fn help(self, right: &str) -> String {
        match self {
            Known::OtherwiseBy(keys) => format!("{right}; how clients are is said beside `match`, not in it: {keys}"),
            Known::All | Known::Defined => right.to_owned(),
        }
    }
}

/// Reads which clients are meant, of whom so much is known by then: a query in quotes, or a table.
pub(super) fn read_match(value: &Value<'_>, known: Known, fleet: &Fleet, report: &mut Report<'_>) -> Option<Match> {
    let query = match value.is_string() {
        true => read_query(value, known, report)?,
        false => read_match_table(value, known, fleet, report)?,
    };
    let matching = Match::of(query);
    if !fleet.clients.is_empty() && matching.is_for_nobody(fleet) {
        let title = format!("`match` is for no client of this fleet: {}", quoted(&matching.to_string()));
        report.warning(Draft::at(value.span.clone(), title).help("`mqfleet ls --where` lists whom a query means"));
    }
    Some(matching)
}

fn read_query(value: &Value<'_>, known: Known, report: &mut Report<'_>) -> Option<Query> {
    let text = value.string(report, "a query in quotes")?;
    let query = Query::parse_in(text, known.scope());
    let told = query.map_err(|error| {
        // Elsewhere it would be right.
        let right = match Query::parse(text).is_ok() {
            true => error.right.map(|right| known.help(&right)),
            false => error.right,
        };
        report.error(Draft::at(value.part(report, error.at), error.what).help_if(right));
    });
    told.ok()
}

/// Reads the table of a match, all of whose keys must let a client through: it is a query in other words.
fn read_match_table(value: &Value<'_>, known: Known, fleet: &Fleet, report: &mut Report<'_>) -> Option<Query> {
    let example = "{ label = { site = \"hall-3\" }, endpoint = [\"eu-1\"], id = \"press-*\" }, or a query in quotes: \
                   \"label.site:hall-3\"";
    let table = value.table(report, "`match`", example)?;
    table.check(format::MATCH, report);
    let mut parts = Vec::new();
    let names: Vec<String> = fleet.endpoints.iter().map(|endpoint| endpoint.name.to_string()).collect();
    if let Some(value) = table.get("endpoint") {
        let keys = endpoint_names(&one_or_more(&value, report), &names, report);
        parts.push(Query::text(Field::Endpoint, None, keys.iter().map(|key| names[key.index()].as_str())));
    }
    let of_labels = table.get("label").and_then(|v| v.table(report, "`label`", "{ site = \"hall-3\" }"));
    for (name, value) in of_labels.map(|table| table.in_order()).unwrap_or_default() {
        let Some(name) = label_name(&value, &name, fleet, report) else { continue };
        let values = texts(&value, "a label's value in quotes, or a list of them", report);
        parts.push(Query::text(Field::LabelNamed, Some(&name), values.iter().map(Scrubbed::as_str)));
    }
    if let Some(value) = table.get("id") {
        let ids = texts(&value, "a client ID in quotes, with * for any text, or a list of them", report);
        parts.push(Query::text(Field::Id, None, ids.iter().map(Scrubbed::as_str)));
    }
    for (key, field) in [("state", Field::State), ("reason", Field::Reason)] {
        let Some(value) = table.get(key) else { continue };
        if known.scope() == Scope::Definition {
            let title = format!("`{key}` is not known here: only how a client is defined counts");
            let span = table.key_span(key).unwrap_or(value.span);
            report.error(Draft::at(span, title).help(known.help("it can be endpoint, label, id")));
            continue;
        }
        let mut words = Vec::new();
        for item in one_or_more(&value, report) {
            let Some(word) = item.string(report, &format!("a {key} in quotes, or a list of them")) else { continue };
            match Query::typed_choice(field, word) {
                Ok(query) => words.push(query),
                Err((what, right)) => report.error(Draft::at(item.span, what).help_if(right)),
            }
        }
        if !words.is_empty() {
            parts.push(Query::any(words));
        }
    }
    Some(Query::all(parts))
}

fn texts(value: &Value<'_>, must: &str, report: &mut Report<'_>) -> Vec<Scrubbed> {
    let items = one_or_more(value, report);
    items.iter().filter_map(|item| item.string(report, must)).map(Scrubbed::new).collect()
}

/// The items of a list, or the one that stands for it.
pub(super) fn one_or_more<'t>(value: &Value<'t>, report: &mut Report<'_>) -> Vec<Value<'t>> {
    if !value.is_array() {
        return vec![value.clone()];
    }
    let items = value.list(report, "").unwrap_or_default();
    if items.is_empty() {
        let title = format!("`{}` is an empty list", value.key);
        report.error(Draft::at(value.span.clone(), title).help("name at least one"));
    }
    items
}

/// One of these words, or a list of them.
pub(super) fn words<T: Copy>(value: &Value<'_>, words: &[(&str, T)], report: &mut Report<'_>) -> Vec<T> {
    let items = one_or_more(value, report);
    items.iter().filter_map(|item| item.word(report, words)).collect()
}

/// A value that a table must have.
pub(super) fn needed<'t>(table: &Table<'t>, key: &str, example: &str, report: &mut Report<'_>) -> Option<Value<'t>> {
    let value = table.get(key);
    if value.is_none() {
        let title = format!("{} has no `{key}`", table.name);
        report.error(Draft::at(table.span.clone(), title).help(format!("such as {example}")));
    }
    value
}

/// A label's name, with a warning where no client has it.
fn label_name(value: &Value<'_>, name: &str, fleet: &Fleet, report: &mut Report<'_>) -> Option<Scrubbed> {
    let label = Scrubbed::new(name);
    let names = || fleet.clients.iter().flat_map(|client| client.labels.keys());
    if !fleet.clients.is_empty() && !names().any(|known| *known == label) {
        let near = nearest(name, names().map(|known| known.as_str()));
        let help = match near {
            Some(near) => format!("did you mean {}?", quoted(near)),
            None => "labels are given in [defaults] or [[client]]: labels = { site = \"hall-3\" }".to_owned(),
        };
        report.warning(Draft::at(value.span.clone(), format!("no client has a label {}", quoted(name))).help(help));
    }
    Some(label)
}
