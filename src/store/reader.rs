//! Defines how the rows of all agents of a fleet are read from a store, and what a query finds out about one; nothing is written.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, Utc};
use redis::cmd;
use tokio::time::sleep;

use super::{
    Trouble,
    entry::{Entry, stamp, time},
    keys::Keys,
    link::{Link, Linker},
};
use crate::{
    event::{Badge, Reason},
    fleet::{ProbeKind, Protocol},
    lines::{Row, UNKNOWN},
    query::{Field, Subject},
    telling,
    text::Scrubbed,
};

/// Rows that a store is asked for at once: nobody else waits long for it.
const AT_ONCE: usize = 1_000;

/// Where an agent is writing all of its rows, it is read again so often, after so long each time.
const AGAIN: usize = 5;
const SOON: Duration = Duration::from_millis(300);

/// The rows of a fleet at one time.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// By agent, then by client.
    pub rows: Vec<Row>,
    /// What is to be said of agents that are gone, or write their rows at this time.
    pub doubts: Vec<String>,
    /// Agents that there are.
    pub agents: usize,
    /// What time it is, by the clock of each agent's host.
    now: BTreeMap<Scrubbed, DateTime<Utc>>,
}

/// A row, as a query is asked of it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'s> {
    pub row: &'s Row,
    /// What time it is, by the clock that the row is by.
    pub now: DateTime<Utc>,
}

/// Reads the rows of a fleet.
///
/// # Errors
/// Why they cannot be read.
pub async fn read(store: &telling::Store, fleet: &str) -> Result<Snapshot, Trouble> {
    let keys = Keys::new(fleet);
    let link = Linker::new(store.clone(), "ls", keys.agents()).connect().await?;
    let mut agents = agents(&link, &keys).await?;
    let mut snapshot = Snapshot { agents: agents.len(), ..Snapshot::default() };
    for agent in &mut agents {
        let mut rows = rows(&link, &keys, &agent.name).await?;
        for _ in 0..AGAIN {
            if !agent.lacks(rows.len()) {
                break;
            }
            sleep(SOON).await;
            agent.look_again(&link, &keys).await?;
            rows = self::rows(&link, &keys, &agent.name).await?;
        }
        let Agent { name, entry, is_here } = &*agent;
        rows.iter_mut().for_each(|row| row.agent = Some(name.clone()));
        let now = now(&link).await?;
        let ahead = entry.as_ref().map_or(0, |entry| entry.clock_ms);
        snapshot.now.insert(name.clone(), now + chrono::Duration::milliseconds(ahead));
        if !is_here {
            let heard = entry.as_ref().and_then(Entry::heard);
            let since = heard.map(|heard| heard + chrono::Duration::milliseconds(ahead));
            rows.iter_mut().for_each(|row| *row = unknown(std::mem::take(row), since));
        }
        snapshot.doubts.extend(doubt(name, entry.as_ref(), *is_here, rows.len(), now));
        snapshot.rows.extend(rows);
    }
    Ok(snapshot)
}

/// An agent that is known to a store.
pub(super) struct Agent {
    pub name: Scrubbed,
    pub entry: Option<Entry>,
    pub is_here: bool,
}

impl Agent {
    /// Whether it has another number of clients, so that it is about to write.
    fn lacks(&self, rows: usize) -> bool {
        self.is_here && self.entry.as_ref().is_some_and(|entry| entry.clients as usize != rows)
    }

    async fn look_again(&mut self, link: &Link, keys: &Keys) -> Result<(), Trouble> {
        let entry: Option<String> = link.run(cmd("HGET").arg(keys.agents()).arg(self.name.as_str())).await?;
        self.entry = entry.and_then(|entry| serde_json::from_str(&entry).ok());
        self.is_here = link.run::<i64>(cmd("EXISTS").arg(keys.presence(&self.name))).await? == 1;
        Ok(())
    }
}

