//! Defines what can be asked for on the command line, as its help tells it; what is done then is elsewhere.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{
    agent::{AgentError, Target},
    fleet_file::listen,
    headless::Format,
    query::Query,
    recording::{Limits, Place},
    replay::Speed,
    report,
};

/// The terminal console for many MQTT clients: one live, operable row per client.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Connect the clients of a fleet file and show them live
    Run {
        /// The fleet file (see `mqfleet init`)
        file: PathBuf,
        #[command(flatten)]
        view: View,
    },
    /// Check a fleet file; with --connect, connect every client once
    Check {
        /// The fleet file; - is standard input
        file: PathBuf,
        /// Connect every client once and say who could not, and why
        #[arg(long)]
        connect: bool,
        /// Fail (exit code 3) where a query means a client that was connected: "p99>250ms"; more than once for several
        #[arg(long, value_name = "QUERY", requires = "connect", allow_hyphen_values = true, value_parser = query)]
        fail_if: Vec<Query>,
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// Reach for every endpoint of a fleet file, or for one URL, and say which stage fails, why, and what to do
    ///
    /// The exit code is 0 where all is well, 3 where something is not, 2 for wrong usage.
    Doctor {
        // The brackets are for who reads the help; no link is meant.
        #[allow(rustdoc::broken_intra_doc_links)]
        /// The fleet file, or mqtt://, mqtts://, ws:// or wss://HOST[:PORT], or unix:///PATH, or HOST:PORT
        #[arg(value_name = "FILE|URL")]
        target: String,
        #[command(flatten)]
        patient: PatientArgs,
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
        /// The longest an endpoint may take, a client's connect to it, and what comes after that
        #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
        timeout: Duration,
        /// For a URL: trust the CA certificates of this file, not those of the system
        #[arg(long, value_name = "FILE")]
        ca_file: Option<PathBuf>,
        /// For a URL: do not insist on a valid certificate
        #[arg(long)]
        insecure: bool,
    },
    /// Hold a fleet without a screen, in the foreground: consoles attach to it, and it goes on without them
    Agent {
        /// The fleet file
        file: PathBuf,
        #[command(flatten)]
        keep: Keep,
        /// In a session of its own; what `up` starts
        #[arg(long, hide = true)]
        detached: bool,
    },
    /// Start an agent that outlives this terminal, and attach to it
    Up {
        /// The fleet file
        file: PathBuf,
        #[command(flatten)]
        keep: Keep,
        #[command(flatten)]
        dress: Dress,
    },
    /// Show the fleet of an agent in the console, or those of several as one; q leaves them, and they go on
    Attach {
        /// The fleet's name, the path of an agent's socket, or `ssh://[USER@]HOST[:PORT]/NAME`, of each agent; nothing for
        /// the only one, or a list to choose from; or `redis://HOST[:PORT]/FLEET` for all agents that write to a store, to look only
        #[arg(value_parser = attachable)]
        targets: Vec<Attachable>,
        #[command(flatten)]
        access: StoreAccess,
        /// Look only: the agent refuses whatever this console would change
        #[arg(long)]
        read_only: bool,
        /// Carry the agent's bytes over standard input and output; what ssh:// runs at the far end
        #[arg(long, hide = true)]
        stdio: bool,
        #[command(flatten)]
        dress: Dress,
    },
    /// List the clients of a running agent, with the columns of the console; or those of all agents that write to a store
    Ls {
        /// As for `attach`, but that it gives no list to choose from
        #[arg(conflicts_with = "store")]
        target: Option<Target>,
        // The brackets are for who reads the help; no link is meant.
        #[allow(rustdoc::broken_intra_doc_links)]
        /// All agents of a fleet: redis://HOST[:PORT]/FLEET, rediss://…, redis+sentinel://HOST,…/MASTER/FLEET, or a fleet
        /// file with a [store]
        #[arg(long, value_name = "URL|FILE")]
        store: Option<String>,
        #[command(flatten)]
        access: StoreAccess,
        /// Only these clients: a query as in the console's filter, such as state:rej,wait or "p99>250ms"
        #[arg(long = "where", visible_alias = "filter", value_name = "QUERY", allow_hyphen_values = true, value_parser = query)]
        whom: Option<Query>,
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// Tell a running agent to do something, and wait until it is done
    ///
    /// The exit code is 0 where it is, 3 where some clients are not where they are to be, 1 where the agent refuses.
    Ctl {
        /// As for `attach`
        target: Target,
        #[command(subcommand)]
        order: CtlOrder,
        /// The longest to wait for it
        #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration, global = true)]
        timeout: Duration,
        /// Take the command over where a console has it
        #[arg(long, global = true)]
        take_over: bool,
    },
    /// Have a running agent read its fleet file anew, and wait until it is done
    ///
    /// Clients that did not change keep their connections. A file that is wrong changes nothing, and what is wrong is
    /// said. The exit code is 0 where all is done, 3 where some clients are not up, 1 where the agent refuses or the
    /// file is wrong.
    Reload {
        /// As for `attach`
        target: Option<Target>,
        /// The longest to wait for it
        #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
        timeout: Duration,
        /// Take the command over where a console has it
        #[arg(long)]
        take_over: bool,
    },
    /// List what can be done in the console: every action with its keys, as the user's own keymap has them
    Keys {
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
        /// The keys that mqfleet comes with, whatever the user's own keymap says
        #[arg(long)]
        builtin: bool,
    },
    /// Show or check your own configuration file: theme, ascii and keys of the console
    Config {
        #[command(subcommand)]
        order: ConfigOrder,
    },
    /// Try the hooks of a fleet file: programs that are told of changes
    Hook {
        #[command(subcommand)]
        order: HookOrder,
    },
    #[allow(rustdoc::broken_intra_doc_links)]
    /// Look after the store that agents write their clients' rows to ([store] in the fleet file)
    Store {
        #[command(subcommand)]
        order: StoreOrder,
    },
    /// Write a commented fleet file to start from
    Init {
        /// Where to; an existing file is never overwritten
        #[arg(default_value = "fleet.toml")]
        file: PathBuf,
    },
    /// Show real clients against a real broker behind a small faulty network, all on this machine
    #[cfg(feature = "demo")]
    Demo {
        /// How many clients, 1 to 100,000
        #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        clients: u32,
        /// Decides which troubles come when
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// No troubles: only delay and jitter
        #[arg(long)]
        calm: bool,
        #[command(flatten)]
        view: View,
    },
    /// Show what a recording tells in the console: play, pause, step, go to any time; or print it, as the live run did
    Replay {
        /// The recording, as `--record FILE` wrote it
        file: PathBuf,
        /// Print lines instead of drawing a screen (also where there is no terminal, or a dumb one)
        #[arg(long)]
        plain: bool,
        /// What the lines look like; json implies --plain
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
        /// Print a JSON line for every latency sample too
        #[arg(long)]
        samples: bool,
        /// How fast: 1x (the console's default), 100x, or max (that of lines, and only theirs)
        #[arg(long)]
        speed: Option<Speed>,
        /// Be paused at the begin
        #[arg(long)]
        paused: bool,
        /// Begin there: 00:01:30 or 90s after the recording's begin, or at 2026-11-22T12:00:00Z
        #[arg(long, value_name = "TIME")]
        from: Option<Place>,
        /// End there
        #[arg(long, value_name = "TIME")]
        to: Option<Place>,
        #[command(flatten)]
        dress: Dress,
    },
    /// Print the summary of a recorded run: availability, outages and their causes, latency, storms
    Report {
        /// The recording, as `--record FILE` wrote it
        file: PathBuf,
        #[arg(long, value_enum, default_value = "text")]
        format: report::Format,
        /// Begin there: 00:01:30 or 90s after the recording's begin, or at 2026-11-22T12:00:00Z
        #[arg(long, value_name = "TIME")]
        from: Option<Place>,
        /// End there
        #[arg(long, value_name = "TIME")]
        to: Option<Place>,
    },
    /// Try the alerts of a fleet file on a recording: which would have fired, when, and who would have been told what
    Alerts {
        /// The fleet file with the rules; the clients are those of the recording
        file: PathBuf,
        /// The recording, as `--record FILE` wrote it
        #[arg(long, value_name = "RECORDING")]
        on: PathBuf,
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
        /// Begin there: 00:01:30 or 90s after the recording's begin, or at 2026-11-22T12:00:00Z
        #[arg(long, value_name = "TIME")]
        from: Option<Place>,
        /// End there
        #[arg(long, value_name = "TIME")]
        to: Option<Place>,
    },
    /// Try those who are told of alerts
    Notify {
        #[command(subcommand)]
        order: NotifyOrder,
    },
    /// Print the Grafana dashboard of the metrics, to be imported or provisioned
    Grafana {
        /// Where Grafana has the metrics from: what scrapes `[metrics] listen`, or what `[metrics.influx]` is pushed to
        #[arg(long, value_enum, default_value = "prometheus")]
        datasource: Datasource,
    },
    /// Print alert rules for Prometheus, for its rule_files
    PrometheusRules,
    #[command(hide = true)]
    Worker {
        index: u32,
        #[arg(long)]
        debug_log: bool,
    },
    #[cfg(feature = "demo")]
    #[command(hide = true)]
    DemoBroker,
    #[cfg(feature = "demo")]
    #[command(hide = true)]
    DemoSite,
}

/// Where a dashboard has its figures from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Datasource {
    Prometheus,
    Influx,
}

