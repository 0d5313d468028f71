//! Defines the detail view: everything about the client under the cursor, in a pane or over the table, and the endpoints while there is no such client; what is said is in `facts`.

mod endpoints;
mod facts;
mod stages;

use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use crate::{
    event::{Badge, Expiry},
    fleet::{ClientKey, Endpoint},
    model::{Bucket, Mode, Row, Trend},
    text::Scrubbed,
    ui::{
        Screen, histogram,
        paint::{draw_box, from, nth_line, put, put_right, put_short, span, width},
        spark,
    },
    words::{self, figures},
};

use facts::{Fact, Facts};
use stages::Stages;

/// The pane beside the table of a wide screen.
pub(super) fn pane(screen: &Screen, buf: &mut Buffer, area: Rect) {
    let has_focus = matches!(screen.model.mode(), Mode::Detail | Mode::Endpoints);
    let style = if has_focus { screen.theme.title } else { screen.theme.border };
    for y in area.top()..area.bottom() {
        put(buf, Rect { x: area.x, y, width: 1, height: 1 }, screen.glyphs.bar, style);
    }
    let inside = Rect { x: area.x + 2, width: area.width.saturating_sub(3), ..area };
    let asked = matches!(screen.model.screen(), Mode::Endpoints);
    let Some(key) = screen.model.cursor().filter(|_| !asked) else { return endpoints::draw(screen, buf, inside) };
    state(screen, buf, nth_line(inside, 0), key, &screen.fleet.client(key).name);
    contents(screen, buf, Rect { y: inside.y + 1, height: inside.height - 1, ..inside }, key);
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

/// The endpoints over the table of a smaller screen.
pub(super) fn endpoints_overlay(screen: &Screen, buf: &mut Buffer) {
    let area = Rect { height: buf.area.height - 1, ..buf.area }; // the keys stay in sight
    let inside = draw_box(buf, area, screen.glyphs, span("", screen.theme.title), screen.border(), screen.theme.text);
    endpoints::draw(screen, buf, inside);
}

fn state(screen: &Screen, buf: &mut Buffer, line: Rect, key: ClientKey, title: &str) {
    let row = screen.model.shown().row(key);
    let word = format!("{} {}", screen.glyphs.badge(row.badge()), row.badge().word());
    put_right(buf, line, &word, screen.look(row));
    let room = line.width.saturating_sub(width(&word) + 2);
    put_short(buf, Rect { width: room, ..line }, title, screen.theme.title);
}

/// The URL of an endpoint, without its path.
fn url(endpoint: &Endpoint) -> Scrubbed {
    Scrubbed::new(&format!("{}://{}", endpoint.transport.scheme(), endpoint.address()))
}

fn expiry_style(screen: &Screen, expiry: Expiry) -> Style {
    match expiry {
        _ if expiry.is_over() => screen.theme.error,
        _ if expiry.is_soon() => screen.theme.warning,
        _ => screen.theme.text,
    }
}

/// The columns of a fact's name.
const NAMES: u16 = 13;
/// The columns of the trend's scale.
const SCALE: u16 = 7;
/// From so many lines on, the client's own histogram stands below its trend.
const HISTOGRAM_FROM: u16 = 20;
/// Steps of the client's life that are worth more than facts of high rank.
const STEPS: u16 = 3;
/// From this rank on a fact gives way to air and to the client's last steps.
const MINOR: u8 = 4;

fn contents(screen: &Screen, buf: &mut Buffer, area: Rect, key: ClientKey) {
    let row = screen.model.shown().row(key);
    let facts = Facts::new(screen, key, area.width.saturating_sub(NAMES));
    let stages = Stages::of(screen, row);
    let steps = screen.model.shown().log().of_client(key).take(area.height.into()).count() as u16;

    let groups = |has_bars| [facts.course(), facts.record(), facts.connection(&stages, has_bars), facts.identity()];
    let least = steps.min(STEPS);
    // Bars are for where nothing has to give way to them, and the trend still has its place.
    let with_bars = height(&groups(true)) + 2 + stages.height() + 2;
    let has_bars = stages.height() > 0 && with_bars + 10 + least <= area.height;
    let bars_height = if has_bars { stages.height() + 1 } else { 0 };
    let mut groups = groups(has_bars);
    let has_air = fit(&mut groups, area.height.saturating_sub(bars_height), least);

    let mut y = u16::from(has_air);
    for (n, group) in groups.iter().enumerate() {
        for Fact { name, spans, .. } in group {
            let line = nth_line(area, y);
            put(buf, Rect { width: line.width.min(NAMES), ..line }, name, screen.theme.dim);
            let mut rest = from(line, line.x + NAMES);
            for span in spans {
                rest = from(rest, put(buf, rest, &span.content, span.style));
            }
            y += 1;
        }
        y += u16::from(has_air && !group.is_empty());
        if n == 2 && has_bars {
            stages.bars(screen, buf, Rect { y: area.y + y, height: stages.height(), ..area }, NAMES);
            y += bars_height;
        }
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
    if let Some(answers) = row.answers().filter(|_| left >= HISTOGRAM_FROM) {
        let width = (SCALE + 2 * Trend::LEN as u16).min(area.width);
        let area = Rect { x: area.x + SCALE, y: area.y + y, width: width.saturating_sub(SCALE), height: bars };
        histogram::draw(screen, buf, area, &answers.histogram(screen.now));
        y += bars + 1;
    }
    history(screen, buf, Rect { y: area.y + y.min(area.height), height: area.height.saturating_sub(y), ..area }, key);
}

fn height(groups: &[Vec<Fact>]) -> u16 {
    groups.iter().map(|group| group.len() as u16).sum()
}

/// Leaves out facts until they fit, those of the highest rank first: minor ones also give way to air
/// around the groups and to a `rest` of lines. Says whether there is air.
fn fit(groups: &mut [Vec<Fact>], room: u16, rest: u16) -> bool {
    let air = groups.len() as u16 + 1;
    let mut shrink = |room: u16, least: u8| {
        loop {
            let highest = groups.iter().flatten().map(|fact| fact.rank).max().unwrap_or(0);
            if height(groups) <= room || highest < least {
                return height(groups) <= room;
            }
            // The last of them: what comes first in a group is what it is about.
            let group = groups.iter_mut().rev().find(|group| group.iter().any(|fact| fact.rank == highest));
            if let Some(group) = group
                && let Some(place) = group.iter().rposition(|fact| fact.rank == highest)
            {
                group.remove(place);
            }
        }
    };
    shrink(room.saturating_sub(air + rest), MINOR) || {
        shrink(room, 1);
        false
    }
}

/// The whole trend, tall, with its scale and its span of time.
fn trend(screen: &Screen, buf: &mut Buffer, area: Rect, row: &Row) {
    let buckets: Vec<Bucket> = row.trend(screen.now, Trend::LEN).collect();
    let each = ((area.width.saturating_sub(SCALE)) / Trend::LEN as u16).clamp(1, 2);
    let bars = Rect { height: area.height - 1, ..area };
    spark::tall(buf, bars, &buckets, each, screen.glyphs, screen.theme);
    let axis = nth_line(area, area.height - 1);
    let axis =
        Rect { x: axis.x + SCALE, width: (Trend::LEN as u16 * each).min(axis.width.saturating_sub(SCALE)), ..axis };
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
        let badge = Badge::of(step.to, step.reason);
        let x = put(buf, line, &screen.clock(*at), theme.log_time) + 1;
        let x = put(buf, from(line, x), screen.glyphs.badge(badge), theme.badge(badge)) + 1;
        put(buf, from(line, x), badge.word(), theme.badge(badge));
        let mut text = words::reason(step.reason, &step.detail);
        if let Some(wait) = step.next_try {
            text = format!("{text}; retry in {}", figures::wait(wait));
        }
        put(buf, from(line, x + Badge::WORD_WIDTH as u16 + 1), &text, theme.text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_important_facts_give_way_and_what_must_stay_stays() {
        let fact = |rank, name| Fact { rank, name, spans: Vec::new() };
        let groups = || [vec![fact(0, "a"), fact(7, "b")], vec![fact(1, "c"), fact(5, "d"), fact(5, "e")]];
        let shown = |room: u16| {
            let mut groups = groups();
            let has_air = fit(&mut groups, room + 2, 2);
            (groups.iter().flatten().map(|f| f.name).collect::<String>(), has_air)
        };
        assert_eq!(shown(8), ("abcde".into(), true));
        assert_eq!(shown(7), ("acde".into(), true));
        assert_eq!(shown(6), ("acd".into(), true));
        assert_eq!(shown(5), ("ac".into(), true));
        assert_eq!(shown(4), ("ac".into(), false));
        let mut tight = groups();
        assert!(!fit(&mut tight, 1, 2));
        assert_eq!(tight.iter().flatten().map(|f| f.name).collect::<String>(), "a");
    }
}
