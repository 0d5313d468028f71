//! Defines what a query finds out about a client: its row, and what of the fleet belongs to it, at one moment.

use crate::{
    clock::Moment,
    event::{Badge, Reason, State},
    fleet::{Client, ClientKey, ProbeKind, Protocol},
    model::{known::Known, row::Row},
    query::{Field, Subject, Values},
};

/// What is known of a client at a moment.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'k> {
    known: &'k Known,
    key: ClientKey,
    row: &'k Row,
    now: Moment,
}

impl Known {
    /// What a query can be asked of; times are told as of `now`.
    pub fn facts(&self, client: ClientKey, now: Moment) -> Facts<'_> {
        Facts { known: self, key: client, row: self.row(client), now }
    }
}

impl<'k> Facts<'k> {
    fn client(&self) -> &'k Client {
        self.known.fleet().client(self.key)
    }

    /// Whether `is_it` is true of the reason, or of a part of it, as the row shows it; what is well shows none.
    fn why(&self, is_it: &mut dyn FnMut(&str) -> bool) -> bool {
        let row = self.row;
        if row.is_unknown {
            return is_it("its agent is gone") || is_it(&row.detail);
        }
        let next = match row.state {
            State::Up => return row.slow.is_some_and(|slow| is_it(slow.words())),
            State::Connecting if row.reason == Reason::Start => return false,
            State::Backoff | State::Failed if row.next_try.is_some() => "retry",
            State::Held if row.next_try.is_some() => "probe",
            _ => "",
        };
        is_it(row.reason.words()) || (!row.detail.is_empty() && is_it(&row.detail)) || (!next.is_empty() && is_it(next))
    }
}

impl Subject for Facts<'_> {
    fn badge(&self) -> Badge {
        self.row.badge()
    }

    fn is_down(&self) -> bool {
        self.row.is_down()
    }

    fn reason(&self) -> Option<Reason> {
        Some(self.row.reason)
    }

    fn protocol(&self) -> Option<Protocol> {
        Some(self.client().settings.protocol)
    }

    fn scheme(&self) -> Option<&'static str> {
        Some(self.known.fleet().endpoint(self.row.endpoint).transport.scheme())
    }

    fn probe(&self) -> Option<ProbeKind> {
        Some(self.row.probe(&self.client().settings))
    }

    fn text(&self, field: Field, is_it: &mut dyn FnMut(&str) -> bool) -> bool {
        match field {
            Field::Id => is_it(&self.client().name),
            Field::Endpoint => {
                // Its agent is where it is, too.
                let agent = self.known.fleet().agent_of(self.key);
                is_it(&self.known.fleet().endpoint(self.row.endpoint).name) || agent.is_some_and(|a| is_it(&a.name))
            }
            Field::Address => is_it(&self.known.fleet().endpoint(self.row.endpoint).address()),
            Field::Why => self.why(is_it),
            _ => false,
        }
    }

    fn label(&self, is_it: &mut dyn FnMut(&str, &str) -> bool) -> bool {
        self.client().labels.iter().any(|(name, value)| is_it(name, value))
    }

    fn figure(&self, field: Field) -> Option<u64> {
        let (row, now) = (self.row, self.now);
        let is_up = row.is_up();
        let share = |part: f64| (part * 1e6).round() as u64;
        let time = match field {
            Field::P99 => row.p99(now)?,
            Field::P50 => row.answers()?.quantile(now, 0.5)?,
            Field::Latency => row.last.filter(|_| is_up)?.1,
            Field::Silent => row.wait(now)?,
            Field::Up if is_up => now.since(row.since),
            Field::Down => now.since(row.record.outage()?),
            Field::For => now.since(row.since),
            Field::Next => row.next_try?.since(now),
            Field::Rtt => row.link.as_deref()?.tcp.rtt,
            Field::Loss => {
                let (answered, lost) = row.answers()?.loss(now);
                return (answered + lost > 0).then(|| share(f64::from(lost) / f64::from(answered + lost)));
            }
            Field::Availability => return row.record.share(now).map(share),
            Field::Reconnects => return Some(row.reconnects.into()),
            Field::Attempt => return Some(row.attempt.into()),
            Field::Received => return Some(row.received),
            Field::Published => return Some(row.published),
            Field::Refused => return Some(row.refused),
            Field::Retransmits => return Some(row.link.as_deref()?.tcp.retransmits.into()),
            _ => return None,
        };
        Some(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
    }
}

/// The most client IDs that are looked at for what may be meant: more are nothing to choose from.
const LOOKED_AT: usize = 10_000;

impl Values for Known {
    fn labels(&self) -> Vec<String> {
        let mut names: Vec<String> = self.groups().all().iter().map(|group| group.label.to_string()).collect();
        names.dedup();
        names
    }

    fn values(&self, field: Field, label: Option<&str>, begin: &str) -> Vec<String> {
        let fleet = self.fleet();
        let endpoints = fleet.endpoint_keys().map(|key| fleet.endpoint(key));
        match field {
            Field::Endpoint => endpoints.map(|endpoint| endpoint.name.to_string()).collect(),
            Field::Address => endpoints.map(|endpoint| endpoint.address()).collect(),
            Field::Label | Field::LabelNamed => {
                let is_it = |name: &str| label.is_none_or(|label| name.eq_ignore_ascii_case(label));
                let groups = self.groups().all().iter().filter(|group| is_it(&group.label));
                groups.map(|group| group.value.to_string()).collect()
            }
            Field::Id if !begin.is_empty() => {
                let names = fleet.keys().map(|key| fleet.client(key).name.as_str());
                let lower = begin.to_lowercase();
                let begun = names.filter(|name| name.get(..lower.len()).is_some_and(|b| b.to_lowercase() == lower));
                begun.take(LOOKED_AT).map(str::to_owned).collect()
            }
            _ => Vec::new(),
        }
    }
}
