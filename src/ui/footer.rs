//! Defines the two lowest lines: the notice (a toast, or the demo's trouble), and the line of keys, which is also where text is typed and small questions are asked.

use std::ops::Range;

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
    style::{Modifier, Style},
    text::Span,
};
use tui_input::Input;

use crate::{
    action::{Action, Hint, Scope},
    event::{JobState, Level},
    model::{Confirm, Mode, Motion},
    query,
    text::{Scrubbed, ellipsize},
    ui::{
        Screen, choice, dialog, header, inset,
        layout::Layout,
        paint::{Strip, from, put, put_short, span, width},
        palette,
    },
    words::{self, figures},
};

pub(super) fn draw(screen: &Screen, buf: &mut Buffer, layout: &Layout) -> Option<Position> {
    let line = inset(layout.hints);
    if let Mode::Filter(input) = screen.model.mode()
        && let Some(above) = layout.notice.filter(|_| helps(screen))
    {
        return Some(filter_with_help(screen, buf, line, inset(above), input));
    }
    // Where the insight has no line of its own, it has a part of the notice: it says more than the gates.
    let has_own = layout.insight.is_some();
    let is_noticed = layout.notice.is_some_and(|line| notice(screen, buf, inset(line), has_own));
    match screen.model.mode() {
        Mode::Filter(input) => return Some(filter(screen, buf, line, input)),
        Mode::GoTo(input) => return Some(go_to(screen, buf, line, input)),
        Mode::Command(input) => return Some(palette::line(screen, buf, line, input)),
        Mode::Sort(column) => choice::sort(screen, buf, line, *column),
        Mode::Cause { causes, at } => choice::cause(screen, buf, line, causes, *at),
        Mode::Confirm(confirm) if confirm.is_small() => ask(screen, buf, line, confirm),
        // Where there is no line for notices, a toast is worth more than hints.
        _ if !is_noticed && layout.notice.is_none() && screen.model.toast().is_some() => {
            notice(screen, buf, line, true);
        }
        _ => hints(screen, buf, line),
    }
    None
}

/// Draws what there is to say, and whether there was anything; the insight where that `has_own` line not.
fn notice(screen: &Screen, buf: &mut Buffer, line: Rect, has_own: bool) -> bool {
    let theme = screen.theme;
    if let Some(toast) = screen.model.toast() {
        let style = match toast.level {
            Level::Info => theme.info,
            Level::Warning => theme.warning,
            Level::Error => theme.error,
        };
        put_short(buf, line, &Scrubbed::new(&toast.text), style);
        return true;
    }
    let insight = if has_own { None } else { header::causes(screen) };
    // What is wrong is worth more than what the demo does to make it so.
    let room = insight.as_ref().map_or(u16::MAX, |insight| line.width.saturating_sub(width(&insight.content) + 8));
    let share = if insight.is_some() { line.width } else { line.width / 2 };
    let gates = insight
        .or_else(|| job(screen))
        .or_else(|| gates(screen).map(|text| span(Scrubbed::new(&text).to_string(), theme.warning)));
    let mut rest = line;
    if let Some(trouble) = screen.model.live().trouble().filter(|trouble| width(trouble) <= room) {
        let x = put(buf, line, "demo: ", theme.dim);
        let gates_width = gates.as_ref().map_or(0, |text| width(&text.content) + 2).min(share);
        let room = Rect { width: line.width.saturating_sub(gates_width), ..line };
        put_short(buf, from(room, x), trouble, theme.trouble);
        rest = from(line, room.right() + 2);
    }
    let trouble = screen.model.live().trouble();
    let said = gates.or_else(|| header::well(screen).filter(|_| !has_own && trouble.is_none()));
    if let Some(text) = &said {
        put(buf, rest, &text.content, text.style);
    }
    said.is_some() || trouble.is_some()
}

