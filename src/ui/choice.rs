//! Defines the line in which one of a few things is chosen: all of them where there is room, or else the one that is chosen now.

use ratatui::{buffer::Buffer, layout::Rect};

use crate::{
    model::{Chosen, Column},
    text::{Scrubbed, ellipsize},
    ui::{
        Screen, filter,
        paint::{Strip, from, put, span, width},
    },
};

/// The column to sort by.
pub(super) fn sort(screen: &Screen, buf: &mut Buffer, line: Rect, chosen: Column) {
    let names: Vec<&str> = Column::ALL.iter().map(|column| column.name()).collect();
    let then = if chosen == screen.model.sort().column { "reverse" } else { "sort" };
    draw(screen, buf, line, "sort by", &names, chosen as usize, then);
}

/// The cause whose clients are to be shown.
pub(super) fn cause(screen: &Screen, buf: &mut Buffer, line: Rect, causes: &[Chosen], at: usize) {
    let names: Vec<String> =
        causes.iter().map(|cause| Scrubbed::new(&filter::who(screen, cause)).to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    draw(screen, buf, line, "clients", &names, at, "show");
}

fn draw(screen: &Screen, buf: &mut Buffer, line: Rect, lead: &str, names: &[&str], at: usize, then: &'static str) {
    let theme = screen.theme;
    let mut strip = Strip::new(2);
    strip.right(0, [span("Enter", theme.key), span(format!(" {then}"), theme.dim)]);
    if names.len() > 1 {
        strip.right(3, [span("< >", theme.key), span(" other", theme.dim)]);
    }
    strip.right(2, [span("Esc", theme.key), span(" back", theme.dim)]);
    let all = names.iter().fold(width(lead) + 1, |sum, name| sum + width(name) + 2);
    let least = names.get(at).map_or(0, |name| width(name)).saturating_add(width(lead) + 3);
    let room = if all + 30 <= line.width { all } else { least.min(line.width.saturating_sub(14)) };
    let free = strip.draw(buf, from(line, line.x + room));
    let line = Rect { width: free.right().saturating_sub(line.x + 1), ..line };
    let mut rest = from(line, put(buf, line, lead, theme.dim) + 1);
    if all + 30 <= line.width.saturating_add(30) && all <= line.width {
        for (n, name) in names.iter().enumerate() {
            let style = if n == at { theme.selection } else { theme.text };
            rest = from(rest, put(buf, rest, &format!(" {name} "), style));
        }
    } else if let Some(name) = names.get(at) {
        let name = ellipsize(name, usize::from(rest.width.saturating_sub(2)));
        put(buf, rest, &format!(" {name} "), theme.selection);
    }
}
