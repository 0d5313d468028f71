//! Defines how a table of clients that differ in their number becomes single clients.

use std::{ops::Range, sync::Arc};

use super::{
    super::{
        conversation::check_topic,
        identity::{Check, Papers},
        password::{For, PasswordCheck},
        template::Template,
    },
    Expansion, Group, TEXT_MAX, check_sharing,
};
use crate::{
    document::{Draft, quoted, thousands},
    fleet::Client,
    text::Scrubbed,
};

/// The numbers of a table's clients, and what is made of each.
pub(super) struct Numbers<'a> {
    pub id: &'a Template,
    pub id_span: &'a Range<usize>,
    pub count: u64,
    pub count_span: &'a Range<usize>,
    pub start: u64,
}

impl Expansion<'_, '_> {
    /// Makes the clients of a table; false where there is no use in going on.
    pub(super) fn numbered(&mut self, index: usize, group: &Group, numbers: Numbers<'_>) -> bool {
        let Numbers { id: id_of, id_span, count, count_span, start } = numbers;
        if !self.has_room(count, count_span) {
            return false;
        }
        let (mut id, mut username) = (String::new(), String::new());
        // The last number is the longest, and texts of one table differ in their numbers only.
        id_of.fill(start + count - 1, "", &mut id);
        if let Some(template) = &group.username {
            template.fill(start + count - 1, &id, &mut username);
        }
        let mut topic = String::new();
        if let Some((template, span)) = &group.probe_topic {
            template.fill(start + count - 1, &id, &mut topic);
            if let Err(wrong) = check_topic(&topic) {
                self.report.error(Draft::at(span.clone(), format!("the topic {} {wrong}", quoted(&topic))));
            }
            check_sharing(group, count, self.report);
        }
        let longest = id.len().max(username.len());
        let talk = group.talk.check(start + count - 1, &id, id_span.clone(), self.report);
        if longest > TEXT_MAX {
            let what = if id.len() > TEXT_MAX { "client IDs" } else { "user names" };
            self.report.error(
                Draft::at(id_span.clone(), format!("{what} of {} bytes are too long", thousands(longest as u64)))
                    .help("MQTT carries at most 65,535 bytes (MQTT 5.0 §1.5.4)"),
            );
            return true;
        }
        if !self.has_memory(count * (talk + (id.len() + username.len() + topic.len()) as u64), id_span) {
            return false;
        }
        let around = self.around;
        let common = group.username.as_ref().filter(|t| !t.is_own()).map(|_| Arc::<str>::from(username.as_str()));
        let conversation = group.talk.common();
        let (labels, settings) = (Arc::new(group.labels.clone()), Arc::new(group.settings.clone()));
        let mut check = Check::new(&mut self.seen, around);
        let papers = group.papers.as_ref().filter(|p| !p.is_own());
        let identity = papers.map(|p| p.fill(For::default(), &mut check, around));
        let mut passwords = PasswordCheck::default();
        self.clients.reserve(count as usize);
        self.owners.reserve(count as usize);
        for number in start..start + count {
            id_of.fill(number, "", &mut id);
            let id: Arc<str> = id.as_str().into();
            if let Some((first, _)) = self.owners.insert(id.clone(), (index, 0)) {
                match self.shared.iter_mut().find(|(a, b, _, _)| (*a, *b) == (first, index)) {
                    Some((_, _, _, times)) => *times += 1,
                    None => self.shared.push((first, index, id.clone(), 1)),
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
            self.clients.push(Client {
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
                labels: labels.clone(),
                conversation: conversation.clone().unwrap_or_else(|| Arc::new(group.talk.fill(number, &id))),
                settings: settings.clone(),
                id,
                is_gone: false,
            });
        }
        if let Some(papers) = &group.papers {
            check.tell(papers.span.clone(), papers.key_password.as_ref().map(|password| &password.span), self.report);
        }
        if let Some(password) = &group.password {
            passwords.tell(&password.span, self.report);
        }
        true
    }
}
