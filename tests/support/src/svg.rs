//! Defines pictures of screens: cells, from a drawing or from a terminal's emulation, become SVG, and that becomes PNG; what is on the screen is the caller's matter.

use std::fmt::Write;

use ratatui::{
    buffer::Buffer,
    style::{Color, Modifier},
};
use resvg::{tiny_skia, usvg};

/// A screen full of cells.
pub struct Picture {
    pub width: u16,
    pub height: u16,
    /// Line by line.
    pub cells: Vec<Cell>,
    /// Where the terminal's cursor is, if it shows: column and line.
    pub cursor: Option<(u16, u16)>,
}

/// One cell; the second half of a wide character has no text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cell {
    pub text: String,
    pub fg: Option<[u8; 3]>,
    pub bg: Option<[u8; 3]>,
    pub bold: bool,
    pub dim: bool,
    pub underlined: bool,
    pub reversed: bool,
}

/// The sixteen colors, and what stands where no color was asked for.
const PALETTE: [[u8; 3]; 16] = [
    [0x2a, 0x2e, 0x37],
    [0xf0, 0x71, 0x78],
    [0x8f, 0xc7, 0x7b],
    [0xe6, 0xc0, 0x6c],
    [0x6c, 0xa6, 0xf0],
    [0xcf, 0x8e, 0xe8],
    [0x5f, 0xc9, 0xd8],
    [0xc8, 0xce, 0xd8],
    [0x6a, 0x73, 0x83],
    [0xff, 0x8b, 0x92],
    [0xa8, 0xe0, 0x94],
    [0xff, 0xd8, 0x85],
    [0x8b, 0xbd, 0xff],
    [0xe2, 0xa9, 0xfa],
    [0x7d, 0xe3, 0xf0],
    [0xff, 0xff, 0xff],
];
const FOREGROUND: [u8; 3] = [0xd5, 0xd9, 0xe0];
const BACKGROUND: [u8; 3] = [0x16, 0x18, 0x1d];

/// DejaVu Sans Mono: every glyph is 0.602 em wide, so that a cell is a whole number of units.
const SIZE: f64 = 14.95;
const CELL_WIDTH: f64 = 9.0;
const CELL_HEIGHT: f64 = 19.0;
const BASELINE: f64 = 14.5;
const MARGIN: f64 = 12.0;
const FONTS: &str = "DejaVu Sans Mono, Menlo, Consolas, monospace";

fn indexed(n: u8) -> [u8; 3] {
    match n {
        0..16 => PALETTE[n as usize],
        16..232 => {
            let n = n - 16;
            [n / 36, n / 6 % 6, n % 6].map(|v| if v == 0 { 0 } else { v * 40 + 55 })
        }
        _ => [(n - 232) * 10 + 8; 3],
    }
}

fn ratatui_color(color: Color) -> Option<[u8; 3]> {
    let n = match color {
        Color::Reset => return None,
        Color::Rgb(r, g, b) => return Some([r, g, b]),
        Color::Indexed(n) => n,
        Color::Black => 0,
        Color::Red => 1,
        Color::Green => 2,
        Color::Yellow => 3,
        Color::Blue => 4,
        Color::Magenta => 5,
        Color::Cyan => 6,
        Color::Gray => 7,
        Color::DarkGray => 8,
        Color::LightRed => 9,
        Color::LightGreen => 10,
        Color::LightYellow => 11,
        Color::LightBlue => 12,
        Color::LightMagenta => 13,
        Color::LightCyan => 14,
        Color::White => 15,
    };
    Some(indexed(n))
}

fn vt100_color(color: vt100::Color) -> Option<[u8; 3]> {
    match color {
        vt100::Color::Default => None,
        vt100::Color::Idx(n) => Some(indexed(n)),
        vt100::Color::Rgb(r, g, b) => Some([r, g, b]),
    }
}

