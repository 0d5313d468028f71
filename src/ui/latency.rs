//! Defines the latency view: percentiles, a histogram, and a map of when answers took how long, of the fleet or of what the filter shows; what is measured is the model's matter.

use std::time::Duration;

use ratatui::{buffer::Buffer, layout::Rect, text::Span};

use crate::{
    model::{BUCKETS, Heat, Slice, Survey, begin},
    ui::{
        Screen, filter, histogram, inset,
        layout::Layout,
        paint::{Strip, clear, from, nth_line, put, put_right, put_short, span},
    },
    words::figures,
};

/// From this width on, the histogram and the map stand side by side.
const WIDE: u16 = 160;
/// The columns of a scale and its line.
const SCALE: u16 = 8;

/// Draws it over the table and the log; the fleet's head and the lowest lines stay in sight.
pub(super) fn draw(screen: &Screen, buf: &mut Buffer, layout: &Layout) {
    let Some(survey) = screen.model.latency_view() else { return };
    let area = layout.pane(buf.area);
    clear(buf, area, screen.theme.text);
    let area = inset(area);
    title(screen, buf, nth_line(area, 0), survey);
    percentiles(screen, buf, nth_line(area, 1), survey);
    let air = u16::from(area.height >= 18);
    let rest = Rect { y: area.y + 2 + air, height: area.height.saturating_sub(2 + air), ..area };
    if survey.histogram.is_empty() {
        put(buf, nth_line(rest, 0), "no answers yet", screen.theme.dim);
        return;
    }
    if area.width + 2 >= WIDE {
        let map_width = (Heat::SLICES as u16 + SCALE).min(rest.width * 2 / 3);
        let left = Rect { width: rest.width - map_width - 3, ..rest };
        // Higher than a third of its width it would be a tower.
        let height = left.height.min(left.width / 3 + histogram::FEET);
        histogram::draw(screen, buf, Rect { height, ..left }, &survey.histogram);
        let below = height + 1;
        let rest_of_left = Rect { y: left.y + below, height: left.height.saturating_sub(below), ..left };
        places(screen, buf, rest_of_left, survey);
        map(screen, buf, Rect { x: left.right() + 3, width: map_width, ..rest }, survey);
    } else {
        let high = (rest.height * 2 / 5).max(histogram::FEET + 1);
        histogram::draw(screen, buf, Rect { height: high, ..rest }, &survey.histogram);
        let gap = u16::from(rest.height >= 20);
        let below = high + gap;
        map(screen, buf, Rect { y: rest.y + below, height: rest.height.saturating_sub(below), ..rest }, survey);
    }
}

fn title(screen: &Screen, buf: &mut Buffer, line: Rect, survey: &Survey) {
    let theme = screen.theme;
    let mut strip = Strip::new(2);
    strip.left(0, [span("latency", theme.title)]);
    let clients = figures::clients(survey.clients);
    if survey.is_filtered {
        let mut spans = filter::name(screen, 24);
        spans.push(span(format!("  {clients}"), theme.text));
        strip.left(1, spans);
    } else {
        strip.left(1, [span(clients, theme.text)]);
    }
    if let Some(frozen) = screen.model.frozen() {
        strip.left(0, [span(format!(" FROZEN {} ", screen.clock(frozen.at)), theme.frozen)]);
    }
    let answers = figures::count(survey.histogram.total());
    strip.right(2, [span(format!("{answers} answers in {}", figures::age(survey.span)), theme.dim)]);
    strip.draw(buf, line);
}

fn percentiles(screen: &Screen, buf: &mut Buffer, line: Rect, survey: &Survey) {
    let theme = screen.theme;
    let Some(latency) = survey.histogram.latency() else { return };
    let mut strip = Strip::new(3);
    let named = [("p50", latency.p50, 1), ("p90", latency.p90, 3), ("p99", latency.p99, 0), ("max", latency.max, 2)];
    for (name, value, rank) in named {
        strip.left(rank, [span(format!("{name} "), theme.dim), span(figures::latency(value), theme.text)]);
    }
    if survey.lost > 0 {
        let share = survey.lost as f64 / (survey.histogram.total() + survey.lost) as f64;
        let text = format!("{} ({:.2} %)", figures::count(survey.lost), share * 100.0);
        strip.left(2, [span("lost ", theme.dim), span(text, theme.warning)]);
    }
    strip.draw(buf, line);
}

/// Endpoints and labels as a table, the slowest first.
fn places(screen: &Screen, buf: &mut Buffer, area: Rect, survey: &Survey) {
    const FIGURE: u16 = 8;
    let theme = screen.theme;
    if area.height < 3 || survey.places.len() < 2 {
        return;
    }
    let column = |line: Rect, n: u16| Rect { x: line.right().saturating_sub(FIGURE * (4 - n)), width: FIGURE, ..line };
    for (n, name) in (0..).zip(["p50", "p90", "p99", "max"]) {
        put_right(buf, column(nth_line(area, 0), n), name, theme.dim);
    }
    for (n, place) in (1..area.height).zip(&survey.places) {
        let line = nth_line(area, n);
        put_short(buf, Rect { width: line.width.saturating_sub(FIGURE * 4), ..line }, &place.name, theme.text);
        let latency = &place.latency;
        for (n, value) in (0..).zip([latency.p50, latency.p90, latency.p99, latency.max]) {
            put_right(buf, column(line, n), &figures::latency(value), theme.text);
        }
    }
}

