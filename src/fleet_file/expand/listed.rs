//! Defines how the rows of an inventory become single clients: what a row says comes before what its table says.

use std::{collections::HashMap, sync::Arc};

use super::{
    super::{
        conversation::check_topic,
        identity::{Check, Papers},
        inventory::{Inventory, Row},
        measuring::{self, Measuring, OfLabel},
        password::{For, PasswordCheck, PasswordPattern},
        template::Template,
    },
    Expansion, Group, Members, NO_BARE_PASSWORD, TEXT_MAX, check_sharing,
};
use crate::{
    document::{Draft, Report},
    fleet::{Client, EndpointKey, Labels, Settings},
    text::Scrubbed,
};

/// The devices of an inventory.
pub(super) struct Devices<'a> {
    pub inventory: &'a Inventory,
    pub start: u64,
    pub measuring: &'a Measuring,
    pub of_labels: &'a mut [OfLabel],
}

/// The labels and settings that clients share.
struct Shared<'a> {
    group: &'a Group,
    devices: Devices<'a>,
    labels: HashMap<Labels, Arc<Labels>>,
    /// By the tables of labels that count for them.
    settings: HashMap<Vec<usize>, Arc<Settings>>,
}

impl Expansion<'_, '_> {
    /// Makes the clients of an inventory; false where there is no use in going on.
    pub(super) fn listed(&mut self, index: usize, group: &Group, devices: Devices<'_>) -> bool {
        let Devices { inventory, start, .. } = devices;
        let around = self.around;
        if !self.has_room(inventory.rows.len() as u64, &inventory.span) {
            return false;
        }
        self.clients.reserve(inventory.rows.len());
        self.owners.reserve(inventory.rows.len());
        check_sharing(group, inventory.rows.len() as u64, self.report);
        let conversation = group.talk.common();
        if conversation.is_some() {
            group.talk.check(start, "", inventory.span.clone(), self.report);
        }
        let mut shared = Shared { group, devices, labels: HashMap::new(), settings: HashMap::new() };
        let (mut passwords, mut keys_opened) = (PasswordCheck::default(), around.keys_opened);
        let mut text = String::new();
        for (place, row) in inventory.rows.iter().enumerate() {
            let number = start + place as u64;
            let wrong = |title: &str, help: &'static str, report: &mut Report<'_>| {
                report.error_of(|| Draft::elsewhere(inventory.place(row.spot), title).help(help));
            };
            let id: Arc<str> = (&*row.id).into();
            if let Some((first, other)) = self.owners.insert(id.clone(), (index, place)) {
                let there = match &self.groups[first].members {
                    Members::Listed { inventory, .. } => Some((inventory, inventory.rows[other].spot)),
                    Members::Numbered { .. } => None,
                };
                self.report.error_of(|| {
                    let there = match there.map(|(inventory, spot)| inventory.place(spot)) {
                        Some(place) => format!("the other one is in line {} of {}", place.line, place.file),
                        None => "another table of the fleet file makes one with it".to_owned(),
                    };
                    Draft::elsewhere(inventory.place(row.spot), "this client ID is there twice")
                        .help(format!("{there}; brokers throw out a client when another comes with its ID"))
                });
                continue;
            }
            let username: Option<Arc<str>> = match (&row.username, &group.username) {
                (Some(own), _) => Some((&**own).into()),
                (None, Some(template)) => {
                    template.fill(number, &id, &mut text);
                    Some(text.as_str().into())
                }
                (None, None) => None,
            };
            if username.as_ref().is_some_and(|name| name.len() > TEXT_MAX) {
                wrong(
                    "the user name gets more than 65,535 bytes with this ID",
                    "make one of them shorter",
                    self.report,
                );
                continue;
            }
            let client = For { number, id: &id, username: username.as_deref().unwrap_or_default() };
            let found = match (&row.password, &group.password) {
                (Some(own), _) => {
                    PasswordPattern::known(own.clone(), inventory.span.clone()).fill(client, &mut passwords, around)
                }
                (None, Some(pattern)) => pattern.fill(client, &mut passwords, around),
                (None, None) => None,
            };
            if group.settings.may_speak_old() && found.is_some() && username.is_none() {
                wrong("a password without a `username`", NO_BARE_PASSWORD, self.report);
            }
            let papers = match papers(row, group, inventory) {
                Ok(papers) => papers,
                Err(title) => {
                    wrong(
                        title,
                        "a client shows its certificate and proves with the key that it is its own",
                        self.report,
                    );
                    None
                }
            };
            let endpoints = row.endpoints.as_ref().unwrap_or(&group.endpoints);
            let is_tls = |key: &EndpointKey| {
                // What is wrong with an endpoint's URL is told elsewhere.
                self.endpoints.get(key.index()).is_none_or(|e| e.host.is_empty() || e.transport.tls().is_some())
            };
            if row.cert_file.is_some() && !endpoints.iter().any(is_tls) {
                let help = "none of the client's endpoints is mqtts:// or wss://";
                wrong("a certificate means nothing without TLS", help, self.report);
            }
            let mut check = Check::new(&mut self.seen, around).opening(keys_opened);
            let (identity, key_password) = papers.map(|papers| papers.fill(client, &mut check, around)).unzip();
            keys_opened = check.left();
            check.tell_at(|| inventory.place(row.spot), self.report);
            if group.talk.is_own() {
                let mut scratch = Report::new("", "", None);
                let bytes = group.talk.check(number, &id, 0..0, &mut scratch);
                if let Some(title) = scratch.first_error() {
                    wrong(title, "it is made of the client's ID and the patterns of the fleet file", self.report);
                }
                if !self.has_memory(bytes, &inventory.span) {
                    return false;
                }
            }
            let probe_topic = group.probe_topic.as_ref().map(|(template, _)| {
                template.fill(number, &id, &mut text);
                Arc::<str>::from(text.as_str())
            });
            if let Some(Err(why)) = probe_topic.as_deref().map(check_topic) {
                let help = "the topic of probes is made of the client's ID and the pattern of the fleet file";
                wrong(&format!("its probes' topic {why}"), help, self.report);
            }
            let (labels, settings) = shared.of(row);
            self.clients.push(Client {
                name: Scrubbed::new(&id),
                endpoints: endpoints.clone(),
                username,
                password: found.map(|found| found.password),
                identity,
                key_password: key_password.flatten(),
                own_probe_topic: probe_topic,
                labels,
                conversation: conversation.clone().unwrap_or_else(|| Arc::new(group.talk.fill(number, &id))),
                settings,
                id,
                is_gone: false,
            });
        }
        if let Some(password) = &group.password {
            passwords.tell(&password.span, self.report);
        }
        true
    }
}

