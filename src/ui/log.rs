//! Defines the log pane: the newest entries with local time; their sentences are in `words`.

use ratatui::{buffer::Buffer, style::Style};

use crate::{
    event::{Badge, Level, Order, WorkerEvent},
    model::{Entry, Subject},
    ui::{
        Screen, header, inset,
        layout::Layout,
        paint::{from, nth_line, put, put_title, span, width},
    },
    words,
};

pub(super) fn draw(screen: &Screen, buf: &mut Buffer, layout: &Layout) {
    let Some(pane) = layout.log else { return };
    let known = screen.model.shown();
    title(screen, buf, inset(nth_line(pane, 0)));
    let lines = usize::from(pane.height - 1);
    let newest = known.log().newest();
    let shown = newest.len().min(lines);
    // Like any log, it grows downwards.
    for (n, entry) in newest.take(lines).enumerate() {
        let line = inset(nth_line(pane, (shown - n) as u16));
        let (glyph, style) = look(screen, entry);
        let x = put(buf, line, &screen.clock(entry.at), screen.theme.log_time) + 1;
        let x = put(buf, from(line, x), glyph, style) + 1;
        put(buf, from(line, x), &words::entry(screen.fleet, entry), screen.theme.text);
    }
}

fn title(screen: &Screen, buf: &mut Buffer, line: ratatui::layout::Rect) {
    let theme = screen.theme;
    put(buf, line, &screen.glyphs.rule.repeat(line.width.into()), screen.border());
    put_title(buf, from(line, line.x + 2), &span("events", theme.title), theme.text);
    let said = header::admissions(screen.model.shown()).join(", ");
    if !said.is_empty() && width(&said) + 20 < line.width {
        let x = line.right() - width(&said) - 4;
        put_title(buf, from(line, x), &span(said, theme.warning), theme.text);
    }
}

pub(super) fn look(screen: &Screen, entry: &Entry) -> (&'static str, Style) {
    let (glyphs, theme) = (screen.glyphs, screen.theme);
    match &entry.subject {
        Subject::Clients { to, reason, .. } => {
            let badge = Badge::of(*to, *reason);
            (glyphs.badge(badge), theme.badge(badge))
        }
        Subject::Worker { event: WorkerEvent::Silent | WorkerEvent::Died, .. } => {
            (glyphs.badge(Badge::Failed), theme.error)
        }
        Subject::Worker { .. } => (glyphs.badge(Badge::Up), theme.info),
        Subject::Silence { .. } => (glyphs.badge(Badge::Mute), theme.badge(Badge::Mute)),
        Subject::Answers { .. } => (glyphs.badge(Badge::Up), theme.info),
        Subject::Order(_, Order::Hold) => (glyphs.badge(Badge::Held), theme.badge(Badge::Held)),
        Subject::Order(..) => ("i", theme.info),
        Subject::Shortfall { .. } | Subject::Notice(_) | Subject::Alert(_) | Subject::Handling(_) | Subject::Job(_) => {
            match entry.level {
                Level::Info => ("i", theme.info),
                Level::Warning => ("!", theme.warning),
                Level::Error => ("!", theme.error),
            }
        }
    }
}