/// Which client the doctor connects, if any.
#[derive(Debug, Args)]
pub(super) struct PatientArgs {
    /// Connect this client too: up to its CONNACK, its subscriptions and a message to itself
    ///
    /// A client of the fleet file, at each of its endpoints; with a URL, one with this client ID. It is
    /// the real thing: a client that is running with this ID is thrown off, as MQTT has it, and
    /// comes back by itself if it reconnects; messages that come in meanwhile are lost to it. Of the
    /// client's own no birth, no will and no traffic is published. --as avoids all that.
    #[arg(long, value_name = "ID")]
    pub client: Option<String>,
    /// Connect under this client ID instead, which throws nobody off and leaves no session behind
    ///
    /// A broker that judges clients by their ID may judge this one otherwise.
    #[arg(long = "as", value_name = "ID", requires = "client")]
    pub alias: Option<String>,
    /// For a URL: the client's user name
    #[arg(long, value_name = "NAME", requires = "client")]
    pub username: Option<String>,
    /// For a URL: the environment variable that holds the client's password
    #[arg(long, value_name = "VARIABLE", requires = "client", conflicts_with = "password_file")]
    pub password_env: Option<String>,
    /// For a URL: the file that holds the client's password
    #[arg(long, value_name = "FILE", requires = "client")]
    pub password_file: Option<PathBuf>,
}

