//! Defines the console, of a live run or of a recording: one loop over keys, news, signals and time, and when a frame is drawn; what is on it is the UI's matter.

mod choice;
mod feed;
mod input;
mod report;
mod screen;

use std::{
    io,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use crossterm::event::{Event, EventStream};
use futures_util::StreamExt;
use tokio::time::sleep_until;
use tracing::debug;

pub use choice::{Chosen, choose};
pub use screen::exit_on_panic;

use crate::{
    action::{Action, Scope},
    agent::{Agents, Farewell, Gone, NotDone},
    appearance::Appearance,
    clock::Moment,
    command::Command,
    event::{Level, State},
    fleet::Fleet,
    model::{Effect, Model},
    recording::Player,
    run::{Live, Run},
    signals::{Job, Jobs, Signals},
    stdio::complain,
    text::{Scrubbed, ellipsize},
    ui,
    words::figures,
};
use feed::Feed;
use screen::Screen;

/// Why a console could not go on.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    #[error("cannot use this terminal: {0}")]
    Terminal(#[from] io::Error),
    #[error("the engine ended by itself; this is a bug of mqfleet")]
    EngineEnded,
    #[error("the agent speaks another protocol by now; mqfleet attach shows its fleet again")]
    AgentChanged,
    #[error("the agents ended")]
    AgentsEnded,
}

/// How a console ended.
enum End {
    Quit,
    /// A signal, by its number.
    Signal(i32),
    /// The terminal went away.
    Lost,
}

impl End {
    fn code(self) -> ExitCode {
        match self {
            End::Quit => ExitCode::SUCCESS,
            End::Signal(number) => ExitCode::from(128 + number as u8),
            End::Lost => ExitCode::FAILURE,
        }
    }
}

/// A key's answer must be on the screen at once; a burst of keys is one frame.
const AFTER_KEY: Duration = Duration::from_millis(16);
/// How often news is drawn, here and over a slow link.
const AFTER_NEWS: Duration = Duration::from_millis(250);
const AFTER_NEWS_REMOTE: Duration = Duration::from_secs(1);
/// How often the passing of time is drawn.
const TICK: Duration = Duration::from_secs(1);

/// Shows a run until the operator quits, then ends it in good order.
///
/// # Errors
/// Where the terminal cannot be used, or the engine ends by itself.
pub async fn run(run: Run, mut live: Live, appearance: Appearance) -> Result<ExitCode, ConsoleError> {
    let mut signals = Signals::listen()?;
    let mut model = Model::new(live.fleet.clone(), live.begin.moment());
    let (started, begin) = (Instant::now(), live.begin);
    let end = match show(Feed::Live(&mut live, begin), &mut model, &appearance, &mut signals).await {
        Ok(end) => end,
        Err(error) => {
            run.stop().await;
            return Err(error);
        }
    };
    if !matches!(end, End::Lost) {
        screen::last_words(report::text(&model, started.elapsed()).as_bytes());
    }
    // Whoever asks a second time does not want to wait for good manners.
    let unwritten = tokio::select! {
        unwritten = run.stop() => unwritten,
        second = signals.next() => return Ok(ExitCode::from(128 + second as u8)),
    };
    if let Some(words) = unwritten {
        complain(&format!("mqfleet: {words}"));
        return Ok(ExitCode::FAILURE);
    }
    Ok(end.code())
}

/// Shows the fleets of agents as one until the operator leaves them; they go on. One that is lost is attached to again.
///
/// # Errors
/// Where the terminal cannot be used, or the only agent is another program by now.
pub async fn attached(agents: &mut Agents, appearance: &Appearance) -> Result<ExitCode, ConsoleError> {
    let mut signals = Signals::listen()?;
    let anchor = agents.begin();
    let mut model = Model::new(agents.fleet().clone(), anchor.moment());
    agents.waiting().for_each(|news| feed::take_in(&mut model, feed::Told::Agent(news)));
    match show(Feed::Attached(agents, anchor), &mut model, appearance, &mut signals).await {
        Err(ConsoleError::AgentsEnded) => match agents.farewell() {
            Some(Farewell::Over(over)) => {
                over.iter().for_each(|(name, why)| complain(&format!("mqfleet: {name} is over: {why}")));
                Ok(ExitCode::SUCCESS)
            }
            Some(Farewell::Changed) => Err(ConsoleError::AgentChanged),
            None => Err(ConsoleError::AgentsEnded),
        },
        shown => {
            let end = shown?;
            if !matches!(end, End::Lost) {
                let mut targets: Vec<String> = agents.targets().map(|target| format!(" {target}")).collect();
                targets.dedup(); // one name is of all that write to a store
                let targets = targets.concat();
                let words = format!("mqfleet: detached, the clients go on; mqfleet attach{targets} shows them again");
                screen::last_words(format!("{}\n", Scrubbed::new(&words)).as_bytes());
            }
            Ok(end.code())
        }
    }
}

/// Shows a recording until the operator quits.
///
/// # Errors
/// Where the terminal cannot be used.
pub async fn replay(mut player: Player, appearance: Appearance) -> Result<ExitCode, ConsoleError> {
    let mut signals = Signals::listen()?;
    let recording = player.recording();
    let mut model = Model::new(recording.fleet().clone(), recording.begin());
    Ok(show(Feed::Recorded(&mut player), &mut model, &appearance, &mut signals).await?.code())
}

/// Has the terminal for as long as it shows something.
async fn show(
    feed: Feed<'_>,
    model: &mut Model,
    appearance: &Appearance,
    signals: &mut Signals,
) -> Result<End, ConsoleError> {
    let mut screen = Screen::enter()?;
    Console { feed, model, appearance, screen: &mut screen }.run(signals).await
}

struct Console<'a> {
    feed: Feed<'a>,
    model: &'a mut Model,
    appearance: &'a Appearance,
    screen: &'a mut Screen,
}

