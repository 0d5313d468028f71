//! Defines how a fleet file's tables become a fleet: endpoints, clients, who goes where, and that no two clients share an ID; single keys are read elsewhere.

use std::sync::Arc;

use super::{
    Surroundings,
    address::{self, Scheme},
    bind,
    expand::{CLIENTS_MAX, Group, Members, NO_BARE_PASSWORD, expand},
    format, inventory,
    measuring::{self, Measuring, OfLabel},
    proxy,
    proxy_variables::ForEndpoints,
    settings::Given,
    template::Template,
    transport,
};
use crate::{
    document::{Draft, Report, Table, Value, nearest, quoted, thousands},
    fleet::{Endpoint, EndpointKey, Fleet},
    text::Scrubbed,
};

/// Measured at 10,000 clients: a worker of 500 takes 10.5 kB a client, one of 1,000 9.1 and one of 2,000 8.3,
/// and all the same CPU time; the death of one costs its own clients.
const WORKER_SIZE: usize = 1_000;
const WORKER_SIZE_MAX: u64 = 2_000;

/// Reads the whole file. What it returns is only good if nothing was reported.
pub(super) fn read(root: &Table<'_>, report: &mut Report<'_>, around: &Surroundings<'_>) -> Fleet {
    root.check(format::TABLES, report);
    let mut fleet = Fleet {
        name: Scrubbed::new(around.name),
        env: None,
        worker_size: WORKER_SIZE,
        endpoints: Vec::new(),
        clients: Vec::new(),
    };
    if let Some(table) = root.get("fleet").and_then(|v| v.table(report, "[fleet]", "[fleet]")) {
        read_fleet(&table, &mut fleet, report);
    }
    let names = read_endpoints(root, &mut fleet.endpoints, report, around);
    let mut defaults = Given::default();
    if let Some(table) = root.get("defaults").and_then(|v| v.table(report, "[defaults]", "[defaults]")) {
        table.check(format::DEFAULTS, report);
        defaults.overlay_labels(&table, report);
        defaults.overlay(&table, report, around);
    }
    let mut given = ForClients { defaults, of_labels: measuring::read_labels(root, report) };
    let groups = read_groups(root, &mut given, &fleet.endpoints, &names, report, around);
    fleet.clients = expand(&groups, &fleet.endpoints, &mut given.of_labels, report, around);
    measuring::warn_of_unused(&given.of_labels, report);
    fleet
}

/// What is given for many clients.
struct ForClients {
    defaults: Given,
    of_labels: Vec<OfLabel>,
}

/// The group whose members may attach to the agent, where there is one.
pub(super) fn read_agent(root: &Table<'_>, report: &mut Report<'_>) -> Option<String> {
    let table = root.get("agent")?.table(report, "[agent]", "[agent]")?;
    table.check(format::AGENT, report);
    let value: Value<'_> = table.get("group")?;
    let name = value.string(report, "the name of a group in quotes")?;
    if name.trim().is_empty() {
        report.error(Draft::at(value.span, "`group` is empty").help("name a group of this host, such as \"mqtt-ops\""));
    }
    Some(name.to_owned())
}

fn read_fleet(table: &Table<'_>, fleet: &mut Fleet, report: &mut Report<'_>) {
    table.check(format::FLEET, report);
    let mut name = |key| {
        let value: Value<'_> = table.get(key)?;
        let text = value.string(report, "a text in quotes")?;
        if text.trim().is_empty() {
            report.error(Draft::at(value.span, format!("`{key}` is empty")));
        }
        Some(Scrubbed::new(text))
    };
    if let Some(name) = name("name") {
        fleet.name = name;
    }
    fleet.env = name("env");
    if let Some(n) = table.get("worker_size").and_then(|v| v.number(report, 1..WORKER_SIZE_MAX + 1, "clients")) {
        fleet.worker_size = n as usize;
    }
}

/// The endpoints' names, in the order of their keys.
pub(super) type Names = Vec<String>;

