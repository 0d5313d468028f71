//! Defines the table: its status line, its heads, and the rows on the screen; no other row is looked at.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};

use crate::{
    action::Action,
    event::Badge,
    fleet::ClientKey,
    model::{Answers, Bucket, Mode, Row, Slow},
    ui::{
        Screen,
        columns::{self, Field, Place},
        filter, footer, inset,
        layout::Layout,
        paint::{Strip, nth_line, put, put_right, put_short, span, width},
        spark,
    },
    words::{self, figures},
};

pub(super) fn draw(screen: &Screen, buf: &mut Buffer, layout: &Layout) {
    let places = columns::places(layout.table.width, &screen.context.widths);
    status(screen, buf, layout.status);
    heads(screen, buf, layout.heads, &places);
    if screen.model.order().is_empty() {
        nothing(screen, buf, layout.table);
        return;
    }
    for (n, key) in screen.model.visible().iter().enumerate() {
        let line = nth_line(layout.table, n as u16);
        if line.is_empty() {
            break;
        }
        Line::new(screen, *key).draw(buf, line, &places);
    }
}

/// What the table shows: frozen or not, filter, marks, order, place.
fn status(screen: &Screen, buf: &mut Buffer, line: Rect) {
    let Screen { model, theme, glyphs, .. } = screen;
    let mut strip = Strip::new(3);
    if let Some(frozen) = model.frozen() {
        // Nothing that changes by itself: a frozen screen costs no byte.
        let banner = format!(" FROZEN at {} ", screen.clock(frozen.at));
        strip.left(0, [span(banner, theme.frozen)]);
    }
    let (shown, all) = (model.order().len() as u64, screen.clients());
    if model.is_filtered() {
        let mut spans = filter::name(screen, if line.width < 100 { 24 } else { 60 });
        let what = if model.filter().is_empty() { "" } else { " match" };
        spans.push(span(format!("  {} of {}{what}", figures::count(shown), figures::count(all)), theme.text));
        strip.left(1, spans);
    }
    let (marked, hidden) = model.marked();
    if marked > 0 {
        let hidden = match hidden {
            0 => String::new(),
            n => format!(", {} hidden", figures::count(n as u64)),
        };
        strip.left(
            1,
            [
                span(glyphs.mark, theme.mark),
                span(format!(" {} marked{hidden}", figures::count(marked as u64)), theme.text),
            ],
        );
    }
    let sort = model.sort();
    let arrow = if sort.descending { glyphs.descending } else { glyphs.ascending };
    let held = match model.is_order_held() {
        true => ", order held",
        false if model.is_held() => ", order waits",
        false => "",
    };
    strip.left(3, [span(format!("by {} {arrow}{held}", sort.column.name()), theme.dim)]);
    if let Some(place) = model.cursor_place() {
        let text = format!("{} of {}", figures::count(place as u64 + 1), figures::count(shown));
        strip.right(2, [span(text, theme.dim)]);
    }
    strip.draw(buf, inset(line));
}

fn heads(screen: &Screen, buf: &mut Buffer, line: Rect, places: &[Place]) {
    let header = screen.theme.header;
    buf.set_style(line, header);
    let sort = screen.model.sort();
    let chosen = if let Mode::Sort(column) = screen.model.mode() { Some(*column) } else { None };
    for place in places {
        let cell = cell(line, place);
        let is_sorted = place.field.sorts() == Some(sort.column);
        let header = if chosen.is_some() && chosen == place.field.sorts() {
            header.patch(screen.theme.selection)
        } else {
            header
        };
        let arrow = if sort.descending { screen.glyphs.descending } else { screen.glyphs.ascending };
        if place.field.is_number() {
            put_right(buf, cell, place.field.head(), header);
            if is_sorted {
                let x = cell.right() - width(place.field.head()) - 1;
                put(buf, Rect { x, width: 1, ..cell }, arrow, header);
            }
        } else {
            let x = match place.field {
                Field::Trend => put(buf, cell, &screen.context.widths.trend_head(cell.width), header),
                field => put(buf, cell, field.head(), header),
            };
            if is_sorted && x < line.right() {
                put(buf, Rect { x, width: 1, ..line }, arrow, header);
            }
        }
    }
}

/// Where no row is shown, why, and what to do.
fn nothing(screen: &Screen, buf: &mut Buffer, table: Rect) {
    let all = screen.clients();
    let (what, then) = if all == 0 {
        ("this fleet has no clients".to_owned(), "add a [[client]] table to its file".to_owned())
    } else {
        let text: String = filter::name(screen, 24).iter().map(|part| part.content.as_ref()).collect();
        let (back, edit) = (footer::keys(screen, &[Action::Back]), footer::keys(screen, &[Action::Filter]));
        let then = format!("{back} clears the filter, {edit} changes it");
        (format!("0 of {} match  {text}", figures::count(all)), then)
    };
    let first = nth_line(table, table.height / 3);
    let line = |n: u16| inset(Rect { y: first.y + n, ..first });
    put_short(buf, line(0), &format!("  {what}"), screen.theme.text);
    put_short(buf, line(1), &format!("  {then}"), screen.theme.dim);
}

