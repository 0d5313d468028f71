//! Defines how the tables of clients become single clients, within bounds and with no ID twice; what a table says is read elsewhere.

use std::{collections::HashMap, ops::Range, sync::Arc};

use super::{
    Surroundings,
    conversation::{Talk, check_topic},
    identity::{Check, Papers, Seen},
    password::{For, PasswordCheck, PasswordPattern},
    report::{Draft, Report, quoted},
    template::Template,
    tree::thousands,
};
use crate::{
    fleet::{Client, EndpointKey, Labels, ProbeKind, Settings},
    text::Scrubbed,
};

/// Clients in one file, at most.
pub(super) const CLIENTS_MAX: u64 = 1_000_000;
/// Bytes that all client IDs, user names and messages together may take.
const TEXTS_MAX: u64 = 256 << 20;
/// The longest text MQTT can carry, in bytes (MQTT 5.0 §1.5.4).
const TEXT_MAX: usize = 65_535;

/// One `[[client]]` table.
pub(super) struct Group {
    pub id: Template,
    pub id_span: Range<usize>,
    pub count_span: Range<usize>,
    pub count: u64,
    pub start: u64,
    pub endpoints: Arc<[EndpointKey]>,
    pub username: Option<Template>,
    pub password: Option<PasswordPattern>,
    pub papers: Option<Papers>,
    pub labels: Arc<Labels>,
    /// With its place.
    pub probe_topic: Option<(Template, Range<usize>)>,
    pub talk: Talk,
    pub settings: Arc<Settings>,
}

/// Makes the clients of all tables, and reports IDs that are too long or there twice.
pub(super) fn expand(groups: &[Group], report: &mut Report<'_>, around: &Surroundings<'_>) -> Vec<Client> {
    let mut clients: Vec<Client> = Vec::new();
    let mut owners: HashMap<Arc<str>, usize> = HashMap::new();
    // The tables that share IDs, with the first such ID and how many there are.
    let mut shared: Vec<(usize, usize, Arc<str>, u64)> = Vec::new();
    let (mut total, mut texts) = (0, 0);
    let (mut id, mut username, mut topic) = (String::new(), String::new(), String::new());
    let mut seen = Seen::default();
    for (index, group) in groups.iter().enumerate() {
        total += group.count;
        if total > CLIENTS_MAX {
            report.error(
                Draft::at(group.count_span.clone(), format!("{} clients are too many", thousands(total)))
                    .label("with those of the tables above")
                    .help(format!("a fleet has at most {} clients", thousands(CLIENTS_MAX))),
            );
            return clients;
        }
        // The last number is the longest, and texts of one table differ in their numbers only.
        group.id.fill(group.start + group.count - 1, "", &mut id);
        if let Some(template) = &group.username {
            template.fill(group.start + group.count - 1, &id, &mut username);
        }
        if let Some((template, span)) = &group.probe_topic {
            template.fill(group.start + group.count - 1, &id, &mut topic);
            check_probe_topic(&topic, span, group, template.is_own(), report);
            texts += group.count * topic.len() as u64;
        }
        let longest = id.len().max(username.len());
        let talk = group.talk.check(group.start + group.count - 1, &id, group.id_span.clone(), report);
        texts += group.count * (talk + (id.len() + username.len()) as u64);
        if longest > TEXT_MAX {
            let what = if id.len() > TEXT_MAX { "client IDs" } else { "user names" };
            report.error(
                Draft::at(group.id_span.clone(), format!("{what} of {} bytes are too long", thousands(longest as u64)))
                    .help("MQTT carries at most 65,535 bytes (MQTT 5.0 §1.5.4)"),
            );
            continue;
        }
        if texts > TEXTS_MAX {
            report.error(
                Draft::at(group.id_span.clone(), "client IDs, user names and messages take too much memory")
                    .help(format!("together they may have at most {} MiB; make them shorter", TEXTS_MAX >> 20)),
            );
            return clients;
        }
        let common = group.username.as_ref().filter(|t| !t.is_own()).map(|_| Arc::<str>::from(username.as_str()));
        let conversation = group.talk.common();
        let mut check = Check::new(&mut seen, around);
        let papers = group.papers.as_ref().filter(|p| !p.is_own());
        let identity = papers.map(|p| p.fill(For::default(), &mut check, around));
        let mut passwords = PasswordCheck::default();
        clients.reserve(group.count as usize);
        owners.reserve(group.count as usize);
        for number in group.start..group.start + group.count {
            group.id.fill(number, "", &mut id);
            let id: Arc<str> = id.as_str().into();
            if let Some(first) = owners.insert(id.clone(), index) {
                match shared.iter_mut().find(|(a, b, _, _)| (*a, *b) == (first, index)) {
                    Some((_, _, _, times)) => *times += 1,
                    None => shared.push((first, index, id.clone(), 1)),
                }
            }
            let username = match (&common, &group.username) {
                (Some(common), _) => Some(common.clone()),
                (None, Some(template)) => {
                    template.fill(number, &id, &mut username);
                    Some(username.as_str().into())
                }
                (None, None) => None,
            };
            let client = For { number, id: &id, username: username.as_deref().unwrap_or_default() };
            let own = |papers: &Papers| papers.fill(client, &mut check, around);
            let identity = identity.clone().or_else(|| group.papers.as_ref().map(own));
            let (identity, key_password) = identity.unzip();
            let password = group.password.as_ref().and_then(|p| p.fill(client, &mut passwords, around));
            clients.push(Client {
                name: Scrubbed::new(&id),
                endpoints: group.endpoints.clone(),
                username,
                password: password.map(|found| found.password),
                identity,
                key_password: key_password.flatten(),
                own_probe_topic: group.probe_topic.as_ref().map(|(template, _)| {
                    template.fill(number, &id, &mut topic);
                    topic.as_str().into()
                }),
                labels: group.labels.clone(),
                conversation: conversation.clone().unwrap_or_else(|| Arc::new(group.talk.fill(number, &id))),
                settings: group.settings.clone(),
                id,
            });
        }
        if let Some(papers) = &group.papers {
            check.tell(papers.span.clone(), papers.key_password.as_ref().map(|password| &password.span), report);
        }
        if let Some(password) = &group.password {
            passwords.tell(&password.span, report);
        }
    }
    for (first, second, id, times) in shared {
        let title = match times {
            1 => format!("the client ID {} is there twice", quoted(&id)),
            _ => format!("{} client IDs are there twice, such as {}", thousands(times), quoted(&id)),
        };
        let draft = Draft::at(groups[second].id_span.clone(), title);
        let draft = match first == second {
            true => draft,
            false => draft.label("made here").also(groups[first].id_span.clone(), "and here"),
        };
        report.error(draft.help("brokers throw out a client when another comes with its ID; change `id` or `start`"));
    }
    clients
}

/// Reports a topic of probes that MQTT does not allow, or that clients had better not share.
fn check_probe_topic(topic: &str, span: &Range<usize>, group: &Group, is_own: bool, report: &mut Report<'_>) {
    if let Err(wrong) = check_topic(topic) {
        report.error(Draft::at(span.clone(), format!("the topic {} {wrong}", quoted(topic))));
    } else if group.count > 1 && !is_own && group.settings.probe.kind == ProbeKind::Echo {
        let clients = thousands(group.count);
        report.warning(
            Draft::at(span.clone(), format!("the echoes of {clients} clients go to one topic"))
                .help("each of them hears those of all; put %c or %i into the topic"),
        );
    }
}