/// The agents of a fleet, by name.
pub(super) async fn agents(link: &Link, keys: &Keys) -> Result<Vec<Agent>, Trouble> {
    let entries: BTreeMap<String, String> = link.run(cmd("HGETALL").arg(keys.agents())).await?;
    if entries.is_empty() {
        return Ok(Vec::new());
    }
    let mut ask = cmd("MGET");
    entries.keys().for_each(|name| {
        ask.arg(keys.presence(name));
    });
    let present: Vec<Option<String>> = link.run(&ask).await?;
    let agent = |((name, entry), held): ((String, String), Option<String>)| Agent {
        name: Scrubbed::new(&name),
        entry: serde_json::from_str(&entry).ok(),
        is_here: held.is_some(),
    };
    Ok(entries.into_iter().zip(present).map(agent).collect())
}

/// The rows of an agent, by client. What is no row is left out.
pub(super) async fn rows(link: &Link, keys: &Keys, agent: &str) -> Result<Vec<Row>, Trouble> {
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    let mut cursor = "0".to_owned();
    loop {
        let mut ask = cmd("HSCAN");
        ask.arg(keys.rows(agent)).arg(&cursor).arg("COUNT").arg(AT_ONCE);
        let (next, found): (String, Vec<(String, String)>) = link.run(&ask).await?;
        // A row may come twice: the later one is no older.
        rows.extend(found.into_iter().filter_map(|(id, row)| Some((id, serde_json::from_str(&row).ok()?))));
        cursor = next;
        if cursor == "0" {
            return Ok(rows.into_values().collect());
        }
    }
}

/// The store's clock.
pub(super) async fn now(link: &Link) -> Result<DateTime<Utc>, Trouble> {
    let (seconds, micros): (i64, i64) = link.run(&cmd("TIME")).await?;
    DateTime::from_timestamp(seconds, (micros.clamp(0, 999_999) * 1_000) as u32)
        .ok_or_else(|| Trouble::new("the store's clock says nonsense"))
}

/// A row of which nothing is known any more, since its agent was last heard of.
fn unknown(row: Row, since: Option<DateTime<Utc>>) -> Row {
    Row {
        badge: Scrubbed::new(Badge::Unknown.word()),
        was: Some(row.state),
        state: Scrubbed::new(UNKNOWN),
        since: since.map_or(row.since, stamp),
        latency_us: None,
        p50_us: None,
        p99_us: None,
        ..row
    }
}

fn doubt(name: &str, entry: Option<&Entry>, is_here: bool, rows: usize, now: DateTime<Utc>) -> Option<String> {
    let Some(entry) = entry else { return Some(format!("agent {name} says nothing of itself that can be understood")) };
    if !is_here {
        let since =
            entry.heard().and_then(|heard| (now - heard).to_std().ok()).map(|time| Duration::from_secs(time.as_secs()));
        let since = since.map_or(String::new(), |time| format!(" for {}", humantime::format_duration(time)));
        let who = entry.words();
        return Some(format!("agent {name} ({who}) has not been heard of{since}: its {rows} clients are unknown"));
    }
    let clients = entry.clients as usize;
    (clients != rows).then(|| format!("agent {name} is writing its rows: {rows} of {clients} are there"))
}

impl Snapshot {
    /// The rows, as queries are asked of them.
    pub fn seen(&self) -> impl Iterator<Item = Seen<'_>> {
        let of = |agent: &Option<Scrubbed>| agent.as_ref().and_then(|agent| self.now.get(agent)).copied();
        self.rows.iter().map(move |row| Seen { row, now: of(&row.agent).unwrap_or_else(Utc::now) })
    }
}

impl Seen<'_> {
    /// For how long it has been so.
    pub fn age(&self) -> Duration {
        time(&self.row.since).and_then(|since| (self.now - since).to_std().ok()).unwrap_or_default()
    }

    fn known_reason(&self) -> Option<Reason> {
        Reason::ALL.into_iter().find(|reason| reason.name() == self.row.reason.as_str())
    }

    /// Why it is in its state; nothing where all is well.
    pub fn why(&self) -> String {
        if let Some(was) = &self.row.was {
            return format!("its agent is gone, it was {was}");
        }
        let words = self.known_reason().map_or(self.row.reason.as_str(), |reason| reason.words());
        match (self.badge(), self.row.detail.as_deref().unwrap_or_default()) {
            (Badge::Up, _) => String::new(),
            (Badge::Slow | Badge::Mute, _) => self.badge().words()[1].to_owned(),
            (_, "") => words.to_owned(),
            (_, detail) => format!("{words}: {detail}"),
        }
    }
}