impl Picture {
    pub fn of_buffer(buffer: &Buffer, cursor: Option<(u16, u16)>) -> Picture {
        let (width, height) = (buffer.area.width, buffer.area.height);
        let mut cells: Vec<Cell> = buffer
            .content
            .iter()
            .map(|cell| Cell {
                text: cell.symbol().to_owned(),
                fg: ratatui_color(cell.fg),
                bg: ratatui_color(cell.bg),
                bold: cell.modifier.contains(Modifier::BOLD),
                dim: cell.modifier.contains(Modifier::DIM),
                underlined: cell.modifier.contains(Modifier::UNDERLINED),
                reversed: cell.modifier.contains(Modifier::REVERSED),
            })
            .collect();
        for i in 0..cells.len() {
            let is_wide = unicode_width::UnicodeWidthStr::width(cells[i].text.as_str()) > 1;
            if is_wide && (i + 1) % usize::from(width) != 0 {
                cells[i + 1] = Cell { text: String::new(), ..cells[i].clone() };
            }
        }
        Picture { width, height, cells, cursor }
    }

    pub fn of_screen(screen: &vt100::Screen) -> Picture {
        let (height, width) = screen.size();
        let (height, width) = (height.get(), width.get());
        let mut cells = Vec::with_capacity(usize::from(width) * usize::from(height));
        for y in 0..height {
            for x in 0..width {
                cells.push(screen.cell(y, x).map_or_else(Cell::default, |cell| Cell {
                    text: if cell.has_contents() || cell.is_wide_continuation() {
                        cell.contents().to_owned()
                    } else {
                        " ".to_owned()
                    },
                    fg: vt100_color(cell.fgcolor()),
                    bg: vt100_color(cell.bgcolor()),
                    bold: cell.bold(),
                    dim: cell.dim(),
                    underlined: cell.underline(),
                    reversed: cell.inverse(),
                }));
            }
        }
        let (y, x) = screen.cursor_position();
        Picture { width, height, cells, cursor: (!screen.hide_cursor()).then_some((x, y)) }
    }

    fn line(&self, y: u16) -> &[Cell] {
        let width = usize::from(self.width);
        &self.cells[usize::from(y) * width..][..width]
    }

    /// The screen as SVG. Runs of one look are one element, but every run stands at its column and is
    /// as wide as its cells, so that a viewer's other font cannot shift anything.
    pub fn svg(&self) -> String {
        let width = f64::from(self.width) * CELL_WIDTH + 2.0 * MARGIN;
        let height = f64::from(self.height) * CELL_HEIGHT + 2.0 * MARGIN;
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {width:.2} {height:.2}\" font-family=\"{FONTS}\" font-size=\"{SIZE}\">\n\
             <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{}\"/>\n",
            hex(self.page())
        );
        for y in 0..self.height {
            self.backgrounds(&mut out, y);
        }
        for y in 0..self.height {
            self.texts(&mut out, y);
        }
        if let Some((x, y)) = self.cursor {
            let (x, y) = (left(x), top(y));
            let fill = hex(FOREGROUND);
            let _ =
                writeln!(out, "<rect x=\"{x:.2}\" y=\"{y:.2}\" width=\"2\" height=\"{CELL_HEIGHT}\" fill=\"{fill}\"/>");
        }
        out.push_str("</svg>\n");
        out
    }

    /// What the picture stands on: the background of its corner.
    fn page(&self) -> [u8; 3] {
        self.cells.first().and_then(|cell| cell.bg).unwrap_or(BACKGROUND)
    }

    fn backgrounds(&self, out: &mut String, y: u16) {
        let mut x = 0;
        for run in self.line(y).chunk_by(|a, b| a.colors().1 == b.colors().1) {
            let background = run[0].colors().1;
            if background != self.page() {
                rect(out, left(x), top(y), run.len() as f64 * CELL_WIDTH, CELL_HEIGHT, &hex(background));
            }
            x += run.len() as u16;
        }
    }

    fn texts(&self, out: &mut String, y: u16) {
        let mut x = 0;
        let joins = |a: &Cell, b: &Cell| a.is_word() && b.is_word() && a.look() == b.look();
        for run in self.line(y).chunk_by(joins) {
            let cell = &run[0];
            let fill = hex(cell.colors().0);
            let columns = run.len() as f64 * CELL_WIDTH;
            if cell.underlined {
                rect(out, left(x), top(y) + CELL_HEIGHT - 1.5, columns, 1.0, &fill);
            }
            let text: String = run.iter().map(|c| c.text.as_str()).collect();
            if !text.trim().is_empty() && !drawn(out, &text, left(x), top(y), &fill) {
                let weight = if cell.bold { " font-weight=\"bold\"" } else { "" };
                let length = if run.len() > 1 { format!(" textLength=\"{columns:.2}\"") } else { String::new() };
                let _ = writeln!(
                    out,
                    "<text x=\"{:.2}\" y=\"{:.2}\"{length}{weight} fill=\"{fill}\">{}</text>",
                    left(x),
                    top(y) + BASELINE,
                    escaped(&text)
                );
            }
            x += run.len() as u16;
        }
    }
}

