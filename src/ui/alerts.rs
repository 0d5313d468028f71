//! Defines the alerts screen: each rule that fires or is muted, with how many clients, since when, who was told and what its recovery did; what is known of it is the model's matter.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};

use crate::{
    event::{Alert, RecoveryStage, Severity},
    model::{AlertRow, Alerts},
    ui::{
        Screen, inset,
        layout::Layout,
        paint::{Strip, clear, from, nth_line, put, put_right, put_short, span},
    },
    words::{self, figures},
};

/// The columns of severity, clients, since when, and for how long.
const SEVERITY: u16 = 9;
const CLIENTS: u16 = 16;
const SINCE: u16 = 9;
const LASTED: u16 = 8;
/// From this width on there is room for all of them.
const WIDE: u16 = 76;

pub(super) fn draw(screen: &Screen, buf: &mut Buffer, layout: &Layout) {
    let rows = screen.model.shown().alerts();
    let area = layout.pane(buf.area);
    clear(buf, area, screen.theme.text);
    title(screen, buf, inset(nth_line(area, 0)));
    heads(screen, buf, nth_line(area, 1));
    let lines = usize::from(area.height).saturating_sub(Alerts::FRAME);
    let room = (lines / Alerts::LINES).max(1);
    let (alerts, first) = (screen.model.alerts(), Alerts::FRAME as u16);
    let (top, cursor) = (alerts.top(rows, room), alerts.cursor(rows).map(|(place, _)| place));
    for (n, (place, row)) in rows.values().enumerate().skip(top).take(room).enumerate() {
        let y = first + (n * Alerts::LINES) as u16;
        self::row(screen, buf, [nth_line(area, y), nth_line(area, y + 1)], row, cursor == Some(place));
    }
    if rows.is_empty() {
        put(buf, inset(nth_line(area, first + 1)), "  no alert fires, and none is muted", screen.theme.dim);
    }
}

/// How grave it looks.
pub(super) fn look(screen: &Screen, severity: Severity) -> Style {
    match severity {
        Severity::Critical => screen.theme.failed.add_modifier(Modifier::BOLD),
        Severity::Warning => screen.theme.failed,
        Severity::Info => screen.theme.warning,
    }
}

fn title(screen: &Screen, buf: &mut Buffer, line: Rect) {
    let (theme, rows) = (screen.theme, screen.model.shown().alerts());
    let mut strip = Strip::new(2);
    strip.left(0, [span("alerts", theme.title)]);
    if let Some(frozen) = screen.model.frozen() {
        strip.left(0, [span(format!(" FROZEN at {} ", screen.clock(frozen.at)), theme.frozen)]);
    }
    let count = |is_it: fn(&AlertRow) -> bool| rows.values().filter(|row| is_it(row)).count() as u64;
    let counts = [
        (count(|row| row.firing.is_some()), "firing"),
        (count(|row| row.acknowledged.is_some()), "acknowledged"),
        (count(|row| row.muted.is_some()), "muted"),
    ];
    for (count, what) in counts.into_iter().filter(|(count, _)| *count > 0) {
        strip.left(1, [span(format!("{} {what}", figures::count(count)), theme.dim)]);
    }
    strip.draw(buf, line);
}

fn heads(screen: &Screen, buf: &mut Buffer, line: Rect) {
    let header = screen.theme.header;
    buf.set_style(line, header);
    let columns = columns(line);
    put(buf, columns.severity, "SEVERITY", header);
    put(buf, columns.name, "ALERT", header);
    put_right(buf, columns.clients, "CLIENTS", header);
    put_right(buf, columns.since, "SINCE", header);
    put_right(buf, columns.lasted, "FOR", header);
}

/// Where everything stands in a line; what there is no room for is empty.
struct Columns {
    severity: Rect,
    name: Rect,
    clients: Rect,
    since: Rect,
    lasted: Rect,
}

