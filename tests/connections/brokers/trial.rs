//! How a cell of the table is brought about at a running broker, and what the program says of it; whether that is right, the table judges by its column.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use mqfleet::{
    event::{Reason, Request, Shortfall},
    fleet::ClientKey,
    text::Scrubbed,
    words,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use mqfleet_test_support::{
    fleet_file::FleetFile,
    headless::{Headless, Heard},
};

use super::table::{Broker, Cell, Column, Log, PASSWORD, Papers, Ports, Right, Way, is_all};

/// Longer than anything takes on a busy machine that is going to happen at all.
const PATIENCE: Duration = Duration::from_secs(45);

/// What was said of a client.
#[derive(Clone, Debug)]
pub struct Said {
    pub outcome: String,
    reason: String,
    /// As it is shown.
    pub sentence: String,
    /// What its broker is to log of it, with its names in place.
    pub log: Log,
    pub log_line: String,
    /// What it logged.
    pub logged: String,
    /// What is not right about it.
    pub wrong: String,
}

/// What was said of each client, by its ID.
pub type Row = BTreeMap<String, Said>;

/// One cell at one broker, with a client for each way in: version and door.
pub struct Trial<'a> {
    pub column: &'a Column,
    pub papers: &'a Papers,
    pub cell: Cell,
    pub doors: &'a [&'static str],
}

