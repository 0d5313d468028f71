//! The table of brokers: what is right in each cell of each kind of broker, held against what the program says and what the broker itself logs; how a cell is brought about, and the brokers, are in files of their own.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use mqfleet_test_support::certs::{Authority, VALID};

use super::trial::{Row, Said, Trial};

pub const PASSWORD: &str = "let-me-in-7";

/// A kind of broker.
pub struct Column {
    pub name: &'static str,
    /// The versions of MQTT that it speaks.
    pub versions: &'static [&'static str],
    /// Why there is none, where that is so.
    pub missing: fn() -> Option<&'static str>,
    /// Starts one with this certificate and key, which lets in `fleet`, `kicked` and `denied` with [`PASSWORD`].
    /// Who is `denied` may neither publish to `mqfleet/#` nor subscribe to `forbidden/#`. A limit is one of
    /// connections, to each door or to all.
    pub start: fn(&Path, &Path, Option<u32>) -> Box<dyn Broker>,
    /// What is right in a cell for a client that comes in this way, or why the broker cannot be made to do that.
    pub right: fn(Cell, Way) -> Result<Right, &'static str>,
}

/// A running broker.
pub trait Broker {
    fn ports(&self) -> Ports;
    /// What it logged, though it may have ended since: the logs of all its processes.
    fn logs(&self) -> Vec<String>;
    /// How it calls a user.
    fn user(&self, name: &str) -> String {
        name.to_owned()
    }
    /// Whether its doors know nothing of each other: what is said at one is not heard at the other.
    fn are_doors_apart(&self) -> bool {
        false
    }
    /// Throws off all of user `kicked`.
    fn kick(&mut self) {}
    /// Ends it by SIGKILL.
    fn kill(&mut self) {}
    /// Asks it to end.
    fn stop(&mut self) {}
}

#[derive(Clone, Copy)]
pub struct Ports {
    pub plain: u16,
    pub tls: u16,
}

/// How a client comes to its broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    pub version: &'static str,
    pub door: &'static str,
}

impl Way {
    pub fn is_v5(self) -> bool {
        self.version == "5"
    }

