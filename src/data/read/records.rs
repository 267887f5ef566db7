//! The records of a table, cut into fields.

use std::io::Read;

use crate::error::{Error, Result};

use super::data_error;
use super::lines::{FIELD_LIMIT, Lines, too_many_fields};

/// How a table's records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dialect {
    /// Stands between two fields.
    pub separator: u8,
    /// Whether a field may stand in double quotes, as RFC 4180 has it.
    pub quotes: bool,
}

/// A separator as messages name it.
pub(super) fn shown(separator: u8) -> String {
    match separator {
        b'\t' => "a tab".into(),
        b',' => "a comma".into(),
        b';' => "a semicolon".into(),
        other => format!("'{}'", char::from(other)),
    }
}

/// A table's records, one after the other.
pub(super) struct Records<'a> {
    lines: Lines<'a>,
    dialect: Dialect,
    parser: csv::Reader<OneRecord>,
    fields: csv::StringRecord,
}

/// A record, its first line's number, and what it was cut from.
pub(super) struct Fields<'r> {
    pub line: u64,
    pub fields: Vec<&'r str>,
    pub raw: &'r str,
}

impl<'a> Records<'a> {
    pub fn new(lines: Lines<'a>, dialect: Dialect) -> Records<'a> {
        // Records are cut apart before the csv crate sees them: it would take a quote that is never closed for the
        // field's end, knows no bound, and counts a record's line from the blank lines before it.
        let mut parser = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(dialect.separator)
            .terminator(csv::Terminator::Any(b'\n'))
            .from_reader(OneRecord::default());
        let mut fields = csv::StringRecord::new();
        // It takes a byte-order mark off the first bytes it is given. The file's own is gone already, and what looks
        // like one after it belongs to a field: so the first bytes are none of the file's.
        parser.get_mut().set("start");
        let _ = parser.read_record(&mut fields);
        Records {
            lines,
            dialect,
            parser,
            fields,
        }
    }

    /// Whether the stream has ended.
    pub fn at_end(&mut self) -> bool {
        self.lines.at_end()
    }

    /// The next record; `None` at the end.
    pub fn next(&mut self) -> Result<Option<Fields<'_>>> {
        let Dialect { separator, quotes } = self.dialect;
        let source = self.lines.source();
        if !quotes {
            let Some(record) = self.lines.next_line()? else {
                return Ok(None);
            };
            let raw = record.text;
            if raw.bytes().filter(|byte| *byte == separator).count() >= FIELD_LIMIT {
                return Err(data_error(source, record.line, &too_many_fields()));
            }
            return Ok(Some(Fields {
                line: record.line,
                fields: raw.split(char::from(separator)).collect(),
                raw,
            }));
        }
        let Some(record) = self.lines.next_quoted(separator)? else {
            return Ok(None);
        };
        self.parser.get_mut().set(record.text);
        let parsed = self.parser.read_record(&mut self.fields);
        if !matches!(parsed, Ok(true)) || !self.parser.get_ref().is_spent() {
            return Err(Error::Internal(format!(
                "{source}, line {}: the record could not be split into fields, although its quotes are correct; please \
                 report this.",
                record.line
            )));
        }
        Ok(Some(Fields {
            line: record.line,
            fields: self.fields.iter().collect(),
            raw: record.text,
        }))
    }
}

/// A stream that ends after one record, until it is given the next.
#[derive(Default)]
struct OneRecord {
    bytes: Vec<u8>,
    read: usize,
}

impl OneRecord {
    fn set(&mut self, record: &str) {
        self.bytes.clear();
        self.bytes.extend_from_slice(record.as_bytes());
        self.bytes.push(b'\n');
        self.read = 0;
    }

    fn is_spent(&self) -> bool {
        self.read == self.bytes.len()
    }
}

impl Read for OneRecord {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let mut left = self.bytes.get(self.read..).unwrap_or_default();
        let count = left.read(buffer)?;
        self.read += count;
        Ok(count)
    }
}
