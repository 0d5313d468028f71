//! Defines the line of commands: what is typed, and above it what that may mean, with the keys that mean the same.

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
    style::{Modifier, Style},
};
use tui_input::Input;

use crate::{
    action::{Action, Argument},
    text::{Scrubbed, ellipsize},
    ui::{
        Screen, footer,
        layout::Layout,
        paint::{Strip, draw_box, from, nth_line, put, span, width},
    },
};

/// The most actions that are shown at once.
const MOST: u16 = 10;
/// The columns of the names, with what may stand behind them, and of the keys.
const NAMES: u16 = 24;
const KEYS: u16 = 8;

/// Draws the line, and says where its cursor is.
pub(super) fn line(screen: &Screen, buf: &mut Buffer, line: Rect, input: &Input) -> Position {
    let theme = screen.theme;
    let palette = screen.model.palette();
    let mut strip = Strip::new(2);
    if let Some((why, _)) = palette.error() {
        let room = usize::from(line.width - line.width / 3);
        strip.right(0, [span(ellipsize(&Scrubbed::new(why), room), theme.error)]);
    } else {
        strip.right(0, [span("Enter", theme.key), span(" do it", theme.dim)]);
        strip.right(1, [span("Tab", theme.key), span(" next", theme.dim)]);
        strip.right(2, [span("Esc", theme.key), span(" back", theme.dim)]);
    }
    let field = footer::prompt(screen, buf, line, ":", strip, input);
    if let Some((_, at)) = palette.error() {
        footer::underline(buf, &field, input, at, theme.error);
    }
    field.cursor()
}

/// Draws what may be meant over the lowest lines of the screen above the line.
pub(super) fn meant(screen: &Screen, buf: &mut Buffer, layout: &Layout) {
    let (theme, palette) = (screen.theme, screen.model.palette());
    let meant = screen.model.meant(screen.scope());
    let above = layout.pane(buf.area);
    let offered = palette.offered().iter().map(|word| Scrubbed::new(word).to_string()).collect::<Vec<_>>().join("  ");
    let lines = meant.len() as u16 + u16::from(!offered.is_empty());
    let height = lines.clamp(1, MOST.min(above.height.saturating_sub(2))) + 2;
    let area = Rect { y: layout.hints.y.saturating_sub(height), height, width: above.width.min(100), ..above };
    let title = span("commands", theme.title);
    let inside = draw_box(buf, area, screen.glyphs, title, screen.border(), theme.text);
    if meant.is_empty() {
        put(buf, nth_line(inside, 0), "no such command", theme.dim);
        return;
    }
    // What is in the line is in sight.
    let room = usize::from(inside.height) - usize::from(!offered.is_empty());
    let top = palette.at().map_or(0, |at| (at + 1).saturating_sub(room));
    for (n, (place, action)) in (0..).zip(meant.iter().enumerate().skip(top).take(room)) {
        let is_chosen = place == palette.at().unwrap_or(0);
        row(screen, buf, nth_line(inside, n), *action, is_chosen);
    }
    if !offered.is_empty() {
        put(buf, nth_line(inside, inside.height - 1), &offered, theme.info);
    }
}

fn row(screen: &Screen, buf: &mut Buffer, line: Rect, action: Action, is_chosen: bool) {
    let theme = screen.theme;
    let base = if is_chosen { theme.text.patch(theme.selection) } else { theme.text };
    let is_reversed = theme.selection.add_modifier.contains(Modifier::REVERSED);
    let on = |style: Style| if is_chosen && is_reversed { base } else { base.patch(style) };
    if is_chosen {
        buf.set_style(line, base);
    }
    let x = put(buf, Rect { width: NAMES.min(line.width), ..line }, action.name(), base);
    if action.argument() != Argument::None {
        let rest = Rect { width: (line.x + NAMES).saturating_sub(x + 1), ..from(line, x + 1) };
        put(buf, rest, action.argument().words(), on(theme.dim));
    }
    let keys = from(line, line.x + NAMES);
    put(buf, Rect { width: KEYS.min(keys.width), ..keys }, &footer::keys(screen, &[action]), on(theme.key));
    let help = from(line, line.x + NAMES + KEYS);
    if width(action.help()) > 0 && help.width > 8 {
        put(buf, help, action.help(), on(theme.dim));
    }
}
