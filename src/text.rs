//! Defines `Scrubbed`, what untrusted text becomes before anything may show or log it; it knows nothing of where the text came from.

use std::{fmt, ops::Deref, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize};
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthChar;

/// Text that is safe to print: no control characters, no bidirectional or invisible formatting
/// characters, at most [`Scrubbed::MAX`] characters, few combining marks on each base.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Scrubbed(Arc<str>);

impl Scrubbed {
    /// The longest text kept, in characters; of a longer one the head and the tail are kept.
    pub const MAX: usize = 256;
    const COMBINING_MAX: usize = 2;

    /// Makes `raw` safe. Control characters become their visible pictures (U+2400 block), other
    /// invisible ones are replaced by `·`, and the middle of an overlong text by `…`.
    pub fn new(raw: &str) -> Scrubbed {
        let plain = |c: char| c.is_ascii_graphic() || c == ' ';
        if raw.len() <= Self::MAX && raw.chars().all(plain) {
            return Scrubbed(raw.into());
        }
        // 64 kB from a broker must not cost 64 kB of work a row: only what can be kept is read.
        let total = raw.chars().take(Self::MAX + 1).count();
        let mut out = String::with_capacity(raw.len().min(Self::MAX * 4));
        if total <= Self::MAX {
            scrub_into(raw.chars(), &mut out);
        } else {
            let half = Self::MAX / 2;
            scrub_into(raw.chars().take(half), &mut out);
            out.push('…');
            let tail: Vec<char> = raw.chars().rev().take(half - 1).collect();
            scrub_into(tail.into_iter().rev(), &mut out);
        }
        Scrubbed(out.into())
    }

    /// As [`Scrubbed::new`], for bytes of which nobody promised UTF-8.
    pub fn from_bytes(raw: &[u8]) -> Scrubbed {
        Scrubbed::new(&String::from_utf8_lossy(raw))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn scrub_into(chars: impl Iterator<Item = char>, out: &mut String) {
    let mut combining = Scrubbed::COMBINING_MAX; // a text must not open with a mark: it would join what stands before it
    for c in chars {
        match c {
            '\u{00}'..='\u{1f}' => out.push(char::from_u32(0x2400 + c as u32).unwrap_or('·')),
            '\u{7f}' => out.push('␡'),
            '\u{80}'..='\u{9f}' => out.push('·'),
            _ if is_invisible(c) => out.push('·'),
            _ if c.width() == Some(0) => {
                combining += 1;
                if combining <= Scrubbed::COMBINING_MAX {
                    out.push(c);
                }
                continue;
            }
            _ => out.push(c),
        }
        combining = 0;
    }
}

/// Bidirectional controls, zero-width and other format characters, variation selectors, line
/// separators, tags, interlinear annotation: all that changes how neighbours are drawn.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Scrubs again: the other end of a link is trusted no more than a broker.
impl<'de> Deserialize<'de> for Scrubbed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Scrubbed, D::Error> {
        Ok(Scrubbed::new(&String::deserialize(deserializer)?))
    }
}

impl Deref for Scrubbed {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Scrubbed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Scrubbed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl Default for Scrubbed {
    fn default() -> Self {
        Scrubbed("".into())
    }
}

/// What needs no quotes in a shell, a file's name or an URL.
pub fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

/// A name in plain characters: what is not plain, and a dot at its begin, is a `%` and two digits a byte, as in an URL,
/// so that no two names have the same.
pub fn plain_name(name: &str) -> String {
    let is_kept = |(place, byte): (usize, u8)| is_plain(char::from(byte)) && (place, byte) != (0, b'.');
    let in_plain = |(place, byte)| match is_kept((place, byte)) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    name.bytes().enumerate().map(in_plain).collect()
}

/// The name that [`plain_name`] wrote so.
pub fn of_plain_name(plain: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = plain.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.unwrap_or(first));
        rest = &after[if byte.is_some() { 2 } else { 0 }..];
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Cuts `text` to `width` columns, keeping its head and its tail around `…`: in a fleet's client
/// IDs the prefix and the number both matter.
pub fn ellipsize(text: &str, width: usize) -> String {
    if unicode_width::UnicodeWidthStr::width(text) <= width {
        return text.to_owned();
    }
    let Some(room) = width.checked_sub(1) else { return String::new() };
    let cells = |g: &str| unicode_width::UnicodeWidthStr::width(g);
    let tail_room = room / 2;
    let (mut head, mut used) = (String::new(), 0);
    for g in text.graphemes(true) {
        if used + cells(g) > room - tail_room {
            break;
        }
        used += cells(g);
        head.push_str(g);
    }
    let (mut tail, mut used) = (Vec::new(), 0);
    for g in text.graphemes(true).rev() {
        if used + cells(g) > tail_room {
            break;
        }
        used += cells(g);
        tail.push(g);
    }
    head.push('…');
    head.extend(tail.into_iter().rev());
    head
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use unicode_width::UnicodeWidthStr;

    #[test]
    fn escape_sequences_become_pictures() {
        assert_eq!(Scrubbed::new("a\x1b[31mb\x07").as_str(), "a␛[31mb␇");
        assert_eq!(Scrubbed::new("x\u{9b}31m").as_str(), "x·31m");
        assert_eq!(Scrubbed::new("abc\u{202e}fed").as_str(), "abc·fed");
        assert_eq!(Scrubbed::from_bytes(b"ok\xff\x1b").as_str(), "ok\u{fffd}␛");
    }

    #[test]
    fn plain_text_is_kept_to_the_letter() {
        for s in ["press-0001", "größe 3", "温度計-7", "e\u{301}"] {
            assert_eq!(Scrubbed::new(s).as_str(), s);
        }
    }

    #[test]
    fn overlong_text_keeps_both_ends() {
        let s = Scrubbed::new(&format!("head{}tail", "x".repeat(65_536)));
        assert_eq!(s.chars().count(), Scrubbed::MAX);
        assert!(s.starts_with("head") && s.ends_with("tail") && s.contains('…'));
    }

    #[test]
    fn ellipsis_keeps_prefix_and_number() {
        assert_eq!(ellipsize("gw-0007/sensor-temperature-04471", 16), "gw-0007/…e-04471");
        assert_eq!(ellipsize("short", 5), "short");
        assert_eq!(ellipsize("温度計温度計", 5), "温…計");
        assert_eq!(ellipsize("abc", 0), "");
    }

    proptest! {
        #[test]
        fn nothing_dangerous_survives(raw in "\\PC{0,40}|(?s).{0,300}") {
            let s = Scrubbed::new(&raw);
            prop_assert!(s.chars().count() <= Scrubbed::MAX);
            prop_assert!(!s.chars().any(|c| c.is_control() || is_invisible(c)));
            prop_assert_eq!(Scrubbed::new(&s), s);
        }

        #[test]
        fn an_ellipsis_fits(raw in "(?s).{0,60}", width in 0usize..40) {
            let s = Scrubbed::new(&raw);
            prop_assert!(ellipsize(&s, width).width() <= width.max(s.width().min(width)));
        }
    }
}
