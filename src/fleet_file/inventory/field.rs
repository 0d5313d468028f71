//! Defines which fields of a client an inventory can have, and what they are called there; how its file is made up is the formats' matter.

use super::super::format::COMMON_KEYS;
use crate::{
    document::{Draft, Report, Value, nearest, quoted},
    text::Scrubbed,
};

/// A field of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::fleet_file) enum Field {
    Id,
    Username,
    Password,
    CertFile,
    KeyFile,
    KeyPassword,
    Endpoints,
    Label(Scrubbed),
}

/// Fields by the names that columns have; labels are `labels.NAME`.
const NAMES: [(&str, Field); 7] = [
    ("id", Field::Id),
    ("username", Field::Username),
    ("password", Field::Password),
    ("cert_file", Field::CertFile),
    ("key_file", Field::KeyFile),
    ("key_password", Field::KeyPassword),
    ("endpoints", Field::Endpoints),
];
pub(super) const LABELS: &str = "labels";

impl Field {
    /// The field that a column of this name has.
    pub(crate) fn of(name: &str) -> Option<Field> {
        let known = NAMES.iter().find(|(known, _)| *known == name).map(|(_, field)| field.clone());
        known.or_else(|| match name.split_once('.') {
            Some((LABELS, label)) if !label.is_empty() => Some(Field::Label(Scrubbed::new(label))),
            _ => None,
        })
    }

    /// The field that a column of nearly this name was meant to have.
    pub(crate) fn near(name: &str) -> Option<&'static str> {
        nearest(name, NAMES.iter().map(|(name, _)| *name))
    }

    /// The setting of this name that a device cannot have of its own.
    pub(crate) fn shared(name: &str) -> Option<&'static str> {
        COMMON_KEYS.iter().copied().find(|key| *key == name && Field::of(key).is_none())
    }

    /// What columns can have, in words.
    pub(crate) fn all() -> String {
        let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
        format!("{}, {LABELS}.NAME", names.join(", "))
    }

    pub(crate) fn name(&self) -> String {
        match self {
            Field::Label(name) => format!("{LABELS}.{name}"),
            field => {
                NAMES.iter().find(|(_, known)| known == field).map(|(name, _)| *name).unwrap_or_default().to_owned()
            }
        }
    }
}

/// A field whose column has another name.
#[derive(Clone, Debug)]
pub(in crate::fleet_file) struct Mapped {
    pub field: Field,
    pub column: String,
    pub span: std::ops::Range<usize>,
}

/// Reads `columns`: `{ id = "thingName", labels.site = "attributes.site" }`.
pub(in crate::fleet_file) fn read_columns(value: &Value<'_>, report: &mut Report<'_>) -> Vec<Mapped> {
    const EXAMPLE: &str = "{ id = \"thingName\", labels.site = \"attributes.site\" }";
    let mut mapped = Vec::new();
    let Some(table) = value.table(report, "`columns`", EXAMPLE) else { return mapped };
    for (name, item) in table.in_order() {
        if name == LABELS {
            let labels = item.table(report, "`columns.labels`", EXAMPLE).map(|labels| labels.in_order());
            for (label, item) in labels.unwrap_or_default() {
                take(&format!("{LABELS}.{label}"), &item, &mut mapped, report);
            }
        } else {
            take(&name, &item, &mut mapped, report);
        }
    }
    mapped
}

fn take(name: &str, value: &Value<'_>, mapped: &mut Vec<Mapped>, report: &mut Report<'_>) {
    let Some(column) = value.string(report, "a column's name in quotes") else { return };
    match Field::of(name) {
        Some(field) if mapped.iter().any(|m| m.field == field) => {
            report.error(Draft::at(value.span.clone(), format!("{} is there twice in `columns`", quoted(name))));
        }
        Some(field) => mapped.push(Mapped { field, column: column.to_owned(), span: value.span.clone() }),
        None => {
            let help = match Field::near(name).filter(|_| Field::shared(name).is_none()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("`columns` can have: {}; what all clients share stands in the table", Field::all()),
            };
            let title = format!("an inventory has no field {}", quoted(name));
            report.error(Draft::at(value.span.clone(), title).help(help));
        }
    }
}