/// The certificate and key of a row, or else of its table.
fn papers(row: &Row, group: &Group, inventory: &Inventory) -> Result<Option<Papers>, &'static str> {
    let literal = |text: &Option<Box<str>>| text.as_deref().map(|text| Template::literal(text.to_owned()));
    let (cert, key) = (literal(&row.cert_file), literal(&row.key_file));
    let known = |secret: &crate::fleet::Secret| PasswordPattern::known(secret.clone(), inventory.span.clone());
    let key_password = row.key_password.as_ref().map(known);
    let of_table = group.papers.as_ref();
    let span = of_table.map_or(inventory.span.clone(), |papers| papers.span.clone());
    let cert = cert.or_else(|| of_table.map(|papers| papers.cert.clone()));
    let key = key.or_else(|| of_table.map(|papers| papers.key.clone()));
    match (cert, key, key_password) {
        (Some(cert), Some(key), own) => {
            let key_password = own.or_else(|| of_table.and_then(|papers| papers.key_password.clone()));
            Ok(Some(Papers { cert, key, key_password, span }))
        }
        (Some(_), None, _) => Err("`cert_file` without `key_file`"),
        (None, Some(_), _) => Err("`key_file` without `cert_file`"),
        (None, None, Some(_)) => Err("`key_password` without `key_file`"),
        (None, None, None) => Ok(None),
    }
}

impl Shared<'_> {
    fn of(&mut self, row: &Row) -> (Arc<Labels>, Arc<Settings>) {
        let Shared { group, devices: Devices { measuring, of_labels, .. }, labels: known, settings } = self;
        let mut labels = group.labels.clone();
        labels.extend(row.labels.iter().cloned());
        let matching = measuring::matching(of_labels, &labels);
        let settings = settings.entry(matching).or_insert_with(|| {
            let mut settings = group.settings.clone();
            measuring::lay_over(of_labels, &labels, &mut settings);
            measuring.lay_over(&mut settings);
            Arc::new(settings)
        });
        let labels = match known.get(&labels) {
            Some(known) => known.clone(),
            None => known.entry(labels.clone()).or_insert(Arc::new(labels)).clone(),
        };
        (labels, settings.clone())
    }
}