fn read_endpoints(
    root: &Table<'_>,
    endpoints: &mut Vec<Endpoint>,
    report: &mut Report<'_>,
    around: &Surroundings<'_>,
) -> Names {
    let mut names = Names::new();
    let Some(value) = root.get("endpoint") else {
        report.error(
            Draft::of_file("there is no endpoint")
                .help("name at least one: [endpoint.local] with url = \"mqtt://localhost:1883\""),
        );
        return names;
    };
    let Some(table) = value.table(report, "[endpoint]", "[endpoint.local], each endpoint by its name") else {
        return names;
    };
    let mut variables = ForEndpoints::default();
    for (name, value) in table.in_order() {
        if !value.is_table() {
            let span = table.key_span(&name).unwrap_or(value.span);
            report.error(
                Draft::at(span, format!("{} stands in an endpoint without a name", quoted(&name)))
                    .help("write [endpoint.NAME] instead of [endpoint]"),
            );
            continue;
        }
        let Some(table) = value.table(report, format!("[endpoint.{}]", Scrubbed::new(&name)), "") else { continue };
        table.check(format::ENDPOINT, report);
        if name.is_empty() {
            report.error(Draft::at(table.span.clone(), "an endpoint's name is empty"));
        }
        let address = match table.get("url") {
            Some(url) => address::read(&url, report),
            None => {
                report.error(
                    Draft::at(table.span.clone(), format!("{} has no `url`", table.name))
                        .help("such as url = \"mqtt://localhost:1883\""),
                );
                None
            }
        };
        let transport = transport::read(&table, address.as_ref(), report, around);
        let proxy = match (table.get("proxy"), &address) {
            (Some(value), address) => proxy::read(&value, address.as_ref(), report),
            (None, Some(address)) => variables.named(address, report, around),
            (None, None) => None,
        };
        let bind = match table.get("bind") {
            Some(value) if address.as_ref().is_some_and(|a| a.scheme == Scheme::Unix) => {
                report.error(
                    Draft::at(value.span, "`bind` means nothing with unix://")
                        .help("a Unix socket is reached from no address; take `bind` out"),
                );
                Arc::default()
            }
            Some(value) => {
                let towards = proxy.as_ref().map(|p| &*p.host).or(address.as_ref().map(|a| &*a.host));
                bind::read(&value, towards, report, around)
            }
            None => Arc::default(),
        };
        let (host, port) = address.map(|a| (a.host, a.port)).unwrap_or_default();
        let mut count = |key, unit, default| {
            let n = table.get(key).and_then(|v| v.number(report, 1..CLIENTS_MAX + 1, unit));
            n.map_or(default, |n| n as u32)
        };
        let connect_rate = count("connect_rate", "connects a second", Endpoint::CONNECT_RATE);
        let max_connecting = count("max_connecting", "connects in flight", Endpoint::MAX_CONNECTING);
        endpoints.push(Endpoint {
            transport,
            proxy,
            bind,
            connect_rate,
            max_connecting,
            ..Endpoint::new(&name, &host, port)
        });
        names.push(name);
    }
    if names.len() > usize::from(u16::MAX) {
        report
            .error(Draft::of_file(format!("{} endpoints are too many: 65,535 at most", thousands(names.len() as u64))));
    }
    names
}

fn read_groups(
    root: &Table<'_>,
    given: &mut ForClients,
    endpoints: &[Endpoint],
    names: &Names,
    report: &mut Report<'_>,
    around: &Surroundings<'_>,
) -> Vec<Group> {
    let value = root.get("client");
    if let Some(value) = value.as_ref().filter(|v| v.is_table()) {
        let span = root.key_span("client").unwrap_or(value.span.clone());
        report.error(Draft::at(span, "clients are a list").help("write [[client]], with two brackets on each side"));
        return Vec::new();
    }
    let tables = match &value {
        Some(value) => value.list(report, "[[client]]").unwrap_or_default(),
        None => Vec::new(),
    };
    if tables.is_empty() && value.as_ref().is_none_or(|v| v.is_array()) {
        report.error(
            Draft::of_file("there are no clients").help("describe at least one: [[client]] with `id` and `endpoints`"),
        );
    }
    let mut groups = Vec::new();
    for value in tables {
        if let Some(table) = value.table(report, "[[client]]", "[[client]]") {
            groups.extend(read_group(&table, given, endpoints, names, report, around));
        }
    }
    groups
}

