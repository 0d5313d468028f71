//! Defines the groups screen: a line for each group, with how many are in it, how many of them are not well, how it was answered; what a group is, is the model's matter.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};

use crate::{
    event::Badge,
    model::{Bucket, By, Part, Pivot, Trend},
    ui::{
        Screen, filter, header, inset,
        layout::Layout,
        paint::{Strip, clear, from, nth_line, put, put_right, put_short, span, width},
        spark,
    },
    words::figures,
};

/// What stands in a column.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Name,
    Clients,
    Down,
    Slow,
    Trend,
    P99,
    Bar,
    States,
}

pub(super) fn draw(screen: &Screen, buf: &mut Buffer, layout: &Layout) {
    let Some(pivot) = screen.model.pivot() else { return };
    let area = layout.pane(buf.area);
    clear(buf, area, screen.theme.text);
    title(screen, buf, inset(nth_line(area, 0)), pivot);
    let columns = columns(area.width, pivot, screen);
    heads(screen, buf, nth_line(area, 1), pivot, &columns);
    let lines = usize::from(area.height).saturating_sub(Pivot::FRAME);
    let parts = pivot.parts().iter().enumerate().skip(pivot.top(lines)).take(lines);
    for (n, (place, part)) in (Pivot::FRAME as u16..).zip(parts) {
        let line = nth_line(area, n);
        Row::new(screen, part, pivot.place() == Some(place)).draw(buf, line, &columns);
    }
    if pivot.parts().is_empty() {
        put(buf, inset(nth_line(area, 3)), "  no client matches the filter", screen.theme.dim);
    }
}

fn title(screen: &Screen, buf: &mut Buffer, line: Rect, pivot: &Pivot) {
    let theme = screen.theme;
    let mut strip = Strip::new(2);
    strip.left(0, [span("groups", theme.title)]);
    if let Some(frozen) = screen.model.frozen() {
        strip.left(0, [span(format!(" FROZEN at {} ", screen.clock(frozen.at)), theme.frozen)]);
    }
    let all = By::all(screen.model.shown());
    let mut names = vec![span("by ", theme.dim)];
    for by in &all {
        let style = if *by == pivot.by { theme.key.add_modifier(Modifier::UNDERLINED) } else { theme.dim };
        names.push(span(by.name().to_owned(), style));
        names.push(span(" ", theme.dim));
    }
    let is_short = names.iter().map(|name| width(&name.content)).sum::<u16>() + 34 > line.width;
    match is_short {
        true => strip.left(1, [span("by ", theme.dim), span(pivot.by.name().to_owned(), theme.key)]),
        false => strip.left(1, names),
    }
    if screen.model.is_filtered() {
        strip.left(2, filter::name(screen, 32));
    }
    strip.right(3, [span(figures::clients(pivot.clients as u64), theme.dim)]);
    if let Some(place) = pivot.place() {
        let text = format!("{} of {}", place + 1, pivot.parts().len());
        strip.right(4, [span(text, theme.dim)]);
    }
    strip.draw(buf, line);
}

/// The columns that there is room for, each with its first column and its width.
fn columns(width: u16, pivot: &Pivot, screen: &Screen) -> Vec<(Field, u16, u16)> {
    let longest = pivot.parts().iter().map(|part| self::width(&part.key.name(screen.fleet))).max().unwrap_or(0);
    let name = longest.clamp(8, if width < 60 { 14 } else { 32 });
    // The first to be given up stands last.
    let trend = if width < 110 { 12 } else { Trend::LEN as u16 };
    let by_rank = [
        (Field::Name, name + 2),
        (Field::Clients, 8),
        (Field::Down, 7),
        (Field::P99, 7),
        (Field::Slow, 7),
        (Field::Trend, trend),
        (Field::Bar, if width < 110 { 10 } else { 20 }),
        (Field::States, 24),
    ];
    let gap = if width < 100 { 1 } else { 2 };
    let mut free = width.saturating_sub(2);
    let mut kept = Vec::new();
    for (field, width) in by_rank {
        if width + gap > free {
            break;
        }
        free -= width + gap;
        kept.push((field, width));
    }
    let order =
        [Field::Name, Field::Clients, Field::Down, Field::Slow, Field::Trend, Field::P99, Field::Bar, Field::States];
    let last = kept.last().map(|(field, _)| *field);
    let mut x = 2;
    let mut columns = Vec::new();
    for field in order {
        if let Some((_, width)) = kept.iter().find(|(kept, _)| *kept == field) {
            // What is last takes what is left.
            let is_last = last == Some(field) && matches!(field, Field::Bar | Field::States);
            let width = width + if is_last { free } else { 0 };
            columns.push((field, x, width));
            x += width + gap;
        }
    }
    columns
}

