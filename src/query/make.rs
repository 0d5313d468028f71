//! Defines queries that are made of parts, of what a key chose or a table of the fleet file says: they can be read, changed and typed again.

use super::{
    Query,
    expression::{Expression, How, Name},
    field::Field,
    parse,
    text::{Glob, Literal, Text},
};

impl Query {
    /// Whoever's text for this field is that, as a whole.
    pub fn is(field: Field, text: &str) -> Query {
        Query::one(Name { field, label: None }, Text::Literal(Literal::new(text)))
    }

    /// Whoever's label of this name has that value.
    pub fn label_is(name: &str, value: &str) -> Query {
        Query::one(Name { field: Field::LabelNamed, label: Some(name.into()) }, Text::Literal(Literal::new(value)))
    }

    /// Whoever has no label of this name.
    pub fn has_no_label(name: &str) -> Query {
        let any = Query::one(Name { field: Field::LabelNamed, label: Some(name.into()) }, Text::Glob(Glob::new("*")));
        any.negated()
    }

    /// Whoever is one of these words of a field with a closed set of them.
    pub fn choice(field: Field, words: &[&str]) -> Query {
        let choices = field.choices();
        let words: Vec<Text> = words.iter().map(|word| Text::Literal(Literal::new(word))).collect();
        let bits = words.iter().map(|word| match word {
            Text::Literal(literal) => parse::bits(word, literal.as_str(), &choices),
            _ => 0,
        });
        let bits = bits.fold(0, |all, bits| all | bits);
        Query { root: Expression::Choice { field, words, bits } }
    }

    /// Those whose text (of labels, that of `label`) is as a whole one of these, as `field=a,b` has it; a `*` in
    /// them is any text.
    pub fn text<'v>(field: Field, label: Option<&str>, values: impl IntoIterator<Item = &'v str>) -> Query {
        let name = Name { field, label: label.map(Into::into) };
        let values = values.into_iter().map(Text::word).collect();
        Query { root: Expression::Text { name, how: How::Is, values } }
    }

    /// Those who are that, of a closed set, as `field:word` has it.
    ///
    /// # Errors
    /// What is wrong with the word, and what would be right.
    pub fn typed_choice(field: Field, word: &str) -> Result<Query, (String, Option<String>)> {
        let (text, bits) = parse::choice(field, Text::word(word), word)?;
        Ok(Query { root: Expression::Choice { field, words: vec![text], bits } })
    }

    /// Those whom all of these mean.
    pub fn all(queries: impl IntoIterator<Item = Query>) -> Query {
        Query { root: Expression::all(queries.into_iter().map(|query| query.root).collect()) }
    }

    /// Those whom one of these means; it is at least one.
    pub fn any(queries: impl IntoIterator<Item = Query>) -> Query {
        Query { root: Expression::any(queries.into_iter().map(|query| query.root).collect()) }
    }

    /// Whoever is meant by both.
    pub fn and(self, other: Query) -> Query {
        Query { root: Expression::all(vec![self.root, other.root]) }
    }

    /// Whoever is not meant by it.
    pub fn negated(self) -> Query {
        Query { root: Expression::Not(Box::new(self.root)) }
    }

    fn one(name: Name, value: Text) -> Query {
        Query { root: Expression::Text { name, how: How::Is, values: vec![value] } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_reads_as_it_was_meant() {
        let twice = Query::parse("a or b").unwrap().and(Query::is(Field::Endpoint, "eu 2"));
        for (made, text) in [
            (Query::is(Field::Endpoint, "eu-2"), "endpoint=eu-2"),
            (Query::is(Field::Why, "no answer"), "why=\"no answer\""),
            (Query::is(Field::Endpoint, "a*b"), "endpoint=\"a*b\""),
            (Query::label_is("site", "hall,3"), "label.site=\"hall,3\""),
            (Query::label_is("my site", "3"), "label.\"my site\"=3"),
            (Query::has_no_label("site"), "not label.site=*"),
            (Query::choice(Field::State, &["slow", "mute"]), "state:slow,mute"),
            (Query::choice(Field::Reason, &["not_authorized"]), "reason:not_authorized"),
            (Query::default().and(Query::choice(Field::Protocol, &["5"])), "protocol:5"),
            (twice, "(a or b) endpoint=\"eu 2\""),
        ] {
            assert_eq!(made.to_string(), text);
            assert_eq!(Query::parse(text).unwrap(), made, "{text}");
        }
    }
}
