//! Defines the patterns in client IDs and user names (`press-%04i`) and what they become for one client; which of a pattern's words make sense where is said by its reader.

use crate::document::{Draft, Report, Value, quoted};

/// A pattern, ready to be filled in.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(String),
    /// The client's number, with zeros to at least this width.
    Number(usize),
    /// The client ID.
    Client,
    /// The client's user name.
    User,
}

/// Where a pattern stands, which decides on its words.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Anywhere,
    /// `%s` and `%%` stay as they are until it is used.
    Numbered,
    /// `%u` is the user name, which is known by then.
    WithUser,
}

/// The most digits a number can be padded to.
const WIDTH_MAX: usize = 20;

impl Template {
    /// Reads a pattern. `host` tells this host's name, where it is asked for.
    pub(super) fn read(value: &Value<'_>, report: &mut Report<'_>, host: &dyn Fn() -> String) -> Option<Template> {
        Template::read_as(value, report, host, Place::Anywhere)
    }

    /// As [`Template::read`], with `%u` for the client's user name.
    pub(super) fn read_with_user(
        value: &Value<'_>,
        report: &mut Report<'_>,
        host: &dyn Fn() -> String,
    ) -> Option<Template> {
        Template::read_as(value, report, host, Place::WithUser)
    }

    /// As [`Template::read`], for a text in which `%s` and `%%` stay as they are until it is used.
    pub(super) fn read_numbered(
        value: &Value<'_>,
        report: &mut Report<'_>,
        host: &dyn Fn() -> String,
    ) -> Option<Template> {
        Template::read_as(value, report, host, Place::Numbered)
    }

    fn read_as(
        value: &Value<'_>,
        report: &mut Report<'_>,
        host: &dyn Fn() -> String,
        place: Place,
    ) -> Option<Template> {
        let is_numbered = place == Place::Numbered;
        let text = value.string(report, "a text in quotes")?;
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut right = true;
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            plain.push_str(&rest[..at]);
            let word = &rest[at + 1..];
            let digits = word.len() - word.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let letter = word[digits..].chars().next();
            let length = digits + letter.map_or(0, char::len_utf8);
            let wrong = |title: String| {
                let offset = text.len() - rest.len() + at;
                Draft::at(value.part(report, offset..offset + 1 + length), title)
            };
            let shown = format!("%{}", &word[..length]);
            let found = match (letter, &word[..digits]) {
                (Some('%'), "") if is_numbered => {
                    plain.push_str("%%");
                    Ok(None)
                }
                (Some('s'), "") if is_numbered => {
                    plain.push_str("%s");
                    Ok(None)
                }
                (Some('%'), "") => {
                    plain.push('%');
                    Ok(None)
                }
                (Some('i'), "") => Ok(Some(Part::Number(0))),
                (Some('i'), width) => match (width.starts_with('0'), width.parse::<usize>()) {
                    (true, Ok(width)) if (1..=WIDTH_MAX).contains(&width) => Ok(Some(Part::Number(width))),
                    (false, Ok(width)) if (1..=WIDTH_MAX).contains(&width) => {
                        Err(wrong(format!("{} is no pattern", quoted(&shown)))
                            .help(format!("with zeros it is `%0{width}i`")))
                    }
                    _ => Err(wrong(format!("{} is no pattern", quoted(&shown)))
                        .help(format!("a number can be padded to at most {WIDTH_MAX} digits, such as `%04i`"))),
                },
                (Some('h'), "") => {
                    let host = host();
                    plain.push_str(&if is_numbered { host.replace('%', "%%") } else { host });
                    Ok(None)
                }
                (Some('c'), "") => Ok(Some(Part::Client)),
                (Some('u'), "") if place == Place::WithUser => Ok(Some(Part::User)),
                (Some('u'), "") => Err(wrong("\"%u\" makes sense where a password comes from only".to_owned())
                    .help("it is the client's user name there")),
                (Some('s'), "") => Err(wrong("\"%s\" makes sense in the payload of `publish` only".to_owned())
                    .help("it is the number of the message there")),
                (Some('g' | 'r'), "") => Err(wrong(format!("{} is not supported yet", quoted(&shown)))
                    .help("%i is the client's number, %h this host, %c the client ID, %% a percent sign")),
                _ => Err(wrong(format!("{} is no pattern", quoted(&shown)))
                    .help("%i is the client's number, %h this host, %c the client ID, %% a percent sign")),
            };
            match found {
                Ok(Some(part)) => {
                    if !plain.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut plain)));
                    }
                    parts.push(part);
                }
                Ok(None) => {}
                Err(draft) => {
                    report.error(draft);
                    right = false;
                }
            }
            rest = &word[length..];
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        right.then_some(Template { parts })
    }

    /// This very text, whatever is in it.
    pub(super) fn literal(text: String) -> Template {
        Template { parts: vec![Part::Text(text)] }
    }

    /// Whether it differs from client to client of a table.
    pub(super) fn is_own(&self) -> bool {
        self.parts.iter().any(|part| !matches!(part, Part::Text(_)))
    }

    pub(super) fn has_number(&self) -> bool {
        self.parts.iter().any(|p| matches!(p, Part::Number(_)))
    }

    pub(super) fn has_client(&self) -> bool {
        self.parts.contains(&Part::Client)
    }

    /// The text for one client, written over what `out` held.
    pub(super) fn fill(&self, number: u64, client: &str, out: &mut String) {
        self.fill_with_user(number, client, "", out);
    }

    /// As [`Template::fill`], with the client's user name.
    pub(super) fn fill_with_user(&self, number: u64, client: &str, user: &str, out: &mut String) {
        out.clear();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Number(width) => {
                    use std::fmt::Write;
                    let _ = write!(out, "{number:0width$}"); // a String takes everything
                }
                Part::Client => out.push_str(client),
                Part::User => out.push_str(user),
            }
        }
    }
}