/// How a run is shown, and for how long.
#[derive(Debug, Args)]
pub(super) struct View {
    /// Print state changes as lines instead of drawing a screen (also where there is no terminal, or
    /// a dumb one)
    #[arg(long)]
    pub plain: bool,
    /// What the lines look like; json implies --plain
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
    /// Print a JSON line for every latency sample too
    #[arg(long)]
    pub samples: bool,
    /// End after this time, for example 30s; implies --plain
    #[arg(long, value_parser = humantime::parse_duration)]
    pub duration: Option<Duration>,
    #[command(flatten)]
    pub keep: Keep,
    #[command(flatten)]
    pub dress: Dress,
}

/// What is kept of a run.
#[derive(Debug, Args)]
pub(super) struct Keep {
    /// Append every event to this file as a line
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Record every event to this file, for `mqfleet replay` and `mqfleet report`; a recording that is
    /// there already becomes FILE.1
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Keep so much of the recording, for example 1GiB, in FILE and the older FILE.1, FILE.2 and so on
    #[arg(long, value_name = "SIZE", requires = "record", value_parser = Limits::parse_size)]
    pub record_max_size: Option<u64>,
    /// Keep so much time of the recording, for example 12h
    #[arg(long, value_name = "TIME", requires = "record", value_parser = Limits::parse_age)]
    pub record_max_age: Option<Duration>,
    /// Serve metrics for Prometheus at this address, for example 127.0.0.1:9464; it comes before that of the fleet file
    #[arg(long, value_name = "ADDRESS", value_parser = listen)]
    pub metrics: Option<SocketAddr>,
    #[command(flatten)]
    pub debug: DebugLog,
}

