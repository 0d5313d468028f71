//! Defines the audit: a line for every command that an agent was given, by whom, and what became of it.

use std::{fs::File, io::Write, path::Path};

use serde::Serialize;

use super::protocol::Who;
use crate::{clock::Anchor, command::Command, fleet::Fleet, private};

/// The file that tells what was done. Lines are appended, and never changed.
pub(super) struct Audit(File);

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
    /// The first clients, at most ten.
    names: Vec<&'a str>,
    outcome: &'a str,
}

impl Audit {
    /// # Errors
    /// Where it cannot be opened.
    pub(super) fn open(path: &Path) -> std::io::Result<Audit> {
        private::append(path).map(Audit)
    }

    /// Notes a command; `refused` says why it was not carried out.
    pub(super) fn write(
        &mut self,
        fleet: &Fleet,
        who: &Who,
        command: &Command,
        refused: Option<&str>,
    ) -> std::io::Result<()> {
        let (name, clients, endpoint) = parts(command);
        let endpoint = endpoint.map(|key| fleet.endpoint(key).name.as_str());
        let names: Vec<&str> = clients.iter().take(10).map(|key| fleet.client(*key).name.as_str()).collect();
        self.append(who, Done { command: name, clients: clients.len(), endpoint, names, outcome: refused })
    }

    /// Notes that the fleet file was to be read anew, and took in a fleet that differs in so many clients; `refused`
    /// says why not.
    pub(super) fn write_reload(&mut self, who: &Who, clients: usize, refused: Option<&str>) -> std::io::Result<()> {
        let names = Vec::new();
        self.append(who, Done { command: "reload", clients, endpoint: None, names, outcome: refused })
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
            names: done.names,
            outcome: done.outcome.unwrap_or("done"),
        };
        let mut text = serde_json::to_string(&line)?;
        text.push('\n');
        self.0.write_all(text.as_bytes())
    }
}

/// What was done, or why it was not.
struct Done<'a> {
    command: &'static str,
    clients: usize,
    endpoint: Option<&'a str>,
    names: Vec<&'a str>,
    outcome: Option<&'a str>,
}

fn parts(command: &Command) -> (&'static str, &[crate::fleet::ClientKey], Option<crate::fleet::EndpointKey>) {
    match command {
        Command::Connect(clients) => ("connect", clients, None),
        Command::Reconnect(clients) => ("reconnect", clients, None),
        Command::Disconnect(clients) => ("disconnect", clients, None),
        Command::Hold(endpoint) => ("hold", &[], Some(*endpoint)),
        Command::Release(endpoint) => ("release", &[], Some(*endpoint)),
        Command::SetRate(endpoint, _) => ("rate", &[], Some(*endpoint)),
        Command::Stop => ("stop", &[], None),
    }
}

/// What a command is in a few words, for those who see it done.
pub(super) fn words(fleet: &Fleet, command: &Command) -> String {
    let (name, clients, endpoint) = parts(command);
    match (clients, endpoint, command) {
        (_, Some(key), Command::SetRate(_, to)) => format!("sets the rate of {} to {to}/s", fleet.endpoint(key).name),
        (_, Some(key), _) => format!("{name}s {}", fleet.endpoint(key).name),
        ([one], ..) => format!("{name}s {}", fleet.client(*one).name),
        ([], ..) => "ends the fleet".to_owned(),
        (many, ..) => format!("{name}s {} clients", many.len()),
    }
}
