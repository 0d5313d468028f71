//! Defines the audit: a line for every command that an agent was given, by whom, and what became of it.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::protocol::Who;
use crate::{
    clock::Anchor,
    command::Command,
    event::{AlertKey, Recovery},
    fleet::{ClientKey, EndpointKey, Fleet},
    private,
    text::Scrubbed,
};

/// The file that tells what was done. Lines are appended, and never changed.
pub(super) struct Audit {
    path: PathBuf,
    file: File,
    size: u64,
    /// Whether its last line is whole: one that is not stays as it is, and the next one begins below it.
    is_whole: bool,
}

/// A file that has become this large makes room for another; the one before it is kept.
const SIZE_MAX: u64 = 16 << 20;

#[derive(Serialize)]
struct Line<'a> {
    ts: String,
    user: &'a str,
    terminal: &'a str,
    process: u32,
    /// What was wanted.
    command: &'static str,
    /// How many clients it was about, or of how many the endpoint is.
    clients: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<&'a str>,
    /// The connects a second that were set.
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<u32>,
    /// The rule whose alert it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    alert: Option<&'a str>,
    /// The first clients, at most ten.
    names: Vec<&'a str>,
    outcome: &'a str,
}

impl Audit {
    /// # Errors
    /// Where it cannot be opened.
    pub(super) fn open(path: &Path) -> std::io::Result<Audit> {
        let mut last = [0];
        let is_whole = match private::read(path) {
            Ok(mut file) if file.metadata()?.len() > 0 => {
                file.seek(SeekFrom::End(-1))?;
                file.read_exact(&mut last)?;
                last == *b"\n"
            }
            _ => true,
        };
        let file = private::append(path)?;
        let size = file.metadata()?.len();
        Ok(Audit { path: path.to_owned(), file, size, is_whole })
    }

    /// Notes a command; `refused` says why it was not carried out.
    pub(super) fn write(
        &mut self,
        fleet: &Fleet,
        who: &Who,
        command: &Command,
        refused: Option<&str>,
    ) -> std::io::Result<()> {
        let Parts { name, clients, endpoint, rule } = parts(command);
        // A refused one may be about what the fleet has not.
        let endpoint = endpoint.filter(|key| fleet.has_endpoint(*key)).map(|key| fleet.endpoint(key).name.as_str());
        let known = clients.iter().filter(|key| key.index() < fleet.clients.len()).take(10);
        let names: Vec<&str> = known.map(|key| fleet.client(*key).name.as_str()).collect();
        let rate = if let Command::SetRate(_, rate) = command { Some(*rate) } else { None };
        let alert = rule.map(|rule| rule.rule.as_str());
        self.append(who, Done { command: name, clients: clients.len(), endpoint, rate, alert, names, outcome: refused })
    }

    /// Notes that the fleet file was to be read anew, and took in a fleet that differs in so many clients; `refused`
    /// says why not.
    pub(super) fn write_reload(&mut self, who: &Who, clients: usize, refused: Option<&str>) -> std::io::Result<()> {
        self.append(who, Done { command: "reload", clients, outcome: refused, ..Done::default() })
    }

    /// Notes a step of the recovery of a rule's alert, which the agent takes by itself.
    pub(super) fn write_recovery(&mut self, who: &Who, rule: &str, recovery: &Recovery) -> std::io::Result<()> {
        let outcome = format!("{}: {}", recovery.stage.name(), recovery.text);
        let (command, clients) = (recovery.kind.name(), recovery.clients as usize);
        self.append(who, Done { command, clients, alert: Some(rule), outcome: Some(&outcome), ..Done::default() })
    }

    /// Notes that somebody else commands.
    pub(super) fn write_take_over(&mut self, who: &Who, refused: Option<&str>) -> std::io::Result<()> {
        self.append(who, Done { command: "take over", outcome: refused, ..Done::default() })
    }

    fn append(&mut self, who: &Who, done: Done) -> std::io::Result<()> {
        let anchor = Anchor::now();
        let line = Line {
            ts: anchor.utc(anchor.moment()).to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
            user: &who.user,
            terminal: &who.terminal,
            process: who.process,
            command: done.command,
            clients: done.clients,
            endpoint: done.endpoint,
            rate: done.rate,
            alert: done.alert,
            names: done.names,
            outcome: done.outcome.unwrap_or("done"),
        };
        if self.size >= SIZE_MAX {
            let mut before = self.path.clone().into_os_string();
            before.push(".1");
            match std::fs::rename(&self.path, before) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {} // or somebody has put it elsewhere
            }
            *self = Audit::open(&self.path)?;
        }
        let begin = if self.is_whole { "" } else { "\n" };
        let text = format!("{begin}{}\n", serde_json::to_string(&line)?);
        self.is_whole = false;
        self.file.write_all(text.as_bytes())?;
        self.is_whole = true;
        self.size += text.len() as u64;
        Ok(())
    }
}

