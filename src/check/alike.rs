//! Defines how what a check found is put together, so that what many clients have alike is one line; what was found is the check's matter.

use indexmap::IndexMap;

use crate::{
    fleet::{ClientKey, EndpointKey, Fleet},
    text::Scrubbed,
    words::figures,
};

/// What was found, in the order in which it was: of whom what is said, and who they are.
#[derive(Debug, Default)]
pub(super) struct Alike(IndexMap<Found, Group>);

#[derive(Debug, PartialEq, Eq, Hash)]
struct Found {
    endpoint: EndpointKey,
    what: What,
    /// Why, without what differs from client to client and means nothing: names and times.
    kind: String,
}

#[derive(Debug)]
struct Group {
    clients: Vec<ClientKey>,
    /// What was said of the first.
    why: String,
}

/// What is said of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum What {
    NeverUp,
    /// It was up, and is not any more.
    ThrownOff,
    /// A subscription is not what was asked for.
    Shortfall,
}

impl Alike {
    pub(super) fn add(&mut self, fleet: &Fleet, what: What, client: ClientKey, endpoint: EndpointKey, why: &str) {
        let kind = untimed(&unnamed(why, &fleet.client(client).name));
        let group = self.0.entry(Found { endpoint, what, kind });
        group.or_insert_with(|| Group { clients: Vec::new(), why: why.to_owned() }).clients.push(client);
    }

    /// A line for each thing that was found.
    pub(super) fn lines<'a>(&'a self, fleet: &'a Fleet) -> impl Iterator<Item = String> + 'a {
        self.0.iter().map(|(found, group)| found.line(fleet, group))
    }
}

impl Found {
    fn line(&self, fleet: &Fleet, Group { clients, why }: &Group) -> String {
        let name = |client: &ClientKey| &fleet.client(*client).name;
        let place = fleet.endpoint(self.endpoint);
        let place = format!("{} ({})", place.name, Scrubbed::new(&place.address()));
        let (first, last) = (clients.iter().min_by_key(|c| c.index()), clients.iter().max_by_key(|c| c.index()));
        let (who, range, why) = match (clients.as_slice(), first, last) {
            ([told, _, ..], Some(first), Some(last)) => {
                let between = if clients.len() > 2 { "…" } else { "and" };
                let range = format!(" ({} {between} {})", name(first), name(last));
                (figures::clients(clients.len()), range, unnamed(why, name(told)))
            }
            ([client], ..) => (name(client).to_string(), String::new(), why.clone()),
            _ => return String::new(),
        };
        match self.what {
            What::NeverUp => format!("{who} could not connect to {place}: {why}{range}"),
            What::ThrownOff => format!("{who} connected to {place}, and lost that at once: {why}{range}"),
            What::Shortfall => format!("warning: {who} at {place}: {why}{range}"),
        }
    }
}

/// The words with `%c`, as in a fleet file, where they name the client.
fn unnamed(why: &str, name: &str) -> String {
    let mut said = String::with_capacity(why.len());
    let mut rest = why;
    let is_part = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    while let Some((before, after)) = rest.split_once(name).filter(|_| !name.is_empty()) {
        said.push_str(before);
        let is_name = !is_part(said.chars().next_back()) && !is_part(after.chars().next());
        said.push_str(if is_name { "%c" } else { name });
        rest = after;
    }
    said + rest
}

/// The words without the figures of times.
fn untimed(why: &str) -> String {
    let words: Vec<&str> = why.split(' ').collect();
    let is_time = |at: usize| {
        let unit = words.get(at + 1).map(|word| word.trim_end_matches([',', ';', ')']));
        words[at].trim_start_matches('(').parse::<f64>().is_ok() && unit.is_some_and(|u| ["µs", "ms", "s"].contains(&u))
    };
    let said = (0..words.len()).map(|at| if is_time(at) { "#" } else { words[at] });
    said.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::fleet::{Client, Endpoint};

    #[test]
    fn what_many_have_alike_is_one_line() {
        let client = |n: u32| Client::new(&format!("press-{n}"), EndpointKey(0), Arc::default());
        let fleet = Fleet {
            name: Scrubbed::new("f"),
            env: None,
            worker_size: 500,
            endpoints: vec![Endpoint::new("eu-1", "h", 1)],
            clients: (0..2_000).map(client).collect(),
        };
        let mut found = Alike::default();
        let endpoint = EndpointKey(0);
        for key in fleet.keys() {
            let why = format!("not authorized: press-{} is unknown, {} ms after CONNECT", key.0, key.0 / 9);
            let what = if key.0 == 7 { What::ThrownOff } else { What::NeverUp };
            found.add(&fleet, what, key, endpoint, &why);
        }
        for key in [ClientKey(4), ClientKey(3)] {
            found.add(&fleet, What::Shortfall, key, endpoint, "cmd/# refused");
        }
        assert_eq!(
            found.lines(&fleet).collect::<Vec<_>>(),
            [
                "1,999 clients could not connect to eu-1 (h:1): not authorized: %c is unknown, 0 ms after CONNECT (press-0 … press-1999)",
                "press-7 connected to eu-1 (h:1), and lost that at once: not authorized: press-7 is unknown, 0 ms after CONNECT",
                "warning: 2 clients at eu-1 (h:1): cmd/# refused (press-3 and press-4)",
            ]
        );
        assert_eq!(unnamed("a cat at cmd/a/#", "a"), "%c cat at cmd/%c/#");
        assert_eq!(untimed("closed (2.5 ms after) by 10.0.0.1 in 3 s"), "closed # ms after) by 10.0.0.1 in # s");
    }
}
