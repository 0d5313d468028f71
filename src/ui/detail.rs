//! Defines the detail view: everything about the client under the cursor, in a pane or over the table, and the endpoints while there is no such client; secrets are not among it.

use std::time::Duration;

use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use crate::{
    config::Badge,
    fleet::{ClientKey, ProbeKind, Protocol},
    model::{Bucket, Mode, Row, Trend},
    text::Scrubbed,
    ui::{
        Screen, badge, header,
        paint::{Strip, draw_box, from, nth_line, put, put_cut, put_right, put_short, span, width},
        spark, table,
    },
    words::{self, figures},
};

/// The pane beside the table of a wide screen.
pub(super) fn pane(screen: &Screen, buf: &mut Buffer, area: Rect) {
    let has_focus = matches!(screen.model.mode(), Mode::Detail);
    let style = if has_focus { screen.theme.title } else { screen.theme.border };
    for y in area.top()..area.bottom() {
        put(buf, Rect { x: area.x, y, width: 1, height: 1 }, screen.glyphs.bar, style);
    }
    let inside = Rect { x: area.x + 2, width: area.width.saturating_sub(3), ..area };
    let Some(key) = screen.model.cursor() else { return endpoints(screen, buf, inside) };
    state(screen, buf, nth_line(inside, 0), key, &screen.fleet.client(key).name);
    contents(screen, buf, Rect { y: inside.y + 1, height: inside.height - 1, ..inside }, key);
}

/// Where the fleet's clients are, and how they are there.
fn endpoints(screen: &Screen, buf: &mut Buffer, area: Rect) {
    let theme = screen.theme;
    put(buf, nth_line(area, 0), "endpoints", theme.title);
    let known = screen.model.shown();
    let room = usize::from(area.height.saturating_sub(4) / 3);
    for (n, (endpoint, totals)) in screen.fleet.endpoints.iter().zip(known.totals_by_endpoint()).enumerate() {
        let y = 2 + 3 * n as u16;
        if n == room && room < screen.fleet.endpoints.len() {
            let more = format!("and {} more", screen.fleet.endpoints.len() - n);
            put_cut(buf, nth_line(area, y), &more, theme.dim);
            return;
        }
        let x = put_short(buf, nth_line(area, y), &endpoint.name, theme.text);
        let address = format!("  {}", Scrubbed::new(&endpoint.address()));
        put_cut(buf, from(nth_line(area, y), x), &address, theme.dim);
        let mut strip = Strip::new(2);
        for badge in Badge::ALL {
            let count = header::worn(totals, badge);
            if count > 0 {
                strip.left(u8::from(badge == Badge::Up), header::counted(screen, badge, count));
            }
        }
        strip.draw(buf, nth_line(area, y + 1));
    }
}

/// The same over the table of a smaller screen.
pub(super) fn overlay(screen: &Screen, buf: &mut Buffer) {
    let Some(key) = screen.model.cursor() else { return };
    let area = Rect { height: buf.area.height - 1, ..buf.area }; // the keys stay in sight
    let inside =
        draw_box(buf, area, screen.glyphs, span("client", screen.theme.title), screen.border(), screen.theme.text);
    state(screen, buf, nth_line(inside, 0), key, &screen.fleet.client(key).name);
    contents(screen, buf, Rect { y: inside.y + 1, height: inside.height.saturating_sub(1), ..inside }, key);
}

fn state(screen: &Screen, buf: &mut Buffer, line: Rect, key: ClientKey, title: &str) {
    let badge = badge(screen.model.shown().row(key));
    let word = format!("{} {}", screen.glyphs.badge(badge), badge.word());
    put_right(buf, line, &word, screen.theme.badge(badge));
    let room = line.width.saturating_sub(width(&word) + 2);
    put_short(buf, Rect { width: room, ..line }, title, screen.theme.title);
}

fn contents(screen: &Screen, buf: &mut Buffer, area: Rect, key: ClientKey) {
    let known = screen.model.shown();
    let row = known.row(key);
    let roomy = area.height >= 18;
    let mut y = u16::from(roomy);
    for group in [identity(screen, key, row), course(screen, key, row)] {
        for (name, text, style) in group {
            fact(screen, buf, nth_line(area, y), name, &text, style);
            y += 1;
        }
        y += u16::from(roomy);
    }
    // Of what is left, the trend takes a part where it leaves the history some lines.
    let left = area.height.saturating_sub(y);
    let bars = match left {
        ..8 => 0,
        8..12 => 3,
        12..20 => 4,
        20..30 => 6,
        30.. => 8,
    };
    if bars > 0 {
        trend(screen, buf, Rect { y: area.y + y, height: bars + 1, ..area }, row);
        y += bars + 2;
    }
    history(screen, buf, Rect { y: area.y + y.min(area.height), height: area.height.saturating_sub(y), ..area }, key);
}

