//! Defines sparklines: latencies against what is usual for their client over a longer time, counts on a linear scale, and the tall form with a scale of its own for the detail view.

use std::time::Duration;

use ratatui::{buffer::Buffer, layout::Rect};

use crate::{
    appearance::{Glyphs, Theme},
    model::Bucket,
    ui::paint::{nth_line, put, put_right},
    words::figures,
};

/// Draws one cell a bucket, the newest at the right end, against what is `usual`.
pub(super) fn latencies(
    buf: &mut Buffer,
    line: Rect,
    buckets: impl Iterator<Item = Bucket>,
    usual: Duration,
    glyphs: &Glyphs,
    look: impl Fn(Bucket) -> ratatui::style::Style,
) {
    for (x, bucket) in (line.x..line.right()).zip(buckets.take(line.width.into())) {
        let glyph = match bucket {
            Bucket::Empty => " ",
            Bucket::Down => glyphs.gap,
            Bucket::Worst(rtt) => glyphs.ramp[figures::step_against(usual, rtt, glyphs.ramp.len())],
        };
        if glyph != " " {
            buf[(x, line.y)].set_symbol(glyph).set_style(look(bucket));
        }
    }
}

/// Counts as a sparkline of its own scale: nothing is the lowest step, the most is the highest.
pub(super) fn counts(values: impl Iterator<Item = u32>, glyphs: &Glyphs) -> String {
    let values: Vec<u32> = values.collect();
    let most = values.iter().copied().max().unwrap_or(0).max(1);
    let steps = glyphs.ramp.len() - 1;
    let step = |v: u32| (v as usize * steps).div_ceil(most as usize);
    values.into_iter().map(|v| glyphs.ramp[step(v)]).collect()
}

/// Draws buckets as tall bars under a scale, `each` columns a bucket.
pub(super) fn tall(buf: &mut Buffer, area: Rect, buckets: &[Bucket], each: u16, glyphs: &Glyphs, theme: &Theme) {
    const SCALE: u16 = 6;
    if area.height == 0 || area.width <= SCALE + 1 {
        return;
    }
    let steps = glyphs.ramp.len();
    for (n, text) in [(0, figures::latency(figures::SCALE.1)), (area.height - 1, figures::latency(figures::SCALE.0))] {
        put_right(buf, Rect { width: SCALE, ..nth_line(area, n) }, &text, theme.dim);
    }
    for n in 0..area.height {
        let line = nth_line(area, n);
        put(buf, Rect { x: line.x + SCALE, width: 1, ..line }, glyphs.bar, theme.border);
        let below = usize::from(area.height - 1 - n) * steps;
        for (i, bucket) in buckets.iter().enumerate() {
            let x = line.x + SCALE + 1 + i as u16 * each;
            if x + each > line.right() {
                break;
            }
            let (glyph, style) = match bucket {
                Bucket::Empty => continue,
                Bucket::Down if n + 1 == area.height => (glyphs.gap, theme.trend_gap),
                Bucket::Down => continue,
                Bucket::Worst(rtt) => {
                    let height = figures::step(*rtt, usize::from(area.height) * steps) + 1;
                    match height.saturating_sub(below) {
                        0 => continue,
                        filled => (glyphs.ramp[filled.min(steps) - 1], theme.trend),
                    }
                }
            };
            put(buf, Rect { x, width: each, ..line }, &glyph.repeat(each.into()), style);
        }
    }
}
