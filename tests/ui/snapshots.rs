//! Compares whole screens with the ones that were once looked at and found good, in text and in style.

use std::fmt::Write;

use mqfleet::appearance::{Glyphs, Theme};
use mqfleet_test_support::svg;
use ratatui::{
    buffer::Buffer,
    style::{Color, Modifier},
};

use crate::scenes::{self, Stage};

const SIZES: [(u16, u16); 4] = [(40, 10), (80, 24), (120, 40), (200, 60)];

/// The text of a screen, then its styles line by line as runs: a letter and how many cells.
fn told(buffer: &Buffer, cursor: Option<(u16, u16)>) -> String {
    let mut out = String::new();
    let width = usize::from(buffer.area.width);
    for line in buffer.content.chunks(width) {
        let mut skip = 0;
        let mut text = String::new();
        for cell in line {
            if skip == 0 {
                text.push_str(cell.symbol());
                skip = unicode_width::UnicodeWidthStr::width(cell.symbol()).max(1);
            }
            skip -= 1;
        }
        let _ = writeln!(out, "|{text}|");
    }
    let mut legend: Vec<(Color, Color, Modifier)> = vec![(Color::Reset, Color::Reset, Modifier::empty())];
    let _ = writeln!(out, "cursor {cursor:?}");
    for (y, line) in buffer.content.chunks(width).enumerate() {
        let runs = line.chunk_by(|a, b| (a.fg, a.bg, a.modifier) == (b.fg, b.bg, b.modifier));
        let mut text = String::new();
        for run in runs {
            let style = (run[0].fg, run[0].bg, run[0].modifier);
            let n = legend.iter().position(|s| *s == style).unwrap_or_else(|| {
                legend.push(style);
                legend.len() - 1
            });
            let letter = char::from(if n == 0 { b'.' } else { b'a' + n as u8 - 1 });
            let _ = write!(text, " {letter}{}", run.len());
        }
        let _ = writeln!(out, "{y:2}{text}");
    }
    for (n, (fg, bg, modifier)) in legend.iter().enumerate().skip(1) {
        let _ = writeln!(out, "{} = {fg} on {bg} {modifier:?}", char::from(b'a' + n as u8 - 1));
    }
    out
}

fn compare(name: &str, buffer: &Buffer, cursor: Option<(u16, u16)>) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, told(buffer, cursor)));
}

/// Writes the screen as a picture into the folder that `PICTURES` names, if it names one.
fn picture(name: &str, buffer: &Buffer, cursor: Option<(u16, u16)>) {
    if let Some(dir) = std::env::var_os("PICTURES") {
        let picture = svg::Picture::of_buffer(buffer, cursor).svg();
        std::fs::write(std::path::Path::new(&dir).join(name), svg::png(&picture, 1.0)).unwrap();
    }
}

fn check(name: &str, stage: Stage) {
    check_at(&SIZES, name, stage);
}

fn check_at(sizes: &[(u16, u16)], name: &str, mut stage: Stage) {
    for &(width, height) in sizes {
        let (buffer, cursor) = stage.draw(width, height, "terminal", Glyphs::UNICODE);
        picture(&format!("ui-{name}-{width}x{height}.png"), &buffer, cursor);
        compare(&format!("{name}-{width}x{height}"), &buffer, cursor);
    }
}

macro_rules! scenes {
    ($($name:ident),* $(,)?) => {$(
        #[test]
        fn $name() {
            check(stringify!($name), scenes::$name());
        }
    )*};
}

scenes!(
    starting,
    calm,
    trouble,
    filter,
    no_match,
    confirm_one,
    confirm_some,
    confirm_many,
    detail,
    latency,
    help,
    frozen,
    quit,
    toast,
    replay,
    outage,
    two_causes,
    silent,
    hold,
    rate,
    endpoints_asked,
    several,
    several_gone,
    groups,
    map,
    map_dense,
    events,
    alerts,
    sort,
    cause,
    command,
    jobs
);

/// Only a few lines differ from what is compared above.
#[test]
fn replays() {
    for (name, stage) in [
        ("replay_help", scenes::replay_help()),
        ("replay_go_to", scenes::replay_go_to()),
        ("replay_detail", scenes::replay_detail()),
    ] {
        check_at(&[(80, 24), (200, 60)], name, stage);
    }
}

/// Only the detail view differs from what is compared above.
#[test]
fn connections() {
    for (name, stage) in [
        ("detail_tls", scenes::detail_tls()),
        ("detail_expired", scenes::detail_expired()),
        ("detail_short", scenes::detail_short()),
        ("detail_late", scenes::detail_late()),
        ("latency_filter", scenes::latency_filter()),
        ("groups_by_label", scenes::groups_by_label()),
        ("group_shown", scenes::group_shown()),
        ("map_filter", scenes::map_filter()),
        ("events_filter", scenes::events_filter()),
        ("events_search", scenes::events_search()),
        ("cause_shown", scenes::cause_shown()),
        ("command_wrong", scenes::command_wrong()),
        ("command_argument", scenes::command_argument()),
        ("jobs_stopped", scenes::jobs_stopped()),
        ("job_shown", scenes::job_shown()),
        ("no_jobs", scenes::no_jobs()),
    ] {
        check_at(&[(80, 24), (200, 60)], name, stage);
    }
    check_at(&[(200, 60)], "endpoints", scenes::endpoints());
}

#[test]
fn plain() {
    let (buffer, cursor) = scenes::trouble().draw(80, 24, "mono", Glyphs::ASCII);
    compare("plain-80x24", &buffer, cursor);
    for (name, mut stage) in [
        ("groups", scenes::groups()),
        ("map", scenes::map()),
        ("map_dense", scenes::map_dense()),
        ("events", scenes::events()),
        ("cause", scenes::cause()),
        ("command", scenes::command()),
        ("jobs", scenes::jobs()),
    ] {
        for (theme, glyphs) in [("mono", Glyphs::ASCII), ("light", Glyphs::UNICODE)] {
            let (buffer, cursor) = stage.draw(80, 24, theme, glyphs);
            picture(&format!("ui-{name}-{theme}.png"), &buffer, cursor);
            compare(&format!("{name}-{theme}-80x24"), &buffer, cursor);
        }
    }
}

/// Themes change looks, never texts.
#[test]
fn themes() {
    let texts = |buffer: &Buffer| buffer.content.iter().map(|cell| cell.symbol().to_owned()).collect::<Vec<_>>();
    let mut stage = scenes::trouble_in(Some("prod"));
    let (plain, _) = stage.draw(120, 40, "terminal", Glyphs::UNICODE);
    for theme in Theme::names() {
        let (buffer, cursor) = stage.draw(120, 40, theme, Glyphs::UNICODE);
        assert_eq!(texts(&buffer), texts(&plain), "{theme}");
        picture(&format!("ui-theme-{theme}.png"), &buffer, cursor);
    }
}

#[test]
fn tiny() {
    for (width, height) in [(39, 24), (80, 9), (20, 5)] {
        let (buffer, cursor) = scenes::trouble().draw(width, height, "terminal", Glyphs::UNICODE);
        compare(&format!("tiny-{width}x{height}"), &buffer, cursor);
    }
}
