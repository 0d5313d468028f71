//! Defines the demo: a real broker, a faulty network of four sites before it and a fleet that fits them; who connects that fleet and shows it is the engine's and the console's matter.

use std::{io, path::PathBuf, time::Duration};

use tokio::sync::mpsc;

use crate::{
    clock::Moment,
    event::{Event, Level, What},
    fleet::Fleet,
    text::Scrubbed,
    wire::WireError,
};

mod broker;
mod carry;
mod network;
mod part;
mod relay;
mod scenario;
mod site;
mod sites;

pub use broker::broker_main;
pub use network::Network;
pub use relay::Cut;
pub use scenario::{Act, Scenario, Step, Trouble};
pub use site::site_main;
pub use sites::Site;

/// What a demo is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// 1 to [`Options::MOST`].
    pub clients: u32,
    /// Decides the troubles, who is in trouble by itself, and the password.
    pub seed: u64,
    /// No troubles, no wrong passwords, no duplicate IDs; delay and jitter stay.
    pub calm: bool,
}

impl Options {
    pub const MOST: u32 = 100_000;
}

impl Default for Options {
    fn default() -> Self {
        Options { clients: 200, seed: 1, calm: false }
    }
}

/// A running demo. Its fields may part: the fleet goes to an engine, the events to whoever shows
/// them, and the network runs for as long as it is kept.
pub struct Demo {
    pub fleet: Fleet,
    /// Troubles and notices, at most [`EVENTS`] unread; more are lost.
    pub events: mpsc::Receiver<Event>,
    pub network: Network,
}

/// The most events that wait to be read.
pub const EVENTS: usize = 256;

impl Demo {
    /// Ends all processes of the demo and waits until they are gone.
    pub async fn stop(self) {
        self.network.stop().await;
    }
}

/// Why a demo could not start.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error("a demo has 1 to {} clients, not {asked}", Options::MOST)]
    Clients { asked: u32 },
    #[error("cannot find the program's own file to start the demo's broker from: {0}")]
    Program(io::Error),
    #[error("cannot start {role} from {}: {source}", program.display())]
    Spawn { program: PathBuf, role: &'static str, source: io::Error },
    #[error("{role} did not start: {why}")]
    Refused { role: &'static str, why: Scrubbed },
    #[error("{role} ended or spoke nonsense while it started: {source}")]
    Talk { role: &'static str, source: WireError },
    #[error("{role} did not listen within {} s: is this machine overloaded?", limit.as_secs())]
    Slow { role: &'static str, limit: Duration },
}

/// Starts the broker and the sites as processes of this very program, and makes the fleet for them.
/// The scenario of the seed begins now.
///
/// # Errors
/// Where a process cannot be started, or the system's limits are too low for so many clients.
pub async fn start(options: Options) -> Result<Demo, DemoError> {
    let program = crate::pool::own_binary().map_err(DemoError::Program)?;
    let steps = (!options.calm).then(|| Scenario::new(options.seed)).into_iter().flatten();
    start_with(program, options, steps).await
}

/// As [`start`], with processes of `program` (an `mqfleet` of the same build) and any steps, which
/// must come in the order of their times.
pub async fn start_with(
    program: PathBuf,
    options: Options,
    steps: impl Iterator<Item = Step> + Send + 'static,
) -> Result<Demo, DemoError> {
    if !(1..=Options::MOST).contains(&options.clients) {
        return Err(DemoError::Clients { asked: options.clients });
    }
    let (sender, events) = mpsc::channel(EVENTS);
    let credentials = sites::Credentials::new(options.seed);
    let parts = network::Parts::start(program, options.clone(), credentials.clone(), sender.clone()).await?;
    let (fleet, planted) = sites::fleet(&options, parts.ports(), &credentials);
    for text in planted_words(&fleet, &planted) {
        let what = What::Notice { level: Level::Info, text: Scrubbed::new(&text) };
        let _ = sender.try_send(Event { at: Moment::now(), what });
    }
    Ok(Demo { fleet, events, network: parts.run(steps) })
}

/// Tells what is wrong with the fleet from the start, so that nobody takes it for a fault of the program.
fn planted_words(fleet: &Fleet, planted: &sites::Planted) -> Vec<String> {
    let mut words = Vec::new();
    match planted.refused.len() {
        0 => {}
        1 => words.push("demo: 1 client has a wrong password; the broker refuses it".to_owned()),
        n => words.push(format!("demo: {n} clients have a wrong password; the broker refuses them")),
    }
    if let Some((twin, _)) = planted.twins {
        let name = &fleet.clients[twin].name;
        words.push(format!("demo: two clients have the same ID, {name}; each connection of one ends the other's"));
    }
    words
}
