//! Defines the questions that are asked in a box: what will be done to how many clients, which ones, and how to say no; what the answers do is the model's matter.

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
    style::Modifier,
    text::Span,
};

use crate::{
    action::Action,
    event::Badge,
    model::{Confirm, Typed, Wish},
    text::ellipsize,
    ui::{
        Screen, footer, header,
        paint::{Strip, centered, draw_box, from, nth_line, put, span, width},
    },
    words::{self, figures},
};

/// The box's columns, where the screen has them.
const WIDTH: u16 = 72;

/// What becomes of the marks that the filter hides.
pub(super) fn hidden_note(screen: &Screen, confirm: &Confirm) -> Option<String> {
    let n = figures::count(confirm.hidden as u64);
    let more = match confirm.hidden {
        0 => return None,
        _ if screen.width < 60 => String::new(),
        1 => " more is marked, but".to_owned(),
        _ => " more are marked, but".to_owned(),
    };
    Some(format!("{n}{more} hidden by the filter: left alone"))
}

/// Draws the box, and says where its cursor belongs, if it has one.
pub(super) fn draw(screen: &Screen, buf: &mut Buffer, confirm: &Confirm) -> Option<Position> {
    let theme = screen.theme;
    let title = question(screen, confirm);
    let mut texts: Vec<Vec<Span>> = Vec::new();
    if confirm.wish == Wish::Quit {
        let alive = screen.model.alive();
        texts.push(vec![
            span("this disconnects ", theme.text),
            span(figures::clients(alive), theme.warning),
            span(if alive == 1 { " and ends its worker" } else { " and ends their workers" }, theme.text),
        ]);
    } else {
        if let Some(effect) = effect(screen, confirm.wish) {
            texts.push(vec![span(effect, theme.text)]);
        }
        texts.extend(rolled(screen, confirm));
        texts.extend(states(screen, confirm));
        texts.push(vec![span(sample(screen, confirm, WIDTH - 6), theme.dim)]);
    }
    if screen.fleet.is_prod() {
        texts.push(vec![span("this is a production fleet", theme.prod)]);
    }
    if let Some(note) = hidden_note(screen, confirm) {
        texts.push(vec![span(note, theme.warning)]);
    }

    let height = texts.len() as u16 + 6;
    let mut area = centered(buf.area, WIDTH, height);
    // The table stays in sight above the question where there is room for both.
    area.y = (buf.area.height - area.height).min(area.y + area.height / 2);
    let style = if screen.fleet.is_prod() { theme.prod } else { theme.warning };
    let title = span(title, style.add_modifier(Modifier::BOLD));
    let inside = draw_box(buf, area, screen.glyphs, title, style, theme.text);
    // On a small screen the answers are worth more than all of it.
    let room = usize::from(inside.height.saturating_sub(4)).max(1);
    for (n, spans) in texts.iter().take(room).enumerate() {
        let mut line = indent(nth_line(inside, n as u16 + 1));
        for s in spans {
            let end = put(buf, line, &s.content, s.style);
            line = from(line, end);
        }
    }
    answers(screen, buf, indent(nth_line(inside, inside.height.saturating_sub(2))), confirm)
}

/// What is asked: `Disconnect 300 clients`, `eu-1: 150 connects a second, not 100`.
pub(super) fn question(screen: &Screen, confirm: &Confirm) -> String {
    let count = match confirm.targets.as_slice() {
        [one] => ellipsize(&screen.fleet.full_name(*one), 40),
        many => figures::clients(many.len() as u64),
    };
    let name = |endpoint| ellipsize(&screen.fleet.endpoint(endpoint).name, 24);
    match confirm.wish {
        Wish::Reconnect => format!("Reconnect {count}"),
        Wish::Disconnect => format!("Disconnect {count}"),
        Wish::Hold(endpoint) => format!("Hold {}", name(endpoint)),
        Wish::Release(endpoint) => format!("Release {}", name(endpoint)),
        Wish::Rate { endpoint, to, .. } => format!("{}: {} connects a second", name(endpoint), figures::count(to)),
        Wish::Quit => "Quit".to_owned(),
        Wish::End => format!("End the fleet {}", ellipsize(&screen.fleet.name, 24)),
    }
}

/// What an order about an endpoint does to its clients.
fn effect(screen: &Screen, wish: Wish) -> Option<String> {
    let clients =
        |key| figures::clients(screen.model.live().totals_by_endpoint().get(usize::from(key)).map_or(0, |t| t.all()));
    Some(match wish {
        Wish::Hold(key) => {
            format!("nobody connects to it any more, of {}; who is up stays up", clients(key.0))
        }
        Wish::Release(key) => format!("its clients connect again, {} in all", clients(key.0)),
        Wish::Rate { from, .. } => {
            let (down, up) = (footer::keys(screen, &[Action::RateDown]), footer::keys(screen, &[Action::RateUp]));
            format!("now {}; {up} more, {down} fewer", figures::count(from))
        }
        Wish::End => "its agent stops: every client is disconnected, for all who look at it".to_owned(),
        Wish::Reconnect | Wish::Disconnect | Wish::Quit => return None,
    })
}