fn columns(line: Rect) -> Columns {
    let inside = Rect { x: line.x + 3, width: line.width.saturating_sub(4), ..line };
    let is_wide = line.width >= WIDE;
    let mut right = inside.right();
    let mut take = |width: u16, is_there: bool| {
        let width = if is_there { width } else { 0 };
        right -= width;
        Rect { x: right + 1.min(width), width: width.saturating_sub(1), ..line }
    };
    let lasted = take(LASTED, true);
    let since = take(SINCE, is_wide);
    let clients = take(CLIENTS, true);
    let severity = Rect { width: if is_wide { SEVERITY } else { 0 }, ..inside };
    let name = Rect { x: severity.right(), width: right.saturating_sub(severity.right()), ..inside };
    Columns { severity, name, clients, since, lasted }
}

fn row(screen: &Screen, buf: &mut Buffer, lines: [Rect; 2], row: &AlertRow, is_selected: bool) {
    let theme = screen.theme;
    let base = if is_selected { theme.text.patch(theme.selection) } else { theme.text };
    let is_reversed = theme.selection.add_modifier.contains(Modifier::REVERSED);
    let on = |style: Style| if is_selected && is_reversed { base } else { base.patch(style) };
    if is_selected {
        buf.set_style(lines[0], base);
        put(buf, Rect { width: 1, ..lines[0] }, screen.glyphs.cursor, base);
    }
    let columns = columns(lines[0]);
    match &row.firing {
        Some((at, alert)) => {
            let lasted = screen.now.since(*at) + alert.lasted;
            put(buf, columns.severity, alert.severity.name(), on(look(screen, alert.severity)));
            put_short(buf, columns.name, &row.name(), base);
            put_right(buf, columns.clients, &count(alert), base);
            let began = screen.context.anchor.utc(*at) - alert.lasted;
            let began = began.with_timezone(&screen.context.zone).format("%H:%M:%S").to_string();
            put_right(buf, columns.since, &began, on(theme.dim));
            put_right(buf, columns.lasted, &figures::age(lasted), base);
        }
        None => {
            put_short(buf, columns.name, &row.name(), on(theme.dim));
            put_right(buf, columns.clients, "does not fire", on(theme.dim));
        }
    }
    let below = from(lines[1], columns.severity.x + 2);
    let mut x = below.x;
    for (text, style) in facts(screen, row) {
        let gap = if x > below.x { 2 } else { 0 };
        x = put(buf, from(below, x + gap), &text, style);
    }
}

/// `12 of 600`, or `90` where these are all.
fn count(alert: &Alert) -> String {
    match alert.of > alert.clients {
        true => format!("{} of {}", figures::count(alert.clients), figures::count(alert.of)),
        false => figures::count(alert.clients),
    }
}

/// What is done about it: muted, acknowledged, who was told, what was tried.
fn facts(screen: &Screen, row: &AlertRow) -> Vec<(String, Style)> {
    let theme = screen.theme;
    let by = |who: &str| if who.is_empty() { String::new() } else { format!(" by {who}") };
    let mut facts = Vec::new();
    if let Some((until, who, _)) = &row.muted {
        let until = until.with_timezone(&screen.context.zone).format("%H:%M:%S");
        facts.push((format!("muted until {until}{}", by(who)), theme.warning));
    }
    if let Some((who, at)) = &row.acknowledged {
        facts.push((format!("acknowledged{} at {}", by(who), screen.clock(*at)), theme.info));
    }
    for (at, recovery) in row.recovery.iter().rev() {
        let style = match recovery.stage {
            RecoveryStage::Failed => theme.error,
            RecoveryStage::Waiting => theme.warning,
            RecoveryStage::Started | RecoveryStage::Done => theme.text,
        };
        facts.push((format!("{} at {}", words::alert::step(recovery), screen.clock(*at)), style));
    }
    let told: Vec<String> = row.told.iter().map(|(name, at)| format!("{name} {}", screen.clock(*at))).collect();
    if !told.is_empty() {
        facts.push((format!("told {}", told.join(", ")), theme.dim));
    } else if row.firing.is_some() {
        facts.push(("nobody told".to_owned(), theme.dim));
    }
    facts
}
