//! TSV and CSV.

use std::io::Read;

use crate::error::{Error, Result};

use super::super::{Dataset, Example, listed};
use super::columns::{self, Columns, Place};
use super::lines::{FIELD_LIMIT, Lines, too_many_fields};
use super::{FileFormat, ReadOptions, add, data_error, label_from};

pub(super) fn read(lines: Lines, format: FileFormat, options: &ReadOptions) -> Result<Dataset> {
    let mut reader = TableReader {
        source: lines.source(),
        options,
        layout: None,
        dataset: Dataset::new(),
    };
    match format {
        FileFormat::Csv => reader.read_csv(lines)?,
        _ => reader.read_tsv(lines)?,
    }
    Ok(reader.dataset)
}

struct TableReader<'a> {
    source: &'a str,
    options: &'a ReadOptions,
    /// Known from the first record on.
    layout: Option<Layout>,
    dataset: Dataset,
}

#[derive(Clone, Copy)]
struct Layout {
    columns: Columns,
    /// How many fields every record has.
    fields: usize,
    /// The line of the first record, for messages.
    line: u64,
}

impl TableReader<'_> {
    fn read_tsv(&mut self, mut lines: Lines) -> Result<()> {
        while let Some(record) = lines.next_line()? {
            if record.text.bytes().filter(|b| *b == b'\t').count() >= FIELD_LIMIT {
                return Err(data_error(self.source, record.line, &too_many_fields()));
            }
            let fields: Vec<&str> = record.text.split('\t').collect();
            self.record(
                &fields,
                record.line,
                "a tab separates fields and can't be part of one",
            )?;
        }
        Ok(())
    }

    fn read_csv(&mut self, mut lines: Lines) -> Result<()> {
        // Records are cut apart before the csv crate sees them: it would take a quote that is never closed for the
        // field's end, knows no bound, and counts a record's line from the blank lines before it.
        let mut parser = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .terminator(csv::Terminator::Any(b'\n'))
            .from_reader(OneRecord::default());
        let mut fields = csv::StringRecord::new();
        // It takes a byte-order mark off the first bytes it is given. The file's own is gone already, and what looks like
        // one after it belongs to a field: so the first bytes are none of the file's.
        parser.get_mut().set("start");
        let _ = parser.read_record(&mut fields);
        while let Some(record) = lines.next_csv_record()? {
            parser.get_mut().set(record.text);
            let parsed = parser.read_record(&mut fields);
            if !matches!(parsed, Ok(true)) || !parser.get_ref().is_spent() {
                return Err(Error::Internal(format!(
                    "{}, line {}: the record could not be split into fields, although its quotes are correct; \
                     please report this.",
                    self.source, record.line
                )));
            }
            let fields: Vec<&str> = fields.iter().collect();
            self.record(
                &fields,
                record.line,
                "a field with a comma in it must be in quotes",
            )?;
        }
        Ok(())
    }

    fn record(&mut self, fields: &[&str], line: u64, hint: &str) -> Result<()> {
        let layout = match self.layout {
            Some(layout) => layout,
            None => {
                let place = Place {
                    source: self.source,
                    line,
                    noun: "column",
                    nouns: "columns",
                    names: listed(fields.iter().copied()),
                    hint: " (or, if this line is an example, to be told that there is no header)",
                };
                let (is_header, columns) = columns::of_table(fields, self.options, &place)?;
                let layout = *self.layout.insert(Layout {
                    columns,
                    fields: fields.len(),
                    line,
                });
                if is_header {
                    return Ok(());
                }
                layout
            }
        };
        if fields.len() != layout.fields {
            let noun = if fields.len() == 1 { "field" } else { "fields" };
            let what = format!(
                "the record has {} {noun}; expected {} as on line {} ({hint})",
                fields.len(),
                layout.fields,
                layout.line
            );
            return Err(data_error(self.source, line, &what));
        }
        let field = |at: usize| fields.get(at).copied().unwrap_or_default();
        let label = label_from(field(layout.columns.label), self.options)
            .map_err(|what| data_error(self.source, line, &what))?;
        let example = Example {
            text: field(layout.columns.text).to_string(),
            pair: layout.columns.pair.map(|at| field(at).to_string()),
            label,
        };
        add(&mut self.dataset, example, self.source, line)
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