/// What a row does not say is not known.
impl Subject for Seen<'_> {
    fn badge(&self) -> Badge {
        Badge::ALL.into_iter().find(|badge| badge.word() == self.row.badge.as_str()).unwrap_or(Badge::Unknown)
    }

    fn is_down(&self) -> bool {
        self.badge().is_down()
    }

    fn reason(&self) -> Option<Reason> {
        self.known_reason()
    }

    fn protocol(&self) -> Option<Protocol> {
        None
    }

    fn scheme(&self) -> Option<&'static str> {
        None
    }

    fn probe(&self) -> Option<ProbeKind> {
        None
    }

    fn text(&self, field: Field, is_it: &mut dyn FnMut(&str) -> bool) -> bool {
        match field {
            Field::Id => is_it(&self.row.client),
            // Its agent is where it is, too.
            Field::Endpoint => is_it(&self.row.endpoint) || self.row.agent.as_deref().is_some_and(is_it),
            Field::Why => is_it(&self.why()),
            _ => false,
        }
    }

    fn label(&self, is_it: &mut dyn FnMut(&str, &str) -> bool) -> bool {
        self.row.labels.iter().flatten().any(|(name, value)| is_it(name, value))
    }

    fn figure(&self, field: Field) -> Option<u64> {
        let row = self.row;
        let is_up = row.was.is_none() && row.state.as_str() == "up";
        let time = match field {
            Field::P50 => return row.p50_us,
            Field::P99 => return row.p99_us,
            Field::Latency => return row.latency_us,
            Field::Reconnects => return Some(row.reconnects.unwrap_or(0).into()),
            Field::Attempt => return Some(row.attempt.unwrap_or(0).into()),
            Field::Up if is_up => self.age(),
            Field::Down if self.is_down() => self.age(),
            Field::For => self.age(),
            _ => return None,
        };
        u64::try_from(time.as_micros()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::Query;

    const ROW: &str = r#"{"client":"press-1","endpoint":"eu-1","badge":"wait","state":"backoff",
        "since":"2026-11-29T12:00:00.000Z","p99_us":250000,"reconnects":2,"reason":"connection_lost","detail":"by \u001b[31m",
        "labels":{"site":"hall-3"},"later":"a field of another version"}"#;

    #[test]
    fn a_row_is_asked_as_a_client_is_and_what_it_does_not_say_is_not_known() {
        let row: Row = serde_json::from_str(ROW).expect("a row");
        let now = time("2026-11-29T12:10:00Z").expect("a time");
        let seen = Seen { row: &row, now };
        for (query, is) in [
            ("", true),
            ("state:down down>9m down<11m", true),
            ("reason:connection_lost for>=10m", true),
            ("why:lost label.site=hall-3 p99>200ms reconnects=2", true),
            ("press lost", true),
            ("state:up or up>1s or attempt>0", false),
            ("protocol:5 or protocol:3.1.1 or transport:mqtt", false),
            ("silent>1s or latency>0ms", false),
        ] {
            assert_eq!(Query::parse(query).expect(query).matches(&seen), is, "{query}");
        }
        assert_eq!(seen.why(), "connection lost: by \u{241b}[31m", "what others wrote is scrubbed");
    }

    #[test]
    fn of_who_is_gone_nothing_is_known_but_what_it_was() {
        let row: Row = serde_json::from_str(ROW).expect("a row");
        let since = time("2026-11-29T12:05:00Z");
        let row = unknown(row, since);
        let seen = Seen { row: &row, now: time("2026-11-29T12:10:00Z").expect("a time") };
        assert_eq!((seen.badge(), seen.age().as_secs(), seen.is_down()), (Badge::Unknown, 300, false));
        assert_eq!(seen.why(), "its agent is gone, it was backoff");
        assert!(Query::parse("state:unknown -state:up").expect("a query").matches(&seen));
        assert!(
            row.line().contains(r#""state":"unknown","was":"backoff","since":"2026-11-29T12:05:00.000Z""#),
            "{}",
            row.line()
        );
    }
}
