//! Defines how an inventory, a file with a device in each row, becomes rows or errors with their places in it; which clients they make is elsewhere. No message ever shows what stands in it.

mod csv;
mod field;
mod json;

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read},
    ops::Range,
    path::Path,
    sync::Arc,
};

use super::{Surroundings, expand::CLIENTS_MAX, password};
use crate::{
    document::{Draft, Elsewhere, Report, Value, quoted, thousands},
    fleet::{EndpointKey, Secret},
    text::Scrubbed,
};

pub(super) use field::{Field, Mapped, read_columns};

/// The longest text MQTT can carry, in bytes (MQTT 5.0 §1.5.4).
const TEXT_MAX: usize = 65_535;
/// The largest inventory that is read, in bytes. A million devices with all their fields have less.
const BYTES_MAX: u64 = 1 << 30;

/// The devices of a file.
pub(super) struct Inventory {
    /// How messages call the file.
    pub file: String,
    bytes: Vec<u8>,
    pub rows: Vec<Row>,
    /// Where the fleet file names it.
    pub span: Range<usize>,
}

/// One device: what its row says of it.
#[derive(Debug, Default)]
pub(super) struct Row {
    pub id: Box<str>,
    /// Where its ID stands.
    pub spot: Spot,
    pub username: Option<Box<str>>,
    pub password: Option<Secret>,
    pub cert_file: Option<Box<str>>,
    pub key_file: Option<Box<str>>,
    pub key_password: Option<Secret>,
    pub endpoints: Option<Arc<[EndpointKey]>>,
    pub labels: Vec<(Scrubbed, Scrubbed)>,
}

/// A place in an inventory: from this byte on, and so many cells of CSV further, with what is between them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spot {
    start: usize,
    cell: Option<(usize, u8)>,
}

impl Inventory {
    /// Whether each device says itself where it connects.
    pub(super) fn all_have_endpoints(&self) -> bool {
        self.rows.iter().all(|row| row.endpoints.is_some())
    }

    /// The file, line and column of a spot.
    pub(super) fn place(&self, spot: Spot) -> Elsewhere {
        place(&self.file, &self.bytes, spot)
    }
}

/// Reads the inventory that `from` names, in which some fields have other names; `endpoints` are those of
/// the fleet, in the order of their keys.
pub(super) fn read(
    from: &Value<'_>,
    mapped: &[Mapped],
    endpoints: &[String],
    report: &mut Report<'_>,
    around: &Surroundings<'_>,
) -> Option<Inventory> {
    let text = from.string(report, "a file's path in quotes, such as \"devices.csv\"")?;
    let path = around.base_dir.join(text);
    let wrong = |title: String, help: &str| Draft::at(from.span.clone(), title).help(help);
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    if !["csv", "tsv", "json", "jsonl", "ndjson"].contains(&&*extension) {
        let title = format!("{} is no inventory", quoted(text));
        report.error(wrong(title, "its name ends in .csv, .json or .jsonl, and says how it is made up"));
        return None;
    }
    let bytes = match bytes(&path) {
        Ok(bytes) => bytes,
        Err(why) => {
            let help = "relative paths are relative to the fleet file";
            report.error(wrong(format!("cannot read {}: {why}", quoted(&path.display().to_string())), help));
            return None;
        }
    };
    let file = path.display().to_string();
    let errors = report.errors();
    let rows = Rows {
        report,
        file: &file,
        bytes: &bytes,
        from: &from.span,
        endpoints,
        rows: Vec::new(),
        row: Row::default(),
        is_spoilt: false,
        has_secrets: false,
        lists: HashMap::new(),
    };
    let (rows, has_secrets) = rows.read(&extension, mapped);
    if rows.is_empty() && report.errors() == errors {
        report.error(Draft::at(from.span.clone(), format!("there is no device in {}", quoted(&file))));
    }
    if has_secrets && password::is_open(&path) {
        let title = format!("others than its owner can reach {}, which has passwords in it", quoted(&file));
        report.warning(Draft::at(from.span.clone(), title).help("chmod 600 it"));
    }
    Some(Inventory { file, bytes, rows, span: from.span.clone() })
}

fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    let read = || {
        let file = File::open(path)?;
        let about = file.metadata()?;
        // What is no file may never end.
        if !about.is_file() {
            return Err(io::Error::other("it is no regular file"));
        }
        let too_much = || io::Error::other("it has more than 1 GiB, the most that is read of an inventory");
        if about.len() > BYTES_MAX {
            return Err(too_much());
        }
        let mut bytes = Vec::with_capacity(about.len() as usize);
        // It may grow meanwhile.
        if file.take(BYTES_MAX + 1).read_to_end(&mut bytes)? as u64 > BYTES_MAX {
            return Err(too_much());
        }
        // The bytes that some editors put before UTF-8 text.
        if bytes.starts_with(b"\xef\xbb\xbf") {
            bytes.drain(..3);
        }
        Ok(bytes)
    };
    read().map_err(|error| error.to_string())
}

/// The rows, while the file is taken apart.
struct Rows<'a, 't> {
    report: &'a mut Report<'t>,
    file: &'a str,
    bytes: &'a [u8],
    from: &'a Range<usize>,
    endpoints: &'a [String],
    rows: Vec<Row>,
    /// The one that is being read.
    row: Row,
    /// Something is wrong with it.
    is_spoilt: bool,
    has_secrets: bool,
    /// What cells with names of endpoints mean.
    lists: HashMap<Box<str>, Arc<[EndpointKey]>>,
}