impl Console<'_> {
    async fn run(&mut self, signals: &mut Signals) -> Result<End, ConsoleError> {
        let after_news = if self.appearance.remote { AFTER_NEWS_REMOTE } else { AFTER_NEWS };
        let mut jobs = Jobs::listen()?;
        let mut keys = EventStream::new();
        let mut pace = Pace::new();
        let mut facts = Facts::new(self.model, self.screen.written());
        loop {
            let wait = pace.next_frame();
            tokio::select! {
                biased;
                signal = signals.next() => return Ok(End::Signal(signal)),
                job = jobs.next() => match job {
                    Job::Stop => self.suspend(),
                    Job::Continue => {
                        self.model.see(false);
                        self.screen.resume()?;
                        pace.ask(Duration::ZERO);
                    }
                },
                event = keys.next() => match event {
                    Some(Ok(Event::Resize(..))) => {
                        if !self.screen.is_whole()? {
                            self.model.see(false); // until it is drawn at the new size
                        }
                        pace.ask(AFTER_KEY);
                    }
                    Some(Ok(event)) => {
                        let scope = self.feed.scope();
                        let refusal = self.not_done(&self.feed.refusal());
                        self.model.set_refusal(refusal);
                        let effect = input::handle(self.model, &self.appearance.keymap, scope, &event, Moment::now());
                        match effect {
                            Effect::Nothing => {}
                            Effect::Command(command) => self.command(command).await,
                            Effect::Playback(playback) => self.feed.play(playback, self.model),
                            Effect::Repaint => self.screen.repaint()?,
                            Effect::TakeOver => self.feed.take_over().await,
                            Effect::Suspend => self.suspend(),
                            Effect::Quit => return Ok(End::Quit),
                        }
                        pace.ask(AFTER_KEY);
                    }
                    Some(Err(_)) | None => return Ok(End::Lost),
                },
                () = self.screen.idle() => {
                    if self.screen.is_lost() {
                        return Ok(End::Lost);
                    }
                }
                // Before the news: in a storm there is always more of it, and the screen would stand still.
                () = sleep_until(wait.into()) => {
                    // A slow terminal skips this frame; working it out for nothing costs a pass over the fleet.
                    if self.screen.is_busy() {
                        pace.late();
                        continue;
                    }
                    facts.refresh(self.model, self.screen.written());
                    self.model.tick(Moment::now());
                    self.draw(&facts)?;
                    pace.drawn(self.rest());
                    // There is no other way to it for the tests.
                    #[cfg(debug_assertions)]
                    if self.model.live().changes() > 0 && std::env::var_os("MQFLEET_TEST_PANIC").is_some() {
                        panic!("as the tests want it");
                    }
                }
                told = self.feed.next() => {
                    let told = told?;
                    let distance = match self.feed.is_flowing() {
                        // The second's figures and the passing of time are one frame.
                        true if told.is_second() => Duration::ZERO,
                        true if told.is_only_figures() => TICK,
                        true => after_news,
                        false => AFTER_KEY,
                    };
                    feed::take_in(self.model, told);
                    // A frozen view has no news.
                    if self.model.frozen().is_none() {
                        pace.ask(distance);
                    }
                }
            }
        }
    }

    /// Gives a command, where that is this console's to do.
    async fn command(&mut self, command: Command) {
        debug!(command = ellipsize(&format!("{command:?}"), 200), "operator wants");
        let not_done = self.feed.command(command).await;
        // What was just said is not true then.
        if let Some(words) = self.not_done(&not_done) {
            self.model.say(Level::Warning, words, Moment::now());
        }
    }

    /// What was not done, and what to do about that.
    fn not_done(&self, parts: &[NotDone]) -> Option<String> {
        let take_over = self.appearance.keymap.keys(Action::TakeOver).first();
        let then = take_over.filter(|_| parts.iter().any(|part| part.is_others));
        let then = then.map(|key| format!("; {key} takes over")).unwrap_or_default();
        let why: Vec<&str> = parts.iter().map(|part| part.why.as_str()).collect();
        (!why.is_empty()).then(|| format!("not done: {}{then}", why.join(", ")))
    }

    /// Gives the terminal back and stops until the shell says otherwise. The workers go on: who is up stays up.
    fn suspend(&mut self) {
        debug!("console is suspended");
        screen::restore();
        let up = self.model.live().totals().of(State::Up);
        let text = match self.feed.scope() {
            Scope::Replay => "mqfleet: suspended; fg goes on\n".to_owned(),
            Scope::Attached => "mqfleet: suspended; the agent goes on; fg shows it again\n".to_owned(),
            _ => format!(
                "mqfleet: suspended; its workers hold the {} that {} up, nobody connects anew; fg goes on\n",
                figures::clients(up),
                if up == 1 { "is" } else { "are" }
            ),
        };
        screen::last_words(text.as_bytes());
        if let Err(why) = Jobs::stop() {
            self.model.say(Level::Warning, format!("not suspended: {why}"), Moment::now());
            // Nobody wakes what did not stop.
            let _ = self.screen.resume();
        }
    }

    /// How long the screen may stand still without news: a frozen one until its toast goes.
    fn rest(&self) -> Duration {
        const LONG: Duration = Duration::from_secs(86_400);
        match (self.model.frozen(), self.model.toast()) {
            // A live run tells each second; where it does not, time passes all the same.
            (None, _) if self.feed.is_flowing() => TICK + AFTER_NEWS,
            (None, _) => TICK,
            (Some(_), Some(toast)) => toast.until.since(Moment::now()) + AFTER_KEY,
            (Some(_), None) => LONG,
        }
    }

    fn draw(&mut self, facts: &Facts) -> Result<(), ConsoleError> {
        let size = self.screen.size()?;
        let area = ratatui::layout::Rect::new(0, 0, size.width, size.height);
        let timeline = self.feed.timeline();
        self.model.set_height(ui::table_height(area, timeline.is_some()));
        self.model.set_pane(ui::pane(area, timeline.is_some()));
        if let Some(events) = ui::events_shown(self.model) {
            self.model.show_events(events);
        }
        let (now, anchor) = (self.feed.now(), self.feed.anchor());
        let zone = *anchor.local(now).offset();
        let others = self.feed.others().map(|others| others.join(", "));
        let clock = |at| anchor.utc(at).with_timezone(&zone).format("%H:%M:%S").to_string();
        let gone: Vec<String> = self.feed.gone().iter().map(|gone| words_of_gone(gone, clock)).collect();
        let gone = gone.join("; ");
        let context = ui::Context {
            now,
            anchor,
            zone,
            theme: &self.appearance.theme,
            glyphs: self.appearance.glyphs,
            keymap: &self.appearance.keymap,
            widths: facts.widths,
            bytes_per_second: self.model.frozen().is_none().then_some(facts.bytes_per_second),
            recording: self.feed.recording(self.model),
            attached: others.as_deref(),
            gone: &gone,
            timeline,
        };
        let model = &*self.model;
        let is_seen = ui::shows_question(model, &context, area);
        let below = ui::help_below(model, &context, area);
        self.screen.draw(|frame| ui::draw(frame, model, &context))?;
        self.model.see(is_seen);
        self.model.set_help_below(below);
        Ok(())
    }
}

