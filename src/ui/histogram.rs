//! Defines how a histogram of round trips is drawn: bars on a logarithmic scale of time, with the percentiles under them; whose it is stands elsewhere.

use std::time::Duration;

use ratatui::{buffer::Buffer, layout::Rect};

use crate::{
    model::{BUCKETS, Histogram, begin},
    ui::{
        Screen,
        paint::{from, nth_line, put, width},
    },
    words::figures,
};

/// The lines below the bars: the scale and the percentiles.
pub(super) const FEET: u16 = 2;

/// Draws bars, a scale and percentiles into an area of more than [`FEET`] lines.
pub(super) fn draw(screen: &Screen, buf: &mut Buffer, area: Rect, histogram: &Histogram) {
    let (Some(scale), Some(latency)) = (Scale::of(histogram, area.width), histogram.latency()) else { return };
    if area.height <= FEET {
        return;
    }
    let (theme, glyphs) = (screen.theme, screen.glyphs);
    let columns = scale.counts(histogram);
    let most = columns.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let (bars, steps) = (area.height - FEET, glyphs.ramp.len());
    let tail = scale.column(latency.p99);
    for (n, count) in columns.iter().enumerate().filter(|(_, count)| **count > 0.0) {
        let high = ((count / most * f64::from(bars) * steps as f64).round() as usize).max(1);
        // The slowest one in a hundred are the ones to look at.
        let style = if n as u16 > tail { theme.slow } else { theme.trend };
        for line in 0..bars {
            let filled = high.saturating_sub(usize::from(bars - 1 - line) * steps).min(steps);
            if filled > 0 {
                put(buf, column(nth_line(area, line), n as u16), glyphs.ramp[filled - 1], style);
            }
        }
    }
    let line = nth_line(area, bars);
    put(buf, line, &glyphs.rule.repeat(line.width.into()), theme.border);
    for mark in scale.marks() {
        let text = figures::latency_mark(mark);
        let x = line.x + scale.column(mark);
        if x + width(&text) <= line.right() {
            put(buf, from(line, x), &text, theme.dim);
        }
    }
    let line = nth_line(area, bars + 1);
    let mut free = line.x;
    let percentiles = [("p50", latency.p50), ("p90", latency.p90), ("p99", latency.p99), ("max", latency.max)];
    for (name, value) in percentiles {
        let text = format!("{}{name}", glyphs.ascending);
        let x = (line.x + scale.column(value)).min(line.right().saturating_sub(width(&text)));
        if x >= free {
            free = put(buf, from(line, x), &text, theme.text) + 1;
        }
    }
}

fn column(line: Rect, n: u16) -> Rect {
    Rect { x: line.x + n, width: 1, ..line }
}

/// Whole octaves of time over columns.
struct Scale {
    low: f64,
    octaves: f64,
    columns: u16,
}

impl Scale {
    /// At least so many, so that a narrow distribution looks like one.
    const OCTAVES: f64 = 4.0;

    fn of(histogram: &Histogram, columns: u16) -> Option<Scale> {
        let (first, last) = histogram.span()?;
        let low = begin(first).as_secs_f64().max(16e-6).log2().floor();
        let high = begin(last + 1).as_secs_f64().log2().ceil();
        let missing = (Self::OCTAVES - (high - low)).max(0.0);
        let low = low - (missing / 2.0).floor();
        Some(Scale { low: low.exp2(), octaves: high.max(low + Self::OCTAVES) - low, columns: columns.max(1) })
    }

    /// The column of a round trip.
    fn column(&self, rtt: Duration) -> u16 {
        let share = (rtt.as_secs_f64().max(1e-6) / self.low).log2() / self.octaves;
        ((share * f64::from(self.columns)).floor().max(0.0) as u16).min(self.columns - 1)
    }

    /// Where a column begins, in seconds.
    fn begin(&self, column: u16) -> f64 {
        self.low * (f64::from(column) / f64::from(self.columns) * self.octaves).exp2()
    }

    /// What falls into each column; within a bucket the round trips are taken for even.
    fn counts(&self, histogram: &Histogram) -> Vec<f64> {
        let edges: Vec<f64> = (0..=BUCKETS).map(|bucket| begin(bucket).as_secs_f64()).collect();
        let mut counts = vec![0.0; usize::from(self.columns)];
        for (bucket, count) in histogram.counts().enumerate().filter(|(_, count)| *count > 0) {
            let (low, high) = (edges[bucket], edges[bucket + 1]);
            let columns = self.column(Duration::from_secs_f64(low))..=self.column(Duration::from_secs_f64(high));
            for column in columns {
                let begin = if column == 0 { 0.0 } else { self.begin(column) };
                let end = if column + 1 == self.columns { f64::MAX } else { self.begin(column + 1) };
                let part = (high.min(end) - low.max(begin)).max(0.0) / (high - low);
                counts[usize::from(column)] += part * f64::from(count);
            }
        }
        counts
    }

    /// Powers of ten on the scale.
    fn marks(&self) -> impl Iterator<Item = Duration> {
        let (low, high) = (self.low, self.low * self.octaves.exp2());
        let powers = (1..8).map(|power| Duration::from_micros(10u64.pow(power)));
        powers.filter(move |mark| (low..high).contains(&mark.as_secs_f64()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_trip_is_in_a_column_and_in_the_right_one() {
        let ms = |n: f64| Duration::from_secs_f64(n / 1e3);
        let mut histogram = Histogram::default();
        for n in 1..=200 {
            histogram.record(ms(0.05 * 1.06f64.powi(n)));
        }
        for columns in [1, 7, 40, 76, 190] {
            let scale = Scale::of(&histogram, columns).unwrap();
            let counts = scale.counts(&histogram);
            assert!((counts.iter().sum::<f64>() - 200.0).abs() < 1e-6, "{columns}");
            assert!(scale.marks().all(|mark| scale.column(mark) < columns));
        }
        let mut one = Histogram::default();
        one.record(ms(3.0));
        let scale = Scale::of(&one, 80).unwrap();
        assert_eq!((scale.octaves, scale.marks().count()), (Scale::OCTAVES, 2)); // 1 ms and 10 ms
        let counts = scale.counts(&one);
        let drawn: Vec<usize> = (0..80).filter(|n| counts[*n] > 0.0).collect();
        assert!(drawn.contains(&usize::from(scale.column(ms(3.0)))) && drawn.len() < 5, "{drawn:?}");
        assert!(Scale::of(&Histogram::default(), 80).is_none());
    }
}