impl Cell {
    /// Foreground and background as they are seen.
    fn colors(&self) -> ([u8; 3], [u8; 3]) {
        let (mut fg, mut bg) = (self.fg.unwrap_or(FOREGROUND), self.bg.unwrap_or(BACKGROUND));
        if self.dim {
            fg = [0, 1, 2].map(|i| ((u32::from(fg[i]) * 11 + u32::from(bg[i]) * 9) / 20) as u8);
        }
        if self.reversed {
            std::mem::swap(&mut fg, &mut bg);
        }
        (fg, bg)
    }

    fn look(&self) -> ([u8; 3], bool, bool) {
        (self.colors().0, self.bold, self.underlined)
    }

    fn is_word(&self) -> bool {
        self.text.len() == 1 && self.text != " "
    }
}

fn left(x: u16) -> f64 {
    MARGIN + f64::from(x) * CELL_WIDTH
}

fn top(y: u16) -> f64 {
    MARGIN + f64::from(y) * CELL_HEIGHT
}

fn rect(out: &mut String, x: f64, y: f64, width: f64, height: f64, fill: &str) {
    let _ =
        writeln!(out, "<rect x=\"{x:.2}\" y=\"{y:.2}\" width=\"{width:.2}\" height=\"{height:.2}\" fill=\"{fill}\"/>");
}

/// Draws blocks and lines as shapes that fill their cells, as terminals do.
fn drawn(out: &mut String, text: &str, x: f64, y: f64, fill: &str) -> bool {
    let mut chars = text.chars();
    let (Some(c), None) = (chars.next(), chars.next()) else { return false };
    let (right, bottom) = (x + CELL_WIDTH, y + CELL_HEIGHT);
    let (mid_x, mid_y) = (x + CELL_WIDTH / 2.0, y + CELL_HEIGHT / 2.0);
    let mut line = |x1: f64, y1: f64, x2: f64, y2: f64| {
        rect(out, x1 - 0.5, y1 - 0.5, x2 - x1 + 1.0, y2 - y1 + 1.0, fill);
    };
    match c {
        '▁'..='█' => {
            let height = CELL_HEIGHT * f64::from(c as u32 - 0x2580) / 8.0;
            rect(out, x, bottom - height, CELL_WIDTH, height, fill);
        }
        '─' => line(x, mid_y, right, mid_y),
        '━' => rect(out, x, mid_y - 1.5, CELL_WIDTH, 3.0, fill),
        '│' => line(mid_x, y, mid_x, bottom),
        '┌' => {
            line(mid_x, mid_y, right, mid_y);
            line(mid_x, mid_y, mid_x, bottom);
        }
        '┐' => {
            line(x, mid_y, mid_x, mid_y);
            line(mid_x, mid_y, mid_x, bottom);
        }
        '└' => {
            line(mid_x, mid_y, right, mid_y);
            line(mid_x, y, mid_x, mid_y);
        }
        '┘' => {
            line(x, mid_y, mid_x, mid_y);
            line(mid_x, y, mid_x, mid_y);
        }
        _ => return false,
    }
    true
}

fn hex([r, g, b]: [u8; 3]) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// An SVG as PNG, `scale` pixels a unit, with the fonts of this system.
pub fn png(svg: &str, scale: f32) -> Vec<u8> {
    let mut options = usvg::Options::default();
    options.fontdb_mut().load_system_fonts();
    let tree = usvg::Tree::from_str(svg, &options).expect("our own SVG is well-formed");
    let size = tree.size().to_int_size().scale_by(scale).expect("a screen is not empty");
    let mut pixels = tiny_skia::Pixmap::new(size.width(), size.height()).expect("a screen is not empty");
    resvg::render(&tree, tiny_skia::Transform::from_scale(scale, scale), &mut pixels.as_mut());
    pixels.encode_png().expect("memory to write to")
}