/// What was done, or why it was not.
#[derive(Default)]
struct Done<'a> {
    command: &'static str,
    clients: usize,
    endpoint: Option<&'a str>,
    rate: Option<u32>,
    alert: Option<&'a str>,
    names: Vec<&'a str>,
    outcome: Option<&'a str>,
}

/// What a command is about.
struct Parts<'c> {
    name: &'static str,
    clients: &'c [ClientKey],
    endpoint: Option<EndpointKey>,
    rule: Option<&'c AlertKey>,
}

fn parts(command: &Command) -> Parts<'_> {
    let of = |name| Parts { name, clients: &[], endpoint: None, rule: None };
    let clients = |name, clients| Parts { clients, ..of(name) };
    let endpoint = |name, key: &EndpointKey| Parts { endpoint: Some(*key), ..of(name) };
    match command {
        Command::Connect(keys) => clients("connect", keys),
        Command::Reconnect(keys) => clients("reconnect", keys),
        Command::Failover(keys) => clients("failover", keys),
        Command::Disconnect(keys) => clients("disconnect", keys),
        Command::Begin(bulk) => clients(bulk.deed.name(), &bulk.clients),
        Command::Steer(_, steer) => of(steer.words()),
        Command::Hold(key) => endpoint("hold", key),
        Command::Release(key) => endpoint("release", key),
        Command::SetRate(key, _) => endpoint("rate", key),
        Command::Mute { rule, lasting, .. } if lasting.is_zero() => Parts { rule: Some(rule), ..of("unmute") },
        Command::Mute { rule, .. } => Parts { rule: Some(rule), ..of("mute") },
        Command::Acknowledge { rule, .. } => Parts { rule: Some(rule), ..of("acknowledge") },
        Command::Stop => of("stop"),
    }
}

/// What a command is in a few words, for those who see it done; `None` where an event tells who did it.
pub(super) fn words(fleet: &Fleet, command: &Command) -> Option<Scrubbed> {
    let Parts { name, clients, endpoint, rule } = parts(command);
    let words = match (clients, endpoint, command) {
        _ if rule.is_some() => return None,
        (.., Command::Steer(job, steer)) => format!("{}s job {job}", steer.name()),
        (many, _, Command::Begin(bulk)) if many.len() != 1 => {
            format!("has a job {name} {} clients, {} at once", many.len(), bulk.roll.at_once)
        }
        (_, Some(key), Command::SetRate(_, to)) => format!("sets the rate of {} to {to}/s", fleet.endpoint(key).name),
        (_, Some(key), _) => format!("{name}s {}", fleet.endpoint(key).name),
        ([one], ..) => format!("{name}s {}", fleet.client(*one).name),
        ([], ..) => "ends the fleet".to_owned(),
        (many, ..) => format!("{name}s {} clients", many.len()),
    };
    Some(Scrubbed::new(&words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who() -> Who {
        Who { user: Scrubbed::new("ops"), terminal: Scrubbed::default(), process: 1 }
    }

    #[test]
    fn a_line_that_was_cut_spoils_no_other() {
        let dir = tempfile::TempDir::new().expect("a folder");
        let path = dir.path().join("audit.jsonl");
        std::fs::write(&path, "{\"ts\":\"2026").expect("a file");
        for _ in 0..2 {
            Audit::open(&path).expect("an audit").write_take_over(&who(), None).expect("a line");
        }
        let text = std::fs::read_to_string(&path).expect("the file");
        let lines: Vec<_> = text.lines().map(serde_json::from_str::<serde_json::Value>).collect();
        assert!(matches!(&lines[..], [Err(_), Ok(_), Ok(_)]), "{text}");
    }

    #[test]
    fn it_does_not_grow_for_ever() {
        let dir = tempfile::TempDir::new().expect("a folder");
        let path = dir.path().join("audit.jsonl");
        File::create(&path).and_then(|file| file.set_len(SIZE_MAX)).expect("a file");
        let mut audit = Audit::open(&path).expect("an audit");
        audit.write_take_over(&who(), Some("why")).expect("a line");
        assert!(path.metadata().expect("the file").len() < 1_000);
        assert_eq!(dir.path().join("audit.jsonl.1").metadata().expect("the one before").len(), SIZE_MAX);
    }
}
