//! Defines how an inventory in CSV (RFC 4180) is taken apart: a line of names, then a line for each device, with commas, semicolons or tabs between; what the fields mean is elsewhere.

use csv::{ByteRecord, ReaderBuilder};

use super::{
    Rows, Spot,
    field::{Field, Mapped},
    quoted,
};

/// Where in a record a byte stands. As RFC 4180 has it, only the first byte of a cell opens quotes: in
/// `5" pipe` one is a character as any other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Within {
    /// At the begin of a cell.
    #[default]
    Begin,
    /// In a cell without quotes, or behind those that it had.
    Cell,
    Quotes,
    /// Behind a quote within quotes, which ends them unless another one follows.
    Quote,
}

impl Within {
    /// Where the byte after this one stands.
    pub(super) fn after(self, byte: u8, delimiter: u8) -> Within {
        match (self, byte) {
            (Within::Begin | Within::Quote, b'"') => Within::Quotes,
            (Within::Quotes, b'"') => Within::Quote,
            (Within::Quotes, _) => Within::Quotes,
            (_, byte) if byte == delimiter => Within::Begin,
            _ => Within::Cell,
        }
    }
}

/// Which column, from 0, is which field.
struct Columns {
    fields: Vec<(usize, Field)>,
    count: usize,
}

/// Takes the file apart, and hands on each device's cells.
pub(super) fn read(bytes: &[u8], mapped: &[Mapped], cells: &mut Rows<'_, '_>) {
    let delimiter = delimiter(bytes);
    let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).delimiter(delimiter).from_reader(bytes);
    let mut record = ByteRecord::new();
    let mut columns: Option<Columns> = None;
    // It fails where reading fails, which memory does not, or lengths differ, which they may.
    while let Ok(true) = reader.read_byte_record(&mut record) {
        let begin = record.position().map_or(0, |at| at.byte() as usize);
        // A position is that of the line end before.
        let begin = begin + bytes[begin..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let end = reader.position().byte() as usize;
        let spot = |index: usize| Spot { start: begin, cell: Some((index, delimiter)) };
        let last = bytes[begin..end].iter().fold(Within::default(), |within, byte| within.after(*byte, delimiter));
        if last == Within::Quotes {
            cells.wrong(spot(0), "a quote is not closed from here on", Some("a quote within quotes is written twice"));
            return;
        }
        let Some(columns) = &columns else {
            columns = Some(names(&record, mapped, cells, spot));
            continue;
        };
        if record.len() == 1 && record[0].trim_ascii().is_empty() {
            continue; // a line of blanks
        }
        if !cells.begin(spot(0)) {
            return;
        }
        if record.len() != columns.count {
            let title = format!("{} cells, and the first line names {} columns", record.len(), columns.count);
            let help = "a cell with a delimiter in it stands in quotes";
            cells.wrong(spot(record.len().min(columns.count)), &title, Some(help));
            cells.spoil();
            continue;
        }
        for (index, field) in &columns.fields {
            match std::str::from_utf8(&record[*index]) {
                Ok(text) => cells.cell(field, text, spot(*index)),
                Err(_) => {
                    cells.wrong(spot(*index), &format!("`{}` is not UTF-8", field.name()), Some("save it as UTF-8"));
                    cells.spoil();
                }
            }
        }
        cells.end();
    }
    if columns.is_none() {
        cells.wrong(Spot { start: 0, cell: None }, "it is empty", Some("its first line names the columns"));
    }
}

/// Commas are usual; spreadsheets write semicolons where a comma is a decimal point.
fn delimiter(bytes: &[u8]) -> u8 {
    let line = bytes.split(|byte| matches!(byte, b'\n' | b'\r')).next().unwrap_or_default();
    let count = |delimiter: u8| line.iter().filter(|byte| **byte == delimiter).count();
    [b',', b';', b'\t'].into_iter().rev().max_by_key(|delimiter| count(*delimiter)).unwrap_or(b',')
}

/// Reads the first line. No word of it is repeated: where the names are forgotten, it is a device's.
fn names(record: &ByteRecord, mapped: &[Mapped], cells: &mut Rows<'_, '_>, spot: impl Fn(usize) -> Spot) -> Columns {
    let mut fields: Vec<(usize, Field)> = Vec::new();
    let names: Vec<String> = record.iter().map(|name| String::from_utf8_lossy(name).trim().to_owned()).collect();
    for Mapped { field, column, span } in mapped {
        match names.iter().position(|name| name == column) {
            Some(index) => fields.push((index, field.clone())),
            None => cells.unmapped(span, &format!("has no column {}", quoted(column))),
        }
    }
    for (index, name) in names.iter().enumerate() {
        match Field::of(name) {
            Some(field) if mapped.iter().any(|m| m.field == field) => {}
            Some(field) if fields.iter().any(|(_, known)| *known == field) => {
                cells.wrong(spot(index), &format!("there are two columns `{}`", field.name()), None);
            }
            Some(field) => fields.push((index, field)),
            None if mapped.iter().any(|m| m.column == *name) => {}
            None => {
                if let Some(shared) = Field::shared(name) {
                    let all = Field::all();
                    let title = format!("`{shared}` is no column: all devices of a table share it; there are {all}");
                    cells.doubtful(spot(index), &title);
                } else if let Some(near) = Field::near(name) {
                    cells.doubtful(spot(index), &format!("this column is not used: did you mean `{near}`?"));
                }
            }
        }
    }
    if !fields.iter().any(|(_, field)| *field == Field::Id) && !mapped.iter().any(|m| m.field == Field::Id) {
        let help = "name it in the first line, or say in the fleet file which it is: columns = { id = \"NAME\" }";
        cells.wrong(spot(0), "no column is called `id`", Some(help));
    }
    Columns { fields, count: names.len() }
}
