//! Defines what is wrong in a file a person wrote, and how it is drawn: file, line, column, the line itself, a hint; what counts as wrong is the readers' matter.

use std::{cell::OnceCell, fmt, ops::Range};

use annotate_snippets::{Annotation, AnnotationKind, Element, Group, Level, Origin, Renderer, Snippet};

use super::redact::Redaction;
use crate::text::Scrubbed;

/// Errors and warnings kept of one file; of the others only the number is told.
const SHOWN: usize = 50;
/// Columns of a line that are shown around the place meant.
const LINE_SHOWN: usize = 120;

/// A place in the file, as it is drawn. It owns its text, so that a report outlives the file.
#[derive(Clone, Debug, PartialEq)]
struct Place {
    /// Counted from 1.
    line: usize,
    /// Counted from 1, in characters.
    column: usize,
    /// The line, scrubbed, without secrets, cut to what is worth showing.
    shown: String,
    /// What is underlined, in bytes of `shown`.
    span: Range<usize>,
    label: String,
}

/// One thing that is wrong, or at least doubtful.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Finding {
    title: String,
    places: Vec<Place>,
    help: Vec<String>,
}

/// A finding while it is being described, its places still spans of the file's text.
pub(super) struct Draft {
    title: String,
    spans: Vec<(Range<usize>, String)>,
    help: Vec<String>,
}

impl Draft {
    /// Something about the place `span`. The title says what is wrong with what.
    pub fn at(span: Range<usize>, title: impl Into<String>) -> Draft {
        Draft { title: title.into(), spans: vec![(span, String::new())], help: Vec::new() }
    }

    /// Something about the file as a whole.
    pub fn of_file(title: impl Into<String>) -> Draft {
        Draft { title: title.into(), spans: Vec::new(), help: Vec::new() }
    }

    /// What to say under the place meant.
    pub fn label(mut self, label: impl Into<String>) -> Draft {
        if let Some(first) = self.spans.first_mut() {
            first.1 = label.into();
        }
        self
    }

    /// Another place that has to do with it.
    pub fn also(mut self, span: Range<usize>, label: impl Into<String>) -> Draft {
        self.spans.push((span, label.into()));
        self
    }

    /// What to do about it.
    pub fn help(mut self, help: impl Into<String>) -> Draft {
        self.help.push(help.into());
        self
    }

    /// As [`Draft::help`], where there is something to say.
    pub fn help_if(self, help: Option<String>) -> Draft {
        match help {
            Some(help) => self.help(help),
            None => self,
        }
    }
}

/// A user's text as a message quotes it: short and in double quotes.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", crate::text::ellipsize(&Scrubbed::new(text), 48))
}

/// The findings of one file while it is being read.
pub(super) struct Report<'t> {
    file: String,
    text: &'t str,
    redaction: Option<Redaction>,
    lines: OnceCell<Vec<usize>>,
    errors: Vec<Finding>,
    errors_total: usize,
    warnings: Vec<Finding>,
}

impl<'t> Report<'t> {
    pub fn new(file: &str, text: &'t str, redaction: Option<Redaction>) -> Report<'t> {
        Report {
            file: scrub(file),
            text,
            redaction,
            lines: OnceCell::new(),
            errors: Vec::new(),
            errors_total: 0,
            warnings: Vec::new(),
        }
    }

    pub fn error(&mut self, draft: Draft) {
        self.errors_total += 1;
        if self.errors.len() < SHOWN {
            let finding = self.finding(draft);
            self.errors.push(finding);
        }
    }

    pub fn warning(&mut self, draft: Draft) {
        if self.warnings.len() < SHOWN {
            let finding = self.finding(draft);
            self.warnings.push(finding);
        }
    }

    pub fn has_errors(&self) -> bool {
        self.errors_total > 0
    }

    /// The file's own text at `span`, with whatever secret may be in it.
    pub fn raw(&self, span: Range<usize>) -> &'t str {
        self.text.get(span).unwrap_or_default()
    }

    /// What was found: `value` and the warnings where nothing is wrong, else the errors.
    pub fn finish<T>(mut self, value: Option<T>) -> Result<(T, Vec<Warning>), FileErrors> {
        match value {
            Some(value) if self.errors_total == 0 => {
                let file = self.file;
                Ok((value, self.warnings.into_iter().map(|finding| Warning { file: file.clone(), finding }).collect()))
            }
            _ => {
                self.errors.sort_by_key(|f| f.places.first().map(|p| (p.line, p.column)));
                Err(FileErrors { file: self.file, errors: self.errors, total: self.errors_total })
            }
        }
    }

    fn finding(&self, draft: Draft) -> Finding {
        Finding {
            title: scrub(&draft.title),
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

        // How much of the line may be seen, in characters; what is behind it is drawn as one word.
        let (seen, hidden) = match self.redaction.as_ref().and_then(|r| r.hides(self.text, line_start, line)) {
            Some(at) => (line[..at].chars().count(), true),
            None => (usize::MAX, false),
        };
        let end = span.end.clamp(start, line_start + line.len());
        let length = self.text.get(start..end).map_or(1, |s| s.chars().count());

        let from = column.min(seen).saturating_sub(LINE_SHOWN / 2);
        let mut shown = String::new();
        let mut underlined = None;
        let (mut span_start, mut span_end) = (None, None);
        for (i, c) in line.chars().enumerate().skip(from).take(LINE_SHOWN) {
            if i >= seen {
                break;
            }
            if i == column {
                span_start = Some(shown.len());
            }
            push_scrubbed(c, &mut shown);
            if i + 1 == column + length {
                span_end = Some(shown.len());
            }
        }
        if hidden {
            if !shown.is_empty() && !shown.ends_with(' ') {
                shown.push(' ');
            }
            let at = shown.len();
            shown.push_str("[redacted]");
            underlined = (column >= seen).then(|| at..shown.len());
            span_end = span_end.or(Some(shown.len()));
        }
        let span = underlined.unwrap_or_else(|| {
            let start = span_start.unwrap_or(shown.len());
            start..span_end.unwrap_or(shown.len()).max(start)
        });
        Place { line: index + 1, column: column + 1, shown, span, label: scrub(label) }
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
    pub(super) fn of_file(file: &str, title: impl Into<String>, help: Option<String>) -> FileErrors {
        let mut report = Report::new(file, "", None);
        report.error(Draft::of_file(title).help_if(help));
        FileErrors { file: report.file, errors: report.errors, total: 1 }
    }

    /// How many errors there are, those not drawn included.
    pub fn count(&self) -> usize {
        self.total
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
        let errors = if self.total == 1 { "error" } else { "errors" };
        out.push_str(&format!("{}: {} {errors}", self.file, self.total));
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
    if let Some(first) = finding.places.first() {
        group = group.element(Element::from(Origin::path(file).line(first.line).char_column(first.column)));
    }
    // Places in one line share a snippet; a snippet knows nothing of lines that were left out.
    for (i, place) in finding.places.iter().enumerate() {
        let kind = if i == 0 { AnnotationKind::Primary } else { AnnotationKind::Context };
        let label = (!place.label.is_empty()).then_some(place.label.as_str());
        let mark: Annotation<'_> = kind.span(place.span.clone()).label(label);
        group = group.element(Snippet::source(place.shown.as_str()).line_start(place.line).annotation(mark));
    }
    for help in &finding.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    let renderer = if colours { Renderer::styled().hyperlink(false) } else { Renderer::plain() };
    renderer.render(&[group])
}
