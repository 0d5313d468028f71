//! Defines what is wrong in a file a person wrote, and how it is drawn: file, line, column, the line itself, a hint; what counts as wrong is the readers' matter.

use std::{cell::OnceCell, fmt, ops::Range};

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::redact::Redaction;
use crate::text::Scrubbed;

/// Errors and warnings kept of one file; of the others only the number is told.
const SHOWN: usize = 50;
/// Characters of a line that are looked at; what lies behind is pointed at from there.
const LINE_MAX: usize = 10_000;

/// A place in the file, as it is drawn. It owns its text, so that a report outlives the file.
#[derive(Clone, Debug, PartialEq)]
struct Place {
    /// Counted from 1.
    line: usize,
    /// In characters of the line as it is in the file, from 0; it only orders.
    column: usize,
    /// The line, scrubbed, without secrets, cut to what is worth showing.
    shown: String,
    /// What is underlined, in bytes of `shown`.
    span: Range<usize>,
    label: String,
}

/// A place in another file than the report's: its line is not shown, since whatever stands there may be
/// a password.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Elsewhere {
    pub file: String,
    /// Both counted from 1, the column in characters.
    pub line: usize,
    pub column: usize,
}

/// One thing that is wrong, or at least doubtful.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Finding {
    title: String,
    elsewhere: Option<Elsewhere>,
    places: Vec<Place>,
    help: Vec<String>,
}

/// A finding while it is being described, its places still spans of the file's text.
pub(crate) struct Draft {
    title: String,
    elsewhere: Option<Elsewhere>,
    spans: Vec<(Range<usize>, String)>,
    help: Vec<String>,
}

impl Draft {
    /// Something about the place `span`. The title says what is wrong with what.
    pub(crate) fn at(span: Range<usize>, title: impl Into<String>) -> Draft {
        Draft { spans: vec![(span, String::new())], ..Draft::of_file(title) }
    }

    /// Something about a place in another file.
    pub(crate) fn elsewhere(place: Elsewhere, title: impl Into<String>) -> Draft {
        Draft { elsewhere: Some(place), ..Draft::of_file(title) }
    }

    /// Something about the file as a whole.
    pub(crate) fn of_file(title: impl Into<String>) -> Draft {
        Draft { title: title.into(), elsewhere: None, spans: Vec::new(), help: Vec::new() }
    }

    /// What to say under the place meant.
    pub(crate) fn label(mut self, label: impl Into<String>) -> Draft {
        if let Some(first) = self.spans.first_mut() {
            first.1 = label.into();
        }
        self
    }

    /// Another place that has to do with it.
    pub(crate) fn also(mut self, span: Range<usize>, label: impl Into<String>) -> Draft {
        self.spans.push((span, label.into()));
        self
    }

    /// What to do about it.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Draft {
        self.help.push(help.into());
        self
    }

    /// As [`Draft::help`], where there is something to say.
    pub(crate) fn help_if(self, help: Option<String>) -> Draft {
        match help {
            Some(help) => self.help(help),
            None => self,
        }
    }
}

/// A user's text as a message quotes it: short and in double quotes.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", crate::text::ellipsize(&Scrubbed::new(text), 48))
}

/// The findings of one file while it is being read.
pub(crate) struct Report<'t> {
    file: String,
    text: &'t str,
    redaction: Option<Redaction>,
    is_toml: bool,
    lines: OnceCell<Vec<usize>>,
    errors: Vec<Finding>,
    errors_total: usize,
    warnings: Vec<Finding>,
}

impl<'t> Report<'t> {
    pub(crate) fn new(file: &str, text: &'t str, redaction: Option<Redaction>) -> Report<'t> {
        Report {
            file: scrub(file),
            text,
            redaction,
            is_toml: true,
            lines: OnceCell::new(),
            errors: Vec::new(),
            errors_total: 0,
            warnings: Vec::new(),
        }
    }

    pub(crate) fn error(&mut self, draft: Draft) {
        self.error_of(|| draft);
    }

    /// As [`Report::error`], of which there may be very many: those that are not drawn are only counted.
    pub(crate) fn error_of(&mut self, draft: impl FnOnce() -> Draft) {
        self.errors_total += 1;
        if self.errors.len() < SHOWN {
            let finding = self.finding(draft());
            self.errors.push(finding);
        }
    }

    /// How many errors there are so far.
    pub(crate) fn errors(&self) -> usize {
        self.errors_total
    }

    /// The title of the first error, if there is any.
    pub(crate) fn first_error(&self) -> Option<&str> {
        self.errors.first().map(|finding| finding.title.as_str())
    }

    /// Says that the text is not even TOML; known before anything else is reported.
    pub(crate) fn is_no_toml(&mut self) {
        self.is_toml = false;
    }

    pub(crate) fn warning(&mut self, draft: Draft) {
        self.warning_of(|| draft);
    }

    /// As [`Report::warning`], of which there may be very many: some are kept.
    pub(crate) fn warning_of(&mut self, draft: impl FnOnce() -> Draft) {
        if self.warnings.len() < SHOWN {
            let finding = self.finding(draft());
            self.warnings.push(finding);
        }
    }

    /// The file's own text at `span`, with whatever secret may be in it.
    pub(crate) fn raw(&self, span: Range<usize>) -> &'t str {
        self.text.get(span).unwrap_or_default()
    }