/// The newest job that is not over, and how far it is.
fn job(screen: &Screen) -> Option<Span<'static>> {
    let job = screen.model.live().jobs().into_iter().map(|row| row.job).find(|job| !job.state.is_over())?;
    let style = if job.state == JobState::Running { screen.theme.info } else { screen.theme.warning };
    Some(span(words::job::progress(&job), style))
}

/// The endpoints that let nobody through, or where clients queue.
fn gates(screen: &Screen) -> Option<String> {
    let said = screen.fleet.endpoint_keys().filter_map(|key| {
        let gate = screen.model.live().gate(key)?;
        words::gate(&screen.fleet.endpoint(key).name, gate)
    });
    let said: Vec<String> = said.collect();
    (!said.is_empty()).then(|| said.join("; "))
}

/// The keys of one action as hints show them: the first of them, or both of a pair.
pub(super) fn keys(screen: &Screen, actions: &[Action]) -> String {
    actions.iter().filter_map(|a| screen.context.keymap.keys(*a).first()).map(|k| k.to_string()).collect()
}

fn hint(screen: &Screen, actions: &[Action], word: &'static str) -> Option<[Span<'static>; 2]> {
    let keys = keys(screen, actions);
    (!keys.is_empty()).then(|| [span(keys, screen.theme.key), span(format!(" {word}"), screen.theme.dim)])
}

fn hints(screen: &Screen, buf: &mut Buffer, line: Rect) {
    let model = screen.model;
    let mode = model.mode();
    let mut strip = Strip::new(2);
    let mut add = |rank: u8, actions: &[Action], word: &'static str| {
        if let Some(spans) = hint(screen, actions, word) {
            strip.left(rank, spans);
        }
    };
    let is_playing = screen.context.timeline.is_some_and(|timeline| timeline.motion == Motion::Playing);
    let way_back = match mode {
        Mode::Events if !model.events().text().is_empty() => Some("clear filter"),
        Mode::Events if model.events().sought().is_some() => Some("end search"),
        Mode::Detail | Mode::Groups | Mode::Map | Mode::Latency => Some("back"),
        Mode::Events | Mode::Alerts | Mode::Jobs | Mode::Endpoints | Mode::Help(_) => Some("back"),
        Mode::Table if model.has_way_back() => Some("back"),
        Mode::Table if model.is_filtered() => Some("clear filter"),
        Mode::Table if model.marked().0 > 0 => Some("unmark all"),
        _ => None,
    };
    if let Some(word) = way_back {
        add(0, &[Action::Back], word);
    }
    let scope = screen.scope();
    let here = |action: &Action| action.scope().meets(scope);
    // What is special to a replay is what its operator looks for.
    let (first, then): (Vec<_>, Vec<_>) =
        Action::ALL.into_iter().filter(here).partition(|a| a.scope() == Scope::Replay);
    if matches!(mode, Mode::Groups | Mode::Map) {
        add(1, &[Action::SortPrevious, Action::SortNext], "group by");
    }
    if matches!(mode, Mode::Groups | Mode::Map | Mode::Events) {
        add(4, &[Action::PreviousUnwell, Action::NextUnwell], "not well");
    }
    for action in first.into_iter().chain(then) {
        let Some(Hint { word, rank }) = action.hint() else { continue };
        let is_here = match mode {
            Mode::Help(_) => action == Action::Quit,
            Mode::Detail if !mode.takes(action) => false,
            Mode::Detail => !matches!(action, Action::Detail | Action::Filter | Action::Sort | Action::Mark),
            // One is there.
            mode if mode.place().is_some_and(|place| place.name() == action.name()) => false,
            mode if !mode.takes(action) => false,
            Mode::Confirm(_) => false, // the box says its own
            _ => true,
        };
        match action {
            _ if !is_here => {}
            // Nothing to tell of.
            Action::Cause if model.shown().insights().is_empty() => {}
            Action::Alerts if model.shown().alerts().is_empty() => {}
            Action::Detail if matches!(mode, Mode::Groups | Mode::Map | Mode::Events | Mode::Alerts | Mode::Jobs) => {
                add(0, &[action], "show");
            }
            Action::Play if is_playing => add(rank, &[action], "pause"),
            Action::NextEvent => add(rank, &[Action::PreviousEvent, Action::NextEvent], word),
            Action::NextTrouble => add(rank, &[Action::PreviousTrouble, Action::NextTrouble], word),
            Action::Freeze if model.frozen().is_some() => add(1, &[action], "go on"),
            _ => add(rank, &[action], word),
        }
    }
    strip.draw(buf, line);
}