/// What is done with a hook.
#[derive(Debug, Subcommand)]
pub(super) enum HookOrder {
    /// Run a hook once, for a change that is made up, and show what it is told and what it says
    ///
    /// The exit code is 0 where it ends well, 1 where it fails or takes too long.
    Test {
        /// The fleet file
        file: PathBuf,
        /// The hook's name
        name: String,
        /// Of which client it is told; without it, of the first one that its `match` may mean
        #[arg(long, value_name = "ID")]
        client: Option<String>,
    },
}

/// What is done with a configuration file.
#[derive(Debug, Subcommand)]
pub(super) enum ConfigOrder {
    /// Print what is in force, as a file to start from
    Show,
    /// Say all that is wrong in it; the exit code is 2 where something is
    Check {
        /// Another file than your own
        file: Option<PathBuf>,
    },
    /// Print where it is, or would be
    Path,
}

/// What is done with a store.
#[derive(Debug, Subcommand)]
#[allow(rustdoc::broken_intra_doc_links)]
pub(super) enum StoreOrder {
    /// Say whether a store is right: that it answers, what it throws away, which agents write there; for a fleet file also
    /// whether an agent may write
    ///
    /// The exit code is 0 where all is well, 3 where rows may be lost or an agent is gone, 1 where nothing can be had.
    Check {
        /// A fleet file with a [store], or redis://HOST[:PORT][/FLEET]
        #[arg(value_name = "FILE|URL")]
        place: String,
        #[command(flatten)]
        access: StoreAccess,
    },
    /// Print what makes the users of a store: one for the agents of a fleet, one for who only looks
    Acl {
        /// A fleet file, or the fleet's name
        #[arg(value_name = "FILE|FLEET")]
        fleet: String,
        /// What the agents' user is called; without it as in the file, or mqfleet
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
    },
    /// Forget an agent that is gone for good, with the rows of its clients
    Forget {
        /// A fleet file with a [store], or redis://HOST[:PORT]/FLEET
        #[arg(value_name = "FILE|URL")]
        place: String,
        /// What the agent is called
        agent: String,
        #[command(flatten)]
        access: StoreAccess,
    },
}

/// How one comes to a store that a URL names.
#[derive(Debug, Args)]
pub(super) struct StoreAccess {
    /// For a URL: the user of the store
    #[arg(long, value_name = "NAME")]
    pub username: Option<String>,
    /// For a URL: the environment variable that holds the password
    #[arg(long, value_name = "VARIABLE", conflicts_with = "password_file")]
    pub password_env: Option<String>,
    /// For a URL: the file that holds the password
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// For a URL: trust the CA certificates of this file, not those of the system
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
}

/// What a console is attached to.
#[derive(Clone, Debug)]
pub(super) enum Attachable {
    Agent(Target),
    /// All agents of a fleet that write to the store with this URL.
    Store(String),
}

fn attachable(text: &str) -> Result<Attachable, AgentError> {
    let is_store = text.split_once("://").is_some_and(|(scheme, _)| scheme.to_ascii_lowercase().starts_with("redis"));
    if is_store { Ok(Attachable::Store(text.to_owned())) } else { text.parse().map(Attachable::Agent) }
}

