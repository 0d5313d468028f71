//! The table of brokers: what the program says in each cell, held against what is right there; the brokers are in files of their own.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use mqfleet_test_support::{
    certs::{Authority, VALID},
    fleet_file::FleetFile,
    headless::{Headless, Heard},
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

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
    /// What is right in a cell, where that is not what is usual.
    pub differs: fn(Cell) -> Option<Expected>,
}

/// A running broker. What it cannot be made to do returns false.
pub trait Broker {
    fn ports(&self) -> Ports;
    /// What it logged.
    fn log(&self) -> String;
    /// How it calls a user.
    fn user(&self, name: &str) -> String {
        name.to_owned()
    }
    fn can(&self, _: Cell) -> bool {
        true
    }
    /// Whether its doors know nothing of each other: what is said at one is not heard at the other.
    fn are_doors_apart(&self) -> bool {
        false
    }
    /// What it logs in a cell, where it logs that in words of its own.
    fn logs(&self, _: Cell) -> Option<&'static str> {
        None
    }
    /// Throws off all of user `kicked`.
    fn kick(&mut self) -> bool {
        false
    }
    /// Ends it by SIGKILL.
    fn kill(&mut self) -> bool {
        false
    }
    /// Asks it to end.
    fn stop(&mut self) -> bool {
        false
    }
}

#[derive(Clone, Copy)]
pub struct Ports {
    pub plain: u16,
    pub tls: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cell {
    Right,
    Wrong,
    Qos(u8),
    Will,
    Duplicate,
    ProbeRefused,
    SubscriptionRefused,
    Kicked,
    Full,
    Stopped,
    Killed,
}

impl Cell {
    const ALL: [Cell; 13] = [
        Cell::Right,
        Cell::Wrong,
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

    fn name(self) -> String {
        format!("{self:?}").replace(['(', ')'], "-").trim_end_matches('-').to_lowercase()
    }

    /// What is right, where a broker is not known to do otherwise.
    fn usual(self) -> Expected {
        const LOST: &[&str] = &["connection_lost", "connection_reset"];
        match self {
            Cell::Right | Cell::Qos(_) | Cell::Will => Expected { outcomes: &["up"], reasons: &["connected"] },
            Cell::Wrong => Expected { outcomes: &["failed"], reasons: &["bad_credentials", "not_authorized"] },
            Cell::Duplicate => Expected {
                outcomes: &["backoff"],
                reasons: &["session_taken_over", "connection_lost", "connection_reset"],
            },
            Cell::ProbeRefused => Expected { outcomes: ANY_REFUSAL, reasons: &[] },
            Cell::SubscriptionRefused => Expected { outcomes: &["shortfall"], reasons: &[] },
            Cell::Kicked => Expected {
                outcomes: &["backoff", "failed"],
                reasons: &[
                    "connection_lost",
                    "connection_reset",
                    "administrative_action",
                    "not_authorized",
                    "session_taken_over",
                ],
            },
            Cell::Full => Expected {
                outcomes: &["backoff", "failed", "held"],
                reasons: &[
                    "connection_lost",
                    "connection_reset",
                    "server_unavailable",
                    "server_busy",
                    "quota_exceeded",
                    "connect_timeout",
                    "tls_failed",
                ],
            },
            Cell::Stopped => Expected {
                outcomes: &["backoff", "held"],
                reasons: &["connection_lost", "connection_reset", "server_shutting_down", "administrative_action"],
            },
            Cell::Killed => Expected { outcomes: &["backoff", "held"], reasons: LOST },
        }
    }
}

/// Whatever a client that is up can say of a probe that its broker does not take: it falls back, is late, or lost.
pub const ANY_REFUSAL: &[&str] = &["notice", "late", "shortfall", "backoff", "failed", "held"];

/// What may be said in a cell. Without reasons, any that there is.
#[derive(Clone, Copy)]
pub struct Expected {
    pub outcomes: &'static [&'static str],
    pub reasons: &'static [&'static str],
}

/// What was said of a client.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Said {
    outcome: String,
    reason: String,
    detail: String,
}

/// What a row of the table shows: what was said of each way in, and whether it is right.
type Row = BTreeMap<String, (Said, bool)>;

