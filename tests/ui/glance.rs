//! Asks what one glance must tell: red is who should be up and is not, and nothing else is; and the sentence counts what the header counts.

use mqfleet::{
    action::Action,
    appearance::Glyphs,
    event::{Badge, Reason, State},
};
use ratatui::{buffer::Buffer, style::Color};

use crate::scenes::{self, Stage, ago, fleet};

fn lines(buffer: &Buffer) -> Vec<String> {
    let width = usize::from(buffer.area.width);
    buffer.content.chunks(width).map(|line| line.iter().map(|cell| cell.symbol()).collect()).collect()
}

/// The colours in which a text stands on the screen, wherever it does.
fn colors(buffer: &Buffer, text: &str) -> Vec<Color> {
    let width = usize::from(buffer.area.width);
    let mut found = Vec::new();
    for (y, line) in lines(buffer).iter().enumerate() {
        for (at, _) in line.match_indices(text) {
            found.push(buffer.content[y * width + line[..at].chars().count()].fg);
        }
    }
    found
}

fn drawn(mut stage: Stage) -> Buffer {
    stage.draw(80, 24, "terminal", Glyphs::UNICODE).0
}

#[test]
fn a_total_outage_is_red_in_header_rows_and_events_and_in_the_sentence() {
    let buffer = drawn(scenes::outage());
    let screen = lines(&buffer).join("\n");
    for text in ["1,000 down", "▼ 1,000 dead", "all 1,000 down: network unreachable, since 12:04"] {
        let colors = colors(&buffer, text);
        assert!(!colors.is_empty() && colors.iter().all(|c| *c == Color::Red), "{text}: {colors:?}\n{screen}");
    }
    let rows = colors(&buffer, "▼ dead");
    // The cursor's line is reversed as a whole.
    assert_eq!((rows.len(), rows.iter().filter(|c| **c == Color::Red).count()), (14, 13), "{screen}");
    assert!(colors(&buffer, "held").is_empty(), "{screen}");
}

#[test]
fn what_the_operator_wanted_is_not_red() {
    let mut s = Stage::new(fleet(None), ago(50.0));
    for client in 0..1_000 {
        s.step(ago(40.0), client, State::Up, Reason::Connected);
    }
    for client in 0..5 {
        s.step(ago(30.0), client, State::Held, Reason::OperatorHold);
        s.step(ago(30.0), client + 10, State::Off, Reason::OperatorDisconnect);
    }
    let mut s = s.arrange();
    s.act(Action::Bottom);
    let buffer = drawn(s);
    let red = buffer.content.iter().filter(|cell| cell.fg == Color::Red).count();
    assert_eq!(red, 0, "{}", lines(&buffer).join("\n"));
}

#[test]
fn who_comes_back_is_red_until_it_is_up_and_who_starts_is_not() {
    let row = |first: State, reason: Reason| {
        let mut s = Stage::new(fleet(None), ago(50.0));
        s.step(ago(40.0), 0, first, reason);
        s.step(ago(30.0), 0, State::Queued, Reason::Retry);
        let buffer = drawn(s.untouched());
        colors(&buffer, "▷ que ")
    };
    assert_eq!(row(State::Backoff, Reason::ConnectionRefused), [Color::Red]);
    assert_eq!(row(State::Connecting, Reason::Start), [Color::Cyan]);
}

#[test]
fn the_sentence_counts_what_the_header_counts() {
    let stage = scenes::two_causes();
    let totals = *stage.model.live().totals();
    assert_eq!((totals.down, totals.wearing(Badge::Held)), (390, 5));
    let screen = lines(&drawn(stage)).join("\n");
    assert!(screen.contains(" 390 down "), "{screen}");
    let sentence = "390 down since 12:03: 300 at eu-2, connection refused; 90 at ap-2, certific…";
    assert!(screen.contains(sentence), "{screen}");
    let mut calm = scenes::calm();
    calm.model
        .apply(&mqfleet::event::Event { at: scenes::NOW, what: mqfleet::event::What::Second(chrono::Utc::now()) });
    assert!(lines(&drawn(calm)).join("\n").contains("all 1,000 up since 09:50"));
}

#[test]
fn a_silent_broker_is_a_state_an_event_and_in_the_p99() {
    let buffer = drawn(scenes::silent());
    let screen = lines(&buffer).join("\n");
    for text in ["◇ 300 mute", "eu-2 is silent: no answer to 300 clients", "300 clients get no answer since 12:04"] {
        assert!(screen.contains(text), "{text}\n{screen}");
    }
    let p99 = screen.split("p99 ").nth(1).and_then(|rest| rest.split_whitespace().next());
    assert!(p99.is_some_and(|p99| p99.ends_with('s') && !p99.ends_with("ms")), "{p99:?}\n{screen}");
}

/// Every size from 1x1 up: where a question is not seen whole, it cannot be answered.
#[test]
fn at_every_size_the_question_is_seen_or_its_keys_are_refused() {
    for scene in [scenes::confirm_one, scenes::confirm_some, scenes::confirm_many, scenes::hold, scenes::rate] {
        let mut s = scene();
        for (width, height) in (1..=60).flat_map(|w| [1, 2, 3, 5, 9, 10, 11, 13, 16, 24].map(|h| (w, h))) {
            let (buffer, _) = s.draw(width, height, "terminal", Glyphs::UNICODE);
            if s.is_question_seen(width, height) {
                let seen: String = lines(&buffer).concat().split_whitespace().collect();
                let asks = ["yes", "Enter"].iter().any(|key| seen.contains(key));
                assert!(asks && seen.contains('?') | seen.contains('─'), "{width}x{height}: {seen}");
            } else {
                assert!(width < 40 || height < 10, "{width}x{height}");
            }
        }
    }
}
