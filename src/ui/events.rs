//! Defines the events screen: the log in full, to scroll, filter and search; an entry's sentence is in `words`.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};

use crate::{
    action::Action,
    model::{Entry, EventFacts, Events, Mode, Model},
    query::Query,
    text::{Scrubbed, ellipsize},
    ui::{
        Screen, footer, inset,
        layout::Layout,
        log,
        paint::{Strip, clear, from, nth_line, put, span},
    },
    words::{self, figures},
};

/// The numbers of the events that are shown, and of those that are searched for, oldest first, while anybody looks at
/// them.
pub fn events_shown(model: &Model) -> Option<(Vec<u64>, Vec<u64>)> {
    let events = model.events();
    let (fleet, log) = (model.fleet(), model.shown().log());
    let is_it = |query: &Query, entry: &Entry| {
        query.is_empty() || query.matches(&EventFacts { fleet, entry, sentence: &words::entry(fleet, entry) })
    };
    let meant = |query: &Query| log.numbered().filter(|(_, entry)| is_it(query, entry)).map(|(n, _)| n).collect();
    let found = || events.sought().map(meant).unwrap_or_default();
    matches!(model.screen(), Mode::Events).then(|| (meant(events.query()), found()))
}

pub(super) fn draw(screen: &Screen, buf: &mut Buffer, layout: &Layout) {
    let (events, known) = (screen.model.events(), screen.model.shown());
    let area = layout.pane(buf.area);
    clear(buf, area, screen.theme.text);
    title(screen, buf, inset(nth_line(area, 0)), events);
    let lines = usize::from(area.height).saturating_sub(Events::FRAME);
    let (top, cursor) = (events.top(lines), events.cursor());
    let shown = events.shown().iter().skip(top).take(lines);
    for (n, number) in (Events::FRAME as u16..).zip(shown) {
        if let Some(entry) = known.log().entry(*number) {
            let line = nth_line(area, n);
            row(screen, buf, line, entry, cursor == Some(*number), events.is_found(*number));
        }
    }
    if events.shown().is_empty() {
        let text = if events.text().is_empty() { "nothing happened yet" } else { "no event like that" };
        put(buf, inset(nth_line(area, 2)), &format!("  {text}"), screen.theme.dim);
    }
}

fn title(screen: &Screen, buf: &mut Buffer, line: Rect, events: &Events) {
    let (theme, log) = (screen.theme, screen.model.shown().log());
    let mut strip = Strip::new(2);
    strip.left(0, [span("events", theme.title)]);
    if let Some(frozen) = screen.model.frozen() {
        strip.left(0, [span(format!(" FROZEN at {} ", screen.clock(frozen.at)), theme.frozen)]);
    }
    let (shown, all) = (events.shown().len() as u64, log.newest().len() as u64);
    if !events.text().is_empty() {
        let text = ellipsize(&Scrubbed::new(events.text()), 32);
        let count = format!("  {} of {} match", figures::count(shown), figures::count(all));
        strip.left(1, [span(format!("/{text}"), theme.key), span(count, theme.text)]);
    } else if events.sought().is_some() {
        let text = ellipsize(&Scrubbed::new(events.sought_text()), 32);
        let keys = footer::keys(screen, &[Action::NextMatch, Action::PreviousMatch]);
        let count = format!("  {} found, {keys} go to them", figures::count(events.found() as u64));
        strip.left(1, [span(format!("search {text}"), theme.key), span(count, theme.dim)]);
    }
    match (events.is_following(), events.news(log)) {
        (true, _) => strip.right(2, [span("follows the newest", theme.dim)]),
        (false, 0) => strip.right(2, [span("stays here", theme.dim)]),
        (false, news) => {
            let bottom = footer::keys(screen, &[Action::Bottom]);
            let style = theme.warning.add_modifier(Modifier::REVERSED);
            strip.right(0, [span(format!(" {} new, {bottom} goes there ", figures::count(news)), style)]);
        }
    }
    if let Some(place) = events.cursor().and_then(|number| events.shown().binary_search(&number).ok()) {
        let text = format!("{} of {}", figures::count(place as u64 + 1), figures::count(shown));
        strip.right(3, [span(text, theme.dim)]);
    }
    strip.draw(buf, line);
}

fn row(screen: &Screen, buf: &mut Buffer, line: Rect, entry: &Entry, is_selected: bool, is_found: bool) {
    let theme = screen.theme;
    let base = if is_selected { theme.text.patch(theme.selection) } else { theme.text };
    let is_reversed = theme.selection.add_modifier.contains(Modifier::REVERSED);
    let on = |style: Style| if is_selected && is_reversed { base } else { base.patch(style) };
    if is_selected {
        buf.set_style(line, base);
        put(buf, Rect { width: 1, ..line }, screen.glyphs.cursor, base);
    }
    if is_found {
        put(buf, Rect { x: line.x + 1, width: 1, ..line }, screen.glyphs.mark, on(theme.mark));
    }
    let line = Rect { width: line.width.saturating_sub(4), ..from(line, line.x + 3) };
    let (glyph, style) = log::look(screen, entry);
    let x = put(buf, line, &screen.clock(entry.at), on(theme.log_time)) + 1;
    let x = put(buf, from(line, x), glyph, on(style)) + 1;
    put(buf, from(line, x), &words::entry(screen.fleet, entry), base);
}