impl Trial<'_> {
    pub fn run(&self, broker: &mut dyn Broker) -> Row {
        let file = self.fleet(broker);
        let clients = self.clients();
        let program = run(&file);
        let up = |h: &Heard| clients.iter().all(|(id, _)| h.states.get(id).is_some_and(|state| state == "up"));
        let came_up = |h: &Heard| {
            let has = |id: &str| h.of_type("state").any(|l| l["client"] == id && l["to"] == "up");
            clients.iter().all(|(id, _)| has(id))
        };
        if !matches!(self.cell, Cell::Wrong | Cell::Full) {
            settle(&program, came_up);
        }
        match self.cell {
            Cell::Right => {
                let has_sample = |h: &Heard, id: &str| h.of_type("sample").any(|l| l["client"] == id);
                settle(&program, |h| clients.iter().all(|(id, _)| has_sample(h, id)));
                self.judged(&program, still_up)
            }
            Cell::Wrong => self.judged(&program, |h, id| {
                h.of_type("state").find(|l| l["client"] == id && l["from"] == "connecting").map(said)
            }),
            Cell::Qos(_) => {
                let wanted = 3 * clients.len() as u64;
                settle(&program, |h| received(h) >= wanted || clients.iter().all(|(id, _)| named(h, id).is_some()));
                self.judged(&program, |h, id| named(h, id).or_else(|| still_up(h, id).filter(|_| received(h) > 0)))
            }
            Cell::Subscribed => {
                settle(&program, |h| {
                    let is_told = |id: &str| {
                        let mut lines = h.lines.iter();
                        lines.any(|l| l["client"] == id && (l["type"] == "subscribed" || l["type"] == "shortfall"))
                    };
                    clients.iter().all(|(id, _)| is_told(id))
                });
                self.judged(&program, |h, id| shortfall(h, id).or_else(|| still_up(h, id)))
            }
            Cell::Will => {
                self.will(broker, &program);
                settle(&program, up);
                self.judged(&program, still_up)
            }
            Cell::Duplicate => {
                let other = run(&file);
                // Where both stay connected, both have long been measured by then.
                let samples = |h: &Heard, id: &str| h.of_type("sample").filter(|l| l["client"] == id).count();
                let nothing = |h: &Heard, id: &str| {
                    let last = last_state(h, id)?;
                    (samples(h, id) >= 3 && samples(&other.heard(), id) >= 3).then(|| Said {
                        outcome: "nothing".into(),
                        sentence: format!("both are {}", text(last, "to")),
                        ..said(last)
                    })
                };
                self.judged(&program, |h, id| named(h, id).or_else(|| nothing(h, id)))
            }
            Cell::SubscriptionRefused => self.judged(&program, |h, id| shortfall(h, id).or_else(|| named(h, id))),
            Cell::ProbeRefused => {
                let row = self.judged(&program, |h, id| measured(h, id).or_else(|| answered(h, id)));
                // Whatever the broker did, the probe does not keep anybody down, and is told of once.
                assert!(settle(&program, up), "not all are up in the end");
                self.doors.iter().for_each(|door| is_told_once(&program.heard(), door, &row));
                row
            }
            Cell::Full => self.full(&program),
            Cell::Kicked => {
                broker.kick();
                self.judged(&program, lost)
            }
            Cell::Stopped => {
                broker.stop();
                self.judged(&program, lost)
            }
            Cell::Killed => {
                broker.kill();
                self.judged(&program, lost)
            }
        }
    }

    /// Has the fleet's process die, and others hear of it.
    fn will(&self, broker: &dyn Broker, program: &Headless) {
        let file = self.ears(broker);
        let ears = run(&file);
        let is_heard = |way: &Way| !broker.are_doors_apart() || way.door == "tcp";
        let count = self.clients().iter().filter(|(_, way)| is_heard(way)).count() as u64;
        // The ears hear their own birth; then of each its will, and its next birth.
        assert!(settle(&ears, |h| received(h) > 0), "nobody hears the first birth");
        let before = received(&ears.heard());
        let worker = program.workers()[&0];
        kill_process(Pid::from_raw(worker as i32).expect("a process"), Signal::KILL).expect("to kill a worker");
        assert!(settle(&ears, |h| received(h) >= before + 2 * count), "not all wills and births are heard");
    }

    /// There is room for one, whoever that is.
    fn full(&self, program: &Headless) -> Row {
        let outcome = |h: &Heard, id: &str| {
            let mut steps = h.of_type("state").filter(|l| l["client"] == id);
            steps.find(|l| l["from"] == "connecting").map(said)
        };
        let mut row = self.judged(program, outcome);
        let mut up: Vec<&mut Said> = row.values_mut().filter(|said| said.outcome == "up").collect();
        if let [only] = up.as_mut_slice() {
            only.wrong.clear();
            only.log = Log::Nothing("there was room");
        } else if let Some(first) = up.first_mut() {
            first.wrong = "there was room for more than one".into();
        }
        row
    }

    /// Waits until something is said of every client, and judges it.
    fn judged(&self, program: &Headless, outcome: impl Fn(&Heard, &str) -> Option<Said>) -> Row {
        let clients = self.clients();
        settle(program, |h| clients.iter().all(|(id, _)| outcome(h, id).is_some()));
        let heard = program.heard();
        let judge = |(id, way): (String, Way)| {
            let right = (self.column.right)(self.cell, way).expect("a cell that was tried");
            let mut said = outcome(&heard, &id).unwrap_or_else(|| {
                let last = last_state(&heard, &id).map(said).unwrap_or_default();
                Said {
                    outcome: "nothing in time".into(),
                    sentence: format!("last: {} {}", last.outcome, last.sentence),
                    ..last
                }
            });
            said.judge(right, &id, way);
            (id, said)
        };
        clients.into_iter().map(judge).collect()
    }

    /// The IDs of the clients and their ways in.
    pub fn clients(&self) -> Vec<(String, Way)> {
        let mut clients = Vec::new();
        for (&version, &door) in self.column.versions.iter().flat_map(|v| self.doors.iter().map(move |d| (v, d))) {
            // Where there is room for one, there are two.
            for also in if self.cell == Cell::Full { &["", "more-"][..] } else { &[""] } {
                let id = format!("{}-{also}{}-{door}", self.cell.name(), version.replace('.', ""));
                clients.push((id, Way { version, door }));
            }
        }
        clients
    }

    fn fleet(&self, broker: &dyn Broker) -> FleetFile {
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
            Cell::Subscribed => "subscribe = [{ topic = 'free/%c', qos = 2 }]\n".into(),
            Cell::Will => "will = { topic = 'ends/%c', payload = 'w', qos = 1 }\n\
                           birth = { topic = 'ends/%c', payload = 'b', qos = 1 }\n"
                .into(),
            Cell::SubscriptionRefused => "subscribe = [{ topic = 'forbidden/thing', qos = 1 }]\n".into(),
            _ => String::new(),
        };
        let (probe, keep_alive) = match self.cell {
            Cell::ProbeRefused => ("ack", 30),
            // An answer comes no sooner.
            Cell::Right | Cell::Duplicate | Cell::Full => ("heartbeat", 3),
            _ => ("heartbeat", 30),
        };
        // One after the other, where the first is to take all the room.
        let at_once = if self.cell == Cell::Full { "max_connecting = 1\n" } else { "" };
        let mut text = format!(
            "[endpoint.tcp]\nurl = 'mqtt://127.0.0.1:{plain}'\n{at_once}\
             [endpoint.tls]\nurl = 'mqtts://localhost:{tls}'\nca_file = '{}'\n{at_once}\
             [defaults]\nconnect_timeout = '5s'\nkeep_alive = '{keep_alive}s'\n\
             probe = {{ kind = '{probe}', every = '300ms' }}\nreconnect = {{ strategy = 'fixed', every = '1s' }}\n\
             username = '{}'\npassword = {{ env = 'PASSWORD' }}\n",
            self.papers.authority.pem().display(),
            broker.user(user),
        );
        for (id, Way { version, door }) in self.clients() {
            text += &format!("[[client]]\nid = '{id}'\nprotocol = '{version}'\nendpoints = ['{door}']\n{conversation}");
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

impl Default for Said {
    fn default() -> Said {
        let [outcome, reason, sentence, log_line, logged, wrong] = std::array::from_fn(|_| String::new());
        Said { outcome, reason, sentence, log: Log::Nothing(""), log_line, logged, wrong }
    }
}

impl Said {
    fn judge(&mut self, right: Right, id: &str, way: Way) {
        let named = |text: &str| text.replace("%c", id).replace("%d", way.door);
        let says = named(right.says);
        self.log = right.log;
        if let Log::Line(line) = right.log {
            self.log_line = named(line);
        }
        let is_right = self.outcome == right.outcome && self.reason == right.reason && is_all(&says, &self.sentence);
        if !is_right {
            self.wrong = format!("right is {} {}: {says}", right.outcome, right.reason);
        }
    }
}

fn run(file: &FleetFile) -> Headless {
    let password = std::fs::read_to_string(file.dir.path().join("password")).expect("a file");
    Headless::start(&["run", file.path(), "--samples"], &[("PASSWORD", &password)])
}

fn text(line: &Value, key: &str) -> String {
    line[key].as_str().unwrap_or_default().to_owned()
}

/// A step, with its reason and detail as they are shown.
fn said(line: &Value) -> Said {
    let reason: Reason = serde_json::from_value(line["reason"].clone()).expect("a reason");
    let sentence = words::reason(reason, &text(line, "detail"));
    Said { outcome: text(line, "to"), reason: text(line, "reason"), sentence, ..Said::default() }
}

fn last_state<'a>(heard: &'a Heard, id: &str) -> Option<&'a Value> {
    heard.of_type("state").filter(|l| l["client"] == id).last()
}