/// Time from left to right, latency from the bottom to the top, and shades for how many.
fn map(screen: &Screen, buf: &mut Buffer, area: Rect, survey: &Survey) {
    let (theme, glyphs) = (screen.theme, screen.glyphs);
    let columns = usize::from(area.width.saturating_sub(SCALE)).min(Heat::SLICES);
    let slices = &survey.slices[survey.slices.len().saturating_sub(columns)..];
    let has_losses = slices.iter().flatten().any(|slice| slice.lost > 0);
    let feet = 1 + u16::from(has_losses);
    let Some(rows) = Rows::of(slices, area.height.saturating_sub(feet)) else { return };
    let sums: Vec<Vec<u32>> = slices.iter().map(|slice| rows.sums(slice.as_ref())).collect();
    let most = sums.iter().flatten().copied().max().unwrap_or(0);
    for n in 0..rows.count {
        let line = nth_line(area, rows.count - 1 - n);
        if let Some(mark) = rows.mark(n) {
            let scale = Rect { width: SCALE - 2, ..line };
            put_right(buf, scale, &figures::latency_mark(mark), theme.dim);
        }
        put(buf, Rect { x: line.x + SCALE - 1, width: 1, ..line }, glyphs.bar, theme.border);
        for (x, sums) in sums.iter().enumerate() {
            let Some(level) = level(sums[usize::from(n)], most, glyphs.shades.len()) else { continue };
            let style = if level >= glyphs.shades.len() / 2 { theme.text } else { theme.trend };
            let cell = Rect { x: line.x + SCALE + x as u16, width: 1, ..line };
            put(buf, cell, glyphs.shades[level], style);
        }
    }
    let mut feet = (rows.count..).map(|n| nth_line(area, n));
    if has_losses {
        let line = feet.next().unwrap_or_default();
        put_right(buf, Rect { width: SCALE - 2, ..line }, "lost", theme.dim);
        for (x, slice) in slices.iter().enumerate() {
            if slice.as_ref().is_some_and(|slice| slice.lost > 0) {
                put(buf, Rect { x: line.x + SCALE + x as u16, width: 1, ..line }, glyphs.gap, theme.failed);
            }
        }
    }
    let line = feet.next().unwrap_or_default();
    let axis =
        Rect { width: (slices.len() as u16).min(line.width.saturating_sub(SCALE)), ..from(line, line.x + SCALE) };
    let long = Heat::WIDTH * slices.len() as u32;
    let left: Vec<Span> = match survey.is_filtered {
        true => vec![
            span(format!("{} ago", figures::age(long)), theme.dim),
            span("  slowest of each probe interval", theme.dim),
        ],
        false => vec![span(format!("{} ago", figures::age(long)), theme.dim)],
    };
    let mut strip = Strip::new(2);
    strip.left(1, left);
    strip.right(0, [span("now", theme.dim)]);
    strip.draw(buf, axis);
}

/// How coarse buckets become lines.
struct Rows {
    first: usize,
    /// Coarse buckets in a line.
    fold: usize,
    count: u16,
}

impl Rows {
    fn of(slices: &[Option<Slice>], height: u16) -> Option<Rows> {
        let used =
            |bucket: &usize| slices.iter().flatten().any(|slice| slice.counts().get(*bucket).is_some_and(|n| *n > 0));
        let first = (0..Slice::BUCKETS).find(used)?;
        let last = (0..Slice::BUCKETS).rfind(used)?;
        let buckets = last - first + 1;
        let fold = buckets.div_ceil(usize::from(height.max(1)));
        let count = buckets.div_ceil(fold) as u16;
        (height > 0).then_some(Rows { first, fold, count })
    }

    /// The power of ten in a line, the lowest line being 0.
    fn mark(&self, n: u16) -> Option<Duration> {
        let begin = |n: u16| begin(((self.first + usize::from(n) * self.fold) * Slice::FOLD).min(BUCKETS));
        let powers = (1..8).map(|power| Duration::from_micros(10u64.pow(power)));
        powers.into_iter().find(|mark| (begin(n)..begin(n + 1)).contains(mark))
    }

    /// What falls into each line, the lowest first.
    fn sums(&self, slice: Option<&Slice>) -> Vec<u32> {
        let counts = slice.map_or(&[][..], |slice| slice.counts());
        let line = |n: u16| {
            let begin = self.first + usize::from(n) * self.fold;
            counts.iter().skip(begin).take(self.fold).sum()
        };
        (0..self.count).map(line).collect()
    }
}

/// The shade of a count: by its square root, so that a few slow ones are seen beside many fast ones.
fn level(count: u32, most: u32, levels: usize) -> Option<usize> {
    let share = (f64::from(count) / f64::from(most.max(1))).sqrt();
    (count > 0).then(|| ((share * levels as f64).ceil() as usize).clamp(1, levels) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_slow_answer_is_seen_beside_a_thousand_fast_ones() {
        assert_eq!(level(0, 1_000, 4), None);
        assert_eq!([1, 200, 1_000].map(|count| level(count, 1_000, 4)), [Some(0), Some(1), Some(3)]);
        assert_eq!(level(1, 1, 4), Some(3));
    }

    #[test]
    fn lines_have_all_answers() {
        let mut slice = Slice::default();
        for n in 0..40 {
            slice.record(Duration::from_secs_f64(0.0003 * 1.25f64.powi(n)));
        }
        for height in 1..60 {
            let rows = Rows::of(&[None, Some(slice.clone())], height).unwrap();
            assert!(rows.count <= height);
            assert_eq!(rows.sums(Some(&slice)).iter().sum::<u32>(), 40);
            assert!(rows.sums(None).iter().all(|n| *n == 0));
        }
        assert!(Rows::of(&[None], 9).is_none() && Rows::of(&[Some(slice)], 0).is_none());
    }
}