fn cell(line: Rect, place: &Place) -> Rect {
    let x = line.x + place.x;
    Rect { x, width: place.width.min(line.right().saturating_sub(x)), ..line }
}

/// One client's line.
struct Line<'a> {
    screen: &'a Screen<'a>,
    key: ClientKey,
    row: &'a Row,
    badge: Badge,
    /// What the whole line stands on.
    base: Style,
    is_selected: bool,
}

impl<'a> Line<'a> {
    fn new(screen: &'a Screen<'a>, key: ClientKey) -> Line<'a> {
        let row = screen.model.shown().row(key);
        let is_selected = screen.model.cursor() == Some(key);
        let base = if is_selected { screen.theme.text.patch(screen.theme.selection) } else { screen.theme.text };
        Line { screen, key, row, badge: row.badge(), base, is_selected }
    }

    /// A style on this line. A reversed line keeps to its own: colours would turn into backgrounds.
    fn on(&self, style: Style) -> Style {
        let is_reversed = self.screen.theme.selection.add_modifier.contains(Modifier::REVERSED);
        if self.is_selected && is_reversed { self.base } else { self.base.patch(style) }
    }

    fn draw(&self, buf: &mut Buffer, line: Rect, places: &[Place]) {
        let Screen { model, theme, glyphs, .. } = self.screen;
        if self.is_selected {
            buf.set_style(line, self.base);
            put(buf, Rect { width: 1, ..line }, glyphs.cursor, self.base);
        }
        if model.is_marked(self.key) {
            put(buf, Rect { x: line.x + 1, width: 1, ..line }, glyphs.mark, self.on(theme.mark));
        }
        for place in places {
            self.field(buf, cell(line, place), place.field);
        }
    }

    fn field(&self, buf: &mut Buffer, cell: Rect, field: Field) {
        let Screen { theme, glyphs, fleet, now, .. } = self.screen;
        let plain = if self.badge == Badge::Off { self.on(theme.off) } else { self.base };
        match field {
            Field::State => {
                let style = self.on(self.screen.look(self.row));
                put(buf, cell, glyphs.badge(self.badge), style);
                put(buf, Rect { x: cell.x + 2, width: cell.width.saturating_sub(2), ..cell }, self.badge.word(), style);
            }
            Field::Client => {
                put_short(buf, cell, &fleet.client(self.key).name, plain);
            }
            Field::Agent => {
                let name = fleet.agent_of(self.key).map_or("", |agent| &agent.name);
                put_short(buf, cell, name, plain);
            }
            Field::Endpoint => {
                put_short(buf, cell, &fleet.endpoint(self.row.endpoint).name, plain);
            }
            Field::Latency => self.latency(buf, cell),
            Field::Trend if self.row.is_unknown => {}
            Field::Trend => {
                let buckets = self.row.trend(*now, cell.width.into());
                let look = |bucket| self.on(if bucket == Bucket::Down { theme.trend_gap } else { theme.trend });
                let usual = self.row.answers().map(Answers::usual).unwrap_or_default();
                spark::latencies(buf, cell, buckets, usual, glyphs, look);
            }
            Field::Reconnects if self.row.is_unknown => put_right(buf, cell, "-", self.on(theme.dim)),
            Field::Reconnects => {
                let style = if self.row.reconnects == 0 { self.on(theme.dim) } else { plain };
                put_right(buf, cell, &figures::count(self.row.reconnects), style);
            }
            Field::Since => put_right(buf, cell, &figures::age(now.since(self.row.since)), plain),
            Field::Reason => self.reason(buf, cell),
        }
    }

    fn latency(&self, buf: &mut Buffer, cell: Rect) {
        let theme = self.screen.theme;
        if let Some(since) = self.row.late {
            // How long it will have taken at least.
            let least = format!(">{}", figures::age(self.screen.now.since(since)));
            return put_right(buf, cell, &least, self.on(theme.slow));
        }
        match self.row.last.filter(|_| self.row.is_up()) {
            None => put_right(buf, cell, "-", self.on(theme.dim)),
            Some((at, rtt)) => {
                let is_stale = self.screen.now.since(at) > self.row.trend_width() * 3;
                let style = match self.badge {
                    _ if is_stale => theme.dim,
                    _ if matches!(self.row.slow, Some(Slow::Late | Slow::Objective)) => theme.slow,
                    _ => Style::new(),
                };
                put_right(buf, cell, &figures::latency(rtt), self.on(style));
            }
        }
    }

    fn reason(&self, buf: &mut Buffer, cell: Rect) {
        let style = if self.badge == Badge::Off { self.screen.theme.off } else { Style::new() };
        let texts = words::why(self.screen.model.shown(), self.key, self.screen.now);
        let fits = texts.iter().find(|text| width(text) <= cell.width).or(texts.last());
        if let Some(text) = fits {
            put(buf, cell, text, self.on(style));
        }
    }
}