fn fact(screen: &Screen, buf: &mut Buffer, line: Rect, name: &str, text: &str, style: Style) {
    const NAMES: u16 = 12;
    put(buf, Rect { width: line.width.min(NAMES), ..line }, name, screen.theme.dim);
    put_cut(buf, from(line, line.x + NAMES), text, style);
}

type Facts = Vec<(&'static str, String, Style)>;

fn identity(screen: &Screen, key: ClientKey, row: &Row) -> Facts {
    let client = screen.fleet.client(key);
    let settings = &client.settings;
    let endpoint = screen.fleet.endpoint(row.endpoint);
    let plain = screen.theme.text;
    let protocol = match settings.protocol {
        Protocol::V311 => "MQTT 3.1.1",
        Protocol::V5 => "MQTT 5.0",
    };
    let session = if settings.clean_start { "clean start" } else { "session kept" };
    let keep_alive = match settings.keep_alive {
        Duration::ZERO => "keep alive off".to_owned(),
        time => format!("keep alive {} s", time.as_secs()),
    };
    // Whether there is a password is told, never what it is.
    let login = match (&client.username, &client.password) {
        (None, None) => "none".to_owned(),
        (Some(name), None) => format!("{}, no password", Scrubbed::new(name)),
        (Some(name), Some(_)) => format!("{}, with a password", Scrubbed::new(name)),
        (None, Some(_)) => "no name, with a password".to_owned(),
    };
    vec![
        ("endpoint", format!("{}  {}", endpoint.name, Scrubbed::new(&endpoint.address())), plain),
        ("protocol", format!("{protocol}, {session}, {keep_alive}"), plain),
        ("user name", login, plain),
    ]
}

fn course(screen: &Screen, key: ClientKey, row: &Row) -> Facts {
    let (plain, theme) = (screen.theme.text, screen.theme);
    let badge = badge(row);
    let since = format!("{}, {} ago", screen.clock(row.since), figures::age(screen.now.since(row.since)));
    let reason = table::why(screen, key, row).into_iter().next();
    let reason = reason.unwrap_or_else(|| words::reason(row.reason, &row.detail));
    let reason_style = if matches!(badge, Badge::Up | Badge::Off) { plain } else { theme.badge(badge) };
    let answer = match row.last {
        Some((at, rtt)) if row.is_up() => {
            let p99 = row.p99().map(|p99| format!(", p99 {}", figures::latency(p99))).unwrap_or_default();
            let ago = figures::age(screen.now.since(at));
            format!("{}{p99}, measured {ago} ago", figures::latency(rtt))
        }
        _ => "-".to_owned(),
    };
    let probe = &screen.fleet.client(key).settings.probe;
    let measured = match probe.kind {
        ProbeKind::Off => "off".to_owned(),
        kind => format!("{}, every {}", kind.name(), figures::age(row.trend_width())),
    };
    vec![
        ("since", since, plain),
        ("reason", reason, reason_style),
        ("reconnects", figures::count(row.reconnects), plain),
        ("latency", answer, if badge == Badge::Slow { theme.slow } else { plain }),
        ("probe", measured, plain),
    ]
}

/// The whole trend, tall, with its scale and its span of time.
fn trend(screen: &Screen, buf: &mut Buffer, area: Rect, row: &Row) {
    let buckets: Vec<Bucket> = row.trend(screen.now, Trend::LEN).collect();
    let each = ((area.width.saturating_sub(7)) / Trend::LEN as u16).clamp(1, 2);
    let bars = Rect { height: area.height - 1, ..area };
    spark::tall(buf, bars, &buckets, each, screen.glyphs, screen.theme);
    let axis = nth_line(area, area.height - 1);
    let axis = Rect { x: axis.x + 7, width: (Trend::LEN as u16 * each).min(axis.width.saturating_sub(7)), ..axis };
    let long = row.trend_width() * Trend::LEN as u32;
    put(buf, axis, &format!("{} ago", figures::age(long)), screen.theme.dim);
    put_right(buf, axis, "now", screen.theme.dim);
}

/// The client's recent steps, newest first.
fn history(screen: &Screen, buf: &mut Buffer, area: Rect, key: ClientKey) {
    let theme = screen.theme;
    let steps = screen.model.shown().log().of_client(key).take(area.height.into());
    for (n, (at, step)) in steps.enumerate() {
        let line = nth_line(area, n as u16);
        let badge = Badge::of(step.to, false, step.reason.is_brokers());
        let x = put(buf, line, &screen.clock(*at), theme.log_time) + 1;
        let x = put(buf, from(line, x), screen.glyphs.badge(badge), theme.badge(badge)) + 1;
        put(buf, from(line, x), badge.word(), theme.badge(badge));
        let mut text = words::reason(step.reason, &step.detail);
        if let Some(wait) = step.next_try {
            text = format!("{text}; retry in {}", figures::wait(wait));
        }
        put_cut(buf, from(line, x + Badge::WORD_WIDTH as u16 + 1), &text, theme.text);
    }
}
