//! Defines the grammar of queries: how a text is read, and what is said where it is none.

use std::ops::Range;

use winnow::{
    Parser,
    combinator::{alt, opt, peek},
    stream::{LocatingSlice, Location, Stateful, Stream},
    token::take_while,
};

use super::{
    Error, Query, Scope,
    expression::{Compare, Expression, How, Name},
    field::{self, FIELDS, Field, Kind},
    quantity,
    text::{Literal, Pattern, Text, bare_len, is_end},
};
use crate::document::{nearest, quoted};

pub(super) type Input<'t> = Stateful<LocatingSlice<&'t str>, Scope>;
type Read<T> = Result<T, Error>;

/// How deep brackets and negations may be nested.
const DEEPEST: usize = 32;

pub(super) fn parse(text: &str, scope: Scope) -> Read<Expression> {
    whole(text, scope).map_err(|error| error.placed(text))
}

fn whole(text: &str, scope: Scope) -> Read<Expression> {
    if text.len() > Query::LONGEST {
        let what = format!("a query has at most {} bytes", Query::LONGEST);
        return Err(Error::new(Query::LONGEST..text.len(), what));
    }
    let input = &mut Input { input: LocatingSlice::new(text), state: scope };
    blank(input)?;
    if input.is_empty() {
        return Ok(Expression::default());
    }
    let all = either(input, 0)?;
    if !input.is_empty() {
        return Err(Error::new(here(input, 1), "no bracket is open here").right("take it away, or put it in quotes"));
    }
    // What is printed says everything in full, and is to be a query, too.
    if text.len() > Query::LONGEST / 8 && all.to_string().len() > Query::LONGEST {
        return Err(Error::new(0..text.len(), format!("written in full, this has more than {} bytes", Query::LONGEST)));
    }
    Ok(all)
}

fn blank(input: &mut Input) -> Read<()> {
    take_while(0.., char::is_whitespace).void().parse_next(input)
}

/// The next so many bytes.
fn here(input: &Input, len: usize) -> Range<usize> {
    let at = input.current_token_start();
    at..at + len
}

/// Conditions with `or` between them.
fn either(input: &mut Input, depth: usize) -> Read<Expression> {
    let mut parts = vec![both(input, depth)?];
    while keyword("or").parse_next(input)? {
        parts.push(both(input, depth)?);
    }
    Ok(Expression::any(parts))
}

/// Conditions beside each other, or with `and` between them.
fn both(input: &mut Input, depth: usize) -> Read<Expression> {
    let mut parts = Vec::new();
    loop {
        let at = input.current_token_start();
        let needs_more = parts.is_empty() || keyword("and").parse_next(input)?;
        blank(input)?;
        let is_over = input.is_empty() || input.starts_with(')') || peek(keyword("or")).parse_next(input)?;
        let is_doubled = needs_more && peek(keyword("and")).parse_next(input)?;
        if is_doubled || (needs_more && is_over) {
            let word = if parts.is_empty() { 0..0 } else { at..at };
            let place = here(input, 0);
            let place = if place.start > word.start { place } else { word };
            let error = Error::new(place, "a condition is missing here").incomplete_if(input.is_empty());
            return Err(error.right("for example state:down or p99>250ms"));
        }
        if is_over {
            return Ok(Expression::all(parts));
        }
        parts.push(one(input, depth)?);
        blank(input)?;
    }
}

/// Whether the next word is this keyword, which is taken then.
fn keyword<'t>(word: &'static str) -> impl Parser<Input<'t>, bool, Error> {
    move |input: &mut Input<'t>| {
        let before = input.checkpoint();
        blank(input)?;
        let found: &str = take_while(0.., |c| !is_end(c)).parse_next(input)?;
        let is_it = found.eq_ignore_ascii_case(word);
        if !is_it {
            input.reset(&before);
        }
        Ok(is_it)
    }
}

