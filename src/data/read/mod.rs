//! Data sets from files.
//!
//! - `encoding`: UTF-8 out of whatever encoding a file is in
//! - `lines`: lines and records out of a byte stream, bounded, with their numbers and checked to be UTF-8
//! - `records`: a table's records, cut into fields
//! - `dialect`: how a table is written, from its first records
//! - `columns`: which column is what
//! - `table`: TSV and CSV
//! - `json_lines`: JSON Lines
//! - `lists`: lists of labels, and those that are written as another program's text
//! - `doubts`: what a table may have been meant to be instead
//!
//! A file is streamed; what is held beside the examples is its beginning and one record.

mod columns;
mod dialect;
mod doubts;
mod encoding;
mod json_lines;
mod lines;
mod lists;
mod records;
mod table;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::error::{Error, Result};
use crate::problem::ProblemType;

use super::{Dataset, Example, Label, MAX_CLASSES, quoted};

/// How a file holds its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileFormat {
    /// One record a line, fields separated by tabs, no quoting: a quote is a character like any other.
    /// [`ReadOptions`] may say otherwise.
    Tsv,
    /// Comma-separated as RFC 4180 has it: a field in quotes may hold commas, line breaks and doubled quotes. Where
    /// commas don't cut the records evenly, but semicolons, tabs or bars do, those separate; [`ReadOptions`] may say
    /// which.
    Csv,
    /// One JSON object a line.
    JsonLines,
}

impl FileFormat {
    /// The format that a file's name tells: `.tsv` and `.txt`, `.csv`, `.jsonl` and `.ndjson`, in either case.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for any other name.
    pub fn from_path(path: &Path) -> Result<FileFormat> {
        let extension = path
            .extension()
            .map(|e| e.to_string_lossy().to_ascii_lowercase());
        match extension.as_deref() {
            Some("tsv" | "txt") => Ok(FileFormat::Tsv),
            Some("csv") => Ok(FileFormat::Csv),
            Some("jsonl" | "ndjson") => Ok(FileFormat::JsonLines),
            _ => Err(Error::InvalidArgument(format!(
                "The name '{}' doesn't tell the file's format; it should end in .tsv, .txt, .csv, .jsonl or .ndjson, or \
                 the format be given (TSV, CSV or JSON Lines).",
                path.display()
            ))),
        }
    }
}

/// Whether the first record of a TSV or CSV file names the columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Header {
    /// It is a header where a column is asked for by a name that isn't a number (the header must have it then), or
    /// where one of its fields is a usual name (`label`, `text`, `sentence1`, …; see [`ReadOptions`]), or where its
    /// fields have both a less usual name of a text and one of a label. A file that has such a word as its first
    /// record's data needs [`Absent`](Header::Absent); one with other names and no column asked for by name,
    /// [`Present`](Header::Present).
    #[default]
    Auto,
    /// It names the columns.
    Present,
    /// It is an example.
    Absent,
}

/// Whether fields of a table may stand in double quotes, which then aren't part of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Quoting {
    /// They may in CSV. In TSV they do where every field of the first records is in quotes.
    #[default]
    Auto,
    /// A quote is a character like any other.
    None,
    /// They may; a quote inside is written twice.
    Double,
}

