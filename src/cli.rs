//! Defines which program does what the command line asks for; what can be asked for is in `arguments`, and the programs themselves are elsewhere.

mod agents;
mod arguments;
mod kept;
mod stores;
mod trials;

use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use chrono::Utc;
use clap::{CommandFactory, Parser, error::ErrorKind};
use tracing::debug;
use tracing_appender::non_blocking::WorkerGuard;

pub use arguments::Cli;

use agents::{attached, chosen, reread};
use arguments::{
    Attachable, Command, ConfigOrder, CtlOrder, Datasource, DebugLog, Dress, HookOrder, NotifyOrder, PatientArgs, View,
    Whom,
};
use kept::keep;
use trials::{test_notifiers, trial};

use crate::{
    agent::{self, Purpose, Target},
    appearance::{Appearance, Config, Keymap},
    bus::Bus,
    check::{self, Host, Plan},
    clock::Anchor,
    console::{self, Chosen},
    control::{self, Selection},
    debug_log,
    doctor::{self, Patient},
    document::{self, FileErrors},
    event::Roll,
    fleet::{Client, EndpointKey, Fleet, Password, Settings},
    fleet_file::{self, Loaded},
    headless::{self, Format},
    hooks::{self},
    key_list,
    lines::{self, Check},
    listing,
    metrics::{self, Source},
    pool::Placement,
    recording::{Place, Player, Recording},
    rehearsal,
    replay::{self, Speed},
    run::{Live, Run},
    seal, stdio,
    telling::Telling,
    text::Scrubbed,
    words::figures,
    worker,
};

impl PatientArgs {
    /// A client that no fleet file describes.
    fn of_url(&self) -> Option<Client> {
        let mut client = Client::new(self.client.as_deref()?, EndpointKey(0), Arc::default());
        client.username = self.username.as_deref().map(Into::into);
        let from_env = self.password_env.as_deref().map(fleet_file::password_from_env);
        let from_file = self.password_file.as_deref().map(fleet_file::password_from_file);
        let password = from_env.or(from_file).map(|read| read.unwrap_or_else(|why| wrong_usage(&why)));
        client.password = password.map(Password::Fixed);
        Some(client)
    }

    /// The client of a fleet that has this ID.
    fn of_fleet(&self, fleet: &Fleet) -> Option<Client> {
        if self.username.is_some() || self.password_env.is_some() || self.password_file.is_some() {
            wrong_usage("--username and --password-… are for a URL; in a fleet file each client says so itself");
        }
        let id = self.client.as_deref()?;
        let client = fleet.clients.iter().find(|client| *client.id == *id);
        Some(client.unwrap_or_else(|| wrong_usage(&unknown_client(id, fleet))).clone())
    }

    /// The client as it is to connect.
    fn patient(&self, mut client: Client) -> Patient {
        if let Some(alias) = &self.alias {
            client.id = alias.as_str().into();
            client.name = Scrubbed::new(alias);
            let settings = Settings::clone(&client.settings);
            let settings = Settings { clean_start: true, session_expiry: Duration::ZERO, ..settings };
            client.settings = Arc::new(settings);
        }
        Patient { client, is_alias: self.alias.is_some() }
    }
}

fn unknown_client(id: &str, fleet: &Fleet) -> String {
    let ids = || fleet.clients.iter().map(|client| &*client.id);
    let near: Vec<&str> = match document::nearest(id, ids()) {
        Some(near) => vec![near],
        None => ids().filter(|known| known.starts_with(id)).take(3).collect(),
    };
    let hint = match (near.as_slice(), fleet.clients.as_slice()) {
        ([], [first, .., last]) => {
            format!("it has {}, {} to {}", figures::clients(fleet.clients.len() as u64), first.name, last.name)
        }
        ([], all) => all.iter().map(|client| format!("it has {}", client.name)).collect(),
        (near, _) => format!("did you mean {}?", Scrubbed::new(&near.join(" or "))),
    };
    format!("no client of fleet {} has the ID \"{}\": {hint}", fleet.name, Scrubbed::new(id))
}

