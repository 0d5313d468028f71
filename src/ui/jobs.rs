//! Defines the jobs screen: a line for each job with how far it is, and below them what became of the clients of one; how a job goes is the engine's matter.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};

use crate::{
    action::Action,
    event::{Fate, Job, JobState},
    model::{JobRow, JobsView},
    text::ellipsize,
    ui::{
        Screen, footer, inset,
        layout::Layout,
        paint::{Strip, clear, from, nth_line, put, put_right, span},
    },
    words::{self, figures},
};

pub(super) fn draw(screen: &Screen, buf: &mut Buffer, layout: &Layout) {
    let area = layout.pane(buf.area);
    clear(buf, area, screen.theme.text);
    let jobs = screen.model.shown().jobs();
    title(screen, buf, inset(nth_line(area, 0)), &jobs);
    if jobs.is_empty() {
        let keys = |actions: &[Action]| footer::keys(screen, actions);
        let (mark, one, other) = (keys(&[Action::Mark]), keys(&[Action::Reconnect]), keys(&[Action::Disconnect]));
        let text = format!("no job yet: mark clients ({mark}, or :mark_all QUERY), then {one} or {other}");
        put(buf, inset(nth_line(area, 2)), &format!("  {text}"), screen.theme.dim);
        return;
    }
    heads(screen, buf, nth_line(area, 1));
    let lines = JobsView::lines(area.height.into(), jobs.len());
    let place = screen.model.job_place();
    let top = (place + 1).saturating_sub(lines);
    for (n, (at, row)) in (2..).zip(jobs.iter().enumerate().skip(top).take(lines)) {
        job(screen, buf, nth_line(area, n), &row.job, at == place);
    }
    if let Some(row) = jobs.get(place) {
        let y = area.y + 2 + lines as u16;
        results(screen, buf, Rect { y, height: area.bottom().saturating_sub(y), ..area }, row);
    }
}

fn title(screen: &Screen, buf: &mut Buffer, line: Rect, jobs: &[&JobRow]) {
    let theme = screen.theme;
    let mut strip = Strip::new(2);
    strip.left(0, [span("jobs", theme.title)]);
    if let Some(frozen) = screen.model.frozen() {
        strip.left(0, [span(format!(" FROZEN at {} ", screen.clock(frozen.at)), theme.frozen)]);
    }
    let open = jobs.iter().filter(|row| !row.job.state.is_over()).count();
    let count = format!("{} in all, {} under way", figures::count(jobs.len() as u64), figures::count(open as u64));
    strip.left(2, [span(count, theme.dim)]);
    let key = |action| footer::keys(screen, &[action]);
    let hint = |action, word: &'static str| [span(key(action), theme.key), span(format!(" {word}"), theme.dim)];
    strip.right(3, hint(Action::PauseJob, "pause, go on"));
    strip.right(4, hint(Action::CancelJob, "cancel"));
    strip.right(5, hint(Action::Undo, "take back"));
    strip.draw(buf, line);
}

/// The columns: where each begins, and how wide it is.
const JOB: (u16, u16) = (2, 6);
const DEED: (u16, u16) = (8, 11);
const CLIENTS: (u16, u16) = (19, 8);
const DONE: (u16, u16) = (28, 7);
const FAILED: (u16, u16) = (36, 7);
const LEFT: (u16, u16) = (44, 7);
const STATE: u16 = 53;
/// On a narrow screen there is no room for all counts.
const NARROW: u16 = 60;

fn cell(line: Rect, (x, width): (u16, u16)) -> Rect {
    let rest = from(line, line.x + x);
    Rect { width: width.min(rest.width), ..rest }
}

fn state_cell(line: Rect) -> Rect {
    from(line, line.x + if line.width < NARROW { CLIENTS.0 + CLIENTS.1 + 1 } else { STATE })
}

fn heads(screen: &Screen, buf: &mut Buffer, line: Rect) {
    let header = screen.theme.header;
    buf.set_style(line, header);
    put(buf, cell(line, JOB), "JOB", header);
    put(buf, cell(line, DEED), "WHAT", header);
    if line.width < NARROW {
        put_right(buf, cell(line, CLIENTS), "DONE", header);
    } else {
        put_right(buf, cell(line, CLIENTS), "CLIENTS", header);
        put_right(buf, cell(line, DONE), "DONE", header);
        put_right(buf, cell(line, FAILED), "FAILED", header);
        put_right(buf, cell(line, LEFT), "LEFT", header);
    }
    put(buf, state_cell(line), "STATE", header);
}

