//! Defines the one match of clients that a fleet file has (`match = …`), which is a query; who asks it, and what for, is elsewhere.

use std::fmt;

use crate::{
    event::{Badge, Reason},
    fleet::{Client, Endpoint, Fleet, ProbeKind, Protocol},
    query::{Field, Query, Subject},
};

/// Which clients are meant; all where it says nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Match(Query);

impl Match {
    pub fn of(query: Query) -> Match {
        Match(query)
    }

    /// Whether it is for a client as it stands.
    pub fn is_for(&self, client: &impl Subject) -> bool {
        self.0.matches(client)
    }

    /// Whether it is for a client of which only the definition counts: at any of its endpoints.
    pub fn is_for_defined(&self, client: &Client, fleet: &Fleet) -> bool {
        self.0.matches(&Defined { client, fleet })
    }

    /// Whether it is never for a client, whatever becomes of it.
    pub fn is_never_for(&self, client: &Client, fleet: &Fleet) -> bool {
        self.0.is_of_definition() && !self.is_for_defined(client, fleet)
    }

    /// Whether it is for nobody of this fleet, whatever becomes of the clients.
    pub fn is_for_nobody(&self, fleet: &Fleet) -> bool {
        self.0.is_of_definition() && !fleet.keys().any(|key| self.is_for_defined(fleet.client(key), fleet))
    }
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A client as it is defined. What it becomes is never asked for: a query that does is none here.
struct Defined<'f> {
    client: &'f Client,
    fleet: &'f Fleet,
}

impl<'f> Defined<'f> {
    fn endpoints(&self) -> impl Iterator<Item = &'f Endpoint> {
        self.client.endpoints.iter().map(|&key| self.fleet.endpoint(key))
    }
}

impl Subject for Defined<'_> {
    fn badge(&self) -> Badge {
        Badge::Off
    }

    fn is_down(&self) -> bool {
        false
    }

    fn reason(&self) -> Option<Reason> {
        Some(Reason::NotStarted)
    }

    fn protocol(&self) -> Option<Protocol> {
        Some(self.client.settings.protocol)
    }

    fn scheme(&self) -> Option<&'static str> {
        Some(self.fleet.endpoint(self.client.endpoint()).transport.scheme())
    }

    fn probe(&self) -> Option<ProbeKind> {
        Some(self.client.settings.probe.kind)
    }

    fn text(&self, field: Field, is_it: &mut dyn FnMut(&str) -> bool) -> bool {
        match field {
            Field::Id => is_it(&self.client.name),
            Field::Endpoint => self.endpoints().any(|endpoint| is_it(&endpoint.name)),
            Field::Address => self.endpoints().any(|endpoint| is_it(&endpoint.address())),
            _ => false,
        }
    }

    fn label(&self, is_it: &mut dyn FnMut(&str, &str) -> bool) -> bool {
        self.client.labels.iter().any(|(name, value)| is_it(name, value))
    }

    fn figure(&self, _: Field) -> Option<u64> {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        fleet::{EndpointKey, Labels},
        query::Scope,
        text::Scrubbed,
    };

    #[test]
    fn a_definition_is_asked_of_all_of_its_endpoints_and_nothing_else() {
        let mut client = Client::new("press-1", EndpointKey(0), Arc::default());
        client.endpoints = [EndpointKey(0), EndpointKey(1)].into();
        let text = Scrubbed::new;
        client.labels = Arc::new(Labels::from([(text("site"), text("hall-3")), (text("line"), text("7"))]));
        let fleet = Fleet {
            name: text("f"),
            env: None,
            worker_size: 500,
            endpoints: vec![Endpoint::new("eu-1", "127.0.0.1", 1883), Endpoint::new("eu-2", "127.0.0.2", 1883)],
            clients: vec![client],
        };
        for (query, is) in [
            ("", true),
            ("id:press-*", true),
            ("id=press", false),
            ("endpoint:eu-2", true),
            ("-endpoint:eu-2", false),
            ("address:127.0.0.2", true),
            ("label.site=hall-1,hall-3 label:7", true),
            ("label.site=hall-1 or transport:mqtts", false),
            ("id~^oven", false),
        ] {
            let matching = Match::of(Query::parse_in(query, Scope::Definition).unwrap());
            assert_eq!(matching.is_for_defined(&fleet.clients[0], &fleet), is, "{query}");
            assert_eq!(matching.is_for_nobody(&fleet), !is, "{query}");
        }
        let may_be = Match::of(Query::parse("id:oven-* state:up").unwrap());
        assert!(!may_be.is_for_nobody(&fleet), "only time can tell");
    }
}