fn read_group(
    table: &Table<'_>,
    given: &mut ForClients,
    endpoints: &[Endpoint],
    names: &Names,
    report: &mut Report<'_>,
    around: &Surroundings<'_>,
) -> Option<Group> {
    table.check(format::CLIENT, report);
    let ForClients { defaults, of_labels } = given;
    let mut given = defaults.clone();
    given.overlay_labels(table, report);
    let from = table.get("from");
    if from.is_none() {
        given.overlay_of_labels(of_labels);
    }
    given.overlay(table, report, around);
    // The devices of an inventory may have user names of their own.
    let names_a_user = given.username.is_some() || table.get("username").is_some() || from.is_some();
    if given.may_speak_old() && given.password.is_some() && !names_a_user {
        let span = table.key_span("password").unwrap_or(table.span.clone());
        report.error(Draft::at(span, "a password without a `username`").help(NO_BARE_PASSWORD));
    }

    let members = match &from {
        Some(from) => read_listed(table, from, names, report, around),
        None => read_numbered(table, report, around),
    };
    let keys = match &members {
        Some(Members::Listed { inventory, .. })
            if inventory.all_have_endpoints() && table.get("endpoints").is_none() =>
        {
            Some(Vec::new())
        }
        _ => read_endpoint_names(table, names, report),
    };
    given.check_version(table, report);
    let mut papers = given.papers(report);
    let is_tls =
        |key: &EndpointKey| endpoints.get(key.index()).is_none_or(|e| e.host.is_empty() || e.transport.tls().is_some());
    if let (Some(_), Some(keys)) = (&papers, &keys)
        && !keys.iter().any(is_tls)
    {
        // What all clients have in common may be for others.
        if let Some(span) = table.key_span("cert_file").or_else(|| table.key_span("key_file")) {
            report.error(
                Draft::at(span, "a certificate means nothing without TLS")
                    .help("none of the client's endpoints is mqtts:// or wss://"),
            );
        }
        papers = None;
    }

    let (members, endpoints) = (members?, keys?.into());
    let settings = given.settings();
    let Given { username, password, labels, probe_topic, talk, .. } = given;
    Some(Group { members, endpoints, username, password, papers, labels, probe_topic, talk, settings })
}

/// Reads which devices of an inventory are clients.
fn read_listed(
    table: &Table<'_>,
    from: &Value<'_>,
    names: &Names,
    report: &mut Report<'_>,
    around: &Surroundings<'_>,
) -> Option<Members> {
    for key in ["id", "count"] {
        if let Some(span) = table.key_span(key) {
            report.error(
                Draft::at(span, format!("`{key}` does not go with `from`"))
                    .help("each row of the inventory is a client, with an `id` of its own"),
            );
        }
    }
    let columns = table.get("columns").map(|value| inventory::read_columns(&value, report)).unwrap_or_default();
    let inventory = inventory::read(from, &columns, names, report, around)?;
    // What it gives was checked with the table's other keys.
    let measuring = Measuring::read(table, format::PROBE, &mut Report::new("", "", None));
    Some(Members::Listed { inventory, start: read_start(table, report)?, measuring })
}

fn read_start(table: &Table<'_>, report: &mut Report<'_>) -> Option<u64> {
    match table.get("start") {
        Some(value) => value.number(report, 0..u64::from(u32::MAX) + 1, "the first client"),
        None => Some(1),
    }
}

