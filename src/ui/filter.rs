//! Defines how a filter is named where it is in force; what it means is the model's matter.

use ratatui::text::Span;

use crate::{
    model::{Chosen, Origin},
    text::{Scrubbed, ellipsize},
    ui::{Screen, paint::span},
    words::{self, figures},
};

/// What the filter is, in at most so many columns: whom it is asked of where these were chosen, then the query.
pub(super) fn name(screen: &Screen, columns: usize) -> Vec<Span<'static>> {
    let (key, model) = (screen.theme.key, screen.model);
    let mut spans = Vec::new();
    if let Some(chosen) = model.chosen() {
        spans.push(span(ellipsize(&Scrubbed::new(&who(screen, chosen)), columns), key));
    }
    if !model.filter().is_empty() {
        let gap = if spans.is_empty() { "" } else { " " };
        spans.push(span(format!("{gap}/{}", ellipsize(&Scrubbed::new(model.filter()), columns)), key));
    }
    spans
}

/// Who was chosen.
pub(super) fn who(screen: &Screen, chosen: &Chosen) -> String {
    match &chosen.origin {
        Origin::Cause(insight) => words::insight::cause(screen.fleet, insight),
        Origin::Alert(name) => format!("alert {name}"),
        Origin::Burst(entry) => words::entry(screen.fleet, entry),
        Origin::Job(id, true) => format!("failed in job {id}"),
        Origin::Job(id, false) => format!("job {id}"),
        Origin::Cell => match chosen.clients() {
            [one] => screen.fleet.full_name(*one).into_owned(),
            many => figures::clients(many.len() as u64),
        },
    }
}
