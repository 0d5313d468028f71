//! Defines what a query says, as a tree, and how it is printed.

use std::fmt;

use super::{
    field::Field,
    quantity,
    text::{Text, is_end, write_quoted, write_value},
};

/// What a query says. It is made by [`Expression::all`] and [`Expression::any`], so that what means the same in
/// other brackets is the same.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expression {
    /// The client shows this text.
    Shows(Text),
    /// A text of the client is one of these, or has one of them in it.
    Text {
        name: Name,
        how: How,
        values: Vec<Text>,
    },
    /// One of a closed set of words; the words as they were typed, and the bits of those that they stand for.
    Choice {
        field: Field,
        words: Vec<Text>,
        bits: u128,
    },
    /// A figure of the client compares so with one of these.
    Figure {
        field: Field,
        compare: Compare,
        values: Vec<u64>,
    },
    And(Vec<Expression>),
    Or(Vec<Expression>),
    Not(Box<Expression>),
}

/// A field, and of labels which one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) field: Field,
    pub(super) label: Option<Box<str>>,
}

/// How a text is held against another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// `:`, and `~` with a regular expression.
    Has,
    /// `=`
    Is,
}

/// How a figure is held against another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compare {
    Less,
    AtMost,
    Equal,
    AtLeast,
    More,
}

impl Compare {
    pub(super) fn sign(self) -> &'static str {
        match self {
            Compare::Less => "<",
            Compare::AtMost => "<=",
            Compare::Equal => "=",
            Compare::AtLeast => ">=",
            Compare::More => ">",
        }
    }

    pub(super) fn holds(self, figure: u64, value: u64) -> bool {
        match self {
            Compare::Less => figure < value,
            Compare::AtMost => figure <= value,
            Compare::Equal => figure == value,
            Compare::AtLeast => figure >= value,
            Compare::More => figure > value,
        }
    }
}

impl Default for Expression {
    fn default() -> Self {
        Expression::And(Vec::new())
    }
}

impl Expression {
    /// All of these hold.
    pub(super) fn all(parts: Vec<Expression>) -> Expression {
        let flat = parts.into_iter().flat_map(|part| match part {
            Expression::And(parts) => parts,
            part => vec![part],
        });
        one_or(flat.collect(), Expression::And)
    }

    /// One of these holds; it is at least one.
    pub(super) fn any(parts: Vec<Expression>) -> Expression {
        let flat = parts.into_iter().flat_map(|part| match part {
            Expression::Or(parts) => parts,
            part => vec![part],
        });
        one_or(flat.collect(), Expression::Or)
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Expression::And(parts) if parts.is_empty())
    }

    /// Written where it is a part of another.
    fn write_part(&self, f: &mut fmt::Formatter<'_>, needs_brackets: bool) -> fmt::Result {
        if needs_brackets { write!(f, "({self})") } else { write!(f, "{self}") }
    }
}

fn one_or(mut parts: Vec<Expression>, many: impl FnOnce(Vec<Expression>) -> Expression) -> Expression {
    match parts.len() {
        1 => parts.remove(0),
        _ => many(parts),
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.label {
            None => f.write_str(self.field.info().name),
            Some(label) => {
                f.write_str("label.")?;
                match label.is_empty() || label.contains(|c| is_end(c) || "*,:=<>~!".contains(c)) {
                    true => write_quoted(f, label),
                    false => f.write_str(label),
                }
            }
        }
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expression::Shows(Text::Literal(text)) => text.write_word(f),
            Expression::Shows(Text::Glob(glob)) => f.write_str(glob.as_str()),
            Expression::Shows(Text::Regex(pattern)) => {
                f.write_str("~")?;
                pattern.write(f)
            }
            Expression::Text { name, values, .. } if matches!(values[..], [Text::Regex(_)]) => {
                write!(f, "{name}")?;
                values.iter().try_for_each(|value| write_text(f, value))
            }
            Expression::Text { name, how, values } => {
                write!(f, "{name}{}", if *how == How::Has { ":" } else { "=" })?;
                list(f, values, write_text)
            }
            Expression::Choice { field, words, .. } => {
                write!(f, "{}:", field.info().name)?;
                list(f, words, write_text)
            }
            Expression::Figure { field, compare, values } => {
                let info = field.info();
                write!(f, "{}{}", info.name, compare.sign())?;
                list(f, values, |f, value| quantity::write(f, info.kind, *value))
            }
            Expression::And(parts) => joined(f, parts, " ", |part| matches!(part, Expression::Or(_))),
            Expression::Or(parts) => joined(f, parts, " or ", |_| false),
            Expression::Not(part) => {
                f.write_str("not ")?;
                part.write_part(f, matches!(**part, Expression::And(_) | Expression::Or(_)))
            }
        }
    }
}

fn write_text(f: &mut fmt::Formatter<'_>, text: &Text) -> fmt::Result {
    match text {
        Text::Literal(literal) => write_value(f, literal.as_str()),
        Text::Glob(glob) => f.write_str(glob.as_str()),
        Text::Regex(pattern) => {
            f.write_str("~")?;
            pattern.write(f)
        }
    }
}

fn list<T>(
    f: &mut fmt::Formatter<'_>,
    values: &[T],
    write: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (n, value) in values.iter().enumerate() {
        if n > 0 {
            f.write_str(",")?;
        }
        write(f, value)?;
    }
    Ok(())
}

fn joined(
    f: &mut fmt::Formatter<'_>,
    parts: &[Expression],
    between: &str,
    needs_brackets: impl Fn(&Expression) -> bool,
) -> fmt::Result {
    for (n, part) in parts.iter().enumerate() {
        if n > 0 {
            f.write_str(between)?;
        }
        part.write_part(f, needs_brackets(part))?;
    }
    Ok(())
}