/// How a file is to be read.
///
/// A column is given by its name in the header, or by its number counted from 1 where no column has that name; names
/// are compared as they are first and then without regard to ASCII case. In JSON Lines it is given by its key.
///
/// What isn't given is looked for, in either case:
/// - the text as `text`, `sentence`, `sentence1`, `review`, `content`;
/// - a pair, where no text column is given, as `sentence2` beside `sentence1`, or, where none of the above is there,
///   as `text_a`/`text_b`, `premise`/`hypothesis`, `question1`/`question2`;
/// - the label as `label`, `class`, `category`, `target`, `labels`;
/// - where none of these is there, a text as `tweet`, `comment`, `message` and the like, a label as `sentiment`,
///   `score`, `stars`, `rating`, `topic` and the like, also in other languages, if there is one of them alone.
///
/// Without a header, two columns are text and label, and three are text, pair and label; where some columns are given,
/// those not given must be as many as there are left, text before label.
///
/// A table that can't have been meant as it would be read is refused: a first line that looks like a header of unknown
/// names, an index or a class where the first text of a pair would be, labels in place of texts. What may be a mistake
/// is a warning in the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// The format; `None` goes by the file's name.
    pub format: Option<FileFormat>,
    /// Whether the first record is a header; of no meaning for JSON Lines.
    pub header: Header,
    /// The column of the text.
    pub text_column: Option<String>,
    /// The column of the second text of a pair.
    pub pair_column: Option<String>,
    /// The column of the label.
    pub label_column: Option<String>,
    /// Whether labels are class ids counted from 0, and not names (single-label).
    pub labels_are_ids: bool,
    /// What the labels are: of each record a class; or a list of labels' names, in JSON Lines an array of strings (or of
    /// whole numbers, true or false, which are names too), in TSV and CSV names with `label_separator` between them, an
    /// empty field being the empty list; or a number, or several likewise.
    pub problem_type: ProblemType,
    /// What stands between the names or numbers of one field in TSV and CSV (not single-label); `None` is
    /// [`DEFAULT_SEPARATOR`]. Of no meaning for JSON Lines.
    pub label_separator: Option<String>,
    /// What stands between the fields of a table: an ASCII character. `None` is a tab in TSV; in CSV a comma, or what
    /// else cuts the first records evenly. Of no meaning for JSON Lines.
    pub separator: Option<u8>,
    /// Whether fields of a table may be in quotes. Of no meaning for JSON Lines.
    pub quoting: Quoting,
    /// The name of the file's encoding, as the WHATWG Encoding Standard has it; `None` is UTF-8, or UTF-16 where the
    /// file begins with its byte-order mark.
    pub encoding: Option<String>,
}

/// What stands between the names or numbers of one field unless said otherwise: rarely part of a name, and never of a
/// number.
pub const DEFAULT_SEPARATOR: &str = "|";

impl ReadOptions {
    fn separator_of_labels(&self) -> &str {
        self.label_separator.as_deref().unwrap_or(DEFAULT_SEPARATOR)
    }

    fn validate(&self) -> Result<()> {
        let wrong = |what: &str| Err(Error::InvalidArgument(what.into()));
        let is_single = self.problem_type == ProblemType::SingleLabel;
        if let Some(byte) = self.separator.filter(|byte| !dialect::may_separate(*byte)) {
            return Err(Error::InvalidArgument(format!(
                "separator is {byte}; it must be an ASCII character, and no quote or line break."
            ))
            .of_argument("separator"));
        }
        if self.labels_are_ids && !is_single {
            return wrong(
                "Labels are read as class ids in single-label classification alone; lists of labels are read as names.",
            );
        }
        match &self.label_separator {
            Some(_) if is_single => wrong(
                "A separator of labels is given, but in single-label classification each record has one label.",
            ),
            Some(separator) if separator.is_empty() || separator.contains(['\n', '\r']) => wrong(
                "The separator of labels is empty or holds a line break; it must be a text such as '|'.",
            ),
            _ => Ok(()),
        }
    }
}

impl Dataset {
    /// Reads a file.
    ///
    /// Blank lines, a byte-order mark, CRLF line ends and a missing last line end are of no account. White space around
    /// a label isn't part of it; around a text it is.
    ///
    /// # Errors
    /// [`Error::Io`] where the file can't be read; [`Error::Data`] for content that is wrong, with file, line and what
    /// was expected, and for a file without examples; [`Error::InvalidArgument`] for options that contradict each
    /// other or a format that isn't known.
    pub fn read_file(path: &Path, options: &ReadOptions) -> Result<Dataset> {
        let format = match options.format {
            Some(format) => format,
            None => FileFormat::from_path(path)?,
        };
        let file = File::open(path).map_err(|e| Error::io("open", path, &e))?;
        Dataset::read(file, format, &path.display().to_string(), options)
    }