fn heads(screen: &Screen, buf: &mut Buffer, line: Rect, pivot: &Pivot, columns: &[(Field, u16, u16)]) {
    let header = screen.theme.header;
    buf.set_style(line, header);
    for (field, x, width) in columns {
        let cell = cell(line, *x, *width);
        match field {
            Field::Name => drop(put_short(buf, from(cell, cell.x + 2), &pivot.by.name().to_uppercase(), header)),
            Field::Clients => put_right(buf, cell, "CLIENTS", header),
            Field::Down => put_right(buf, cell, "DOWN", header),
            Field::Slow => put_right(buf, cell, "SLOW", header),
            Field::P99 => put_right(buf, cell, "P99", header),
            Field::Trend => drop(put(buf, cell, &screen.context.widths.trend_head(*width), header)),
            Field::Bar => drop(put(buf, cell, "SHARES", header)),
            Field::States => drop(put(buf, cell, "STATES", header)),
        }
    }
}

fn cell(line: Rect, x: u16, width: u16) -> Rect {
    let x = line.x + x;
    Rect { x, width: width.min(line.right().saturating_sub(x)), ..line }
}

/// One group's line.
struct Row<'a> {
    screen: &'a Screen<'a>,
    part: &'a Part,
    base: Style,
    is_selected: bool,
}

impl<'a> Row<'a> {
    fn new(screen: &'a Screen<'a>, part: &'a Part, is_selected: bool) -> Row<'a> {
        let base = if is_selected { screen.theme.text.patch(screen.theme.selection) } else { screen.theme.text };
        Row { screen, part, base, is_selected }
    }

    /// A style on this line. A reversed line keeps to its own: colours would turn into backgrounds.
    fn on(&self, style: Style) -> Style {
        let is_reversed = self.screen.theme.selection.add_modifier.contains(Modifier::REVERSED);
        if self.is_selected && is_reversed { self.base } else { self.base.patch(style) }
    }

    fn draw(&self, buf: &mut Buffer, line: Rect, columns: &[(Field, u16, u16)]) {
        let Screen { theme, glyphs, .. } = self.screen;
        if self.is_selected {
            buf.set_style(line, self.base);
            put(buf, Rect { width: 1, ..line }, glyphs.cursor, self.base);
        }
        let totals = &self.part.totals;
        let (badge, is_down) = self.part.worst;
        let worst = self.on(self.screen.look_of(badge, is_down));
        let count = |count: u32, style: Style| if count == 0 { self.on(theme.dim) } else { self.on(style) };
        for (field, x, width) in columns {
            let cell = cell(line, *x, *width);
            match field {
                Field::Name => {
                    put(buf, cell, glyphs.badge(badge), worst);
                    put_short(buf, from(cell, cell.x + 2), &self.part.key.name(self.screen.fleet), worst);
                }
                Field::Clients => put_right(buf, cell, &figures::count(totals.all()), self.base),
                Field::Down => put_right(buf, cell, &figures::count(totals.down), count(totals.down, theme.failed)),
                Field::Slow => {
                    put_right(buf, cell, &figures::count(totals.slow()), count(totals.slow(), theme.slow));
                }
                Field::P99 => match self.part.p99 {
                    Some(p99) => put_right(buf, cell, &figures::latency(p99), self.base),
                    None => put_right(buf, cell, "-", self.on(theme.dim)),
                },
                Field::Trend => {
                    let skipped = self.part.trend.len().saturating_sub(cell.width.into());
                    let buckets = self.part.trend.iter().skip(skipped).copied();
                    let look = |bucket| self.on(if bucket == Bucket::Down { theme.failed } else { theme.trend });
                    spark::latencies(buf, cell, buckets, Part::USUAL, glyphs, look);
                }
                Field::Bar => header::bar(self.screen, buf, cell, totals, |style| self.on(style)),
                Field::States => {
                    let mut strip = Strip::new(2);
                    for badge in Badge::ALL.into_iter().filter(|badge| totals.wearing(*badge) > 0) {
                        let rank = if badge == Badge::Up { 9 } else { 1 };
                        let counted = header::counted(self.screen, badge, totals);
                        strip.left(rank, counted.map(|part| span(part.content, self.on(part.style))));
                    }
                    strip.draw(buf, cell);
                }
            }
        }
    }
}
