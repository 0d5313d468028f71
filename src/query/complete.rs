//! Defines how a query is completed while it is typed: which fields and values may be meant at the cursor.

use std::ops::Range;

use super::{
    field::{self, FIELDS, Field, Kind},
    text::{is_end, write_value},
};

/// What is known of a fleet that can stand in a query.
pub trait Values {
    /// The names of its labels.
    fn labels(&self) -> Vec<String>;
    /// What a text field is of its clients, where these are few enough to choose from; of a label, its values.
    fn values(&self, field: Field, label: Option<&str>, begin: &str) -> Vec<String>;
}

/// What may be meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completion {
    /// The bytes that are replaced.
    pub at: Range<usize>,
    /// What may stand there, in order, each once.
    pub words: Vec<String>,
}

impl Completion {
    /// The most that are offered.
    const MOST: usize = 64;

    /// What all of them begin with.
    pub fn common(&self) -> &str {
        let Some(first) = self.words.first() else { return "" };
        let common = |len: usize, word: &String| {
            let same = first.char_indices().zip(word.chars()).find(|((_, a), b)| a != b);
            same.map_or(first.len().min(word.len()), |((at, _), _)| at).min(len)
        };
        &first[..self.words.iter().fold(first.len(), common)]
    }
}

/// What may be meant by the word that ends at `cursor`, a place in bytes.
pub fn complete(text: &str, cursor: usize, known: &impl Values) -> Completion {
    let cursor = (0..=cursor.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let Some(begin) = begin(&text[..cursor]) else { return Completion::default() };
    let begin = begin + text[begin..cursor].len() - text[begin..cursor].trim_start_matches(['-', '!']).len();
    let word = &text[begin..cursor];
    let sign = word.find([':', '=', '<', '>', '~']);
    let mut completion = match sign {
        None => Completion { at: begin..cursor, words: names(word, known) },
        Some(at) => {
            let (name, rest) = word.split_at(at);
            let rest = rest.trim_start_matches([':', '=']);
            let value = rest.rsplit(',').next().unwrap_or_default();
            let place = cursor - value.len()..cursor;
            Completion { at: place, words: values(name.trim_end_matches('!'), value.trim_start_matches('"'), known) }
        }
    };
    completion.words.sort();
    completion.words.dedup();
    completion.words.truncate(Completion::MOST);
    completion
}

/// What is typed but for a word at its end that may become `and`, `or` or `not`: after what else is typed, that is
/// what it most likely is.
pub fn settled(text: &str) -> &str {
    let Some(begin) = begin(text) else { return text };
    let (before, word) = text.split_at(begin);
    let may_become = |whole: &str| whole.len() > word.len() && whole[..word.len()].eq_ignore_ascii_case(word);
    let is_begun = !word.is_empty() && word.is_ascii() && ["and", "or", "not"].into_iter().any(may_become);
    if is_begun && !before.trim().is_empty() { before } else { text }
}

/// Where the word at the end of `text` begins; nowhere in a quote that is closed, or in a regular expression.
fn begin(text: &str) -> Option<usize> {
    let (mut begin, mut is_quoted, mut is_escaped) = (0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            '"' if !is_escaped => is_quoted = !is_quoted,
            c if !is_quoted && is_end(c) => begin = at + c.len_utf8(),
            _ => {}
        }
        is_escaped = is_quoted && c == '\\' && !is_escaped;
    }
    (!text[begin..].starts_with(['~', '"'])).then_some(begin)
}

/// Names of fields that begin so, each with its usual sign.
fn names(word: &str, known: &impl Values) -> Vec<String> {
    let fields = FIELDS.iter().filter(|info| info.field != Field::LabelNamed).map(|info| {
        let sign = match info.kind {
            Kind::Choice | Kind::Text => ":",
            Kind::Count | Kind::Time | Kind::Share => info.example[info.name.len()..].get(..1).unwrap_or(">"),
        };
        format!("{}{sign}", info.name)
    });
    let labels = known.labels().into_iter().map(|name| format!("label.{}:", quoted_if_needed(&name, ":=<>~!")));
    fields.chain(labels).filter(|name| has_prefix(&name.replace('"', ""), &word.replace('"', ""))).collect()
}

/// Values of a field that begin so.
fn values(name: &str, begin: &str, known: &impl Values) -> Vec<String> {
    let label = name.strip_prefix("label.").map(|label| label.trim_matches('"'));
    let field = if label.is_some() { Some(Field::LabelNamed) } else { field::named(name) };
    let Some(field) = field else { return Vec::new() };
    let found: Vec<String> = match field.info().kind {
        Kind::Choice => field.words().map(str::to_owned).collect(),
        Kind::Text => known.values(field, label, begin),
        Kind::Count | Kind::Time | Kind::Share => Vec::new(),
    };
    found.iter().filter(|value| has_prefix(value, begin)).map(|value| quoted_if_needed(value, "")).collect()
}

fn quoted_if_needed(text: &str, signs: &str) -> String {
    let mut out = String::new();
    let written = match text.contains(|c| signs.contains(c)) {
        true => super::text::write_quoted(&mut out, text),
        false => write_value(&mut out, text),
    };
    debug_assert!(written.is_ok(), "a string takes everything");
    out
}

fn has_prefix(text: &str, begin: &str) -> bool {
    text.to_lowercase().starts_with(&begin.to_lowercase())
}
