//! Measures how long a frame takes at 200x60, whatever the size of the fleet; run it in release: `cargo test --release --test ui frames -- --ignored --nocapture`.

use std::time::{Duration, Instant};

use chrono::FixedOffset;
use mqfleet::{
    action::Action,
    appearance::{Glyphs, Keymap, Theme},
    event::{Reason, State},
    fleet::{Client, EndpointKey},
    ui::{self, Context, Widths},
};
use ratatui::{Terminal, backend::TestBackend, layout::Rect};

use crate::scenes::{NOW, Stage, ago, anchor, fleet};

/// The goal for a frame with 100,000 rows.
const GOAL: Duration = Duration::from_millis(4);

#[test]
#[ignore = "a measurement, for a release build on a quiet machine"]
fn frames_do_not_grow_with_the_fleet() {
    for clients in [1_000, 10_000, 100_000u32] {
        let mut stage = large(clients);
        let area = Rect::new(0, 0, 200, 60);
        stage.model.set_height(ui::table_height(area, false));
        let (theme, keymap) = (Theme::builtin("terminal").unwrap(), Keymap::builtin());
        let mut context = Context {
            now: NOW,
            anchor: anchor(),
            zone: FixedOffset::east_opt(0).unwrap(),
            theme: &theme,
            glyphs: Glyphs::UNICODE,
            keymap: &keymap,
            widths: Widths::of(stage.model.fleet()),
            bytes_per_second: Some(1_000),
            recording: None,
            attached: None,
            gone: "",
            timeline: None,
        };
        let mut terminal = Terminal::new(TestBackend::new(200, 60)).unwrap();
        let mut times = Vec::new();
        for n in 0..500u32 {
            // Something else on every line of every frame.
            let action = if n % 50 == 49 { Action::Top } else { Action::PageDown };
            stage.model.act(action, context.now);
            context.now = context.now + Duration::from_secs(1);
            let (wall, cpu) = (Instant::now(), cpu_time());
            terminal.draw(|frame| ui::draw(frame, &stage.model, &context)).unwrap();
            times.push((cpu_time() - cpu, wall.elapsed()));
        }
        times.sort();
        let (p50, p99) = (times[times.len() / 2].0, times[times.len() * 99 / 100].0);
        times.sort_by_key(|(_, wall)| *wall);
        let wall = times[times.len() * 99 / 100].1;
        println!(
            "{clients:>7} clients, 200x60: frame p50 {p50:.0?}, p99 {p99:.0?} of CPU time; p99 {wall:.0?} of wall time"
        );
        assert!(p99 <= GOAL, "{clients} clients: {p99:?}");
    }
}

/// What this thread has computed: neighbours on the machine do not count.
fn cpu_time() -> Duration {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
}

fn large(clients: u32) -> Stage {
    let mut plant = fleet(None);
    let settings = plant.clients[0].settings.clone();
    plant.clients = (0..clients)
        .map(|n| {
            let id = format!("plant-7/hall-{}/press-{n:06}", n % 40);
            Client::new(&id, EndpointKey(n as u16 % 4), settings.clone())
        })
        .collect();
    let mut s = Stage::new(plant, ago(300.0));
    s.connect_all(200.0, 10.0);
    s.answers(60.0, 0.0, |_, usual| usual);
    for n in (0..clients).step_by(7) {
        s.step_with(NOW, n, State::Backoff, Reason::ConnectionLost, "closed by peer", 1, Some(30.0));
    }
    s.arrange()
}