impl StoreAccess {
    pub(super) fn is_any(&self) -> bool {
        let StoreAccess { username, password_env, password_file, ca_file } = self;
        username.is_some() || password_env.is_some() || password_file.is_some() || ca_file.is_some()
    }
}

/// What an agent is told to do.
#[derive(Debug, Subcommand)]
pub(super) enum CtlOrder {
    /// Connect clients that are off or given up
    Connect(Whom),
    /// Disconnect and connect again
    Reconnect(Whom),
    /// Disconnect, to stay off
    Disconnect(Whom),
    /// Let nobody connect to an endpoint
    Hold { endpoint: String },
    /// Let clients connect to it again
    Release { endpoint: String },
    /// Let so many clients a second connect to it
    Rate {
        endpoint: String,
        #[arg(value_parser = clap::value_parser!(u32).range(1..))]
        per_second: u32,
    },
    /// Tell nobody of a rule's alert for a while; its recovery goes on
    Mute {
        /// The rule's name
        rule: String,
        /// For how long
        #[arg(long = "for", value_name = "TIME", default_value = "1h", value_parser = muting)]
        lasting: Duration,
    },
    /// Tell of it again
    Unmute { rule: String },
    /// Say that somebody is on a rule's alert: nobody is told of it once more while it lasts
    #[command(visible_alias = "ack")]
    Acknowledge { rule: String },
    /// End the fleet
    Stop,
}

/// What is done with those who are told of alerts.
#[derive(Debug, Subcommand)]
pub(super) enum NotifyOrder {
    /// Send each of them a test message, and say how that went
    ///
    /// The exit code is 0 where all were told, 3 where one could not be, 2 for a wrong file.
    Test {
        /// The fleet file
        file: PathBuf,
        /// Only this one, such as mail.ops
        name: Option<String>,
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
}

#[derive(Debug, Args)]
pub(super) struct Whom {
    /// Their client IDs
    pub clients: Vec<String>,
    /// Those that a query means, as in the console's filter: "endpoint:eu-2 down>5m"
    #[arg(long = "where", visible_alias = "filter", value_name = "QUERY", allow_hyphen_values = true, value_parser = query)]
    pub whom: Option<Query>,
    #[arg(long)]
    pub all: bool,
    /// As a job: so many at a time, each until it is up again or failed; 0 is as fast as the endpoints' gates allow
    #[arg(long, value_name = "N")]
    pub at_once: Option<u32>,
    /// As a job that begins with no more once so many have failed; 0 is never
    #[arg(long, value_name = "N")]
    pub stop_after: Option<u32>,
}

/// What developers are told.
#[derive(Debug, Args)]
pub(super) struct DebugLog {
    /// Append what console, engine and workers decided, and when, to this file: for who looks into mqfleet itself
    #[arg(long = "debug-log", value_name = "FILE")]
    pub path: Option<PathBuf>,
}

/// What a console looks like.
#[derive(Debug, Args)]
pub(super) struct Dress {
    /// terminal, dark, light, mono, contrast, cb, or a theme file
    #[arg(long)]
    pub theme: Option<String>,
    /// Use ASCII characters only
    #[arg(long)]
    pub ascii: bool,
}

/// Reads for how long a rule is muted.
fn muting(text: &str) -> Result<Duration, String> {
    const LONGEST: Duration = Duration::from_secs(365 * 86_400);
    let lasting = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    match lasting {
        Duration::ZERO => Err("for no time is not at all: unmute it".to_owned()),
        lasting if lasting > LONGEST => Err("that is more than a year: take the rule out of the fleet file".to_owned()),
        lasting => Ok(lasting),
    }
}

/// Reads a query; where it is none, its place is shown below it.
fn query(text: &str) -> Result<Query, String> {
    Query::parse(text).map_err(|error| format!("\n\n{}", error.show(text)))
}
