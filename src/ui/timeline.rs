//! Defines the timeline of a replay: what the player does, where it is, and where in the recording the trouble was; going elsewhere is the player's matter.

use ratatui::{buffer::Buffer, layout::Rect};

use crate::{
    clock::Moment,
    model::{Motion, Stretch, Timeline},
    ui::{
        Screen, inset,
        paint::{Strip, from, nth_line, put, span, width},
    },
    words::figures,
};

/// Columns between two times of the scale.
const MARK_EVERY: u16 = 20;

pub(super) fn draw(screen: &Screen, buf: &mut Buffer, area: Rect, timeline: &Timeline) {
    let line = inset(nth_line(area, 0));
    let theme = screen.theme;
    let (word, style) = match timeline.motion {
        Motion::Playing => (format!("playing {}x", timeline.speed), theme.info),
        Motion::Paused => (format!("paused {}x", timeline.speed), theme.warning),
        Motion::Seeking(Some(percent)) => (format!("seeking {percent} %"), theme.warning),
        Motion::Seeking(None) => ("seeking".to_owned(), theme.warning),
        Motion::Ended => ("ended".to_owned(), theme.warning),
    };
    let mut strip = Strip::new(2);
    // As wide as the longest of them: the bar must not move.
    strip.left(0, [span(format!("{word:<13}"), style)]);
    strip.left(1, [span(screen.clock(screen.now), theme.title)]);
    let passed = figures::clock(screen.now.since(timeline.begin));
    let whole = figures::clock(timeline.end.since(timeline.begin));
    strip.right(2, [span(format!("{passed:>0$} / {whole}", whole.len()), theme.dim)]);
    let free = strip.draw(buf, line);
    let bar = Rect { width: free.width.saturating_sub(2), ..free };
    if bar.width < 8 {
        return;
    }
    let scale = Scale { begin: timeline.begin, end: timeline.end, columns: bar.width };
    draw_bar(screen, buf, bar, timeline, &scale);
    draw_marks(screen, buf, Rect { x: bar.x, width: bar.width, ..nth_line(area, 1) }, &scale);
}

/// Which column of a bar stands for which time.
struct Scale {
    begin: Moment,
    end: Moment,
    columns: u16,
}

impl Scale {
    fn column(&self, at: Moment) -> u16 {
        let whole = self.end.since(self.begin).as_micros().max(1);
        let column = at.since(self.begin).as_micros() * u128::from(self.columns) / whole;
        column.min(u128::from(self.columns) - 1) as u16
    }

    fn time(&self, column: u16) -> Moment {
        self.begin + self.end.since(self.begin) * u32::from(column) / u32::from(self.columns)
    }
}

/// How many clients were lost, or were not well: the more of them the higher.
fn draw_bar(screen: &Screen, buf: &mut Buffer, bar: Rect, timeline: &Timeline, scale: &Scale) {
    let (theme, glyphs) = (screen.theme, screen.glyphs);
    let mut cells = vec![Stretch::default(); bar.width.into()];
    let shown = |s: &&Stretch| s.last >= timeline.begin && s.first <= timeline.end;
    for stretch in timeline.stretches.iter().filter(shown) {
        for cell in &mut cells[scale.column(stretch.first).into()..=scale.column(stretch.last).into()] {
            cell.lost = cell.lost.saturating_add(stretch.lost);
            cell.slow = cell.slow.max(stretch.slow);
            cell.down = cell.down.max(stretch.down);
        }
    }
    let height = |cell: &Stretch| cell.lost.max(cell.slow.saturating_add(cell.down));
    let most = cells.iter().map(height).max().unwrap_or(0);
    // A few clients that are never well must not make the whole bar look grave.
    let few = screen.clients() as u32 / 20;
    for (n, cell) in cells.iter().enumerate() {
        let style = match cell {
            Stretch { lost: 1.., .. } => theme.failed,
            Stretch { slow, down, .. } if slow.saturating_add(*down) <= few => theme.dim,
            Stretch { slow, down, .. } if down >= slow => theme.waiting,
            _ => theme.slow,
        };
        let glyph = match height(cell) {
            0 => glyphs.rule,
            height => glyphs.ramp[step(height, most, glyphs.ramp.len())],
        };
        put(buf, Rect { x: bar.x + n as u16, width: 1, ..bar }, glyph, style);
    }
    let x = bar.x + scale.column(screen.now.clamp(timeline.begin, timeline.end));
    buf[(x, bar.y)].reset();
    put(buf, Rect { x, width: 1, ..bar }, " ", theme.text.patch(theme.selection));
}

/// How high a bar is for so many clients: on a scale of the square root, so that a few are seen
/// beside a storm.
fn step(count: u32, most: u32, steps: usize) -> usize {
    let share = (f64::from(count) / f64::from(most.max(1))).sqrt();
    ((share * (steps - 1) as f64).round() as usize).min(steps - 1)
}

/// Times under the bar.
fn draw_marks(screen: &Screen, buf: &mut Buffer, line: Rect, scale: &Scale) {
    let mut free = line.x;
    for column in (0..line.width).step_by(MARK_EVERY.into()) {
        let clock = screen.clock(scale.time(column));
        let text = format!("{}{clock}", screen.glyphs.ascending);
        let x = line.x + column;
        if x >= free && x + width(&text) <= line.right() {
            free = put(buf, from(line, x), &text, screen.theme.dim) + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_are_seen_beside_a_storm() {
        assert_eq!([1, 10, 100, 1_000].map(|count| step(count, 1_000, 8)), [0, 1, 2, 7]);
        assert_eq!(step(1, 1, 8), 7);
    }

    #[test]
    fn every_time_has_its_column() {
        let scale = Scale { begin: Moment(1_000), end: Moment(2_000), columns: 10 };
        assert_eq!([1_000, 1_099, 1_100, 1_999, 2_000].map(|at| scale.column(Moment(at))), [0, 0, 1, 9, 9]);
        assert_eq!((scale.column(Moment(0)), scale.column(Moment(u64::MAX))), (0, 9));
        assert_eq!(scale.time(5), Moment(1_500));
        let nothing = Scale { begin: Moment(5), end: Moment(5), columns: 10 };
        assert_eq!(nothing.column(Moment(5)), 0);
    }
}
