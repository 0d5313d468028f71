//! Defines where a part of a string's value stands in the file that has it, whatever escapes are before it; what the string means is its reader's matter.

use std::ops::Range;

/// The place within `raw`, a TOML string with its quotes, of the bytes `part` of its value `text`; `None` where that
/// cannot be told.
pub(super) fn place_of(raw: &str, text: &str, part: Range<usize>) -> Option<Range<usize>> {
    let quote = raw.get(..1).filter(|quote| matches!(*quote, "\"" | "'"))?;
    let is_long = raw.len() >= 6 && raw.starts_with(&quote.repeat(3));
    let mut at = if is_long { 3 } else { 1 };
    if is_long {
        // The first line break is none of the value's.
        at += ["\r\n", "\n"].into_iter().find(|end| raw[at..].starts_with(end)).map_or(0, str::len);
    }
    let (mut told, mut start) = (0, None);
    loop {
        let (in_file, value) = one(raw.get(at..)?, quote == "\"", is_long);
        if told >= part.start && (value > 0 || told == text.len()) {
            start = start.or(Some(at));
        }
        match start {
            Some(start) if told >= part.end || told == text.len() => return Some(start..at),
            _ if in_file == 0 || told > text.len() => return None,
            _ => (at, told) = (at + in_file, told + value),
        }
    }
}

/// How many bytes the next character has in the file, and how many in the value.
fn one(raw: &str, has_escapes: bool, is_long: bool) -> (usize, usize) {
    let mut chars = raw.chars();
    let digits = |count: usize| {
        let value = raw.get(2..2 + count).and_then(|digits| u32::from_str_radix(digits, 16).ok());
        value.and_then(char::from_u32).map_or((0, 0), |c| (2 + count, c.len_utf8()))
    };
    match (chars.next(), chars.next()) {
        (Some('\\'), Some('x')) if has_escapes => digits(2),
        (Some('\\'), Some('u')) if has_escapes => digits(4),
        (Some('\\'), Some('U')) if has_escapes => digits(8),
        (Some('\\'), Some(' ' | '\t' | '\r' | '\n')) if has_escapes && is_long => {
            let rest = raw[1..].trim_start_matches([' ', '\t', '\r', '\n']);
            (raw.len() - rest.len(), 0)
        }
        (Some('\\'), Some(_)) if has_escapes => (2, 1),
        (Some(c), _) => (c.len_utf8(), c.len_utf8()),
        (None, _) => (0, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_found_behind_any_escapes() {
        for (raw, part) in [
            (r#""one two""#, "two"),
            ("'one two'", "two"),
            (r#""a \"b\" two""#, "two"),
            (r#""\u00e9\U0001f600 \t\\ two""#, "two"),
            ("\"\"\"\n\\\n   one \\\n   two\"\"\"", "two"),
            ("'''\r\none\r\ntwo'''", "two"),
        ] {
            let file = format!("x = {raw}");
            let table = toml::de::DeTable::parse(&file).unwrap();
            let text = table.get_ref().get("x").unwrap().get_ref().as_str().unwrap().to_owned();
            let at = text.find(part).unwrap();
            let place = place_of(raw, &text, at..at + part.len()).unwrap();
            assert_eq!(&raw[place], part, "{raw}");
            // Where something is missing at its end, before the quotes.
            let end = place_of(raw, &text, text.len()..text.len()).unwrap();
            assert!(end.is_empty() && raw[end.start..].chars().all(|c| c == '"' || c == '\''), "{raw}: {end:?}");
        }
        assert_eq!(place_of("5", "5", 0..1), None);
        assert_eq!(place_of("\"", "", 0..1), Some(1..1));
    }
}
