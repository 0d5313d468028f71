//! Defines the help: every action with its keys, from the registry and the keymap, and what the badges mean; while a filter is typed, the language of queries.

use ratatui::{buffer::Buffer, layout::Rect};

use crate::{
    action::{Action, Place, Scope},
    event::Badge,
    model::{Mode, Model},
    query::FIELDS,
    ui::{
        Screen, footer,
        paint::{centered, draw_box, from, nth_line, put, put_title, span, width, wrap},
    },
};

const KEYS: u16 = 14;
/// Badges in a line, where there is room.
const COLUMNS: u16 = 3;

/// From this width on, what the badges mean stands beside the keys.
const WIDE: u16 = 124;

/// A line of the help.
enum Line {
    /// Keys and what they do.
    Keys(String, String),
    Badges(Vec<Badge>),
    Empty,
}

pub(super) fn draw(screen: &Screen, buf: &mut Buffer) {
    let (lines, area) = (lines(screen, buf.area), place(screen, buf.area));
    let Mode::Help(top) = screen.model.mode() else { return };
    let is_of_queries = is_of_queries(screen.model);
    let title = match is_of_queries {
        true => "queries: which clients are shown".to_owned(),
        false => format!("keys: {}", screen.model.screen().place().map_or("help", Place::name)),
    };
    let title = span(title, screen.theme.title);
    let inside = draw_box(buf, area, screen.glyphs, title, screen.border(), screen.theme.text);
    let room = usize::from(inside.height);
    let top = (*top).min(lines.len().saturating_sub(room));
    let text_width = text_width(buf.area);
    for (n, line) in (0..inside.height).zip(&lines[top..]) {
        let place = nth_line(inside, n);
        match line {
            Line::Keys(keys, text) => {
                put(buf, Rect { width: place.width.min(KEYS), ..place }, keys, screen.theme.key);
                let x = place.x + KEYS.min(place.width);
                let text_place = from(place, x);
                put(buf, Rect { width: text_place.width.min(text_width), ..text_place }, text, screen.theme.text);
            }
            Line::Badges(badges) => {
                let width = place.width / COLUMNS.min(place.width / 24).max(1);
                for (column, badge) in (0..).zip(badges) {
                    let cell = Rect { width: width.saturating_sub(1), ..from(place, place.x + column * width) };
                    legend_line(screen, buf, cell, *badge);
                }
            }
            Line::Empty => {}
        }
    }
    if buf.area.width >= WIDE && !is_of_queries {
        legend_beside(screen, buf, from(inside, inside.x + KEYS + text_width + 3));
    }
    let below = lines.len().saturating_sub(top + room);
    if below + top > 0 && area.height > 2 {
        let keys = footer::keys(screen, &[Action::Down, Action::Up]);
        let text = format!("{keys} scroll, {below} more below");
        let line = nth_line(area, area.height - 1);
        put_title(buf, from(line, line.x + 2), &span(text, screen.theme.dim), screen.theme.text);
    }
}

/// How many lines of the help are more than a screen of this size has room for.
pub fn help_below(model: &Model, context: &super::Context, area: Rect) -> usize {
    let screen = Screen::new(model, context, area.width);
    match model.mode() {
        Mode::Help(_) => {
            let room = place(&screen, area).height.saturating_sub(2);
            lines(&screen, area).len().saturating_sub(room.into())
        }
        _ => 0,
    }
}

fn place(screen: &Screen, area: Rect) -> Rect {
    let beside = if area.width >= WIDE { badges(screen).count() + 2 } else { 0 };
    let height = lines(screen, area).len().max(beside) as u16 + 2;
    // The line of keys stays in sight.
    let above = Rect { height: area.height.saturating_sub(1), ..area };
    centered(above, if area.width >= WIDE { WIDE } else { 80 }, height)
}

fn text_width(area: Rect) -> u16 {
    60.min(area.width.saturating_sub(KEYS + 6))
}

/// Whether it is asked for while a filter is typed.
fn is_of_queries(model: &Model) -> bool {
    matches!(model.base(), Mode::Filter(_))
}