    /// What was found: `value` and the warnings where nothing is wrong, else the errors.
    pub(crate) fn finish<T>(mut self, value: Option<T>) -> Result<(T, Vec<Warning>), FileErrors> {
        match value {
            Some(value) if self.errors_total == 0 => {
                let file = self.file;
                Ok((value, self.warnings.into_iter().map(|finding| Warning { file: file.clone(), finding }).collect()))
            }
            _ => {
                // What is wrong in this file comes before what is wrong in others.
                self.errors.sort_by(|a, b| {
                    let place = |f: &Finding| f.places.first().map(|p| (p.line, p.column));
                    a.elsewhere.cmp(&b.elsewhere).then_with(|| place(a).cmp(&place(b)))
                });
                Err(FileErrors { file: self.file, errors: self.errors, total: self.errors_total })
            }
        }
    }

    fn finding(&self, draft: Draft) -> Finding {
        Finding {
            title: scrub(&draft.title),
            elsewhere: draft.elsewhere.map(|place| Elsewhere { file: scrub(&place.file), ..place }),
            places: draft.spans.into_iter().map(|(span, label)| self.place(span, &label)).collect(),
            help: draft.help.iter().map(|h| scrub(h)).collect(),
        }
    }

    fn place(&self, span: Range<usize>, label: &str) -> Place {
        let starts = self.lines.get_or_init(|| {
            std::iter::once(0).chain(self.text.bytes().enumerate().filter(|b| b.1 == b'\n').map(|b| b.0 + 1)).collect()
        });
        let mut start = span.start.min(self.text.len());
        while !self.text.is_char_boundary(start) {
            start -= 1;
        }
        let index = starts.partition_point(|s| *s <= start) - 1;
        let line_start = starts[index];
        let line_end = starts.get(index + 1).map_or(self.text.len(), |next| next - 1);
        let line = self.text[line_start..line_end].trim_end_matches('\r');
        let column = self.text[line_start..start].chars().count();

        let end = span.end.clamp(start, line_start + line.len().max(start - line_start));
        let length = self.text.get(start..end).map_or(0, |s| s.chars().count());
        // How much of the line may be seen, in characters; what comes after is drawn as one word.
        let hidden = self.redaction.as_ref().and_then(|r| r.hides(self.text, line_start, line, self.is_toml));
        let seen = hidden.map_or(LINE_MAX, |at| line[..at].chars().count().min(LINE_MAX));

        let mut shown = String::new();
        let (mut from, mut to) = (None, None);
        for (i, c) in line.chars().take(seen).enumerate() {
            from = from.or((i == column).then_some(shown.len()));
            push_scrubbed(c, &mut shown);
            to = to.or((i + 1 == column + length).then_some(shown.len()));
        }
        if hidden.is_some() {
            if !shown.is_empty() && !shown.ends_with(' ') {
                shown.push(' ');
            }
            // Where in the hidden part the error is could tell a secret's length.
            from = from.or(Some(shown.len()));
            shown.push_str("[redacted]");
        }
        let from = from.unwrap_or(shown.len());
        let to = if length == 0 && column < seen { from } else { to.unwrap_or(shown.len()) };
        Place { line: index + 1, column, shown, span: from..to.max(from), label: scrub(label) }
    }
}

/// Makes text safe to print, one character for one so that columns stay true.
fn scrub(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push('\n'),
            c => push_scrubbed(c, &mut out),
        }
    }
    out
}

fn push_scrubbed(c: char, out: &mut String) {
    match c {
        '\t' => out.push(' '),
        c if c.is_ascii_graphic() || c == ' ' => out.push(c),
        c => match Scrubbed::new(c.encode_utf8(&mut [0; 4])).as_str() {
            "" => out.push('·'), // a combining mark, which would join what stands before it
            safe => out.push_str(safe),
        },
    }
}

/// Something doubtful in a file that is right otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Warning {
    file: String,
    finding: Finding,
}

impl Warning {
    /// The warning as text for a terminal, with ANSI colours where `colours`.
    pub fn render(&self, colours: bool) -> String {
        render(&self.file, &self.finding, Level::WARNING, colours)
    }