/// How a job goes about it, and the keys that change that.
fn rolled(screen: &Screen, confirm: &Confirm) -> Option<Vec<Span<'static>>> {
    let theme = screen.theme;
    let roll = confirm.roll?;
    let keys = |down, up| format!(" {} {}", footer::keys(screen, &[down]), footer::keys(screen, &[up]));
    let (pace, stop) = words::job::roll_parts(roll);
    Some(vec![
        span(pace, theme.text),
        span(keys(Action::RateDown, Action::RateUp), theme.key),
        span(format!(", {stop}"), theme.text),
        span(keys(Action::SortPrevious, Action::SortNext), theme.key),
    ])
}

/// What is done when the answer is yes, in a word.
fn verb(wish: Wish) -> &'static str {
    match wish {
        Wish::Reconnect => "reconnect",
        Wish::Disconnect => "disconnect",
        Wish::Hold(_) => "hold",
        Wish::Release(_) => "release",
        Wish::Rate { .. } => "change",
        Wish::Quit => "quit",
        Wish::End => "end it",
    }
}

/// How many of the targets are in which state, in as many lines as that takes.
fn states(screen: &Screen, confirm: &Confirm) -> Vec<Vec<Span<'static>>> {
    let mut lines = vec![Vec::new()];
    let mut used = 0;
    for badge in Badge::ALL {
        let n = confirm.states.wearing(badge);
        if n == 0 {
            continue;
        }
        let [counted] = header::counted(screen, badge, &confirm.states);
        let room = WIDTH.min(screen.width) - 6;
        if used + width(&counted.content) > room && used > 0 {
            lines.push(Vec::new());
            used = 0;
        }
        used += width(&counted.content) + 3;
        if let Some(line) = lines.last_mut() {
            let gap = if line.is_empty() { "" } else { "   " };
            line.extend([span(gap, screen.theme.text), counted]);
        }
    }
    lines
}

fn answers(screen: &Screen, buf: &mut Buffer, line: Rect, confirm: &Confirm) -> Option<Position> {
    let (theme, verb) = (screen.theme, verb(confirm.wish));
    let no = screen.theme.selection;
    match &confirm.typed {
        Some(Typed { wanted, input }) => {
            let x = put(buf, line, "type ", theme.text);
            let x = put(buf, from(line, x), wanted, theme.key);
            let then = if line.width < 60 { " + Enter: ".to_owned() } else { format!(" and Enter to {verb}: ") };
            let x = put(buf, from(line, x), &then, theme.text);
            let field = Rect { width: width(wanted) + 2, ..from(line, x) }.intersection(from(line, x));
            buf.set_style(field, theme.header);
            let cursor = footer::typed(screen, buf, field, input);
            let mut strip = Strip::new(2);
            strip.right(0, [span(" Esc no ", no)]);
            let rest = from(line, field.right() + 1);
            if rest.width >= 8 {
                strip.draw(buf, rest);
            }
            Some(cursor)
        }
        None => {
            let mut strip = Strip::new(3);
            let leave = match confirm.wish {
                _ if line.width < 50 => " N no ",
                Wish::Quit => " N  no, stay ",
                wish if wish.endpoint().is_some() => " N  no, leave it ",
                _ => " N  no, leave them ",
            };
            strip.left(0, [span(leave, no)]);
            strip.left(0, [span("y", theme.key), span(format!(" yes, {verb}"), theme.text)]);
            strip.draw(buf, line);
            None
        }
    }
}

/// Some of the client IDs meant: the first ones and the last.
fn sample(screen: &Screen, confirm: &Confirm, columns: u16) -> String {
    let name = |i: usize| screen.fleet.full_name(confirm.targets[i]);
    let n = confirm.targets.len();
    let all = (0..n.min(8)).map(name).collect::<Vec<_>>().join(", ");
    if n <= 8 && width(&all) <= columns {
        return all;
    }
    let short = |i: usize| ellipsize(&name(i), 18);
    let (mut text, last) = (short(0), short(n - 1));
    for i in 1..n - 1 {
        let next = short(i);
        if width(&text) + width(&next) + width(&last) + 5 > columns {
            break;
        }
        text = format!("{text}, {next}");
    }
    format!("{text} … {last}")
}

fn indent(line: Rect) -> Rect {
    from(line, line.x + 1)
}
