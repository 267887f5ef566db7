//! TSV and CSV.

use std::io::Read;

use crate::error::Result;
use crate::log;

use super::super::{Dataset, Example, listed, quoted};
use super::columns::{self, Columns, Place};
use super::dialect::{self, Sample};
use super::doubts::{self, Guess};
use super::lines::Lines;
use super::records::{Dialect, Records, shown};
use super::{FileFormat, Header, Quoting, ReadOptions, add, beginning, data_error, label_from};

/// Reads a table from a stream in UTF-8.
pub(super) fn read(
    mut reader: Box<dyn Read + '_>,
    format: FileFormat,
    source: &str,
    options: &ReadOptions,
) -> Result<Dataset> {
    let (bytes, is_whole, rest) = beginning(&mut *reader, dialect::SAMPLE);
    let sample = Sample { bytes, is_whole };
    // A first line such as "sep=;" is for the program that reads the table.
    let named = match (format, options.separator) {
        (FileFormat::Csv, None) => sample.separator_line(),
        _ => None,
    };
    let separator = options.separator.or(named);
    let dialect = dialect::of(&sample, format, separator, options, source)?;
    let whole = sample.bytes.as_slice().chain(rest);
    let mut records = Records::new(Lines::new(Box::new(whole), source), dialect);
    if named.is_some() {
        records.next()?;
    }
    let mut reader = TableReader {
        source,
        options,
        sample: &sample,
        dialect,
        layout: None,
        quoted_line: None,
        dataset: Dataset::new(),
    };
    while let Some(record) = records.next()? {
        reader.record(&record.fields, record.line)?;
    }
    reader.finish()
}

struct TableReader<'a> {
    source: &'a str,
    options: &'a ReadOptions,
    sample: &'a Sample,
    dialect: Dialect,
    /// Known from the first record on.
    layout: Option<Layout>,
    /// The first line where a field looks quoted, though quotes have no meaning.
    quoted_line: Option<u64>,
    dataset: Dataset,
}

#[derive(Clone, Copy)]
struct Layout {
    columns: Columns,
    /// How many fields every record has.
    fields: usize,
    /// The line of the first record, for messages.
    line: u64,
    is_header: bool,
}