    /// Reads a stream in the given `format` (`options.format` isn't looked at); `source_name` is what messages call
    /// it.
    ///
    /// # Errors
    /// As [`read_file`](Dataset::read_file).
    pub fn read(
        mut reader: impl Read,
        format: FileFormat,
        source_name: &str,
        options: &ReadOptions,
    ) -> Result<Dataset> {
        options.validate()?;
        let encoding = options.encoding.as_deref().map(encoding::named);
        let (head, _, mut rest) = beginning(&mut reader, encoding::HEAD);
        let text = encoding::to_utf8(head, &mut *rest, encoding.transpose()?, source_name)?;
        let dataset = match format {
            FileFormat::Tsv | FileFormat::Csv => table::read(text, format, source_name, options)?,
            FileFormat::JsonLines => json_lines::read(text, source_name, options)?,
        };
        lists::check(&dataset, source_name)?;
        if dataset.is_empty() {
            return Err(Error::Data(format!(
                "{source_name}: there are no examples in it; expected at least one record of a text and a label."
            )));
        }
        Ok(dataset)
    }
}

/// The first bytes of a stream, at most `most`; whether they are all; and the rest of it.
fn beginning<'r>(reader: &'r mut dyn Read, most: u64) -> (Vec<u8>, bool, Box<dyn Read + 'r>) {
    let mut bytes = Vec::new();
    match (&mut *reader).take(most).read_to_end(&mut bytes) {
        Ok(count) => (bytes, (count as u64) < most, Box::new(reader)),
        // Told where the stream is read on, after what came before it.
        Err(error) => (bytes, false, Box::new(Failed(Some(error)))),
    }
}

/// A stream that fails.
struct Failed(Option<io::Error>);

impl Read for Failed {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}

/// An [`Error::Data`] at a line of a file; `what` says what was found and what was expected, without the full stop.
fn data_error(source: &str, line: u64, what: &str) -> Error {
    Error::Data(format!("{source}, line {line}: {what}.")).at_line(line)
}

/// The label that `field` of a table holds; an error is what was found and expected.
fn label_from(field: &str, options: &ReadOptions) -> std::result::Result<Label, String> {
    let field = field.trim();
    let parts = || field.split(options.separator_of_labels()).map(str::trim);
    if options.problem_type != ProblemType::SingleLabel && parts().nth(MAX_CLASSES).is_some() {
        return Err(format!(
            "the label has more than {MAX_CLASSES} parts, which is the limit"
        ));
    }
    match options.problem_type {
        ProblemType::SingleLabel => match lists::of_text(field) {
            Some(_) if !options.labels_are_ids => Err(format!(
                "the label is {}, which looks like a list; if each record has a list of labels, set problem_type to \
                 BERT_PROBLEM_MULTI_LABEL",
                quoted(field)
            )),
            _ => class_from(field, options.labels_are_ids),
        },
        ProblemType::MultiLabel => lists::from_field(field, options).map(Label::Names),
        ProblemType::Regression => {
            let number = |part: &str| {
                part.parse()
                    .ok()
                    .and_then(finite)
                    .ok_or_else(|| not_a_number(part, options))
            };
            Ok(Label::Targets(
                parts().map(number).collect::<std::result::Result<_, _>>()?,
            ))
        }
    }
}

/// The number that a field is, written as people write one; `None` for others, such as "nan".
fn number_in(field: &str) -> Option<f64> {
    super::labels::number(field.trim())
}

/// A number as float32, where it is finite as such.
fn finite(value: f64) -> Option<f32> {
    let value = value as f32;
    value.is_finite().then_some(value)
}

fn not_a_number(part: &str, options: &ReadOptions) -> String {
    format!(
        "the label holds {}, but labels are read as numbers; expected a finite number such as 0.5, or several with {} \
         between them",
        quoted(part),
        quoted(options.separator_of_labels())
    )
}

/// The class that `field` names; an error is what was found and expected.
fn class_from(field: &str, labels_are_ids: bool) -> std::result::Result<Label, String> {
    let field = field.trim();
    if field.is_empty() {
        return Err("the label is empty; every example needs one".into());
    }
    if !labels_are_ids {
        return Ok(Label::Name(field.to_string()));
    }
    let digits = field.bytes().all(|b| b.is_ascii_digit());
    match field.parse() {
        Ok(id) if digits => Ok(Label::Id(id)),
        _ => Err(format!(
            "the label is {}, but labels are read as ids; expected a whole number from 0 on",
            quoted(field)
        )),
    }
}

/// Adds what was read at `line`.
fn add(dataset: &mut Dataset, example: Example, source: &str, line: u64) -> Result<()> {
    dataset.push(example).map_err(|e| match e {
        Error::Data(m) => Error::Data(format!("{source}, line {line}: {m}")).at_line(line),
        other => other,
    })
}
