//! Defines the typed reading of a TOML tree that never stops at the first error and never loses a place; which keys there are is the readers' matter.

use std::{fmt, ops::Range, time::Duration};

use toml::de::{DeTable, DeValue};

use super::{
    escapes,
    nearest::nearest,
    report::{Draft, Report, quoted},
};

/// The keys of a table: those that mean something, and those the format knows but this release does not.
#[derive(Clone, Copy)]
pub(crate) struct Keys {
    pub now: &'static [&'static str],
    pub later: &'static [&'static str],
    /// Keys that other tables have.
    pub elsewhere: &'static [(&'static str, &'static [&'static str])],
}

/// A table of the file.
#[derive(Clone)]
pub(crate) struct Table<'t> {
    entries: &'t DeTable<'t>,
    /// Its header, or all of an inline table.
    pub span: Range<usize>,
    /// How messages call it.
    pub name: String,
}

/// The value of a key.
#[derive(Clone)]
pub(crate) struct Value<'t> {
    value: &'t DeValue<'t>,
    pub span: Range<usize>,
    /// The key it belongs to, as messages call it.
    pub key: String,
}

/// Parses `text`, reports every syntax error in it, and calls `read` with what could be understood.
/// `read` is left out where the tree cannot be trusted.
pub(crate) fn parse<'t, T>(
    text: &'t str,
    report: &mut Report<'t>,
    read: impl FnOnce(&Table<'_>, &mut Report<'t>) -> T,
) -> Option<T> {
    let (root, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        report.is_no_toml();
    }
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        report.error(Draft::at(span, format!("this is not TOML: {}", error.message())));
    }
    let table = Table { entries: root.get_ref(), span: 0..0, name: "the file's top level".into() };
    errors.is_empty().then(|| read(&table, report))
}