impl TableReader<'_> {
    fn record(&mut self, fields: &[&str], line: u64) -> Result<()> {
        let layout = match self.layout {
            Some(layout) => layout,
            None => {
                let layout = *self.layout.insert(self.first(fields, line)?);
                if layout.is_header {
                    return Ok(());
                }
                layout
            }
        };
        if fields.len() != layout.fields {
            return Err(self.other_length(fields, line, &layout));
        }
        if self.quoted_line.is_none()
            && !self.dialect.quotes
            && self.options.quoting == Quoting::Auto
            && fields.iter().any(|field| is_quoted(field))
        {
            self.quoted_line = Some(line);
        }
        let field = |at: usize| fields.get(at).copied().unwrap_or_default();
        let label = label_from(field(layout.columns.label), self.options).map_err(|what| {
            // Where nobody said what the first line is, it may be that which is wrong.
            let hint = if self.dataset.is_empty() && self.guess(&layout).header {
                " (if this line names the columns, set header to BERT_HEADER_PRESENT; if the label is in another \
                 column, set label_column and text_column)"
            } else {
                ""
            };
            data_error(self.source, line, &format!("{what}{hint}"))
        })?;
        let example = Example {
            text: field(layout.columns.text).to_string(),
            pair: layout.columns.pair.map(|at| field(at).to_string()),
            label,
        };
        add(&mut self.dataset, example, self.source, line)
    }

    /// What the first record tells.
    fn first(&self, fields: &[&str], line: u64) -> Result<Layout> {
        let mut place = Place {
            source: self.source,
            line,
            noun: "column",
            nouns: "columns",
            names: listed(fields.iter().copied()),
            hint: String::new(),
        };
        if let [only] = fields {
            place.hint = self.one_column(only);
        } else {
            let rows = self.sample.records(self.dialect).unwrap_or_default();
            place.hint = columns::indicators(fields, &rows);
        }
        let (is_header, columns) = columns::of_table(fields, self.options, &place)?;
        if is_header {
            self.tell_unread(fields, columns);
        }
        Ok(Layout {
            columns,
            fields: fields.len(),
            line,
            is_header,
        })
    }

    /// Tells the log which columns of a header aren't read.
    fn tell_unread(&self, names: &[&str], columns: Columns) {
        let is_read =
            |at: usize| at == columns.text || at == columns.label || Some(at) == columns.pair;
        let unread: Vec<&str> = names
            .iter()
            .enumerate()
            .filter(|(at, _)| !is_read(*at))
            .map(|(_, name)| name.trim())
            .collect();
        if unread.is_empty() {
            return;
        }
        let name = |at: usize| quoted(names.get(at).map_or("", |name| name.trim()));
        log::info(|| {
            let pair = columns.pair.map_or(String::new(), |at| {
                format!(", the second text {}", name(at))
            });
            format!(
                "Of {} the text is the column {}{pair}, the label {}; columns that aren't read: {}.",
                self.source,
                name(columns.text),
                name(columns.label),
                listed(unread.iter().copied())
            )
        });
    }

    /// Why a record may have one field.
    fn one_column(&self, field: &str) -> String {
        if field.trim_start().starts_with("__label__") {
            return " (the lines begin with '__label__', as fastText has it; put label and text into two columns, \
                    separated by a tab, and set label_column to \"1\")"
                .into();
        }
        match self.sample.better_than(self.dialect) {
            Some(b'\t') => {
                " (the lines look separated by a tab: set separator to a tab, or format to BERT_FORMAT_TSV)".into()
            }
            Some(other) => format!(
                " (the lines look separated by {}: set separator to '{}')",
                shown(other),
                char::from(other)
            ),
            None => format!(
                " (fields are separated by {}; the option separator names another character)",
                shown(self.dialect.separator)
            ),
        }
    }

    fn other_length(&self, fields: &[&str], line: u64, layout: &Layout) -> crate::error::Error {
        let separator = shown(self.dialect.separator);
        let is_open = |field: &str| field.starts_with('"') && !is_closed(field);
        let hint = if self.dialect.quotes {
            format!("a field with {separator} in it must be in quotes")
        } else if fields.iter().any(|field| is_open(field)) {
            format!(
                "{separator} separates fields and can't be part of one; a field begins with a quote that isn't closed: \
                 if fields may be in quotes, set quoting to BERT_QUOTING_DOUBLE"
            )
        } else {
            format!("{separator} separates fields and can't be part of one")
        };
        let noun = if fields.len() == 1 { "field" } else { "fields" };
        let what = format!(
            "the record has {} {noun}; expected {} as on line {} ({hint})",
            fields.len(),
            layout.fields,
            layout.line
        );
        data_error(self.source, line, &what)
    }

    /// What nobody said and the first record didn't tell.
    fn guess(&self, layout: &Layout) -> Guess {
        let options = self.options;
        let columns = [
            &options.text_column,
            &options.pair_column,
            &options.label_column,
        ];
        Guess {
            header: options.header == Header::Auto && !layout.is_header,
            columns: !layout.is_header && columns.into_iter().all(Option::is_none),
        }
    }

    /// The data set, where it can be what was meant.
    fn finish(self) -> Result<Dataset> {
        if let Some(line) = self.quoted_line {
            log::warning(|| {
                format!(
                    "{}, line {line}: a field begins and ends with a quote and holds doubled ones, but quotes have no \
                     meaning in TSV: they stay in the text. Set quoting to BERT_QUOTING_DOUBLE if fields may be in \
                     quotes, else to BERT_QUOTING_NONE.",
                    self.source
                )
            });
        }
        if let Some(layout) = &self.layout {
            doubts::check(&self.dataset, self.guess(layout), self.source, layout.line)?;
        }
        Ok(self.dataset)
    }
}

/// Whether a field ends with a quote that closes it.
fn is_closed(field: &str) -> bool {
    field.len() > 1 && field.ends_with('"')
}

/// Whether a field is in quotes and holds doubled ones and no others.
fn is_quoted(field: &str) -> bool {
    let inside = field.strip_prefix('"').and_then(|f| f.strip_suffix('"'));
    inside
        .is_some_and(|inside| inside.contains("\"\"") && !inside.replace("\"\"", "").contains('"'))
}
