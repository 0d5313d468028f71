//! Defines how a number of bytes is read, as a whole number or as a text with its unit, and how one is written.

use crate::document::{Draft, Report, Value, thousands};

/// Decimal and binary units; that of nothing is a byte.
const UNITS: [(&str, u64); 9] = [
    ("", 1),
    ("b", 1),
    ("kb", 1_000),
    ("kib", 1 << 10),
    ("mb", 1_000_000),
    ("mib", 1 << 20),
    ("gb", 1_000_000_000),
    ("gib", 1 << 30),
    ("bytes", 1),
];

/// Reads a number of bytes, `least` to `most`.
pub(super) fn read(value: &Value<'_>, report: &mut Report<'_>, least: u64, most: u64) -> Option<u64> {
    if !value.is_string() {
        return value.number(report, least..most + 1, "bytes, or a text such as \"256KiB\"");
    }
    let text = value.string(report, "")?;
    let Some(bytes) = parse(text) else {
        report.error(
            Draft::at(value.span.clone(), format!("`{}` is not a number of bytes", value.key))
                .help("write a number and its unit, such as \"64kB\", \"256KiB\" or \"1MiB\""),
        );
        return None;
    };
    if bytes < least || bytes > most {
        let (least, most) = (written(least), written(most));
        report.error(Draft::at(value.span.clone(), format!("`{}` must be {least} to {most}", value.key)));
        return None;
    }
    Some(bytes)
}

/// A number of bytes too large for its type is the largest.
fn parse(text: &str) -> Option<u64> {
    let text = text.trim();
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len()));
    let unit = unit.trim().to_ascii_lowercase();
    let (_, times) = UNITS.iter().find(|(name, _)| *name == unit)?;
    let number = number.replace('_', "");
    if number.is_empty() {
        return None;
    }
    Some(number.parse::<u64>().map_or(u64::MAX, |n| n.saturating_mul(*times)))
}

/// In the largest binary unit that leaves nothing over.
fn written(bytes: u64) -> String {
    match bytes {
        n if n > 0 && n.is_multiple_of(1 << 20) => format!("{} MiB", thousands(n >> 20)),
        n if n > 0 && n.is_multiple_of(1 << 10) => format!("{} KiB", thousands(n >> 10)),
        n => format!("{} bytes", thousands(n)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [
            ("256KiB", Some(262_144)),
            (" 1 MiB ", Some(1_048_576)),
            ("64kB", Some(64_000)),
            ("1_000", Some(1_000)),
            ("32 bytes", Some(32)),
            ("7b", Some(7)),
            ("2GB", Some(2_000_000_000)),
            ("99999999999999999999GiB", Some(u64::MAX)),
            ("", None),
            ("KiB", None),
            ("-1", None),
            ("1.5MiB", None),
            ("1 KiB 2", None),
            ("1k", None),
            ("_", None),
        ] {
            assert_eq!(parse(text), bytes, "{text}");
        }
        assert_eq!([32, 4096, 3 << 20].map(written), ["32 bytes", "4 KiB", "3 MiB"]);
    }
}
