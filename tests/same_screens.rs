//! Compares the screens of a live run, at marked instants, with those of consoles that attach to it at its begin and in the middle of its troubles, and with those that its recording gives at 1x and at 100x, cell by cell.
//!
//! It is a program of its own (`harness = false`), because the engine starts its workers from the program it is in.

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::FixedOffset;
use mqfleet::{
    action::Action,
    agent::{self, AgentError, Purpose, Target},
    appearance::{Glyphs, Keymap, Theme},
    bus::Bus,
    clock::{Anchor, Moment},
    event::{State, What},
    fleet::Fleet,
    model::{Model, Motion},
    recording::{Limits, News, Player, Recorder, Recording},
    run::{Kept, Run},
    ui::{self, Context, Widths},
    worker,
};
use mqfleet_test_support::{fleet_file::FleetFile, mosquitto::Mosquitto, process};
use ratatui::{Terminal, backend::TestBackend, buffer::Buffer, layout::Rect};
use rustix::process::Signal;
use tokio::sync::oneshot;

const CLIENTS: u32 = 12;
const PATIENCE: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("worker") {
        return worker::main();
    }
    // An agent's folders are those of its environment.
    let Some(home) = std::env::var_os("XDG_RUNTIME_DIR").filter(|_| std::env::var_os("SAME_SCREENS").is_some()) else {
        let home = tempfile::TempDir::new().expect("a folder");
        let mut itself = Command::new(std::env::current_exe().expect("this program"));
        itself.env("SAME_SCREENS", "1").env("XDG_RUNTIME_DIR", home.path()).env("XDG_STATE_HOME", home.path());
        let status = itself.env_remove("STATE_DIRECTORY").env_remove("RUNTIME_DIRECTORY").status().expect("it runs");
        return if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    };
    let home = PathBuf::from(home);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let path = home.join("run.rec");
        let (live, attached) = live_run(&home, &path).await;
        for word in ["12 up", "no answer", "lost", "conn"] {
            let seen = live.iter().any(|instant| text(&instant.screens[0]).contains(word));
            assert!(seen, "nothing is shown where {word:?} never was on a screen");
        }
        for (console, marked) in attached.iter().enumerate() {
            // Its order waits for a moment after its first key, as that of the live one did at the begin.
            let marked = &marked[2..];
            let first = marked.first().expect("a second").at;
            let place = live.iter().position(|instant| instant.at == first).expect("the same seconds");
            compare(&live[place..], marked);
            println!("{} of {} instants on attached console {console}: the same screens", marked.len(), live.len());
        }
        let recording = Recording::open(&path).expect("a recording");
        for speed in [100.0, 1.0] {
            let begin = Instant::now();
            let replayed = replay(&recording, speed).await;
            compare(&live, &replayed);
            println!("{} instants at {speed}x in {:.1?}: the same screens", live.len(), begin.elapsed());
        }
    });
    ExitCode::SUCCESS
}

/// What was on the screens at an instant.
struct Marked {
    at: Moment,
    screens: Vec<Buffer>,
}

/// A broker that stops answering, goes on, is stopped and comes back: a screen each second, of the run itself and of
/// the consoles that attach as each of these begins.
async fn live_run(home: &Path, path: &Path) -> (Vec<Marked>, Vec<Vec<Marked>>) {
    let mut broker = Mosquitto::start();
    let file = FleetFile::presses(broker.port(), CLIENTS as usize);
    let fleet = mqfleet::fleet_file::load(file.path().as_ref()).expect("a fleet").fleet;
    let reread = Box::new(|| unreachable!("nobody has it read anew"));
    let options = agent::Options { fleet, group: None, rules: Vec::new(), seed: 7, reread };
    let (give, shown) = oneshot::channel();
    let path = path.to_owned();
    let keep = move |fleet: &Arc<Fleet>, bus: &Bus, _: &Path| {
        let limits = Limits { size: None, age: None };
        let recorder = Recorder::start(&path, limits, fleet.clone(), 1, bus)?;
        let _ = give.send((fleet.clone(), bus.subscribe("live"), bus.begin()));
        Ok(move |run: Run| run.with(Kept { recorder: Some(recorder), ..Kept::default() }))
    };
    let run = tokio::spawn(agent::run(options, keep));
    let (fleet, mut events, begin_of_run) = shown.await.expect("a run");
    let (mut model, mut anchor) = (Model::new(fleet, begin_of_run.moment()), begin_of_run);
    let (mut instants, mut chapter, mut seconds, begin) = (Vec::new(), 0, 0, Instant::now());
    let socket = home.join("mqfleet/test.sock");
    let mut consoles = vec![tokio::spawn(console(socket.clone()))];
    while chapter < 5 {
        assert!(begin.elapsed() < PATIENCE, "chapter {chapter} takes too long: {:?}", model.live().totals());
        for event in events.next().await.expect("an engine") {
            event.set_clock(&mut anchor);
            model.apply(&event);
            if let What::Second(_) = event.what {
                let now = event.at;
                instants.push(Marked { at: now, screens: draw(&mut model, now, anchor) });
                let totals = *model.live().totals();
                let is_over = match chapter {
                    0 | 4 => totals.of(State::Up) == CLIENTS,
                    1 => totals.slow() == CLIENTS,
                    2 => totals.slow() == 0,
                    _ => totals.of(State::Up) == 0,
                };
                // Two more seconds of each, so that times are seen to pass.
                seconds = if is_over { seconds + 1 } else { 0 };
                if seconds == 3 {
                    match chapter {
                        0 => broker.freeze(),
                        1 => broker.thaw(),
                        2 => broker.stop(),
                        3 => broker.restart(),
                        _ => {}
                    }
                    (chapter, seconds) = (chapter + 1, 0);
                    if chapter < 5 {
                        consoles.push(tokio::spawn(console(socket.clone())));
                    }
                }
            }
        }
    }
    process::signal(std::process::id(), Signal::TERM);
    // What is said while it ends is recorded and sent, and was not looked at.
    while let Some(news) = events.next().await {
        for event in news {
            event.set_clock(&mut anchor);
            model.apply(&event);
            if let What::Second(_) = event.what {
                instants.push(Marked { at: event.at, screens: draw(&mut model, event.at, anchor) });
            }
        }
    }
    run.await.expect("it does not panic").expect("it ends in good order");
    let mut attached = Vec::new();
    for console in consoles {
        attached.push(console.await.expect("it does not panic"));
    }
    (instants, attached)
}

