//! Defines the map screen: every client in one picture, and a line about who is under the cursor; where each stands is the model's matter.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
    text::Span,
};

use crate::{
    event::Badge,
    model::{Cell, Grid, Line, Map, Spot, Totals},
    ui::{
        Screen, filter, header, inset,
        layout::Layout,
        paint::{Strip, clear, from, nth_line, put, span},
    },
    words::{self, figures},
};

pub(super) fn draw(screen: &Screen, buf: &mut Buffer, layout: &Layout) {
    let Some(map) = screen.model.map() else { return };
    let area = layout.pane(buf.area);
    clear(buf, area, screen.theme.text);
    let area = inset(area);
    let grid = map.grid((area.width.into(), area.height.into()));
    title(screen, buf, nth_line(area, 0), map, &grid);
    let cursor = map.cursor(&grid);
    for (n, line) in (1..).zip(&grid.lines) {
        let place = nth_line(area, n);
        match line {
            Line::Head(block) => head(screen, buf, place, map, *block),
            Line::Cells(_) => {
                for (x, places) in (place.left()..place.right()).zip(grid.cells(line)) {
                    let is_selected = places.start == cursor;
                    let (glyph, style) = look(screen, map.cell(places, grid.each), &grid);
                    let style = if is_selected { style.patch(mark(screen)) } else { style };
                    buf[(x, place.y)].set_symbol(glyph).set_style(style);
                }
            }
        }
    }
    let last = nth_line(area, area.height.saturating_sub(1));
    match map.place(&grid) {
        Some(spot) => under_cursor(screen, buf, last, &spot),
        None => drop(put(buf, last, "no client matches the filter", screen.theme.dim)),
    }
}

/// The cell under the cursor is reversed in every theme: it has no other sign.
fn mark(screen: &Screen) -> Style {
    screen.theme.selection.remove_modifier(Modifier::DIM).add_modifier(Modifier::REVERSED | Modifier::BOLD)
}

fn title(screen: &Screen, buf: &mut Buffer, line: Rect, map: &Map, grid: &Grid) {
    let theme = screen.theme;
    let mut strip = Strip::new(2);
    strip.left(0, [span("map", theme.title)]);
    if let Some(frozen) = screen.model.frozen() {
        strip.left(0, [span(format!(" FROZEN at {} ", screen.clock(frozen.at)), theme.frozen)]);
    }
    strip.left(3, [span("by ", theme.dim), span(map.by.name().to_owned(), theme.key)]);
    strip.left(4, [span(figures::clients(map.clients() as u64), theme.text)]);
    if screen.model.is_filtered() {
        strip.left(1, filter::name(screen, 32));
    }
    let scale = match grid.cell() {
        1 => "a cell is a client".to_owned(),
        many => format!("a cell is {} clients, dots are not well", figures::count(many as u64)),
    };
    strip.right(5, [span(scale, theme.dim)]);
    strip.draw(buf, line);
}

fn head(screen: &Screen, buf: &mut Buffer, line: Rect, map: &Map, block: usize) {
    let (theme, block) = (screen.theme, &map.blocks[block]);
    let mut strip = Strip::new(2);
    strip.left(0, [span(block.key.name(screen.fleet).to_string(), theme.title)]);
    counts(screen, &mut strip, &block.totals);
    let free = strip.draw(buf, line);
    if free.width > 4 {
        let rule = Rect { x: free.x, width: free.width, ..free };
        put(buf, rule, &screen.glyphs.rule.repeat(rule.width.into()), theme.border);
    }
}

fn counts(screen: &Screen, strip: &mut Strip, totals: &Totals) {
    for badge in Badge::ALL.into_iter().filter(|badge| totals.wearing(*badge) > 0) {
        let rank = if badge == Badge::Up { 3 } else { 2 };
        strip.left(rank, header::counted(screen, badge, totals));
    }
}

