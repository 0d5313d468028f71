//! Defines the screen that is too small for a table: how many are up and down, and, where there is room for it, the question that is asked or the word that is said.

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
    style::Style,
};

use crate::{
    event::{Badge, Level},
    model::{Confirm, Mode, Model, Typed},
    text::{Scrubbed, ellipsize},
    ui::{
        Screen, dialog, footer, header,
        layout::Layout,
        paint::{Strip, from, nth_line, put, put_right, put_short, span, width, wrap},
        palette,
    },
};

/// Whether the question that is asked is seen whole on a screen of this size; also where none is asked.
pub fn shows_question(model: &Model, context: &super::Context, area: Rect) -> bool {
    match model.mode() {
        Mode::Confirm(confirm) => {
            let screen = Screen::new(model, context, area.width);
            Layout::of(area, false, context.timeline.is_some()).is_some() || Question::of(&screen, confirm, area).fits
        }
        _ => true,
    }
}

pub(super) fn draw(screen: &Screen, buf: &mut Buffer) -> Option<Position> {
    let (area, theme) = (buf.area, screen.theme);
    let last = nth_line(area, area.height.saturating_sub(1));
    match screen.model.mode() {
        Mode::Confirm(confirm) => {
            let question = Question::of(screen, confirm, area);
            return if question.fits { question.draw(screen, buf) } else { refuse(screen, buf) };
        }
        Mode::Filter(input) if area.height > 1 => {
            counts(screen, buf, nth_line(area, 0));
            return Some(footer::filter(screen, buf, last, input));
        }
        Mode::Filter(input) => return Some(footer::filter(screen, buf, last, input)),
        Mode::GoTo(input) => return Some(footer::go_to(screen, buf, last, input)),
        Mode::Command(input) => return Some(palette::line(screen, buf, last, input)),
        _ => {}
    }
    match screen.model.toast() {
        Some(toast) => {
            let style = match toast.level {
                Level::Info => theme.info,
                Level::Warning => theme.warning,
                Level::Error => theme.error,
            };
            if area.height > 1 {
                counts(screen, buf, nth_line(area, 0));
            }
            let below = u16::from(area.height > 1);
            let lines = wrap(&Scrubbed::new(&toast.text), area.width);
            for (n, text) in (below..area.height).zip(lines) {
                put_short(buf, nth_line(area, n), &text, style);
            }
        }
        None => counts(screen, buf, nth_line(area, 0)),
    }
    None
}

/// Says that a question is asked for which there is no room: its keys are refused.
fn refuse(screen: &Screen, buf: &mut Buffer) -> Option<Position> {
    let text = if buf.area.width < 17 { "enlarge" } else { "enlarge to answer" };
    put(buf, nth_line(buf.area, 0), text, screen.theme.warning);
    None
}

fn counts(screen: &Screen, buf: &mut Buffer, line: Rect) {
    let totals = screen.model.shown().totals();
    let mut strip = Strip::new(1);
    strip.left(3, [span(ellipsize(&screen.fleet.name, 12), screen.theme.title)]);
    if screen.context.timeline.is_some() {
        strip.left(0, [span("REPLAY", screen.theme.frozen)]);
    }
    strip.left(1, header::counted(screen, Badge::Up, totals));
    if header::insecure(screen.fleet, line.width).is_some() {
        strip.left(1, [span("insecure", screen.theme.warning)]);
    }
    if let Some(down) = header::down(screen, totals) {
        strip.left(0, [down]);
    }
    for badge in [Badge::Mute, Badge::Slow].into_iter().filter(|badge| totals.wearing(*badge) > 0) {
        strip.left(2, header::counted(screen, badge, totals));
    }
    let free = strip.draw(buf, line);
    if free.width >= 10 {
        put_right(buf, from(free, free.x), "(enlarge)", screen.theme.dim);
    }
}

/// A question in as many lines as it takes.
struct Question<'a> {
    lines: Vec<String>,
    typed: Option<&'a Typed>,
    style: Style,
    fits: bool,
}

impl<'a> Question<'a> {
    fn of(screen: &Screen, confirm: &'a Confirm, area: Rect) -> Question<'a> {
        let question = dialog::question(screen, confirm);
        let alive = match confirm.wish.endpoint() {
            _ if confirm.wish == crate::model::Wish::Quit => format!(" ({} up)", screen.model.alive()),
            Some(_) => format!(" ({} clients)", confirm.targets.len()),
            None => String::new(),
        };
        let keys = match &confirm.typed {
            Some(typed) => format!("type {} Enter:", typed.wanted),
            None => "y yes, N no".to_owned(),
        };
        // The field is a word that is not broken.
        let field = confirm.typed.as_ref().map_or(0, |typed| width(&typed.wanted) + 2);
        let field = "_".repeat(field.into());
        let mut lines = wrap(format!("{question}{alive}? {keys} {field}").trim_end(), area.width);
        let is_whole = lines.iter().all(|line| width(line) <= area.width);
        let fits = is_whole && lines.len() <= usize::from(area.height);
        if let Some(last) = lines.last_mut() {
            last.truncate(last.trim_end_matches('_').trim_end().len());
        }
        let style = if screen.fleet.is_prod() { screen.theme.prod } else { screen.theme.warning };
        Question { lines, typed: confirm.typed.as_ref(), style, fits }
    }

    fn draw(&self, screen: &Screen, buf: &mut Buffer) -> Option<Position> {
        let mut rest = Rect::default();
        for (n, text) in (0..).zip(&self.lines) {
            let line = nth_line(buf.area, n);
            rest = from(line, put(buf, line, text, self.style) + 1);
        }
        self.typed.map(|typed| footer::typed(screen, buf, rest, &typed.input))
    }
}