impl<'t> Table<'t> {
    /// Reports the keys that are not of this table.
    pub(crate) fn check(&self, keys: Keys, report: &mut Report<'_>) {
        for (key, value) in self.in_order() {
            if keys.now.contains(&key.as_str()) {
                continue;
            }
            let span = self.key_span(&key).unwrap_or(value.span);
            if keys.later.contains(&key.as_str()) {
                report.error(
                    Draft::at(span, format!("`{key}` is not supported yet"))
                        .help("it belongs to the format, but this release cannot do it; take it out"),
                );
                continue;
            }
            if let Some((table, _)) = keys.elsewhere.iter().find(|(_, keys)| keys.contains(&key.as_str())) {
                report.error(
                    Draft::at(span, format!("`{key}` does not belong to {}", self.name))
                        .help(format!("it belongs to {table}")),
                );
                continue;
            }
            let near = nearest(&key, keys.now.iter().chain(keys.later).copied());
            let help = match near {
                Some(word) => format!("did you mean `{word}`?"),
                None => format!("{} can have: {}", self.name, keys.now.join(", ")),
            };
            report.error(Draft::at(span, format!("unknown key {} in {}", quoted(&key), self.name)).help(help));
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<Value<'t>> {
        let value = self.entries.get(key)?;
        Some(Value { value: value.get_ref(), span: value.span(), key: key.to_owned() })
    }

    pub(crate) fn key_span(&self, key: &str) -> Option<Range<usize>> {
        self.entries.get_key_value(key).map(|(key, _)| key.span())
    }

    /// Its keys and their values as they stand in the file.
    pub(crate) fn in_order(&self) -> Vec<(String, Value<'t>)> {
        let mut entries: Vec<_> = self.entries.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        entries
            .into_iter()
            .map(|(key, value)| {
                let name = key.get_ref().to_string();
                (name.clone(), Value { value: value.get_ref(), span: value.span(), key: name })
            })
            .collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl<'t> Value<'t> {
    fn wrong(&self, report: &mut Report<'_>, must: impl fmt::Display, help: Option<String>) {
        let found = article(self.value.type_str());
        report.error(Draft::at(self.span.clone(), format!("`{}` must be {must}, not {found}", self.key)).help_if(help));
    }

    pub(crate) fn is_string(&self) -> bool {
        self.value.is_str()
    }

    pub(crate) fn is_array(&self) -> bool {
        self.value.is_array()
    }

    pub(crate) fn is_table(&self) -> bool {
        self.value.is_table()
    }

    /// Its text; `must` says in an error what it should have been.
    pub(crate) fn string(&self, report: &mut Report<'_>, must: &str) -> Option<&'t str> {
        let text = self.value.as_str();
        if text.is_none() {
            let help = match self.value {
                DeValue::Integer(n) if n.as_str().len() < 24 => Some(format!("put it in quotes: \"{}\"", n.as_str())),
                DeValue::Float(n) if n.as_str().len() < 24 => Some(format!("put it in quotes: \"{}\"", n.as_str())),
                _ => None,
            };
            self.wrong(report, must, help);
        }
        text
    }

    /// The place of a part of its text, given in bytes of it; all of it where it is no string.
    pub(crate) fn part(&self, report: &Report<'_>, part: Range<usize>) -> Range<usize> {
        let place = self.value.as_str().and_then(|text| escapes::place_of(report.raw(self.span.clone()), text, part));
        place.map_or(self.span.clone(), |place| self.span.start + place.start..self.span.start + place.end)
    }

    pub(crate) fn boolean(&self, report: &mut Report<'_>) -> Option<bool> {
        let value = self.value.as_bool();
        if value.is_none() {
            self.wrong(report, "true or false", None);
        }
        value
    }

    /// A whole number within `range`; `unit` says what it counts.
    pub(crate) fn number(&self, report: &mut Report<'_>, range: Range<u64>, unit: &str) -> Option<u64> {
        let must = format!("a whole number of {unit}, {} to {}", thousands(range.start), thousands(range.end - 1));
        let Some(integer) = self.value.as_integer() else {
            self.wrong(report, must, None);
            return None;
        };
        let value = u64::from_str_radix(integer.as_str(), integer.radix()).ok().filter(|n| range.contains(n));
        if value.is_none() {
            report.error(Draft::at(self.span.clone(), format!("`{}` must be {must}", self.key)));
        }
        value
    }

    /// A time span with its unit, `least` to `most`.
    pub(crate) fn duration(&self, report: &mut Report<'_>, least: Duration, most: Duration) -> Option<Duration> {
        let text = match self.value {
            DeValue::String(text) => text.trim().to_owned(),
            DeValue::Integer(n) => n.as_str().to_owned(),
            DeValue::Float(n) => n.as_str().to_owned(),
            _ => {
                self.wrong(report, "a duration in quotes, such as \"30s\"", None);
                return None;
            }
        };
        let parsed = if self.is_string() { humantime::parse_duration(&text).ok() } else { None };
        let Some(duration) = parsed else {
            let is_bare = text.len() < 16 && text.parse::<f64>().is_ok_and(|n| n >= 0.0);
            report.error(if is_bare {
                Draft::at(self.span.clone(), format!("`{}` needs a unit", self.key))
                    .help(format!("seconds? write \"{text}s\"; milliseconds? \"{text}ms\""))
            } else {
                Draft::at(self.span.clone(), format!("`{}` is not a duration", self.key))
                    .help("write a number and its unit, such as \"250ms\", \"30s\", \"2m\" or \"1h 30m\"")
            });
            return None;
        };
        if duration < least || duration > most {
            let (least, most) = (humantime::format_duration(least), humantime::format_duration(most));
            report.error(Draft::at(self.span.clone(), format!("`{}` must be {least} to {most}", self.key)));
            return None;
        }
        Some(duration)
    }

    /// The table it is; `example` shows in an error how one is written.
    pub(crate) fn table(&self, report: &mut Report<'_>, name: impl Into<String>, example: &str) -> Option<Table<'t>> {
        let Some(entries) = self.value.as_table() else {
            self.wrong(report, "a table", Some(format!("such as {example}")));
            return None;
        };
        Some(Table { entries, span: self.span.clone(), name: name.into() })
    }

    /// The table it is, if it is one.
    pub(crate) fn as_table(&self) -> Option<Table<'t>> {
        let entries = self.value.as_table()?;
        Some(Table { entries, span: self.span.clone(), name: String::new() })
    }

    /// Its items, each under the key's own name; `example` shows in an error how a list is written.
    pub(crate) fn list(&self, report: &mut Report<'_>, example: &str) -> Option<Vec<Value<'t>>> {
        let Some(items) = self.value.as_array() else {
            self.wrong(report, "a list", Some(format!("such as {example}")));
            return None;
        };
        Some(items.iter().map(|v| Value { value: v.get_ref(), span: v.span(), key: self.key.clone() }).collect())
    }

    /// One of `words`, with what it stands for. Of many words not all are told.
    pub(crate) fn word<T: Copy>(&self, report: &mut Report<'_>, words: &[(&str, T)]) -> Option<T> {
        let all = || match words.len() > 20 {
            false => words.iter().map(|(word, _)| format!("\"{word}\"")).collect::<Vec<_>>().join(", "),
            true => format!("{} names, which the README lists", words.len()),
        };
        let text = self.string(report, &format!("one of {}", all()))?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let help = match nearest(text, words.iter().map(|(word, _)| *word)) {
                Some(word) => format!("did you mean \"{word}\"?"),
                None => format!("it can be {}", all()),
            };
            report.error(Draft::at(self.span.clone(), format!("`{}` cannot be {}", self.key, quoted(text))).help(help));
        }
        found
    }
}

fn article(kind: &str) -> String {
    let an = kind.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {kind}", if an { "an" } else { "a" })
}

/// A number as people read it: 1,000,000.
pub(crate) fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