/// A console that attaches now, and stays to the end.
async fn console(socket: PathBuf) -> Vec<Marked> {
    let target = Target::Path(socket);
    let end = Instant::now() + PATIENCE;
    let mut attached = loop {
        assert!(Instant::now() < end, "no agent at {target:?}");
        match agent::attach(&target, Purpose::Watch).await {
            Ok(attached) => break attached,
            Err(AgentError::NoAnswer { .. }) => tokio::time::sleep(Duration::from_millis(1)).await, // it begins
            Err(error) => panic!("{error}"),
        }
    };
    let (mut model, mut anchor) = (Model::new(attached.fleet.clone(), attached.begin.moment()), attached.begin);
    model.restore(attached.known.clone(), attached.now());
    let mut instants = Vec::new();
    while let Some(events) = attached.events.next().await {
        for event in events {
            event.set_clock(&mut anchor);
            model.apply(&event);
            if let What::Second(_) = event.what {
                instants.push(Marked { at: event.at, screens: draw(&mut model, event.at, anchor) });
            }
        }
    }
    instants
}

async fn replay(recording: &Arc<Recording>, speed: f64) -> Vec<Marked> {
    let mut player = Player::new(recording.clone(), None, None, speed, false);
    let mut model = Model::new(recording.fleet().clone(), recording.begin());
    let mut instants = Vec::new();
    while player.timeline().motion != Motion::Ended {
        match player.next().await {
            News::Entries(entries) => {
                for entry in entries {
                    let (at, anchor) = (entry.at, entry.anchor());
                    let event = entry.event();
                    model.apply(&event);
                    if let What::Second(_) = event.what {
                        instants.push(Marked { at, screens: draw(&mut model, at, anchor) });
                    }
                }
            }
            News::Known(known, at) => model.restore(*known, at),
            News::Notice(level, text) => println!("{level:?}: {text}"),
        }
    }
    instants
}

/// The table on a small screen, the table and a client on a large one, and the latencies.
fn draw(model: &mut Model, now: Moment, anchor: Anchor) -> Vec<Buffer> {
    model.tick(now);
    if model.cursor().is_none() {
        model.act(Action::Down, now);
    }
    let mut screens = vec![screen(model, 80, 24, now, anchor), screen(model, 200, 60, now, anchor)];
    model.act(Action::Latency, now);
    screens.push(screen(model, 120, 40, now, anchor));
    model.act(Action::Latency, now);
    screens
}

fn screen(model: &mut Model, width: u16, height: u16, now: Moment, anchor: Anchor) -> Buffer {
    model.set_height(ui::table_height(Rect::new(0, 0, width, height), false));
    let (theme, keymap) = (Theme::builtin("dark").expect("a theme"), Keymap::builtin());
    let context = Context {
        now,
        anchor,
        zone: FixedOffset::east_opt(0).expect("a zone"),
        theme: &theme,
        glyphs: Glyphs::UNICODE,
        keymap: &keymap,
        widths: Widths::of(model.fleet()),
        bytes_per_second: None,
        recording: None,
        attached: None,
        gone: "",
        timeline: None,
    };
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    terminal.draw(|frame| ui::draw(frame, model, &context)).expect("a frame");
    terminal.backend().buffer().clone()
}

fn compare(live: &[Marked], replayed: &[Marked]) {
    let times = |instants: &[Marked]| -> Vec<Moment> { instants.iter().map(|instant| instant.at).collect() };
    assert_eq!(times(live), times(replayed), "the instants");
    for (live, replayed) in live.iter().zip(replayed) {
        for (live, replayed) in live.screens.iter().zip(&replayed.screens) {
            assert!(live == replayed, "live:\n{}\nreplayed:\n{}", text(live), text(replayed));
        }
    }
}

fn text(buffer: &Buffer) -> String {
    let lines = buffer.content.chunks(buffer.area.width.into());
    lines.map(|line| line.iter().map(|cell| cell.symbol()).collect::<String>() + "\n").collect()
}