impl Rows<'_, '_> {
    fn read(mut self, extension: &str, mapped: &[Mapped]) -> (Vec<Row>, bool) {
        let bytes = self.bytes;
        match (extension, std::str::from_utf8(bytes)) {
            ("csv" | "tsv", _) => csv::read(bytes, mapped, &mut self),
            ("json", Ok(text)) => json::read(text, mapped, &mut self),
            (_, Ok(text)) => json::read_lines(text, mapped, &mut self),
            (_, Err(error)) => {
                let spot = Spot { start: error.valid_up_to(), cell: None };
                self.wrong(spot, "this is not UTF-8", Some("save it as UTF-8 text"));
            }
        }
        (self.rows, self.has_secrets)
    }

    /// Something is wrong there; `title` repeats nothing of it.
    fn wrong(&mut self, spot: Spot, title: &str, help: Option<&str>) {
        let (file, bytes) = (self.file, self.bytes);
        let draft = || Draft::elsewhere(place(file, bytes, spot), title).help_if(help.map(str::to_owned));
        self.report.error_of(draft);
    }

    fn doubtful(&mut self, spot: Spot, title: &str) {
        self.report.warning(Draft::elsewhere(place(self.file, self.bytes, spot), title));
    }

    /// What `columns` names is not there.
    fn unmapped(&mut self, span: &Range<usize>, what: &str) {
        self.report.error(Draft::at(span.clone(), format!("{} {what}", quoted(self.file))).also(self.from.clone(), ""));
    }

    /// A device begins. False where there are too many.
    fn begin(&mut self, spot: Spot) -> bool {
        if self.rows.len() as u64 == CLIENTS_MAX {
            let title = format!("more than {} devices are too many", thousands(CLIENTS_MAX));
            self.wrong(spot, &title, Some("share them among several fleet files"));
            return false;
        }
        (self.row, self.is_spoilt) = (Row { spot, ..Row::default() }, false);
        true
    }

    /// Something is wrong with the device: it makes no client.
    fn spoil(&mut self) {
        self.is_spoilt = true;
    }

    /// One of its fields; an empty one is none.
    fn cell(&mut self, field: &Field, text: &str, spot: Spot) {
        if text.is_empty() {
            return;
        }
        let wrong = |rows: &mut Self, title: &str, help: Option<&str>| {
            rows.wrong(spot, title, help);
            rows.spoil();
        };
        if text.len() > TEXT_MAX {
            let title = format!("`{}` has more than 65,535 bytes, the most that MQTT carries", field.name());
            return wrong(self, &title, None);
        }
        if text.contains('\0') {
            let title = format!("`{}` has a NUL character, which MQTT forbids (MQTT 5.0 §1.5.4)", field.name());
            return wrong(self, &title, None);
        }
        self.has_secrets |= matches!(field, Field::Password | Field::KeyPassword);
        let row = &mut self.row;
        match field {
            Field::Id => (row.id, row.spot) = (text.into(), spot),
            Field::Username => row.username = Some(text.into()),
            Field::CertFile => row.cert_file = Some(text.into()),
            Field::KeyFile => row.key_file = Some(text.into()),
            Field::Password => row.password = Some(Secret::new(text.to_owned())),
            Field::KeyPassword => row.key_password = Some(Secret::new(text.to_owned())),
            Field::Label(name) => row.labels.push((name.clone(), Scrubbed::new(text))),
            Field::Endpoints => match self.lists.get(text) {
                Some(list) => row.endpoints = Some(list.clone()),
                None => match list(text, self.endpoints) {
                    Ok(list) => {
                        let list = self.lists.entry(text.into()).or_insert(list);
                        row.endpoints = Some(list.clone());
                    }
                    Err(title) => {
                        let shown: Vec<String> = self.endpoints.iter().take(8).map(|name| quoted(name)).collect();
                        let more = if self.endpoints.len() > 8 { ", …" } else { "" };
                        wrong(self, title, Some(&format!("there are {}{more}", shown.join(", "))));
                    }
                },
            },
        }
    }

    fn end(&mut self) {
        let row = std::mem::take(&mut self.row);
        if row.id.is_empty() && !self.is_spoilt {
            self.wrong(row.spot, "a device without `id`", Some("every client needs an ID of its own"));
            return;
        }
        if !self.is_spoilt {
            self.rows.push(row);
        }
    }
}

/// The endpoints of these names, with blanks, commas or semicolons between.
fn list(text: &str, names: &[String]) -> Result<Arc<[EndpointKey]>, &'static str> {
    let mut keys = Vec::new();
    for name in text.split([' ', ',', ';', '|']).filter(|name| !name.is_empty()) {
        let index = names.iter().position(|known| known == name).ok_or("there is no such endpoint")?;
        let key = EndpointKey(index as u16); // more than fit are an error of their own
        if keys.contains(&key) {
            return Err("an endpoint is there twice");
        }
        keys.push(key);
    }
    match keys.is_empty() {
        true => Err("there is no endpoint's name"),
        false => Ok(keys.into()),
    }
}

/// The line and column, from 1, of a spot.
fn place(file: &str, bytes: &[u8], spot: Spot) -> Elsewhere {
    let mut at = spot.start.min(bytes.len());
    if let Some((index, delimiter)) = spot.cell {
        let (mut within, mut left) = (csv::Within::default(), index);
        while left > 0 && at < bytes.len() {
            let byte = bytes[at];
            if within != csv::Within::Quotes {
                match byte {
                    b'\n' | b'\r' => break,
                    byte if byte == delimiter => left -= 1,
                    _ => {}
                }
            }
            within = within.after(byte, delimiter);
            at += 1;
        }
    }
    let line_start = bytes[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    Elsewhere {
        file: file.to_owned(),
        line: bytes[..at].iter().filter(|byte| **byte == b'\n').count() + 1,
        column: String::from_utf8_lossy(&bytes[line_start..at]).chars().count() + 1,
    }
}

#[cfg(test)]
mod tests;