/// The filter as it is typed, and where its cursor is.
pub(super) fn filter(screen: &Screen, buf: &mut Buffer, line: Rect, input: &Input) -> Position {
    let strip = match screen.model.filter_line().error() {
        Some(error) => {
            let mut strip = Strip::new(2);
            let room = usize::from(line.width - line.width / 3);
            strip.right(0, [span(ellipsize(&Scrubbed::new(&error.message()), room), wrong(screen, error))]);
            strip
        }
        None => filter_keys(screen),
    };
    let field = prompt(screen, buf, line, "/", strip, input);
    underline_wrong(screen, buf, &field, input);
    field.cursor
}

/// How many match, and what the keys do.
fn filter_keys(screen: &Screen) -> Strip<'static> {
    let theme = screen.theme;
    let events = screen.model.events();
    let (shown, all) = match screen.model.screen() {
        Mode::Events => (events.shown().len() as u64, screen.model.shown().log().newest().len() as u64),
        _ => (screen.model.order().len() as u64, screen.clients()),
    };
    let count = format!("{} of {} match", figures::count(shown), figures::count(all));
    let mut strip = Strip::new(2);
    let style = if shown == 0 { theme.warning } else { theme.text };
    strip.right(0, [span(count, style)]);
    strip.right(1, [span("Enter", theme.key), span(" keep", theme.dim)]);
    strip.right(2, [span("Esc", theme.key), span(" drop", theme.dim)]);
    strip
}

/// Whether there is something to say about the filter that is typed.
fn helps(screen: &Screen) -> bool {
    let line = screen.model.filter_line();
    line.error().is_some() || !line.offered().is_empty()
}

/// The filter with a line above it: what may be meant, or what is wrong, with a caret over the place.
fn filter_with_help(screen: &Screen, buf: &mut Buffer, line: Rect, above: Rect, input: &Input) -> Position {
    let theme = screen.theme;
    let field = prompt(screen, buf, line, "/", filter_keys(screen), input);
    underline_wrong(screen, buf, &field, input);
    let filter_line = screen.model.filter_line();
    let offered = filter_line.offered();
    if !offered.is_empty() {
        let words: Vec<String> = offered.iter().map(|word| Scrubbed::new(word).to_string()).collect();
        put_short(buf, above, &words.join("  "), theme.info);
    } else if let Some(error) = filter_line.error() {
        let (style, text) = (wrong(screen, error), Scrubbed::new(&error.message()));
        let place = field.x(input.value(), error.at.start);
        put(buf, from(above, place), "v", style);
        let (right, left) = (above.right().saturating_sub(place + 2), place.saturating_sub(above.x + 1));
        if width(&text) <= right || right >= left {
            put_short(buf, from(above, place + 2), &text, style);
        } else {
            let room = width(&text).min(left);
            put_short(buf, Rect { x: place - 1 - room, width: room, ..above }, &text, style);
        }
    }
    field.cursor
}

/// What is not there yet is no error.
fn wrong(screen: &Screen, error: &query::Error) -> Style {
    if error.is_incomplete { screen.theme.info } else { screen.theme.error }
}

/// Marks what is wrong in the filter that is typed.
fn underline_wrong(screen: &Screen, buf: &mut Buffer, field: &Field, input: &Input) {
    if let Some(error) = screen.model.filter_line().error() {
        underline(buf, field, input, error.at.clone(), wrong(screen, error));
    }
}