/// Fills a broker's column, prints it, and fails where anything in it is wrong.
pub fn fill(column: &Column) {
    if let Some(why) = (column.missing)() {
        // Past the test harness, which would keep it to itself.
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), "skipped: {}: {why}", column.name);
        return;
    }
    let mut rows = BTreeMap::new();
    let papers = Papers::new();
    let mut broker = papers.start(column, None);
    let mut log = String::new();
    for cell in Cell::ALL {
        if cell == Cell::Full {
            drop(std::mem::replace(&mut broker, papers.start(column, Some(1))));
        } else if cell == Cell::Stopped || (cell == Cell::Killed && broker.can(cell)) {
            drop(std::mem::replace(&mut broker, papers.start(column, None)));
        }
        let trial = Trial { column, papers: &papers, cell };
        if broker.can(cell)
            && let Some(row) = trial.run(&mut *broker)
        {
            rows.insert(cell, row);
        }
        log = broker.log();
        if let Some(words) = broker.logs(cell).filter(|_| rows.contains_key(&cell)) {
            assert!(log.contains(words), "{}: in {cell:?} it did not log {words:?}:\n{}", column.name, tail(&log));
        }
    }
    print(column, &rows);
    let wrong = rows.values().flat_map(BTreeMap::values).filter(|(_, is_right)| !is_right).count();
    assert_eq!(wrong, 0, "{}: {wrong} are not right; its log ends:\n{}", column.name, tail(&log));
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

fn print(column: &Column, rows: &BTreeMap<Cell, Row>) {
    let mut out = format!("\n== {} ==\n", column.name);
    for cell in Cell::ALL {
        let Some(row) = rows.get(&cell) else {
            out += &format!("  {:<20} -  it cannot be made to\n", cell.name());
            continue;
        };
        // Those that say the same are one line.
        let mut alike: BTreeMap<(&Said, bool), Vec<&str>> = BTreeMap::new();
        row.iter().for_each(|(way, (said, is_right))| alike.entry((said, *is_right)).or_default().push(way));
        for ((said, is_right), ways) in alike {
            let mark = if is_right { " " } else { "!" };
            let Said { outcome, reason, detail } = said;
            out += &format!("{mark} {:<20} {outcome} {reason}: {detail}  [{}]\n", cell.name(), ways.join(", "));
        }
    }
    use std::io::Write;
    let _ = write!(std::io::stderr(), "{out}");
}

struct Papers {
    authority: Authority,
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

/// One cell at one broker, with a client for each way in: version and door.
struct Trial<'a> {
    column: &'a Column,
    papers: &'a Papers,
    cell: Cell,
}