impl Dress {
    fn appearance(&self) -> Result<Appearance, FileErrors> {
        Appearance::new(self.theme.as_deref(), self.ascii, variable)
    }
}

/// A variable of the environment, where it is set to a text.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

impl View {
    fn is_headless(&self) -> bool {
        self.plain || self.format == Format::Json || self.duration.is_some() || !has_screen()
    }
}

/// Whether there is a terminal that a console can be drawn on.
fn has_screen() -> bool {
    std::io::stdout().is_terminal()
        && std::io::stdin().is_terminal()
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Whether what goes to standard error may be coloured.
fn is_colored() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// Does what the command line asks for. Errors go to standard error and become exit code 1; a wrong
/// file becomes 2, as clap's own usage errors do.
pub fn main() -> ExitCode {
    seal::memory();
    let cli = Cli::parse();
    match dispatch(cli.command) {
        Ok(code) => code,
        Err(error) => match error.downcast_ref::<FileErrors>() {
            Some(errors) => {
                stdio::complain(&errors.render(is_colored()));
                ExitCode::from(2)
            }
            None => {
                stdio::complain(&format!("mqfleet: {error:#}"));
                ExitCode::FAILURE
            }
        },
    }
}

fn dispatch(command: Command) -> Result<ExitCode> {
    match command {
        // A worker keeps one thread and a small runtime: there may be hundreds.
        Command::Worker { index, debug_log } => {
            let _log = debug_log.then(|| debug_log::start_in_worker(index));
            debug!("worker starts");
            Ok(worker::main())
        }
        #[cfg(feature = "demo")]
        Command::DemoBroker => Ok(crate::demo::broker_main()),
        #[cfg(feature = "demo")]
        Command::DemoSite => Ok(crate::demo::site_main()),
        Command::Init { file } => {
            fleet_file::write_starter(&file)?;
            let next = format!("{} written. Edit it, then: mqfleet check {0} --connect\n", file.display());
            stdio::print(&next).context("cannot print")?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Check { file, connect, fail_if, format } => {
            let (name, loaded) = match file.to_str() {
                Some("-") => (document::STDIN.to_owned(), fleet_file::check_stdin()),
                _ => (file.display().to_string(), fleet_file::check(&file)),
            };
            let fleet = match (loaded.map(warned), format) {
                (Err(errors), Format::Json) => return print_errors(&errors).context("cannot print"),
                (fleet, _) => fleet?,
            };
            if connect {
                raise_file_limit();
                Ok(block_on(check::connect(fleet, format, &fail_if))??)
            } else {
                print_check(&fleet, &name, format).context("cannot print")?;
                Ok(ExitCode::SUCCESS)
            }
        }
        Command::Doctor { target, patient: which, format, timeout, ca_file, insecure } => {
            let (endpoints, patient) = if let Some(url) = doctor::url(&target) {
                let endpoint = fleet_file::endpoint(&url, ca_file, insecure);
                let (endpoint, warning) = endpoint.unwrap_or_else(|why| wrong_usage(&why));
                if let Some(warning) = warning {
                    stdio::complain(&format!("warning: {warning}"));
                }
                (vec![endpoint], which.of_url())
            } else if ca_file.is_some() || insecure {
                wrong_usage("--ca-file and --insecure are for a URL; in a fleet file each endpoint says so itself")
            } else {
                let file = Path::new(&target);
                if !file.exists() && is_host(&target) {
                    let url = format!("mqtt://{target}");
                    wrong_usage(&format!("there is no file {target:?}; a broker is named by its URL, such as {url}"));
                }
                let fleet = load(file)?;
                let client = which.of_fleet(&fleet);
                // A client's own endpoints, as it prefers them.
                let own = client.as_ref().map(|c| c.endpoints.iter().map(|&key| fleet.endpoint(key).clone()).collect());
                (own.unwrap_or(fleet.endpoints), client)
            };
            let patient = patient.map(|client| which.patient(client));
            raise_file_limit();
            block_on(doctor::run(endpoints, patient, format, timeout))?.context("cannot print")
        }
        Command::Replay { file, plain, format, samples, speed, paused, from, to, dress } => {
            let recording = Recording::open(&file)?;
            replay::tell_begin(&recording);
            check_part(&recording, from, to);
            if plain || format == Format::Json || !has_screen() {
                let speed = speed.unwrap_or(Speed::Max);
                let options = replay::Options { format, samples, speed, from, to };
                return block_on(replay::run(&recording, options))?;
            }
            let speed = match speed.unwrap_or(Speed::Times(1.0)) {
                Speed::Times(times) => times,
                Speed::Max => wrong_usage("--speed max is for lines (--plain); a screen would show only the end"),
            };
            let [from, to] = [from, to].map(|place| place.map(|place| place.moment(&recording)));
            let appearance = dress.appearance()?;
            let code = block_on(async {
                let player = Player::new(recording.clone(), from, to, speed, paused);
                console::replay(player, appearance).await
            })??;
            replay::tell_ending(&recording);
            Ok(code)
        }
        Command::Report { file, format, from, to } => {
            let recording = Recording::open(&file)?;
            replay::tell_begin(&recording);
            check_part(&recording, from, to);
            let text = replay::report(&recording, from, to)?.render(format);
            stdio::print(&text).context("cannot print")?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Alerts { file, on, format, from, to } => {
            let mut loaded = fleet_file::load(&file)?;
            let telling = std::mem::take(&mut loaded.telling);
            drop(warned(loaded));
            if telling.alerts.is_empty() {
                wrong_usage(&format!("{} has no rule to try: write an [[alert]]", file.display()));
            }
            let recording = Recording::open(&on)?;
            replay::tell_begin(&recording);
            check_part(&recording, from, to);
            let text = rehearsal::run(&recording, &telling, format, from, to)?;
            stdio::print(&text).context("cannot print")?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Notify { order: NotifyOrder::Test { file, name, format } } => {
            let mut loaded = fleet_file::load(&file)?;
            let telling = std::mem::take(&mut loaded.telling);
            let fleet = warned(loaded);
            Ok(block_on(test_notifiers(&fleet, telling.notifiers, name.as_deref(), format))??)
        }
        Command::Grafana { datasource } => {
            let source = match datasource {
                Datasource::Prometheus => Source::Prometheus,
                Datasource::Influx => Source::Influx,
            };
            stdio::print(&metrics::dashboard(source)).context("cannot print")?;
            Ok(ExitCode::SUCCESS)
        }
        Command::PrometheusRules => {
            stdio::print(&metrics::rules()).context("cannot print")?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Run { file, view } => {
            let _debug_log = start_debug_log(&view.keep.debug)?;
            let mut loaded = fleet_file::load(&file)?;
            let telling = std::mem::take(&mut loaded.telling);
            let fleet = Arc::new(warned(loaded));
            let appearance = view.dress.appearance()?;
            raise_file_limit();
            block_on(async {
                let bus = Bus::new(Anchor::now());
                let kept = keep(&fleet, &bus, &view.keep, &telling, None)?;
                let (run, live) = Run::start_shown(fleet, fastrand::u64(..), bus);
                show(kept(run), live, &view, appearance, true).await
            })?
        }
        Command::Agent { file, keep: kept, detached } => {
            if detached {
                // A session of its own: the end of the terminal's is not its end.
                let _ = rustix::process::setsid();
            }
            let _debug_log = start_debug_log(&kept.debug)?;
            let mut loaded = fleet_file::load(&file)?;
            let (group, telling) = (loaded.agent_group.take(), std::mem::take(&mut loaded.telling));
            let start = (group.clone(), telling.clone());
            let reread = Box::new(move || reread(&file, &start));
            let rules = telling.alerts.iter().map(|rule| rule.name.clone()).collect();
            let options = agent::Options { group, rules, fleet: warned(loaded), seed: fastrand::u64(..), reread };
            raise_file_limit();
            block_on(agent::run(options, |fleet, bus, folder| keep(fleet, bus, &kept, &telling, Some(folder))))?
        }
        Command::Up { file, keep, dress } => {
            let fleet = load(&file)?;
            let look = dress.appearance()?;
            block_on(async {
                let target = agent::start(&file, &fleet.name, keep.arguments()?).await?;
                attached(vec![target], Purpose::Console, &look).await
            })?
        }
        Command::Attach { targets, stdio: true, .. } => {
            let target = match targets.into_iter().next() {
                None => Target::Only,
                Some(Attachable::Agent(target)) => target,
                Some(Attachable::Store(_)) => wrong_usage("what is in a store is reached from everywhere"),
            };
            block_on(agent::relay(&target))??;
            Ok(ExitCode::SUCCESS)
        }
        Command::Attach { targets: places, access, read_only, dress, stdio: _ } => {
            let look = dress.appearance()?;
            let is_store = places.iter().any(|place| matches!(place, Attachable::Store(_)));
            if access.is_any() && !is_store {
                wrong_usage("--username, --password-… and --ca-file are for a store's URL");
            }
            // Through a store nobody commands.
            let purpose = if read_only || is_store { Purpose::Watch } else { Purpose::Console };
            block_on(async {
                let mut targets = Vec::new();
                for place in places {
                    match place {
                        Attachable::Agent(target) => targets.push(target),
                        Attachable::Store(url) => targets.extend(stores::agents(&url, &access).await?),
                    }
                }
                if targets.is_empty() {
                    match chosen().await? {
                        Chosen::One(target) => targets.push(target),
                        Chosen::None(code) => return Ok(code),
                    }
                }
                attached(targets, purpose, &look).await
            })?
        }
        Command::Ls { store: Some(place), access, whom, format, target: _ } => {
            stores::list(&place, &access, &whom.unwrap_or_default(), format)
        }
        Command::Ls { target, access, whom, format, store: None } => {
            if access.is_any() {
                wrong_usage("--username, --password-… and --ca-file go with --store");
            }
            let attached = block_on(agent::attach(&target.unwrap_or(Target::Only), Purpose::Snapshot))??;
            let (now, whom) = (attached.now(), whom.unwrap_or_default());
            let text = listing::of(&attached.known, &whom, format, &attached.begin, now);
            stdio::print(&text).context("cannot print")?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Reload { target, timeout, take_over } => block_on(async {
            let target = target.unwrap_or(Target::Only);
            control::run(&target, control::Order::Reload, timeout, take_over).await.map_err(Into::into)
        })?,
        Command::Keys { format, builtin } => {
            let keymap = if builtin { Keymap::builtin() } else { Config::of_user(variable)?.keymap };
            stdio::print(&key_list::of(&keymap, format)).context("cannot print")?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Config { order } => config(order),
        Command::Store { order } => stores::order(&order),
        Command::Hook { order: HookOrder::Test { file, name, client } } => {
            let mut loaded = fleet_file::load(&file)?;
            let hooks = std::mem::take(&mut loaded.telling.hooks);
            let trial = trial(hooks, warned(loaded), &name, client.as_deref());
            match block_on(hooks::test(trial))?.with_context(|| format!("cannot test hook {}", Scrubbed::new(&name)))? {
                Ok(()) => Ok(ExitCode::SUCCESS),
                Err(why) => {
                    stdio::complain(&format!("mqfleet: hook {} {why}", Scrubbed::new(&name)));
                    Ok(ExitCode::FAILURE)
                }
            }
        }
        Command::Ctl { target, order, timeout, take_over } => {
            block_on(async { control::run(&target, order.order(), timeout, take_over).await.map_err(Into::into) })?
        }
        #[cfg(feature = "demo")]
        Command::Demo { clients, seed, calm, view } => {
            let _debug_log = start_debug_log(&view.keep.debug)?;
            let appearance = view.dress.appearance()?;
            raise_file_limit();
            block_on(async {
                let mut demo = crate::demo::start(crate::demo::Options { clients, seed, calm }).await?;
                let bus = Bus::new(Anchor::now());
                let fleet = Arc::new(demo.fleet);
                let shown = match keep(&fleet, &bus, &view.keep, &Telling::default(), None) {
                    Ok(kept) => {
                        let (run, live) = Run::start_shown(fleet, seed, bus.clone());
                        tokio::spawn(async move {
                            while let Some(event) = demo.events.recv().await {
                                bus.publish([event]);
                            }
                        });
                        show(kept(run), live, &view, appearance, false).await
                    }
                    Err(error) => Err(error),
                };
                demo.network.stop().await;
                shown
            })?
        }
    }
}

impl CtlOrder {
    fn order(self) -> control::Order {
        use control::Order;
        let whom = |Whom { clients, whom, all, at_once, stop_after }| {
            let usual = Roll::default();
            let (once, stop) = (at_once.unwrap_or(usual.at_once), stop_after.unwrap_or(usual.stop_after));
            let is_job = at_once.is_some() || stop_after.is_some();
            let roll = is_job.then_some(Roll { at_once: once, stop_after: stop });
            Selection { clients, whom, all, roll }
        };
        match self {
            CtlOrder::Connect(who) => Order::Connect(whom(who)),
            CtlOrder::Reconnect(who) => Order::Reconnect(whom(who)),
            CtlOrder::Disconnect(who) => Order::Disconnect(whom(who)),
            CtlOrder::Hold { endpoint } => Order::Hold(endpoint),
            CtlOrder::Release { endpoint } => Order::Release(endpoint),
            CtlOrder::Rate { endpoint, per_second } => Order::Rate(endpoint, per_second),
            CtlOrder::Mute { rule, lasting } => Order::Mute(rule, lasting),
            CtlOrder::Unmute { rule } => Order::Mute(rule, Duration::ZERO),
            CtlOrder::Acknowledge { rule } => Order::Acknowledge(rule),
            CtlOrder::Stop => Order::Stop,
        }
    }
}

/// Shows the user's own configuration, or says what is wrong with one.
fn config(order: ConfigOrder) -> Result<ExitCode> {
    let path = Config::path(variable);
    let text = match order {
        ConfigOrder::Show => {
            let config = Config::of_user(variable)?;
            format!("{}\n{}", config.show(path.as_deref()), key_list::keys(&config.keymap))
        }
        ConfigOrder::Check { file } => {
            let path = file.or(path).context("there is no file to check: neither XDG_CONFIG_HOME nor HOME is set")?;
            Config::load(&path)?;
            format!("{}: ok\n", path.display())
        }
        ConfigOrder::Path => {
            let path = path.context("there is no place for one: neither XDG_CONFIG_HOME nor HOME is set")?;
            format!("{}\n", path.display())
        }
    };
    stdio::print(&text).context("cannot print")?;
    Ok(ExitCode::SUCCESS)
}

/// Shows a run as the flags want it. `strict`: clients that are not up at the end of a limited
/// run make its exit code 3.
async fn show(run: Run, live: Live, view: &View, appearance: Appearance, strict: bool) -> Result<ExitCode> {
    if view.is_headless() {
        let options = headless::Options { format: view.format, samples: view.samples, duration: view.duration, strict };
        Ok(headless::run(run, live, options).await.context("cannot print")?)
    } else {
        Ok(console::run(run, live, appearance).await?)
    }
}

/// Whether a name may be that of a host: it is one word, or has dots between words, and does not end as a fleet
/// file's does.
fn is_host(name: &str) -> bool {
    let is_word = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    name.split('.').all(is_word) && !name.ends_with(".toml")
}

fn load(file: &Path) -> Result<Fleet, FileErrors> {
    fleet_file::load(file).map(warned)
}

/// The fleet, once its warnings are told.
fn warned(loaded: Loaded) -> Fleet {
    for warning in &loaded.warnings {
        stdio::complain(&warning.render(is_colored()));
    }
    loaded.fleet
}

/// Starts the developer's log, where it was asked for. What is returned is to be kept until all has ended.
fn start_debug_log(args: &DebugLog) -> Result<Option<WorkerGuard>> {
    let start = |path: &PathBuf| {
        debug_log::start(path).with_context(|| format!("cannot open the debug log {}", path.display()))
    };
    let guard = args.path.as_ref().map(start).transpose()?;
    debug!(version = env!("CARGO_PKG_VERSION"), "console starts");
    Ok(guard)
}

/// Ends the program where there is nothing between `--from` and `--to`.
fn check_part(recording: &Recording, from: Option<Place>, to: Option<Place>) {
    let [from, to] = [from, to].map(|place| place.map(|place| place.moment(recording)));
    if from > to.or(from) {
        wrong_usage("--from is after --to");
    }
    if from.is_some_and(|from| from > recording.end()) {
        let end = recording.header().anchor().utc(recording.end()).format("%Y-%m-%dT%H:%M:%S%.3fZ");
        let length = figures::clock(recording.end().since(recording.begin()));
        wrong_usage(&format!("--from is after the recording's end, which is at {end}, {length} after its begin"));
    }
}

/// Ends the program as clap does for wrong arguments, with exit code 2.
fn wrong_usage(why: &str) -> ! {
    Cli::command().error(ErrorKind::ValueValidation, why).exit()
}

/// What is wrong with a fleet file, for scripts.
fn print_errors(errors: &FileErrors) -> std::io::Result<ExitCode> {
    let line = lines::json_check(Utc::now(), &Check::Wrong { errors: errors.count(), text: &errors.render(false) });
    stdio::print(&format!("{line}\n"))?;
    Ok(ExitCode::from(2))
}

/// Says that a fleet is right, and what it takes of this host.
fn print_check(fleet: &Fleet, file: &str, format: Format) -> std::io::Result<()> {
    let plan = Plan::new(fleet, Host::this());
    let workers = Placement::new(fleet).workers().len();
    let (clients, endpoints) = (fleet.clients.len(), fleet.endpoints.len());
    let said = match format {
        Format::Text => {
            let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
            format!(
                "{file}: ok: fleet {}, {}, {}, {}\n{}\n",
                fleet.name,
                count(clients, "client"),
                count(endpoints, "endpoint"),
                count(workers, "worker"),
                plan.text()
            )
        }
        Format::Json => {
            let now = Utc::now();
            let check = Check::Right { fleet: &fleet.name, clients, endpoints, workers };
            format!("{}\n{}\n", lines::json_check(now, &check), lines::json_plan(now, &plan.line()))
        }
    };
    stdio::print(&said)?;
    for doubt in plan.doubts() {
        stdio::complain(&format!("warning: {}\n  |\n  = help: {}", doubt.title, doubt.help));
    }
    Ok(())
}

/// Runs it to its end, and what it started with it. A read of a file that hangs is waited for by nobody: it
/// cannot be called off.
fn block_on<F: Future>(run: F) -> Result<F::Output> {
    /// How long what runs beside it may take to end.
    const ENDING: Duration = Duration::from_secs(1);
    console::exit_on_panic();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let done = runtime.block_on(run);
    runtime.shutdown_timeout(ENDING);
    Ok(done)
}

/// Each worker needs a descriptor here, and one for each of its clients there: takes what the
/// system allows. A limit that is too low shows as a worker's error, in words.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    const PLENTY: u64 = 1 << 20; // the kernel's own ceiling (fs.nr_open) where none is set
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = Some(limit.maximum.unwrap_or(PLENTY));
    let _ = setrlimit(Resource::Nofile, limit);
}