    pub fn is_tls(self) -> bool {
        self.door == "tls"
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cell {
    Right,
    Wrong,
    /// Subscribes at QoS 2.
    Subscribed,
    /// Publishes at this QoS, and gets it back.
    Qos(u8),
    Will,
    /// Another program connects with the same ID, again and again.
    Duplicate,
    ProbeRefused,
    SubscriptionRefused,
    Kicked,
    /// There is room for one.
    Full,
    Stopped,
    Killed,
}

impl Cell {
    pub const ALL: [Cell; 14] = [
        Cell::Right,
        Cell::Wrong,
        Cell::Subscribed,
        Cell::Qos(0),
        Cell::Qos(1),
        Cell::Qos(2),
        Cell::Will,
        Cell::Duplicate,
        Cell::ProbeRefused,
        Cell::SubscriptionRefused,
        Cell::Kicked,
        Cell::Full,
        Cell::Stopped,
        Cell::Killed,
    ];

    pub fn name(self) -> String {
        format!("{self:?}").replace(['(', ')'], "-").trim_end_matches('-').to_lowercase()
    }
}

/// What is right: what becomes of the client, the reason by its stable name, the sentence as it is shown, and what
/// the broker logs of it. In sentence and log `%c` is the client's ID, `%d` its door, and a `*` whatever differs.
#[derive(Clone, Copy)]
pub struct Right {
    /// The state that the client goes to, or what is told of it where it stays up: `shortfall`,
    /// `by heartbeat`, `answered` or `nothing`.
    pub outcome: &'static str,
    pub reason: &'static str,
    pub says: &'static str,
    pub log: Log,
}

/// What a broker's own log says of what happens to a client in a cell.
#[derive(Clone, Copy, Debug)]
pub enum Log {
    /// A line of it.
    Line(&'static str),
    /// Nothing, and why.
    Nothing(&'static str),
}

impl Right {
    pub fn up(log: &'static str) -> Right {
        Right::new("up", "connected", "connected", log)
    }

    pub fn new(outcome: &'static str, reason: &'static str, says: &'static str, log: &'static str) -> Right {
        Right { outcome, reason, says, log: Log::Line(log) }
    }

    /// It is lost, and the broker does not say why.
    pub fn closed(way: Way, log: &'static str) -> Right {
        Right::lost(way, false, log)
    }

    /// The same, where it does not take leave in TLS either.
    pub fn cut(way: Way, log: &'static str) -> Right {
        Right::lost(way, true, log)
    }

    fn lost(way: Way, is_cut: bool, log: &'static str) -> Right {
        let says = match way.is_tls() && is_cut {
            true => "connection lost: the broker closed the connection without taking leave in TLS",
            false => "connection lost: the broker closed the connection",
        };
        Right::new("backoff", "connection_lost", says, log)
    }

    /// What is named where another has the ID, and the broker does not say so.
    pub fn suspected(log: &'static str) -> Right {
        let says = "same client ID elsewhere, it seems: closed * times, each about * s after it came up";
        Right::new("backoff", "suspected_duplicate", says, log)
    }

    /// The client is up without its probe, which its broker does not take.
    pub fn muted(says: &'static str, log: &'static str) -> Right {
        Right::new("by heartbeat", "", says, log)
    }

    /// The broker acknowledges the probe that it does not let through.
    pub fn acknowledged(log: &'static str) -> Right {
        Right::new("answered", "", "as if it were allowed", log)
    }

    pub fn and_logs_nothing(self, why: &'static str) -> Right {
        Right { log: Log::Nothing(why), ..self }
    }
}

/// Where a pattern fits into a text: `*` is anything but a line end.
fn find(pattern: &str, text: &str) -> Option<std::ops::Range<usize>> {
    let mut pieces = pattern.split('*');
    let first = pieces.next()?;
    let pieces: Vec<&str> = pieces.collect();
    text.match_indices(first).find_map(|(start, _)| {
        let line_end = text[start..].find('\n').map_or(text.len(), |end| start + end);
        let mut end = start + first.len();
        for piece in &pieces {
            end += text.get(end..line_end)?.find(piece)? + piece.len();
        }
        (end <= line_end).then_some(start..end)
    })
}

/// Whether a pattern is all of a text.
pub fn is_all(pattern: &str, text: &str) -> bool {
    let ends = pattern.rsplit('*').next().is_none_or(|last| text.ends_with(last));
    ends && find(pattern, text)
        .is_some_and(|found| found.start == 0 && (found.end == text.len() || pattern.contains('*')))
}

/// Fills a broker's column, prints it, and fails where anything in it is wrong.
pub fn fill(column: &Column) {
    if let Some(why) = (column.missing)() {
        // Past the test harness, which would keep it to itself.
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), "skipped: {}: {why}", column.name);
        return;
    }
    let papers = Papers::new();
    let mut broker = papers.start(column, None);
    let mut rows = BTreeMap::new();
    for cell in Cell::ALL {
        let doors: &[&[&'static str]] = if cell == Cell::Full { &[&["tcp"], &["tls"]] } else { &[&["tcp", "tls"]] };
        for doors in doors {
            let trial = Trial { column, papers: &papers, cell, doors };
            let way = trial.clients()[0].1;
            if let Err(why) = (column.right)(cell, way) {
                rows.insert(cell, Err(why));
                continue;
            }
            if matches!(cell, Cell::Full | Cell::Stopped | Cell::Killed) {
                let limit = (cell == Cell::Full).then_some(1);
                drop(std::mem::replace(&mut broker, papers.start(column, limit)));
            }
            let before: Vec<usize> = broker.logs().iter().map(String::len).collect();
            let mut row = trial.run(&mut *broker);
            hold_against_its_logs(&mut row, &*broker, &before);
            let all = rows.entry(cell).or_insert_with(|| Ok(Row::new()));
            if let Ok(all) = all {
                all.append(&mut row);
            }
        }
    }
    print(column, &rows);
    let wrong = rows.values().flatten().flat_map(BTreeMap::values).filter(|said| !said.wrong.is_empty()).count();
    assert_eq!(wrong, 0, "{}: {wrong} are not right; its log ends:\n{}", column.name, tail(&broker.logs().concat()));
}

/// Looks up in the broker's logs, from there on, what is said of each client. Some brokers write theirs late.
fn hold_against_its_logs(row: &mut Row, broker: &dyn Broker, before: &[usize]) {
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        let logs = broker.logs();
        let new: String = logs.iter().zip(before).filter_map(|(log, before)| log.get(*before..)).collect();
        let mut is_missing = false;
        for said in row.values_mut().filter(|said| said.logged.is_empty()) {
            match said.log {
                Log::Nothing(why) => said.logged = format!("nothing: {why}"),
                Log::Line(_) => match find(&said.log_line, &new) {
                    Some(found) => {
                        let line_end = new[found.start..].find('\n').map_or(new.len(), |end| found.start + end);
                        let line = new[found.start..line_end].trim();
                        said.logged = line.chars().take(100).collect();
                    }
                    None => is_missing = true,
                },
            }
        }
        if !is_missing {
            return;
        }
        if Instant::now() > deadline {
            for said in row.values_mut().filter(|said| said.logged.is_empty()) {
                said.wrong = format!("it does not log {:?}", said.log_line);
            }
            return;
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

/// What was said alike: outcome, sentence, what is wrong about it.
type Alike<'a> = (&'a str, String, &'a str);

fn print(column: &Column, rows: &BTreeMap<Cell, Result<Row, &'static str>>) {
    let mut out = format!("\n== {} ==\n", column.name);
    for (cell, row) in rows {
        let row = match row {
            Ok(row) => row,
            Err(why) => {
                out += &format!("  {:<20} -  {why}\n", cell.name());
                continue;
            }
        };
        // Those that say the same are one line.
        let mut alike: BTreeMap<Alike, Vec<(&str, &Said)>> = BTreeMap::new();
        for (client, said) in row {
            let way = client.strip_prefix(&format!("{}-", cell.name())).unwrap_or(client);
            let sentence = said.sentence.replace(client, "…");
            alike.entry((&said.outcome, sentence, &said.wrong)).or_default().push((way, said));
        }
        for ((outcome, sentence, wrong), of) in alike {
            let mark = if wrong.is_empty() { " " } else { "!" };
            let ways: Vec<&str> = of.iter().map(|(way, _)| *way).collect();
            out += &format!("{mark} {:<20} {outcome}: {sentence}  [{}]\n", cell.name(), ways.join(", "));
            let logged = &of[0].1.logged;
            match wrong {
                "" => out += &format!("{:>23}its log: {logged}\n", ""),
                _ => out += &format!("{:>23}WRONG: {wrong}\n", ""),
            }
        }
    }
    use std::io::Write;
    let _ = write!(std::io::stderr(), "{out}");
}

/// Who signs the brokers' certificates, and the one that they show.
pub struct Papers {
    pub authority: Authority,
    server: (PathBuf, PathBuf),
}

impl Papers {
    fn new() -> Papers {
        let authority = Authority::new("brokers");
        let server = authority.issue("server", "DNS:localhost,IP:127.0.0.1", VALID);
        Papers { authority, server }
    }

    fn start(&self, column: &Column, limit: Option<u32>) -> Box<dyn Broker> {
        (column.start)(&self.server.0, &self.server.1, limit)
    }
}

#[test]
fn patterns_fit_or_do_not() {
    assert_eq!(find("a * c", "x\na b c d\n"), Some(2..7));
    assert_eq!(find("a * c", "a b\nc"), None);
    assert_eq!(find("b*d", "b c\nb d"), Some(4..7));
    assert!(is_all("a * c", "a b c") && !is_all("a * c", "a b c d") && !is_all("a", "a b") && is_all("a*", "a b"));
    assert!(!is_all("b*", "a b") && is_all("a * a", "a a a a"));
}