/// One condition, perhaps in brackets or denied.
fn one(input: &mut Input, depth: usize) -> Read<Expression> {
    let at = input.current_token_start();
    if depth > DEEPEST {
        return Err(too_deep(here(input, 0)));
    }
    let sign = opt(alt(('-', '!'))).parse_next(input)?.is_some();
    if sign || keyword("not").parse_next(input)? {
        blank(input)?;
        if input.is_empty() || input.starts_with(')') {
            let is_incomplete = input.is_empty();
            let error = Error::new(at..input.current_token_start(), "what is not to hold is missing");
            return Err(error.incomplete_if(is_incomplete).right("for example -state:up"));
        }
        return Ok(Expression::Not(Box::new(one(input, depth + 1)?)));
    }
    if opt('(').parse_next(input)?.is_some() {
        let inside = either(input, depth + 1)?;
        blank(input)?;
        return match opt(')').parse_next(input)? {
            Some(_) => Ok(inside),
            None => {
                Err(Error::new(at..at + 1, "this bracket is not closed").right("put ) at its end").incomplete_if(true))
            }
        };
    }
    let shown = if input.starts_with('"') {
        Expression::Shows(Text::Literal(Literal::new(&string(input)?)))
    } else if opt('~').parse_next(input)?.is_some() {
        Expression::Shows(pattern(input)?)
    } else {
        word(input)?
    };
    match shown {
        Expression::Shows(_) if input.state == Scope::Definition => {
            let what = "what a client shows is not known here: only how it is defined counts";
            Err(Error::new(at..input.current_token_start(), what).right(defined_fields()))
        }
        Expression::Not(_) if depth == DEEPEST => Err(too_deep(at..input.current_token_start())),
        word => Ok(word),
    }
}

fn too_deep(at: Range<usize>) -> Error {
    Error::new(at, format!("more than {DEEPEST} brackets and negations in each other")).right("say it with fewer")
}

/// A text in quotes, in which `\"` is a quote and `\\` a backslash.
fn string(input: &mut Input) -> Read<String> {
    let raw = raw_string(input)?;
    let (mut text, mut chars) = (String::with_capacity(raw.len()), raw.chars());
    while let Some(c) = chars.next() {
        match (c, chars.clone().next()) {
            ('\\', Some(escaped @ ('"' | '\\'))) => {
                text.push(escaped);
                chars.next();
            }
            _ => text.push(c),
        }
    }
    Ok(text)
}

/// What stands between two quotes, as it stands there.
fn raw_string<'t>(input: &mut Input<'t>) -> Read<&'t str> {
    let at = input.current_token_start();
    '"'.parse_next(input)?;
    let rest: &'t str = input.as_ref();
    let mut is_escaped = false;
    for (len, c) in rest.char_indices() {
        match c {
            '"' if !is_escaped => {
                input.next_slice(len + 1);
                return Ok(&rest[..len]);
            }
            _ => is_escaped = c == '\\' && !is_escaped,
        }
    }
    Err(Error::new(at..at + 1, "this quote is not closed").right("put \" at its end").incomplete_if(true))
}

/// A regular expression, behind its `~`.
fn pattern(input: &mut Input) -> Read<Text> {
    let at = input.current_token_start();
    let source = match input.starts_with('"') {
        true => raw_string(input)?,
        false => {
            let len = bare_len(input.as_ref());
            input.next_slice(len)
        }
    };
    let place = at..input.current_token_start();
    if source.is_empty() {
        let error = Error::new(place, "a regular expression is missing").incomplete_if(input.is_empty());
        return Err(error.right("for example ~^press-\\d+$"));
    }
    let is_last = input.is_empty();
    Pattern::new(source).map(Text::Regex).map_err(|why| {
        let error = Error::new(place, format!("this is no regular expression: {why}"));
        error.right("with blanks or brackets of its own it needs quotes: ~\"a b\"").incomplete_if(is_last)
    })
}