/// How a query is put together: what is typed, and what it means.
const PARTS: [(&str, &str); 8] = [
    ("press", "a text that is shown: in ID, endpoint, reason, label; state's begin"),
    ("a b", "both; a or b: one of them; -a, not a: not that; ( )"),
    ("field:a,b", "one of them is in it; \"a b\" with blanks"),
    ("field=a", "it is that; != it is not; with * for any characters"),
    ("~a, field~a", "regular expression"),
    ("field>9ms", "also < <= = >= with us ms s m h d, %, k m"),
    ("Tab", "complete a field or a value"),
    ("Up Down", "what was typed before"),
];

/// The language and its fields.
fn queries(columns: u16) -> Vec<Line> {
    let parts = PARTS.map(|(typed, text)| (typed.to_owned(), text.to_owned()));
    let fields = FIELDS.iter().map(|info| (info.name.to_owned(), format!("{}, as {}", info.help, info.example)));
    let shown = |(typed, text): (String, String)| {
        let lines = wrap(&text, columns).into_iter().enumerate();
        lines
            .map(move |(n, text)| Line::Keys(if n == 0 { typed.clone() } else { String::new() }, text))
            .collect::<Vec<_>>()
    };
    parts.into_iter().flat_map(shown).chain([Line::Empty]).chain(fields.flat_map(shown)).collect()
}

fn lines(screen: &Screen, area: Rect) -> Vec<Line> {
    if is_of_queries(screen.model) {
        return queries(text_width(area));
    }
    let keys = actions(screen, text_width(area)).into_iter().map(|(keys, text)| Line::Keys(keys, text));
    let mut lines: Vec<Line> = keys.collect();
    if area.width < WIDE {
        lines.push(Line::Empty);
        let columns = COLUMNS.min(area.width.min(80).saturating_sub(4) / 24).max(1);
        let badges: Vec<Badge> = badges(screen).collect();
        lines.extend(badges.chunks(columns.into()).map(|badges| Line::Badges(badges.to_vec())));
    }
    lines
}

/// Lines of keys and what they do.
fn actions(screen: &Screen, columns: u16) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    let scope = screen.scope();
    let mode = screen.model.base();
    for action in Action::ALL.into_iter().filter(|action| action.scope().meets(scope) && mode.takes(*action)) {
        if Action::ALL.into_iter().any(|first| first.partner() == Some(action)) {
            continue;
        }
        let second = action.partner();
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

/// The badges that clients may wear here: only who is attached can lose an agent.
fn badges(screen: &Screen) -> impl Iterator<Item = Badge> {
    let is_attached = screen.scope() == Scope::Attached;
    Badge::ALL.into_iter().filter(move |badge| is_attached || *badge != Badge::Unknown)
}

fn meaning(badge: Badge) -> &'static str {
    match badge {
        Badge::Up => "connected",
        Badge::Slow => "up, see REASON",
        Badge::Mute => "up, no answer",
        Badge::Connecting => "connecting",
        Badge::Queued => "waits for a turn",
        Badge::Backoff => "waits to retry",
        Badge::Dead => "endpoint, worker dead",
        Badge::Held => "held by operator",
        Badge::Rejected => "refused by broker",
        Badge::Failed => "given up",
        Badge::Off => "disconnected",
        Badge::Unknown => "its agent is gone",
    }
}

fn legend_line(screen: &Screen, buf: &mut Buffer, line: Rect, badge: Badge) {
    let style = screen.theme.badge(badge);
    put(buf, line, screen.glyphs.badge(badge), style);
    put(buf, from(line, line.x + 2), badge.word(), style);
    put(buf, from(line, line.x + 3 + Badge::WORD_WIDTH as u16), meaning(badge), screen.theme.dim);
}

fn legend_beside(screen: &Screen, buf: &mut Buffer, area: Rect) {
    for (n, badge) in badges(screen).enumerate() {
        legend_line(screen, buf, nth_line(area, n as u16), badge);
    }
    let gap = nth_line(area, badges(screen).count() as u16 + 1);
    put(buf, gap, screen.glyphs.gap, screen.theme.trend_gap);
    put(buf, from(gap, gap.x + 7), "no answer: was down", screen.theme.dim);
}