impl Trial<'_> {
    /// What was said; `None` where the broker cannot be made to do it.
    fn run(&self, broker: &mut dyn Broker) -> Option<Row> {
        let file = self.fleet(broker, "");
        let ways = self.ways(broker);
        let program = run(&file);
        let up = |h: &Heard| ways.iter().all(|way| h.states.get(way).is_some_and(|state| state == "up"));
        let comes_up = !matches!(self.cell, Cell::Wrong | Cell::Full);
        if comes_up && !settle(&program, up) {
            return Some(self.judged(&program, &ways, refused));
        }
        match self.cell {
            Cell::Right => {
                settle(&program, |h| ways.iter().all(|way| h.of_type("sample").any(|l| l["client"] == **way)));
            }
            Cell::Qos(_) => {
                let wanted = 3 * ways.len() as u64;
                if !settle(&program, |h| received(h) >= wanted) {
                    return Some(self.judged(&program, &ways, refused));
                }
            }
            Cell::Will => {
                let file = self.ears(broker);
                let ears = run(&file);
                let hears = |count| settle(&ears, |h| received(h) >= count);
                let is_heard = |way: &&String| !broker.are_doors_apart() || way.ends_with("tcp");
                let count = ways.iter().filter(is_heard).count() as u64;
                // The ears hear their own birth; then of each its will, and its next birth.
                let first = settle(&ears, |h| received(h) > 0);
                let before = received(&ears.heard());
                let worker = program.workers()[&0];
                kill_process(Pid::from_raw(worker as i32)?, Signal::KILL).expect("to kill a worker");
                if !first || !hears(before + 2 * count) {
                    return Some(self.judged(&program, &ways, refused));
                }
                settle(&program, up);
            }
            Cell::Duplicate => {
                let file = self.fleet(broker, "reconnect = { strategy = 'never' }");
                let other = run(&file);
                let row = self.judged(&program, &ways, lost);
                drop(other);
                return Some(row);
            }
            Cell::Kicked if !broker.kick() => return None,
            Cell::Stopped if !broker.stop() => return None,
            Cell::Killed if !broker.kill() => return None,
            _ => {}
        }
        let row = match self.cell {
            Cell::Right | Cell::Qos(_) | Cell::Will => self.judged(&program, &ways, |h, way| {
                let last = h.of_type("state").filter(|l| l["client"] == *way && l["to"] == "up").last()?;
                (h.states.get(way).is_some_and(|state| state == "up")).then(|| said(last))
            }),
            Cell::Wrong => self.judged(&program, &ways, |h, way| {
                h.of_type("state").find(|l| l["client"] == *way && l["from"] == "connecting").map(said)
            }),
            Cell::Full => self.full(&program, &ways),
            Cell::SubscriptionRefused | Cell::ProbeRefused => self.judged(&program, &ways, refused),
            _ => self.judged(&program, &ways, lost),
        };
        Some(row)
    }

    /// One of these finds room.
    fn full(&self, program: &Headless, ways: &[String]) -> Row {
        // It is held at first, until its endpoint was asked.
        let is_first = |l: &Value| l["reason"] == "start" || text(l, "reason").starts_with("endpoint");
        let outcome = |h: &Heard, way: &str| {
            let mut steps = h.of_type("state").filter(|l| l["client"] == *way);
            steps.find(|l| l["from"] == "connecting" || (l["to"] == "held" && !is_first(l))).map(said)
        };
        let mut row = self.judged(program, ways, outcome);
        // Who came up is right, as long as others did not.
        let up = row.values().filter(|(said, _)| said.outcome == "up").count();
        let is_full = up < row.len();
        row.values_mut().filter(|(said, _)| said.outcome == "up").for_each(|(_, is_right)| *is_right = is_full);
        row
    }

    /// Waits until something is said of every client, and judges it.
    fn judged(&self, program: &Headless, ways: &[String], outcome: impl Fn(&Heard, &str) -> Option<Said>) -> Row {
        settle(program, |h| ways.iter().all(|way| outcome(h, way).is_some()));
        let heard = program.heard();
        let expected = (self.column.differs)(self.cell).unwrap_or(self.cell.usual());
        let judge = |way: &String| {
            let said = outcome(&heard, way);
            let nothing = || {
                let last = heard.of_type("state").filter(|l| l["client"] == **way).last().map(said_plainly);
                Said { outcome: "nothing".into(), reason: "in time".into(), detail: last.unwrap_or_default() }
            };
            let short = way.strip_prefix(&format!("{}-", self.cell.name())).unwrap_or(way).to_owned();
            let said = said.unwrap_or_else(nothing);
            let is_right = expected.holds(&said);
            (short, (said, is_right))
        };
        ways.iter().map(judge).collect()
    }

    /// The IDs of the clients, one for each way in.
    fn ways(&self, broker: &dyn Broker) -> Vec<String> {
        let doors: &[&str] = if broker.ports().tls.is_some() { &["tcp", "tls"] } else { &["tcp"] };
        let versions = self.column.versions.iter().map(|version| version.replace('.', ""));
        let pairs = versions.flat_map(|version| doors.iter().map(move |door| format!("{version}-{door}")));
        // Where there is room for one at each door, there are two.
        let also = |pair: &String| (self.cell == Cell::Full).then(|| format!("more-{pair}"));
        let all = pairs.flat_map(|pair| [also(&pair), Some(pair)]).flatten();
        all.map(|pair| format!("{}-{pair}", self.cell.name())).collect()
    }

    fn fleet(&self, broker: &dyn Broker, more: &str) -> FleetFile {
        let Ports { plain, tls } = broker.ports();
        let user = match self.cell {
            Cell::Kicked => "kicked",
            Cell::ProbeRefused | Cell::SubscriptionRefused => "denied",
            _ => "fleet",
        };
        let password = if self.cell == Cell::Wrong { "not-mine-9" } else { PASSWORD };
        let conversation = match self.cell {
            Cell::Qos(qos) => format!(
                "subscribe = [{{ topic = 'free/%c', qos = {qos} }}]\n\
                 publish = {{ topic = 'free/%c', payload = '%s', qos = {qos}, every = '100ms' }}\n"
            ),
            Cell::Will => "will = { topic = 'ends/%c', payload = 'w', qos = 1 }\n\
                           birth = { topic = 'ends/%c', payload = 'b', qos = 1 }\n"
                .into(),
            Cell::SubscriptionRefused => "subscribe = [{ topic = 'forbidden/thing', qos = 1 }]\n".into(),
            _ => String::new(),
        };
        let probe = if self.cell == Cell::ProbeRefused { "ack" } else { "heartbeat" };
        let mut text = format!(
            "[endpoint.tcp]\nurl = 'mqtt://127.0.0.1:{plain}'\n[endpoint.tls]\nurl = 'mqtts://localhost:{}'\n\
             ca_file = '{}'\n[defaults]\nconnect_timeout = '5s'\nprobe = {{ kind = '{probe}', every = '300ms' }}\n\
             username = '{}'\npassword = {{ env = 'PASSWORD' }}\n",
            tls.unwrap_or(plain),
            self.papers.authority.pem().display(),
            broker.user(user),
        );
        if more.is_empty() {
            text += "reconnect = { strategy = 'fixed', every = '1s' }\n";
        } else {
            text += &format!("{more}\n");
        }
        for way in self.ways(broker) {
            let version = if way.contains("-311-") { "3.1.1" } else { "5" };
            let door = if way.ends_with("tls") { "tls" } else { "tcp" };
            text +=
                &format!("[[client]]\nid = '{way}'\nprotocol = '{version}'\nendpoints = ['{door}']\n{conversation}");
        }
        let file = FleetFile::new(&text);
        std::fs::write(file.dir.path().join("password"), password).expect("a file");
        file
    }

    /// A client that hears of births and wills.
    fn ears(&self, broker: &dyn Broker) -> FleetFile {
        let file = FleetFile::new(&format!(
            "[endpoint.tcp]\nurl = 'mqtt://127.0.0.1:{}'\n[[client]]\nid = 'ears'\nendpoints = ['tcp']\nprotocol = '3.1.1'\n\
             username = '{}'\npassword = {{ env = 'PASSWORD' }}\nsubscribe = [{{ topic = 'ends/#', qos = 1 }}]\n\
             birth = {{ topic = 'ends/ears', payload = 'b', qos = 1 }}\n",
            broker.ports().plain,
            broker.user("fleet"),
        ));
        std::fs::write(file.dir.path().join("password"), PASSWORD).expect("a file");
        file
    }
}

