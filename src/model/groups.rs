//! Defines which clients belong together because they share a label's value; what a group measures or suffers is for others to say.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    fleet::{ClientKey, Fleet, Labels},
    text::Scrubbed,
};

/// A label's value that several clients share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub label: Scrubbed,
    pub value: Scrubbed,
    /// Clients that have it.
    pub size: u32,
}

/// The groups of a fleet, worked out once.
#[derive(Clone, Debug, Default)]
pub struct Groups {
    groups: Vec<Group>,
    /// The groups of each client; clients that share their labels share this, too.
    of_client: Vec<Arc<[u16]>>,
}

impl Groups {
    /// A label with more values than that tells clients apart, and groups nothing.
    pub const VALUES: usize = 64;
    /// The most groups there are; of more labels, the first ones by name have them.
    const MOST: usize = 1_024;

    pub fn of(fleet: &Fleet) -> Groups {
        let mut sizes: BTreeMap<&Scrubbed, BTreeMap<&Scrubbed, u32>> = BTreeMap::new();
        for client in fleet.keys().map(|key| fleet.client(key)) {
            for (label, value) in client.labels.iter() {
                *sizes.entry(label).or_default().entry(value).or_default() += 1;
            }
        }
        let mut groups = Vec::new();
        let mut places: BTreeMap<(&Scrubbed, &Scrubbed), u16> = BTreeMap::new();
        for (label, values) in &sizes {
            if values.len() > Self::VALUES || groups.len() + values.len() > Self::MOST {
                continue;
            }
            for (value, size) in values {
                places.insert((*label, *value), groups.len() as u16);
                groups.push(Group { label: (*label).clone(), value: (*value).clone(), size: *size });
            }
        }
        let mut known: BTreeMap<*const Labels, Arc<[u16]>> = BTreeMap::new();
        let of_client = fleet.clients.iter().map(|client| {
            let of = || client.labels.iter().filter_map(|pair| places.get(&pair).copied()).collect();
            known.entry(Arc::as_ptr(&client.labels)).or_insert_with(of).clone()
        });
        let of_client = of_client.collect();
        Groups { groups, of_client }
    }

    pub fn all(&self) -> &[Group] {
        &self.groups
    }

    /// The place of the one for the same label and value.
    pub fn place_of(&self, group: &Group) -> Option<usize> {
        self.groups.iter().position(|known| (&known.label, &known.value) == (&group.label, &group.value))
    }

    /// The places of a client's groups in [`Groups::all`].
    pub fn of_client(&self, client: ClientKey) -> &[u16] {
        &self.of_client[client.index()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::{Client, EndpointKey};

    #[test]
    fn clients_are_grouped_by_values_that_they_share() {
        let client = |n: u32| {
            let pair = |label: &str, value: String| (Scrubbed::new(label), Scrubbed::new(&value));
            let labels = [pair("site", format!("hall-{}", n % 3)), pair("serial", n.to_string())];
            let labels = if n == 9 { Labels::new() } else { labels.into() };
            Client { labels: Arc::new(labels), ..Client::new("c", EndpointKey(0), Arc::default()) }
        };
        let fleet = Fleet {
            name: Scrubbed::new("f"),
            env: None,
            worker_size: 500,
            endpoints: Vec::new(),
            clients: (0..100).map(client).collect(),
        };
        let groups = Groups::of(&fleet);
        let told: Vec<_> = groups.all().iter().map(|g| format!("{}={} {}", g.label, g.value, g.size)).collect();
        assert_eq!(told, ["site=hall-0 33", "site=hall-1 33", "site=hall-2 33"], "a serial number groups nothing");
        assert_eq!((groups.of_client(ClientKey(4)), groups.of_client(ClientKey(9))), (&[1u16][..], &[][..]));
    }
}
