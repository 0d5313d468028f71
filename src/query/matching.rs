//! Defines when a query holds of a client, and what has to be known of one to tell.

use super::{
    expression::{Expression, How},
    field::Field,
    text::Text,
};
use crate::{
    event::{Badge, Reason},
    fleet::{ProbeKind, Protocol},
};

/// What is known of a client, for a query to be asked of it.
pub trait Subject {
    fn badge(&self) -> Badge;
    /// Whether it should be up and is not.
    fn is_down(&self) -> bool;
    /// Why it is in its state, where that is known.
    fn reason(&self) -> Option<Reason>;
    /// What it speaks, where that is known,
    fn protocol(&self) -> Option<Protocol>;
    /// the scheme of its endpoint's URL,
    fn scheme(&self) -> Option<&'static str>;
    /// and by what it is measured.
    fn probe(&self) -> Option<ProbeKind>;
    /// Whether `is_it` is true of one of the texts that it has for a field: its ID, endpoint, address, or of what it
    /// shows for a reason.
    fn text(&self, field: Field, is_it: &mut dyn FnMut(&str) -> bool) -> bool;
    /// Whether `is_it` is true of one of its labels, given name and value.
    fn label(&self, is_it: &mut dyn FnMut(&str, &str) -> bool) -> bool;
    /// What it has for a field that is a count, a time (in microseconds), or a share (in millionths), where that is known.
    fn figure(&self, field: Field) -> Option<u64>;
}

impl Expression {
    pub(super) fn holds(&self, subject: &impl Subject) -> bool {
        match self {
            Expression::Shows(text) => shows(subject, text),
            Expression::Text { name, how, values } => {
                let is_it = |text: &str| {
                    values.iter().any(|value| if *how == How::Has { value.is_in(text) } else { value.is(text) })
                };
                match (name.field, &name.label) {
                    (_, Some(label)) => {
                        subject.label(&mut |name, value| name.eq_ignore_ascii_case(label) && is_it(value))
                    }
                    (Field::Label, None) => subject.label(&mut |_, value| is_it(value)),
                    (field, None) => subject.text(field, &mut |text| is_it(text)),
                }
            }
            Expression::Choice { field, bits, .. } => bits & choice(subject, *field) != 0,
            Expression::Figure { field, compare, values } => {
                let figure = subject.figure(*field);
                figure.is_some_and(|figure| values.iter().any(|value| compare.holds(figure, *value)))
            }
            Expression::And(parts) => parts.iter().all(|part| part.holds(subject)),
            Expression::Or(parts) => parts.iter().any(|part| part.holds(subject)),
            Expression::Not(part) => !part.holds(subject),
        }
    }
}

/// What a client is of a closed set, as bits by the places in [`Field::choices`].
fn choice(subject: &impl Subject, field: Field) -> u128 {
    let place = match field {
        Field::State => {
            let down = if subject.is_down() { 1 << Badge::ALL.len() } else { 0 };
            return 1 << subject.badge() as u32 | down;
        }
        Field::Reason => subject.reason().map(|reason| reason as u32),
        Field::Protocol => subject.protocol().map(|protocol| match protocol {
            Protocol::V311 => 0,
            Protocol::V5 => 1,
        }),
        Field::Probe => subject.probe().map(|probe| match probe {
            ProbeKind::Heartbeat => 0,
            ProbeKind::Ack => 1,
            ProbeKind::Echo => 2,
            ProbeKind::Off => 3,
        }),
        Field::Transport => {
            let scheme = subject.scheme();
            scheme.and_then(|scheme| Field::Transport.words().position(|word| word == scheme)).map(|place| place as u32)
        }
        _ => None,
    };
    place.map_or(0, |place| 1 << place)
}

/// Whether a client has this text on the screen, or in a label.
fn shows(subject: &impl Subject, text: &Text) -> bool {
    let mut is_in = |shown: &str| text.is_in(shown);
    subject.text(Field::Id, &mut is_in)
        || subject.text(Field::Endpoint, &mut is_in)
        || is_state(subject, text)
        || subject.text(Field::Why, &mut is_in)
        || subject.label(&mut |name, value| is_in_label(text, name, value))
}

/// Whether it begins a word for what the client's state is. Within a word it means nothing: `off` is not `backoff`.
fn is_state(subject: &impl Subject, text: &Text) -> bool {
    let down = subject.is_down().then_some("down");
    subject.badge().words().into_iter().chain(down).any(|word| text.begins(word))
}

/// Whether it is in a label's name or value; with a `=` of its own, in `name=value`.
fn is_in_label(text: &Text, name: &str, value: &str) -> bool {
    match text.has_equals_sign() {
        true => text.is_in(&format!("{name}={value}")),
        false => text.is_in(name) || text.is_in(value),
    }
}