/// What a cell looks like: its one client's badge, or the dots of those that are not well, in the colour of the worst.
fn look(screen: &Screen, cell: Cell, grid: &Grid) -> (&'static str, Style) {
    const HALVES: [&str; 4] = ["·", "▀", "▄", "█"];
    const COUNTS: [&str; 9] = [".", "1", "2", "3", "4", "5", "6", "7", "8"];
    let (glyphs, theme) = (screen.glyphs, screen.theme);
    let style = screen.look_of(cell.worst, cell.is_down);
    let well = match cell.worst {
        Badge::Up if !glyphs.is_ascii() => ("·", theme.dim),
        Badge::Up if grid.dots == 1 => (glyphs.badge(Badge::Up), theme.dim),
        Badge::Up => (COUNTS[0], theme.dim),
        badge => (glyphs.badge(badge), style),
    };
    match cell.unwell {
        0 => well,
        _ if grid.dots == 1 => (glyphs.badge(cell.worst), style),
        dots if glyphs.is_ascii() => (COUNTS[dots.count_ones() as usize], style),
        dots if grid.dots == 2 => (HALVES[usize::from(dots & 3)], style),
        dots => (BRAILLE[usize::from(dots)], style),
    }
}

/// Braille by dots, read line by line.
static BRAILLE: [&str; 256] = braille();

const fn braille() -> [&'static str; 256] {
    // In Unicode the upper six dots are numbered down the columns.
    const BITS: [u8; 8] = [0x01, 0x08, 0x02, 0x10, 0x04, 0x20, 0x40, 0x80];
    // All of them in UTF-8, three bytes each.
    static TEXT: [u8; 768] = {
        let mut text = [0; 768];
        let mut dots = 0;
        while dots < 256 {
            let (mut bits, mut n) = (0, 0);
            while n < 8 {
                if dots >> n & 1 == 1 {
                    bits |= BITS[n];
                }
                n += 1;
            }
            text[dots * 3] = 0xe2;
            text[dots * 3 + 1] = 0xa0 + (bits >> 6);
            text[dots * 3 + 2] = 0x80 + (bits & 0x3f);
            dots += 1;
        }
        text
    };
    let mut all = [""; 256];
    let mut dots = 0;
    while dots < 256 {
        let (_, rest) = TEXT.split_at(dots * 3);
        let (one, _) = rest.split_at(3);
        all[dots] = match std::str::from_utf8(one) {
            Ok(one) => one,
            Err(_) => "?",
        };
        dots += 1;
    }
    all
}

/// Who is in the cell under the cursor.
fn under_cursor(screen: &Screen, buf: &mut Buffer, line: Rect, spot: &Spot) {
    let theme = screen.theme;
    let known = screen.model.shown();
    let x = put(buf, line, screen.glyphs.cursor, theme.key) + 1;
    let line = from(line, x);
    match spot.clients {
        [] => {}
        [one] => {
            let row = known.row(*one);
            let mut strip = Strip::new(2);
            let badge = format!("{} {}", screen.glyphs.badge(row.badge()), row.badge().word());
            strip.left(0, [span(screen.fleet.full_name(*one).into_owned(), theme.text)]);
            strip.left(1, [span(badge, screen.look(row))]);
            strip.left(3, [span(spot.block.key.name(screen.fleet).to_string(), theme.dim)]);
            let free = strip.draw(buf, line);
            let texts = words::why(known, *one, screen.now);
            if let Some(text) = texts.iter().find(|text| super::paint::width(text) <= free.width).or(texts.last()) {
                put(buf, free, text, theme.text);
            }
        }
        [first, .., last] => {
            let totals = known.totals_of(spot.clients);
            let [first, last] = [first, last].map(|key| screen.fleet.full_name(*key));
            let mut strip = Strip::new(2);
            let who: Span = span(format!("{first} … {last}"), theme.text);
            strip.left(0, [who]);
            counts(screen, &mut strip, &totals);
            strip.left(4, [span(spot.block.key.name(screen.fleet).to_string(), theme.dim)]);
            strip.draw(buf, line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_read_line_by_line() {
        let shown = [0, 0b1, 0b10, 0b100, 0b1000_0000, 0b1111_1111].map(|dots| BRAILLE[dots]);
        assert_eq!(shown, ["⠀", "⠁", "⠈", "⠂", "⢀", "⣿"]);
    }
}