/// Reads which clients a table is for that differ in their numbers only.
fn read_numbered(table: &Table<'_>, report: &mut Report<'_>, around: &Surroundings<'_>) -> Option<Members> {
    if let Some(span) = table.key_span("columns") {
        report.error(
            Draft::at(span, "`columns` goes with `from`").help("from = \"devices.csv\", with the columns' own names"),
        );
    }
    let id_value = table.get("id");
    let id = match &id_value {
        Some(value) => read_id(value, report, around),
        None => {
            report.error(
                Draft::at(table.span.clone(), "this client has no `id`")
                    .help("such as id = \"press-%04i\", with count = 500; or from = \"devices.csv\""),
            );
            None
        }
    };
    let count_value = table.get("count");
    let count = match &count_value {
        Some(value) => value.number(report, 1..CLIENTS_MAX + 1, "clients"),
        None => Some(1),
    };
    let start = read_start(table, report);
    let (id, count, start) = (id?, count?, start?);
    let (id_span, count_span) = (id_value?.span, count_value.map_or(table.span.clone(), |v| v.span));
    if count > 1 && !id.has_number() {
        report.error(
            Draft::at(id_span, format!("{} clients would share one ID", thousands(count)))
                .also(count_span, "because of this")
                .help(
                    "put %i, the client's number, into `id`: brokers throw out a client when another comes with its ID",
                ),
        );
        return None;
    }
    Some(Members::Numbered { id, id_span, count, count_span, start })
}

fn read_id(value: &Value<'_>, report: &mut Report<'_>, around: &Surroundings<'_>) -> Option<Template> {
    let template = Template::read(value, report, around.host)?;
    let text = value.string(report, "")?;
    let draft = |title: &str| Draft::at(value.span.clone(), title);
    if text.is_empty() {
        report.error(draft("the client ID is empty").help("mqfleet tells clients apart by their IDs; give it one"));
    } else if text.contains('\0') {
        report.error(draft("the client ID has a NUL character, which MQTT forbids (MQTT 5.0 §1.5.4)"));
    } else if template.has_client() {
        report.error(draft("%c is the client ID itself").help("it makes sense in `username`; here it may be %i or %h"));
    } else {
        return Some(template);
    }
    None
}

fn read_endpoint_names(table: &Table<'_>, names: &Names, report: &mut Report<'_>) -> Option<Vec<EndpointKey>> {
    let example = || names.first().map_or("local", String::as_str).to_owned();
    let Some(value) = table.get("endpoints") else {
        report.error(
            Draft::at(table.span.clone(), "this client has no `endpoints`")
                .help(format!("such as endpoints = [{}]", quoted(&example()))),
        );
        return None;
    };
    let items = value.list(report, "endpoints = [\"eu-1\"]")?;
    if items.is_empty() {
        report.error(Draft::at(value.span, "`endpoints` is empty").help("name one"));
        return None;
    }
    let found = endpoint_names(&items, names, report);
    (!found.is_empty()).then_some(found)
}

/// The endpoints that a list names.
pub(super) fn endpoint_names(items: &[Value<'_>], names: &Names, report: &mut Report<'_>) -> Vec<EndpointKey> {
    let mut found = Vec::new();
    for item in items {
        let Some(name) = item.string(report, "a list of endpoint names in quotes") else { continue };
        match names.iter().position(|n| n == name) {
            Some(index) => {
                let key = EndpointKey(index as u16); // more than fit are an error of their own
                if found.contains(&key) {
                    report.error(Draft::at(item.span.clone(), format!("{} is there twice", quoted(name))));
                }
                found.push(key);
            }
            None => {
                let help = match nearest(name, names.iter().map(String::as_str)) {
                    Some(word) => format!("did you mean {}?", quoted(word)),
                    None if names.is_empty() => "there are no endpoints in this file".to_owned(),
                    None => {
                        let shown: Vec<String> = names.iter().take(8).map(|n| quoted(n)).collect();
                        let more = if names.len() > 8 { ", …" } else { "" };
                        format!("there are {}{more}", shown.join(", "))
                    }
                };
                report.error(Draft::at(item.span.clone(), format!("there is no endpoint {}", quoted(name))).help(help));
            }
        }
    }
    found
}
