//! Defines the help: every action with its keys, from the registry and the keymap, and what the badges mean.

use ratatui::{buffer::Buffer, layout::Rect};

use crate::{
    action::{Action, Scope},
    config::Badge,
    ui::{
        Screen,
        paint::{centered, draw_box, from, nth_line, put, put_cut, span, width, wrap},
    },
};

/// Actions that are each other's opposite, or about one thing, share a line.
const PAIRS: [(Action, Action); 10] = [
    (Action::Up, Action::Down),
    (Action::PageUp, Action::PageDown),
    (Action::Top, Action::Bottom),
    (Action::SortNext, Action::SortPrevious),
    (Action::RateUp, Action::RateDown),
    (Action::Faster, Action::Slower),
    (Action::Forward, Action::Backward),
    (Action::NextEvent, Action::PreviousEvent),
    (Action::NextTrouble, Action::PreviousTrouble),
    (Action::Help, Action::Repaint),
];

const KEYS: u16 = 14;

pub(super) fn draw(screen: &Screen, buf: &mut Buffer) {
    let is_wide = buf.area.width >= 124;
    let (box_width, text_width) = if is_wide { (124, 60) } else { (80, 60) };
    let text_width = text_width.min(buf.area.width.saturating_sub(KEYS + 6));
    let lines = actions(screen, text_width);
    let legend_height = if is_wide { 0 } else { 4 };
    let height = lines.len() as u16 + legend_height + 2 + if is_wide { 2 } else { 0 };
    let area = centered(buf.area, box_width, height.max(if is_wide { 14 } else { 0 }));
    let title = span("keys", screen.theme.title);
    let mut inside = draw_box(buf, area, screen.glyphs, title, screen.border(), screen.theme.text);
    if is_wide {
        inside.y += 1;
        inside.height -= 1;
    }
    for (n, (keys, text)) in lines.iter().enumerate() {
        let line = nth_line(inside, n as u16);
        put(buf, Rect { width: line.width.min(KEYS), ..line }, keys, screen.theme.key);
        let x = line.x + KEYS.min(line.width);
        put(buf, Rect { width: from(line, x).width.min(text_width), ..from(line, x) }, text, screen.theme.text);
    }
    if is_wide {
        legend_beside(screen, buf, from(inside, inside.x + KEYS + text_width + 3));
    } else {
        let below = lines.len() as u16 + 1;
        let height = inside.height.saturating_sub(below);
        legend_below(screen, buf, Rect { y: inside.y + below, height, ..inside });
    }
}

/// Lines of keys and what they do.
fn actions(screen: &Screen, columns: u16) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    let scope = if screen.context.timeline.is_some() { Scope::Replay } else { Scope::Live };
    for action in Action::ALL.into_iter().filter(|action| action.scope().meets(scope)) {
        if PAIRS.iter().any(|(_, second)| *second == action) {
            continue;
        }
        let second = PAIRS.iter().find(|(first, _)| *first == action).map(|(_, second)| *second);
        let (keys, text) = match second {
            None => (keys(screen, action, KEYS), action.help().to_owned()),
            Some(second) => (both(screen, action, second), format!("{}, {}", action.help(), second.help())),
        };
        for (n, text) in wrap(&text, columns).into_iter().enumerate() {
            lines.push((if n == 0 { keys.clone() } else { String::new() }, text));
        }
    }
    lines
}

/// As many of an action's keys as there is room for.
fn keys(screen: &Screen, action: Action, room: u16) -> String {
    let mut text = String::new();
    for key in screen.context.keymap.keys(action) {
        let key = key.to_string();
        let gap = u16::from(!text.is_empty());
        if width(&text) + gap + width(&key) + 1 > room {
            break;
        }
        if gap == 1 {
            text.push(' ');
        }
        text.push_str(&key);
    }
    text
}

/// The first keys of both, then the second ones.
fn both(screen: &Screen, first: Action, second: Action) -> String {
    let keymap = screen.context.keymap;
    let (a, b) = (keymap.keys(first), keymap.keys(second));
    let mut text = String::new();
    for i in 0..a.len().max(b.len()) {
        let pair: Vec<_> = [a.get(i), b.get(i)].into_iter().flatten().map(|k| k.to_string()).collect();
        let pair = pair.join(" ");
        let gap = if text.is_empty() { "" } else { " " };
        if width(&text) + width(&pair) + width(gap) + 1 > KEYS {
            break;
        }
        text = format!("{text}{gap}{pair}");
    }
    text
}

fn meaning(badge: Badge) -> &'static str {
    match badge {
        Badge::Up => "connected",
        Badge::Slow => "up, see REASON",
        Badge::Connecting => "connecting",
        Badge::Queued => "waits for a turn",
        Badge::Backoff => "waits to retry",
        Badge::Held => "may not connect",
        Badge::Rejected => "refused by broker",
        Badge::Failed => "given up",
        Badge::Off => "disconnected",
    }
}

fn legend_line(screen: &Screen, buf: &mut Buffer, line: Rect, badge: Badge) {
    let style = screen.theme.badge(badge);
    put(buf, line, screen.glyphs.badge(badge), style);
    put(buf, from(line, line.x + 2), badge.word(), style);
    put_cut(buf, from(line, line.x + 3 + Badge::WORD_WIDTH as u16), meaning(badge), screen.theme.dim);
}

fn legend_beside(screen: &Screen, buf: &mut Buffer, area: Rect) {
    for (n, badge) in Badge::ALL.into_iter().enumerate() {
        legend_line(screen, buf, nth_line(area, n as u16), badge);
    }
    let gap = nth_line(area, 10);
    put(buf, gap, screen.glyphs.gap, screen.theme.trend_gap);
    put_cut(buf, from(gap, gap.x + 7), "no answer: was down", screen.theme.dim);
}

fn legend_below(screen: &Screen, buf: &mut Buffer, area: Rect) {
    let columns = 3.min(area.width / 24).max(1);
    let width = area.width / columns;
    for (n, badge) in Badge::ALL.into_iter().enumerate() {
        let (column, row) = (n as u16 % columns, n as u16 / columns);
        let line = nth_line(area, row);
        if !line.is_empty() {
            let cell = Rect { x: area.x + column * width, width: width.saturating_sub(1), ..line };
            legend_line(screen, buf, cell, badge);
        }
    }
}
