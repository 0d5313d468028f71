//! Defines how text gets into cells: lines whose parts give way by rank, boxes, plain ASCII; it knows nothing of fleets.

use std::borrow::Cow;

use ratatui::{buffer::Buffer, layout::Rect, style::Style, text::Span};
use unicode_width::UnicodeWidthStr;

use crate::{appearance::Glyphs, text::ellipsize};

pub(super) fn span<'a>(text: impl Into<Cow<'a, str>>, style: Style) -> Span<'a> {
    Span::styled(text, style)
}

pub(super) fn width(text: &str) -> u16 {
    u16::try_from(text.width()).unwrap_or(u16::MAX)
}

/// Writes text into a line, its end left out where it is too long, and says where it ended.
pub(super) fn put(buf: &mut Buffer, line: Rect, text: &str, style: Style) -> u16 {
    let write =
        |buf: &mut Buffer, x: u16, text: &str, width: u16| buf.set_stringn(x, line.y, text, width.into(), style).0;
    if line.is_empty() {
        line.x
    } else if width(text) <= line.width {
        write(buf, line.x, text, line.width)
    } else {
        let end = write(buf, line.x, text.trim_end(), line.width - 1);
        write(buf, end, "…", 1)
    }
}

/// Writes text into a line, its middle left out where it is too long.
pub(super) fn put_short(buf: &mut Buffer, line: Rect, text: &str, style: Style) -> u16 {
    if width(text) <= line.width {
        put(buf, line, text, style)
    } else {
        put(buf, line, &ellipsize(text, line.width.into()), style)
    }
}

/// Writes text at the right end of a line.
pub(super) fn put_right(buf: &mut Buffer, line: Rect, text: &str, style: Style) {
    let width = width(text).min(line.width);
    put(buf, Rect { x: line.right() - width, width, ..line }, text, style);
}

/// The part of a line from column `x` on.
pub(super) fn from(line: Rect, x: u16) -> Rect {
    let x = x.clamp(line.x, line.right());
    Rect { x, width: line.right() - x, ..line }
}

/// The `n`th line of an area; empty where the area has no such line.
pub(super) fn nth_line(area: Rect, n: u16) -> Rect {
    Rect { y: area.y + n.min(area.height), height: u16::from(n < area.height), ..area }
}

/// A line of parts from its left and its right end. Where it is too short for all of them, parts are
/// left out whole, those of the highest rank first.
pub(super) struct Strip<'a> {
    gap: u16,
    parts: Vec<Part<'a>>,
}

struct Part<'a> {
    rank: u8,
    is_right: bool,
    spans: Vec<Span<'a>>,
    width: u16,
}

impl<'a> Strip<'a> {
    /// A strip with `gap` columns between its parts.
    pub(super) fn new(gap: u16) -> Strip<'a> {
        Strip { gap, parts: Vec::new() }
    }

    pub(super) fn left(&mut self, rank: u8, spans: impl IntoIterator<Item = Span<'a>>) {
        self.add(rank, false, spans);
    }

    /// Parts at the right end stand in the order in which they were added.
    pub(super) fn right(&mut self, rank: u8, spans: impl IntoIterator<Item = Span<'a>>) {
        self.add(rank, true, spans);
    }

    fn add(&mut self, rank: u8, is_right: bool, spans: impl IntoIterator<Item = Span<'a>>) {
        let spans: Vec<_> = spans.into_iter().collect();
        let width = spans.iter().fold(0u16, |sum, s| sum.saturating_add(width(&s.content)));
        self.parts.push(Part { rank, is_right, spans, width });
    }

    fn width(&self) -> u16 {
        let widths = self.parts.iter().fold(0u16, |sum, p| sum.saturating_add(p.width).saturating_add(self.gap));
        widths.saturating_sub(self.gap)
    }

    /// Draws what fits, and returns the free columns between the left and the right parts.
    pub(super) fn draw(mut self, buf: &mut Buffer, line: Rect) -> Rect {
        while self.width() > line.width && self.parts.len() > 1 {
            let place = (0..self.parts.len()).max_by_key(|&i| (self.parts[i].rank, i)).unwrap_or(0);
            self.parts.remove(place);
        }
        let mut left = line;
        let mut right_width = 0;
        for part in self.parts.iter().filter(|p| p.is_right) {
            right_width += part.width + self.gap;
        }
        let mut right = from(line, line.right().saturating_sub(right_width.saturating_sub(self.gap)));
        let right_start = right.x;
        for part in &self.parts {
            let rest = if part.is_right { &mut right } else { &mut left };
            for s in &part.spans {
                let end = put(buf, *rest, &s.content, s.style);
                *rest = from(*rest, end);
            }
            *rest = from(*rest, rest.x + self.gap);
        }
        Rect { x: left.x, width: right_start.saturating_sub(left.x), ..line }
    }
}