fn run(file: &FleetFile) -> Headless {
    let password = std::fs::read_to_string(file.dir.path().join("password")).expect("a file");
    Headless::start(&["run", file.path(), "--samples"], &[("PASSWORD", &password)])
}

impl Expected {
    fn holds(&self, said: &Said) -> bool {
        // None of this is about certificates, and each port is the right one; but where nobody is up yet, a broker
        // that hangs up may be full or another port's.
        let is_said = |words: &&str| said.detail.contains(*words);
        let is_sane = !["certificate", "TLS port", "want TLS"].iter().any(is_said)
            || said.detail.contains("be full") && !is_said(&"certificate");
        let is_reason = self.reasons.is_empty() || self.reasons.contains(&said.reason.as_str());
        is_sane && is_reason && self.outcomes.contains(&said.outcome.as_str())
    }
}

fn text(line: &Value, key: &str) -> String {
    line[key].as_str().unwrap_or_default().to_owned()
}

fn said(line: &Value) -> Said {
    Said { outcome: text(line, "to"), reason: text(line, "reason"), detail: text(line, "detail") }
}

fn said_plainly(line: &Value) -> String {
    let Said { outcome, reason, detail } = said(line);
    format!("the last step is {outcome} {reason} {detail}")
}

/// The first end of a client's connection.
fn lost(heard: &Heard, way: &str) -> Option<Said> {
    heard.of_type("state").find(|l| l["client"] == *way && l["from"] == "up").map(said)
}

/// The first sign of a broker that does not take what a client sends.
fn refused(heard: &Heard, way: &str) -> Option<Said> {
    let other = |line: &Value| {
        let outcome = text(line, "type");
        let is_of = line["client"] == *way || (outcome == "notice" && text(line, "text").contains(way));
        let is_sign = ["shortfall", "late", "notice"].contains(&outcome.as_str());
        let detail = text(line, if outcome == "notice" { "text" } else { "detail" });
        (is_of && is_sign).then(|| Said { outcome, reason: String::new(), detail })
    };
    let answers = heard.of_type("sample").filter(|l| l["client"] == *way && l["probe"] == "ack").count();
    let answered =
        || Said { outcome: "answered".into(), reason: String::new(), detail: "as if it were allowed".into() };
    let sign = heard.lines.iter().find_map(other).or_else(|| lost(heard, way));
    sign.or_else(|| (answers >= 5).then(answered))
}

fn received(heard: &Heard) -> u64 {
    heard.of_type("summary").last().and_then(|line| line["received"].as_u64()).unwrap_or(0)
}

/// Waits until what was heard is as wanted; false where that does not come.
fn settle(program: &Headless, wanted: impl Fn(&Heard) -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !wanted(&program.heard()) {
        if Instant::now() > deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(20));
    }
    true
}
