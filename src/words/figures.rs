//! Defines how figures read (counts, latencies, times in a state, waits, rates); where they stand on the screen is elsewhere.

use std::time::Duration;

use crate::model::{Answers, Latency};

/// A count with thousands separators: `98,412`.
pub fn count(n: impl TryInto<u64>) -> String {
    let digits = n.try_into().unwrap_or(u64::MAX).to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A count and its noun: `1 client`, `250 clients`.
pub fn clients(n: impl TryInto<u64>) -> String {
    match n.try_into().unwrap_or(u64::MAX) {
        1 => "1 client".to_owned(),
        n => format!("{} clients", count(n)),
    }
}

/// A count of connections lost: `1 loss`, `3 losses`.
pub fn losses(n: u32) -> String {
    match n {
        1 => "1 loss".to_owned(),
        n => format!("{} losses", count(n)),
    }
}

/// A count of TCP segments: `1 segment`, `3 segments`.
pub fn segments(n: u32) -> String {
    match n {
        1 => "1 segment".to_owned(),
        n => format!("{} segments", count(n)),
    }
}

/// A round trip in at most six columns: `412µs`, `3.1ms`, `812ms`, `1.24s`, `12.4s`, `124s`.
pub fn latency(rtt: Duration) -> String {
    let micros = rtt.as_micros();
    let seconds = rtt.as_secs_f64();
    match micros {
        0..1_000 => format!("{micros}µs"),
        1_000..99_950 => format!("{:.1}ms", micros as f64 / 1e3),
        99_950..999_500 => format!("{:.0}ms", micros as f64 / 1e3),
        999_500..9_995_000 => format!("{seconds:.2}s"),
        9_995_000..99_950_000 => format!("{seconds:.1}s"),
        _ => format!("{seconds:.0}s"),
    }
}

/// Percentiles of round trips: `p50 412µs, p90 640µs, p99 3.1ms, max 24.1ms`.
pub fn percentiles(of: &Latency) -> String {
    let [p50, p90, p99, max] = [of.p50, of.p90, of.p99, of.max].map(latency);
    format!("p50 {p50}, p90 {p90}, p99 {p99}, max {max}")
}

/// A power of ten on a scale of round trips: `100µs`, `1ms`, `10s`.
pub fn latency_mark(rtt: Duration) -> String {
    match rtt.as_micros() {
        n @ 0..1_000 => format!("{n}µs"),
        n @ 1_000..1_000_000 => format!("{}ms", n / 1_000),
        n => format!("{}s", n / 1_000_000),
    }
}

/// A share in percent, with more digits the nearer it is to all: `99.953 %`, `98.2 %`, `0 %`.
pub fn share(share: f64) -> String {
    match share * 100.0 {
        p if p >= 100.0 => "100 %".to_owned(),
        p if p <= 0.0 => "0 %".to_owned(),
        // Cut, and not rounded: what is not all must not look like it.
        p if p >= 99.0 => format!("{:.3} %", (p * 1_000.0).floor() / 1_000.0),
        p => format!("{p:.1} %"),
    }
}

/// How long a state has lasted, in at most five columns and so coarsely that a calm screen stands
/// still: `12s`, `3m`, `2h14`, `5d`.
pub fn age(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h{:02}", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A time as a clock runs: `0:07`, `3:41`, `1:12:00`.
pub fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds / 3_600 {
        0 => format!("{}:{:02}", seconds / 60, seconds % 60),
        hours => format!("{hours}:{:02}:{:02}", seconds / 60 % 60, seconds % 60),
    }
}

/// A wait in a sentence: `0.8 s`, `12 s`, `2 min`.
pub fn wait(time: Duration) -> String {
    match time.as_secs_f64() {
        s if s < 9.95 => format!("{s:.1} s"),
        s if s < 119.5 => format!("{s:.0} s"),
        s => format!("{:.0} min", s / 60.0),
    }
}

/// A rate of bytes: `812 B/s`, `1.9 kB/s`, `24 kB/s`.
pub fn bytes(per_second: u64) -> String {
    match per_second {
        0..1_000 => format!("{per_second} B/s"),
        1_000..9_950 => format!("{:.1} kB/s", per_second as f64 / 1e3),
        9_950..999_500 => format!("{:.0} kB/s", per_second as f64 / 1e3),
        _ => format!("{:.1} MB/s", per_second as f64 / 1e6),
    }
}

/// The fastest and the slowest round trip that a latency scale tells apart.
pub const SCALE: (Duration, Duration) = (Duration::from_micros(100), Duration::from_secs(3));

/// The step of a round trip against what is usual for its client, from 0 to `steps - 1`. A fleet's
/// latencies span decades, on one scale every row would be a flat line; here a row that stands still
/// is flat and low, and one that jumps jumps. The usual is two steps up, a step is a factor of √2.
pub fn step_against(usual: Duration, rtt: Duration, steps: usize) -> usize {
    let factor = rtt.as_secs_f64().max(1e-6) / usual.max(Answers::FAST).as_secs_f64();
    let step = 2.0 + 2.0 * factor.log2();
    (step.round().max(0.0) as usize).min(steps.saturating_sub(1))
}

/// The step of a round trip on the logarithmic [`SCALE`], from 0 to `steps - 1`.
pub fn step(rtt: Duration, steps: usize) -> usize {
    let (low, high) = (SCALE.0.as_secs_f64().ln(), SCALE.1.as_secs_f64().ln());
    let share = (rtt.as_secs_f64().max(1e-6).ln() - low) / (high - low);
    ((share * steps as f64) as usize).min(steps.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(n: u64) -> Duration {
        Duration::from_micros(n)
    }

    #[test]
    fn a_step_against_the_usual_shows_change_and_not_level() {
        let usual = us(90_000);
        // As little as a hundred slow answers make of it, so little lower they are drawn.
        assert_eq!([90_000, 105_000, 150_000].map(|usual| step_against(us(usual), us(650_000), 8)), [7, 7, 6]);
        let steps = [20_000, 60_000, 90_000, 130_000, 180_000, 900_000].map(|rtt| step_against(usual, us(rtt), 8));
        assert_eq!(steps, [0, 1, 2, 3, 4, 7]);
        let fast = [100, 400, 900, 3_000].map(|rtt| step_against(us(150), us(rtt), 8));
        assert_eq!(fast, [0, 0, 2, 5], "below a millisecond all is calm");
        assert_eq!(step_against(Duration::ZERO, Duration::ZERO, 8), 0);
    }

    #[test]
    fn counts_are_grouped() {
        let shown: Vec<_> = [0, 7, 999, 1_000, 98_412, 1_000_000].iter().map(|n| count(*n as u64)).collect();
        assert_eq!(shown, ["0", "7", "999", "1,000", "98,412", "1,000,000"]);
        assert_eq!((clients(1u32), clients(1_588u32)), ("1 client".into(), "1,588 clients".into()));
    }

    #[test]
    fn latencies_keep_their_digits_and_their_width() {
        let shown: Vec<_> = [
            412,
            999,
            1_000,
            3_100,
            48_200,
            99_949,
            99_950,
            812_000,
            999_499,
            999_500,
            1_240_000,
            12_400_000,
            124_000_000,
        ]
        .iter()
        .map(|n| latency(us(*n)))
        .collect();
        assert_eq!(
            shown,
            [
                "412µs", "999µs", "1.0ms", "3.1ms", "48.2ms", "99.9ms", "100ms", "812ms", "999ms", "1.00s", "1.24s",
                "12.4s", "124s"
            ]
        );
        for exponent in 0..9 {
            for digit in 1..10 {
                assert!(latency(us(digit * 10u64.pow(exponent))).chars().count() <= 6);
            }
        }
    }

    #[test]
    fn shares_and_marks() {
        let shown: Vec<_> = [0.0, 0.5, 0.982, 0.99953, 0.999_999_9, 1.0].map(share).into();
        assert_eq!(shown, ["0 %", "50.0 %", "98.2 %", "99.953 %", "99.999 %", "100 %"]);
        let shown: Vec<_> = [10, 100, 1_000, 100_000, 10_000_000].map(|n| latency_mark(us(n))).into();
        assert_eq!(shown, ["10µs", "100µs", "1ms", "100ms", "10s"]);
    }

    #[test]
    fn ages_and_waits() {
        let shown: Vec<_> = [0, 12, 60, 3_599, 8_040, 86_400 * 5].map(|s| age(Duration::from_secs(s))).into();
        assert_eq!(shown, ["0s", "12s", "1m", "59m", "2h14", "5d"]);
        let shown: Vec<_> = [80, 810, 11_900, 120_000].map(|ms| wait(Duration::from_millis(ms))).into();
        assert_eq!(shown, ["0.1 s", "0.8 s", "12 s", "2 min"]);
        assert_eq!((bytes(812), bytes(1_900), bytes(24_000)), ("812 B/s".into(), "1.9 kB/s".into(), "24 kB/s".into()));
    }

    #[test]
    fn the_scale_covers_what_brokers_answer_in() {
        let shown: Vec<_> = [1, 100, 400, 3_000, 50_000, 800_000, 3_000_000, 60_000_000].map(|n| step(us(n), 8)).into();
        assert_eq!(shown, [0, 0, 1, 2, 4, 6, 7, 7]);
        for n in 1..200 {
            assert!(step(us(n * 20_000), 8) >= step(us(n * 10_000), 8));
        }
    }
}
