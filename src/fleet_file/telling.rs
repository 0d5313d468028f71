//! Defines how the tables are read that say what is told to programs outside, and of which clients (`[metrics]`, `match`).

use std::net::SocketAddr;

use super::{Surroundings, alerting, format, notifying, tables::endpoint_names};
use crate::{
    document::{Draft, Report, Table, Value, nearest, quoted},
    fleet::Fleet,
    telling::{Match, Metrics, Picked, Telling},
    text::Scrubbed,
};

pub(super) fn read(root: &Table<'_>, fleet: &Fleet, report: &mut Report<'_>, around: &Surroundings<'_>) -> Telling {
    let notifiers = notifying::read(root, report, around);
    let alerts = alerting::read(root, fleet, &notifiers, report);
    let table = root.get("metrics").and_then(|v| v.table(report, "[metrics]", "[metrics]"));
    let metrics = table.map(|table| read_metrics(&table, fleet, report)).unwrap_or_default();
    Telling { metrics, alerts, notifiers: notifiers.right }
}

fn read_metrics(table: &Table<'_>, fleet: &Fleet, report: &mut Report<'_>) -> Metrics {
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
            Some(value) => read_match(&value, fleet, report)?,
            None => {
                let draft = Draft::at(table.span.clone(), "`clients` has no `match`");
                report.error(draft.help("say which: clients = { match = { id = \"press-*\" } }"));
                return None;
            }
        };
        Some(Picked { matching, at_most: at_most.map_or(Picked::AT_MOST, |n| n as usize) })
    });
    Metrics { listen, label, clients }
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

/// Reads which clients are meant.
pub(super) fn read_match(value: &Value<'_>, fleet: &Fleet, report: &mut Report<'_>) -> Option<Match> {
    let table =
        value.table(report, "`match`", "{ label = { site = \"hall-3\" }, endpoint = [\"eu-1\"], id = \"press-*\" }")?;
    table.check(format::MATCH, report);
    let names: Vec<String> = fleet.endpoints.iter().map(|endpoint| endpoint.name.to_string()).collect();
    let endpoints = table.get("endpoint").map(|value| endpoint_names(&one_or_more(&value), &names, report));
    let mut labels = Vec::new();
    let of_labels = table.get("label").and_then(|v| v.table(report, "`label`", "{ site = \"hall-3\" }"));
    for (name, value) in of_labels.map(|table| table.in_order()).unwrap_or_default() {
        let Some(name) = label_name(&value, &name, fleet, report) else { continue };
        let values = one_or_more(&value);
        let values = values.iter().filter_map(|v| v.string(report, "a label's value in quotes, or a list of them"));
        labels.push((name, values.map(Scrubbed::new).collect()));
    }
    let id = table.get("id").and_then(|v| v.string(report, "a client ID, with * for any text").map(str::to_owned));
    Some(Match { endpoints: endpoints.unwrap_or_default(), labels, id })
}

/// The items of a list, or the one that stands for it.
fn one_or_more<'t>(value: &Value<'t>) -> Vec<Value<'t>> {
    match value.is_array() {
        true => value.list(&mut Report::new("", "", None), "").unwrap_or_default(),
        false => vec![value.clone()],
    }
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
