//! Defines the texts that a query looks for: literal ones, ones with `*`, and regular expressions; case is no matter.

use std::fmt;

use super::field;

/// A text to look for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Text {
    /// As it stands.
    Literal(Literal),
    /// The whole of a text, in which each `*` stands for any number of characters.
    Glob(Glob),
    Regex(Pattern),
}

impl Text {
    /// A word without quotes.
    pub(super) fn word(text: &str) -> Text {
        if text.contains('*') { Text::Glob(Glob::new(text)) } else { Text::Literal(Literal::new(text)) }
    }

    /// Whether it may be about a name and its value at once.
    pub(super) fn has_equals_sign(&self) -> bool {
        let source = match self {
            Text::Literal(literal) => &literal.text,
            Text::Glob(glob) => &glob.text,
            Text::Regex(pattern) => &pattern.source,
        };
        source.contains('=')
    }

    /// Whether it is found in `text`.
    pub(super) fn is_in(&self, text: &str) -> bool {
        match self {
            Text::Literal(literal) => literal.in_(text, |text, needle| find(text, needle).is_some()),
            _ => self.is(text),
        }
    }

    /// Whether `text` as a whole is that; for a regular expression, whether it is found in it.
    pub(super) fn is(&self, text: &str) -> bool {
        match self {
            Text::Literal(literal) => literal.in_(text, |text, needle| text.eq_ignore_ascii_case(needle)),
            Text::Glob(glob) => glob.is(text),
            Text::Regex(pattern) => pattern.regex.is_match(text),
        }
    }

    /// Whether it is that, or for a literal begins it.
    pub(super) fn begins(&self, text: &str) -> bool {
        match self {
            Text::Literal(literal) => literal.in_(text, is_prefix),
            _ => self.is(text),
        }
    }
}

/// A text as it stands, in any case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Literal {
    text: Box<str>,
    lower: Box<str>,
}

impl Literal {
    pub(super) fn new(text: &str) -> Literal {
        Literal { text: text.into(), lower: text.to_lowercase().into() }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    fn in_(&self, text: &str, found: impl Fn(&[u8], &[u8]) -> bool) -> bool {
        match self.lower.is_ascii() {
            true => found(text.as_bytes(), self.lower.as_bytes()),
            false => found(text.to_lowercase().as_bytes(), self.lower.as_bytes()),
        }
    }

    /// Written where a condition is expected.
    pub(super) fn write_word(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_name = |c: char| !is_end(c) && !",*:<>~!".contains(c);
        let is_plain = !self.text.is_empty()
            && !self.text.starts_with('-')
            && !is_keyword(&self.text)
            && self.text.chars().all(is_name)
            && self.text.split_once('=').is_none_or(|(name, _)| !name.is_empty() && field::named(name).is_none());
        if is_plain { f.write_str(&self.text) } else { write_quoted(f, &self.text) }
    }
}

/// A text with `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glob {
    text: Box<str>,
    /// What stands between the `*`, in lower case; two at least.
    parts: Box<[Box<str>]>,
}

impl Glob {
    pub(super) fn new(text: &str) -> Glob {
        let parts = text.to_lowercase().split('*').map(Box::from).collect();
        Glob { text: text.into(), parts }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    fn is(&self, text: &str) -> bool {
        let lower;
        let mut rest = match self.text.is_ascii() {
            true => text.as_bytes(),
            false => {
                lower = text.to_lowercase();
                lower.as_bytes()
            }
        };
        let Some(((first, last), between)) = self.parts.split_first().and_then(|(first, rest)| {
            let (last, between) = rest.split_last()?;
            Some(((first.as_bytes(), last.as_bytes()), between))
        }) else {
            return false;
        };
        if rest.len() < first.len() + last.len() || !is_prefix(rest, first) {
            return false;
        }
        let end = rest.len() - last.len();
        if !rest[end..].eq_ignore_ascii_case(last) {
            return false;
        }
        rest = &rest[first.len()..end];
        between.iter().all(|part| match find(rest, part.as_bytes()) {
            Some(at) => {
                rest = &rest[at + part.len()..];
                true
            }
            None => false,
        })
    }
}

/// A regular expression.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    /// As it is written; no quote in it is without a backslash.
    source: Box<str>,
    regex: regex::Regex,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.source == other.source
    }
}

impl Pattern {
    /// The most memory a regular expression may take once it is compiled, in bytes: any that a person types.
    const SIZE: usize = 1 << 18;

    /// # Errors
    /// What is wrong with it, in a few words.
    pub(super) fn new(source: &str) -> Result<Pattern, String> {
        let source = with_escaped_quotes(source);
        let built = regex::RegexBuilder::new(&source)
            .case_insensitive(true)
            .size_limit(Self::SIZE)
            .dfa_size_limit(Self::SIZE)
            .nest_limit(32)
            .build();
        match built {
            Ok(regex) => Ok(Pattern { source: source.into(), regex }),
            Err(regex::Error::CompiledTooBig(_)) => Err("it is too large".to_owned()),
            Err(error) => {
                let text = error.to_string();
                let last = text.lines().last().unwrap_or_default();
                Err(last.trim_start_matches("error: ").to_owned())
            }
        }
    }

    pub(super) fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match bare_len(&self.source) == self.source.len() && !self.source.starts_with('"') {
            true => f.write_str(&self.source),
            false => write!(f, "\"{}\"", self.source),
        }
    }
}

/// How many bytes of `text` a regular expression without quotes has: up to a blank, or to a bracket that closes
/// what was opened before it.
pub(super) fn bare_len(text: &str) -> usize {
    let (mut depth, mut in_class, mut is_escaped) = (0_usize, false, false);
    for (at, c) in text.char_indices() {
        match c {
            c if c.is_whitespace() => return at,
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '[' => in_class = true,
            ']' => in_class = false,
            '(' if !in_class => depth += 1,
            ')' if !in_class && depth == 0 => return at,
            ')' if !in_class => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

fn with_escaped_quotes(source: &str) -> String {
    let (mut out, mut is_escaped) = (String::with_capacity(source.len()), false);
    for c in source.chars() {
        if c == '"' && !is_escaped {
            out.push('\\');
        }
        is_escaped = c == '\\' && !is_escaped;
        out.push(c);
    }
    out
}

/// Whether a word that stands for itself ends before this character.
pub(super) fn is_end(c: char) -> bool {
    c.is_whitespace() || matches!(c, '(' | ')' | '"')
}

pub(super) fn is_keyword(word: &str) -> bool {
    ["and", "or", "not"].iter().any(|keyword| word.eq_ignore_ascii_case(keyword))
}

/// Writes a field's value, in quotes where it needs them.
pub(super) fn write_value(f: &mut impl fmt::Write, text: &str) -> fmt::Result {
    let is_plain =
        !text.is_empty() && !text.starts_with(['~', '=']) && !text.contains(|c| is_end(c) || ",*".contains(c));
    if is_plain { f.write_str(text) } else { write_quoted(f, text) }
}

pub(super) fn write_quoted(f: &mut impl fmt::Write, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            f.write_char('\\')?;
        }
        f.write_char(c)?;
    }
    f.write_char('"')
}

fn is_prefix(text: &[u8], needle: &[u8]) -> bool {
    text.get(..needle.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(needle))
}

/// Where `needle`, which is in lower case, is in `text`, whatever the case of its ASCII letters.
fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    let Some((first, rest)) = needle.split_first() else { return Some(0) };
    let last = text.len().checked_sub(needle.len())?;
    (0..=last).find(|&at| text[at].to_ascii_lowercase() == *first && is_prefix(&text[at + 1..], rest))
}
