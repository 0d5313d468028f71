//! Defines how an inventory in JSON is taken apart: a list of objects, one that is the only list of an object, or an object a line; what the fields mean is elsewhere.

use std::borrow::Cow;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{
    Rows, Spot,
    field::{Field, LABELS, Mapped},
    quoted,
};
use crate::text::Scrubbed;

/// An object's members as they stand in the file.
struct Object<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut members = Vec::with_capacity(map.size_hint().unwrap_or(8));
                while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                    members.push((name, value));
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// Takes a document apart.
pub(super) fn read(text: &str, mapped: &[Mapped], cells: &mut Rows<'_, '_>) {
    let list = match serde_json::from_str::<&RawValue>(text) {
        Ok(document) => list(document),
        Err(error) => return syntax(&error, text, 0, cells),
    };
    let Some(devices) = list else {
        let help = "[{ \"id\": \"press-1\", … }, …], or an object with one such list in it";
        return cells.wrong(Spot { start: 0, cell: None }, "this is no list of devices", Some(help));
    };
    let mut found = vec![false; mapped.len()];
    for device in &devices {
        if !one(text, device, mapped, &mut found, cells) {
            return;
        }
    }
    missing(&devices, mapped, &found, cells);
}

/// Takes lines apart, each an object.
pub(super) fn read_lines(text: &str, mapped: &[Mapped], cells: &mut Rows<'_, '_>) {
    let mut found = vec![false; mapped.len()];
    let mut devices = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        match serde_json::from_str::<&RawValue>(line) {
            Ok(device) => {
                devices.push(device);
                if !one(text, device, mapped, &mut found, cells) {
                    return;
                }
            }
            Err(error) => syntax(&error, text, offset(text, line), cells),
        }
    }
    missing(&devices, mapped, &found, cells);
}

/// The devices of a document: it is a list, or an object with one list in it.
fn list(document: &RawValue) -> Option<Vec<&RawValue>> {
    if let Ok(devices) = serde_json::from_str(document.get()) {
        return Some(devices);
    }
    let Object(members) = serde_json::from_str(document.get()).ok()?;
    let mut lists = members.iter().filter_map(|(_, value)| serde_json::from_str(value.get()).ok());
    match (lists.next(), lists.next()) {
        (Some(devices), None) => Some(devices),
        _ => None,
    }
}

/// What `columns` names and no device has.
fn missing(devices: &[&RawValue], mapped: &[Mapped], found: &[bool], cells: &mut Rows<'_, '_>) {
    for (Mapped { column, span, .. }, found) in mapped.iter().zip(found) {
        if !found && !devices.is_empty() {
            cells.unmapped(span, &format!("has no device with {}", quoted(column)));
        }
    }
}

fn one(text: &str, device: &RawValue, mapped: &[Mapped], found: &mut [bool], cells: &mut Rows<'_, '_>) -> bool {
    let begin = Spot { start: offset(text, device.get()), cell: None };
    if !cells.begin(begin) {
        return false;
    }
    let Ok(object) = serde_json::from_str::<Object<'_>>(device.get()) else {
        cells.wrong(begin, "a device is an object", Some("such as { \"id\": \"press-1\" }"));
        cells.spoil();
        return true;
    };
    for (Mapped { field, column, .. }, found) in mapped.iter().zip(found) {
        if let Some(value) = object.at(column) {
            *found = true;
            take(text, field, value, cells);
        }
    }
    let is_mapped = |field: &Field| mapped.iter().any(|m| m.field == *field);
    for (name, value) in &object.0 {
        if name == LABELS {
            let labels = serde_json::from_str::<Object<'_>>(value.get()).map(|object| object.0);
            for (label, value) in labels.unwrap_or_default() {
                let field = Field::Label(Scrubbed::new(&label));
                if !is_mapped(&field) {
                    take(text, &field, value, cells);
                }
            }
        } else if let Some(field) = Field::of(name).filter(|field| !is_mapped(field)) {
            take(text, &field, value, cells);
        }
    }
    cells.end();
    true
}

impl<'a> Object<'a> {
    /// What stands there: `a.b` is a member of that name, or member `b` of object `a`.
    fn at(&self, path: &str) -> Option<&'a RawValue> {
        let member = |name: &str| self.0.iter().find(|(known, _)| known == name).map(|(_, value)| *value);
        member(path).or_else(|| {
            let (first, rest) = path.split_once('.')?;
            serde_json::from_str::<Object<'a>>(member(first)?.get()).ok()?.at(rest)
        })
    }
}

fn take(text: &str, field: &Field, value: &RawValue, cells: &mut Rows<'_, '_>) {
    let (raw, spot) = (value.get(), Spot { start: offset(text, value.get()), cell: None });
    let list = || serde_json::from_str::<Vec<String>>(raw).ok().filter(|_| *field == Field::Endpoints);
    match raw.as_bytes().first() {
        Some(b'n') => {} // null: not given
        Some(b'"') => match serde_json::from_str::<Name<'_>>(raw) {
            Ok(Name(content)) => cells.cell(field, &content, spot),
            Err(error) => {
                cells.wrong(spot, &format!("`{}` is no text: {}", field.name(), words(&error)), None);
                cells.spoil();
            }
        },
        // Numbers as they stand there.
        Some(b'0'..=b'9' | b'-') => cells.cell(field, raw, spot),
        Some(b't' | b'f') if matches!(field, Field::Label(_)) => cells.cell(field, raw, spot),
        _ => match list() {
            Some(names) => cells.cell(field, &names.join(" "), spot),
            None => {
                let kind = match raw.as_bytes().first() {
                    Some(b'{') => "an object",
                    Some(b'[') => "a list",
                    _ => "true or false",
                };
                cells.wrong(spot, &format!("`{}` must be a text, not {kind}", field.name()), None);
                cells.spoil();
            }
        },
    }
}

fn syntax(error: &serde_json::Error, text: &str, from: usize, cells: &mut Rows<'_, '_>) {
    let lines = text[from..].split_inclusive('\n').take(error.line().saturating_sub(1));
    // The column is in bytes, from 1.
    let start = from + lines.map(str::len).sum::<usize>() + error.column().saturating_sub(1);
    cells.wrong(Spot { start, cell: None }, &format!("this is not JSON: {}", words(error)), None);
}

/// The error's words without the place, which is said elsewhere, and without what stands there.
fn words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or(&text).to_owned()
}

/// Where `part`, a piece of `text`, begins in it.
fn offset(text: &str, part: &str) -> usize {
    (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize)
}