/// That an agent is gone: `agent plant-eu is gone since 12:04:31, trying again in 2 s: the connection was closed`.
fn words_of_gone(gone: &Gone, clock: impl Fn(Moment) -> String) -> String {
    let again = match gone.again.as_secs_f64().ceil() as u64 {
        0 => "trying again".to_owned(),
        seconds => format!("trying again in {seconds} s"),
    };
    format!("agent {} is gone since {}, {again}: {}", gone.name, clock(gone.since), gone.why)
}

/// When the next frame is due.
struct Pace {
    last: Instant,
    due: Instant,
}

impl Pace {
    /// The first frame is due at once.
    fn new() -> Pace {
        let now = Instant::now();
        Pace { last: now, due: now }
    }

    /// Asks for a frame that is at least `distance` after the last one.
    fn ask(&mut self, distance: Duration) {
        self.due = self.due.min(self.last + distance);
    }

    /// A frame was drawn; the next one is due after `rest`, unless somebody asks for one.
    fn drawn(&mut self, rest: Duration) {
        self.last = Instant::now();
        self.due = self.last + rest;
    }

    /// A frame could not be drawn: looks again soon.
    fn late(&mut self) {
        self.due = Instant::now() + AFTER_KEY;
    }

    fn next_frame(&self) -> Instant {
        self.due
    }
}

/// What costs a pass over the fleet, or a second of waiting, to know.
struct Facts {
    /// Of this fleet.
    widths: ui::Widths,
    fleet: Arc<Fleet>,
    bytes_per_second: u64,
    refreshed: Instant,
    written: u64,
}

impl Facts {
    fn new(model: &Model, written: u64) -> Facts {
        let (widths, fleet) = (ui::Widths::of(model.fleet()), model.fleet().clone());
        Facts { widths, fleet, bytes_per_second: 0, refreshed: Instant::now(), written }
    }

    fn refresh(&mut self, model: &Model, written: u64) {
        if !Arc::ptr_eq(&self.fleet, model.fleet()) {
            (self.widths, self.fleet) = (ui::Widths::of(model.fleet()), model.fleet().clone());
        }
        let age = self.refreshed.elapsed();
        if age >= Duration::from_millis(900) {
            self.bytes_per_second = ((written - self.written) as f64 / age.as_secs_f64()) as u64;
            self.written = written;
            self.refreshed = Instant::now();
        }
    }
}
