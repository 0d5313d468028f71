//! Compares the screens of a live run, at marked instants, with those that its recording gives at 1x and at 100x, cell by cell; keys and the timeline are the console's tests' matter.
//!
//! It is a program of its own (`harness = false`), because the engine starts its workers from the program it is in.

use std::{
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::FixedOffset;
use mqfleet::{
    action::Action,
    appearance::{Glyphs, Keymap, Theme},
    bus::Bus,
    clock::{Anchor, Moment},
    event::{State, What},
    model::{Model, Motion},
    recording::{Limits, News, Player, Recorder, Recording},
    run::Run,
    ui::{self, Context, Widths},
    worker,
};
use mqfleet_test_support::{fleet_file::FleetFile, mosquitto::Mosquitto};
use ratatui::{Terminal, backend::TestBackend, buffer::Buffer, layout::Rect};

const CLIENTS: u32 = 12;
const PATIENCE: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("worker") {
        return worker::main();
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let dir = tempfile::TempDir::new().expect("a folder");
        let path = dir.path().join("run.rec");
        let live = live_run(&path).await;
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

/// A broker that stops answering, goes on, is stopped and comes back: a screen each second.
async fn live_run(path: &std::path::Path) -> Vec<Marked> {
    let mut broker = Mosquitto::start();
    let file = FleetFile::presses(broker.port(), CLIENTS as usize);
    let fleet = Arc::new(mqfleet::fleet_file::load(file.path().as_ref()).expect("a fleet").fleet);
    let bus = Bus::new(Anchor::now());
    let limits = Limits { size: None, age: None };
    let recorder = Recorder::start(path, limits, fleet.clone(), 1, &bus).expect("a recorder");
    let (run, mut shown) = Run::start_shown(fleet.clone(), 7, bus);
    let run = run.with(None, Some(recorder), None);
    let (mut model, mut anchor) = (Model::new(fleet, shown.begin.moment()), shown.begin);
    let (mut instants, mut chapter, mut seconds, begin) = (Vec::new(), 0, 0, Instant::now());
    while chapter < 5 {
        assert!(begin.elapsed() < PATIENCE, "chapter {chapter} takes too long: {:?}", model.live().totals());
        for event in shown.events.next().await.expect("an engine") {
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
                }
            }
        }
    }
    assert_eq!(run.stop().await, None);
    // What is said while it ends is recorded and was not looked at.
    while let Some(events) = shown.events.next().await {
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
    let seen = |word: &str| live.iter().any(|instant| text(&instant.screens[0]).contains(word));
    for word in ["12 up", "no answer", "lost", "conn"] {
        assert!(seen(word), "nothing is shown where {word:?} never was on a screen");
    }
}

fn text(buffer: &Buffer) -> String {
    let lines = buffer.content.chunks(buffer.area.width.into());
    lines.map(|line| line.iter().map(|cell| cell.symbol()).collect::<String>() + "\n").collect()
}
