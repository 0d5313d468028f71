//! Defines how the tables of clients become single clients, within bounds and with no ID twice; what a table or an inventory says is read elsewhere.

mod listed;
mod numbered;

use std::{collections::HashMap, ops::Range, sync::Arc};

use self::{listed::Devices, numbered::Numbers};
use super::{
    Surroundings,
    conversation::Talk,
    identity::{Papers, Seen},
    inventory::Inventory,
    measuring::{Measuring, OfLabel},
    password::PasswordPattern,
    template::Template,
};
use crate::{
    document::{Draft, Report, quoted, thousands},
    fleet::{Client, Endpoint, EndpointKey, Labels, ProbeKind, Settings},
};

/// Clients in one file, at most.
pub(super) const CLIENTS_MAX: u64 = 1_000_000;
/// Bytes that all client IDs, user names and messages together may take.
const TEXTS_MAX: u64 = 256 << 20;
/// The longest text MQTT can carry, in bytes (MQTT 5.0 §1.5.4).
const TEXT_MAX: usize = 65_535;

/// Why a client that may come to speak MQTT 3.1.1 has no password without a user name.
pub(super) const NO_BARE_PASSWORD: &str =
    "MQTT 3.1.1 has none (§3.1.2.9), which \"auto\" may come to: add `username`, or use protocol = \"5\"";

/// One `[[client]]` table.
pub(super) struct Group {
    pub members: Members,
    pub endpoints: Arc<[EndpointKey]>,
    pub username: Option<Template>,
    pub password: Option<PasswordPattern>,
    pub papers: Option<Papers>,
    pub labels: Labels,
    /// With its place.
    pub probe_topic: Option<(Template, Range<usize>)>,
    pub talk: Talk,
    pub settings: Settings,
}

/// Which clients a table is for.
pub(super) enum Members {
    /// One, or several that differ in their number.
    Numbered { id: Template, id_span: Range<usize>, count: u64, count_span: Range<usize>, start: u64 },
    /// The devices of an inventory; the first has the number `start`. How they are measured is for their
    /// labels to say, but for what the table says itself.
    Listed { inventory: Inventory, start: u64, measuring: Measuring },
}

impl Group {
    /// Where the fleet file says which clients they are.
    fn span(&self) -> Range<usize> {
        match &self.members {
            Members::Numbered { id_span, .. } => id_span.clone(),
            Members::Listed { inventory, .. } => inventory.span.clone(),
        }
    }
}

/// Makes the clients of all tables, and reports IDs that are too long or there twice.
pub(super) fn expand(
    groups: &[Group],
    endpoints: &[Endpoint],
    of_labels: &mut [OfLabel],
    report: &mut Report<'_>,
    around: &Surroundings<'_>,
) -> Vec<Client> {
    let mut expansion = Expansion {
        groups,
        endpoints,
        report,
        around,
        clients: Vec::new(),
        owners: HashMap::new(),
        shared: Vec::new(),
        total: 0,
        texts: 0,
        seen: Seen::default(),
    };
    for (index, group) in groups.iter().enumerate() {
        let goes_on = match &group.members {
            Members::Numbered { id, id_span, count, count_span, start } => {
                let numbers = Numbers { id, id_span, count: *count, count_span, start: *start };
                expansion.numbered(index, group, numbers)
            }
            Members::Listed { inventory, start, measuring } => {
                expansion.listed(index, group, Devices { inventory, start: *start, measuring, of_labels })
            }
        };
        if !goes_on {
            return expansion.clients;
        }
    }
    expansion.tell_shared();
    expansion.clients
}

/// The clients so far, and what is counted of them.
struct Expansion<'a, 't> {
    groups: &'a [Group],
    endpoints: &'a [Endpoint],
    report: &'a mut Report<'t>,
    around: &'a Surroundings<'a>,
    clients: Vec<Client>,
    /// By ID: the table that has it, and the row of its inventory.
    owners: HashMap<Arc<str>, (usize, usize)>,
    /// The tables that share IDs, with the first such ID and how many there are.
    shared: Vec<(usize, usize, Arc<str>, u64)>,
    total: u64,
    texts: u64,
    seen: Seen,
}

impl Expansion<'_, '_> {
    /// Counts more clients; false where they are too many, which is told at `span`.
    fn has_room(&mut self, count: u64, span: &Range<usize>) -> bool {
        self.total += count;
        if self.total > CLIENTS_MAX {
            self.report.error(
                Draft::at(span.clone(), format!("{} clients are too many", thousands(self.total)))
                    .label("with those of the tables above")
                    .help(format!("a fleet has at most {} clients", thousands(CLIENTS_MAX))),
            );
        }
        self.total <= CLIENTS_MAX
    }

    /// Counts the bytes of more clients; false where they are too many, which is told at `span`.
    fn has_memory(&mut self, bytes: u64, span: &Range<usize>) -> bool {
        self.texts += bytes;
        if self.texts > TEXTS_MAX {
            self.report.error(
                Draft::at(span.clone(), "client IDs, user names and messages take too much memory")
                    .help(format!("together they may have at most {} MiB; make them shorter", TEXTS_MAX >> 20)),
            );
        }
        self.texts <= TEXTS_MAX
    }

    fn tell_shared(&mut self) {
        for (first, second, id, times) in &self.shared {
            let title = match times {
                1 => format!("the client ID {} is there twice", quoted(id)),
                _ => format!("{} client IDs are there twice, such as {}", thousands(*times), quoted(id)),
            };
            let draft = Draft::at(self.groups[*second].span(), title);
            let draft = match first == second {
                true => draft,
                false => draft.label("made here").also(self.groups[*first].span(), "and here"),
            };
            self.report
                .error(draft.help("brokers throw out a client when another comes with its ID; change `id` or `start`"));
        }
    }
}

/// Reports where so many clients had better not share the topic of their probes.
fn check_sharing(group: &Group, count: u64, report: &mut Report<'_>) {
    if let Some((template, span)) = &group.probe_topic
        && count > 1
        && !template.is_own()
        && group.settings.probe.kind == ProbeKind::Echo
    {
        report.warning(
            Draft::at(span.clone(), format!("the echoes of {} clients go to one topic", thousands(count)))
                .help("each of them hears those of all; put %c or %i into the topic"),
        );
    }
}