/// Marks a part of the line that is typed, in bytes.
pub(super) fn underline(buf: &mut Buffer, field: &Field, input: &Input, at: Range<usize>, style: Style) {
    let [begin, end] = [at.start, at.end].map(|at| field.x(input.value(), at));
    buf.set_style(Rect { x: begin, width: end - begin, ..field.line }, style.add_modifier(Modifier::UNDERLINED));
}

/// The time to go to as it is typed, and where its cursor is.
pub(super) fn go_to(screen: &Screen, buf: &mut Buffer, line: Rect, input: &Input) -> Position {
    let theme = screen.theme;
    let mut strip = Strip::new(2);
    strip.right(2, [span("12:03:41, 90s, +30s, -5m", theme.dim)]);
    strip.right(0, [span("Enter", theme.key), span(" go", theme.dim)]);
    strip.right(1, [span("Esc", theme.key), span(" stay", theme.dim)]);
    prompt(screen, buf, line, "go to: ", strip, input).cursor
}

/// A line of text that is being typed, on the screen.
pub(super) struct Field {
    line: Rect,
    /// The columns of it that are scrolled out of sight.
    hidden: u16,
    cursor: Position,
}

impl Field {
    pub(super) fn cursor(&self) -> Position {
        self.cursor
    }

    /// The column of a place in its text, in bytes; that of its edge where it is out of sight.
    fn x(&self, text: &str, at: usize) -> u16 {
        let before = width(&shown(&text[..at])).saturating_sub(self.hidden);
        self.line.x + before.min(self.line.width.saturating_sub(1))
    }
}

/// A typed text without what a terminal would obey; whole, however long it is.
fn shown(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    chars.chunks(Scrubbed::MAX).map(|part| Scrubbed::new(&part.iter().collect::<String>()).to_string()).collect()
}

/// A line that is being typed behind what it is for, and what its keys do at its end.
pub(super) fn prompt(screen: &Screen, buf: &mut Buffer, line: Rect, lead: &str, keys: Strip, input: &Input) -> Field {
    let third = line.width / 3;
    let free = keys.draw(buf, from(line, line.x + third));
    let line = Rect { width: (free.right() - line.x).saturating_sub(2), ..line };
    let x = put(buf, line, lead, screen.theme.key);
    field(screen, buf, from(line, x), input)
}

/// A line of text being typed, and where its cursor is.
pub(super) fn typed(screen: &Screen, buf: &mut Buffer, line: Rect, input: &Input) -> Position {
    field(screen, buf, line, input).cursor
}

/// A line of text being typed, scrolled so that its cursor is seen.
fn field(screen: &Screen, buf: &mut Buffer, line: Rect, input: &Input) -> Field {
    let before: String = input.value().chars().take(input.cursor()).collect();
    let (before, all) = (shown(&before), shown(input.value()));
    let room = line.width.saturating_sub(1);
    let mut hidden = 0;
    let mut skipped = 0;
    for c in all.chars() {
        if width(&before) - hidden.min(width(&before)) <= room {
            break;
        }
        hidden += width(c.encode_utf8(&mut [0; 4]));
        skipped += c.len_utf8();
    }
    put(buf, line, &all[skipped..], screen.theme.text);
    let x = line.x + width(&before).saturating_sub(hidden).min(room);
    Field { line, hidden, cursor: Position { x, y: line.y } }
}

/// A question about one client.
fn ask(screen: &Screen, buf: &mut Buffer, line: Rect, confirm: &Confirm) {
    let theme = screen.theme;
    let room = usize::from(line.width.saturating_sub(20)).max(8);
    let question = format!("{}?", ellipsize(&dialog::question(screen, confirm), room));
    let mut strip = Strip::new(2);
    strip.left(0, [span(question, theme.warning), span("  y", theme.key), span(" yes", theme.dim)]);
    strip.left(0, [span(" N no ", theme.selection)]);
    if let Some(note) = dialog::hidden_note(screen, confirm) {
        strip.left(1, [span(note, theme.dim)]);
    }
    strip.draw(buf, line);
}
