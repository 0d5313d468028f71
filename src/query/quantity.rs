//! Defines figures with their units, as a query has them: counts, times, shares; each is a whole number of the least unit.

use std::fmt::{self, Write};

use super::Kind;
use crate::document::quoted;

/// Names of units and how many of the least unit each is, the largest first.
type Units = &'static [(&'static str, u64)];

/// Microseconds.
const TIMES: Units = &[
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("min", 60_000_000),
    ("m", 60_000_000),
    ("sec", 1_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
    ("µs", 1),
    ("μs", 1),
];
const COUNTS: Units = &[("m", 1_000_000), ("k", 1_000), ("", 1)];
/// Millionths.
const SHARES: Units = &[("%", 10_000)];

fn units(kind: Kind) -> Units {
    match kind {
        Kind::Time => TIMES,
        Kind::Share => SHARES,
        Kind::Count | Kind::Text | Kind::Choice => COUNTS,
    }
}

/// What a figure of that kind looks like.
pub(super) fn example(kind: Kind) -> &'static str {
    match kind {
        Kind::Time => "250ms, 5s, 1.5m, 2h, 1h30m, 3d",
        Kind::Share => "99.9%",
        Kind::Count | Kind::Text | Kind::Choice => "3, 1500, 1.5k",
    }
}

/// Reads a figure; times may have several parts, as in `1h30m`.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read(kind: Kind, text: &str) -> Result<u64, String> {
    let (mut rest, mut sum) = (text, 0_u64);
    if text.is_empty() {
        return Err("a figure is missing".to_owned());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let unit_len = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_len);
        if number.is_empty() {
            return Err(format!("{} is no figure", quoted(text)));
        }
        let lower = unit.to_lowercase();
        let Some((_, scale)) = units(kind).iter().find(|(name, _)| *name == lower) else {
            return Err(match (kind, unit) {
                (Kind::Time, "") => format!("{number} of what? A time needs its unit"),
                (Kind::Share, "") => format!("{number} of what? A share needs its %"),
                _ => format!("there is no unit {} here", quoted(unit)),
            });
        };
        sum = scaled(number, *scale)?.checked_add(sum).ok_or("that is more than can be")?;
        if kind != Kind::Time && !after.is_empty() {
            return Err(format!("{} is no figure", quoted(text)));
        }
        rest = after;
    }
    Ok(sum)
}

/// A decimal number times a scale.
fn scaled(number: &str, scale: u64) -> Result<u64, String> {
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if part.contains('.') || (whole.is_empty() && part.is_empty()) || number.ends_with('.') {
        return Err(format!("{} is no number", quoted(number)));
    }
    let too_large = || "that is more than can be".to_owned();
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| too_large())? };
    let part = part.trim_end_matches('0');
    let tens = 10_u128.checked_pow(part.len() as u32).ok_or("that is finer than can be told apart")?;
    let parts =
        u128::from(scale).checked_mul(if part.is_empty() { 0 } else { part.parse().map_err(|_| too_large())? });
    let parts = parts.ok_or_else(too_large)?;
    if parts % tens != 0 {
        return Err("that is finer than can be told apart".to_owned());
    }
    let sum = u128::from(whole) * u128::from(scale) + parts / tens;
    u64::try_from(sum).map_err(|_| too_large())
}

/// Writes a figure so that it reads the same.
pub(super) fn write(f: &mut fmt::Formatter<'_>, kind: Kind, value: u64) -> fmt::Result {
    match kind {
        Kind::Time if value > 0 => {
            let mut rest = value;
            for (unit, scale) in
                [("d", TIMES[0].1), ("h", TIMES[1].1), ("m", TIMES[2].1), ("s", 1_000_000), ("ms", 1_000), ("us", 1)]
            {
                if rest >= scale {
                    write!(f, "{}{unit}", rest / scale)?;
                    rest %= scale;
                }
            }
            Ok(())
        }
        Kind::Time => f.write_str("0s"),
        Kind::Share => {
            let (whole, part) = (value / 10_000, value % 10_000);
            write!(f, "{whole}")?;
            if part > 0 {
                let part = format!("{part:04}");
                write!(f, ".{}", part.trim_end_matches('0'))?;
            }
            f.write_char('%')
        }
        Kind::Count | Kind::Text | Kind::Choice => write!(f, "{value}"),
    }
}