/// A word: a text, or a field with its value.
fn word(input: &mut Input) -> Read<Expression> {
    let (begin, at) = (input.checkpoint(), input.current_token_start());
    let mut name = take_while(0.., |c| !is_end(c) && !":=<>~!".contains(c)).parse_next(input)?.to_owned();
    let mut label = name.strip_prefix("label.").map(str::to_owned);
    if name.eq_ignore_ascii_case("label.") && input.starts_with('"') {
        label = Some(string(input)?);
        name = format!("label.{}", label.as_deref().unwrap_or_default());
    }
    let place = at..input.current_token_start();
    let sign = opt(sign).parse_next(input)?;
    let found = match &label {
        Some(label) if !label.is_empty() => Some(Name { field: Field::LabelNamed, label: Some(label.as_str().into()) }),
        Some(_) if sign.is_some() => {
            return Err(Error::new(place, "the name of the label is missing").right("for example label.site:hall-3"));
        }
        _ => field::named(&name).map(|field| Name { field, label: None }),
    };
    match (sign, found) {
        (Some(sign), Some(name)) => condition(input, name, sign, place),
        (None, _) | (Some(Sign::Is | Sign::Matches | Sign::MatchesNot), None) => {
            input.reset(&begin);
            text(input)
        }
        (Some(_), None) if name.is_empty() => {
            let what = "the name of a field is missing before this";
            Err(Error::new(at..input.current_token_start(), what).right("to find it as text, put it in quotes"))
        }
        (Some(_), None) => {
            let known = FIELDS.iter().flat_map(|info| std::iter::once(&info.name).chain(info.aliases)).copied();
            let meant = nearest(&name, known).map(|meant| format!("did you mean {meant}? "));
            let meant = meant.unwrap_or_default();
            let right = format!("{meant}To find it as text, put it in quotes");
            Err(Error::new(place, format!("there is no field {}", quoted(&name))).right(right))
        }
    }
}