/// Empties an area, so that something can be drawn over what was there.
pub(super) fn clear(buf: &mut Buffer, area: Rect, style: Style) {
    let area = area.intersection(buf.area);
    for y in area.top()..area.bottom() {
        // Of a wide character that the edge cuts through, nothing may stay.
        if area.x > buf.area.x && width(buf[(area.x - 1, y)].symbol()) > 1 {
            buf[(area.x - 1, y)].set_symbol(" ");
        }
        for x in area.left()..area.right() {
            buf[(x, y)].reset();
        }
    }
    buf.set_style(area, style);
}

/// Writes a title into a rule, with air around it.
pub(super) fn put_title(buf: &mut Buffer, line: Rect, title: &Span, text: Style) -> u16 {
    if title.content.is_empty() {
        return line.x;
    }
    let title_width = (width(&title.content) + 2).min(line.width);
    clear(buf, Rect { width: title_width, ..line }, text);
    put_short(buf, Rect { width: title_width, ..line }, &format!(" {} ", title.content), title.style)
}

/// Draws a box over what was there, and returns its inside without the margins.
pub(super) fn draw_box(buf: &mut Buffer, area: Rect, glyphs: &Glyphs, title: Span, style: Style, text: Style) -> Rect {
    clear(buf, area, text);
    if area.width < 4 || area.height < 3 {
        return Rect { width: 0, height: 0, ..area };
    }
    let set = &glyphs.border;
    let (right, bottom) = (area.right() - 1, area.bottom() - 1);
    for x in area.x + 1..right {
        buf[(x, area.y)].set_symbol(set.horizontal_top).set_style(style);
        buf[(x, bottom)].set_symbol(set.horizontal_bottom).set_style(style);
    }
    for y in area.y + 1..bottom {
        buf[(area.x, y)].set_symbol(set.vertical_left).set_style(style);
        buf[(right, y)].set_symbol(set.vertical_right).set_style(style);
    }
    buf[(area.x, area.y)].set_symbol(set.top_left).set_style(style);
    buf[(right, area.y)].set_symbol(set.top_right).set_style(style);
    buf[(area.x, bottom)].set_symbol(set.bottom_left).set_style(style);
    buf[(right, bottom)].set_symbol(set.bottom_right).set_style(style);
    let head = Rect { x: area.x + 2, width: area.width - 4, height: 1, ..area };
    put_title(buf, head, &title, text);
    Rect { x: area.x + 2, y: area.y + 1, width: area.width - 4, height: area.height - 2 }
}

/// A rectangle of at most this size in the middle of an area.
pub(super) fn centered(area: Rect, width: u16, height: u16) -> Rect {
    let (width, height) = (width.min(area.width), height.min(area.height));
    Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height }
}

/// Breaks a text into lines of at most `width` columns, between words where there are any.
pub(super) fn wrap(text: &str, columns: u16) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let Some(line) = lines.last_mut() else { break };
        if !line.is_empty() && width(line) + 1 + width(word) > columns {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

/// Leaves only ASCII in the cells, for terminals that show nothing else.
pub(super) fn to_ascii(buf: &mut Buffer) {
    for cell in &mut buf.content {
        if !cell.symbol().is_ascii() {
            let plain = match cell.symbol() {
                "…" => "~",
                "µ" => "u",
                "·" => ".",
                _ => "?",
            };
            cell.set_symbol(plain);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(columns: u16, build: impl FnOnce(&mut Strip)) -> String {
        let mut buf = Buffer::empty(Rect::new(0, 0, columns, 1));
        let mut strip = Strip::new(2);
        build(&mut strip);
        strip.draw(&mut buf, Rect::new(0, 0, columns, 1));
        buf.content.iter().map(|c| c.symbol()).collect()
    }

    #[test]
    fn parts_give_way_whole_and_by_rank() {
        let build = |strip: &mut Strip| {
            strip.left(0, [span("name", Style::new())]);
            strip.left(2, [span("least", Style::new())]);
            strip.right(1, [span("right", Style::new())]);
        };
        assert_eq!(drawn(20, build), "name  least    right");
        assert_eq!(drawn(17, build), "name        right");
        assert_eq!(drawn(10, build), "name      ");
        assert_eq!(drawn(3, build), "na…");
    }

    #[test]
    fn a_box_leaves_no_half_of_a_wide_character() {
        let mut buf = Buffer::empty(Rect::new(0, 0, 10, 3));
        buf.set_string(0, 1, "温度計温度", Style::new());
        draw_box(&mut buf, Rect::new(3, 0, 6, 3), &Glyphs::UNICODE, span("", Style::new()), Style::new(), Style::new());
        let line: Vec<_> = (0..10).map(|x| buf[(x, 1)].symbol()).collect();
        assert_eq!(line, ["温", " ", " ", "│", " ", " ", " ", " ", "│", " "]);
    }

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("unbreakable", 3), ["unbreakable"]);
    }
}