fn job(screen: &Screen, buf: &mut Buffer, line: Rect, job: &Job, is_chosen: bool) {
    let theme = screen.theme;
    let base = if is_chosen { theme.text.patch(theme.selection) } else { theme.text };
    let is_reversed = theme.selection.add_modifier.contains(Modifier::REVERSED);
    let on = |style: Style| if is_chosen && is_reversed { base } else { base.patch(style) };
    if is_chosen {
        buf.set_style(line, base);
        put(buf, Rect { width: 1, ..line }, screen.glyphs.cursor, base);
    }
    put(buf, cell(line, JOB), &job.id.to_string(), base);
    put(buf, cell(line, DEED), job.deed.name(), base);
    let failed = if job.failed > 0 { on(theme.failed) } else { on(theme.dim) };
    if line.width < NARROW {
        put_right(buf, cell(line, CLIENTS), &figures::count(job.done), base);
    } else {
        put_right(buf, cell(line, CLIENTS), &figures::count(job.all()), base);
        put_right(buf, cell(line, DONE), &figures::count(job.done), base);
        put_right(buf, cell(line, FAILED), &figures::count(job.failed), failed);
        put_right(buf, cell(line, LEFT), &figures::count(job.left), base);
    }
    put(buf, state_cell(line), &standing(screen, job), on(look(screen, job.state)));
}

fn look(screen: &Screen, state: JobState) -> Style {
    match state {
        JobState::Running => screen.theme.info,
        JobState::Paused => screen.theme.warning,
        JobState::Stopped => screen.theme.error,
        JobState::Done | JobState::Cancelled | JobState::Undone => screen.theme.dim,
    }
}

/// How a job stands, and for how long: `running 12s, 20 under way`, `done 12m ago, took 10s`.
fn standing(screen: &Screen, job: &Job) -> String {
    let ago = |at| figures::age(screen.now.since(at));
    if let Some(at) = job.ended {
        return format!("{} {} ago, took {}", job.state.name(), ago(at), figures::age(at.since(job.begun)));
    }
    let state = format!("{} {}", job.state.name(), ago(job.begun));
    match job.under_way {
        0 if job.state == JobState::Stopped => format!("{state}, {} failed", figures::count(job.failed)),
        0 => state,
        n => format!("{state}, {} under way", figures::count(n)),
    }
}

fn results(screen: &Screen, buf: &mut Buffer, area: Rect, row: &JobRow) {
    let theme = screen.theme;
    let head = inset(nth_line(area, 0));
    let results = row.results();
    let room = usize::from(area.height.saturating_sub(1));
    let top = screen.model.job_top().min(results.len().saturating_sub(room));
    for (n, (client, fate)) in (1..).zip(results.iter().skip(top).take(room)) {
        let line = inset(nth_line(area, n));
        let (glyph, style) = sign(screen, *fate);
        put(buf, from(line, line.x + 1), glyph, style);
        let names = (line.width / 2).clamp(12, 40);
        let name = ellipsize(&screen.fleet.client(*client).name, usize::from(names - 2));
        put(buf, Rect { width: names, ..from(line, line.x + 3) }, &name, theme.text);
        put(buf, from(line, line.x + 3 + names), &words::job::fate(row.job.deed, *fate), style);
    }
    let below = results.len().saturating_sub(top + room);
    let mut strip = Strip::new(2);
    strip.left(0, [span(format!("{}: {}", row.job.id, words::job::roll(row.job.roll)), theme.dim)]);
    if below > 0 {
        let keys = footer::keys(screen, &[Action::PageDown]);
        strip.right(1, [span(format!("{keys}: {} more", figures::count(below as u64)), theme.dim)]);
    }
    strip.draw(buf, head);
}

fn sign<'a>(screen: &'a Screen, fate: Fate) -> (&'a str, Style) {
    use crate::event::Badge;
    let badge = match fate {
        Fate::UnderWay => Badge::Connecting,
        Fate::Done => Badge::Up,
        Fate::Failed(_) => Badge::Failed,
        Fate::Skipped(_) => Badge::Off,
    };
    (screen.glyphs.badge(badge), screen.theme.badge(badge))
}
