//! Defines what an agent keeps over a restart: what the operator wants of clients and endpoints, and each client's record; how it stands with them is seen anew.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::{
    command::Command,
    event::{Deed, Fate, JobNews},
    fleet::{EndpointKey, Fleet, Settings},
    private,
};

/// What the operator wants, other than the fleet file has it. Names are kept, not keys: the file may change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Wishes {
    /// Clients that are switched off,
    pub off: BTreeSet<String>,
    /// or on, although the file does not start them.
    pub on: BTreeSet<String>,
    /// Endpoints on hold.
    pub held: BTreeSet<String>,
    /// Connects a second, by endpoint.
    pub rates: BTreeMap<String, u32>,
}

impl Wishes {
    /// Takes in a command that is carried out. Returns whether that changed anything.
    pub(super) fn note(&mut self, fleet: &Fleet, command: &Command) -> bool {
        let before = self.clone();
        let endpoint = |key: EndpointKey| fleet.endpoint(key).name.to_string();
        match command {
            Command::Connect(clients) | Command::Reconnect(clients) => clients.iter().for_each(|key| {
                let client = fleet.client(*key);
                self.off.remove(&*client.id);
                if !client.settings.start_connected {
                    self.on.insert(client.id.to_string());
                }
            }),
            Command::Disconnect(clients) => clients.iter().for_each(|key| {
                let client = fleet.client(*key);
                self.on.remove(&*client.id);
                if client.settings.start_connected {
                    self.off.insert(client.id.to_string());
                }
            }),
            Command::Hold(key) => {
                self.held.insert(endpoint(*key));
            }
            Command::Release(key) => {
                self.held.remove(&endpoint(*key));
            }
            Command::SetRate(key, rate) => {
                self.rates.insert(endpoint(*key), *rate);
            }
            // What recoveries made of endpoints and who is to be told is kept with the alerts.
            Command::Failover(_) | Command::Mute { .. } | Command::Acknowledge { .. } => {}
            // A job's clients are wanted otherwise when they have their turn: [`Wishes::note_job`].
            Command::Begin(_) | Command::Steer(..) | Command::Stop => {}
        }
        *self != before
    }

    /// Takes in whom a job has had connected or disconnected. Returns whether that changed anything.
    pub(super) fn note_job(&mut self, fleet: &Fleet, news: &JobNews) -> bool {
        let had_turn = |fate: &Fate| !matches!(fate, Fate::Skipped(_));
        let clients = news.fates.iter().filter(|(client, fate)| had_turn(fate) && fleet.has(*client));
        let clients = clients.map(|(client, _)| *client).collect();
        let command = match news.job.deed {
            Deed::Connect => Command::Connect(clients),
            Deed::Reconnect => Command::Reconnect(clients),
            Deed::Disconnect => Command::Disconnect(clients),
        };
        self.note(fleet, &command)
    }

    /// The fleet file says other limits for these endpoints than it did before: that is the newer word.
    pub(super) fn yield_to(&mut self, fleet: &Fleet, adjusted: &[EndpointKey]) -> bool {
        let names = adjusted.iter().map(|key| &*fleet.endpoint(*key).name);
        names.filter(|name| self.rates.remove(*name).is_some()).count() > 0
    }

    /// The fleet with those switched off or on that are to be.
    pub(super) fn apply(&self, mut fleet: Fleet) -> Fleet {
        let mut changed: HashMap<*const Settings, Arc<Settings>> = HashMap::new();
        for client in &mut fleet.clients {
            let start = client.settings.start_connected;
            let is_wanted = if start { !self.off.contains(&*client.id) } else { self.on.contains(&*client.id) };
            if is_wanted != start {
                let settings = client.settings.clone();
                let other = changed
                    .entry(Arc::as_ptr(&settings))
                    .or_insert_with(|| Arc::new(Settings { start_connected: is_wanted, ..(*settings).clone() }));
                client.settings = other.clone();
            }
        }
        fleet
    }

    /// What is to be ordered before anybody connects.
    pub(super) fn orders(&self, fleet: &Fleet) -> Vec<Command> {
        let keys = || fleet.endpoint_keys().map(|key| (key, &*fleet.endpoint(key).name));
        let held = keys().filter(|(_, name)| self.held.contains(*name)).map(|(key, _)| Command::Hold(key));
        let rates = keys().filter_map(|(key, name)| Some(Command::SetRate(key, *self.rates.get(name)?)));
        held.chain(rates).collect()
    }
}

/// The folder where it is kept.
#[derive(Clone)]
pub(super) struct State {
    folder: PathBuf,
}

impl State {
    /// The state of a fleet's agent, in systemd's `StateDirectory`, or in the user's own state folder.
    ///
    /// # Errors
    /// Where the folder cannot be made.
    pub(super) fn open(name: &str) -> io::Result<State> {
        let var = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let folder = match var("STATE_DIRECTORY") {
            Some(folder) => folder,
            None => {
                let home = var("HOME").map(|home| home.join(".local/state"));
                let base = var("XDG_STATE_HOME").or(home).unwrap_or_else(|| PathBuf::from("/var/lib"));
                base.join("mqfleet").join(super::socket::file_name(name))
            }
        };
        private::make_folder(&folder)?;
        Ok(State { folder })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn audit(&self) -> PathBuf {
        self.folder.join("audit.jsonl")
    }

    /// What was wanted before.
    ///
    /// # Errors
    /// Where it is there and cannot be read.
    pub(super) fn wishes(&self) -> io::Result<Wishes> {
        match self.read("wishes.json")? {
            None => Ok(Wishes::default()),
            Some(bytes) => Ok(serde_json::from_slice(&bytes)?),
        }
    }

    /// Keeps it: whenever the program or the host dies, one or the other is there, whole.
    ///
    /// # Errors
    /// Where the disk does not take it.
    pub(super) fn keep_wishes(&self, wishes: &Wishes) -> io::Result<()> {
        self.write("wishes.json", &serde_json::to_vec_pretty(wishes)?)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(super) fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        private::read_all(&self.path(name))
    }

    /// Writes a file: whenever the program or the host dies, the old one or the new one is there, whole.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        private::replace(&self.path(name), bytes)
    }
}