fn still_up(heard: &Heard, id: &str) -> Option<Said> {
    last_state(heard, id).filter(|l| l["to"] == "up").map(said)
}

/// The first end of a client's connection.
fn lost(heard: &Heard, id: &str) -> Option<Said> {
    heard.of_type("state").find(|l| l["client"] == id && l["from"] == "up").map(said)
}

/// The first end of it whose cause has a name: what only ends may end so again.
fn named(heard: &Heard, id: &str) -> Option<Said> {
    let is_named = |l: &&Value| l["client"] == id && l["from"] == "up" && l["reason"] != "connection_lost";
    heard.of_type("state").find(is_named).map(said)
}

/// What was not granted as it was asked for.
fn shortfall(heard: &Heard, id: &str) -> Option<Said> {
    let line = heard.of_type("shortfall").find(|l| l["client"] == id)?;
    let number = |key: &str| line[key].as_u64().map(|n| n as u8);
    let request = if text(line, "request") == "publish" { Request::Publish } else { Request::Subscription };
    let sentence = words::connection::shortfall(&Shortfall {
        client: ClientKey(0),
        request,
        filter: Scrubbed::new(&text(line, "filter")),
        asked: number("asked").expect("a QoS"),
        granted: number("granted"),
        detail: Scrubbed::new(&text(line, "detail")),
    });
    Some(Said { outcome: "shortfall".into(), sentence, ..Said::default() })
}

/// By what a client is measured without its probe, and why.
fn measured(heard: &Heard, id: &str) -> Option<Said> {
    let line = heard.of_type("measured").find(|l| l["client"] == id)?;
    let outcome = format!("by {}", text(line, "probe"));
    Some(Said { outcome, sentence: text(line, "detail"), ..Said::default() })
}

/// All clients of an endpoint whose probes are refused are one warning, which says what to do.
fn is_told_once(heard: &Heard, door: &str, row: &Row) {
    let begin = format!("{door} refuses a probe (");
    let end = "): heartbeats measure instead; allow the topic, or set another one: probe = { topic = \"…\" }";
    let told: Vec<String> =
        heard.of_type("notice").map(|l| text(l, "text")).filter(|t| t.starts_with(&begin)).collect();
    let whys = row.iter().filter(|(id, said)| id.ends_with(door) && said.outcome != "answered");
    let expected: Vec<String> = whys.map(|(_, said)| format!("{begin}{}{end}", said.sentence)).collect();
    let is_one = |told: &[String]| matches!(told, [one] if expected.contains(one));
    assert!(is_one(&told) || (told.is_empty() && expected.is_empty()), "{told:?}, and not one of {expected:?}");
}

/// Whether the broker acknowledges all probes.
fn answered(heard: &Heard, id: &str) -> Option<Said> {
    let answers = heard.of_type("sample").filter(|l| l["client"] == id && l["probe"] == "ack").count();
    let sentence = "as if it were allowed".into();
    (answers >= 5).then(|| Said { outcome: "answered".into(), sentence, ..Said::default() })
}

fn received(heard: &Heard) -> u64 {
    heard.of_type("summary").last().and_then(|line| line["received"].as_u64()).unwrap_or(0)
}

/// Waits until what was heard is as wanted; false where that does not come.
fn settle(program: &Headless, wanted: impl Fn(&Heard) -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while !wanted(&program.heard()) {
        if Instant::now() > deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(20));
    }
    true
}