    /// The warning in one line, for a log.
    pub fn title(&self) -> &str {
        &self.finding.title
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

/// All that is wrong in one file; never empty. It shows no secrets and is safe to print.
#[derive(Clone, Debug, PartialEq)]
pub struct FileErrors {
    file: String,
    errors: Vec<Finding>,
    total: usize,
}

impl FileErrors {
    /// One error about the file as a whole.
    pub(crate) fn of_file(file: &str, title: impl Into<String>, help: Option<String>) -> FileErrors {
        let mut report = Report::new(file, "", None);
        report.error(Draft::of_file(title).help_if(help));
        FileErrors { file: report.file, errors: report.errors, total: 1 }
    }

    /// How many errors there are, those not drawn included.
    pub fn count(&self) -> usize {
        self.total
    }

    /// The errors in a line each, for a log: where, and what.
    pub fn lines(&self) -> Vec<String> {
        let line = |finding: &Finding| match (&finding.elsewhere, finding.places.first()) {
            (Some(Elsewhere { file, line, column }), _) => format!("{file}:{line}:{column}: {}", finding.title),
            (None, Some(place)) => {
                let column = place.shown[..place.span.start].chars().count() + 1; // as it is drawn
                format!("{}:{}:{column}: {}", self.file, place.line, finding.title)
            }
            (None, None) => finding.title.clone(),
        };
        let more = self.total - self.errors.len();
        let more = (more > 0).then(|| format!("{}: … and {more} more errors", self.file));
        self.errors.iter().map(line).chain(more).collect()
    }

    /// The errors as text for a terminal, with ANSI colours where `colours`.
    pub fn render(&self, colours: bool) -> String {
        let mut out = String::new();
        for finding in &self.errors {
            out.push_str(&render(&self.file, finding, Level::ERROR, colours));
            out.push_str("\n\n");
        }
        let more = self.total - self.errors.len();
        if more > 0 {
            out.push_str(&format!("… and {more} more\n\n"));
        }
        match self.total {
            1 => out.truncate(out.trim_end().len()),
            n => out.push_str(&format!("{}: {n} errors", self.file)),
        }
        out
    }
}

impl fmt::Display for FileErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for FileErrors {}

fn render(file: &str, finding: &Finding, level: Level<'static>, colours: bool) -> String {
    let mut group = Group::with_title(level.primary_title(finding.title.as_str()));
    if let Some(Elsewhere { file, line, column }) = &finding.elsewhere {
        group = group.element(Origin::path(file.as_str()).line(*line).char_column(*column));
    }
    for (i, place) in finding.places.iter().enumerate() {
        let kind = if i == 0 { AnnotationKind::Primary } else { AnnotationKind::Context };
        let label = (!place.label.is_empty()).then_some(place.label.as_str());
        let mark = kind.span(place.span.clone()).label(label);
        group = group.element(Snippet::source(place.shown.as_str()).line_start(place.line).path(file).annotation(mark));
    }
    for help in &finding.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    let renderer = if colours { Renderer::styled().hyperlink(false) } else { Renderer::plain() };
    renderer.render(&[group])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(text: &str, span: Range<usize>) -> String {
        let mut report = Report::new("a\u{1b}[31m.toml", text, None);
        report.error(Draft::at(span, "wrong\u{7}").label("here\u{202e}").help("\u{9b}m"));
        report.finish(Some(())).unwrap_err().to_string()
    }

    #[test]
    fn control_characters_are_drawn_as_pictures() {
        let drawn = drawn("x = \"\u{1b}]52;c;\u{7}\u{202e}é\" # \r\n", 4..8);
        assert!(!drawn.chars().any(|c| c.is_control() && c != '\n'), "{drawn:?}");
        assert!(!drawn.contains('\u{202e}'));
        assert!(drawn.contains("a␛[31m.toml:1:5") && drawn.contains("x = \"␛]52;c;␇·é\""), "{drawn}");
    }

    #[test]
    fn columns_are_counted_in_characters() {
        let text = "größe\t= 5\nx = 1";
        let at = text.find('5').unwrap();
        assert!(drawn(text, at..at + 1).contains(":1:9\n"), "{}", drawn(text, at..at + 1));
        let at = text.find('1').unwrap();
        assert!(drawn(text, at..at + 1).contains(":2:5\n"));
    }

    #[test]
    fn any_place_can_be_drawn() {
        for text in ["", "\n", "é", "a\r\n\r\nb", "\u{feff}x"] {
            for start in 0..text.len() + 2 {
                for end in start..text.len() + 3 {
                    assert!(drawn(text, start..end).contains("wrong"));
                }
            }
        }
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let text = format!("{}here{}", "x".repeat(9_000), "y".repeat(1_000_000));
        let drawn = drawn(&text, 9_000..9_004);
        assert!(drawn.contains(":1:9001\n") && drawn.contains("here") && drawn.len() < 2_000, "{drawn}");
    }

    #[test]
    fn of_very_many_errors_some_are_drawn_and_all_are_counted() {
        let text = "x\n".repeat(1_000);
        let mut report = Report::new("f", &text, None);
        for i in 0..1_000 {
            report.error(Draft::at(i * 2..i * 2 + 1, "wrong"));
        }
        let errors = report.finish(Some(())).unwrap_err();
        assert_eq!(errors.count(), 1_000);
        let drawn = errors.to_string();
        assert_eq!(drawn.matches("error: wrong").count(), SHOWN);
        assert!(drawn.ends_with("… and 950 more\n\nf: 1000 errors"), "{drawn}");
    }

    #[test]
    fn colors_are_only_there_when_asked_for() {
        let mut report = Report::new("f", "x = 1", None);
        report.error(Draft::at(0..1, "wrong"));
        let errors = report.finish(Some(())).unwrap_err();
        assert!(errors.render(true).contains('\u{1b}'));
        assert!(!errors.render(false).contains('\u{1b}'));
    }
}
