//! Lines and records out of a byte stream: bounded, numbered, UTF-8.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use crate::error::{Error, Result};

use super::data_error;
use super::encoding::Malformed;
use super::records::shown;

/// The longest record. A larger one is a file that isn't what it should be, or a quote that is never closed.
pub(super) const RECORD_LIMIT: usize = 64 << 20;

/// The most fields of a record, so that a line of nothing but separators can't ask for many times its size.
pub(super) const FIELD_LIMIT: usize = 65_536;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A stream read record by record.
pub(super) struct Lines<'a> {
    reader: BufReader<Box<dyn Read + 'a>>,
    /// What messages call the stream.
    source: &'a str,
    /// The number of the line read last; 0 before the first.
    line: u64,
    /// Whether the stream began with a byte-order mark, which no record holds but a byte's position counts.
    marked: bool,
    /// The record read last.
    record: Vec<u8>,
}

/// A record and the number of its first line.
pub(super) struct Record<'r> {
    pub line: u64,
    pub text: &'r str,
}

impl<'a> Lines<'a> {
    pub fn new(reader: Box<dyn Read + 'a>, source: &'a str) -> Lines<'a> {
        Lines {
            reader: BufReader::with_capacity(1 << 16, reader),
            source,
            line: 0,
            marked: false,
            record: Vec::new(),
        }
    }

    pub fn source(&self) -> &'a str {
        self.source
    }

    /// The next line that isn't blank, without its end.
    pub fn next_line(&mut self) -> Result<Option<Record<'_>>> {
        if !self.skip_to_content()? {
            return Ok(None);
        }
        let end = content_length(&self.record);
        self.record.truncate(end);
        self.checked(self.line).map(Some)
    }

    /// Whether the stream has ended.
    pub fn at_end(&mut self) -> bool {
        self.reader.fill_buf().is_ok_and(|left| left.is_empty())
    }

    /// The next record with quotes that isn't blank, without its last line's end: as many lines as its quotes span.
    pub fn next_quoted(&mut self, separator: u8) -> Result<Option<Record<'_>>> {
        if !self.skip_to_content()? {
            return Ok(None);
        }
        let first = self.line;
        let mut quotes = Quotes::new(separator);
        let mut from = 0;
        loop {
            let end = content_length(&self.record);
            let content = self.record.get(from..end).unwrap_or_default();
            quotes
                .follow(content, self.line)
                .map_err(|what| data_error(self.source, first, &what))?;
            if !quotes.is_open() {
                self.record.truncate(end);
                return self.checked(first).map(Some);
            }
            from = self.record.len();
            let opened = quotes.opened_at;
            if !self.append_line(first, Some(opened))? {
                let what = format!(
                    "the quote opened on line {opened} is never closed; expected '\"' at the end of the field, before \
                     {} or the line's end",
                    shown(separator)
                );
                return Err(data_error(self.source, first, &what));
            }
        }
    }

    /// Reads lines until one isn't blank; `false` at the end. Spaces alone are blank, a tab isn't: it separates two
    /// fields.
    fn skip_to_content(&mut self) -> Result<bool> {
        loop {
            self.record.clear();
            if !self.append_line(self.line + 1, None)? {
                return Ok(false);
            }
            let content = self.record.get(..content_length(&self.record));
            if content.unwrap_or_default().iter().any(|b| *b != b' ') {
                return Ok(true);
            }
        }
    }

    /// Appends one line with its end to the record that began on line `first`; `false` at the end of the stream.
    fn append_line(&mut self, first: u64, open_quote: Option<u64>) -> Result<bool> {
        let before = self.record.len();
        // One byte more than there is room for tells a record that is too long from one that just fits.
        let room = (RECORD_LIMIT + 1).saturating_sub(before) as u64;
        let read = (&mut self.reader)
            .take(room)
            .read_until(b'\n', &mut self.record)
            .map_err(
                |e| match e.get_ref().and_then(|e| e.downcast_ref::<Malformed>()) {
                    Some(malformed) => {
                        data_error(self.source, self.line + 1, &malformed.to_string())
                    }
                    None => Error::io("read", Path::new(self.source), &e),
                },
            )?;
        if self.record.len() > RECORD_LIMIT {
            let quote = match open_quote {
                Some(line) => format!(" (the quote opened on line {line} isn't closed)"),
                None => String::new(),
            };
            let what = format!(
                "the record is longer than {} MiB, which is the limit{quote}; expected one example a record",
                RECORD_LIMIT >> 20
            );
            return Err(data_error(self.source, first, &what));
        }
        if read == 0 {
            return Ok(false);
        }
        self.line += 1;
        if self.line == 1 && self.record.starts_with(BYTE_ORDER_MARK) {
            self.marked = true;
            self.record.drain(..BYTE_ORDER_MARK.len());
        }
        Ok(true)
    }

    /// The record as text.
    fn checked(&self, first: u64) -> Result<Record<'_>> {
        let text = std::str::from_utf8(&self.record).map_err(|e| {
            let valid = self.record.get(..e.valid_up_to()).unwrap_or_default();
            let line = first + valid.iter().filter(|b| **b == b'\n').count() as u64;
            let start = valid.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
            let mark = if line == 1 && self.marked {
                BYTE_ORDER_MARK.len()
            } else {
                0
            };
            let byte = valid.len() - start + mark + 1;
            data_error(
                self.source,
                line,
                &format!(
                    "byte {byte} of the line isn't valid UTF-8; expected a file in UTF-8, or the option encoding to \
                     name what it is in, such as \"windows-1252\" for files of Western European Windows programs"
                ),
            )
        })?;
        Ok(Record { line: first, text })
    }
}

/// The length of `line` without its LF or CRLF, or without a CR that ends the stream.
fn content_length(line: &[u8]) -> usize {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line).len()
}

/// Follows the quotes of a CSV record to find its end. A quote opens a field only as its first character; elsewhere in
/// a field without quotes it is a character like any other.
struct Quotes {
    separator: u8,
    state: State,
    /// The line of the last quote that opened a field.
    opened_at: u64,
    fields: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    FieldStart,
    Plain,
    Quoted,
    /// After a quote inside quotes: the closing one, or the first of two.
    AfterQuote,
}

impl Quotes {
    fn new(separator: u8) -> Quotes {
        Quotes {
            separator,
            state: State::FieldStart,
            opened_at: 0,
            fields: 0,
        }
    }

    fn is_open(&self) -> bool {
        self.state == State::Quoted
    }

    fn follow(&mut self, content: &[u8], line: u64) -> std::result::Result<(), String> {
        for &byte in content {
            self.state = match (self.state, byte) {
                (State::Quoted, b'"') => State::AfterQuote,
                (State::Quoted, _) | (State::AfterQuote, b'"') => State::Quoted,
                (_, byte) if byte == self.separator => {
                    self.fields += 1;
                    if self.fields >= FIELD_LIMIT {
                        return Err(too_many_fields());
                    }
                    State::FieldStart
                }
                (State::FieldStart, b'"') => {
                    self.opened_at = line;
                    State::Quoted
                }
                (State::FieldStart | State::Plain, _) => State::Plain,
                (State::AfterQuote, _) => {
                    return Err(format!(
                        "on line {line}, a closing quote is followed by text; expected {} or the line's end (a quote \
                         inside a quoted field is written twice; if quotes have no meaning in this file, set quoting \
                         to BERT_QUOTING_NONE)",
                        shown(self.separator)
                    ));
                }
            };
        }
        Ok(())
    }
}

pub(super) fn too_many_fields() -> String {
    format!("the record has more than {FIELD_LIMIT} fields, which is the limit")
}