/// A text that the client shows, without quotes; behind a `=` it may have some.
fn text(input: &mut Input) -> Read<Expression> {
    let word = take_while(1.., |c| !is_end(c)).parse_next(input)?;
    if word.ends_with('=') && input.starts_with('"') {
        let value = string(input)?;
        return Ok(Expression::Shows(Text::Literal(Literal::new(&format!("{word}{value}")))));
    }
    Ok(Expression::Shows(Text::word(word)))
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Sign {
    Has,
    Is,
    IsNot,
    Matches,
    MatchesNot,
    Than(Compare),
}

fn sign(input: &mut Input) -> Read<Sign> {
    let longer = alt((
        "!=".value(Sign::IsNot),
        "!~".value(Sign::MatchesNot),
        "==".value(Sign::Is),
        ":~".value(Sign::Matches),
        "=~".value(Sign::Matches),
        ">=".value(Sign::Than(Compare::AtLeast)),
        "<=".value(Sign::Than(Compare::AtMost)),
    ));
    let shorter = alt((
        ':'.value(Sign::Has),
        '='.value(Sign::Is),
        '~'.value(Sign::Matches),
        '>'.value(Sign::Than(Compare::More)),
        '<'.value(Sign::Than(Compare::Less)),
    ));
    alt((longer, shorter)).parse_next(input)
}

/// What stands behind a field's name and its sign.
fn condition(input: &mut Input, name: Name, sign: Sign, at: Range<usize>) -> Read<Expression> {
    let info = name.field.info();
    if input.state == Scope::Definition && !name.field.is_of_definition() {
        let what = format!("{name} is not known here: only how a client is defined counts");
        return Err(Error::new(at, what).right(defined_fields()));
    }
    let is_figure = matches!(info.kind, Kind::Count | Kind::Time | Kind::Share);
    let fits = match sign {
        Sign::Matches | Sign::MatchesNot => info.kind == Kind::Text,
        Sign::Than(_) => is_figure,
        Sign::Has | Sign::Is | Sign::IsNot => true,
    };
    if !fits {
        let what = match is_figure {
            true => format!("{name} is a figure"),
            false => format!("{name} is no figure, nor a text that a regular expression could be for"),
        };
        let what = if info.kind == Kind::Text { format!("{name} is a text") } else { what };
        return Err(
            Error::new(at.start..input.current_token_start(), what).right(format!("for example {}", info.example))
        );
    }
    let is_denied = matches!(sign, Sign::IsNot | Sign::MatchesNot);
    let held = if let Sign::Matches | Sign::MatchesNot = sign {
        Expression::Text { name, how: How::Has, values: vec![pattern(input)?] }
    } else if is_figure {
        let compare = if let Sign::Than(compare) = sign { compare } else { Compare::Equal };
        let values = list(input, &name, |text, _| quantity::read(info.kind, text).map_err(|what| (what, None)))?;
        Expression::Figure { field: name.field, compare, values }
    } else if info.kind == Kind::Choice {
        let words = list(input, &name, |text, is_quoted| {
            let word = if is_quoted { Text::Literal(Literal::new(text)) } else { Text::word(text) };
            choice(name.field, word, text)
        })?;
        let bits = words.iter().fold(0, |all, (_, bits)| all | bits);
        Expression::Choice { field: name.field, words: words.into_iter().map(|(word, _)| word).collect(), bits }
    } else {
        let how = if sign == Sign::Has { How::Has } else { How::Is };
        let values = list(input, &name, |text, is_quoted| {
            Ok(if is_quoted { Text::Literal(Literal::new(text)) } else { Text::word(text) })
        })?;
        Expression::Text { name, how, values }
    };
    Ok(if is_denied { Expression::Not(Box::new(held)) } else { held })
}

/// What can be asked for where only a client's definition counts.
fn defined_fields() -> String {
    let fields = FIELDS.iter().filter(|info| info.field.is_of_definition()).map(|info| info.name);
    format!("it can be {}", fields.collect::<Vec<_>>().join(", "))
}

/// Values with commas between them.
fn list<T>(
    input: &mut Input,
    name: &Name,
    read: impl Fn(&str, bool) -> Result<T, (String, Option<String>)>,
) -> Read<Vec<T>> {
    let info = name.field.info();
    let mut values = Vec::new();
    loop {
        let at = input.current_token_start();
        let is_quoted = input.starts_with('"');
        let text = match is_quoted {
            true => string(input)?,
            false => take_while(0.., |c| !is_end(c) && c != ',').parse_next(input)?.to_owned(),
        };
        let example = || match info.kind {
            Kind::Count | Kind::Time | Kind::Share => format!("for example {}", quantity::example(info.kind)),
            Kind::Choice | Kind::Text => format!("for example {}", info.example),
        };
        let place = at..input.current_token_start();
        if text.is_empty() && !is_quoted {
            let error = Error::new(place, format!("a value for {name} is missing")).incomplete_if(input.is_empty());
            let words: Vec<_> = name.field.words().collect();
            let right = if words.is_empty() { example() } else { one_of(&words) };
            return Err(error.right(right));
        }
        let value = read(&text, is_quoted).map_err(|(what, right)| {
            Error::new(place, what).right(right.unwrap_or_else(example)).incomplete_if(input.is_empty())
        });
        values.push(value?);
        if opt(',').parse_next(input)?.is_none() {
            return Ok(values);
        }
    }
}

/// What a word of a closed set stands for.
///
/// # Errors
/// What is wrong, and what would be right.
pub(super) fn choice(field: Field, word: Text, text: &str) -> Result<(Text, u128), (String, Option<String>)> {
    let choices = field.choices();
    match bits(&word, text, &choices) {
        0 => Err((format!("no {} is {}", field.info().name, quoted(text)), Some(choice_help(text, &choices)))),
        bits => Ok((word, bits)),
    }
}

/// The bits of the choices that a word stands for: that which is called so, or else those whose names begin so.
pub(super) fn bits(word: &Text, text: &str, choices: &[Vec<&str>]) -> u128 {
    let plain = Text::Literal(Literal::new(&text.replace(['-', ' '], "_")));
    let word = if let Text::Literal(_) = word { &plain } else { word };
    let of = |is_it: &dyn Fn(&str) -> bool| {
        let bits = choices.iter().enumerate().filter(|(_, names)| names.iter().any(|name| is_it(name)));
        bits.fold(0, |bits, (place, _)| bits | 1 << place)
    };
    match of(&|name| word.is(name)) {
        0 if !text.is_empty() => of(&|name| word.begins(name)),
        bits => bits,
    }
}

/// What a mistyped word was probably meant to be, and all there are.
fn choice_help(text: &str, choices: &[Vec<&str>]) -> String {
    let words: Vec<&str> = choices.iter().filter_map(|names| names.first().copied()).collect();
    match nearest(text, choices.iter().flatten().copied()) {
        Some(meant) => format!("did you mean {meant}? It is {}", one_of(&words)),
        None => one_of(&words),
    }
}

/// Names of words, as many as can be read at once.
fn one_of(words: &[&str]) -> String {
    const MOST: usize = 16;
    let more = if words.len() > MOST { format!(" or {} more", words.len() - MOST) } else { String::new() };
    format!("one of {}{more}", words[..words.len().min(MOST)].join(", "))
}
