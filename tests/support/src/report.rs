//! How a benchmark prints: aligned tables and figures with their spread; what the figures mean is for the benchmark to say.

use std::time::Duration;

/// Repeated measurements of one thing.
#[derive(Clone, Debug, Default)]
pub struct Runs(Vec<f64>);

impl Runs {
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
        self.0.sort_by(f64::total_cmp);
    }

    pub fn push_time(&mut self, time: Duration) {
        self.push(time.as_secs_f64());
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The value that this share of the measurements does not exceed (nearest rank).
    pub fn quantile(&self, share: f64) -> f64 {
        let rank = (share * self.0.len() as f64).ceil() as usize;
        self.0[rank.clamp(1, self.0.len()) - 1]
    }

    pub fn median(&self) -> f64 {
        let n = self.0.len();
        (self.0[(n - 1) / 2] + self.0[n / 2]) / 2.0
    }

    /// The median of times, with the lowest and the highest.
    pub fn times(&self) -> String {
        if self.is_empty() {
            return "-".into();
        }
        format!("{} ({} to {})", time(self.median()), time(self.quantile(0.0)), time(self.quantile(1.0)))
    }
}

/// Seconds as a person reads them.
pub fn time(seconds: f64) -> String {
    match seconds {
        s if s < 1e-3 => format!("{:.0} µs", s * 1e6),
        s if s < 0.01 => format!("{:.2} ms", s * 1e3),
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}

/// Against an aim: the figure, what was aimed at, and whether it is met.
pub fn verdict(value: f64, aim: f64, unit: &str) -> String {
    let word = if value <= aim { "met" } else { "MISSED" };
    format!("aim {aim} {unit}: {word}")
}

/// 12345678 as `12,345,678`.
pub fn count(n: usize) -> String {
    let digits = n.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap_or_default()).collect();
    groups.join(",")
}

/// Cells in aligned columns; the first column starts at the left, the others end at the right.
#[derive(Debug, Default)]
pub struct Table(Vec<Vec<String>>);

impl Table {
    pub fn new<const N: usize>(heads: [&str; N]) -> Table {
        Table(vec![heads.map(str::to_owned).to_vec()])
    }

    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.0.push(cells.to_vec());
    }

    pub fn print(&self) {
        let columns = self.0.iter().map(Vec::len).max().unwrap_or(0);
        let width = |c: usize| self.0.iter().filter_map(|r| r.get(c)).map(|t| t.chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.0 {
            let cells = row.iter().zip(&widths).enumerate().map(|(c, (text, &width))| match c {
                0 => format!("  {text:<width$}"),
                _ => format!("   {text:>width$}"),
            });
            println!("{}", cells.collect::<String>().trim_end());
        }
        println!();
    }
}

/// A figure from the environment, for a shorter or longer run.
pub fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}
